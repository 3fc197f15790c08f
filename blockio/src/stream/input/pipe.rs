//! An input that gives bytes as they arrive, and can be silent for hours.

use std::fs::File;
use std::io::{self, IoSliceMut, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// The size of the buffer for the bytes between payloads.
pub(super) const BUFFER_BYTES: usize = 32 << 10;
/// How much a pipe of the kernel's is asked to hold, so that its writer is not stopped by every
/// 64 KiB. More needs privileges (fs.pipe-max-size).
const PIPE_BYTES: i32 = 1 << 20;
/// How often the processor is offered to others before we sleep, which takes some microseconds if
/// nobody wants it. Who sends may be waiting for it. If we sleep instead, it wakes us on its own
/// processor, and the two of us take turns there while another one is idle: the scheduler moves
/// only what is runnable. From a Unix socket that took half as long again.
const YIELDS: usize = 16;

/// A pipe, a socket, a disk, with the bytes that arrived and were not taken yet.
#[derive(Debug)]
pub struct Pipe {
    end: PipeEnd,
    buffer: Box<[u8]>,
    // The part of the buffer that is not taken.
    start: usize,
    filled: usize,
}

#[derive(Debug)]
enum PipeEnd {
    /// Whether something has arrived is asked before each read. O_NONBLOCK would be quicker, but
    /// belongs to everybody who has the file open, a terminal's shell among them.
    Descriptor(File),
    Arrivals(Box<dyn Arrivals>),
}

/// Bytes that arrive and are not those of a descriptor: out of a session, out of a test. A read
/// says `WouldBlock` when nothing has arrived.
pub trait Arrivals: Read + Send + std::fmt::Debug {
    /// Waits until a read would return something else than `WouldBlock`, but at most for
    /// `patience`, if there is one. May return earlier.
    ///
    /// # Errors
    ///
    /// That of poll(2).
    fn wait(&self, patience: Option<Duration>) -> io::Result<()>;
}

/// What never has to be waited for.
#[cfg(test)]
#[derive(Debug)]
pub(super) struct Ready<T>(pub(super) T);

#[cfg(test)]
impl<T: Read> Read for Ready<T> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.0.read(room)
    }

    fn read_vectored(&mut self, rooms: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.0.read_vectored(rooms)
    }
}

#[cfg(test)]
impl<T: Read + Send + std::fmt::Debug> Arrivals for Ready<T> {
    fn wait(&self, _: Option<Duration>) -> io::Result<()> {
        Ok(())
    }
}

impl Pipe {
    /// Reads from `file`, and makes it hold more if it is a pipe.
    pub(super) fn of_descriptor(file: File) -> Self {
        if file.metadata().is_ok_and(|metadata| metadata.file_type().is_fifo()) {
            enlarge(&file);
        }
        Self::of(PipeEnd::Descriptor(file))
    }

    /// Reads from `arrivals`.
    pub(super) fn of_arrivals(arrivals: Box<dyn Arrivals>) -> Self {
        Self::of(PipeEnd::Arrivals(arrivals))
    }

    fn of(end: PipeEnd) -> Self {
        Self { end, buffer: vec![0; BUFFER_BYTES].into(), start: 0, filled: 0 }
    }

    /// Reads what has arrived into `room`, and what comes after it into the buffer: the header
    /// after a payload then needs no call of its own. 0 at the end.
    pub(super) fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let held = &self.buffer[self.start..self.filled];
        if !held.is_empty() {
            let now = held.len().min(room.len());
            room[..now].copy_from_slice(&held[..now]);
            self.start += now;
            return Ok(now);
        }
        (self.start, self.filled) = (0, 0);
        let length = room.len();
        let read =
            self.end.read(&mut [IoSliceMut::new(room), IoSliceMut::new(&mut self.buffer)])?;
        self.filled = read.saturating_sub(length);
        Ok(read.min(length))
    }

    /// The first `length` bytes, or all there are.
    pub(super) fn peek(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let length = length.min(BUFFER_BYTES);
        self.buffer.copy_within(self.start..self.filled, 0);
        (self.start, self.filled) = (0, self.filled - self.start);
        while self.filled < length {
            match self.end.read(&mut [IoSliceMut::new(&mut self.buffer[self.filled..])]) {
                Ok(0) => break,
                Ok(read) => self.filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.buffer[..length.min(self.filled)].to_vec())
    }

    /// Reads and drops bytes until `passed` is `length`, or until the end.
    pub(super) fn pass_over(&mut self, length: u64, passed: &mut u64) -> io::Result<()> {
        while *passed < length {
            if self.start == self.filled {
                self.peek(1)?;
            }
            let held = self.filled - self.start;
            if held == 0 {
                break;
            }
            let now = usize::try_from(length - *passed).map_or(held, |left| left.min(held));
            self.start += now;
            *passed += now as u64;
        }
        Ok(())
    }

    /// Waits until something has arrived, or the end has; for at most `patience`, if there is one.
    pub(super) fn wait(&self, patience: Option<Duration>) -> io::Result<()> {
        match &self.end {
            // Whoever waits has looked at what is held, and needs more.
            PipeEnd::Descriptor(file) => {
                // Longer than that is waited for as long as that: the caller asks again.
                let patience = patience.map_or(PollTimeout::NONE, |patience| {
                    PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX)
                });
                for _ in 0..YIELDS {
                    if has_news(file, PollTimeout::ZERO)? {
                        return Ok(());
                    }
                    std::thread::yield_now();
                }
                has_news(file, patience).map(drop)
            }
            PipeEnd::Arrivals(arrivals) => arrivals.wait(patience),
        }
    }
}

impl PipeEnd {
    fn read(&mut self, rooms: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        match self {
            Self::Descriptor(file) if has_news(file, PollTimeout::ZERO)? => {
                file.read_vectored(rooms)
            }
            Self::Descriptor(_) => Err(io::ErrorKind::WouldBlock.into()),
            Self::Arrivals(arrivals) => arrivals.read_vectored(rooms),
        }
    }
}

/// Whether a read of `file` would return: with bytes, at the end, or with an error. Waits for at
/// most `patience`; a signal ends the wait.
fn has_news(file: &File, patience: PollTimeout) -> io::Result<bool> {
    let mut waited_for = [PollFd::new(file.as_fd(), PollFlags::POLLIN)];
    match poll(&mut waited_for, patience) {
        Ok(count) => Ok(count > 0),
        Err(nix::Error::EINTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Makes the pipe `file` hold more, if it can; it works as well without.
fn enlarge(file: &File) {
    if fcntl(file, FcntlArg::F_GETPIPE_SZ).is_ok_and(|bytes| bytes < PIPE_BYTES) {
        let _ = fcntl(file, FcntlArg::F_SETPIPE_SZ(PIPE_BYTES));
    }
}
