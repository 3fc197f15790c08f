//! A group is held by one process, and saves what it was told or nothing.

use std::fs;

use super::*;

#[test]
fn what_was_saved_is_there_at_the_next_open() {
    let directory = tempfile::tempdir().unwrap();
    let place = Place::without_history(directory.path());
    let mut group = Group::open(&place, "g").unwrap();
    group
        .overwrite(|state| {
            state.volumes.entry("db".to_owned()).or_default().source_bytes = Some(7);
        })
        .unwrap();
    let saved = group.view().state().clone();
    drop(group);
    assert_eq!(*Group::open(&place, "g").unwrap().view().state(), saved);
    assert_eq!(saved.volumes["db"].source_bytes, Some(7));
}

#[test]
fn looking_at_a_group_and_rehearsing_make_nothing_and_save_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("g");
    let seen = GroupView::look(&Place::without_history(&place), "g").unwrap();
    let mut rehearsed = Group::rehearse(seen);
    rehearsed
        .overwrite(|state| drop(state.volumes.insert("db".to_owned(), Default::default())))
        .unwrap();
    assert!(rehearsed.view().state().volumes.contains_key("db"));
    assert!(!place.exists());
}

#[test]
fn a_group_has_one_process_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let place = Place::without_history(directory.path());
    let first = Group::open(&place, "g").unwrap();
    let second = Group::open(&place, "g").unwrap_err();
    assert_eq!(second.kind(), ErrorKind::Refused);
    drop(first);
    assert!(Group::open(&place, "g").is_ok());
}

#[test]
fn a_state_that_was_changed_by_hand_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let place = Place::without_history(directory.path());
    Group::open(&place, "g").unwrap().overwrite(|_| {}).unwrap();
    let path = directory.path().join("state");
    let text = fs::read_to_string(&path).unwrap();
    for changed in [text.replace("\"version\":1", "\"version\": 1"), text[..9].to_owned()] {
        assert_ne!(changed, text);
        fs::write(&path, changed).unwrap();
        let refused = Group::open(&place, "g").unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Integrity);
    }
}

#[test]
fn after_a_save_that_failed_memory_is_what_the_disk_has_and_nothing_more_is_saved() {
    let directory = tempfile::tempdir().unwrap();
    let place = Place::without_history(&directory.path().join("g"));
    let mut group = Group::open(&place, "g").unwrap();
    group.overwrite(|_| {}).unwrap();
    // The directory is held open; what is in it can go all the same.
    fs::remove_dir_all(&place.state).unwrap();
    let insert = |group: &mut Group, name: &str| {
        group.overwrite(|state| drop(state.volumes.insert(name.to_owned(), Default::default())))
    };
    assert_eq!(insert(&mut group, "a").unwrap_err().kind(), ErrorKind::Failed);
    assert!(group.view().state().volumes.is_empty());
    fs::create_dir_all(&place.state).unwrap();
    assert_eq!(insert(&mut group, "b").unwrap_err().kind(), ErrorKind::Failed);
    assert!(group.view().state().volumes.is_empty());
}
