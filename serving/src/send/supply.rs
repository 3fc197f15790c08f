//! Where the bytes of a stream come from. Until they are durable at the receiver, it can go back to
//! them.

use blockio::stream::native::Cursor;

use crate::Result;
use crate::session::message::Known;

mod full_copy;
mod stream_file;

pub use full_copy::FullCopy;
pub use stream_file::StreamFile;

/// A stream to be sent.
pub trait Supply {
    /// Its name in messages.
    fn name(&self) -> String;

    /// How long it is, in bytes, if that is known.
    fn length(&self) -> Option<u64>;

    /// The record of its header.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is no stream.
    fn header(&mut self) -> Result<Vec<u8>>;

    /// Goes to `known`, if that is a place in this stream; `None` if it is not, or not any more.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    fn go_to(&mut self, known: &Known) -> Result<Option<Cursor>>;

    /// Goes to the end of the header.
    ///
    /// # Errors
    ///
    /// That is not possible any more.
    fn go_to_start(&mut self) -> Result<()>;

    /// Puts what follows into `room`, at most as much as it has capacity for; nothing at the end.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    fn next(&mut self, room: &mut Vec<u8>) -> Result<()>;

    /// Everything before `position` is durable: it is not gone back to.
    fn forget(&mut self, position: u64);
}
