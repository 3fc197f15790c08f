//! How long planning a batch takes: far less than the device needs for the writes, or it shows.

use blockio::extent::Extent;
use blockio::plan::{Planner, WritePlan};
use blockio::stream::placement::position_for;
use blockio::stream::{Content, Piece, VolumeIndex};
use blockio::units::{ByteCount, ByteOffset, SectorSize};
use divan::counter::ItemsCount;

fn main() {
    divan::main();
}

/// Numbers that look random and are the same every time (xorshift64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// Pieces at these offsets and lengths, with their data where a reader would put it. Every
/// `zero_every`th is zeros; none is if that is 0.
fn pieces(extents: impl Iterator<Item = (u64, u64)>, zero_every: usize) -> Vec<Piece> {
    let mut free = 0;
    let piece = |(index, (offset, length)): (usize, (u64, u64))| {
        let extent = Extent::new(ByteOffset::new(offset), ByteCount::new(length))
            .expect("invariant: not empty, small");
        let content = if zero_every != 0 && index % zero_every == 0 {
            Content::Zero
        } else {
            let position = position_for(extent.start(), free, usize::MAX)
                .expect("invariant: memory without an end");
            free = position + length as usize;
            Content::Data { position }
        };
        Piece { volume: VolumeIndex(0), extent, content }
    };
    extents.enumerate().map(piece).collect()
}

fn bench(bencher: divan::Bencher<'_, '_>, pieces: &[Piece], size: SectorSize) {
    let (mut planner, mut plan) = (Planner::default(), WritePlan::default());
    bencher.counter(ItemsCount::new(pieces.len())).bench_local(|| {
        planner.plan_into(divan::black_box(pieces), size, &mut plan);
        plan.writes.len()
    });
}

const BOTH: [SectorSize; 2] = [SectorSize::Bytes512, SectorSize::Bytes4096];

#[divan::bench(args = BOTH)]
fn random_4k(bencher: divan::Bencher<'_, '_>, size: SectorSize) {
    let mut numbers = Numbers(1);
    let extents = (0..2048).map(|_| (numbers.below(1 << 22) << 12, 4096));
    bench(bencher, &pieces(extents, 0), size);
}

#[divan::bench(args = BOTH)]
fn sorted_4k(bencher: divan::Bencher<'_, '_>, size: SectorSize) {
    bench(bencher, &pieces((0..2048).map(|index| (index << 16, 4096)), 0), size);
}

/// 4 to 128 KiB at any 512 bytes, a fifth of them zeros, some over each other.
#[divan::bench(args = BOTH)]
fn mixed(bencher: divan::Bencher<'_, '_>, size: SectorSize) {
    let mut numbers = Numbers(2);
    let extents = (0..100).map(|_| (numbers.below(1 << 17) << 9, (1 + numbers.below(32)) << 12));
    bench(bencher, &pieces(extents, 5), size);
}

/// Each inside of the one before: as deep as it gets.
#[divan::bench(args = BOTH)]
fn all_overlapping(bencher: divan::Bencher<'_, '_>, size: SectorSize) {
    let extents = (0..16_384).map(|index| (index << 9, (32_768 - 2 * index) << 9));
    bench(bencher, &pieces(extents, 0), size);
}
