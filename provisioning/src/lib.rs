//! Makes a host a master target.
//!
//! What this crate stands on so far: the one door to the machine, and parsers and editors of the
//! files that a master target is made of. Nothing here knows of extents, streams or recovery
//! points: that is `blockio`.

pub mod error;
pub mod finding;
pub mod fstab;
#[allow(clippy::disallowed_methods, reason = "this module is the one door")]
pub mod host;
pub mod hosts;
pub mod kickstart;
mod lines;
pub mod lvm;
pub mod marked_block;
pub mod md;
pub mod mount;
pub mod multipath;
mod octal_escape;
pub mod scsi;
pub mod size;
pub mod tuning;
pub mod vmware;

pub use error::{Error, ErrorKind, Result};
