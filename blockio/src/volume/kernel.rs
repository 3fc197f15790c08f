//! What only system calls report about an open file: a disk's size, sectors, protection and
//! sequence number, and the alignment that O_DIRECT requires. Nothing is decided here.
#![expect(unsafe_code, reason = "ioctl(2) and statx(2) fill memory of ours")]

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;

use nix::errno::Errno;

mod request {
    use nix::libc::c_int;

    // The requests of <linux/fs.h>. The sizes in their numbers are not always those of the data
    // they fill, so each is written as in the header.
    nix::ioctl_read_bad!(sector_size, nix::request_code_none!(0x12, 104), c_int);
    nix::ioctl_read_bad!(is_read_only, nix::request_code_none!(0x12, 94), c_int);
    nix::ioctl_read_bad!(size_bytes, nix::request_code_read!(0x12, 114, size_of::<usize>()), u64);
    nix::ioctl_read!(disk_sequence, 0x12, 128, u64);
}

/// BLKGETSIZE64: the disk's length in bytes.
pub(super) fn size_bytes(disk: &File) -> io::Result<u64> {
    let mut bytes = 0;
    // SAFETY: the request fills the eight bytes that it is given, whatever its number says.
    unsafe { request::size_bytes(disk.as_raw_fd(), &raw mut bytes) }?;
    Ok(bytes)
}

/// BLKSSZGET: the disk's logical block size in bytes.
pub(super) fn sector_bytes(disk: &File) -> io::Result<u64> {
    let mut bytes = 0;
    // SAFETY: the request fills the one int that it is given.
    unsafe { request::sector_size(disk.as_raw_fd(), &raw mut bytes) }?;
    u64::try_from(bytes).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// BLKROGET: whether the kernel refuses writes.
pub(super) fn is_read_only(disk: &File) -> io::Result<bool> {
    let mut answer = 0;
    // SAFETY: the request fills the one int that it is given.
    unsafe { request::is_read_only(disk.as_raw_fd(), &raw mut answer) }?;
    Ok(answer != 0)
}

/// BLKGETDISKSEQ: the number of this attachment; `None` before Linux 5.15.
pub(super) fn disk_sequence(disk: &File) -> io::Result<Option<u64>> {
    let mut number = 0;
    // SAFETY: the request fills the eight bytes that it is given.
    match unsafe { request::disk_sequence(disk.as_raw_fd(), &raw mut number) } {
        Ok(_) => Ok(Some(number)),
        Err(Errno::ENOTTY | Errno::EINVAL) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// The alignment in bytes that O_DIRECT requires of offsets and lengths in `file`; `None` if the
/// kernel (before Linux 6.1) or the filesystem does not report it.
pub(super) fn direct_alignment(file: &File) -> io::Result<Option<u64>> {
    let mut found = MaybeUninit::<libc::statx>::zeroed();
    // SAFETY: the path is empty and ends with NUL, and the call fills a `statx`.
    let failed = unsafe {
        libc::statx(
            file.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            libc::STATX_DIOALIGN,
            found.as_mut_ptr(),
        )
    };
    if failed != 0 {
        let cause = io::Error::last_os_error();
        return if cause.raw_os_error() == Some(libc::ENOSYS) { Ok(None) } else { Err(cause) };
    }
    // SAFETY: all fields are integers, for which zero is valid, and the call filled them.
    let found = unsafe { found.assume_init() };
    let is_told = found.stx_mask & libc::STATX_DIOALIGN != 0 && found.stx_dio_offset_align > 0;
    Ok(is_told.then_some(u64::from(found.stx_dio_offset_align)))
}
