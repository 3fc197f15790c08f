//! A state is restored from its text: whole, after any changes, torn anywhere, and damaged.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::journal::catalogue::{Catalogue, NewPoint, PointId, PointKind, Span};
use crate::journal::settings::GroupSettings;
use crate::journal::state::{Fingerprint, InBetween, Lineage};
use crate::storage::SegmentNumber;
use crate::stream::{Format, StreamHeader};

/// A change to a group between two saves.
#[derive(Clone, Debug)]
enum Step {
    /// This many points are made.
    Points(u8),
    /// The points at these indices are forgotten.
    Forget(Vec<u8>),
    /// The last point is pinned.
    Pin,
    /// A volume progresses in a stream.
    GoOn(u8, u64),
    /// A volume reaches the end of its stream.
    Complete(u8),
    /// A volume is forgotten.
    Remove(u8),
    RollBack,
    Settings(u64),
    Commit,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..4_u8).prop_map(Step::Points),
        2 => prop::collection::vec(any::<u8>(), 0..4).prop_map(Step::Forget),
        1 => Just(Step::Pin),
        4 => (0..3_u8, any::<u64>()).prop_map(|(volume, to)| Step::GoOn(volume, to)),
        2 => (0..3_u8).prop_map(Step::Complete),
        1 => (0..3_u8).prop_map(Step::Remove),
        1 => Just(Step::RollBack),
        1 => any::<u64>().prop_map(Step::Settings),
        1 => Just(Step::Commit),
    ];
    prop::collection::vec(step, 1..30)
}

fn input(number: u64) -> Fingerprint {
    let mut identity = [0; 16];
    identity[..8].copy_from_slice(&number.to_le_bytes());
    let identity = Some(identity);
    let format = Format::Native;
    let header = StreamHeader { format, is_in_write_order: true, identity, volumes: Vec::new() };
    Fingerprint::of(&header, 64)
}

fn take(step: &Step, state: &mut GroupState) {
    let name = |volume: u8| format!("v{volume}").into();
    let known = state.journal.get_or_insert_with(|| Catalogue::new([7; 16], 1));
    match step {
        Step::Points(count) => {
            for _ in 0..*count {
                let number = known.next_record;
                let (segment, next_record) = (SegmentNumber(number), number + 1);
                let span = Span { segment, bytes: 4096, first_record: number, next_record };
                let new = NewPoint { time: number, kind: PointKind::Crash, name: None };
                known.seal(vec![span], new, number);
                known.next_record = next_record;
            }
        }
        Step::Forget(places) => {
            let ids = places.iter().map(|at| known.points[*at as usize % known.points.len()].id);
            let ids: Vec<_> = ids.collect();
            let _ = known.forget(&ids);
        }
        Step::Pin => Arc::make_mut(known.points.last_mut().unwrap()).pinned = true,
        Step::GoOn(volume, position) => {
            let volume = state.volumes.entry(name(*volume)).or_default();
            let (exact, unordered, content) = (false, false, None);
            let (input, position) = (input(*position), *position);
            volume.in_between = Some(InBetween { input, position, exact, unordered, content });
        }
        Step::Complete(volume) => {
            let volume = state.volumes.entry(name(*volume)).or_default();
            let position = volume.in_between.as_ref().map_or(0, |between| between.position);
            volume.complete(input(position));
        }
        Step::Remove(volume) => drop(state.volumes.remove(&name(*volume))),
        Step::RollBack => known.rolling_back_to = Some(PointId(0)),
        Step::Settings(window) => {
            let mut settings = GroupSettings::default();
            settings.policy.window = Duration::from_nanos(*window);
            state.settings = Some(settings);
        }
        Step::Commit => state.drop_history(),
    }
}

/// Saves a text: by appending where possible; returns how often that was not possible.
fn save(text: &mut String, end: &mut End, before: &GroupState, after: &GroupState) -> usize {
    let change = Change::between(before, after);
    match change.and_then(|change| end.append(&change)) {
        Some((piece, next)) => {
            text.push_str(&piece);
            *end = next;
            0
        }
        None => {
            (*text, *end) = print_whole(after);
            1
        }
    }
}

proptest! {
    #[test]
    fn whatever_was_saved_is_read_and_a_torn_piece_is_none(steps in steps(), cut in any::<u16>()) {
        let mut state = GroupState::default();
        let (mut text, mut end) = print_whole(&state);
        for step in &steps {
            let before = (state.clone(), text.clone());
            take(step, &mut state);
            state.begin_generation();
            save(&mut text, &mut end, &before.0, &state);
            prop_assert_eq!(&parse(&text).unwrap(), &state);
            prop_assert_eq!(end.bytes, text.len() as u64);
            if let Some(piece) = text.strip_prefix(&before.1) {
                let cut = cut as usize % piece.len();
                let torn = format!("{}{}", before.1, &piece[..cut]);
                prop_assert_eq!(&parse(&torn).unwrap(), &before.0);
                let torn = format!("{torn}{}", "\0".repeat(piece.len() - cut));
                prop_assert_eq!(&parse(&torn).unwrap(), &before.0);
            }
        }
    }
}

/// A state to which 20 points were appended.
fn appended() -> (String, GroupState) {
    let mut state = GroupState::default();
    take(&Step::GoOn(0, 7), &mut state);
    let (mut text, mut end) = print_whole(&state);
    for _ in 0..20 {
        let before = state.clone();
        take(&Step::Points(1), &mut state);
        state.begin_generation();
        assert_eq!(save(&mut text, &mut end, &before, &state), 0);
    }
    (text, state)
}

#[test]
fn what_is_damaged_is_found_wherever_a_crash_would_not_have_left_it() {
    let (text, state) = appended();
    let mut lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 42);
    // A piece that is missing, duplicated, or of another text.
    for (at, change) in [(2, 0), (10, 1), (20, 2)] {
        let mut changed = lines.clone();
        match change {
            0 => drop(changed.drain(at..at + 2)),
            1 => changed.splice(at..at, [lines[at], lines[at + 1]]).for_each(drop),
            _ => changed.swap(at, at + 2),
        }
        let changed = changed.join("\n") + "\n";
        assert!(matches!(parse(&changed), Err(StateError::Appended)), "{at}");
    }
    for at in (0..text.len()).step_by(7) {
        let mut damaged = text.clone().into_bytes();
        damaged[at] ^= 1;
        let Ok(damaged) = String::from_utf8(damaged) else { continue };
        let last = text.len() - lines[40].len() - lines[41].len() - 2;
        match parse(&damaged) {
            Err(_) if at < last => {}
            Ok(found) if at >= last => assert_eq!(found.generation() + 1, state.generation()),
            other => panic!("byte {at}: {other:?}"),
        }
    }
    // A piece for another text of the same generation: only the checksum reveals it.
    let mut other = GroupState::default();
    take(&Step::GoOn(0, 7), &mut other);
    assert_eq!(parse(&print(&other)).unwrap(), other);
    other.settings = Some(GroupSettings::default());
    let other = print(&other);
    lines.drain(..2);
    assert!(matches!(parse(&(other + &lines.join("\n"))), Err(StateError::Appended)));
}

#[test]
fn a_point_more_takes_no_more_room_for_those_that_are_there() {
    let mut state = GroupState::default();
    take(&Step::GoOn(0, 7), &mut state);
    for number in 0..300 {
        let applied = Arc::make_mut(&mut state.volumes.get_mut("v0").unwrap().applied);
        applied.push(input(number));
    }
    let (mut text, mut end) = print_whole(&state);
    let (mut written, mut wholes) = (0, 0);
    for number in 0..3000 {
        let (before, length) = (state.clone(), text.len());
        take(&Step::Points(1), &mut state);
        take(&Step::GoOn(0, number), &mut state);
        state.begin_generation();
        let anew = save(&mut text, &mut end, &before, &state);
        written += text.len() - length * (1 - anew);
        wholes += anew;
    }
    assert!(wholes < 20, "written anew {wholes} times");
    assert!(written / 3000 < 1500, "{} bytes a point", written / 3000);
    assert_eq!(parse(&text).unwrap(), state);
}

#[test]
fn what_a_state_of_version_1_says_of_a_volume_is_understood_and_written_as_it_is() {
    let volume = r#"{"target":"/dev/sdb","source_bytes":7,"target_bytes":9,"ends_at":"s1","#;
    let between = r#"{"input":"rbd-diff:s1..s2/7@40","position":4096,"exact":true}"#;
    let volume = format!(r#"{volume}"applied":["native:00"],"in_between":{between}}}"#);
    let json = format!(r#"{{"version":1,"volumes":{{"db":{volume}}}}}"#);
    let text = format!("{json}\ncrc32c {:08x}\n", crc32c::crc32c(json.as_bytes()));
    let state = parse(&text).unwrap();
    let known = &state.volumes["db"];
    assert_eq!((&known.identity, &known.lineage), (&None, &Lineage::default()));
    let written = print(&state);
    assert!(written.contains(&volume), "what is not known is not written: {written}");
    assert!(written.starts_with("{\"version\":3,"), "{written}");
}

/// The next state after `state`, with `bytes` more bytes of names.
fn with_more(state: &GroupState, bytes: usize) -> GroupState {
    let mut after = state.clone();
    after.begin_generation();
    after.volumes.entry("v".into()).or_default().ends_at = Some("x".repeat(bytes));
    after
}

#[test]
fn to_a_short_state_so_much_is_appended_in_all_and_no_more() {
    let state = GroupState::default();
    let (_, end) = print_whole(&state);
    let first = with_more(&state, 40 << 10);
    let (text, end) = end.append(&Change::between(&state, &first).unwrap()).unwrap();
    let rest = APPENDED_BYTES_MIN as usize - text.len();
    let around = {
        let empty = with_more(&first, 0);
        end.append(&Change::between(&first, &empty).unwrap()).unwrap().0.len()
    };
    for (bytes, fits) in [(rest - around, true), (rest - around + 1, false)] {
        let next = with_more(&first, bytes);
        let appended = end.append(&Change::between(&first, &next).unwrap());
        assert_eq!(appended.is_some(), fits, "{bytes}");
        if let Some((text, after)) = appended {
            assert_eq!(after.bytes, end.bytes + text.len() as u64);
            assert_eq!(text.len(), rest);
        }
    }
}
