//! The octal escapes of fstab(5) and of /proc's mount tables: `\040` for a space and so on. The
//! callers know which fields use them.

use crate::lossless_text;

/// The field with every `\ooo` (three octal digits, at most `\377`) replaced by its byte; any other
/// backslash stands for itself, as in the C library's getmntent(3). Both texts are `lossless_text`.
pub fn decoded(field: &str) -> String {
    let bytes = lossless_text::to_bytes(field);
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escaped = match byte {
            b'\\' => bytes.get(at + 1..at + 4).and_then(octal_byte),
            _ => None,
        };
        plain.push(escaped.unwrap_or(byte));
        at += if escaped.is_some() { 4 } else { 1 };
    }
    lossless_text::from_bytes(plain)
}

fn octal_byte(digits: &[u8]) -> Option<u8> {
    digits.iter().try_fold(0u8, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(digit - b'0'),
        _ => None,
    })
}

/// The field as it must be written: space, tab, newline, carriage return and backslash escaped, and
/// `#`, because a row that starts with it would be a comment.
pub fn encoded(plain: &str) -> String {
    let mut field = String::with_capacity(plain.len());
    for character in plain.chars() {
        match character {
            ' ' => field.push_str("\\040"),
            '\t' => field.push_str("\\011"),
            '\n' => field.push_str("\\012"),
            '\r' => field.push_str("\\015"),
            '#' => field.push_str("\\043"),
            '\\' => field.push_str("\\134"),
            other => field.push(other),
        }
    }
    field
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escapes_are_decoded_and_strange_backslashes_kept() {
        for (field, plain) in [
            (r"/mnt/a\040b", "/mnt/a b"),
            (r"\011\012\134", "\t\n\\"),
            (r"\303\251", "é"),
            (r"\04", r"\04"),
            (r"\049", r"\049"),
            (r"\400", r"\400"),
            (r"\134040", r"\040"),
            (r"\303\x", "\u{10F7C3}\\x"),
            (r"\377", "\u{10F7FF}"),
            ("\\é", "\\é"),
        ] {
            assert_eq!(decoded(field), plain, "{field}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_itself(plain in "[ -~\t\r\né]*") {
            let field = encoded(&plain);
            prop_assert!(!field.contains([' ', '\t', '\n', '\r', '#']));
            prop_assert_eq!(decoded(&field), plain);
        }
    }
}
