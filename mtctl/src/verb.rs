//! The verbs, one file each: arguments (what was typed) and `run` (calls the library and prints).

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

/// The signals that mean stop: Ctrl-C, a service manager, a closed session.
pub(crate) const STOP_SIGNALS: [i32; 3] =
    [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP];

/// A flag that these signals set. After that, a disk that does not answer is not waited for long.
///
/// # Errors
///
/// The signal handlers cannot be installed.
pub(crate) fn stop_flag() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in STOP_SIGNALS {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
        signal_hook::flag::register(signal, blockio::patience::ending())?;
    }
    Ok(stop)
}
