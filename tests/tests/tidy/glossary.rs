//! Names are the glossary's: no name has a word that the glossary of CONTRIBUTING.md gives up for
//! another, no type is called like one of the standard library, and a name that could be anything's
//! belongs to one thing.

use std::collections::BTreeMap;

use syn::visit::{self, Visit};
use syn::{Ident, Item, ItemMod};

use crate::Offence;
use crate::functions::is_test;

/// Types and traits of the standard library that the code uses, or that every file sees.
const STANDARD: [&str; 45] = [
    "Any",
    "Arc",
    "Box",
    "Cell",
    "Child",
    "Clone",
    "Copy",
    "Cow",
    "Debug",
    "Default",
    "Display",
    "Drop",
    "Duration",
    "Extend",
    "File",
    "Fn",
    "From",
    "Instant",
    "Into",
    "Iterator",
    "Mutex",
    "Option",
    "Ordering",
    "Output",
    "Path",
    "PathBuf",
    "Range",
    "Rc",
    "Read",
    "RefCell",
    "Result",
    "Seek",
    "Send",
    "Stdio",
    "String",
    "Sync",
    "SystemTime",
    "Thread",
    "ToOwned",
    "ToString",
    "TryFrom",
    "Vec",
    "Weak",
    "Wrapping",
    "Write",
];

/// The one alias that is meant to be read as the standard library's type.
const ALIAS: (&str, &str) = ("system/src/error.rs", "Result");

/// Names of types that say too little to be had by more than one thing.
const GENERAL: [&str; 5] = ["Event", "Job", "Options", "Place", "Settings"];

/// A word that names do not have, and the term to use.
pub(crate) type GivenUp = BTreeMap<String, String>;

/// The third column of the glossary: words that are not used, each for the term in the first.
pub(crate) fn given_up(contributing: &str) -> GivenUp {
    let mut words = GivenUp::new();
    let table = contributing.lines().skip_while(|line| *line != "## Glossary");
    for line in table.filter(|line| line.starts_with('|')).skip(2) {
        let mut cells = line.trim_matches('|').split('|').map(str::trim);
        let (Some(term), Some(_), Some(not)) = (cells.next(), cells.next(), cells.next()) else {
            continue;
        };
        for word in not.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            words.insert(word.to_owned(), term.to_owned());
        }
    }
    words
}

/// A definition in a file: its line and its name.
struct Defined {
    line: usize,
    name: String,
    is_type: bool,
}

/// The offences in the Rust files `sources`, each a path and its text.
pub(crate) fn offences(sources: &[(&str, &str)], given_up: &GivenUp) -> Vec<Offence> {
    let mut offences = Vec::new();
    let mut general: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (path, text) in sources {
        for Defined { line, name, is_type } in definitions(text) {
            let words = words(&name);
            for (word, term) in given_up.iter().filter(|(word, _)| has(&words, word)) {
                let message = format!("{name}: the glossary's term for {word} is {term}");
                offences.push(Offence::at(path, line, message));
            }
            let is_alias = (*path, name.as_str()) == ALIAS;
            if is_type && !is_alias && STANDARD.contains(&name.as_str()) {
                let message = format!("{name} is a name of the standard library");
                offences.push(Offence::at(path, line, message));
            }
            if let Some(name) = GENERAL.iter().find(|one| is_type && **one == name) {
                general.entry(name).or_default().push(format!("{path}:{line}"));
            }
        }
    }
    for (name, places) in general.into_iter().filter(|(_, places)| places.len() > 1) {
        let message = format!("{name} means {} things: {}", places.len(), places.join(", "));
        offences.push(Offence::new("names", message));
    }
    offences
}

/// What the file defines outside of tests, at any depth.
fn definitions(text: &str) -> Vec<Defined> {
    let Ok(file) = syn::parse_file(text) else { return Vec::new() };
    let mut finder = Finder { defined: Vec::new() };
    finder.visit_file(&file);
    finder.defined
}

struct Finder {
    defined: Vec<Defined>,
}

impl Finder {
    fn note(&mut self, name: &Ident, is_type: bool) {
        let line = name.span().start().line;
        self.defined.push(Defined { line, name: name.to_string(), is_type });
    }
}

impl<'ast> Visit<'ast> for Finder {
    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        if !is_test(&module.attrs) {
            self.note(&module.ident, false);
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item(&mut self, item: &'ast Item) {
        match item {
            Item::Struct(one) => self.note(&one.ident, true),
            Item::Enum(one) => self.note(&one.ident, true),
            Item::Trait(one) => self.note(&one.ident, true),
            Item::Type(one) => self.note(&one.ident, true),
            Item::Const(one) => self.note(&one.ident, false),
            Item::Static(one) => self.note(&one.ident, false),
            _ => {}
        }
        visit::visit_item(self, item);
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        self.note(&signature.ident, false);
        visit::visit_signature(self, signature);
    }

    fn visit_field(&mut self, field: &'ast syn::Field) {
        field.ident.iter().for_each(|name| self.note(name, false));
        visit::visit_field(self, field);
    }

    fn visit_variant(&mut self, variant: &'ast syn::Variant) {
        self.note(&variant.ident, false);
        visit::visit_variant(self, variant);
    }

    fn visit_pat_ident(&mut self, pattern: &'ast syn::PatIdent) {
        self.note(&pattern.ident, false);
        visit::visit_pat_ident(self, pattern);
    }
}

/// The words of a name in either notation: `ReadBatch` and `read_batch` have the same.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = '_';
    for one in name.chars() {
        let is_start = one.is_uppercase() && before.is_lowercase();
        if one == '_' || is_start {
            words.push(String::new());
        }
        if one != '_' {
            words.last_mut().expect("invariant: never empty").extend(one.to_lowercase());
        }
        before = one;
    }
    words
}

/// Whether `term`, of one word or several, occurs in `words`.
fn has(words: &[String], term: &str) -> bool {
    let term: Vec<&str> = term.split(' ').collect();
    words.windows(term.len()).any(|some| some.iter().zip(&term).all(|(one, other)| one == other))
}

#[cfg(test)]
mod tests {
    use super::{given_up, offences};

    const GLOSSARY: &str = "## Glossary\n\n| term | meaning | not |\n|---|---|---|\n\
                            | target | where | dst, destination |\n\
                            | recovery point | when | restore point |\n| epoch | between | |\n";

    fn messages(text: &str) -> Vec<String> {
        let found = offences(&[("a.rs", text), ("b.rs", "struct Event;")], &given_up(GLOSSARY));
        found.into_iter().map(|one| one.message).collect()
    }

    #[test]
    fn a_word_that_is_given_up_is_found_in_every_kind_of_name() {
        for text in [
            "fn write_dst() {}",
            "struct DstDisk;",
            "struct A { dst_bytes: u64 }",
            "enum A { Dst }",
            "const DST_MAX: u64 = 1;",
            "fn f(dst: u64) {}",
            "fn f() { let dst = 1; }",
            "mod destination { }",
            "impl A { fn to_restore_point(&self) {} }",
        ] {
            assert_eq!(messages(text).len(), 1, "{text}: {:?}", messages(text));
        }
        assert_eq!(messages("fn destinations() { restore(point) } // dst"), [""; 0]);
        assert_eq!(messages("#[cfg(test)] mod tests { fn dst() {} }"), [""; 0]);
    }

    #[test]
    fn a_type_called_like_one_of_the_standard_library_is_found() {
        for text in ["struct Path;", "enum Ordering { A }", "type Copy = u8;", "trait Write {}"] {
            assert_eq!(messages(text).len(), 1, "{text}");
        }
        assert_eq!(
            messages("fn file() {} enum A { Path } impl B for A { type Output = A; }"),
            [""; 0]
        );
    }

    #[test]
    fn a_general_name_belongs_to_one_thing() {
        assert_eq!(messages("enum Event { A }"), ["Event means 2 things: a.rs:1, b.rs:1"]);
        assert_eq!(messages("enum Started { Event }"), [""; 0]);
    }
}
