//! Exactly what the user typed; nothing else is looked at here.

use clap::{Parser, Subcommand};

pub use crate::verb::apply::Arguments as ApplyArguments;
pub use crate::verb::check::Arguments as CheckArguments;
pub use crate::verb::commit::Arguments as CommitArguments;
pub use crate::verb::digest::Arguments as DigestArguments;
pub use crate::verb::disks::Arguments as DisksArguments;
pub use crate::verb::export::Arguments as ExportArguments;
pub use crate::verb::group::Command as GroupCommand;
pub use crate::verb::history::Arguments as HistoryArguments;
pub use crate::verb::journal::Command as JournalCommand;
pub use crate::verb::kickstart::Arguments as KickstartArguments;
pub use crate::verb::points::Command as PointsCommand;
pub use crate::verb::prepare::Arguments as PrepareArguments;
pub use crate::verb::recover::Arguments as RecoverArguments;
pub use crate::verb::restore::Arguments as RestoreArguments;
pub use crate::verb::rollback::Arguments as RollbackArguments;
pub use crate::verb::stream::Command as StreamCommand;
pub use crate::verb::verify::Arguments as VerifyArguments;
pub use crate::verb::vmx::Arguments as VmxArguments;

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
    /// List disks: SCSI id, WWID, controller, size, who uses it, what it could be used for
    Disks(DisksArguments),
    /// Tell whether this host is a master target, and what to do if not; changes nothing
    Check(CheckArguments),
    /// Make this host a master target
    Prepare(PrepareArguments),
    /// Apply change streams to disks
    Apply(ApplyArguments),
    /// List protection groups, where their disks are, and how they are kept; create and set them
    #[command(subcommand)]
    Group(GroupCommand),
    /// List, make, pin and forget the recovery points of a group
    #[command(subcommand)]
    Points(PointsCommand),
    /// Serve a recovery point over NBD, to look inside before rolling back
    Export(ExportArguments),
    /// Bring the disks of a group back to a recovery point
    Rollback(RollbackArguments),
    /// Copy a recovery point onto other disks, or into new image files
    Restore(RestoreArguments),
    /// Bring disks that are in-between, after a crash, back to where their group knows them
    Recover(RecoverArguments),
    /// Accept the disks of a group as they are, and drop its history
    Commit(CommitArguments),
    /// List what was done to groups: who ran what, when, and what came of it
    History(HistoryArguments),
    /// Tell whether the history of a group is whole, and look into it
    #[command(subcommand)]
    Journal(JournalCommand),
    /// Hash a disk: the BLAKE3 of all of it, and of its parts
    Digest(DigestArguments),
    /// Tell whether a disk is what a digest or another disk says, and where it differs
    Verify(VerifyArguments),
    /// Look into change streams, and convert them
    #[command(subcommand)]
    Stream(StreamCommand),
    /// Print an unattended installation for a master target
    Kickstart(KickstartArguments),
    /// Check or fix disk.EnableUUID of VMs; map their disks to this host's
    Vmx(VmxArguments),
}

const EXIT_CODES: &str = "\
Exit codes: 0 done or nothing to do; 1 failed; 2 usage or configuration, nothing touched;
3 drift or not ready; 4 refused by a guard, nothing touched; 5 integrity; 6 alarm, where asked for
(--check).";
