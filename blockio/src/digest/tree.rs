//! From the leaves to the root, as BLAKE3 builds its tree; hashing a leaf is done in `hashing`.

use blake3::Hash;
use blake3::hazmat::{ChainingValue, Mode, merge_subtrees_non_root, merge_subtrees_root};

/// The root over `leaves`; `None` if there are none.
pub(super) fn root(leaves: &[Hash]) -> Option<Hash> {
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
