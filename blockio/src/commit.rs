//! Accepts the disks: proves that they are at a recovery point, and drops the history.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::apply::Settings;
use crate::device::BlockDevice;
use crate::device::buffer::ArenaPool;
use crate::device::{ReadBatch, TRANSFER_BYTES_MAX, Transfer};
use crate::group::Group;
use crate::journal::catalogue::PointId;
use crate::journal::images::Images;
use crate::journal::index::{Image, Index};
use crate::journal::keeper::{Keeper, catalogue};
use crate::journal::layout::padded;
use crate::storage::{SegmentNumber, Storage};
use crate::units::ByteOffset;
use crate::{Error, ErrorKind, Result};

const PIECE_BYTES: NonZeroUsize =
    NonZeroUsize::new(TRANSFER_BYTES_MAX).expect("invariant: not zero");

/// A volume, to be compared with its history.
pub struct Volume {
    /// The name that the group knows it by.
    pub name: String,
    /// Its disk.
    pub device: Box<dyn BlockDevice>,
}

/// How it is known that the volumes are at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Nothing was overwritten since it was made: every overwrite is preserved first, and nothing
    /// was.
    NothingWritten(PointId),
    /// They were rolled back to it; what they hold is to be compared.
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

/// The point that the volumes of `group` are at, if they are at one.
///
/// # Errors
///
/// `Refused`: they are at none. `Integrity`, `Failed`: the history cannot be read. `Usage`: there
/// is none.
pub fn where_it_is(group: &mut Group, history: Settings) -> Result<Proof> {
    let name = group.name().to_owned();
    catalogue(group)?;
    crate::points::is_not_rolling_back(group)?;
    let keeper = Keeper::open(group, history)?;
    let known = catalogue(group)?;
    if let Some(point) = known.rolled_back_to {
        return Ok(Proof::RolledBack(point));
    }
    if keeper.is_epoch_empty() {
        return Ok(Proof::NothingWritten(known.open_epoch()));
    }
    Err(Error::refused(format!("the volumes of group {name} are at no recovery point")).with_hint(
        format!(
            "go to one: mtctl rollback --group {name} --to latest; or apply the stream to its end"
        ),
    ))
}

/// Compares every image since `point` with what `volumes` hold; `observe` is told of bytes done,
/// and of how many.
///
/// # Errors
///
/// `Integrity`: a volume holds something else, or the history is damaged. `Refused`: a volume is
/// missing. `Failed`: it could not be read, or was stopped.
pub fn compare(
    group: &Group,
    point: PointId,
    volumes: &mut [Volume],
    stop: &AtomicBool,
    observe: &mut dyn FnMut(u64, u64),
) -> Result<()> {
    let known = catalogue(group)?;
    let failed = |error| Error::failed("allocating memory for I/O", error);
    let pool = ArenaPool::new(4, PIECE_BYTES).map_err(failed)?;
    let images = Images::since(&group.storage(), known, point, &pool)?;
    let indexes = (0..known.volumes.len()).filter_map(|number| images.of(number as u32));
    let (of, mut done) = (indexes.map(Index::bytes).sum(), 0);
    for (number, volume) in known.volumes.iter().enumerate() {
        let Some(index) = images.of(number as u32).filter(|index| index.len() > 0) else {
            continue;
        };
        let found = volumes.iter_mut().find(|one| one.name == volume.name);
        let found = found.ok_or_else(|| {
            Error::refused(format!("comparing volume \"{}\": it has no disk", volume.name))
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
            Error::failed(format!("{}: {}", volume.name, error.attempt), error.cause)
        })?;
        if kept.as_slice()[..length] != held.as_slice()[..length] {
            let context =
                format!("volume \"{}\" is not at the point: {} differ", volume.name, image.extent);
            return Err(Error::new(ErrorKind::Integrity, context).with_hint(
                "something else wrote to it; roll back again, and keep others from the disk",
            ));
        }
        at += length as u64;
    }
    Ok(())
}

/// Drops the history of `group`.
///
/// First the state is saved without it, then the segments are removed: a crash in between leaves
/// segments of no history, which the next commit, or the next history, removes.
///
/// # Errors
///
/// `Failed`: the state could not be saved, or a segment not be removed.
pub fn drop_history(group: &mut Group) -> Result<()> {
    group.update(|state| {
        state.journal = None;
        // Where a stream was begun, the volumes are exactly at one of its marks: it can be gone on
        // with, and nothing else fits.
        let begun = state.volumes.values_mut().filter_map(|volume| volume.in_between.as_mut());
        begun.for_each(|between| between.exact = true);
    })?;
    remove_all(group.storage().as_ref())
        .map_err(|error| Error::failed("removing the segments of the history", error))
}

fn remove_all(storage: &dyn Storage) -> std::io::Result<()> {
    let all: Vec<SegmentNumber> = storage.segments()?;
    all.into_iter().try_for_each(|number| storage.remove_segment(number))
}
