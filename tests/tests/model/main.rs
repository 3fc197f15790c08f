//! Random stories of a group, told with the program as its users have it, against a model that
//! consists of images in memory: streams, kills and stops, rollbacks, recovers, manual points,
//! thinning, commits, a state that is lost or outdated, bytes that rot, disks that are exchanged,
//! pipes, views beside writers, sectors and sizes of all kinds, both engines. After every step,
//! each listed point holds what the model says, as read by the program, and by a reader that is
//! based only on the document of the format. A story is determined by its seed; the moments of
//! kills are not.
//!
//! Two minutes by default; for an hour: `MTCTL_MODEL_SECONDS=3600 cargo test -p mt-tests --test
//! model -- --nocapture`. `MTCTL_MODEL_SEED` starts with another seed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test code outside of test functions")]

mod harm;
mod model;
mod story;

use std::time::{Duration, Instant};

use mt_tests::scratch_machine::on_a_scratch_machine;

use story::{Counts, Story};

/// The default duration, in seconds.
const SECONDS: u64 = 120;
/// The number of steps in a story.
const STEPS: u64 = 30;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

#[test]
fn whatever_happens_every_point_that_is_listed_holds_what_it_held() {
    let limit = Duration::from_secs(number("MTCTL_MODEL_SECONDS", SECONDS));
    let first = number("MTCTL_MODEL_SEED", 1);
    on_a_scratch_machine(|machine| {
        let began = Instant::now();
        let mut counts = Counts::default();
        let mut seed = first;
        while began.elapsed() < limit {
            let mut story = Story::new(machine, seed, &mut counts);
            for _ in 0..STEPS {
                story.step();
            }
            story.end();
            seed += 1;
        }
        println!("seeds {first} to {}: {counts:?}, 0 differences", seed - 1);
        assert!(counts.are_enough(), "{counts:?}: too little");
    });
}
