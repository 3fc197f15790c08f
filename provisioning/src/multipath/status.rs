//! Parses what `dmsetup status --target multipath` reports about paths (multipath.rst of the
//! kernel's device-mapper documentation). Nothing is run here.

use std::collections::BTreeSet;

/// Device numbers of the paths that the kernel has failed: each path of a map is printed as
/// `MAJOR:MINOR` followed by `A` or `F`.
pub(crate) fn failed_paths(status: &str) -> BTreeSet<(u32, u32)> {
    status.lines().flat_map(of_map).collect()
}

fn of_map(row: &str) -> impl Iterator<Item = (u32, u32)> {
    // The name before the first blank can contain anything.
    let words: Vec<&str> = row.split_whitespace().skip_while(|word| *word != "multipath").collect();
    let pairs: Vec<(&str, &str)> = words.windows(2).map(|pair| (pair[0], pair[1])).collect();
    pairs
        .into_iter()
        .filter(|(_, state)| *state == "F")
        .filter_map(|(path, _)| {
            let (major, minor) = path.split_once(':')?;
            Some((major.parse().ok()?, minor.parse().ok()?))
        })
        .collect::<Vec<_>>()
        .into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_path_is_told_from_an_active_one() {
        let status = "mpatha: 0 2097152 multipath 2 0 0 0 2 1 A 0 1 2 8:0 A 0 0 1 \
            E 0 1 2 8:64 F 3 1\n\
            8:16: 0 2097152 multipath 2 0 1 0 1 1 A 0 1 0 66:128 F 1\n";
        assert_eq!(failed_paths(status), [(8, 64), (66, 128)].into());
        assert_eq!(failed_paths("No devices found\n"), [].into());
        assert_eq!(failed_paths("x: 0 8 linear 8:16 F\n"), [].into());
    }
}
