//! What remains of a stream after a position, from a file and from a pipe.

use std::io::{Seek, Write};
use std::num::NonZeroUsize;

use super::super::compression::Method;
use super::super::{Decoder, Encoder};
use super::{header, mark, options};
use crate::device::buffer::ArenaPool;
use crate::stream::input::Input;
use crate::stream::input::portions::portions;
use crate::stream::reader::Reader;
use crate::stream::{BATCH_BYTES_MAX, Content, Frame, VolumeIndex};
use crate::units::ByteOffset;

/// Far more than the reader reads before the position for safety: 24 MiB, with marks between.
fn long_stream(compression: Option<Method>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, &header(), options(1 << 20, compression)).unwrap();
    for round in 0..24_u8 {
        let start = ByteOffset::new(u64::from(round) << 21);
        let data: Vec<u8> = (0..1 << 20).map(|index: u32| (index / 3) as u8 ^ round).collect();
        encoder.data(VolumeIndex(1), start, &data).unwrap();
        encoder.mark(&mark()).unwrap();
    }
    encoder.finish(true).unwrap();
    bytes
}

/// Each frame in short, with where it ends.
fn frames(input: Input, resume_after: u64) -> Vec<(u64, String)> {
    let pool = ArenaPool::new(1, NonZeroUsize::new(BATCH_BYTES_MAX).unwrap()).unwrap();
    let mut reader = Reader::new("a test", input, Decoder::new(), pool);
    reader.resume_after(resume_after);
    let mut frames = Vec::new();
    while let Some(frame) = reader.next_frame().unwrap() {
        let text = match frame {
            Frame::Begin(header) => format!("{header:?}"),
            Frame::Mark(mark) => format!("{mark:?}"),
            Frame::End(end) => format!("{end:?}"),
            Frame::Batch(batch) => {
                let payload = &batch.arena.as_slice()[..batch.header.payload_bytes];
                assert_eq!(batch.header.checksum, Some(crc32c::crc32c(payload)));
                let data = |content| matches!(content, Content::Data { .. });
                assert!(batch.header.pieces.iter().all(|piece| data(piece.content)));
                format!("{:?}", batch.header)
            }
        };
        frames.push((reader.consumed(), text));
    }
    frames
}

#[test]
fn a_resumed_stream_gives_what_comes_after_the_place_from_a_file_and_from_a_pipe() {
    for compression in [None, Some(Method::Lz4)] {
        let bytes = long_stream(compression);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        let mut from_file = |place| {
            file.rewind().unwrap();
            frames(Input::from_file(file.try_clone().unwrap()).unwrap(), place)
        };
        let all = from_file(0);
        assert_eq!(all.len(), 50);
        for kept in [1, 2, 24, 47, 49] {
            let place = all[kept - 1].0;
            assert_eq!(place % 4096, 0);
            // The beginning is always returned; then everything that ends after the position.
            let expected: Vec<_> = all[..1].iter().chain(&all[kept..]).cloned().collect();
            assert!(from_file(place) == expected, "file, {kept}");
            let pipe = Input::from_pipe(std::io::Cursor::new(bytes.clone()));
            assert!(frames(pipe, place) == expected, "pipe, {kept}");
            let cuts = (0..bytes.len()).step_by(777_777).collect();
            let (portions, ..) = portions(&bytes, cuts);
            assert!(frames(portions, place) == expected, "portions, {kept}");
        }
    }
}
