//! Room on the retention volume. For the next segment the oldest points are given up, with a
//! warning; what a rollback may need is known before it begins, and a rollback gives up none.

use crate::extent::Extent;
use crate::group::keeper::{Keeper, Preserve, end_of};
use crate::group::ledger::Ledger;
use crate::journal::catalogue::{Catalogue, Forgotten, Point, PointId};
use crate::journal::draft::Outline;
use crate::journal::layout::BLOCK_BYTES;
use crate::journal::log::failed;
use crate::journal::retention::{self, Policy};
use crate::journal::touched::Touched;
use crate::notice::Notice;
use crate::remedy::{PointRemedy, Remedied};
use crate::storage::{Space, Storage};
use crate::{Error, ErrorKind, Result};

/// This fraction of a volume (one part of this many) is left free, for the state and for others.
const RESERVE_PART: u64 = 20;
/// The maximum of the room that is left free, in bytes.
const RESERVE_BYTES_MAX: u64 = 64 << 20;

/// What a rollback may need on the retention volume, and what is available.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RoomNeeded {
    /// The most that the before-images of what it overwrites can take, in bytes: zeros take none.
    pub(crate) bytes: u64,
    /// What is free for that, in bytes.
    pub(crate) free_bytes: u64,
    /// How many of the oldest points have to be given up for it, all of them older than its
    /// destination; `None` if that would not be enough.
    pub(crate) points_to_go: Option<usize>,
    /// If that is not enough: the pinned point that keeps more points from being given up.
    pub(crate) pinned: Option<PointId>,
}

/// Packs records into segments one after the other, as [`Log`](crate::journal::log::Log) does.
struct Packing {
    segment_bytes: u64,
    segments: u64,
    left: u64,
}

impl Packing {
    fn add(&mut self, record_bytes: u64) {
        if self.left < record_bytes {
            self.segments += 1;
            self.left = self.segment_bytes.saturating_sub(BLOCK_BYTES as u64);
        }
        self.left = self.left.saturating_sub(record_bytes);
    }
}

/// The available room, and what was preserved in the open epoch. Read-only.
pub(crate) struct Room<'a> {
    /// The storage of the segments.
    pub(crate) storage: &'a dyn Storage,
    /// The retention policy.
    pub(crate) policy: &'a Policy,
    /// The length of a segment, in bytes.
    pub(crate) segment_bytes: u64,
    /// The preserved blocks, by the number of the volume.
    pub(crate) touched: &'a [Touched],
}

impl Room<'_> {
    /// The room that overwriting `steps` may need, on the way back to point `to` of `known`. Each
    /// step is one write to one volume.
    ///
    /// # Errors
    ///
    /// `Failed`: the free room of the volume cannot be determined.
    pub(crate) fn needed<'a>(
        &self,
        known: &Catalogue,
        to: PointId,
        steps: impl Iterator<Item = (Preserve<'a>, Vec<Extent>)>,
    ) -> Result<RoomNeeded> {
        let segment_bytes = self.segment_bytes;
        let mut packing = Packing { segment_bytes, segments: 0, left: 0 };
        for (volume, touched) in steps {
            let number = known.volumes.iter().position(|known| known.name == *volume.name);
            let of_volume = number.and_then(|number| self.touched.get(number));
            let end = end_of(&volume);
            let first = match of_volume {
                Some(of_volume) => of_volume.first_touches(&touched, end),
                None => Touched::default().first_touches(&touched, end),
            };
            for outline in Outline::of(0, &first, segment_bytes / 2) {
                packing.add(outline.record_bytes());
            }
        }
        let bytes = packing.segments.saturating_mul(segment_bytes);
        let free_bytes = self.free_bytes(known)?;
        let stays = first_that_stays(known);
        Ok(RoomNeeded {
            bytes,
            free_bytes,
            points_to_go: points_to_go(known, to, bytes, free_bytes),
            pinned: stays.filter(|point| point.pinned && point.id < to).map(|point| point.id),
        })
    }

    /// The room for segments, in bytes, beyond what those of `known` take already.
    fn free_bytes(&self, known: &Catalogue) -> Result<u64> {
        let space = self.storage.space();
        let space = space.map_err(failed(self.storage, "querying the free space of its volume"))?;
        let reserve = (space.total_bytes / RESERVE_PART).min(RESERVE_BYTES_MAX);
        let free = space.free_bytes.saturating_sub(reserve);
        // Only a limit makes it necessary to know how long all of them are.
        let limit = self.policy.journal_bytes_max;
        Ok(limit.map_or(free, |limit| free.min(limit.saturating_sub(known.journal_bytes()))))
    }
}

impl Keeper {
    /// The available room.
    pub(in crate::group) fn room(&self) -> Room<'_> {
        Room {
            storage: &*self.storage,
            policy: &self.policy,
            segment_bytes: self.segment_bytes,
            touched: &self.touched,
        }
    }

    /// Makes a segment; while there is no room for it, merges what can be merged, then gives up the
    /// oldest points.
    pub(super) fn begin_segment(&mut self, ledger: &mut Ledger, epoch: PointId) -> Result<()> {
        loop {
            if self.is_there_room(ledger.view().catalogue()?)? {
                let generation = ledger.view().state().generation();
                match self.log.begin_segment(epoch, self.segment_bytes, generation) {
                    Ok(()) => return Ok(()),
                    // Another process took the room meanwhile; otherwise the cause is not a lack of
                    // room, and giving up points would not help.
                    Err(error)
                        if is_full(&error)
                            && !self.is_there_room(ledger.view().catalogue()?)? => {}
                    Err(error) => {
                        return Err(failed(&*self.storage, "making a segment")(error));
                    }
                }
            }
            if self.merge_for_room(ledger)? {
                continue;
            }
            self.require_limit_allows(ledger)?;
            self.give_up_the_oldest(ledger)?;
        }
    }

    /// Requires that the policy's limit would have room for another segment if all points that may
    /// be given up were: otherwise none is given up.
    fn require_limit_allows(&self, ledger: &Ledger) -> Result<()> {
        let (known, limit) = (ledger.view().catalogue()?, self.policy.journal_bytes_max);
        let Some(limit) = limit else { return Ok(()) };
        let may_go = retention::in_the_order_to_go(known).map(Point::journal_bytes);
        let stays = known.journal_bytes().saturating_sub(may_go.sum());
        if stays.saturating_add(self.segment_bytes) <= limit {
            return Ok(());
        }
        let mib = |bytes: u64| format!("{} MiB", bytes.div_ceil(1 << 20));
        let context = format!(
            "the history of group {} is limited to {}; what must stay, {}, and the next segment, \
             {}, do not fit; no point was given up",
            ledger.view().name(),
            mib(limit),
            mib(stays),
            mib(self.segment_bytes)
        );
        Err(Error::new(ErrorKind::Failed, context)
            .remedied(PointRemedy::RaiseLimit { group: ledger.view().name().to_owned() }))
    }

    /// Fails if removing segments of `bytes` freed nothing, with `before` free: another process
    /// holds them open, and giving up more points would free as little.
    fn require_given_back(&self, bytes: u64, before: Space) -> Result<()> {
        let after = self.storage.space_after_removal();
        let after =
            after.map_err(failed(&*self.storage, "querying the free space of its volume"))?;
        if bytes == 0 || after.free_bytes > before.free_bytes {
            return Ok(());
        }
        let context = "the retention volume is full, and giving up a point freed no space: another \
                       process has its segments open, or is using up the space";
        Err(Error::new(ErrorKind::Failed, context).with_hint(
            "stop whatever exports or hashes points of this group or writes to the volume, or \
             enlarge it; then run the same command again",
        ))
    }

    fn is_there_room(&self, known: &Catalogue) -> Result<bool> {
        Ok(self.room().free_bytes(known)? >= self.segment_bytes)
    }

    /// Gives up the oldest point for lack of room, with a warning: first the state is saved without
    /// it, then its segments are removed.
    fn give_up_the_oldest(&mut self, ledger: &mut Ledger) -> Result<()> {
        let known = ledger.view().catalogue()?;
        let Some(oldest) = retention::first_to_go(known) else { return Err(full(known)) };
        let point = known.point(oldest).map_or(String::new(), crate::journal::selector::shown);
        let bytes = known.point(oldest).map_or(0, Point::journal_bytes);
        let mut forgotten = Forgotten::default();
        if planted!(UnlinkBeforeState) {
            let early = known.clone().forget(&[oldest]).unneeded;
            self.remove(&early);
        }
        let policy = self.policy;
        ledger.save(|state| {
            let Some(catalogue) = &mut state.journal else { return };
            forgotten = catalogue.forget(&[oldest]);
            let left = retention::reach(catalogue, &policy);
            if left < policy.window {
                let left = u64::try_from(left.as_nanos()).unwrap_or(u64::MAX);
                catalogue.window_cut_to = Some(left);
            }
        })?;
        let space = self.storage.space();
        let before =
            space.map_err(failed(&*self.storage, "querying the free space of its volume"))?;
        self.remove(&forgotten.unneeded);
        self.notes.push(Notice::GivenUpForRoom { point });
        // The policy's limit is computed from the catalogue, not from the volume.
        let is_limited = policy.journal_bytes_max.is_some();
        if is_limited || forgotten.unneeded.is_empty() {
            return Ok(());
        }
        self.require_given_back(bytes, before)
    }
}

/// How many of the oldest points free what is missing of `needed` bytes, if only those before `to`
/// may go.
fn points_to_go(known: &Catalogue, to: PointId, needed: u64, free: u64) -> Option<usize> {
    let mut missing = needed.saturating_sub(free);
    let mut oldest = retention::in_the_order_to_go(known).take_while(|point| point.id < to);
    let mut gone = 0;
    while missing > 0 {
        missing = missing.saturating_sub(oldest.next()?.journal_bytes());
        gone += 1;
    }
    Some(gone)
}

/// The oldest point that must be kept.
fn first_that_stays(known: &Catalogue) -> Option<&Point> {
    known.all().nth(retention::in_the_order_to_go(known).count())
}

/// Whether there is no room, or a quota is exceeded.
fn is_full(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT))
}

fn full(catalogue: &Catalogue) -> Error {
    let oldest = catalogue.points.first();
    let pinned = oldest.filter(|point| point.pinned);
    let context = "the retention volume is full, and nothing is overwritten unless it can be \
                   preserved";
    Error::new(ErrorKind::Failed, context).with_hint(match pinned {
        Some(point) => format!(
            "{} is pinned, which keeps everything since: unpin it or enlarge the volume, then run \
             the same command again",
            crate::journal::selector::shown(point)
        ),
        None => {
            "the changes since the last recovery point alone do not fit: enlarge the retention \
             volume, then run the same command again"
                .to_owned()
        }
    })
}

#[cfg(test)]
mod tests;
