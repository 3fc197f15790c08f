//! Byte counts for people. Programs get plain bytes.

/// `bytes` with a binary unit and at most one decimal: `1.5 GiB`, `64 MiB`, `512 B`.
pub fn binary(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let power = (bytes.ilog2() / 10).min(6);
    let unit = UNITS[power as usize - 1];
    // Tenths, rounded down, so that no disk is reported larger than it is.
    let tenths = (u128::from(bytes) * 10) >> (10 * power);
    match tenths % 10 {
        0 => format!("{} {unit}", tenths / 10),
        tenth => format!("{}.{tenth} {unit}", tenths / 10),
    }
}

#[cfg(test)]
mod tests {
    use super::binary;

    #[test]
    fn sizes_are_rounded_down_and_whole_ones_have_no_decimal() {
        let rows = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (64 << 20, "64 MiB"),
            ((3 << 30) / 2, "1.5 GiB"),
            ((1 << 40) - 1, "1023.9 GiB"),
            (u64::MAX, "15.9 EiB"),
        ];
        for (bytes, text) in rows {
            assert_eq!(binary(bytes), text);
        }
    }
}
