//! The ring itself: set up, probed, with its file and arenas registered, and entered. What the
//! entries mean and who owns their memory is the device's.
#![expect(unsafe_code, reason = "entries and registered buffers are addresses for the kernel")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::ptr;
use std::thread::{self, ThreadId};
use std::time::Duration;

use io_uring::{IoUring, Probe, opcode, squeue, types};
use nix::errno::Errno;

use crate::device::buffer::Region;

/// So much of each arena is registered, in bytes: what batches of the usual size use. Registering
/// makes the kernel find every page at once, and finding pages that nobody uses takes longer than
/// they would ever save.
const REGISTERED_BYTES: usize = 2 << 20;

/// Entries under way at most: more gains nothing on any disk measured, and 32 cost 9 %.
pub(super) const DEPTH: usize = 64;

/// A ring for one file.
pub(super) struct Ring {
    ring: IoUring,
    file: types::Fd,
    // FIXED_FILE if the file is registered: `file` is then its index.
    flags: squeue::Flags,
    // Registered; the place in the list is the index that the kernel knows it by.
    regions: Vec<Region>,
    // The only thread that the kernel lets enter it; none: any may.
    thread: Option<ThreadId>,
}

/// What became of entering a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entered {
    /// What was queued was taken, or a part of it.
    Done,
    /// Nothing came in time, or a signal did.
    Interrupted,
    /// There is no memory at the moment, or completions must be reaped first.
    Busy,
}

/// What `error` of entering a ring is: one that may be gone the next time, or one that stays.
fn outcome_of(error: io::Error) -> io::Result<Entered> {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EINTR | Errno::ETIME) => Ok(Entered::Interrupted),
        Some(Errno::EAGAIN | Errno::EBUSY) => Ok(Entered::Busy),
        _ => Err(error),
    }
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// From the disk to memory.
    Read,
    /// From memory to the disk.
    Write,
}

/// What one entry asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) direction: Direction,
    pub(super) offset: u64,
    pub(super) address: usize,
    pub(super) length: usize,
    /// The index of the arena, where that is registered.
    pub(super) buffer: Option<u16>,
}

impl Ring {
    /// A ring for `file` with `regions` registered, if the kernel registers them.
    pub(super) fn new(file: &File, regions: &[Region]) -> io::Result<Self> {
        let (ring, thread) = set_up()?;
        probe(&ring)?;
        let descriptor = file.as_raw_fd();
        let (file, flags) = match ring.submitter().register_files(&[descriptor]) {
            Ok(()) => (types::Fd(0), squeue::Flags::FIXED_FILE),
            Err(_) => (types::Fd(descriptor), squeue::Flags::empty()),
        };
        let registered = register(&ring, regions);
        let regions = if registered { regions.to_vec() } else { Vec::new() };
        Ok(Self { ring, file, flags, regions, thread })
    }

    /// Whether the calling thread may enter it.
    pub(super) fn is_of_this_thread(&self) -> bool {
        self.thread.is_none_or(|thread| thread == thread::current().id())
    }

    /// Makes it the calling thread's. Nothing may be under way, and nothing queued.
    pub(super) fn take_over(&mut self, file: &File) -> io::Result<()> {
        if !self.is_of_this_thread() {
            *self = Self::new(file, &self.regions)?;
        }
        Ok(())
    }

    /// Another thread will take it over: it holds the file no longer, as only this thread can do
    /// away with that. Nothing may be under way.
    pub(super) fn let_go(&mut self, file: &File) {
        if self.ring.submitter().unregister_files().is_ok() {
            (self.file, self.flags) = (types::Fd(file.as_raw_fd()), squeue::Flags::empty());
        }
    }

    /// The index of `region` where it is registered, up to byte `end` of it at least.
    pub(super) fn buffer_index(&self, region: Region, end: usize) -> Option<u16> {
        if end > REGISTERED_BYTES {
            return None;
        }
        let index = self.regions.iter().position(|registered| *registered == region)?;
        index.try_into().ok()
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
        let Request { direction, offset, address, length, buffer } = request;
        // The kernel alone follows this address.
        let memory = ptr::without_provenance_mut::<u8>(address);
        // At most TRANSFER_BYTES_MAX, which fits.
        let length = length as u32;
        match (direction, buffer) {
            (Direction::Read, None) => {
                opcode::Read::new(self.file, memory, length).offset(offset).build()
            }
            (Direction::Read, Some(index)) => {
                opcode::ReadFixed::new(self.file, memory, length, index).offset(offset).build()
            }
            (Direction::Write, None) => {
                opcode::Write::new(self.file, memory, length).offset(offset).build()
            }
            (Direction::Write, Some(index)) => {
                opcode::WriteFixed::new(self.file, memory, length, index).offset(offset).build()
            }
        }
    }

    /// How many entries are queued that the kernel has not seen.
    pub(super) fn queued(&mut self) -> usize {
        self.ring.submission().len()
    }

    /// Submits what is queued and waits for `completions`, but not longer than `step` where the
    /// kernel (from 5.11 on) can end that. May come back earlier, or with entries left in the
    /// queue, without an error: whoever needs more asks again, if it may still have patience.
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

    /// The next completion that is there: its slot, and bytes done or -errno.
    pub(super) fn next_completion(&mut self) -> Option<(usize, i32)> {
        let completion = self.ring.completion().next()?;
        Some((completion.user_data() as usize, completion.result()))
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // The kernel takes a ring apart some time later; until then it would hold the file, and a
        // disk could not be opened with O_EXCL again. In another thread than its own this is
        // refused, and the disk stays busy for some milliseconds, as it does after a kill.
        let _ = self.ring.submitter().unregister_files();
    }
}

/// A ring that does its own work when its one thread enters it, which is worth 8 % with small
/// writes; a plain one where the kernel (before 6.1) does not know that.
fn set_up() -> io::Result<(IoUring, Option<ThreadId>)> {
    let entries = DEPTH as u32;
    let mut builder = IoUring::builder();
    builder.dontfork().setup_submit_all().setup_single_issuer().setup_defer_taskrun();
    // Without it, who only looks whether something is done would never find that it is.
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
    let needed = [
        opcode::Read::CODE,
        opcode::Write::CODE,
        opcode::ReadFixed::CODE,
        opcode::WriteFixed::CODE,
    ];
    if needed.iter().all(|&code| probe.is_supported(code)) {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::Unsupported, "io_uring of this kernel cannot read and write"))
}

/// Whether all of `regions` are registered; where not, everything works without.
fn register(ring: &IoUring, regions: &[Region]) -> bool {
    let buffers: Vec<libc::iovec> = regions
        .iter()
        .map(|region| libc::iovec {
            iov_base: ptr::without_provenance_mut(region.address),
            iov_len: region.length.min(REGISTERED_BYTES),
        })
        .collect();
    // SAFETY: the kernel takes hold of the pages themselves. An arena that is unmapped meanwhile
    // leaves them to the ring alone; what is mapped there later is another region.
    let registered = unsafe { ring.submitter().register_buffers(&buffers) };
    !regions.is_empty() && registered.is_ok()
}

#[cfg(test)]
mod tests;
