//! Clients that want more than their share of memory, time, or seats that others need.

use std::io::Read;
use std::time::{Duration, Instant};

use super::client::{Chunk, Client, FLUSH, READ, TRIM, request};
use super::{CAPACITY, MIB, Served, content, read_only, view, writable};
use crate::device::Geometry;
use crate::device::memory::MemoryDevice;
use crate::nbd::Export;
use crate::nbd::budget::{BUDGET_BYTES, Budget, REST_BYTES};
use crate::nbd::protocol::{CHUNK_HEADER_BYTES, SIMPLE_REPLY_BYTES};
use crate::nbd::seats::CONNECTIONS_MAX;
use crate::units::{ByteCount, SectorSize};

const LONGEST_READ: u32 = 32 << 20;

/// A client that has received the beginning of a reply, and reads no more while its request is
/// under way.
fn busy(served: &Served, length: u32) -> Client {
    let mut client = served.simple("vda");
    client.send(&request(0, READ, 0, length));
    assert_eq!(client.simple_reply(), 0);
    client
}

/// A client that gets a seat as soon as another one gives it up; it is greeted.
fn comes_in(served: &Served) -> Client {
    let began = Instant::now();
    loop {
        let mut next = served.client();
        if next.stream.read(&mut [0; 18]).is_ok_and(|length| length > 0) {
            return next;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "nobody makes room");
    }
}

#[test]
fn clients_that_ask_for_much_and_read_nothing_hold_one_piece_each() {
    let capacity = ByteCount::new(LONGEST_READ.into());
    let disk = MemoryDevice::new(Geometry { capacity, sector_size: SectorSize::Bytes512 });
    let export = Export { name: "vda".to_owned(), view: view(disk), scratch: None };
    let served = Served::new(vec![export]);
    served.run(|| {
        let clients: Vec<Client> =
            (0..CONNECTIONS_MAX).map(|_| busy(&served, LONGEST_READ)).collect();
        let held = served.server.budget.held();
        let share = SIMPLE_REPLY_BYTES + MIB + REST_BYTES;
        assert_eq!((held.now, held.most), (clients.len() * share, clients.len() * share));
        assert!(held.most <= BUDGET_BYTES, "{held:?}");
    });
    assert_eq!(served.server.budget.held().now, 0);
}

#[test]
fn a_client_that_waits_between_requests_holds_nothing() {
    let served = Served::new(vec![writable("vda")]);
    served.run(|| {
        let (mut structured, mut simple) = (served.structured("vda"), served.simple("vda"));
        structured.read(0, CAPACITY as u32);
        assert_eq!(simple.write(0, &content(2 * MIB)), 0);
        // The next request is accepted only when the previous one has given everything back.
        assert_eq!(structured.simple(0, FLUSH, 0, 0), 0);
        assert_eq!(simple.simple(0, FLUSH, 0, 0), 0);
        let held = served.server.budget.held();
        assert!(held.now == 0 && held.most > MIB, "{held:?}");
    });
}

#[test]
fn a_client_that_does_not_take_its_reply_leaves_its_share_to_those_who_wait() {
    let mut served = Served::new(vec![read_only("vda")]);
    let only_share = CHUNK_HEADER_BYTES + 8 + MIB + REST_BYTES;
    served.server.budget = Budget::new(only_share);
    served.server.patience.progress = Duration::from_millis(50);
    served.run(|| {
        let mut silent = busy(&served, CAPACITY as u32);
        let mut other = served.structured("vda");
        assert!(other.read(0, MIB as u32) == content(MIB));
        assert_eq!(served.server.budget.held().most, only_share);
        let mut rest = Vec::new();
        let ended = silent.stream.read_to_end(&mut rest);
        assert!(ended.is_err() || rest.len() < CAPACITY, "all of the reply came");
        assert!(content(CAPACITY).starts_with(&rest));
    });
}

#[test]
fn zeros_are_told_piece_by_piece() {
    let served = Served::new(vec![writable("vda")]);
    served.run(|| {
        let mut client = served.structured("vda");
        assert_eq!(client.simple(0, TRIM, 0, CAPACITY as u32), 0);
        let mib = MIB as u32;
        let hole = |at: u32, length| Chunk::Hole(at.into(), length);
        let expected = [hole(0, mib), hole(mib, mib), hole(2 * mib, mib), hole(3 * mib, 512)];
        assert_eq!(client.chunks(0, READ, 0, CAPACITY as u32), expected);
    });
}

#[test]
fn a_client_that_is_idle_makes_room_and_those_with_a_request_under_way_do_not() {
    let mut served = Served::new(vec![read_only("vda")]);
    served.server.patience.keeps.idle = Duration::ZERO;
    served.run(|| {
        let mut idle = served.simple("vda");
        let mut others: Vec<Client> =
            (1..CONNECTIONS_MAX).map(|_| busy(&served, CAPACITY as u32)).collect();
        let mut next = comes_in(&served);
        idle.is_ended();
        next.send(&3_u32.to_be_bytes());
        next.go("vda");
        assert_eq!(next.simple(0, READ, 0, 512), 0);
        let expected = content(CAPACITY);
        assert_eq!(next.take(512), expected[..512]);
        for other in &mut others {
            assert!(other.take(CAPACITY) == expected);
        }
    });
}

/// A client that comes while all others stall gets a seat, and is served.
fn finds_a_place(served: &Served) {
    let mut next = comes_in(served);
    next.send(&3_u32.to_be_bytes());
    next.go("vda");
    assert_eq!(next.simple(0, READ, 0, 512), 0);
    assert_eq!(next.take(512), content(512));
}

#[test]
fn clients_that_take_nothing_of_their_replies_do_not_keep_everybody_out() {
    let mut served = Served::new(vec![read_only("vda")]);
    served.server.patience.keeps.stalled = Duration::ZERO;
    served.run(|| {
        let mut others: Vec<Client> =
            (0..CONNECTIONS_MAX).map(|_| busy(&served, CAPACITY as u32)).collect();
        finds_a_place(&served);
        // One gave up its seat, and only one.
        let mut whole = 0;
        for other in &mut others {
            let mut reply = vec![0; CAPACITY];
            whole += usize::from(other.stream.read_exact(&mut reply).is_ok());
        }
        assert_eq!(whole, CONNECTIONS_MAX - 1);
    });
}

#[test]
fn clients_that_begin_requests_and_do_not_end_them_do_not_keep_everybody_out() {
    let mut served = Served::new(vec![read_only("vda")]);
    served.server.patience.keeps.stalled = Duration::ZERO;
    served.run(|| {
        let _others: Vec<Client> = (0..CONNECTIONS_MAX)
            .map(|_| {
                let mut other = served.simple("vda");
                other.send(&request(0, READ, 0, 512)[..5]);
                other
            })
            .collect();
        finds_a_place(&served);
    });
}
