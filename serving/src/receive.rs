//! The receiving side: listens, takes sessions up, and hands each stream to the holder of its
//! group.
//!
//! ```text
//! listener    accepts, with limits; one thread a connection
//! session     hello, offers, what is refused; who replaces whom (sessions)
//! permission  which identity may write to which group
//! holder      one thread a group: runs one stream after the other
//! stream      the connection as the source of a run
//! ```

mod holder;
mod listener;
pub mod permission;
mod session;
mod sessions;
mod stream;

pub use holder::{Access, Holder};
pub use listener::{Listen, Receiver};
