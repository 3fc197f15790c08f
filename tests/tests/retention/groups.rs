//! How a group is kept: set once, saved with it, and changed by nothing but `group set`.

use blockio::stream::MarkKind;
use mt_tests::change_stream::volume;
use mt_tests::scratch_machine::on_a_scratch_machine;

use crate::{MIB, Part, blank, retention, stream};

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
