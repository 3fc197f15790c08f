//! Processor time that is not charged to the command: that of kernel threads, of a server, and of
//! the whole machine for comparison.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// `PF_KTHREAD` of the flags in /proc/PID/stat.
const KERNEL_THREAD: u64 = 0x0020_0000;
/// `USER_HZ`: the unit of /proc/PID/stat and /proc/stat is 1/100 s on every architecture we run on.
const TICKS_PER_SECOND: f64 = 100.0;

/// The processor time of every kernel thread, and of the machine, at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Snapshot {
    /// By process id and start time, a combination that is never reused; in ticks.
    threads: HashMap<(u64, u64), u64>,
    /// Everything except idle time, in ticks.
    machine: u64,
}

impl Snapshot {
    /// Takes a snapshot.
    pub(crate) fn take() -> Result<Self> {
        let machine = fs::read_to_string("/proc/stat").context("reading /proc/stat")?;
        let mut threads = HashMap::new();
        for entry in fs::read_dir("/proc").context("listing /proc")? {
            let path = entry.context("listing /proc")?.path().join("stat");
            // A process that has exited in the meantime is not a kernel thread of interest.
            let Ok(text) = fs::read_to_string(path) else { continue };
            threads.extend(kernel_thread(&text));
        }
        Ok(Self { threads, machine: busy_ticks(&machine).context("parsing /proc/stat")? })
    }

    /// Seconds of kernel threads since `before`. The time of threads that have ended since is lost.
    pub(crate) fn kernel_seconds_since(&self, before: &Self) -> f64 {
        let ticks: u64 = self
            .threads
            .iter()
            .map(|(thread, now)| {
                now.saturating_sub(before.threads.get(thread).copied().unwrap_or(0))
            })
            .sum();
        ticks as f64 / TICKS_PER_SECOND
    }

    /// Seconds for which any processor was busy with anything since `before`.
    pub(crate) fn machine_seconds_since(&self, before: &Self) -> f64 {
        self.machine.saturating_sub(before.machine) as f64 / TICKS_PER_SECOND
    }
}

/// The processor time so far of the process whose id is in the file `identity`, in seconds, and its
/// peak memory, in MiB.
///
/// # Errors
///
/// There is no such process.
pub(crate) fn server(identity: &Path) -> Result<(f64, f64)> {
    let id = fs::read_to_string(identity).context("reading the process id of a server")?;
    let read = |name: &str| {
        fs::read_to_string(format!("/proc/{}/{name}", id.trim()))
            .context("looking for a server: has it ended?")
    };
    let ticks = ticks(&read("stat")?).context("parsing the stat of a server")?;
    let peak = system::memory::bytes(&read("status")?, "VmHWM");
    let peak = peak.context("parsing the status of a server")?;
    Ok((ticks as f64 / TICKS_PER_SECOND, peak as f64 / f64::from(1 << 20)))
}

/// Identity and ticks in a /proc/PID/stat, if it describes a kernel thread.
fn kernel_thread(stat: &str) -> Option<((u64, u64), u64)> {
    let (process, _) = stat.split_once(' ')?;
    let identity = (process.parse().ok()?, field(stat, 22)?);
    (field(stat, 9)? & KERNEL_THREAD != 0).then_some((identity, ticks(stat)?))
}

/// User and system time in a /proc/PID/stat.
fn ticks(stat: &str) -> Option<u64> {
    Some(field(stat, 14)? + field(stat, 15)?)
}

/// A field of a /proc/PID/stat, numbered as in proc_pid_stat(5), after the name.
fn field(stat: &str, number: usize) -> Option<u64> {
    // The name is in parentheses and can itself contain spaces and parentheses: the last one ends
    // it. The state, which follows, is the third field.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(number - 3)?.parse().ok()
}

/// The first line of /proc/stat without idle time (4th) and time waiting for I/O (5th).
fn busy_ticks(stat: &str) -> Option<u64> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let fields: Option<Vec<u64>> =
        line.split_whitespace().map(|field| field.parse().ok()).collect();
    let fields = fields?;
    // Guest time, the 9th and 10th field, is already included in user time.
    let busy = fields.iter().take(8).enumerate().filter(|(index, _)| !matches!(index, 3 | 4));
    (fields.len() >= 8).then(|| busy.map(|(_, ticks)| ticks).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKER: &str = "57 (kworker/u8:1-loop) 0) I 2 0 0 0 -1 69238880 0 0 0 0 3 1200 0 0 20 0 \
                          1 0 35 0 0 18446744073709551615 0 0 0 0 0 0 0 2147483647 0 0 0 0 17 1";

    #[test]
    fn a_kernel_thread_is_told_by_its_flags_whatever_its_name() {
        assert_eq!(kernel_thread(WORKER), Some(((57, 35), 1203)));
        assert_eq!(kernel_thread(&WORKER.replace(" 69238880 ", " 4194304 ")), None);
        assert_eq!(kernel_thread("57 (cut off) I 2 0"), None);
        assert_eq!(kernel_thread(""), None);
    }

    #[test]
    fn the_machine_is_busy_with_everything_but_idling_and_waiting() {
        let stat = "cpu  10 20 30 4000 5000 60 70 80 90 100\ncpu0 1 2 3 4 5 6 7 8 9 10\n";
        assert_eq!(busy_ticks(stat), Some(270));
        assert_eq!(busy_ticks("intr 1 2 3"), None);
        assert_eq!(busy_ticks("cpu  1 2"), None);
    }

    #[test]
    fn new_threads_count_in_full_and_a_number_used_again_is_another_thread() {
        let snapshot = |threads: &[((u64, u64), u64)], machine| Snapshot {
            threads: threads.iter().copied().collect(),
            machine,
        };
        let before = snapshot(&[((1, 1), 500), ((2, 2), 900)], 1000);
        let after = snapshot(&[((1, 1), 550), ((2, 7), 30), ((3, 8), 20)], 1250);
        assert!((after.kernel_seconds_since(&before) - 1.0).abs() < 1e-9);
        assert!((after.machine_seconds_since(&before) - 2.5).abs() < 1e-9);
    }
}
