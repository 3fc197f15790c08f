//! Volumes that their streams do not name: they are named when applied, converted and merged, so
//! that several of them form one group.

use std::fs;
use std::io::Read;
use std::path::Path;

use blockio::stream::rbd_diff::Version;
use mt_tests::change_stream::{Change, rbd_diff, volume};
use mt_tests::program::shell;
use mt_tests::scratch_machine::{ScratchMachine, on_a_scratch_machine};

use crate::{MIB, blank, holds, image, retention};

/// An image from a real Ceph at its two snapshots: tests/data/rbd/README.md.
const FS_BYTES: u64 = 256 * MIB;
const FS_AT_S1: &str = "d0827fea3e8b16eedcda1d6c2186f7f1c40e02fb210cfc310fae0e74ddce655a";
const FS_AT_S2: &str = "ea27b5b38ec04bd89bf30ee63b53fe3a00e378103945b6b8fbcf1b7c3fe28a90";

/// Unpacks a diff made by a real Ceph, and returns its path.
fn of_ceph(machine: &ScratchMachine, name: &str) -> String {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/rbd").join(name);
    let mut diff = Vec::new();
    let packed = fs::File::open(data).unwrap();
    liblzma::read::XzDecoder::new(packed).read_to_end(&mut diff).unwrap();
    image(machine, name.trim_end_matches(".xz"), &diff)
}

#[track_caller]
fn has_sha256(file: &str, expected: &str) {
    let found = shell(&format!("sha256sum {file}"));
    assert_eq!(found.split_whitespace().next(), Some(expected), "{file}");
}

#[test]
fn two_disks_of_a_ceph_come_home_with_common_points() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 256);
        let (db, log) = (blank(machine, "db", FS_BYTES), blank(machine, "log", MIB));
        let changes = [1, 2].map(|fill| [Change::data(8192 * u64::from(fill), vec![fill; 8192])]);
        let diff = |name: &str, from, to, change: &[Change]| {
            let bytes = rbd_diff(Version::V1, &volume("", MIB, from, to), change);
            image(machine, name, &bytes)
        };
        let first = [
            format!("db={}", of_ceph(machine, "fs.0-s1.rbddiff.xz")),
            format!("log={}", diff("log.0-s1", "", "s1", &changes[0])),
        ];
        let second = [
            format!("db={}", of_ceph(machine, "fs.s1-s2.rbddiff.xz")),
            format!("log={}", diff("log.s1-s2", "s1", "s2", &changes[1])),
        ];
        let merge = |parts: &[String; 2], name: &str| {
            let output = machine.file(name).display().to_string();
            let words = ["stream", "merge", &parts[0], &parts[1], "--output", &output];
            machine.mtctl(&words).exits(0).says("1 mark");
            output
        };
        let (s1, s2) = (merge(&first, "s1.mts"), merge(&second, "s2.mts"));
        let maps = [format!("db={db}"), format!("log={log}")];
        let create = ["group", "create", "--group", "g", "--map", &maps[0], "--map", &maps[1]];
        machine.mtctl(&create).exits(0);
        // The second one first: each volume knows where it has to begin.
        machine.mtctl(&["apply", &s1, "--group", "g"]).exits(0);
        let skipped = [second[0].clone(), format!("log={}", diff("gap", "s2", "s3", &[]))];
        let words = ["stream", "merge", &skipped[0], &skipped[1], "--mark", "x", "--output"];
        let gap = machine.file("gap.mts").display().to_string();
        machine.mtctl(&[&words[..], &[&gap]].concat()).exits(0);
        let refused = machine.mtctl(&["apply", &gap, "--group", "g"]);
        refused.exits(4).says("begins at \"s2\"").says("is at \"s1\"");
        machine.mtctl(&["apply", &s2, "--group", "g"]).exits(0);
        has_sha256(&db, FS_AT_S2);
        let mut expected = vec![0; MIB as usize];
        changes.iter().flatten().for_each(|change| change.apply(&mut expected));
        holds(&log, &expected);
        machine.mtctl(&["rollback", "--group", "g", "--to", "s1", "--yes"]).exits(0);
        has_sha256(&db, FS_AT_S1);
        let mut expected = vec![0; MIB as usize];
        changes[0][0].apply(&mut expected);
        holds(&log, &expected);
        machine.mtctl(&["rollback", "--group", "g", "--to", "s2", "--yes"]).exits(0);
        has_sha256(&db, FS_AT_S2);
    });
}

#[test]
fn what_is_said_of_an_image_without_a_name_can_be_typed_as_it_is() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        let target = blank(machine, "log.img", MIB);
        let create = format!("log={target}");
        machine.mtctl(&["group", "create", "--group", "g", "--map", &create]).exits(0);
        let raw = image(machine, "raw", &vec![5; MIB as usize]);
        let apply = |more: &[&str]| {
            let words = ["apply", &raw, "--format", "raw", "--group", "g"];
            machine.mtctl(&[&words[..], more].concat())
        };
        apply(&[]).exits(2).says("hint: name its volume: --volume NAME, one of log");
        let typed = ["--target", &target];
        apply(&typed).exits(4).says("as volume \"log\"").says("--volume log --target DEVICE");
        apply(&[&["--volume", "log"][..], &typed].concat()).exits(0);
        apply(&["--volume", "log"]).exits(0);
        holds(&target, &vec![5; MIB as usize]);
    });
}

/// --force names one file, by an operator who may not know that it is the disk of a group.
#[test]
fn the_disk_of_a_group_is_not_replaced_by_a_stream_though_that_is_forced() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        let [kept, apart] = ["kept.img", "apart.img"].map(|name| blank(machine, name, MIB));
        let state = machine.file("state").display().to_string();
        let here: &[&str] = &[];
        let elsewhere = ["--retention", "none", "--state-dir", &state];
        for (group, disk, more) in [("g", &kept, here), ("h", &apart, &elsewhere[..])] {
            let create = ["group", "create", "--group", group, "--target", disk];
            machine.mtctl(&[&create[..], more].concat()).exits(0);
            let raw = image(machine, "raw", &vec![5; MIB as usize]);
            let convert = ["stream", "convert", &raw, "--format", "raw", "--to", "native"];
            let onto = ["--output", disk, "--force", disk];
            let refused = machine.mtctl(&[&convert[..], &onto].concat());
            refused.exits(4).says("belongs to group");
            let input = format!("db={raw}");
            let merge = ["stream", "merge", &input, "--format", "raw", "--mark", "m"];
            machine.mtctl(&[&merge[..], &onto].concat()).exits(4).says("belongs to group");
            holds(disk, &vec![0; MIB as usize]);
        }
    });
}

#[test]
fn a_volume_is_named_where_its_diff_is_applied_and_known_by_that_name() {
    on_a_scratch_machine(|machine| {
        let _retention = retention(machine, 64);
        let [db, log] = ["db.img", "log.img"].map(|name| blank(machine, name, MIB));
        let change = Change::data(4096, vec![7; 4096]);
        let diff = |name: &str, from, to| {
            let bytes =
                rbd_diff(Version::V1, &volume("", MIB, from, to), std::slice::from_ref(&change));
            image(machine, name, &bytes)
        };
        let (one, two) = (diff("one", "", "s1"), diff("two", "s1", "s2"));
        let apply = |stream: &str, volume: &str, more: &[&str]| {
            let words = ["apply", stream, "--group", "g", "--volume", volume];
            machine.mtctl(&[&words[..], more].concat())
        };
        apply(&one, "db", &["--target", &db]).exits(0);
        apply(&one, "log", &[]).exits(2).says("does not have volume \"log\"");
        apply(&one, "log", &["--target", &log]).exits(0);
        let shown = machine.mtctl(&["group", "show", "--group", "g", "--json"]).exits(0).json();
        let volumes = shown["disks"].as_array().unwrap().iter().map(|disk| &disk["volume"]);
        assert_eq!(volumes.collect::<Vec<_>>(), ["db", "log"]);
        apply(&two, "db", &[]).exits(0);
        apply(&two, "db", &["--target", &log]).exits(4);
        // Each volume has a chain of its own.
        let three = diff("three", "s2", "s3");
        apply(&three, "log", &[]).exits(4).says("is at \"s1\"");
        apply(&three, "db", &[]).exits(0);
        let native = machine.file("native.mts").display().to_string();
        let words = ["stream", "convert", &three, "--volume", "db", "--to", "native"];
        machine.mtctl(&[&words[..], &["--output", &native]].concat()).exits(0);
        apply(&native, "log", &[]).exits(2).says("the stream calls it \"db\"");
    });
}
