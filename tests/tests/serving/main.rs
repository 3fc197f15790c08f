//! `mtctl serve` and `mtctl send` as their users run them: connections that are cut, processes that
//! are killed, senders that nobody knows. The book of what was promised is kept by a wire between
//! the two that knows only the document.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test code outside of test functions")]

mod opponents;
mod rig;
mod wire;

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use mt_tests::program::{command, finish, mtctl};
use mt_tests::random::Random;

use rig::Rig;
use wire::Wire;

fn unix(path: &std::path::Path) -> String {
    format!("unix:{}", path.display())
}

#[test]
fn a_connection_that_is_cut_again_and_again_brings_everything_and_nothing_durable_twice() {
    let rig = Rig::new(400, 40);
    let receiver = rig.serve(&[]);
    let mut random = Random::new(1);
    let wire = Wire::new(rig.path("wire"), &rig.path("serve"), move || {
        // Enough for the header and one record, so that there is progress.
        (90 << 10) + random.below(200 << 10)
    });
    let sent = finish(&mut rig.send("stream", &unix(&wire.path), &[]));
    let told = sent.exits(0).json();
    let book = wire.book.lock().unwrap();
    assert_eq!(book.wrong, [""; 0]);
    assert!(book.connections > 20, "{book:?}");
    assert_eq!(book.durable_again, 0, "{book:?}");
    assert_eq!(told["connections"], book.connections, "{told}");
    let length = fs::metadata(rig.path("stream")).unwrap().len();
    assert_eq!(book.durable(), length, "{book:?}");
    // What was on its way when a connection was cut: a piece of records, and a batch of them.
    let on_the_way = book.connections * ((256 + 80) << 10);
    let transferred = told["transferred_bytes"].as_u64().unwrap();
    assert!(transferred <= length + on_the_way, "{transferred} of {length}: {book:?}");
    println!("{} connections, {transferred} bytes for {length}", book.connections);
    drop(book);
    assert_eq!(receiver.stop(), Some(0));
    rig.holds_everything();
}

#[test]
fn a_receiver_that_is_killed_again_and_again_keeps_what_it_said_is_durable() {
    let rig = Rig::new(500, 20);
    let mut random = Random::new(2);
    let wire = Wire::new(rig.path("wire"), &rig.path("serve"), || u64::MAX);
    let mut receiver = rig.serve(&[]);
    let mut send = rig.send("stream", &unix(&wire.path), &[]);
    let mut sender = send.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut kills = 0;
    while sender.try_wait().unwrap().is_none() {
        // At moments that depend on how far it is, not on time.
        let until = wire.book.lock().unwrap().records + (512 << 10) + random.below(2 << 20);
        while wire.book.lock().unwrap().records < until && sender.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        receiver.kill();
        kills += 1;
        receiver = rig.serve(&[]);
    }
    assert!(sender.wait().unwrap().success());
    let book = wire.book.lock().unwrap();
    assert_eq!((&book.wrong[..], book.durable_again), (&[][..], 0), "{book:?}");
    println!("{kills} times killed");
    assert!(kills > 5, "{kills}");
    drop(book);
    assert_eq!(receiver.stop(), Some(0));
    rig.holds_everything();
}

#[test]
fn a_sender_that_is_killed_and_started_anew_goes_on_after_what_is_durable() {
    let rig = Rig::new(300, 30);
    let receiver = rig.serve(&[]);
    let mut random = Random::new(3);
    let wire = Wire::new(rig.path("wire"), &rig.path("serve"), || u64::MAX);
    let mut kills = 0;
    loop {
        let mut send = rig.send("stream", &unix(&wire.path), &[]);
        let mut sender = send.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let until = wire.book.lock().unwrap().records + (64 << 10) + random.below(1 << 20);
        while wire.book.lock().unwrap().records < until && sender.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        if let Some(ended) = sender.try_wait().unwrap() {
            assert!(ended.success());
            break;
        }
        sender.kill().unwrap();
        sender.wait().unwrap();
        kills += 1;
    }
    let book = wire.book.lock().unwrap();
    assert_eq!((&book.wrong[..], book.durable_again), (&[][..], 0), "{book:?}");
    println!("{kills} times killed");
    assert!(kills > 2, "{kills}");
    drop(book);
    assert_eq!(receiver.stop(), Some(0));
    rig.holds_everything();
}

#[test]
fn who_is_not_named_may_not_write_and_is_told_what_would_allow_it() {
    let rig = Rig::new(10, 5);
    rig.allow("[\"spiffe://example.org/db\", \"user:4711\"]");
    let receiver = rig.serve(&["--listen-plain", "127.0.0.1:0"]);
    let loopback = format!("tcp://{}", receiver.listening[1]);
    for (to, identity) in [(unix(&rig.path("serve")), "user:0"), (loopback, "loopback")] {
        let refused = finish(&mut rig.send("stream", &to, &[]));
        refused.exits(4).says(&format!("{identity} may not write to group web"));
        refused.says(&format!("add \\\"{identity}\\\" to allow in /etc/mtctl/groups.d/web.toml"));
    }
    assert_eq!(receiver.stop(), Some(0));
    assert_ne!(fs::read(rig.path("disk")).unwrap(), rig.end);
}

#[test]
fn a_damaged_stream_is_refused_with_what_is_wrong_and_a_good_one_follows() {
    let rig = Rig::new(20, 5);
    let mut bytes = fs::read(rig.path("stream")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(rig.path("damaged"), &bytes).unwrap();
    fs::write(rig.path("no-stream"), "no stream").unwrap();
    fs::write(rig.path("cut"), &bytes[..4096 * 3]).unwrap();
    let receiver = rig.serve(&[]);
    let to = unix(&rig.path("serve"));
    finish(&mut rig.send("damaged", &to, &[])).exits(5).says("checksum");
    finish(&mut rig.send("no-stream", &to, &[])).exits(5).says("is not a native change stream");
    finish(&mut rig.send("stream", &to, &[])).exits(0);
    let again = finish(&mut rig.send("stream", &to, &[])).exits(0).json();
    assert_eq!(again["recovery_points"], 0);
    assert_eq!(receiver.stop(), Some(0));
    rig.holds_everything();
}

/// An image of which half is zeros.
fn image(rig: &Rig, seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut bytes = random.bytes(rig::SIZE as usize);
    for piece in bytes.chunks_mut(300_000).step_by(2) {
        piece.fill(0);
    }
    fs::write(rig.path("image"), &bytes).unwrap();
    bytes
}

#[test]
fn a_full_copy_goes_on_after_every_cut_and_its_zeros_do_not_travel() {
    let rig = Rig::new(1, 2);
    let bytes = image(&rig, 5);
    let receiver = rig.serve(&[]);
    let mut random = Random::new(6);
    let wire = Wire::new(rig.path("wire"), &rig.path("serve"), move || {
        (1200 << 10) + random.below(1 << 20)
    });
    let sent = finish(&mut rig.send("image", &unix(&wire.path), &["--format", "raw"]));
    sent.exits(0);
    let book = wire.book.lock().unwrap();
    assert_eq!((&book.wrong[..], book.durable_again), (&[][..], 0), "{book:?}");
    assert!(book.connections > 2, "{book:?}");
    assert!(book.durable() < rig::SIZE * 2 / 3, "{book:?}");
    drop(book);
    assert_eq!(receiver.stop(), Some(0));
    assert!(fs::read(rig.path("disk")).unwrap() == bytes, "the disk differs");
}

#[test]
fn a_full_copy_that_was_killed_goes_on_where_it_was() {
    let rig = Rig::new(1, 2);
    let bytes = image(&rig, 7);
    let receiver = rig.serve(&[]);
    // The second connection is the sender's, started anew.
    let mut connections = 0;
    let wire = Wire::new(rig.path("wire"), &rig.path("serve"), move || {
        connections += 1;
        if connections == 1 { 2_500_000 } else { u64::MAX }
    });
    let raw = ["--format", "raw"];
    let mut sender = rig.send("image", &unix(&wire.path), &raw);
    let mut sender = sender.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    // It says that the connection is lost.
    let mut said = String::new();
    BufReader::new(sender.stderr.take().unwrap()).read_line(&mut said).unwrap();
    sender.kill().unwrap();
    sender.wait().unwrap();
    assert!(said.contains("trying again"), "{said}");
    finish(&mut rig.send("image", &unix(&wire.path), &raw)).exits(0);
    let book = wire.book.lock().unwrap();
    assert_eq!((&book.wrong[..], book.durable_again), (&[][..], 0), "{book:?}");
    drop(book);
    assert_eq!(receiver.stop(), Some(0));
    assert!(fs::read(rig.path("disk")).unwrap() == bytes, "the disk differs");
}

/// Makes certificates in the directory of `rig`, and starts a receiver that shows one.
fn with_tls(rig: &Rig) -> (rig::Receiver, String) {
    let directory = rig.at("certificates");
    let make = |words: &[&str]| {
        let words = [&["certificate"], words, &["--directory", &directory]].concat();
        finish(&mut command(mtctl(), &words)).exits(0);
    };
    make(&["authority"]);
    make(&["issue", "home", "--receiver", "localhost"]);
    make(&["issue", "db", "--sender", "spiffe://example.org/db"]);
    let of = |name: &str| rig.at(&format!("certificates/{name}"));
    let (certificate, key, authorities) = (of("home.pem"), of("home.key"), of("ca.pem"));
    let tls = ["--certificate", &certificate, "--key", &key, "--authorities", &authorities];
    let receiver = rig.serve(&[&["--listen", "127.0.0.1:0"], &tls[..]].concat());
    let port = receiver.listening[1].rsplit(':').next().unwrap().to_owned();
    (receiver, port)
}

#[test]
fn over_tls_a_certificate_says_who_it_is_and_each_refusal_says_why() {
    let rig = Rig::new(40, 10);
    rig.allow("[\"spiffe://example.org/db\"]");
    let (receiver, port) = with_tls(&rig);
    let of = |name: &str| rig.at(&format!("certificates/{name}"));
    let send = |to: &str, name: &str, authorities: &str| {
        let (certificate, key) = (of(&format!("{name}.pem")), of(&format!("{name}.key")));
        let tls = ["--certificate", &certificate, "--key", &key, "--authorities", authorities];
        finish(&mut rig.send("stream", to, &tls))
    };
    let (to, ca) = (format!("tls://localhost:{port}"), of("ca.pem"));
    let foreign = rig.at("foreign");
    let words = ["certificate", "authority", "--directory", &foreign];
    finish(&mut command(mtctl(), &words)).exits(0);
    let foreign = format!("{foreign}/ca.pem");
    send(&format!("tls://127.0.0.1:{port}"), "db", &ca).exits(4).says("127.0.0.1");
    send(&to, "db", &foreign).exits(4).says("not of an authority that we believe");
    // Of the receiver: it may not be a sender.
    send(&to, "home", &ca).exits(4).says("does not accept our certificate");
    finish(&mut rig.send("stream", &to, &[])).exits(2).says("--certificate");
    assert_ne!(fs::read(rig.path("disk")).unwrap(), rig.end);
    send(&to, "db", &ca).exits(0);
    assert_eq!(receiver.stop(), Some(0));
    rig.holds_everything();
}
