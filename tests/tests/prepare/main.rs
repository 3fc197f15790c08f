//! `mtctl prepare` on real loop devices, each case on a machine of its own: what it makes, what it
//! refuses, and how it deals with its own accidents.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test code outside of test functions")]

mod accidents;
mod blank_disks;
mod changed_since_the_plan;
mod destruction;
mod full_disks;
mod group_targets;
mod growth;
mod images;
mod kept_content;
mod proven_blank;
mod refusals;
mod requests;
mod standing_licences;

use mt_tests::loop_device::LoopDevice;
use mt_tests::program::{Run, command, finish};
use mt_tests::scratch_machine::{FSTAB, ScratchMachine};

/// Asserts that nothing at all was done: every byte of `disk` and fstab are as before, and nothing
/// is mounted.
#[track_caller]
fn untouched(machine: &ScratchMachine, disk: &LoopDevice, sha256: &str) {
    assert_eq!(disk.sha256(), sha256, "the disk was written to");
    assert_eq!(machine.fstab(), FSTAB);
    assert_eq!(machine.mounted_at("/mnt/retention"), None);
}

/// Asserts that `disk` is mounted as the retention volume, with this filesystem, and that fstab has
/// the unchanged rows of others and one of ours.
#[track_caller]
fn is_the_retention_volume(machine: &ScratchMachine, disk: &LoopDevice, filesystem: &str) {
    assert_eq!(machine.mounted_at("/mnt/retention").as_deref(), Some(disk.path()));
    let tag = |name: &str| tag(disk, name);
    assert_eq!(tag("TYPE"), filesystem);
    let pass = if filesystem == "xfs" { 0 } else { 2 };
    let on_error = if filesystem == "ext4" { ",errors=remount-ro" } else { "" };
    let row = format!(
        "UUID={} /mnt/retention {filesystem} \
         defaults,nofail,x-systemd.device-timeout=90s,noatime{on_error},x-mtctl 0 {pass}\n",
        tag("UUID")
    );
    assert_eq!(machine.fstab(), format!("{FSTAB}{row}"));
}

/// A tag that blkid reads from the disk itself.
fn tag(disk: &LoopDevice, name: &str) -> String {
    let arguments = ["-p", "-o", "value", "-s", name, disk.path()];
    finish(&mut command("blkid", &arguments)).stdout.trim().to_owned()
}

/// Repeats `prepare --yes` on `disk`: the first run ends with a retention volume, and the next has
/// nothing to do.
#[track_caller]
fn converges(machine: &ScratchMachine, disk: &LoopDevice, filesystem: &str) {
    let again = ["--filesystem", filesystem, "--yes"];
    machine.prepare(disk.path(), &again).exits(0);
    is_the_retention_volume(machine, disk, filesystem);
    machine.prepare(disk.path(), &again).exits(0).says("Nothing to do: 0 changed");
    is_the_retention_volume(machine, disk, filesystem);
}

/// Runs the library with an accident in it.
#[track_caller]
fn scripted(disk: &str, filesystem: &str, script: &[&str]) -> Run {
    let arguments = [&[disk, filesystem], script].concat();
    finish(&mut command(env!("CARGO_BIN_EXE_scripted_prepare"), &arguments))
}
