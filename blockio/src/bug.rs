//! Deliberate bugs that the simulator must catch, each planted by name, in tests only. Outside of
//! tests neither the bugs nor their effects exist: [`planted!`] is `false` there, or expands to
//! nothing.

/// Asks whether a bug is planted, or runs its effect: `planted!(NoBarrier1)`, or
/// `planted!(NoBarrier1 => { ... })`.
#[cfg(test)]
macro_rules! planted {
    ($bug:ident) => {
        $crate::bug::is_planted($crate::bug::Bug::$bug)
    };
    ($bug:ident => $does:block) => {
        if $crate::bug::is_planted($crate::bug::Bug::$bug) $does
    };
}

#[cfg(not(test))]
macro_rules! planted {
    ($bug:ident) => {
        false
    };
    ($bug:ident => $does:block) => {};
}

/// A bug that can be planted.
#[cfg(test)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Bug {
    /// Before-images are not flushed before the data they belong to is overwritten.
    NoBarrier1,
    /// Volumes are not flushed before progress is recorded.
    NoBarrier2,
    /// Progress is reported as durable before it is recorded.
    NoBarrier3,
    /// The end of a log is saved although its last records failed, or although it is in another
    /// epoch.
    EndSavedUnseen,
    /// A record of another session is taken for a record of this one.
    StaleBytesTakenForLog,
    /// What was preserved before a crash is preserved again after it.
    FirstTouchSetNotRebuilt,
    /// A segment that a kept point needs is removed.
    ExpiryOfANeededSegment,
    /// A record is believed though one before it is missing.
    NonConsecutiveNumbers,
    /// A record is believed although its payload is torn.
    PayloadNotChecked,
    /// A rollback does not preserve what it overwrites.
    RollbackNotLogged,
    /// A point is made before the volumes are flushed.
    PointBeforeFlush,
    /// Data that an earlier process left in a cache is relied on as durable.
    SegmentsNotFlushedAtOpen,
    /// A checkpoint beside which writing continues records where the input is now.
    CheckpointPastItsPlace,
    /// A flush beside which writing continues begins before what it includes was written.
    FlushBeforeWhatItIncludes,
    /// A flush beside which writing continues begins before the clears it includes are done.
    FlushBeforeClear,
    /// Sectors are written again while a clear of them is under way.
    ClearNotAwaited,
    /// Progress is recorded while the flush beside which writing continues is under way.
    FlushBehindNotAwaited,
    /// Segments are removed before the state that needs them is replaced.
    UnlinkBeforeState,
    /// When two epochs are merged, the later image wins.
    MergeKeepsTheLaterImage,
    /// A view looks up images before it reads the disk, and not again afterwards.
    ViewDoesNotLookAgain,
    /// A view treats the end of what it had read of the journal before the disk read as the end.
    ViewTrustsItsWindow,
    /// A rollback that is not complete is recorded as complete.
    RollbackRecordedBeforeFlush,
    /// The journal does not record that a rollback without undo gives up points.
    BreakNotInTheJournal,
    /// The state does not record that a rollback without undo gives up points.
    BreakNotInTheState,
    /// The part by which a source has grown keeps the target's old content.
    GrowthNotCleared,
    /// The new size of a source that has grown is recorded before the added part is cleared.
    GrowthRecordedBeforeCleared,
    /// Recovering volumes after a killed run goes to the last point, wherever they were.
    RecoverGoesForward,
    /// After a rollback, the record that volumes continue from it is lost with the first write.
    MarkOfRollbackLost,
    /// The log continues after the segments of a copy, and the state does not say so.
    NumbersOfACopyNotSaved,
    /// A copy takes the place of its originals before it is durable.
    CopyNotFlushed,
    /// The originals of a copy are removed before the state has the copy.
    OriginalsRemovedBeforeState,
    /// What the journal records beyond the state is ignored.
    BeyondTheStateIgnored,
    /// A state that is older than its history is believed.
    OlderStateBelieved,
    /// Only the first copy of the state is written.
    SecondCopyNotWritten,
    /// The first copy of the state counts, however old it is.
    FirstCopyAlwaysCounts,
    /// A save that failed is kept in memory anyway.
    FailedSaveStaysInMemory,
    /// The last block of an overwritten range is not preserved.
    FirstTouchOffByOne,
    /// An image is read without verifying its checksum.
    ImageNotChecked,
    /// A rollback writes before it has verified that everything it needs is intact.
    RollbackDoesNotCheckFirst,
    /// A commit does not compare the accepted volumes with the history.
    CommitComparesNothing,
    /// What a rollback did not write, because the disk held it, counts as preserved.
    LeftOutCountsAsPreserved,
    /// A rollback does not write the last of several blocks that differ.
    LastThatDiffersLeftOut,
    /// A volume whose write or flush failed counts as flushed.
    FailedWriteIgnored,
    /// A last save that is torn in both copies is taken for a crash.
    TornInBothBelieved,
}

#[cfg(test)]
impl Bug {
    /// All bugs.
    pub(crate) const ALL: [Self; 44] = [
        Self::NoBarrier1,
        Self::NoBarrier2,
        Self::NoBarrier3,
        Self::EndSavedUnseen,
        Self::StaleBytesTakenForLog,
        Self::FirstTouchSetNotRebuilt,
        Self::ExpiryOfANeededSegment,
        Self::NonConsecutiveNumbers,
        Self::PayloadNotChecked,
        Self::RollbackNotLogged,
        Self::PointBeforeFlush,
        Self::SegmentsNotFlushedAtOpen,
        Self::CheckpointPastItsPlace,
        Self::FlushBeforeWhatItIncludes,
        Self::FlushBeforeClear,
        Self::ClearNotAwaited,
        Self::FlushBehindNotAwaited,
        Self::UnlinkBeforeState,
        Self::MergeKeepsTheLaterImage,
        Self::ViewDoesNotLookAgain,
        Self::ViewTrustsItsWindow,
        Self::RollbackRecordedBeforeFlush,
        Self::BreakNotInTheJournal,
        Self::BreakNotInTheState,
        Self::GrowthNotCleared,
        Self::GrowthRecordedBeforeCleared,
        Self::RecoverGoesForward,
        Self::MarkOfRollbackLost,
        Self::NumbersOfACopyNotSaved,
        Self::CopyNotFlushed,
        Self::OriginalsRemovedBeforeState,
        Self::BeyondTheStateIgnored,
        Self::OlderStateBelieved,
        Self::SecondCopyNotWritten,
        Self::FirstCopyAlwaysCounts,
        Self::FailedSaveStaysInMemory,
        Self::FirstTouchOffByOne,
        Self::ImageNotChecked,
        Self::RollbackDoesNotCheckFirst,
        Self::CommitComparesNothing,
        Self::LeftOutCountsAsPreserved,
        Self::LastThatDiffersLeftOut,
        Self::FailedWriteIgnored,
        Self::TornInBothBelieved,
    ];
}

#[cfg(test)]
pub(crate) use planted::{is_planted, plant};

#[cfg(test)]
mod planted {
    use std::cell::Cell;

    use super::Bug;

    thread_local! {
        static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Plants `bug` in this thread, or clears it.
    pub(crate) fn plant(bug: Option<Bug>) {
        PLANTED.set(bug);
    }

    /// Whether `bug` is planted in this thread.
    #[must_use]
    pub(crate) fn is_planted(bug: Bug) -> bool {
        PLANTED.get() == Some(bug)
    }
}
