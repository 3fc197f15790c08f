//! Man pages and completions are made from the definition of the command line, and are committed:
//! this test tells when they are out of date (`make man` writes them anew). And what must hold for
//! the help of every verb.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use clap::{Command, CommandFactory};
use clap_complete::env::{Bash, EnvCompleter, Fish, Zsh};
use clap_mangen::Man;
use mtctl::cli::Cli;

const HELP_COLUMNS_MAX: usize = 100;

/// The text of each generated file, by its path below packaging/.
type Files = BTreeMap<String, String>;

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging")
}

/// mtctl and all its verbs, built: names, usage and inherited options are filled in.
fn commands() -> Vec<Command> {
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    let mut found = Vec::new();
    let mut open = vec![root];
    while let Some(command) = open.pop() {
        open.extend(command.get_subcommands().cloned());
        found.push(command);
    }
    found
}

fn is_verb(command: &Command) -> bool {
    !command.has_subcommands()
}

/// What the long help of `command` closes with.
fn after_help(command: &Command) -> String {
    let text = command.get_after_long_help().or(command.get_after_help());
    text.map(ToString::to_string).unwrap_or_default()
}

fn man_page(command: &Command) -> (String, String) {
    let sections = sections(&after_help(command));
    // clap_mangen would run the lines of the examples together.
    let bare = command.clone().after_help(None::<&str>).after_long_help(None::<&str>);
    let source = concat!("mtctl ", env!("CARGO_PKG_VERSION"));
    let man = Man::new(bare).manual("mtctl").source(source);
    let mut page = Vec::new();
    man.render(&mut page).expect("a vector takes everything");
    let page = String::from_utf8(page).expect("a man page is text");
    (format!("man/{}", man.get_filename()), page + &sections)
}

/// Each paragraph that begins with `Heading:` begins a section; lines are kept as they are.
fn sections(after_help: &str) -> String {
    let mut roff = String::new();
    for paragraph in after_help.split("\n\n").filter(|text| !text.is_empty()) {
        let (heading, body) = heading_and_body(paragraph);
        match heading {
            Some(heading) => roff += &format!(".SH \"{}\"\n.nf\n", heading.to_uppercase()),
            None if roff.is_empty() => roff += ".SH \"NOTES\"\n.nf\n",
            None => roff += ".sp\n.nf\n",
        }
        for line in body.lines() {
            let line = line.strip_prefix("  ").unwrap_or(line);
            let line = line.replace('\\', "\\e").replace('-', "\\-");
            roff += &format!("\\&{line}\n");
        }
        roff += ".fi\n";
    }
    roff
}

/// A heading has two words at most: `Examples:`, `Exit codes: 0 done …`.
fn heading_and_body(paragraph: &str) -> (Option<&str>, &str) {
    match paragraph.split_once(':') {
        Some((heading, body)) if heading.split_whitespace().count() <= 2 => {
            let body = body.strip_prefix(['\n', ' ']).unwrap_or(body);
            (Some(heading), body)
        }
        _ => (None, paragraph),
    }
}

/// A script that asks the program of the same package.
fn completion(shell: &dyn EnvCompleter, name: &str) -> (String, String) {
    let mut script = Vec::new();
    let written = shell.write_registration("COMPLETE", "mtctl", "mtctl", "mtctl", &mut script);
    written.expect("a vector takes everything");
    let script = String::from_utf8(script).expect("a script is text");
    (format!("completions/{name}"), script)
}

/// Zsh loads the file when it is asked for the first time, and takes that for the answer.
const ASKED_WHILE_LOADED: &str = "\
if [ \"$funcstack[1]\" = \"_mtctl\" ]; then
    _clap_dynamic_completer_mtctl \"$@\"
fi
";

fn generated() -> Files {
    let (zsh_path, zsh) = completion(&Zsh, "_mtctl");
    let completions = [
        completion(&Bash, "mtctl.bash"),
        (zsh_path, zsh + ASKED_WHILE_LOADED),
        completion(&Fish, "mtctl.fish"),
    ];
    let pages = commands().iter().map(man_page).collect::<Vec<_>>();
    completions.into_iter().chain(pages).collect()
}

fn committed() -> io::Result<Files> {
    let mut files = Files::new();
    for folder in ["man", "completions"] {
        for entry in fs::read_dir(packaging().join(folder))? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            files.insert(format!("{folder}/{name}"), fs::read_to_string(&path)?);
        }
    }
    Ok(files)
}

fn write(files: &Files) -> io::Result<()> {
    for folder in ["man", "completions"] {
        let folder = packaging().join(folder);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
    }
    for (path, text) in files {
        fs::write(packaging().join(path), text)?;
    }
    Ok(())
}

#[test]
fn man_pages_and_completions_are_up_to_date() -> io::Result<()> {
    let generated = generated();
    if std::env::var_os("MTCTL_UPDATE").is_some() {
        return write(&generated);
    }
    let committed = committed()?;
    let both = generated.keys().chain(committed.keys());
    let mut stale: Vec<&String> =
        both.filter(|path| generated.get(*path) != committed.get(*path)).collect();
    stale.sort();
    stale.dedup();
    assert!(stale.is_empty(), "out of date, run `make man`: {stale:?}");
    Ok(())
}

#[test]
fn sections_of_a_man_page_keep_lines_and_lose_nothing() {
    let after = "Examples:\n  mtctl a -x\n    .b\n\n  mtctl \\c\n\nExit codes: 0 done;\n1 failed";
    let expected = ".SH \"EXAMPLES\"\n.nf\n\\&mtctl a \\-x\n\\&  .b\n.fi\n.sp\n.nf\n\
                    \\&mtctl \\ec\n.fi\n.SH \"EXIT CODES\"\n.nf\n\\&0 done;\n\\&1 failed\n.fi\n";
    assert_eq!(sections(after), expected);
    assert!(sections("Just words, and more of them: b").starts_with(".SH \"NOTES\"\n"));
}

#[test]
fn generating_twice_gives_the_same_bytes() {
    assert_eq!(generated(), generated());
}

#[test]
fn help_fits_a_terminal_of_a_hundred_columns() {
    for command in commands() {
        let mut command = command.term_width(HELP_COLUMNS_MAX);
        let name = command.get_name().to_owned();
        for help in [command.render_help(), command.render_long_help()] {
            for line in help.to_string().lines() {
                let columns = line.chars().count();
                assert!(columns <= HELP_COLUMNS_MAX, "{name}: {columns} columns: {line}");
            }
        }
    }
}

#[test]
fn every_verb_and_every_option_has_help() {
    for command in commands() {
        let name = command.get_name();
        assert!(command.get_about().is_some(), "{name}");
        for argument in command.get_arguments() {
            let documented = argument.get_help().is_some();
            assert!(documented, "{name}: {} has no help", argument.get_id());
        }
    }
}

#[test]
fn every_verb_shows_examples_that_start_with_mtctl() {
    for command in commands().iter().filter(|command| is_verb(command)) {
        // `mtctl stream inspect`, as it is typed.
        let name = command.get_bin_name().unwrap_or_default();
        let after = after_help(command);
        let examples = after.split("\n\n").find(|part| part.starts_with("Examples:\n"));
        let mut lines = examples.unwrap_or_default().lines().skip(1);
        let good = lines.any(|line| line.trim_start().starts_with(name));
        assert!(good, "{name}: after_help has no `Examples:` section that shows `{name}`");
    }
}
