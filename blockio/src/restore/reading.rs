//! Reads the pieces of a view ahead of the writer, hashes them, and finds their zeros: in several
//! threads, in bounded memory. Pieces arrive roughly in order.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, Scope, available_parallelism};

use blake3::Hash;

use crate::device::TRANSFER_BYTES_MAX;
use crate::device::buffer::{Arena, ArenaPool};
use crate::digest::{LeafSize, leaf_of};
use crate::extent::Extent;
use crate::journal::draft::is_zeros;
use crate::units::{ByteCount, ByteOffset};
use crate::view::View;
use crate::{Error, ErrorKind, Result};

/// One piece of the view: a leaf of its digest, a read, and at most one write.
pub(super) const PIECE: LeafSize = LeafSize::DEFAULT;
/// More threads than this only wait for the disk.
const THREADS_MAX: usize = 8;
/// How many pieces are being read, wait to be written, or are being written: half of a disk's
/// queue.
const ARENAS: usize = 32;
const ARENA_BYTES: NonZeroUsize =
    NonZeroUsize::new(TRANSFER_BYTES_MAX).expect("invariant: not zero");
/// The unit of looking for zeros, in bytes: shorter runs would cost more writes than they save.
const RUN_BYTES: u64 = 64 << 10;

/// A piece of the view.
pub(super) struct Piece {
    /// The index of its leaf in the digest.
    pub(super) index: u64,
    /// Its extent in the view.
    pub(super) extent: Extent,
    /// Its value in the digest.
    pub(super) leaf: Hash,
    /// The parts of it that are not zeros, in whole runs except for the last.
    pub(super) data: Vec<Extent>,
    /// Its bytes; followed by zeros up to the end of the memory.
    pub(super) arena: Arena,
}

/// Threads that read ahead. They end when everything is read, or when this is dropped.
pub(super) struct Ahead {
    /// The pieces, or the error that ended a thread.
    pub(super) pieces: Receiver<Result<Piece>>,
}

/// What the threads share.
struct Reader<'a> {
    view: &'a View,
    length: ByteCount,
    next: AtomicU64,
    pool: ArenaPool,
    stop: &'a AtomicBool,
}

impl Ahead {
    /// Reads the first `length` bytes of `view` in threads of `scope`.
    ///
    /// # Errors
    ///
    /// `Failed`: the threads cannot be started, or there is no memory.
    pub(super) fn start<'scope, 'env: 'scope>(
        scope: &'scope Scope<'scope, 'env>,
        view: &'env View,
        length: ByteCount,
        stop: &'env AtomicBool,
    ) -> Result<Self> {
        let pool = ArenaPool::new(ARENAS, ARENA_BYTES)
            .map_err(|error| Error::failed("allocating memory for I/O", error))?;
        let (outbox, pieces) = channel();
        let next = AtomicU64::new(0);
        let reader = Arc::new(Reader { view, length, next, pool, stop });
        for _ in 0..available_parallelism().map_or(1, usize::from).min(THREADS_MAX) {
            let (reader, outbox) = (Arc::clone(&reader), outbox.clone());
            Builder::new()
                .name("restore".to_owned())
                .spawn_scoped(scope, move || reader.read_all(&outbox))
                .map_err(|error| Error::failed("starting a thread that reads", error))?;
        }
        Ok(Self { pieces })
    }
}

impl Reader<'_> {
    fn read_all(&self, outbox: &Sender<Result<Piece>>) {
        loop {
            // Take memory first: a thread without memory must not hold the next piece.
            let arena = self.pool.take();
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(extent) = PIECE.extent(index, self.length) else { return };
            let piece = arena.and_then(|arena| self.read(index, extent, arena));
            let is_last = piece.is_err();
            if outbox.send(piece).is_err() || is_last {
                return;
            }
        }
    }

    fn read(&self, index: u64, extent: Extent, mut arena: Arena) -> Result<Piece> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Failed, "stopped before the end, as requested"));
        }
        let memory = arena.as_mut_slice();
        // The bytes after the piece are from the last user of the memory.
        memory[extent.length().get() as usize..].fill(0);
        let mut data = Vec::new();
        for part in self.view.allocation(extent)? {
            let bytes = &mut memory[place(part.extent, extent)];
            if part.is_hole {
                bytes.fill(0);
                continue;
            }
            self.view.read(part.extent.start(), bytes)?;
        }
        let bytes = &memory[place(extent, extent)];
        for run in runs(extent).filter(|run| !is_zeros(&bytes[place(*run, extent)])) {
            data.push(run);
        }
        Extent::coalesce(&mut data);
        let is_single = self.length.get() <= PIECE.bytes();
        let leaf = leaf_of(bytes, extent.start(), is_single);
        Ok(Piece { index, extent, leaf, data, arena })
    }
}

/// Where `part` is in the memory of the piece at `whole`.
fn place(part: Extent, whole: Extent) -> std::ops::Range<usize> {
    let from = |at: ByteOffset| (at.get() - whole.start().get()) as usize;
    from(part.start())..from(part.end())
}

/// `whole` in runs.
fn runs(whole: Extent) -> impl Iterator<Item = Extent> {
    let starts = (whole.start().get()..whole.end().get()).step_by(RUN_BYTES as usize);
    starts.filter_map(move |start| {
        let end = ByteOffset::new(start + RUN_BYTES).min(whole.end());
        Extent::between(ByteOffset::new(start), end).ok()
    })
}
