//! Where each part of a volume as it was at a recovery point is found: which image of which
//! segment. A part without an image was not overwritten since then, and is on the disk.

use std::collections::BTreeMap;

use crate::extent::Extent;
use crate::journal::layout::BLOCK_BYTES;
use crate::units::ByteOffset;

/// Where the bytes of a part are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ImageLocation {
    /// They are zeros.
    Zeros,
    /// In a segment, given by its index in some list, from byte `at` on.
    Segment { segment: u32, at: u64 },
}

impl ImageLocation {
    /// Sorts places in the order in which segments are read; zeros, which are not, are last.
    pub(crate) fn order(self) -> (u32, u64) {
        match self {
            Self::Zeros => (u32::MAX, 0),
            Self::Segment { segment, at } => (segment, at),
        }
    }

    /// The place `bytes` further on.
    pub(crate) fn after(self, bytes: u64) -> Self {
        match self {
            Self::Zeros => Self::Zeros,
            Self::Segment { segment, at } => Self::Segment { segment, at: at + bytes },
        }
    }
}

/// A part of a volume, and where its bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) extent: Extent,
    pub(crate) place: ImageLocation,
}

/// The images of one volume, by where they begin: disjoint.
#[derive(Clone, Debug, Default)]
pub(crate) struct ImageIndex {
    images: BTreeMap<u64, (u64, ImageLocation)>,
    bytes: u64,
}

impl ImageIndex {
    /// How many bytes of the volume have an image.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The number of images.
    pub(crate) fn len(&self) -> usize {
        self.images.len()
    }

    /// Adds the parts of `image`, which begins with a block, that have no image yet: the image that
    /// was added first counts, and for whole blocks. Where it ends within a block, its volume ended
    /// there, and has grown since: what follows in that block was nothing then, and its padding in
    /// the segment, zeros, stands for it.
    pub(crate) fn add(&mut self, image: Image) {
        let (start, end) = (image.extent.start().get(), image.extent.end().get());
        let mut from = (start, image.place);
        let mut gaps = Vec::new();
        for (known, until, place) in self.overlapping(start, end) {
            gaps.push((from, known));
            if until > from.0 {
                from = (until, place.after(until - known));
            }
        }
        gaps.push((from, end));
        for ((from, padding), until) in gaps {
            let whole = from.next_multiple_of(BLOCK_BYTES as u64);
            self.insert(from, whole.min(until), padding);
            self.insert(whole, until, image.place.after(whole.saturating_sub(start)));
        }
    }

    /// The parts of `extent` that have an image, ascending.
    pub(crate) fn images_of(&self, extent: Extent) -> Vec<Image> {
        let (start, end) = (extent.start().get(), extent.end().get());
        let overlapping = self.overlapping(start, end).into_iter();
        let cut = overlapping.filter_map(|(from, until, place)| {
            let (low, high) = (from.max(start), until.min(end));
            let extent = Extent::between(ByteOffset::new(low), ByteOffset::new(high)).ok()?;
            Some(Image { extent, place: place.after(low - from) })
        });
        cut.collect()
    }

    /// All images, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Image> {
        self.images.iter().filter_map(|(from, (until, place))| {
            let extent = Extent::between(ByteOffset::new(*from), ByteOffset::new(*until)).ok()?;
            Some(Image { extent, place: *place })
        })
    }

    fn overlapping(&self, start: u64, end: u64) -> Vec<(u64, u64, ImageLocation)> {
        let mut found = Vec::new();
        if let Some((from, (until, place))) = self.images.range(..start).next_back() {
            if *until > start {
                found.push((*from, *until, *place));
            }
        }
        let inside = self.images.range(start..end);
        found.extend(inside.map(|(from, (until, place))| (*from, *until, *place)));
        found
    }

    /// Inserts `from..until`, if that is not empty; it has no image yet. Images that are adjacent
    /// both on the disk and in the segment are joined.
    fn insert(&mut self, mut from: u64, mut until: u64, mut place: ImageLocation) {
        if from >= until {
            return;
        }
        self.bytes += until - from;
        if let Some((&before, &(end, earlier))) = self.images.range(..from).next_back() {
            if end == from && earlier.after(from - before) == place {
                self.images.remove(&before);
                (from, place) = (before, earlier);
            }
        }
        if let Some(&(end, later)) = self.images.get(&until) {
            if place.after(until - from) == later {
                self.images.remove(&until);
                until = end;
            }
        }
        self.images.insert(from, (until, place));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn image(start: u64, end: u64, at: u64) -> Image {
        let extent = Extent::between(ByteOffset::new(start), ByteOffset::new(end)).unwrap();
        Image { extent, place: ImageLocation::Segment { segment: 0, at } }
    }

    const BLOCK: u64 = BLOCK_BYTES as u64;

    /// The same in blocks.
    fn blocks(start: u64, end: u64, at: u64) -> Image {
        image(start * BLOCK, end * BLOCK, at * BLOCK)
    }

    #[test]
    fn the_image_that_came_first_counts() {
        let mut index = ImageIndex::default();
        index.add(blocks(10, 20, 1000));
        index.add(blocks(0, 30, 2000));
        let all: Vec<_> = index.iter().collect();
        assert_eq!(all, [blocks(0, 10, 2000), blocks(10, 20, 1000), blocks(20, 30, 2020)]);
        assert_eq!(index.bytes(), 30 * BLOCK);
    }

    #[test]
    fn an_image_of_the_end_of_a_volume_that_has_grown_since_counts_for_its_whole_block() {
        let mut index = ImageIndex::default();
        let at = 1 << 20;
        index.add(image(0, 1536, at));
        // It grows within the block, then past it; each time the block is overwritten again.
        index.add(image(0, 2560, at + BLOCK));
        assert_eq!(index.iter().collect::<Vec<_>>(), [image(0, 2560, at)]);
        index.add(image(0, 3 * BLOCK, at + 2 * BLOCK));
        let all: Vec<_> = index.iter().collect();
        assert_eq!(all, [image(0, BLOCK, at), image(BLOCK, 3 * BLOCK, at + 3 * BLOCK)]);
        assert_eq!(index.bytes(), 3 * BLOCK);
    }

    #[test]
    fn neighbours_are_one() {
        let mut index = ImageIndex::default();
        index.add(blocks(10, 20, 110));
        index.add(blocks(0, 10, 100));
        index.add(blocks(20, 30, 120));
        assert_eq!(index.iter().collect::<Vec<_>>(), [blocks(0, 30, 100)]);
    }

    const SECTOR: u64 = 512;
    const PER_BLOCK: u64 = BLOCK / SECTOR;

    proptest! {
        /// Images are of whole blocks but for the end of their volume, here in sectors.
        #[test]
        fn it_agrees_with_a_list_of_sectors(
            images in prop::collection::vec(
                (0_u64..12, 1_u64..5, 0..PER_BLOCK, 0_u64..1000), 0..24),
            asked in (0_u64..90, 1_u64..32),
        ) {
            let mut index = ImageIndex::default();
            let mut model = vec![None; 160];
            let mut owners = [None; 20];
            for (number, (start, length, cut, at)) in images.iter().enumerate() {
                let segment = number as u32;
                let place = ImageLocation::Segment { segment, at: at * BLOCK };
                let (from, until) = (start * BLOCK, (start + length) * BLOCK - cut * SECTOR);
                let extent =
                    Extent::between(ByteOffset::new(from), ByteOffset::new(until)).unwrap();
                index.add(Image { extent, place });
                for sector in from / SECTOR..until / SECTOR {
                    // Whoever had the beginning of the block first has all of it.
                    let (owner, begins) =
                        *owners[(sector / PER_BLOCK) as usize].get_or_insert((place, from));
                    model[sector as usize].get_or_insert(owner.after(sector * SECTOR - begins));
                }
            }
            let (low, high) = (asked.0, asked.0 + asked.1);
            let extent = Extent::between(
                ByteOffset::new(low * SECTOR), ByteOffset::new(high * SECTOR)).unwrap();
            let mut found = vec![None; 160];
            for image in index.images_of(extent) {
                let begins = image.extent.start().get();
                for sector in begins / SECTOR..image.extent.end().get() / SECTOR {
                    found[sector as usize] = Some(image.place.after(sector * SECTOR - begins));
                }
            }
            let (low, high) = (low as usize, high as usize);
            prop_assert_eq!(&found[low..high], &model[low..high]);
            let sectors = model.iter().flatten().count() as u64;
            prop_assert_eq!(index.bytes(), sectors * SECTOR);
            prop_assert!(index.iter().all(|image| image.extent.start().get() % BLOCK == 0
                || image.extent.start().get() == 0));
        }
    }

    #[test]
    fn neighbours_are_one_wherever_they_are_and_only_if_their_bytes_are() {
        let mut index = ImageIndex::default();
        index.add(image(110, 120, 1110));
        index.add(image(120, 130, 1120));
        index.add(image(100, 110, 1100));
        assert_eq!(index.iter().collect::<Vec<_>>(), [image(100, 130, 1100)]);
        assert_eq!((index.len(), index.bytes()), (1, 30));
        index.add(image(130, 140, 1131));
        index.add(image(90, 100, 1089));
        let all: Vec<_> = index.iter().collect();
        assert_eq!(all, [image(90, 100, 1089), image(100, 130, 1100), image(130, 140, 1131)]);
        assert_eq!((index.len(), index.bytes()), (3, 50));
        assert_eq!(ImageIndex::default().len(), 0);
    }
}
