//! What a power cut may leave: at each place of a run, every combination of cached blocks that may
//! have reached the disks, or a sample if there are too many.
//!
//! A state in which the last write did not reach the disk already existed before that write: it is
//! not visited twice.
#![cfg(test)]

use std::collections::BTreeMap;
use std::sync::Arc;

use super::chance::Chance;
use super::world::{BLOCK_BYTES, Block, DiskId, Operation, Snapshot, World};
use crate::storage::StateCopy;

/// Up to this many combinations, all are visited.
const EXHAUSTIVE_MAX: usize = 64;
/// Otherwise this many are sampled, in addition to all blocks, none, each alone, and each missing.
const SAMPLES: usize = 12;

/// The content of the caches.
#[derive(Default)]
struct Caches {
    /// For each block, the writes to it that no flush included, latest last, each with the index of
    /// its operation.
    writes: BTreeMap<(DiskId, usize), Vec<(usize, Block)>>,
    /// Segments that were removed since the second copy of the state was last replaced.
    removed: Vec<(DiskId, Vec<Block>)>,
}

/// Visits the states that cuts of the run of `world`, after its operation `from`, may leave, with
/// the number of operations before each cut. `visit` returns whether to continue.
pub(super) fn visit(
    world: &World,
    from: usize,
    chance: &mut Chance,
    visit: &mut dyn FnMut(usize, Snapshot) -> bool,
) -> bool {
    let mut durable = world.start.clone();
    let mut caches = Caches::default();
    if from == 0 && !visit(0, durable.clone()) {
        return false;
    }
    for (number, operation) in world.operations.iter().enumerate() {
        if let Operation::AppendState(copy, text) = operation {
            let mut torn = oldest(&durable, &caches);
            torn.append_state(*copy, &torn_text(text, chance));
            if number >= from && !visit(number, torn) {
                return false;
            }
        }
        let last = take(&mut durable, &mut caches, number, operation);
        if number < from {
            continue;
        }
        let goes_on = match last {
            Some(last) => choices(&durable, &caches, last, chance, &mut |s| visit(number + 1, s)),
            None => visit(number + 1, oldest(&durable, &caches)),
        };
        if !goes_on {
            return false;
        }
    }
    true
}

/// The part of `text` that reached the disk, or that part with the length of the whole, filled with
/// zeros.
fn torn_text(text: &str, chance: &mut Chance) -> String {
    let mut torn = text[..chance.below(text.len())].to_owned();
    if chance.below(2) == 0 {
        torn.extend(std::iter::repeat_n('\0', text.len() - torn.len()));
    }
    torn
}

/// Applies an operation; returns the block that was written last, if it was a write.
fn take(
    durable: &mut Snapshot,
    caches: &mut Caches,
    number: usize,
    operation: &Operation,
) -> Option<(DiskId, usize)> {
    match operation {
        Operation::Write { disk, block, content } => {
            let place = (*disk, *block);
            caches.writes.entry(place).or_default().push((number, Arc::clone(content)));
            return Some(place);
        }
        Operation::Flush { disk, before } => {
            let before = before.unwrap_or(usize::MAX);
            flush(durable, caches, *disk, before);
        }
        Operation::Create { disk, content } => {
            caches.removed.retain(|(removed, _)| removed != disk);
            caches.writes.retain(|(of, _), _| of != disk);
            durable.disks.insert(*disk, content.clone());
        }
        Operation::Remove(disk) => {
            if let Some(content) = durable.disks.remove(disk) {
                caches.removed.push((*disk, content));
            }
            caches.writes.retain(|(of, _), _| of != disk);
        }
        // It syncs nothing but itself.
        Operation::AppendState(copy, text) => durable.append_state(*copy, text),
        Operation::State(copy, text) => {
            durable.replace_state(*copy, text);
            // The second copy is next to the segments, and their directory was synced with it.
            if *copy == StateCopy::Second {
                let gone = caches.removed.drain(..).map(|(_, content)| content);
                durable.garbage.extend(gone);
            }
        }
    }
    None
}

/// The writes to `disk` before operation `before` reach it.
fn flush(durable: &mut Snapshot, caches: &mut Caches, disk: DiskId, before: usize) {
    let range = (disk, 0)..=(disk, usize::MAX);
    let mut flushed = Vec::new();
    for (place, versions) in caches.writes.range_mut(range) {
        let included = versions.partition_point(|(number, _)| *number < before);
        flushed.extend(versions.drain(..included).next_back().map(|(_, last)| (place.1, last)));
    }
    caches.writes.retain(|_, versions| !versions.is_empty());
    let Some(blocks) = durable.disks.get_mut(&disk) else { return };
    flushed.into_iter().for_each(|(block, content)| blocks[block] = content);
}

/// Nothing in the caches reached the disks; removed segments are there again.
fn oldest(durable: &Snapshot, caches: &Caches) -> Snapshot {
    let mut left = durable.clone();
    left.disks.extend(caches.removed.iter().cloned());
    left
}

/// Chooses for each cached block which version is on the disk: 0 is the old one, then each write,
/// then the last one, torn.
fn choices(
    durable: &Snapshot,
    caches: &Caches,
    last: (DiskId, usize),
    chance: &mut Chance,
    visit: &mut dyn FnMut(Snapshot) -> bool,
) -> bool {
    let places: Vec<_> = caches.writes.keys().copied().collect();
    let counts: Vec<usize> = caches.writes.values().map(|versions| versions.len() + 2).collect();
    let of_last = places.iter().position(|place| *place == last).unwrap();
    let all: usize = counts.iter().fold(1_usize, |product, count| product.saturating_mul(*count));
    let mut go = |chosen: &[usize], chance: &mut Chance| {
        visit(materialise(durable, caches, &places, chosen, chance))
    };
    if all <= EXHAUSTIVE_MAX {
        let mut chosen = vec![0; places.len()];
        loop {
            // Without the last write, it is a state from before.
            if chosen[of_last] >= counts[of_last] - 2 && !go(&chosen, chance) {
                return false;
            }
            let Some(next) = (0..chosen.len()).find(|at| chosen[*at] + 1 < counts[*at]) else {
                return true;
            };
            chosen[next] += 1;
            chosen[..next].fill(0);
        }
    }
    let newest: Vec<_> = counts.iter().map(|count| count - 2).collect();
    let mut special = vec![newest.clone()];
    let mut alone = vec![0; places.len()];
    alone[of_last] = newest[of_last];
    special.push(alone);
    let other = chance.below(places.len());
    let mut missing = newest.clone();
    missing[other] = 0;
    missing[of_last] = newest[of_last];
    special.push(missing);
    for _ in 0..SAMPLES {
        let mut chosen: Vec<_> = counts.iter().map(|count| chance.below(*count)).collect();
        chosen[of_last] = newest[of_last] + chance.below(2);
        special.push(chosen);
    }
    special.iter().all(|chosen| go(chosen, chance))
}

fn materialise(
    durable: &Snapshot,
    caches: &Caches,
    places: &[(DiskId, usize)],
    chosen: &[usize],
    chance: &mut Chance,
) -> Snapshot {
    let mut left = durable.clone();
    for (disk, content) in &caches.removed {
        if chance.below(2) == 0 {
            left.disks.insert(*disk, content.clone());
        }
    }
    for (place, choice) in places.iter().zip(chosen) {
        let versions = &caches.writes[place];
        let Some(blocks) = left.disks.get_mut(&place.0) else { continue };
        match choice.checked_sub(1) {
            None => {}
            Some(version) if version < versions.len() => {
                blocks[place.1] = Arc::clone(&versions[version].1);
            }
            Some(_) => {
                let cut = (1 + chance.below(BLOCK_BYTES / 512 - 1)) * 512;
                let (_, new) = versions.last().unwrap();
                Arc::make_mut(&mut blocks[place.1])[..cut].copy_from_slice(&new[..cut]);
            }
        }
    }
    left
}
