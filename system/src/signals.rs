//! Signals as values: a request to stop is a flag that work looks at, and writing beyond the
//! permitted length of a file is an error.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};

use crate::{Error, Result};

/// A flag that is set when the process is asked to stop: by Ctrl-C, a service manager, or the end
/// of the session. From then on, these signals do nothing else.
///
/// # Errors
///
/// [`crate::ErrorKind::Failed`] if the signals cannot be handled.
pub fn stop_flag() -> Result<Arc<AtomicBool>> {
    let flag = Arc::default();
    set_on_stop(&flag)?;
    Ok(flag)
}

/// Sets `flag` in the same way.
///
/// # Errors
///
/// [`crate::ErrorKind::Failed`] if the signals cannot be handled.
pub fn set_on_stop(flag: &Arc<AtomicBool>) -> Result<()> {
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(flag))
            .map_err(|cause| Error::failed("handling signals", cause))?;
    }
    Ok(())
}

/// Like [`stop_flag`], for a process whose work may hang: a second request ends it at once, with
/// exit code 1.
///
/// # Errors
///
/// [`crate::ErrorKind::Failed`] if the signals cannot be handled.
pub fn stop_flag_then_exit() -> Result<Arc<AtomicBool>> {
    let flag = Arc::default();
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // Registered first, and so asked first: the flag is not yet set by this request.
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&flag))
            .map_err(|cause| Error::failed("handling signals", cause))?;
    }
    set_on_stop(&flag)?;
    Ok(flag)
}

/// Makes a write beyond the permitted length of a file fail (`EFBIG`) instead of ending the
/// process. If that is not possible, the limit works as usual.
pub fn survive_file_length_limit() {
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::default());
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    /// Set for the process in which the test below asks itself to stop.
    const IS_ASKED: &str = "MTCTL_TEST_IS_ASKED_TO_STOP";

    #[test]
    fn a_second_request_ends_a_process_whose_work_may_hang_and_the_first_does_not() {
        use nix::sys::signal::{Signal, raise};
        if std::env::var_os(IS_ASKED).is_some() {
            let flag = stop_flag_then_exit().unwrap();
            raise(Signal::SIGTERM).unwrap();
            assert!(flag.load(Ordering::Relaxed));
            println!("the first request came");
            raise(Signal::SIGINT).unwrap();
            std::process::exit(0);
        }
        let name = "a_second_request_ends_a_process_whose_work_may_hang_and_the_first_does_not";
        let mut again = std::process::Command::new(std::env::current_exe().unwrap());
        let output = again.args(["--nocapture", name]).env(IS_ASKED, "1").output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(told.contains("the first request came"), "{told}");
        assert_eq!(output.status.code(), Some(1), "{told}");
    }

    #[test]
    fn a_request_to_stop_sets_every_flag_and_ends_nothing() {
        let (one, other) = (stop_flag().unwrap(), Arc::default());
        set_on_stop(&other).unwrap();
        assert!(!one.load(Ordering::Relaxed));
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGHUP).unwrap();
        assert!(one.load(Ordering::Relaxed) && other.load(Ordering::Relaxed));
    }
}
