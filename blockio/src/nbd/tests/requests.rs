//! Requests and their replies, in both kinds of replies.

use super::client::{
    BLOCK_STATUS, Chunk, EINVAL, EIO, ENOSPC, ENOTSUP, EOVERFLOW, EPERM, FLUSH, READ, TRIM, WRITE,
    WRITE_ZEROES, request,
};
use super::{CAPACITY, MIB, Served, content, disk, read_only, view, writable};
use crate::nbd::Export;

const END: u64 = CAPACITY as u64;
const FUA: u16 = 1;
const DF: u16 = 4;
const REQ_ONE: u16 = 8;
const FAST_ZERO: u16 = 16;
/// A hole that reads as zeros.
const ZEROS: u32 = 3;

#[test]
fn reads_give_what_is_there_wherever_they_begin_and_end() {
    let served = Served::new(vec![read_only("vda")]);
    served.run(|| {
        let (mut structured, mut simple) = (served.structured("vda"), served.simple("vda"));
        let expected = content(CAPACITY);
        let whole = CAPACITY as u32;
        for (offset, length) in [(0, 1), (511, 2), (7, 1 << 20), (5000, 2 << 20), (0, whole)] {
            let wanted = &expected[offset as usize..][..length as usize];
            assert!(structured.read(offset, length) == wanted, "{offset} {length}");
            assert_eq!(simple.simple(0, READ, offset, length), 0);
            assert!(simple.take(length as usize) == wanted, "{offset} {length}");
        }
        assert_eq!(structured.read(END - 1, 1), expected[CAPACITY - 1..]);
    });
}

#[test]
fn one_piece_is_given_where_it_is_asked_for_and_not_too_long() {
    let served = Served::new(vec![writable("vda")]);
    served.run(|| {
        let mut client = served.structured("vda");
        assert_eq!(client.simple(0, WRITE_ZEROES, 4096, 4096), 0);
        let holes = client.chunks(0, READ, 0, 12_288);
        let mut expected = content(12_288);
        expected[4096..8192].fill(0);
        let data = |at: usize| Chunk::Data(at as u64, expected[at..at + 4096].to_vec());
        assert_eq!(holes, [data(0), Chunk::Hole(4096, 4096), data(8192)]);
        assert_eq!(client.chunks(DF, READ, 0, 12_288), [Chunk::Data(0, expected)]);
        let one = client.chunks(DF, READ, 0, MIB as u32);
        assert!(matches!(one[..], [Chunk::Data(0, _)]));
        assert_eq!(client.chunks(DF, READ, 0, MIB as u32 + 1), [Chunk::Error(EOVERFLOW)]);
    });
}

#[test]
fn what_reaches_past_the_end_or_is_nothing_or_too_much_is_refused() {
    let served = Served::new(vec![writable("vda")]);
    served.run(|| {
        let (mut structured, mut simple) = (served.structured("vda"), served.simple("vda"));
        let outside = [(END, 1), (END - 1, 2), (u64::MAX, 1), (u64::MAX, u32::MAX), (0, u32::MAX)];
        for (offset, length) in outside.into_iter().chain([(0, 0), (0, (32 << 20) + 1)]) {
            let refused = structured.chunks(0, READ, offset, length);
            assert_eq!(refused, [Chunk::Error(EINVAL)], "{offset} {length}");
            assert_eq!(simple.simple(0, READ, offset, length), EINVAL, "{offset} {length}");
        }
        for (offset, length) in outside {
            for command in [TRIM, WRITE_ZEROES] {
                assert_eq!(simple.simple(0, command, offset, length), ENOSPC, "{offset}");
            }
            let refused = structured.chunks(0, BLOCK_STATUS, offset, length);
            assert_eq!(refused, [Chunk::Error(EINVAL)], "{offset} {length}");
        }
        for offset in [END, END - 1, u64::MAX] {
            assert_eq!(simple.write(offset, b"ab"), ENOSPC);
        }
        assert_eq!(simple.simple(0, READ, END - 8, 8), 0);
        assert_eq!(simple.take(8), content(CAPACITY)[CAPACITY - 8..]);
    });
}

#[test]
fn commands_and_flags_that_nobody_knows_are_refused() {
    let served = Served::new(vec![writable("vda")]);
    served.run(|| {
        let mut client = served.structured("vda");
        for command in [5, 8, 9, u16::MAX] {
            assert_eq!(client.simple(0, command, 0, u32::MAX), EINVAL);
        }
        assert_eq!(client.simple(REQ_ONE, FLUSH, 0, 0), EINVAL);
        assert_eq!(client.simple(DF, WRITE_ZEROES, 0, 8), EINVAL);
        assert_eq!(client.simple(FAST_ZERO, WRITE_ZEROES, 0, 8), ENOTSUP);
        assert_eq!(client.chunks(1 << 15, READ, 0, 8), [Chunk::Error(EINVAL)]);
        client.send(&request(1 << 9, WRITE, 0, 3));
        client.send(b"abc");
        assert_eq!(client.simple_reply(), EINVAL);
        assert_eq!(client.read(0, 8), content(8));
    });
}

#[test]
fn a_read_only_export_refuses_every_change_and_takes_what_comes_behind_it() {
    let served = Served::new(vec![read_only("vda")]);
    served.run(|| {
        let mut client = served.structured("vda");
        assert_eq!(client.write(0, &[1; 100_000]), EPERM);
        assert_eq!(client.write(END, b"past the end"), EPERM);
        assert_eq!(client.simple(0, TRIM, 0, 4096), EPERM);
        assert_eq!(client.simple(0, WRITE_ZEROES, 0, 4096), EPERM);
        assert_eq!(client.simple(0, FLUSH, 0, 0), 0);
        assert_eq!(client.read(0, 4096), content(4096));
    });
}

#[test]
fn what_one_client_writes_every_client_reads() {
    let served = Served::new(vec![writable("vda")]);
    served.run(|| {
        let (mut writer, mut reader) = (served.simple("vda"), served.structured("vda"));
        let mut expected = content(CAPACITY);
        // More than one piece, from the middle of a block to the very end.
        let data = vec![0xee; 2 * MIB + 700];
        let start = CAPACITY - data.len();
        assert_eq!(writer.write(start as u64, &data), 0);
        expected[start..].copy_from_slice(&data);
        writer.send(&request(FUA, WRITE, 100, 3));
        writer.send(b"abc");
        assert_eq!(writer.simple_reply(), 0);
        expected[100..103].copy_from_slice(b"abc");
        assert_eq!(writer.simple(FUA, TRIM, 8190, 5000), 0);
        expected[8190..13_190].fill(0);
        assert_eq!(writer.simple(0, FLUSH, 0, 0), 0);
        assert!(reader.read(0, CAPACITY as u32) == expected);
        let status = reader.chunks(0, BLOCK_STATUS, 4096, 65_536);
        let parts = vec![(4096, 0), (4096, ZEROS), (65_536 - 8192, 0)];
        assert_eq!(status, [Chunk::Status(parts)]);
        let first = reader.chunks(REQ_ONE, BLOCK_STATUS, 4096, 65_536);
        assert_eq!(first, [Chunk::Status(vec![(4096, 0)])]);
    });
}

#[test]
fn without_the_context_nothing_is_said_of_zeros() {
    let served = Served::new(vec![writable("vda")]);
    served.run(|| {
        let mut client = served.simple("vda");
        assert_eq!(client.simple(0, BLOCK_STATUS, 0, 4096), EINVAL);
    });
}

#[test]
fn a_disk_that_fails_is_said_to_and_the_connection_goes_on() {
    let failing = |good| {
        let device = disk(&content(CAPACITY)).failing_reads(good, libc::EIO);
        let export = Export { name: "vda".to_owned(), view: view(device), scratch: None };
        Served::new(vec![export])
    };
    let served = failing(0);
    served.run(|| {
        let (mut structured, mut simple) = (served.structured("vda"), served.simple("vda"));
        for _ in 0..9 {
            assert_eq!(structured.chunks(0, READ, 0, 4096), [Chunk::Error(EIO)]);
            assert_eq!(simple.simple(0, READ, 0, 4096), EIO);
        }
    });
    // A failure in the middle: data read before it is good, and the error ends the reply.
    let served = failing(1);
    served.run(|| {
        let mut client = served.structured("vda");
        let chunks = client.chunks(0, READ, 0, 2 << 20);
        assert_eq!(chunks, [Chunk::Data(0, content(MIB)), Chunk::Error(EIO)]);
        assert_eq!(client.simple(0, FLUSH, 0, 0), 0);
    });
}

#[test]
fn a_simple_reply_that_cannot_be_finished_ends_the_connection_and_nothing_wrong_is_said() {
    let device = disk(&content(CAPACITY)).failing_reads(1, libc::EIO);
    let export = Export { name: "vda".to_owned(), view: view(device), scratch: None };
    let served = Served::new(vec![export]);
    served.run(|| {
        let mut client = served.simple("vda");
        assert_eq!(client.simple(0, READ, 0, 2 << 20), 0);
        assert!(client.take(MIB) == content(MIB));
        client.is_ended();
        // Other clients get the error before any data is sent.
        assert_eq!(served.simple("vda").simple(0, READ, 0, 2 << 20), EIO);
    });
}
