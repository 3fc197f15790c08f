//! One finding about a host or a virtual machine: its status, and what to do about it. The
//! requirements themselves are elsewhere (`check`, `vmware`).

use serde::Serialize;

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As required.
    Pass,
    /// Does not apply, or could not be checked.
    Skip,
    /// Works, but worse than it could.
    Warn,
    /// The host or virtual machine is not ready because of it.
    Fail,
}

impl Status {
    /// The status as a word, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Skip => "skip",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// One requirement, and whether the subject meets it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The requirement's name; stable.
    pub id: &'static str,
    /// Whether it is met.
    pub status: Status,
    /// What was looked at: a disk, a slot, a key, a file, the machine.
    pub subject: String,
    /// What was found.
    pub message: String,
    /// A command that can be copied and run to fix it; empty if there is nothing to fix.
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
