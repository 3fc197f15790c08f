//! Clients that are slow, rude, or gone, too many clients, and a server that is stopped.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::client::{Client, DISCONNECT, FLUSH, READ, WRITE, request};
use super::{CAPACITY, MIB, Served, content, read_only, writable};
use crate::ErrorKind;
use crate::nbd::seats::CONNECTIONS_MAX;
use crate::nbd::{Listen, Server};

const SHORT: Duration = Duration::from_millis(50);

/// Asserts that the server still answers other clients.
fn serves_others(served: &Served) {
    let mut other = served.structured("vda");
    assert_eq!(other.read(0, 512), content(512));
}

#[test]
fn clients_that_vanish_in_the_middle_end_their_own_connection_only() {
    let served = Served::new(vec![writable("vda")]);
    served.run(|| {
        let mut steady = served.simple("vda");
        drop(served.client());
        let mut client = served.client();
        client.greet(3);
        client.send(b"IHAVE");
        drop(client);
        for length in [1, 27] {
            let mut client = served.simple("vda");
            client.send(&request(0, READ, 0, 512)[..length]);
            drop(client);
        }
        let mut client = served.simple("vda");
        client.send(&request(0, WRITE, 0, 512));
        client.send(b"half of it");
        drop(client);
        // Gone while the reply, longer than any socket buffer, is on its way.
        let mut client = served.structured("vda");
        client.send(&request(0, READ, 0, CAPACITY as u32));
        client.take(4);
        drop(client);
        assert_eq!(steady.simple(0, FLUSH, 0, 0), 0);
        serves_others(&served);
    });
}

#[test]
fn a_client_that_says_goodbye_or_nonsense_is_let_go() {
    let served = Served::new(vec![writable("vda")]);
    served.run(|| {
        let mut wrong_magic = request(0, READ, 0, 512);
        wrong_magic[0] = 0;
        let too_long = request(0, WRITE, 0, (32 << 20) + 1);
        for last in [request(0, DISCONNECT, 0, 0), wrong_magic, too_long] {
            let mut client = served.simple("vda");
            client.send(&last);
            client.is_ended();
        }
        serves_others(&served);
    });
}

#[test]
fn a_client_that_stalls_is_cut_off() {
    let mut served = Served::new(vec![writable("vda")]);
    served.server.patience.progress = SHORT;
    served.run(|| {
        let mut client = served.simple("vda");
        client.send(&request(0, READ, 0, 512)[..5]);
        client.is_ended();
        let mut client = served.simple("vda");
        client.send(&[&request(0, WRITE, 0, 512)[..], b"half of it"].concat());
        client.is_ended();
        serves_others(&served);
    });
}

#[test]
fn a_client_that_never_chooses_is_cut_off_also_if_it_keeps_talking() {
    let mut served = Served::new(vec![writable("vda")]);
    served.server.patience.handshake = SHORT;
    served.run(|| {
        let mut silent = served.client();
        silent.take(18);
        silent.is_ended();
        let mut talking = served.client();
        talking.take(18);
        let _ = talking.stream.write_all(&3_u32.to_be_bytes());
        let option = [&b"IHAVEOPT"[..], &[0, 0, 0, 3, 0, 0, 0, 0]].concat();
        let began = Instant::now();
        while talking.stream.write_all(&option).is_ok() {
            let mut answers = [0; 4096];
            if talking.stream.read(&mut answers).is_ok_and(|length| length == 0) {
                break;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "it is still heard");
        }
    });
}

#[test]
fn one_client_more_than_there_are_places_is_sent_away_until_one_is_free() {
    let served = Served::new(vec![read_only("vda")]);
    served.run(|| {
        let mut clients: Vec<Client> = (0..CONNECTIONS_MAX).map(|_| served.simple("vda")).collect();
        for _ in 0..3 {
            served.client().is_ended();
        }
        assert_eq!(clients[CONNECTIONS_MAX - 1].simple(0, FLUSH, 0, 0), 0);
        clients[0].send(&request(0, DISCONNECT, 0, 0));
        clients[0].is_ended();
        // Its seat is free a moment after its socket is closed.
        let began = Instant::now();
        loop {
            let mut next = served.client();
            if next.stream.read(&mut [0; 18]).is_ok_and(|length| length > 0) {
                break;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "the place is never free");
        }
    });
}

#[test]
fn a_server_that_stops_ends_idle_clients_and_finishes_what_has_begun() {
    let mut served = Served::new(vec![writable("vda")]);
    served.server.patience.stopping = Duration::from_secs(20);
    let served = served;
    served.run(|| {
        let mut idle = served.simple("vda");
        let mut silent = served.client();
        let mut busy = served.simple("vda");
        let data = vec![7; 3 * MIB];
        // More than a socket buffer: once it is sent, most of it has been taken.
        busy.send(&request(0, WRITE, 0, data.len() as u32));
        busy.send(&data[..2 * MIB]);
        served.stop.store(true, Ordering::Relaxed);
        idle.is_ended();
        let _ = silent.stream.read_to_end(&mut Vec::new());
        busy.send(&data[2 * MIB..]);
        assert_eq!(busy.simple_reply(), 0);
        busy.is_ended();
    });
    let refused = UnixStream::connect(&served.path).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::NotFound);
}

#[test]
fn a_server_that_stops_does_not_wait_for_a_client_that_does_not_go_on() {
    let mut served = Served::new(vec![writable("vda")]);
    served.server.patience.stopping = SHORT;
    let served = served;
    let mut client = None;
    served.run(|| {
        let mut busy = served.simple("vda");
        busy.send(&request(0, WRITE, 0, 3 << 20));
        busy.send(&vec![7; 2 * MIB]);
        client = Some(busy);
    });
    client.unwrap().is_ended();
}

#[test]
fn a_socket_file_is_replaced_only_if_nobody_listens() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let bind = || Server::bind(Listen::Unix(path.clone()), vec![read_only("vda")]);
    let refused = |result: crate::Result<Server>| {
        assert_eq!(result.err().map(|error| error.kind()), Some(ErrorKind::Refused));
    };
    // What a killed server leaves: the listener is closed, the file stays.
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let first = bind().unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    refused(bind());
    drop(first);
    assert!(!path.exists());
    // A process that took the path meanwhile keeps it.
    let first = bind().unwrap();
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "mine").unwrap();
    drop(first);
    assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    refused(bind());
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("nowhere", &path).unwrap();
    refused(bind());
    let long = Listen::Unix(folder.path().join("x".repeat(108)));
    let error = Server::bind(long, vec![read_only("vda")]).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert!(error.to_string().contains("at most 107"), "{error}");
    let nowhere = Listen::Unix(folder.path().join("no/such/folder"));
    let failed = Server::bind(nowhere, vec![read_only("vda")]).err().unwrap();
    assert_eq!(failed.kind(), ErrorKind::Failed);
}

#[test]
fn exports_need_names_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let long = "v".repeat(4097);
    for names in [&[][..], &[""], &["vda", "vda"], &[&long]] {
        let exports = names.iter().map(|name| read_only(name)).collect();
        let error = Server::bind(Listen::Unix(folder.path().join("socket")), exports).err();
        assert_eq!(error.map(|error| error.kind()), Some(ErrorKind::Usage), "{names:?}");
        assert!(!folder.path().join("socket").exists());
    }
}

#[test]
fn an_address_is_a_uri_that_clients_understand() {
    let unix = Listen::Unix("/run/mt ctl/s?1".into());
    assert_eq!(unix.uri("db/a ü"), "nbd+unix:///db%2Fa%20%C3%BC?socket=/run/mt%20ctl/s%3F1");
    let tcp = Listen::Tcp("[::1]:10809".parse().unwrap());
    assert_eq!(tcp.uri("vda"), "nbd://[::1]:10809/vda");
    assert_eq!(tcp.to_string(), "[::1]:10809");
}
