//! Exit codes: the contract with scripts. `report` maps errors to them.

use std::process::ExitCode;

/// The outcome of a run of mtctl.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: done, or nothing to do.
    Done,
    /// 1: something was tried and failed.
    Failed,
    /// 2: usage or configuration; nothing was touched.
    Usage,
    /// 3: drift, or not ready.
    NotReady,
    /// 4: refused by a guard; nothing was touched.
    Refused,
    /// 5: checksum, order or journal.
    Integrity,
    /// 6: the subject of the request has an alarm.
    Alarm,
    /// The exit code of a command that was run for the operator (`export --run`), not one of ours.
    OfCommand(u8),
}

impl Exit {
    /// The code that the shell sees.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotReady => 3,
            Self::Refused => 4,
            Self::Integrity => 5,
            Self::Alarm => 6,
            Self::OfCommand(code) => code,
        }
    }

    /// The name of the kind in JSON errors.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::NotReady => "not-ready",
            Self::Refused => "refused",
            Self::Integrity => "integrity",
            Self::Alarm => "alarm",
            Self::OfCommand(_) => "command",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
