//! Makes a host a master target.
//!
//! Data flows one way: [`host`] is read by the observers, the observation and the operator's wishes become a
//! plan (a pure value), the plan is applied step by step, and the host is observed again.
//! Nothing here knows of extents, streams or recovery points: those are the crate `blockio`.

pub mod error;

pub use error::{Error, ErrorKind, Result};
