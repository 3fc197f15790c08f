//! Drives any decoder over bytes in memory, without a reader, arenas or payload: for tests and fuzz
//! targets. Real inputs are read by [`reader`](super::reader).
//!
//! It also checks the promises of [`Decoder`]: wants are never empty and never too large, and
//! `consumed` counts exactly the bytes that were passed in.

use crate::stream::native::compression;
use crate::stream::{BATCH_BYTES_MAX, Decoded, Decoder, Malformed, Problem, WANT_BYTES_MAX, Want};

/// Passes `bytes` to `decoder` as a reader would, and returns its events and its error, if any.
/// Payload is skipped; compressed payload is unpacked and dropped.
///
/// # Panics
///
/// If the decoder breaks a promise of [`Decoder`]: a bug in it, not an error in the input.
pub fn events(decoder: &mut impl Decoder, bytes: &[u8]) -> (Vec<Decoded>, Option<Malformed>) {
    let mut events = Vec::new();
    let mut driver = Driver { bytes, position: 0, scratch: Vec::new() };
    loop {
        while let Some(event) = decoder.event() {
            events.push(event);
        }
        match driver.step(decoder) {
            Ok(true) => {}
            Ok(false) => break,
            Err(malformed) => return (events, Some(malformed)),
        }
    }
    while let Some(event) = decoder.event() {
        events.push(event);
    }
    (events, None)
}

struct Driver<'a> {
    bytes: &'a [u8],
    position: usize,
    // The destination for unpacked payload.
    scratch: Vec<u8>,
}

impl Driver<'_> {
    /// Handles one want; returns false after the end of the input.
    fn step(&mut self, decoder: &mut impl Decoder) -> Result<bool, Malformed> {
        assert_eq!(decoder.consumed(), self.position as u64, "consumed() is exact");
        let want = decoder.want();
        check(want);
        let left = self.bytes.len() - self.position;
        match want {
            Want::Bytes(_) | Want::BytesOrEnd(_) | Want::End if left == 0 => {
                decoder.end().map(|()| false)
            }
            Want::Bytes(length) | Want::BytesOrEnd(length) => {
                let taken = self.next(length)?;
                decoder.take(taken).map(|()| true)
            }
            Want::End => {
                let taken = self.next(1)?;
                decoder.take(taken).map(|()| true)
            }
            Want::Payload { length, .. } => {
                self.next(length)?;
                decoder.payload_taken().map(|()| true)
            }
            Want::Compressed { method, stored, unpacked } => {
                let (at, packed) = (self.position as u64, self.next(stored)?);
                self.scratch.resize(unpacked, 0);
                compression::unpack(method, packed, &mut self.scratch)
                    .map_err(|problem| Malformed::new(at, problem))?;
                decoder.payload_taken().map(|()| true)
            }
        }
    }
}

impl<'a> Driver<'a> {
    /// The next `length` bytes, or an error if the input ends before.
    fn next(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let rest = &self.bytes[self.position..];
        let Some(taken) = rest.get(..length) else {
            return Err(Malformed::new(self.bytes.len() as u64, Problem::Truncated));
        };
        self.position += length;
        Ok(taken)
    }
}

fn check(want: Want) {
    match want {
        Want::Bytes(length) | Want::BytesOrEnd(length) => {
            assert!((1..=WANT_BYTES_MAX).contains(&length), "{want:?}");
        }
        Want::Payload { position, length } => {
            let end = position.checked_add(length);
            assert!(length > 0 && end.is_some_and(|end| end <= BATCH_BYTES_MAX), "{want:?}");
        }
        Want::Compressed { stored, unpacked, .. } => {
            assert!((1..=BATCH_BYTES_MAX).contains(&stored), "{want:?}");
            assert!((1..=BATCH_BYTES_MAX).contains(&unpacked), "{want:?}");
        }
        Want::End => {}
    }
}
