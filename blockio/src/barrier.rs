//! The barrier that spans several devices, as a value. The other two are the group's: before-images
//! (`group::preserve`) and the checkpoint (`group::Durable`).

use crate::device::Flushed;

/// Proof that everything written to every volume that has not failed is durable (BARRIER 2), made
/// of the proof that each device gave for its flush. A checkpoint needs it.
#[must_use = "progress may be recorded now, and only now"]
#[derive(Debug)]
pub(crate) struct AllFlushed {
    _each: Vec<Flushed>,
}

impl AllFlushed {
    /// Flushes each of `devices` with `flush`, which returns `None` for a device that nothing was
    /// written to, or that failed: a failed device is latched, and nothing of it is recorded.
    pub(crate) fn flush<D>(
        devices: impl IntoIterator<Item = D>,
        flush: impl FnMut(D) -> Option<Flushed>,
    ) -> Self {
        Self { _each: devices.into_iter().filter_map(flush).collect() }
    }

    /// For a deliberate bug: nothing was flushed.
    #[cfg(test)]
    pub(crate) fn of_nothing() -> Self {
        Self { _each: Vec::new() }
    }
}
