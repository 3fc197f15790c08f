//! One target: a whole disk or an image file, opened for us alone and only if nobody else uses it.
//! What is written to it, and whether it is large enough, is up to `apply`.
//!
//! Order matters. First the path is examined, then the file is opened and claimed, and only then
//! measured and compared: a property of an open file stays true, while a name may lead elsewhere a
//! moment later. Nothing here writes, except [`Target::grow_to`].
//!
//! A disk is claimed with O_EXCL: the kernel refuses it while the disk or a part of it is mounted,
//! swapped to, or held by a mapping, an array or another exclusive opener, and refuses all of them
//! while the disk is ours. The one user that the kernel lets pass is looked for here: a loop device
//! made of the disk. An image file is locked in both ways that programs lock files, and must
//! neither be behind a loop device nor be swapped to.
//!
//! A reader ([`open_for_reading`]) claims a disk in the same way, and shares an image file with
//! other readers. Whether somebody wrote without asking for a claim is reported afterwards by
//! [`stillness`].

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, FlockArg, fcntl};

use crate::device::Geometry;
use crate::remedy::{DiskRemedy, Remedied};
use crate::units::{ByteCount, SectorSize};
use crate::{Error, ErrorKind, Result};
use system::block_device;
use system::error::more_open_files;

mod alignment;
pub mod stillness;
mod users;

#[cfg(test)]
mod tests;

/// How long the kernel gets to release the files of a process that was just killed.
const RELEASE_WAIT: Duration = Duration::from_secs(1);
/// How often to retry meanwhile.
const RELEASE_POLL: Duration = Duration::from_millis(20);

/// A request to open a target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetRequest {
    /// The device node or image file, or a link to it.
    pub path: PathBuf,
    /// Its properties when it was chosen.
    pub expected: Expected,
}

/// The properties that an inventory saw. They are read again from the open target and compared,
/// because a name may have come to mean another disk meanwhile. A `None` is not compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// Its length.
    pub size: Option<ByteCount>,
    /// The kernel's number of this attachment of the disk (BLKGETDISKSEQ).
    pub disk_sequence: Option<u64>,
}

/// The kind of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetKind {
    /// A whole disk.
    BlockDevice,
    /// A regular file that holds the bytes of a disk.
    ImageFile,
}

/// How an opened target is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Write,
    Read,
    /// Read, without keeping anybody out.
    Look,
}

/// A target open for reading and writing, and ours alone as long as its file is open; or one open
/// for reading, which no writer that asks for a claim can open.
#[derive(Debug)]
pub struct Target {
    path: PathBuf,
    kind: TargetKind,
    geometry: Geometry,
    disk_sequence: Option<u64>,
    /// The sector size that an image file should have, if it can.
    sectors: Option<SectorSize>,
    file: File,
}

impl Target {
    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its kind.
    pub fn kind(&self) -> TargetKind {
        self.kind
    }

    /// Its length and the unit of its transfers. For an image file that unit is 4096 bytes if
    /// O_DIRECT needs more than 512, and its length need not be a multiple of it.
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// The kernel's number of this attachment of the disk; `None` for image files, and before Linux
    /// 5.15.
    pub fn disk_sequence(&self) -> Option<u64> {
        self.disk_sequence
    }

    /// The open file: with O_DIRECT, unless the filesystem of an image file does not support it.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The open file. It carries the claim: closing it gives up the target.
    pub fn into_file(self) -> File {
        self.file
    }

    /// Grows an image file to `size`; the added part reads as zeros. Durable with the next flush.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Refused`] for a disk, whose length is fixed, and for a `size` below the current
    /// length; [`ErrorKind::Failed`] if the filesystem fails to do it.
    pub fn grow_to(&mut self, size: ByteCount) -> Result<()> {
        let growing = || format!("growing {} to {size} bytes", self.path.display());
        if self.kind == TargetKind::BlockDevice {
            return Err(Error::refused(format!("{}: it is a disk", growing()))
                .with_hint("enlarge the disk where it is made, or name a larger one"));
        }
        if size < self.geometry.capacity {
            let has = self.geometry.capacity;
            return Err(Error::refused(format!("{}: it has {has} and is not cut", growing())));
        }
        self.file.set_len(size.get()).map_err(|cause| Error::failed(growing(), cause))?;
        self.geometry = image_geometry(&self.file, &self.path)?;
        if let Some(sectors) = self.sectors {
            self.geometry.sector_size = sectors;
        }
        Ok(())
    }
}

/// Opens the target of `request` for us alone.
///
/// # Errors
///
/// - [`ErrorKind::Usage`]: it does not exist, or is neither a disk nor a regular file.
/// - [`ErrorKind::Refused`]: in use, and by whom as far as that can be found; a partition;
///   read-only; without capacity; with an unsupported sector size; not what was expected.
/// - [`ErrorKind::Failed`]: it could not be opened or measured.
pub fn open(request: &TargetRequest) -> Result<Target> {
    open_to(Access::Write, request, None)
}

/// As [`open`], for a target that was written with `sectors` before: an image file that was moved
/// to a disk with larger sectors is opened without direct I/O, which needs no such alignment.
///
/// # Errors
///
/// As [`open`].
pub fn open_again(request: &TargetRequest, sectors: Option<SectorSize>) -> Result<Target> {
    open_to(Access::Write, request, sectors)
}

/// Opens the target of `request` for reading; it may be read-only. An image file may be open for
/// reading more than once.
///
/// # Errors
///
/// As [`open`], but a read-only target is accepted.
pub fn open_for_reading(request: &TargetRequest) -> Result<Target> {
    open_to(Access::Read, request, None)
}

/// Opens the target of `request` to look at it while somebody else may be writing: nobody is kept
/// out. What is read is not a single state of it, unless the caller knows the before-images
/// (`view`).
///
/// # Errors
///
/// As [`open_for_reading`], but a target in use is accepted.
pub fn open_to_look(request: &TargetRequest) -> Result<Target> {
    open_to(Access::Look, request, None)
}

fn open_to(access: Access, request: &TargetRequest, sectors: Option<SectorSize>) -> Result<Target> {
    let path = request.path.as_path();
    let seen = fs::metadata(path).map_err(|cause| not_reached(path, cause))?;
    let target = if seen.file_type().is_block_device() {
        open_disk(access, path, &seen)?
    } else if seen.file_type().is_file() {
        open_image(access, path, &seen, sectors)?
    } else {
        return Err(neither(path, &seen));
    };
    check_expected(&target, request.expected)?;
    Ok(target)
}

fn open_disk(access: Access, path: &Path, seen: &fs::Metadata) -> Result<Target> {
    if let Some(disk) = users::disk_of_partition(seen.rdev()) {
        let disk = disk.display();
        return Err(refused(path, format!("it is a partition of {disk}"))
            .with_hint(format!("a target is a whole disk: name {disk}")));
    }
    let claim = if access == Access::Look { 0 } else { libc::O_EXCL };
    let open = || open_with(access, path, libc::O_DIRECT | claim);
    let named = || users::of_disk(seen.rdev()).is_ok_and(|users| !users.is_empty());
    let file = patiently(open, |cause| is(cause, libc::EBUSY) && !named()).map_err(|cause| {
        if is(&cause, libc::EBUSY) {
            in_use(access, path, seen.rdev())
        } else {
            not_opened(path, cause)
        }
    })?;
    check_same_file(&file, path, seen)?;
    if access != Access::Look {
        check_no_loop_device_above(path, users::loops_on_disk(seen.rdev()))?;
    }
    let disk_sequence =
        block_device::disk_sequence(&file).map_err(|cause| not_measured(path, cause))?;
    if access == Access::Write {
        check_writable(&file, path)?;
    }
    let geometry = disk_geometry(&file, path)?;
    let (path, kind) = (path.to_owned(), TargetKind::BlockDevice);
    Ok(Target { path, kind, geometry, disk_sequence, sectors: None, file })
}

fn open_image(
    access: Access,
    path: &Path,
    seen: &fs::Metadata,
    sectors: Option<SectorSize>,
) -> Result<Target> {
    let file = open_with(access, path, libc::O_DIRECT).or_else(|cause| {
        // Not every filesystem supports direct I/O.
        if is(&cause, libc::EINVAL) { open_with(access, path, 0) } else { Err(cause) }
    });
    let file = file.map_err(|cause| not_opened(path, cause))?;
    check_same_file(&file, path, seen)?;
    if access == Access::Look {
        let geometry = image_geometry(&file, path)?;
        let (path, kind) = (path.to_owned(), TargetKind::ImageFile);
        return Ok(Target { path, kind, geometry, disk_sequence: None, sectors: None, file });
    }
    let measured = image_geometry(&file, path)?.sector_size;
    let sectors = sectors.filter(|wanted| wanted.bytes() < measured.bytes());
    let file = match sectors {
        None => file,
        Some(_) => {
            let file = open_with(access, path, 0).map_err(|cause| not_opened(path, cause))?;
            check_same_file(&file, path, seen)?;
            file
        }
    };
    patiently(|| lock(access, &file), is_lock_held).map_err(|cause| locked(path, cause))?;
    check_no_loop_device_above(path, users::loops_on_file(seen))?;
    if users::is_swap_file(seen).map_err(|cause| not_measured(path, cause))? {
        let hint = "name another file; swapon --show lists the swap areas";
        return Err(refused(path, "it is used as swap").with_hint(hint));
    }
    let mut geometry = image_geometry(&file, path)?;
    if let Some(sectors) = sectors {
        geometry.sector_size = sectors;
    }
    let (path, kind) = (path.to_owned(), TargetKind::ImageFile);
    Ok(Target { path, kind, geometry, disk_sequence: None, sectors, file })
}

fn open_with(access: Access, path: &Path, flags: i32) -> io::Result<File> {
    // Rust opens everything with O_CLOEXEC.
    OpenOptions::new().read(true).write(access == Access::Write).custom_flags(flags).open(path)
}

/// Between the stat and the open, the name may have been given to another file.
fn check_same_file(file: &File, path: &Path, seen: &fs::Metadata) -> Result<()> {
    let opened = file.metadata().map_err(|cause| not_measured(path, cause))?;
    let identity = |of: &fs::Metadata| match of.file_type().is_block_device() {
        true => (of.rdev(), None),
        false => (of.dev(), Some(of.ino())),
    };
    if opened.file_type() == seen.file_type() && identity(&opened) == identity(seen) {
        return Ok(());
    }
    Err(refused(path, "the path came to mean something else meanwhile")
        .remedied(DiskRemedy::LookAgain))
}

/// flock(2) keeps out util-linux and ourselves; an fcntl(2) lock on the whole file keeps out
/// programs that run virtual machines. Both end when the file is closed.
fn lock(access: Access, file: &File) -> io::Result<()> {
    let (kind, flock) = match access {
        Access::Write => (libc::F_WRLCK, FlockArg::LockExclusiveNonblock),
        Access::Read | Access::Look => (libc::F_RDLCK, FlockArg::LockSharedNonblock),
    };
    let whole = libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    lock_as_a_whole(file, flock)
        .and_then(|()| fcntl(file, FcntlArg::F_OFD_SETLK(&whole)).map(drop))
        .map_err(io::Error::from)
}

fn is_lock_held(cause: &io::Error) -> bool {
    is(cause, libc::EAGAIN) || is(cause, libc::EACCES)
}

fn locked(path: &Path, cause: io::Error) -> Error {
    let shown = path.display();
    if !is_lock_held(&cause) {
        return Error::failed(format!("locking {shown}"), cause);
    }
    refused(path, "it is locked by another program")
        .with_hint(format!("see which with: fuser -v {shown}; lslocks; or name another file"))
}

/// Retries for a moment while `is_held`: the kernel finishes what a killed process had under way on
/// a ring, and releases the file only then.
fn patiently<T>(
    mut attempt: impl FnMut() -> io::Result<T>,
    is_held: impl Fn(&io::Error) -> bool,
) -> io::Result<T> {
    let until = Instant::now() + RELEASE_WAIT;
    loop {
        match attempt() {
            Err(cause) if is_held(&cause) && Instant::now() < until => {
                std::thread::sleep(RELEASE_POLL);
            }
            done => return done,
        }
    }
}

/// flock(2) of `file`, for as long as it is open. The kernel releases the lock when the file is
/// closed; nix's guard would unlock it earlier, and panic if that fails.
#[expect(deprecated, reason = "the lock is to live as long as the file, wherever that goes")]
pub(crate) fn lock_as_a_whole(file: &File, how: FlockArg) -> nix::Result<()> {
    use std::os::fd::AsRawFd;
    nix::fcntl::flock(file.as_raw_fd(), how)
}

fn check_no_loop_device_above(path: &Path, found: io::Result<Vec<String>>) -> Result<()> {
    let found = found.map_err(|cause| not_measured(path, cause))?;
    let Some(name) = found.first() else { return Ok(()) };
    let reason = format!("it is behind the loop device /dev/{name}");
    let hint = format!("name /dev/{name} itself, or detach it first: losetup --detach /dev/{name}");
    Err(refused(path, reason).with_hint(hint))
}

fn check_writable(file: &File, path: &Path) -> Result<()> {
    match block_device::is_read_only(file).map_err(|cause| not_measured(path, cause))? {
        true => Err(read_only(path)),
        false => Ok(()),
    }
}

fn disk_geometry(file: &File, path: &Path) -> Result<Geometry> {
    let failed = |cause| not_measured(path, cause);
    let capacity = ByteCount::new(block_device::size_bytes(file).map_err(failed)?);
    if capacity.is_zero() {
        return Err(refused(path, "it has no capacity (0 bytes)").remedied(DiskRemedy::Choose));
    }
    let sector_size = sector_size(block_device::sector_bytes(file).map_err(failed)?, path)?;
    Ok(Geometry { capacity, sector_size })
}

fn image_geometry(file: &File, path: &Path) -> Result<Geometry> {
    let failed = |cause| not_measured(path, cause);
    let metadata = file.metadata().map_err(failed)?;
    let told = alignment::direct_alignment(file).map_err(failed)?;
    let alignment = told.or_else(|| users::sector_bytes_below(metadata.dev()));
    let sector_size = sector_size(image_sector_bytes(alignment), path)?;
    Ok(Geometry { capacity: ByteCount::new(metadata.len()), sector_size })
}

/// The sector size in bytes of an image file whose direct I/O requires `alignment`: 512 is enough
/// for many filesystems, and those that need more mostly need 4096.
fn image_sector_bytes(alignment: Option<u64>) -> u64 {
    match alignment {
        None | Some(0..=512) => 512,
        Some(513..=4096) => 4096,
        Some(more) => more,
    }
}

fn sector_size(bytes: u64, path: &Path) -> Result<SectorSize> {
    SectorSize::try_from(bytes)
        .map_err(|unsupported| refused(path, unsupported).remedied(DiskRemedy::Choose))
}

fn check_expected(target: &Target, expected: Expected) -> Result<()> {
    let changed = |what: String| {
        refused(&target.path, format!("it is not the disk that was meant: {what}"))
            .remedied(DiskRemedy::LookAgain)
    };
    let capacity = target.geometry.capacity;
    if let Some(size) = expected.size.filter(|size| *size != capacity) {
        return Err(changed(format!("it has {capacity} bytes now, and had {size}")));
    }
    let Some(sequence) = expected.disk_sequence else { return Ok(()) };
    if target.disk_sequence == Some(sequence) {
        return Ok(());
    }
    let now = target.disk_sequence.map_or_else(|| "none".to_owned(), |number| number.to_string());
    Err(changed(format!("its disk sequence number is {now} now, and was {sequence}")))
}

/// The kernel reports only EBUSY.
fn in_use(access: Access, path: &Path, number: u64) -> Error {
    let found = users::of_disk(number).unwrap_or_default();
    let reason = match found.as_slice() {
        [] => "another program or the kernel has it open exclusively".to_owned(),
        found => found.join(", "),
    };
    refused(path, reason).remedied(users::of_multipath(number, path).unwrap_or_else(|| {
        let is_read = match access {
            Access::Write => false,
            Access::Read | Access::Look => true,
        };
        DiskRemedy::SeeUsers { path: path.display().to_string(), is_read }
    }))
}

fn refused(path: &Path, reason: impl fmt::Display) -> Error {
    Error::refused(format!("opening {}: {reason}", path.display()))
}

fn read_only(path: &Path) -> Error {
    refused(path, "it is read-only")
        .with_hint("make it writable where it is attached, or name another disk")
}

fn not_opened(path: &Path, cause: io::Error) -> Error {
    if is(&cause, libc::EROFS) {
        return read_only(path);
    }
    let is_forbidden = cause.kind() == io::ErrorKind::PermissionDenied;
    let error = failed_for_want_of_files("opening", path, cause);
    if is_forbidden { error.remedied(DiskRemedy::OpenAsRoot) } else { error }
}

/// The error for a failed open, with a hint if it is due to a lack of file descriptors.
fn failed_for_want_of_files(doing: &str, path: &Path, cause: io::Error) -> Error {
    let more = more_open_files(&cause);
    let error = Error::failed(format!("{doing} {}", path.display()), cause);
    more.into_iter().fold(error, Error::with_hint)
}

fn not_measured(path: &Path, cause: io::Error) -> Error {
    failed_for_want_of_files("finding out about", path, cause)
}

fn not_reached(path: &Path, cause: io::Error) -> Error {
    let is_absent = matches!(cause.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
    let error = Error::failed(format!("opening {}", path.display()), cause);
    if !is_absent {
        return error;
    }
    usage(path, "there is no such disk or file")
}

fn neither(path: &Path, seen: &fs::Metadata) -> Error {
    let kind = seen.file_type();
    let what = match () {
        () if kind.is_dir() => "a directory",
        () if kind.is_char_device() => "a character device",
        () if kind.is_fifo() => "a pipe",
        () if kind.is_socket() => "a socket",
        () => "something else",
    };
    usage(path, format!("it is {what}, neither a disk nor an image file"))
}

fn usage(path: &Path, reason: impl fmt::Display) -> Error {
    let context = format!("opening {}: {reason}", path.display());
    Error::new(ErrorKind::Usage, context).remedied(DiskRemedy::ChooseOrMakeImage)
}

fn is(cause: &io::Error, errno: i32) -> bool {
    cause.raw_os_error() == Some(errno)
}
