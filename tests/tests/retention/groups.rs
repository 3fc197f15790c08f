//! How a group is kept: set once, saved with it, and changed only by `group set`.

use blockio::stream::MarkKind;
use mt_tests::change_stream::{Change, volume};
use mt_tests::scratch_machine::{ScratchMachine, on_a_scratch_machine};

use crate::{MIB, Part, blank, disk, holds, retention, stream};

#[test]
fn an_option_that_differs_from_what_is_set_changes_nothing_and_names_group_set() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        let target = blank(machine, "target.img", MIB);
        let group = ["--group", "g"];
        let of_group = |verb: &[&'static str], rest: &[&'static str]| {
            machine.mtctl(&[verb, &group[..], rest].concat())
        };
        of_group(&["group", "create"], &["--retention-window", "48h"]).exits(0).says("48h");
        of_group(&["group", "create"], &[]).exits(2).says("group g already exists");
        let parts = [Part::Mark(MarkKind::CrashConsistent, "one")];
        let stream = stream(machine, "one.mts", vec![volume("", MIB, "", "")], &parts);
        // A setting applies if the option is not typed, and may be repeated.
        let apply = ["apply", &stream, "--target", &target];
        machine.mtctl(&[&apply[..], &group].concat()).exits(0);
        machine.mtctl(&[&apply[..], &group, &["--retention-window", "48h"]].concat()).exits(0);
        machine
            .mtctl(&[&apply[..], &group, &["--retention-window", "24h"]].concat())
            .exits(2)
            .says("mtctl group set --group g --retention-window 24h");
        of_group(&["commit"], &["--yes", "--keep-all", "1h"]).exits(2).says("group set");
        of_group(&["group", "set"], &["--retention-window", "24h", "--dry-run"]).exits(3);
        of_group(&["group", "show"], &[]).exits(0).says("48h");
        of_group(&["group", "set"], &["--retention-window", "24h"]).exits(0).says("48h");
        of_group(&["group", "set"], &["--retention-window", "24h"]).exits(0).says("nothing to do");
        let shown = of_group(&["group", "show"], &["--json"]).exits(0).json();
        assert_eq!(shown["window_seconds"], 86_400);
        assert_eq!(shown["points"], 1);
        let listed = machine.mtctl(&["group", "list", "--json"]).exits(0).json();
        assert_eq!(listed["groups"][0]["group"], "g");
        assert_eq!(listed["groups"][0]["state"], "applied");
    });
}

#[test]
fn a_group_is_created_with_its_disks_and_streams_go_onto_them() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        let [db, log, other] = ["db.img", "log.img", "other.img"].map(|n| blank(machine, n, MIB));
        let change = |fill| Change::data(4096, vec![fill; 4096]);
        let (of_db, of_log) = (change(1), change(2));
        let parts = [Part::Change(0, &of_db), Part::Change(1, &of_log)];
        let volumes = vec![volume("db", MIB, "", "v1"), volume("log", MIB, "", "v1")];
        let stream = stream(machine, "one.mts", volumes, &parts);
        let applied = || machine.mtctl(&["apply", &stream, "--group", "g"]);
        applied().exits(2).says("there is no group g").says("there are no groups yet");
        machine.mtctl(&["apply", &stream]).exits(2).says("no disk is named");
        let maps = [format!("db={db}"), format!("log={log}")];
        let create = ["group", "create", "--group", "g", "--map", &maps[0], "--map", &maps[1]];
        let dry = machine.mtctl(&[&create[..], &["--dry-run"]].concat());
        dry.exits(3).says("--map db").says("db.img");
        applied().exits(2);
        machine.mtctl(&create).exits(0).says("group g was created");
        let shown = machine.mtctl(&["group", "show", "--group", "g"]);
        shown.exits(0).says("db.img").says("nothing applied yet");
        // From now on, the disk belongs to this group.
        let second = ["group", "create", "--group", "h", "--target", &db];
        machine.mtctl(&second).exits(4).says("belongs to group g");
        let elsewhere = format!("db={other}");
        let moved = ["apply", &stream, "--group", "g", "--map", &elsewhere, "--map", &maps[1]];
        machine.mtctl(&moved).exits(4);
        applied().exits(0);
        for (image, change) in [(&db, &of_db), (&log, &of_log)] {
            let mut expected = vec![0; MIB as usize];
            change.apply(&mut expected);
            holds(image, &expected);
        }
        machine.mtctl(&["rollback", "--group", "g", "--to", "start", "--yes"]).exits(0);
        holds(&db, &vec![0; MIB as usize]);
    });
}

/// `--state-dir` was given once, then with another directory: the state left in the first belongs
/// to no group.
#[test]
fn a_state_that_was_left_elsewhere_is_named_and_without_it_the_group_goes_on() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        let target = blank(machine, "target.img", MIB);
        let [left, now] = ["left", "now"].map(|name| machine.file(name).display().to_string());
        let apply = |fill: u8, state: &str| {
            let change = Change::data(4096, vec![fill; 4096]);
            let parts = [Part::Change(0, &change)];
            let name = format!("{fill}.mts");
            let stream = stream(machine, &name, vec![volume("", MIB, "", "")], &parts);
            let words = ["apply", &stream, "--group", "g", "--target", &target];
            machine.mtctl(&[&words[..], &["--state-dir", state]].concat())
        };
        apply(1, &left).exits(0);
        apply(2, &now).exits(0);
        let commit = ["commit", "--group", "g", "--yes", "--state-dir", &now];
        machine.mtctl(&commit).exits(0);
        apply(3, &now).exits(4).says("--state-dir").says(&format!("rm {left}/state"));
        std::fs::remove_file(format!("{left}/state")).unwrap();
        apply(3, &now).exits(0);
    });
}

#[test]
fn a_group_that_is_not_there_is_told_with_those_that_are() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        let target = blank(machine, "target.img", MIB);
        let shown = |name| machine.mtctl(&["group", "show", "--group", name]);
        shown("wbe").exits(2).says("there is no group wbe").says("there are no groups yet");
        machine.mtctl(&["group", "create", "--group", "web"]).exits(0);
        shown("wbe").exits(2).says("the only group here is web;");
        machine.mtctl(&["group", "create", "--group", "db", "--target", &target]).exits(0);
        for verb in ["rollback", "recover", "commit"] {
            let to = if verb == "rollback" { &["--to", "latest"][..] } else { &[] };
            let run = machine.mtctl(&[&[verb, "--group", "wbe"], to].concat());
            run.exits(2).says("there is no group wbe").says("the groups here are db, web;");
        }
        let stream = marked_stream(machine);
        let run = machine.mtctl(&["apply", &stream, "--group", "wbe"]);
        run.exits(2).says("there is no group wbe").says("the groups here are db, web;");
        let listed = machine.mtctl(&["group", "list", "--json"]).exits(0).json();
        assert_eq!(listed["groups"].as_array().unwrap().len(), 2, "none was begun: {listed}");
    });
}

/// A stream of one volume without a name, with a point at its end.
fn marked_stream(machine: &ScratchMachine) -> String {
    let change = Change::data(4096, vec![7; 4096]);
    let parts = [Part::Change(0, &change), Part::Mark(MarkKind::CrashConsistent, "one")];
    stream(machine, "one.mts", vec![volume("", MIB, "", "")], &parts)
}

#[test]
fn a_group_that_is_renamed_has_its_points_its_disks_and_its_place_in_the_registry() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        let disk = disk(machine, "disk.img", &[0; MIB as usize], "512");
        let stream = marked_stream(machine);
        machine.mtctl(&["apply", &stream, "--group", "g", "--target", disk.path()]).exits(0);
        machine.mtctl(&["group", "create", "--group", "other"]).exits(0);
        let rename = |from, to, more: &[&str]| {
            let words = ["group", "rename", "--group", from, "--to", to];
            machine.mtctl(&[&words[..], more].concat())
        };
        rename("g", "other", &[]).exits(4).says("there is a group other already");
        rename("g", "../h", &[]).exits(2).says("is not a valid group name");
        rename("g", "g", &[]).exits(2).says("that is its name already");
        rename("x", "y", &[]).exits(2).says("the groups here are g, other;");
        rename("g", "h", &["--dry-run"]).exits(3).says("/mnt/retention/g -> /mnt/retention/h");
        let renamed = rename("g", "h", &["--json"]).exits(0).json();
        assert_eq!(renamed["renamed"], true, "{renamed}");
        machine
            .mtctl(&["group", "show", "--group", "g"])
            .exits(2)
            .says("the groups here are h, other;");
        let registry = std::fs::read_to_string("/var/lib/mtctl/state-directories").unwrap();
        assert_eq!(registry, "h /mnt/retention/h\n");
        // The same stream is recognised, the disk belongs to that group, and a rollback is still
        // possible.
        machine.mtctl(&["apply", &stream, "--group", "h"]).exits(0).says("already");
        let other = ["apply", &stream, "--group", "other", "--target", disk.path()];
        machine.mtctl(&other).exits(4).says("belongs to group h");
        machine.mtctl(&["rollback", "--group", "h", "--to", "start", "--yes"]).exits(0);
        holds(disk.path(), &[0; MIB as usize]);
    });
}

#[test]
fn a_renaming_that_was_cut_short_between_history_and_state_is_finished_by_the_same_command() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        let target = blank(machine, "target.img", MIB);
        let stream = marked_stream(machine);
        let state = |name: &str| machine.file(name).display().to_string();
        let apart = ["--state-dir", &state("g")];
        let apply = ["apply", &stream, "--group", "g", "--target", &target];
        machine.mtctl(&[&apply[..], &apart].concat()).exits(0);
        std::fs::rename("/mnt/retention/g", "/mnt/retention/h").unwrap();
        let rename = ["group", "rename", "--group", "g", "--to", "h"];
        machine.mtctl(&[&rename[..], &apart].concat()).exits(0).says(&state("h"));
        let points = |state: &str| {
            let words = ["points", "list", "--group", "h", "--json", "--state-dir", state];
            let listed = machine.mtctl(&words).exits(0).json();
            listed["points"].as_array().unwrap().len()
        };
        assert_eq!(points(&state("h")), 1);
        // The directory under the new name belongs to another group.
        let other = ["apply", &stream, "--group", "i", "--target", &blank(machine, "i.img", MIB)];
        machine.mtctl(&other).exits(0);
        let rename = ["group", "rename", "--group", "h", "--to", "i", "--state-dir", &state("h")];
        machine.mtctl(&rename).exits(4).says("there is a group i already");
        // A state directory with a different name stays where the operator put it.
        std::fs::rename(state("h"), state("elsewhere")).unwrap();
        let rename = ["group", "rename", "--group", "h", "--to", "j", "--state-dir"];
        machine.mtctl(&[&rename[..], &[&state("elsewhere")]].concat()).exits(0);
        let words = ["group", "show", "--group", "j", "--state-dir", &state("elsewhere")];
        machine.mtctl(&words).exits(0);
    });
}

#[test]
fn a_group_that_is_forgotten_leaves_nothing_but_its_disks_and_says_so_before() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        let disk = disk(machine, "disk.img", &[0; MIB as usize], "512");
        let stream = marked_stream(machine);
        let apply = ["apply", &stream, "--group", "g", "--target", disk.path()];
        machine.mtctl(&apply).exits(0);
        machine.mtctl(&["points", "pin", "one", "--group", "g"]).exits(0);
        let held = std::fs::read(disk.path()).unwrap();
        let forget = |more: &[&str]| {
            machine.mtctl(&[&["group", "forget", "--group", "g"][..], more].concat())
        };
        let dry = forget(&["--dry-run"]);
        dry.exits(3).says(disk.path()).says("1 recovery point").says("pinned: point 1 \"one\"");
        forget(&[]).exits(2).says("--yes");
        let gone = forget(&["--yes", "--json"]).exits(0).json();
        assert_eq!((gone["points"].as_u64(), &gone["forgotten"]), (Some(1), &true.into()));
        assert!(!std::path::Path::new("/mnt/retention/g").exists());
        let registry = std::fs::read_to_string("/var/lib/mtctl/state-directories").unwrap();
        assert_eq!(registry, "");
        forget(&["--yes"]).exits(2).says("there is no group g");
        holds(disk.path(), &held);
        machine.mtctl(&["apply", &stream, "--group", "new", "--target", disk.path()]).exits(0);
        // What a crash leaves after both copies of the state were removed.
        std::fs::create_dir("/mnt/retention/g").unwrap();
        std::fs::write("/mnt/retention/g/lock", "").unwrap();
        forget(&["--yes"]).exits(0);
        assert!(!std::path::Path::new("/mnt/retention/g").exists());
    });
}
