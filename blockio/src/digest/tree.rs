//! The digest of a disk: its leaves, and from them the root, as BLAKE3 builds its tree. Hashing a
//! leaf is done in `hashing`.

use blake3::Hash;
use blake3::hazmat::{ChainingValue, Mode, merge_subtrees_non_root, merge_subtrees_root};

use super::leaf_size::LeafSize;
use crate::units::ByteCount;
use crate::{Error, ErrorKind, Result};

/// The digest of a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeDigest {
    length: ByteCount,
    leaf_size: LeafSize,
    leaves: Vec<Hash>,
    root: Hash,
}

impl TreeDigest {
    /// The digest made of `leaves`, in order.
    ///
    /// # Errors
    ///
    /// `Integrity`: the number of leaves does not match `length`, or `length` is zero.
    pub(crate) fn of_leaves(
        length: ByteCount,
        leaf_size: LeafSize,
        leaves: Vec<Hash>,
    ) -> Result<Self> {
        let expected = leaf_size.leaves_of(length);
        let count = leaves.len() as u64;
        match root(&leaves) {
            Some(root) if count == expected => Ok(Self { length, leaf_size, leaves, root }),
            _ => {
                let context = format!("{count} leaves, where {length} bytes have {expected}");
                Err(Error::new(ErrorKind::Integrity, context))
            }
        }
    }

    /// How many bytes were hashed.
    #[must_use]
    pub fn length(&self) -> ByteCount {
        self.length
    }

    /// How many bytes one leaf covers; the last may cover fewer.
    #[must_use]
    pub fn leaf_size(&self) -> LeafSize {
        self.leaf_size
    }

    /// One leaf for each [`leaf_size`](Self::leaf_size) of the disk: the chaining value of that
    /// subtree in BLAKE3's own tree, or the root if there is only one leaf.
    #[must_use]
    pub fn leaves(&self) -> &[Hash] {
        &self.leaves
    }

    /// The ordinary BLAKE3 hash of the whole disk.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.root
    }

    /// The number of leaves that have the same value in the digest of a longer disk with the same
    /// bytes: all whole leaves, but not a single leaf, which is the root of its own disk.
    pub(super) fn leaves_within_another(&self) -> u64 {
        match self.leaves.len() {
            1 => 0,
            _ => self.length.get() / self.leaf_size.bytes(),
        }
    }
}

/// The root over `leaves`; `None` if there are none.
fn root(leaves: &[Hash]) -> Option<Hash> {
    match leaves {
        [] => None,
        [single] => Some(*single),
        _ => {
            let (left, right) = halves(leaves);
            Some(merge_subtrees_root(&left, &right, Mode::Hash))
        }
    }
}

/// The chaining value over `leaves`, of which there is at least one.
fn subtree(leaves: &[Hash]) -> ChainingValue {
    if let [single] = leaves {
        return *single.as_bytes();
    }
    let (left, right) = halves(leaves);
    merge_subtrees_non_root(&left, &right, Mode::Hash)
}

/// BLAKE3 puts the largest power of two that leaves something on the right to the left. Leaves are
/// powers of two of its chunks, so the rule for chunks applies to leaves.
fn halves(leaves: &[Hash]) -> (ChainingValue, ChainingValue) {
    let middle = leaves.len().div_ceil(2).next_power_of_two();
    (subtree(&leaves[..middle]), subtree(&leaves[middle..]))
}
