//! `prepare --root DIR`: the image is edited and the running host is not, whatever the image's
//! links say.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use mt_tests::program::{Run, run, shell};
use mt_tests::scratch_machine::{FSTAB, OS_RELEASE, ScratchMachine, on_a_scratch_machine};

use crate::tag;

/// An image with an fstab of its own.
fn image(machine: &ScratchMachine) -> PathBuf {
    let root = machine.file("image");
    fs::create_dir_all(root.join("etc")).unwrap();
    fs::write(root.join("etc/fstab"), "# of the image\n").unwrap();
    fs::write(root.join("etc/os-release"), OS_RELEASE).unwrap();
    root
}

#[track_caller]
fn prepare_image(machine: &ScratchMachine, root: &str, disk: &str, more: &[&str]) -> Run {
    machine.prepare(disk, &[&["--root", root], more].concat())
}

/// Every file of the running host that could be confused with one of the image, with its contents.
fn host() -> String {
    shell(
        "find /etc /var/lib/mtctl /mnt /run -printf '%p %M %s %l\\n' | sort
         find /etc /var/lib/mtctl -type f | sort | xargs -r sha256sum; cat /proc/self/mounts",
    )
}

#[test]
fn the_image_is_prepared_and_the_host_is_not() {
    on_a_scratch_machine(|machine| {
        let root = image(machine);
        let disk = machine.disk("disk", 64);
        let path = root.to_str().unwrap();
        let before = host();
        prepare_image(machine, path, disk.path(), &[]).exits(3);
        assert!(!root.join("var").exists(), "a dry run makes no directory");
        prepare_image(machine, path, disk.path(), &["--yes"]).exits(0).says("1 changed");
        assert_eq!(host(), before);
        let fstab = fs::read_to_string(root.join("etc/fstab")).unwrap();
        let row = format!("UUID={} /mnt/retention ext4 ", tag(&disk, "UUID"));
        assert!(fstab.starts_with(&format!("# of the image\n{row}")), "{fstab}");
        assert!(root.join("mnt/retention").is_dir());
        assert!(root.join("var/lib/mtctl/provisioning.json").exists());
        assert_eq!(machine.mounted_at("/mnt/retention"), None);
        run("e2fsck", &["-f", "-n", disk.path()]);
        let second = prepare_image(machine, path, disk.path(), &["--yes", "--json"]);
        assert_eq!(second.exits(0).json()["changed"], 0);
        assert_eq!(host(), before);
    });
}

#[test]
fn an_image_of_release_6_gets_a_filesystem_that_its_kernel_can_mount() {
    on_a_scratch_machine(|machine| {
        let root = image(machine);
        fs::remove_file(root.join("etc/os-release")).unwrap();
        fs::write(root.join("etc/redhat-release"), "CentOS release 6.10 (Final)\n").unwrap();
        let disk = machine.disk("disk", 304);
        let path = root.to_str().unwrap();
        let xfs = ["--filesystem", "xfs", "--yes"];
        prepare_image(machine, path, disk.path(), &xfs).exits(4).says("CentOS release 6.10");
        prepare_image(machine, path, disk.path(), &["--yes"]).exits(0);
        let features = run("dumpe2fs", &["-h", disk.path()]);
        let row = features.lines().find(|line| line.starts_with("Filesystem features:")).unwrap();
        for unknown in ["metadata_csum", "64bit", "orphan_file"] {
            assert!(!row.contains(unknown), "{row}");
        }
        let fstab = fs::read_to_string(root.join("etc/fstab")).unwrap();
        assert!(fstab.contains("comment=mtctl") && !fstab.contains("x-"), "{fstab}");
        run("e2fsck", &["-f", "-n", disk.path()]);
    });
}

/// Copies this host's program or file into the image.
fn copy_into(root: &std::path::Path, path: &str) {
    let place = root.join(path.trim_start_matches('/'));
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    fs::copy(path, place).unwrap();
}

fn ext4_features(disk: &str) -> String {
    let printed = run("dumpe2fs", &["-h", disk]);
    printed.lines().find(|line| line.starts_with("Filesystem features:")).unwrap().to_owned()
}

#[test]
fn the_oldest_kernel_in_an_image_decides_what_is_made_for_it() {
    on_a_scratch_machine(|machine| {
        let root = image(machine);
        for path in ["/usr/sbin/e2fsck", "/usr/sbin/xfs_repair", "/usr/bin/mount"] {
            copy_into(&root, path);
        }
        let path = root.to_str().unwrap();
        let kernel = |name: &str| fs::create_dir_all(root.join("lib/modules").join(name)).unwrap();
        kernel("6.1.0-25-amd64");
        let new = machine.disk("new", 300);
        prepare_image(machine, path, new.path(), &["--yes"]).exits(0);
        assert!(ext4_features(new.path()).contains("metadata_csum"));
        let fstab = fs::read_to_string(root.join("etc/fstab")).unwrap();
        assert!(fstab.contains("x-mtctl"), "its mount is built on libmount: {fstab}");

        fs::write(root.join("etc/fstab"), "").unwrap();
        fs::remove_dir_all(root.join("var/lib/mtctl")).unwrap();
        kernel("3.10.0-1160.el7.x86_64");
        fs::write(root.join("usr/bin/mount"), b"\x7fELF libblkid.so.1").unwrap();
        let old = machine.disk("old", 400);
        prepare_image(machine, path, old.path(), &["--yes"]).exits(0);
        let features = ext4_features(old.path());
        assert!(features.contains("64bit") && !features.contains("metadata_csum"), "{features}");
        let fstab = fs::read_to_string(root.join("etc/fstab")).unwrap();
        assert!(fstab.contains("comment=mtctl") && !fstab.contains("x-"), "{fstab}");

        fs::write(root.join("etc/fstab"), "").unwrap();
        fs::remove_dir_all(root.join("var/lib/mtctl")).unwrap();
        let xfs = machine.disk("xfs", 400);
        prepare_image(machine, path, xfs.path(), &["--filesystem", "xfs", "--yes"]).exits(0);
        let printed = run("xfs_db", &["-r", "-c", "version", xfs.path()]);
        assert!(!printed.contains("REFLINK") && !printed.contains("FINOBT"), "{printed}");
    });
}

#[test]
fn a_version_that_is_a_number_of_another_kind_is_not_an_old_release() {
    on_a_scratch_machine(|machine| {
        let root = image(machine);
        for path in ["/usr/sbin/e2fsck", "/usr/sbin/xfs_repair"] {
            copy_into(&root, path);
        }
        fs::create_dir_all(root.join("lib/modules/6.1.112-122.189.amzn2023.x86_64")).unwrap();
        let path = root.to_str().unwrap();
        for (index, release) in [
            "ID=amzn\nID_LIKE=\"centos rhel fedora\"\nVERSION_ID=2\n",
            "ID=centos\nID_LIKE=\"rhel fedora\"\n",
            "ID=ol\nVERSION_ID=9.4\n",
        ]
        .iter()
        .enumerate()
        {
            fs::write(root.join("etc/os-release"), release).unwrap();
            fs::write(root.join("etc/fstab"), "").unwrap();
            let _ = fs::remove_dir_all(root.join("var/lib/mtctl"));
            let disk = machine.disk(&format!("disk{index}"), 64);
            prepare_image(machine, path, disk.path(), &["--yes"]).exits(0);
            assert!(ext4_features(disk.path()).contains("metadata_csum"), "{release}");
            let fstab = fs::read_to_string(root.join("etc/fstab")).unwrap();
            assert!(fstab.contains("x-mtctl"), "{release}: {fstab}");
        }
    });
}

#[test]
fn absolute_links_of_the_image_lead_back_into_the_image() {
    on_a_scratch_machine(|machine| {
        let root = image(machine);
        for directory in ["conf", "srv", "state"] {
            fs::create_dir(root.join(directory)).unwrap();
        }
        fs::rename(root.join("etc/fstab"), root.join("conf/fstab")).unwrap();
        symlink("/conf/fstab", root.join("etc/fstab")).unwrap();
        symlink("/srv", root.join("mnt")).unwrap();
        symlink("/../../../../state", root.join("var")).unwrap();
        let disk = machine.disk("disk", 64);
        let path = root.to_str().unwrap();
        let before = host();
        prepare_image(machine, path, disk.path(), &["--yes"]).exits(0);
        assert_eq!(host(), before);
        assert!(fs::symlink_metadata(root.join("etc/fstab")).unwrap().is_symlink());
        assert!(fs::read_to_string(root.join("conf/fstab")).unwrap().contains("x-mtctl"));
        assert!(root.join("srv/retention").is_dir());
        assert!(root.join("state/lib/mtctl/provisioning.json").exists());
        prepare_image(machine, path, disk.path(), &["--yes"]).exits(0).says("0 changed");
    });
}

#[test]
fn a_link_that_points_at_the_hosts_fstab_does_not_reach_it() {
    on_a_scratch_machine(|machine| {
        let root = image(machine);
        fs::remove_file(root.join("etc/fstab")).unwrap();
        symlink("/etc/fstab.real", root.join("etc/fstab")).unwrap();
        fs::write("/etc/fstab.real", "# the host's\n").unwrap();
        let disk = machine.disk("disk", 64);
        prepare_image(machine, root.to_str().unwrap(), disk.path(), &["--yes"]).exits(0);
        assert_eq!(fs::read_to_string("/etc/fstab.real").unwrap(), "# the host's\n");
        assert_eq!(machine.fstab(), FSTAB);
        assert!(fs::read_to_string(root.join("etc/fstab.real")).unwrap().contains("x-mtctl"));
    });
}

#[test]
fn the_guards_of_the_host_hold_for_an_image_too() {
    on_a_scratch_machine(|machine| {
        let root = image(machine);
        let path = root.to_str().unwrap();
        let disk = machine.disk("disk", 64);
        run("mkfs.ext4", &["-q", disk.path()]);
        shell(&format!("mkdir /mnt/used; mount -o ro {} /mnt/used", disk.path()));
        let before = disk.sha256();
        let destroy = ["--destroy", disk.path(), "--yes"];
        prepare_image(machine, path, disk.path(), &destroy).exits(4).says("mounted:/mnt/used");
        run("umount", &["/mnt/used"]);
        prepare_image(machine, path, disk.path(), &["--yes"]).exits(4).says("filesystem:ext4");
        assert_eq!(disk.sha256(), before);
        assert_eq!(fs::read_to_string(root.join("etc/fstab")).unwrap(), "# of the image\n");
    });
}

#[test]
fn a_root_that_is_no_directory_is_a_usage_error() {
    on_a_scratch_machine(|machine| {
        let disk = machine.disk("disk", 64);
        let before = disk.sha256();
        for root in ["/no/such/directory", "/etc/fstab"] {
            prepare_image(machine, root, disk.path(), &["--yes"]).exits(2).says(root);
        }
        crate::untouched(machine, &disk, &before);
    });
}
