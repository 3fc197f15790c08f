//! How runs end, and how they treat what exists when they begin.

use super::*;
use crate::apply::source::Fed;
use crate::assignment::{Disk, OpenDevice};
use crate::device::Geometry;
use crate::device::memory::MemoryDevice;
use crate::units::SectorSize;

/// A native stream of one volume, with a mark before each of three batches.
fn marked() -> Vec<u8> {
    let volumes = vec![VolumeHeader { size: Some(ByteCount::new(SIZE)), ..Default::default() }];
    let header =
        StreamHeader { format: Format::Native, is_in_write_order: true, identity: None, volumes };
    let mut bytes = Vec::new();
    let mut encoder = native::Encoder::new(&mut bytes, &header, Default::default()).unwrap();
    for number in 0..3 {
        encoder.data(VolumeIndex(0), ByteOffset::new(number * 4096), &[1; 4096]).unwrap();
        let kind = crate::stream::MarkKind::CrashConsistent;
        let time = crate::stream::Timestamp(1 + number);
        encoder.mark(&crate::stream::Mark { kind, time, name: None, group: None }).unwrap();
    }
    encoder.finish(true).unwrap();
    bytes
}

/// The same, without its end.
fn cut() -> Vec<u8> {
    let mut bytes = marked();
    bytes.truncate(bytes.len() - 20);
    bytes
}

#[test]
fn what_is_cut_off_is_a_failure_with_what_was_done_and_of_a_pipe_it_may_be_announced() {
    for (resume, is_pipe) in [(false, true), (true, true), (true, false)] {
        let place = Place::new();
        let options = ApplyOptions { resume, ..of(Format::Native) };
        let input = match is_pipe {
            true => pipe(cut()),
            false => {
                fs::write(place.path("stream"), cut()).unwrap();
                StreamArgument::Path(place.path("stream"))
            }
        };
        let outcome = place.apply(vec![input], options).unwrap();
        match outcome.ending {
            Ending::Incomplete => assert!(resume && is_pipe),
            Ending::Failed(_) => assert!(!resume || !is_pipe),
            Ending::Complete | Ending::Stopped => panic!("{outcome:?}"),
        }
        assert_eq!((place.content(0), outcome.summary.bytes), (1, 3 * 4096));
        let known = place.group().view().state().volumes[""].clone();
        assert!(known.in_between.unwrap().exact, "nothing was written after it");
    }
}

#[test]
fn what_cannot_be_believed_is_not_taken_for_cut_off() {
    let place = Place::new();
    let mut rotten = marked();
    let last = rotten.len() - 30;
    rotten[last] ^= 1;
    let options = ApplyOptions { resume: true, ..of(Format::Native) };
    let outcome = place.apply(vec![pipe(rotten)], options).unwrap();
    assert!(matches!(outcome.ending, Ending::Failed(_)), "{outcome:?}");
}

#[test]
fn what_fails_before_anything_is_written_is_an_error_and_no_outcome() {
    let place = Place::new();
    let refused = place.apply(vec![pipe(marked()[..10].to_vec())], of(Format::Native));
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Integrity);
}

#[test]
fn a_run_whose_volumes_have_all_failed_ends_and_reads_no_further() {
    let place = Place::new();
    let (capacity, sector_size) = (ByteCount::new(SIZE), SectorSize::Bytes512);
    let broken = MemoryDevice::new(Geometry { capacity, sector_size });
    let broken = Box::new(broken.failing_writes(0, libc::EIO));
    let assignment = Assignment {
        volume: Default::default(),
        target: Disk::Device(OpenDevice::new("disk".to_owned(), broken)),
        identity: "disk".to_owned().into(),
    };
    fs::write(place.path("stream"), cut()).unwrap();
    let job = ApplyJob {
        source: vec![StreamArgument::Path(place.path("stream"))].into(),
        assignments: vec![assignment],
        options: of(Format::Native),
        ..ApplyJob::default()
    };
    let mut told = 0;
    let outcome = run(&mut place.group(), job, &AtomicBool::new(false), &mut |event| {
        told += usize::from(matches!(event, ApplyEvent::VolumeFailed(_)));
    });
    let outcome = outcome.unwrap();
    assert!(matches!(outcome.ending, Ending::Complete), "{outcome:?}");
    assert_eq!((outcome.failed_volumes.len(), told), (1, 1));
}

#[test]
fn an_image_file_is_grown_when_that_is_accepted() {
    let place = Place::new();
    let options = ApplyOptions { accept_resize: true, ..of(Format::Native) };
    let assignments = vec![place.target("a", Some("a"))];
    let source = vec![native(&[("a", 2 * SIZE)], 1)].into();
    let job = ApplyJob { source, assignments, options, ..ApplyJob::default() };
    let outcome = run(&mut place.group(), job, &AtomicBool::new(false), &mut |_| {}).unwrap();
    assert!(is_complete(&outcome));
    assert_eq!(fs::metadata(place.path("a")).unwrap().len(), 2 * SIZE);
}

#[test]
fn a_stream_that_is_its_own_target_is_refused_by_name() {
    let place = Place::new();
    let _ = place.target("disk", None);
    fs::hard_link(place.path("disk"), place.path("stream")).unwrap();
    let input = StreamArgument::Path(place.path("stream"));
    let refused = place.apply(vec![input], of(Format::Raw)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused);
    assert!(refused.to_string().contains("/stream is both a stream and a target"), "{refused}");
}

#[test]
fn a_run_that_verifies_reads_back_what_it_wrote_and_comes_to_its_end() {
    for engine in [Engine::Blocking, Engine::Auto] {
        let place = Place::new();
        let options = ApplyOptions { verify: true, engine, ..of(Format::Native) };
        // 100 bytes: a sector that changes in part.
        let outcome = place.apply(vec![native(&[("", SIZE)], 3), pipe(marked())], options);
        assert!(is_complete(&outcome.unwrap()));
        assert_eq!((place.content(0), place.content(4096 * 3)), (1, 0));
    }
}

#[test]
fn a_link_that_comes_again_with_another_content_is_noticed() {
    let place = Place::new();
    let link = |fill| vec![pipe(diff(rbd_diff::Version::V2, ("", "s1"), 0, fill))];
    place.apply(link(1), of(Format::RbdDiff)).unwrap();
    let again = place.apply(link(1), of(Format::RbdDiff)).unwrap();
    assert_eq!((is_complete(&again), again.summary.inputs_left_out), (true, 1));
    let other = place.apply(link(2), of(Format::RbdDiff));
    assert_eq!(other.unwrap_err().kind(), ErrorKind::Refused);
    assert_eq!(place.content(0), 1);
}

#[test]
fn a_file_is_read_at_once_while_there_is_memory_for_it() {
    let place = Place::new();
    fs::write(place.path("stream"), marked()).unwrap();
    let pool = ArenaPool::new(1, session::ARENA_BYTES).unwrap();
    let mut inputs = Inputs::new(vec![StreamArgument::Path(place.path("stream"))]);
    let (group, options) = (place.group(), of(Format::Native));
    let run = Beginning { group: group.view(), volumes: &[], options, pool: &pool };
    assert_eq!(inputs.begin(&run).unwrap(), 0);
    let all_of_it = pool.take().unwrap();
    let begins = inputs.next(Duration::ZERO);
    assert!(matches!(begins, Arrival::Item(Fed::Begin { is_first: true, .. })), "{begins:?}");
    let bounds = vec![crate::verify::Bounds { source: None, target: None }];
    inputs.answer(Answer::Apply { bounds, resume_after: 0, expected: Vec::new() });
    let nothing = inputs.next(Duration::ZERO);
    assert!(matches!(nothing, Arrival::NoMemory), "whoever writes has the memory: {nothing:?}");
    drop(all_of_it);
    let batch = inputs.next(Duration::ZERO);
    assert!(matches!(batch, Arrival::Item(Fed::Batch(..))), "{batch:?}");
}

#[test]
fn the_last_input_is_known_as_the_last() {
    let place = Place::new();
    let pool = ArenaPool::new(2, session::ARENA_BYTES).unwrap();
    let files = ["one", "two"].map(|name| {
        fs::write(place.path(name), marked()).unwrap();
        StreamArgument::Path(place.path(name))
    });
    let mut inputs = Inputs::new(files.into());
    let (group, options) = (place.group(), of(Format::Native));
    let run = Beginning { group: group.view(), volumes: &[], options, pool: &pool };
    let _ = inputs.begin(&run).unwrap();
    let mut lasts = Vec::new();
    loop {
        let Arrival::Item(fed) = inputs.next(Duration::from_secs(1)) else { panic!("no item") };
        match fed {
            Fed::Begin { .. } => {
                let bounds = vec![crate::verify::Bounds { source: None, target: None }];
                inputs.answer(Answer::Apply { bounds, resume_after: 0, expected: Vec::new() });
            }
            Fed::InputEnd { is_last } => lasts.push(is_last),
            Fed::Batch(..) | Fed::Mark(..) | Fed::End(..) => {}
            Fed::Failed { error, .. } => panic!("{}", error.chain()),
            Fed::Done => break,
        }
    }
    assert_eq!(lasts, [false, true]);
}

#[test]
fn volumes_that_have_the_stream_that_was_begun_need_not_be_in_the_middle_of_it() {
    let place = Place::new();
    let volumes = [("a", SIZE), ("b", SIZE)];
    let inputs = || {
        let file = |identity: u8| {
            let path = place.path(&identity.to_string());
            fs::write(&path, native_bytes(Some([identity; 16]), &volumes, identity)).unwrap();
            StreamArgument::Path(path)
        };
        vec![file(1), file(2)]
    };
    let apply = || {
        let job = ApplyJob {
            source: inputs().into(),
            assignments: volumes.map(|(name, _)| place.target(name, Some(name))).into(),
            options: of(Format::Native),
            ..ApplyJob::default()
        };
        run(&mut place.group(), job, &AtomicBool::new(false), &mut |_| {}).unwrap()
    };
    assert!(is_complete(&apply()));
    // "b" has both inputs to their end, and "a" is in the middle of the second.
    let change = |state: &mut crate::journal::state::GroupState| {
        let volume = state.volumes.get_mut("a").unwrap();
        let input = Arc::make_mut(&mut volume.applied).pop().unwrap();
        let (position, exact, unordered) = (0, false, false);
        volume.in_between = Some(InBetween { input, position, exact, unordered, content: None });
    };
    place.group().overwrite(change).unwrap();
    let names = volumes.map(|(name, _)| name.into());
    let pool = ArenaPool::new(2, session::ARENA_BYTES).unwrap();
    let (group, options) = (place.group(), of(Format::Native));
    let beginning = Beginning { group: group.view(), volumes: &names, options, pool: &pool };
    assert_eq!(Inputs::new(inputs()).begin(&beginning).unwrap(), 1, "it was opened and asked");
}
