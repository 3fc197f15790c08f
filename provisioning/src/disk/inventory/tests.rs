//! Holders that only the kernel knows, and compressed memory; complete hosts are tested in `tests`.

use crate::host::{CommandOutput, CommandRunner, Invocation, MemoryTree, Node};
use system::mount;

use super::*;

/// Finds no signature on anything.
struct Blkid;

impl CommandRunner for Blkid {
    fn run(&self, _: &Invocation, _: &mut dyn FnMut(&str)) -> system::error::Result<CommandOutput> {
        Ok(CommandOutput { status: Some(2), stdout: String::new(), stderr: String::new() })
    }
}

fn put(tree: &MemoryTree, name: &str, number: (u32, u32), busy: bool) {
    tree.put_text("/proc/sys/kernel/random/boot_id", "boot\n");
    tree.put_text(format!("/sys/block/{name}/dev"), format!("{}:{}\n", number.0, number.1));
    tree.put_text(format!("/sys/block/{name}/size"), "2097152\n");
    tree.put_text(format!("/sys/block/{name}/diskseq"), "7\n");
    let node = Node::BlockDevice { device_number: number, blank: true.into(), busy };
    tree.put(format!("/dev/{name}"), node);
}

fn look(tree: &MemoryTree, swaps: &str) -> Disk {
    let host = Host::scripted(tree.clone(), Box::new(Blkid));
    let swaps = mount::parse_swaps(swaps).unwrap();
    observe(&host, &[], &swaps, &Groups::default(), Signatures::Direct).remove(0)
}

#[test]
fn a_disk_that_only_the_kernel_knows_to_be_held_is_fit_for_nothing() {
    for (busy, uses, purposes) in [
        (false, vec![], vec![Purpose::Retention, Purpose::Target]),
        (true, vec![Use::Holder("kernel".into())], vec![]),
    ] {
        let tree = MemoryTree::new();
        put(&tree, "sdb", (8, 16), busy);
        let disk = look(&tree, "");
        assert_eq!((disk.used_by, disk.eligible_for), (uses, purposes), "{busy}");
    }
}

#[test]
fn compressed_memory_is_no_disk_and_its_swap_is_not_the_systems() {
    let tree = MemoryTree::new();
    put(&tree, "zram0", (252, 0), false);
    let swap = "Filename Type Size Used Priority\n/dev/zram0 partition 1048576 0 100\n";
    for (swaps, uses) in [("", vec![]), (swap, vec![Use::Swap])] {
        let disk = look(&tree, swaps);
        assert_eq!(disk.used_by, uses);
        assert!(!disk.is_listed_by_default() && !disk.is_attached_disk() && !disk.is_system());
        assert!(disk.eligible_for.is_empty() && disk.known_by.is_none());
    }
}
