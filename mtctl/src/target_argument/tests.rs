//! Targets on recorded hosts.

use std::fs;

use super::*;

const SDB: &str = "naa.6000c293e4b5a1b2c3d4e5f60718293b";

fn host(name: &str) -> Host {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/hosts");
    let text = fs::read(directory.join(format!("{name}.json"))).unwrap();
    Host::recorded(serde_json::from_slice(&text).unwrap())
}

fn resolved(host: &Host, typed: &[&str]) -> Result<Vec<NamedTarget>> {
    let targets: Vec<TargetArgument> = typed.iter().map(|one| one.parse().unwrap()).collect();
    resolve_on(host, &targets)
}

fn one(host: &Host, typed: &str) -> NamedTarget {
    resolved(host, &[typed]).unwrap().remove(0)
}

#[track_caller]
fn fails(host: &Host, typed: &[&str], kind: ErrorKind, words: &[&str]) {
    let error = resolved(host, typed).unwrap_err();
    assert_eq!(error.kind(), kind, "{error:?}");
    for word in words {
        assert!(error.to_string().contains(word), "{word}: {error:?}");
    }
    assert!(error.hint().is_some());
}

#[test]
fn what_reads_as_a_wwid_is_one_and_what_has_a_slash_is_a_path() {
    let path = |text: &str| TargetArgument::Path(text.into());
    let wwid = TargetArgument::Wwid(Wwid::parse_operator(SDB).unwrap());
    for (typed, target) in [
        ("/dev/sdb", path("/dev/sdb")),
        ("disk.img", path("disk.img")),
        ("./6000c293e4b5a1b2c3d4e5f60718293b", path("./6000c293e4b5a1b2c3d4e5f60718293b")),
        (
            "/dev/disk/by-id/wwn-0x6000c293e4b5a1b2c3d4e5f60718293b",
            path("/dev/disk/by-id/wwn-0x6000c293e4b5a1b2c3d4e5f60718293b"),
        ),
        (SDB, wwid.clone()),
        ("6000C293E4B5A1B2C3D4E5F60718293B", wwid.clone()),
        ("wwid:36000c293e4b5a1b2c3d4e5f60718293b", wwid.clone()),
        ("wwid:60 00 C2 93 e4 b5 a1 b2-c3 d4 e5 f6 07 18 29 3b", wwid),
    ] {
        assert_eq!(typed.parse::<TargetArgument>().unwrap(), target, "{typed}");
    }
    for typed in ["", "wwid:", "wwid:/dev/sdb", "wwid:disk.img"] {
        let error = typed.parse::<TargetArgument>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage, "{typed}");
        assert!(error.hint().is_some(), "{typed}");
    }
}

#[test]
fn a_disk_is_the_same_one_by_wwid_by_node_and_by_link() {
    let host = host("debian-12");
    let size = Some(ByteCount::new(2_147_483_648 * 512));
    let expected = Expected { size, disk_sequence: Some(10) };
    for (typed, path) in [
        ("wwid:6000c293e4b5a1b2c3d4e5f60718293b", "/dev/sdb"),
        ("/dev/sdb", "/dev/sdb"),
        (
            "/dev/disk/by-id/scsi-36000c293e4b5a1b2c3d4e5f60718293b",
            "/dev/disk/by-id/scsi-36000c293e4b5a1b2c3d4e5f60718293b",
        ),
    ] {
        let request = TargetRequest { path: path.into(), expected };
        let identity = Some(SDB.to_owned());
        let named = NamedTarget { request, identity, ..NamedTarget::default() };
        assert_eq!(one(&host, typed), named, "{typed}");
    }
}

#[test]
fn what_is_no_disk_of_this_host_is_left_to_whoever_opens_it() {
    let host = host("debian-12");
    for typed in ["/srv/disk.img", "disk.img", "/dev/absent", "/dev/sda1"] {
        let request = TargetRequest { path: typed.into(), expected: Expected::default() };
        assert_eq!(one(&host, typed), NamedTarget { request, ..NamedTarget::default() });
    }
}

#[test]
fn a_wwid_that_no_disk_has_is_a_usage_error() {
    let wwid = "wwid:naa.6000c293e4b5a1b2c3d4e5f6071829ff";
    fails(&host("debian-12"), &["/dev/sdb", wwid], ErrorKind::Usage, &[wwid, "no disk has"]);
}

#[test]
fn disks_that_share_a_wwid_are_refused_by_wwid_and_by_path() {
    let host = host("clones");
    for typed in [SDB, "/dev/sdc", "/dev/disk/by-id/scsi-36000c293e4b5a1b2c3d4e5f60718293b"] {
        fails(&host, &[typed], ErrorKind::Refused, &["/dev/sdb and /dev/sdc", SDB]);
    }
}

#[test]
fn a_multipath_map_stands_for_its_paths() {
    let host = host("vm-multipath-map");
    let map = "/dev/mapper/36000c293e4b5a1b2c3d4e5f607182907";
    let by_wwid = one(&host, "wwid:36000c293e4b5a1b2c3d4e5f607182907");
    assert_eq!(by_wwid.request.path, Path::new(map));
    assert_eq!(by_wwid.request.expected.disk_sequence, Some(4));
    assert_eq!(one(&host, map), by_wwid);
}

#[test]
fn the_hidden_paths_of_an_nvme_namespace_are_no_targets() {
    let wwid = "wwid:eui.81ab6c4d00000001000c2969b1b2c3d4";
    assert_eq!(one(&host("nvme-multipath"), wwid).request.path, Path::new("/dev/nvme0n1"));
}

#[test]
fn two_volumes_never_get_one_target() {
    let host = host("debian-12");
    let link = "/dev/disk/by-id/wwn-0x6000c293e4b5a1b2c3d4e5f60718293b";
    for typed in [["/dev/sdb", "/dev/sdb"], ["/dev/sdb", link], [SDB, link], ["a.img", "a.img"]] {
        fails(&host, &typed, ErrorKind::Usage, &["are the same"]);
    }
    assert_eq!(resolved(&host, &["/dev/sdb", "/dev/sdc", "a.img"]).unwrap().len(), 3);
    let directory = tempfile::TempDir::new().unwrap();
    let place = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    fs::write(place("image"), b"").unwrap();
    fs::hard_link(place("image"), place("link")).unwrap();
    let running = Host::running();
    fails(&running, &[&place("image"), &place("link")], ErrorKind::Usage, &["are the same"]);
}
