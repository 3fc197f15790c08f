//! The sending side: brings streams to a receiver, over as many connections as it takes.
//!
//! ```text
//! supply    where the bytes of a stream come from; goes back to what is not durable
//! address   where the receiver is
//! delivery  one stream over one connection
//! sender    connects, delivers, and connects again
//! ```

mod address;
mod delivery;
mod sender;
pub mod supply;

pub use address::Address;
pub use delivery::Progress;
pub use sender::{Delivered, Sender, SenderEvent};
