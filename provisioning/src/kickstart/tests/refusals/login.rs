//! Password hashes and public keys that are refused, and those that are accepted.

use std::error::Error as _;

use super::super::super::{Answers, Release};
use super::super::{HASH, answers, base64, ed25519_key, field, rsa_key};
use super::{assert_refused, assert_taken, refusal};

#[test]
fn a_password_in_plain_text_is_refused_and_not_repeated() {
    for password in ["Secret123", "", "$6$", "$Secret123$", "Secret123$6$salt"] {
        let answers =
            Answers { root_password_hash: Some(password.into()), ..answers(Release::El9) };
        let error = refusal(&answers).expect("refused");
        let shown = format!("{error} {:?} {:?}", error.source(), error.hint());
        assert!(!shown.contains("Secret123"), "{shown}");
        assert!(error.hint().is_some_and(|hint| hint.contains("openssl passwd -6")));
    }
}

#[test]
fn hashes_are_taken_by_what_the_release_can_check() {
    let sha256 = "$5$saltsalt$hcyDOxdIg0p3xyqtpHh/v8Ph.am06tQaovp1KpEklb7";
    let rounds = HASH.replace("$6$", "$6$rounds=656000$");
    let yescrypt = format!("$y$j9T$saltsalt${}", "a".repeat(43));
    for release in Release::ALL {
        let with =
            |hash: &str| Answers { root_password_hash: Some(hash.into()), ..answers(release) };
        for hash in [HASH, sha256, &rounds] {
            assert_taken(&with(hash), hash);
        }
        if release >= Release::El9 {
            assert_taken(&with(&yescrypt), &yescrypt);
        } else {
            assert_refused(&with(&yescrypt), "--root-password-hash", "yescrypt");
        }
        for weak in ["$1$salt$abc", "$2b$10$abc", "$7$abc", "$gy$a$b$c"] {
            assert_refused(&with(weak), "--root-password-hash", "too weak, or unknown");
        }
    }
}

#[test]
fn damaged_hashes_are_refused() {
    let table = [
        HASH.trim_end_matches('1').to_owned(),
        format!("{HASH}x"),
        HASH.replace("saltsalt", ""),
        HASH.replace("saltsalt", "saltsaltsaltsalts"),
        HASH.replace("saltsalt", "salt salt"),
        HASH.replace("$6$", "$5$"),
        HASH.replace("$6$", "$6$rounds=1$"),
        HASH.replace("$6$", "$6$rounds=5000$rounds=5000$"),
        format!("{HASH}\n"),
    ];
    for hash in table {
        let answers = Answers { root_password_hash: Some(hash.clone()), ..answers(Release::El9) };
        assert_refused(&answers, "--root-password-hash", "damaged");
    }
    let answers =
        Answers { root_password_hash: Some("$y$j9T$salt$short".into()), ..answers(Release::El9) };
    assert_refused(&answers, "--root-password-hash", "damaged");
}

#[test]
fn nobody_is_locked_out() {
    let answers = Answers { root_password_hash: None, ssh_key: None, ..answers(Release::El9) };
    assert_refused(&answers, "log in as root", "neither");
}

fn with_key(release: Release, key: &str) -> Answers {
    Answers { ssh_key: Some(key.into()), ..answers(release) }
}

#[test]
fn what_is_no_public_key_line_is_refused() {
    let good = ed25519_key();
    let body = good.split(' ').nth(1).unwrap().to_owned();
    let mut cut = field(b"ssh-ed25519");
    cut.extend([0, 0, 0, 32, 1, 2, 3]);
    let mut short = field(b"ssh-ed25519");
    short.extend(field(&[1; 31]));
    let table = [
        (String::new(), "does not start with"),
        ("Secret123".into(), "does not start with"),
        (format!("from=\"192.0.2.1\" {good}"), "does not start with"),
        (format!("restrict {good}"), "does not start with"),
        ("ssh-ed25519".into(), "not base64"),
        ("ssh-ed25519 AAAA$(reboot)".into(), "not base64"),
        (format!("ssh-ed25519 {body}="), "not base64"),
        (format!("ssh-ed25519 {}", &body[..body.len() - 1]), "not base64"),
        (format!("ssh-ed25519 {}", &body[..body.len() - 4]), "truncated"),
        (format!("ssh-ed25519 {}", base64(&cut)), "truncated"),
        (format!("ssh-ed25519 {}", base64(&field(b"ssh-ed25519"))), "not of the kind"),
        (format!("ssh-ed25519 {}", base64(&short)), "32 bytes"),
        (good.replace("ssh-ed25519 ", "ssh-rsa "), "not of the kind"),
        (format!("{good}\"; reboot"), "comment"),
        (format!("{good}\n{good}"), "comment"),
        (rsa_key(1024), "at least 2048 bits, this one 1024"),
        ("ssh-dss AAAA".into(), "DSA"),
        (format!("ssh-rsa {}", "A".repeat(9000)), "longer than"),
    ];
    for (key, why) in table {
        assert_refused(&with_key(Release::El9, &key), "--ssh-key", why);
    }
}

#[test]
fn a_private_key_is_refused_and_not_repeated() {
    let key = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\n-----END…";
    let error = refusal(&with_key(Release::El9, key)).expect("refused");
    let shown = format!("{error} {:?} {:?}", error.source(), error.hint());
    assert!(shown.contains("private key") && !shown.contains("b3Blbn"), "{shown}");
}

#[test]
fn keys_are_taken_by_what_the_release_can_check() {
    let security_key = {
        let mut blob = field(b"sk-ssh-ed25519@openssh.com");
        blob.extend(field(&[7; 32]));
        blob.extend(field(b"ssh:"));
        format!("sk-ssh-ed25519@openssh.com {}", base64(&blob))
    };
    for release in Release::ALL {
        assert_taken(&with_key(release, &rsa_key(2048)), "RSA");
        assert_taken(&with_key(release, &format!("{}\n", rsa_key(4096))), "RSA from a file");
        for (key, since) in [(ed25519_key(), Release::El7), (security_key.clone(), Release::El9)] {
            if release >= since {
                assert_taken(&with_key(release, &key), &key);
            } else {
                assert_refused(&with_key(release, &key), "--ssh-key", "cannot be relied on");
            }
        }
    }
}
