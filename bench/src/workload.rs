//! What is written: lists of extents made from a seed, the same on every machine and in every run.

/// The seed of every list.
const SEED: u64 = 0x6d74_6265_6e63_6801;
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// All offsets and lengths are multiples of this.
const PAGE: u64 = 4 * KIB;

/// The workloads by name, in the order in which they run.
pub(crate) const NAMES: [&str; 10] = [
    "sequential-1m",
    "random-4k",
    "mixed-delta",
    "streamed-mixed",
    "half-zero-image",
    "history-mixed",
    "history-hot",
    "rollback-dense",
    "view-read",
    "thinning",
];
/// Those that are measured on slow devices, too.
pub(crate) const SLOWED: [&str; 3] = ["history-mixed", "history-hot", "rollback-dense"];
/// Number of volumes of the workload about thinning, each an equal slice of the target.
pub(crate) const SLICES: u64 = 60;
/// Number of its recovery points: a day of one for every five minutes.
pub(crate) const POINTS: u64 = 288;
/// Number of changes of each volume between two points.
const CHANGES: u64 = 4;

/// A range of the target, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ByteRange {
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// A workload: what every contender writes, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    /// Ranges that get data; where two overlap, the later one wins.
    pub(crate) data: Vec<ByteRange>,
    /// Ranges that become zeros: the holes of an image. They do not overlap anything.
    pub(crate) zeros: Vec<ByteRange>,
    pub(crate) kind: Kind,
    /// The bytes that a contender moves, on which its speed is based.
    bytes: u64,
}

/// What is measured of a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Writing a whole image.
    Image,
    /// Applying changes to existing contents.
    Delta,
    /// The same, with the changes sent by another process.
    Streamed,
    /// Applying changes and keeping the history.
    History,
    /// Going back to the contents before the changes.
    Rollback,
    /// Reading the contents, as they are and as they were.
    View,
    /// Applying changes while older points are thinned.
    Thinning,
}

impl Workload {
    /// The workload called `name`, one of [`NAMES`], for a target of `target_bytes`.
    pub(crate) fn new(name: &'static str, target_bytes: u64) -> Self {
        let mut numbers = Numbers::new();
        let mut zeros = Vec::new();
        let data = match name {
            "sequential-1m" => blocks(target_bytes, MIB).collect(),
            "random-4k" => random_pages(target_bytes, &mut numbers),
            "mixed-delta" | "streamed-mixed" | "history-mixed" | "view-read" => {
                mixed(target_bytes, &mut numbers)
            }
            "history-hot" => hot(target_bytes, &mut numbers),
            "rollback-dense" => blocks(target_bytes / 2, MIB).collect(),
            "thinning" => day(target_bytes, &mut numbers),
            _ => {
                let (data, holes) = half_zero(target_bytes, &mut numbers);
                zeros = holes;
                data
            }
        };
        let kind = match name {
            "half-zero-image" => Kind::Image,
            "streamed-mixed" => Kind::Streamed,
            "history-mixed" | "history-hot" => Kind::History,
            "rollback-dense" => Kind::Rollback,
            "view-read" => Kind::View,
            "thinning" => Kind::Thinning,
            _ => Kind::Delta,
        };
        let written = || data.iter().chain(&zeros).map(|range| range.length).sum();
        let bytes = if kind == Kind::View { target_bytes } else { written() };
        Self { name, data, zeros, kind, bytes }
    }

    /// The bytes that a contender moves: those that it is to write, including zeros, or to read.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// [`bytes`](Self::bytes) in GiB.
    pub(crate) fn gib(&self) -> f64 {
        self.bytes() as f64 / GIB as f64
    }
}

/// The size of each of the [`SLICES`] of a target, in bytes.
pub(crate) fn slice_bytes(target_bytes: u64) -> u64 {
    target_bytes / SLICES / MIB * MIB
}

/// Every block of the target once, in order.
fn blocks(target_bytes: u64, length: u64) -> impl Iterator<Item = ByteRange> {
    (0..target_bytes / length).map(move |block| ByteRange { offset: block * length, length })
}

/// A quarter of the pages, each at most once, in random order.
fn random_pages(target_bytes: u64, numbers: &mut Numbers) -> Vec<ByteRange> {
    let mut all: Vec<ByteRange> = blocks(target_bytes, PAGE).collect();
    let wanted = all.len() / 4;
    for place in 0..wanted {
        let other = place as u64 + numbers.below((all.len() - place) as u64);
        all.swap(place, other as usize);
    }
    all.truncate(wanted);
    all.shrink_to_fit();
    all
}

/// Changes like those of a server: 10,000 for each GiB; 50 % of 4 KiB, 40 % of 8 to 64 KiB, 10 % of
/// 256 KiB to 1 MiB, anywhere, some of them overlapping.
fn mixed(target_bytes: u64, numbers: &mut Numbers) -> Vec<ByteRange> {
    let count = target_bytes * 10_000 / GIB;
    (0..count)
        .map(|_| {
            let pages = match numbers.below(10) {
                0..=4 => 1,
                5..=8 => numbers.between(2, 16),
                _ => numbers.between(64, 256),
            };
            let last = target_bytes / PAGE - pages;
            ByteRange { offset: numbers.between(0, last) * PAGE, length: pages * PAGE }
        })
        .collect()
}

/// As many bytes as the target has, 4 to 64 KiB at a time, all of them in the same tenth of it.
fn hot(target_bytes: u64, numbers: &mut Numbers) -> Vec<ByteRange> {
    let (start, pages_there) = (target_bytes / 2, target_bytes / 10 / PAGE);
    let mut data = Vec::new();
    let mut rest = target_bytes / PAGE;
    while rest > 0 {
        let pages = numbers.between(1, 16).min(rest);
        let page = numbers.between(0, pages_there - pages);
        data.push(ByteRange { offset: start + page * PAGE, length: pages * PAGE });
        rest -= pages;
    }
    data
}

/// Between every two of [`POINTS`], [`CHANGES`] of 4 to 32 KiB in each slice, nine of ten in the
/// same fiftieth of it, as those of a server.
fn day(target_bytes: u64, numbers: &mut Numbers) -> Vec<ByteRange> {
    let slice = slice_bytes(target_bytes);
    let mut data = Vec::new();
    for change in 0..POINTS * SLICES * CHANGES {
        let pages = numbers.between(1, 8);
        let there = if numbers.below(10) == 0 { slice / PAGE } else { slice / 50 / PAGE };
        let page = numbers.between(0, there - pages);
        let start = change / CHANGES % SLICES * slice;
        data.push(ByteRange { offset: start + page * PAGE, length: pages * PAGE });
    }
    data
}

/// Alternating data and holes, 1 to 16 MiB each, until half of the target is data.
fn half_zero(target_bytes: u64, numbers: &mut Numbers) -> (Vec<ByteRange>, Vec<ByteRange>) {
    let (mut data, mut zeros) = (Vec::new(), Vec::new());
    let mut offset = 0;
    while offset < target_bytes {
        let length = (numbers.between(1, 16) * MIB).min((target_bytes - offset).div_ceil(2));
        data.push(ByteRange { offset, length });
        offset += length;
        let length = length.min(target_bytes - offset);
        zeros.push(ByteRange { offset, length });
        offset += length;
    }
    (data, zeros)
}

/// Pseudorandom numbers (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Numbers(u64);

impl Numbers {
    /// Starts with the common seed.
    pub(crate) fn new() -> Self {
        Self(SEED)
    }

    /// The next number.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number less than `limit`, which must not be zero. The slight bias does not matter here.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub(crate) fn between(&mut self, first: u64, last: u64) -> u64 {
        first + self.below(last - first + 1)
    }
}

/// Bytes for a range: different for every range, and without zeros, so that nothing can be skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filling {
    /// The contents of the target before the workload.
    Before,
    /// The contents that the workload writes.
    Payload,
    /// Neither of these: written over the ranges to prove that a contender wrote them.
    Noise,
}

impl Filling {
    /// Fills `bytes`, the contents of the range with the number `index` in its list.
    pub(crate) fn fill(self, index: u64, bytes: &mut [u8]) {
        let mut numbers =
            Numbers((self as u64 + 1) << 56 ^ index.wrapping_mul(0xa076_1d64_78bd_642f));
        for word in bytes.chunks_mut(8) {
            // The lowest bit of each byte is set, so no byte is zero.
            let number = numbers.next() | 0x0101_0101_0101_0101;
            word.copy_from_slice(&number.to_le_bytes()[..word.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_workload_is_the_same_each_time_and_stays_on_the_target() {
        for name in NAMES {
            let workload = Workload::new(name, GIB);
            assert_eq!(workload, Workload::new(name, GIB));
            assert!(!workload.data.is_empty(), "{name}");
            for range in workload.data.iter().chain(&workload.zeros) {
                assert!(range.length > 0 || workload.kind == Kind::Image, "{name}: {range:?}");
                assert!(range.offset + range.length <= GIB, "{name}: {range:?}");
                assert_eq!((range.offset % PAGE, range.length % PAGE), (0, 0), "{name}");
            }
        }
    }

    #[test]
    fn the_mixed_delta_is_the_one_described() {
        let workload = Workload::new("mixed-delta", 4 * GIB);
        assert_eq!(workload.data.len(), 40_000);
        assert!((3.0..3.2).contains(&workload.gib()), "{}", workload.gib());
        let small = workload.data.iter().filter(|range| range.length == PAGE).count();
        let large = workload.data.iter().filter(|range| range.length >= 256 * KIB).count();
        assert!((19_500..20_500).contains(&small), "{small}");
        assert!((3_700..4_300).contains(&large), "{large}");
    }

    #[test]
    fn random_pages_are_never_written_twice() {
        let mut offsets: Vec<u64> =
            Workload::new("random-4k", GIB).data.iter().map(|range| range.offset).collect();
        assert_eq!(offsets.len(), 65_536);
        assert!(!offsets.is_sorted());
        offsets.sort_unstable();
        offsets.dedup();
        assert_eq!(offsets.len(), 65_536);
    }

    #[test]
    fn what_is_hot_is_a_tenth_of_the_target_written_ten_times() {
        let workload = Workload::new("history-hot", GIB);
        let first = workload.data.iter().map(|range| range.offset).min().unwrap();
        let last = workload.data.iter().map(|range| range.offset + range.length).max().unwrap();
        assert_eq!(workload.bytes(), GIB);
        assert!(last - first <= GIB / 10, "{first} to {last}");
    }

    #[test]
    fn between_two_points_of_a_day_every_slice_changes() {
        let workload = Workload::new("thinning", GIB);
        let slice = slice_bytes(GIB);
        let between = workload.data.len() / POINTS as usize;
        for changes in workload.data.chunks(between) {
            let mut slices: Vec<u64> = changes.iter().map(|range| range.offset / slice).collect();
            slices.dedup();
            assert_eq!(slices, (0..SLICES).collect::<Vec<_>>());
            let inside = |range: &ByteRange| range.offset % slice + range.length <= slice;
            assert!(changes.iter().all(inside));
        }
    }

    #[test]
    fn a_view_is_read_whole_whatever_was_changed() {
        assert_eq!(Workload::new("view-read", GIB).bytes(), GIB);
        assert!(Workload::new("mixed-delta", GIB).bytes() < GIB);
    }

    #[test]
    fn half_of_the_image_is_holes_and_both_halves_are_the_whole() {
        let workload = Workload::new("half-zero-image", GIB);
        let holes: u64 = workload.zeros.iter().map(|range| range.length).sum();
        assert_eq!(workload.bytes(), GIB);
        assert!(holes.abs_diff(GIB / 2) <= MIB, "{holes}");
    }

    #[test]
    fn fillings_have_no_zeros_and_differ_from_each_other_and_from_range_to_range() {
        let of = |filling: Filling, index| {
            let mut bytes = [0; 37];
            filling.fill(index, &mut bytes);
            bytes
        };
        assert!(!of(Filling::Payload, 0).contains(&0));
        assert_eq!(of(Filling::Payload, 7), of(Filling::Payload, 7));
        assert_ne!(of(Filling::Payload, 0), of(Filling::Payload, 1));
        assert_ne!(of(Filling::Payload, 0), of(Filling::Noise, 0));
        assert_ne!(of(Filling::Before, 0), of(Filling::Noise, 0));
    }
}
