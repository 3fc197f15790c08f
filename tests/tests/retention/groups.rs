//! How a group is kept: set once, saved with it, and changed by nothing but `group set`.

use blockio::stream::MarkKind;
use mt_tests::change_stream::{Change, volume};
use mt_tests::scratch_machine::on_a_scratch_machine;

use crate::{MIB, Part, blank, holds, retention, stream};

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
        of_group(&["group", "create"], &[]).exits(2).says("there is a group g already");
        let parts = [Part::Mark(MarkKind::CrashConsistent, "one")];
        let stream = stream(machine, "one.mts", vec![volume("", MIB, "", "")], &parts);
        // What is set is meant where nothing is typed, and may be typed again.
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
        applied().exits(2).says("has no volumes").says("--map SOURCE=DEVICE");
        machine.mtctl(&["apply", &stream]).exits(2).says("no disk is named");
        let maps = [format!("db={db}"), format!("log={log}")];
        let create = ["group", "create", "--group", "g", "--map", &maps[0], "--map", &maps[1]];
        let dry = machine.mtctl(&[&create[..], &["--dry-run"]].concat());
        dry.exits(3).says("--map db").says("db.img");
        applied().exits(2);
        machine.mtctl(&create).exits(0).says("group g is created");
        let shown = machine.mtctl(&["group", "show", "--group", "g"]);
        shown.exits(0).says("db.img").says("nothing applied yet");
        // A disk has one group, from then on.
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

/// `--state-dir` was given once, then another one: what is left in the first is nobody's.
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
