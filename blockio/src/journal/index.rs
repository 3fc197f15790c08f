//! Where each part of a volume as it was at a recovery point is found: which image of which
//! segment. A part without an image was not overwritten since then, and is on the disk.

use std::collections::BTreeMap;

use crate::extent::Extent;
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

    /// Adds the parts of `image` that have no image yet: the image that was added first counts.
    pub(crate) fn add(&mut self, image: Image) {
        let (start, end) = (image.extent.start().get(), image.extent.end().get());
        let mut from = start;
        let mut gaps = Vec::new();
        for known in self.overlapping(start, end) {
            if from < known.0 {
                gaps.push((from, known.0));
            }
            from = from.max(known.1);
        }
        if from < end {
            gaps.push((from, end));
        }
        for (from, until) in gaps {
            self.insert(from, until, image.place.after(from - start));
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

    /// Inserts `from..until`, which has no image yet. Images that are adjacent both on the disk and
    /// in the segment are joined.
    fn insert(&mut self, mut from: u64, mut until: u64, mut place: ImageLocation) {
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

    #[test]
    fn the_image_that_came_first_counts() {
        let mut index = ImageIndex::default();
        index.add(image(10, 20, 1000));
        index.add(image(0, 30, 2000));
        let all: Vec<_> = index.iter().collect();
        assert_eq!(all, [image(0, 10, 2000), image(10, 20, 1000), image(20, 30, 2020)]);
        assert_eq!(index.bytes(), 30);
    }

    #[test]
    fn neighbours_are_one() {
        let mut index = ImageIndex::default();
        index.add(image(10, 20, 110));
        index.add(image(0, 10, 100));
        index.add(image(20, 30, 120));
        assert_eq!(index.iter().collect::<Vec<_>>(), [image(0, 30, 100)]);
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_list_of_bytes(
            images in prop::collection::vec((0_u64..64, 1_u64..16, 0_u64..1000), 0..24),
            asked in (0_u64..64, 1_u64..32),
        ) {
            let mut index = ImageIndex::default();
            let mut model = vec![None; 128];
            for (number, (start, length, at)) in images.iter().enumerate() {
                let place = ImageLocation::Segment { segment: number as u32, at: *at };
                let extent = Extent::between(
                    ByteOffset::new(*start), ByteOffset::new(start + length)).unwrap();
                index.add(Image { extent, place });
                for byte in *start..start + length {
                    model[byte as usize].get_or_insert(place.after(byte - start));
                }
            }
            let (start, length) = asked;
            let extent =
                Extent::between(ByteOffset::new(start), ByteOffset::new(start + length)).unwrap();
            let mut found = vec![None; 128];
            for image in index.images_of(extent) {
                for byte in image.extent.start().get()..image.extent.end().get() {
                    let place = image.place.after(byte - image.extent.start().get());
                    found[byte as usize] = Some(place);
                }
            }
            let (low, high) = (start as usize, (start + length) as usize);
            prop_assert_eq!(&found[low..high], &model[low..high]);
            prop_assert_eq!(index.bytes(), model.iter().flatten().count() as u64);
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
