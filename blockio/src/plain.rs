//! Texts from outside on a terminal: everything that would move the cursor, or colour, hide or
//! reverse text, is escaped.
//!
//! Names come from streams, and so from any sender. This is the one place that decides how they are
//! shown; a backslash stays as it is, so that escaping twice changes nothing.

use std::fmt::{self, Write};

/// Displays the text on one line, and escapes everything that a terminal would obey or that cannot
/// be seen: control characters, line ends, characters that change the direction of text, and
/// characters without width.
#[derive(Clone, Copy, Debug)]
pub struct Plain<T>(pub T);

impl<T: fmt::Display> fmt::Display for Plain<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(f), "{}", self.0)
    }
}

struct Escaping<'a, 'f>(&'a mut fmt::Formatter<'f>);

impl Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            match is_plain(character) {
                true => self.0.write_char(character)?,
                false => write!(self.0, "{}", character.escape_default())?,
            }
        }
        Ok(())
    }
}

/// Whether a terminal merely shows `character`.
#[must_use]
pub fn is_plain(character: char) -> bool {
    let is_hidden = matches!(character,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{feff}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}');
    !character.is_control() && !is_hidden
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_escaped_and_letters_are_not() {
        let cases = [
            ("db", "db"),
            ("Größe 数据 \u{1f4be}", "Größe 数据 \u{1f4be}"),
            ("a\\b", "a\\b"),
            ("\x1b[2Jdb", "\\u{1b}[2Jdb"),
            ("a\r\nb\tc\x07", "a\\r\\nb\\tc\\u{7}"),
            ("\u{9b}31m\u{7f}", "\\u{9b}31m\\u{7f}"),
            ("\u{202e}gmi.bd\u{2066}", "\\u{202e}gmi.bd\\u{2066}"),
            ("a\u{200b}b\u{2028}c\u{feff}", "a\\u{200b}b\\u{2028}c\\u{feff}"),
        ];
        for (text, expected) in cases {
            assert_eq!(Plain(text).to_string(), expected);
            assert_eq!(Plain(Plain(text)).to_string(), expected, "shown twice");
        }
    }
}
