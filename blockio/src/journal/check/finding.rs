//! What a check can find, and how far each kind of damage reaches. Pure.

use serde::Serialize;

use crate::journal::catalogue::PointId;

/// How many findings are listed; any others are only counted.
pub(crate) const FINDINGS_COUNT_MAX: usize = 1000;

/// The kinds of findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// The state is damaged: nothing is known of the points.
    StateNotReadable,
    /// A segment that a point needs is missing.
    SegmentMissing,
    /// The device failed to read part of a segment.
    SegmentNotReadable,
    /// The first block of a segment is not a header, or its checksum is wrong.
    SegmentHeaderDamaged,
    /// A segment of another journal.
    SegmentForeign,
    /// A segment whose header has another number than its name.
    SegmentNumberWrong,
    /// A segment with images of another epoch than that of the point that has it.
    SegmentEpochWrong,
    /// Records that were durable are missing, or have other numbers.
    RecordMissing,
    /// The header of a record is invalid, or its checksum is wrong.
    RecordHeaderDamaged,
    /// The images of a record do not match its checksum.
    PayloadDamaged,
    /// A record left there by an earlier session, or by another journal.
    RecordForeign,
    /// The records take more or fewer bytes of the segment than the state says.
    SpanLengthWrong,
    /// Whole records follow where the segment ends according to the state: they would be ignored.
    SpanTooShort,
    /// An image of a volume that the journal does not have.
    VolumeUnknown,
    /// An image that lies outside of its volume.
    ImageOutsideVolume,
    /// An image of a block that was preserved before in the same epoch: only the first one counts.
    ImageTwice,
    /// The first record of an epoch does not begin it, or cannot be parsed.
    EpochWithoutBeginning,
    /// One of the two copies of the state is damaged, lost, or older than the other.
    StateCopyWrong,
    /// A segment that was made when there was a newer state than this one.
    StateOlder,
    /// A segment of a journal that the state never had.
    HistoryUnknown,
    /// A segment that no point needs, left by a crash or about to be used: not damage.
    SegmentOfNoPoint,
    /// The last record is incomplete: a crash cut it off, or it is being written: not damage.
    TornTail,
    /// A rollback was begun and not finished: not damage.
    RollbackUnfinished,
}

/// How far damage reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    /// Nothing is lost; only a remark.
    Remark,
    /// Something is wrong, but every point can be reached.
    NoPoint,
    /// Only the point of this epoch: the progress of its streams is lost.
    ThisPoint,
    /// This point, and all before it.
    AllBefore,
}

impl Class {
    /// Whether it is damage rather than a remark.
    #[must_use]
    pub fn is_damage(self) -> bool {
        self.reach() != Reach::Remark
    }

    pub(super) fn reach(self) -> Reach {
        match self {
            Self::SegmentOfNoPoint | Self::TornTail | Self::RollbackUnfinished => Reach::Remark,
            Self::StateCopyWrong
            | Self::HistoryUnknown
            | Self::SpanLengthWrong
            | Self::ImageTwice => Reach::NoPoint,
            Self::EpochWithoutBeginning => Reach::ThisPoint,
            Self::StateNotReadable
            | Self::StateOlder
            | Self::SegmentMissing
            | Self::SegmentNotReadable
            | Self::SegmentHeaderDamaged
            | Self::SegmentForeign
            | Self::SegmentNumberWrong
            | Self::SegmentEpochWrong
            | Self::RecordMissing
            | Self::RecordHeaderDamaged
            | Self::PayloadDamaged
            | Self::RecordForeign
            | Self::SpanTooShort
            | Self::VolumeUnknown
            | Self::ImageOutsideVolume => Reach::AllBefore,
        }
    }
}

/// A single finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Its kind.
    pub class: Class,
    /// The point whose epoch it is in.
    pub point: Option<PointId>,
    /// The segment it is in.
    pub segment: Option<u64>,
    /// The byte offset within the segment.
    pub byte: Option<u64>,
    /// The number of the record, or of the first of several.
    pub record: Option<u64>,
    /// A description for people.
    pub detail: String,
}

/// The findings in one segment; they count if the segment is still needed after it was read.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) findings: Vec<Finding>,
    pub(super) unlisted: u64,
    pub(super) worst: Option<Reach>,
}

impl Found {
    pub(super) fn add(&mut self, finding: Finding) {
        let reach = finding.class.reach();
        self.worst = self.worst.max(Some(reach));
        if self.findings.len() < FINDINGS_COUNT_MAX {
            self.findings.push(finding);
        } else {
            self.unlisted += 1;
        }
    }

    pub(super) fn has_damage(&self) -> bool {
        self.worst.is_some_and(|worst| worst != Reach::Remark)
    }
}
