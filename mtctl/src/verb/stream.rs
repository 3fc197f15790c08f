//! `mtctl stream`: inspecting, converting and merging change streams. One file for each verb.

use clap::Subcommand;

use crate::exit::Exit;

pub(crate) mod convert;
pub(crate) mod inspect;
mod merge;
mod written;

/// What can be done with a stream.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what is in a stream, and the first thing wrong with it
    Inspect(inspect::Arguments),
    /// Convert streams to one stream of another format
    Convert(convert::Arguments),
    /// Merge streams of several volumes into one, with one mark at its end
    Merge(merge::Arguments),
}

/// Runs the verb.
pub(crate) fn run(command: &Command) -> anyhow::Result<Exit> {
    match command {
        Command::Inspect(arguments) => inspect::run(arguments),
        Command::Convert(arguments) => convert::run(arguments),
        Command::Merge(arguments) => merge::run(arguments),
    }
}
