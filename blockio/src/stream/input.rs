//! Where the bytes of a stream come from: a file, or something that gives bytes as they arrive.
//! Reading never waits for bytes that have not arrived: waiting is a call of its own.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::time::Duration;

mod pipe;
#[cfg(test)]
pub(in crate::stream) mod portions;

use pipe::BUFFER_BYTES;
pub use pipe::{Arrivals, Pipe};

/// The source of the bytes.
#[derive(Debug)]
pub enum Input {
    /// A regular file: unwanted bytes are skipped by seeking.
    File(BufReader<File>),
    /// Anything else: a pipe, a socket, a disk. Unwanted bytes are read and dropped.
    Pipe(Pipe),
}

impl Input {
    /// Reads from `file`, starting at its current position; as a file if it is a regular one.
    ///
    /// # Errors
    ///
    /// The error of fstat(2).
    pub fn from_file(file: File) -> io::Result<Self> {
        if file.metadata()?.is_file() {
            return Ok(Self::File(BufReader::with_capacity(BUFFER_BYTES, file)));
        }
        Ok(Self::Pipe(Pipe::of_descriptor(file)))
    }

    /// Reads what arrives on `arrivals`.
    pub fn from_arrivals(arrivals: Box<dyn Arrivals>) -> Self {
        Self::Pipe(Pipe::of_arrivals(arrivals))
    }

    /// Reads from anything that says `WouldBlock` when nothing has arrived, and has more when it is
    /// asked again.
    #[cfg(test)]
    pub(crate) fn from_pipe(pipe: impl Read + Send + std::fmt::Debug + 'static) -> Self {
        Self::from_arrivals(Box::new(pipe::Ready(pipe)))
    }

    /// The first `length` bytes, at most [`BUFFER_BYTES`], or all there are, without taking them.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if they have not arrived yet; else the error of read(2).
    pub(in crate::stream) fn peek(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let file = match self {
            Self::File(file) => file,
            Self::Pipe(pipe) => return pipe.peek(length),
        };
        let start = file.stream_position()?;
        let mut head = Vec::with_capacity(length);
        file.take(length as u64).read_to_end(&mut head)?;
        file.seek(SeekFrom::Start(start))?;
        Ok(head)
    }

    /// Reads what has arrived into the part of `room` after `filled`, and counts it there. Returns
    /// once `room` is full or the input ends.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if the rest has not arrived yet; else the error of read(2). `filled` stays
    /// right, so that the caller can ask again.
    pub(in crate::stream) fn fill(
        &mut self,
        room: &mut [u8],
        filled: &mut usize,
    ) -> io::Result<()> {
        while *filled < room.len() {
            let room = &mut room[*filled..];
            let read = match self {
                Self::File(file) => file.read(room),
                Self::Pipe(pipe) => pipe.read(room),
            };
            match read {
                Ok(0) => break,
                Ok(read) => *filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Skips bytes until `passed` is `length` or the input ends.
    ///
    /// # Errors
    ///
    /// As [`fill`](Self::fill).
    pub(in crate::stream) fn pass_over(&mut self, length: u64, passed: &mut u64) -> io::Result<()> {
        let file = match self {
            Self::File(file) => file,
            Self::Pipe(pipe) => return pipe.pass_over(length, passed),
        };
        let size = file.get_ref().metadata()?.len();
        let left = size.saturating_sub(file.stream_position()?);
        let now = length.saturating_sub(*passed).min(left);
        file.seek_relative(i64::try_from(now).map_err(io::Error::other)?)?;
        *passed += now;
        Ok(())
    }

    /// Waits until something arrives or the input ends, for at most `patience` if one is given.
    ///
    /// # Errors
    ///
    /// The error of poll(2).
    pub(in crate::stream) fn wait(&self, patience: Option<Duration>) -> io::Result<()> {
        match self {
            Self::File(_) => Ok(()),
            Self::Pipe(pipe) => pipe.wait(patience),
        }
    }
}
