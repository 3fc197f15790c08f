//! The decoder and the encoder of rbd diffs: helpers for every test here, and the content of a
//! batch.

mod batches;
mod malformed;
mod round_trip;
mod samples;

use crate::stream::rbd_diff::{Decoder, Version};
use crate::stream::{
    self, BATCH_BYTES_MAX, BATCH_PIECES_MAX, Content, Decoded, Decoder as _, Malformed, Piece,
    Problem, StreamHeader, Totals, VolumeHeader, Want,
};

/// An event; for a batch with its pieces and their content, and where in the stream it was
/// returned.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Begin(VolumeHeader),
    Batch { pieces: Vec<(Piece, Vec<u8>)>, position: u64 },
    End(Totals),
}

/// The events from `input`, and how it ended.
fn decode(input: &[u8]) -> (Vec<Seen>, Result<(), Malformed>) {
    let (mut decoder, mut seen) = (Decoder::new(), Vec::new());
    let mut arena = vec![0; BATCH_BYTES_MAX];
    let mut left = input;
    let outcome = loop {
        while let Some(event) = decoder.event() {
            seen.push(see(event, &arena, decoder.consumed()));
        }
        match step(&mut decoder, &mut left, &mut arena) {
            Ok(true) => {}
            Ok(false) => break Ok(()),
            Err(malformed) => break Err(malformed),
        }
    };
    while let Some(event) = decoder.event() {
        seen.push(see(event, &arena, decoder.consumed()));
    }
    (seen, outcome)
}

/// Takes what is wanted; returns false at the end.
fn step(decoder: &mut Decoder, left: &mut &[u8], arena: &mut [u8]) -> Result<bool, Malformed> {
    let want = decoder.want();
    let length = match want {
        Want::Bytes(length) | Want::Payload { length, .. } => length,
        Want::End => 1,
        other => panic!("{other:?} is not for this format"),
    };
    if left.is_empty() {
        return decoder.end().map(|()| false);
    }
    let Some((bytes, rest)) = left.split_at_checked(length) else {
        let end = decoder.consumed() + left.len() as u64;
        return Err(Malformed::new(end, Problem::Truncated));
    };
    *left = rest;
    if let Want::Payload { position, .. } = want {
        arena[position..position + length].copy_from_slice(bytes);
        return decoder.payload_taken().map(|()| true);
    }
    // Skipped bytes are taken in small parts as well.
    assert!((1..=64 << 10).contains(&length));
    decoder.take(bytes).map(|()| true)
}

fn see(event: Decoded, arena: &[u8], position: u64) -> Seen {
    match event {
        Decoded::Begin(StreamHeader { format, identity, mut volumes, .. }) => {
            assert_eq!((format, identity, volumes.len()), (stream::Format::RbdDiff, None, 1));
            Seen::Begin(volumes.remove(0))
        }
        Decoded::Batch(batch) => {
            assert!((1..=BATCH_PIECES_MAX).contains(&batch.pieces.len()));
            assert_eq!(batch.checksum, None);
            let held = |piece: Piece| (piece, held(piece, &arena[..batch.payload_bytes]));
            Seen::Batch { pieces: batch.pieces.into_iter().map(held).collect(), position }
        }
        Decoded::Mark(mark) => panic!("{mark:?} has no place in this format"),
        Decoded::End(end) => {
            assert!(end.consistent);
            Seen::End(end.totals)
        }
    }
}

fn held(piece: Piece, payload: &[u8]) -> Vec<u8> {
    let (start, length) = (piece.extent.start().get(), piece.extent.length().get());
    match piece.content {
        Content::Data { position } => {
            assert_eq!(position as u64 % 4096, start % 4096);
            payload[position..][..usize::try_from(length).unwrap()].to_vec()
        }
        Content::Zero => Vec::new(),
        Content::Discard => panic!("nothing is discarded in this format"),
    }
}

/// The events from `input`, which is sound.
fn decode_sound(input: &[u8]) -> Vec<Seen> {
    let (seen, outcome) = decode(input);
    assert_eq!(outcome, Ok(()));
    seen
}

/// Applies the events to `disk`: later ones win.
fn apply(seen: &[Seen], disk: &mut Vec<u8>) {
    for event in seen {
        match event {
            Seen::Begin(volume) => {
                let size = volume.size.expect("an rbd diff always tells the size").get();
                disk.resize(usize::try_from(size).unwrap(), 0);
            }
            Seen::Batch { pieces, .. } => {
                pieces.iter().for_each(|(piece, bytes)| write(disk, piece, bytes));
            }
            Seen::End(_) => {}
        }
    }
}

fn write(disk: &mut [u8], piece: &Piece, bytes: &[u8]) {
    let start = usize::try_from(piece.extent.start().get()).unwrap();
    let end = usize::try_from(piece.extent.end().get()).unwrap();
    match piece.content {
        Content::Data { .. } => disk[start..end].copy_from_slice(bytes),
        Content::Zero | Content::Discard => disk[start..end].fill(0),
    }
}

/// A record; for v2 with the length of its content.
fn record(version: Version, tag: u8, content: &[&[u8]]) -> Vec<u8> {
    let content = content.concat();
    let length = (content.len() as u64).to_le_bytes();
    match version {
        Version::V1 => [&[tag], &content[..]].concat(),
        Version::V2 => [&[tag], &length[..], &content].concat(),
    }
}

fn name(version: Version, tag: u8, name: &str) -> Vec<u8> {
    record(version, tag, &[&(name.len() as u32).to_le_bytes(), name.as_bytes()])
}

fn size(version: Version, size: u64) -> Vec<u8> {
    record(version, b's', &[&size.to_le_bytes()])
}

fn data(version: Version, start: u64, bytes: &[u8]) -> Vec<u8> {
    record(version, b'w', &[&start.to_le_bytes(), &(bytes.len() as u64).to_le_bytes(), bytes])
}

fn zero(version: Version, start: u64, length: u64) -> Vec<u8> {
    record(version, b'z', &[&start.to_le_bytes(), &length.to_le_bytes()])
}

/// A diff of `records` with banner and end.
fn diff(version: Version, records: &[Vec<u8>]) -> Vec<u8> {
    [version.banner(), &records.concat()[..], b"e"].concat()
}

/// An export of `diffs`, with the image's own records, one of them of an unknown kind.
fn export(diffs: &[Vec<u8>]) -> Vec<u8> {
    let number = 18_u64.to_le_bytes();
    let header = [b'O', b'T', b'U', b'C'].map(|tag| record(Version::V2, tag, &[&number])).concat();
    let more = [record(Version::V2, b'M', &[b"key and value"]), record(Version::V2, b'?', &[])];
    let count = (diffs.len() as u64).to_le_bytes();
    let banners = [&b"rbd image v2\n"[..], b"Erbd image diffs v2\n"];
    [banners[0], &header, &more.concat(), banners[1], &count, &diffs.concat()].concat()
}
