//! What is done on the simulated machine, and what the result must be: streams, and a model of
//! plain bytes.
#![cfg(test)]

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use tempfile::TempDir;

use super::chance::Chance;
use super::world::{BLOCK_BYTES, Block, Shape, World};
use crate::extent::Extent;
use crate::journal::catalogue::Point;
use crate::stream::native::{Encoder, EncoderOptions};
use crate::stream::{
    Format, Mark, MarkKind, Name, StreamHeader, Timestamp, VolumeHeader, VolumeIndex,
};
use crate::units::{ByteCount, ByteOffset};

/// The content of all volumes.
pub(super) type Contents = Vec<Vec<u8>>;

/// The size of a scenario.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) shape: Shape,
    pub(super) volumes: usize,
    pub(super) blocks: usize,
    pub(super) streams: usize,
    pub(super) marks: usize,
    pub(super) writes: usize,
    pub(super) room_blocks: usize,
    /// Whether a stream continues after its last mark.
    pub(super) goes_on: bool,
    /// Whether the clock of the source jumps: marks have independent times.
    pub(super) source_clock_jumps: bool,
}

/// Streams, and the states that they lead to.
pub(super) struct Scenario {
    pub(super) size: Size,
    pub(super) initial: Contents,
    pub(super) streams: Vec<PathBuf>,
    /// The content after each of the streams.
    pub(super) after: Vec<Contents>,
    /// Each change of all streams: the volume, the range, and the new value of each byte.
    pub(super) changes: Vec<(usize, Range<usize>, u8)>,
    /// The content at each point, by number; 0 is the start.
    pub(super) points: BTreeMap<u64, Contents>,
    _directory: TempDir,
}

impl Scenario {
    pub(super) fn new(size: Size, chance: &mut Chance) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let bytes = size.blocks * BLOCK_BYTES - size.shape.cut_bytes;
        let volume = |chance: &mut Chance| -> Vec<u8> {
            // Some blocks are zeros, because those have a different kind of image.
            let block = |chance: &mut Chance| match chance.below(3) {
                0 => [0; BLOCK_BYTES],
                _ => [chance.any() as u8 | 1; BLOCK_BYTES],
            };
            let mut volume: Vec<u8> = (0..size.blocks).flat_map(|_| block(chance)).collect();
            volume.truncate(bytes);
            volume
        };
        let initial: Contents = (0..size.volumes).map(|_| volume(chance)).collect();
        let mut now = initial.clone();
        let mut scenario = Self {
            size,
            points: BTreeMap::from([(0, initial.clone())]),
            initial,
            streams: Vec::new(),
            after: Vec::new(),
            changes: Vec::new(),
            _directory: directory,
        };
        for number in 0..size.streams {
            let path = scenario._directory.path().join(format!("{number}.mts"));
            std::fs::write(&path, scenario.stream(&mut now, chance)).unwrap();
            scenario.streams.push(path);
            scenario.after.push(now.clone());
        }
        scenario
    }

    /// A stream that begins at `now`, and changes it.
    fn stream(&mut self, now: &mut Contents, chance: &mut Chance) -> Vec<u8> {
        let volume = |place: usize| VolumeHeader {
            name: Name::new(format!("v{place}").as_bytes()),
            size: Some(ByteCount::new(now[place].len() as u64)),
            ..VolumeHeader::default()
        };
        let volumes = (0..self.size.volumes).map(volume).collect();
        let header = StreamHeader {
            format: Format::Native,
            is_in_write_order: true,
            identity: None,
            volumes,
        };
        let options = EncoderOptions { batch_bytes: 8192, ..EncoderOptions::default() };
        let mut stream = Vec::new();
        let mut encoder = Encoder::new(&mut stream, &header, options).unwrap();
        for _ in 0..self.size.marks {
            for _ in 0..1 + chance.below(self.size.writes) {
                self.changes.push(change(&mut encoder, now, self.size.shape, chance));
            }
            let point = self.points.len() as u64;
            let jump = if self.size.source_clock_jumps { jump_of(chance) } else { 0 };
            encoder.mark(&mark(point, jump)).unwrap();
            self.points.insert(point, now.clone());
        }
        if self.size.goes_on {
            self.changes.push(change(&mut encoder, now, self.size.shape, chance));
        }
        encoder.finish(true).unwrap();
        stream
    }

    /// Whether `held` is the content of the volumes after some prefix of all changes, in whole
    /// sectors: of a write that spans two batches, a part may be there.
    pub(super) fn was_on_the_way(&self, held: &Contents) -> bool {
        let mut now = self.initial.clone();
        let sector = self.size.shape.sector_size.bytes().get() as usize;
        now == *held
            || self.changes.iter().any(|(place, range, byte)| {
                range.clone().step_by(sector).any(|at| {
                    now[*place][at..at + sector].fill(*byte);
                    now == *held
                })
            })
    }

    /// The machine before the first stream.
    pub(super) fn world(&self) -> World {
        let block = |chunk: &[u8]| {
            let mut block = [0; BLOCK_BYTES];
            block[..chunk.len()].copy_from_slice(chunk);
            Arc::new(block)
        };
        let blocks =
            |bytes: &Vec<u8>| -> Vec<Block> { bytes.chunks(BLOCK_BYTES).map(block).collect() };
        let volumes: Vec<_> = self.initial.iter().map(blocks).collect();
        World::new(self.size.shape, &volumes, self.size.room_blocks)
    }

    /// The content after all streams.
    pub(super) fn end(&self) -> &Contents {
        self.after.last().unwrap()
    }
}

/// The time of the first point, in nanoseconds since 1970.
pub(super) const BEGIN: u64 = 1_700_000_000_000_000_000;

/// The number of the mark that `point` was made of; `None` if it was made by hand, or otherwise.
pub(super) fn mark_of(point: &Point) -> Option<u64> {
    point.name.as_ref()?.strip_prefix(MARKED)?.parse().ok()
}

/// The prefix of the names of marks.
const MARKED: char = 'm';

/// The offset of the source's clock from this host's, in nanoseconds: hours behind, or ahead, or
/// none.
fn jump_of(chance: &mut Chance) -> i64 {
    let hour = 3_600_000_000_000;
    [0, 0, -30 * hour, -hour, 2 * hour, 48 * hour][chance.below(6)]
}

fn mark(point: u64, jump: i64) -> Mark {
    let time = (BEGIN + point * 1_000_000_000).saturating_add_signed(jump);
    Mark {
        time: Timestamp(time),
        kind: MarkKind::CrashConsistent,
        name: Name::new(format!("{MARKED}{point}").as_bytes()),
        group: None,
    }
}

/// One write, usually of a few sectors, to few places again and again.
fn change(
    encoder: &mut Encoder<&mut Vec<u8>>,
    now: &mut Contents,
    shape: Shape,
    chance: &mut Chance,
) -> (usize, Range<usize>, u8) {
    let place = chance.below(now.len());
    let bytes = now[place].len() as u64;
    let sector = shape.sector_size.bytes().get();
    let unit = if chance.below(2) == 0 { sector } else { BLOCK_BYTES as u64 };
    let length = unit * (1 + chance.below(2) as u64);
    // Also at the end, which may be within a block.
    let start = match chance.below(8) {
        0 if shape.cut_bytes > 0 => bytes - length,
        _ => chance.below(((bytes - length) / unit + 1) as usize) as u64 * unit,
    };
    let volume = VolumeIndex(place as u16);
    let extent = Extent::new(ByteOffset::new(start), ByteCount::new(length)).unwrap();
    let range = start as usize..(start + length) as usize;
    let byte = if chance.below(5) == 0 { 0 } else { chance.any() as u8 | 1 };
    match byte {
        0 => encoder.zero(volume, extent).unwrap(),
        _ => encoder.data(volume, extent.start(), &vec![byte; length as usize]).unwrap(),
    }
    now[place][range.clone()].fill(byte);
    (place, range, byte)
}
