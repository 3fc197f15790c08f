//! Which targets are recognised as the known one.

use std::fs;
use std::os::unix::fs::FileExt;

use super::*;
use crate::ErrorKind;
use crate::group::{Group, GroupPlace};
use crate::journal::state::{Fingerprint, InBetween};
use crate::remedy::Remedy;
use crate::stream::{Format, StreamHeader};
use crate::volume::{self, TargetRequest};
use crate::volume_name::VolumeName;

const SIZE: u64 = 8 << 20;

struct Here {
    directory: tempfile::TempDir,
}

impl Here {
    fn new() -> Self {
        let here = Self { directory: tempfile::tempdir().unwrap() };
        fs::File::create(here.path()).unwrap().set_len(SIZE).unwrap();
        here
    }

    fn path(&self) -> std::path::PathBuf {
        self.directory.path().join("disk")
    }

    fn assignment(&self, change: impl FnOnce(&mut KnownAs)) -> Assignment {
        let request = TargetRequest { path: self.path(), ..TargetRequest::default() };
        let target = volume::open(&request).unwrap().into();
        let mut identity = KnownAs::from("/dev/loop0".to_owned());
        change(&mut identity);
        Assignment { volume: VolumeName::unnamed(), target, identity }
    }

    /// A group that knows the disk in its current state.
    fn group(&self, change: impl FnOnce(&mut VolumeState)) -> Group {
        let place = GroupPlace::without_history(&self.directory.path().join("g"));
        let mut group = Group::open(&place, "g").unwrap();
        let mut assignment = self.assignment(|known| {
            known.serial = Some("s1".to_owned());
            known.backing_file = Some("/srv/a".to_owned());
        });
        let mut identity = assignment.target_identity();
        identity.content = crate::target_identity::content(assignment.target.held(), SIZE);
        group
            .overwrite(|state| {
                let volume = state.volumes.entry(VolumeName::unnamed()).or_default();
                volume.target = Some("/dev/loop0".to_owned());
                volume.target_bytes = SIZE;
                volume.identity = Some(identity);
                change(volume);
            })
            .unwrap();
        group
    }
}

fn known(known: &mut KnownAs) {
    (known.serial, known.backing_file) = (Some("s1".to_owned()), Some("/srv/a".to_owned()));
}

#[track_caller]
fn is_refused(outcome: Result<Vec<crate::notice::Notice>>, words: &[&str]) {
    let refused = outcome.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused);
    let told = format!("{refused} {:?}", Remedy::of(&refused).unwrap());
    for word in words {
        assert!(told.contains(word), "{word}: {told}");
    }
}

#[test]
fn the_same_disk_is_taken_and_what_differs_is_named() {
    let here = Here::new();
    let group = here.group(|_| {});
    let ask = |change: &dyn Fn(&mut KnownAs), accept| {
        let assignment = here.assignment(|one| {
            known(one);
            change(one);
        });
        check(group.view(), &mut [assignment], accept)
    };
    assert_eq!(ask(&|_| {}, false).unwrap(), []);
    let moved = ask(&|one| one.name = "/dev/loop7".to_owned(), false).unwrap();
    assert!(
        moved[0].to_string().contains("knows it as /dev/loop0")
            && moved[0].to_string().contains("/srv/a"),
        "{moved:?}"
    );
    let other_file = |one: &mut KnownAs| one.backing_file = Some("/srv/b".to_owned());
    is_refused(ask(&other_file, false), &["/srv/a", "/srv/b", "Accept"]);
    assert_eq!(ask(&other_file, true).unwrap().len(), 1);
    let other_serial = |one: &mut KnownAs| one.serial = Some("s2".to_owned());
    is_refused(ask(&other_serial, false), &["s1", "s2"]);
    let other = |one: &mut KnownAs| *one = KnownAs::from("/dev/sdz".to_owned());
    is_refused(ask(&other, false), &["/dev/loop0", "/dev/sdz"]);
}

#[test]
fn what_something_else_wrote_is_noticed_where_the_content_is_known_and_only_there() {
    let here = Here::new();
    let mut group = here.group(|_| {});
    let ask = |group: &Group| check(group.view(), &mut [here.assignment(known)], false);
    let file = fs::File::options().write(true).open(here.path()).unwrap();
    file.write_all_at(&[1], SIZE - 1).unwrap();
    is_refused(ask(&group), &["does not hold what the group left", "byte 8384512"]);
    file.write_all_at(&[0], SIZE - 1).unwrap();
    file.write_all_at(b"XFSB", 0).unwrap();
    is_refused(ask(&group), &["its filesystem is xfs 00000000-", "was none"]);
    let (format, identity) = (Format::Native, Some([1; 16]));
    let input = Fingerprint::of(
        &StreamHeader { format, is_in_write_order: true, identity, volumes: Vec::new() },
        0,
    );
    let mut set = |exact| {
        let between =
            InBetween { input: input.clone(), position: 1, exact, unordered: false, content: None };
        let between = Some(between);
        group.overwrite(|state| state.volumes.get_mut("").unwrap().in_between = between).unwrap();
        ask(&group)
    };
    is_refused(set(true), &["does not hold"]);
    assert!(set(false).is_ok(), "what a run left that was cut short is not known");
}

#[test]
fn a_disk_that_is_another_volume_of_the_group_is_refused() {
    let here = Here::new();
    let group = here.group(|_| {});
    let mut again = here.assignment(known);
    again.volume = "db".into();
    let words = ["as the unnamed volume", "NameAsBefore", "volume: None"];
    is_refused(check(group.view(), &mut [again], true), &words);
    let mut moved = here.assignment(|one| {
        known(one);
        one.name = "/dev/loop3".to_owned();
    });
    moved.volume = "db".into();
    is_refused(check(group.view(), &mut [moved], false), &words);
}

#[test]
fn larger_is_the_same_disk_and_smaller_or_of_longer_sectors_is_not() {
    let here = Here::new();
    let larger = here.group(|volume| volume.target_bytes = SIZE - 4096);
    assert!(check(larger.view(), &mut [here.assignment(known)], false).is_ok());
    drop(larger);
    let smaller = here.group(|volume| volume.target_bytes = SIZE + 1);
    is_refused(check(smaller.view(), &mut [here.assignment(known)], false), &["8388609"]);
    drop(smaller);
    let longer = here.group(|volume| volume.identity.as_mut().unwrap().sector_bytes = 256);
    is_refused(check(longer.view(), &mut [here.assignment(known)], false), &["sectors of"]);
}
