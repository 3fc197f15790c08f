//! Extents against a naive model: the set of places inside, at both ends of the 64-bit range.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// The number of places in the model: few, so that ranges often meet.
const WORLD: u64 = 24;

type Places = BTreeSet<u64>;

fn extent(start: u64, end: u64) -> Extent {
    Extent::between(ByteOffset::new(start), ByteOffset::new(end)).unwrap()
}

fn places(extent: impl Into<Option<Extent>>) -> Places {
    let extent = extent.into();
    extent.map_or_else(Places::new, |extent| (extent.start().get()..extent.end().get()).collect())
}

/// The start of the world: zero, or so that its last place is the last that can be in an extent.
fn bases() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(u64::MAX - WORLD)]
}

fn in_world(base: u64) -> impl Strategy<Value = Extent> {
    (0..WORLD)
        .prop_flat_map(|start| (Just(start), start + 1..=WORLD))
        .prop_map(move |(start, end)| extent(base + start, base + end))
}

fn pairs() -> impl Strategy<Value = (Extent, Extent)> {
    bases().prop_flat_map(|base| (in_world(base), in_world(base)))
}

fn sizes() -> impl Strategy<Value = SectorSize> {
    prop_oneof![Just(SectorSize::Bytes512), Just(SectorSize::Bytes4096)]
}

proptest! {
    #[test]
    fn pairs_behave_as_sets_of_places((one, other) in pairs()) {
        let (these, those) = (places(one), places(other));
        let both: Places = these.intersection(&those).copied().collect();
        prop_assert_eq!(places(one.intersect(other)), both.clone());
        prop_assert_eq!(one.overlaps(other), !both.is_empty());
        prop_assert_eq!(one.covers(other), those.is_subset(&these));

        let rest = one.subtract(other);
        let left: Places = &places(rest.before) | &places(rest.after);
        prop_assert_eq!(left, &these - &those);
        if let Some(before) = rest.before {
            prop_assert!(before.end() <= other.start());
        }
        if let Some(after) = rest.after {
            prop_assert!(other.end() <= after.start());
        }
    }

    #[test]
    fn join_is_the_union_where_the_union_has_no_gap((one, other) in pairs()) {
        let union: Places = &places(one) | &places(other);
        let hull = extent(one.start().min(other.start()).get(), one.end().max(other.end()).get());
        let has_gap = union.len() < places(hull).len();
        prop_assert_eq!(one.join(other), (!has_gap).then_some(hull));
        prop_assert_eq!(one.join(other), other.join(one));
    }

    #[test]
    fn length_and_contains_count_places((one, other) in pairs()) {
        let these = places(one);
        prop_assert_eq!(one.length().get(), these.len() as u64);
        for place in places(other) {
            prop_assert_eq!(one.contains(ByteOffset::new(place)), these.contains(&place));
        }
    }

    #[test]
    fn a_split_loses_nothing((one, other) in pairs()) {
        let place = other.start();
        match one.split_at(place) {
            Some((first, second)) => {
                prop_assert_eq!((first.start(), first.end()), (one.start(), place));
                prop_assert_eq!((second.start(), second.end()), (place, one.end()));
            }
            None => prop_assert!(place <= one.start() || place >= one.end()),
        }
    }

    #[test]
    fn coalescing_keeps_the_places_in_the_fewest_sorted_extents(
        extents in bases().prop_flat_map(|base| prop::collection::vec(in_world(base), 0..12)),
    ) {
        let wanted: Places = extents.iter().flat_map(|extent| places(*extent)).collect();
        let mut coalesced = extents.clone();
        Extent::coalesce(&mut coalesced);
        let found: Places = coalesced.iter().flat_map(|extent| places(*extent)).collect();
        prop_assert_eq!(found, wanted);
        for neighbours in coalesced.windows(2) {
            prop_assert!(neighbours[0].end() < neighbours[1].start());
        }
    }

    #[test]
    fn lists_overlap_where_they_share_a_place(
        (mut these, mut those) in bases().prop_flat_map(|base| (
            prop::collection::vec(in_world(base), 0..4),
            prop::collection::vec(in_world(base), 0..4),
        )),
    ) {
        Extent::coalesce(&mut these);
        Extent::coalesce(&mut those);
        let all = |list: &[Extent]| -> Places { list.iter().flat_map(|e| places(*e)).collect() };
        let shared = !all(&these).is_disjoint(&all(&those));
        prop_assert_eq!(overlaps(&these, &those), shared);
        prop_assert_eq!(overlaps(&those, &these), shared);
    }

    #[test]
    fn whole_sectors_around_and_inside_are_the_tightest(
        size in sizes(), start in any::<u64>(), length in 1..20_000_u64,
    ) {
        let start = start.saturating_sub(length);
        let exact = extent(start, start + length);
        let bytes = size.bytes().get();
        let (low, high) = (start / bytes, (start + length).div_ceil(bytes));
        let outward = LbaExtent::between(Lba::new(low), Lba::new(high)).unwrap();
        prop_assert_eq!(exact.align_outward(size), outward.to_bytes(size));

        let (low, high) = (start.div_ceil(bytes), (start + length) / bytes);
        let inward = LbaExtent::between(Lba::new(low), Lba::new(high)).ok();
        prop_assert_eq!(exact.align_inward(size), inward.and_then(|inside| inside.to_bytes(size)));
    }

    #[test]
    fn sectors_survive_the_way_to_bytes_and_back(
        size in sizes(), start in 0..u64::MAX >> 12, length in 1..1_000_000_u64,
    ) {
        let sectors = LbaExtent::new(Lba::new(start), SectorCount::new(length)).unwrap();
        if let Some(bytes) = sectors.to_bytes(size) {
            prop_assert_eq!(bytes.to_sectors(size), Some(sectors));
            prop_assert_eq!(bytes.align_inward(size), Some(bytes));
            prop_assert_eq!(bytes.align_outward(size), Some(bytes));
            let crooked = Extent::between(bytes.start(), ByteOffset::new(bytes.end().get() - 1));
            prop_assert_eq!(crooked.unwrap().to_sectors(size), None);
        }
    }
}

#[test]
fn what_is_no_extent_is_refused_with_its_numbers() {
    let at = ByteOffset::new(7);
    let empty = Extent::new(at, ByteCount::ZERO);
    assert_eq!(empty, Err(ExtentError::Empty { start: 7 }));
    assert_eq!(Extent::between(at, at), Err(ExtentError::Empty { start: 7 }));
    let reversed = Extent::between(at, ByteOffset::new(6));
    assert_eq!(reversed, Err(ExtentError::Reversed { start: 7, end: 6 }));
    let overflow = Extent::new(at, ByteCount::new(u64::MAX - 6));
    let (start, length) = (7, u64::MAX - 6);
    assert_eq!(overflow, Err(ExtentError::Overflow { start, length }));
    assert!(Extent::new(at, ByteCount::new(u64::MAX - 7)).is_ok());
}

#[test]
fn the_last_sector_of_the_range_has_no_aligned_end() {
    let last = extent(u64::MAX - 1, u64::MAX);
    assert_eq!(last.align_outward(SectorSize::Bytes512), None);
    assert_eq!(last.align_inward(SectorSize::Bytes512), None);
}

#[test]
fn extents_print_as_ranges_with_their_unit() {
    assert_eq!(extent(512, 1024).to_string(), "bytes 512..1024");
    let sectors = extent(512, 1024).to_sectors(SectorSize::Bytes512).unwrap();
    assert_eq!(sectors.to_string(), "sectors 1..2");
}
