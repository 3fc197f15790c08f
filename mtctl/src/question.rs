//! Asks before something that is hard to undo. If nobody can be asked, nothing is done.

use std::io::{IsTerminal, Write};

use system::{Error, ErrorKind};

/// Returns if `question` is answered with yes: by `--yes`, or by the person at the terminal.
///
/// # Errors
///
/// `Usage`: there is nobody to ask. `Refused`: the answer is not yes, so that commands which depend
/// on success do not run.
pub(crate) fn require_yes(question: &str, yes: bool) -> anyhow::Result<()> {
    if yes {
        return Ok(());
    }
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return Err(Error::new(
            ErrorKind::Usage,
            "there is no terminal to ask on; nothing was touched",
        )
        .with_hint("run it on a terminal, or answer in advance: --yes")
        .into());
    }
    let mut stderr = std::io::stderr();
    write!(stderr, "\n{question} Type yes: ")?;
    stderr.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if answer.trim().eq_ignore_ascii_case("yes") {
        return Ok(());
    }
    Err(Error::refused("the answer was not yes; nothing was touched")
        .with_hint("run it again and type yes, or answer in advance: --yes")
        .into())
}
