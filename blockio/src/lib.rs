//! Change streams in, durable disks and recovery points out; knows nothing of hosts.
//!
//! Data flows one way: [`stream`] decodes, [`verify`] believes or refuses, [`plan`] decides what is
//! written where, and [`apply`] writes it to a [`device`]. [`units`] and [`extent`] are the
//! arithmetic that everything else builds on: typed, checked, without allocation.

#[macro_use]
mod bug;

pub mod apply;
pub mod assignment;
mod barrier;
pub mod commit;
pub mod convert;
pub mod device;
pub mod digest;
pub mod extent;
pub mod group;
pub mod inspect;
pub mod journal;
mod little_endian;
pub mod merge;
pub mod nbd;
pub mod notice;
pub mod patience;
pub mod plain;
pub mod plan;
pub mod recover;
pub mod remedy;
pub mod restore;
pub mod retarget;
pub mod rollback;
#[cfg(test)]
mod sim;
pub mod storage;
pub mod stream;
pub mod target_check;
pub mod target_identity;
pub mod units;
pub mod verify;
pub mod view;
pub mod volume;
pub mod volume_name;

pub use system::{Error, ErrorKind, Result};
