//! Reads the syntax of lvm.conf(5) far enough to find settings and where they stand.
//! What a setting means is not known here.

/// One assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// `section/name`, whether written so or by nested sections.
    pub path: String,
    /// The value, or the elements of the array; strings without their quotes, otherwise as written.
    pub values: Vec<String>,
    /// Number of the line, from 1, on which the name stands.
    pub line: usize,
    /// Where the name starts, in bytes.
    pub start: usize,
}

/// What is wrong with the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct SyntaxError {
    /// Number of the line, from 1.
    pub line: usize,
    /// What is wrong.
    pub problem: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
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
/// The first place where the text is not LVM configuration.
pub fn settings(text: &str) -> Result<Vec<Setting>, SyntaxError> {
    let tokens = tokens(text)?;
    let mut tokens = tokens.into_iter().peekable();
    let mut sections: Vec<String> = Vec::new();
    let mut found = Vec::new();
    let mut last_line = 1;
    while let Some(Placed { token, line, start }) = tokens.next() {
        last_line = line;
        let name = match token {
            Token::Word(name) => name,
            Token::Sign('}') if sections.pop().is_some() => continue,
            Token::Sign(_) | Token::Text(_) => return Err(error(line, "a name expected")),
        };
        match tokens.next().map(|placed| placed.token) {
            Some(Token::Sign('{')) => sections.push(name),
            Some(Token::Sign('=')) => found.push(Setting {
                path: joined(&sections, &name),
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

/// The value of the setting at `path`, the last one if it is set more than once.
///
/// # Errors
/// As [`settings`].
pub fn last_value(text: &str, path: &str) -> Result<Option<String>, SyntaxError> {
    let found = settings(text)?.into_iter().rev().find(|setting| setting.path == path);
    Ok(found.and_then(|setting| setting.values.into_iter().next()))
}

fn joined(sections: &[String], name: &str) -> String {
    let mut path = sections.join("/");
    if !path.is_empty() {
        path.push('/');
    }
    path + name
}

fn value(
    tokens: &mut impl Iterator<Item = Placed>,
    line: usize,
) -> Result<Vec<String>, SyntaxError> {
    match tokens.next().map(|placed| placed.token) {
        Some(Token::Word(one) | Token::Text(one)) => Ok(vec![one]),
        Some(Token::Sign('[')) => elements(tokens, line),
        _ => Err(error(line, "a value expected")),
    }
}

fn elements(
    tokens: &mut impl Iterator<Item = Placed>,
    line: usize,
) -> Result<Vec<String>, SyntaxError> {
    let mut values = Vec::new();
    for placed in tokens {
        match placed.token {
            Token::Word(one) | Token::Text(one) => values.push(one),
            Token::Sign(',') => {}
            Token::Sign(']') => return Ok(values),
            Token::Sign(_) => return Err(error(placed.line, "an element expected")),
        }
    }
    Err(error(line, "an array is not closed"))
}

fn error(line: usize, problem: &'static str) -> SyntaxError {
    SyntaxError { line, problem }
}

fn tokens(text: &str) -> Result<Vec<Placed>, SyntaxError> {
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        let (token, length) = match first {
            '\n' => {
                line += 1;
                (None, 1)
            }
            '#' => (None, rest.find('\n').unwrap_or(rest.len())),
            space if space.is_whitespace() => (None, space.len_utf8()),
            '"' => quoted(rest).ok_or(error(line, "a string is not closed"))?,
            '{' | '}' | '[' | ']' | '=' | ',' => (Some(Token::Sign(first)), 1),
            _ => {
                let ends = |c: char| c.is_whitespace() || "{}[]=,#\"".contains(c);
                let length = rest.find(ends).unwrap_or(rest.len());
                (Some(Token::Word(rest[..length].to_owned())), length)
            }
        };
        tokens.extend(token.map(|token| Placed { token, line, start: at }));
        line += rest[..length].matches('\n').count() * usize::from(first == '"');
        at += length;
    }
    Ok(tokens)
}

/// A string with `\"` and `\\` in it, and its length with both quotes.
fn quoted(rest: &str) -> Option<(Option<Token>, usize)> {
    let mut text = String::new();
    let mut characters = rest.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((Some(Token::Text(text)), at + 1)),
            '\\' => match characters.next()?.1 {
                escaped @ ('"' | '\\') => text.push(escaped),
                other => text.extend(['\\', other]),
            },
            other => text.push(other),
        }
    }
    None
}
