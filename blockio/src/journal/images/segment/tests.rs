//! Segments in memory and in files: which records are compared when, and who waits for whom.

use std::num::NonZeroUsize;
use std::sync::Arc;

use super::*;
use crate::device::memory::MemoryDevice;
use crate::device::{Geometry, WriteBatch};
use crate::journal::layout::BLOCK_BYTES;
use crate::units::{ByteCount, SectorSize};

fn transfer(at: u64, position: usize, length: usize) -> Transfer {
    Transfer { at: ByteOffset::new(at), position, length }
}

#[test]
fn a_read_goes_on_where_the_last_ended_on_the_disk_and_in_memory_up_to_a_transfer() {
    let last = transfer(3 * 4096, 4096, 8192);
    assert!(continues(&last, &transfer(5 * 4096, 3 * 4096, 4096)));
    assert!(!continues(&last, &transfer(6 * 4096, 3 * 4096, 4096)));
    assert!(!continues(&last, &transfer(5 * 4096, 4 * 4096, 4096)));
    let rest = TRANSFER_BYTES_MAX - 8192;
    assert!(continues(&last, &transfer(5 * 4096, 3 * 4096, rest)));
    assert!(!continues(&last, &transfer(5 * 4096, 3 * 4096, rest + 512)));
}

/// A segment in memory that holds `bytes` after its first block. Each record is given by its
/// position, its length, and whether its checksum is right.
pub(in crate::journal::images) fn segment(bytes: &[u8], records: &[(u64, usize, bool)]) -> Segment {
    let capacity = ByteCount::new((BLOCK_BYTES + bytes.len()) as u64);
    let mut device = MemoryDevice::new(Geometry { capacity, sector_size: SectorSize::Bytes4096 });
    for (piece, at) in bytes.chunks(TRANSFER_BYTES_MAX).zip(0..) {
        let mut arena = pool().take().unwrap();
        arena.as_mut_slice()[..piece.len()].copy_from_slice(piece);
        let at = (BLOCK_BYTES + at * TRANSFER_BYTES_MAX) as u64;
        let writes = vec![transfer(at, 0, piece.len())];
        let batch = WriteBatch { arena: Arc::new(arena), writes, clears: Vec::new() };
        device.write_batch(batch).unwrap();
    }
    let record = |(payload_at, length, is_right): &(u64, usize, bool)| {
        let from = *payload_at as usize - BLOCK_BYTES;
        let checksum = crc32c::crc32c(&bytes[from..from + length]) ^ u32::from(!is_right);
        let (payload_at, payload_bytes) = (*payload_at, *length as u32);
        Checked { payload_at, payload_bytes, checksum, is_whole: false }
    };
    Segment::new(SegmentNumber(1), Box::new(device), records.iter().map(record).collect())
}

pub(in crate::journal::images) fn pool() -> ArenaPool {
    ArenaPool::new(2, NonZeroUsize::new(TRANSFER_BYTES_MAX).unwrap()).unwrap()
}

#[test]
fn only_the_records_that_hold_what_is_asked_for_are_compared() {
    let (first, second, third) = (4096, 4 * 4096, 8 * 4096);
    let records = [(first, 8192, true), (second, 8192, false), (third, 4096, true)];
    let holds = |at, length| {
        let segment = segment(&[3; 10 * 4096], &records);
        segment.check_what_holds(at, length, &pool()).is_ok()
    };
    assert!(holds(first, 8192) && holds(first + 4096, 4096));
    assert!(holds(first, second - first) && !holds(first, second - first + 1));
    assert!(!holds(second, 1) && !holds(second + 4096, 4096) && !holds(second, 8 * 4096));
    assert!(holds(third, 4096));
}

/// A segment in a file, with `records` of one byte each: the length of their payload, and whether
/// their checksum is right. Between them there is room for a header.
fn segment_in_a_file(records: &[(usize, bool)]) -> Segment {
    use std::os::unix::fs::FileExt;

    let file = tempfile::tempfile().unwrap();
    let mut at = BLOCK_BYTES;
    let mut known = Vec::new();
    for ((length, is_right), byte) in records.iter().zip(1..) {
        at += BLOCK_BYTES;
        let payload = vec![byte; *length];
        file.write_all_at(&payload, at as u64).unwrap();
        let checksum = crc32c::crc32c(&payload) ^ u32::from(!is_right);
        let (payload_at, payload_bytes) = (at as u64, *length as u32);
        known.push(Checked { payload_at, payload_bytes, checksum, is_whole: false });
        at += padded(*length);
    }
    file.set_len(at as u64).unwrap();
    let capacity = ByteCount::new(at as u64);
    let geometry = Geometry { capacity, sector_size: SectorSize::Bytes4096 };
    let device = crate::device::blocking::BlockingDevice::new(file, geometry).unwrap();
    Segment::new(SegmentNumber(1), Box::new(device), known)
}

#[test]
fn all_records_are_compared_whether_a_queue_is_read_ahead_or_not() {
    let long = PIECE_BYTES + 5 * BLOCK_BYTES;
    for engine in [Engine::Blocking, Engine::Auto] {
        let checked = |records: &[(usize, bool)]| {
            let segment = segment_in_a_file(records);
            let mut told = Vec::new();
            let mut observe = |bytes| {
                told.push(bytes);
                Ok(())
            };
            let all = segment.check_all(segment.queue(engine), &pool(), &mut observe);
            (all.map_err(|error| error.kind()), told)
        };
        let bytes = |length: usize| length as u64;
        let whole = checked(&[(4096, true), (long, true), (0, true), (700, true)]);
        assert_eq!(whole, (Ok(()), vec![4096, bytes(long), 0, 700]));
        let damaged = checked(&[(4096, true), (long, false), (4096, true)]);
        assert_eq!(damaged, (Err(ErrorKind::Integrity), vec![4096]));
        let empty = checked(&[(0, false)]);
        assert_eq!(empty.0, Err(ErrorKind::Integrity));
    }
}

#[test]
fn a_check_ends_with_the_error_of_whoever_watches_it_and_a_record_is_compared_once() {
    let segment = segment_in_a_file(&[(3 * PIECE_BYTES, true), (4096, true)]);
    let (memory, stop) = (pool(), || Error::new(ErrorKind::Failed, "stopped"));
    let mut left = 1;
    let ended = segment.check_all(segment.queue(Engine::Auto), &memory, &mut |_| {
        left -= 1;
        if left == 0 { Err(stop()) } else { Ok(()) }
    });
    assert_eq!(ended.unwrap_err().to_string(), "stopped");
    // All memory is back.
    let both = [memory.take().unwrap(), memory.take().unwrap()];
    drop(both);
    let mut told = Vec::new();
    let observe = &mut |bytes| {
        told.push(bytes);
        Ok(())
    };
    segment.check_all(None, &memory, observe).unwrap();
    assert_eq!(told, [3 * PIECE_BYTES as u64, 4096]);
}

#[test]
fn whoever_waits_for_memory_to_compare_a_record_keeps_no_device_from_those_who_hold_it() {
    let segment = segment(&[3; 2 * 4096], &[(4096, 4096, true), (8192, 4096, true)]);
    let memory = pool();
    segment.check_what_holds(8192, 1, &memory).unwrap();
    let mut held = [memory.take().unwrap(), memory.take().unwrap()].into_iter();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| segment.check_what_holds(4096, 1, &memory));
        let place = ImageLocation::Segment { segment: 0, at: 8192 };
        for arena in held.by_ref() {
            let read = segment.read(&[(place, 0, 4096)], arena, &memory, None).unwrap();
            assert_eq!(read.as_slice()[..4096], [3; 4096]);
        }
        waiting.join().unwrap().unwrap();
    });
}
