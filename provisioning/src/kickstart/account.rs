//! Root's credentials: a crypt(3) hash and an OpenSSH public key, limited to what each release can
//! check. No hash is computed here and no password is ever shown.

mod public_key;

pub(super) use public_key::SshKey;

use super::refusal;
use super::release::Release;
use system::error::Result;

const OPTION: &str = "--root-password-hash";
const HINT: &str = "make one with openssl passwd -6 (it asks for the password), and give it in \
                    'single quotes': the shell replaces $6 in any other";
const SALT_MAX: usize = 16;
const YESCRYPT_SALT_MAX: usize = 86;

/// A hash as in /etc/shadow (crypt(5)): `$5$` and `$6$`, and `$y$` from release 9.
pub(super) struct PasswordHash(String);

impl PasswordHash {
    pub(super) fn parse(text: &str, release: Release) -> Result<Self> {
        check_hash(text, release)
            .map(|()| Self(text.to_owned()))
            .map_err(|why| refusal::of_secret(OPTION, why).with_hint(HINT))
    }

    pub(super) fn text(&self) -> &str {
        &self.0
    }
}

fn check_hash(text: &str, release: Release) -> std::result::Result<(), String> {
    let fields = text.split('$').collect::<Vec<_>>();
    let well_formed = match fields.as_slice() {
        ["", "5", rest @ ..] => is_sha_crypt(rest, 43),
        ["", "6", rest @ ..] => is_sha_crypt(rest, 86),
        // libxcrypt supports it from 4.3; release 8 has 4.1.1, and 6 and 7 have glibc's own crypt.
        ["", "y", ..] if release < Release::El9 => {
            return Err(format!("release {release} cannot check a yescrypt hash ($y$)"));
        }
        ["", "y", rest @ ..] => is_yescrypt(rest),
        ["", scheme @ ("1" | "2a" | "2b" | "2y" | "7" | "gy"), ..] => {
            return Err(format!("a ${scheme}$ hash is too weak, or unknown to release {release}"));
        }
        _ => return Err("this is not a password hash, and plain-text passwords are refused".into()),
    };
    if well_formed {
        return Ok(());
    }
    Err("the hash is damaged: a part is missing, too long, or has invalid characters".into())
}

/// `[rounds=N$]salt$digest`.
fn is_sha_crypt(fields: &[&str], digest_len: usize) -> bool {
    let fields = match fields {
        [rounds, rest @ ..] if is_rounds(rounds) => rest,
        _ => fields,
    };
    let [salt, digest] = fields else {
        return false;
    };
    is_crypt64(salt, 1, SALT_MAX) && is_crypt64(digest, digest_len, digest_len)
}

fn is_rounds(field: &str) -> bool {
    field.strip_prefix("rounds=").is_some_and(|count| {
        (4..=9).contains(&count.len()) && count.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// `parameters$salt$digest`.
fn is_yescrypt(fields: &[&str]) -> bool {
    let [parameters, salt, digest] = fields else {
        return false;
    };
    is_crypt64(parameters, 1, SALT_MAX)
        && is_crypt64(salt, 1, YESCRYPT_SALT_MAX)
        && is_crypt64(digest, 43, 43)
}

/// The alphabet of crypt(5).
fn is_crypt64(text: &str, shortest: usize, longest: usize) -> bool {
    (shortest..=longest).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"./".contains(&byte))
}
