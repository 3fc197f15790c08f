//! How several streams are combined, and what they have to agree on.

use super::*;
use crate::remedy::{Remedy, StreamRemedy};
use crate::stream::VolumeHeader;
use crate::units::ByteCount;

fn name(text: &str) -> Option<Name> {
    (!text.is_empty()).then(|| Name::new(text.as_bytes()).unwrap())
}

fn volume(of: &str, from: &str, to: &str) -> VolumeHeader {
    let size = Some(ByteCount::new(4096));
    VolumeHeader { name: name(of), size, from: name(from), to: name(to) }
}

fn input(volumes: Vec<VolumeHeader>) -> (String, Vec<StreamHeader>) {
    let (format, identity) = (Format::RbdDiff, Some([7; 16]));
    let header = StreamHeader { format, is_in_write_order: true, identity, volumes };
    ("file".to_owned(), vec![header])
}

fn end(kind: MarkKind, time: u64, named: &str) -> (u16, String, Mark) {
    let mark = Mark { time: Timestamp(time), kind, name: name(named), group: None };
    (time as u16, format!("file {time}"), mark)
}

#[test]
fn each_volume_keeps_the_ends_of_its_chain_and_inputs_know_their_volumes() {
    let inputs = [
        input(vec![volume("db", "", "s1")]),
        input(vec![volume("log", "a", "s2"), volume("tmp", "", "s2")]),
        input(vec![volume("db", "s1", "s2")]),
    ];
    let merged = Merged::of(&inputs).unwrap();
    let volumes = [volume("db", "", "s2"), volume("log", "a", "s2"), volume("tmp", "", "s2")];
    assert_eq!(merged.header().volumes, volumes);
    assert!(!merged.header().is_in_write_order && merged.header().identity.is_none());
    assert_eq!(merged.first_volumes, [0, 1, 0]);
    assert_eq!(merged.common_end().unwrap(), name("s2"));
}

#[test]
fn what_has_no_name_or_does_not_follow_or_is_shared_is_refused() {
    let unnamed = input(vec![volume("", "", "s1")]);
    let refused = Merged::of(&[unnamed]).unwrap_err();
    let remedy = StreamRemedy::NameVolumeOf { input: "file".to_owned() };
    assert_eq!(Remedy::of(&refused), Some(&remedy.into()));
    let gap = [input(vec![volume("db", "", "s1")]), input(vec![volume("db", "s2", "s3")])];
    assert!(Merged::of(&gap).unwrap_err().chain().contains("the previous one ends at \"s1\""));
    let shared = [
        input(vec![volume("db", "", "s1")]),
        input(vec![volume("db", "s1", "s2"), volume("log", "", "s2")]),
    ];
    assert!(Merged::of(&shared).unwrap_err().chain().contains("with other volumes"));
}

#[test]
fn volumes_that_end_at_different_snapshots_are_refused_unless_the_mark_is_named() {
    let inputs = [input(vec![volume("db", "", "s1")]), input(vec![volume("log", "", "s2")])];
    let refused = Merged::of(&inputs).unwrap().common_end().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Usage);
    let said = refused.chain();
    assert!(said.contains("\"db\" ends at \"s1\"") && said.contains("\"log\" ends at \"s2\""));
    let ends = [end(MarkKind::CrashConsistent, 1, "s1"), end(MarkKind::CrashConsistent, 2, "s2")];
    assert!(common(&ends, &CommonMark::default()).is_err());
    let said = CommonMark { name: name("monday"), kind: None };
    assert_eq!(common(&ends, &said).unwrap().name, name("monday"));
}

#[test]
fn the_common_mark_is_as_good_as_the_worst_and_as_late_as_the_last() {
    use MarkKind::{ApplicationConsistent as App, CrashConsistent as Crash};
    for (kinds, expected) in [([App, App], App), ([App, Crash], Crash), ([Crash, App], Crash)] {
        let ends = [end(kinds[0], 1, "s"), end(kinds[1], 2, "s")];
        let mark = common(&ends, &CommonMark::default()).unwrap();
        assert_eq!((mark.kind, mark.time, mark.name), (expected, Timestamp(2), name("s")));
    }
    let said = CommonMark { name: None, kind: Some(App) };
    assert_eq!(common(&[end(Crash, 1, "s")], &said).unwrap().kind, App);
}
