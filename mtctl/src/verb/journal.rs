//! `mtctl journal`: examining the history of a group. One file for each verb.

use clap::Subcommand;

use crate::exit::Exit;

pub(crate) mod check;
pub(crate) mod dump;
pub(crate) mod rebuild;

/// What can be done with a history.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check that everything the recovery points need is present and intact; changes nothing
    Check(check::Arguments),
    /// Print the history, one line for each record
    Dump(dump::Arguments),
    /// Rebuild the state of the group from its segments when it is lost or outdated
    Rebuild(rebuild::Arguments),
}

/// Runs the verb.
pub(crate) fn run(command: &Command) -> anyhow::Result<Exit> {
    match command {
        Command::Check(arguments) => check::run(arguments),
        Command::Dump(arguments) => dump::run(arguments),
        Command::Rebuild(arguments) => rebuild::run(arguments),
    }
}
