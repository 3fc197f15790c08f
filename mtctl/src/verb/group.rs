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

The settings of a group are saved with it, and apply to every verb. The first apply creates a group
with the settings that are given there; from then on only `group set` changes them.";

/// What can be done with groups.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum Command {
    /// List the groups of this host: state of the disks, points, window, alarms
    List(list::Arguments),
    /// Show one group: its volumes, their state, and its settings
    Show(show::Arguments),
    /// Create a group before anything is applied to it
    Create(settings::Create),
    /// Change the settings of a group
    Set(settings::Set),
    /// Rename a group
    Rename(rename::Arguments),
    /// Move a group to other disks with the same content
    Retarget(retarget::Arguments),
    /// Release the disks of a group, and drop its history; its settings stay
    Release(release::Arguments),
    /// Release the disks of a group, and remove everything else of it
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
