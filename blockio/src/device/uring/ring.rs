//! The ring itself: set up, probed, with its file registered, and entered. The meaning
//! of entries and the ownership of their memory belong to the device.
#![expect(unsafe_code, reason = "entries are addresses for the kernel")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr;
use std::thread::{self, ThreadId};
use std::time::Duration;

use io_uring::{IoUring, Probe, opcode, squeue, types};
use nix::errno::Errno;
use nix::fcntl::FallocateFlags;

/// The most entries under way. With 64, writes of 4 KiB take a seventh longer, because a disk runs
/// dry while the next batch is read. Many disks have 128 places for all who use them, and a ring
/// that fills them makes the kernel do entries in threads.
pub(super) const DEPTH: usize = 96;

/// A ring for one file.
pub(super) struct Ring {
    ring: IoUring,
    file: types::Fd,
    // FIXED_FILE if the file is registered: `file` is then its index.
    flags: squeue::Flags,
    // The only thread that the kernel lets enter it; `None` if any may.
    thread: Option<ThreadId>,
}

/// The result of entering a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entered {
    /// The queued entries were taken, or some of them.
    Done,
    /// No completion arrived in time, or a signal did.
    Interrupted,
    /// There is no memory at the moment, or completions must be reaped first.
    Busy,
}

/// Classifies `error` of entering a ring: it may be gone the next time, or it stays.
fn outcome_of(error: io::Error) -> io::Result<Entered> {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EINTR | Errno::ETIME) => Ok(Entered::Interrupted),
        Some(Errno::EAGAIN | Errno::EBUSY) => Ok(Entered::Busy),
        _ => Err(error),
    }
}

/// What an entry asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// From the disk to memory.
    Read,
    /// From memory to the disk.
    Write,
    /// fallocate(2) with this mode: no memory is used.
    Allocate(FallocateFlags),
}

/// The request of one entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) action: Action,
    pub(super) offset: u64,
    pub(super) address: usize,
    pub(super) length: usize,
}

impl Ring {
    /// A ring for `file`. Memory is not registered: the kernel would look up every page of it
    /// immediately, and what that saves later could not be measured.
    pub(super) fn new(file: &File) -> io::Result<Self> {
        let (ring, thread) = set_up()?;
        probe(&ring)?;
        let descriptor = file.as_raw_fd();
        let (file, flags) = match ring.submitter().register_files(&[descriptor]) {
            Ok(()) => (types::Fd(0), squeue::Flags::FIXED_FILE),
            Err(_) => (types::Fd(descriptor), squeue::Flags::empty()),
        };
        Ok(Self { ring, file, flags, thread })
    }

    /// Whether the calling thread may enter it.
    pub(super) fn is_of_this_thread(&self) -> bool {
        self.thread.is_none_or(|thread| thread == thread::current().id())
    }

    /// Hands it to the calling thread. Nothing may be under way, and nothing queued.
    pub(super) fn take_over(&mut self, file: &File) -> io::Result<()> {
        if !self.is_of_this_thread() {
            *self = Self::new(file)?;
        }
        Ok(())
    }

    /// Prepares for another thread to take it over: unregisters the file, which only this thread
    /// can do. Nothing may be under way.
    pub(super) fn let_go(&mut self, file: &File) {
        if self.ring.submitter().unregister_files().is_ok() {
            (self.file, self.flags) = (types::Fd(file.as_raw_fd()), squeue::Flags::empty());
        }
    }

    /// Queues `request`; its completion will name `slot`.
    ///
    /// # Safety
    ///
    /// The memory of `request` stays mapped, and nobody else writes to it (nor reads it, where it
    /// is read into), until that completion.
    pub(super) unsafe fn push(&mut self, slot: usize, request: Request) {
        let entry = self.entry(request).flags(self.flags).user_data(slot as u64);
        // SAFETY: the memory is as our caller promises; the descriptor is registered, or belongs to
        // the device that has this ring.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        pushed.expect("invariant: the queue has an entry for each slot");
    }

    fn entry(&self, request: Request) -> squeue::Entry {
        let Request { action, offset, address, length } = request;
        // Only the kernel follows this address.
        let memory = ptr::without_provenance_mut::<u8>(address);
        // Of a transfer it is at most TRANSFER_BYTES_MAX, which fits.
        let (bytes, file) = (length as u32, self.file);
        match action {
            Action::Read => opcode::Read::new(file, memory, bytes).offset(offset).build(),
            Action::Write => opcode::Write::new(file, memory, bytes).offset(offset).build(),
            Action::Allocate(mode) => {
                let entry = opcode::Fallocate::new(file, length as u64);
                entry.offset(offset).mode(mode.bits()).build()
            }
        }
    }

    /// How many queued entries the kernel has not seen.
    pub(super) fn queued(&mut self) -> usize {
        self.ring.submission().len()
    }

    /// Submits the queued entries and waits for `completions`, but at most `step` if the kernel
    /// supports a timeout (5.11). May return earlier, or with entries left in the queue, without an
    /// error: a caller that needs more asks again, as long as its patience allows.
    pub(super) fn enter(&self, completions: usize, step: Duration) -> io::Result<Entered> {
        let submitter = self.ring.submitter();
        let step = types::Timespec::from(step);
        let entered = match completions > 0 && self.ring.params().is_feature_ext_arg() {
            true => {
                let until = types::SubmitArgs::new().timespec(&step);
                submitter.submit_with_args(completions, &until)
            }
            false => submitter.submit_and_wait(completions),
        };
        match entered {
            Ok(_) => Ok(Entered::Done),
            Err(error) => outcome_of(error),
        }
    }

    /// The next completion that has arrived: its slot, and bytes done or -errno.
    pub(super) fn next_completion(&mut self) -> Option<(usize, i32)> {
        let completion = self.ring.completion().next()?;
        Some((completion.user_data() as usize, completion.result()))
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // The kernel tears a ring down some time later; until then the ring would hold the file,
        // and a disk could not be opened with O_EXCL again. In another thread than the ring's own
        // this is refused, and the disk stays busy for some milliseconds, as after a kill.
        let _ = self.ring.submitter().unregister_files();
    }
}

/// A ring that does its own work when its one thread enters it, which gains 8 % with small writes;
/// a plain one if the kernel (before 6.1) does not support that.
fn set_up() -> io::Result<(IoUring, Option<ThreadId>)> {
    let entries = DEPTH as u32;
    let mut builder = IoUring::builder();
    builder.dontfork().setup_submit_all().setup_single_issuer().setup_defer_taskrun();
    // Without it, a caller that only checks whether something is done would never see that it is.
    builder.setup_taskrun_flag();
    match builder.build(entries) {
        Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => {
            Ok((IoUring::builder().dontfork().build(entries)?, None))
        }
        made => Ok((made?, Some(thread::current().id()))),
    }
}

fn probe(ring: &IoUring) -> io::Result<()> {
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe)?;
    // All of them came with Linux 5.6.
    let needed = [opcode::Read::CODE, opcode::Write::CODE, opcode::Fallocate::CODE];
    if needed.iter().all(|&code| probe.is_supported(code)) {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "this kernel's io_uring cannot read, write and clear",
    ))
}

#[cfg(test)]
mod tests;
