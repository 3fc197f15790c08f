//! Shared parts of the integration tests: a scratch machine, loop devices, recorded hosts, the
//! program under test, and the one way to skip. The tests themselves are in `tests/`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test code outside of test functions")]

pub mod change_stream;
pub mod content;
pub mod disk_plan;
pub mod foreign;
pub mod journal_format;
pub mod loop_device;
pub mod machine;
pub mod program;
pub mod raid_member;
pub mod random;
pub mod recorded;
pub mod scratch_machine;
pub mod second_opinion;
pub mod skip;
pub mod sysfs;
pub mod terminal;
pub mod vpd;
