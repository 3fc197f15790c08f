//! The alignment that O_DIRECT requires of a file, as statx(2) reports it.
#![expect(unsafe_code, reason = "nix has no statx(2), which fills memory of ours")]

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;

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
