//! Rules for the files around the code: the Makefile, the manifests, the table of dependencies.

use std::collections::BTreeMap;

use toml::{Table, Value};

use crate::Offence;

const VERBS_MAX: usize = 16;

/// At most [`VERBS_MAX`] verbs, each with a help text and a recipe of exactly one line.
pub(crate) fn makefile(text: &str) -> Vec<Offence> {
    let mut recipe_lines: Vec<(usize, &str, usize)> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.starts_with('\t') {
            if let Some((_, _, count)) = recipe_lines.last_mut() {
                *count += 1;
            }
        } else if is_verb(line) {
            recipe_lines.push((index + 1, line, 0));
        }
    }
    let mut offences = Vec::new();
    if !(1..=VERBS_MAX).contains(&recipe_lines.len()) {
        let message = format!("{} verbs, 1 to {VERBS_MAX} allowed", recipe_lines.len());
        offences.push(Offence::new("Makefile", message));
    }
    for (number, line, count) in recipe_lines {
        if count != 1 || line.ends_with('\\') {
            let message = format!("{count} recipe lines, exactly 1 wanted: make it a script");
            offences.push(Offence::at("Makefile", number, message));
        }
        if !line.contains("## ") {
            offences.push(Offence::at("Makefile", number, "no `## help` for this verb"));
        }
    }
    offences
}

fn is_verb(line: &str) -> bool {
    line.starts_with(|first: char| first.is_ascii_lowercase())
        && line.contains(':')
        && !line.contains(":=")
}

/// The member's lints, and the versions of its dependencies, come from the workspace.
pub(crate) fn manifest(path: &str, text: &str) -> Vec<Offence> {
    let Ok(manifest) = text.parse::<Table>() else {
        return vec![Offence::new(path, "not TOML")];
    };
    let mut offences = Vec::new();
    if !from_workspace(manifest.get("lints")) {
        offences.push(Offence::new(path, "lints.workspace = true is missing"));
    }
    for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
        let table = manifest.get(kind).and_then(Value::as_table);
        for (name, wanted) in table.into_iter().flatten() {
            if !from_workspace(Some(wanted)) {
                let message = format!("{kind}: {name} has its version here, not in the workspace");
                offences.push(Offence::new(path, message));
            }
        }
    }
    offences
}

fn from_workspace(value: Option<&Value>) -> bool {
    let flag = value.and_then(|value| value.get("workspace"));
    flag.and_then(Value::as_bool) == Some(true)
}

/// Each crate in `[workspace.dependencies]` that is not ours has a row `| name | why |` in
/// `document`, and there is no row for a crate that is no longer used.
pub(crate) fn dependency_reasons(manifest: &str, document: &str) -> Vec<Offence> {
    let place = "docs/dependencies.md";
    let Ok(manifest) = manifest.parse::<Table>() else {
        return vec![Offence::new("Cargo.toml", "not TOML")];
    };
    let dependencies = manifest
        .get("workspace")
        .and_then(|workspace| workspace.get("dependencies"))
        .and_then(Value::as_table);
    let Some(dependencies) = dependencies else {
        return vec![Offence::new("Cargo.toml", "no workspace.dependencies")];
    };
    let rows = rows_of_dependencies(document);
    let foreign = dependencies.iter().filter(|(_, wanted)| wanted.get("path").is_none());
    let mut offences: Vec<Offence> = foreign
        .filter(|(name, _)| rows.get(name.as_str()).is_none_or(|why| why.is_empty()))
        .map(|(name, _)| Offence::new(place, format!("dependency {name} has no reason")))
        .collect();
    let gone = rows.keys().filter(|name| !dependencies.contains_key(**name));
    offences.extend(gone.map(|name| Offence::new(place, format!("{name} is not used: no row"))));
    offences
}

/// Name and reason in each row of the table below `## In use`, without its heading.
fn rows_of_dependencies(text: &str) -> BTreeMap<&str, &str> {
    let section = text
        .lines()
        .skip_while(|line| *line != "## In use")
        .skip(1)
        .take_while(|line| !line.starts_with("## "));
    let table = section.filter(|line| line.starts_with('|')).skip(2);
    table
        .filter_map(|line| {
            let mut cells = line.trim_matches('|').split('|').map(str::trim);
            Some((cells.next()?.trim_matches('`'), cells.next()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(offences: &[Offence]) -> Vec<&str> {
        offences.iter().map(|offence| offence.message.as_str()).collect()
    }

    #[test]
    fn a_makefile_of_short_verbs_passes() {
        assert_eq!(makefile("X := 1\nA ?= 2\n\nbuild: ## it\n\tcargo build\n.PHONY: build\n"), []);
    }

    #[test]
    fn long_recipes_missing_help_and_too_many_verbs_are_refused() {
        assert_eq!(makefile("a: ## x\n\tb\n\tc\n")[0].place, "Makefile:1");
        assert!(messages(&makefile("a: ## x\n"))[0].starts_with("0 recipe lines"));
        assert_eq!(messages(&makefile("a: b\n\tc\n")), ["no `## help` for this verb"]);
        let verb = |number: usize| format!("a{number}: ## x\n\tb\n");
        let many: String = (0..=VERBS_MAX).map(verb).collect();
        assert_eq!(messages(&makefile(&many)), ["17 verbs, 1 to 16 allowed"]);
        assert_eq!(messages(&makefile("")), ["0 verbs, 1 to 16 allowed"]);
    }

    #[test]
    fn a_manifest_takes_everything_from_the_workspace() {
        let good = "[lints]\nworkspace = true\n[dependencies]\na = { workspace = true }\n";
        assert_eq!(manifest("a/Cargo.toml", good), []);
        let bad = "[dependencies]\na = \"1\"\n[dev-dependencies]\nb = { path = \"b\" }\n";
        let found = manifest("a/Cargo.toml", bad);
        assert_eq!(found.len(), 3, "{found:?}");
        let off = "[lints]\nworkspace = false\n";
        assert_eq!(manifest("a/Cargo.toml", off).len(), 1);
    }

    #[test]
    fn a_dependency_without_a_reason_and_a_reason_without_a_dependency_are_refused() {
        let cargo = "[workspace.dependencies]\na = \"1\"\nb = \"1\"\nours = { path = \"ours\" }\n";
        let table = "| c |\n\n## In use\n\n| crate | why |\n|---|---|\n| `a` | it is good |\n";
        let missing = dependency_reasons(cargo, table);
        assert_eq!(messages(&missing), ["dependency b has no reason"]);
        let empty = format!("{table}| b | |\n");
        assert_eq!(messages(&dependency_reasons(cargo, &empty)).len(), 1);
        let full = format!("{table}| b | why |\n");
        assert_eq!(dependency_reasons(cargo, &full), []);
        let stale = format!("{full}| d | why |\n\n## Next\n\n| x | y |\n|---|---|\n| e | f |\n");
        assert_eq!(messages(&dependency_reasons(cargo, &stale)), ["d is not used: no row"]);
    }
}
