//! What a text of the program tells somebody to type can be typed: every option that it names is
//! one, and where it names the verb, or is told by one alone, that verb has it.

#![allow(clippy::unwrap_used, reason = "every function here belongs to a test")]

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory};
use mtctl::cli::Cli;

/// Programs of others that texts tell to run: what their options are is not known here.
const OF_OTHERS: [&str; 9] =
    ["losetup", "lvmdevices", "mdadm", "qemu-nbd", "rbd", "sg_inq", "swapon", "vgchange", "{tool}"];
/// What ends one command, or one thing that is said.
const ENDS: [char; 8] = [';', ',', '`', '|', '(', ')', '\n', ':'];

/// The texts between quotation marks in the Rust file `source`, as the program has them; no
/// comments, and nothing of the tests at its end.
fn texts(source: &str) -> Vec<String> {
    let code = source.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let mut rest = code.chars().peekable();
    let (mut texts, mut before) = (Vec::new(), [' '; 2]);
    while let Some(next) = rest.next() {
        match next {
            '/' if rest.peek() == Some(&'/') => while rest.next_if(|c| *c != '\n').is_some() {},
            '"' if before[1] == '\'' && rest.peek() == Some(&'\'') => {}
            '"' if before == ['\'', '\\'] => {}
            '"' => texts.push(text(&mut rest)),
            _ => {}
        }
        before = [before[1], next];
    }
    texts
}

/// What follows up to the quotation mark that ends it.
fn text(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> String {
    let mut text = String::new();
    while let Some(next) = rest.next() {
        match next {
            '"' => break,
            '\\' => match rest.next() {
                Some('n') => text.push('\n'),
                // The line goes on, in the program or, for a shell, in an example.
                Some('\n') => while rest.next_if(|c| c.is_whitespace()).is_some() {},
                Some('\\') if rest.next_if(|c| *c == '\n').is_some() => {}
                Some(other) => text.push(other),
                None => break,
            },
            other => text.push(other),
        }
    }
    text
}

/// What `text` names that cannot be typed; `of`: who says it, if that is one verb.
fn wrong(root: &Command, of: Option<&Command>, text: &str) -> Vec<String> {
    // A word alone is something that is looked for, or given to a program.
    if !text.trim().contains(char::is_whitespace) {
        return Vec::new();
    }
    let mut wrong = Vec::new();
    for part in text.split(ENDS) {
        if OF_OTHERS.iter().any(|program| part.split_whitespace().any(|word| word == *program)) {
            continue;
        }
        // What stands before the name of a command is of who says it.
        for (index, words) in part.split("mtctl ").enumerate() {
            let verb = if index > 0 { named(root, words) } else { of.unwrap_or(root) };
            let unknown = options(words).filter(|option| !has(verb, option));
            wrong.extend(unknown.map(|option| format!("--{option} in {:?}", part.trim())));
        }
    }
    wrong
}

/// The verb that `words` begin with, or the verbs of which they leave open which.
fn named<'a>(root: &'a Command, words: &str) -> &'a Command {
    let mut found = root;
    for word in words.split_whitespace() {
        match found.find_subcommand(word) {
            Some(verb) => found = verb,
            None => break,
        }
    }
    found
}

/// The options of `part`, without their dashes.
fn options(part: &str) -> impl Iterator<Item = &str> {
    part.split(|c: char| c.is_whitespace() || "\"'[]=/|<>{}".contains(c)).filter_map(|word| {
        let name = word.strip_prefix("--")?;
        let end = name.find(|c: char| !c.is_ascii_lowercase() && c != '-').unwrap_or(name.len());
        Some(name[..end].trim_end_matches('-')).filter(|name| !name.is_empty())
    })
}

/// Whether `verb`, or one below it, has `option`.
fn has(verb: &Command, option: &str) -> bool {
    let own = verb.get_arguments().any(|argument| argument.get_long() == Some(option));
    own || ["help", "version"].contains(&option)
        || verb.get_subcommands().any(|below| has(below, option))
}

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        // Lines of a kickstart file are commands of its own.
        let is_test =
            ["tests", "tests.rs", "sim", "kickstart"].iter().any(|name| path.ends_with(name));
        match path.is_dir() {
            _ if is_test => {}
            true => sources(&path, found),
            false => found.push(path),
        }
    }
}

/// The verb whose own file `path` is, or lies below; the verbs, of a file that several have.
fn verb_of<'a>(root: &'a Command, path: &Path) -> Option<&'a Command> {
    let path = path.to_str()?.split_once("mtctl/src/verb/")?.1;
    Some(named(root, &path.trim_end_matches(".rs").replace('/', " ")))
}

#[test]
fn options_that_messages_name_are_there_and_are_of_the_verb_that_is_named() {
    let mut root = Cli::command();
    root.build();
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut paths = Vec::new();
    for library in ["mtctl/src", "provisioning/src"] {
        sources(&workspace.join(library), &mut paths);
    }
    let mut offences = Vec::new();
    for path in paths {
        let verb = verb_of(&root, &path);
        for text in texts(&fs::read_to_string(&path).unwrap()) {
            let shown = path.strip_prefix(workspace).unwrap().display();
            let wrong = wrong(&root, verb, &text).into_iter();
            offences.extend(wrong.map(|what| format!("{shown}: {what}")));
        }
    }
    assert!(offences.is_empty(), "{} offence(s):\n{}", offences.len(), offences.join("\n"));
}

/// Whether `text` tells somebody to type something of this program.
fn names_the_command(root: &Command, text: &str) -> bool {
    let named = text.split("mtctl ").skip(1);
    let mut verbs = named.filter_map(|words| words.split_whitespace().next());
    verbs.any(|word| root.find_subcommand(word).is_some() || word == "VERB")
        || text.split(ENDS).any(|part| {
            let is_of_others = OF_OTHERS
                .iter()
                .any(|program| part.split_whitespace().any(|word| word == *program));
            !is_of_others && options(part).next().is_some()
        })
}

#[test]
fn blockio_names_no_verb_and_no_option() {
    let mut root = Cli::command();
    root.build();
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut paths = Vec::new();
    sources(&workspace.join("blockio/src"), &mut paths);
    assert!(paths.len() > 100);
    for path in paths {
        for text in texts(&fs::read_to_string(&path).unwrap()) {
            let shown = path.strip_prefix(workspace).unwrap().display();
            assert!(!names_the_command(&root, &text), "{shown}: {text:?}: make it a `Remedy`");
        }
    }
    for text in [
        "go back: mtctl recover",
        "if the volume is there: --accept-base",
        "--size 1: the input has 2",
    ] {
        assert!(names_the_command(&root, text), "{text}");
    }
    assert!(!names_the_command(&root, "name it: losetup --find --show FILE"));
}

#[test]
fn an_option_of_another_verb_is_found_wherever_the_text_names_it() {
    let mut root = Cli::command();
    root.build();
    let restore = root.find_subcommand("restore");
    for (of, text, count) in [
        (None, "go back: mtctl rollback --group web --to latest; or name it: --onto DISK", 0),
        (None, "go back: mtctl rollback --group web --onto DISK", 1),
        (None, "see `mtctl stream {verb} --nonsense`, or say --no-such-option", 2),
        (None, "a loop device: losetup --find --show FILE", 0),
        (restore, "say --create, or --without-undo", 1),
    ] {
        assert_eq!(wrong(&root, of, text).len(), count, "{text}");
    }
    let source = "f('\"', \"a \\\n   --b\", '\\\"'); // \"no\"\n#[cfg(test)]\nmod tests { \"c\" }";
    assert_eq!(texts(source), ["a --b"]);
}
