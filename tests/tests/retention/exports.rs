//! Exports: the command that runs beside one, its pid file, and what happens to an export whose
//! point is removed.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Stdio};

use blockio::stream::MarkKind;
use mt_tests::change_stream::{Change, volume};
use mt_tests::program::{self, Run, finish};
use mt_tests::scratch_machine::{ScratchMachine, on_a_scratch_machine};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{MIB, Part, blank, retention, stream};

/// Makes a group g with points 1 and 2 of two volumes.
fn two_points(machine: &ScratchMachine) {
    let [db, log] = ["db", "log"].map(|name| blank(machine, name, MIB));
    let changes = [1, 2].map(|fill| Change::data(8192, vec![fill; 4096]));
    let parts = [
        Part::Change(0, &changes[0]),
        Part::Mark(MarkKind::CrashConsistent, "one"),
        Part::Change(0, &changes[1]),
        Part::Mark(MarkKind::CrashConsistent, "two"),
    ];
    let volumes = vec![volume("db", MIB, "", ""), volume("log", MIB, "", "")];
    let stream = stream(machine, "one.mts", volumes, &parts);
    let maps = [format!("db={db}"), format!("log={log}")];
    machine
        .mtctl(&["apply", &stream, "--group", "g", "--map", &maps[0], "--map", &maps[1]])
        .exits(0);
}

/// An export to which clients can connect.
struct Running(Child);

impl Running {
    fn of(point: &str, more: &[&str]) -> Self {
        let words = ["export", "--group", "g", "--to", point, "--socket", "/run/g.sock", "--json"];
        let mut command = program::command(program::mtctl(), &[&words[..], more].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("nbd+unix"), "{line}");
        Self(child)
    }

    /// Asks it to end, and waits until it has.
    fn stopped(self) -> Run {
        let process = Pid::from_raw(i32::try_from(self.0.id()).unwrap());
        kill(process, Signal::SIGTERM).unwrap();
        self.ends()
    }

    /// Waits until it ends by itself.
    fn ends(mut self) -> Run {
        let mut stderr = String::new();
        self.0.stderr.as_mut().unwrap().read_to_string(&mut stderr).unwrap();
        let code = self.0.wait().unwrap().code();
        Run { command: "export".to_owned(), code, stdout: String::new(), stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_command_beside_an_export_knows_where_it_is_and_gives_its_exit_code() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        two_points(machine);
        let run = |command: &str, more: &[&str]| {
            let words = ["export", "--group", "g", "--to", "1", "--run", command];
            machine.mtctl(&[&words[..], more].concat())
        };
        let one = ["--volume", "db"];
        let said = run("test -S \"$unixsocket\" && echo $uri; echo $unixsocket; exit 7", &one);
        said.exits(7);
        let lines: Vec<_> = said.stdout.lines().collect();
        let [uri, socket] = lines[..] else { panic!("{said:#?}") };
        assert_eq!(uri, format!("nbd+unix:///db?socket={socket}"));
        assert!(!fs::exists(socket).unwrap(), "the socket stayed behind");
        // If there are several volumes, none of them stands for the whole point.
        run("echo \"$uris\"; echo \"$uri\"", &["--socket", "/run/g.sock"])
            .exits(0)
            .says("nbd+unix:///db?socket=/run/g.sock nbd+unix:///log?socket=/run/g.sock")
            .says("nbd+unix:///?socket=/run/g.sock");
        run("kill -9 $$", &one).exits(137);
        machine.mtctl(&["export", "--group", "g", "--to", "1"]).exits(2).says("--run");
    });
}

#[test]
fn an_export_ends_when_its_group_is_committed_and_the_commit_names_it() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        two_points(machine);
        let pid_file = machine.file("pid");
        let more = ["--pid-file", pid_file.to_str().unwrap()];
        let export = Running::of("2", &more);
        let process = fs::read_to_string(&pid_file).unwrap();
        assert_eq!(process, format!("{}\n", export.0.id()));
        let told = format!("point 2 is served by process {} at /run/g.sock", process.trim());
        machine.mtctl(&["commit", "--group", "g", "--yes"]).exits(0).says(&told);
        export.ends().exits(1).says("point 2 is gone: the group was committed");
        assert!(!pid_file.exists() && !fs::exists("/run/g.sock").unwrap());
    });
}

#[test]
fn what_takes_points_away_names_the_exports_of_those_and_no_killed_one() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        two_points(machine);
        let back = |to: &str, more: &[&str]| {
            let words = ["rollback", "--group", "g", "--yes", "--to", to];
            machine.mtctl(&[&words[..], more].concat())
        };
        let export = Running::of("2", &[]);
        back("1", &[]).exits(0).does_not_say("is served");
        back("2", &[]).exits(0);
        back("1", &["--without-undo"]).exits(0).says("point 2 is served by process");
        export.ends().exits(1).says("point 2 is gone: it has expired, or was given up");
        let mut killed = Running::of("1", &[]);
        killed.0.kill().unwrap();
        killed.0.wait().unwrap();
        let release = ["group", "release", "--group", "g", "--yes"];
        machine.mtctl(&release).exits(0).does_not_say("is served");
        let left =
            fs::read_dir("/mnt/retention/g").unwrap().map(|entry| entry.unwrap().file_name());
        let left: Vec<_> = left.filter(|n| n.to_string_lossy().starts_with("export-")).collect();
        assert!(left.is_empty(), "{left:?}");
    });
}

/// Files in the directory of a group that announce exports.
fn told_of_exports(group: &str) -> Vec<String> {
    let names = fs::read_dir(Path::new("/mnt/retention").join(group)).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("export-")).collect()
}

#[test]
fn an_export_of_a_group_that_is_renamed_ends_without_a_trace_and_names_the_group_as_it_is_called() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        two_points(machine);
        let rename = |from, to| {
            let words = ["group", "rename", "--group", from, "--to", to];
            machine.mtctl(&words).exits(0).does_not_say("export will end");
        };
        let export = Running::of("2", &[]);
        rename("g", "h");
        assert_eq!(told_of_exports("h").len(), 1);
        export.stopped().exits(0);
        assert_eq!(told_of_exports("h"), [""; 0]);
        rename("h", "g");
        let export = Running::of("1", &[]);
        rename("g", "h");
        let forget = ["points", "forget", "1", "--group", "h", "--yes"];
        machine.mtctl(&forget).exits(0).says("point 1 is served by process");
        let ended = export.ends();
        ended.exits(1).says("mtctl points list --group h").does_not_say("--group g");
    });
}

#[test]
fn who_forgets_a_group_is_told_of_its_exports_and_they_say_what_became_of_it() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        two_points(machine);
        let verb = |verb: &str, more: &[&str]| {
            machine.mtctl(&[&["group", verb, "--group", "g"][..], more].concat())
        };
        let export = Running::of("2", &[]);
        verb("forget", &["--dry-run"]).exits(3).says("point 2 is served by process");
        let forgotten = verb("forget", &["--yes"]);
        forgotten.exits(0).says("point 2 is served by process").does_not_say("stays");
        assert!(!fs::exists("/mnt/retention/g").unwrap());
        let ended = export.ends();
        ended.exits(1).says("point 2 is gone: the group was forgotten").does_not_say("committed");
        two_points(machine);
        let export = Running::of("2", &[]);
        verb("release", &["--yes"]).exits(0).says("point 2 is served by process");
        export.ends().exits(1).says("point 2 is gone: the group released its disks");
        // Files that are not ours stay, and are named.
        fs::write("/mnt/retention/g/notes", "mine").unwrap();
        verb("forget", &["--yes"]).exits(0).says("/mnt/retention/g stays").says("notes");
    });
}

#[test]
fn a_file_that_is_no_process_number_is_not_replaced_by_one() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        two_points(machine);
        let words = ["export", "--group", "g", "--to", "2", "--run", "true", "--pid-file"];
        let disk = machine.file("db");
        let refused = finish(program::command(program::mtctl(), &words).arg(&disk));
        refused.exits(4).says("does not hold a process id");
        assert_eq!(fs::metadata(disk).unwrap().len(), MIB);
    });
}
