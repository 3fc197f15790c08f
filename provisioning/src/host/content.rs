//! Reads the places that `blank` chose on a device, many at a time, and never writes. Bypasses the
//! page cache where the kernel allows it, because what counts is what the device itself holds.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::blank::{Found, Piece};

/// How many reads are in flight at a time.
const DEPTH: usize = 32;
/// Fewer pieces than this are not worth another thread.
const PIECES_A_THREAD: usize = 8;
/// Alignment of memory for direct reads. Only new kernels support sectors larger than a page;
/// there, such a read fails with EINVAL, which is an error and not a blank disk.
const ALIGNMENT: usize = 4096;
/// Length of the longest piece.
const BUFFER_BYTES: usize = 1 << 20;
/// Compared with a buffer as a whole, which runs at memory speed in every build; a byte-wise
/// comparison does not.
static ZEROS: [u8; BUFFER_BYTES] = [0; BUFFER_BYTES];

/// Reads `pieces` from `file` and returns the first that is not zero, if there is one.
///
/// # Errors
/// Returns an error if any of them cannot be read: an unreadable disk is not a blank one.
pub(super) fn find(file: &File, pieces: &[Piece]) -> io::Result<Option<Found>> {
    let shared = Shared {
        file,
        pieces,
        next: AtomicUsize::new(0),
        is_over: AtomicBool::new(false),
        result: Mutex::new(Ok(None)),
    };
    // Most disks that hold something hold it at their beginning: no threads are needed to see it.
    shared.take_one(&mut Buffer::new());
    if !shared.is_over.load(Ordering::Relaxed) {
        std::thread::scope(|scope| {
            for _ in 0..DEPTH.min(pieces.len().div_ceil(PIECES_A_THREAD)) {
                scope.spawn(|| shared.take_all());
            }
        });
    }
    let found = shared.result.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner())?;
    let told =
        |(piece, offset): (usize, u64)| Found { offset, place: pieces[piece].what.to_owned() };
    Ok(found.map(told))
}

/// What the readers of one device share.
struct Shared<'a> {
    file: &'a File,
    pieces: &'a [Piece],
    next: AtomicUsize,
    is_over: AtomicBool,
    /// The index of the earliest piece that is not zero and the offset of its first nonzero byte;
    /// or the first error.
    result: Mutex<io::Result<Option<(usize, u64)>>>,
}

impl Shared<'_> {
    fn take_all(&self) {
        let mut buffer = Buffer::new();
        let mut is_more = true;
        while is_more && !self.is_over.load(Ordering::Relaxed) {
            is_more = self.take_one(&mut buffer);
        }
    }

    /// Reads the next piece; `false` if none is left or the search is over.
    fn take_one(&self, buffer: &mut Buffer) -> bool {
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        let Some(piece) = self.pieces.get(index) else { return false };
        let outcome = first_byte(self.file, &piece.range, buffer);
        let mut result = self.result.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        match (outcome, &mut *result) {
            (Ok(None), _) => return true,
            (_, Err(_)) => {}
            (Ok(Some(_)), Ok(Some((earlier, _)))) if *earlier < index => {}
            (Ok(Some(offset)), found) => *found = Ok(Some((index, offset))),
            // Content that was found takes precedence over pieces that could not be read.
            (Err(_), Ok(Some(_))) => {}
            (Err(error), failed @ Ok(None)) => *failed = Err(error),
        }
        self.is_over.store(true, Ordering::Relaxed);
        true
    }
}

/// The first byte in `range` that is not zero.
fn first_byte(file: &File, range: &Range<u64>, buffer: &mut Buffer) -> io::Result<Option<u64>> {
    let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
    let bytes = buffer.of(length)?;
    file.read_exact_at(bytes, range.start)?;
    if *bytes == ZEROS[..length] {
        return Ok(None);
    }
    let index = bytes.iter().position(|byte| *byte != 0).unwrap_or(0);
    Ok(Some(range.start + index as u64))
}

/// Memory aligned for direct reads.
struct Buffer {
    memory: Vec<u8>,
    start: usize,
}

impl Buffer {
    fn new() -> Self {
        let memory = vec![0; BUFFER_BYTES + ALIGNMENT];
        let start = memory.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        Self { memory, start }
    }

    /// Its first `length` bytes.
    fn of(&mut self, length: usize) -> io::Result<&mut [u8]> {
        let all = &mut self.memory[self.start..self.start + BUFFER_BYTES];
        all.get_mut(..length).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
    }
}

#[cfg(test)]
mod tests;
