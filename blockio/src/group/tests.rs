//! A group is held by one process, and saves exactly what it was given, or nothing.

use std::fs;

use super::*;
use crate::journal::state::GroupState;
use crate::remedy::{GroupRemedy, Remedy};

#[test]
fn what_was_saved_is_there_at_the_next_open() {
    let directory = tempfile::tempdir().unwrap();
    let place = GroupPlace::without_history(directory.path());
    let mut group = Group::open(&place, "g").unwrap();
    group
        .overwrite(|state| {
            state.volumes.entry("db".into()).or_default().source_bytes = Some(7);
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
    let seen = GroupView::look(&GroupPlace::without_history(&place), "g").unwrap();
    let mut rehearsed = Group::rehearse(seen);
    rehearsed
        .overwrite(|state| drop(state.volumes.insert("db".into(), Default::default())))
        .unwrap();
    assert!(rehearsed.view().state().volumes.contains_key("db"));
    assert!(!place.exists());
}

#[test]
fn a_group_has_one_process_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let place = GroupPlace::without_history(directory.path());
    let first = Group::open(&place, "g").unwrap();
    let second = Group::open(&place, "g").unwrap_err();
    assert_eq!(second.kind(), ErrorKind::Refused);
    drop(first);
    assert!(Group::open(&place, "g").is_ok());
}

#[test]
fn a_state_that_was_changed_by_hand_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let place = GroupPlace::without_history(directory.path());
    Group::open(&place, "g").unwrap().overwrite(|_| {}).unwrap();
    let [path, copy] = ["state", "state.copy"].map(|name| directory.path().join(name));
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(fs::read_to_string(&copy).unwrap(), text);
    for changed in [text.replace("\"version\":3", "\"version\": 3"), text[..9].to_owned()] {
        assert_ne!(changed, text);
        [&path, &copy].iter().for_each(|path| fs::write(path, &changed).unwrap());
        let refused = Group::open(&place, "g").unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Integrity);
        // One intact copy is enough, and the damage is reported.
        fs::write(&copy, &text).unwrap();
        let mut group = Group::open(&place, "g").unwrap();
        assert_eq!(group.take_notes().len(), 1);
    }
}

#[test]
fn a_save_appends_to_what_this_process_wrote_and_to_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let place = GroupPlace::without_history(directory.path());
    let [path, copy] = ["state", "state.copy"].map(|name| directory.path().join(name));
    let texts = || [&path, &copy].map(|path| fs::read_to_string(path).unwrap());
    let pieces = || texts().map(|text| text.lines().count() / 2);
    let source_bytes = || GroupView::look(&place, "g").unwrap().state().volumes["v"].source_bytes;
    let mut group = Group::open(&place, "g").unwrap();
    let mut set = |bytes| {
        let change = |state: &mut GroupState| {
            state.volumes.entry("v".into()).or_default().source_bytes = Some(bytes);
        };
        group.overwrite(change).unwrap();
        assert_eq!(source_bytes(), Some(bytes));
    };
    set(1);
    assert_eq!(pieces(), [1, 1]);
    set(2);
    let then = texts();
    set(3);
    assert_eq!(pieces(), [3, 3]);
    // Somebody puts an older copy back: it is replaced, and appends continue.
    fs::write(&copy, &then[1]).unwrap();
    set(4);
    assert_eq!(pieces(), [1, 1]);
    let before = texts();
    set(5);
    assert_eq!(pieces(), [2, 2]);
    // A crash while the second was appended left only a part: the first counts.
    let whole = texts();
    fs::write(&copy, &whole[1][..whole[1].len() - 1]).unwrap();
    assert_eq!(source_bytes(), Some(5));
    // No crash leaves a partial piece in both: the save may have been acted on.
    fs::write(&path, &whole[0][..whole[0].len() - 1]).unwrap();
    assert_eq!(GroupView::look(&place, "g").unwrap_err().kind(), ErrorKind::Integrity);
    // A partial piece in the first: nothing of that save is known, and the next process replaces
    // it.
    fs::write(&copy, &before[1]).unwrap();
    assert_eq!(source_bytes(), Some(4));
    drop(group);
    let mut group = Group::open(&place, "g").unwrap();
    assert_eq!(group.take_notes(), []);
    group.overwrite(|_| {}).unwrap();
    assert_eq!((pieces(), source_bytes()), ([1, 1], Some(4)));
}

#[test]
fn a_history_whose_state_is_lost_is_refused_and_not_begun_anew() {
    let directory = tempfile::tempdir().unwrap();
    let (state, history) = (directory.path().join("state"), directory.path().join("history"));
    let place = GroupPlace { state, history: Some(history.clone()) };
    let mut group = Group::open(&place, "g").unwrap();
    group.open_history(HistorySettings::default()).unwrap();
    group.begin_history(&Targets::new()).unwrap();
    group.overwrite(|_| {}).unwrap();
    drop(group);
    // The directory of the state was given once, and forgotten: the second copy is with the
    // history.
    let forgotten = GroupPlace { state: history.clone(), history: Some(history.clone()) };
    assert!(Group::open(&forgotten, "g").unwrap().view().catalogue().is_ok());
    fs::remove_file(history.join("state.copy")).unwrap();
    let refused = Group::open(&forgotten, "g").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Integrity);
    let remedy = GroupRemedy::RebuildState { group: "g".to_owned(), is_untouched: false };
    assert_eq!(Remedy::of(&refused), Some(&remedy.into()));
    assert!(fs::read_dir(&history).unwrap().count() > 1);
}

#[test]
fn two_with_other_directories_for_their_state_are_not_in_one_history_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let place = |state: &str| GroupPlace {
        state: directory.path().join(state),
        history: Some(directory.path().join("history")),
    };
    let first = Group::open(&place("one"), "g").unwrap();
    assert_eq!(Group::open(&place("other"), "g").unwrap_err().kind(), ErrorKind::Refused);
    drop(first);
    assert!(Group::open(&place("other"), "g").is_ok());
}

#[test]
fn after_a_save_that_failed_memory_is_what_the_disk_has_and_nothing_more_is_saved() {
    let directory = tempfile::tempdir().unwrap();
    let place = GroupPlace::without_history(&directory.path().join("g"));
    let mut group = Group::open(&place, "g").unwrap();
    group.overwrite(|_| {}).unwrap();
    // The directory is held open, but its content can be removed.
    fs::remove_dir_all(&place.state).unwrap();
    let insert = |group: &mut Group, name: &str| {
        group.overwrite(|state| drop(state.volumes.insert(name.into(), Default::default())))
    };
    let failed = insert(&mut group, "a").unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Failed);
    let file = place.state.join("state").display().to_string();
    assert_eq!(failed.to_string(), format!("writing the state of group g, {file}"));
    assert!(group.view().state().volumes.is_empty());
    fs::create_dir_all(&place.state).unwrap();
    assert_eq!(insert(&mut group, "b").unwrap_err().kind(), ErrorKind::Failed);
    assert!(group.view().state().volumes.is_empty());
}

mod verbs;
