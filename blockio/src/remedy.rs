//! What an operator can do about an error or a notice. The command puts it into words, because only
//! the command knows its verbs and options (ADR 22).
//!
//! A hint that needs neither is a text, with [`Error::with_hint`](crate::Error::with_hint).

use crate::Error;
use crate::journal::catalogue::PointId;

/// What to do now, by its subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// About a change stream, or what was said about it.
    Stream(StreamRemedy),
    /// About a disk or an image file.
    Disk(DiskRemedy),
    /// About recovery points, and room for their history.
    Point(PointRemedy),
    /// About a group and what is saved of it.
    Group(GroupRemedy),
}

/// What to do about a change stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamRemedy {
    /// Apply the stream that was begun to its end. If it cannot be had, go back to a point, or
    /// replace everything with a raw image: no other stream has what is missing.
    FinishOrReplace {
        /// The files that the stream was begun from, if they are known.
        files: Vec<String>,
    },
    /// Apply the stream that was begun to its end, or accept that it stays unfinished.
    FinishOrGiveUp {
        /// The files that the stream was begun from, if they are known.
        files: Vec<String>,
    },
    /// Apply the stream that was begun, or go back to where it begins and apply this one there.
    FinishOrGoBack,
    /// Accept a stream that may have been applied long ago.
    AcceptOlder,
    /// Accept that the volume is where the stream begins.
    AcceptBase {
        /// Where an rbd diff would have to begin so that nothing need be accepted.
        since: Option<String>,
    },
    /// Accept that the source was resized.
    AcceptResize,
    /// Stop making points by the clock: let marks alone make them.
    MakePointsAtMarks {
        /// The group.
        group: String,
    },
    /// Say which volume the stream is of.
    NameVolume {
        /// The volumes with a target.
        volumes: String,
    },
    /// Say what the volume of one of several streams is called.
    NameVolumeOf {
        /// The stream, as it was named.
        input: String,
    },
    /// Name the disk of one volume.
    NameDisk {
        /// The volume.
        volume: String,
    },
    /// Name the disk of each volume.
    NameDisks,
    /// Say how large the disk of the stream is.
    NameSize,
    /// Name the moment at which the streams end.
    NameMark,
    /// Say that it is a raw image.
    NameFormat,
}

/// What to do about a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskRemedy {
    /// Choose one of the disks that there are.
    Choose,
    /// Choose one of the disks that there are, or make the image file first.
    ChooseOrMakeImage,
    /// Look what the disk is now, and begin again.
    LookAgain,
    /// See who uses the disk, or take another way.
    SeeUsers {
        /// The disk.
        path: String,
        /// Whether it was to be read only: a recovery point has its content too.
        is_read: bool,
    },
    /// Be a user who may open it.
    OpenAsRoot,
    /// Name the multipath map that the disk is a path of.
    NameMap {
        /// The name of the map.
        map: String,
    },
    /// Remove the mappings of its partitions.
    RemovePartitions {
        /// The disk.
        path: String,
    },
    /// Have the image file grown.
    GrowImage,
    /// Name the disk that was written so far; or accept this one.
    Accept {
        /// The group.
        group: String,
    },
    /// Name the disk with the volume that it had before; or give that volume up.
    NameAsBefore {
        /// The group.
        group: String,
        /// The volume that it is; `None` if that has no name.
        volume: Option<String>,
        /// Whether the stream has a name for its volume.
        is_named_by_stream: bool,
    },
    /// Allow io_uring, or do without it.
    AllowRing,
    /// Copy the disk again, and see what differs.
    CopyAgain,
    /// Hash both disks with leaves of one size.
    HashAlike,
    /// Hash the disk at this point.
    HashPoint {
        /// The group.
        group: String,
        /// The point.
        point: PointId,
    },
    /// Keep others from the disk, and roll back again.
    RollBackAgain,
}

/// What to do about recovery points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PointRemedy {
    /// See which points are kept.
    List,
    /// See which points are kept, of which these are the ends.
    ListBetween {
        /// The oldest.
        first: String,
        /// The newest.
        last: String,
    },
    /// See which points a damaged segment makes impossible to reach.
    ListLost,
    /// Unpin the point.
    Unpin {
        /// The group.
        group: String,
        /// The point, as it can be named.
        point: String,
    },
    /// Unpin the point, or keep what the rollback overwrites.
    UnpinOrKeepOverwritten {
        /// The group.
        group: String,
        /// The point, as it can be named.
        point: String,
    },
    /// Unpin the point, enlarge the volume, or keep nothing of what the rollback overwrites.
    UnpinForRoom {
        /// The group.
        group: String,
        /// The point.
        point: PointId,
    },
    /// Enlarge the volume, give up the oldest points, or keep nothing of what is overwritten.
    GiveUpForRoom,
    /// As [`GiveUpForRoom`](Self::GiveUpForRoom), where giving up all of them may not be enough.
    MakeRoom,
    /// Allow the history to take more room.
    RaiseLimit {
        /// The group.
        group: String,
    },
    /// Go to the newest point, or apply the stream to its end.
    GoToLatest {
        /// The group.
        group: String,
    },
    /// Finish the rollback, or go to another point.
    FinishRollback {
        /// The group.
        group: String,
        /// Where it leads.
        to: PointId,
    },
}

/// What to do about a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupRemedy {
    /// See which groups there are.
    List,
    /// See what the group of that name is, or choose another name.
    SeeOrChooseName {
        /// The group.
        group: String,
    },
    /// Apply the same stream again, or recover.
    ApplyAgainOrRecover {
        /// The group.
        group: String,
    },
    /// Apply a stream with a history.
    KeepHistory,
    /// Name the directory of the history.
    NameHistory,
    /// Check the journal: nothing was written.
    CheckJournal,
    /// Check the journal, or let go of a history that is gone.
    CheckOrRelease,
    /// If the state was put back from a copy, put the newer one back, or rebuild it; nothing was
    /// written or removed.
    PutNewerStateBack,
    /// Put the newest state back, or rebuild it from the journal.
    RebuildState {
        /// The group.
        group: String,
        /// Whether to say that nothing was written or removed: segments are there that may look as
        /// if they could go.
        is_untouched: bool,
    },
}

impl Remedy {
    /// The remedy of `error`, if it has one of ours.
    #[must_use]
    pub fn of(error: &Error) -> Option<&Self> {
        error.remedy()
    }
}

impl From<StreamRemedy> for Remedy {
    fn from(remedy: StreamRemedy) -> Self {
        Self::Stream(remedy)
    }
}

impl From<DiskRemedy> for Remedy {
    fn from(remedy: DiskRemedy) -> Self {
        Self::Disk(remedy)
    }
}

impl From<PointRemedy> for Remedy {
    fn from(remedy: PointRemedy) -> Self {
        Self::Point(remedy)
    }
}

impl From<GroupRemedy> for Remedy {
    fn from(remedy: GroupRemedy) -> Self {
        Self::Group(remedy)
    }
}

/// Gives an error a [`Remedy`].
pub(crate) trait Remedied {
    /// Replaces any earlier hint with `remedy`.
    fn remedied(self, remedy: impl Into<Remedy>) -> Self;
}

impl Remedied for Error {
    fn remedied(self, remedy: impl Into<Remedy>) -> Self {
        self.with_remedy(remedy.into())
    }
}
