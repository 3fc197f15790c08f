//! One line of an OpenSSH public key file, decoded as far as needed to know that the key will work.
//! The encoding is RFC 4253 6.6 and RFC 4648 4. No options and no certificates: keys only.

use base64::Engine;
use base64::prelude::BASE64_STANDARD as STANDARD;

use super::super::refusal;
use super::super::release::Release;
use system::error::Result;

const OPTION: &str = "--ssh-key";
const LINE_MAX: usize = 8192;
/// Crypto policies refuse shorter RSA keys from release 8; they should not be used before either.
const RSA_BITS_MIN: usize = 2048;

/// A public key line in which every byte is safe within quotes.
pub(in super::super) struct SshKey(String);

impl SshKey {
    pub(in super::super) fn parse(text: &str, release: Release) -> Result<Self> {
        let line = text.trim();
        if line.contains("PRIVATE KEY") {
            return Err(refusal::of_secret(
                OPTION,
                "this is a private key, which never leaves its machine",
            )
            .with_hint("give the line in the file that ends in .pub"));
        }
        check_line(line, release).map(|()| Self(line.to_owned())).map_err(|why| {
            refusal::of(OPTION, &shortened(line), why)
                .with_hint("give the whole line: --ssh-key \"$(cat ~/.ssh/id_rsa.pub)\"")
        })
    }

    pub(in super::super) fn line(&self) -> &str {
        &self.0
    }
}

/// The beginning of a line, long enough to recognise it.
fn shortened(line: &str) -> String {
    const SHOWN: usize = 40;
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line.to_owned(),
    }
}

fn check_line(line: &str, release: Release) -> std::result::Result<(), String> {
    if line.len() > LINE_MAX {
        return Err(format!("it is longer than {LINE_MAX} bytes"));
    }
    let mut words = line.splitn(3, ' ');
    let kind = words.next().unwrap_or_default();
    let body = words.next().unwrap_or_default();
    let comment = words.next().unwrap_or_default();
    if !comment.bytes().all(is_comment_byte) {
        return Err(
            "its comment has characters other than letters, digits, spaces and @ . _ - + : , / ( \
             ); leave the comment out"
                .into(),
        );
    }
    let fields_wanted = check_kind(kind, release)?;
    let blob = decode_base64(body).ok_or("its second word is not base64")?;
    let fields = split_fields(&blob).ok_or("its key is truncated or damaged")?;
    if fields.len() != fields_wanted || fields.first() != Some(&kind.as_bytes()) {
        return Err("its key is not of the kind that its first word states".into());
    }
    check_strength(kind, &fields)
}

fn is_comment_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b" @._-+:,/()".contains(&byte)
}

/// The number of fields in a key of this kind, if the release's sshd accepts it: 6 has OpenSSH 5.3,
/// 7 and 8 have 7.4 and 8.0, 9 and later have security keys (8.2).
fn check_kind(kind: &str, release: Release) -> std::result::Result<usize, String> {
    let (fields, since) = match kind {
        "ssh-rsa" => (3, Release::El6),
        "ssh-ed25519" => (2, Release::El7),
        "ecdsa-sha2-nistp256" | "ecdsa-sha2-nistp384" | "ecdsa-sha2-nistp521" => (3, Release::El7),
        "sk-ssh-ed25519@openssh.com" => (3, Release::El9),
        "sk-ecdsa-sha2-nistp256@openssh.com" => (4, Release::El9),
        "ssh-dss" => return Err("DSA keys are refused by sshd since 7".into()),
        _ => return Err("it does not start with the kind of an OpenSSH public key".into()),
    };
    if release < since {
        return Err(format!("the sshd of release {release} cannot be relied on to take {kind}"));
    }
    Ok(fields)
}

fn check_strength(kind: &str, fields: &[&[u8]]) -> std::result::Result<(), String> {
    match (kind, fields) {
        ("ssh-rsa", [_, _, modulus]) if bit_len(modulus) < RSA_BITS_MIN => Err(format!(
            "an RSA key has at least {RSA_BITS_MIN} bits, this one {}",
            bit_len(modulus)
        )),
        ("ssh-ed25519", [_, key]) if key.len() != 32 => Err("an Ed25519 key has 32 bytes".into()),
        _ => Ok(()),
    }
}

/// The length in bits of a big-endian number.
fn bit_len(number: &[u8]) -> usize {
    let significant = number
        .iter()
        .position(|byte| *byte != 0)
        .and_then(|start| number.get(start..))
        .unwrap_or_default();
    let leading = significant.first().map_or(0, |byte| byte.leading_zeros());
    (significant.len() * 8).saturating_sub(leading as usize)
}

/// The length-prefixed strings of a key blob; they must fill it completely.
fn split_fields(blob: &[u8]) -> Option<Vec<&[u8]>> {
    let mut fields = Vec::new();
    let mut rest = blob;
    while !rest.is_empty() {
        let (len, after) = rest.split_first_chunk::<4>()?;
        let len = usize::try_from(u32::from_be_bytes(*len)).ok()?;
        fields.push(after.get(..len)?);
        rest = after.get(len..)?;
    }
    Some(fields)
}

/// Decodes base64 with padding; anything else, also nothing, is invalid.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok().filter(|bytes| !bytes.is_empty())
}
