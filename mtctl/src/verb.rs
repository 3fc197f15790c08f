//! The verbs, one file each: arguments (what was typed) and `run` (call the library, print).

pub(crate) mod apply;
pub(crate) mod check;
pub(crate) mod commit;
pub(crate) mod demo;
pub(crate) mod digest;
pub(crate) mod disks;
pub(crate) mod export;
pub(crate) mod group;
pub(crate) mod journal;
pub(crate) mod kickstart;
pub(crate) mod points;
pub(crate) mod prepare;
pub(crate) mod recover;
pub(crate) mod rollback;
pub(crate) mod stream;
pub(crate) mod verify;
pub(crate) mod vmx;

/// The ways to be told to stop: Ctrl-C, a service manager, a session that is gone.
pub(crate) const STOP_SIGNALS: [i32; 3] =
    [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP];
