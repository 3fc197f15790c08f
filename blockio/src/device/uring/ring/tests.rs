//! What a ring holds of its file and its memory, and which refusals of the kernel are tolerated.

use std::io::Read;
use std::os::fd::OwnedFd;

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::*;

impl Ring {
    /// Whether it has its file registered.
    pub(in crate::device::uring) fn holds_its_file(&self) -> bool {
        !self.flags.is_empty()
    }
}

/// Reads one sector of `file` through `ring` into `arena`.
fn read(ring: &mut Ring, arena: &mut [u8]) -> i32 {
    let address = arena.as_mut_ptr().addr();
    let action = Action::Read;
    let request = Request { action, offset: 0, address, length: arena.len() };
    // SAFETY: the arena is borrowed until the completion, for which we wait.
    unsafe { ring.push(3, request) };
    assert_eq!(ring.queued(), 1);
    loop {
        ring.enter(1, Duration::from_secs(1)).unwrap();
        if let Some((slot, result)) = ring.next_completion() {
            assert_eq!((slot, ring.queued()), (3, 0));
            return result;
        }
    }
}

#[test]
fn a_ring_that_let_its_file_go_works_on_without_holding_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    std::fs::write(&path, [7; 512]).unwrap();
    let file = File::open(&path).unwrap();
    let mut ring = Ring::new(&file).unwrap();
    assert!(ring.holds_its_file());
    ring.let_go(&file);
    assert!(!ring.holds_its_file());
    let mut bytes = [0; 512];
    assert_eq!(read(&mut ring, &mut bytes), 512);
    assert_eq!(bytes, [7; 512]);
}

#[test]
fn a_dropped_ring_holds_its_file_no_longer() {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let file = File::from(OwnedFd::from(writer));
    let ring = Ring::new(&file).unwrap();
    drop((ring, file));
    // The read would fail with EAGAIN if anything still held the other end.
    fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    assert_eq!(reader.read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn what_may_be_gone_the_next_time_is_no_error() {
    let outcome = |errno: Errno| outcome_of(io::Error::from_raw_os_error(errno as i32));
    for errno in [Errno::EINTR, Errno::ETIME] {
        assert_eq!(outcome(errno).unwrap(), Entered::Interrupted);
    }
    for errno in [Errno::EAGAIN, Errno::EBUSY] {
        assert_eq!(outcome(errno).unwrap(), Entered::Busy);
    }
    for errno in [Errno::EBADF, Errno::EINVAL, Errno::EFAULT, Errno::EEXIST] {
        assert_eq!(outcome(errno).unwrap_err().raw_os_error(), Some(errno as i32));
    }
}
