//! Which module of a crate names items of which other one, read from the tokens of its files. An
//! edge goes to the file that defines an item, through any number of re-exports. Tests and the
//! re-exports themselves are left out: a facade may list what its children define.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};
use syn::UseTree;

/// Where a module is within its crate: `["journal", "log"]`; the root is empty.
type ModulePath = Vec<String>;

/// From a file to the files whose items it names, with these names.
pub(crate) type Graph = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

/// What one module says; an inline module is one of its own, in the same file.
#[derive(Default)]
struct Module {
    file: String,
    children: BTreeSet<String>,
    items: BTreeSet<String>,
    imports: Vec<Import>,
    /// Chains of names as they stand in the code: `log::append`, `Segment`.
    chains: BTreeSet<Vec<String>>,
}

/// One leaf of a `use` declaration.
struct Import {
    /// What it is called here; none for a glob.
    name: Option<String>,
    path: Vec<String>,
    is_private: bool,
}

/// The graph of the crate whose files are `sources`: paths below `src` with their text.
///
/// # Errors
///
/// If a file is not Rust.
pub(crate) fn graph(sources: &[(&str, &str)]) -> Result<Graph> {
    let mut modules = BTreeMap::new();
    let has_library = sources.iter().any(|(file, _)| *file == "lib.rs");
    for (file, text) in sources {
        // A program beside a library is a crate of its own, and one file.
        if *file == "main.rs" && has_library {
            continue;
        }
        let tokens: TokenStream =
            text.parse().map_err(|error| anyhow::anyhow!("{error}")).context((*file).to_owned())?;
        read(module_path(file), file, tokens, &mut modules)?;
    }
    let mut graph = Graph::new();
    for (path, module) in &modules {
        for (owner, name) in named_by(path, module, &modules) {
            if owner != module.file {
                let edges = graph.entry(module.file.clone()).or_default();
                edges.entry(owner).or_default().insert(name);
            }
        }
    }
    Ok(graph)
}

/// The module that a file below `src` is.
fn module_path(file: &str) -> ModulePath {
    let stem = file.strip_suffix(".rs").unwrap_or(file);
    match stem {
        "lib" | "main" => Vec::new(),
        _ => stem.split('/').map(str::to_owned).collect(),
    }
}

/// Takes in the module `path` and those within it.
fn read(
    path: ModulePath,
    file: &str,
    tokens: TokenStream,
    modules: &mut BTreeMap<ModulePath, Module>,
) -> Result<()> {
    let mut module = Module { file: file.to_owned(), ..Module::default() };
    let trees = without_tests(tokens);
    let mut at = 0;
    while at < trees.len() {
        let word = trees.get(at).and_then(word);
        let name = trees.get(at + 1).and_then(self::word);
        match (word.as_deref(), name) {
            (Some("mod"), Some(name)) => {
                module.children.insert(name.clone());
                if let Some(TokenTree::Group(body)) = trees.get(at + 2) {
                    let inner = path.iter().cloned().chain([name]).collect();
                    read(inner, file, body.stream(), modules)?;
                    at += 2;
                }
            }
            (
                Some("fn" | "struct" | "enum" | "union" | "trait" | "type" | "const" | "static"),
                Some(name),
            ) => {
                module.items.insert(name);
            }
            (Some("macro_rules"), _) => module.items.extend(trees.get(at + 2).and_then(self::word)),
            _ => {}
        }
        at += 1;
    }
    read_code(&trees, &mut module)?;
    modules.insert(path, module);
    Ok(())
}

/// Takes in what the code at any depth imports and names; bodies of inline modules are not reached
/// twice, since [`read`] knows them.
fn read_code(trees: &[TokenTree], module: &mut Module) -> Result<()> {
    let mut at = 0;
    while at < trees.len() {
        match &trees[at] {
            TokenTree::Ident(ident) if ident == "use" && is_declaration(trees, at) => {
                let end = (at..trees.len())
                    .find(|&end| is_punctuation(&trees[end], ';'))
                    .unwrap_or(trees.len());
                let declaration: TokenStream = trees[at + 1..end].iter().cloned().collect();
                let is_private = !is_exported(&trees[..at]);
                let tree: UseTree = syn::parse2(declaration).context("a use declaration")?;
                imports(&tree, &mut Vec::new(), is_private, &mut module.imports);
                at = end;
            }
            TokenTree::Ident(ident) if ident == "mod" => {
                at += usize::from(matches!(trees.get(at + 2), Some(TokenTree::Group(_)))) * 2;
            }
            TokenTree::Ident(_) => {
                let (chain, end) = chain(trees, at);
                let is_field = at > 0 && is_punctuation(&trees[at - 1], '.');
                if !is_field {
                    module.chains.insert(chain);
                }
                at = end;
            }
            TokenTree::Group(group) => read_code(&without_tests(group.stream()), module)?,
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
        at += 1;
    }
    Ok(())
}

/// Not the `use<'a>` that says what a returned type captures.
fn is_declaration(trees: &[TokenTree], at: usize) -> bool {
    !trees.get(at + 1).is_some_and(|next| is_punctuation(next, '<'))
}

/// Whether `pub` or `pub(…)` is what comes last in `before`.
fn is_exported(before: &[TokenTree]) -> bool {
    let is_pub = |tree: Option<&TokenTree>| tree.and_then(word).as_deref() == Some("pub");
    match before {
        [.., visibility, TokenTree::Group(within)] => {
            within.delimiter() == Delimiter::Parenthesis && is_pub(Some(visibility))
        }
        _ => is_pub(before.last()),
    }
}

/// The names from `at` on that `::` joins, and where the last of them is.
fn chain(trees: &[TokenTree], at: usize) -> (Vec<String>, usize) {
    let mut names: Vec<String> = trees.get(at).and_then(word).into_iter().collect();
    let mut end = at;
    while let [first, second, next, ..] = &trees[end + 1..] {
        let joins = matches!(first, TokenTree::Punct(colon)
            if colon.as_char() == ':' && colon.spacing() == Spacing::Joint)
            && is_punctuation(second, ':');
        let Some(name) = word(next).filter(|_| joins) else { break };
        names.push(name);
        end += 3;
    }
    (names, end)
}

/// The leaves of a `use` declaration.
fn imports(tree: &UseTree, prefix: &mut Vec<String>, is_private: bool, into: &mut Vec<Import>) {
    let depth = prefix.len();
    let mut leaf = |name: Option<String>, path: Vec<String>| {
        into.push(Import { name, path, is_private });
    };
    match tree {
        UseTree::Path(path) => {
            prefix.push(path.ident.to_string());
            imports(&path.tree, prefix, is_private, into);
        }
        UseTree::Name(name) if name.ident == "self" => leaf(prefix.last().cloned(), prefix.clone()),
        UseTree::Name(name) => {
            let name = name.ident.to_string();
            leaf(Some(name.clone()), prefix.iter().cloned().chain([name]).collect());
        }
        UseTree::Rename(rename) => {
            let from = rename.ident.to_string();
            let path = prefix.iter().cloned().chain((from != "self").then_some(from)).collect();
            leaf(Some(rename.rename.to_string()), path);
        }
        UseTree::Glob(_) => leaf(None, prefix.clone()),
        UseTree::Group(group) => {
            for one in &group.items {
                imports(one, prefix, is_private, into);
            }
        }
    }
    prefix.truncate(depth);
}

/// The trees without what stands under `#[cfg(test)]` or `#[test]`.
fn without_tests(tokens: TokenStream) -> Vec<TokenTree> {
    let mut kept = Vec::new();
    let mut trees = tokens.into_iter().peekable();
    while let Some(tree) = trees.next() {
        let attribute = match trees.peek() {
            Some(TokenTree::Group(group)) if is_punctuation(&tree, '#') => Some(group.stream()),
            _ => None,
        };
        match attribute {
            Some(attribute) if is_test(&attribute.to_string()) => {
                let ends = |tree: &TokenTree| {
                    is_punctuation(tree, ';')
                        || matches!(tree, TokenTree::Group(group)
                            if group.delimiter() == Delimiter::Brace)
                };
                trees.by_ref().find(ends);
            }
            Some(_) => drop(trees.next()),
            None => kept.push(tree),
        }
    }
    kept
}

fn is_test(attribute: &str) -> bool {
    let text: String = attribute.split_whitespace().collect();
    text == "test" || text == "cfg(test)"
}

fn word(tree: &TokenTree) -> Option<String> {
    match tree {
        TokenTree::Ident(ident) => Some(ident.to_string()),
        _ => None,
    }
}

fn is_punctuation(tree: &TokenTree, character: char) -> bool {
    matches!(tree, TokenTree::Punct(one) if one.as_char() == character)
}

/// The files whose items `module` names, each with the name.
fn named_by(
    path: &[String],
    module: &Module,
    modules: &BTreeMap<ModulePath, Module>,
) -> Vec<(String, String)> {
    let private = module.imports.iter().filter(|import| import.is_private);
    let chains = module.chains.iter();
    private
        .map(|import| &import.path)
        .chain(chains.filter(|chain| chain.len() > 1 || is_exported_name(module, chain)))
        .filter_map(|names| owner(path, names, modules, 0))
        .collect()
}

/// Whether a lone name is one that `module` re-exports, and so uses here.
fn is_exported_name(module: &Module, chain: &[String]) -> bool {
    module.imports.iter().any(|import| !import.is_private && import.name.as_ref() == chain.first())
}

/// How many imports are followed for one name; a glob of a glob of oneself ends here.
const FOLLOWED_MAX: usize = 8;

/// The file that defines what `names` lead to from the module `from`, and the name of the item;
/// none if it is of another crate, or a module as a whole.
fn owner(
    from: &[String],
    names: &[String],
    modules: &BTreeMap<ModulePath, Module>,
    followed: usize,
) -> Option<(String, String)> {
    if followed > FOLLOWED_MAX {
        return None;
    }
    let mut place = from.to_vec();
    for (index, name) in names.iter().enumerate() {
        match name.as_str() {
            "crate" => place.clear(),
            "super" => drop(place.pop()?),
            "self" => {}
            _ => {
                let module = modules.get(&place)?;
                if module.children.contains(name) {
                    place.push(name.clone());
                    continue;
                }
                if module.items.contains(name) {
                    return Some((module.file.clone(), name.clone()));
                }
                let rest = &names[index + 1..];
                return followed_import(&place, module, name, rest, modules, followed);
            }
        }
    }
    None
}

/// [`owner`] of `name` as `module` imports it, by name or by a glob.
fn followed_import(
    place: &[String],
    module: &Module,
    name: &str,
    rest: &[String],
    modules: &BTreeMap<ModulePath, Module>,
    followed: usize,
) -> Option<(String, String)> {
    let follow = |path: Vec<String>| owner(place, &path, modules, followed + 1);
    let by_name = module.imports.iter().find(|import| import.name.as_deref() == Some(name));
    match by_name {
        // `use name::…` of another crate, or of a child that is looked at above.
        Some(import) if import.path.first().map(String::as_str) == Some(name) => None,
        Some(import) => follow(import.path.iter().chain(rest).cloned().collect()),
        None => module.imports.iter().filter(|import| import.name.is_none()).find_map(|glob| {
            let end = [name.to_owned()];
            follow(glob.path.iter().chain(&end).chain(rest).cloned().collect())
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::graph;

    /// The edges of a crate, as `from -> to: names`.
    fn edges(sources: &[(&str, &str)]) -> Vec<String> {
        let mut lines = Vec::new();
        for (from, targets) in graph(sources).unwrap() {
            for (to, names) in targets {
                let names: Vec<String> = names.into_iter().collect();
                lines.push(format!("{from} -> {to}: {}", names.join(", ")));
            }
        }
        lines
    }

    #[test]
    fn an_edge_goes_to_the_file_that_defines_what_is_named() {
        let root = ("lib.rs", "mod log; mod state;");
        let log = ("log.rs", "pub struct Log; pub fn append() {}");
        for user in [
            "use crate::log::Log;",
            "use super::log::{Log};",
            "use crate::log; fn f() { log::append() }",
            "fn f() { println!(\"{}\", crate::log::append()); }",
            "mod inner { use super::super::log::Log as Other; }",
        ] {
            let found = edges(&[root, log, ("state.rs", user)]);
            assert_eq!(found.len(), 1, "{user}: {found:?}");
            assert!(found[0].starts_with("state.rs -> log.rs: "), "{found:?}");
        }
    }

    #[test]
    fn an_edge_follows_re_exports_to_where_the_item_is() {
        let sources = [
            ("lib.rs", "mod journal; mod user;"),
            ("journal.rs", "mod log; pub use log::Log; pub use log::inner::*;"),
            ("journal/log.rs", "pub struct Log; pub mod inner { pub struct Deep; }"),
            ("user.rs", "use crate::journal::{Deep, Log};"),
        ];
        assert_eq!(edges(&sources), ["user.rs -> journal/log.rs: Deep, Log"]);
    }

    #[test]
    fn a_facade_that_only_lists_its_children_depends_on_none() {
        let child = ("a/child.rs", "use super::Parent; pub struct Child;");
        let listing = ("a.rs", "mod child; pub use child::Child; pub struct Parent;");
        let using = ("a.rs", "mod child; pub use child::Child; pub struct Parent(Child);");
        let root = ("lib.rs", "mod a;");
        assert_eq!(edges(&[root, listing, child]), ["a/child.rs -> a.rs: Parent"]);
        assert_eq!(edges(&[root, using, child]).len(), 2);
    }

    #[test]
    fn tests_other_crates_and_whole_modules_are_no_edges() {
        let log = ("log.rs", "pub struct Log; pub fn append() {}");
        for user in [
            "#[cfg(test)] mod tests { use crate::log::Log; }",
            "#[cfg(test)] use crate::log::Log;",
            "use crate::log;",
            "use std::log::Log; fn f() { value.append() }",
        ] {
            let found = edges(&[("lib.rs", "mod log; mod user;"), log, ("user.rs", user)]);
            assert!(found.is_empty(), "{user}: {found:?}");
        }
    }
}
