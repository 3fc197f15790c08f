//! Raw images: their content is returned, and their holes and zeros cost no payload.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt;

use super::{Image, RawReader};
use crate::ErrorKind;
use crate::device::buffer::ArenaPool;
use crate::stream::input::Input;
use crate::stream::input::portions::portions;
use crate::stream::{BATCH_BYTES_MAX, Batch, Content, End, Frame, Totals};

const BLOCK: usize = 64 << 10;

fn pool() -> ArenaPool {
    ArenaPool::new(1, NonZeroUsize::new(BATCH_BYTES_MAX).unwrap()).unwrap()
}

/// Bytes of which no block is zero.
fn noise(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index % 251) as u8 + 1).collect()
}

fn file_with(parts: &[(u64, &[u8])], size: u64) -> File {
    let file = tempfile::tempfile().unwrap();
    file.set_len(size).unwrap();
    for (offset, bytes) in parts {
        file.write_all_at(bytes, *offset).unwrap();
    }
    file
}

fn raw(file: &File) -> RawReader {
    let input = Input::from_file(file.try_clone().unwrap()).unwrap();
    RawReader::new("image", input, pool()).unwrap()
}

/// An input that returns at most `chunk` bytes at a time, and is interrupted every other time.
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
        let room_len = room.len().min(self.chunk);
        self.bytes.read(&mut room[..room_len])
    }
}

fn pipe(bytes: &[u8]) -> RawReader {
    let size = Some(bytes.len() as u64);
    let bytes = io::Cursor::new(bytes.to_vec());
    let input = Input::from_pipe(Trickle { bytes, chunk: 1000, interrupted: false });
    RawReader::of_size("pipe", input, size, pool()).unwrap()
}

fn pipe_of(bytes: &[u8], size: Option<u64>) -> RawReader {
    let input = Input::from_pipe(io::Cursor::new(bytes.to_vec()));
    RawReader::of_size("pipe", input, size, pool()).unwrap()
}

/// Whether the end that it reaches is consistent.
fn end(mut reader: RawReader) -> crate::Result<bool> {
    loop {
        if let Some(Frame::End(end)) = reader.next_frame()? {
            return Ok(end.consistent);
        }
    }
}

#[test]
fn a_pipe_that_does_not_end_where_the_image_does_is_no_image() {
    let bytes = noise(3 * BLOCK + 512);
    let size = bytes.len() as u64;
    assert!(end(pipe_of(&bytes, Some(size))).unwrap());
    for (said, why) in [(size + 1, "should have"), (size - 1, "bytes follow"), (0, "follow")] {
        let error = end(pipe_of(&bytes, Some(said))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Integrity, "{said}");
        assert!(error.chain().contains(why), "{}", error.chain());
    }
}

#[test]
fn the_end_of_a_pipe_of_unknown_size_is_no_state_of_the_source() {
    assert!(!end(pipe_of(&noise(BLOCK), None)).unwrap());
    assert!(!end(pipe_of(&[], None)).unwrap());
    assert!(end(raw(&file_with(&[(0, &noise(BLOCK))], BLOCK as u64))).unwrap());
}

/// A summary of a batch: each piece's start, length, and whether it is data. `see` also applies it
/// to a disk.
type Seen = Vec<(u64, u64, bool)>;

fn see(batch: &Batch, disk: &mut Vec<u8>) -> Seen {
    let mut seen = Vec::new();
    for piece in &batch.header.pieces {
        let (start, length) = (piece.extent.start().get(), piece.extent.length().get());
        let range = start as usize..(start + length) as usize;
        disk.resize(disk.len().max(range.end), 0xEE);
        match piece.content {
            Content::Data { position } => {
                assert_eq!(position as u64 % 4096, start % 4096);
                assert!(position + length as usize <= batch.header.payload_bytes);
                disk[range].copy_from_slice(&batch.arena.as_slice()[position..][..length as usize]);
            }
            Content::Zero => disk[range].fill(0),
            Content::Discard => panic!("an image has none"),
        }
        seen.push((start, length, matches!(piece.content, Content::Data { .. })));
    }
    seen
}

/// All batches with where they end, the resulting disk, and the totals.
fn read(reader: &mut RawReader) -> (Vec<(u64, Seen)>, Vec<u8>, Totals) {
    let (mut batches, mut disk) = (Vec::new(), Vec::new());
    assert!(matches!(reader.next_frame().unwrap(), Some(Frame::Begin(_))));
    loop {
        match reader.next_frame().unwrap().unwrap() {
            Frame::Batch(batch) => batches.push((reader.consumed(), see(&batch, &mut disk))),
            Frame::End(End { totals, consistent: true }) => {
                assert!(reader.next_frame().unwrap().is_none());
                return (batches, disk, totals);
            }
            other => panic!("{other:?}"),
        }
    }
}

fn sizes(reader: &mut RawReader) -> Option<u64> {
    let Some(Frame::Begin(header)) = reader.next_frame().unwrap() else { panic!("no header") };
    header.volumes[0].size.map(|size| size.get())
}

#[test]
fn a_sparse_file_is_data_between_zeros_and_may_end_between_sectors() {
    let data = noise(BLOCK);
    let size = 16 << 30;
    let file = file_with(&[(1 << 30, &data), (size - 3, b"end")], size);
    let mut reader = raw(&file);
    assert_eq!(sizes(&mut reader), Some(size));
    let Some(Frame::Batch(batch)) = reader.next_frame().unwrap() else { panic!("no batch") };
    let told: Seen = batch
        .header
        .pieces
        .iter()
        .map(|piece| {
            let is_data = matches!(piece.content, Content::Data { .. });
            (piece.extent.start().get(), piece.extent.length().get(), is_data)
        })
        .collect();
    let after = (1 << 30) + BLOCK as u64;
    assert_eq!(told[..2], [(0, 1 << 30, false), (1 << 30, BLOCK as u64, true)]);
    assert_eq!(told[2], (after, size - 4096 - after, false));
    assert_eq!(told[3], (size - 4096, 4096, true));
    drop(batch);
    assert!(matches!(reader.next_frame().unwrap(), Some(Frame::End(_))));
}

#[test]
fn a_file_comes_out_as_it_is_whatever_is_zero_in_it() {
    let data = noise((5 << 20) + 17);
    let zeros = vec![0; 3 * BLOCK];
    for size in [data.len() as u64 + 1, (6 << 20) + 513, 9 << 20] {
        let file = file_with(&[(0, &data), (BLOCK as u64 + 4096, &zeros)], size);
        let mut expected = vec![0; size as usize];
        file.read_exact_at(&mut expected, 0).unwrap();
        let (batches, disk, totals) = read(&mut raw(&file));
        assert!(disk == expected);
        assert_eq!(totals.data_bytes + totals.zero_bytes, size);
        // Of three unaligned blocks of zeros, two are found.
        assert!(totals.zero_bytes >= 2 * BLOCK as u64);
        let pieces: u64 = batches.iter().map(|(_, seen)| seen.len() as u64).sum();
        assert_eq!(totals.extents, pieces);
    }
}

#[test]
fn a_pipe_comes_out_as_it_is_and_says_no_size() {
    let mut bytes = noise((5 << 20) + 17);
    bytes[BLOCK..3 * BLOCK].fill(0);
    assert_eq!(sizes(&mut pipe(&bytes)), Some(bytes.len() as u64));
    let (batches, disk, totals) = read(&mut pipe(&bytes));
    assert!(disk == bytes);
    assert_eq!(totals.zero_bytes, 2 * BLOCK as u64);
    let places: Vec<u64> = batches.iter().map(|(end, _)| *end).collect();
    assert_eq!(places, [2 << 20, 4 << 20, bytes.len() as u64]);
}

#[test]
fn an_image_that_comes_in_portions_gives_the_same_batches() {
    let mut bytes = noise((5 << 20) + 17);
    bytes[BLOCK..3 * BLOCK].fill(0);
    let expected = read(&mut pipe(&bytes));
    let of = |cuts: Vec<usize>| {
        let (input, ..) = portions(&bytes, cuts);
        RawReader::of_size("portions", input, Some(bytes.len() as u64), pool()).unwrap()
    };
    for step in [BLOCK - 1, 100_003, 1 << 20, 6 << 20] {
        let cuts: Vec<usize> = (0..bytes.len()).step_by(step).collect();
        assert!(read(&mut of(cuts.clone())) == expected, "every {step} bytes");
        for (end, _) in &expected.0 {
            let mut reader = of(cuts.clone());
            reader.resume_after(*end);
            let left: Vec<_> = expected.0.iter().filter(|(at, _)| at > end).cloned().collect();
            assert_eq!(read(&mut reader).0, left, "every {step} bytes, after {end}");
        }
    }
}

#[test]
fn nothing_is_an_image_without_batches() {
    let (batches, _, totals) = read(&mut pipe(&[]));
    assert_eq!((batches.len(), totals), (0, Totals::default()));
    let (batches, _, totals) = read(&mut raw(&file_with(&[], 0)));
    assert_eq!((batches.len(), totals), (0, Totals::default()));
}

#[test]
fn an_image_resumed_gives_the_same_batches_as_without_for_what_is_left() {
    let mut bytes = noise((7 << 20) + 17);
    bytes[3 << 20..(4 << 20) + 100].fill(0);
    let file = file_with(&[(0, &bytes)], bytes.len() as u64 + (1 << 20));
    // Clones of a file share one position.
    let from_file = || {
        (&file).rewind().unwrap();
        raw(&file)
    };
    for make in [&from_file as &dyn Fn() -> RawReader, &|| pipe(&bytes)] {
        let (all, ..) = read(&mut make());
        for index in 0..all.len() {
            let mut reader = make();
            reader.resume_after(all[index].0);
            assert_eq!(read(&mut reader).0, all[index + 1..]);
        }
    }
}

#[test]
fn a_pipe_that_ends_before_the_place_to_resume_after_is_truncated() {
    let mut reader = pipe(&noise(BLOCK));
    reader.resume_after(BLOCK as u64 + 1);
    reader.next_frame().unwrap();
    let error = reader.next_frame().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Integrity);
    assert!(error.chain().contains("at byte 65536 of the stream"), "{}", error.chain());
}

#[test]
fn a_file_of_which_all_is_left_out_still_begins_and_ends() {
    let mut reader = raw(&file_with(&[(0, &noise(BLOCK))], 4 << 20));
    reader.resume_after(u64::MAX);
    let (batches, _, totals) = read(&mut reader);
    assert_eq!((batches.len(), totals, reader.consumed()), (0, Totals::default(), 4 << 20));
}

#[test]
fn an_image_in_a_file_begins_where_the_file_stands() {
    let mut file = file_with(&[(0, &noise(3 * BLOCK))], 5 * BLOCK as u64);
    io::copy(&mut (&mut file).take(5000), &mut io::sink()).unwrap();
    let (_, disk, _) = read(&mut raw(&file));
    let mut expected = noise(3 * BLOCK)[5000..].to_vec();
    expected.resize(5 * BLOCK - 5000, 0);
    assert!(disk == expected);
}

#[test]
fn a_file_that_grows_or_shrinks_while_it_is_read_is_refused() {
    for size in [1 << 20, (3 << 20) + 5, (8 << 20) + 1] {
        let file = file_with(&[(0, &noise(8 << 20))], 8 << 20);
        let mut reader = raw(&file);
        reader.next_frame().unwrap();
        drop(reader.next_frame().unwrap());
        file.set_len(size).unwrap();
        let error = loop {
            match reader.next_frame() {
                Ok(Some(Frame::Batch(_))) => {}
                Ok(other) => panic!("{other:?}"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::Integrity);
        assert!(error.chain().contains(&format!("has {size} now")), "{}", error.chain());
    }
}

#[test]
fn a_file_whose_filesystem_does_not_know_its_holes_comes_out_the_same() {
    let mut bytes = noise(10 * BLOCK);
    bytes[BLOCK..5 * BLOCK].fill(0);
    let file = file_with(&[(5 * BLOCK as u64, &bytes[5 * BLOCK..])], bytes.len() as u64);
    file.write_all_at(&bytes[..BLOCK], 0).unwrap();
    let mut reader = raw(&file);
    let Image::File { has_holes, .. } = &mut reader.image else { panic!("it is a file") };
    *has_holes = false;
    let (batches, disk, totals) = read(&mut reader);
    assert!(disk == bytes);
    assert_eq!((batches.len(), totals.zero_bytes), (1, 4 * BLOCK as u64));
}

#[test]
fn a_socket_is_read_as_a_pipe() {
    let (mut ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let file = File::from(std::os::fd::OwnedFd::from(theirs));
    let writer = std::thread::spawn(move || ours.write_all(&noise(300_000)));
    let input = Input::from_file(file).unwrap();
    let (_, disk, _) =
        read(&mut RawReader::of_size("socket", input, Some(300_000), pool()).unwrap());
    writer.join().unwrap().unwrap();
    assert!(disk == noise(300_000));
}
