//! Exactly what the user typed; nothing else is looked at here.

use clap::{Parser, Subcommand};

pub use crate::verb::apply::Arguments as ApplyArguments;
pub use crate::verb::certificate::Command as CertificateCommand;
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
pub use crate::verb::send::Arguments as SendArguments;
pub use crate::verb::serve::Arguments as ServeArguments;
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
    /// List disks: SCSI id, WWID, controller, size, users, and possible uses
    Disks(DisksArguments),
    /// Check whether this host is a master target, and what is missing; changes nothing
    Check(CheckArguments),
    /// Make this host a master target
    Prepare(PrepareArguments),
    /// Apply change streams to disks
    Apply(ApplyArguments),
    /// List, create and configure protection groups
    #[command(subcommand)]
    Group(GroupCommand),
    /// List, create, pin and forget the recovery points of a group
    #[command(subcommand)]
    Points(PointsCommand),
    /// Serve a recovery point over NBD, to inspect it before rolling back
    Export(ExportArguments),
    /// Roll the disks of a group back to a recovery point
    Rollback(RollbackArguments),
    /// Copy a recovery point onto other disks, or into new image files
    Restore(RestoreArguments),
    /// Bring disks that a crash left in between back to a known state
    Recover(RecoverArguments),
    /// Accept the disks of a group as they are, and drop its history
    Commit(CommitArguments),
    /// List what was done to groups: who ran what, when, and with what result
    History(HistoryArguments),
    /// Check the history of a group, print it, or rebuild its state
    #[command(subcommand)]
    Journal(JournalCommand),
    /// Hash a disk: the BLAKE3 of the whole disk and of its parts
    Digest(DigestArguments),
    /// Compare a disk with a digest or another disk, and show where they differ
    Verify(VerifyArguments),
    /// Inspect, convert and merge change streams
    #[command(subcommand)]
    Stream(StreamCommand),
    /// Hold groups, and receive their changes over a network
    Serve(ServeArguments),
    /// Bring change streams to a master target over a network
    Send(SendArguments),
    /// Make certificates for receivers and senders, and show until when they are valid
    #[command(subcommand)]
    Certificate(CertificateCommand),
    /// Print an unattended installation for a master target
    Kickstart(KickstartArguments),
    /// Check or fix disk.EnableUUID of VMs, and match their disks with this host's
    Vmx(VmxArguments),
}

const EXIT_CODES: &str = "\
Exit codes: 0 done or nothing to do; 1 failed; 2 usage or configuration, nothing touched;
3 drift or not ready; 4 refused by a guard, nothing touched; 5 integrity; 6 alarm (with
--check).";
