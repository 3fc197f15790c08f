//! What a disk holds, as a tree of BLAKE3 hashes: its root is the ordinary BLAKE3 hash of the whole
//! disk, which any other tool can check, and its leaves locate where two disks differ. Opening the
//! disk is the job of `volume` and `view`; docs/format/digest-v1.md specifies the document of a
//! digest.

use crate::remedy::{DiskRemedy, Remedied};
use crate::units::ByteCount;
use crate::view::View;
use crate::{Error, ErrorKind, Result};

mod crew;
mod differences;
mod document;
mod findings;
mod hashing;
mod leaf_size;
mod tree;

#[cfg(test)]
mod tests;

pub use crew::Watch;
pub use differences::differences;
pub use document::{Document, is_document};
pub use findings::Findings;
pub use hashing::digest;
pub(crate) use hashing::leaf_of;
pub use leaf_size::LeafSize;
pub use tree::TreeDigest;

/// Where two disks differ, in whole leaves. If their lengths differ, the part that only one digest
/// covers is not compared: this includes the last leaf of the shorter disk, unless it is whole.
///
/// # Errors
///
/// `Usage`: their leaves have different sizes.
pub fn compare(one: &TreeDigest, other: &TreeDigest) -> Result<Findings> {
    if one.leaf_size() != other.leaf_size() {
        let (one, other) = (one.leaf_size().bytes(), other.leaf_size().bytes());
        let context = format!("comparing digests with leaves of {one} and of {other} bytes");
        return Err(Error::new(ErrorKind::Usage, context).remedied(DiskRemedy::HashAlike));
    }
    let is_same_length = one.length() == other.length();
    let comparable = match is_same_length {
        true => one.leaves().len() as u64,
        false => one.leaves_within_another().min(other.leaves_within_another()),
    };
    let shorter = one.length().min(other.length());
    let compared =
        ByteCount::new(shorter.get().min(comparable.saturating_mul(one.leaf_size().bytes())));
    let mut findings = Findings::of(one.length(), other.length(), compared);
    let pairs = one.leaves().iter().zip(other.leaves()).take(comparable as usize);
    for (index, _) in pairs.enumerate().filter(|(_, (one, other))| one != other) {
        if let Some(extent) = one.leaf_size().extent(index as u64, compared) {
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
    let found = digest(view, capacity.min(expected.length()), expected.leaf_size(), watch)?;
    Ok(compare(&found, expected)?.with_lengths(capacity, expected.length()))
}
