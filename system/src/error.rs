//! The one error of all crates: what kind of failure, what was being done, why, and what to do now.
//! Exit codes are not here: the command maps [`ErrorKind`] to them.

use std::any::Any;
use std::error::Error as StdError;
use std::{fmt, io};

/// The result of every fallible function, unless it has an error of its own to match on.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The kinds a caller can act on; few and stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Something was tried and did not work: a device, a file, a command, the network.
    Failed,
    /// The request or the configuration cannot be acted on; nothing was touched.
    Usage,
    /// The host does not meet a requirement, and this program cannot make it so.
    NotReady,
    /// A guard refused; nothing was touched.
    Refused,
    /// Bytes are not what their format says they are, or not in their order.
    Integrity,
}

/// What to do now: a text, or a value of the library that failed, which the command puts into
/// words.
#[derive(Debug)]
enum Remedy {
    Text(String),
    Typed(Box<dyn Any + Send + Sync>),
}

/// An error: kind, context (a gerund phrase naming the object), the cause, and what to do now.
///
/// `Display` prints the context only. The cause is available through `source()`, so a reporter that
/// prints the chain repeats nothing.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    context: String,
    remedy: Option<Remedy>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error without a deeper cause. `context` is lower case and names the object.
    pub fn new(kind: ErrorKind, context: impl Into<String>) -> Self {
        Self { kind, context: context.into(), remedy: None, source: None }
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

    /// Changes the kind, for a caller whose contract differs.
    #[must_use]
    pub fn of_kind(mut self, kind: ErrorKind) -> Self {
        self.kind = kind;
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Adds a hint: one line that says what to do now.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.remedy = Some(Remedy::Text(hint.into()));
        self
    }

    /// Adds what to do now as a value: a library that does not know the verbs and options of the
    /// command leaves the words to it. It takes the place of a hint.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Any + Send + Sync) -> Self {
        self.remedy = Some(Remedy::Typed(Box::new(remedy)));
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

    /// What to do now, if that is a text.
    pub fn hint(&self) -> Option<&str> {
        match &self.remedy {
            Some(Remedy::Text(hint)) => Some(hint),
            Some(Remedy::Typed(_)) | None => None,
        }
    }

    /// What to do now, if that is a value of type `R`.
    pub fn remedy<R: Any>(&self) -> Option<&R> {
        match &self.remedy {
            Some(Remedy::Typed(remedy)) => remedy.downcast_ref(),
            Some(Remedy::Text(_)) | None => None,
        }
    }

    /// Whether there is anything to do, in either form.
    pub fn has_remedy(&self) -> bool {
        self.remedy.is_some()
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

/// What to do after `error`, if there are too few open files.
#[must_use]
pub fn more_open_files(error: &io::Error) -> Option<&'static str> {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
        .then_some("allow more open files, with: ulimit -n 65536")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_prints_the_context_and_leaves_the_cause_to_the_chain() {
        let cause = std::io::Error::from_raw_os_error(5);
        let error = Error::failed("reading /dev/sdb", cause).with_hint("look at dmesg");
        assert_eq!(error.to_string(), "reading /dev/sdb");
        assert!(error.source().is_some_and(|source| source.to_string().contains("os error 5")));
        assert_eq!(error.hint(), Some("look at dmesg"));
    }

    #[test]
    fn a_remedy_is_a_text_or_a_value_of_one_type() {
        let error = Error::refused("opening /dev/sdb").with_hint("name another").with_remedy(7_u8);
        assert_eq!((error.hint(), error.remedy()), (None, Some(&7_u8)));
        assert_eq!(error.remedy::<u16>(), None);
        assert!(error.has_remedy());
    }
}
