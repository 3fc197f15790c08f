//! What each verb of a group saves.

use std::time::Duration;

use super::*;
use crate::assignment::{Disk, OpenDevice};
use crate::device::Geometry;
use crate::device::memory::MemoryDevice;
use crate::group::checkpoint::{Ends, Reached, When};
use crate::journal::retention::Policy;
use crate::journal::state::{Consumed, Fingerprint, Head, SourceOrder};
use crate::remedy::{PointRemedy, Remedy};
use crate::storage::{SegmentNumber, Storage};
use crate::stream::{Format, StreamHeader};
use crate::target_identity::KnownAs;
use crate::units::{ByteCount, SectorSize};

fn of_days(days: u64) -> GroupSettings {
    let window = Duration::from_secs(days * 86_400);
    GroupSettings { policy: Policy { window, ..Policy::default() }, ..GroupSettings::default() }
}

fn input(format: Format) -> Fingerprint {
    let (identity, volumes) = (Some([1; 16]), Vec::new());
    Fingerprint::of(&StreamHeader { format, is_in_write_order: true, identity, volumes }, 0)
}

fn between(format: Format, exact: bool, unordered: bool) -> InBetween {
    InBetween { input: input(format), position: 7, exact, unordered, content: None }
}

/// A group with its history in `storage`, open.
fn with_history(storage: &Arc<dyn Storage>) -> Group {
    let mut group = Group::in_storage(Arc::clone(storage), "g").unwrap();
    group.open_history(HistorySettings { in_thread: false, ..HistorySettings::default() }).unwrap();
    group
}

/// The same, with the volume "db" and the points "a" and "b".
fn with_points(storage: &Arc<dyn Storage>) -> Group {
    let mut group = with_history(storage);
    group
        .overwrite(|state| state.volumes.entry("db".into()).or_default().target_bytes = 7)
        .unwrap();
    for name in ["a", "b"] {
        group.point(PointKind::Crash, Some(name.to_owned())).unwrap();
    }
    group
}

#[test]
fn a_group_that_is_made_is_there_with_how_it_is_kept_and_its_disks() {
    let storage = crate::sim::storage(1 << 10);
    let (capacity, sector_size) = (ByteCount::new(8192), SectorSize::Bytes4096);
    let device = Box::new(MemoryDevice::new(Geometry { capacity, sector_size }));
    let serial = Some("S1".to_owned());
    let assignment = Assignment {
        volume: "db".into(),
        target: Disk::Device(OpenDevice::new("disk".to_owned(), device)),
        identity: KnownAs { serial, ..KnownAs::from("wwid".to_owned()) },
    };
    let mut group = Group::in_storage(Arc::clone(&storage), "g").unwrap();
    group.create(of_days(3), &[assignment]).unwrap();
    let again = Group::in_storage(storage, "g").unwrap();
    let state = again.view().state();
    let volume = &state.volumes["db"];
    assert_eq!((state.settings, again.view().settings()), (Some(of_days(3)), of_days(3)));
    assert_eq!((volume.target.as_deref(), volume.target_bytes), (Some("wwid"), 8192));
    let identity = volume.identity.as_ref().unwrap();
    assert_eq!((identity.serial.as_deref(), identity.sector_bytes), (Some("S1"), 4096));
}

#[test]
fn how_a_group_begins_is_saved_with_the_first_thing_and_never_over_what_was_set() {
    let storage = crate::sim::storage(1 << 10);
    let settings = || {
        let again = Group::in_storage(Arc::clone(&storage), "g").unwrap();
        again.view().state().settings
    };
    let mut group = Group::in_storage(Arc::clone(&storage), "g").unwrap();
    group.begin_with(of_days(3));
    assert_eq!(settings(), None);
    group.overwrite(|_| {}).unwrap();
    assert_eq!(settings(), Some(of_days(3)));
    group.begin_with(of_days(4));
    group.overwrite(|_| {}).unwrap();
    assert_eq!(settings(), Some(of_days(3)));
}

#[test]
fn only_a_group_that_keeps_history_and_is_no_rehearsal_opens_one() {
    let (directory, storage) = (tempfile::tempdir().unwrap(), crate::sim::storage(1 << 14));
    let plain = Group::open(&GroupPlace::without_history(directory.path()), "g").unwrap();
    let looked_at = with_history(&storage).view().clone();
    for mut group in [plain, Group::rehearse(looked_at), Group::default()] {
        group.open_history(HistorySettings::default()).unwrap();
        assert!(!group.has_history_open());
        assert!(group.arena().unwrap().is_none() && group.try_arena().is_none());
    }
    let group = with_history(&storage);
    assert!(group.has_history_open() && group.arena().unwrap().is_some());
}

#[test]
fn what_a_rehearsal_has_seen_is_what_it_goes_on_from() {
    let storage = crate::sim::storage(1 << 14);
    let view = with_points(&storage).view().clone();
    let mut rehearsal = Group::rehearse(view);
    assert_eq!((rehearsal.view().name(), rehearsal.view().state().volumes.len()), ("g", 1));
    rehearsal.overwrite(|state| state.volumes.clear()).unwrap();
    assert!(format!("{rehearsal:?}").contains("\"g\""), "{rehearsal:?}");
    assert!(format!("{:?}", rehearsal.view()).contains("\"g\""));
    assert_eq!(Group::in_storage(storage, "g").unwrap().view().state().volumes.len(), 1);
}

#[test]
fn what_is_remembered_depends_on_where_a_group_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let plain = Group::open(&GroupPlace::without_history(directory.path()), "g").unwrap();
    let kept = with_history(&crate::sim::storage(1 << 14));
    for (group, remembers, keeps_history) in
        [(Group::default(), false, false), (plain, true, false), (kept, true, true)]
    {
        let view = group.view();
        assert_eq!((view.remembers(), view.keeps_history()), (remembers, keeps_history));
    }
}

#[test]
fn a_point_by_hand_is_one_of_a_state_of_the_source() {
    let storage = crate::sim::storage(1 << 14);
    let mut group = with_history(&storage);
    let empty = group.point(PointKind::Crash, None).unwrap_err();
    assert_eq!(empty.kind(), ErrorKind::Usage, "it has no volumes");
    for (format, exact, unordered, is_a_state) in [
        (Format::Native, true, false, true),
        (Format::Native, false, false, false),
        (Format::Native, true, true, false),
        (Format::RbdDiff, true, false, false),
        (Format::Raw, false, true, false),
    ] {
        let change = |state: &mut GroupState| {
            let known = state.volumes.entry("db".into()).or_default();
            known.in_between = Some(between(format, exact, unordered));
        };
        group.overwrite(change).unwrap();
        let next = group.view().catalogue().unwrap().next_point;
        match group.point(PointKind::App, Some("here".to_owned())) {
            Ok(made) => assert_eq!((made, is_a_state), (PointId(next), true)),
            Err(error) => assert_eq!((error.kind(), is_a_state), (ErrorKind::Refused, false)),
        }
    }
    let again = Group::in_storage(storage, "g").unwrap();
    let made: Vec<_> = again.view().catalogue().unwrap().recovery_points().collect();
    assert_eq!(made.len(), 1);
    assert_eq!((made[0].kind, made[0].name.as_deref()), (PointKind::App, Some("here")));
}

#[test]
fn a_pin_is_of_one_point_until_it_is_taken_out() {
    let storage = crate::sim::storage(1 << 14);
    let mut group = with_points(&storage);
    let pinned = || {
        let again = Group::in_storage(Arc::clone(&storage), "g").unwrap();
        let known = again.view().catalogue().unwrap();
        known.all().filter(|point| point.pinned).map(|point| point.id.0).collect::<Vec<_>>()
    };
    group.pin(PointId(1), true).unwrap();
    assert_eq!(pinned(), [1]);
    group.pin(PointId(2), true).unwrap();
    group.pin(PointId(1), false).unwrap();
    assert_eq!(pinned(), [2]);
}

#[test]
fn while_a_rollback_is_not_finished_no_point_is_made() {
    let mut group = with_points(&crate::sim::storage(1 << 14));
    assert_eq!(group.view().rolling_back_to(), None);
    assert!(group.view().require_no_rollback().is_ok());
    let progress = group.view().state().progress();
    group.begin_rollback(PointId(1), &[], Undo::Kept, &progress).unwrap();
    assert_eq!(group.view().rolling_back_to(), Some(PointId(1)));
    let refused = group.point(PointKind::Crash, None).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused);
    let remedy = PointRemedy::FinishRollback { group: "g".to_owned(), to: PointId(1) };
    assert_eq!(Remedy::of(&refused), Some(&remedy.into()));
}

#[test]
fn a_rollback_without_undo_gives_up_later_points_unless_one_is_pinned() {
    let storage = crate::sim::storage(1 << 14);
    let mut group = with_points(&storage);
    let progress = group.view().state().progress();
    group.pin(PointId(2), true).unwrap();
    let begin =
        |group: &mut Group, to| group.begin_rollback(PointId(to), &[], Undo::NotKept, &progress);
    assert_eq!(begin(&mut group, 1).unwrap_err().kind(), ErrorKind::Refused);
    group.pin(PointId(2), false).unwrap();
    begin(&mut group, 1).unwrap();
    let points = |group: &Group| -> Vec<_> {
        let known = group.view().catalogue().unwrap();
        known.all().map(|point| (point.id.0, point.kind)).collect()
    };
    let broken_off = [(0, PointKind::Start), (1, PointKind::Crash), (3, PointKind::Break)];
    assert_eq!(points(&group), broken_off);
    // The same rollback again has nothing to give up; one that goes further back does.
    begin(&mut group, 1).unwrap();
    assert_eq!(points(&group), broken_off);
    begin(&mut group, 0).unwrap();
    assert_eq!(points(&group), [(0, PointKind::Start), (4, PointKind::Break)]);
    assert_eq!(points(&Group::in_storage(storage, "g").unwrap()), points(&group));
}

#[test]
fn a_commit_drops_the_history_and_goes_on_exactly_where_a_stream_was() {
    let storage = crate::sim::storage(1 << 14);
    let mut group = with_points(&storage);
    let change = |state: &mut GroupState| {
        let known = state.volumes.get_mut("db").unwrap();
        known.in_between = Some(between(Format::Native, false, false));
    };
    group.overwrite(change).unwrap();
    assert!(!storage.segments().unwrap().is_empty());
    group.commit().unwrap();
    assert!(!group.has_history_open());
    assert_eq!(storage.segments().unwrap(), [] as [SegmentNumber; 0]);
    let again = Group::in_storage(storage, "g").unwrap();
    assert_eq!(again.view().catalogue().unwrap_err().kind(), ErrorKind::Usage);
    assert!(again.view().state().volumes["db"].in_between.as_ref().unwrap().exact);
}

#[test]
fn numbers_of_points_never_come_again_also_after_a_commit_and_a_rebuild() {
    let storage = crate::sim::storage(1 << 14);
    let mut group = with_points(&storage);
    let next = group.view().catalogue().unwrap().next_point;
    group.commit().unwrap();
    drop(group);
    let mut group = with_history(&storage);
    let begun = group.point(PointKind::Crash, None).unwrap();
    let ids = |known: &Catalogue| known.all().map(|point| point.id.0).collect::<Vec<_>>();
    assert_eq!((begun.0, ids(group.view().catalogue().unwrap())), (next + 1, vec![next, next + 1]));
    drop(group);
    let rebuilt = crate::journal::rebuild::rebuild(&storage).unwrap().state.journal.unwrap();
    assert_eq!((ids(&rebuilt), rebuilt.next_point), (vec![next, next + 1], next + 2));
    assert_eq!(rebuilt.all().next().unwrap().kind, PointKind::Start);
}

#[test]
fn a_group_that_is_released_knows_nothing_of_its_disks() {
    let storage = crate::sim::storage(1 << 14);
    let mut group = with_points(&storage);
    group.set(of_days(3)).unwrap();
    group.release().unwrap();
    assert!(!group.has_history_open());
    assert_eq!(storage.segments().unwrap(), [] as [SegmentNumber; 0]);
    let again = Group::in_storage(storage, "g").unwrap();
    let state = again.view().state();
    assert!(state.volumes.is_empty() && state.journal.is_none());
    assert_eq!((state.settings, state.dropped().len()), (Some(of_days(3)), 1));
}

#[test]
fn several_points_of_one_place_are_made_at_once() {
    let storage = crate::sim::storage(1 << 14);
    let mut group = with_history(&storage);
    group.begin_history(&Targets::new()).unwrap();
    let point = |name: &str| {
        let (time, name) = (5, Some(name.to_owned()));
        NewPoint { time, kind: PointKind::Crash, name }
    };
    let points = ["a", "b", "c"].map(point);
    let nothing = || AllFlushed::of_nothing();
    let _ = group.checkpoint(nothing(), &[], When::OnTheWay, &points).unwrap();
    let then = group.view().state().clone();
    let _ = group.checkpoint(nothing(), &[], When::OnTheWay, &[]).unwrap();
    let of = |state: &GroupState| {
        let points = state.journal.as_ref().unwrap().all();
        points.map(|point| (point.id.0, point.name.clone())).collect::<Vec<_>>()
    };
    let name = |name: &str| Some(name.to_owned());
    let expected = vec![(0, None), (1, name("a")), (2, name("b")), (3, name("c"))];
    assert_eq!((of(&then), of(group.view().state())), (expected.clone(), expected.clone()));
    assert_eq!(storage.segments().unwrap().len(), 2, "without a point no epoch begins");
    // The journal agrees: a state from before these changes takes them in.
    drop(group);
    assert_eq!(of(with_history(&storage).view().state()), expected);
}

#[test]
fn what_a_checkpoint_says_of_a_volume_is_saved() {
    let order = |time| Some(SourceOrder { time, sequence: 0 });
    let content = |bytes| Some(Consumed { bytes, digest: "00".repeat(16), chained: true });
    let reached = Reached {
        volume: "db".into(),
        target: "wwid".to_owned(),
        target_bytes: 9,
        identity: Default::default(),
        source_bytes: Some(8),
        ends: None,
        order: order(5),
        accepts_older: false,
        was_replaced: false,
        input: input(Format::Native),
        position: 7,
        is_in_write_order: true,
        content: content(7),
    };
    let mut group = Group::in_storage(crate::sim::storage(1 << 10), "g").unwrap();
    let mut say = |one: Reached, when| {
        let _ = group.checkpoint(AllFlushed::of_nothing(), &[one], when, &[]).unwrap();
        group.view().state().volumes["db"].clone()
    };
    let known = say(reached.clone(), When::OnTheWay);
    assert_eq!((known.target.as_deref(), known.target_bytes), (Some("wwid"), 9));
    let on_the_way = InBetween { content: content(7), ..between(Format::Native, false, false) };
    assert_eq!(known.in_between, Some(on_the_way.clone()));
    let known = say(Reached { is_in_write_order: false, ..reached.clone() }, When::AtTheEnd);
    assert_eq!(known.in_between, Some(InBetween { exact: true, unordered: true, ..on_the_way }));
    // A stream that does not state its size, and that was made earlier.
    let head = Some(Head { since: None });
    let earlier = Reached {
        source_bytes: None,
        order: order(3),
        ends: Some(Ends { at: Some("s1".to_owned()), head: head.clone() }),
        ..reached.clone()
    };
    let known = say(earlier.clone(), When::InputComplete);
    assert_eq!((known.source_bytes, known.ends_at.as_deref()), (Some(8), Some("s1")));
    assert_eq!((known.lineage.latest, &known.lineage.head), (order(5), &head));
    assert_eq!((known.in_between, known.lineage.last_content), (None, content(7)));
    let known = say(Reached { accepts_older: true, ..earlier }, When::InputComplete);
    assert_eq!((known.lineage.latest, known.applied.len()), (order(3), 1));
    let image = Reached { was_replaced: true, order: None, input: input(Format::Raw), ..reached };
    let known = say(image, When::InputComplete);
    assert_eq!((known.lineage.latest, &known.lineage.head), (None, &None));
    assert_eq!(*known.applied, [input(Format::Raw)]);
}

#[test]
fn a_state_that_is_lost_is_made_anew_and_saved() {
    let directory = tempfile::tempdir().unwrap();
    let of = |name: &str| directory.path().join(name);
    let place = GroupPlace { state: of("state"), history: Some(of("history")) };
    let mut group = Group::open(&place, "g").unwrap();
    group.open_history(HistorySettings { in_thread: false, ..HistorySettings::default() }).unwrap();
    group
        .overwrite(|state| state.volumes.entry("db".into()).or_default().target_bytes = 7)
        .unwrap();
    let point = group.point(PointKind::App, Some("here".to_owned())).unwrap();
    drop(group);
    fs::remove_file(of("state/state")).unwrap();
    fs::remove_file(of("history/state.copy")).unwrap();
    assert_eq!(Group::open(&place, "g").unwrap_err().kind(), ErrorKind::Integrity);
    let seen = Rebuilding::look(&place, "g").unwrap();
    assert!(seen.state().journal.as_ref().unwrap().point(point).is_some());
    assert!(!of("state/state").exists(), "it was only looked at");
    let rebuilding = Rebuilding::open(&place, "g").unwrap();
    assert_eq!(Group::open(&place, "g").unwrap_err().kind(), ErrorKind::Refused, "it is held");
    let state = rebuilding.state().clone();
    let made = rebuilding.save().unwrap();
    assert_eq!((made.view().name(), &made.view().state().journal), ("g", &state.journal));
    drop(made);
    let again = Group::open(&place, "g").unwrap();
    assert!(again.view().catalogue().unwrap().point(point).is_some());
    // One copy of it is damaged: readers are notified.
    drop(again);
    assert_eq!(GroupView::look(&place, "g").unwrap().notes(), []);
    fs::write(of("history/state.copy"), "rotten").unwrap();
    assert_eq!(GroupView::look(&place, "g").unwrap().notes().len(), 1);
}
