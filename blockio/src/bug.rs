//! Deliberate bugs: what the simulator must catch, each planted by name, in tests only. Outside of
//! tests neither the bugs nor what they do exist: [`planted!`] is `false` there, or nothing.

/// Asks whether a bug is planted, or does what it does: `planted!(NoBarrier1)`, or
/// `planted!(NoBarrier1 => { … })`.
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
    /// Before-images are not flushed before what they are of is overwritten.
    NoBarrier1,
    /// Volumes are not flushed before progress is recorded.
    NoBarrier2,
    /// Progress is told as durable before it is recorded.
    NoBarrier3,
    /// The end of a log is saved whose last records failed, or that is in another epoch.
    EndSavedUnseen,
    /// A record of another session is taken for one of this.
    StaleBytesTakenForLog,
    /// What was preserved before a crash is preserved again after it.
    FirstTouchSetNotRebuilt,
    /// A segment that a kept point needs is removed.
    ExpiryOfANeededSegment,
    /// A record is believed though one before it is missing.
    NonConsecutiveNumbers,
    /// A record whose payload is torn is believed.
    PayloadNotChecked,
    /// A rollback does not preserve what it overwrites.
    RollbackNotLogged,
    /// A point is made before the volumes are flushed.
    PointBeforeFlush,
    /// What a process before left in a cache is relied on as durable.
    SegmentsNotFlushedAtOpen,
    /// Segments are removed before the state that needs them is replaced.
    UnlinkBeforeState,
    /// Of two merged epochs the later image counts.
    MergeKeepsTheLaterImage,
    /// A view asks for images before it reads the disk, and not after.
    ViewDoesNotLookAgain,
    /// A view takes the end of what it read before it read the disk for the end.
    ViewTrustsItsWindow,
    /// A rollback that is not complete is recorded as complete.
    RollbackRecordedBeforeFlush,
    /// That a rollback that keeps nothing gives up points is not in the journal.
    BreakNotInTheJournal,
    /// The same, and it is not in the state.
    BreakNotInTheState,
    /// What a source has more than before stays as the target has it.
    GrowthNotCleared,
    /// The size of a source that has grown is recorded before what it has more is cleared.
    GrowthRecordedBeforeCleared,
    /// What brings volumes back after a killed run goes to the last point, wherever they were.
    RecoverGoesForward,
    /// That volumes went on from a rollback is forgotten once something is written.
    MarkOfRollbackLost,
    /// The log goes on behind the segments of a copy that failed, and the state does not say so.
    NumbersOfHalfACopyNotSaved,
    /// What the journal says and the state does not yet is ignored.
    BeyondTheStateIgnored,
    /// A state that is older than its history is believed.
    OlderStateBelieved,
    /// Only the first copy of the state is written.
    SecondCopyNotWritten,
    /// The first copy of the state counts, however old it is.
    FirstCopyAlwaysCounts,
    /// A save that failed is in memory all the same.
    FailedSaveStaysInMemory,
    /// The last block of what is overwritten is not preserved.
    FirstTouchOffByOne,
    /// An image is read without a look at its checksum.
    ImageNotChecked,
    /// A rollback writes before it knows that all it needs is whole.
    RollbackDoesNotCheckFirst,
    /// What is accepted is not compared with the history.
    CommitComparesNothing,
    /// A volume whose write or flush failed counts as flushed.
    FailedWriteIgnored,
    /// What was saved last and is torn in both copies counts as a crash.
    TornInBothBelieved,
}

#[cfg(test)]
impl Bug {
    /// All of them.
    pub(crate) const ALL: [Self; 35] = [
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
        Self::NumbersOfHalfACopyNotSaved,
        Self::BeyondTheStateIgnored,
        Self::OlderStateBelieved,
        Self::SecondCopyNotWritten,
        Self::FirstCopyAlwaysCounts,
        Self::FailedSaveStaysInMemory,
        Self::FirstTouchOffByOne,
        Self::ImageNotChecked,
        Self::RollbackDoesNotCheckFirst,
        Self::CommitComparesNothing,
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

    /// Plants `bug` in this thread, or none.
    pub(crate) fn plant(bug: Option<Bug>) {
        PLANTED.set(bug);
    }

    /// Whether it is planted.
    #[must_use]
    pub(crate) fn is_planted(bug: Bug) -> bool {
        PLANTED.get() == Some(bug)
    }
}
