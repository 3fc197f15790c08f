//! Converts bytes to text and back without loss: what others write need not be UTF-8. `host` reads
//! and writes through it, so that no parser has to care; formats are not known here.
//!
//! A byte that is not UTF-8 becomes one character out of 128 in a private use area of Unicode
//! ([`ESCAPES`]). If such a character occurs in the bytes themselves, it is treated as four bytes
//! that are not UTF-8, so that no two byte strings become the same text. People are shown U+FFFD
//! ([`shown`]).

use std::borrow::Cow;
use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The characters that represent the bytes 0x80 to 0xFF.
pub const ESCAPES: RangeInclusive<char> = '\u{10F780}'..='\u{10F7FF}';
/// The escape of byte `b` is the character U+10F700 + `b`.
const BASE: u32 = 0x10_F700;
/// The first bytes of each of [`ESCAPES`] in UTF-8; no other character starts with them.
const LEADS: [[u8; 3]; 2] = [[0xF4, 0x8F, 0x9E], [0xF4, 0x8F, 0x9F]];

/// The text of `bytes`, which [`to_bytes`] turns back into them.
pub fn from_bytes(bytes: impl AsRef<[u8]> + Into<Vec<u8>>) -> String {
    let may_hold_escapes = bytes.as_ref().contains(&LEADS[0][0]);
    if !may_hold_escapes && std::str::from_utf8(bytes.as_ref()).is_ok() {
        let text = String::from_utf8(bytes.into());
        return text.expect("invariant: it was valid a line above");
    }
    let mut text = String::with_capacity(bytes.as_ref().len());
    for chunk in bytes.as_ref().utf8_chunks() {
        for character in chunk.valid().chars() {
            match ESCAPES.contains(&character) {
                true => text.extend(character.encode_utf8(&mut [0; 4]).bytes().map(escape)),
                false => text.push(character),
            }
        }
        text.extend(chunk.invalid().iter().copied().map(escape));
    }
    text
}

/// The bytes that `text` stands for.
pub fn to_bytes(text: &str) -> Vec<u8> {
    unescaped(text.as_bytes()).into_owned()
}

/// The text of a path, in the form that `host` uses for paths.
pub fn of_path(path: &Path) -> String {
    let raw = unescaped(path.as_os_str().as_bytes());
    from_bytes(raw.into_owned())
}

/// The path as the kernel knows it. A path that was never text is returned unchanged.
pub fn to_path(path: &Path) -> Cow<'_, Path> {
    match unescaped(path.as_os_str().as_bytes()) {
        Cow::Borrowed(_) => Cow::Borrowed(path),
        Cow::Owned(bytes) => Cow::Owned(PathBuf::from(OsString::from_vec(bytes))),
    }
}

/// `text` for people, with U+FFFD for each byte that is not UTF-8.
pub fn shown(text: &str) -> Cow<'_, str> {
    if !text.contains(is_escape) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replace(is_escape, "\u{FFFD}"))
}

fn is_escape(character: char) -> bool {
    ESCAPES.contains(&character)
}

fn escape(byte: u8) -> char {
    match byte.is_ascii() {
        true => char::from(byte),
        false => char::from_u32(BASE + u32::from(byte)).unwrap_or(char::REPLACEMENT_CHARACTER),
    }
}

/// Works on bytes, because a path that an operator typed can have raw bytes beside escapes.
fn unescaped(bytes: &[u8]) -> Cow<'_, [u8]> {
    let lead_of = |rest: &[u8]| LEADS.iter().position(|lead| rest.starts_with(lead));
    if !bytes.contains(&LEADS[0][0]) {
        return Cow::Borrowed(bytes);
    }
    let mut plain = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&first, after)) = rest.split_first() {
        match (lead_of(rest), rest.get(3)) {
            (Some(lead), Some(last @ 0x80..=0xBF)) => {
                plain.push(if lead == 0 { *last } else { *last | 0x40 });
                rest = &rest[4..];
            }
            _ => {
                plain.push(first);
                rest = after;
            }
        }
    }
    if plain.len() == bytes.len() { Cow::Borrowed(bytes) } else { Cow::Owned(plain) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn latin_1_and_gbk_are_text_that_becomes_the_same_bytes() {
        for bytes in [&b"# d\xE9p\xF4t\n"[..], b"\xCA\xFD\xBE\xDD.vmdk", b"\x80\xBF\xC0\xFF", b""] {
            let text = from_bytes(bytes);
            assert_eq!(to_bytes(&text), bytes);
            assert!(!text.contains('\u{FFFD}'), "{text:?}");
        }
        assert_eq!(from_bytes("é".as_bytes()), "é");
        assert_eq!(shown(&from_bytes(b"d\xE9p")), "d\u{FFFD}p");
        assert_eq!(shown("dép"), "dép");
    }

    #[test]
    fn a_file_that_holds_an_escape_itself_is_not_taken_for_another() {
        let (itself, byte) = ("\u{10F7E9}".as_bytes(), &b"\xE9"[..]);
        assert_ne!(from_bytes(itself), from_bytes(byte));
        assert_eq!(to_bytes(&from_bytes(itself)), itself);
    }

    #[test]
    fn a_path_is_text_once_and_the_kernels_again() {
        let raw = PathBuf::from(OsString::from_vec(b"/mnt/d\xE9p".to_vec()));
        let text = PathBuf::from(of_path(&raw));
        assert_eq!(of_path(&text), of_path(&raw));
        assert_eq!((&*to_path(&text), &*to_path(&raw)), (&*raw, &*raw));
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(
            bytes in proptest::collection::vec(
                prop_oneof![
                    any::<u8>(),
                    proptest::sample::select(vec![0xF4, 0x8F, 0x9E, 0x9F, 0x80, 0xE9]),
                ],
                0..40,
            ),
        ) {
            prop_assert_eq!(to_bytes(&from_bytes(bytes.as_slice())), bytes);
        }
    }
}
