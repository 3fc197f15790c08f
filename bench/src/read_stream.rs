//! A program that only reads its standard input, into the buffers that `apply` uses, and drops what
//! it read: the limit for a stream that another process sends.

use std::fs::File;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::time::Instant;

use anyhow::{Context, Result};
use blockio::device::buffer::{Arena, ArenaPool};
use serde_json::json;

/// Number of buffers, used in turn: as many as hold all of a stream that is under way in `apply`.
const ARENAS: usize = 4;
/// The size of each, in bytes: that of the largest batch of a stream.
const ARENA_BYTES: NonZeroUsize = NonZeroUsize::new(4 << 20).expect("invariant: not zero");

/// Reads standard input to its end, and prints how long that took.
///
/// # Errors
///
/// It cannot be read.
pub(crate) fn run() -> Result<()> {
    let begun = Instant::now();
    let descriptor = io::stdin().as_fd().try_clone_to_owned().context("opening standard input")?;
    let bytes = read(&mut File::from(descriptor)).context("reading standard input")?;
    println!("{}", json!({ "bytes": bytes, "seconds": begun.elapsed().as_secs_f64() }));
    Ok(())
}

/// Reads `input` to its end; returns the number of its bytes.
fn read(input: &mut impl Read) -> io::Result<u64> {
    let pool = ArenaPool::new(ARENAS, ARENA_BYTES)?;
    let mut arenas: Vec<Arena> = std::iter::from_fn(|| pool.try_take()).collect();
    let mut total = 0;
    loop {
        for arena in &mut arenas {
            let length = fill(input, arena.as_mut_slice())?;
            total += length as u64;
            if length < ARENA_BYTES.get() {
                return Ok(total);
            }
        }
    }
}

/// Reads until `buffer` is full or `input` ends; returns the number of bytes.
fn fill(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_read_also_what_does_not_fill_a_buffer() {
        let bytes = 5 * ARENA_BYTES.get() as u64 + 17;
        assert_eq!(read(&mut io::repeat(7).take(bytes)).unwrap(), bytes);
        assert_eq!(read(&mut io::empty()).unwrap(), 0);
    }
}
