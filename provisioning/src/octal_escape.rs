//! The octal escapes of fstab(5) and of /proc's mount tables: `\040` for a space and the like.
//! Which fields carry them is known to the formats, not here.

/// The field with every `\ooo` (three octal digits, at most `\377`) turned into its byte; any other
/// backslash stands for itself, as in the C library's getmntent(3).
///
/// `None` when the bytes are not UTF-8.
pub(crate) fn decoded(field: &str) -> Option<String> {
    let bytes = field.as_bytes();
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
    String::from_utf8(plain).ok()
}

fn octal_byte(digits: &[u8]) -> Option<u8> {
    digits.iter().try_fold(0u8, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(digit - b'0'),
        _ => None,
    })
}

/// The field as it must be written: space, tab, newline, carriage return and backslash escaped, and
/// `#` too, which would make a comment of a row that starts with it.
pub(crate) fn encoded(plain: &str) -> String {
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
            (r"/mnt/a\040b", Some("/mnt/a b")),
            (r"\011\012\134", Some("\t\n\\")),
            (r"\303\251", Some("é")),
            (r"\04", Some(r"\04")),
            (r"\049", Some(r"\049")),
            (r"\400", Some(r"\400")),
            (r"\134040", Some(r"\040")),
            (r"\377", None),
            ("\\é", Some("\\é")),
        ] {
            assert_eq!(decoded(field).as_deref(), plain, "{field}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_itself(plain in "[ -~\t\r\né]*") {
            let field = encoded(&plain);
            prop_assert!(!field.contains([' ', '\t', '\n', '\r', '#']));
            prop_assert_eq!(decoded(&field), Some(plain));
        }
    }
}
