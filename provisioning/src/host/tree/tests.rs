//! A root prefix on disk: links that stay inside, files replaced whole, what a record keeps.

use std::os::unix::fs::symlink;

use super::*;

fn scratch() -> (tempfile::TempDir, Tree) {
    let directory = tempfile::tempdir().unwrap();
    let tree = Tree::directory(directory.path());
    (directory, tree)
}

#[test]
fn an_absolute_link_of_an_image_leads_back_into_the_image() {
    let (directory, tree) = scratch();
    tree.replace("/run/real", b"inside", FileWriteMode::Keep).unwrap();
    fs::create_dir_all(directory.path().join("etc")).unwrap();
    symlink("/run/real", directory.path().join("etc/conf")).unwrap();
    assert_eq!(tree.read("/etc/conf").unwrap(), b"inside");
    tree.replace("/etc/conf", b"edited", FileWriteMode::Keep).unwrap();
    assert_eq!(fs::read(directory.path().join("run/real")).unwrap(), b"edited");
}

#[test]
fn dots_never_leave_the_image() {
    let (directory, tree) = scratch();
    tree.replace("/../../etc/fstab", b"x", FileWriteMode::Keep).unwrap();
    assert_eq!(fs::read(directory.path().join("etc/fstab")).unwrap(), b"x");
}

#[test]
fn what_is_read_through_links_is_found_again_in_the_record() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir_all(at("devices/sda/driver")).unwrap();
    fs::write(at("devices/sda/size"), "8\n").unwrap();
    symlink("devices", at("block")).unwrap();
    symlink("sda", at("devices/first")).unwrap();
    let seen = |tree: &Tree| {
        (
            tree.attribute(at("block/first/size")),
            tree.canonical(at("block/first/driver")),
            tree.exists(at("block/first")),
            tree.list(at("block")),
        )
    };
    let record = MemoryTree::new();
    let live = seen(&Tree::recorded_into(record.clone()));
    assert_eq!(live.0.as_deref(), Some("8"));
    assert_eq!(seen(&Tree::memory(record)), live);
}

#[test]
fn links_in_a_circle_are_an_error() {
    let (directory, tree) = scratch();
    symlink("/b", directory.path().join("a")).unwrap();
    symlink("/a", directory.path().join("b")).unwrap();
    assert!(tree.read("/a").is_err());
}

#[test]
fn replacing_keeps_the_mode_and_leaves_no_stray_file() {
    let (directory, tree) = scratch();
    let path = directory.path().join("fstab");
    fs::write(&path, "old").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    tree.replace("/fstab", b"new", FileWriteMode::Keep).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(tree.list("/"), ["fstab"]);
}

#[test]
fn what_is_not_there_is_none_and_what_is_a_directory_is_an_error() {
    let (_directory, tree) = scratch();
    assert_eq!(tree.read_if_exists("/nothing/here").unwrap(), None);
    tree.create_directories("/etc").unwrap();
    assert!(tree.read_if_exists("/etc").is_err());
}
