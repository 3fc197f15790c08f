//! The layer against a plain array of bytes, under any sequence of changes; and its failures.

use std::sync::Arc;
use std::thread;

use proptest::prelude::*;

use super::*;
use crate::device::Geometry;
use crate::device::memory::MemoryDevice;
use crate::nbd::tests::{content, disk};
use crate::units::SectorSize;

/// Five blocks and a short one.
const CAPACITY: u64 = 5 * BLOCK_BYTES + 1536;

fn geometry() -> Geometry {
    Geometry { capacity: ByteCount::new(CAPACITY), sector_size: SectorSize::Bytes512 }
}

fn view(device: MemoryDevice) -> View {
    View::of_disk("vda".to_owned(), Box::new(device)).unwrap()
}

fn layer(view: &View) -> Scratch {
    Scratch::new(&std::env::temp_dir(), view).unwrap()
}

fn extent(start: u64, end: u64) -> Extent {
    Extent::between(ByteOffset::new(start), ByteOffset::new(end)).unwrap()
}

#[derive(Clone, Copy, Debug)]
struct Change {
    start: u64,
    end: u64,
    /// `None` for zeros.
    value: Option<u8>,
}

fn changes() -> impl Strategy<Value = Change> {
    let near = |block: u64| block * BLOCK_BYTES..=(block * BLOCK_BYTES + 3).min(CAPACITY);
    let place = || {
        prop_oneof![
            2 => 0..=CAPACITY,
            2 => (0_u64..=5).prop_flat_map(near),
            1 => (1_u64..=5).prop_map(|block| block * BLOCK_BYTES - 1),
            1 => Just(CAPACITY),
        ]
    };
    let value = prop_oneof![3 => (1_u8..).prop_map(Some), 2 => Just(None)];
    (place(), place(), value).prop_filter_map("nothing", |(one, other, value)| {
        let (start, end) = (one.min(other), one.max(other));
        (start < end).then_some(Change { start, end, value })
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 96,
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn the_layer_holds_what_an_array_holds(changes in prop::collection::vec(changes(), 1..12)) {
        let mut expected = content(CAPACITY as usize);
        let below = view(disk(&expected));
        let scratch = layer(&below);
        for change in changes {
            let range = change.start as usize..change.end as usize;
            expected[range.clone()].fill(change.value.unwrap_or(0));
            match change.value {
                Some(value) => {
                    let data = vec![value; range.len()];
                    scratch.write(&below, ByteOffset::new(change.start), &data).unwrap();
                }
                None => scratch.zero(&below, extent(change.start, change.end)).unwrap(),
            }
            let mut read = vec![1; CAPACITY as usize];
            scratch.read(&below, ByteOffset::ZERO, &mut read).unwrap();
            prop_assert!(read == expected);
            // Reading a part gives the same part of the whole.
            let mut part = vec![1; range.len()];
            scratch.read(&below, ByteOffset::new(change.start), &mut part).unwrap();
            prop_assert!(part == expected[range]);
            let mut end = 0;
            for part in scratch.allocation(&below, extent(0, CAPACITY)).unwrap() {
                prop_assert_eq!(part.extent.start().get(), end);
                end = part.extent.end().get();
                let bytes = &expected[part.extent.start().get() as usize..end as usize];
                prop_assert!(!part.is_hole || bytes.iter().all(|byte| *byte == 0));
            }
            prop_assert_eq!(end, CAPACITY);
            let blocks = scratch.blocks.read().unwrap();
            prop_assert!(blocks.data.is_disjoint(&blocks.zeros));
        }
    }
}

#[test]
fn zeros_are_holes_in_whole_blocks_and_to_the_end_of_the_disk() {
    let below = view(MemoryDevice::new(geometry()));
    let scratch = layer(&below);
    scratch.zero(&below, extent(100, 2 * BLOCK_BYTES + 5)).unwrap();
    scratch.zero(&below, extent(5 * BLOCK_BYTES, CAPACITY)).unwrap();
    let parts = scratch.allocation(&below, extent(0, CAPACITY)).unwrap();
    let holes: Vec<Extent> =
        parts.iter().filter(|part| part.is_hole).map(|part| part.extent).collect();
    let expected = [extent(BLOCK_BYTES, 2 * BLOCK_BYTES), extent(5 * BLOCK_BYTES, CAPACITY)];
    assert_eq!(holes, expected);
}

#[test]
fn nothing_reaches_past_the_end() {
    let below = view(MemoryDevice::new(geometry()));
    let scratch = layer(&below);
    for (at, length) in [(CAPACITY, 1), (CAPACITY - 1, 2), (u64::MAX, 1), (u64::MAX, 2)] {
        let (at, mut bytes) = (ByteOffset::new(at), vec![0; length]);
        let results = [scratch.read(&below, at, &mut bytes), scratch.write(&below, at, &bytes)];
        for result in results {
            assert_eq!(result.map_err(|error| error.kind()), Err(ErrorKind::Usage));
        }
    }
    let outside = extent(CAPACITY - 1, CAPACITY + 1);
    let zeroed = scratch.zero(&below, outside).map_err(|error| error.kind());
    assert_eq!(zeroed, Err(ErrorKind::Usage));
    let told = scratch.allocation(&below, outside).map_err(|error| error.kind());
    assert_eq!(told, Err(ErrorKind::Usage));
}

#[test]
fn what_is_below_is_read_only_where_it_is_needed() {
    let below = view(MemoryDevice::new(geometry()).failing_reads(0, libc::EIO));
    let scratch = layer(&below);
    let block = ByteOffset::new(BLOCK_BYTES);
    scratch.write(&below, block, &[7; BLOCK_BYTES as usize]).unwrap();
    scratch.write(&below, ByteOffset::new(BLOCK_BYTES + 9), b"abc").unwrap();
    scratch.zero(&below, extent(2 * BLOCK_BYTES, 3 * BLOCK_BYTES)).unwrap();
    let mut read = [1; 2 * BLOCK_BYTES as usize];
    scratch.read(&below, block, &mut read).unwrap();
    assert_eq!(read[8..13], [7, b'a', b'b', b'c', 7]);
    // Writing a part of a block that was never written needs the rest of it.
    for failed in [
        scratch.write(&below, ByteOffset::ZERO, b"abc"),
        scratch.zero(&below, extent(3 * BLOCK_BYTES, 3 * BLOCK_BYTES + 1)),
        scratch.read(&below, ByteOffset::ZERO, &mut read),
    ] {
        assert_eq!(failed.map_err(|error| error.kind()), Err(ErrorKind::Failed));
    }
    let mut all = [1; 2 * BLOCK_BYTES as usize];
    scratch.read(&below, block, &mut all).unwrap();
    assert_eq!(all, read);
}

#[test]
fn a_write_is_seen_whole_or_not_at_all() {
    let below = Arc::new(view(MemoryDevice::new(geometry())));
    let scratch = layer(&below);
    let (at, length) = (ByteOffset::new(1000), 9000);
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for value in 1..=200 {
                scratch.write(&below, at, &vec![value; length]).unwrap();
            }
        });
        let mut last = 0;
        let mut look = || {
            let mut read = vec![0; length];
            scratch.read(&below, at, &mut read).unwrap();
            assert!(read.iter().all(|byte| *byte == read[0]), "a write was seen in part");
            assert!(read[0] >= last, "a write was undone");
            last = read[0];
            last
        };
        while !writer.is_finished() {
            look();
        }
        assert_eq!(look(), 200);
    });
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let below = view(MemoryDevice::new(geometry()));
    let error = Scratch::new(Path::new("/no/such/folder"), &below).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Failed);
    assert!(error.to_string().contains("/no/such/folder") && error.hint().is_some());
}

#[test]
fn zeros_over_two_tebibytes_take_no_memory_to_speak_of() {
    let capacity = 2 << 40;
    let file = tempfile::tempfile().unwrap();
    file.set_len(capacity).unwrap();
    let layer = Scratch { file, capacity, blocks: RwLock::default() };
    // Whole blocks are written without reading below.
    let view = view(MemoryDevice::new(geometry()));
    // Half of what one bitmap covers: a range of a full bitmap would immediately be stored as a
    // range.
    let longest: u64 = 128 << 20;
    for start in (0..capacity).step_by(longest as usize) {
        layer.zero(&view, extent(start, (start + longest).min(capacity))).unwrap();
    }
    let blocks = layer.blocks.read().unwrap();
    assert_eq!(blocks.zeros.len(), capacity / BLOCK_BYTES);
    // The serialised size of the set is about its size in memory.
    let bytes = blocks.zeros.serialized_size() + blocks.data.serialized_size();
    assert!(bytes < 1 << 20, "{bytes} bytes");
}
