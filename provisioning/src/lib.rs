//! Makes a host a master target.
//!
//! What this crate stands on so far: the one door to the machine, and what SCSI disks say of
//! themselves. Nothing here knows of extents, streams or recovery points: that is `blockio`.

pub mod error;
#[allow(clippy::disallowed_methods, reason = "this module is the one door")]
pub mod host;
pub mod scsi;

pub use error::{Error, ErrorKind, Result};
