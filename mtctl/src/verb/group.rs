//! `mtctl group`: the protection groups of this host, and how each is kept. One file for each verb.

use clap::Subcommand;

use crate::exit::Exit;

mod forget;
mod list;
mod release;
mod rename;
mod retarget;
mod settings;
mod show;

const EXAMPLES: &str = "\
Examples:
  mtctl group list
  mtctl group show --group web
  mtctl group create --group web --retention-window 48h --keep-all 4h
  mtctl group set --group web --point-every 5m --retention-bytes none
  mtctl group rename --group web --to shop
  mtctl group retarget --group web --target /dev/sdc
  mtctl group release --group web
  mtctl group forget --group web

How a group is kept is saved with it, and holds for every verb. The first apply creates a group by
itself, with what is typed there; from then on only `group set` changes it.";

/// What can be done with groups.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum Command {
    /// List the groups of this host: where their disks are, points, window, alarms
    List(list::Arguments),
    /// Show one group: its volumes, where they are, and how it is kept
    Show(show::Arguments),
    /// Create a group before anything is applied to it
    Create(settings::Create),
    /// Change how a group is kept
    Set(settings::Set),
    /// Give a group another name
    Rename(rename::Arguments),
    /// Go on with other disks that hold the same
    Retarget(retarget::Arguments),
    /// Give the disks of a group up, and its history
    Release(release::Arguments),
    /// Give the disks of a group up, and remove all else of it
    Forget(forget::Arguments),
}

/// Runs the verb.
pub(crate) fn run(command: &Command) -> anyhow::Result<Exit> {
    match command {
        Command::List(arguments) => list::run(arguments),
        Command::Show(arguments) => show::run(arguments),
        Command::Create(arguments) => settings::create(arguments),
        Command::Set(arguments) => settings::set(arguments),
        Command::Rename(arguments) => rename::run(arguments),
        Command::Retarget(arguments) => retarget::run(arguments),
        Command::Release(arguments) => release::run(arguments),
        Command::Forget(arguments) => forget::run(arguments),
    }
}
