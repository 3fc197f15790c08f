//! Whether volumes are at a point according to their content. The recorded state may be an older
//! one that was put back, and "nothing to do" would then pass other bytes off as the point.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::assignment::Assignment;
use crate::device::TRANSFER_BYTES_MAX;
use crate::device::buffer::ArenaPool;
use crate::journal::images::Images;
use crate::journal::index::{Image, ImageIndex};
use crate::journal::layout::padded;
use crate::target_identity::Held;
use crate::volume_name::VolumeName;
use crate::{Error, ErrorKind, Result};

const PIECE_BYTES: NonZeroUsize =
    NonZeroUsize::new(TRANSFER_BYTES_MAX).expect("invariant: not zero");
/// One for the before-image, one for the disk's content, and one for comparing a record with its
/// checksum.
const PIECES: usize = 3;

/// Whether every image equals the content of its volume. Content that cannot be read does not: a
/// write to it will report the failure.
///
/// # Errors
///
/// `Integrity`: the history is damaged. `Failed`: it cannot be read, or the comparison was stopped.
pub(super) fn hold_all(
    images: &Images,
    names: &[VolumeName],
    assignments: &mut [Assignment],
    stop: &AtomicBool,
) -> Result<bool> {
    let pool = ArenaPool::new(PIECES, PIECE_BYTES)
        .map_err(|error| Error::failed("allocating memory for I/O", error))?;
    for (number, name) in names.iter().enumerate() {
        let index = images.of(u32::try_from(number).unwrap_or(u32::MAX));
        let Some(index) = index.filter(|index| index.len() > 0) else { continue };
        let of_name = |one: &&mut Assignment| one.volume == *name;
        let Some(assignment) = assignments.iter_mut().find(of_name) else { return Ok(false) };
        let end = assignment.target.geometry().capacity.get();
        let Some(mut held) = assignment.target.held() else { return Ok(false) };
        if !holds(images, index, &mut held, end, &pool, stop)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn holds(
    images: &Images,
    index: &ImageIndex,
    held: &mut Held<'_>,
    end: u64,
    pool: &ArenaPool,
    stop: &AtomicBool,
) -> Result<bool> {
    for Image { extent, place } in index.iter() {
        let start = extent.start().get();
        for at in (start..extent.end().get()).step_by(TRANSFER_BYTES_MAX) {
            if stop.load(Ordering::Relaxed) {
                return Err(Error::new(ErrorKind::Failed, "stopped before anything was written"));
            }
            // At most TRANSFER_BYTES_MAX.
            let length = (extent.end().get() - at).min(TRANSFER_BYTES_MAX as u64) as usize;
            let places = [(place.after(at - start), 0, padded(length))];
            let kept = images.read(&places, pool.take()?, pool)?;
            let Ok(found) = held.read(pool, at, padded(length), end) else { return Ok(false) };
            if found.get(..length) != Some(&kept.as_slice()[..length]) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}
