//! The maps of the tree tell the truth: each module and file that ARCHITECTURE.md or the README of
//! a crate names exists.

use std::collections::BTreeSet;

use crate::Offence;

/// The offences in the map at `path`. `tree` has the path of every tracked file.
pub(crate) fn offences(path: &str, text: &str, tree: &BTreeSet<&str>) -> Vec<Offence> {
    let own = path.rsplit_once('/').map(|(folder, _)| folder);
    let mut bases: Vec<String> = vec![String::new()];
    match own {
        Some(folder) => bases.extend([format!("{folder}/"), format!("{folder}/src/")]),
        None => bases.extend(["blockio/src/".to_owned(), "provisioning/src/".to_owned()]),
    }
    let exists = |name: &str| {
        bases.iter().any(|base| {
            let place = format!("{base}{}", name.trim_end_matches('/'));
            let (file, folder) = (format!("{place}.rs"), format!("{place}/"));
            [&place, &file].iter().any(|one| tree.contains(one.as_str()))
                || tree.range(folder.as_str()..).next().is_some_and(|one| one.starts_with(&folder))
        })
    };
    let mut offences = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for quoted in line.split('`').skip(1).step_by(2).filter(|quoted| is_place(quoted)) {
            for name in expanded(quoted).into_iter().filter(|name| !exists(name)) {
                offences.push(Offence::at(path, index + 1, format!("there is no {name}")));
            }
        }
    }
    offences
}

/// Whether a quoted text is meant as a module or file of the tree.
fn is_place(quoted: &str) -> bool {
    let is_plain = |one: char| one.is_ascii_alphanumeric() || "_-/.{},".contains(one);
    (quoted.contains('/') || quoted.ends_with(".rs"))
        && !quoted.starts_with(['/', '-', '.'])
        && quoted.chars().all(is_plain)
}

/// `a/{b,c}` as `a/b` and `a/c`.
fn expanded(name: &str) -> Vec<String> {
    let Some((before, rest)) = name.split_once('{') else { return vec![name.to_owned()] };
    let Some((names, after)) = rest.split_once('}') else { return vec![name.to_owned()] };
    names.split(',').map(|one| format!("{before}{one}{after}")).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::offences;

    #[test]
    fn a_name_that_leads_nowhere_is_found_in_each_notation() {
        let tree = BTreeSet::from(["blockio/src/journal/log.rs", "docs/adr/0001.md", "fuzz/run"]);
        let good = "`journal/log.rs`, `journal/log`, `journal/{log}`, `src/journal/`, `docs/adr/`, \
                    `fuzz/run`, `/mnt/retention`, `I/O of x`, `Batch`, `--option/x`";
        assert_eq!(offences("blockio/README.md", good, &tree), []);
        for bad in ["`journal/draft.rs`", "`journal/{log,draft}`", "`docs/map/`", "`log.rs`"] {
            assert_eq!(offences("blockio/README.md", bad, &tree).len(), 1, "{bad}");
        }
    }
}
