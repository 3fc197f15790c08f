//! Asks before something is done that is hard to undo. Where nobody can be asked, nothing is done.

use std::io::{IsTerminal, Write};

use blockio::{Error, ErrorKind};

/// Whether `question` is answered with yes: by `--yes`, or by whoever sits at the terminal.
///
/// # Errors
///
/// `Usage`: there is nobody to ask.
pub(crate) fn agreed(question: &str, yes: bool) -> anyhow::Result<bool> {
    if yes {
        return Ok(true);
    }
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return Err(Error::new(ErrorKind::Usage, "nobody can be asked, and nothing was touched")
            .with_hint("run it on a terminal, or answer beforehand: --yes")
            .into());
    }
    let mut stderr = std::io::stderr();
    write!(stderr, "\n{question} Type yes: ")?;
    stderr.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(answer.trim().eq_ignore_ascii_case("yes"))
}
