//! Parses the syntax of lvm.conf(5) as LVM does, to find settings and their positions. What a
//! setting means is not known here.
//!
//! A section is `name { … }`, a setting `name = value` or `name = [ value, … ]`; `a/b = value` is
//! `a { b = value }`. Names and values are bare words or strings: `"…"` with the escapes `\"` and
//! `\\`, or `'…'` without escapes. `#` begins a comment anywhere except in a string.

/// One assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// `section/name`, whether written that way or as nested sections, quoted or not.
    pub path: String,
    /// The value, or the elements of the array; strings without their quotes, numbers as written.
    pub values: Vec<String>,
    /// Line number of the name, from 1.
    pub line: usize,
    /// Byte offset of the name.
    pub start: usize,
}

/// A syntax error in the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct SyntaxError {
    /// Line number, from 1.
    pub line: usize,
    /// What is wrong.
    pub problem: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// A bare word, or a number, in the position of a name.
    Name(String),
    /// A bare word, or a number, in the position of a value: after `=`, `[` and `,`.
    Value(String),
    /// A name or a value in quotes.
    Text(String),
    Sign(char),
}

#[derive(Clone, Debug)]
struct Placed {
    token: Token,
    line: usize,
    start: usize,
}

/// Every assignment, in the order of the text.
///
/// # Errors
/// Returns the first place where the text is not LVM configuration.
pub fn settings(text: &str) -> Result<Vec<Setting>, SyntaxError> {
    let mut tokens = Tokens { text, at: 0, line: 1, last: None };
    let mut sections: Vec<String> = Vec::new();
    let mut found = Vec::new();
    let mut last_line = 1;
    while let Some(Placed { token, line, start }) = tokens.next()? {
        last_line = line;
        let name = match token {
            Token::Name(name) | Token::Text(name) if !name.is_empty() => name,
            Token::Sign('}') if sections.pop().is_some() => continue,
            _ => return Err(error(line, "a name expected")),
        };
        match tokens.next()?.map(|placed| placed.token) {
            Some(Token::Sign('{')) => sections.push(name),
            Some(Token::Sign('=')) => found.push(Setting {
                path: path(&sections, &name),
                values: value(&mut tokens, line)?,
                line,
                start,
            }),
            _ => return Err(error(line, "'=' or '{' expected")),
        }
    }
    match sections.is_empty() {
        true => Ok(found),
        false => Err(error(last_line, "a section is not closed")),
    }
}

/// The value of the setting at `path`; the last one if it is set more than once.
///
/// # Errors
/// As for [`settings`].
pub(crate) fn last_value(text: &str, path: &str) -> Result<Option<String>, SyntaxError> {
    let found = settings(text)?.into_iter().rev().find(|setting| setting.path == path);
    Ok(found.and_then(|setting| setting.values.into_iter().next()))
}

/// Slashes in a name also separate sections; redundant slashes mean nothing.
fn path(sections: &[String], name: &str) -> String {
    let names = sections.iter().map(String::as_str).chain([name]);
    let parts = names.flat_map(|name| name.split('/')).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("/")
}

fn value(tokens: &mut Tokens<'_>, line: usize) -> Result<Vec<String>, SyntaxError> {
    match tokens.next()?.map(|placed| placed.token) {
        Some(Token::Value(one) | Token::Text(one)) => Ok(vec![one]),
        Some(Token::Sign('[')) => elements(tokens, line),
        _ => Err(error(line, "a value expected")),
    }
}

/// The elements of an array. A comma may be omitted before a string, and may precede the closing
/// bracket.
fn elements(tokens: &mut Tokens<'_>, line: usize) -> Result<Vec<String>, SyntaxError> {
    let mut values = Vec::new();
    let mut may_be_comma = false;
    while let Some(placed) = tokens.next()? {
        match placed.token {
            Token::Value(one) | Token::Text(one) => {
                values.push(one);
                may_be_comma = true;
            }
            Token::Sign(',') if may_be_comma => may_be_comma = false,
            Token::Sign(']') => return Ok(values),
            Token::Sign(_) | Token::Name(_) => {
                return Err(error(placed.line, "an element expected"));
            }
        }
    }
    Err(error(line, "an array is not closed"))
}

fn error(line: usize, problem: &'static str) -> SyntaxError {
    SyntaxError { line, problem }
}

/// The tokens of a text. The kind of a word depends on the token before it.
struct Tokens<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    last: Option<char>,
}

impl Tokens<'_> {
    fn next(&mut self) -> Result<Option<Placed>, SyntaxError> {
        self.pass_over_space();
        let rest = &self.text[self.at..];
        let Some(first) = rest.chars().next() else { return Ok(None) };
        let is_value = matches!(self.last, Some('=' | '[' | ','));
        let (token, length) = match first {
            '\0' => return Err(error(self.line, "a NUL byte, after which LVM reads no further")),
            '"' | '\'' => quoted(rest, first).ok_or(error(self.line, "a string is not closed"))?,
            '{' | '}' | '[' | ']' | '=' | ',' => (Token::Sign(first), 1),
            '0'..='9' | '+' | '-' | '.' if is_value => number(rest),
            _ if is_value => word(rest, Token::Value),
            _ => word(rest, Token::Name),
        };
        let placed = Placed { token, line: self.line, start: self.at };
        self.last = matches!(placed.token, Token::Sign(_)).then_some(first);
        self.line += rest[..length].matches('\n').count();
        self.at += length;
        Ok(Some(placed))
    }

    fn pass_over_space(&mut self) {
        loop {
            let rest = &self.text[self.at..];
            let length = match rest.chars().next() {
                Some('#') => rest.find('\n').unwrap_or(rest.len()),
                Some(space) if is_space(space) => 1,
                _ => return,
            };
            self.line += rest[..length].matches('\n').count();
            self.at += length;
        }
    }
}

/// The same as isspace(3): a no-break space, for example, is part of a word.
fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t'..='\r')
}

fn word(rest: &str, token: fn(String) -> Token) -> (Token, usize) {
    let ends = |c: char| is_space(c) || matches!(c, '#' | '=' | '{' | '}' | '\0');
    let length = rest.find(ends).unwrap_or(rest.len());
    (token(rest[..length].to_owned()), length)
}

/// Digits with at most one point; whatever follows is another token, even without a space.
fn number(rest: &str) -> (Token, usize) {
    let mut has_point = rest.starts_with('.');
    let mut length = 1;
    for byte in rest.bytes().skip(1) {
        match byte {
            b'.' if !has_point => has_point = true,
            b'0'..=b'9' => {}
            _ => break,
        }
        length += 1;
    }
    (Token::Value(rest[..length].to_owned()), length)
}

/// A string, and its length including both quotes. In double quotes, `\"` and `\\` are one
/// character.
fn quoted(rest: &str, quote: char) -> Option<(Token, usize)> {
    let mut text = String::new();
    let mut characters = rest.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        match character {
            '\0' => return None,
            _ if character == quote => return Some((Token::Text(text), at + 1)),
            '\\' if quote == '"' => match characters.next()?.1 {
                escaped @ ('"' | '\\') => text.push(escaped),
                other => text.extend(['\\', other]),
            },
            other => text.push(other),
        }
    }
    None
}
