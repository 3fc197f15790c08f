//! A root prefix on disk: links that stay inside, files replaced as a whole, what a record keeps.

use std::os::unix::fs::{PermissionsExt, symlink};

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

#[test]
fn bytes_that_are_no_utf_8_are_read_and_written_as_they_are() {
    let (directory, tree) = scratch();
    let bytes = b"# d\xE9p\xF4t\n";
    fs::write(directory.path().join("conf"), bytes).unwrap();
    let text = tree.text_if_exists("/conf").unwrap().unwrap();
    tree.replace_text("/conf", &format!("{text}# ours\n"), FileWriteMode::Keep).unwrap();
    let after = fs::read(directory.path().join("conf")).unwrap();
    assert_eq!(after, [&bytes[..], b"# ours\n"].concat());
}

#[test]
fn names_that_are_no_utf_8_are_listed_and_lead_to_their_files_live_and_recorded() {
    let directory = tempfile::tempdir().unwrap();
    let raw: OsString = std::os::unix::ffi::OsStringExt::from_vec(b"d\xE9p".to_vec());
    fs::create_dir(directory.path().join(&raw)).unwrap();
    fs::write(directory.path().join(&raw).join("size"), b"8 \xE9\n").unwrap();
    symlink(&raw, directory.path().join("link")).unwrap();
    let seen = |tree: &Tree| {
        let names = tree.list(directory.path());
        let sizes =
            names.iter().map(|name| tree.attribute(directory.path().join(name).join("size")));
        (sizes.collect::<Vec<_>>(), tree.canonical(directory.path().join("link/size")), names)
    };
    let record = MemoryTree::new();
    let live = seen(&Tree::recorded_into(record.clone()));
    assert_eq!(live.0[0].as_ref().map(|text| lossless_text::to_bytes(text)).unwrap(), b"8 \xE9");
    assert!(live.0.iter().all(|size| *size == live.0[0]), "{live:?}");
    let json = serde_json::to_string(&super::super::RecordedHost::new("", &record, Vec::new()));
    let read: super::super::RecordedHost = serde_json::from_str(&json.unwrap()).unwrap();
    assert_eq!(seen(super::super::Host::recorded(read).machine()), live);
}

#[test]
fn a_link_is_still_a_link_when_its_file_was_replaced() {
    let (directory, tree) = scratch();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir(at("managed")).unwrap();
    fs::write(at("managed/fstab"), "old").unwrap();
    symlink("managed/fstab", at("fstab")).unwrap();
    tree.replace("/fstab", b"new", FileWriteMode::Keep).unwrap();
    assert!(fs::symlink_metadata(at("fstab")).unwrap().is_symlink());
    assert_eq!(fs::read(at("managed/fstab")).unwrap(), b"new");
}

#[test]
fn a_file_that_is_too_large_or_a_directory_is_told_with_what_to_look_at() {
    let (directory, tree) = scratch();
    let file = fs::File::create(directory.path().join("fstab")).unwrap();
    file.set_len(100 << 20).unwrap();
    fs::create_dir(directory.path().join("hosts")).unwrap();
    for (path, words) in [("/fstab", "32 MiB"), ("/hosts", "a file or nothing")] {
        let error = tree.text_if_exists(path).unwrap_err();
        assert!(error.hint().is_some_and(|hint| hint.contains(words)), "{error:?}");
    }
    let memory = MemoryTree::new();
    memory.put_text("/hosts/x", "");
    assert!(Tree::memory(memory).text_if_exists("/hosts").is_err(), "a record says the same");
}

#[test]
fn a_directory_that_cannot_be_read_is_not_an_empty_one() {
    let (directory, tree) = scratch();
    symlink("/b", directory.path().join("a")).unwrap();
    symlink("/a", directory.path().join("b")).unwrap();
    assert!(tree.list_if_exists("/a").is_err());
    assert_eq!(tree.list_if_exists("/nothing").unwrap(), [""; 0]);
}
