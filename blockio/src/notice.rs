//! What an operator should know although nothing failed: one type, so that a reporter can
//! distinguish kinds, and one place where they are put into words.

use std::fmt;
use std::time::Duration;

use crate::journal::catalogue::PointId;
use crate::plain::Plain;
use crate::remedy::{GroupRemedy, Remedy};
use crate::storage::SegmentNumber;
use crate::units::in_hours;
use crate::volume_name::VolumeName;

/// Something that an operator should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// One copy of the group's state does not count, and why; the other one does.
    StateCopyPassedOver {
        /// The file that does not count.
        bad: String,
        /// Why.
        why: String,
        /// The file that does.
        good: String,
    },
    /// The segments that lead back to the points are missing, or belong to another history: the
    /// state is that of a group that was committed since, or of another group.
    HistoryNotThere {
        /// The segment that is written to.
        segment: SegmentNumber,
        /// What is wrong with it.
        why: String,
    },
    /// A crash left part of a record at the end of the journal.
    TornRecord {
        /// Which one.
        record: u64,
        /// Where.
        segment: SegmentNumber,
    },
    /// A segment without a header: a crash left it.
    NoHeader(SegmentNumber),
    /// The journal does not say which disk a volume is on: nothing of it was overwritten yet.
    NoTarget {
        /// Which volume.
        volume: VolumeName,
    },
    /// The journal does not have the content of all disks of the group.
    ContentNotKnown,
    /// A segment that leads to no point was removed.
    StrayRemoved(SegmentNumber),
    /// A segment that is no longer needed is still there.
    NotRemoved {
        /// Which one.
        segment: SegmentNumber,
        /// The kernel's error.
        why: String,
    },
    /// The room that a segment does not use was not given back.
    SpareRoomKept {
        /// Which one.
        segment: SegmentNumber,
        /// The kernel's error.
        why: String,
    },
    /// The segments that exist do not lead back to these points.
    PointsLost(Vec<PointId>),
    /// The epochs that lead back to a point could not be merged.
    LeftUnmerged {
        /// The point.
        point: String,
        /// Why.
        why: String,
    },
    /// A point was given up for lack of room.
    GivenUpForRoom {
        /// The point.
        point: String,
    },
    /// The retention volume is too small for the window.
    WindowDoesNotFit {
        /// The window it holds.
        held: Duration,
        /// The window wanted.
        wanted: Duration,
    },
    /// A point is dated before the one before it.
    ClockSetBack {
        /// The point.
        point: String,
        /// By how much.
        by: Duration,
    },
    /// A point is dated long after the one before it.
    LongGap {
        /// The point.
        point: String,
        /// By how much.
        by: Duration,
        /// How much of that counts.
        counts: Duration,
    },
    /// A mark of the stream is not made a point: some volumes of the group are elsewhere.
    NotAllVolumesAtMark,
    /// No stream had the volume of this target.
    InNoStream {
        /// The target of the volume.
        target: String,
    },
    /// A target has another name than before, and is identified by something else.
    TargetHasAnotherName {
        /// The target.
        target: String,
        /// Its name in the group.
        before: String,
        /// What identifies it.
        same: String,
    },
    /// A target differs from what is known of it, and was accepted because the operator said so.
    DifferentTargetTaken {
        /// The target.
        target: String,
        /// What differs.
        difference: String,
    },
    /// A stream is applied despite an objection: the operator said so, or nothing is known that
    /// could decide it.
    StreamTaken {
        /// The objection, and what is done.
        why: String,
    },
}

impl Notice {
    /// What to do about it, if the text does not say so.
    #[must_use]
    pub fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::HistoryNotThere { .. } => Some(GroupRemedy::CheckOrRelease.into()),
            Self::StateCopyPassedOver { .. }
            | Self::TornRecord { .. }
            | Self::NoHeader(_)
            | Self::NoTarget { .. }
            | Self::ContentNotKnown
            | Self::StrayRemoved(_)
            | Self::NotRemoved { .. }
            | Self::SpareRoomKept { .. }
            | Self::PointsLost(_)
            | Self::LeftUnmerged { .. }
            | Self::GivenUpForRoom { .. }
            | Self::WindowDoesNotFit { .. }
            | Self::ClockSetBack { .. }
            | Self::LongGap { .. }
            | Self::NotAllVolumesAtMark
            | Self::InNoStream { .. }
            | Self::TargetHasAnotherName { .. }
            | Self::DifferentTargetTaken { .. }
            | Self::StreamTaken { .. } => None,
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StateCopyPassedOver { bad, why, good } => {
                write!(f, "{bad}: {why}; using {good}, and the next change writes both")
            }
            Self::HistoryNotThere { segment, why } => history_not_there(f, *segment, why),
            Self::TornRecord { record, segment } => {
                write!(f, "record {record} of segment {} is incomplete: ignored", segment.0)
            }
            Self::NoHeader(segment) => write!(f, "segment {} has no header: ignored", segment.0),
            Self::NoTarget { volume } => write!(
                f,
                "the journal does not say which disk volume \"{}\" is on, because nothing on it \
                 was overwritten: name the right disk again with the next stream",
                Plain(volume)
            ),
            Self::ContentNotKnown => f.write_str(CONTENT_NOT_KNOWN),
            Self::StrayRemoved(segment) => {
                write!(f, "segment {} belongs to no point: removed", segment.0)
            }
            Self::NotRemoved { segment, why } => {
                write!(f, "segment {} could not be removed: {why}", segment.0)
            }
            Self::SpareRoomKept { segment, why } => {
                write!(f, "segment {} could not be shortened: {why}", segment.0)
            }
            Self::PointsLost(points) => {
                let points: Vec<_> = points.iter().map(ToString::to_string).collect();
                write!(f, "the segments no longer lead back to {}", points.join(", "))
            }
            Self::LeftUnmerged { point, why } => {
                write!(f, "the history since {point} is left unmerged: {why}")
            }
            Self::GivenUpForRoom { point } => {
                write!(f, "the retention volume is full: {point} was given up")
            }
            Self::WindowDoesNotFit { held, wanted } => write!(
                f,
                "at the rate at which the disks change, the retention volume holds {}, but the \
                 retention window is {}: enlarge the volume, or shorten the window",
                in_hours(*held),
                in_hours(*wanted)
            ),
            Self::ClockSetBack { point, by } => write!(
                f,
                "{point} is dated {} earlier than the point before it: a clock was set; points \
                 keep their order, and none becomes older",
                in_hours(*by)
            ),
            Self::LongGap { point, by, counts } => write!(
                f,
                "{point} is dated {} later than the point before it, far more than usual: for \
                 expiry it counts as {}",
                in_hours(*by),
                in_hours(*counts)
            ),
            Self::NotAllVolumesAtMark => f.write_str(
                "no recovery point is made here: not all volumes of the group have reached it",
            ),
            Self::InNoStream { target } => write!(f, "{target}: no stream contained this volume"),
            Self::TargetHasAnotherName { target, before, same } => {
                write!(f, "{target}: the group knows it as {before}; its {same} is the same")
            }
            Self::DifferentTargetTaken { target, difference } => {
                write!(f, "{target}: {difference}; using it anyway")
            }
            Self::StreamTaken { why } => f.write_str(why),
        }
    }
}

const CONTENT_NOT_KNOWN: &str = "what the disks held is unknown, so a wrong disk would go \
                                 unnoticed: make sure that they are the right ones";

fn history_not_there(f: &mut fmt::Formatter<'_>, segment: SegmentNumber, why: &str) -> fmt::Result {
    write!(
        f,
        "the history that the state describes is missing (segment {}: {why}), and no point can be \
         reached: the group was committed since, the state belongs to another group, or the volume \
         is not mounted",
        segment.0
    )
}
