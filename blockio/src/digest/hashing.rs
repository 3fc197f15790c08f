//! The digest of a view: many threads hash its leaves, each with one read in memory.

use blake3::hazmat::HasherExt;
use blake3::{Hash, Hasher};

use super::crew::{Crew, Watch, read_through};
use super::{LeafSize, TreeDigest};
use crate::extent::Extent;
use crate::units::{ByteCount, ByteOffset};
use crate::view::View;
use crate::{Error, ErrorKind, Result};

/// The digest of the first `length` bytes of `view`.
///
/// # Errors
///
/// `Usage`: `length` is zero, or more than the length of `view`. `Failed`: it could not be read, or
/// hashing was stopped.
pub fn digest(
    view: &View,
    length: ByteCount,
    leaf_size: LeafSize,
    watch: &mut Watch<'_>,
) -> Result<TreeDigest> {
    let capacity = view.geometry().capacity;
    if length.is_zero() || length > capacity {
        let context = format!("hashing {length} of the {capacity} bytes of {}", view.shown());
        return Err(Error::new(ErrorKind::Usage, context)
            .with_hint("an empty disk has no digest: name another disk"));
    }
    let crew = Crew::new()?;
    let is_single = length.get() <= leaf_size.bytes();
    let mut leaves = Vec::new();
    crew.each_piece(
        (length, leaf_size.bytes()),
        watch,
        |extent| crew.with_memory(|memory| leaf(view, extent, is_single, memory)),
        |leaf| leaves.push(leaf),
    )?;
    TreeDigest::of_leaves(length, leaf_size, leaves)
}

fn leaf(view: &View, extent: Extent, is_single: bool, memory: &mut [u8]) -> Result<Hash> {
    let mut hasher = Hasher::new();
    hasher.set_input_offset(extent.start().get());
    read_through(view, extent, memory, |bytes| {
        hasher.update(bytes);
    })?;
    Ok(end(&hasher, is_single))
}

/// The leaf of `bytes` at offset `at`; `is_single` if the disk has no other leaf.
pub(crate) fn leaf_of(bytes: &[u8], at: ByteOffset, is_single: bool) -> Hash {
    let mut hasher = Hasher::new();
    hasher.set_input_offset(at.get());
    end(hasher.update(bytes), is_single)
}

/// A leaf has its position in the tree as input; a single leaf is the whole tree.
fn end(hasher: &Hasher, is_single: bool) -> Hash {
    match is_single {
        true => hasher.finalize(),
        false => Hash::from_bytes(hasher.finalize_non_root()),
    }
}
