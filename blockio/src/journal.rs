//! The retention journal: what disks held before it was overwritten, so that they can be brought
//! back to any recovery point that is kept. An undo log: of each block that is overwritten between
//! two recovery points, the first before-image is kept.
//!
//! ```text
//! layout      bytes of segments and records            pure
//! touched     what was preserved in this epoch         pure
//! catalogue   the points, and their segments           pure, saved with the group's state
//! state       what is known of the volumes             pure
//! change      what a save changes of it                pure
//! state_text  both as text                             pure
//! retention   what is to go, and when                  pure
//! keep        what stays by its count                  pure
//! selector    how people name a point                  pure
//! settings    how a group is kept, as it is saved      pure
//! memo        what the journal says of its group       pure
//! saved       the two copies of the state, and which one counts
//! beyond      what the journal says and the state does not yet
//! strays      segments that no point has, and whose they are
//! draft       a record in the making
//! log         records become durable                   BARRIER 1
//! open        what a crash left of the open epoch
//! compact     merged epochs, without what does not count
//! scan        what is in a segment
//! index       where a point's bytes are               pure
//! images      all images since a point, to be read
//! check       is it all there                          reads only
//! dump        a line a record                          reads only
//! rebuild     the state anew, from the segments alone  reads only
//! ```
//!
//! Not here: who preserves and saves (`group`), what is written to the disks (`apply`,
//! `rollback`), and how a point is read (`view`).

pub(crate) mod beyond;
pub(crate) mod by_hand;
pub mod catalogue;
pub(crate) mod change;
pub mod check;
pub(crate) mod compact;
pub(crate) mod draft;
pub mod dump;
pub(crate) mod images;
pub(crate) mod index;
pub mod keep;
pub mod layout;
pub(crate) mod log;
pub mod memo;
pub(crate) mod open;
pub mod rebuild;
pub mod retention;
pub mod saved;
pub(crate) mod scan;
pub mod selector;
pub mod settings;
pub mod state;
pub mod state_text;
pub(crate) mod strays;
pub(crate) mod touched;

pub(crate) use log::Ticket;
