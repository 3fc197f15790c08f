//! Golden files, refusals, and proof that only one disk can be harmed.

mod confinement;
mod golden;
mod refusals;
mod warnings;

use super::{Answers, Release, Request, render};

pub(super) const DISK: &str = "/dev/disk/by-id/wwn-0x6000c29a1b2c3d4e5f60718293a4b5c6";
pub(super) const HASH: &str = "$6$saltsalt$8RWsOfwR6M6PpnoeQiEiWzNTPo1f0HjVYjDnLZhGx16aBFRkeqiH\
    AzfXP/LgrOWMBMXqiU2pLrXsSOHNUyUm91";
pub(super) const SHA256: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

/// A well-formed RSA key line made of filler without zeros; nobody has its private half.
pub(super) fn rsa_key(bits: usize) -> String {
    let mut blob = field(b"ssh-rsa");
    blob.extend(field(&[1, 0, 1]));
    let mut modulus = vec![0x5a; bits / 8];
    modulus[0] = 0xda;
    modulus.insert(0, 0);
    blob.extend(field(&modulus));
    format!("ssh-rsa {} operator@example.org", base64(&blob))
}

pub(super) fn ed25519_key() -> String {
    let mut blob = field(b"ssh-ed25519");
    blob.extend(field(&[0x5a; 32]));
    format!("ssh-ed25519 {} operator@example.org", base64(&blob))
}

pub(super) fn field(bytes: &[u8]) -> Vec<u8> {
    let mut field = u32::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
    field.extend(bytes);
    field
}

pub(super) fn base64(bytes: &[u8]) -> String {
    base64::Engine::encode(&base64::prelude::BASE64_STANDARD, bytes)
}

/// The answers of a careful operator.
pub(super) fn answers(release: Release) -> Answers {
    Answers {
        release: release.to_string(),
        hostname: "mt1.example.org".into(),
        disk: DISK.into(),
        address: "192.0.2.10/24".into(),
        gateway: "192.0.2.1".into(),
        dns: vec!["192.0.2.53".into(), "198.51.100.53".into()],
        timezone: "Europe/Berlin".into(),
        root_password_hash: Some(HASH.into()),
        ssh_key: Some(rsa_key(3072)),
        ..Answers::default()
    }
}

pub(super) fn answers_v6(release: Release) -> Answers {
    Answers {
        address: "2001:db8:0:1::10/64".into(),
        gateway: "fe80::1".into(),
        dns: vec!["2001:db8::53".into()],
        ..answers(release)
    }
}

pub(super) fn text(answers: &Answers) -> String {
    render(&Request::from_answers(answers).expect("the answers are right"))
}
