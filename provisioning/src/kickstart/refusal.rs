//! How an answer is refused, in one form for every option. What is right or wrong is decided
//! elsewhere.

use system::error::{Error, ErrorKind};

/// A usage error naming the option, the value (escaped), and why it cannot be used.
pub(super) fn of(option: &str, value: &str, why: impl Into<String>) -> Error {
    Error::new(ErrorKind::Usage, format!("reading {option} {value:?}")).caused_by(why.into())
}

/// The same for a value that must not be shown, so that a password typed by mistake stays out of
/// logs.
pub(super) fn of_secret(option: &str, why: impl Into<String>) -> Error {
    Error::new(ErrorKind::Usage, format!("reading {option}")).caused_by(why.into())
}
