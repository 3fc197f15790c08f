//! The reader: the same frames result from any kind of input, in whatever portions it returns its
//! bytes.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::time::Duration;

use proptest::prelude::*;

use super::{Input, Reader, Unready};
use crate::ErrorKind;
use crate::device::buffer::ArenaPool;
use crate::stream::input::portions::portions;
use crate::stream::svd::tests::{marks, stream};
use crate::stream::{BATCH_BYTES_MAX, BatchHeader, Content, End, Frame, Mark, StreamHeader, svd};

/// An input that returns at most `chunk` bytes at a time, and is interrupted before each of them.
#[derive(Debug)]
struct Trickle {
    bytes: io::Cursor<Vec<u8>>,
    chunk: usize,
    interrupted: bool,
}

impl Read for Trickle {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.interrupted = !self.interrupted;
        if self.interrupted {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let length = room.len().min(self.chunk);
        self.bytes.read(&mut room[..length])
    }
}

fn trickle(bytes: &[u8], chunk: usize) -> Input {
    let bytes = io::Cursor::new(bytes.to_vec());
    Input::from_pipe(Trickle { bytes, chunk, interrupted: false })
}

fn file_of(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    file
}

fn file(bytes: &[u8]) -> Input {
    Input::from_file(file_of(bytes)).unwrap()
}

fn reader(input: Input) -> Reader<svd::Decoder> {
    let length = NonZeroUsize::new(BATCH_BYTES_MAX).unwrap();
    Reader::new("changes.svd", input, svd::Decoder::new(), ArenaPool::new(1, length).unwrap())
}

/// A frame; for a batch with its payload.
#[derive(Debug, PartialEq)]
enum Seen {
    Begin(StreamHeader),
    Batch(BatchHeader, Vec<Vec<u8>>),
    Mark(Mark),
    End(End),
}

fn see(frame: Frame) -> Seen {
    match frame {
        Frame::Begin(header) => Seen::Begin(header),
        Frame::Mark(mark) => Seen::Mark(mark),
        Frame::End(end) => Seen::End(end),
        Frame::Batch(batch) => {
            let bytes = batch.header.pieces.iter().map(|piece| {
                let Content::Data { position } = piece.content else { panic!("{piece:?}") };
                let length = piece.extent.length().get() as usize;
                batch.arena.as_slice()[position..position + length].to_vec()
            });
            let bytes = bytes.collect();
            Seen::Batch(batch.header, bytes)
        }
    }
}

/// All frames, each with where it ends.
fn frames(mut reader: Reader<svd::Decoder>) -> Vec<(u64, Seen)> {
    let mut frames = Vec::new();
    while let Some(frame) = reader.next_frame().unwrap() {
        frames.push((reader.consumed(), see(frame)));
    }
    assert!(reader.next_frame().unwrap().is_none(), "the end is the end");
    frames
}

/// Three streams: `writes` pages, one of them with marks, and one more write.
fn streams(writes: u32) -> Vec<u8> {
    let data = |index: u32| vec![index as u8; 4096];
    let many: Vec<Vec<u8>> = (0..writes).map(data).collect();
    let many: Vec<_> = many
        .iter()
        .zip(0_u32..)
        .map(|(data, index)| (u64::from(index) * 4096, index, index, &data[..]))
        .collect();
    [stream(&many), marks(&[b"a", b"b"]), stream(&[(512, 0, 0, &[9; 512])])].concat()
}

#[test]
fn a_file_and_a_pipe_that_gives_one_byte_at_a_time_give_the_same_frames() {
    let bytes = streams(7);
    let expected = frames(reader(file(&bytes)));
    assert_eq!((expected.len(), expected.last().unwrap().0), (10, bytes.len() as u64));
    for chunk in [1, 7, 4096, 100_000] {
        assert_eq!(frames(reader(trickle(&bytes, chunk))), expected, "{chunk} bytes at a time");
    }
}

#[test]
fn what_is_left_is_the_same_when_resumed_after_any_frame() {
    // More than twice the payload that is read again before the position.
    let bytes = streams(6000);
    let all = frames(reader(file(&bytes)));
    assert!(all.len() > 15);
    let places: Vec<u64> = all.iter().map(|(end, _)| *end).collect();
    for place in [places[1], places[3], places[8], places[11], places[places.len() - 4], u64::MAX] {
        let is_left = |(end, seen): &&(u64, Seen)| {
            *end > place || matches!(seen, Seen::Begin(_) | Seen::End(_))
        };
        let expected: Vec<&(u64, Seen)> = all.iter().filter(is_left).collect();
        for input in [file(&bytes), trickle(&bytes, 100_000)] {
            let mut reader = reader(input);
            reader.resume_after(place);
            let left = frames(reader);
            assert!(left.iter().eq(expected.iter().copied()), "after {place}");
        }
    }
}

#[test]
fn a_stream_that_is_cut_is_truncated_where_it_ends() {
    let bytes = streams(6000);
    // In the payload of the second write, and in that of the last one.
    for cut in [196 + 32 + 4096 + 32 + 100, bytes.len() - 32 - 3] {
        for resumed in [0, cut as u64, u64::MAX] {
            for input in [file(&bytes[..cut]), trickle(&bytes[..cut], 100_000)] {
                let mut reader = reader(input);
                reader.resume_after(resumed);
                let error = loop {
                    match reader.next_frame() {
                        Ok(frame) => assert!(frame.is_some(), "no error"),
                        Err(error) => break error,
                    }
                };
                assert_eq!(error.kind(), ErrorKind::Integrity);
                let expected = format!(
                    "reading changes.svd: at byte {cut} of the stream: \
                     the input ends before the stream's end record"
                );
                assert_eq!(error.chain(), expected);
            }
        }
    }
}

#[test]
fn an_input_that_cannot_be_read_is_an_error_of_its_own() {
    #[derive(Debug)]
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("gone"))
        }
    }
    let bytes = io::Cursor::new(streams(2)[..300].to_vec());
    let mut reader = reader(Input::from_pipe(bytes.chain(Broken)));
    assert!(matches!(reader.next_frame(), Ok(Some(Frame::Begin(_)))));
    let error = reader.next_frame().unwrap_err();
    assert_eq!(
        (error.kind(), error.chain().as_str()),
        (ErrorKind::Failed, "reading changes.svd: gone")
    );
}

#[test]
fn a_file_is_read_from_where_it_stands() {
    let mut opened = file_of(&[b"rubbish", &streams(2)[..]].concat());
    opened.seek(io::SeekFrom::Start(7)).unwrap();
    let mut input = Input::from_file(opened).unwrap();
    assert_eq!(input.peek(4).unwrap(), b"DRTL");
    assert_eq!(frames(reader(input)), frames(reader(file(&streams(2)))));
}

proptest! {
    #[test]
    fn what_is_peeked_at_is_read_again(
        bytes in prop::collection::vec(any::<u8>(), 0..100_000),
        first in 0_usize..32_000, second in 0_usize..32_000, chunk in 1_usize..50_000,
    ) {
        for mut input in [trickle(&bytes, chunk), file(&bytes)] {
            for length in [first, second] {
                let head = &bytes[..length.min(bytes.len())];
                prop_assert_eq!(input.peek(length).unwrap(), head);
            }
            let (mut read, mut filled) = (vec![0; bytes.len() + 1], 0);
            input.fill(&mut read, &mut filled).unwrap();
            prop_assert_eq!(filled, bytes.len());
            prop_assert!(read[..bytes.len()] == bytes);
        }
    }

    #[test]
    fn however_the_bytes_arrive_the_frames_are_the_same_and_nobody_asks_in_vain(
        cuts in prop::collection::vec(0_usize..1_000_000, 0..60), resumed in 0_u64..40_000,
    ) {
        let bytes = streams(7);
        let cuts = cuts.into_iter().map(|cut| cut % bytes.len()).collect();
        let (input, count, reads) = portions(&bytes, cuts);
        let expected = frames(resuming(file(&bytes), resumed));
        let mut resumed_reader = resuming(input, resumed);
        let (mut seen, mut silent, mut passed) = (Vec::new(), 0, 0);
        loop {
            match resumed_reader.poll_frame() {
                Ok(Some(frame)) => seen.push((resumed_reader.consumed(), see(frame))),
                Ok(None) => break,
                Err(Unready::Input) => silent += 1,
                Err(Unready::Passing) => passed += 1,
                Err(error) => panic!("{error:?}"),
            }
        }
        prop_assert!(seen == expected);
        prop_assert_eq!(silent, count, "it says so once for each time that nothing is there");
        let is_passed = |(end, seen): &(u64, Seen)| {
            *end <= resumed && matches!(seen, Seen::Batch(..) | Seen::Mark(_))
        };
        let all = frames(reader(file(&bytes)));
        prop_assert_eq!(passed, all.iter().filter(|frame| is_passed(frame)).count());
        // Each portion, the silence before it, the end, and where the buffer is full.
        let reads = reads.load(Ordering::Relaxed);
        prop_assert!(reads <= 2 * count + 6, "{} reads of {} portions", reads, count);
    }
}

fn resuming(input: Input, after: u64) -> Reader<svd::Decoder> {
    let mut reader = reader(input);
    reader.resume_after(after);
    reader
}

/// The two ends of a pipe, of a pair of sockets, and of a named pipe without a writer so far.
fn silent_inputs() -> Vec<(Input, Box<dyn FnOnce() -> File>)> {
    let file = |end: OwnedFd| File::from(end);
    let (pipe, to_pipe) = io::pipe().unwrap();
    let (socket, to_socket) = std::os::unix::net::UnixStream::pair().unwrap();
    let here = tempfile::tempdir().unwrap();
    let path = here.path().join("pipe");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let named = {
        use std::os::unix::fs::OpenOptionsExt;
        File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap()
    };
    let of = |end: OwnedFd| Input::from_file(File::from(end)).unwrap();
    vec![
        (of(pipe.into()), Box::new(move || file(to_pipe.into()))),
        (of(socket.into()), Box::new(move || file(to_socket.into()))),
        (
            Input::from_file(named).unwrap(),
            Box::new(move || {
                let _here = here;
                File::options().write(true).open(path).unwrap()
            }),
        ),
    ]
}

#[test]
fn an_input_that_is_silent_keeps_nobody_and_one_that_is_open_has_not_ended() {
    let bytes = streams(7);
    for (input, writer) in silent_inputs() {
        let mut reader = reader(input);
        assert!(matches!(reader.poll_frame(), Err(Unready::Input)));
        reader.wait(Duration::from_millis(1)).unwrap();
        assert!(matches!(reader.poll_frame(), Err(Unready::Input)));
        let mut writer = writer();
        let (first, rest) = bytes.split_at(196 + 32 + 100);
        writer.write_all(first).unwrap();
        // An hour is over at once, because something is there.
        reader.wait(Duration::from_secs(3600)).unwrap();
        assert!(matches!(reader.poll_frame(), Ok(Some(Frame::Begin(_)))));
        assert!(matches!(reader.poll_frame(), Err(Unready::Input)));
        writer.write_all(rest).unwrap();
        drop(writer);
        assert_eq!(frames(reader), frames(self::reader(file(&bytes)))[1..]);
    }
}

#[test]
fn a_batch_that_finds_no_memory_is_not_lost() {
    let bytes = streams(3);
    let pool = ArenaPool::new(1, NonZeroUsize::new(BATCH_BYTES_MAX).unwrap()).unwrap();
    let decoder = svd::Decoder::new();
    let mut reader = Reader::new("changes.svd", file(&bytes), decoder, pool.clone());
    let held = pool.take().unwrap();
    assert!(matches!(reader.poll_frame(), Ok(Some(Frame::Begin(_)))));
    for _ in 0..2 {
        assert!(matches!(reader.poll_frame(), Err(Unready::Memory)));
    }
    drop(held);
    assert_eq!(frames(reader), frames(self::reader(file(&bytes)))[1..]);
}
