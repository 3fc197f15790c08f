//! The retention journal: what disks held before it was overwritten, so that they can be brought
//! back to any recovery point that is kept. It is an undo log: for each block that is overwritten
//! between two recovery points, the first before-image is kept.
//!
//! ```text
//! layout      bytes of segments and records            pure
//! touched     what was preserved in this epoch         pure
//! catalogue   the points, and their segments           pure, saved with the group's state
//! state       what is known of the volumes             pure
//! change      what a save changes in it                pure
//! state_text  both as text                             pure
//! retention   what expires, and when                   pure
//! keep        what is kept by count                    pure
//! selector    how people name a point                  pure
//! settings    a group's settings, as saved             pure
//! memo        what the journal records of its group    pure
//! saved       the two copies of the state, and which one counts
//! beyond      what the journal records beyond the state
//! strays      segments that no point has, and whose they are
//! draft       a record in the making
//! log         records become durable                   BARRIER 1
//! open        what a crash left of the open epoch
//! compact     merged epochs, without superseded images
//! scan        what is in a segment
//! index       where a point's bytes are               pure
//! images      all images since a point, to be read
//! check       is it complete and intact                reads only
//! dump        one line per record                      reads only
//! rebuild     the state, from the segments alone       reads only
//! ```
//!
//! Not here: who preserves and saves (`group`), what is written to the disks (`apply`, `rollback`),
//! and how a point is read (`view`).

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
pub(crate) mod memo;
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
