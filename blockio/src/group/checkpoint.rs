//! A checkpoint: the progress of each volume, and the recovery points that were reached. It is one
//! change of the group's state, so that after a crash both are there, or neither.

use std::sync::Arc;

use super::keeper::Keeper;
use super::ledger::Ledger;
use super::{Durable, Group};
use crate::Result;
use crate::barrier::AllFlushed;
use crate::journal::catalogue::{Catalogue, Forgotten, NewPoint, PointId, Span};
use crate::journal::memo::{EpochMemo, PointMemo};
use crate::journal::state::{
    Consumed, Fingerprint, GroupState, Head, InBetween, Lineage, SourceOrder,
};
use crate::target_identity::TargetIdentity;
use crate::volume_name::VolumeName;

/// When progress is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// The input continues.
    OnTheWay,
    /// The input was applied to its end.
    InputComplete,
    /// The run ends, and nothing is written after this.
    AtTheEnd,
}

/// The progress of a volume.
#[derive(Clone, Debug)]
pub(crate) struct Reached {
    /// Its name in the group.
    pub(crate) volume: VolumeName,
    /// What identifies its target.
    pub(crate) target: String,
    /// The size of its target, in bytes.
    pub(crate) target_bytes: u64,
    /// What else identifies its target; includes the content only if nothing is written after this.
    pub(crate) identity: TargetIdentity,
    /// The size of its source, in bytes, if the stream states it.
    pub(crate) source_bytes: Option<u64>,
    /// Where the stream ended, if it ended here; `None` if it has not ended.
    pub(crate) ends: Option<Ends>,
    /// The position of the stream in the order of its source.
    pub(crate) order: Option<SourceOrder>,
    /// The operator accepts older streams: the order restarts from this one. Otherwise, after a
    /// clock was set back, streams would be refused for as long as it had been ahead.
    pub(crate) accepts_older: bool,
    /// The input replaced the whole content: streams that were applied before may be applied again.
    pub(crate) was_replaced: bool,
    /// The input.
    pub(crate) input: Fingerprint,
    /// Every batch that ends at or before this byte of the input is applied and durable.
    pub(crate) position: u64,
    /// Whether its batches come in the order of the source's writes.
    pub(crate) is_in_write_order: bool,
    /// What the input holds up to `position`.
    pub(crate) content: Option<Consumed>,
}

/// Where a stream ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ends {
    /// The snapshot, if it has a name.
    pub(crate) at: Option<String>,
    /// The unnamed state, if the stream is part of a chain.
    pub(crate) head: Option<Head>,
}

impl Reached {
    fn note(&self, state: &mut GroupState, when: When) {
        let known = state.volumes.entry(self.volume.clone()).or_default();
        known.target = Some(self.target.clone());
        known.target_bytes = self.target_bytes;
        known.identity = Some(self.identity.clone());
        known.source_bytes = self.source_bytes.or(known.source_bytes);
        if let Some(ends) = &self.ends {
            known.ends_at.clone_from(&ends.at);
            known.lineage.head.clone_from(&ends.head);
        }
        if self.was_replaced {
            known.applied = Arc::default();
            known.lineage = Lineage::default();
        }
        known.lineage.latest = match self.accepts_older {
            true => self.order.or(known.lineage.latest),
            false => known.lineage.latest.max(self.order),
        };
        let (input, position, content) = (self.input.clone(), self.position, self.content.clone());
        match when {
            When::InputComplete => {
                known.complete(input);
                known.lineage.last_content = content;
            }
            When::OnTheWay | When::AtTheEnd => {
                let exact = when == When::AtTheEnd;
                known.in_between = Some(InBetween {
                    input,
                    position,
                    exact,
                    unordered: !self.is_in_write_order,
                    content,
                });
            }
        }
    }
}

impl Group {
    /// Saves the progress of the volumes (BARRIER 3), and makes `points` of what they hold.
    ///
    /// Before the save, the segment of the new epoch is durable: a crash between the two leaves
    /// points that only the journal has, and that are taken in (`beyond`). After the save, segments
    /// of forgotten points are removed; a crash before that leaves them to the next open. If they
    /// were removed first, a crash would leave a state with points whose images are gone, and no
    /// rollback could reach them (I5).
    ///
    /// # Errors
    ///
    /// `Failed`: the journal or the state could not be written; nothing of the checkpoint counts
    /// then, and nothing more can be saved.
    pub(crate) fn checkpoint(
        &mut self,
        _proof: AllFlushed,
        reached: &[Reached],
        when: When,
        points: &[NewPoint],
    ) -> Result<Durable> {
        let note = |state: &mut GroupState| reached.iter().for_each(|one| one.note(state, when));
        match &mut self.keeper {
            None => self.ledger.save(note)?,
            Some(keeper) => save(&mut self.ledger, keeper, points, when, note)?,
        }
        Ok(Durable(()))
    }
}

/// Makes `points` and changes the state by `change`, in one save.
pub(super) fn save(
    ledger: &mut Ledger,
    keeper: &mut Keeper,
    points: &[NewPoint],
    when: When,
    change: impl Fn(&mut GroupState),
) -> Result<()> {
    let (mut ended, mut epoch) = (None, ledger.view().catalogue()?.open_epoch());
    if !points.is_empty() {
        let mut next = ledger.view().state().without_points();
        change(&mut next);
        let first = ledger.view().catalogue()?.next_point;
        let now = keeper.now();
        let memos = points.iter().zip(first..);
        let memos = memos.map(|(new, id)| PointMemo::of_new(PointId(id), new, now)).collect();
        let last = PointId(first + points.len() as u64 - 1);
        ended = Some(keeper.begin_epoch(ledger, last, &EpochMemo::new(&next, memos))?);
        epoch = last;
    }
    // Only where everything waits: what is merged here was forgotten for a point before.
    let known = ledger.view().catalogue()?;
    let next_of_log = planted!(NumbersOfACopyNotSaved).then(|| keeper.next_segment());
    let reserved = ended.is_some().then(|| keeper.reserve_merge(known)).flatten();
    let merged = keeper.merged(known);
    let end = match when {
        // Records of what comes after this position may be under way.
        When::OnTheWay => keeper.durable_end_so_far(epoch)?,
        When::InputComplete | When::AtTheEnd => keeper.durable_end(epoch)?,
    };
    planted!(UnlinkBeforeState => {
        let mut early = ledger.view().catalogue()?.clone();
        seal(&mut early, keeper, points, ended.clone());
        end.describe(&mut early);
        let due = keeper.due(&early);
        keeper.remove(&early.forget(&due).unneeded);
    });
    let (mut forgotten, mut unneeded) = (Forgotten::default(), Vec::new());
    ledger.save(|state| {
        change(state);
        let Some(catalogue) = &mut state.journal else { return };
        seal(catalogue, keeper, points, ended);
        end.describe(catalogue);
        next_of_log.into_iter().for_each(|next| catalogue.next_segment = next);
        unneeded.extend(merged.iter().flat_map(|merged| merged.put_into(catalogue)));
        forgotten = catalogue.forget(&keeper.due(catalogue));
        keeper.note_window(catalogue);
    })?;
    let known = ledger.view().catalogue()?;
    keeper.clean_up(known, &forgotten);
    keeper.remove(&unneeded);
    reserved.into_iter().for_each(|reserved| keeper.begin_merge(ledger, reserved));
    Ok(())
}

fn seal(catalogue: &mut Catalogue, keeper: &Keeper, points: &[NewPoint], ended: Option<Vec<Span>>) {
    // Between several points at one place there are no segments.
    let mut spans = ended.unwrap_or_default();
    for point in points {
        catalogue.seal(std::mem::take(&mut spans), point.clone(), keeper.now());
    }
    catalogue.go_on();
}
