//! Stdout for people and programs: tables that fit the terminal, colour only on a terminal, JSON.

use std::borrow::Cow;
use std::io::{ErrorKind, Write};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use blockio::plain::{Plain, is_plain};
use comfy_table::{ContentArrangement, presets};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::{fstat, stat};
use serde::Serialize;
use system::lossless_text;

/// The maximum width of output, in columns.
const WIDTH_MAX: u16 = 100;

/// Stdout for text. What is written after the reader has gone (`mtctl disks | head`) is lost,
/// without further effect: the verb continues to its own exit code.
pub(crate) fn stdout() -> impl Write {
    Forgiving(Shown(std::io::stdout()))
}

/// A writer that makes foreign text safe for `out`: bytes that are not UTF-8 become U+FFFD, and no
/// control sequences remain except our own colours and line ends.
pub(crate) fn shown<W: Write>(out: W) -> impl Write {
    Shown(out)
}

/// Stdout for a stream: every byte unchanged, and a failed write is an error even if the reader has
/// gone.
pub(crate) fn stdout_for_bytes() -> impl Write {
    Exact(std::io::stdout().lock())
}

struct Exact<W>(W);

impl<W: Write> Write for Exact<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes).map_err(of_stdout)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush().map_err(of_stdout)
    }
}

/// Whether the process was started with stdout closed: then the standard library has opened
/// /dev/null in its place for reading and writing, which no shell does for `> /dev/null`.
pub(crate) fn is_stdout_closed() -> bool {
    let flags = fcntl(std::io::stdout(), FcntlArg::F_GETFL).map(OFlag::from_bits_truncate);
    let is_for_both = flags.is_ok_and(|flags| flags & OFlag::O_ACCMODE == OFlag::O_RDWR);
    let [null, own] = [stat("/dev/null"), fstat(std::io::stdout())];
    is_for_both && matches!((null, own), (Ok(null), Ok(own)) if null.st_rdev == own.st_rdev)
}

struct Shown<W>(W);

impl<W: Write> Write for Shown<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match std::str::from_utf8(bytes).map(harmless) {
            Ok(Cow::Owned(text)) => self.0.write_all(text.as_bytes()).map(|()| bytes.len()),
            Ok(Cow::Borrowed(_)) | Err(_) => self.0.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

/// The last line of defence: code that prints a name escapes it with [`plain`], which also keeps it
/// on its line.
fn harmless(text: &str) -> Cow<'_, str> {
    let text = lossless_text::shown(text);
    let is_harmless = |c: char| is_plain(c) || matches!(c, '\n' | '\t');
    if text.chars().all(is_harmless) {
        return text;
    }
    let mut guarded = String::new();
    let mut rest = &*text;
    while let Some(next) = rest.chars().next() {
        let colour = OUR_CODES.iter().find(|code| rest.starts_with(**code));
        let taken = colour.map_or(next.len_utf8(), |code| code.len());
        match colour.is_some() || is_harmless(next) {
            true => guarded.push_str(&rest[..taken]),
            false => guarded.push_str(&plain(next)),
        }
        rest = &rest[taken..];
    }
    Cow::Owned(guarded)
}

/// Foreign text (a name in a stream, what a disk reports about itself) as it is displayed: on one
/// line, with control characters escaped.
pub(crate) fn plain(text: impl std::fmt::Display) -> String {
    Plain(text).to_string()
}

struct Forgiving<W>(W);

impl<W: Write> Write for Forgiving<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self.0.write(bytes) {
            Err(cause) if cause.kind() == ErrorKind::BrokenPipe => Ok(bytes.len()),
            written => written.map_err(of_stdout),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self.0.flush() {
            Err(cause) if cause.kind() == ErrorKind::BrokenPipe => Ok(()),
            flushed => flushed.map_err(of_stdout),
        }
    }
}

/// Any other failure, such as a full disk.
fn of_stdout(cause: std::io::Error) -> std::io::Error {
    std::io::Error::new(cause.kind(), format!("writing to standard output: {cause}"))
}

/// Prints a line on stderr. If the reader has gone, that is no reason to stop or to panic.
pub(crate) fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", harmless(text));
}

/// The width assumed for a terminal that does not report one, such as a serial console (it reports
/// 0).
const WIDTH_UNKNOWN: u16 = 80;

/// Columns of the terminal, else the value of COLUMNS, else [`WIDTH_MAX`], which is also the
/// maximum.
pub(crate) fn width() -> u16 {
    width_on(comfy_table::Table::new().width(), told_width())
}

/// The same for the terminal on stderr.
pub(crate) fn width_of_stderr() -> u16 {
    width_on(comfy_table::Table::new().use_stderr().width(), told_width())
}

fn told_width() -> Option<u16> {
    std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok())
}

fn width_on(terminal: Option<u16>, told: Option<u16>) -> u16 {
    let known = terminal.filter(|columns| *columns > 0).or(told);
    let unknown = if terminal.is_some() { WIDTH_UNKNOWN } else { WIDTH_MAX };
    known.unwrap_or(unknown).clamp(40, WIDTH_MAX)
}

/// A table whose cells are escaped: each stays in its row, whoever chose its contents.
pub(crate) struct Table(comfy_table::Table);

impl Table {
    /// Adds a row.
    pub(crate) fn add_row<T: std::fmt::Display>(&mut self, row: impl IntoIterator<Item = T>) {
        // Bytes that are not UTF-8 are replaced later.
        self.0.add_row(row.into_iter().map(|cell| with_short_words(plain(cell))));
    }

    /// Adds a row whose cells may consist of several lines: each line is escaped.
    pub(crate) fn add_lines(&mut self, row: impl IntoIterator<Item = String>) {
        let lines = |cell: String| cell.split('\n').map(plain).collect::<Vec<_>>().join("\n");
        self.0.add_row(row.into_iter().map(lines));
    }
}

/// The longest foreign word in a table, in characters: a longer one would fill the screen, and
/// breaking thousands of them into lines takes minutes. JSON has the whole word.
const WORD_CHARACTERS_MAX: usize = 256;

/// `text` with every word shortened that is too long for a table.
pub(crate) fn with_short_words(text: String) -> String {
    let is_long = |word: &str| word.chars().nth(WORD_CHARACTERS_MAX).is_some();
    if !text.split(' ').any(is_long) {
        return text;
    }
    let short = |word: &str| match is_long(word) {
        true => word.chars().take(WORD_CHARACTERS_MAX - 1).chain(['…']).collect(),
        false => word.to_owned(),
    };
    text.split(' ').map(short).collect::<Vec<_>>().join(" ")
}

/// A table without rules, [`width`] columns wide.
pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = comfy_table::Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(width())
        .set_header(header.iter().copied());
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    Table(table)
}

/// Prints `table` without trailing blanks.
pub(crate) fn print_table(out: &mut impl Write, table: &Table) -> std::io::Result<()> {
    for line in table.0.to_string().lines() {
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// Prints `value` as one JSON document, only a part of which is in memory at a time.
pub(crate) fn print_json(out: &mut impl Write, value: &impl Serialize) -> anyhow::Result<()> {
    let mut escaping = EscapingJson { out, text: Vec::new() };
    // Report the original I/O error, not one of serde's.
    serde_json::to_writer_pretty(&mut escaping, value).map_err(std::io::Error::from)?;
    escaping.flush()?;
    writeln!(out)?;
    Ok(out.flush()?)
}

/// How much of a JSON document is escaped and written in one piece, in bytes.
const JSON_PIECE_BYTES: usize = 64 << 10;

/// JSON on its way to a terminal; see [`escaped_json`].
struct EscapingJson<'a, W> {
    out: &'a mut W,
    text: Vec<u8>,
}

impl<W: Write> EscapingJson<'_, W> {
    /// Writes the complete characters collected so far.
    fn write_on(&mut self) -> std::io::Result<()> {
        let whole = match std::str::from_utf8(&self.text) {
            Ok(text) => text,
            Err(error) => {
                let (whole, _) = self.text.split_at(error.valid_up_to());
                std::str::from_utf8(whole).unwrap_or_default()
            }
        };
        let length = whole.len();
        self.out.write_all(escaped_json(whole).as_bytes())?;
        self.text.drain(..length);
        Ok(())
    }
}

impl<W: Write> Write for EscapingJson<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let (piece, _) = bytes.split_at(bytes.len().min(JSON_PIECE_BYTES));
        self.text.extend_from_slice(piece);
        if self.text.len() >= JSON_PIECE_BYTES {
            self.write_on()?;
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.write_on()
    }
}

/// The same JSON, with everything that a terminal would interpret escaped in JSON's way.
pub(crate) fn escaped_json(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if is_plain(character) || character == '\n' {
            escaped.push(character);
        } else {
            // This is only reached within a string: between strings, a document has only blanks and
            // line ends.
            for unit in character.encode_utf16(&mut [0; 2]) {
                escaped += &format!("\\u{unit:04x}");
            }
        }
    }
    escaped
}

/// The styles in use; style is never the only indication.
pub(crate) const GREEN: Style = AnsiColor::Green.on_default();
pub(crate) const YELLOW: Style = AnsiColor::Yellow.on_default();
pub(crate) const RED: Style = AnsiColor::Red.on_default();
pub(crate) const DIM: Style = Style::new().dimmed();

/// The codes of these styles and of their end; no others reach a terminal.
const OUR_CODES: [&str; 5] = ["\x1b[0m", "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[33m"];

/// `text` in `style`, if stdout may be coloured: it is a terminal, or CLICOLOR_FORCE is set; and
/// neither NO_COLOR nor CLICOLOR=0 is set.
pub(crate) fn coloured(text: &str, style: Style) -> String {
    match AutoStream::choice(&std::io::stdout()) {
        ColorChoice::Never => text.to_owned(),
        ColorChoice::Auto | ColorChoice::AlwaysAnsi | ColorChoice::Always => {
            format!("{style}{text}{style:#}")
        }
    }
}

/// `1 extent`, `2 extents`.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

/// `text` wrapped at blanks to [`width`], with every line after the first indented by `indent`
/// blanks.
pub(crate) fn wrapped(text: &str, indent: usize) -> String {
    filled(text, room(indent)).join(&format!("\n{}", " ".repeat(indent)))
}

/// The same for a command, so that a shell joins the lines again.
pub(crate) fn broken_command(typed: &str, indent: usize) -> String {
    if textwrap::core::display_width(typed) <= room(indent) {
        return typed.to_owned();
    }
    filled(typed, room(indent) - 2).join(&format!(" \\\n{}", " ".repeat(indent + 2)))
}

/// Columns beside an indentation.
fn room(indent: usize) -> usize {
    usize::from(width()).saturating_sub(indent).max(20)
}

/// The words of `text` in lines of `columns`; a longer word gets its own line.
fn filled(text: &str, columns: usize) -> Vec<String> {
    // Line ends in foreign text begin no line of their own.
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let options = textwrap::Options::new(columns)
        .break_words(false)
        .word_splitter(textwrap::WordSplitter::NoHyphenation);
    textwrap::wrap(&text, options).into_iter().map(Cow::into_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Broken(ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Err(self.0.into())
        }
    }

    #[test]
    fn only_a_reader_that_went_away_is_forgiven() {
        let mut gone = Forgiving(Broken(ErrorKind::BrokenPipe));
        assert!(gone.write_all(b"text").is_ok() && gone.flush().is_ok());
        let mut full = Forgiving(Broken(ErrorKind::StorageFull));
        for told in [full.write_all(b"text"), full.flush()] {
            assert!(told.unwrap_err().to_string().starts_with("writing to standard output: "));
        }
    }

    #[test]
    fn bytes_that_are_no_utf_8_are_shown_as_replaced() {
        let mut out = Vec::new();
        let text = lossless_text::from_bytes(&b"d\xE9p\xF4t"[..]);
        writeln!(shown(&mut out), "/mnt/{text}: é").unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "/mnt/d\u{FFFD}p\u{FFFD}t: é\n");
    }

    #[test]
    fn what_a_terminal_would_obey_reaches_it_escaped_and_our_colours_as_they_are() {
        let mut out = Vec::new();
        let text = "\x1b[31mFAIL\x1b[0m \x1b[2J\x1b]0;x\x07\u{9b}5m \u{202e}db\tok\n";
        write!(shown(&mut out), "{text}").unwrap();
        let expected = "\x1b[31mFAIL\x1b[0m \\u{1b}[2J\\u{1b}]0;x\\u{7}\\u{9b}5m \\u{202e}db\tok\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn json_says_the_same_after_it_was_escaped_for_a_terminal() {
        let value = serde_json::json!({ "name": "a\u{9b}\u{7f}\u{202e}\u{e0001}\n\x1b\"\\é" });
        let mut out = Vec::new();
        print_json(&mut out, &value).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.chars().all(|c| is_plain(c) || c == '\n'), "{text:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }

    #[test]
    fn json_of_any_length_is_written_in_pieces_and_no_character_is_lost() {
        // Characters of one to four bytes, and escaped ones, lie across the ends of pieces.
        let text = "a\u{9b}é数\u{1f4be}\n".repeat(JSON_PIECE_BYTES / 4);
        for shift in 0..4 {
            let value = serde_json::json!({ "name": format!("{}{text}", "x".repeat(shift)) });
            let mut out = Vec::new();
            print_json(&mut out, &value).unwrap();
            assert_eq!(serde_json::from_slice::<serde_json::Value>(&out).unwrap(), value);
        }
        let mut full = Broken(ErrorKind::StorageFull);
        let error = print_json(&mut full, &text).unwrap_err();
        let error = error.downcast_ref::<std::io::Error>().unwrap();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
    }

    #[test]
    fn a_word_that_would_fill_the_screen_is_cut_and_a_long_sentence_is_not() {
        let mut table = table(&["NAME", "WHY"]);
        table.add_row(["x".repeat(5000), "several words ".repeat(40)]);
        let mut out = Vec::new();
        print_table(&mut out, &table).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.matches('x').count(), WORD_CHARACTERS_MAX - 1);
        assert!(text.contains('…') && text.matches("several").count() == 40, "{text}");
    }

    #[test]
    fn a_terminal_that_does_not_know_its_width_is_not_the_narrowest() {
        let cases = [
            (None, None, 100),
            (None, Some(60), 60),
            (Some(0), None, 80),
            (Some(0), Some(90), 90),
            (Some(20), None, 40),
            (Some(90), Some(60), 90),
            (Some(400), None, 100),
        ];
        for (terminal, told, expected) in cases {
            assert_eq!(width_on(terminal, told), expected, "{terminal:?} {told:?}");
        }
    }
}
