//! Style as a test: the rules of CONTRIBUTING.md that no other linter checks. Each rule is a pure
//! function from the text of a file to offences, with tests that show what it refuses.

mod circles;
mod functions;
mod glossary;
mod licences;
mod lines;
mod map;
mod module_graph;
mod names;
mod repository;
mod tree;

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use tree::Tracked;

/// One broken rule: the place, and what is wrong there.
#[derive(Debug, PartialEq, Eq)]
struct Offence {
    place: String,
    message: String,
}

impl Offence {
    fn new(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { place: place.into(), message: message.into() }
    }

    fn at(path: &str, line: usize, message: impl Into<String>) -> Self {
        Self::new(format!("{path}:{line}"), message)
    }
}

/// Fails with every offence on a line of its own, so that one run shows everything that must be
/// fixed.
fn expect_none(offences: &[Offence]) -> Result<()> {
    let list: Vec<String> =
        offences.iter().map(|offence| format!("{}: {}", offence.place, offence.message)).collect();
    ensure!(list.is_empty(), "{} offence(s):\n{}\n", list.len(), list.join("\n"));
    Ok(())
}

/// The tracked files whose path ends with `suffix`; there must be some, or a rule would guard
/// nothing.
fn files(suffix: &str) -> Result<Vec<Tracked>> {
    let files: Vec<Tracked> =
        tree::tracked()?.into_iter().filter(|file| file.path.ends_with(suffix)).collect();
    ensure!(!files.is_empty(), "no tracked file ends in {suffix:?}");
    Ok(files)
}

#[test]
fn lines_of_code_are_in_order() -> Result<()> {
    let offences: Vec<Offence> =
        files(".rs")?.iter().flat_map(|file| lines::offences(&file.path, &file.text)).collect();
    expect_none(&offences)
}

#[test]
fn functions_are_in_order() -> Result<()> {
    let offences: Vec<Offence> =
        files(".rs")?.iter().flat_map(|file| functions::offences(&file.path, &file.text)).collect();
    expect_none(&offences)
}

#[test]
fn names_and_words_are_in_order_in_every_file() -> Result<()> {
    let offences: Vec<Offence> =
        files("")?.iter().flat_map(|file| names::offences(&file.path, &file.text)).collect();
    expect_none(&offences)
}

#[test]
fn the_modules_of_each_crate_build_on_each_other_in_one_direction() -> Result<()> {
    let files = files(".rs")?;
    let mut crates: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
    for file in files.iter().filter(|file| !functions::is_test_file(&file.path)) {
        if let Some((name, path)) = file.path.split_once("/src/") {
            crates.entry(name).or_default().push((path, &file.text));
        }
    }
    let mut offences = Vec::new();
    for (name, sources) in crates {
        offences.extend(circles::offences(name, &sources)?);
    }
    expect_none(&offences)
}

#[test]
fn names_are_the_terms_of_the_glossary() -> Result<()> {
    let files = files(".rs")?;
    let given_up = glossary::given_up(&tree::read("CONTRIBUTING.md")?);
    ensure!(given_up.len() > 9, "the glossary gives up {} words", given_up.len());
    let sources: Vec<(&str, &str)> = files
        .iter()
        .filter(|file| !functions::is_test_file(&file.path))
        .map(|file| (file.path.as_str(), file.text.as_str()))
        .collect();
    expect_none(&glossary::offences(&sources, &given_up))
}

#[test]
fn the_makefile_has_few_verbs_of_one_line_each() -> Result<()> {
    expect_none(&repository::makefile(&tree::read("Makefile")?))
}

#[test]
fn every_crate_takes_lints_and_versions_from_the_workspace() -> Result<()> {
    let offences: Vec<Offence> = files("/Cargo.toml")?
        .iter()
        .filter(|file| !file.path.starts_with("fuzz/"))
        .flat_map(|file| repository::manifest(&file.path, &file.text))
        .collect();
    expect_none(&offences)
}

#[test]
fn every_module_that_a_map_names_exists() -> Result<()> {
    let files = files("")?;
    let tree = files.iter().map(|file| file.path.as_str()).collect();
    let is_map = |path: &str| path == "ARCHITECTURE.md" || path.ends_with("/README.md");
    let maps: Vec<&Tracked> = files
        .iter()
        .filter(|file| is_map(&file.path) && file.path.matches('/').count() < 2)
        .collect();
    ensure!(maps.len() > 4, "there are {} maps", maps.len());
    let offences: Vec<Offence> =
        maps.iter().flat_map(|file| map::offences(&file.path, &file.text, &tree)).collect();
    expect_none(&offences)
}

#[test]
fn every_dependency_has_its_reason() -> Result<()> {
    expect_none(&repository::dependency_reasons(
        &tree::read("Cargo.toml")?,
        &tree::read("docs/dependencies.md")?,
    ))
}

#[test]
fn every_dependency_may_be_used_under_a_licence_that_we_accept() -> Result<()> {
    expect_none(&licences::offences(&tree::cargo_metadata()?))
}
