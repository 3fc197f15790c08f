//! Feeds arbitrary bytes to what reads the frames and messages of a session: what is read is
//! written as the same bytes or the same value, and no length is believed above its limit.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serving::session::frame::{HEADER_BYTES, Header, Kind, RECORDS_BYTES_MAX};
use serving::session::message::{self, Answer, Hello, Offer, Refused, Resume, Taken, Welcome};

fuzz_target!(|input: &[u8]| {
    let mut rest = input;
    while let Some((head, body)) = rest.split_first_chunk::<HEADER_BYTES>() {
        let Ok(header) = Header::read(head) else { return };
        assert_eq!(header.bytes(), *head);
        assert!(header.length <= RECORDS_BYTES_MAX);
        let Some((body, after)) = body.split_at_checked(header.length as usize) else { return };
        match header.kind {
            Kind::Hello => again::<Hello>(body),
            Kind::Welcome => again::<Welcome>(body),
            Kind::Offer => again::<Offer>(body),
            Kind::Answer => again::<Answer>(body),
            Kind::Resume => again::<Resume>(body),
            Kind::Taken => again::<Taken>(body),
            Kind::Refused => again::<Refused>(body),
            Kind::Records | Kind::Durable | Kind::KeepAlive | Kind::End => {}
        }
        rest = after;
    }
});

/// A message that is read is the same after it was written.
fn again<T>(body: &[u8])
where
    T: serde::de::DeserializeOwned + serde::Serialize + PartialEq + std::fmt::Debug,
{
    let Ok(read) = message::read::<T>(body) else { return };
    let written = message::body(&read);
    assert_eq!(message::read::<T>(&written).expect("our own message is read"), read);
}
