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
    /// The first 16 bytes of their BLAKE3, in hexadecimal; of a native stream, its chain there
    /// (docs/format/change-stream-v1.md).
    pub digest: String,
    /// Whether it is a chain. In states of earlier versions, a native stream has the digest of its
    /// headers instead, which nothing is compared with any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub chained: bool,
}

impl Consumed {
    /// The first `bytes` of a native stream, which has this chain there.
    #[must_use]
    pub fn of_chain(bytes: u64, chain: Chain) -> Self {
        Self { bytes, digest: hex::encode(chain.0), chained: true }
    }

    /// The chain, if it is one.
    #[must_use]
    pub fn chain(&self) -> Option<Chain> {
        let mut chain = [0; 16];
        let is_one = self.chained && hex::decode_to_slice(&self.digest, &mut chain).is_ok();
        is_one.then_some(Chain(chain))
    }
}

/// A digest of the records of a native stream up to one of them, which goes on from itself: to
/// check what follows, nothing of what came before is needed but this.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Chain(pub [u8; 16]);

impl Chain {
    /// The chain after one more record with `header`, padding included.
    #[must_use]
    pub fn and(self, header: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.0).update(header);
        let mut next = [0; 16];
        next.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Self(next)
    }
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
    // `None` for a format that keeps a chain.
    hasher: Option<blake3::Hasher>,
    chain: Chain,
    expected: Vec<Consumed>,
}

impl Running {
    /// Of all bytes.
    pub(in crate::stream) fn of_bytes() -> Self {
        let hasher = Some(blake3::Hasher::new());
        Self { hasher, chain: Chain::default(), expected: Vec::new() }
    }

    /// Of the chain that the decoder keeps.
    pub(in crate::stream) fn of_chain() -> Self {
        Self { hasher: None, chain: Chain::default(), expected: Vec::new() }
    }

    /// Whether it is made of every byte.
    pub(in crate::stream) fn is_of_bytes(&self) -> bool {
        self.hasher.is_some()
    }

    /// Up to each of these positions, the input must equal what was read before.
    pub(in crate::stream) fn expect(&mut self, mut expected: Vec<Consumed>) {
        expected.retain(|one| one.chained != self.is_of_bytes());
        expected.sort_by_key(|one| one.bytes);
        self.expected = expected;
    }

    pub(in crate::stream) fn take(&mut self, bytes: &[u8]) {
        match &mut self.hasher {
            None => {}
            Some(hasher) if bytes.len() < MANY_THREADS_BYTES => {
                hasher.update(bytes);
            }
            Some(hasher) => {
                hasher.update_rayon(bytes);
            }
        }
    }

    /// The chain that the decoder has now.
    pub(in crate::stream) fn follow(&mut self, chain: Chain) {
        self.chain = chain;
    }

    /// The digest of what was read so far, which is `bytes` long.
    pub(in crate::stream) fn consumed(&self, bytes: u64) -> Consumed {
        let Some(hasher) = &self.hasher else { return Consumed::of_chain(bytes, self.chain) };
        let digest = hex::encode(&hasher.finalize().as_bytes()[..16]);
        Consumed { bytes, digest, chained: false }
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
            let mut running = Running::of_bytes();
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

    #[test]
    fn a_chain_is_compared_with_chains_only() {
        let chain = Chain::default().and(b"a record");
        let right = Consumed::of_chain(9, chain);
        let compared = |chain, expected: &Consumed| {
            let mut running = Running::of_chain();
            running.expect(vec![expected.clone()]);
            running.follow(chain);
            running.compare("in", 9)
        };
        compared(chain, &right).unwrap();
        assert!(compared(chain.and(b"another"), &right).is_err());
        let of_an_earlier_version = Consumed { chained: false, ..right };
        compared(chain.and(b"another"), &of_an_earlier_version).unwrap();
    }
}
