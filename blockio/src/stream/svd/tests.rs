//! The decoder of svd streams: helpers for every test here, and what a stream becomes.

mod directory;
mod malformed;
mod samples;

use crate::stream::svd::section::Order;
use crate::stream::svd::{Decoder, WORD_BIG, WORD_LITTLE};
use crate::stream::{
    BATCH_PIECES_MAX, Content, Decoded, Decoder as _, End, Mark, MarkKind, Name, Piece, Timestamp,
    Want, drive,
};

/// The first sequence number and time of the streams made here.
const SEQUENCE: u64 = 1000;
const TIME: u64 = 17_953_825_422_905_286;

/// A write in a stream: offset, deltas, data.
pub(crate) type Write<'a> = (u64, u32, u32, &'a [u8]);

/// Writes sections in either byte order.
struct Writer {
    order: Order,
    bytes: Vec<u8>,
}

impl Writer {
    fn number(&mut self, bytes: &[u8]) -> &mut Self {
        match self.order {
            Order::Little => self.bytes.extend(bytes),
            Order::Big => self.bytes.extend(bytes.iter().rev()),
        }
        self
    }

    fn prefix(&mut self, tag: &[u8; 4], flags: u32) -> &mut Self {
        self.number(tag).number(&1_u32.to_le_bytes()).number(&flags.to_le_bytes())
    }

    fn stamp(&mut self, tag: &[u8; 4], flags: u32, sequence: u64, time: u64) -> &mut Self {
        self.prefix(tag, flags).number(&3_u16.to_le_bytes()).number(&[0]).number(&[24]);
        self.number(&sequence.to_le_bytes()).number(&time.to_le_bytes())
    }

    fn begin(order: Order) -> Self {
        let bytes = match order {
            Order::Little => WORD_LITTLE.to_vec(),
            Order::Big => WORD_BIG.to_vec(),
        };
        let mut writer = Self { order, bytes };
        writer.prefix(b"SVD1", 0).bytes.extend([0; 128]);
        writer.stamp(b"TFV2", 0, SEQUENCE, TIME);
        writer
    }
}

/// A stream of `writes`.
fn stream_in(order: Order, writes: &[Write<'_>]) -> Vec<u8> {
    let mut writer = Writer::begin(order);
    let total: usize = writes.iter().map(|(.., data)| 32 + data.len()).sum();
    writer.prefix(b"LODC", 0).number(&(total as u64).to_le_bytes());
    let (mut sequence, mut time) = (SEQUENCE, TIME);
    for (offset, sequence_delta, time_delta, data) in writes {
        writer.prefix(b"DDV2", 0).number(&(data.len() as u32).to_le_bytes());
        writer.number(&offset.to_le_bytes());
        writer.number(&sequence_delta.to_le_bytes()).number(&time_delta.to_le_bytes());
        writer.bytes.extend(*data);
        sequence = SEQUENCE + u64::from(*sequence_delta);
        time = TIME + u64::from(*time_delta);
    }
    writer.stamp(b"TLV2", 0, sequence, time);
    writer.bytes
}

pub(crate) fn stream(writes: &[Write<'_>]) -> Vec<u8> {
    stream_in(Order::Little, writes)
}

/// A stream of `marks`.
fn marks_in(order: Order, marks: &[&[u8]]) -> Vec<u8> {
    let mut writer = Writer::begin(order);
    for mark in marks {
        writer.prefix(b"USER", mark.len() as u32).bytes.extend(*mark);
    }
    let flags = marks.last().map_or(0, |mark| mark.len() as u32);
    writer.stamp(b"TLV2", flags, SEQUENCE, TIME);
    writer.bytes
}

pub(in crate::stream) fn marks(marks: &[&[u8]]) -> Vec<u8> {
    marks_in(Order::Little, marks)
}

fn decode(bytes: &[u8]) -> Vec<Decoded> {
    let (events, malformed) = drive::events(&mut Decoder::new(), bytes);
    assert_eq!(malformed, None);
    events
}

fn ends(events: &[Decoded]) -> Vec<&End> {
    events
        .iter()
        .filter_map(|event| if let Decoded::End(end) = event { Some(end) } else { None })
        .collect()
}

fn pieces(events: &[Decoded]) -> Vec<Piece> {
    let batches = events.iter().filter_map(|event| match event {
        Decoded::Batch(batch) => Some(batch.pieces.clone()),
        _ => None,
    });
    batches.flatten().collect()
}

fn names(events: &[Decoded]) -> Vec<&str> {
    events
        .iter()
        .map(|event| match event {
            Decoded::Begin(_) => "begin",
            Decoded::Batch(_) => "batch",
            Decoded::Mark(_) => "mark",
            Decoded::End(_) => "end",
        })
        .collect()
}

/// Applies `bytes` to an array, and returns that.
fn applied(bytes: &[u8]) -> Vec<u8> {
    let (mut decoder, mut disk, mut arena) = (Decoder::new(), Vec::new(), vec![0; 8 << 20]);
    let mut left = bytes;
    loop {
        while let Some(event) = decoder.event() {
            if let Decoded::Batch(batch) = event {
                for piece in &batch.pieces {
                    write(piece, &arena, &mut disk);
                }
            }
        }
        if left.is_empty() {
            decoder.end().unwrap();
            return disk;
        }
        let want = decoder.want();
        let (Want::Bytes(length) | Want::BytesOrEnd(length) | Want::Payload { length, .. }) = want
        else {
            panic!("{want:?}");
        };
        let (taken, rest) = left.split_at(length);
        left = rest;
        if let Want::Payload { position, .. } = want {
            arena[position..position + length].copy_from_slice(taken);
            decoder.payload_taken().unwrap();
        } else {
            decoder.take(taken).unwrap();
        }
    }
}

fn write(piece: &Piece, arena: &[u8], disk: &mut Vec<u8>) {
    let Content::Data { position } = piece.content else { panic!("{piece:?}") };
    let (start, end) = (piece.extent.start().get(), piece.extent.end().get());
    assert_eq!(position as u64 % 4096, start % 4096);
    let (start, end) = (start as usize, end as usize);
    disk.resize(disk.len().max(end), 0);
    disk[start..end].copy_from_slice(&arena[position..position + (end - start)]);
}

#[test]
fn where_pieces_overlap_the_order_of_the_stream_is_kept() {
    let (first, second) = ([1; 1024], [2; 512]);
    let bytes = stream(&[(512, 0, 0, &first), (1024, 1, 9, &second), (0, 1, 9, &second)]);
    let starts: Vec<u64> =
        pieces(&decode(&bytes)).iter().map(|piece| piece.extent.start().get()).collect();
    assert_eq!(starts, [512, 1024, 0]);
    let disk = applied(&bytes);
    assert_eq!(disk, [[2; 512], [1; 512], [2; 512]].concat());
}

#[test]
fn a_stream_without_deltas_whose_order_was_not_kept_ends_inconsistent() {
    let data = [7; 512];
    let consistent = |writes: &[Write<'_>]| ends(&decode(&stream(writes)))[0].consistent;
    assert!(consistent(&[(0, 0, 0, &data)]));
    assert!(!consistent(&[(0, 0, 0, &data), (512, 0, 0, &data)]));
    assert!(consistent(&[(0, 0, 0, &data), (512, 1, 0, &data)]));
    assert!(consistent(&[(0, 0, 0, &data), (512, 0, 1, &data)]));
}

#[test]
fn no_mark_is_given_where_order_was_lost_until_it_is_found_again() {
    let data = [7; 512];
    let unordered = stream(&[(0, 0, 0, &data), (0, 0, 0, &data)]);
    let events =
        decode(&[unordered, marks(&[b"a"]), stream(&[(0, 0, 0, &data)]), marks(&[b"b"])].concat());
    assert_eq!(
        names(&events),
        ["begin", "batch", "end", "begin", "end", "begin", "batch", "end", "begin", "mark", "end"]
    );
    let consistent: Vec<bool> = ends(&events).iter().map(|end| end.consistent).collect();
    assert_eq!(consistent, [false, false, true, true]);
}

#[test]
fn a_mark_may_hold_any_bytes_and_is_as_old_as_its_stream() {
    let longest = [b'x'; 256];
    for order in [Order::Little, Order::Big] {
        let events = decode(&marks_in(order, &[b"DDV2", b"\0\xFFTLV2", &longest]));
        assert_eq!(names(&events), ["begin", "mark", "mark", "mark", "end"]);
        for (event, name) in events[1..4].iter().zip([&b"DDV2"[..], b"\0\xFFTLV2", &longest]) {
            let kind = MarkKind::ApplicationConsistent;
            let (time, name) = (Timestamp(TIME * 100), Name::new(name));
            assert_eq!(event, &Decoded::Mark(Mark { time, kind, name, group: None }));
        }
        assert_eq!(ends(&events)[0].totals.marks, 3);
    }
}

#[test]
fn streams_back_to_back_each_begin_and_end_and_may_differ_in_byte_order() {
    let data = [7; 512];
    let one = stream_in(Order::Big, &[(4096, 0, 0, &data)]);
    let events = decode(&[one.clone(), stream(&[]), marks(&[b"m"]), one].concat());
    assert_eq!(
        names(&events),
        ["begin", "batch", "end", "begin", "end", "begin", "mark", "end", "begin", "batch", "end"]
    );
    assert_eq!(pieces(&events)[0], pieces(&events)[1]);
    assert_eq!(ends(&events)[3].totals.extents, 1);
}

#[test]
fn a_write_longer_than_an_arena_is_split_and_counted_once() {
    let long: Vec<u8> = (0..(17 << 20) + 5).map(|index| (index % 251) as u8).collect();
    let bytes = stream(&[(100, 0, 0, &long), (7, 1, 1, b"abc")]);
    let events = decode(&bytes);
    assert_eq!(names(&events), ["begin", "batch", "batch", "batch", "end"]);
    assert_eq!(ends(&events)[0].totals.extents, 2);
    assert_eq!(ends(&events)[0].totals.data_bytes, long.len() as u64 + 3);
    let disk = applied(&bytes);
    assert_eq!((&disk[7..10], &disk[100..]), (&b"abc"[..], &long[..]));
}

#[test]
fn many_small_writes_become_batches_of_two_mebibytes_or_of_the_most_pieces() {
    let (page, byte) = ([7; 4096], [7; 1]);
    for (data, batches) in [(&page[..], 512), (&byte[..], 512)] {
        let writes: Vec<Write<'_>> =
            (0..1100).map(|index| (u64::from(index) * 4096, index, index, data)).collect();
        let events = decode(&stream(&writes));
        let sizes: Vec<usize> = events
            .iter()
            .filter_map(|event| {
                if let Decoded::Batch(batch) = event { Some(batch.pieces.len()) } else { None }
            })
            .collect();
        // One byte per page takes nearly as much room as the page: each lies where its page would.
        assert!(sizes[0].abs_diff(batches) <= 1 && sizes.len() == 3, "{sizes:?}");
    }
    let writes: Vec<Write<'_>> =
        (0..20_000).map(|index| (u64::from(index), index, index, &byte[..])).collect();
    let events = decode(&stream(&writes));
    let Decoded::Batch(first) = &events[1] else { panic!("{:?}", events[1]) };
    assert_eq!(first.pieces.len(), BATCH_PIECES_MAX);
}
