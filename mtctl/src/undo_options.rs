//! What happens to the data that a rollback overwrites, as typed.

use blockio::journal::catalogue::{Catalogue, PointId};
use clap::Args;

use crate::output;

/// Where the room for it comes from, or that none is taken.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct UndoOptions {
    /// Give up the oldest points if that makes room to keep what gets overwritten
    #[arg(long)]
    pub(crate) give_up_points: bool,

    /// Keep nothing of what gets overwritten: faster, and needs no room, but cannot be undone;
    /// points after the destination are given up
    #[arg(long, conflicts_with = "give_up_points")]
    pub(crate) without_undo: bool,
}

impl UndoOptions {
    /// What else going back to `to` costs, in words that continue a question; usually empty.
    pub(crate) fn cost(self, known: &Catalogue, to: PointId) -> String {
        match self.given_up(known, to) {
            0 if self.without_undo => " without a way to undo it".to_owned(),
            0 => String::new(),
            count => format!(" and give up {} after it", output::counted(count, "point")),
        }
    }

    /// Whether going back to `to` gives up `point`, or may do so.
    pub(crate) fn takes(self, point: PointId, to: PointId) -> bool {
        (self.without_undo && point > to) || (self.give_up_points && point < to)
    }

    /// How many points are certainly given up.
    pub(crate) fn given_up(self, known: &Catalogue, to: PointId) -> u64 {
        let later = known.recovery_points().filter(|point| point.id > to);
        if self.without_undo { later.count() as u64 } else { 0 }
    }
}
