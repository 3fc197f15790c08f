//! Feeds arbitrary bytes to the decoder of rbd diffs: what it gives lies inside of what it said,
//! and what it accepted is the same when it is written and read again.
#![no_main]

use blockio::stream::rbd_diff::{Decoder, Encoder, SKIPPED_RECORD_BYTES_MAX, Version};
use blockio::stream::{
    BATCH_BYTES_MAX, BATCH_PIECES_MAX, BatchHeader, Content, Decoder as _, Decoded, NAME_BYTES_MAX,
    Piece, VolumeHeader, WANT_BYTES_MAX, Want,
};
use libfuzzer_sys::fuzz_target;

/// Objects are cut at this size when they are written, in bytes.
const OBJECT_BYTES: u64 = 4 << 20;
/// Longer zeros are not written again: they are a record for every object.
const ZERO_BYTES_MAX: u64 = 64 << 20;

/// One diff: its header, its pieces with what they hold, and whether it came to its end.
struct Diff {
    volume: VolumeHeader,
    pieces: Vec<(Piece, Vec<u8>)>,
    ended: bool,
}

/// The diffs of `input`, and whether all of it was accepted.
fn decode(input: &[u8]) -> (Vec<Diff>, bool) {
    let (mut decoder, mut diffs, mut left) = (Decoder::new(), Vec::new(), input);
    // What was put into the arena, and where: an arena as large as a real one would be slow here.
    let mut payload = Vec::new();
    loop {
        while let Some(event) = decoder.event() {
            see(event, &mut payload, &mut diffs);
        }
        assert_eq!(decoder.consumed(), (input.len() - left.len()) as u64);
        let want = decoder.want();
        let length = match want {
            Want::Bytes(length) | Want::Payload { length, .. } => length,
            Want::End => 1,
            other => panic!("{other:?} is not for this format"),
        };
        assert!(length > 0);
        if left.is_empty() {
            let accepted = decoder.end().is_ok();
            std::iter::from_fn(|| decoder.event())
                .for_each(|event| see(event, &mut payload, &mut diffs));
            return (diffs, accepted);
        }
        let Some((bytes, rest)) = left.split_at_checked(length) else { return (diffs, false) };
        left = rest;
        let taken = if let Want::Payload { position, .. } = want {
            assert!(position + length <= BATCH_BYTES_MAX);
            payload.push((position, bytes.to_vec()));
            decoder.payload_taken()
        } else {
            assert!(length <= WANT_BYTES_MAX && length as u64 <= SKIPPED_RECORD_BYTES_MAX);
            decoder.take(bytes)
        };
        if let Err(malformed) = taken {
            assert!(malformed.offset < input.len() as u64);
            return (diffs, false);
        }
    }
}

fn see(event: Decoded, payload: &mut Vec<(usize, Vec<u8>)>, diffs: &mut Vec<Diff>) {
    match event {
        Decoded::Begin(header) => {
            assert!(diffs.last().is_none_or(|diff| diff.ended));
            let volume = header.volumes.into_iter().next().expect("a diff has a volume");
            for name in [&volume.from, &volume.to].into_iter().flatten() {
                assert!((1..=NAME_BYTES_MAX).contains(&name.as_bytes().len()));
            }
            diffs.push(Diff { volume, pieces: Vec::new(), ended: false });
        }
        Decoded::Batch(batch) => {
            let diff = diffs.last_mut().expect("a batch comes after its header");
            assert!(!diff.ended);
            add(batch, std::mem::take(payload), diff);
        }
        Decoded::End(end) => {
            let diff = diffs.last_mut().expect("an end comes after a header");
            assert!(!diff.ended && payload.is_empty());
            assert_eq!(end.totals.marks + end.totals.discard_bytes, 0);
            diff.ended = true;
        }
        Decoded::Mark(_) => panic!("there are no marks in this format"),
    }
}

fn add(batch: BatchHeader, payload: Vec<(usize, Vec<u8>)>, diff: &mut Diff) {
    assert!((1..=BATCH_PIECES_MAX).contains(&batch.pieces.len()));
    assert!(batch.payload_bytes <= BATCH_BYTES_MAX);
    let size = diff.volume.size.expect("a diff has a size").get();
    let (mut payload, mut free) = (payload.into_iter(), 0);
    for piece in batch.pieces {
        assert!(piece.extent.end().get() <= size);
        let bytes = match piece.content {
            Content::Data { position } => {
                let (place, bytes) = payload.next().expect("data have their payload");
                assert_eq!(place, position);
                assert_eq!(position as u64 % 4096, piece.extent.start().get() % 4096);
                assert_eq!(bytes.len() as u64, piece.extent.length().get());
                assert!(position >= free);
                free = position + bytes.len();
                bytes
            }
            Content::Zero => Vec::new(),
            Content::Discard => panic!("nothing is discarded in this format"),
        };
        diff.pieces.push((piece, bytes));
    }
    assert!(payload.next().is_none() && free == batch.payload_bytes);
}

/// The diff, written; none if it would be too long.
fn encode(diff: &Diff, version: Version) -> Option<Vec<u8>> {
    let mut encoder = Encoder::new(Vec::new(), version, &diff.volume).expect("it was read");
    for (piece, bytes) in &diff.pieces {
        match piece.content {
            Content::Data { .. } => encoder.data(piece.extent.start(), bytes),
            _ if piece.extent.length().get() > ZERO_BYTES_MAX => return None,
            _ => encoder.zero(piece.extent),
        }
        .expect("it was read");
    }
    Some(encoder.finish().expect("memory takes everything"))
}

/// Whether a piece lies in more than one object, so that it is cut when it is written.
fn is_cut(diff: &Diff) -> bool {
    diff.pieces.iter().any(|(piece, _)| {
        piece.extent.start().get() / OBJECT_BYTES != (piece.extent.end().get() - 1) / OBJECT_BYTES
    })
}

fuzz_target!(|input: &[u8]| {
    let (diffs, accepted) = decode(input);
    if !accepted {
        return;
    }
    for diff in &diffs {
        assert!(diff.ended);
        for version in [Version::V1, Version::V2] {
            let Some(written) = encode(diff, version) else { continue };
            let (again, accepted) = decode(&written);
            let [again] = &again[..] else { panic!("one diff became {}", again.len()) };
            assert!(accepted && again.ended);
            assert_eq!(again.volume, diff.volume);
            assert!(is_cut(diff) || again.pieces == diff.pieces);
            assert_eq!(encode(again, version), Some(written));
        }
    }
});
