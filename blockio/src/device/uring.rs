//! The engine with a queue: io_uring, with up to 96 operations under way. Order is the caller's:
//! the ring's own means of ordering entries (links, drains, its fsync) are not used.
//!
//! A transfer under way owns its memory, and only its completion gives that back: not an error, not
//! a drop.
#![expect(unsafe_code, reason = "transfers are addresses for the kernel")]

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::device::buffer::Arena;
use crate::device::clear::{self, Way};
use crate::device::disk_file::{DiskFile, Parts, PartsToClear, extent_of};
use crate::device::{
    Attempt, BlockDevice, DeviceError, Flushed, Flushing, Geometry, ReadBatch, Reading, Settled,
    Transfer, WriteBatch,
};
use crate::extent::Extent;
use crate::patience::{Limits, Patience, STEP};

mod clearing;
mod flushing;
mod operation;
mod ring;

use clearing::{Clears, WAITING_MAX};
use flushing::FlushUnderWay;
use operation::{Operation, Owner, outcome};
use ring::{DEPTH, Entered, Ring};

/// How many completions to wait for when the queue is full, so that as many entries can be
/// submitted in one call.
const REAP: usize = 4;
/// The most completions to wait for when only memory is wanted: being woken up for each one costs
/// more than it gains, and half of the queue keeps a disk busy meanwhile.
const REAP_MAX: usize = 16;
/// How many entries are queued before the kernel is entered: each call costs, and a disk that waits
/// for the whole queue to fill costs more.
const SUBMIT: usize = 16;
/// How long to pause when the kernel is short of memory.
const BUSY_PAUSE: Duration = Duration::from_millis(1);

/// A disk or an image file.
pub struct UringDevice {
    ring: Ring,
    disk: DiskFile,
    // One for each entry that the kernel may have; `free` has the unused indices.
    slots: Vec<Option<Operation>>,
    free: Vec<usize>,
    // Batches being read, oldest first.
    reading: VecDeque<BatchUnderWay>,
    next_batch: u64,
    // Writes and clears are numbered in the order in which they begin, so that a flush knows its
    // own.
    next_write: u64,
    clears: Clears,
    flushing: Option<FlushUnderWay>,
    first_failure: Option<DeviceError>,
    limits: Limits,
    // Set while there is no progress.
    patience: Option<Patience>,
}

/// A batch being read.
struct BatchUnderWay {
    number: u64,
    // Written by the kernel until `left` is zero.
    arena: Arena,
    left: usize,
    first_failed: Option<DeviceError>,
}

impl UringDevice {
    /// A device of `file`, which is open for reading and writing and has `geometry`.
    ///
    /// # Errors
    ///
    /// The kernel's error when setting up a ring (EPERM and ENOSYS: it is refused to us), or when
    /// opening `file` a second time, which an image that is not whole sectors needs.
    pub fn new(file: File, geometry: Geometry) -> io::Result<Self> {
        Ok(Self {
            ring: Ring::new(&file)?,
            disk: DiskFile::new(file, geometry)?,
            slots: (0..DEPTH).map(|_| None).collect(),
            free: (0..DEPTH).collect(),
            reading: VecDeque::new(),
            next_batch: 0,
            next_write: 0,
            clears: Clears::default(),
            flushing: None,
            first_failure: None,
            limits: Limits::USUAL,
            patience: None,
        })
    }

    fn under_way(&self) -> usize {
        DEPTH - self.free.len()
    }

    /// Begins an operation; waits for a slot if none is free.
    fn begin(&mut self, mut operation: Operation) -> io::Result<()> {
        if self.under_way() == 0 {
            self.ring.take_over(self.disk.file())?;
        }
        let slot = loop {
            if let Some(slot) = self.free.pop() {
                break slot;
            }
            self.wait(REAP)?;
        };
        match &mut operation.owner {
            Owner::Write(..) => {}
            Owner::Read(number) => {
                let number = *number;
                self.reading_of(number).left += 1;
            }
            Owner::Clear { .. } => self.clears.begin(&mut operation),
        }
        self.put(slot, operation);
        // The disk works on these while the next ones are pushed.
        if self.ring.queued() >= SUBMIT { self.wait(0) } else { Ok(()) }
    }

    /// Puts `operation` into its slot, and asks the kernel for it, or for what is left of it.
    fn put(&mut self, slot: usize, operation: Operation) {
        let request = operation.request();
        self.slots[slot] = Some(operation);
        // SAFETY: the operation is in its slot, and with it (or in `reading`, or `clears`) the
        // arena that its address and length were checked against, until `complete` takes it out.
        unsafe { self.ring.push(slot, request) };
    }

    /// Submits everything queued.
    fn submit(&mut self) -> io::Result<()> {
        while self.ring.queued() > 0 {
            self.wait(0)?;
        }
        Ok(())
    }

    /// Submits, waits for about `completions` completions, and reaps all that have arrived. May
    /// return with fewer; but a caller that keeps asking without any progress gets an error in the
    /// end.
    fn wait(&mut self, completions: usize) -> io::Result<()> {
        if !self.ring.is_of_this_thread() {
            let message = "the disk was handed to another thread while transfers were under way";
            return Err(io::Error::other(message));
        }
        let queued = self.ring.queued();
        let entered = self.ring.enter(completions, STEP.min(self.limits.longest))?;
        let mut gets_on = self.ring.queued() < queued;
        while let Some((slot, result)) = self.ring.next_completion() {
            gets_on |= self.complete(slot, result);
        }
        let is_waiting = completions > 0 || self.ring.queued() > 0;
        if gets_on || self.under_way() == 0 {
            self.patience = None;
        } else if is_waiting {
            self.have_patience(entered)?;
        }
        Ok(())
    }

    /// Decides after a wait without progress whether to wait on.
    fn have_patience(&mut self, entered: Entered) -> io::Result<()> {
        let (under_way, limits) = (self.under_way(), self.limits);
        let oldest = self.slots.iter().flatten().next().map(|it| extent_of(it.transfer));
        let waited_for = || {
            let of = oldest.map_or_else(String::new, |extent| format!(", {extent} among them"));
            format!("{under_way} transfers of a disk are under way{of}")
        };
        self.patience.get_or_insert_with(|| Patience::new(limits)).go_on(waited_for)?;
        if entered == Entered::Busy {
            std::thread::sleep(BUSY_PAUSE);
        }
        Ok(())
    }

    fn wait_for_all(&mut self) -> io::Result<()> {
        while self.under_way() > 0 {
            self.wait(self.under_way())?;
        }
        Ok(())
    }

    /// Takes a completion; returns whether it made progress, rather than just having to be retried.
    fn complete(&mut self, slot: usize, result: i32) -> bool {
        let mut operation =
            self.slots[slot].take().expect("invariant: a completion is of a slot under way");
        let failure = match outcome(&operation, result) {
            Ok(bytes) => {
                operation.done += bytes;
                if operation.done < operation.transfer.length {
                    self.put(slot, operation);
                    return bytes > 0;
                }
                None
            }
            Err(cause) => match self.clears.ask_again(&mut operation, cause) {
                Ok(()) => {
                    self.put(slot, operation);
                    return true;
                }
                Err(cause) => Some(cause),
            },
        };
        match self.end(&operation, failure) {
            Some(next) => self.put(slot, next),
            None => self.free.push(slot),
        }
        true
    }

    /// Notes that `operation` ended; returns one that is to have its slot.
    fn end(&mut self, operation: &Operation, failure: Option<io::Error>) -> Option<Operation> {
        let failure = failure.map(|cause| DeviceError { attempt: operation.attempt(), cause });
        if let Owner::Read(number) = operation.owner {
            let batch = self.reading_of(number);
            batch.left -= 1;
            batch.first_failed = batch.first_failed.take().or(failure);
            return None;
        }
        if let Some(failure) = failure {
            // Nothing more is asked of a disk that failed.
            self.clears.give_up();
            self.first_failure.get_or_insert(failure);
        }
        match operation.owner {
            Owner::Clear { .. } => self.clears.end(),
            Owner::Write(..) | Owner::Read(_) => None,
        }
    }

    fn reading_of(&mut self, number: u64) -> &mut BatchUnderWay {
        let found = self.reading.iter_mut().find(|batch| batch.number == number);
        found.expect("invariant: a batch is there until its reads are done")
    }

    fn clear(&mut self, arena: &Arc<Arena>, extent: Extent) -> io::Result<()> {
        let PartsToClear { whole, as_data, has_tail } = self.disk.parts_to_clear(extent)?;
        if has_tail {
            // A call that waits, in Linux 6.6, for writes under way, and so for us, for ever.
            self.wait_for_all()?;
            self.disk.clear_tail()?;
        }
        for piece in whole.into_iter().flat_map(clear::pieces) {
            let (number, arena) = (self.next_write, Arc::clone(arena));
            self.next_write += 1;
            let length = piece.length().get() as usize;
            let transfer = Transfer { at: piece.start(), position: 0, length };
            if as_data {
                // What the batch touches is under way as long as its arena is held.
                let (owner, address) = (Owner::Write(arena, number), self.clears.zeros()?);
                self.begin(Operation { owner, transfer, done: 0, address })?;
                continue;
            }
            let owner = Owner::Clear { arena, number, way: Way::default() };
            let operation = Operation { owner, transfer, done: 0, address: 0 };
            if self.clears.has_room() {
                self.begin(operation)?;
                continue;
            }
            while self.clears.waiting().len() >= WAITING_MAX {
                self.wait(1)?;
            }
            self.clears.wait_with(operation);
        }
        Ok(())
    }

    fn write(&mut self, arena: &Arc<Arena>, transfer: Transfer) -> io::Result<()> {
        let Parts { whole, tail } = self.disk.parts(transfer, arena.as_slice().len())?;
        if let Some(tail) = tail {
            self.wait_for_all()?;
            self.disk.write_tail(&arena.as_slice()[tail.position..][..tail.length])?;
        }
        let Some(transfer) = whole else { return Ok(()) };
        let (start, number) = (arena.address(), self.next_write);
        self.next_write += 1;
        self.begin(Operation {
            owner: Owner::Write(Arc::clone(arena), number),
            transfer,
            done: 0,
            address: start + transfer.position,
        })
    }

    fn write_all(&mut self, batch: &WriteBatch) -> Result<(), DeviceError> {
        for &extent in &batch.clears {
            let failed = |cause| DeviceError { attempt: Attempt::Clear(extent), cause };
            self.clear(&batch.arena, extent).map_err(failed)?;
        }
        for &transfer in &batch.writes {
            let attempt = Attempt::Write(extent_of(transfer));
            let failed = |cause| DeviceError { attempt, cause };
            self.write(&batch.arena, transfer).map_err(failed)?;
        }
        let last = batch.writes.last().map(|last| Attempt::Write(extent_of(*last)));
        let last = last.or(batch.clears.last().map(|last| Attempt::Clear(*last)));
        let failed = |cause| DeviceError { attempt: last.unwrap_or(Attempt::Flush), cause };
        self.submit().map_err(failed)
    }

    /// Begins the reads of `batch`, and holds its arena until it is taken out by the returned
    /// number.
    fn begin_reads(&mut self, batch: ReadBatch) -> Result<u64, DeviceError> {
        let ReadBatch { mut arena, reads } = batch;
        let mut of_whole_sectors = Vec::with_capacity(reads.len());
        // Done before the first read is under way: from then on the kernel writes to the arena.
        for &transfer in &reads {
            of_whole_sectors.extend(self.read_tail(transfer, arena.as_mut_slice())?);
        }
        let (start, number) = (arena.address(), self.next_batch);
        self.next_batch += 1;
        self.reading.push_back(BatchUnderWay { number, arena, left: 0, first_failed: None });
        for transfer in of_whole_sectors {
            let address = start + transfer.position;
            let owner = Owner::Read(number);
            if let Err(cause) = self.begin(Operation { owner, transfer, done: 0, address }) {
                let attempt = Attempt::Read(extent_of(transfer));
                let batch = self.reading_of(number);
                batch.first_failed.get_or_insert(DeviceError { attempt, cause });
                break;
            }
        }
        Ok(number)
    }

    /// Waits for the batch at index `place` in `reading`, and takes it out. If even waiting fails,
    /// we keep its arena.
    fn take_out(&mut self, place: usize) -> Result<Arena, DeviceError> {
        let failed = |cause| DeviceError { attempt: Attempt::Flush, cause };
        loop {
            let Some(batch) = self.reading.get(place) else {
                return Err(failed(io::ErrorKind::InvalidInput.into()));
            };
            if batch.left == 0 {
                break;
            }
            self.wait(batch.left.min(REAP)).map_err(failed)?;
        }
        let batch = self.reading.remove(place).expect("invariant: it was there just now");
        batch.first_failed.map_or(Ok(batch.arena), Err)
    }

    /// Reads the part of `transfer` in the last sector, if that is incomplete, and returns the
    /// rest.
    fn read_tail(
        &self,
        transfer: Transfer,
        arena: &mut [u8],
    ) -> Result<Option<Transfer>, DeviceError> {
        let attempt = Attempt::Read(extent_of(transfer));
        let failed = |cause| DeviceError { attempt, cause };
        let Parts { whole, tail } = self.disk.parts(transfer, arena.len()).map_err(failed)?;
        if let Some(tail) = tail {
            let sector = &mut arena[tail.position..][..tail.length];
            self.disk.read_tail(sector).map_err(failed)?;
        }
        Ok(whole)
    }

    /// The error if the ring itself failed: operations under way are lost track of.
    fn waiting_failed(&mut self, cause: io::Error) -> DeviceError {
        let under_way = self.slots.iter().flatten().next();
        let attempt = under_way.map_or(Attempt::Flush, Operation::attempt);
        let failure = DeviceError { attempt, cause };
        self.first_failure.get_or_insert(failure).again()
    }

    /// Whether a write or a clear that the flush under way has to include is not done.
    fn has_writes_to_flush(&self) -> bool {
        let Some(first_other) = self.flushing.as_ref().and_then(FlushUnderWay::waits_for) else {
            return false;
        };
        let begun = self.slots.iter().flatten().chain(self.clears.waiting());
        begun.filter_map(|operation| operation.owner.number()).any(|number| number < first_other)
    }

    /// Begins the flush under way once every write that it includes is done.
    fn advance_flush(&mut self) {
        if self.has_writes_to_flush() {
            return;
        }
        if let Some(flushing) = &mut self.flushing {
            flushing.begin(self.disk.file(), self.clears.begun() == 0);
        }
    }

    /// Waits until the flush under way may be waited for, and begins it at the latest then. Some
    /// file systems flush with the lock that a clear holds, and the clear waits for writes that
    /// only end when the ring is entered.
    fn wait_for_what_holds_up_a_flush(&mut self) -> io::Result<()> {
        while self.clears.begun() > 0 && !self.flushing.as_mut().is_some_and(FlushUnderWay::is_done)
        {
            self.wait(1)?;
        }
        self.advance_flush();
        Ok(())
    }

    fn check_failure(&self) -> Result<(), DeviceError> {
        self.first_failure.as_ref().map_or(Ok(()), |failure| Err(failure.again()))
    }
}

impl BlockDevice for UringDevice {
    fn geometry(&self) -> Geometry {
        self.disk.geometry()
    }

    fn engine_name(&self) -> &'static str {
        "io_uring"
    }

    fn read_batch(&mut self, batch: ReadBatch) -> Result<Arena, DeviceError> {
        let number = self.begin_reads(batch)?;
        let place = self.reading.iter().position(|batch| batch.number == number);
        self.take_out(place.unwrap_or(usize::MAX))
    }

    fn begin_read(&mut self, batch: ReadBatch) -> Result<Reading, DeviceError> {
        self.begin_reads(batch)?;
        let failed = |cause| DeviceError { attempt: Attempt::Flush, cause };
        self.submit().map_err(failed)?;
        Ok(Reading::UnderWay)
    }

    fn is_read(&mut self) -> bool {
        let is_read = |device: &Self| device.reading.front().is_none_or(|batch| batch.left == 0);
        // If this fails, waiting will report the error.
        is_read(self) || self.wait(0).is_err() || is_read(self)
    }

    fn finish_read(&mut self) -> Result<Arena, DeviceError> {
        self.take_out(0)
    }

    fn write_batch(&mut self, batch: WriteBatch) -> Result<(), DeviceError> {
        self.check_failure()?;
        if let Err(failure) = self.write_all(&batch) {
            self.first_failure.get_or_insert(failure);
        }
        self.check_failure()
    }

    fn reap(&mut self) -> Result<bool, DeviceError> {
        let before = self.under_way();
        let mut waited = self.wait(0);
        if waited.is_ok() && before > 0 && self.under_way() == before {
            waited = self.wait((before / 2).clamp(1, REAP_MAX));
        }
        waited.map_err(|cause| self.waiting_failed(cause))?;
        self.check_failure().map(|()| self.under_way() > 0)
    }

    fn collect(&mut self) -> Result<bool, DeviceError> {
        self.wait(0).map_err(|cause| self.waiting_failed(cause))?;
        self.check_failure().map(|()| self.under_way() > 0)
    }

    fn settle(&mut self) -> Result<Settled, DeviceError> {
        if let Err(cause) = self.wait_for_all() {
            return Err(self.waiting_failed(cause));
        }
        self.check_failure()?;
        Ok(Settled(()))
    }

    fn flush(&mut self, Settled(()): Settled) -> Result<Flushed, DeviceError> {
        // Costs nothing, and makes a proof from before the last batch harmless.
        let Settled(()) = self.settle()?;
        if self.flushing.is_some() {
            let Flushed(()) = self.finish_flush()?;
        }
        // After a failed flush it is unknown what is durable, and a second flush would not report
        // it.
        self.disk.flush().map_err(|cause| {
            let failure = DeviceError { attempt: Attempt::Flush, cause };
            self.first_failure.insert(failure).again()
        })?;
        Ok(Flushed(()))
    }

    fn begin_flush(&mut self) -> Result<Flushing, DeviceError> {
        self.check_failure()?;
        if self.flushing.is_some() {
            // Its error would be lost: the kernel reports one only once.
            let Flushed(()) = self.finish_flush()?;
        }
        self.flushing = Some(FlushUnderWay::of_writes_before(self.next_write));
        self.advance_flush();
        Ok(Flushing::UnderWay)
    }

    fn is_flushed(&mut self) -> bool {
        // If this fails, waiting will report the error.
        if self.wait(0).is_err() {
            return true;
        }
        self.advance_flush();
        self.flushing.as_mut().is_none_or(FlushUnderWay::is_done)
    }

    fn finish_flush(&mut self) -> Result<Flushed, DeviceError> {
        let failed = |cause| DeviceError { attempt: Attempt::Flush, cause };
        while self.has_writes_to_flush() {
            self.wait(1).map_err(|cause| self.waiting_failed(cause))?;
        }
        self.check_failure()?;
        self.advance_flush();
        self.wait_for_what_holds_up_a_flush().map_err(|cause| self.waiting_failed(cause))?;
        let Some(flushing) = self.flushing.take() else {
            return Err(failed(io::ErrorKind::InvalidInput.into()));
        };
        match flushing.wait(self.limits) {
            Ok(()) => Ok(Flushed(())),
            Err(cause) => Err(self.first_failure.insert(failed(cause)).again()),
        }
    }

    fn hand_over(&mut self) {
        if self.under_way() == 0 {
            self.ring.let_go(self.disk.file());
        }
    }
}

impl Drop for UringDevice {
    fn drop(&mut self) {
        if self.wait_for_all().is_err() {
            // The kernel may still use these arenas: they are leaked.
            std::mem::forget(std::mem::take(&mut self.slots));
            std::mem::forget(std::mem::take(&mut self.reading));
            std::mem::forget(std::mem::take(&mut self.clears));
        }
        // Its thread has the disk open, which must be free again once we return.
        if let Some(flushing) = self.flushing.take() {
            let _ = flushing.wait(self.limits);
        }
    }
}

#[cfg(test)]
mod tests;
