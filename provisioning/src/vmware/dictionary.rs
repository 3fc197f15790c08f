//! VMware's dictionary text format (.vmx, .vmsd), parsed into rows that print back byte for byte.
//! The meaning of the keys is not known here.
//!
//! The grammar is that of the `dictll` reader in VMware's open-vm-tools: a row is `key = value #
//! comment` with blanks and tabs between them; the key contains no blank, `=` or `#`; the value is
//! in double quotes, or bare without blanks and `#`, or empty; `|` and two hexadecimal digits stand
//! for one byte. Lines end with LF, CR LF or CR. Bytes above 127 are in the encoding that
//! `.encoding` names, so everything here works on bytes.

use nom::branch::alt;
use nom::bytes::complete::{tag, take_till, take_till1, take_while};
use nom::combinator::{eof, opt};
use nom::sequence::delimited;
use nom::{IResult, Parser};

/// Larger files are refused, in bytes; a real .vmx has about 10 KiB.
pub(crate) const FILE_BYTES_MAX: usize = 8 << 20;
/// Longer rows are refused, in bytes; guest variables with whole cloud-init documents fit.
pub(crate) const ROW_BYTES_MAX: usize = 1 << 20;
/// More rows are refused; a machine with every possible device has a few thousand.
pub(crate) const ROWS_MAX: usize = 1 << 16;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Why a file is not a dictionary. Lines count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SyntaxError {
    /// More than `FILE_BYTES_MAX`.
    #[error("it is larger than {FILE_BYTES_MAX} bytes")]
    FileTooLarge,
    /// More than `ROWS_MAX`.
    #[error("it has more than {ROWS_MAX} rows")]
    TooManyRows,
    /// More than `ROW_BYTES_MAX` in one row.
    #[error("line {0}: it is longer than {ROW_BYTES_MAX} bytes")]
    RowTooLong(usize),
    /// A zero byte: UTF-16 text or binary data.
    #[error("line {0}: there is a NUL byte: this is not text, or it was saved as UTF-16")]
    NulByte(usize),
    /// Neither blank, nor comment, nor `key = value`.
    #[error("line {0}: it is neither a comment nor key = \"value\"")]
    NoAssignment(usize),
    /// A value that begins with a double quote and has no closing one.
    #[error("line {0}: the quote after the = is never closed")]
    UnterminatedQuote(usize),
    /// Something other than a comment after the value.
    #[error("line {0}: there is text after the value")]
    TextAfterValue(usize),
}

/// `key = value` inside a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assignment<'a> {
    /// From the first byte of the key to the last byte of the value, including quotes.
    pub text: &'a [u8],
    /// The key as written; compared ignoring ASCII case.
    pub key: &'a [u8],
    /// The value as written, without quotes and with escapes.
    pub raw_value: &'a [u8],
}

impl Assignment<'_> {
    /// Whether this row sets `key`.
    pub fn is(&self, key: &str) -> bool {
        self.key.eq_ignore_ascii_case(key.as_bytes())
    }

    /// The bytes of the value, with escapes decoded.
    pub fn value(&self) -> Vec<u8> {
        unescape(self.raw_value)
    }
}

/// One line: the four parts, concatenated, are its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row<'a> {
    /// Blanks before the assignment, or the whole line if it is blank or a comment.
    pub before: &'a [u8],
    /// The assignment, if there is one.
    pub assignment: Option<Assignment<'a>>,
    /// Blanks and comment after the assignment.
    pub after: &'a [u8],
    /// LF, CR LF, CR, or nothing at the end of the file.
    pub terminator: &'a [u8],
}

impl Row<'_> {
    /// Appends the bytes of the row as they were read.
    pub fn print(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.before);
        if let Some(assignment) = &self.assignment {
            out.extend_from_slice(assignment.text);
        }
        out.extend_from_slice(self.after);
        out.extend_from_slice(self.terminator);
    }
}

/// A whole file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dictionary<'a> {
    /// The UTF-8 byte order mark, or nothing.
    pub byte_order_mark: &'a [u8],
    /// Every line in order.
    pub rows: Vec<Row<'a>>,
}

impl<'a> Dictionary<'a> {
    /// The bytes that were parsed.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = self.byte_order_mark.to_vec();
        self.rows.iter().for_each(|row| row.print(&mut out));
        out
    }

    /// Every assignment with its line number (from 1), in order.
    pub fn assignments(&self) -> impl Iterator<Item = (usize, &Assignment<'a>)> {
        let numbered = (1..).zip(&self.rows);
        numbered.filter_map(|(line, row)| Some((line, row.assignment.as_ref()?)))
    }

    /// The value of `key` in its first row, because VMware keeps the first and reports the others.
    pub fn value(&self, key: &str) -> Option<Vec<u8>> {
        let mut assignments = self.assignments();
        let found = assignments.find(|(_, assignment)| assignment.is(key));
        found.map(|(_, assignment)| assignment.value())
    }
}

/// Parses a file.
///
/// # Errors
/// Returns a [`SyntaxError`] with the line if VMware would refuse the file as well, or a limit is
/// exceeded.
pub fn parse(bytes: &[u8]) -> Result<Dictionary<'_>, SyntaxError> {
    if bytes.len() > FILE_BYTES_MAX {
        return Err(SyntaxError::FileTooLarge);
    }
    let text = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    if Lines(text).nth(ROWS_MAX).is_some() {
        return Err(SyntaxError::TooManyRows);
    }
    let (byte_order_mark, _) = bytes.split_at(bytes.len() - text.len());
    let rows: Result<Vec<Row<'_>>, SyntaxError> = (1..)
        .zip(Lines(text))
        .map(|(number, (line, terminator))| parse_row(number, line, terminator))
        .collect();
    Ok(Dictionary { byte_order_mark, rows: rows? })
}

/// The lines of a text, each with its ending: LF, CR LF, CR, or nothing for an incomplete last
/// line.
#[derive(Debug)]
pub struct Lines<'a>(pub &'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let (rest, line) = line_and_terminator(self.0).ok()?;
        self.0 = rest;
        Some(line)
    }
}

fn line_and_terminator(input: &[u8]) -> IResult<&[u8], (&[u8], &[u8])> {
    let ends_line = |byte| matches!(byte, b'\n' | b'\r');
    let terminator = alt((tag("\r\n"), tag("\n"), tag("\r"), eof));
    (take_till(ends_line), terminator).parse(input)
}

fn parse_row<'a>(
    number: usize,
    line: &'a [u8],
    terminator: &'a [u8],
) -> Result<Row<'a>, SyntaxError> {
    if line.len() > ROW_BYTES_MAX {
        return Err(SyntaxError::RowTooLong(number));
    }
    if line.contains(&0) {
        return Err(SyntaxError::NulByte(number));
    }
    let empty: &[u8] = b"";
    if is_blank_or_comment(line) {
        return Ok(Row { before: line, assignment: None, after: empty, terminator });
    }
    let (rest, (before, assignment)) =
        (blanks, assignment).parse(line).map_err(|_| syntax_error(number, line))?;
    if !is_blank_or_comment(rest) {
        return Err(SyntaxError::TextAfterValue(number));
    }
    Ok(Row { before, assignment: Some(assignment), after: rest, terminator })
}

/// Classifies a line that is not an assignment.
fn syntax_error(number: usize, line: &[u8]) -> SyntaxError {
    match (blanks, key_and_equals).parse(line) {
        Ok(_) => SyntaxError::UnterminatedQuote(number),
        Err(_) => SyntaxError::NoAssignment(number),
    }
}

/// Whether a line, or the rest of one, is blank or a comment.
pub(crate) fn is_blank_or_comment(line: &[u8]) -> bool {
    let first = line.iter().find(|byte| !is_blank(**byte));
    first.is_none_or(|byte| *byte == b'#')
}

/// Parses `key = value`, starting at the first byte of the key.
///
/// # Errors
/// Returns nom's error if there is no assignment.
pub fn assignment(input: &[u8]) -> IResult<&[u8], Assignment<'_>> {
    let (rest, (key, raw_value)) = (key_and_equals, alt((quoted, bare))).parse(input)?;
    let (text, _) = input.split_at(input.len() - rest.len());
    Ok((rest, Assignment { text, key, raw_value }))
}

fn key_and_equals(input: &[u8]) -> IResult<&[u8], &[u8]> {
    let ends_key = |byte| is_blank(byte) || matches!(byte, b'=' | b'#');
    let (rest, (key, ..)) = (take_till1(ends_key), blanks, tag("="), opt_blanks).parse(input)?;
    Ok((rest, key))
}

/// Blanks after the `=`, unless nothing follows them: in `key =   # comment` they are not part of
/// the assignment.
fn opt_blanks(input: &[u8]) -> IResult<&[u8], Option<&[u8]>> {
    if is_blank_or_comment(input) {
        return Ok((input, None));
    }
    opt(blanks).parse(input)
}

fn quoted(input: &[u8]) -> IResult<&[u8], &[u8]> {
    delimited(tag("\""), take_till(|byte| byte == b'"'), tag("\"")).parse(input)
}

fn bare(input: &[u8]) -> IResult<&[u8], &[u8]> {
    if input.first() == Some(&b'"') {
        let kind = nom::error::ErrorKind::Not;
        return Err(nom::Err::Error(nom::error::Error::new(input, kind)));
    }
    take_till(|byte| is_blank(byte) || byte == b'#').parse(input)
}

pub(super) fn blanks(input: &[u8]) -> IResult<&[u8], &[u8]> {
    take_while(is_blank).parse(input)
}

pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn unescape(raw: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((&first, tail)) = rest.split_first() {
        match (first, escaped_byte(tail)) {
            (b'|', Some((byte, tail))) => {
                value.push(byte);
                rest = tail;
            }
            _ => {
                value.push(first);
                rest = tail;
            }
        }
    }
    value
}

/// The byte that two hexadecimal digits stand for. A `|` without them is a literal `|`.
fn escaped_byte(digits: &[u8]) -> Option<(u8, &[u8])> {
    let (pair, tail) = digits.split_at_checked(2)?;
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|n| u8::try_from(n).ok());
    Some((digit(pair[0])? << 4 | digit(pair[1])?, tail))
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(line: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let parsed = parse(line).unwrap();
        let (_, assignment) = parsed.assignments().next().unwrap();
        (assignment.key.to_vec(), assignment.value())
    }

    #[test]
    fn every_form_of_a_row_gives_its_key_and_value() {
        let cases: [(&[u8], &[u8], &[u8]); 9] = [
            (b"memSize = \"4096\"", b"memSize", b"4096"),
            (b"\tmemSize=\"4096\"\t# RAM", b"memSize", b"4096"),
            (b"memSize = 4096", b"memSize", b"4096"),
            (b"nvram =", b"nvram", b""),
            (b"nvram =  # none", b"nvram", b""),
            (b"nvram = \"\"\r\n", b"nvram", b""),
            (b"note = \"a # b = c\"", b"note", b"a # b = c"),
            (b"name = \"say |22hi|22 |7C |zz |2\"", b"name", b"say \"hi\" | |zz |2"),
            (b"name = \"B\xFCro\"", b"name", b"B\xFCro"),
        ];
        for (line, key, value) in cases {
            assert_eq!(one(line), (key.to_vec(), value.to_vec()), "{line:?}");
        }
    }

    #[test]
    fn malformed_rows_are_refused_with_their_line() {
        let cases: [(&[u8], SyntaxError); 8] = [
            (b"# fine\nmemSize\n", SyntaxError::NoAssignment(2)),
            (b"= \"x\"", SyntaxError::NoAssignment(1)),
            (b"a b = \"x\"", SyntaxError::NoAssignment(1)),
            (b"a # = \"x\"", SyntaxError::NoAssignment(1)),
            (b"\r\n\r\na = \"x", SyntaxError::UnterminatedQuote(3)),
            (b"a = \"x\" y", SyntaxError::TextAfterValue(1)),
            (b"a = 512 MB", SyntaxError::TextAfterValue(1)),
            (b"\xFF\xFEa\0 \0=\0", SyntaxError::NulByte(1)),
        ];
        for (bytes, expected) in cases {
            assert_eq!(parse(bytes).unwrap_err(), expected, "{bytes:?}");
        }
    }

    #[test]
    fn the_limits_are_limits() {
        let long = vec![b'#'; ROW_BYTES_MAX + 1];
        assert_eq!(parse(&long).unwrap_err(), SyntaxError::RowTooLong(1));
        assert!(parse(&long[1..]).is_ok());
        let large = vec![b'\n'; FILE_BYTES_MAX + 1];
        assert_eq!(parse(&large).unwrap_err(), SyntaxError::FileTooLarge);
        let many = &large[..ROWS_MAX + 1];
        assert_eq!(parse(many).unwrap_err(), SyntaxError::TooManyRows);
        assert_eq!(parse(&many[1..]).unwrap().rows.len(), ROWS_MAX);
    }

    #[test]
    fn each_line_ending_ends_a_line_and_a_byte_order_mark_belongs_to_no_key() {
        let bytes = b"\xEF\xBB\xBFa = \"1\"\r\nb = \"2\"\rc = \"3\"\n\nd = 4";
        let parsed = parse(bytes).unwrap();
        let found: Vec<_> = parsed.assignments().map(|(line, a)| (line, a.key)).collect();
        let expected: [(usize, &[u8]); 4] = [(1, b"a"), (2, b"b"), (3, b"c"), (5, b"d")];
        assert_eq!(found, expected);
        assert_eq!(parsed.to_bytes(), bytes);
    }

    #[test]
    fn the_first_of_several_rows_counts_and_case_does_not() {
        let parsed = parse(b"Key = \"first\"\nkey = \"second\"\n").unwrap();
        assert_eq!(parsed.value("KEY"), Some(b"first".to_vec()));
        assert_eq!(parsed.value("kex"), None);
    }

    /// Bytes that often form a dictionary: rows of likely parts, and occasionally arbitrary bytes.
    pub(crate) fn likely_rows() -> impl Strategy<Value = Vec<u8>> {
        let part = prop_oneof![
            4 => prop::sample::select(vec![
                &b"disk.EnableUUID"[..], b"DISK.enableuuid", b"scsi0:0.fileName", b" = ", b"=",
                b"\"TRUE\"", b"\"false\"", b"\"", b"1", b" ", b"\t", b"# note", b"|22", b"\n",
                b"\n", b"\r\n", b"\r", b"\xFC", b"\xEF\xBB\xBF", b"a.b = \"c\"\n",
                b"disk.enableUUID = \"FALSE\" # off\n", b"disk.EnableUUID = TRUE\r\n",
            ]).prop_map(<[u8]>::to_vec),
            1 => prop::collection::vec(any::<u8>(), 0..4),
        ];
        prop::collection::vec(part, 0..24).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn printing_what_was_parsed_gives_the_same_bytes(bytes in likely_rows()) {
            if let Ok(parsed) = parse(&bytes) {
                prop_assert_eq!(parsed.to_bytes(), bytes);
            }
        }

        #[test]
        fn any_bytes_are_parsed_or_refused_without_a_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..256)
        ) {
            if let Ok(parsed) = parse(&bytes) {
                prop_assert_eq!(parsed.to_bytes(), bytes);
            }
        }
    }
}
