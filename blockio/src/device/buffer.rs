//! Memory for I/O: arenas, aligned for O_DIRECT, in huge pages if available, from a pool of a fixed
//! number. An empty pool makes its caller wait: that is what bounds our memory. The arena that came
//! back last is the next to be used: it is in the processor's cache, and what is never needed is
//! never touched.
#![expect(unsafe_code, reason = "memory that is mapped, aligned, and shared with the kernel")]

use std::io;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, munmap};

use crate::patience::{Limits, Patience, STEP};
use crate::{Error, Result};

/// The size of huge pages, in bytes, on every machine that we run on.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// A mapping that is unmapped when dropped, and its aligned, used part.
#[derive(Debug)]
struct Mapping {
    mapped: NonNull<u8>,
    mapped_bytes: usize,
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the mapping is private anonymous memory that only its owner reaches; nothing about it
// belongs to a thread.
unsafe impl Send for Mapping {}
// SAFETY: through `&Mapping` the memory is only read.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn new(length: NonZeroUsize) -> io::Result<Self> {
        let mapping = Self::of_reserved_pages(length).or_else(|_| Self::aligned(length))?;
        // A child must not share these pages: on kernels before 5.19, a fork while a disk reads
        // into them can leave the bytes only in the child (open(2), O_DIRECT).
        // SAFETY: the range was mapped just now; no child of ours uses it.
        let _ = unsafe {
            madvise(mapping.mapped.cast(), mapping.mapped_bytes, MmapAdvise::MADV_DONTFORK)
        };
        Ok(mapping)
    }

    /// Uses huge pages that the administrator has reserved; usually there are none.
    fn of_reserved_pages(length: NonZeroUsize) -> io::Result<Self> {
        if length.get() % HUGE_PAGE_BYTES != 0 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mapped = map(length, MapFlags::MAP_HUGETLB)?;
        Ok(Self::of(mapped, length, mapped, length))
    }

    /// For transparent huge pages: one huge page more is mapped (not used) for alignment.
    fn aligned(length: NonZeroUsize) -> io::Result<Self> {
        let more = length.checked_add(HUGE_PAGE_BYTES).ok_or(io::ErrorKind::OutOfMemory)?;
        let mapped = map(more, MapFlags::empty())?;
        let gap = mapped.as_ptr().align_offset(HUGE_PAGE_BYTES);
        // SAFETY: `gap` is less than a huge page, and `length` plus a huge page was mapped.
        let start = unsafe { mapped.add(gap) };
        // SAFETY: inside the range mapped above; advice does not change its content. Kernels
        // without huge pages refuse it, which only costs time.
        let _ = unsafe { madvise(start.cast(), length.get(), MmapAdvise::MADV_HUGEPAGE) };
        Ok(Self::of(mapped, more, start, length))
    }

    fn of(
        mapped: NonNull<u8>,
        mapped_bytes: NonZeroUsize,
        start: NonNull<u8>,
        length: NonZeroUsize,
    ) -> Self {
        Self { mapped, mapped_bytes: mapped_bytes.get(), start, length: length.get() }
    }
}

fn map(length: NonZeroUsize, more: MapFlags) -> io::Result<NonNull<u8>> {
    let flags = MapFlags::MAP_PRIVATE | more;
    let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: a new anonymous mapping at an address of the kernel's choice overlaps nothing of
    // ours.
    let start = unsafe { mmap_anonymous(None, length, protection, flags) }?;
    Ok(start.cast())
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped in `new` with this length, and unmapped once. A failure would leave it
        // mapped, which is safe.
        let _ = unsafe { munmap(self.mapped.cast(), self.mapped_bytes) };
    }
}

/// Memory for I/O with one owner, of the size of its pool; it returns to the pool when dropped.
#[derive(Debug)]
pub struct Arena {
    // Taken out only by `drop`.
    mapping: Option<Mapping>,
    home: Arc<Free>,
}

impl Arena {
    /// Its bytes, read-only: allowed while a device writes from them.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        let mapping = self.mapping();
        // SAFETY: mapped and initialised (zeros, at least) for its length; lives as long as `self`.
        unsafe { std::slice::from_raw_parts(mapping.start.as_ptr(), mapping.length) }
    }

    /// Its bytes, writable. Being able to borrow them proves that no device is using the arena.
    #[must_use]
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        let mapping = self.mapping();
        // SAFETY: as above; `&mut self` makes it the only reference. A device that uses an arena
        // owns it, or an `Arc` of it.
        unsafe { std::slice::from_raw_parts_mut(mapping.start.as_ptr(), mapping.length) }
    }

    /// The address of its first byte, for the kernel.
    pub(crate) fn address(&self) -> usize {
        self.mapping().start.as_ptr().addr()
    }

    fn mapping(&self) -> &Mapping {
        self.mapping.as_ref().expect("invariant: only drop takes the mapping out")
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        if let Some(mapping) = self.mapping.take() {
            self.home.lock().push(mapping);
            self.home.came_back.notify_one();
        }
    }
}

/// The arenas that nobody uses, of a pool, or of one that is gone.
#[derive(Debug)]
struct Free {
    mappings: Mutex<Vec<Mapping>>,
    came_back: Condvar,
}

impl Free {
    fn lock(&self) -> MutexGuard<'_, Vec<Mapping>> {
        // Nothing can panic while it is locked: a poisoned lock guards a sound list.
        self.mappings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A fixed number of arenas of one size; a clone is the same pool.
#[derive(Clone, Debug)]
pub struct ArenaPool {
    free: Arc<Free>,
    count: usize,
    arena_bytes: NonZeroUsize,
}

impl ArenaPool {
    /// A pool of `count` arenas of `length` bytes each.
    ///
    /// # Errors
    ///
    /// The error of mmap(2); ENOMEM.
    pub fn new(count: usize, length: NonZeroUsize) -> io::Result<Self> {
        let mappings: io::Result<_> = (0..count).map(|_| Mapping::new(length)).collect();
        let free = Free { mappings: Mutex::new(mappings?), came_back: Condvar::new() };
        Ok(Self { free: Arc::new(free), count, arena_bytes: length })
    }

    /// An arena; waits until one is free. It still holds the data of its last user.
    ///
    /// # Errors
    ///
    /// `Failed`: none became free in a time in which any transfer ends.
    pub fn take(&self) -> Result<Arena> {
        self.take_within(Limits::USUAL)
    }

    /// As [`take`](Self::take), with `limits` on the wait.
    pub(crate) fn take_within(&self, limits: Limits) -> Result<Arena> {
        let count = self.count;
        let waited_for = || format!("memory, of which {count} parts are in use");
        let mut patience = Patience::new(limits);
        let mut free = self.free.lock();
        loop {
            if let Some(mapping) = free.pop() {
                return Ok(self.arena(mapping));
            }
            let step = STEP.min(limits.longest);
            let waited = self.free.came_back.wait_timeout(free, step);
            let (again, outcome) = waited.unwrap_or_else(PoisonError::into_inner);
            free = again;
            if outcome.timed_out() {
                patience
                    .go_on(waited_for)
                    .map_err(|error| Error::failed("waiting for memory for I/O", error))?;
            }
        }
    }

    /// An arena, if one is free now.
    #[must_use]
    pub fn try_take(&self) -> Option<Arena> {
        self.free.lock().pop().map(|mapping| self.arena(mapping))
    }

    fn arena(&self, mapping: Mapping) -> Arena {
        Arena { mapping: Some(mapping), home: Arc::clone(&self.free) }
    }

    /// The length of each arena, in bytes.
    #[must_use]
    pub fn arena_bytes(&self) -> NonZeroUsize {
        self.arena_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patience::tests::SHORT;

    fn pool(count: usize) -> ArenaPool {
        ArenaPool::new(count, NonZeroUsize::new(8192).unwrap()).unwrap()
    }

    #[test]
    fn an_arena_is_aligned_and_as_long_as_its_pool_says() {
        let pool = pool(2);
        let (mut first, second) = (pool.take().unwrap(), pool.take().unwrap());
        first.as_mut_slice()[8191] = 7;
        assert_eq!(first.as_slice()[8191], 7);
        for arena in [first, second] {
            assert_eq!(arena.as_slice().as_ptr().addr(), arena.address());
            assert_eq!((arena.address() % 4096, arena.as_slice().len()), (0, 8192));
            assert_eq!(pool.arena_bytes().get(), 8192);
        }
    }

    #[test]
    fn a_dropped_arena_goes_back_and_an_arena_outlives_its_pool() {
        let pool = pool(1);
        drop(pool.take().unwrap());
        let mut last = pool.take().unwrap();
        drop(pool);
        last.as_mut_slice().fill(1);
        assert_eq!(last.as_slice()[0], 1);
    }

    #[test]
    fn the_arena_that_came_back_last_is_the_next() {
        let pool = pool(3);
        let [first, second] = [pool.take().unwrap(), pool.take().unwrap()];
        let (last, before) = (first.address(), second.address());
        drop(second);
        drop(first);
        let again = [pool.take().unwrap(), pool.take().unwrap()];
        assert_eq!(again.map(|arena| arena.address()), [last, before]);
    }

    #[test]
    fn an_arena_lies_in_huge_pages_where_there_are_some() {
        let setting = "/sys/kernel/mm/transparent_hugepage/enabled";
        let setting = std::fs::read_to_string(setting).unwrap_or_default();
        if !setting.contains("[madvise]") && !setting.contains("[always]") {
            return;
        }
        let pool = ArenaPool::new(1, NonZeroUsize::new(8 << 20).unwrap()).unwrap();
        let mut arena = pool.take().unwrap();
        arena.as_mut_slice().fill(1);
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let kib = huge_kib_at(&maps, arena.address());
        assert!(kib >= 8 << 10, "{kib} KiB in huge pages");
    }

    /// How many KiB of the mapping at `address` are in huge pages, according to proc_pid_smaps(5).
    fn huge_kib_at(maps: &str, address: usize) -> u64 {
        let number = |text: &str| usize::from_str_radix(text, 16).ok();
        let range = |line: &str| -> Option<(usize, usize)> {
            let (start, end) = line.split_once(' ')?.0.split_once('-')?;
            Some((number(start)?, number(end)?))
        };
        let is_ours =
            |line: &&str| range(line).is_some_and(|(start, end)| (start..end).contains(&address));
        let fields = maps.lines().skip_while(|line| !is_ours(line)).skip(1);
        let fields = fields.take_while(|line| range(line).is_none());
        let huge = fields.filter(|line| {
            line.starts_with("AnonHugePages:") || line.starts_with("Private_Hugetlb:")
        });
        huge.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum()
    }

    #[test]
    fn reserved_pages_are_asked_for_only_where_they_are_filled() {
        // The kernel's refusals have an errno; ours has none.
        let refused_here = |length| {
            let mapped = Mapping::of_reserved_pages(NonZeroUsize::new(length).unwrap());
            mapped.is_err_and(|error| error.raw_os_error().is_none())
        };
        for length in [8192, HUGE_PAGE_BYTES - 4096, HUGE_PAGE_BYTES + 4096] {
            assert!(refused_here(length), "{length}");
        }
        assert!(!refused_here(HUGE_PAGE_BYTES) && !refused_here(4 * HUGE_PAGE_BYTES));
    }

    #[test]
    fn memory_is_given_back_with_the_last_of_its_pool() {
        use nix::sys::mman::{MsFlags, msync};
        // Large enough that no other thread maps all of it meanwhile; none of it is used.
        let length = 256 << 20;
        let pool = ArenaPool::new(1, NonZeroUsize::new(length).unwrap()).unwrap();
        let arena = pool.take().unwrap();
        let start = NonNull::from(arena.as_slice()).cast();
        // SAFETY: MS_ASYNC reads and writes nothing; it only checks whether all of it is mapped.
        let is_mapped = || unsafe { msync(start, length, MsFlags::MS_ASYNC) }.is_ok();
        drop(pool);
        assert!(is_mapped());
        drop(arena);
        assert!(!is_mapped());
    }

    #[test]
    fn an_empty_pool_makes_its_caller_wait_for_an_arena() {
        let pool = pool(1);
        let arena = pool.take().unwrap();
        let only = arena.address();
        let waiter = std::thread::spawn(move || pool.take().unwrap().address());
        drop(arena);
        assert_eq!(waiter.join().unwrap(), only);
    }

    #[test]
    fn who_holds_all_of_a_pool_and_wants_more_is_told_so_in_the_end() {
        let pool = pool(2);
        let _held = [pool.take().unwrap(), pool.take().unwrap()];
        let error = pool.take_within(SHORT).unwrap_err();
        let told = "waiting for memory for I/O: nothing arrived for 0 s: memory, of which 2 parts";
        assert!(error.chain().contains(told), "{}", error.chain());
    }
}
