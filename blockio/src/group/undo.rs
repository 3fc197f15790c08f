//! Whether a rollback can be undone.

/// Whether the data that a rollback overwrites is kept, so that the rollback can be undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Undo {
    /// It is kept, and so is every point.
    Kept,
    /// It is not kept: the rollback takes no room, and the points after its destination are given
    /// up.
    NotKept,
}
