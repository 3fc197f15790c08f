//! The disk changes after the plan was made and before it is carried out: refused, and the new
//! contents stay.

use mt_tests::loop_device::LoopDevice;
use mt_tests::program::{command, mtctl, run};
use mt_tests::scratch_machine::{ScratchMachine, on_a_scratch_machine};
use mt_tests::terminal::Terminal;

use crate::{is_the_retention_volume, scripted, untouched};

/// Asserts that a plan for `disk` is refused if `meanwhile` runs in between, and that what it wrote
/// stays.
#[track_caller]
fn is_refused(machine: &ScratchMachine, disk: &LoopDevice, destroy: &[&str], meanwhile: &str) {
    let copy = machine.file("as-changed");
    let (path, file) = (disk.path(), disk.file().display());
    let save = format!("blockdev --flushbufs {path}; cp --sparse=always {file}");
    let script = format!("{meanwhile}; {save} {}", copy.display());
    let arguments = [destroy, &["meanwhile", &script]].concat();
    let refused = scripted(disk.path(), "ext4", &arguments);
    refused.exits(4).says("changed since the plan was made");
    refused.does_not_say("reached:");
    run("blockdev", &["--flushbufs", disk.path()]);
    let (disk_file, copy) = (disk.file().to_str().unwrap(), copy.to_str().unwrap());
    run("cmp", &[disk_file, copy]);
    assert_eq!(machine.mounted_at("/mnt/retention"), None);
}

#[test]
fn another_size_is_refused() {
    for bytes in ["96M", "80M"] {
        for destroy in [&[][..], &["destroy"][..]] {
            on_a_scratch_machine(|machine| {
                let disk = machine.disk("disk", 88);
                if !destroy.is_empty() {
                    run("mkfs.ext4", &["-q", disk.path(), "32M"]);
                }
                let (file, path) = (disk.file().display(), disk.path());
                let change = format!("truncate -s {bytes} {file}; losetup -c {path}");
                is_refused(machine, &disk, destroy, &change);
            });
        }
    }
}

#[test]
fn another_disk_under_the_same_name_is_refused_even_when_it_is_blank() {
    for make in [":", "mkfs.ext4 -q"] {
        on_a_scratch_machine(|machine| {
            let disk = machine.disk("planned", 64);
            let other = machine.file("other");
            let (path, other) = (disk.path(), other.display());
            let change = format!(
                "losetup -d {path}; truncate -s 64M {other}; {make} {other}; losetup {path} {other}"
            );
            let refused = scripted(path, "ext4", &["meanwhile", &change]);
            refused.exits(4).says("changed since the plan was made").does_not_say("reached:");
            let foreign = LoopDevice::attached(path, &machine.file("other"));
            let expected = if make == ":" { "" } else { "ext4" };
            assert_eq!(crate::tag(&foreign, "TYPE"), expected);
            assert_eq!(machine.mounted_at("/mnt/retention"), None);
        });
    }
}

#[test]
fn the_same_disk_attached_again_is_refused() {
    on_a_scratch_machine(|machine| {
        let disk = machine.disk("disk", 64);
        let (path, file) = (disk.path(), disk.file().display());
        let change = format!("losetup -d {path}; losetup {path} {file}");
        is_refused(machine, &disk, &[], &change);
    });
}

#[test]
fn bytes_written_to_a_blank_disk_are_refused() {
    for offset in [0, 1 << 20, (64 << 20) - 1] {
        on_a_scratch_machine(|machine| {
            let disk = machine.disk("disk", 64);
            let change = format!(
                "printf x | dd of={} bs=1 seek={offset} conv=notrunc status=none",
                disk.path()
            );
            is_refused_or_not_blank(machine, &disk, &change);
        });
    }
}

/// Either of two guards may report it first.
#[track_caller]
fn is_refused_or_not_blank(machine: &ScratchMachine, disk: &LoopDevice, change: &str) {
    let refused = scripted(disk.path(), "ext4", &["meanwhile", change]);
    refused.exits(4).says("not blank").does_not_say("reached:");
    let count = mt_tests::program::shell(&format!("tr -d '\\0' <{} | wc -c", disk.path()));
    assert_eq!(count.trim(), "1", "the foreign byte and nothing else");
    assert_eq!(machine.mounted_at("/mnt/retention"), None);
}

#[test]
fn a_filesystem_made_meanwhile_is_refused_also_when_another_was_to_be_destroyed() {
    on_a_scratch_machine(|machine| {
        let blank = machine.disk("blank", 64);
        is_refused(machine, &blank, &[], &format!("mkfs.ext4 -q {}", blank.path()));
    });
    on_a_scratch_machine(|machine| {
        let disk = machine.disk("agreed", 64);
        run("mkfs.ext4", &["-q", disk.path()]);
        is_refused(machine, &disk, &["destroy"], &format!("mkfs.ext4 -q -F {}", disk.path()));
    });
    on_a_scratch_machine(|machine| {
        let disk = machine.disk("agreed", 64);
        run("mkswap", &[disk.path()]);
        is_refused(machine, &disk, &["destroy"], &format!("mkfs.ext4 -q -F {}", disk.path()));
    });
}

#[test]
fn another_partition_table_than_the_one_agreed_to_is_refused() {
    on_a_scratch_machine(|machine| {
        let disk = machine.disk("agreed", 64);
        run("sgdisk", &["--new", "1:2048:+10M", disk.path()]);
        let change = format!("sgdisk --zap-all {0}; sgdisk --new 1:4096:+20M {0}", disk.path());
        is_refused(machine, &disk, &["destroy"], &change);
    });
}

#[test]
fn fstab_edited_meanwhile_is_not_overwritten() {
    on_a_scratch_machine(|machine| {
        let disk = machine.disk("disk", 64);
        let row = "tmpfs /scratch tmpfs defaults 0 0";
        let meanwhile = format!("echo '{row}' >>/etc/fstab");
        let refused = scripted(disk.path(), "ext4", &["meanwhile", &meanwhile]);
        // The disk has been formatted by then: 4 would promise that nothing was touched.
        refused.exits(1).says("/etc/fstab changed since the plan was made");
        assert!(machine.fstab().ends_with(&format!("{row}\n")), "{}", machine.fstab());
        assert!(!machine.fstab().contains("x-mtctl"));
        machine.prepare(disk.path(), &["--yes"]).exits(0);
        assert!(machine.fstab().contains(row));
    });
}

/// `mtctl prepare` on a terminal, waiting for the answer.
fn asking(disk: &LoopDevice) -> Terminal {
    let arguments = ["prepare", "--only", "retention", "--retention-disk", disk.path()];
    let mut terminal = Terminal::start(&mut command(mtctl(), &arguments));
    terminal.wait_for("Type yes: ");
    terminal
}

#[test]
fn on_a_terminal_yes_does_it() {
    on_a_scratch_machine(|machine| {
        let disk = machine.disk("disk", 64);
        let mut terminal = asking(&disk);
        terminal.answer("yes");
        let (code, said) = terminal.finish();
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("1 changed"), "{said}");
        is_the_retention_volume(machine, &disk, "ext4");
    });
}

#[test]
fn on_a_terminal_anything_but_yes_touches_nothing() {
    for answer in ["no", "", "y", "yes please"] {
        on_a_scratch_machine(|machine| {
            let disk = machine.disk("disk", 64);
            let before = disk.sha256();
            let mut terminal = asking(&disk);
            terminal.answer(answer);
            let (code, said) = terminal.finish();
            assert_eq!(code, Some(4), "{answer:?}: {said}");
            assert!(said.contains("nothing was done"), "{answer:?}: {said}");
            untouched(machine, &disk, &before);
        });
    }
}

#[test]
fn a_disk_that_changes_while_the_operator_thinks_is_refused() {
    on_a_scratch_machine(|machine| {
        let disk = machine.disk("disk", 64);
        let mut terminal = asking(&disk);
        run("mkfs.ext4", &["-q", disk.path()]);
        let before = disk.sha256();
        terminal.answer("yes");
        let (code, said) = terminal.finish();
        assert_eq!(code, Some(4), "{said}");
        assert!(said.contains("changed since the plan was made"), "{said}");
        untouched(machine, &disk, &before);
    });
}
