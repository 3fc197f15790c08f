//! Makes a host a master target.
//!
//! Data flows one way: the observers read the [`host`], the observation and the operator's wishes
//! become a plan (a pure value), the plan is applied step by step, and the host is observed again.
//! Nothing here knows about extents, streams or recovery points: those belong to the crate
//! `blockio`.

pub mod apply;
pub mod blank;
pub mod check;
pub mod disk;
mod ext4;
pub mod filesystem;
pub mod finding;
pub mod fstab;
pub mod groups;
pub mod guard;
#[allow(clippy::disallowed_methods, reason = "this module is the one door")]
pub mod host;
mod hosts;
pub mod kickstart;
mod lines;
pub mod lvm;
pub mod marked_block;
pub mod md;
pub mod multipath;
pub mod observe;
pub mod packages;
pub mod plan;
pub mod platform;
pub mod prepare;
pub mod record;
pub mod retention;
pub mod scsi;
pub mod spec;
pub mod step;
pub mod tuning;
pub mod vmware;

pub use system::{Error, ErrorKind, Result};
