//! One finding about a host or a virtual machine: how it stands, and what to do about it. Which
//! requirements there are is not here (`check`, `vmware`).

use serde::Serialize;

/// How a finding is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As it has to be.
    Pass,
    /// Does not apply, or could not be looked at.
    Skip,
    /// Works, but worse than it could.
    Warn,
    /// What was looked at is not ready because of it.
    Fail,
}

impl Status {
    /// The word for it, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Skip => "skip",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// One requirement and how what was looked at stands to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which requirement; stable.
    pub id: &'static str,
    /// How it stands.
    pub status: Status,
    /// What was looked at: a disk, a slot, a key, a file, the machine.
    pub subject: String,
    /// What was found.
    pub message: String,
    /// What can be copied and run to mend it; empty when there is nothing to mend.
    pub hint: String,
}

impl Finding {
    pub(crate) fn new(
        id: &'static str,
        status: Status,
        subject: &str,
        message: impl Into<String>,
    ) -> Self {
        let (subject, message) = (subject.to_owned(), message.into());
        Self { id, status, subject, message, hint: String::new() }
    }

    pub(crate) fn pass(id: &'static str, subject: &str, message: impl Into<String>) -> Self {
        Self::new(id, Status::Pass, subject, message)
    }

    pub(crate) fn skip(id: &'static str, subject: &str, message: impl Into<String>) -> Self {
        Self::new(id, Status::Skip, subject, message)
    }

    pub(crate) fn warn(id: &'static str, subject: &str, message: impl Into<String>) -> Self {
        Self::new(id, Status::Warn, subject, message)
    }

    pub(crate) fn fail(id: &'static str, subject: &str, message: impl Into<String>) -> Self {
        Self::new(id, Status::Fail, subject, message)
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }
}
