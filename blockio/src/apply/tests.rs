//! Whole runs onto image files, with a group: what counts as applied before, and what happens to
//! the other volumes when one is dropped.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::ErrorKind;
use crate::apply::source::{Answer, Arrival, Beginning};
use crate::assignment::Assignment;
use crate::device::Engine;
use crate::device::buffer::ArenaPool;
use crate::group::{Group, GroupView};
use crate::journal::state::InBetween;
use crate::stream::input::Input;
use crate::stream::{Format, Name, StreamHeader, VolumeHeader, VolumeIndex, native, rbd_diff};
use crate::units::{ByteCount, ByteOffset};
use crate::volume::{self, TargetRequest};

const SIZE: u64 = 1 << 20;

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// An image of `SIZE` zeros, opened as the target of volume `source`.
    fn target(&self, name: &str, source: Option<&str>) -> Assignment {
        let path = self.path(name);
        if !path.exists() {
            File::create(&path).unwrap().set_len(SIZE).unwrap();
        }
        let request = TargetRequest { path: path.clone(), ..TargetRequest::default() };
        let target = volume::open(&request).unwrap();
        let identity = path.display().to_string().into();
        Assignment { volume: source.unwrap_or_default().into(), target: target.into(), identity }
    }

    fn group(&self) -> Group {
        Group::open(&crate::group::GroupPlace::without_history(&self.path("group")), "g").unwrap()
    }

    /// Puts the unnamed volume in the middle of the last input of its group, with `change`.
    fn set_in_between(&self, change: impl Fn(&mut InBetween)) {
        self.group()
            .overwrite(|state| {
                let volume = state.volumes.get_mut("").unwrap();
                let input = Arc::make_mut(&mut volume.applied).pop().unwrap();
                let mut between =
                    InBetween { input, position: 0, exact: false, unordered: false, content: None };
                change(&mut between);
                volume.in_between = Some(between);
            })
            .unwrap();
    }

    fn apply(&self, inputs: Vec<StreamArgument>, options: ApplyOptions) -> Result<Outcome> {
        let assignments = vec![self.target("disk", None)];
        run(
            &mut self.group(),
            ApplyJob { source: inputs.into(), assignments, options, ..ApplyJob::default() },
            &AtomicBool::new(false),
            &mut |_| {},
        )
    }

    fn content(&self, at: usize) -> u8 {
        fs::read(self.path("disk")).unwrap()[at]
    }
}

fn name(text: &str) -> Option<Name> {
    (!text.is_empty()).then(|| Name::new(text.as_bytes()).unwrap())
}

/// A diff between two snapshots with 4096 bytes of `fill` at `at` and at the next 4096.
fn diff(version: rbd_diff::Version, ends: (&str, &str), at: u64, fill: u8) -> Vec<u8> {
    let (from, to) = (name(ends.0), name(ends.1));
    let header = VolumeHeader { name: None, size: Some(ByteCount::new(SIZE)), from, to };
    let mut bytes = Vec::new();
    let mut encoder = rbd_diff::Encoder::new(&mut bytes, version, &header).unwrap();
    encoder.data(ByteOffset::new(at), &[fill; 4096]).unwrap();
    encoder.data(ByteOffset::new(at + 4096), &[fill; 4096]).unwrap();
    encoder.finish().unwrap();
    bytes
}

fn pipe(bytes: Vec<u8>) -> StreamArgument {
    let input = Input::from_pipe(std::io::Cursor::new(bytes));
    StreamArgument::Open { name: "a pipe".to_owned(), input }
}

fn of(format: Format) -> ApplyOptions {
    ApplyOptions { format: Some(format), engine: Engine::Blocking, ..ApplyOptions::default() }
}

fn is_complete(outcome: &Outcome) -> bool {
    matches!(outcome.ending, Ending::Complete) && outcome.failed_volumes.is_empty()
}

#[test]
fn what_cannot_be_known_again_is_applied_from_its_beginning() {
    let unnamed = |fill| pipe(diff(rbd_diff::Version::V1, ("", ""), 0, fill));
    let image = |fill| pipe(vec![fill; SIZE as usize]);
    // Another image may have the same length.
    let sized = |fill| StreamArgument::Sized { image: Box::new(image(fill)), size_bytes: SIZE };
    let cases: [(Format, &dyn Fn(u8) -> StreamArgument); 3] =
        [(Format::RbdDiff, &unnamed), (Format::Raw, &image), (Format::Raw, &sized)];
    for (format, stream) in cases {
        let place = Place::new();
        place.apply(vec![stream(1)], of(format)).unwrap();
        place.set_in_between(|between| between.position = 5000);
        let outcome = place.apply(vec![stream(2)], of(format)).unwrap();
        assert!(is_complete(&outcome), "{outcome:?}");
        assert_eq!(outcome.summary.resumed_from, None);
        assert_eq!((place.content(0), place.content(4096)), (2, 2), "{format}");
    }
}

/// A service gives all its sessions one pool, and so one budget: none holds memory while it waits
/// for more.
#[test]
fn sessions_that_share_the_memory_of_one_all_come_to_their_end() {
    let pool = ArenaPool::new(2, session::ARENA_BYTES).unwrap();
    std::thread::scope(|scope| {
        for fill in 1..=4 {
            let pool = Some(pool.clone());
            scope.spawn(move || {
                let place = Place::new();
                File::create(place.path("disk")).unwrap().set_len(32 << 20).unwrap();
                let image = (0..32).flat_map(|number| vec![fill + number % 2; SIZE as usize]);
                let source = vec![pipe(image.collect())].into();
                let assignments = vec![place.target("disk", None)];
                let options = of(Format::Raw);
                let job = ApplyJob { source, assignments, options, pool, ..ApplyJob::default() };
                let outcome =
                    run(&mut place.group(), job, &AtomicBool::new(false), &mut |_| {}).unwrap();
                assert!(is_complete(&outcome), "{outcome:?}");
                assert_eq!((place.content(0), place.content((32 << 20) - 1)), (fill, fill + 1));
            });
        }
    });
}

#[test]
fn the_other_version_of_a_diff_is_not_gone_on_with_at_a_place_of_the_first() {
    // A record of v1 is shorter: the same byte of the stream is further along on the disk.
    let place = Place::new();
    let stream = |version| vec![pipe(diff(version, ("", "s1"), 0, 1))];
    place.apply(stream(rbd_diff::Version::V2), of(Format::RbdDiff)).unwrap();
    place.set_in_between(|_| {});
    let refused = place.apply(stream(rbd_diff::Version::V1), of(Format::RbdDiff)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused);
}

#[test]
fn an_export_is_not_taken_for_its_first_diff() {
    let place = Place::new();
    let first = diff(rbd_diff::Version::V2, ("", "s1"), 0, 1);
    place.apply(vec![pipe(first.clone())], of(Format::RbdDiff)).unwrap();
    let mut export = b"rbd image v2\n".to_vec();
    export.extend(b"Erbd image diffs v2\n");
    export.extend(2_u64.to_le_bytes());
    export.extend(&first);
    export.extend(diff(rbd_diff::Version::V2, ("s1", "s2"), 0, 2));
    let refused = place.apply(vec![pipe(export)], of(Format::RbdDiff)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused, "{}", refused.chain());
}

#[test]
fn a_stream_that_was_never_applied_is_not_left_out_before_the_one_begun() {
    let place = Place::new();
    let file = |file: &str, bytes: &[u8]| {
        fs::write(place.path(file), bytes).unwrap();
        StreamArgument::Path(place.path(file))
    };
    let begun = diff(rbd_diff::Version::V2, ("", "s2"), 0, 2);
    place.apply(vec![file("begun", &begun)], of(Format::RbdDiff)).unwrap();
    place.set_in_between(|_| {});
    let never = diff(rbd_diff::Version::V2, ("", "s1"), 65536, 1);
    let inputs = vec![file("never", &never), file("begun", &begun)];
    let refused = place.apply(inputs, of(Format::RbdDiff)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused);
}

#[test]
fn streams_applied_before_the_one_begun_are_left_out() {
    let place = Place::new();
    let file = |file: &str, bytes: &[u8]| {
        fs::write(place.path(file), bytes).unwrap();
        StreamArgument::Path(place.path(file))
    };
    let first = diff(rbd_diff::Version::V2, ("", "s1"), 0, 1);
    let second = diff(rbd_diff::Version::V2, ("s1", "s2"), 65536, 2);
    let both = || vec![file("first", &first), file("second", &second)];
    place.apply(both(), of(Format::RbdDiff)).unwrap();
    place.set_in_between(|_| {});
    let outcome = place.apply(both(), of(Format::RbdDiff)).unwrap();
    assert!(is_complete(&outcome), "{outcome:?}");
    assert_eq!(outcome.summary.inputs_left_out, 1);
}

#[test]
fn a_named_pipe_is_read_once_when_a_volume_is_in_between() {
    let place = Place::new();
    let bytes = diff(rbd_diff::Version::V2, ("", "s1"), 0, 7);
    place.apply(vec![pipe(bytes.clone())], of(Format::RbdDiff)).unwrap();
    place.set_in_between(|_| {});
    let path = place.path("pipe");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let to = path.clone();
    let writer = std::thread::spawn(move || {
        // If a reader opened the pipe and closed it again, the data written would be lost.
        File::options().write(true).open(to).unwrap().write_all(&bytes)
    });
    let outcome = place.apply(vec![StreamArgument::Path(path)], of(Format::RbdDiff)).unwrap();
    assert!(is_complete(&outcome), "{outcome:?}");
    writer.join().unwrap().unwrap();
}

/// A native stream with 100 bytes of `fill` at the beginning of each of the `volumes`.
fn native(volumes: &[(&str, u64)], fill: u8) -> StreamArgument {
    native_known_as(None, volumes, fill)
}

fn native_known_as(
    identity: Option<[u8; 16]>,
    volumes: &[(&str, u64)],
    fill: u8,
) -> StreamArgument {
    pipe(native_bytes(identity, volumes, fill))
}

fn native_bytes(identity: Option<[u8; 16]>, volumes: &[(&str, u64)], fill: u8) -> Vec<u8> {
    let of = |(volume, size): &(&str, u64)| VolumeHeader {
        name: name(volume),
        size: Some(ByteCount::new(*size)),
        ..VolumeHeader::default()
    };
    let volumes: Vec<_> = volumes.iter().map(of).collect();
    let header =
        StreamHeader { format: Format::Native, is_in_write_order: true, identity, volumes };
    let mut bytes = Vec::new();
    let mut encoder = native::Encoder::new(&mut bytes, &header, Default::default()).unwrap();
    for index in 0..header.volumes.len() {
        encoder.data(VolumeIndex(index as u16), ByteOffset::ZERO, &[fill; 100]).unwrap();
    }
    encoder.finish(true).unwrap();
    bytes
}

#[test]
fn an_image_file_is_not_grown_when_another_volume_is_refused() {
    let place = Place::new();
    let assignments = vec![place.target("a", Some("a")), place.target("b", Some("b"))];
    let options = ApplyOptions { accept_resize: true, ..of(Format::Native) };
    place
        .group()
        .overwrite(|state| {
            let known = state.volumes.entry("b".into()).or_default();
            known.target = Some("another disk".to_owned());
        })
        .unwrap();
    let inputs = vec![native(&[("a", 2 * SIZE), ("b", SIZE)], 1)];
    let job = ApplyJob { source: inputs.into(), assignments, options, ..ApplyJob::default() };
    let refused = run(&mut place.group(), job, &AtomicBool::new(false), &mut |_| {}).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused);
    assert_eq!(fs::metadata(place.path("a")).unwrap().len(), SIZE);
}

#[test]
fn a_volume_that_failed_in_one_stream_does_not_keep_the_others_from_the_next() {
    let place = Place::new();
    let assignments = vec![place.target("a", Some("a")), place.target("b", Some("b"))];
    // A sector of `b` cannot be read any more, so none of it can be changed in part.
    File::options().write(true).open(place.path("b")).unwrap().set_len(0).unwrap();
    let volumes = [("a", SIZE), ("b", SIZE)];
    let inputs = vec![native(&volumes, 1), native(&volumes, 2)];
    let job = ApplyJob {
        source: inputs.into(),
        assignments,
        options: of(Format::Native),
        ..ApplyJob::default()
    };
    let outcome = run(&mut place.group(), job, &AtomicBool::new(false), &mut |_| {}).unwrap();
    assert!(matches!(outcome.ending, Ending::Complete), "{outcome:?}");
    assert_eq!(outcome.failed_volumes.len(), 1);
    assert_eq!(fs::read(place.path("a")).unwrap()[0], 2);
    assert!(place.group().view().state().volumes["b"].in_between.is_some());
}

#[test]
fn a_dry_run_follows_a_chain_over_several_streams() {
    let place = Place::new();
    let link = |ends, fill| pipe(diff(rbd_diff::Version::V2, ends, 0, fill));
    place.apply(vec![link(("", "s1"), 1)], of(Format::RbdDiff)).unwrap();
    let before = fs::read(place.path("group/state")).unwrap();
    let options = ApplyOptions { dry_run: true, ..of(Format::RbdDiff) };
    let chain = vec![link(("s1", "s2"), 2), link(("s2", "s3"), 3)];
    let outcome = place.apply(chain, options).unwrap();
    assert!(is_complete(&outcome), "{outcome:?}");
    assert_eq!((place.content(0), fs::read(place.path("group/state")).unwrap()), (1, before));
    let gap = vec![link(("s1", "s2"), 2), link(("s3", "s4"), 3)];
    assert_eq!(place.apply(gap, options).unwrap_err().kind(), ErrorKind::Refused);
}

#[test]
fn two_volumes_of_one_name_are_refused() {
    let place = Place::new();
    let assignments = vec![place.target("a", Some("a"))];
    let inputs = vec![native(&[("a", SIZE), ("a", SIZE)], 1)];
    let job = ApplyJob {
        source: inputs.into(),
        assignments,
        options: of(Format::Native),
        ..ApplyJob::default()
    };
    let refused =
        run(&mut Group::default(), job, &AtomicBool::new(false), &mut |_| {}).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Usage);
}

#[test]
fn after_a_whole_image_a_stream_that_was_applied_before_it_is_applied_again() {
    let place = Place::new();
    let day = || vec![native_known_as(Some([7; 16]), &[("", SIZE)], 9)];
    place.apply(day(), of(Format::Native)).unwrap();
    assert_eq!(place.apply(day(), of(Format::Native)).unwrap().summary.inputs_left_out, 1);
    place.apply(vec![pipe(vec![1; SIZE as usize])], of(Format::Raw)).unwrap();
    assert_eq!(place.content(0), 1);
    place.apply(day(), of(Format::Native)).unwrap();
    assert_eq!(place.content(0), 9);
}

/// Inputs that record what their source is told, each time with what the group has saved by then.
#[derive(Debug)]
struct Listening {
    inputs: Inputs,
    group: PathBuf,
    told: Arc<Mutex<Vec<(u64, u64)>>>,
}

impl Source for Listening {
    fn is_also(&self, target: &File) -> Option<String> {
        self.inputs.is_also(target)
    }

    fn begin(&mut self, run: &Beginning<'_>) -> Result<u64> {
        self.inputs.begin(run)
    }

    fn next(&mut self, patience: Duration) -> Arrival {
        self.inputs.next(patience)
    }

    fn answer(&mut self, answer: Answer) {
        self.inputs.answer(answer);
    }

    fn durable(&mut self, position: u64) {
        let place = crate::group::GroupPlace::without_history(&self.group);
        let saved = GroupView::look(&place, "g").unwrap().state().volumes[""].clone();
        let reached = match (saved.in_between, saved.lineage.last_content) {
            (Some(between), _) => between.position,
            (None, Some(content)) => content.bytes,
            (None, None) => 0,
        };
        self.told.lock().unwrap().push((position, reached));
    }
}

#[test]
fn a_source_is_told_what_is_durable_once_the_group_has_saved_it() {
    let place = Place::new();
    let volumes = vec![VolumeHeader { size: Some(ByteCount::new(SIZE)), ..Default::default() }];
    let header =
        StreamHeader { format: Format::Native, is_in_write_order: true, identity: None, volumes };
    let mut bytes = Vec::new();
    let mut encoder = native::Encoder::new(&mut bytes, &header, Default::default()).unwrap();
    for at in 0..3 {
        encoder.data(VolumeIndex(0), ByteOffset::new(at * 4096), &[1; 4096]).unwrap();
        let kind = crate::stream::MarkKind::CrashConsistent;
        let time = crate::stream::Timestamp(1 + at);
        encoder.mark(&crate::stream::Mark { kind, time, name: None, group: None }).unwrap();
    }
    encoder.finish(true).unwrap();
    let length = bytes.len() as u64;
    let told = Arc::default();
    let source = Listening {
        inputs: Inputs::new(vec![pipe(bytes)]),
        group: place.path("group"),
        told: Arc::clone(&told),
    };
    let job = ApplyJob {
        source: Box::new(source),
        assignments: vec![place.target("disk", None)],
        options: of(Format::Native),
        ..ApplyJob::default()
    };
    let outcome = run(&mut place.group(), job, &AtomicBool::new(false), &mut |_| {}).unwrap();
    assert!(is_complete(&outcome), "{outcome:?}");
    let told = told.lock().unwrap().clone();
    // Each mark is recorded before the data after it is written.
    assert!(told.len() >= 3, "{told:?}");
    assert!(told.iter().all(|(position, saved)| position == saved), "{told:?}");
    assert!(told.is_sorted() && told.last() == Some(&(length, length)), "{told:?}");
}

#[test]
fn an_image_without_a_byte_is_no_image() {
    let place = Place::new();
    let refused = place.apply(vec![pipe(Vec::new())], of(Format::Raw)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Integrity);
    assert!(refused.to_string().contains("is empty"), "{refused}");
    assert!(place.group().view().state().volumes.is_empty(), "something was recorded");
}

mod ends;
mod silent;
