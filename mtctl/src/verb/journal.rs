//! `mtctl journal`: examining the history of a group. One file for each verb.

use clap::Subcommand;

use crate::exit::Exit;

pub(crate) mod check;
pub(crate) mod dump;
pub(crate) mod rebuild;

/// What can be done with a history.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Tell whether all that the recovery points need is there and whole; changes nothing
    Check(check::Arguments),
    /// Print the history, a line a record
    Dump(dump::Arguments),
    /// Make the state of the group anew from its segments, when it is lost or older than they are
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
