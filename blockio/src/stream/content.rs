//! A running digest of what is read of an input, so that applied data is recognised by its content,
//! and not by its name alone.

use serde::{Deserialize, Serialize};

use crate::remedy::{Remedied, StreamRemedy};
use crate::{Error, Result};

/// From this many bytes on, hashing uses more than one thread.
const MANY_THREADS_BYTES: usize = 256 << 10;

/// What was read of an input: how far, and its digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Consumed {
    /// The number of bytes.
    pub bytes: u64,
    /// The first 16 bytes of their BLAKE3, in hexadecimal; of a native stream, whose payload has
    /// its own checksums, the payload is excluded.
    pub digest: String,
}

/// The position of a stream in the order of its source: earlier ones compare as less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceOrder {
    /// When the source began it, in its own unit.
    pub time: u64,
    /// The number of its first write, if the source counts them.
    pub sequence: u64,
}

/// The digest so far, and the expected digests on the way.
#[derive(Debug)]
pub(in crate::stream) struct Running {
    hasher: blake3::Hasher,
    /// Whether payload is included: the format has no checksums.
    pub(in crate::stream) with_payload: bool,
    expected: Vec<Consumed>,
}

impl Running {
    pub(in crate::stream) fn new(with_payload: bool) -> Self {
        Self { hasher: blake3::Hasher::new(), with_payload, expected: Vec::new() }
    }

    /// Up to each of these positions, the input must equal what was read before.
    pub(in crate::stream) fn expect(&mut self, mut expected: Vec<Consumed>) {
        expected.sort_by_key(|one| one.bytes);
        self.expected = expected;
    }

    pub(in crate::stream) fn take(&mut self, bytes: &[u8]) {
        if bytes.len() < MANY_THREADS_BYTES {
            self.hasher.update(bytes);
        } else {
            self.hasher.update_rayon(bytes);
        }
    }

    /// The digest of what was read so far, which is `bytes` long.
    pub(in crate::stream) fn consumed(&self, bytes: u64) -> Consumed {
        let hash = self.hasher.finalize();
        let digest = hex::encode(&hash.as_bytes()[..16]);
        Consumed { bytes, digest }
    }

    /// Compares once `bytes` of the input `name` have been read.
    ///
    /// # Errors
    ///
    /// `Refused`: they differ from what was read before.
    pub(in crate::stream) fn compare(&mut self, name: &str, bytes: u64) -> Result<()> {
        while self.expected.first().is_some_and(|first| first.bytes <= bytes) {
            if self.expected.remove(0) != self.consumed(bytes) {
                return Err(differs(name, bytes));
            }
        }
        Ok(())
    }

    /// The input `name` ends after `bytes`.
    ///
    /// # Errors
    ///
    /// `Refused`: more of it was read before.
    pub(in crate::stream) fn end(&mut self, name: &str, bytes: u64) -> Result<()> {
        match self.expected.is_empty() {
            true => Ok(()),
            false => Err(differs(name, bytes)),
        }
    }
}

fn differs(name: &str, bytes: u64) -> Error {
    Error::refused(format!(
        "{name}: it has the name of a stream that was applied before, but differs from it before \
         byte {bytes}: it was made again under the same name"
    ))
    .remedied(StreamRemedy::FinishOrGoBack)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_before_must_be_there_again() {
        let read = |parts: &[&[u8]], expected: Vec<Consumed>| {
            let mut running = Running::new(true);
            running.expect(expected);
            let mut bytes = 0;
            for part in parts {
                running.take(part);
                bytes += part.len() as u64;
                running.compare("in", bytes)?;
            }
            running.end("in", bytes)?;
            Ok(running.consumed(bytes))
        };
        let result = |parts: &[&[u8]], expected| -> Result<Consumed> { read(parts, expected) };
        let ab = result(&[b"a", b"b"], vec![]).unwrap();
        let abc = result(&[b"ab", b"c"], vec![ab.clone()]).unwrap();
        assert!(result(&[b"a", b"b", b"c", b"d"], vec![abc.clone(), ab.clone()]).is_ok());
        for parts in [&[&b"ax"[..], b"c"][..], &[b"a"], &[b"abc"]] {
            let refused = result(parts, vec![ab.clone()]).unwrap_err();
            assert_eq!(refused.kind(), crate::ErrorKind::Refused, "{parts:?}");
        }
    }
}
