//! Images become steps: what is written at a time, in the order of the disk, and where it is read
//! from. Nothing is read here.

use crate::device::{TRANSFER_BYTES_MAX, Transfer};
use crate::extent::Extent;
use crate::journal::index::{Image, Place};
use crate::journal::layout::padded;
use crate::plan::{CLEAR_STEP_BYTES, WritePlan, clear_steps};
use crate::units::{ByteCount, ByteOffset};

/// So much is written at a time, in bytes: what it overwrites fits into one record.
pub(super) const STEP_BYTES: usize = 3 << 20;
/// Zeros of this length, in bytes, are cleared; shorter ones are faster written.
const CLEAR_BYTES_MIN: u64 = 1 << 20;

/// What is written at a time.
#[derive(Default)]
pub(super) struct Step {
    /// Where its bytes are, where in the arena they go, and how many; in whole blocks.
    pub(super) places: Vec<(Place, usize, usize)>,
    /// What is written then.
    pub(super) plan: WritePlan,
    used: usize,
    cleared: u64,
}

/// The steps of a volume.
pub(super) struct Steps<'a> {
    images: Box<dyn Iterator<Item = Image> + Send + 'a>,
    /// What did not go into the last one.
    rest: Option<Image>,
}

impl<'a> Steps<'a> {
    /// Of `images`, ascending and apart: taken one by one, since there may be very many.
    pub(super) fn new(images: impl Iterator<Item = Image> + Send + 'a) -> Self {
        Self { images: Box::new(images), rest: None }
    }
}

impl Iterator for Steps<'_> {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let mut step = Step::default();
        while let Some(image) = self.rest.take().or_else(|| self.images.next()) {
            self.rest = step.take(image);
            if step.used >= STEP_BYTES || step.cleared >= CLEAR_STEP_BYTES {
                break;
            }
        }
        Extent::coalesce(&mut step.plan.touched);
        (!step.plan.touched.is_empty()).then_some(step)
    }
}

impl Step {
    /// Takes as much of `image` as there is room for; gives what is left.
    fn take(&mut self, image: Image) -> Option<Image> {
        let Image { extent, place } = image;
        if place == Place::Zeros && extent.length().get() >= CLEAR_BYTES_MIN {
            let first = clear_steps(extent).next()?;
            self.plan.clears.push(first);
            self.plan.touched.push(first);
            self.cleared += first.length().get();
            let rest = Extent::between(first.end(), extent.end()).ok()?;
            return Some(Image { extent: rest, place });
        }
        let room = STEP_BYTES.saturating_sub(self.used).min(TRANSFER_BYTES_MAX) as u64;
        if room == 0 {
            return Some(image);
        }
        let length = extent.length().get().min(room);
        let middle = extent.start().checked_add(ByteCount::new(length))?;
        let (taken, rest) = match extent.split_at(middle) {
            None => (extent, None),
            Some((taken, rest)) => {
                (taken, Some(Image { extent: rest, place: place.after(length) }))
            }
        };
        // At most TRANSFER_BYTES_MAX.
        let (length, position) = (length as usize, self.used);
        self.places.push((place, position, padded(length)));
        let at: ByteOffset = taken.start();
        match self.plan.writes.last_mut().filter(|last| {
            last.at.get() + last.length as u64 == at.get()
                && last.position + last.length == position
                && last.length + length <= TRANSFER_BYTES_MAX
        }) {
            Some(last) => last.length += length,
            None => self.plan.writes.push(Transfer { at, position, length }),
        }
        self.plan.touched.push(taken);
        self.used += padded(length);
        rest
    }
}
