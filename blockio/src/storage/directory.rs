//! A group's history in directories: the state in one, its second copy and the segments in one that
//! may be another.
//!
//! The directories are held open, and everything in them is reached through those handles: if a
//! retention volume is unmounted under us, nothing is ever written to the directory that appears
//! below it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use nix::fcntl::{
    FallocateFlags, FcntlArg, OFlag, PosixFadviseAdvice, fallocate, fcntl, posix_fadvise,
};
use nix::sys::statvfs::fstatvfs;
use system::replacement::{self, Replacement};

use crate::device::Engine;
use crate::device::open::open;
use crate::device::{BlockDevice, Geometry};
use crate::storage::{SegmentNumber, Space, StateCopy, Storage};
use crate::units::{ByteCount, SectorSize};

/// The file names of the two copies of the state.
pub const STATE: &str = "state";
/// The second copy, next to the segments.
pub const STATE_COPY: &str = "state.copy";
/// The suffix of a copy of the state that `journal rebuild` kept.
const BEFORE_REBUILD: &str = ".before-rebuild";
/// The prefix of a state that is being written; a random part follows.
const STATE_MAKING: &str = "state.";
/// More than the points of years and a thousand volumes take, in bytes.
const STATE_BYTES_MAX: u64 = 256 << 20;
const SEGMENT: &str = "segment-";
/// The file that a run on the group locks, in each of its directories.
pub(crate) const LOCK: &str = "lock";
/// A segment that is being made.
pub(crate) const MAKING: &str = "segment.making";

/// The directories of a group.
#[derive(Debug)]
pub struct Directory {
    state: Held,
    segments: Held,
    /// Held while a segment is made: two threads would take each other's file, which has one name.
    making: Mutex<()>,
}

/// A directory that is open.
#[derive(Debug)]
struct Held {
    path: PathBuf,
    file: File,
}

impl Held {
    fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(path)?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// A path to the directory that works whatever has become of its own path.
    fn inside(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }

    /// Checks that its path still leads to it.
    fn check_in_place(&self) -> io::Result<()> {
        let (open, named) = (self.file.metadata()?, fs::metadata(&self.path));
        let is_same = |named: fs::Metadata| (named.dev(), named.ino()) == (open.dev(), open.ino());
        if named.is_ok_and(is_same) {
            return Ok(());
        }
        let shown = self.path.display();
        let message = format!("{shown} was unmounted or moved while it was in use");
        Err(io::Error::new(io::ErrorKind::NotFound, message))
    }
}

/// The names under which a rebuild keeps the copy `state` of the state, one after the other: what
/// an earlier one kept stays.
pub fn names_kept_by_rebuild(state: &str) -> impl Iterator<Item = String> {
    let first = format!("{state}{BEFORE_REBUILD}");
    let later = first.clone();
    std::iter::once(first).chain((2..).map(move |number: u64| format!("{later}-{number}")))
}

/// Whether `name` is one of [`names_kept_by_rebuild`] of `state`.
pub(crate) fn is_kept_by_rebuild(name: &str, state: &str) -> bool {
    let rest = name.strip_prefix(state).and_then(|rest| rest.strip_prefix(BEFORE_REBUILD));
    let number = |rest: &str| rest.strip_prefix('-')?.parse::<u64>().ok();
    rest.is_some_and(|rest| rest.is_empty() || number(rest).is_some())
}

impl Directory {
    /// Opens the directories, which must exist.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub fn open(state: &Path, segments: &Path) -> io::Result<Self> {
        let (state, segments) = (Held::open(state)?, Held::open(segments)?);
        Ok(Self { state, segments, making: Mutex::default() })
    }

    /// The directory and the file name of a copy of the state.
    fn copy(&self, copy: StateCopy) -> (&Held, &'static str) {
        match copy {
            StateCopy::First => (&self.state, STATE),
            StateCopy::Second => (&self.segments, STATE_COPY),
        }
    }

    /// Removes what crashes left of states being written. Only for the holder of the lock: to
    /// anybody else, such a file may be in use.
    ///
    /// # Errors
    ///
    /// The kernel's error.
    pub(crate) fn remove_leftovers(&self) -> io::Result<()> {
        for held in [&self.state, &self.segments] {
            replacement::remove_parts(&held.inside(), STATE_MAKING)?;
        }
        Ok(())
    }

    fn path(&self, number: SegmentNumber) -> PathBuf {
        self.segments.inside().join(format!("{SEGMENT}{:016}", number.0))
    }

    fn device(&self, file: File, bytes: u64, engine: Engine) -> io::Result<Box<dyn BlockDevice>> {
        let sector_size = SectorSize::Bytes4096;
        let geometry = Geometry { capacity: ByteCount::new(bytes), sector_size };
        open(file, geometry, engine).map_err(io::Error::other)
    }

    /// Makes a segment under another name first: under its own name it exists with its full length,
    /// or not at all, for anybody who looks for it meanwhile. A crash leaves the other name, which
    /// nothing reads and the next segment replaces; or it leaves the name without the length, which
    /// becomes durable with the first record.
    fn create(&self, path: &Path, bytes: u64) -> io::Result<File> {
        // A thread that panicked left at most the file, which is replaced.
        let _one_at_a_time = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if path.symlink_metadata().is_ok() {
            return Err(io::Error::from_raw_os_error(libc::EEXIST));
        }
        let making = self.segments.inside().join(MAKING);
        match fs::remove_file(&making) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let made = Self::make(&making, bytes);
        let named = made.and_then(|file| fs::rename(&making, path).map(|()| file));
        let file = named.inspect_err(|_| {
            // The partial file holds room that is needed elsewhere.
            let _ = fs::remove_file(&making);
        })?;
        self.segments.file.sync_all()?;
        Ok(file)
    }

    fn make(path: &Path, bytes: u64) -> io::Result<File> {
        let file = directly(path, OpenOptions::new().read(true).write(true).create_new(true))?;
        let length = i64::try_from(bytes).map_err(io::Error::other)?;
        match fallocate(&file, FallocateFlags::empty(), 0, length) {
            // Not every filesystem can reserve room; then a full one is noticed when writing.
            Err(nix::Error::EOPNOTSUPP) => file.set_len(bytes)?,
            done => done?,
        }
        Ok(file)
    }
}

/// Opens `path` for direct I/O, if the filesystem supports it.
fn directly(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    match options.custom_flags(libc::O_DIRECT).open(path) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            // The file may have been created despite the error: it exists, or it can be created.
            match options.custom_flags(0).create_new(false).open(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    options.create(true).open(path)
                }
                opened => opened,
            }
        }
        opened => opened,
    }
}

/// The error for something else in the place of a segment: as good as a missing one.
fn no_segment() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "what is in its place is not a file")
}

/// The error for something else in the place of a copy of the state.
fn no_state(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Whether a link, a directory, a pipe or a socket was opened.
fn is_of_no_file(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ELOOP | libc::EISDIR | libc::ENXIO))
}

fn is_direct(file: &File) -> io::Result<bool> {
    let flags = OFlag::from_bits_retain(fcntl(file, FcntlArg::F_GETFL)?);
    Ok(flags.contains(OFlag::O_DIRECT))
}

/// For filesystems that cannot read past their cache: after a failed flush, the cache may hold as
/// written what the disk does not have, and a later process does not get the error.
fn forget_cached(file: &File) -> io::Result<()> {
    file.sync_all()?;
    Ok(posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?)
}

impl Storage for Directory {
    fn state_file(&self, copy: StateCopy) -> Option<PathBuf> {
        let (held, name) = self.copy(copy);
        Some(held.path.join(name))
    }

    fn read_state(&self, copy: StateCopy) -> io::Result<Option<String>> {
        let (held, name) = self.copy(copy);
        let path = held.inside().join(name);
        // Without this flag, opening a pipe would wait for its writer.
        let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path);
        let mut file = match opened {
            Ok(file) => file,
            // A dangling link may lead to a volume that is not mounted: the state is not missing,
            // and if the other copy is, no new state begins.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return match path.symlink_metadata() {
                    Ok(_) => Err(no_state("it is a dangling link")),
                    Err(_) => Ok(None),
                };
            }
            Err(error) => return Err(error),
        };
        let found = file.metadata()?;
        if !found.is_file() {
            return Err(no_state("it is no file"));
        }
        if found.len() > STATE_BYTES_MAX {
            return Err(no_state("it is too large for a state"));
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        // A torn text may have a torn character: whether it is acceptable is decided by its
        // checksum.
        let text = String::from_utf8(bytes);
        Ok(Some(
            text.unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
        ))
    }

    fn replace_state(&self, copy: StateCopy, text: &str) -> io::Result<()> {
        let (held, name) = self.copy(copy);
        let directory = held.inside();
        let mut part = Replacement::begin_in(&held.file, &directory, STATE_MAKING, 0o600)?;
        part.file().write_all(text.as_bytes())?;
        // The flush of the directory also covers the segments: a removed segment is durably removed
        // once both copies were replaced.
        part.replace(&directory.join(name))
    }

    fn append_state(&self, copy: StateCopy, at: u64, text: &str) -> io::Result<bool> {
        let (held, name) = self.copy(copy);
        let path = held.inside().join(name);
        let flags = libc::O_NONBLOCK | libc::O_NOFOLLOW;
        let opened = OpenOptions::new().append(true).custom_flags(flags).open(&path);
        let mut file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            // Something that is not a file was put there: it is replaced, or the replacing reports
            // why it cannot be.
            Err(error) if is_of_no_file(&error) => return Ok(false),
            Err(error) => return Err(error),
        };
        let found = file.metadata()?;
        if !found.is_file() || found.len() != at {
            return Ok(false);
        }
        file.write_all(text.as_bytes())?;
        file.sync_data()?;
        Ok(true)
    }

    fn create_segment(
        &self,
        number: SegmentNumber,
        bytes: u64,
        engine: Engine,
    ) -> io::Result<Box<dyn BlockDevice>> {
        self.segments.check_in_place()?;
        let path = self.path(number);
        let file = self.create(&path, bytes)?;
        self.device(file, bytes, engine)
    }

    fn open_segment(&self, number: SegmentNumber) -> io::Result<Box<dyn BlockDevice>> {
        let path = self.path(number);
        // Opening a pipe would wait for its writer. If the segment were opened with O_NONBLOCK
        // instead, io_uring would not wait for the file either.
        match fs::metadata(&path) {
            Ok(found) if !found.is_file() => return Err(no_segment()),
            Err(error) if is_of_no_file(&error) => return Err(no_segment()),
            Ok(_) | Err(_) => {}
        }
        let file = directly(&path, OpenOptions::new().read(true))?;
        if !is_direct(&file)? {
            forget_cached(&file)?;
        }
        let bytes = file.metadata()?.len();
        // Many segments are open simultaneously, and each is read by one reader: no ring for each.
        self.device(file, bytes, Engine::Blocking)
    }

    fn shorten_segment(&self, number: SegmentNumber, bytes: u64) -> io::Result<()> {
        // Its length stays: a reader may be about to read on where it ends.
        let file = OpenOptions::new().write(true).open(self.path(number))?;
        let length = file.metadata()?.len();
        let (Ok(from), Ok(rest)) =
            (i64::try_from(bytes), i64::try_from(length - bytes.min(length)))
        else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        match if rest > 0 { fallocate(&file, flags, from, rest) } else { Ok(()) } {
            Err(nix::Error::EOPNOTSUPP) => Ok(()),
            done => Ok(done?),
        }
    }

    fn state_stamp(&self) -> io::Result<u64> {
        let mut stamp: u64 = 0;
        for copy in StateCopy::BOTH {
            let (held, name) = self.copy(copy);
            let of_copy = match fs::metadata(held.inside().join(name)) {
                // The old state and the new one exist simultaneously, so they have different
                // inodes; times distinguish later ones.
                Ok(of) => {
                    let time = of.ctime().wrapping_mul(1_000_000_000).wrapping_add(of.ctime_nsec());
                    let time = u64::from_le_bytes(time.to_le_bytes());
                    // Appends within one tick of that clock change only the length.
                    let length = of.len().rotate_left(40);
                    of.ino().wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ time ^ length
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
                // It is ignored when it is read.
                Err(error) if is_of_no_file(&error) => 0,
                Err(error) => return Err(error),
            };
            // Not a plain sum: a gain in one copy must not cancel a loss in the other.
            stamp = stamp.rotate_left(17) ^ of_copy;
        }
        Ok(stamp)
    }

    fn remove_segment(&self, number: SegmentNumber) -> io::Result<()> {
        match fs::remove_file(self.path(number)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    fn segments(&self) -> io::Result<Vec<SegmentNumber>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.segments.inside())? {
            let entry = entry?;
            // A directory or a pipe of that name is not a segment; the target of a link is checked
            // when it is opened.
            if !entry.file_type().is_ok_and(|kind| kind.is_file() || kind.is_symlink()) {
                continue;
            }
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix(SEGMENT)?.parse().ok());
            found.extend(number.map(SegmentNumber));
        }
        found.sort_unstable();
        Ok(found)
    }

    fn space_after_removal(&self) -> io::Result<Space> {
        nix::unistd::syncfs(&self.segments.file)?;
        self.space()
    }

    fn space(&self) -> io::Result<Space> {
        let found = fstatvfs(&self.segments.file)?;
        let unit = found.fragment_size();
        Ok(Space {
            total_bytes: found.blocks().saturating_mul(unit),
            free_bytes: found.blocks_available().saturating_mul(unit),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_where_the_state_belongs_and_is_none_is_an_error_and_not_waited_for() {
        let place = tempfile::tempdir().unwrap();
        let state = place.path().join(STATE);
        let read = || directory(&place).read_state(StateCopy::First);
        assert!(read().unwrap().is_none());
        std::os::unix::fs::symlink("/no/such/place", &state).unwrap();
        assert!(read().is_err());
        fs::remove_file(&state).unwrap();
        nix::unistd::mkfifo(&state, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(read().is_err());
        fs::remove_file(&state).unwrap();
        fs::create_dir(&state).unwrap();
        assert!(read().is_err());
    }

    fn directory(of: &tempfile::TempDir) -> Directory {
        Directory::open(of.path(), of.path()).unwrap()
    }

    #[test]
    fn a_segment_is_there_with_its_room_until_it_is_removed() {
        let place = tempfile::tempdir().unwrap();
        let directory = directory(&place);
        let made = directory.create_segment(SegmentNumber(3), 1 << 20, Engine::default()).unwrap();
        assert_eq!(made.geometry().capacity, ByteCount::new(1 << 20));
        let again =
            directory.create_segment(SegmentNumber(3), 1 << 20, Engine::default()).err().unwrap();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(directory.segments().unwrap(), [SegmentNumber(3)]);
        directory.shorten_segment(SegmentNumber(3), 4096).unwrap();
        let file = fs::metadata(place.path().join("segment-0000000000000003")).unwrap();
        assert_eq!((file.len(), file.blocks() * 512), (1 << 20, 4096));
        directory.remove_segment(SegmentNumber(3)).unwrap();
        directory.remove_segment(SegmentNumber(3)).unwrap();
        assert_eq!(directory.segments().unwrap(), []);
    }

    /// On a filesystem of Linux that can read past its cache, opening is direct; opening without
    /// that is noticed, and reads the same once its cache is dropped.
    #[test]
    fn a_segment_of_a_filesystem_without_direct_io_is_read_from_its_disk() {
        let place = tempfile::tempdir_in(".").unwrap();
        let path = place.path().join("segment");
        fs::write(&path, [7; 8192]).unwrap();
        let cached = File::open(&path).unwrap();
        assert!(!is_direct(&cached).unwrap());
        forget_cached(&cached).unwrap();
        assert_eq!(fs::read(&path).unwrap(), [7; 8192]);
        if let Ok(direct) = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(&path) {
            assert!(is_direct(&direct).unwrap());
        }
    }

    #[test]
    fn other_files_are_no_segments() {
        let place = tempfile::tempdir().unwrap();
        for name in ["segment-", "segment-x", "state", "lock", "segment-1.old"] {
            fs::write(place.path().join(name), "").unwrap();
        }
        assert_eq!(directory(&place).segments().unwrap(), []);
    }

    #[test]
    fn why_the_state_was_not_replaced_is_what_the_kernel_said() {
        let place = tempfile::tempdir().unwrap();
        let directory = directory(&place);
        place.close().unwrap();
        let error = directory.replace_state(StateCopy::First, "{}").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT), "{error}");
    }

    #[test]
    fn nothing_is_made_in_a_directory_that_took_the_place_of_ours() {
        let place = tempfile::tempdir().unwrap();
        let (ours, moved) = (place.path().join("ours"), place.path().join("moved"));
        fs::create_dir(&ours).unwrap();
        let directory = Directory::open(&ours, &ours).unwrap();
        fs::rename(&ours, &moved).unwrap();
        fs::create_dir(&ours).unwrap();
        let refused =
            directory.create_segment(SegmentNumber(1), 4096, Engine::default()).err().unwrap();
        assert!(refused.to_string().contains("was unmounted or moved"), "{refused}");
        for copy in StateCopy::BOTH {
            directory.replace_state(copy, "text").unwrap();
        }
        assert_eq!(fs::read_dir(&ours).unwrap().count(), 0);
        assert!(moved.join("state").exists() && moved.join("state.copy").exists());
    }

    #[test]
    fn segments_that_two_threads_make_are_each_the_file_that_its_maker_writes() {
        let place = tempfile::tempdir().unwrap();
        let directory = directory(&place);
        let make = |number| {
            let path = directory.path(SegmentNumber(number));
            let file = directory.create(&path, 4096 * number).unwrap();
            assert_eq!(file.metadata().unwrap().ino(), fs::metadata(&path).unwrap().ino());
        };
        std::thread::scope(|scope| {
            scope.spawn(|| (1..100).for_each(make));
            (100..200).for_each(make);
        });
    }

    #[test]
    fn a_segment_is_never_seen_without_its_length() {
        let place = tempfile::tempdir().unwrap();
        let (writer, reader) = (directory(&place), directory(&place));
        let making = std::thread::spawn(move || {
            for number in 1..=200 {
                drop(
                    writer
                        .create_segment(SegmentNumber(number), 1 << 20, Engine::default())
                        .unwrap(),
                );
            }
        });
        for number in 1..=200 {
            let opened = loop {
                match reader.open_segment(SegmentNumber(number)) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    opened => break opened.unwrap(),
                }
            };
            assert_eq!(opened.geometry().capacity, ByteCount::new(1 << 20), "segment {number}");
        }
        making.join().unwrap();
    }

    #[test]
    fn what_crashes_left_of_states_is_removed_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        for name in ["state", "state.copy", "state.Ab3dEf", "state.old-one", "lock"] {
            fs::write(place.path().join(name), "").unwrap();
        }
        directory(&place).remove_leftovers().unwrap();
        assert!(!place.path().join("state.Ab3dEf").exists());
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 4);
    }

    #[test]
    fn each_copy_of_the_state_that_is_replaced_or_appended_to_changes_the_stamp() {
        let place = tempfile::tempdir().unwrap();
        let directory = directory(&place);
        let mut stamps = vec![directory.state_stamp().unwrap()];
        for copy in [StateCopy::First, StateCopy::Second, StateCopy::Second, StateCopy::First] {
            directory.replace_state(copy, "text").unwrap();
            stamps.push(directory.state_stamp().unwrap());
        }
        // Several within one tick of the clock of file times.
        for at in 0..100 {
            let copy = StateCopy::BOTH[at % 2];
            assert!(directory.append_state(copy, 4 + at as u64 / 2, "1").unwrap());
            stamps.push(directory.state_stamp().unwrap());
        }
        stamps.sort_unstable();
        stamps.dedup();
        assert_eq!(stamps.len(), 105);
    }

    #[test]
    fn a_state_that_ends_within_a_character_is_read_up_to_there() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join(STATE), &"text\n\"ä".as_bytes()[..7]).unwrap();
        let read = directory(&place).read_state(StateCopy::First).unwrap().unwrap();
        assert_eq!(read, "text\n\"\u{fffd}");
    }

    #[test]
    fn to_a_copy_of_the_state_that_is_not_as_it_was_left_nothing_is_appended() {
        let place = tempfile::tempdir().unwrap();
        let directory = directory(&place);
        let state = place.path().join(STATE);
        let append = |at| directory.append_state(StateCopy::First, at, "more").unwrap();
        assert!(!append(0), "there is none");
        directory.replace_state(StateCopy::First, "text").unwrap();
        assert!(!append(3) && !append(5));
        assert!(append(4));
        assert_eq!(fs::read_to_string(&state).unwrap(), "textmore");
        let moved = place.path().join("moved");
        fs::rename(&state, &moved).unwrap();
        std::os::unix::fs::symlink(&moved, &state).unwrap();
        assert!(!append(8), "a link");
        assert_eq!(fs::read_to_string(&moved).unwrap(), "textmore");
        fs::remove_file(&state).unwrap();
        fs::create_dir(&state).unwrap();
        assert!(!append(4096), "a directory");
        let refused = directory.replace_state(StateCopy::First, "text").unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EISDIR), "nothing of anybody's is removed");
        assert!(directory.state_stamp().is_ok(), "who follows the other copy goes on");
    }

    #[test]
    fn a_segment_is_opened_so_that_whoever_reads_or_writes_it_is_waited_for() {
        let place = tempfile::tempdir().unwrap();
        let directory = Directory::open(place.path(), place.path()).unwrap();
        let number = SegmentNumber(1);
        let made = directory.create(&directory.path(number), 8192).unwrap();
        let flags = |file: &File| OFlag::from_bits_retain(fcntl(file, FcntlArg::F_GETFL).unwrap());
        // With the flag, io_uring of Linux 6.1 retries writes that it would have to wait for, for
        // ever.
        assert!(!flags(&made).contains(OFlag::O_NONBLOCK));
        let opened = directly(&directory.path(number), OpenOptions::new().read(true)).unwrap();
        assert!(!flags(&opened).contains(OFlag::O_NONBLOCK));
    }

    #[test]
    fn what_a_crash_left_of_a_segment_is_in_nobodys_way() {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join(MAKING), "half").unwrap();
        let directory = directory(&place);
        assert_eq!(directory.segments().unwrap(), []);
        drop(directory.create_segment(SegmentNumber(1), 4096, Engine::default()).unwrap());
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    }
}
