//! A retention disk that is grown: the size of its filesystem counts, and that is grown up to the
//! margin.

use std::fs;

use mt_tests::program::{run, shell};
use mt_tests::scratch_machine::{ScratchMachine, on_a_scratch_machine};

use crate::tag;

fn capacity(machine: &ScratchMachine) -> serde_json::Value {
    let checked = machine.mtctl(&["check", "--json"]).json();
    let findings = checked["findings"].as_array().unwrap();
    findings.iter().find(|one| one["id"] == "retention-capacity").unwrap().clone()
}

#[test]
fn capacity_is_that_of_the_filesystem_and_it_is_grown_as_the_hint_says() {
    for (filesystem, program) in [("ext4", "resize2fs"), ("xfs", "xfs_growfs")] {
        on_a_scratch_machine(|machine| {
            let disk = machine.disk("disk", 512);
            machine.prepare(disk.path(), &["--filesystem", filesystem, "--yes"]).exits(0);
            let before = capacity(machine);
            assert_ne!(before["status"], "fail", "{before}");
            let file = fs::OpenOptions::new().write(true).open(disk.file()).unwrap();
            file.set_len(2 << 30).unwrap();
            run("losetup", &["--set-capacity", disk.path()]);
            let grown = capacity(machine);
            let said = grown["message"].as_str().unwrap();
            assert!(said.contains("MiB, but its disk 2 GiB: grow it"), "{said}");
            let hint = grown["hint"].as_str().unwrap();
            assert!(hint.starts_with(program), "{hint}");
            match filesystem {
                // Not while it is mounted, which requires more than a container's root may do.
                "ext4" => drop(shell(&format!(
                    "umount /mnt/retention; e2fsck -f -p {} >&2; {hint}; \
                     mount -a --test-opts x-mtctl",
                    disk.path()
                ))),
                _ => drop(shell(hint)),
            }
            let after = capacity(machine);
            assert!(!after["message"].as_str().unwrap().contains("grow it"), "{after}");
            machine.prepare(disk.path(), &["--yes"]).exits(0).says("0 changed");
            run("umount", &["/mnt/retention"]);
            // The last 4 MiB are still unused.
            assert_eq!(tag(&disk, "TYPE"), filesystem);
            shell(&format!(
                "tail -c 4M {} | cmp -n 4194304 - /dev/zero; mount -a --test-opts x-mtctl",
                disk.file().display()
            ));
        });
    }
}
