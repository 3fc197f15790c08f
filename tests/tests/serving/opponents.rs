//! Clients that do not keep to the protocol, or mean harm: written from docs/format/session-v1.md
//! alone.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use mt_tests::program::finish;

use crate::rig::Rig;
use crate::unix;

/// A frame.
fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_le_bytes();
    [&[kind, 0, 0, 0][..], &length, body].concat()
}

fn hello(sender: &str, generation: u64) -> Vec<u8> {
    let body = serde_json::json!({
        "version": 1, "program": "a test", "sender": sender, "generation": generation,
    });
    frame(1, body.to_string().as_bytes())
}

struct Client(UnixStream);

impl Client {
    fn new(rig: &Rig) -> Self {
        let stream = UnixStream::connect(rig.path("serve")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self(stream)
    }

    fn send(&mut self, bytes: &[u8]) {
        // It may be closed already.
        let _ = self.0.write_all(bytes);
    }

    /// The next frame; `None` once the connection is closed.
    fn next(&mut self) -> Option<(u8, String)> {
        let mut head = [0; 8];
        self.0.read_exact(&mut head).ok()?;
        let length = u32::from_le_bytes(head[4..].try_into().unwrap());
        let mut body = vec![0; length as usize];
        self.0.read_exact(&mut body).unwrap();
        Some((head[0], String::from_utf8(body).unwrap()))
    }

    /// Asserts that it is refused with `text`, and then closed.
    #[track_caller]
    fn is_refused(&mut self, text: &str) {
        let (kind, body) = self.next().expect("a refusal");
        assert!(kind == 11 && body.contains(text), "{kind}: {body}");
        assert_eq!(self.next(), None);
    }
}

#[test]
fn whoever_breaks_the_protocol_is_refused_and_whoever_says_nothing_stalls_nobody() {
    let rig = Rig::new(20, 5);
    let receiver = rig.serve(&[]);
    let silent: Vec<_> = (0..30).map(|_| Client::new(&rig)).collect();
    let offer = frame(3, b"{\"group\": \"web\"}");
    let stream = fs::read(rig.path("stream")).unwrap();
    let long = [&[1, 0, 0, 0][..], &u32::MAX.to_le_bytes()].concat();
    for (bytes, text) in [
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "reserved bytes"),
        (frame(71, &[]), "unknown kind 71"),
        (long, "where 2 to 4096 are allowed"),
        (frame(1, b"no JSON"), "a message that cannot be read"),
        (frame(3, b"{}"), "not expected there: Offer"),
        (hello("", 1), "the name of the sender is not valid"),
        (
            frame(1, b"{\"version\":2,\"program\":\"\",\"sender\":\"a\",\"generation\":1}"),
            "version 2",
        ),
    ] {
        let mut client = Client::new(&rig);
        client.send(&bytes);
        client.is_refused(text);
    }
    for (name, bytes, text) in [
        ("a", frame(4, &stream[..4096]), "an offer is expected here"),
        ("b", [&offer[..], &frame(3, b"{}")].concat(), "not expected there: Offer"),
        ("c", [&offer[..], &frame(4, &[0; 4096])].concat(), "not a stream"),
    ] {
        let mut client = Client::new(&rig);
        client.send(&hello(name, 1));
        assert_eq!(client.next().unwrap().0, 2);
        client.send(&bytes);
        client.is_refused(text);
    }
    finish(&mut rig.send("stream", &unix(&rig.path("serve")), &[])).exits(0);
    drop(silent);
    assert_eq!(receiver.stop(), Some(0));
    rig.holds_everything();
}

#[test]
fn a_place_that_the_receiver_does_not_know_is_refused() {
    let rig = Rig::new(60, 10);
    let receiver = rig.serve(&[]);
    let stream = fs::read(rig.path("stream")).unwrap();
    let resumed = |name: &str, resume: &str| {
        let mut client = Client::new(&rig);
        client.send(&hello(name, 1));
        client.send(&frame(3, b"{\"group\": \"web\"}"));
        client.send(&frame(4, &stream[..4096]));
        assert_eq!(client.next().unwrap().0, 2);
        let (kind, answer) = client.next().unwrap();
        assert_eq!(kind, 5, "{answer}");
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        client.send(&frame(6, resume.as_bytes()));
        (client, answer["resume"].clone())
    };
    // Nothing is applied: there is no place to go on at.
    let place = |position: u64, chain: &str| {
        let chain = format!("\"chain\": \"{chain}\"");
        format!("{{\"position\": {position}, \"sequence\": 9, {chain}}}")
    };
    let zeros = "0".repeat(32);
    let (mut client, known) = resumed("a", &place(1 << 20, &zeros));
    assert!(known.is_null());
    client.is_refused("not expected there: Resume");
    // A part of it is.
    let half = stream.len() / 2;
    let (mut client, _) = resumed("b", "{\"position\": 0}");
    client.send(
        &stream[4096..half].chunks(1 << 18).flat_map(|part| frame(4, part)).collect::<Vec<_>>(),
    );
    drop(client);
    for chain in [&zeros, &"f".repeat(32)] {
        let (mut client, known) = resumed(chain, &place(1 << 30, chain));
        assert!(known["position"].as_u64().unwrap() > 4096, "{known}");
        client.is_refused("differs from it before byte");
        let (mut client, known) = resumed(&chain[1..], "{\"position\": 4097}");
        assert!(!known.is_null());
        client.is_refused("cursor");
    }
    finish(&mut rig.send("stream", &unix(&rig.path("serve")), &[])).exits(0);
    assert_eq!(receiver.stop(), Some(0));
    rig.holds_everything();
}

#[test]
fn a_newer_session_of_a_sender_ends_the_older_one_and_not_the_other_way_round() {
    let rig = Rig::new(20, 5);
    let receiver = rig.serve(&[]);
    let begun = |generation| {
        let mut client = Client::new(&rig);
        client.send(&hello("db", generation));
        client
    };
    let mut first = begun(5);
    assert_eq!(first.next().unwrap().0, 2);
    begun(5).is_refused("a newer session of it is open");
    begun(4).is_refused("a newer session of it is open");
    let mut second = begun(6);
    assert_eq!(second.next().unwrap().0, 2);
    first.is_refused("a newer session of the same sender");
    second.send(&frame(10, &[]));
    assert_eq!(second.next(), Some((10, String::new())));
    assert_eq!(receiver.stop(), Some(0));
}
