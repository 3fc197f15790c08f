//! The modules of a crate build on each other in one direction: no circle of files that name each
//! other's items.

use std::collections::BTreeSet;

use anyhow::Result;

use crate::Offence;
use crate::module_graph::{self, Graph};

/// The circles of the crate `name` whose files are `sources`, each an offence that lists its edges.
///
/// # Errors
///
/// If a file is not Rust.
pub(crate) fn offences(name: &str, sources: &[(&str, &str)]) -> Result<Vec<Offence>> {
    let graph = module_graph::graph(sources)?;
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    let mut offences = Vec::new();
    for file in graph.keys() {
        let circle: BTreeSet<&str> = reached(&graph, file)
            .into_iter()
            .filter(|other| reached(&graph, other).contains(file.as_str()))
            .collect();
        if !circle.is_empty() && seen.insert(file) {
            seen.extend(&circle);
            offences.push(Offence::new(name, told(&graph, &circle)));
        }
    }
    Ok(offences)
}

/// The files that `from` leads to by one edge or more; itself only by a circle.
fn reached<'a>(graph: &'a Graph, from: &str) -> BTreeSet<&'a str> {
    let next = |file: &str| graph.get(file).into_iter().flat_map(|edges| edges.keys());
    let mut found: BTreeSet<&str> = BTreeSet::new();
    let mut waiting: Vec<&str> = next(from).map(String::as_str).collect();
    while let Some(file) = waiting.pop() {
        if found.insert(file) {
            waiting.extend(next(file).map(String::as_str));
        }
    }
    found
}

/// The edges within a circle, one a line.
fn told(graph: &Graph, circle: &BTreeSet<&str>) -> String {
    let mut text = format!("a circle of {} files", circle.len());
    for from in circle {
        for (to, names) in &graph[*from] {
            if circle.contains(to.as_str()) {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                text.push_str(&format!("\n    {from} -> {to}: {}", names.join(", ")));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::offences;

    #[test]
    fn a_circle_is_told_once_with_its_edges() {
        let sources = [
            ("lib.rs", "mod a; mod b; mod c; mod d;"),
            ("a.rs", "use crate::b::B; pub struct A;"),
            ("b.rs", "use crate::c::C; pub struct B;"),
            ("c.rs", "use crate::a::A; pub struct C;"),
            ("d.rs", "use crate::a::A;"),
        ];
        let found = offences("crate", &sources).unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].message.contains("3 files\n    a.rs -> b.rs: B"), "{found:?}");
        let straight = [sources[0], sources[1], sources[2], ("c.rs", "pub struct C;")];
        assert_eq!(offences("crate", &straight).unwrap(), []);
    }
}
