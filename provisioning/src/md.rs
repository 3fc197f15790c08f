//! Keeps MD from assembling arrays found on attached disks, with a marked block in mdadm.conf(5);
//! and parses which arrays are running (/proc/mdstat) and which the file names. Nothing is
//! assembled here.

use crate::lines::Line;
use crate::marked_block::{self, BlockError};

#[cfg(test)]
mod tests;

/// Why the block cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AutoError {
    /// The first AUTO row wins and later ones are silently ignored; this one, which is not ours,
    /// allows arrays to be assembled.
    #[error(
        "line {line} of mdadm.conf, not written by mtctl, decides on automatic assembly: {row}"
    )]
    Conflict {
        /// Line number, from 1.
        line: usize,
        /// The row.
        row: String,
    },
    /// Our markers are not paired.
    #[error("mdadm.conf: {0}")]
    Block(#[from] BlockError),
    /// Not the UUID of an array: 32 hexadecimal digits.
    #[error("{0:?} is not the uuid of an array")]
    Uuid(String),
}

/// One row of the file: a line and its continuations (lines that start with white space).
struct Row {
    line: usize,
    words: Vec<String>,
}

impl Row {
    /// mdadm accepts keywords in any case and abbreviated down to three letters.
    fn is(&self, keyword: &str) -> bool {
        self.words.first().is_some_and(|word| {
            let start = keyword.get(..word.len());
            word.len() >= 3 && start.is_some_and(|start| start.eq_ignore_ascii_case(word))
        })
    }
}

/// The text of mdadm.conf with our block: `AUTO -all`, which limits automatic assembly to arrays
/// named in the file, and an ARRAY row for each of the host's own arrays that no row names yet. If
/// somebody else's AUTO row already says the same, only missing ARRAY rows are added; if nothing is
/// missing, the text is returned unchanged.
///
/// `own_arrays` are UUIDs as mdadm(8) prints them.
///
/// # Errors
/// Returns an [`AutoError`]; the file must not be edited then.
pub fn with_auto_off(text: &str, own_arrays: &[String]) -> Result<String, AutoError> {
    let rows = rows(marked_block::foreign_lines(text)?);
    let named: Vec<_> = rows.iter().filter_map(named_uuid).collect();
    let mut body = String::new();
    if !is_off_already(&rows)? {
        body.push_str("AUTO -all\n");
    }
    for own in own_arrays {
        let uuid = normalised(own).ok_or_else(|| AutoError::Uuid(own.clone()))?;
        if !named.contains(&uuid) {
            body.push_str(&format!("ARRAY UUID={}\n", with_colons(&uuid)));
        }
    }
    match body.is_empty() {
        true => Ok(marked_block::remove(text)?),
        false => Ok(marked_block::put(text, &body)?),
    }
}

fn is_off_already(rows: &[Row]) -> Result<bool, AutoError> {
    let Some(auto) = rows.iter().find(|row| row.is("auto")) else {
        return Ok(false);
    };
    let first = auto.words.get(1).map(|word| word.to_ascii_lowercase());
    if first.as_deref() == Some("-all") {
        return Ok(true);
    }
    Err(AutoError::Conflict { line: auto.line, row: auto.words.join(" ") })
}

fn rows<'a>(lines: impl Iterator<Item = (usize, Line<'a>)>) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for (line, Line { body, .. }) in lines {
        // A comment starts with a word that begins with '#'.
        let words = body.split_ascii_whitespace();
        let words = words.take_while(|word| !word.starts_with('#'));
        let words = words.map(|word| word.replace(['"', '\''], ""));
        match rows.last_mut() {
            Some(row) if body.starts_with([' ', '\t']) => row.words.extend(words),
            _ => rows.push(Row { line, words: words.collect() }),
        }
    }
    rows
}

/// The UUID, as 32 lower-case hexadecimal digits, by which an ARRAY row names an array; `None` also
/// if the row forbids it (`<ignore>`).
fn named_uuid(row: &Row) -> Option<String> {
    if !row.is("array") {
        return None;
    }
    let (mut device, mut uuid) = (None, None);
    for word in &row.words[1..] {
        match word.split_once('=') {
            Some((tag, value)) if tag.eq_ignore_ascii_case("uuid") => uuid = normalised(value),
            Some(_) => {}
            None => device = Some(word.as_str()),
        }
    }
    uuid.filter(|_| device != Some("<ignore>"))
}

/// The 32 digits; mdadm allows punctuation anywhere between them.
fn normalised(uuid: &str) -> Option<String> {
    let digits: String = uuid.chars().filter(|c| !matches!(c, ':' | '-' | '.' | ' ')).collect();
    let fits = digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    fits.then(|| digits.to_ascii_lowercase())
}

fn with_colons(digits: &str) -> String {
    let groups = [0, 8, 16, 24].map(|at| digits.get(at..at + 8).unwrap_or_default());
    groups.join(":")
}

/// One array of /proc/mdstat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Array {
    /// The kernel's name: `md0`, `md_d1`.
    pub name: String,
    /// Whether it is running.
    pub active: bool,
}

/// Parses /proc/mdstat; lines that do not begin an array are details and are ignored.
pub fn parse_mdstat(text: &str) -> Vec<Array> {
    text.lines().filter_map(parse_array).collect()
}

fn parse_array(line: &str) -> Option<Array> {
    let (name, rest) = line.split_once(" : ")?;
    if !name.starts_with("md") || name.contains(char::is_whitespace) {
        return None;
    }
    let active = match rest.split_ascii_whitespace().next()? {
        "active" => true,
        "inactive" => false,
        _ => return None,
    };
    Some(Array { name: name.to_owned(), active })
}
