//! Makes ranges of a file or disk read as zeros, in the cheapest way that it supports:
//! deallocation, zeroing by the file system or disk, or writing zeros. The engines decide when; the
//! one with a queue has its own way of asking (`uring/clearing`).

use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};

use crate::device::buffer::{Arena, ArenaPool};
use crate::extent::Extent;
use crate::units::ByteOffset;

/// The longest range that the kernel is asked to clear in one call, in bytes: the call cannot be
/// interrupted, and some disks take long.
const PIECE_BYTES_MAX: u64 = 1 << 30;

/// How many bytes are written at a time if zeros have to be written.
pub(super) const ZEROS_BYTES: NonZeroUsize =
    NonZeroUsize::new(1 << 20).expect("invariant: not zero");

/// The ways, best first. A way that was refused once is not tried again on the same disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    /// fallocate(2) with deallocation. It promises zeros on block devices as well (Linux 4.9).
    #[default]
    PunchHole,
    /// fallocate(2) that zeroes and keeps the space.
    ZeroRange,
    /// The ioctl for block devices, for kernels before 4.9.
    BlkZeroOut,
    /// Writing zeros.
    Written,
}

impl Way {
    /// The next best; `None` after the last.
    pub(super) fn next(self) -> Option<Self> {
        match self {
            Self::PunchHole => Some(Self::ZeroRange),
            Self::ZeroRange => Some(Self::BlkZeroOut),
            Self::BlkZeroOut => Some(Self::Written),
            Self::Written => None,
        }
    }

    /// What fallocate(2) is asked for; `None` if it is not used.
    pub(super) fn mode(self) -> Option<FallocateFlags> {
        let keep_size = FallocateFlags::FALLOC_FL_KEEP_SIZE;
        match self {
            Self::PunchHole => Some(FallocateFlags::FALLOC_FL_PUNCH_HOLE | keep_size),
            Self::ZeroRange => Some(FallocateFlags::FALLOC_FL_ZERO_RANGE | keep_size),
            Self::BlkZeroOut | Self::Written => None,
        }
    }
}

/// The pieces of `extent` that the kernel is asked to clear in one call each.
pub(super) fn pieces(extent: Extent) -> impl Iterator<Item = Extent> {
    let mut rest = Some(extent);
    std::iter::from_fn(move || {
        let now = rest?;
        let piece = first(now, PIECE_BYTES_MAX);
        rest = Extent::between(piece.end(), now.end()).ok();
        Some(piece)
    })
}

/// Memory of zeros: its content is zeros from the beginning, and nobody writes to it.
pub(super) fn zeros() -> io::Result<Arena> {
    ArenaPool::new(1, ZEROS_BYTES)?.take().map_err(io::Error::other)
}

/// How one disk is cleared.
#[derive(Debug, Default)]
pub(super) struct Clearing {
    way: Way,
    zeros: Option<Arena>,
}

impl Clearing {
    /// Makes `extent`, whole sectors of `file`, read as zeros.
    pub(super) fn clear(&mut self, file: &File, extent: Extent) -> io::Result<()> {
        pieces(extent).try_for_each(|piece| self.clear_piece(file, piece))
    }

    fn clear_piece(&mut self, file: &File, piece: Extent) -> io::Result<()> {
        loop {
            let refused = match self.attempt(file, piece) {
                Err(error) if is_refusal(&error) => error,
                done => return done,
            };
            self.way = self.way.next().ok_or(refused)?;
        }
    }

    fn attempt(&mut self, file: &File, piece: Extent) -> io::Result<()> {
        match self.way.mode() {
            Some(mode) => allocate(file, mode, piece),
            None if self.way == Way::BlkZeroOut => zero_out(file, piece),
            None => self.write_zeros(file, piece),
        }
    }

    /// Writes zeros to `piece`, whatever else would be possible.
    pub(super) fn write_zeros(&mut self, file: &File, piece: Extent) -> io::Result<()> {
        let zeros = match self.zeros.take() {
            Some(zeros) => zeros,
            None => zeros()?,
        };
        let mut rest = Some(piece);
        while let Some(now) = rest {
            let part = first(now, ZEROS_BYTES.get() as u64);
            let length = part.length().get() as usize;
            file.write_all_at(&zeros.as_slice()[..length], part.start().get())?;
            rest = Extent::between(part.end(), now.end()).ok();
        }
        self.zeros = Some(zeros);
        Ok(())
    }
}

/// The beginning of `extent`, at most `most` bytes long.
fn first(extent: Extent, most: u64) -> Extent {
    let cut = ByteOffset::new(extent.start().get().saturating_add(most));
    extent.split_at(cut).map_or(extent, |(first, _)| first)
}

/// Whether the kernel refused this way, rather than failed.
pub(super) fn is_refusal(error: &io::Error) -> bool {
    let refusals = [Errno::EOPNOTSUPP, Errno::ENOSYS, Errno::EINVAL, Errno::ENODEV, Errno::ENOTTY];
    error.raw_os_error().is_some_and(|errno| refusals.contains(&Errno::from_raw(errno)))
}

fn allocate(file: &File, flags: FallocateFlags, piece: Extent) -> io::Result<()> {
    let too_far = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let start = piece.start().get().try_into().map_err(too_far)?;
    let length = piece.length().get().try_into().map_err(too_far)?;
    retry_interrupted(|| fallocate(file, flags, start, length))
}

fn zero_out(file: &File, piece: Extent) -> io::Result<()> {
    let (start, length) = (piece.start().get(), piece.length().get());
    retry_interrupted(|| system::block_device::zero_out(file, start, length))
}

fn retry_interrupted(mut call: impl FnMut() -> nix::Result<()>) -> io::Result<()> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            done => return Ok(done?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::ByteCount;

    const SECTOR: u64 = 4096;
    const SECTORS: u64 = 600;

    /// Clears all but the first and last sector of a file of 0xEE in `directory`.
    fn cleared(way: Way, directory: &str) -> (Clearing, bool) {
        let file = tempfile::tempfile_in(directory).unwrap();
        let length = (SECTORS * SECTOR) as usize;
        file.write_all_at(&vec![0xEE; length], 0).unwrap();
        let middle = ByteCount::new((SECTORS - 2) * SECTOR);
        let middle = Extent::new(ByteOffset::new(SECTOR), middle).unwrap();
        let mut clearing = Clearing { way, zeros: None };
        clearing.clear(&file, middle).unwrap();
        let mut found = vec![1; length];
        file.read_exact_at(&mut found, 0).unwrap();
        let edge = SECTOR as usize;
        let (first, rest) = found.split_at(edge);
        let (middle, last) = rest.split_at(length - 2 * edge);
        let is_kept = first.iter().chain(last).all(|&byte| byte == 0xEE);
        let is_zero = middle.iter().all(|&byte| byte == 0);
        let is_as_long = file.metadata().unwrap().len() == SECTORS * SECTOR;
        (clearing, is_kept && is_zero && is_as_long)
    }

    #[test]
    fn every_way_clears_what_was_named_and_nothing_beside_it() {
        for way in [Way::PunchHole, Way::ZeroRange, Way::BlkZeroOut, Way::Written] {
            for directory in [".", "/dev/shm"] {
                assert!(cleared(way, directory).1, "{way:?} in {directory}");
            }
        }
    }

    #[test]
    fn what_a_file_refuses_is_not_asked_again() {
        // The ioctl is for block devices.
        let (clearing, _) = cleared(Way::BlkZeroOut, ".");
        assert_eq!(clearing.way, Way::Written);
        let (clearing, _) = cleared(Way::PunchHole, "/dev/shm");
        assert_eq!(clearing.way, Way::PunchHole);
    }

    #[test]
    fn a_failure_is_no_refusal() {
        // Open for reading only: EBADF in every way.
        let file = File::open("/proc/self/exe").unwrap();
        let extent = Extent::new(ByteOffset::ZERO, ByteCount::new(SECTOR)).unwrap();
        let mut clearing = Clearing::default();
        let failure = clearing.clear(&file, extent).unwrap_err();
        assert_eq!(failure.raw_os_error(), Some(Errno::EBADF as i32));
        assert_eq!(clearing.way, Way::PunchHole);
    }

    #[test]
    fn long_ranges_are_cut_into_pieces_without_a_gap() {
        let whole =
            Extent::new(ByteOffset::new(5), ByteCount::new(2 * PIECE_BYTES_MAX + 1)).unwrap();
        let piece = first(whole, PIECE_BYTES_MAX);
        assert_eq!((piece.start(), piece.length().get()), (whole.start(), PIECE_BYTES_MAX));
        let last = Extent::new(ByteOffset::new(5), ByteCount::new(3)).unwrap();
        assert_eq!(first(last, PIECE_BYTES_MAX), last);
        let all: Vec<_> = pieces(whole).collect();
        assert_eq!(all.len(), 3);
        assert!(all.windows(2).all(|two| two[0].end() == two[1].start()));
        assert_eq!((all[0].start(), all[2].end()), (whole.start(), whole.end()));
    }
}
