//! `mtctl kickstart`: prints an unattended installation.

use clap::Args;

use crate::exit::Exit;

/// What was typed after `mtctl kickstart`.
#[derive(Debug, Args)]
pub struct Arguments {}

/// Prints the kickstart on stdout.
pub(crate) fn run(_arguments: &Arguments) -> anyhow::Result<Exit> {
    Ok(Exit::Done)
}
