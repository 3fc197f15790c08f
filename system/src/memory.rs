//! How much memory there is: the rows of /proc/meminfo (proc(5)).

/// The row `key` of the text of /proc/meminfo, in bytes. The kernel counts KiB and calls them kB.
/// `None` if there is no such row, or it is not a number of bytes.
pub fn bytes(meminfo: &str, key: &str) -> Option<u64> {
    let row = |line: &'_ str| {
        let (found, value) = line.split_once(':')?;
        (found == key).then(|| value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok())?
    };
    meminfo.lines().find_map(row)?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn rows_are_found_by_their_whole_key() {
        let text = "MemTotal:        6291456 kB\nMemTotalOther: 1 kB\nHugePages_Total:       0\n";
        assert_eq!(bytes(text, "MemTotal"), Some(6 << 30));
        assert_eq!(bytes(text, "Mem"), None);
        assert_eq!(bytes(text, "HugePages_Total"), None);
        assert_eq!(bytes("", "MemTotal"), None);
    }
}
