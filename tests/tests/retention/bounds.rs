//! The effects of a few bytes of a stream are bounded: in memory, and in the time until a run
//! reacts to a request to stop.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use mt_tests::change_stream::{Become, Change, volume};
use mt_tests::program::{command, mtctl, peak_bytes_of, run};
use mt_tests::scratch_machine::on_a_scratch_machine;

use crate::{MIB, Part, blank, retention, stream};

const PEAK_BYTES_MAX: u64 = 128 << 20;
/// Enough for a debug build on a busy host; a run that ignores the signal takes many times that.
const HEARD_WITHIN: Duration = Duration::from_secs(20);

#[test]
fn a_zero_extent_of_two_tebibytes_is_preserved_in_little_memory_and_can_be_stopped() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        let size = 2 << 40;
        let target = blank(machine, "target.img", size);
        let all = Change { start: 0, becomes: Become::Zero(size) };
        let parts = [Part::Change(0, &all)];
        let stream = stream(machine, "zeros.mts", vec![volume("", size, "", "")], &parts);
        let words = ["apply", &stream, "--group", "g", "--target", &target];
        let mut child = command(mtctl(), &words).stderr(Stdio::piped()).spawn().unwrap();
        // Ten steps are preserved, so it is in the middle of the extent.
        let segment = "/mnt/retention/g/segment-0000000000000001";
        let written =
            || fs::read(segment).map_or(0, |held| held.iter().filter(|b| **b != 0).count());
        while written() < 10 * 2048 * 8 {
            assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
            std::thread::yield_now();
        }
        let mut peak_bytes = peak_bytes_of(child.id()).unwrap();
        run("kill", &["-INT", &child.id().to_string()]);
        let told = Instant::now();
        while child.try_wait().unwrap().is_none() {
            peak_bytes = peak_bytes_of(child.id()).unwrap_or(0).max(peak_bytes);
            assert!(told.elapsed() < HEARD_WITHIN, "{:?}, {peak_bytes} bytes", told.elapsed());
            std::thread::yield_now();
        }
        println!("peak {} MiB, heard after {:?}", peak_bytes / MIB, told.elapsed());
        assert!((1..PEAK_BYTES_MAX).contains(&peak_bytes), "{peak_bytes} bytes");
    });
}
