//! Rules for names and words in every tracked text file: forbidden file names, marks of unfinished
//! work, and text that belongs to a developer's machine rather than a repository.

use crate::Offence;

/// File names that say nothing about the contents.
const EMPTY_NAMES: [&str; 9] =
    ["common", "helper", "helpers", "manager", "misc", "mod", "types", "util", "utils"];

/// Marks of unfinished work, as whole words; split in two so that this file does not match.
const UNFINISHED: [&str; 4] =
    [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX"), concat!("HA", "CK")];

/// Package registries: each machine configures which one it uses; that does not belong here.
const REGISTRIES: [&str; 8] = [
    concat!("crates", ".io"),
    concat!("pypi", ".org"),
    concat!("pythonhosted", ".org"),
    concat!("npmjs", ".org"),
    concat!("npmjs", ".com"),
    concat!("deb.debian", ".org"),
    concat!("security.debian", ".org"),
    concat!("archive.ubuntu", ".com"),
];

/// Directories of a developer's machine.
const MACHINE_PATHS: [&str; 3] =
    [concat!("/wo", "rk/"), concat!("/tmp", "/wt"), concat!(".lib", "rary/")];

/// The offences in the text file at `path`.
pub(crate) fn offences(path: &str, text: &str) -> Vec<Offence> {
    let mut offences: Vec<Offence> = empty_name(path).into_iter().collect();
    // Cargo writes the lock file, including the name of the default registry.
    if path.ends_with("Cargo.lock") {
        return offences;
    }
    for (index, line) in text.lines().enumerate() {
        offences.extend(line_offence(line).map(|message| Offence::at(path, index + 1, message)));
    }
    offences
}

fn empty_name(path: &str) -> Option<Offence> {
    let file = path.rsplit('/').next()?;
    let stem = file.strip_suffix(".rs")?;
    EMPTY_NAMES.contains(&stem).then(|| {
        let message = "the name says nothing: name the file after what it is for";
        Offence::new(path, message)
    })
}

fn line_offence(line: &str) -> Option<String> {
    let mut words = line.split(|character: char| !character.is_ascii_alphanumeric());
    if let Some(word) = words.find(|word| UNFINISHED.contains(word)) {
        return Some(format!("{word}: finish it, or file an issue"));
    }
    if let Some(host) = REGISTRIES.iter().find(|host| line.contains(*host)) {
        return Some(format!("{host}: name no package registry"));
    }
    let path = MACHINE_PATHS.iter().find(|path| starts_a_path(line, path))?;
    Some(format!("{path} is a folder of somebody's machine"))
}

/// Whether `path` occurs in `line` and is not the later part of a longer path.
fn starts_a_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|character| character.is_alphanumeric() || "-_.}".contains(character))
    })
}

#[cfg(test)]
mod tests {
    use super::{MACHINE_PATHS, REGISTRIES, UNFINISHED, offences};

    #[test]
    fn empty_names_are_refused_for_rust_files_only() {
        for path in ["a/utils.rs", "a/mod.rs", "types.rs"] {
            assert_eq!(offences(path, "").len(), 1, "{path}");
        }
        for path in ["a/multipath.rs", "docs/common.md", "a/commonplace.rs"] {
            assert_eq!(offences(path, ""), [], "{path}");
        }
    }

    #[test]
    fn marks_of_unfinished_work_are_found_as_whole_words() {
        for mark in UNFINISHED {
            assert_eq!(offences("a.md", &format!("one\n// {mark}: later")).len(), 1, "{mark}");
            assert_eq!(offences("a.md", &format!("{mark}{mark}")), [], "{mark}");
        }
    }

    #[test]
    fn registries_and_machine_paths_are_found_with_their_line() {
        for part in REGISTRIES.iter().chain(&MACHINE_PATHS) {
            let found = offences("a.md", &format!("one\nsee {part}x"));
            assert_eq!(found.len(), 1, "{part}");
            assert_eq!(found[0].place, "a.md:2");
        }
        assert_eq!(offences("Cargo.lock", REGISTRIES[0]), []);
        assert_eq!(offences("a.md", &format!("/home{}x", MACHINE_PATHS[0])), []);
    }
}
