//! The bytes of the protocol document, and bytes that differ from it.

use proptest::prelude::*;

use super::option::{self, ClientFlags, Code, ContextRequest, Header, InfoRequest};
use super::*;

const REQUEST: [u8; REQUEST_BYTES] = [
    0x25, 0x60, 0x95, 0x13, 0, 1, 0, 6, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 1, 0, 0, 0, 0, 2, 0, 0, 0x10,
    0,
];

#[test]
fn a_request_is_taken_apart_as_the_document_says() {
    let expected = Request {
        flags: CommandFlags::FUA,
        command: CommandType::WriteZeroes,
        cookie: 0x0102_0304_0506_0708,
        offset: 0x0100_0000_0002,
        length: 4096,
    };
    assert_eq!(Request::parse(&REQUEST), Ok(expected));
    let mut other = REQUEST;
    other[3] = 0x14;
    assert_eq!(Request::parse(&other), Err(Breach::RequestMagic(0x2560_9514)));
}

#[test]
fn only_writes_bring_bytes_and_only_so_many() {
    let with = |command: u8, length: u32| {
        let mut bytes = REQUEST;
        bytes[7] = command;
        bytes[24..].copy_from_slice(&length.to_be_bytes());
        Request::parse(&bytes).map(|request| request.command)
    };
    assert_eq!(with(1, PAYLOAD_BYTES_MAX), Ok(CommandType::Write));
    let longer = PAYLOAD_BYTES_MAX + 1;
    assert_eq!(with(1, longer), Err(Breach::WriteTooLong(longer)));
    assert_eq!(with(0, u32::MAX), Ok(CommandType::Read));
    assert_eq!(with(5, u32::MAX), Ok(CommandType::Unknown(5)));
}

#[test]
fn replies_are_put_together_as_the_document_says() {
    let cookie = 0x0102_0304_0506_0708;
    let said = [1, 2, 3, 4, 5, 6, 7, 8];
    let simple = [&[0x67, 0x44, 0x66, 0x98, 0, 0, 0, 5][..], &said].concat();
    assert_eq!(simple_reply(cookie, Some(Fault::Disk)).to_vec(), simple);
    let front = |flags: u8, kind: [u8; 2], length: u8| {
        let magic = [0x66, 0x8e, 0x33, 0xef, 0, flags];
        [&magic[..], &kind, &said, &[0, 0, 0, length]].concat()
    };
    assert_eq!(chunk_header(cookie, Chunk::Nothing, true, 0).to_vec(), front(1, [0, 0], 0));
    assert_eq!(chunk_header(cookie, Chunk::Data, false, 9).to_vec(), front(0, [0, 1], 9));
    let hole = [front(0, [0, 2], 12), vec![0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1, 0]].concat();
    assert_eq!(hole_chunk(cookie, false, 512, 256), hole);
    let error = [front(1, [0x80, 1], 6), vec![0, 0, 0, 22, 0, 0]].concat();
    assert_eq!(error_chunk(cookie, Fault::Invalid), error);
    let status = [front(1, [0, 5], 12), vec![0, 0, 0, 1, 0, 0, 2, 0, 0, 0, 0, 3]].concat();
    assert_eq!(block_status_chunk(cookie, &[(512, AllocationFlags::all())]), status);
}

#[test]
fn strings_are_bounded_and_are_text() {
    let long = vec![b'v'; STRING_BYTES_MAX + 1];
    let data = |name: &[u8]| [&(name.len() as u32).to_be_bytes()[..], name, &[0, 0]].concat();
    let longest = data(&long[1..]);
    let parsed = InfoRequest::parse(&longest).map(|request| request.name.len());
    assert_eq!(parsed, Some(STRING_BYTES_MAX));
    assert_eq!(InfoRequest::parse(&data(&long)), None);
    assert_eq!(InfoRequest::parse(&data(b"\xff\xfe")), None);
    assert_eq!(InfoRequest::parse(&[data(b"vda"), vec![0]].concat()), None);
}

#[test]
fn flags_that_were_not_offered_are_a_breach() {
    assert_eq!(ClientFlags::parse([0, 0, 0, 1]), Ok(ClientFlags { no_zeroes: false }));
    assert_eq!(ClientFlags::parse([0, 0, 0, 3]), Ok(ClientFlags { no_zeroes: true }));
    assert_eq!(ClientFlags::parse([0, 0, 0, 4]), Err(Breach::ClientFlags(4)));
}

#[test]
fn the_answer_to_the_oldest_option_has_zeros_behind_unless_they_are_not_wanted() {
    let flags = TransmissionFlags::from_bits_retain(0x0103);
    let with = |no_zeroes| option::export_name_reply(ClientFlags { no_zeroes }, 512, flags);
    assert_eq!(with(true), [0, 0, 0, 0, 0, 0, 2, 0, 1, 3]);
    assert_eq!(with(false), [&with(true)[..], &[0; 124]].concat());
}

proptest! {
    #[test]
    fn whatever_bytes_come_nothing_panics_and_nothing_is_longer_than_they_are(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        has_magic in any::<bool>(),
    ) {
        if let Some(request) = InfoRequest::parse(&bytes) {
            prop_assert!(request.name.len() + 6 <= bytes.len());
        }
        if let Some(request) = ContextRequest::parse(&bytes) {
            let queries: usize = request.queries.iter().map(|query| 4 + query.len()).sum();
            prop_assert_eq!(request.name.len() + queries + 8, bytes.len());
        }
        let mut front = [0; REQUEST_BYTES];
        front.iter_mut().zip(&bytes).for_each(|(to, from)| *to = *from);
        if has_magic {
            front[..4].copy_from_slice(&REQUEST[..4]);
        }
        if let Ok(request) = Request::parse(&front) {
            prop_assert!(has_magic || front[..4] == REQUEST[..4]);
            let is_long = request.length > PAYLOAD_BYTES_MAX;
            prop_assert!(request.command != CommandType::Write || !is_long);
        }
    }

    #[test]
    fn an_option_is_known_by_its_number_alone(number in 0_u32..20, length in any::<u32>()) {
        let bytes = [&b"IHAVEOPT"[..], &number.to_be_bytes(), &length.to_be_bytes()].concat();
        let header = Header::parse(&bytes.try_into().unwrap()).unwrap();
        prop_assert_eq!(header, Header { number, length });
        let is_known = (1..=10).contains(&number) && ![4, 5].contains(&number);
        prop_assert_eq!(header.code() != Code::Unknown, is_known);
    }
}
