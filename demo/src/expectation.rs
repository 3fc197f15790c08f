//! What the story expects of commands and their output. Anything else ends it.

use anyhow::{Result, bail};

/// Fails with `otherwise` if `holds` is false.
///
/// # Errors
/// Returns an error if `holds` is false.
pub(crate) fn expect(holds: bool, otherwise: impl FnOnce() -> String) -> Result<()> {
    if !holds {
        bail!("something is not as expected: {}", otherwise().trim_end());
    }
    Ok(())
}

/// Checks that `text` contains `words`, possibly broken into lines.
pub(crate) fn says(text: &str, words: &str) -> Result<()> {
    let joined = text.split_whitespace().collect::<Vec<_>>().join(" ");
    expect(joined.contains(words), || format!("expected '{words}' in:\n{text}"))
}
