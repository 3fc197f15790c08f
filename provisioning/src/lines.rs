//! Splits text into lines that keep their endings, so that an edit touches only its own lines.
//! Knows no format and reads nothing.

/// One line: its text and its ending (`"\n"`, `"\r\n"`, or nothing at the end of the text).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// Where the line starts, in bytes from the start of the text.
    pub(crate) start: usize,
    /// The line without its ending.
    pub(crate) body: &'a str,
    /// The ending, as found.
    pub(crate) ending: &'a str,
}

impl Line<'_> {
    /// Where the next line starts.
    pub(crate) fn end(&self) -> usize {
        self.start + self.body.len() + self.ending.len()
    }
}

/// The lines of `text`; concatenating their bodies and endings gives `text` again.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    let mut start = 0;
    text.split_inclusive('\n').map(move |whole| {
        let body = whole.strip_suffix('\n').unwrap_or(whole);
        let body = match body.len() < whole.len() {
            true => body.strip_suffix('\r').unwrap_or(body),
            false => body,
        };
        let line = Line { start, body, ending: &whole[body.len()..] };
        start += whole.len();
        line
    })
}

/// The line ending of this text: that of its first line, or `"\n"` if it has none.
pub(crate) fn ending_of(text: &str) -> &'static str {
    match lines(text).next() {
        Some(line) if line.ending == "\r\n" => "\r\n",
        // Any ending appended to it will next be read as this one.
        Some(line) if line.ending.is_empty() && line.body.ends_with('\r') => "\r\n",
        _ => "\n",
    }
}

/// `text` with `rows` appended; if the last line lacks an ending, it gets one.
pub(crate) fn appended<'a>(text: &str, rows: impl IntoIterator<Item = &'a str>) -> String {
    let ending = ending_of(text);
    let mut whole = text.to_owned();
    if !whole.is_empty() && !whole.ends_with('\n') {
        whole.push_str(ending);
    }
    for row in rows {
        whole.push_str(row);
        whole.push_str(ending);
    }
    whole
}

/// `text` with the bytes from `start` up to `end` replaced; both must lie at line starts.
pub(crate) fn spliced(text: &str, start: usize, end: usize, replacement: &str) -> String {
    [&text[..start], replacement, &text[end..]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn endings_are_told_from_bodies() {
        let found: Vec<_> =
            lines("a\r\n\nb\r").map(|line| (line.start, line.body, line.ending)).collect();
        assert_eq!(found, [(0, "a", "\r\n"), (3, "", "\n"), (4, "b\r", "")]);
    }

    #[test]
    fn a_missing_last_ending_is_added_before_a_row_is_appended() {
        assert_eq!(appended("a\r\nb", ["c"]), "a\r\nb\r\nc\r\n");
        assert_eq!(appended("", ["c"]), "c\n");
    }

    proptest! {
        #[test]
        fn lines_put_together_are_the_text(text in "[ab\r\n é]*") {
            let mut whole = String::new();
            for line in lines(&text) {
                prop_assert_eq!(line.start, whole.len());
                whole.push_str(line.body);
                whole.push_str(line.ending);
                prop_assert_eq!(line.end(), whole.len());
            }
            prop_assert_eq!(whole, text);
        }
    }
}
