//! The JSON that programs read: names and types of its keys as documented; more keys may be there.

#![allow(clippy::unwrap_used, clippy::panic, reason = "every function here belongs to a test")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn hosts() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/hosts");
    let files = std::fs::read_dir(directory).unwrap();
    let mut found: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    found.sort();
    assert!(found.len() >= 14, "{found:?}");
    found
}

/// What the verb prints, and its exit code.
fn run(verb: &[&str], host: &Path) -> (Value, i32) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mtctl"));
    let output = command.args(verb).arg("--json").arg("--recorded").arg(host).output().unwrap();
    document(&output)
}

/// What was printed, in which every verb has these, and the exit code.
fn document(output: &Output) -> (Value, i32) {
    let printed = serde_json::from_slice(&output.stdout).unwrap();
    assert_keys(&printed, &[("warnings", "l"), ("alarms", "l")]);
    (printed, output.status.code().unwrap())
}

/// The kinds a value may have: `s`tring, `n`umber, `b`ool, n`u`ll, list of `l` strings.
fn has_kind(value: &Value, kinds: &str) -> bool {
    kinds.chars().any(|kind| match kind {
        's' => value.is_string(),
        'n' => value.is_u64(),
        'b' => value.is_boolean(),
        'u' => value.is_null(),
        'l' => value.as_array().is_some_and(|all| all.iter().all(Value::is_string)),
        _ => false,
    })
}

fn assert_keys(value: &Value, keys: &[(&str, &str)]) {
    for (key, kinds) in keys {
        let found = value.get(key).unwrap_or_else(|| panic!("no key {key} in {value}"));
        assert!(has_kind(found, kinds), "{key} is {found}");
    }
}

fn is_one_of(value: &Value, known: &[&str]) -> bool {
    value.as_str().is_some_and(|text| known.contains(&text))
}

#[test]
fn disks_are_as_documented() {
    let keys = [
        ("path", "s"),
        ("scsi_address", "su"),
        ("controller", "su"),
        ("vendor", "su"),
        ("model", "su"),
        ("serial", "su"),
        ("wwid", "su"),
        ("identity", "s"),
        ("size_bytes", "n"),
        ("sector_bytes", "n"),
        ("used_by", "l"),
        ("eligible_for", "l"),
    ];
    for host in hosts() {
        let (printed, code) = run(&["disks"], &host);
        assert_eq!(code, 0);
        for disk in printed["disks"].as_array().unwrap() {
            assert_keys(disk, &keys);
            let known = ["page83", "page80", "none", "not-scsi"];
            assert!(is_one_of(&disk["identity"], &known), "{disk}");
            for purpose in disk["eligible_for"].as_array().unwrap() {
                assert!(is_one_of(purpose, &["retention", "target"]), "{disk}");
            }
        }
    }
}

#[test]
fn findings_are_as_documented_and_the_exit_code_says_ready() {
    let keys = [("id", "s"), ("status", "s"), ("subject", "s"), ("message", "s"), ("hint", "s")];
    for host in hosts() {
        let (printed, code) = run(&["check"], &host);
        assert_keys(&printed, &[("ready", "b")]);
        assert_eq!(code, if printed["ready"] == true { 0 } else { 3 }, "{}", host.display());
        for finding in printed["findings"].as_array().unwrap() {
            assert_keys(finding, &keys);
            let known = ["pass", "warn", "fail", "skip"];
            assert!(is_one_of(&finding["status"], &known), "{finding}");
        }
    }
}

#[test]
fn the_report_of_prepare_is_as_documented_and_the_exit_code_follows_it() {
    for host in hosts() {
        let (printed, code) = run(&["prepare", "--dry-run"], &host);
        assert_keys(&printed, &[("changed", "n"), ("reboot_required", "b")]);
        assert_eq!(printed["changed"], 0);
        let steps = printed["steps"].as_array().unwrap();
        assert_eq!(steps.len(), 11);
        for step in steps {
            assert_keys(step, &[("id", "s"), ("outcome", "s"), ("detail", "s")]);
            let known = ["unchanged", "changed", "refused", "failed"];
            assert!(is_one_of(&step["outcome"], &known), "{step}");
        }
        let has = |outcome: &str| steps.iter().any(|step| step["outcome"] == outcome);
        let is_due = |step: &Value| step["detail"].as_str().unwrap().starts_with("not done");
        let expected = match () {
            () if has("refused") => 4,
            // A dry run says whether there is something to do; what cannot be done is in the steps.
            () if steps.iter().any(is_due) => 3,
            () => 0,
        };
        assert_eq!(code, expected, "{}", host.display());
    }
}

fn data(name: &str) -> String {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data");
    directory.join(name).display().to_string()
}

/// What a verb that knows no recorded host prints, and its exit code.
fn run_here(verb: &[&str]) -> (Value, i32) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mtctl"));
    let output = command.args(verb).arg("--json").output().unwrap();
    document(&output)
}

#[test]
fn what_is_in_a_stream_is_as_documented() {
    let samples = [
        ("native/two-volumes.mts", 0),
        ("native/damaged.mts", 5),
        ("rbd/names.rbdimage2", 0),
        ("rbd/odd.o4-o5.truncated.rbddiff", 5),
        ("svd/two-marks.svd", 0),
    ];
    for (sample, expected) in samples {
        let (printed, code) = run_here(&["stream", "inspect", &data(sample)]);
        assert_eq!(code, expected, "{sample}");
        let keys = [("input", "s"), ("bytes", "n"), ("stream_count", "n"), ("error", "su")];
        assert_keys(&printed, &keys);
        assert_eq!(printed["error"].is_null(), code == 0, "{sample}");
        for stream in printed["streams"].as_array().unwrap() {
            check_stream(stream);
        }
    }
}

fn check_stream(stream: &Value) {
    assert_keys(stream, &[("format", "s"), ("identity", "su"), ("batches", "n")]);
    assert_keys(stream, &[("mark_count", "n"), ("complete", "b"), ("consistent", "b")]);
    assert!(is_one_of(&stream["format"], &["native", "rbd-diff", "svd", "raw"]), "{stream}");
    for volume in stream["volumes"].as_array().unwrap() {
        assert_keys(volume, &[("name", "su"), ("size_bytes", "nu"), ("from", "su"), ("to", "su")]);
        assert_keys(volume, &[("extents", "n"), ("data_bytes", "n")]);
        assert_keys(volume, &[("zero_bytes", "n"), ("discard_bytes", "n")]);
    }
    for mark in stream["marks"].as_array().unwrap() {
        assert_keys(mark, &[("time", "su"), ("kind", "s"), ("name", "su"), ("group", "su")]);
        let known = ["crash-consistent", "application-consistent"];
        assert!(is_one_of(&mark["kind"], &known), "{mark}");
    }
}

#[test]
fn what_convert_wrote_is_as_documented() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.mts").display().to_string();
    let input = data("rbd/odd.o2-o3.rbddiff");
    let verb = ["stream", "convert", &input, "--to", "native", "--output", &output];
    let (printed, code) = run_here(&verb);
    assert_eq!(code, 0);
    let keys = ["extents", "data_bytes", "zero_bytes", "marks", "marks_lost"].map(|key| (key, "n"));
    assert_keys(&printed, &keys);
    assert_eq!(printed["data_bytes"], 37);
}

#[test]
fn what_apply_did_is_as_documented() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    for (name, size) in [("db.img", 1 << 30), ("log.img", 8 << 20)] {
        std::fs::File::create(path(name)).unwrap().set_len(size).unwrap();
    }
    let (stream, state) = (data("native/two-volumes.mts"), path("state"));
    let (db, log) = (format!("db={}", path("db.img")), format!("log={}", path("log.img")));
    let group = ["--group", "web", "--state-dir", &state];
    let verb = [&["apply", &stream, "--map", &db, "--map", &log][..], &group].concat();
    // Once for real, and once with nothing to do.
    for (bytes, left_out) in [(517, 0), (0, 1)] {
        let (printed, code) = run_here(&verb);
        assert_eq!(code, 0);
        assert_keys(&printed, &[("bytes", "n"), ("extents", "n"), ("zero_bytes", "n")]);
        assert_keys(&printed, &[("recovery_points", "n"), ("resumed_from", "nu")]);
        assert_keys(&printed, &[("inputs_left_out", "n"), ("complete", "b")]);
        assert_keys(&printed, &[("failed_volumes", "l")]);
        assert!(printed["seconds"].is_f64(), "{printed}");
        assert_eq!(printed["bytes"], bytes, "{printed}");
        assert_eq!(printed["inputs_left_out"], left_out, "{printed}");
    }
    let (printed, code) = run_here(&[&["history"][..], &group].concat());
    let run = &printed["runs"][0];
    assert_eq!((code, &run["state"], &run["exit_code"]), (0, &"ended".into(), &0.into()));
    assert_keys(run, &[("group", "s"), ("time", "s"), ("verb", "s"), ("user", "s")]);
    assert_keys(run, &[("user_id", "n"), ("host", "s"), ("process", "n"), ("version", "s")]);
    assert_keys(run, &[("more_streams", "n"), ("disks", "l"), ("point", "su")]);
    assert_keys(run, &[("detail", "su"), ("ended", "su"), ("bytes", "nu"), ("error", "su")]);
    assert_keys(&run["streams"][0], &[("path", "s"), ("identity", "s")]);
}

#[test]
fn what_restore_did_and_would_do_is_as_documented() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    for (name, size) in [("db.img", 1 << 30), ("log.img", 8 << 20)] {
        std::fs::File::create(path(name)).unwrap().set_len(size).unwrap();
    }
    let keep = tempfile::tempdir().unwrap();
    let keep = keep.path().to_str().unwrap();
    let group = ["--group", "web", "--retention", keep, "--retention-unmounted"];
    let maps = ["db", "log"].map(|name| format!("{name}={}", path(&format!("{name}.img"))));
    let stream = data("native/two-volumes.mts");
    let apply = ["apply", &stream, "--map", &maps[0], "--map", &maps[1]];
    assert_eq!(run_here(&[&apply[..], &group].concat()).1, 0);
    let home = tempfile::tempdir().unwrap();
    let onto = format!("log={}", home.path().join("log.img").display());
    let restore = ["restore", "--to", "start", "--onto", &onto, "--create"];
    let restore = [&restore[..], &group].concat();
    let (planned, code) = run_here(&[&restore[..], &["--dry-run"]].concat());
    assert_eq!(code, 3);
    assert_keys(&planned, &[("point", "n"), ("point_text", "s"), ("dry_run", "b")]);
    let keys = [("volume", "s"), ("target", "s"), ("bytes", "n")];
    assert_keys(&planned["volumes"][0], &keys);
    assert_keys(&planned["volumes"][0], &[("is_new", "b")]);
    let (printed, code) = run_here(&restore);
    assert_eq!(code, 0);
    assert_keys(&printed, &[("point", "n"), ("point_text", "s"), ("complete", "b")]);
    assert_keys(&printed, &[("format", "s"), ("ovf", "su"), ("manifest", "su")]);
    let volume = &printed["volumes"][0];
    assert_keys(volume, &keys);
    assert_keys(volume, &[("zero_bytes", "nu"), ("digest", "s")]);
    assert!(volume["seconds"].is_f64(), "{printed}");
    assert_eq!(volume["zero_bytes"], 8 << 20, "{printed}");
}

#[test]
fn warnings_and_alarms_are_fields_and_an_alarm_has_its_code_where_it_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    for (name, size) in [("db.img", 1 << 30), ("log.img", 8 << 20)] {
        std::fs::File::create(path(name)).unwrap().set_len(size).unwrap();
    }
    let retention = path("retention");
    std::fs::create_dir(&retention).unwrap();
    let stream = data("native/two-volumes.mts");
    let (db, log) = (format!("db={}", path("db.img")), format!("log={}", path("log.img")));
    let place = ["--retention", &retention, "--retention-unmounted"];
    let run = |verb: &[&str]| run_here(&[verb, &place].concat());
    let counts = |printed: &Value| {
        ["warnings", "alarms"].map(|field| printed[field].as_array().unwrap().len())
    };
    let (printed, code) = run(&["apply", &stream, "--map", &db, "--map", &log, "--group", "web"]);
    assert_eq!((counts(&printed), code), ([2, 0], 0), "{printed}");
    assert!(printed["warnings"][0].as_str().unwrap().starts_with("db on "), "{printed}");
    let show = ["group", "show", "--group", "web", "--check"];
    let (printed, code) = run(&show);
    assert_eq!((counts(&printed), code), ([0, 0], 0), "{printed}");
    // One of the two copies of the state is gone: everything goes on, and somebody should know.
    std::fs::remove_file(folder.path().join("retention/web/state.copy")).unwrap();
    for (verb, expected, code) in [
        (&["points", "list", "--group", "web"][..], [1, 1], 0),
        (&show[..4], [0, 1], 0),
        (&show, [0, 1], 6),
    ] {
        let (printed, found) = run(verb);
        assert_eq!((counts(&printed), found), (expected, code), "{verb:?}: {printed}");
    }
    let (printed, code) = run(&["group", "list", "--check"]);
    assert_eq!(code, 6, "{printed}");
    let alarms = printed["alarms"].as_array().unwrap();
    assert!(alarms.iter().any(|one| one.as_str().unwrap().starts_with("web: ")), "{printed}");
    let no_point = ["points", "show", "no-such-point", "--group", "web", "--json"];
    let (printed, _) = error_of(&[&no_point[..], &place].concat());
    assert_eq!(printed["warnings"].as_array().unwrap().len(), 1, "{printed}");
}

/// The error that a run printed, and its exit code.
fn error_of(arguments: &[&str]) -> (Value, i32) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mtctl"));
    let output = command.args(arguments).env("MTCTL_LOG", "off").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let errors: Vec<&str> = said.lines().filter(|line| line.starts_with('{')).collect();
    let [error] = errors.as_slice() else { panic!("{arguments:?}: {said}") };
    (serde_json::from_str(error).unwrap(), output.status.code().unwrap())
}

#[test]
fn an_error_is_one_object_on_stderr_with_the_exit_code_of_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (state, image, small) = (path("state"), path("image"), path("small"));
    std::fs::File::create(&image).unwrap().set_len(1 << 20).unwrap();
    std::fs::File::create(&small).unwrap().set_len(4096).unwrap();
    let damaged = data("native/damaged.mts");
    let group = ["--group", "g", "--state-dir", &state, "--json"];
    let cases: [(&[&str], &str, i32); 6] = [
        (&["stream", "inspect", "/proc/self/mem", "--json"], "failed", 1),
        (&["apply", "--json"], "usage", 2),
        (&["digest", "--json", "--no-such-option"], "usage", 2),
        (&["apply", "no-such-stream", "--target", &image, "--json"], "usage", 2),
        (&["apply", &image, "--format", "raw", "--target", &small, "--json"], "refused", 4),
        (&["stream", "inspect", &damaged, "--json"], "integrity", 5),
    ];
    for (arguments, kind, exit_code) in cases {
        let (printed, code) = error_of(arguments);
        let error = &printed["error"];
        assert_keys(error, &[("kind", "s"), ("message", "s"), ("hint", "su"), ("exit_code", "n")]);
        assert_eq!((error["kind"].as_str(), code), (Some(kind), exit_code), "{printed}");
        assert_eq!(error["exit_code"], exit_code, "{printed}");
    }
    let (printed, _) = error_of(&[&["points", "list"][..], &group].concat());
    assert_keys(&printed["error"], &[("kind", "s"), ("message", "s")]);
}

#[test]
fn nothing_is_coloured_when_piped() {
    for host in hosts() {
        for verb in [&["disks"][..], &["check"], &["prepare", "--dry-run"]] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_mtctl"));
            command.args(verb).arg("--recorded").arg(&host).env("TERM", "xterm-256color");
            let output = command.output().unwrap();
            assert!(!output.stdout.contains(&0x1b), "{verb:?} {}", host.display());
        }
    }
}

#[test]
fn no_row_of_a_table_is_wider_than_100_columns() {
    for host in hosts() {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mtctl"));
        let output = command.args(["disks", "--all", "--recorded"]).arg(&host).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(widest <= 100, "{widest} in {}", host.display());
    }
}

#[test]
fn sixty_disks_take_little_cpu_time() {
    use nix::sys::resource::{UsageWho, getrusage};
    let host = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/hosts/sixty-disks.json");
    let spent = || {
        let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
        let [user, system] = [usage.user_time(), usage.system_time()];
        (user.tv_sec() + system.tv_sec()) * 1_000_000 + user.tv_usec() + system.tv_usec()
    };
    // Other tests of this program have children, too: the least of several runs is ours.
    let once = || {
        let before = spent();
        run(&["disks"], &host);
        spent() - before
    };
    let least_us = (0..5).map(|_| once()).min().unwrap();
    println!("mtctl disks on 60 disks: {least_us} us of CPU");
    if !cfg!(debug_assertions) {
        assert!(least_us < 50_000, "{least_us} us of CPU");
    }
}
