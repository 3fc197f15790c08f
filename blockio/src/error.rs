//! The single error type of this crate: what kind of failure, what was being done, why, and what to
//! do now. Exit codes are not here: the command maps [`ErrorKind`] to them.

use std::error::Error as StdError;
use std::{fmt, io};

/// The result of every fallible function of this crate, unless it has its own error type to match
/// on.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The kinds a caller can act on; small and stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// An operation was attempted and did not work: on a device, a file, the network.
    Failed,
    /// The request cannot be acted on; nothing was touched.
    Usage,
    /// A guard refused; nothing was touched.
    Refused,
    /// Bytes are not what their format requires, or not in the required order.
    Integrity,
}

/// An error: kind, context (a gerund phrase naming the object), the cause, and a hint.
///
/// `Display` prints the context only; the cause is reached through `source()`, so that a reporter
/// that prints the chain repeats nothing.
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

    /// An error of kind [`ErrorKind::Refused`]: a guard refused.
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

    /// The same error with a one-line hint on what to do now.
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

    /// The kind, for callers to match on.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What to do now, if anything.
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

/// The hint for `error` if it is due to a lack of file descriptors: many segments are open
/// simultaneously.
pub(crate) fn more_open_files(error: &io::Error) -> Option<&'static str> {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
        .then_some("allow more open files, with: ulimit -n 65536")
}
