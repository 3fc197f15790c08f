//! Tests of the native format: what is written is read back. Refusals, resuming and the document's
//! example are in separate files.

mod example;
mod refusals;
mod resume;

use proptest::prelude::*;

use super::compression::{Method, unpack};
use super::layout::{self, Shared, padded};
use super::{Decoder, Encoder, EncoderOptions};
use crate::extent::Extent;
use crate::stream::drive::events;
use crate::stream::{
    Content, Decoded, Decoder as _, Format, Malformed, Mark, MarkKind, Name, Piece, StreamHeader,
    Timestamp, VolumeHeader, VolumeIndex, Want,
};
use crate::units::{ByteCount, ByteOffset};

const CREATED: Timestamp = Timestamp(1_700_000_000_000_000_000);

fn name(text: &str) -> Option<Name> {
    Name::new(text.as_bytes())
}

fn extent(start: u64, length: u64) -> Extent {
    Extent::new(ByteOffset::new(start), ByteCount::new(length)).unwrap()
}

fn options(batch_bytes: usize, compression: Option<Method>) -> EncoderOptions {
    EncoderOptions { batch_bytes, compression, created: Some(CREATED) }
}

/// Two volumes: one with all fields, and one with none.
fn header() -> StreamHeader {
    let size = Some(ByteCount::new(1 << 20));
    let volumes = vec![
        VolumeHeader { name: name("disk0"), size, from: name(""), to: name("s2") },
        VolumeHeader::default(),
    ];
    StreamHeader {
        format: Format::Native,
        is_in_write_order: true,
        identity: Some(*b"0123456789abcdef"),
        volumes,
    }
}

fn mark() -> Mark {
    let (name, group) = (name("before the upgrade"), None);
    Mark { time: Timestamp(77), kind: MarkKind::ApplicationConsistent, name, group }
}

/// Records 0 to 4: header; batch of four entries, two pages of payload; mark; batch of zeros; end.
fn example() -> Vec<u8> {
    let mut bytes = Vec::new();
    let (first, second) = (VolumeIndex(0), VolumeIndex(1));
    let mut encoder = Encoder::new(&mut bytes, &header(), options(1 << 20, None)).unwrap();
    encoder.data(first, ByteOffset::new(512), &[0xAB; 1000]).unwrap();
    encoder.data(second, ByteOffset::new(1 << 40), &[0xCD; 4096]).unwrap();
    encoder.zero(first, extent(65_536, 65_536)).unwrap();
    encoder.discard(first, extent((1 << 20) - 4096, 4096)).unwrap();
    encoder.mark(&mark()).unwrap();
    encoder.zero(second, extent(u64::MAX - 1, 1)).unwrap();
    encoder.finish(true).unwrap();
    bytes
}

/// Where the records of `stream` begin, and where the last one ends.
fn records(stream: &[u8]) -> Vec<usize> {
    let mut starts = vec![0];
    let mut at = 0;
    while at < stream.len() {
        let shared = Shared::read(&stream[at..]);
        at += shared.header_bytes() + padded(shared.stored_bytes as usize);
        starts.push(at);
    }
    starts
}

fn decode(bytes: &[u8]) -> (Vec<Decoded>, Option<Malformed>) {
    events(&mut Decoder::new(), bytes)
}

/// Decodes a sound stream with its payload: each piece with its bytes, with data not split.
fn contents(stream: &[u8]) -> Vec<(Piece, Vec<u8>)> {
    let mut decoder = Decoder::new();
    let (mut rest, mut arena, mut contents) = (stream, Vec::new(), Vec::new());
    loop {
        while let Some(event) = decoder.event() {
            let Decoded::Batch(batch) = event else { continue };
            assert_eq!(batch.checksum, Some(crc32c::crc32c(&arena[..batch.payload_bytes])));
            contents.extend(batch.pieces.iter().map(|piece| (*piece, bytes_of(piece, &arena))));
        }
        let length = match decoder.want() {
            Want::Bytes(length) => length,
            Want::Payload { length, .. } => length,
            Want::Compressed { stored, .. } => stored,
            Want::BytesOrEnd(_) | Want::End => return contents,
        };
        let (taken, left) = rest.split_at(length);
        rest = left;
        match decoder.want() {
            Want::Payload { position, .. } => {
                arena.resize(position, 0);
                arena.extend_from_slice(taken);
                decoder.payload_taken().unwrap();
            }
            Want::Compressed { method, unpacked, .. } => {
                arena.resize(unpacked, 0);
                unpack(method, taken, &mut arena).unwrap();
                decoder.payload_taken().unwrap();
            }
            _ => decoder.take(taken).unwrap(),
        }
    }
}

fn bytes_of(piece: &Piece, arena: &[u8]) -> Vec<u8> {
    match piece.content {
        Content::Data { position } => {
            assert_eq!(position as u64 % 4096, piece.extent.start().get() % 4096);
            arena[position..position + piece.extent.length().get() as usize].to_vec()
        }
        Content::Zero | Content::Discard => Vec::new(),
    }
}

#[test]
fn the_example_decodes_to_what_was_encoded() {
    let (events, malformed) = decode(&example());
    assert_eq!(malformed, None);
    let [
        Decoded::Begin(begin),
        Decoded::Batch(batch),
        Decoded::Mark(found),
        Decoded::Batch(_),
        end,
    ] = events.as_slice()
    else {
        panic!("{events:?}")
    };
    assert_eq!((begin, found), (&header(), &mark()));
    let piece = |volume, extent, content| Piece { volume: VolumeIndex(volume), extent, content };
    let pieces = [
        piece(0, extent(512, 1000), Content::Data { position: 512 }),
        piece(1, extent(1 << 40, 4096), Content::Data { position: 4096 }),
        piece(0, extent(65_536, 65_536), Content::Zero),
        piece(0, extent((1 << 20) - 4096, 4096), Content::Discard),
    ];
    assert_eq!((batch.pieces.as_slice(), batch.payload_bytes), (&pieces[..], 8192));
    let Decoded::End(end) = end else { panic!("{end:?}") };
    assert!(end.consistent);
    let totals = end.totals;
    assert_eq!((totals.extents, totals.data_bytes, totals.zero_bytes), (5, 5096, 65_537));
    assert_eq!((totals.discard_bytes, totals.marks), (4096, 1));
}

#[test]
fn the_time_of_the_beginning_is_told() {
    let mut decoder = Decoder::new();
    assert_eq!(decoder.created(), None);
    events(&mut decoder, &example());
    assert_eq!(decoder.created(), Some(CREATED));
}

#[test]
fn pieces_that_go_on_become_one_and_others_do_not() {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, &header(), options(1 << 20, None)).unwrap();
    let (first, second) = (VolumeIndex(0), VolumeIndex(1));
    for (volume, start) in [(first, 0), (first, 512), (second, 1024), (second, 512)] {
        encoder.data(volume, ByteOffset::new(start), &[1; 512]).unwrap();
    }
    encoder.zero(second, extent(1024, 8)).unwrap();
    encoder.zero(second, extent(1032, 8)).unwrap();
    encoder.discard(second, extent(1040, 8)).unwrap();
    encoder.zero(first, extent(1048, 8)).unwrap();
    encoder.finish(true).unwrap();
    let found: Vec<_> = contents(&bytes).iter().map(|(piece, _)| piece.extent).collect();
    let expected = [(0, 1024), (1024, 512), (512, 512), (1024, 16), (1040, 8), (1048, 8)];
    assert_eq!(found, expected.map(|(start, length)| extent(start, length)));
}

#[test]
fn more_pieces_than_a_batch_holds_are_two_batches() {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, &header(), EncoderOptions::default()).unwrap();
    for index in 0..16_385 {
        encoder.zero(VolumeIndex(1), extent(index * 8, 4)).unwrap();
    }
    assert_eq!(encoder.finish(true).unwrap().extents, 16_385);
    let (events, malformed) = decode(&bytes);
    let batches = events.iter().filter(|event| matches!(event, Decoded::Batch(_))).count();
    assert_eq!((batches, malformed), (2, None));
}

#[test]
fn compressed_batches_are_smaller_and_noise_is_stored_plain() {
    let zeros = vec![0; 1 << 20];
    let noise: Vec<u8> = (0..65_536_u32)
        .flat_map(|index| crc32c::crc32c(&index.to_le_bytes()).to_le_bytes())
        .collect();
    for method in [Method::Lz4, Method::Zstd] {
        for (data, small) in [(&zeros, true), (&noise, false)] {
            let mut bytes = Vec::new();
            let options = options(1 << 20, Some(method));
            let mut encoder = Encoder::new(&mut bytes, &header(), options).unwrap();
            encoder.data(VolumeIndex(0), ByteOffset::ZERO, data).unwrap();
            encoder.finish(true).unwrap();
            assert_eq!(bytes.len() < 4 * 8192, small, "{method:?}");
            let whole: Vec<u8> = contents(&bytes).into_iter().flat_map(|(_, data)| data).collect();
            assert!(whole == *data, "{method:?}");
            assert_eq!(decode(&bytes).1, None);
        }
    }
}

#[test]
fn the_encoder_refuses_what_its_own_decoder_would() {
    let mut encoder = Encoder::new(std::io::sink(), &header(), EncoderOptions::default()).unwrap();
    let last = ByteOffset::new((1 << 20) - 1);
    assert!(encoder.data(VolumeIndex(0), last, &[1; 2]).is_err());
    assert!(encoder.data(VolumeIndex(0), last, &[]).is_err());
    assert!(encoder.zero(VolumeIndex(0), extent(1 << 20, 1)).is_err());
    assert!(encoder.discard(VolumeIndex(2), extent(0, 1)).is_err());
    assert!(encoder.data(VolumeIndex(0), last, &[1]).is_ok());
    for batch_bytes in [0, 4095, 4097, (8 << 20) + 4096] {
        let options = options(batch_bytes, None);
        assert!(Encoder::new(std::io::sink(), &header(), options).is_err(), "{batch_bytes}");
    }
    for count in [0, 1025] {
        let volumes = vec![VolumeHeader::default(); count];
        let header = StreamHeader { volumes, ..header() };
        assert!(
            Encoder::new(std::io::sink(), &header, EncoderOptions::default()).is_err(),
            "{count}"
        );
    }
}

#[test]
fn the_most_volumes_with_the_longest_names_go_through() {
    let name = Name::new(&[b'n'; 1024]);
    let volume = VolumeHeader { name: name.clone(), size: None, from: name.clone(), to: name };
    let header = StreamHeader { volumes: vec![volume; 1024], ..header() };
    let mut bytes = Vec::new();
    Encoder::new(&mut bytes, &header, EncoderOptions::default()).unwrap().finish(false).unwrap();
    let (events, malformed) = decode(&bytes);
    assert_eq!((&events[0], malformed), (&Decoded::Begin(header), None));
    assert!(matches!(&events[1], Decoded::End(end) if !end.consistent));
}

/// Input of a test for an encoder.
#[derive(Clone, Debug)]
enum Given {
    Data(u16, u64, Vec<u8>),
    Zero(u16, u64, u64),
    Discard(u16, u64, u64),
    Mark,
}

fn given() -> impl Strategy<Value = Given> {
    let data = (0..2_u16, 0..100_000_u64, prop::collection::vec(any::<u8>(), 1..12_000));
    let range = (0..2_u16, 0..100_000_u64, 1..100_000_u64);
    prop_oneof![
        4 => data.prop_map(|(volume, start, bytes)| Given::Data(volume, start, bytes)),
        1 => range.clone().prop_map(|(volume, start, length)| Given::Zero(volume, start, length)),
        1 => range.prop_map(|(volume, start, length)| Given::Discard(volume, start, length)),
        1 => Just(Given::Mark),
    ]
}

/// A volume's bytes after a piece: each value, with zero and discard as values past the range of a
/// byte.
fn put(disks: &mut [Vec<u16>; 2], volume: u16, start: u64, values: impl Iterator<Item = u16>) {
    for (index, value) in values.enumerate() {
        disks[usize::from(volume)][start as usize + index] = value;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn what_is_encoded_is_decoded_whatever_the_batches(
        all in prop::collection::vec(given(), 0..20),
        batch_pages in 1_usize..6,
        method in prop_oneof![Just(None), Just(Some(Method::Lz4)), Just(Some(Method::Zstd))],
    ) {
        let mut bytes = Vec::new();
        let mut model = [vec![0; 200_000], vec![0; 200_000]];
        let options = options(batch_pages * 4096, method);
        let mut encoder = Encoder::new(&mut bytes, &header(), options).unwrap();
        for one in &all {
            match one {
                Given::Data(volume, start, data) => {
                    put(&mut model, *volume, *start, data.iter().copied().map(u16::from));
                    encoder.data(VolumeIndex(*volume), ByteOffset::new(*start), data).unwrap();
                }
                Given::Zero(volume, start, length) => {
                    put(&mut model, *volume, *start, (0..*length).map(|_| 256));
                    encoder.zero(VolumeIndex(*volume), extent(*start, *length)).unwrap();
                }
                Given::Discard(volume, start, length) => {
                    put(&mut model, *volume, *start, (0..*length).map(|_| 257));
                    encoder.discard(VolumeIndex(*volume), extent(*start, *length)).unwrap();
                }
                Given::Mark => encoder.mark(&mark()).unwrap(),
            }
        }
        let totals = encoder.finish(true).unwrap();
        prop_assert_eq!(bytes.len() % layout::PAGE_BYTES, 0);

        let mut found = [vec![0; 200_000], vec![0; 200_000]];
        for (piece, data) in contents(&bytes) {
            let (start, length) = (piece.extent.start().get(), piece.extent.length().get());
            match piece.content {
                Content::Data { .. } => {
                    put(&mut found, piece.volume.0, start, data.into_iter().map(u16::from));
                }
                Content::Zero => put(&mut found, piece.volume.0, start, (0..length).map(|_| 256)),
                Content::Discard => {
                    put(&mut found, piece.volume.0, start, (0..length).map(|_| 257));
                }
            }
        }
        prop_assert!(found == model);
        let (events, malformed) = decode(&bytes);
        prop_assert_eq!(malformed, None);
        let marks = events.iter().filter(|event| matches!(event, Decoded::Mark(_))).count();
        prop_assert_eq!(marks as u64, totals.marks);
        prop_assert!(matches!(events.last(), Some(Decoded::End(end)) if end.totals == totals));
    }
}
