//! What a disk holds, as a tree of BLAKE3 hashes: its root is the ordinary BLAKE3 hash of the whole
//! disk, which any other tool can check, and its leaves locate where two disks differ. Opening the
//! disk is the job of `volume` and `view`; docs/format/digest-v1.md specifies the document of a
//! digest.

use blake3::Hash;

use crate::extent::Extent;
use crate::remedy::{DiskRemedy, Remedied};
use crate::units::{ByteCount, ByteOffset};
use crate::view::View;
use crate::{Error, ErrorKind, Result};

mod crew;
mod differences;
mod document;
mod findings;
mod hashing;
mod tree;

#[cfg(test)]
mod tests;

pub use crew::Watch;
pub use differences::differences;
pub use document::{Document, is_document};
pub use findings::Findings;
pub use hashing::digest;
pub(crate) use hashing::leaf_of;

/// How many bytes of a disk one leaf of its digest covers: a power of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeafSize(u64);

impl LeafSize {
    /// 64 KiB.
    pub const MIN: Self = Self(64 << 10);
    /// 64 MiB.
    pub const MAX: Self = Self(64 << 20);
    /// 1 MiB.
    pub const DEFAULT: Self = Self(1 << 20);

    /// `bytes` as a leaf size, if that is valid.
    ///
    /// # Errors
    ///
    /// `Usage`: not a power of two, or not between [`MIN`](Self::MIN) and [`MAX`](Self::MAX).
    pub fn new(bytes: u64) -> Result<Self> {
        if bytes.is_power_of_two() && (Self::MIN.0..=Self::MAX.0).contains(&bytes) {
            return Ok(Self(bytes));
        }
        let context = format!("a leaf of {bytes} bytes: it is no power of two from 64K to 64M");
        Err(Error::new(ErrorKind::Usage, context).with_hint("1M is the usual size"))
    }

    /// The size as a number of bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// The number of leaves of a disk of `length` bytes.
    #[must_use]
    pub const fn leaves_of(self, length: ByteCount) -> u64 {
        length.get().div_ceil(self.0)
    }

    /// The part of a disk of `length` bytes that leaf `index` covers; `None` after the last leaf.
    #[must_use]
    pub fn extent(self, index: u64, length: ByteCount) -> Option<Extent> {
        let start = index.checked_mul(self.0)?;
        let end = start.saturating_add(self.0).min(length.get());
        Extent::between(ByteOffset::new(start), ByteOffset::new(end)).ok()
    }
}

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
    pub fn of_leaves(length: ByteCount, leaf_size: LeafSize, leaves: Vec<Hash>) -> Result<Self> {
        let expected = leaf_size.leaves_of(length);
        let count = leaves.len() as u64;
        match tree::root(&leaves) {
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
    fn leaves_within_another(&self) -> u64 {
        match self.leaves.len() {
            1 => 0,
            _ => self.length.get() / self.leaf_size.0,
        }
    }
}

/// Where two disks differ, in whole leaves. If their lengths differ, the part that only one digest
/// covers is not compared: this includes the last leaf of the shorter disk, unless it is whole.
///
/// # Errors
///
/// `Usage`: their leaves have different sizes.
pub fn compare(one: &TreeDigest, other: &TreeDigest) -> Result<Findings> {
    if one.leaf_size != other.leaf_size {
        let (one, other) = (one.leaf_size.0, other.leaf_size.0);
        let context = format!("comparing digests with leaves of {one} and of {other} bytes");
        return Err(Error::new(ErrorKind::Usage, context).remedied(DiskRemedy::HashAlike));
    }
    let is_same_length = one.length == other.length;
    let comparable = match is_same_length {
        true => one.leaves.len() as u64,
        false => one.leaves_within_another().min(other.leaves_within_another()),
    };
    let shorter = one.length.min(other.length);
    let compared = ByteCount::new(shorter.get().min(comparable.saturating_mul(one.leaf_size.0)));
    let mut findings = Findings::of(one.length, other.length, compared);
    let pairs = one.leaves.iter().zip(&other.leaves).take(comparable as usize);
    for (index, _) in pairs.enumerate().filter(|(_, (one, other))| one != other) {
        if let Some(extent) = one.leaf_size.extent(index as u64, compared) {
            findings.add(extent);
        }
    }
    Ok(findings)
}

/// Where `view` differs from the disk that `expected` was made of, in whole leaves. Of a longer
/// view, only the length that the digest covers is hashed.
///
/// # Errors
///
/// As [`digest`].
pub fn verify(view: &View, expected: &TreeDigest, watch: &mut Watch<'_>) -> Result<Findings> {
    let capacity = view.geometry().capacity;
    let found = digest(view, capacity.min(expected.length), expected.leaf_size, watch)?;
    Ok(compare(&found, expected)?.with_lengths(capacity, expected.length))
}
