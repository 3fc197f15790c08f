//! Requests that cannot be carried out, and who may make them: the lock, the user, the arguments.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use mt_tests::program::{command, finish, mtctl};
use mt_tests::scratch_machine::on_a_scratch_machine;
use nix::fcntl::{Flock, FlockArg};

use crate::{is_the_retention_volume, untouched};

#[test]
fn a_second_run_is_refused_while_the_first_holds_the_lock() {
    on_a_scratch_machine(|machine| {
        let disk = machine.disk("disk", 64);
        let before = disk.sha256();
        let file = fs::File::create("/var/lib/mtctl/prepare.lock").unwrap();
        let first = Flock::lock(file, FlockArg::LockExclusiveNonblock).unwrap();
        for more in [&["--yes"][..], &["--dry-run"]] {
            let refused = machine.prepare(disk.path(), more);
            refused.exits(4).says("another mtctl prepare is running").says("fuser -v");
            untouched(machine, &disk, &before);
        }
        drop(first);
        machine.prepare(disk.path(), &["--yes"]).exits(0);
        is_the_retention_volume(machine, &disk, "ext4");
    });
}

#[test]
fn somebody_who_only_looks_holds_off_the_one_who_would_change() {
    on_a_scratch_machine(|machine| {
        let disk = machine.disk("disk", 64);
        let before = disk.sha256();
        let file = fs::File::create("/var/lib/mtctl/prepare.lock").unwrap();
        let looking = Flock::lock(file, FlockArg::LockSharedNonblock).unwrap();
        machine.prepare(disk.path(), &["--dry-run"]).exits(3);
        machine.prepare(disk.path(), &["--yes"]).exits(4);
        untouched(machine, &disk, &before);
        drop(looking);
    });
}

#[test]
fn without_root_it_is_refused_and_nothing_is_touched() {
    on_a_scratch_machine(|machine| {
        let disk = machine.disk("disk", 64);
        let before = disk.sha256();
        // In a place where this user can run it: the build directory may be closed to others.
        let program = machine.file("mtctl");
        fs::copy(mtctl(), &program).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
        let prepare = ["prepare", "--only", "retention", "--retention-disk", disk.path()];
        for more in [&["--yes"][..], &["--destroy", disk.path(), "--yes"], &["--dry-run"]] {
            let mut run = command("setpriv", &nobody);
            run.arg(&program).args(prepare).args(more);
            finish(&mut run).exits(4).says("root");
            untouched(machine, &disk, &before);
            assert_eq!(fs::read_dir("/var/lib/mtctl").unwrap().count(), 0);
        }
    });
}

#[test]
fn usage_errors_exit_2_and_touch_nothing() {
    on_a_scratch_machine(|machine| {
        let disk = machine.disk("disk", 64);
        let before = disk.sha256();
        let path = disk.path();
        let file = disk.file().to_str().unwrap();
        let retention = ["--only", "retention"];
        let rows: [(&[&str], &str); 13] = [
            (&["--only", "retentoin", "--retention-disk", path], "retentoin"),
            (&["--skip", "everything", "--retention-disk", path], "everything"),
            (&["--retention-disk", path, "--retention-mount", "mnt/retention"], "mnt/retention"),
            (&["--retention-disk", path, "--retention-mount", "/"], "--retention-mount"),
            (&["--retention-disk", path, "--retention-mount", "/mnt/../etc"], "'..'"),
            (&["--destroy", path], "--retention-disk"),
            (&["--retention-disk", "naa.60"], "naa.60"),
            (&["--retention-disk", "sdb"], "sdb"),
            (&["--retention-disk", path, "--destroy", "loop0"], "loop0"),
            (&["--retention-disk", file], "is not a block device"),
            (&["--retention-disk", "/dev/null"], "is not a block device"),
            (&["--retention-disk", "/dev/no-such-disk"], "there is no /dev/no-such-disk"),
            (&["--retention-disk", path, "--filesystem", "btrfs"], "btrfs"),
        ];
        for (words, said) in rows {
            let only = if words[0].starts_with("--retention") { &retention[..] } else { &[] };
            let arguments = [&["prepare", "--yes"], only, words].concat();
            machine.mtctl(&arguments).exits(2).says(said);
            untouched(machine, &disk, &before);
            assert!(!fs::exists("/var/lib/mtctl/provisioning.json").unwrap(), "{arguments:?}");
        }
        let both = ["--yes", "--dry-run"];
        machine.prepare(path, &both).exits(2);
        untouched(machine, &disk, &before);
    });
}

#[test]
fn a_wwid_that_no_disk_has_is_refused() {
    on_a_scratch_machine(|machine| {
        let disk = machine.disk("disk", 64);
        let before = disk.sha256();
        let wwid = "naa.6000c29000000000000000000000dead";
        machine.prepare(wwid, &["--yes"]).exits(4).says("no disk has the WWID");
        machine.prepare(disk.path(), &["--destroy", wwid, "--yes"]).exits(4).says("no disk has");
        untouched(machine, &disk, &before);
    });
}

#[test]
fn a_configuration_with_an_unknown_key_is_a_usage_error() {
    on_a_scratch_machine(|machine| {
        let disk = machine.disk("disk", 64);
        let before = disk.sha256();
        fs::create_dir("/etc/mtctl").unwrap();
        let text = format!("[prepare]\ndestroy = \"{}\"\n", disk.path());
        fs::write("/etc/mtctl/mtctl.toml", text).unwrap();
        machine.prepare(disk.path(), &["--yes"]).exits(2).says("destroy");
        untouched(machine, &disk, &before);
    });
}
