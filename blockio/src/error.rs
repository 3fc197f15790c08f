//! The one error of this crate: what kind of failure, what was being done, why, and what to do now.
//! Exit codes are not here: the command maps [`ErrorKind`] to them.

use std::error::Error as StdError;
use std::{fmt, io};

/// What every fallible function of this crate returns, unless it has an error of its own to match.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The kinds a caller can act on; small and stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Something was tried and did not work: a device, a file, the network.
    Failed,
    /// The request cannot be acted on; nothing was touched.
    Usage,
    /// A guard said no; nothing was touched.
    Refused,
    /// Bytes are not what their format says they are, or not in their order.
    Integrity,
}

/// An error: kind, context (a gerund phrase naming the object), the cause, and a hint.
///
/// `Display` prints the context only; the cause is reached through `source()`, so that a reporter
/// that prints the chain says nothing twice.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    context: String,
    hint: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error without a deeper cause. `context` is lower case and names the object.
    pub fn new(kind: ErrorKind, context: impl Into<String>) -> Self {
        Self { kind, context: context.into(), hint: None, source: None }
    }

    /// An error of kind [`ErrorKind::Failed`] with the cause that was reported.
    pub fn failed(
        context: impl Into<String>,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self::new(ErrorKind::Failed, context).caused_by(source)
    }

    /// An error of kind [`ErrorKind::Refused`]: a guard said no.
    pub fn refused(context: impl Into<String>) -> Self {
        Self::new(ErrorKind::Refused, context)
    }

    /// An error of kind [`ErrorKind::Integrity`] with what is wrong with the bytes.
    pub fn integrity(
        context: impl Into<String>,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self::new(ErrorKind::Integrity, context).caused_by(source)
    }

    /// The same error with its cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same error with one line that says what to do now.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Context and causes on one line, as a reporter prints them.
    pub fn chain(&self) -> String {
        let mut text = self.context.clone();
        let mut cause = StdError::source(self);
        while let Some(one) = cause {
            text.push_str(&format!(": {one}"));
            cause = one.source();
        }
        text
    }

    /// What a caller can match on.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What to do now, if there is something.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.context)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

/// What to do after `error`, if it is for want of open files: many segments are open at once.
pub(crate) fn more_open_files(error: &io::Error) -> Option<&'static str> {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
        .then_some("allow more open files, with: ulimit -n 65536")
}
