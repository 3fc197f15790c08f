//! Change streams in, durable disks and recovery points out; knows nothing of hosts.
//!
//! [`units`] and [`extent`] are the arithmetic that everything else stands on: typed, checked,
//! without allocation.

pub mod extent;
pub mod units;
