//! Puts tables into a Markdown document, in the place of those of the last run.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Replaces what is between `<!-- part -->` and `<!-- end of part -->` in the document at `path`.
///
/// # Errors
///
/// It has no such part, or cannot be read or written.
pub(crate) fn replace(path: &Path, part: &str, text: &str) -> Result<()> {
    let shown = path.display();
    let old = fs::read_to_string(path).with_context(|| format!("reading {shown}"))?;
    let new = replaced(&old, part, text)
        .with_context(|| format!("looking for <!-- {part} --> and its end in {shown}"))?;
    fs::write(path, new).with_context(|| format!("writing {shown}"))
}

fn replaced(document: &str, part: &str, text: &str) -> Option<String> {
    let (begin, end) = (format!("<!-- {part} -->\n"), format!("<!-- end of {part} -->\n"));
    let (before, rest) = document.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}\n{}\n\n{end}{after}", text.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_part_changes_and_a_second_time_changes_nothing() {
        let document = "a\n<!-- b -->\nold\n<!-- end of b -->\nc\n";
        let new = replaced(document, "b", "new\n").unwrap();
        assert_eq!(new, "a\n<!-- b -->\n\nnew\n\n<!-- end of b -->\nc\n");
        assert_eq!(replaced(&new, "b", "new\n"), Some(new));
        assert_eq!(replaced(document, "c", "new"), None);
    }
}
