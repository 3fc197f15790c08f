//! Rebuilds the initramfs, once for all changes to the files it copies. `plan` decides when a
//! rebuild is due.

use crate::host::{Host, Invocation};
use crate::record;
use system::error::Result;

/// Records durably that a rebuild is due. A crash after this and before any file changed leaves one
/// unnecessary rebuild; after a file changed, the next run still knows that the rebuild is missing.
pub(super) fn note_due(host: &Host) -> Result<()> {
    set_due(host, true)
}

/// Rebuilds. If it fails, or a crash comes before the record is stored, the rebuild stays due: a
/// second one does no harm.
pub(super) fn rebuild(host: &Host, invocation: &Invocation) -> Result<()> {
    host.change(invocation, &mut |_| {}).map_err(|error| {
        error.with_hint("fix what it reports and run mtctl prepare again: the rebuild is still due")
    })?;
    set_due(host, false)
}

fn set_due(host: &Host, is_due: bool) -> Result<()> {
    let mut record = record::load(host)?;
    record.initramfs_due = is_due;
    record::store(host, &record)
}
