//! Waits for one child and returns its resource usage: std does not report that, and the rusage of
//! all children does not say which of them used the most memory.
#![expect(unsafe_code, reason = "wait4(2) has no safe wrapper, here or in nix")]

use std::io;
use std::process::Child;

/// How a child ended, and what it used.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub(crate) success: bool,
    /// User and system time of the child and of the children it waited for, in seconds.
    pub(crate) processor_seconds: f64,
    /// The largest resident set, in KiB.
    pub(crate) peak_kib: u64,
}

/// Waits for `child` and reaps it: nothing else may wait for it.
///
/// # Errors
///
/// The error of wait4(2).
pub(crate) fn wait(child: &Child) -> io::Result<Ended> {
    let process = libc::pid_t::try_from(child.id()).map_err(io::Error::other)?;
    let mut status = 0;
    // SAFETY: a plain structure of integers, for which all zeros is a valid value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: both pointers point to live variables of the right types.
        let waited = unsafe { libc::wait4(process, &raw mut status, 0, &raw mut usage) };
        if waited == process {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    Ok(Ended {
        success: libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0,
        processor_seconds: seconds(usage.ru_utime) + seconds(usage.ru_stime),
        peak_kib: u64::try_from(usage.ru_maxrss).unwrap_or(0),
    })
}

fn seconds(time: libc::timeval) -> f64 {
    time.tv_sec as f64 + time.tv_usec as f64 / 1e6
}
