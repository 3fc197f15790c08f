//! How a verb on disks is stopped: between two pieces of work, and without waiting long for a disk
//! that does not answer.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use system::{Result, signals};

/// The flag that a signal sets (see [`signals::stop_flag`]).
///
/// # Errors
///
/// As [`signals::stop_flag`].
pub(crate) fn flag() -> Result<Arc<AtomicBool>> {
    // The flag first: a request between the two stops the verb, and only waits longer.
    let stop = signals::stop_flag()?;
    signals::set_on_stop(&blockio::patience::ending())?;
    Ok(stop)
}
