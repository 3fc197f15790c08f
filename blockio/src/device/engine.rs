//! Which engine reads and writes a device.

/// The engine that the operator wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// io_uring if available, else blocking.
    #[default]
    Auto,
    /// io_uring or an error.
    Uring,
    /// preadv(2) and pwritev(2).
    Blocking,
}
