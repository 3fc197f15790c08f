//! Rules for the lines of a Rust file: width, number, first line, attributes that hide things.

use crate::Offence;

const COLUMNS_MAX: usize = 100;
const CODE_LINES_MAX: usize = 500;

/// Attributes that may not be used in our code, and what to do instead.
const ATTRIBUTES: [(&str, &str); 2] = [
    ("#[ignore", "an ignored test looks green: skip with a reason that is counted"),
    ("#[path", "a module is the file of its name"),
];

/// The independent reader of the journal's format, which must not use the code that writes it.
const INDEPENDENT: &str = "tests/src/journal_format.rs";

/// The offences in the Rust file `text`.
pub(crate) fn offences(path: &str, text: &str) -> Vec<Offence> {
    let mut offences = Vec::new();
    if !text.starts_with("//! ") {
        let message = "the first line says what the file is for: `//! …`";
        offences.push(Offence::at(path, 1, message));
    }
    for (index, line) in text.lines().enumerate() {
        offences.extend(line_offence(line).map(|message| Offence::at(path, index + 1, message)));
        if path == INDEPENDENT && line.contains("blockio::") {
            let message = "it reads what the document says, and uses nothing of the program";
            offences.push(Offence::at(path, index + 1, message));
        }
    }
    let code_lines = text.lines().filter(|line| is_code(line)).count();
    if code_lines > CODE_LINES_MAX {
        let message = format!("{code_lines} lines of code, {CODE_LINES_MAX} at most: split it");
        offences.push(Offence::new(path, message));
    }
    offences
}

fn line_offence(line: &str) -> Option<String> {
    let columns = line.chars().count();
    if columns > COLUMNS_MAX {
        return Some(format!("{columns} columns, {COLUMNS_MAX} at most"));
    }
    let (attribute, instead) =
        ATTRIBUTES.iter().find(|(attribute, _)| line.trim_start().starts_with(attribute))?;
    Some(format!("{attribute}…] is not used: {instead}"))
}

fn is_code(line: &str) -> bool {
    let line = line.trim_start();
    !line.is_empty() && !line.starts_with("//")
}

#[cfg(test)]
mod tests {
    use super::{INDEPENDENT, offences};

    fn messages(text: &str) -> Vec<String> {
        offences("a.rs", text)
            .into_iter()
            .map(|offence| format!("{} {}", offence.place, offence.message))
            .collect()
    }

    #[test]
    fn a_tidy_file_passes() {
        assert_eq!(messages("//! One purpose.\n\nfn f() {}\n"), [""; 0]);
    }

    #[test]
    fn a_file_without_a_purpose_is_named() {
        assert!(messages("fn f() {}\n")[0].starts_with("a.rs:1 the first line"));
        assert!(messages("")[0].starts_with("a.rs:1 the first line"));
    }

    #[test]
    fn columns_are_counted_as_characters_and_the_line_is_named() {
        let widest = "é".repeat(100);
        assert_eq!(messages(&format!("//! One.\n// {}", &widest[..194])), [""; 0]);
        let wide = format!("//! One.\n//{widest}");
        assert_eq!(messages(&wide), ["a.rs:2 102 columns, 100 at most"]);
    }

    #[test]
    fn only_code_counts_towards_the_size_of_a_file() {
        let full = format!("//! One.\n{}", "a();\n\n// why\n".repeat(500));
        assert_eq!(messages(&full), [""; 0]);
        let over = format!("{full}a();\n");
        assert_eq!(messages(&over), ["a.rs 501 lines of code, 500 at most: split it"]);
    }

    #[test]
    fn the_independent_reader_uses_nothing_of_the_program() {
        let text = "//! One.\nuse blockio::journal::layout;\n";
        assert_eq!(messages(text), [""; 0]);
        assert_eq!(offences(INDEPENDENT, text).len(), 1);
    }

    #[test]
    fn attributes_that_hide_things_are_named() {
        for attribute in ["#[ignore]", "    #[ignore = \"slow\"]", "#[path = \"x.rs\"]"] {
            assert_eq!(messages(&format!("//! One.\n{attribute}\n")).len(), 1, "{attribute}");
        }
    }
}
