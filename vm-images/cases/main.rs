//! What only a whole machine shows: SCSI identities, multipath, disks that fail, power cuts. One
//! file for each subject, each case a story; how they are run is in the library.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test code outside of test functions")]

mod apply;
mod faults;
mod filesystems;
mod first_boot;
mod identity;
mod log_writes;
mod lvm_md;
mod multipath;
mod power;
mod prepare;
mod replication;
mod retention;

fn main() -> std::process::ExitCode {
    let cases: Vec<_> = [
        apply::CASES,
        filesystems::CASES,
        first_boot::CASES,
        identity::CASES,
        log_writes::CASES,
        lvm_md::CASES,
        multipath::CASES,
        power::CASES,
        prepare::CASES,
        retention::CASES,
    ]
    .concat();
    match vm_images::runner::run(&cases) {
        true => std::process::ExitCode::SUCCESS,
        false => std::process::ExitCode::FAILURE,
    }
}
