//! What the kernel reports about an open block device, and zeroing a range of it: the ioctls of
//! <linux/fs.h>. Nothing is decided here.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use nix::errno::Errno;

mod request {
    use nix::libc::c_int;

    // The sizes in the numbers of the requests are not always those of the data they fill, so each
    // is written as in the header.
    nix::ioctl_read_bad!(sector_size, nix::request_code_none!(0x12, 104), c_int);
    nix::ioctl_read_bad!(is_read_only, nix::request_code_none!(0x12, 94), c_int);
    nix::ioctl_read_bad!(size_bytes, nix::request_code_read!(0x12, 114, size_of::<usize>()), u64);
    nix::ioctl_read!(disk_sequence, 0x12, 128, u64);
    nix::ioctl_write_ptr_bad!(zero_out, nix::request_code_none!(0x12, 127), [u64; 2]);
}

/// BLKGETSIZE64: the disk's length in bytes.
///
/// # Errors
///
/// The kernel's; `ENOTTY` for what is no block device.
pub fn size_bytes(disk: &File) -> io::Result<u64> {
    let mut bytes = 0;
    // SAFETY: the request fills the eight bytes that it is given, whatever its number says.
    unsafe { request::size_bytes(disk.as_raw_fd(), &raw mut bytes) }?;
    Ok(bytes)
}

/// BLKSSZGET: the disk's logical block size in bytes.
///
/// # Errors
///
/// As [`size_bytes`].
pub fn sector_bytes(disk: &File) -> io::Result<u64> {
    let mut bytes = 0;
    // SAFETY: the request fills the one int that it is given.
    unsafe { request::sector_size(disk.as_raw_fd(), &raw mut bytes) }?;
    u64::try_from(bytes).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// BLKROGET: whether the kernel refuses writes.
///
/// # Errors
///
/// As [`size_bytes`].
pub fn is_read_only(disk: &File) -> io::Result<bool> {
    let mut answer = 0;
    // SAFETY: the request fills the one int that it is given.
    unsafe { request::is_read_only(disk.as_raw_fd(), &raw mut answer) }?;
    Ok(answer != 0)
}

/// BLKGETDISKSEQ: the number of this attachment; `None` before Linux 5.15, and for what is no block
/// device.
///
/// # Errors
///
/// The kernel's.
pub fn disk_sequence(disk: &File) -> io::Result<Option<u64>> {
    let mut number = 0;
    // SAFETY: the request fills the eight bytes that it is given.
    match unsafe { request::disk_sequence(disk.as_raw_fd(), &raw mut number) } {
        Ok(_) => Ok(Some(number)),
        Err(Errno::ENOTTY | Errno::EINVAL) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// BLKZEROOUT: makes `length` bytes from `start` on read as zeros.
///
/// # Errors
///
/// The kernel's; `ENOTTY` for what is no block device.
pub fn zero_out(disk: &File, start: u64, length: u64) -> nix::Result<()> {
    let range = [start, length];
    // SAFETY: the kernel reads two numbers of 64 bits from `range`, which outlives the call.
    unsafe { request::zero_out(disk.as_raw_fd(), &raw const range) }.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_block_device_is_an_error_and_has_no_sequence_number() {
        let file = tempfile::tempfile().unwrap();
        for outcome in [
            size_bytes(&file).map(drop),
            sector_bytes(&file).map(drop),
            is_read_only(&file).map(drop),
            zero_out(&file, 0, 4096).map_err(io::Error::from),
        ] {
            assert_eq!(outcome.unwrap_err().raw_os_error(), Some(libc::ENOTTY));
        }
        assert_eq!(disk_sequence(&file).unwrap(), None);
    }
}
