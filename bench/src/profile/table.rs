//! Profiles as tables of 100 columns, as Markdown, and as JSON.

use std::collections::BTreeMap;
use std::path::Path;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;

use crate::contender::Contender;
use crate::machine::Machine;
use crate::profile::ledger::{KERNEL, Ledger, NamedThread, Times};

const COLUMNS: u16 = 100;
/// What takes less than this share of the elapsed time is not shown on its own.
const SMALLEST: f64 = 0.02;
/// The kernel cuts names of processes here.
const NAME_BYTES_MAX: usize = 15;
const HEADER: [&str; 6] = ["thread, stage", "user", "kernel", "waits", "queued", "waits in"];

/// All profiles of a run, and where they were made.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Profiles {
    pub(crate) date: String,
    pub(crate) machine: Machine,
    pub(crate) versions: BTreeMap<String, String>,
    /// Size of the target, in bytes.
    pub(crate) target_bytes: u64,
    pub(crate) rounds: usize,
    pub(crate) profiles: Vec<Profile>,
}

/// Where the time of one workload goes: averages of all runs, in seconds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Profile {
    pub(crate) name: &'static str,
    pub(crate) command: String,
    /// The bytes that were moved; 0 if that is not the point.
    pub(crate) bytes: u64,
    /// From the first to the last event of the command.
    pub(crate) elapsed: f64,
    rows: Vec<Row>,
}

/// One thread, or threads of the same name, at one stage.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Row {
    /// The process, and the thread if that has another name.
    thread: String,
    /// `None` for all stages together.
    stage: Option<String>,
    user: f64,
    kernel: f64,
    waits: f64,
    queued: f64,
    waits_in: BTreeMap<String, f64>,
}

impl Profile {
    /// The profile of `contender`, which ran `rounds` times.
    pub(crate) fn new(
        name: &'static str,
        contender: &Contender,
        bytes: u64,
        ledger: &Ledger,
        rounds: usize,
    ) -> Self {
        let share = 1.0 / rounds as f64;
        let program = contender.command.first().map_or("", String::as_str);
        let program = Path::new(program).file_name().unwrap_or_default().to_string_lossy();
        let cut: String = program.chars().take(NAME_BYTES_MAX).collect();
        let elapsed = ledger.lifetime(&cut) * share;
        let command = contender.command.join(" ");
        Self { name, command, bytes, elapsed, rows: rows(ledger.threads(), share, elapsed) }
    }

    fn heading(&self) -> String {
        let busy: f64 = self.rows.iter().filter(|row| row.stage.is_none()).map(Row::running).sum();
        let gib = self.bytes as f64 / f64::from(1 << 30);
        let moved = if self.bytes > 0 { format!("{gib:.2} GiB in ") } else { String::new() };
        format!("{moved}{:.2} s, {busy:.2} CPU s", self.elapsed)
    }

    fn table(&self, preset: &str) -> Table {
        let mut table = Table::new();
        table
            .load_preset(preset)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(COLUMNS)
            .set_header(HEADER);
        for row in &self.rows {
            table.add_row(row.cells());
        }
        for number in 1..5 {
            if let Some(column) = table.column_mut(number) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table
    }
}

impl Profiles {
    /// Prints them to standard output.
    pub(crate) fn print(&self) {
        for profile in &self.profiles {
            println!(
                "{}: {}\n{}\n",
                profile.name,
                profile.heading(),
                profile.table(presets::NOTHING)
            );
        }
    }

    /// The same as Markdown.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!(
            "Measured on {}, on {} cores ({}), Linux {}; averages of {} runs, a target of {} \
             GiB.\n",
            self.date.split('T').next().unwrap_or_default(),
            self.machine.cpus,
            self.machine.model,
            self.machine.kernel,
            self.rounds,
            self.target_bytes >> 30,
        );
        for profile in &self.profiles {
            let table = profile.table(presets::ASCII_MARKDOWN);
            let heading = profile.heading();
            text += &format!("\n**{}** ({heading})\n\n{}\n", profile.name, table);
        }
        text
    }
}

impl Row {
    fn new(thread: &str, stage: Option<&str>, times: &Times, share: f64) -> Self {
        let waits_in = times.waits.iter().map(|(call, time)| (call.clone(), time * share));
        Self {
            thread: thread.to_owned(),
            stage: stage.map(str::to_owned),
            user: times.user * share,
            kernel: times.kernel * share,
            waits: times.waiting() * share,
            queued: times.queued * share,
            waits_in: waits_in.collect(),
        }
    }

    fn running(&self) -> f64 {
        self.user + self.kernel
    }

    /// What matters most about it, in seconds.
    fn weight(&self) -> f64 {
        self.running().max(self.waits).max(self.queued)
    }

    fn cells(&self) -> [String; 6] {
        let number = |seconds: f64| match seconds {
            small if small < 0.005 => String::new(),
            seconds => format!("{seconds:.2}"),
        };
        let mut calls: Vec<(&String, &f64)> =
            self.waits_in.iter().filter(|(_, time)| **time >= 0.005).collect();
        calls.sort_by(|a, b| b.1.total_cmp(a.1));
        let calls: Vec<String> =
            calls.iter().take(2).map(|(call, time)| format!("{call} {time:.2}")).collect();
        let stage = self.stage.as_ref().map(|stage| format!("· {stage}"));
        [
            stage.unwrap_or_else(|| self.thread.clone()),
            number(self.user),
            number(self.kernel),
            number(self.waits),
            number(self.queued),
            if self.stage.is_none() { String::new() } else { calls.join(", ") },
        ]
    }
}

/// One row for each thread, the busiest first, followed by one for each of its stages.
fn rows(threads: Vec<NamedThread>, share: f64, elapsed: f64) -> Vec<Row> {
    let smallest = SMALLEST * elapsed;
    let mut groups = Vec::new();
    let mut rest = Times::default();
    for thread in threads {
        let mut all = thread.sums.all();
        let is_ours = thread.process == "mtctl";
        // How long a thread of the kernel, or of somebody else, has nothing to do is no waiting.
        if thread.process == KERNEL {
            all.waits.clear();
            all.queued = 0.0;
        }
        let is_small = all.running() * share < smallest;
        if is_small && !(is_ours && all.waiting() * share >= smallest) {
            rest.user += all.user;
            rest.kernel += all.kernel;
            continue;
        }
        let name = shown(&thread);
        let mut group = vec![Row::new(&name, None, &all, share)];
        if thread.process != KERNEL && thread.sums.stages.len() > 1 {
            let stages = thread.sums.stages.iter();
            let mut stages: Vec<Row> = stages
                .map(|(stage, times)| Row::new(&name, Some(stage), times, share))
                .filter(|row| row.weight() >= smallest)
                .collect();
            stages.sort_by(|a, b| b.weight().total_cmp(&a.weight()));
            group.extend(stages);
        }
        groups.push(group);
    }
    groups.sort_by(|a, b| b[0].running().total_cmp(&a[0].running()));
    let mut rows = groups.concat();
    rows.push(Row::new("all others", None, &rest, share));
    rows
}

fn shown(thread: &NamedThread) -> String {
    let NamedThread { process, name, sums } = thread;
    let mut shown = if process == name { name.clone() } else { format!("{process}: {name}") };
    if sums.ids.len() > 1 && process != KERNEL {
        shown += &format!(" ({})", sums.ids.len());
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::ledger::Sums;

    fn thread(process: &str, name: &str, stage: &str, kernel: f64, waits: f64) -> NamedThread {
        let waits = BTreeMap::from([("futex".to_owned(), waits)]);
        let times = Times { kernel, waits, ..Times::default() };
        let stages =
            BTreeMap::from([(stage.to_owned(), times), ("-".to_owned(), Times::default())]);
        NamedThread {
            process: process.to_owned(),
            name: name.to_owned(),
            sums: Sums { stages, ..Sums::default() },
        }
    }

    #[test]
    fn the_busiest_comes_first_and_what_waits_is_shown_if_it_is_ours() {
        let threads = vec![
            thread("mtctl", "journal", "journal::log", 0.0, 0.8),
            thread(KERNEL, "loop_workfn", "none", 0.7, 5.0),
            thread("mtctl", "mtctl", "verify", 1.2, 0.1),
            thread("sshd", "sshd", "-", 0.001, 0.9),
        ];
        let rows = rows(threads, 0.5, 1.0);
        let names: Vec<&str> = rows.iter().map(|row| row.thread.as_str()).collect();
        let wanted = [
            "mtctl",
            "mtctl",
            "kernel: loop_workfn",
            "mtctl: journal",
            "mtctl: journal",
            "all others",
        ];
        assert_eq!(names, wanted);
        assert!((rows[0].kernel - 0.6).abs() < 1e-9);
        assert!(rows[2].waits == 0.0 && (rows[4].waits - 0.4).abs() < 1e-9);
        assert_eq!(rows[4].cells()[5], "futex 0.40");
    }
}
