//! What the user typed, exactly: no look at the world here.

use clap::{Parser, Subcommand};

pub use crate::verb::kickstart::Arguments as KickstartArguments;

/// Makes a Linux VM a master target, and brings replicated disks home.
#[derive(Debug, Parser)]
#[command(name = "mtctl", version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print an unattended installation for a master target
    Kickstart(KickstartArguments),
}

const EXIT_CODES: &str = "\
Exit codes: 0 done or nothing to do; 1 failed; 2 usage or configuration, nothing touched;
3 drift or not ready; 4 refused by a guard, nothing touched; 5 integrity.";
