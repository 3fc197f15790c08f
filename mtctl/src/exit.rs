//! Exit codes: the contract with scripts. How an error becomes one is in `report`.

use std::process::ExitCode;

/// What a run of mtctl came to.
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
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::NotReady => 3,
            Exit::Refused => 4,
            Exit::Integrity => 5,
        })
    }
}
