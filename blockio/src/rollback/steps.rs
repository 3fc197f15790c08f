//! Divides images into steps: what is written at a time, in disk order, and where it is read from.
//! Nothing is read here.

use crate::device::{TRANSFER_BYTES_MAX, Transfer, UNDIVIDED_BYTES_MAX};
use crate::extent::Extent;
use crate::journal::index::{Image, ImageLocation};
use crate::journal::layout::padded;
use crate::plan::{CLEAR_STEP_BYTES, WritePlan, clear_steps};
use crate::units::{ByteCount, ByteOffset};

/// How much is written in one step, in bytes. The before-images of what it overwrites fit into one
/// record; and a core's cache holds it from when it is read until it is written, which takes a
/// tenth less time than steps of 3 MiB.
pub(super) const STEP_BYTES: usize = 1 << 20;
const _: () = assert!(STEP_BYTES <= TRANSFER_BYTES_MAX);
/// Runs of zeros of at least this length, in bytes, are cleared; shorter ones are faster to write.
const CLEAR_BYTES_MIN: u64 = 1 << 20;

/// What is written in one step.
#[derive(Default)]
pub(super) struct Step {
    /// Where its bytes are, their position in the arena, and how many there are; in whole blocks.
    pub(super) places: Vec<(ImageLocation, usize, usize)>,
    /// The writes of the step.
    pub(super) plan: WritePlan,
    used: usize,
    cleared: u64,
}

/// The steps of a volume.
pub(super) struct Steps<'a> {
    images: Box<dyn Iterator<Item = Image> + Send + 'a>,
    /// What did not fit into the last step.
    rest: Option<Image>,
}

impl<'a> Steps<'a> {
    /// The steps of `images`, ascending and disjoint: they are taken one by one, because there may
    /// be very many.
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
    /// Takes as much of `image` as there is room for; returns the rest.
    fn take(&mut self, image: Image) -> Option<Image> {
        let Image { extent, place } = image;
        if place == ImageLocation::Zeros && extent.length().get() >= CLEAR_BYTES_MIN {
            let first = clear_steps(extent).next()?;
            self.plan.clears.push(first);
            self.plan.touched.push(first);
            self.cleared += first.length().get();
            let rest = Extent::between(first.end(), extent.end()).ok()?;
            return Some(Image { extent: rest, place });
        }
        let room = STEP_BYTES.saturating_sub(self.used) as u64;
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
        // At most STEP_BYTES.
        let (length, position) = (length as usize, self.used);
        self.places.push((place, position, padded(length)));
        self.write(Transfer { at: taken.start(), position, length });
        self.plan.touched.push(taken);
        self.used += padded(length);
        rest
    }

    /// Adds a write: to the last one, if it continues that, and in pieces that a disk takes
    /// undivided.
    fn write(&mut self, write: Transfer) {
        let Transfer { mut at, mut position, length } = write;
        let mut left = length;
        while left > 0 {
            let last = self.plan.writes.last_mut().filter(|last| {
                last.at.get() + last.length as u64 == at.get()
                    && last.position + last.length == position
                    && last.length < UNDIVIDED_BYTES_MAX
            });
            let room = last.as_ref().map_or(0, |last| last.length);
            let length = left.min(UNDIVIDED_BYTES_MAX - room);
            match last {
                Some(last) => last.length += length,
                None => self.plan.writes.push(Transfer { at, position, length }),
            }
            at = ByteOffset::new(at.get() + length as u64);
            (position, left) = (position + length, left - length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const BLOCK: u64 = 4096;

    fn between(start: u64, end: u64) -> Extent {
        Extent::between(ByteOffset::new(start), ByteOffset::new(end)).unwrap()
    }

    fn data(start: u64, end: u64, at: u64) -> Image {
        Image { extent: between(start, end), place: ImageLocation::Segment { segment: 0, at } }
    }

    fn zeros(start: u64, end: u64) -> Image {
        Image { extent: between(start, end), place: ImageLocation::Zeros }
    }

    fn steps(images: Vec<Image>) -> Vec<Step> {
        Steps::new(images.into_iter()).collect()
    }

    fn writes(step: &Step) -> Vec<(u64, usize, usize)> {
        step.plan.writes.iter().map(|one| (one.at.get(), one.position, one.length)).collect()
    }

    #[test]
    fn a_long_image_takes_steps_of_one_mebibyte_and_the_rest() {
        let all = steps(vec![data(BLOCK, 3 * MIB, BLOCK)]);
        let touched: Vec<_> = all.iter().map(|step| step.plan.touched.clone()).collect();
        let (second, third) = (BLOCK + MIB, BLOCK + 2 * MIB);
        let parts = [(BLOCK, second), (second, third), (third, 3 * MIB)];
        assert_eq!(touched, parts.map(|(from, to)| [between(from, to)]));
        let half = MIB / 2;
        let halves = [(second, 0, half as usize), (second + half, half as usize, half as usize)];
        assert_eq!(writes(&all[1]), halves);
        let at = ImageLocation::Segment { segment: 0, at: BLOCK + MIB };
        assert_eq!(all[1].places, [(at, 0, MIB as usize)]);
    }

    #[test]
    fn a_mebibyte_of_zeros_is_cleared_and_less_is_written() {
        let all = steps(vec![zeros(0, MIB - BLOCK), zeros(2 * MIB, 3 * MIB)]);
        let [step] = all.as_slice() else { panic!("{} steps", all.len()) };
        assert_eq!(step.plan.clears, [between(2 * MIB, 3 * MIB)]);
        let (half, rest) = (MIB as usize / 2, MIB as usize / 2 - BLOCK as usize);
        assert_eq!(writes(step), [(0, 0, half), (MIB / 2, half, rest)]);
        assert_eq!(step.places, [(ImageLocation::Zeros, 0, (MIB - BLOCK) as usize)]);
        // A mebibyte that is not zeros is not cleared.
        assert!(steps(vec![data(0, MIB, BLOCK)])[0].plan.clears.is_empty());
    }

    #[test]
    fn a_step_clears_no_more_than_is_cleared_at_a_time() {
        let step = CLEAR_STEP_BYTES;
        let halves = [(0, step / 2), (step, step + step / 2), (2 * step, 2 * step + MIB)];
        let all = steps(halves.map(|(from, to)| zeros(from, to)).to_vec());
        let cleared: Vec<_> = all.iter().map(|step| step.plan.clears.len()).collect();
        assert_eq!(cleared, [2, 1]);
        // One block less than that, and there is room for more.
        let all = steps(vec![zeros(0, step - BLOCK), zeros(step, step + MIB)]);
        assert_eq!(all.len(), 1);
    }

    #[test]
    fn neighbours_on_the_disk_and_in_memory_are_one_write() {
        let (half, block) = (MIB / 2, BLOCK as usize);
        let images = vec![data(0, BLOCK, 9 * MIB), data(BLOCK, half, BLOCK)];
        assert_eq!(writes(&steps(images)[0]), [(0, 0, half as usize)]);
        // What a disk would divide is two.
        let mut images = vec![data(0, BLOCK, 9 * MIB), data(BLOCK, MIB, BLOCK)];
        let halves = [(0, 0, half as usize), (half, half as usize, half as usize)];
        assert_eq!(writes(&steps(images.clone())[0]), halves);
        images.push(data(MIB, MIB + BLOCK, 5 * MIB));
        assert_eq!(writes(&steps(images)[1]), [(MIB, 0, block)]);
        // Apart on the disk.
        let apart = steps(vec![data(BLOCK, 2 * BLOCK, MIB), data(3 * BLOCK, 4 * BLOCK, 5 * MIB)]);
        assert_eq!(writes(&apart[0]), [(BLOCK, 0, block), (3 * BLOCK, block, block)]);
        // Apart in memory, where each begins at a block.
        let short = steps(vec![data(0, 512, BLOCK), data(512, 1024, 5 * BLOCK)]);
        assert_eq!(writes(&short[0]), [(0, 0, 512), (512, block, 512)]);
        // After one that is at the beginning of neither its disk nor its memory.
        let images = [(0, 1), (4, 5), (5, 6)].map(|(a, b)| data(a * BLOCK, b * BLOCK, a * MIB));
        let three = steps(images.to_vec());
        assert_eq!(writes(&three[0]), [(0, 0, block), (4 * BLOCK, block, 2 * block)]);
    }
}
