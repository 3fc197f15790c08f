//! Feeds arbitrary streams of our own format to its decoder, with checksums that are right: else
//! nothing would come past the first of them. Whatever happens, what is given keeps its promises.
#![no_main]

use blockio::stream::drive::events;
use blockio::stream::native::Decoder;
use blockio::stream::native::layout::{
    BODY_BYTES_AT, COMPRESSION_AT, PAGE_BYTES, PAYLOAD_BYTES_AT, SEQUENCE_AT, SHARED_BYTES,
    STORED_BYTES_AT, padded, seal,
};
use blockio::stream::placement::ALIGNMENT;
use blockio::stream::{BatchHeader, Content, Decoded, Totals};
use libfuzzer_sys::fuzz_target;

/// Records and streams grow to no more than this, so that a run is short.
const RECORD_BYTES_MAX: usize = 16 << 10;
const STREAM_BYTES_MAX: usize = 64 << 10;

fuzz_target!(|input: &[u8]| {
    let stream = match input.split_first() {
        Some((0, rest)) => rest.to_vec(),
        Some((_, rest)) => expanded(rest),
        None => return,
    };
    let (events, malformed) = events(&mut Decoder::new(), &stream);
    let mut totals = Totals::default();
    let mut volumes = 0;
    for (index, event) in events.iter().enumerate() {
        match event {
            Decoded::Begin(header) => {
                assert_eq!(index, 0);
                volumes = header.volumes.len();
            }
            Decoded::Batch(batch) => check(batch, volumes, &mut totals),
            Decoded::Mark(_) => totals.marks += 1,
            Decoded::End(end) => {
                assert_eq!((index, &end.totals), (events.len() - 1, &totals));
            }
        }
    }
    if let Some(malformed) = malformed {
        assert!(malformed.offset <= stream.len() as u64, "{malformed}");
    } else {
        assert!(matches!(events.last(), Some(Decoded::End(_))));
    }
});

/// Makes a stream of records in short: of each a length (u16), and so many bytes of its header, and
/// of its payload if that is compressed. Padding, plain payload, sequence and checksum are added.
fn expanded(mut short: &[u8]) -> Vec<u8> {
    let mut stream = Vec::new();
    let mut sequence = 0_u8;
    while let [low, high, rest @ ..] = short {
        let length = usize::from(u16::from_le_bytes([*low, *high]) & 0xFFF).min(rest.len());
        if stream.len() > STREAM_BYTES_MAX {
            break;
        }
        let (header, left) = rest.split_at(length);
        short = left;
        let start = stream.len();
        stream.extend_from_slice(header);
        stream.resize(start + padded(length.max(SHARED_BYTES)), 0);
        let header_bytes =
            padded(SHARED_BYTES.saturating_add(number(&stream[start + BODY_BYTES_AT..])));
        let payload_bytes = padded(number(&stream[start + STORED_BYTES_AT..]));
        if header_bytes.saturating_add(payload_bytes) <= RECORD_BYTES_MAX {
            stream.resize(start + header_bytes.max(PAGE_BYTES), 0);
            if stream[start + SEQUENCE_AT] != 0xFF {
                stream[start + SEQUENCE_AT] = sequence;
            }
            sequence = sequence.wrapping_add(1);
            let end = stream.len() + payload_bytes;
            // Unpacked to less than 32 KiB, or to what is refused.
            stream[start + PAYLOAD_BYTES_AT + 1] &= 0x7F;
            stream[start + PAYLOAD_BYTES_AT + 2] = 0;
            seal(&mut stream[start..]);
            let is_compressed = stream[start + COMPRESSION_AT] != 0;
            let stored = if is_compressed { number(&stream[start + STORED_BYTES_AT..]) } else { 0 };
            let stored = stored.min(short.len());
            stream.extend_from_slice(&short[..stored]);
            stream.resize(end, 0);
            short = &short[stored..];
        }
    }
    stream
}

/// The u32 that `bytes` begin with.
fn number(bytes: &[u8]) -> usize {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize
}

/// Pieces lie inside of the payload, in their order, where the device can take them from.
fn check(batch: &BatchHeader, volumes: usize, totals: &mut Totals) {
    let mut free = 0;
    assert!(!batch.pieces.is_empty());
    for piece in &batch.pieces {
        assert!(usize::from(piece.volume.0) < volumes);
        let length = piece.extent.length().get();
        totals.extents += 1;
        match piece.content {
            Content::Data { position } => {
                assert!(position >= free);
                assert_eq!(position as u64 % 4096, piece.extent.start().get() % ALIGNMENT as u64);
                free = position + length as usize;
                totals.data_bytes += length;
            }
            Content::Zero => totals.zero_bytes = totals.zero_bytes.saturating_add(length),
            Content::Discard => totals.discard_bytes = totals.discard_bytes.saturating_add(length),
        }
    }
    assert_eq!(batch.payload_bytes, padded(free));
}
