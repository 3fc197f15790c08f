//! What every crate here needs of Linux and says to people: one error, sizes in words, signals,
//! text that need not be UTF-8, files replaced whole, and the kernel's tables of mounts and swap.
//!
//! It knows nothing of extents, streams, plans or groups, and depends on no other crate here.

pub mod block_device;
pub mod error;
pub mod loop_device;
pub mod lossless_text;
pub mod memory;
pub mod mount;
pub mod octal_escape;
pub mod replacement;
pub mod signals;
pub mod size;

pub use error::{Error, ErrorKind, Result};
