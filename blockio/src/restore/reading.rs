//! Reads the pieces of a view ahead of whoever writes them, hashes them, and finds their zeros: in
//! several threads, in bounded memory. Pieces come in about their order.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, Scope, available_parallelism};

use blake3::Hash;

use crate::device::TRANSFER_BYTES_MAX;
use crate::device::buffer::{Arena, ArenaPool};
use crate::digest::leaf_of;
use crate::extent::Extent;
use crate::journal::draft::is_zeros;
use crate::restore::PIECE;
use crate::units::{ByteCount, ByteOffset};
use crate::view::View;
use crate::{Error, ErrorKind, Result};

/// More threads than that only wait for the disk.
const THREADS_MAX: usize = 8;
/// So many pieces are read, or wait to be written, or are being written: half of a disk's queue.
const ARENAS: usize = 32;
const ARENA_BYTES: NonZeroUsize =
    NonZeroUsize::new(TRANSFER_BYTES_MAX).expect("invariant: not zero");
/// Zeros are looked for in runs of so many bytes: shorter ones would be more writes than they save.
const RUN_BYTES: u64 = 64 << 10;

/// A piece of the view.
pub(super) struct Piece {
    /// The leaf of the digest that it is.
    pub(super) index: u64,
    /// Where it is.
    pub(super) extent: Extent,
    /// Its value in the digest.
    pub(super) leaf: Hash,
    /// The parts of it that are not zeros, in whole runs but for the last.
    pub(super) data: Vec<Extent>,
    /// Its bytes; zeros up to the end of the memory.
    pub(super) arena: Arena,
}

/// Threads that read ahead. They end when all is read, or when this is dropped.
pub(super) struct Ahead {
    /// What they read, or the error that ended one of them.
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
    /// `Failed`: there can be no thread, or no memory.
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
            // Memory first: who has none must not keep the others from the piece that is next.
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
            return Err(Error::new(ErrorKind::Failed, "stopped before the end, as asked"));
        }
        let memory = arena.as_mut_slice();
        // What is past it is of the last who had the memory.
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

/// What `whole` consists of.
fn runs(whole: Extent) -> impl Iterator<Item = Extent> {
    let starts = (whole.start().get()..whole.end().get()).step_by(RUN_BYTES as usize);
    starts.filter_map(move |start| {
        let end = ByteOffset::new(start + RUN_BYTES).min(whole.end());
        Extent::between(ByteOffset::new(start), end).ok()
    })
}
