//! Stories of streams: in any order and repeated, of other formats, through pipes, with points on a
//! timer; onto volumes that grew, have other names, or were exchanged. Each is told for a seed.
#![cfg(test)]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::chance::Chance;
use super::disk::lock;
use super::machine::{Machine, Memory, keep_all};
use super::runs::{LARGE, SMALL, killed};
use super::scenario::{Contents, Scenario, Size};
use super::stories::{Verdict, applied, changed, require, stories, text};
use super::world::{BLOCK_BYTES, DiskId};
use crate::ErrorKind;
use crate::apply::ApplyOptions;
use crate::extent::Extent;
use crate::journal::catalogue::{Point, PointKind};
use crate::stream::rbd_diff::Version;
use crate::stream::{Name, VolumeHeader, VolumeIndex, native, rbd_diff, svd};
use crate::units::{ByteCount, ByteOffset};

stories! {
    links_come_in_any_order_and_again,
    diffs_of_ceph_follow_one_another,
    an_image_and_then_a_log_of_writes,
    a_pipe_is_cut_short,
    points_are_made_by_the_clock,
    a_volume_has_grown,
    a_source_becomes_smaller_and_larger,
    an_export_of_several_diffs_is_killed,
    volumes_are_exchanged,
}

/// One change of a volume: its offset and data; `None` for zeros.
type Change = (u64, Option<Vec<u8>>);

/// Streams of one unnamed volume, and its content after each.
struct Chain {
    before: Vec<u8>,
    streams: Vec<PathBuf>,
    after: Vec<Vec<u8>>,
    _directory: TempDir,
}

const CHAIN_BLOCKS: usize = 6;
const CHAIN_BYTES: usize = CHAIN_BLOCKS * BLOCK_BYTES;
const SECTOR_BYTES: usize = 512;

/// Makes the bytes of a stream from its index, its changes, and the content of the volume.
type Encode<'a> = &'a dyn Fn(usize, &[Change], &[u8]) -> Vec<u8>;

impl Chain {
    /// One stream for each of `encode`, which gets its index and changes.
    fn new(chance: &mut Chance, encode: &[Encode<'_>]) -> Self {
        let sized: Vec<_> = encode.iter().map(|encode| (*encode, CHAIN_BYTES)).collect();
        Self::of_sizes(chance, &sized)
    }

    /// The same, for a source with the given size at each stream.
    fn of_sizes(chance: &mut Chance, encode: &[(Encode<'_>, usize)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let before = vec![chance.any() as u8 | 1; CHAIN_BYTES];
        let (mut now, mut streams, mut after) = (before.clone(), Vec::new(), Vec::new());
        let mut size_before = CHAIN_BYTES;
        for (number, (encode, size)) in encode.iter().enumerate() {
            // The part by which a source has grown reads as zeros.
            now[size_before.min(*size)..*size].fill(0);
            size_before = *size;
            let changes: Vec<_> =
                (0..1 + chance.below(5)).map(|_| some_change(chance, *size)).collect();
            for (at, bytes) in &changes {
                let place = &mut now[*at as usize..][..SECTOR_BYTES];
                match bytes {
                    Some(bytes) => place.copy_from_slice(bytes),
                    None => place.fill(0),
                }
            }
            let path = directory.path().join(number.to_string());
            std::fs::write(&path, encode(number, &changes, &now[..*size])).unwrap();
            streams.push(path);
            after.push(now.clone());
        }
        Self { before, streams, after, _directory: directory }
    }

    fn machine(&self, memory: &Memory) -> Machine {
        let size = Size { volumes: 1, blocks: CHAIN_BLOCKS, ..SMALL };
        let mut world = Scenario::new(size, &mut Chance(1)).world();
        for snapshot in [&mut world.start, &mut world.now] {
            let blocks = snapshot.disks.get_mut(&DiskId::Volume(0)).into_iter().flatten();
            for (block, bytes) in blocks.zip(self.before.chunks(BLOCK_BYTES)) {
                Arc::make_mut(block).copy_from_slice(bytes);
            }
        }
        Machine::new(world, keep_all(), memory).calling(|_| String::new())
    }

    /// The content of the volume at `point`: each stream ends at one.
    fn held_at(&self, point: &Point) -> Option<&Vec<u8>> {
        match point.kind {
            PointKind::Start => Some(&self.before),
            // A stream that was only begun has none.
            PointKind::Crash => self.after.get(usize::try_from(point.id.0).ok()? - 1),
            PointKind::App | PointKind::Break => None,
        }
    }

    fn points_hold(&self, machine: &Machine) -> Verdict {
        let known = machine.state().map_err(text)?.journal;
        for point in known.iter().flat_map(|known| known.ways_back()) {
            let expected = self.held_at(point).ok_or("a point that was never made")?;
            let found = machine.at(point.id).map_err(text)?;
            require(found[0] == *expected, format!("point {} has wrong bytes", point.id))?;
        }
        Ok(())
    }

    /// Applies all of it; then kills each stream at some places, and applies it again.
    fn is_told(&self, memory: &Memory, options: &[ApplyOptions], chance: &mut Chance) -> Verdict {
        let machine = self.machine(memory);
        for (number, (stream, options)) in self.streams.iter().zip(options).enumerate() {
            let from = lock(&machine.world).operations.len();
            machine.apply_with(&[stream], *options, &mut || {}).map_err(text)?;
            self.is_after(&machine, number)?;
            let world = lock(&machine.world).clone();
            for done in (from + chance.below(5)..world.operations.len()).step_by(5) {
                let machine = machine.on(killed(&world, done));
                let told = |wrong| format!("stream {number}, killed after {done}: {wrong}");
                self.points_hold(&machine).map_err(told)?;
                let state = machine.state().map_err(text)?;
                if state.volumes.get("").is_some_and(|known| known.applied.len() > number) {
                    // An image that comes again counts as another one: it makes a point.
                    continue;
                }
                machine.apply_with(&[stream], *options, &mut || {}).map_err(text).map_err(told)?;
                self.is_after(&machine, number).map_err(told)?;
            }
        }
        let known = machine.state().map_err(text)?.journal.ok_or("no history")?;
        require(known.points.len() == self.streams.len() + 1, format!("{:?}", known.points))?;
        for point in known.points {
            machine.rollback(point.id).map_err(text)?;
            let is_there = Some(&machine.contents()[0]) == self.held_at(&point);
            require(is_there, format!("a rollback to point {} leads elsewhere", point.id))?;
        }
        Ok(())
    }

    fn is_after(&self, machine: &Machine, number: usize) -> Verdict {
        require(machine.contents()[0] == self.after[number], "the volume holds something else")?;
        self.points_hold(machine)
    }
}

fn some_change(chance: &mut Chance, size: usize) -> Change {
    let at = (chance.below(size / SECTOR_BYTES) * SECTOR_BYTES) as u64;
    let byte = chance.any() as u8 | 1;
    (at, (chance.below(4) > 0).then(|| vec![byte; SECTOR_BYTES]))
}

fn header(size: usize, from: Option<String>, to: Option<String>) -> VolumeHeader {
    let named = |name: String| Name::new(name.as_bytes());
    VolumeHeader {
        name: Name::new(b""),
        size: Some(ByteCount::new(size as u64)),
        from: from.and_then(named),
        to: to.and_then(named),
    }
}

/// A native link of a chain, from one snapshot to the next.
fn link(number: usize, changes: &[Change], now: &[u8]) -> Vec<u8> {
    let from = (number > 0).then(|| format!("s{number}"));
    let volumes = vec![header(now.len(), from, Some(format!("s{}", number + 1)))];
    let format = crate::stream::Format::Native;
    let header =
        crate::stream::StreamHeader { format, is_in_write_order: true, identity: None, volumes };
    let mut bytes = Vec::new();
    let mut encoder =
        native::Encoder::new(&mut bytes, &header, native::EncoderOptions::default()).unwrap();
    for (at, data) in changes {
        match data {
            Some(data) => encoder.data(VolumeIndex(0), ByteOffset::new(*at), data).unwrap(),
            None => encoder.zero(VolumeIndex(0), sector(*at)).unwrap(),
        }
    }
    encoder.finish(true).unwrap();
    bytes
}

fn sector(at: u64) -> Extent {
    Extent::new(ByteOffset::new(at), ByteCount::new(SECTOR_BYTES as u64)).unwrap()
}

fn diff(version: Version, number: usize, changes: &[Change], now: &[u8]) -> Vec<u8> {
    let from = (number > 0).then(|| format!("s{number}"));
    let volume = header(now.len(), from, Some(format!("s{}", number + 1)));
    let mut encoder = rbd_diff::Encoder::new(Vec::new(), version, &volume).unwrap();
    for (at, data) in changes {
        match data {
            Some(data) => encoder.data(ByteOffset::new(*at), data).unwrap(),
            None => encoder.zero(sector(*at)).unwrap(),
        }
    }
    encoder.finish().unwrap()
}

fn log_of_writes(changes: &[Change]) -> Vec<u8> {
    let zeros = vec![0; SECTOR_BYTES];
    let write = |(number, (at, data)): (usize, &Change)| {
        (*at, number as u32, number as u32, data.clone().unwrap_or_else(|| zeros.clone()))
    };
    let writes: Vec<_> = changes.iter().enumerate().map(write).collect();
    let writes: Vec<_> = writes.iter().map(|(at, n, t, data)| (*at, *n, *t, &data[..])).collect();
    svd::tests::stream(&writes)
}

/// The next stream is applied; an applied one is skipped; one that is too early is refused, and
/// nothing of it is written.
fn links_come_in_any_order_and_again(seed: u64, memory: &Memory) -> Verdict {
    let mut chance = Chance(seed);
    let chain = Chain::new(&mut chance, &[&link, &link, &link, &link]);
    let machine = chain.machine(memory);
    let mut applied = 0;
    while applied < chain.streams.len() {
        // For the very first one it is not known whether the volume is where it begins.
        let pick = if applied == 0 { 0 } else { chance.below(chain.streams.len()) };
        let before = machine.contents();
        let done = machine.apply(&[&chain.streams[pick]], &mut || {});
        let told = format!("stream {pick} after {applied}");
        if pick == applied {
            done.map_err(|error| format!("{told}: {}", error.chain()))?;
            chain.is_after(&machine, pick).map_err(|wrong| format!("{told}: {wrong}"))?;
            applied += 1;
            continue;
        }
        require(machine.contents() == before, format!("{told}: it was written"))?;
        match done {
            Ok(()) => require(pick < applied, format!("{told}: it was taken"))?,
            Err(error) => {
                let is_refused = error.kind() == ErrorKind::Refused && pick > applied;
                require(is_refused || pick < applied, format!("{told}: {}", error.chain()))?;
            }
        }
        chain.points_hold(&machine)?;
    }
    Ok(())
}

fn diffs_of_ceph_follow_one_another(seed: u64, memory: &Memory) -> Verdict {
    let mut chance = Chance(seed);
    let one =
        |number: usize, changes: &[Change], now: &[u8]| diff(Version::V1, number, changes, now);
    let two =
        |number: usize, changes: &[Change], now: &[u8]| diff(Version::V2, number, changes, now);
    let chain = Chain::new(&mut chance, &[&one, &two, &one]);
    chain.is_told(memory, &[ApplyOptions::default(); 3], &mut chance)
}

fn an_image_and_then_a_log_of_writes(seed: u64, memory: &Memory) -> Verdict {
    let mut chance = Chance(seed);
    let image = |_: usize, _: &[Change], now: &[u8]| now.to_vec();
    let log = |_: usize, changes: &[Change], _: &[u8]| log_of_writes(changes);
    let chain = Chain::new(&mut chance, &[&image, &log]);
    let raw = ApplyOptions { format: Some(crate::stream::Format::Raw), ..ApplyOptions::default() };
    chain.is_told(memory, &[raw, ApplyOptions::default()], &mut chance)
}

/// The part by which a source has grown since the previous stream reads as zeros, whatever a larger
/// source left.
fn a_source_becomes_smaller_and_larger(seed: u64, memory: &Memory) -> Verdict {
    let mut chance = Chance(seed);
    let version = [Version::V1, Version::V2][chance.below(2)];
    let diff = |number: usize, changes: &[Change], now: &[u8]| diff(version, number, changes, now);
    let encode: Encode<'_> = if chance.below(2) == 0 { &diff } else { &link };
    let mut some_size = || (1 + chance.below(CHAIN_BYTES / SECTOR_BYTES - 1)) * SECTOR_BYTES;
    let sizes = [CHAIN_BYTES, some_size(), some_size(), CHAIN_BYTES];
    let chain = Chain::of_sizes(&mut chance, &sizes.map(|size| (encode, size)));
    let resized = ApplyOptions { accept_resize: true, ..ApplyOptions::default() };
    chain.is_told(memory, &[resized; 4], &mut chance)
}

/// Several diffs in one file, of a source that is resized between them: whichever of them a run was
/// killed in, the next one ends at the same bytes, and so does one that comes too late.
fn an_export_of_several_diffs_is_killed(seed: u64, memory: &Memory) -> Verdict {
    let mut chance = Chance(seed);
    let encode =
        |number: usize, changes: &[Change], now: &[u8]| diff(Version::V2, number, changes, now);
    let mut some_size = || (1 + chance.below(CHAIN_BYTES / SECTOR_BYTES - 1)) * SECTOR_BYTES;
    let sizes = [CHAIN_BYTES, some_size(), some_size(), CHAIN_BYTES];
    let chain = Chain::of_sizes(&mut chance, &sizes.map(|size| (&encode as Encode<'_>, size)));
    let mut export = b"rbd image v2\nErbd image diffs v2\n".to_vec();
    export.extend((sizes.len() as u64).to_le_bytes());
    chain.streams.iter().for_each(|stream| export.extend(std::fs::read(stream).unwrap()));
    let path = chain.streams[0].with_extension("export");
    std::fs::write(&path, export).unwrap();
    let resized = ApplyOptions { accept_resize: true, ..ApplyOptions::default() };
    let machine = chain.machine(memory);
    for _ in 0..2 {
        machine.apply_with(&[&path], resized, &mut || {}).map_err(text)?;
        chain.is_after(&machine, sizes.len() - 1)?;
    }
    let world = lock(&machine.world).clone();
    for done in (chance.below(5)..world.operations.len()).step_by(5) {
        let machine = machine.on(killed(&world, done));
        let told = |wrong| format!("killed after {done}: {wrong}");
        chain.points_hold(&machine).map_err(told)?;
        machine.apply_with(&[&path], resized, &mut || {}).map_err(text).map_err(told)?;
        chain.is_after(&machine, sizes.len() - 1).map_err(told)?;
    }
    Ok(())
}

/// What arrived counts, and the whole stream then leads to its end, through a pipe again or from a
/// file.
fn a_pipe_is_cut_short(seed: u64, memory: &Memory) -> Verdict {
    let mut chance = Chance(seed);
    let scenario = Scenario::new(LARGE, &mut chance);
    let machine = Machine::new(scenario.world(), keep_all(), memory);
    let options = ApplyOptions { resume: true, ..ApplyOptions::default() };
    for (stream, after) in scenario.streams.iter().zip(&scenario.after) {
        let bytes = std::fs::read(stream).unwrap();
        for _ in 0..3 {
            let end = chance.below(bytes.len());
            // Even the stream's header may be missing.
            let _ = machine.apply_piped(bytes[..end].to_vec(), options);
            super::stories::no_point_reads_otherwise(&machine, &scenario)
                .map_err(|wrong| format!("cut at byte {end} of {}: {wrong}", bytes.len()))?;
        }
        match chance.below(2) {
            0 => machine.apply_piped(bytes, options).map_err(text)?,
            _ => machine.apply(&[stream], &mut || {}).map_err(text)?,
        }
        require(machine.contents() == *after, "it leads elsewhere")?;
        super::stories::no_point_reads_otherwise(&machine, &scenario)?;
    }
    Ok(())
}

/// A point made on a timer holds the content of the volumes after some of the changes.
fn points_are_made_by_the_clock(seed: u64, memory: &Memory) -> Verdict {
    let size = Size { volumes: 2, writes: 6, ..SMALL };
    let scenario = Scenario::new(size, &mut Chance(seed));
    let machine = Machine::new(scenario.world(), keep_all(), memory);
    let options = ApplyOptions { point_every: Some(Duration::ZERO), ..ApplyOptions::default() };
    for stream in &scenario.streams {
        machine.apply_with(&[stream], options, &mut || {}).map_err(text)?;
    }
    let known = machine.state().map_err(text)?.journal.ok_or("no history")?;
    let mut by_clock = 0;
    for point in known.ways_back() {
        let found = machine.at(point.id).map_err(text)?;
        let is_right = match super::stories::held_at(&scenario, point) {
            Some(expected) => found == *expected,
            None => {
                by_clock += 1;
                scenario.was_on_the_way(&found)
            }
        };
        require(is_right, format!("point {} holds what never was", point.id))?;
    }
    require(by_clock > 0, "the clock made no point")
}

/// Points from before the growth hold what they held, up to the old size of the volume.
fn a_volume_has_grown(seed: u64, memory: &Memory) -> Verdict {
    let mut chance = Chance(seed);
    let scenario = Scenario::new(SMALL, &mut chance);
    let machine = Machine::new(scenario.world(), keep_all(), memory);
    machine.apply(&[&scenario.streams[0]], &mut || {}).map_err(text)?;
    let more = 1 + chance.below(3);
    let grown = changed(&machine, |now| {
        let blocks = now.disks.entry(DiskId::Volume(0)).or_default();
        blocks.extend((0..more).map(|_| Arc::new([0x77; BLOCK_BYTES])));
    });
    let accepting =
        ApplyOptions { accept_resize: true, accept_target: true, ..ApplyOptions::default() };
    grown.apply_with(&[&scenario.streams[1]], accepting, &mut || {}).map_err(text)?;
    let with_more = |held: &Contents| {
        let more = vec![0x77; more * BLOCK_BYTES];
        held.iter().map(|bytes| [&bytes[..], &more].concat()).collect::<Contents>()
    };
    require(grown.contents() == with_more(scenario.end()), "the volume holds something else")?;
    let known = grown.state().map_err(text)?.journal.ok_or("no history")?;
    for point in known.ways_back() {
        let expected = super::stories::held_at(&scenario, point).ok_or("never made")?;
        let found = grown.at(point.id).map_err(text)?;
        require(found == with_more(expected), format!("point {} has wrong bytes", point.id))?;
    }
    for point in known.ways_back() {
        let expected = super::stories::held_at(&scenario, point).ok_or("never made")?;
        grown.rollback(point.id).map_err(text)?;
        let is_there = grown.contents() == with_more(expected);
        require(is_there, format!("a rollback to point {} leads elsewhere", point.id))?;
    }
    // The lost part may belong to any point.
    let shrunk = changed(&machine, |now| {
        now.disks.entry(DiskId::Volume(0)).or_default().pop();
    });
    let before = shrunk.contents();
    let refused = shrunk.apply(&[&scenario.streams[1]], &mut || {}).is_err();
    require(refused && shrunk.contents() == before, "a volume that shrank was written")
}

/// If two disks are exchanged, nothing is written; nor is a stream of one volume written to
/// another.
fn volumes_are_exchanged(seed: u64, memory: &Memory) -> Verdict {
    let scenario = Scenario::new(LARGE, &mut Chance(seed));
    let machine = applied(&scenario, memory)?;
    let held = machine.contents();
    if held[0] == held[1] {
        return Ok(());
    }
    let exchanged = changed(&machine, |now| {
        let [one, other] = [0, 1].map(|place| now.disks[&DiskId::Volume(place)].clone());
        now.disks.insert(DiskId::Volume(0), other);
        now.disks.insert(DiskId::Volume(1), one);
    });
    let renamed = machine.calling(|place| format!("v{}", 1 - place));
    let known = machine.state().map_err(text)?.journal.ok_or("no history")?;
    let to = known.points[0].id;
    for (machine, how) in [(&exchanged, "disks are exchanged"), (&renamed, "names are exchanged")] {
        let before = machine.contents();
        let done = [
            machine.apply(&[&scenario.streams[0]], &mut || {}),
            machine.rollback(to),
            machine.rollback_without_undo(to),
        ];
        for done in done {
            let error = done.err().ok_or_else(|| format!("{how}, and it was taken"))?;
            require(error.kind() == ErrorKind::Refused, format!("{how}: {}", error.chain()))?;
        }
        require(machine.contents() == before, format!("{how}, and it was written"))?;
    }
    Ok(())
}
