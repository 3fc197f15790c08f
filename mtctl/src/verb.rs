//! The verbs, one file each: arguments (what was typed) and `run` (call the library, print).

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

pub(crate) mod apply;
pub(crate) mod check;
pub(crate) mod commit;
pub(crate) mod demo;
pub(crate) mod digest;
pub(crate) mod disks;
pub(crate) mod export;
pub(crate) mod group;
pub(crate) mod history;
pub(crate) mod journal;
pub(crate) mod kickstart;
pub(crate) mod points;
pub(crate) mod prepare;
pub(crate) mod recover;
pub(crate) mod restore;
pub(crate) mod rollback;
pub(crate) mod stream;
pub(crate) mod verify;
pub(crate) mod vmx;

/// The ways to be told to stop: Ctrl-C, a service manager, a session that is gone.
pub(crate) const STOP_SIGNALS: [i32; 3] =
    [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP];

/// A flag that those ways set. From then on a disk that does not answer is not waited for long.
///
/// # Errors
///
/// The signals cannot be had.
pub(crate) fn stop_flag() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in STOP_SIGNALS {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
        signal_hook::flag::register(signal, blockio::patience::ending())?;
    }
    Ok(stop)
}
