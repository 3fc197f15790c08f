//! Where a history may be kept: on a mounted volume that is not the disk being written.

use std::fs;

use mt_tests::change_stream::{Change, native, volume};
use mt_tests::program::run;
use mt_tests::scratch_machine::{ScratchMachine, on_a_scratch_machine};

use crate::{MIB, blank, image, points, retention};

fn one_stream(machine: &ScratchMachine) -> String {
    let stream = native(volume("", MIB, "", ""), &[Change::data(0, vec![7; 4096])]);
    image(machine, "s.mts", &stream)
}

#[test]
fn a_directory_that_is_no_mount_point_is_refused_unless_it_is_said() {
    on_a_scratch_machine(|machine| {
        let (stream, target) = (one_stream(machine), blank(machine, "target.img", MIB));
        fs::create_dir("/mnt/directory").unwrap();
        let at = ["--retention", "/mnt/directory"];
        let arguments =
            [&["apply", &stream, "--group", "g", "--target", &target][..], &at].concat();
        machine.mtctl(&arguments).exits(4).says("nothing is mounted on /mnt/directory");
        assert_eq!(fs::read_dir("/mnt/directory").unwrap().count(), 0);
        assert_eq!(fs::read(&target).unwrap(), vec![0; MIB as usize]);
        machine.mtctl(&[&arguments[..], &["--retention-unmounted"]].concat()).exits(0);
        assert!(fs::exists("/mnt/directory/g/segment-0000000000000001").unwrap());
        let list = [&["points", "list", "--group", "g"][..], &at].concat();
        machine.mtctl(&list).exits(4);
        machine.mtctl(&[&list[..], &["--retention-unmounted"]].concat()).exits(0);
        let missing = ["--retention", "/mnt/missing"];
        machine.mtctl(&[&arguments[..6], &missing].concat()).exits(2);
    });
}

#[test]
fn the_retention_volume_is_used_where_it_is_mounted_by_default_else_there_is_a_warning() {
    on_a_scratch_machine(|machine| {
        let (stream, target) = (one_stream(machine), blank(machine, "target.img", MIB));
        let apply = |more: &[&str]| {
            let arguments = ["apply", &stream, "--group", "g", "--target", &target];
            machine.mtctl(&[&arguments[..], more].concat())
        };
        fs::create_dir_all("/mnt/retention").unwrap();
        apply(&[]).exits(0).says("warning: nothing is mounted on /mnt/retention");
        assert_eq!(fs::read_dir("/mnt/retention").unwrap().count(), 0);
        apply(&["--retention", "none"]).exits(0).does_not_say("warning: nothing is mounted");
        let _retention = retention(machine, 64);
        // The group at that place knows what was applied without history.
        apply(&[]).exits(4).says("in two places").says("--retention none");
        let release = ["group", "release", "--group", "g", "--retention", "none", "--yes"];
        machine.mtctl(&release).exits(0);
        apply(&[]).exits(0).does_not_say("warning: nothing is mounted");
        assert_eq!(points(machine).len(), 1);
    });
}

/// As after a boot that did not find the volume, or whose check refused it: fstab has nofail.
#[test]
fn a_retention_volume_that_should_be_mounted_is_not_done_without_unless_it_is_said() {
    on_a_scratch_machine(|machine| {
        let (stream, target) = (one_stream(machine), blank(machine, "target.img", MIB));
        let row = "UUID=11-22 /mnt/retention ext4 defaults,nofail,x-mtctl 0 2\n";
        fs::write("/etc/fstab", row).unwrap();
        let apply = ["apply", &stream, "--group", "g", "--target", &target];
        for arguments in [&apply[..], &["points", "list", "--group", "g"]] {
            machine.mtctl(arguments).exits(4).says("fstab has is not mounted on /mnt/retention");
        }
        assert_eq!(fs::read(&target).unwrap(), vec![0; MIB as usize]);
        machine.mtctl(&[&apply[..], &["--retention", "none"]].concat()).exits(0);
    });
}

#[test]
fn a_retention_volume_on_the_target_is_refused() {
    on_a_scratch_machine(|machine| {
        let retention = retention(machine, 64);
        let before = run("blkid", &["-o", "value", "-s", "UUID", retention.path()]);
        let stream = native(volume("", 64 * MIB, "", ""), &[Change::data(0, vec![7; 4096])]);
        let stream = image(machine, "s.mts", &stream);
        let run_on =
            |target: &str| machine.mtctl(&["apply", &stream, "--group", "g", "--target", target]);
        run_on(retention.path()).exits(4);
        assert_eq!(run("blkid", &["-o", "value", "-s", "UUID", retention.path()]), before);
        // An image file on the volume that keeps its history would fill the volume with itself; the
        // file behind the volume would destroy it.
        run_on(retention.file().to_str().unwrap()).exits(4);
        assert_eq!(run("blkid", &["-o", "value", "-s", "UUID", retention.path()]), before);
    });
}

/// A host that was prepared with another mount point than the default.
const ELSEWHERE: &str = "/mnt/keep";

fn prepared_elsewhere(machine: &ScratchMachine) -> mt_tests::loop_device::LoopDevice {
    let disk = machine.disk("keep.img", 64);
    machine.prepare(disk.path(), &["--retention-mount", ELSEWHERE, "--yes"]).exits(0);
    assert_eq!(machine.mounted_at(ELSEWHERE).as_deref(), Some(disk.path()));
    disk
}

/// Every verb that works with a group, on group g: the words, and the exit code on success.
fn verbs(stream: &str, target: &str) -> Vec<Vec<String>> {
    let rows: [&[&str]; 13] = [
        &["apply", stream, "--group", "g", "--target", target],
        &["points", "list", "--group", "g"],
        &["points", "create", "--group", "g", "--name", "by-hand"],
        &["points", "show", "latest", "--group", "g"],
        &["points", "pin", "latest", "--group", "g"],
        &["points", "unpin", "latest", "--group", "g"],
        &["journal", "check", "--group", "g"],
        &["journal", "dump", "--group", "g"],
        &["digest", "--group", "g", "--to", "latest"],
        &["verify", "--group", "g", "--to", "latest", "--against", target],
        &["rollback", "--group", "g", "--to", "latest", "--yes"],
        &["recover", "--group", "g"],
        &["commit", "--group", "g", "--yes"],
    ];
    rows.iter().map(|row| row.iter().map(|word| (*word).to_owned()).collect()).collect()
}

fn ways(machine: &ScratchMachine, story: impl Fn(&dyn Fn(&[&str]) -> mt_tests::program::Run)) {
    let row = fs::read_to_string("/etc/fstab").unwrap();
    let program = mt_tests::program::mtctl();
    let plain = |arguments: &[&str]| machine.mtctl(arguments);
    // By the row that prepare wrote.
    story(&plain);
    // Without the row: by the option, by the environment, by the file.
    fs::write("/etc/fstab", row.replace("x-mtctl", "noauto")).unwrap();
    story(&|arguments| {
        let flag = ["--retention-mount", ELSEWHERE];
        machine.mtctl(&[arguments, &flag].concat())
    });
    story(&|arguments| {
        let mut command = mt_tests::program::command(program, arguments);
        mt_tests::program::finish(command.env("MTCTL_RETENTION_MOUNT", ELSEWHERE))
    });
    fs::create_dir_all("/etc/mtctl").unwrap();
    let configured = format!("[prepare]\nretention_mount = \"{ELSEWHERE}\"\n");
    fs::write("/etc/mtctl/mtctl.toml", configured).unwrap();
    story(&plain);
    fs::remove_file("/etc/mtctl/mtctl.toml").unwrap();
    fs::write("/etc/fstab", row).unwrap();
}

#[test]
fn every_verb_finds_the_volume_of_a_host_that_was_prepared_elsewhere() {
    on_a_scratch_machine(|machine| {
        let _disk = prepared_elsewhere(machine);
        ways(machine, |mtctl| {
            let target = blank(machine, "target.img", MIB);
            let stream = one_stream(machine);
            for verb in verbs(&stream, &target) {
                let words: Vec<&str> = verb.iter().map(String::as_str).collect();
                let ran = mtctl(&words);
                ran.exits(0).does_not_say("warning: nothing is mounted");
            }
            assert!(!fs::exists("/var/lib/mtctl/groups/g").unwrap());
            fs::remove_dir_all(format!("{ELSEWHERE}/g")).unwrap();
        });
        // `prepare` and `check` also look there, and move nothing.
        machine.mtctl(&["prepare", "--only", "retention", "--yes"]).exits(0).says("0 changed");
        assert_eq!(machine.mounted_at("/mnt/retention"), None);
    });
}

#[test]
fn no_verb_goes_on_without_the_volume_of_a_host_that_was_prepared_elsewhere() {
    on_a_scratch_machine(|machine| {
        let _disk = prepared_elsewhere(machine);
        run("umount", &[ELSEWHERE]);
        let (stream, target) = (one_stream(machine), blank(machine, "target.img", MIB));
        let export = ["export", "--group", "g", "--to", "latest", "--socket", "/run/g.sock"];
        ways(machine, |mtctl| {
            mtctl(&export).exits(4).says("is not mounted on /mnt/keep");
            for verb in verbs(&stream, &target) {
                let words: Vec<&str> = verb.iter().map(String::as_str).collect();
                mtctl(&words).exits(4).says("is not mounted on /mnt/keep").says("hint: ");
            }
            assert_eq!(fs::read(&target).unwrap(), vec![0; MIB as usize]);
            assert!(!fs::exists("/var/lib/mtctl/groups/g").unwrap());
        });
        // Row and configuration are gone, but the record says that there is a volume.
        fs::write("/etc/fstab", "").unwrap();
        for verb in verbs(&stream, &target) {
            let words: Vec<&str> = verb.iter().map(String::as_str).collect();
            machine.mtctl(&words).exits(4).says("provisioning.json has is not mounted");
        }
        assert_eq!(fs::read(&target).unwrap(), vec![0; MIB as usize]);
        // An operator who says explicitly what is wanted is obeyed.
        let none = ["--retention", "none"];
        let apply = ["apply", &stream, "--group", "g", "--target", &target];
        machine.mtctl(&[&apply[..], &none].concat()).exits(0);
    });
}

#[test]
fn another_filesystem_where_the_volume_belongs_is_not_taken_for_it() {
    on_a_scratch_machine(|machine| {
        let _disk = prepared_elsewhere(machine);
        let (stream, target) = (one_stream(machine), blank(machine, "target.img", MIB));
        run("umount", &[ELSEWHERE]);
        run("mount", &["-t", "tmpfs", "none", ELSEWHERE]);
        for verb in verbs(&stream, &target) {
            let words: Vec<&str> = verb.iter().map(String::as_str).collect();
            machine.mtctl(&words).exits(4).says("not the retention volume UUID=");
        }
        assert_eq!(fs::read(&target).unwrap(), vec![0; MIB as usize]);
        assert_eq!(fs::read_dir(ELSEWHERE).unwrap().count(), 0);
    });
}
