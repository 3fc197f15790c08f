//! Sizes as typed: a number of bytes, or of a binary unit.

/// Parses `text` into bytes: `4096`, `64K`, `10G`, `1MiB`. A unit may be in lower case. Decimal
/// units such as `MB` are not accepted, because half of all tools use them for binary ones.
///
/// # Errors
///
/// Says what is wrong, in words that follow "invalid value".
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let number: u64 = digits
        .parse()
        .map_err(|_| "a size is expected, such as 4096, 64K, 10G or 1MiB".to_owned())?;
    let unit = &text[digits.len()..];
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        "t" | "tib" => 40,
        "p" | "pib" => 50,
        _ => return Err(format!("\"{unit}\" is not a unit: K, M, G, T or P, or KiB, MiB, …")),
    };
    number.checked_mul(1 << shift).ok_or_else(|| "it is too large".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_units() {
        for (text, bytes) in [
            ("4096", 4096),
            ("0", 0),
            ("64k", 64 << 10),
            ("1MiB", 1 << 20),
            ("10G", 10 << 30),
            ("2tib", 2 << 40),
            ("3P", 3 << 50),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for wrong in ["", "G", "1X", "-1", "1.5G", "1 G", "1MB", "99999999T", "é"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
