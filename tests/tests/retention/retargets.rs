//! A group continues with other disks that have the same contents.

use std::fs;

use blockio::stream::MarkKind;
use mt_tests::change_stream::{Change, volume};
use mt_tests::program::Run;
use mt_tests::random::Random;
use mt_tests::scratch_machine::{ScratchMachine, on_a_scratch_machine};

use crate::{MIB, Part, disk, holds, image, retention, stream};

/// Writes a stream that ends in the point `name`, and returns its path.
fn marked(machine: &ScratchMachine, name: &str, change: &Change) -> String {
    let parts = [Part::Change(0, change), Part::Mark(MarkKind::CrashConsistent, name)];
    stream(machine, name, vec![volume("", MIB, "", "")], &parts)
}

fn retarget(machine: &ScratchMachine, target: &str, more: &[&str]) -> Run {
    let words = ["group", "retarget", "--group", "g", "--target", target];
    machine.mtctl(&[&words[..], more].concat())
}

#[test]
fn a_group_goes_on_and_back_on_a_copy_of_its_disk_and_refuses_the_old_one() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        let mut random = Random::new(3);
        let before = random.bytes(MIB as usize);
        let old = disk(machine, "old", &before, "512");
        let changes = [Change::data(4096, vec![1; 8192]), Change::data(65536, vec![2; 8192])];
        let [one, two] = [("one", &changes[0]), ("two", &changes[1])];
        let (one, two) = (marked(machine, one.0, one.1), marked(machine, two.0, two.1));
        machine.mtctl(&["apply", &one, "--group", "g", "--target", old.path()]).exits(0);
        let held = fs::read(old.path()).unwrap();
        let mut wrong = held.clone();
        wrong[MIB as usize - 1] ^= 1;
        let wrong = disk(machine, "wrong", &wrong, "512");
        let small = disk(machine, "small", &held[..512 << 10], "512");
        let long = disk(machine, "long", &held, "4096");
        let new = disk(machine, "new", &held, "512");
        retarget(machine, old.path(), &["--yes"]).exits(0).says("nothing to do");
        retarget(machine, wrong.path(), &["--yes"]).exits(5).says("does not hold what");
        retarget(machine, small.path(), &["--yes"]).exits(4).says("has 524288 bytes");
        retarget(machine, long.path(), &["--yes"]).exits(4).says("sectors of 4096 bytes");
        retarget(machine, new.path(), &[]).exits(2).says("--yes");
        retarget(machine, new.path(), &["--dry-run"]).exits(3).says("nothing was changed");
        machine.mtctl(&["apply", &two, "--group", "g", "--target", new.path()]).exits(4);
        let done = retarget(machine, new.path(), &["--yes", "--json"]).exits(0).json();
        assert_eq!(done["changes"][0]["to"], new.path(), "{done}");
        assert_eq!(
            (&done["retargeted"], &done["changes"][0]["compared_bytes"]),
            (&true.into(), &MIB.into())
        );
        machine.mtctl(&["apply", &two, "--group", "g", "--target", old.path()]).exits(4);
        machine.mtctl(&["apply", &two, "--group", "g"]).exits(0);
        holds(old.path(), &held);
        let mut expected = held.clone();
        changes[1].apply(&mut expected);
        holds(new.path(), &expected);
        for (to, expected) in [("one", &held), ("start", &before), ("two", &expected)] {
            machine.mtctl(&["rollback", "--group", "g", "--to", to, "--yes"]).exits(0);
            holds(new.path(), expected);
        }
        holds(old.path(), &held);
    });
}

#[test]
fn where_the_old_disk_is_gone_only_a_digest_of_the_point_that_the_group_is_at_proves_it() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        let old = image(machine, "old.img", &[0; MIB as usize]);
        let changes = [Change::data(4096, vec![1; 8192]), Change::data(65536, vec![2; 8192])];
        let digest = |words: &[&str], name: &str| {
            let output = machine.file(name).display().to_string();
            machine.mtctl(&[&["digest"][..], words, &["--output", &output]].concat()).exits(0);
            output
        };
        let point = ["--group", "g", "--to", "latest"];
        let one = marked(machine, "one", &changes[0]);
        machine.mtctl(&["apply", &one, "--group", "g", "--target", &old]).exits(0);
        let (stale_copy, stale) = (fs::read(&old).unwrap(), digest(&point, "stale.digest"));
        let two = marked(machine, "two", &changes[1]);
        machine.mtctl(&["apply", &two, "--group", "g"]).exits(0);
        let (of_point, of_disk) =
            (digest(&point, "of-point.digest"), digest(&[&old], "disk.digest"));
        let new = image(machine, "new.img", &fs::read(&old).unwrap());
        let stale_copy = image(machine, "stale.img", &stale_copy);
        fs::remove_file(&old).unwrap();
        retarget(machine, &new, &["--yes"]).exits(4).says("--digest FILE");
        // An earlier copy with the earlier digest: the copy matches the digest, but not the later
        // contents.
        retarget(machine, &stale_copy, &["--yes", "--digest", &stale])
            .exits(4)
            .says("the disk was at point 2");
        retarget(machine, &new, &["--yes", "--digest", &of_disk]).exits(4);
        retarget(machine, &stale_copy, &["--yes", "--digest", &of_point]).exits(5);
        retarget(machine, &new, &["--yes", "--digest", &of_point]).exits(0);
        machine.mtctl(&["rollback", "--group", "g", "--to", "one", "--yes"]).exits(0);
        holds(&new, &fs::read(&stale_copy).unwrap());
        // After the rollback it is at a point again.
        let at_one = digest(&["--group", "g", "--to", "one"], "one.digest");
        let again = image(machine, "again.img", &fs::read(&new).unwrap());
        fs::remove_file(&new).unwrap();
        retarget(machine, &again, &["--yes", "--digest", &at_one]).exits(0);
        machine.mtctl(&["rollback", "--group", "g", "--to", "two", "--yes"]).exits(0);
    });
}

#[test]
fn an_old_disk_that_somebody_else_wrote_proves_nothing() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        let old = image(machine, "old.img", &[0; MIB as usize]);
        let change = Change::data(4096, vec![1; 8192]);
        let one = marked(machine, "one", &change);
        machine.mtctl(&["apply", &one, "--group", "g", "--target", &old]).exits(0);
        let new = image(machine, "new.img", &fs::read(&old).unwrap());
        // Somebody wrote to the old disk: its contents are not what a rollback needs.
        fs::write(&old, vec![9; MIB as usize]).unwrap();
        fs::copy(&old, &new).unwrap();
        let refused = retarget(machine, &new, &["--yes"]);
        refused.exits(4).says("does not hold what the group left").says("--digest FILE");
        // The verb has no such option.
        refused.does_not_say("--accept-target");
    });
}

#[test]
fn a_digest_of_another_volume_at_the_same_point_proves_nothing() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        let [db, log] = ["db", "log"].map(|name| image(machine, name, &[0; MIB as usize]));
        let change = Change::data(4096, vec![1; 8192]);
        let parts = [Part::Change(0, &change), Part::Mark(MarkKind::CrashConsistent, "one")];
        let volumes = vec![volume("db", MIB, "", ""), volume("log", MIB, "", "")];
        let one = stream(machine, "one", volumes, &parts);
        let maps = [format!("db={db}"), format!("log={log}")];
        let to = ["--map", &maps[0], "--map", &maps[1]];
        machine.mtctl(&[&["apply", &one, "--group", "g"], &to[..]].concat()).exits(0);
        let digest = |name: &str| {
            let output = machine.file(&format!("{name}.digest")).display().to_string();
            let words = ["digest", "--group", "g", "--to", "one", "--volume", name, "--output"];
            machine.mtctl(&[&words[..], &[&output]].concat()).exits(0);
            output
        };
        let (of_db, of_log) = (digest("db"), digest("log"));
        // A copy of the wrong disk.
        let new = image(machine, "new", &fs::read(&db).unwrap());
        fs::remove_file(&log).unwrap();
        let map = format!("log={new}");
        let words = ["group", "retarget", "--group", "g", "--map", &map, "--yes", "--digest"];
        let of_another = machine.mtctl(&[&words[..], &[&of_db]].concat());
        of_another.exits(4).says("volume \"log\" of group g");
        machine.mtctl(&[&words[..], &[&of_log]].concat()).exits(5);
    });
}
