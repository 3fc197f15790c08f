//! What an operator should know although nothing failed: one type, so that who tells it can tell
//! kinds apart, and only here it is put into words.

use std::fmt;
use std::time::Duration;

use crate::journal::catalogue::PointId;
use crate::plain::Plain;
use crate::storage::SegmentNumber;
use crate::units::in_hours;
use crate::volume_name::VolumeName;

/// Something that an operator should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// One copy of the group's state does not count, and why; the other one does.
    StateCopyPassedOver {
        /// The file that does not.
        bad: String,
        /// Why.
        why: String,
        /// The file that does.
        good: String,
    },
    /// What leads back to points is not there, or is another history: the state is of a group that
    /// was committed since, or of another one.
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
    /// What all disks of the group held is not in the journal.
    ContentNotKnown,
    /// A segment that leads to no point was removed.
    StrayRemoved(SegmentNumber),
    /// A segment that is not needed any more is still there.
    NotRemoved {
        /// Which one.
        segment: SegmentNumber,
        /// What the kernel said.
        why: String,
    },
    /// The room that a segment does not use was not given back.
    SpareRoomKept {
        /// Which one.
        segment: SegmentNumber,
        /// What the kernel said.
        why: String,
    },
    /// The segments that are there do not lead back to these points.
    PointsLost(Vec<PointId>),
    /// What leads back to a point could not be merged.
    LeftUnmerged {
        /// The point.
        point: String,
        /// Why.
        why: String,
    },
    /// A point was given up for want of room.
    GivenUpForRoom {
        /// The point.
        point: String,
    },
    /// The retention volume is too small for the window.
    WindowDoesNotFit {
        /// What it holds.
        held: Duration,
        /// What is wanted.
        wanted: Duration,
    },
    /// A point is dated before the one before it.
    ClockSetBack {
        /// The point.
        point: String,
        /// By so much.
        by: Duration,
    },
    /// A point is dated long after the one before it.
    LongGap {
        /// The point.
        point: String,
        /// By so much …
        by: Duration,
        /// … of which so much counts.
        counts: Duration,
    },
    /// A mark of the stream is not made a point: some volumes of the group are elsewhere.
    NotAllVolumesAtMark,
    /// No stream had a volume that a target was named for.
    InNoStream {
        /// The target of the volume.
        target: String,
    },
    /// A target is known by another name, and is the same by something else.
    TargetHasAnotherName {
        /// The target.
        target: String,
        /// Its name, as the group has it.
        before: String,
        /// What is the same.
        same: String,
    },
    /// A target differs from what is known of it, and was taken since the operator said so.
    DifferentTargetTaken {
        /// The target.
        target: String,
        /// What differs.
        difference: String,
    },
    /// A stream is applied although something speaks against it: the operator said so, or nothing
    /// is known that could decide it.
    StreamTaken {
        /// What speaks against it, and what is done.
        why: String,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StateCopyPassedOver { bad, why, good } => {
                write!(f, "{bad}: {why}; {good} is used, and the next change writes both")
            }
            Self::HistoryNotThere { segment, why } => history_not_there(f, *segment, why),
            Self::TornRecord { record, segment } => {
                write!(f, "record {record} of segment {} is not whole: left out", segment.0)
            }
            Self::NoHeader(segment) => write!(f, "segment {} has no header: left out", segment.0),
            Self::NoTarget { volume } => write!(
                f,
                "the journal does not say which disk volume \"{}\" is on, as nothing of it was \
                 overwritten: name the right one again with the next stream",
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
                write!(f, "segment {} keeps its spare room: {why}", segment.0)
            }
            Self::PointsLost(points) => {
                let points: Vec<_> = points.iter().map(ToString::to_string).collect();
                write!(f, "the segments do not lead back to {} any more", points.join(", "))
            }
            Self::LeftUnmerged { point, why } => {
                write!(f, "what leads back to {point} is left unmerged: {why}")
            }
            Self::GivenUpForRoom { point } => {
                write!(f, "the retention volume is full: {point} had to go")
            }
            Self::WindowDoesNotFit { held, wanted } => write!(
                f,
                "at the rate at which the disks change, the retention volume holds {}, and the \
                 retention window is {}: enlarge the volume, or shorten the window",
                in_hours(*held),
                in_hours(*wanted)
            ),
            Self::ClockSetBack { point, by } => write!(
                f,
                "{point} is dated {} before the one before it: a clock was set; points keep their \
                 order, and none gets older by that",
                in_hours(*by)
            ),
            Self::LongGap { point, by, counts } => write!(
                f,
                "{point} is dated {} after the one before it, far more than usual: for how long \
                 points are kept it counts as {}",
                in_hours(*by),
                in_hours(*counts)
            ),
            Self::NotAllVolumesAtMark => f.write_str(
                "no recovery point is made here: not all volumes of the group are at it",
            ),
            Self::InNoStream { target } => write!(f, "{target}: no stream had this volume"),
            Self::TargetHasAnotherName { target, before, same } => {
                write!(f, "{target}: the group knows it as {before}; {same} is the same")
            }
            Self::DifferentTargetTaken { target, difference } => {
                write!(f, "{target}: {difference}; it is taken all the same")
            }
            Self::StreamTaken { why } => f.write_str(why),
        }
    }
}

const CONTENT_NOT_KNOWN: &str = "what the disks held is not known, so that another disk at the \
                                 same place would not be noticed: see that they are the right ones";

fn history_not_there(f: &mut fmt::Formatter<'_>, segment: SegmentNumber, why: &str) -> fmt::Result {
    write!(
        f,
        "the history that the state is of is not there (segment {}: {why}), and no point can be \
         reached: the group was committed since, the state is another group's, or the volume is \
         not mounted; see with `mtctl journal check`; `mtctl group release` lets go of what is not \
         there any more",
        segment.0
    )
}
