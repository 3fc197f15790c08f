//! Adds up events: how long each thread ran, waited, and waited for a processor, and at which stage
//! it was. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::profile::events::{Kind, SchedulerEvent};
use crate::profile::stack::{kernel_work, plain, stage, wait};

/// Kernel threads are shown as the threads of a process of this name.
pub(crate) const KERNEL: &str = "kernel";
/// What measures is not measured.
const OBSERVER: &str = "perf";

/// Everything that happened while a command ran.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// Seconds between two ticks of the clock on one processor.
    tick_seconds: f64,
    threads: BTreeMap<Key, Sums>,
    /// Which of [`threads`](Self::threads) a thread id stands for, and since when it does not run.
    away: HashMap<u32, Away>,
    /// The last name of every process.
    processes: HashMap<u32, String>,
    /// When a process was first and last seen, in nanoseconds.
    seen: HashMap<u32, (u64, u64)>,
    stacks: BTreeMap<Vec<String>, f64>,
}

/// Process id, and name of the thread: threads of the same name are not told apart.
type Key = (u32, String);

/// The sums of the threads of one name.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sums {
    pub(crate) ids: BTreeSet<u32>,
    pub(crate) stages: BTreeMap<String, Times>,
}

/// Seconds of one stage.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Times {
    /// On a processor, in the program.
    pub(crate) user: f64,
    /// On a processor, in the kernel.
    pub(crate) kernel: f64,
    /// Waiting, by what for.
    pub(crate) waits: BTreeMap<String, f64>,
    /// Ready to run, while no processor was free.
    pub(crate) queued: f64,
}

/// A thread that does not run.
#[derive(Debug)]
struct Away {
    key: Key,
    stage: String,
    /// What it waits for; `None` if it only waits for its turn.
    wait: Option<String>,
    since: u64,
    woken: Option<u64>,
}

/// The threads of one name, of all processes of one name.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NamedThread {
    pub(crate) process: String,
    pub(crate) name: String,
    pub(crate) sums: Sums,
}

impl Ledger {
    /// Nothing yet, for a clock that ticks `frequency` times a second.
    pub(crate) fn new(frequency: u32) -> Self {
        Self {
            tick_seconds: 1.0 / f64::from(frequency),
            threads: BTreeMap::new(),
            away: HashMap::new(),
            processes: HashMap::new(),
            seen: HashMap::new(),
            stacks: BTreeMap::new(),
        }
    }

    /// Another recording begins: nothing is known of threads that do not run.
    pub(crate) fn begin(&mut self) {
        self.away.clear();
    }

    /// Adds one event; they come in the order of time.
    pub(crate) fn add(&mut self, event: &SchedulerEvent) {
        let name = kernel_work(&event.stack, &event.name);
        let process = if name.is_some() { 0 } else { event.process };
        let key = (process, name.unwrap_or_else(|| event.name.clone()));
        if event.thread == event.process && event.thread != 0 {
            self.processes.insert(event.process, event.name.clone());
        }
        let now = event.nanoseconds;
        self.seen.entry(event.process).or_insert((now, now)).1 = now;
        match event.kind {
            Kind::Running if event.thread != 0 => self.tick(key, event),
            Kind::Running => {}
            Kind::Woke(thread) => {
                if let Some(away) = self.away.get_mut(&thread) {
                    away.woken.get_or_insert(event.nanoseconds);
                }
            }
            Kind::Switched { waits, next } => {
                if event.thread != 0 {
                    let away = Away {
                        key,
                        stage: stage(&event.stack),
                        wait: waits.then(|| wait(&event.stack)),
                        since: event.nanoseconds,
                        woken: None,
                    };
                    self.away.insert(event.thread, away);
                }
                self.back(next, event.nanoseconds);
            }
        }
    }

    fn tick(&mut self, key: Key, event: &SchedulerEvent) {
        if is_observer(&key.1) {
            return;
        }
        let in_kernel = event.stack.first().is_some_and(|frame| frame.is_kernel);
        let times = times(&mut self.threads, &key, event.thread, stage(&event.stack));
        *if in_kernel { &mut times.kernel } else { &mut times.user } += self.tick_seconds;
        let known = event.stack.iter().filter(|frame| frame.symbol != "[unknown]");
        let mut stack: Vec<String> = known.map(|frame| plain(&frame.symbol).to_owned()).collect();
        stack.push(key.1);
        stack.reverse();
        *self.stacks.entry(stack).or_default() += self.tick_seconds;
    }

    /// `thread` runs again.
    fn back(&mut self, thread: u32, now: u64) {
        let Some(away) = self.away.remove(&thread) else { return };
        if is_observer(&away.key.1) {
            return;
        }
        let woken = away.woken.filter(|_| away.wait.is_some()).unwrap_or(match away.wait {
            Some(_) => now,
            None => away.since,
        });
        let times = times(&mut self.threads, &away.key, thread, away.stage);
        times.queued += seconds(woken, now);
        if let Some(wait) = away.wait {
            *times.waits.entry(wait).or_default() += seconds(away.since, woken);
        }
    }

    /// All threads, those of processes of the same name together.
    pub(crate) fn threads(&self) -> Vec<NamedThread> {
        let mut merged: BTreeMap<(String, String), Sums> = BTreeMap::new();
        for ((process, name), sums) in &self.threads {
            let process = match process {
                0 => KERNEL.to_owned(),
                _ => self.processes.get(process).unwrap_or(name).clone(),
            };
            let all = merged.entry((process, without_number(name))).or_default();
            all.ids.extend(&sums.ids);
            for (stage, times) in &sums.stages {
                all.stages.entry(stage.clone()).or_default().add(times);
            }
        }
        let thread = |((process, name), sums)| NamedThread { process, name, sums };
        merged.into_iter().map(thread).collect()
    }

    /// From the first to the last event of each process of this name, together, in seconds.
    pub(crate) fn lifetime(&self, process: &str) -> f64 {
        let named = self.processes.iter().filter(|(_, name)| *name == process);
        let spans = named.filter_map(|(id, _)| self.seen.get(id));
        spans.map(|(first, last)| seconds(*first, *last)).sum()
    }

    /// Every stack that was seen on a processor, from the thread inwards, with its seconds.
    pub(crate) fn stacks(&self) -> &BTreeMap<Vec<String>, f64> {
        &self.stacks
    }
}

impl Times {
    /// Seconds on a processor.
    pub(crate) fn running(&self) -> f64 {
        self.user + self.kernel
    }

    /// Seconds of waiting for anything but a processor.
    pub(crate) fn waiting(&self) -> f64 {
        self.waits.values().sum()
    }

    /// Adds `other`.
    pub(crate) fn add(&mut self, other: &Self) {
        self.user += other.user;
        self.kernel += other.kernel;
        self.queued += other.queued;
        for (wait, seconds) in &other.waits {
            *self.waits.entry(wait.clone()).or_default() += seconds;
        }
    }
}

impl Sums {
    /// The sum of all stages.
    pub(crate) fn all(&self) -> Times {
        let mut all = Times::default();
        self.stages.values().for_each(|times| all.add(times));
        all
    }
}

fn times<'a>(
    threads: &'a mut BTreeMap<Key, Sums>,
    key: &Key,
    thread: u32,
    stage: String,
) -> &'a mut Times {
    let sums = threads.entry(key.clone()).or_default();
    sums.ids.insert(thread);
    sums.stages.entry(stage).or_default()
}

fn is_observer(name: &str) -> bool {
    name == OBSERVER || name == "perf-exec"
}

fn seconds(from: u64, to: u64) -> f64 {
    to.saturating_sub(from) as f64 / 1e9
}

/// `iou-wrk-123` without its number.
fn without_number(name: &str) -> String {
    let trimmed = name.trim_end_matches(|last: char| last.is_ascii_digit());
    trimmed.strip_suffix('-').unwrap_or(name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::events::Frame;

    fn event(thread: u32, milliseconds: u64, kind: Kind, stack: &[&str]) -> SchedulerEvent {
        let frame = |symbol: &&str| Frame {
            is_kernel: !symbol.contains("::"),
            symbol: (*symbol).to_owned(),
        };
        SchedulerEvent {
            process: 10,
            thread,
            name: if thread == 10 { "mtctl" } else { "worker" }.to_owned(),
            nanoseconds: milliseconds * 1_000_000,
            kind,
            stack: stack.iter().map(frame).collect(),
        }
    }

    fn told(events: &[SchedulerEvent]) -> Vec<NamedThread> {
        let mut ledger = Ledger::new(1000);
        events.iter().for_each(|event| ledger.add(event));
        ledger.threads()
    }

    #[test]
    fn a_wait_ends_when_the_thread_is_woken_and_from_then_on_it_wants_a_processor() {
        let enters = ["schedule", "__x64_sys_futex", "blockio::journal::log::Log::wait"];
        let threads = told(&[
            event(10, 100, Kind::Switched { waits: true, next: 0 }, &enters),
            event(11, 130, Kind::Woke(10), &[]),
            event(11, 140, Kind::Switched { waits: false, next: 10 }, &["blockio::plan::Plan::f"]),
            event(10, 145, Kind::Switched { waits: true, next: 11 }, &enters),
        ]);
        let [main, worker] = &threads[..] else { panic!("{threads:?}") };
        assert_eq!((main.process.as_str(), main.name.as_str()), ("mtctl", "mtctl"));
        let times = &main.sums.stages["journal::log"];
        assert!((times.waits["futex"] - 0.030).abs() < 1e-9, "{times:?}");
        assert!((times.queued - 0.010).abs() < 1e-9, "{times:?}");
        assert_eq!((worker.process.as_str(), worker.name.as_str()), ("mtctl", "worker"));
        let times = &worker.sums.stages["plan"];
        assert!((times.queued - 0.005).abs() < 1e-9, "{times:?}");
        assert!(times.waits.is_empty(), "{times:?}");
    }

    #[test]
    fn a_tick_is_of_the_kernel_if_its_innermost_function_is() {
        let mut idle = event(0, 3, Kind::Running, &["default_idle"]);
        idle.process = 0;
        let threads = told(&[
            event(10, 1, Kind::Running, &["copy", "blockio::verify::Verifier::verify"]),
            event(10, 2, Kind::Running, &["blockio::verify::Verifier::verify"]),
            event(11, 2, Kind::Running, &["memcpy", "loop_workfn", "process_one_work", "kthread"]),
            idle,
        ]);
        let [kernel, main] = &threads[..] else { panic!("{threads:?}") };
        assert_eq!((kernel.process.as_str(), kernel.name.as_str()), (KERNEL, "loop_workfn"));
        assert!((kernel.sums.all().kernel - 0.001).abs() < 1e-9);
        let times = &main.sums.stages["verify"];
        assert!((times.user - 0.001).abs() < 1e-9 && (times.kernel - 0.001).abs() < 1e-9);
    }

    #[test]
    fn numbers_at_the_end_of_a_name_do_not_tell_threads_apart() {
        assert_eq!(without_number("iou-wrk-123"), "iou-wrk");
        assert_eq!(without_number("nbd"), "nbd");
        assert_eq!(without_number("crc32"), "crc32");
    }
}
