//! A reader looks at points while somebody else writes, with any interleaving of their operations:
//! the reader gets the content of the point, or is told that the point is gone.
#![cfg(test)]

use std::sync::Arc;

use super::chance::Chance;
use super::disk::lock;
use super::machine::{Machine, Memory, keep_all, thinning, whole};
use super::runs::failures;
use super::scenario::{Scenario, Size, mark_of};
use super::steps::Steps;
use super::stories::seeds;
use super::world::Shape;
use crate::ErrorKind;
use crate::bug::{self, Bug};
use crate::journal::catalogue::{Point, PointId, PointKind};
use crate::view::View;

const SIZE: Size = Size {
    shape: Shape::PLAIN,
    volumes: 2,
    blocks: 8,
    streams: 4,
    marks: 5,
    writes: 6,
    room_blocks: 4096,
    goes_on: true,
    source_clock_jumps: false,
};

/// The concurrent run: the other streams, each again if an operation failed, and then a rollback.
fn work(machine: &Machine, scenario: &Scenario, mut chance: Chance) -> Result<(), String> {
    for stream in &scenario.streams[1..] {
        let done = lock(&machine.world).done;
        if chance.below(2) == 0 {
            lock(&machine.world).fails = failures(done + chance.below(60), &mut chance);
        }
        let applied = machine.apply(&[stream], &mut || {});
        machine.is_repaired();
        if applied.is_err() {
            machine.apply(&[stream], &mut || {}).map_err(|error| error.chain())?;
        }
    }
    let known = machine.state().map_err(|error| error.chain())?.journal.unwrap();
    let to = known.points[chance.below(known.points.len())].id;
    machine.rollback(to).map_err(|error| error.chain())
}

/// Compares the content of `views` of `point`; returns how many were read, or 0 once the point is
/// gone.
fn look(views: &[View], point: &Point, scenario: &Scenario) -> Result<u64, String> {
    let number = match point.kind {
        PointKind::Start => 0,
        PointKind::Crash | PointKind::App => mark_of(point).ok_or("a point of no mark")?,
        PointKind::Break => return Ok(0),
    };
    for (view, expected) in views.iter().zip(&scenario.points[&number]) {
        match whole(view) {
            Ok(found) if found == *expected => {}
            Ok(found) => {
                let at = found.iter().zip(expected).position(|(one, other)| one != other);
                return Err(format!("point {} has wrong bytes from byte {at:?} on", point.id));
            }
            Err(error) if error.chain().contains("has expired") => return Ok(0),
            Err(error) => return Err(error.chain()),
        }
    }
    Ok(views.len() as u64)
}

/// Looks until the run is over: at one point after the other, and again at the previous one.
fn look_all_the_time(
    machine: &Machine,
    scenario: &Scenario,
    steps: &Steps,
    mut chance: Chance,
) -> Result<u64, String> {
    let (mut looked, mut earlier) = (0, None);
    while !steps.is_over() {
        let known = machine.state().map_err(|error| error.chain())?.journal.unwrap();
        let point = known.points[chance.below(known.points.len())].clone();
        let views = match machine.views(point.id) {
            Ok(views) => views,
            // It expired in between.
            Err(error) if error.kind() == ErrorKind::Usage => continue,
            Err(error) => return Err(error.chain()),
        };
        for _ in 0..1 + chance.below(3) {
            looked += look(&views, &point, scenario)?;
        }
        // A view from before the latest changes.
        if let Some((views, point)) = earlier.replace((views, point)) {
            let more = look(&views, &point, scenario);
            looked += more.map_err(|wrong| format!("an earlier view: {wrong}"))?;
        }
    }
    Ok(looked)
}

/// How many volumes of points were read during a run with this seed, or what was wrong.
pub(super) fn looked_beside(seed: u64, memory: &Memory) -> Result<u64, String> {
    let mut chance = Chance(seed);
    let policy = if chance.below(2) == 0 { keep_all() } else { thinning() };
    let scenario = Scenario::new(SIZE, &mut chance);
    let machine = Machine::new(scenario.world(), policy, memory);
    machine.apply(&[&scenario.streams[0]], &mut || {}).map_err(|error| error.chain())?;
    let steps = Arc::new(Steps::new(seed));
    {
        let mut world = lock(&machine.world);
        (world.is_forgetful, world.steps) = (true, Some(Arc::clone(&steps)));
    }
    let looked = std::thread::scope(|scope| {
        let writer = scope.spawn(|| steps.write(|| work(&machine, &scenario, Chance(!seed))));
        let looked = look_all_the_time(&machine, &scenario, &steps, chance);
        steps.end();
        writer.join().unwrap()?;
        looked
    });
    looked.map_err(|wrong: String| format!("seed {seed}: {wrong}"))
}

#[test]
fn in_any_order_of_steps_a_point_reads_as_it_was_while_others_write() {
    let memory = Memory::new();
    let first: u64 = std::env::var("MTCTL_SIM_SEED").map_or(1, |text| text.parse().unwrap());
    let mut looked = 0;
    for seed in first..first + seeds(150) {
        looked += looked_beside(seed, &memory).unwrap();
    }
    println!("{looked} volumes of points were read beside runs, all with the right bytes");
}

/// A view that was open before its point was given up never reads what its blocks hold now.
#[test]
fn a_view_of_a_point_that_is_given_up_says_so_and_one_of_a_kept_point_reads_on() {
    let memory = Memory::new();
    let scenario = Scenario::new(SIZE, &mut Chance(1));
    let machine = Machine::new(scenario.world(), keep_all(), &memory);
    machine.apply(&[&scenario.streams[0]], &mut || {}).unwrap();
    let last = machine.state().unwrap().journal.unwrap().open_epoch();
    let (kept, given_up) = (PointId(1), machine.views(last).unwrap());
    let (views, before) = (machine.views(kept).unwrap(), machine.at(kept).unwrap());
    machine.rollback_without_undo(kept).unwrap();
    let told = given_up.iter().map(|view| whole(view).unwrap_err().chain());
    assert!(told.into_iter().all(|told| told.contains("has expired")));
    let found: Vec<_> = views.iter().map(|view| whole(view).unwrap()).collect();
    assert_eq!(found, before);
}

#[test]
fn a_view_that_trusts_what_it_read_before_is_caught() {
    let memory = Memory::new();
    bug::plant(Some(Bug::ViewTrustsItsWindow));
    let caught = (1..60).find_map(|seed| looked_beside(seed, &memory).err());
    bug::plant(None);
    println!("{}", caught.unwrap());
}
