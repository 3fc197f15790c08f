//! One volume's device: a plan goes in, in the only order that is safe, and an error poisons the
//! volume. The steps before (what may be written) and after (checkpoints) are not here.

use std::num::NonZeroUsize;

use crate::apply::patching;
use crate::apply::read_back::{self, ReadBackError};
use crate::apply::under_way::UnderWay;
use crate::device::buffer::{Arena, ArenaPool};
use crate::device::{
    BlockDevice, DeviceError, Flushed, Flushing, Geometry, ReadBatch, Reading, TRANSFER_BYTES_MAX,
    WriteBatch,
};
use crate::extent::Extent;
use crate::group::preserve::PreservedPlan;
use crate::plan::WritePlan;
use crate::target_identity::Held;
use crate::{Error, Result};

/// How many bytes of sectors are read at a time to be changed in part: enough to keep a device
/// busy.
const PATCH_BYTES: NonZeroUsize = NonZeroUsize::new(256 << 10).expect("invariant: not zero");
/// One batch of them is read while the previous one is written.
const PATCH_ARENAS: usize = 2;
/// The size of a piece when reading back, in bytes.
const READ_BACK_BYTES: NonZeroUsize =
    NonZeroUsize::new(TRANSFER_BYTES_MAX).expect("invariant: not zero");

/// A volume that is being written.
pub(crate) struct Writer {
    shown: String,
    device: Box<dyn BlockDevice>,
    reads_back: bool,
    // Made when the first sector changes in part: most streams have none.
    patch_pool: Option<ArenaPool>,
    read_back_pool: Option<ArenaPool>,
    under_way: UnderWay,
}

impl Writer {
    /// A writer to `device`, named `shown` in messages; with `reads_back`, it reads everything back
    /// and compares.
    pub(crate) fn new(shown: String, device: Box<dyn BlockDevice>, reads_back: bool) -> Self {
        let (patch_pool, read_back_pool) = (None, None);
        let under_way = UnderWay::default();
        Self { shown, device, reads_back, patch_pool, read_back_pool, under_way }
    }

    /// The geometry of the device.
    pub(crate) fn geometry(&self) -> Geometry {
        self.device.geometry()
    }

    /// The content of the device. Nothing may be under way.
    pub(crate) fn held(&mut self) -> Held<'_> {
        Held::Device(self.device.as_mut())
    }

    /// Begins to read sectors that nothing under way touches.
    pub(crate) fn begin_read(
        &mut self,
        batch: ReadBatch,
    ) -> std::result::Result<Reading, DeviceError> {
        self.device.begin_read(batch)
    }

    /// Whether the oldest read has been done by now.
    pub(crate) fn is_read(&mut self) -> bool {
        self.device.is_read()
    }

    /// Waits for the oldest read.
    pub(crate) fn finish_read(&mut self) -> std::result::Result<Arena, DeviceError> {
        self.device.finish_read()
    }

    /// Begins to write `preserved`.
    ///
    /// A crash in the middle leaves any of its sectors old and any new; applying the batch again
    /// makes them all new.
    pub(crate) fn write(&mut self, preserved: PreservedPlan) -> Result<()> {
        let (plan, arena) = preserved.into_parts();
        self.wait_for_what_touches(&plan.touched)?;
        let patched = self.patch(&plan, &arena)?;
        let expected = self.reads_back.then(|| {
            let mut expected = read_back::expected(&plan, &arena);
            expected.extend(patched);
            expected
        });
        if !(planted!(ClearNotAwaited) && plan.writes.is_empty()) {
            self.under_way.add(&arena, plan.touched);
        }
        let batch = WriteBatch { arena, writes: plan.writes, clears: plan.clears };
        self.device.write_batch(batch).map_err(|error| self.failed(error))?;
        expected.map_or(Ok(()), |expected| self.read_back(&expected))
    }

    fn patch(&mut self, plan: &WritePlan, arena: &Arena) -> Result<Vec<read_back::Expected>> {
        if plan.patches.is_empty() {
            return Ok(Vec::new());
        }
        let scratch = pool(&mut self.patch_pool, PATCH_ARENAS, PATCH_BYTES)?;
        let device = self.device.as_mut();
        patching::write(device, &plan.patches, arena, &scratch, &mut self.under_way)
            .map_err(|error| self.failed(error))
    }

    fn read_back(&mut self, expected: &[read_back::Expected]) -> Result<()> {
        let scratch = pool(&mut self.read_back_pool, 1, READ_BACK_BYTES)?;
        self.settle()?;
        read_back::compare(self.device.as_mut(), expected, &scratch).map_err(|error| match error {
            ReadBackError::Device(error) => self.failed(error),
            ReadBackError::Differs(extent) => self.differs(extent),
        })
    }

    /// Whether a batch may not be done yet.
    pub(crate) fn has_something_under_way(&mut self) -> bool {
        !self.under_way.is_empty()
    }

    /// Waits for something under way to finish, so that its arena comes back.
    pub(crate) fn reap(&mut self) -> Result<()> {
        let is_busy = self.device.reap();
        self.note_end(is_busy).map(drop)
    }

    /// Takes back the arenas of what has finished; returns whether something is still under way.
    pub(crate) fn collect(&mut self) -> Result<bool> {
        let is_busy = self.device.collect();
        self.note_end(is_busy)
    }

    fn note_end(&mut self, is_busy: std::result::Result<bool, DeviceError>) -> Result<bool> {
        let is_busy = is_busy.map_err(|error| self.failed(error))?;
        if !is_busy {
            // An arena that is still referenced belongs to another volume of the same batch.
            self.under_way.clear();
        }
        Ok(is_busy)
    }

    /// Makes everything written durable (BARRIER 2).
    pub(crate) fn flush(&mut self) -> Result<Flushed> {
        let flushed = self.device.settle().and_then(|settled| self.device.flush(settled));
        self.under_way.clear();
        flushed.map_err(|error| self.failed(error))
    }

    /// Begins to make durable what was written so far, beside what is written from now on.
    pub(crate) fn begin_flush(&mut self) -> Result<Flushing> {
        self.device.begin_flush().map_err(|error| self.failed(error))
    }

    /// Whether the flush under way has been done.
    pub(crate) fn is_flushed(&mut self) -> bool {
        self.device.is_flushed()
    }

    /// Waits for the flush under way (BARRIER 2).
    pub(crate) fn finish_flush(&mut self) -> Result<Flushed> {
        self.device.finish_flush().map_err(|error| self.failed(error))
    }

    /// Waits for writes under way to `touched`: a device may do operations in any order, so a
    /// sector that is being written must be finished before it is written, or read, again.
    fn wait_for_what_touches(&mut self, touched: &[Extent]) -> Result<()> {
        while self.under_way.touches(touched) {
            self.reap()?;
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<()> {
        // The proof is for a flush; here only the wait is needed.
        self.device.settle().map(drop).map_err(|error| self.failed(error))?;
        self.under_way.clear();
        Ok(())
    }

    /// `error`, as reported to the operator.
    pub(crate) fn failed(&self, error: DeviceError) -> Error {
        let size = self.geometry().sector_size;
        let place = error.attempt.sectors(size).map_or_else(String::new, |s| format!(" ({s})"));
        Error::failed(format!("{}: {}{place}", self.shown, error.attempt), error.cause).with_hint(
            "the volume is left as it is, and nothing more is written to it; read the kernel's \
             log, repair the disk, and run the same command again",
        )
    }

    fn differs(&self, extent: Extent) -> Error {
        let context =
            format!("{}: {extent} read back differently from what was written", self.shown);
        Error::new(crate::ErrorKind::Integrity, context)
            .with_hint("do not trust this disk: replace it, and apply from the beginning")
    }
}

/// The pool in `slot`, created if missing.
fn pool(slot: &mut Option<ArenaPool>, count: usize, length: NonZeroUsize) -> Result<ArenaPool> {
    if let Some(pool) = slot {
        return Ok(pool.clone());
    }
    let made = ArenaPool::new(count, length)
        .map_err(|error| Error::failed("allocating memory for I/O", error))?;
    Ok(slot.insert(made).clone())
}

#[cfg(test)]
mod tests;
