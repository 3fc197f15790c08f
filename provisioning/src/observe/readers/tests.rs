//! Images, judged by their directories and programs.

use super::*;
use crate::host::{MemoryTree, Node};

fn program(memory: &MemoryTree, path: &str, texts: &[&str]) {
    let bytes = [b"\x7fELF\0".to_vec(), texts.join("\0").into_bytes(), vec![0]].concat();
    memory.put(path, Node::File(bytes));
}

#[test]
fn the_oldest_kernel_and_the_version_in_each_program_count() {
    let memory = MemoryTree::new();
    for name in ["5.4.17-2136.el7uek.x86_64", "3.10.0-1160.el7.x86_64", "extra"] {
        memory.put(format!("/lib/modules/{name}/modules.dep"), Node::File(Vec::new()));
    }
    memory.put_text("/boot/vmlinuz-4.14.35-2047.el7uek.x86_64", "");
    memory.put_text("/boot/vmlinuz-0-rescue-1234", "");
    program(&memory, "/usr/sbin/e2fsck", &["%s version", "1.42.9", "28-Dec-2013", "1.100", "2.17"]);
    program(&memory, "/usr/sbin/xfs_repair", &["GLIBC_2.2.5", "4.5.0", "10.20.30.40", "1.2"]);
    let found = readers(&Tree::memory(memory));
    assert_eq!(found.kernel, Some(Version(3, 10, 0)));
    assert_eq!(found.e2fsprogs, Some(Version(1, 42, 9)));
    assert_eq!(found.xfsprogs, Some(Version(4, 5, 0)));
    assert_eq!(found.ext4_by_default, None);
}

#[test]
fn programs_are_found_where_old_releases_have_them_and_a_test_version_is_one() {
    let memory = MemoryTree::new();
    program(&memory, "/sbin/e2fsck", &["1.41.12", "17-May-2010"]);
    program(&memory, "/sbin/xfs_repair", &["3.1.1-rc1"]);
    memory.put_text("/usr/lib/modules/6.4.0-150600.21-default/modules.dep", "");
    let found = readers(&Tree::memory(memory));
    assert_eq!(found.e2fsprogs, Some(Version(1, 41, 12)));
    assert_eq!(found.xfsprogs, Some(Version(3, 1, 1)));
    assert_eq!(found.kernel, Some(Version(6, 4, 0)));
    assert_eq!(readers(&Tree::memory(MemoryTree::new())), Readers::default());
}

#[test]
fn a_mount_that_is_built_on_libmount_knows_options_that_begin_with_x() {
    let rows: [(&str, &[&str], Option<bool>); 3] = [
        ("/usr/bin/mount", &["libc.so.6", "libmount.so.1"], Some(true)),
        ("/bin/mount", &["libc.so.6", "libblkid.so.1"], Some(false)),
        ("/bin/other", &["libmount.so.1"], None),
    ];
    for (path, texts, expected) in rows {
        let memory = MemoryTree::new();
        program(&memory, path, texts);
        assert_eq!(knows_x_options(&Tree::memory(memory)), expected, "{path}");
    }
}
