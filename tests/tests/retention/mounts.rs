//! Where a history may be kept: on a mounted volume, which is not the disk that is written.

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
        apply(&[]).exits(0).does_not_say("warning: nothing is mounted");
        assert_eq!(points(machine).len(), 1);
    });
}

/// As after a boot that did not find it, or whose check refused it: fstab says nofail.
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
        // An image file on the volume that keeps its history would fill it with itself; the file
        // behind the volume would destroy it.
        run_on(retention.file().to_str().unwrap()).exits(4);
        assert_eq!(run("blkid", &["-o", "value", "-s", "UUID", retention.path()]), before);
    });
}
