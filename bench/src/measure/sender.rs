//! Sends a file to a command through a socket or a pipe, as fast as the command reads, and measures
//! what that costs: the sender's end is not the command's.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use nix::fcntl::OFlag;

/// Our end of a connection, and what is to be sent into it.
#[derive(Debug)]
pub(super) struct Sender {
    file: File,
    /// A socket or the end of a pipe.
    to: File,
}

impl Sender {
    /// A sender of the file at `path` into a Unix socket, and the other end of that.
    pub(super) fn by_socket(path: &Path) -> Result<(Self, Stdio)> {
        let (ours, theirs) = UnixStream::pair().context("making a pair of sockets")?;
        let to = File::from(OwnedFd::from(ours));
        Ok((Self { file: open(path)?, to }, Stdio::from(OwnedFd::from(theirs))))
    }

    /// The same with a pipe, of the size that pipes have.
    pub(super) fn by_pipe(path: &Path) -> Result<(Self, Stdio)> {
        let (theirs, ours) = nix::unistd::pipe2(OFlag::O_CLOEXEC).context("making a pipe")?;
        Ok((Self { file: open(path)?, to: File::from(ours) }, Stdio::from(theirs)))
    }

    /// Starts to send in a thread, which returns the processor time that it took, in seconds.
    pub(super) fn start(mut self) -> Result<JoinHandle<f64>> {
        let send = move || {
            // The kernel copies (sendfile), without a buffer of ours. It fails if the command stops
            // reading, and then the command has failed as well.
            let _ = io::copy(&mut self.file, &mut self.to);
            spent().unwrap_or(0.0)
        };
        let thread = thread::Builder::new().name("sender".to_owned());
        thread.spawn(send).context("starting the thread that sends")
    }
}

pub(super) fn open(path: &Path) -> Result<File> {
    File::open(path).with_context(|| format!("opening {}", path.display()))
}

/// The processor time of this thread so far, in seconds.
fn spent() -> Option<f64> {
    let times = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(times.split_whitespace().next()?.parse::<f64>().ok()? / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_is_busy_has_spent_more_than_before() {
        let before = spent().unwrap();
        let mut sum = 0_u64;
        while spent().unwrap() <= before {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(before >= 0.0);
    }
}
