//! Refused URLs, checksums, and options that only the first boot needs.

use super::super::super::{Answers, Release};
use super::super::{DISK, SHA256, answers};
use super::{assert_refused, assert_taken};

#[test]
fn urls_that_are_not_plain_are_refused() {
    let table = [
        ("", "scheme"),
        ("/srv/tree", "scheme"),
        ("nfs:server:/tree", "scheme"),
        ("file:///etc", "scheme"),
        ("https://", "no server"),
        ("https:///tree", "no server"),
        ("https://user:password@server/", "not safe"),
        ("https://server/a b", "not safe"),
        ("https://server/\"", "not safe"),
        ("https://server/'", "not safe"),
        ("https://server/$(reboot)", "not safe"),
        ("https://server/\n%pre", "not safe"),
    ];
    for (url, why) in table {
        let answers = Answers { install_from: Some(url.into()), ..answers(Release::El9) };
        assert_refused(&answers, "--install-from", why);
    }
}

#[test]
fn a_program_without_its_checksum_is_refused() {
    let with = |url: Option<&str>, sha256: Option<&str>| Answers {
        mtctl_url: url.map(Into::into),
        mtctl_sha256: sha256.map(Into::into),
        ..answers(Release::El9)
    };
    let url = Some("https://mirror.example.org/mtctl");
    assert_refused(&with(url, None), "--mtctl-url", "come together");
    assert_refused(&with(None, Some(SHA256)), "--mtctl-url", "come together");
    assert_refused(&with(url, Some("abc")), "--mtctl-sha256", "64 hex digits");
    let ftp = Some("ftp://mirror.example.org/mtctl");
    assert_refused(&with(ftp, Some(SHA256)), "--mtctl-url", "scheme");
    assert_taken(&with(url, Some(&SHA256.to_uppercase())), "upper case");
}

#[test]
fn a_retention_disk_is_named_by_identity_and_is_not_the_root_disk() {
    let with = |disk: &str| Answers { retention_disk: Some(disk.into()), ..answers(Release::El9) };
    assert_refused(&with("sdb"), "--retention-disk", "another disk at the first boot");
    assert_refused(&with(DISK), "--retention-disk", "disk to install on");
    assert_refused(&with("nonsense"), "--retention-disk", "whole disk");
}

#[test]
fn what_only_a_first_boot_needs_is_refused_for_release_6() {
    let retention = Answers {
        retention_disk: Some("/dev/disk/by-id/wwn-0x6000c29f".into()),
        ..answers(Release::El6)
    };
    assert_refused(&retention, "--retention-disk", "cannot run mtctl");
    let program = Answers {
        mtctl_url: Some("https://mirror.example.org/mtctl".into()),
        mtctl_sha256: Some(SHA256.into()),
        ..answers(Release::El6)
    };
    assert_refused(&program, "--mtctl-url", "cannot run mtctl");
}
