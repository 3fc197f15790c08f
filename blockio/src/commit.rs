//! The proof that is needed before the disks are accepted: that they are at a recovery point.
//! Dropping the history is the group's job.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::apply::HistorySettings;
use crate::device::BlockDevice;
use crate::device::buffer::ArenaPool;
use crate::device::{ReadBatch, TRANSFER_BYTES_MAX, Transfer};
use crate::group::{Group, GroupView};
use crate::journal::catalogue::PointId;
use crate::journal::images::Images;
use crate::journal::index::{Image, ImageIndex};
use crate::journal::layout::padded;
use crate::plain::Plain;
use crate::recover::{self, Recovery};
use crate::remedy::{DiskRemedy, PointRemedy, Remedied};
use crate::units::ByteOffset;
use crate::volume_name::VolumeName;
use crate::{Error, ErrorKind, Result};

const PIECE_BYTES: NonZeroUsize =
    NonZeroUsize::new(TRANSFER_BYTES_MAX).expect("invariant: not zero");

/// A volume to compare with its history.
pub struct Volume {
    /// Its name in the group.
    pub name: VolumeName,
    /// Its disk.
    pub device: Box<dyn BlockDevice>,
}

/// How the volumes are known to be at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Nothing was overwritten since the point was made: every overwrite is preserved first, and
    /// nothing was preserved.
    NothingWritten(PointId),
    /// They were rolled back to it; their content still has to be compared.
    RolledBack(PointId),
}

impl Proof {
    /// The point.
    #[must_use]
    pub fn point(self) -> PointId {
        match self {
            Self::NothingWritten(point) | Self::RolledBack(point) => point,
        }
    }
}

/// Whether `group` was committed before and has nothing to commit since then. Removes any history
/// that a crash in that commit left behind.
///
/// # Errors
///
/// `Refused`: a later run was cut short. `Failed`: a segment could not be removed.
pub fn is_done(group: &mut Group) -> Result<bool> {
    let state = group.view().state();
    if state.journal.is_some() || state.volumes.is_empty() || state.dropped().is_empty() {
        return Ok(false);
    }
    if recover::needed(group.view()) != Recovery::AtCheckpoint {
        let context = format!("the volumes of group {} are in-between", group.view().name());
        return Err(Error::refused(context).with_hint("apply the same stream again, to its end"));
    }
    group.remove_what_was_dropped()?;
    Ok(true)
}

/// The point that the volumes of `group` are at, if they are at one.
///
/// # Errors
///
/// `Refused`: they are at no point. `Integrity`, `Failed`: the history cannot be read. `Usage`:
/// there is no history.
pub fn where_it_is(group: &mut Group, history: HistorySettings) -> Result<Proof> {
    group.view().catalogue()?;
    group.view().require_no_rollback()?;
    group.open_history(history)?;
    let (known, name) = (group.view().catalogue()?, group.view().name());
    if let Some(point) = known.rolled_back_to {
        return Ok(Proof::RolledBack(point));
    }
    if group.is_epoch_empty() {
        return Ok(Proof::NothingWritten(known.came_from()));
    }
    Err(Error::refused(format!("the volumes of group {name} are not at a recovery point"))
        .remedied(PointRemedy::GoToLatest { group: name.to_owned() }))
}

/// Compares every image since `point` with the content of `volumes`; `observe` receives the bytes
/// done and the total.
///
/// # Errors
///
/// `Integrity`: a volume holds something else, or the history is damaged. `Refused`: a volume is
/// missing. `Failed`: a volume could not be read, or the comparison was stopped.
pub fn compare(
    group: &GroupView,
    point: PointId,
    volumes: &mut [Volume],
    stop: &AtomicBool,
    observe: &mut dyn FnMut(u64, u64),
) -> Result<()> {
    let known = group.catalogue()?;
    let failed = |error| Error::failed("allocating memory for I/O", error);
    let pool = ArenaPool::new(4, PIECE_BYTES).map_err(failed)?;
    let images = Images::since(&group.storage(), known, point, &pool)?;
    let indexes = (0..known.volumes.len()).filter_map(|number| images.of(number as u32));
    let (of, mut done) = (indexes.map(ImageIndex::bytes).fold(0, u64::saturating_add), 0);
    for (number, volume) in known.volumes.iter().enumerate() {
        let Some(index) = images.of(number as u32).filter(|index| index.len() > 0) else {
            continue;
        };
        let found = volumes.iter_mut().find(|one| one.name == volume.name);
        let found = found.ok_or_else(|| {
            Error::refused(format!("comparing volume \"{}\": it has no disk", Plain(&volume.name)))
                .with_hint("attach its disk")
        })?;
        for image in index.iter() {
            compare_one(&images, image, found, &pool)?;
            done += image.extent.length().get();
            observe(done, of);
            if stop.load(Ordering::Relaxed) {
                return Err(Error::new(ErrorKind::Failed, "stopped; nothing was changed"));
            }
        }
    }
    Ok(())
}

fn compare_one(images: &Images, image: Image, volume: &mut Volume, pool: &ArenaPool) -> Result<()> {
    let (mut at, end) = (image.extent.start().get(), image.extent.end().get());
    while at < end {
        // At most TRANSFER_BYTES_MAX.
        let length = (end - at).min(TRANSFER_BYTES_MAX as u64) as usize;
        let place = image.place.after(at - image.extent.start().get());
        let kept = images.read(&[(place, 0, padded(length))], pool.take()?, pool)?;
        let reads = vec![Transfer { at: ByteOffset::new(at), position: 0, length }];
        let held = volume.device.read_batch(ReadBatch { arena: pool.take()?, reads });
        let held = held.map_err(|error| {
            Error::failed(format!("{}: {}", Plain(&volume.name), error.attempt), error.cause)
        })?;
        let is_same = kept.as_slice()[..length] == held.as_slice()[..length];
        if !is_same && !planted!(CommitComparesNothing) {
            let context = format!(
                "volume \"{}\" is not at the point: {} differ",
                Plain(&volume.name),
                image.extent
            );
            return Err(
                Error::new(ErrorKind::Integrity, context).remedied(DiskRemedy::RollBackAgain)
            );
        }
        at += length as u64;
    }
    Ok(())
}
