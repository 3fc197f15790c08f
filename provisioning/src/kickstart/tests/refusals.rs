//! Every way an answer can be wrong: a usage error that says what is wrong and why. This file
//! covers release, host name, disk, network and time zone.

mod login;
mod origin;

use std::error::Error as _;

use super::super::{Answers, Release, Request};
use super::{answers, answers_v6};
use system::error::{Error, ErrorKind};

fn refusal(answers: &Answers) -> Option<Error> {
    Request::from_answers(answers).err()
}

/// Asserts that the context contains `what` (the option) and the cause contains `why`.
fn assert_refused(answers: &Answers, what: &str, why: &str) {
    let error = refusal(answers).unwrap_or_else(|| panic!("{what}: not refused ({why})"));
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert!(error.to_string().contains(what), "{error}");
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    assert!(cause.contains(why), "{what}: {cause:?} has no {why:?}");
}

fn assert_taken(answers: &Answers, what: &str) {
    if let Some(error) = refusal(answers) {
        panic!("{what}: {error}: {:?}", error.source());
    }
}

#[test]
fn releases_outside_the_family_are_refused() {
    for release in ["", "5", "11", "9.4", "el9", "RHEL9", "09", "-1"] {
        let answers = Answers { release: release.into(), ..answers(Release::El9) };
        assert_refused(&answers, "--release", "6, 7, 8, 9 and 10");
    }
}

#[test]
fn host_names_outside_rfc_1123_are_refused() {
    let long_label = "a".repeat(64);
    let long_name = format!("{}.{}", "a".repeat(40), "b".repeat(40));
    let table = [
        ("", "every part"),
        ("mt_1", "every part"),
        ("-mt1", "every part"),
        ("mt1-", "every part"),
        ("mt1..org", "every part"),
        ("mt1.", "every part"),
        ("mt 1", "every part"),
        ("mt1;reboot", "every part"),
        ("mt1\nreboot", "every part"),
        (long_label.as_str(), "every part"),
        (long_name.as_str(), "at most 64"),
        ("192.0.2.10", "like an address"),
        ("mt1.7", "like an address"),
        ("localhost", "every machine"),
        ("LocalHost.localdomain", "every machine"),
    ];
    for (hostname, why) in table {
        let answers = Answers { hostname: hostname.into(), ..answers(Release::El9) };
        assert_refused(&answers, "--hostname", why);
    }
    for hostname in ["a", "mt1", "1mt", "MT1.Example.ORG", "3com.example.org"] {
        let answers = Answers { hostname: hostname.into(), ..answers(Release::El9) };
        assert_taken(&answers, hostname);
    }
}

#[test]
fn what_is_not_one_whole_disk_is_refused() {
    let table = [
        ("", "whole disk"),
        ("sda1", "whole disk"),
        ("/dev/sda1", "whole disk"),
        ("nvme0n1p1", "whole disk"),
        ("nvme0", "whole disk"),
        ("sda,sdb", "whole disk"),
        ("sda|sdb", "whole disk"),
        ("sd*", "whole disk"),
        ("sd?", "whole disk"),
        ("sd[ab]", "whole disk"),
        ("sda sdb", "whole disk"),
        ("SDA", "whole disk"),
        ("/dev/../dev/sda", "whole disk"),
        ("//dev/sda", "whole disk"),
        ("/dev/mapper/mpatha", "whole disk"),
        ("dm-0", "whole disk"),
        ("md0", "whole disk"),
        ("sr0", "whole disk"),
        ("loop0", "whole disk"),
        ("LABEL=root", "whole disk"),
        ("/dev/disk/by-path/pci-0000:00:10.0-scsi-0:0:0:0", "where a disk is attached"),
        ("/dev/disk/by-id/", "does not name one whole disk"),
        ("/dev/disk/by-id/wwn-", "does not name one whole disk"),
        ("/dev/disk/by-id/lvm-pv-uuid-abc", "does not name one whole disk"),
        ("/dev/disk/by-id/dm-name-mpatha", "does not name one whole disk"),
        ("/dev/disk/by-id/md-uuid-abc", "does not name one whole disk"),
        ("/dev/disk/by-id/wwn-0x6000c29a-part1", "a partition"),
        ("/dev/disk/by-id/wwn-0x6000*", "only letters"),
        ("/dev/disk/by-id/wwn-0x6000,sdb", "only letters"),
        ("/dev/disk/by-id/wwn-0x6000 --all", "only letters"),
        ("/dev/disk/by-id/wwn-../../sdb", "only letters"),
        ("/dev/disk/by-id/wwn-0x6000#", "only letters"),
    ];
    for (disk, why) in table {
        let answers = Answers { disk: disk.into(), ..answers(Release::El9) };
        assert_refused(&answers, "--disk", why);
    }
}

#[test]
fn whole_disks_are_taken_by_name_or_identity() {
    let taken = [
        "sda",
        "sdaa",
        "/dev/vda",
        "xvda",
        "nvme0n1",
        "/dev/nvme10n2",
        "/dev/disk/by-id/scsi-36000c29a1b2c3d4e5f60718293a4b5c6",
        "/dev/disk/by-id/ata-VMware_Virtual_SATA_Hard_Drive_00000000000000000001",
        "/dev/disk/by-id/nvme-eui.6000c29a1b2c3d4e",
        "/dev/disk/by-id/virtio-root",
        "/dev/disk/by-id/dm-uuid-mpath-36000c29a1b2c3d4e5f60718293a4b5c6",
    ];
    for disk in taken {
        let answers = Answers { disk: disk.into(), ..answers(Release::El9) };
        assert_taken(&answers, disk);
    }
}

#[test]
fn addresses_no_host_has_are_refused() {
    let table = [
        ("", "prefix length is missing"),
        ("192.0.2.10", "prefix length is missing"),
        ("192.0.2.10/0", "1 to 31"),
        ("192.0.2.10/32", "1 to 31"),
        ("192.0.2.10/+24", "1 to 31"),
        ("192.0.2.10/024x", "1 to 31"),
        ("192.0.2.10/255.255.255.0", "1 to 31"),
        ("2001:db8::10/128", "1 to 31"),
        ("192.0.2.256/24", "not an IP address"),
        ("192.0.2/24", "not an IP address"),
        ("mt1/24", "not an IP address"),
        ("0.0.0.1/8", "not an address a host"),
        ("127.0.0.1/8", "not an address a host"),
        ("169.254.1.1/16", "not an address a host"),
        ("224.0.0.1/24", "not an address a host"),
        ("255.255.255.255/24", "not an address a host"),
        ("::1/64", "not an address a host"),
        ("fe80::1/64", "not an address a host"),
        ("ff02::1/64", "not an address a host"),
        ("::ffff:192.0.2.1/96", "not an address a host"),
        ("192.0.2.0/24", "network's own"),
        ("192.0.2.255/24", "broadcast"),
    ];
    for (address, why) in table {
        let answers = Answers { address: address.into(), ..answers(Release::El9) };
        assert_refused(&answers, "--address", why);
    }
    let answers = Answers { address: "2001:db8:0:1::/64".into(), ..answers_v6(Release::El9) };
    assert_refused(&answers, "--address", "network's own");
}

#[test]
fn a_gateway_outside_the_network_is_refused() {
    let table = [
        ("", "not an IP address"),
        ("gateway", "not an IP address"),
        ("192.0.2.1/24", "not an IP address"),
        ("192.0.3.1", "not in the network 192.0.2.0/24"),
        ("192.0.2.10", "host's own"),
        ("192.0.2.0", "network's own"),
        ("192.0.2.255", "broadcast"),
        ("2001:db8::1", "same family"),
    ];
    for (gateway, why) in table {
        let answers = Answers { gateway: gateway.into(), ..answers(Release::El9) };
        assert_refused(&answers, "--gateway", why);
    }
    let table = [
        ("2001:db8:0:2::1", "neither in the network 2001:db8:0:1::/64"),
        ("2001:db8:0:1::10", "host's own"),
        ("192.0.2.1", "same family"),
    ];
    for (gateway, why) in table {
        let answers = Answers { gateway: gateway.into(), ..answers_v6(Release::El9) };
        assert_refused(&answers, "--gateway", why);
    }
    let answers = Answers {
        address: "192.0.2.10/31".into(),
        gateway: "192.0.2.11".into(),
        ..answers(Release::El9)
    };
    assert_taken(&answers, "the two ends of a /31");
}

#[test]
fn name_servers_that_cannot_be_asked_are_refused() {
    let table: [(&[&str], &str); 7] = [
        (&[], "0 name servers"),
        (&["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"], "4 name servers"),
        (&["dns.example.org"], "not an IP address"),
        (&["192.0.2.1,192.0.2.2"], "not an IP address"),
        (&["127.0.0.53"], "not an address a host"),
        (&["0.0.0.0"], "not an address a host"),
        (&["192.0.2.1", "2001:db8::53"], "of the other"),
    ];
    for (dns, why) in table {
        let answers =
            Answers { dns: dns.iter().map(ToString::to_string).collect(), ..answers(Release::El9) };
        assert_refused(&answers, "--dns", why);
    }
}

#[test]
fn names_that_are_no_time_zone_are_refused() {
    let table = [
        "",
        "/",
        "Europe/",
        "/Europe",
        "../etc/passwd",
        "Europe/..",
        "-u",
        "Europe/Ber lin",
        "Europe/Berlin --nontp",
        "a/b/c/d",
        "+02:00",
        "Europe/Berlin\nreboot",
        "Europe/B$(x)",
    ];
    for timezone in table {
        let answers = Answers { timezone: timezone.into(), ..answers(Release::El9) };
        assert_refused(&answers, "--timezone", "not the name of a time zone");
    }
    for timezone in ["Europe/Berln", "Berlin", "europe/berlin", "XYZ"] {
        let answers = Answers { timezone: timezone.into(), ..answers(Release::El9) };
        assert_refused(&answers, "--timezone", "there is no such time zone");
    }
    let taken =
        ["UTC", "Etc/GMT+5", "America/Argentina/Buenos_Aires", "EST5EDT", "America/Port-au-Prince"];
    for timezone in taken {
        let answers = Answers { timezone: timezone.into(), ..answers(Release::El9) };
        assert_taken(&answers, timezone);
    }
}

#[test]
fn what_is_no_interface_is_refused() {
    for interface in [
        "",
        "eth0 --all",
        "1eth",
        "a-name-of-16-chars",
        "ibft",
        "lo",
        "eth0,eth1",
        "00:50:56:ab:cd",
        "00:50:56:ab:cd:zz",
    ] {
        let answers = Answers { interface: Some(interface.into()), ..answers(Release::El9) };
        let why = if ["ibft", "lo"].contains(&interface) { "cannot hold" } else { "neither" };
        assert_refused(&answers, "--interface", why);
    }
    let answers_for = |release, interface: &str| Answers {
        interface: Some(interface.into()),
        ..answers(release)
    };
    assert_refused(&answers_for(Release::El6, "link"), "--interface", "release 6");
    for (interface, kind) in [
        ("bond0", "a bond"),
        ("Bond1", "a bond"),
        ("team0", "a team"),
        ("eth0.5", "a VLAN"),
        ("vlan5", "a VLAN"),
        ("br-lan.7", "a VLAN"),
        ("br0", "a bridge"),
        ("br-lan", "a bridge"),
        ("virbr0", "a bridge"),
        ("tun0", "a tunnel"),
    ] {
        assert_refused(&answers_for(Release::El9, interface), "--interface", kind);
    }
    let taken = ["link", "bootif", "ens192", "eth0", "enp0s31f6", "brocade0", "00:50:56:ab:cd:ef"];
    for interface in taken {
        assert_taken(&answers_for(Release::El7, interface), interface);
    }
}
