//! One golden file for each release, and the variants that differ from it in a few lines.
//! `MTCTL_UPDATE_GOLDEN=1 cargo test -p provisioning kickstart` rewrites them: read the diff.

use super::super::Release;
use super::{answers, answers_v6, ed25519_key, text};

fn golden_path(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/kickstart/golden").join(name)
}

#[expect(clippy::disallowed_methods, reason = "golden files are this repository's, not a host's")]
fn assert_golden(name: &str, actual: &str) {
    let path = golden_path(name);
    if std::env::var_os("MTCTL_UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, actual).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    let diff = similar::TextDiff::from_lines(expected.as_str(), actual);
    assert_eq!(expected, actual, "{name} differs:\n{}", diff.unified_diff());
}

#[test]
fn every_release_prints_its_golden_file() {
    for release in Release::ALL {
        assert_golden(&format!("rhel{release}.ks"), &text(&answers(release)));
    }
}

#[test]
fn every_option_at_once_prints_its_golden_file() {
    let mut answers = answers_v6(Release::El9);
    answers.root_password_hash = None;
    answers.ssh_key = Some(ed25519_key());
    answers.interface = Some("00:50:56:AB:CD:EF".into());
    answers.install_from = Some("https://mirror.example.org/9/BaseOS/x86_64/os/".into());
    answers.retention_disk = Some("/dev/disk/by-id/wwn-0x6000c29ffffffffffffffffffffffff0".into());
    answers.mtctl_url = Some("https://mirror.example.org/mtctl".into());
    answers.mtctl_sha256 = Some(super::SHA256.into());
    assert_golden("rhel9-every-option.ks", &text(&answers));
}

#[test]
fn release_6_with_a_key_and_ipv6_prints_its_golden_file() {
    let mut answers = answers_v6(Release::El6);
    answers.root_password_hash = None;
    answers.disk = "sda".into();
    answers.gateway = "2001:db8:0:1::1".into();
    answers.interface = Some("eth0".into());
    assert_golden("rhel6-key-ipv6.ks", &text(&answers));
}

#[test]
fn no_line_is_wider_than_a_terminal_unless_it_carries_an_operators_value() {
    for release in Release::ALL {
        for line in text(&answers(release)).lines() {
            let carries = ["rootpw", "sshkey", "printf", "network", "part", "%post"]
                .iter()
                .any(|start| line.starts_with(start));
            assert!(carries || line.len() <= 100, "{line}");
        }
    }
}
