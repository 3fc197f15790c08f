//! Feeds arbitrary bytes to the decoder of svd streams: what it gives lies inside of what it said,
//! adds up, and is accepted again behind itself.
#![no_main]

use blockio::stream::drive::events;
use blockio::stream::placement::ALIGNMENT;
use blockio::stream::svd::{Decoder, MARK_BYTES_MAX};
use blockio::stream::{
    BATCH_BYTES_MAX, BATCH_PIECES_MAX, BatchHeader, Content, End, Decoded, Totals,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let (first, malformed) = events(&mut Decoder::new(), input);
    let open = check(&first, input.len());
    match malformed {
        Some(malformed) => assert!(malformed.offset <= input.len() as u64, "{malformed}"),
        None => {
            assert!(!open && !first.is_empty());
            check_twice(input, &first);
        }
    }
});

/// Checks every stream against its own totals; whether one is still open at the end.
fn check(events: &[Decoded], input_bytes: usize) -> bool {
    let (mut open, mut totals, mut pieces) = (false, Totals::default(), 0);
    for event in events {
        match event {
            Decoded::Begin(header) => {
                assert!(!open && header.volumes.len() == 1);
                (open, totals, pieces) = (true, Totals::default(), 0);
            }
            Decoded::Batch(batch) => {
                assert!(open && totals.marks == 0);
                check_batch(batch, &mut totals);
                pieces += batch.pieces.len() as u64;
            }
            Decoded::Mark(mark) => {
                assert!(open && totals.data_bytes == 0);
                let length = mark.name.as_ref().map_or(0, |name| name.as_bytes().len() as u64);
                assert!((1..=MARK_BYTES_MAX).contains(&length));
                totals.marks += 1;
            }
            Decoded::End(End { totals: said, consistent }) => {
                assert!(open && said.extents <= pieces && (totals.marks == 0 || *consistent));
                totals.extents = said.extents;
                assert_eq!(*said, totals);
                open = false;
            }
        }
        assert!(totals.data_bytes <= input_bytes as u64);
    }
    open
}

fn check_batch(batch: &BatchHeader, totals: &mut Totals) {
    assert!((1..=BATCH_PIECES_MAX).contains(&batch.pieces.len()));
    assert!(batch.payload_bytes <= BATCH_BYTES_MAX);
    let mut free = 0;
    for piece in &batch.pieces {
        let Content::Data { position } = piece.content else { panic!("{piece:?}") };
        let (start, length) = (piece.extent.start().get(), piece.extent.length().get());
        assert_eq!(position as u64 % ALIGNMENT as u64, start % ALIGNMENT as u64);
        assert!(free <= position);
        free = position + length as usize;
        totals.data_bytes += length;
    }
    assert_eq!(free, batch.payload_bytes);
}

/// What was accepted is accepted behind itself, and gives no less.
fn check_twice(input: &[u8], once: &[Decoded]) {
    let (twice, malformed) = events(&mut Decoder::new(), &[input, input].concat());
    assert_eq!(malformed, None);
    assert_eq!(twice[..once.len()], *once);
    assert!(!check(&twice, 2 * input.len()));
}
