//! Plans against a naive model: a disk as bytes, changed piece by piece, byte by byte.

use proptest::prelude::*;

use super::*;
use crate::device::TRANSFER_BYTES_MAX;
use crate::stream::placement::{ALIGNMENT, position_for};
use crate::stream::{BATCH_PIECES_MAX, Content, VolumeIndex};
use crate::units::{ByteCount, ByteOffset};

const BOTH: [SectorSize; 2] = [SectorSize::Bytes512, SectorSize::Bytes4096];

/// The length of the model's disk: small, so that pieces often meet.
const DISK_BYTES: u64 = 8 << 12;

fn extent(start: u64, end: u64) -> Extent {
    Extent::between(ByteOffset::new(start), ByteOffset::new(end)).unwrap()
}

fn piece(start: u64, end: u64, content: Content) -> Piece {
    Piece { volume: VolumeIndex(0), extent: extent(start, end), content }
}

/// Pieces with data, placed one after the other as a reader does.
fn placed(extents: &[(u64, u64)]) -> Vec<Piece> {
    let wanted: Vec<_> = extents.iter().map(|(start, end)| (*start, *end, 0)).collect();
    pieces_of(&wanted)
}

/// The same; the third number is the content: 1 is zeros, 2 is discarded, all others are data.
fn pieces_of(wanted: &[(u64, u64, u8)]) -> Vec<Piece> {
    let mut free = 0;
    let one = |&(start, end, kind): &(u64, u64, u8)| {
        let content = match kind {
            1 => Content::Zero,
            2 => Content::Discard,
            _ => {
                let start = ByteOffset::new(start);
                let position = position_for(start, free, usize::MAX).unwrap();
                free = position.saturating_add((end - start.get()) as usize);
                Content::Data { position }
            }
        };
        piece(start, end, content)
    };
    wanted.iter().map(one).collect()
}

/// The content of the arena: different bytes at positions that could be confused.
fn arena_byte(position: usize) -> u8 {
    let mixed = (position as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 56) as u8 | 1
}

fn pattern(place: usize) -> u8 {
    (place % 250) as u8 + 2
}

/// The disk before the batch.
fn old_disk() -> Vec<u8> {
    (0..DISK_BYTES as usize).map(pattern).collect()
}

/// The disk after `pieces`, and which bytes are covered by any of them.
fn apply_byte_by_byte(pieces: &[Piece]) -> (Vec<u8>, Vec<bool>) {
    let (mut disk, mut named) = (old_disk(), vec![false; DISK_BYTES as usize]);
    for piece in pieces {
        let start = piece.extent.start().get() as usize;
        for within in 0..piece.extent.length().get() as usize {
            named[start + within] = true;
            disk[start + within] = match piece.content {
                Content::Data { position } => arena_byte(position + within),
                Content::Zero | Content::Discard => 0,
            };
        }
    }
    (disk, named)
}

/// A disk that accepts each byte at most once, and only whole sectors.
struct OnceDisk {
    bytes: Vec<u8>,
    written: Vec<bool>,
    size: SectorSize,
}

impl OnceDisk {
    fn write(&mut self, extent: Extent, byte: impl Fn(usize) -> u8) {
        assert_eq!(extent.align_outward(self.size), Some(extent), "whole sectors");
        let start = extent.start().get() as usize;
        for within in 0..extent.length().get() as usize {
            assert!(!self.written[start + within], "byte {} is written twice", start + within);
            self.written[start + within] = true;
            self.bytes[start + within] = byte(within);
        }
    }

    fn patch(&mut self, patch: &Patch) {
        let start = self.size.offset_of(patch.sector).unwrap();
        let sector = Extent::new(start, self.size.bytes()).unwrap();
        let from = start.get() as usize;
        // A sector that the patch covers is not read: garbage would show.
        let mut bytes = match patch.covers(self.size) {
            true => vec![0xff; self.size.bytes().get() as usize],
            false => self.bytes[from..sector.end().get() as usize].to_vec(),
        };
        for change in &patch.changes {
            for index in 0..change.length {
                bytes[change.within + index] =
                    change.position.map_or(0, |position| arena_byte(position + index));
            }
        }
        self.write(sector, |within| bytes[within]);
    }
}

fn apply_plan(plan: &WritePlan, size: SectorSize) -> OnceDisk {
    let written = vec![false; DISK_BYTES as usize];
    let mut disk = OnceDisk { bytes: old_disk(), written, size };
    for write in &plan.writes {
        let extent = Extent::new(write.at, ByteCount::new(write.length as u64)).unwrap();
        disk.write(extent, |within| arena_byte(write.position + within));
    }
    for clear in &plan.clears {
        disk.write(*clear, |_| 0);
    }
    plan.patches.iter().for_each(|patch| disk.patch(patch));
    disk
}

/// The sectors with a covered byte, as ranges.
fn sectors_named(named: &[bool], size: SectorSize) -> Vec<Extent> {
    let bytes = size.bytes().get();
    let sectors = named.chunks(bytes as usize).zip(0..);
    let mut extents: Vec<_> = sectors
        .filter(|(sector, _)| sector.contains(&true))
        .map(|(_, lba)| extent(lba * bytes, (lba + 1) * bytes))
        .collect();
    Extent::coalesce(&mut extents);
    extents
}

/// Asserts that everything is in order, within the length limit, and aligned for a device.
fn assert_well_formed(plan: &WritePlan, size: SectorSize) {
    for write in &plan.writes {
        assert!((1..=TRANSFER_BYTES_MAX).contains(&write.length));
        assert_eq!(write.position as u64 % size.bytes().get(), 0);
        assert_eq!(write.position % ALIGNMENT, write.at.get() as usize % ALIGNMENT);
    }
    for pair in plan.writes.windows(2) {
        let end = pair[0].at.get() + pair[0].length as u64;
        assert!(end <= pair[1].at.get());
        let neighbours =
            end == pair[1].at.get() && pair[0].position + pair[0].length == pair[1].position;
        assert!(!neighbours || pair[0].length == TRANSFER_BYTES_MAX, "not joined: {pair:?}");
    }
    for list in [&plan.clears, &plan.touched] {
        assert!(list.windows(2).all(|pair| pair[0].end() < pair[1].start()), "{list:?}");
    }
    assert!(plan.patches.windows(2).all(|pair| pair[0].sector < pair[1].sector));
    for patch in &plan.patches {
        assert_changes_well_formed(&patch.changes, size);
    }
}

fn assert_changes_well_formed(changes: &[Change], size: SectorSize) {
    assert!(!changes.is_empty());
    let bytes = size.bytes().get() as usize;
    for change in changes {
        assert!(change.length > 0 && change.length < bytes && change.within < bytes);
        assert!(change.within + change.length <= bytes);
    }
    for pair in changes.windows(2) {
        let end = pair[0].within + pair[0].length;
        assert!(end <= pair[1].within);
        let next = pair[0].position.map(|position| position + pair[0].length);
        assert!(end < pair[1].within || next != pair[1].position, "not joined: {pair:?}");
    }
}

fn assert_as_the_model(pieces: &[Piece], size: SectorSize, plan: &WritePlan) {
    assert_well_formed(plan, size);
    let (expected, named) = apply_byte_by_byte(pieces);
    let found = apply_plan(plan, size);
    assert!(found.bytes == expected, "other bytes than the model's");
    assert_eq!(plan.touched, sectors_named(&named, size));
    assert_eq!(plan.touched, sectors_named(&found.written, size));
}

/// A place on the disk: any, often a sector boundary, often next to one.
fn places() -> impl Strategy<Value = u64> {
    let boundary = prop_oneof![
        (0..=DISK_BYTES >> 9).prop_map(|lba| lba << 9),
        (0..=DISK_BYTES >> 12).prop_map(|lba| lba << 12),
    ];
    let beside = (boundary.clone(), 0..3_u64)
        .prop_map(|(place, shift)| (place + shift).saturating_sub(1).min(DISK_BYTES));
    prop_oneof![2 => 0..=DISK_BYTES, 4 => boundary, 1 => beside]
}

/// Pieces of all kinds, some beginning where the previous one ended.
fn batches(longest: u64) -> impl Strategy<Value = Vec<Piece>> {
    let one = (places(), places(), any::<bool>(), 0..6_u8);
    prop::collection::vec(one, 0..24).prop_map(move |raw| {
        let mut last_end = 0;
        let mut wanted = Vec::new();
        for (one, other, follow, kind) in raw {
            let start = if follow { last_end } else { one.min(other) };
            let end = (start + one.abs_diff(other).min(longest)).min(DISK_BYTES);
            if start < end {
                wanted.push((start, end, kind));
                last_end = end;
            }
        }
        pieces_of(&wanted)
    })
}

proptest! {
    #[test]
    fn a_plan_leaves_the_bytes_that_the_pieces_one_by_one_leave(
        pieces in prop_oneof![batches(DISK_BYTES), batches(6000), batches(300)],
    ) {
        for size in BOTH {
            assert_as_the_model(&pieces, size, &plan(&pieces, size));
        }
    }

    #[test]
    fn a_planner_remembers_nothing_of_the_batch_before(
        batches in prop::collection::vec(batches(6000), 1..4),
    ) {
        let (mut planner, mut reused) = (Planner::default(), WritePlan::default());
        for (pieces, size) in batches.iter().zip(BOTH.into_iter().cycle()) {
            planner.plan_into(pieces, size, &mut reused);
            prop_assert_eq!(&reused, &plan(pieces, size));
        }
    }

    #[test]
    fn nothing_panics_at_the_ends_of_the_range(
        raw in prop::collection::vec((0..5000_u64, 1..5000_u64, 0..4_u8, any::<bool>()), 0..12),
        position in prop_oneof![Just(0), Just(usize::MAX), Just(usize::MAX - 4095)],
    ) {
        let low = u64::MAX - 10_000;
        let pieces: Vec<_> = raw.iter().map(|&(start, length, kind, all)| {
            let end = low + start + length;
            match kind {
                1 if all => piece(0, end, Content::Zero),
                1 => piece(low + start, end, Content::Discard),
                _ => piece(low + start, end, Content::Data { position }),
            }
        }).collect();
        for size in BOTH {
            let plan = plan(&pieces, size);
            prop_assert_eq!(plan.touched.is_empty(), pieces.is_empty());
            for piece in &pieces {
                prop_assert!(plan.touched.iter().any(|touched| touched.covers(piece.extent)));
            }
        }
    }
}

#[test]
fn pieces_next_to_each_other_on_disk_and_in_the_arena_are_one_write() {
    let pieces = placed(&[(8192, 12_288), (12_288, 12_388), (12_388, 16_384)]);
    for size in BOTH {
        let plan = plan(&pieces, size);
        let whole = Transfer { at: ByteOffset::new(8192), position: 0, length: 8192 };
        assert_eq!((plan.writes, plan.patches), (vec![whole], vec![]));
    }
}

#[test]
fn a_run_longer_than_a_transfer_is_split_at_multiples_of_the_longest() {
    let most = TRANSFER_BYTES_MAX as u64;
    let pieces = placed(&[(4096, 4096 + most), (4096 + most, 4096 + 2 * most + 512)]);
    let plan = plan(&pieces, SectorSize::Bytes512);
    let found: Vec<_> =
        plan.writes.iter().map(|write| (write.at.get(), write.position, write.length)).collect();
    let step = TRANSFER_BYTES_MAX;
    let expected = [(4096, 0, step), (4096 + most, step, step), (4096 + 2 * most, 2 * step, 512)];
    assert_eq!(found, expected);
    assert_eq!(plan.touched, [extent(4096, 4096 + 2 * most + 512)]);
}

#[test]
fn zeros_and_discards_next_to_each_other_are_one_clear_of_any_length() {
    let long = 1 << 40;
    let pieces = pieces_of(&[(long, 2 * long, 2), (0, 100, 1), (100, long, 1)]);
    for size in BOTH {
        let plan = plan(&pieces, size);
        assert_eq!(plan.clears, [extent(0, 2 * long)]);
        assert!(plan.patches.is_empty() && plan.writes.is_empty());
    }
}

#[test]
fn a_sector_covered_by_several_sources_is_a_patch_that_needs_no_read() {
    let pieces = pieces_of(&[(0, 200, 0), (200, 512, 1), (512, 600, 1)]);
    let plan = plan(&pieces, SectorSize::Bytes512);
    assert_eq!(plan.patches.len(), 2);
    assert!(plan.patches[0].covers(SectorSize::Bytes512));
    assert!(!plan.patches[1].covers(SectorSize::Bytes512));
    let zeros = Change { within: 200, length: 312, position: None };
    assert_eq!(plan.patches[0].changes[1], zeros);
}

#[test]
fn the_last_writer_wins_where_a_later_piece_begins_earlier() {
    let pieces = placed(&[(4096, 12_288), (0, 8192)]);
    let [Content::Data { position: first }, Content::Data { position: second }] =
        [pieces[0].content, pieces[1].content]
    else {
        panic!("both are data");
    };
    let plan = plan(&pieces, SectorSize::Bytes4096);
    let later = Transfer { at: ByteOffset::ZERO, position: second, length: 8192 };
    let left = Transfer { at: ByteOffset::new(8192), position: first + 4096, length: 4096 };
    assert_eq!(plan.writes, [later, left]);
}

/// The first and last sector of a piece, given its number and the number of pieces.
type Shape = fn(u64, u64) -> (u64, u64);

/// The most pieces that a batch can have: each over all others, nested in every way, and many short
/// ones that ended long before the sweep does.
#[test]
fn a_piece_costs_at_most_two_looks_however_the_others_lie_over_it() {
    let count = BATCH_PIECES_MAX as u64;
    let shapes: [(&str, Shape); 7] = [
        ("each inside of the one before", |n, count| (n, 2 * count - n)),
        ("each around the one before", |n, count| (count - 1 - n, count + 1 + n)),
        ("each a step further", |n, count| (n, count + n)),
        ("each a step back", |n, count| (count - n, 2 * count - n)),
        ("all the same", |_, count| (0, count)),
        ("none over another", |n, _| (2 * n, 2 * n + 1)),
        ("one over all", |n, count| if n + 1 < count { (n, n + 2) } else { (0, count) }),
    ];
    for (name, shape) in shapes {
        let extents: Vec<_> = (0..count)
            .map(|n| shape(n, count))
            .map(|(start, end)| (start * 512, end * 512))
            .collect();
        let (mut overlay, mut runs) = (Overlay::default(), 0);
        overlay.runs(&placed(&extents), |_| runs += 1);
        assert!(overlay.looks <= 2 * BATCH_PIECES_MAX, "{name}: {} looks", overlay.looks);
        assert!((1..=2 * BATCH_PIECES_MAX).contains(&runs), "{name}: {} runs", runs);
    }
}

#[test]
fn long_clears_are_taken_out_of_a_plan_and_done_in_steps() {
    let long = super::CLEAR_STEP_BYTES * 3;
    let mut plan = WritePlan {
        clears: vec![extent(0, 4096), extent(8192, 8192 + long)],
        touched: vec![extent(0, 4096), extent(4608, 8192 + long + 512)],
        ..WritePlan::default()
    };
    assert_eq!(plan.take_long_clears(), [extent(8192, 8192 + long)]);
    assert_eq!(plan.clears, [extent(0, 4096)]);
    let edges = [extent(0, 4096), extent(4608, 8192), extent(8192 + long, 8192 + long + 512)];
    assert_eq!(plan.touched, edges);
    let steps: Vec<_> = super::clear_steps(extent(8192, 8192 + long)).collect();
    assert!(steps.iter().all(|step| step.length().get() <= super::CLEAR_STEP_BYTES));
    assert!(steps.windows(2).all(|pair| pair[0].end() == pair[1].start()));
    assert_eq!(
        (steps.len(), steps[0].start(), steps[3].end().get()),
        (4, ByteOffset::new(8192), 8192 + long)
    );
}
