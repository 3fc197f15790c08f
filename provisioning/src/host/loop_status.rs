//! The file behind a loop device, as reported by the kernel: in this mount namespace, the path in
//! sysfs may lead to another file.
#![expect(unsafe_code, reason = "an ioctl that neither nix nor libc has")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// `LOOP_GET_STATUS64` of <linux/loop.h>.
const LOOP_GET_STATUS64: libc::Ioctl = 0x4c05;

/// `struct loop_info64` of <linux/loop.h>.
#[repr(C)]
#[derive(Clone, Copy)]
struct LoopInfo64 {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// The file behind a loop device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LoopStatus {
    /// The device that contains the file, as `st_dev`.
    pub(super) device: u64,
    /// Its inode there.
    pub(super) inode: u64,
    /// Where in the file the loop device begins, in bytes.
    pub(super) offset: u64,
}

/// Asks the kernel about the open loop device `device`.
///
/// # Errors
/// Returns the kernel's error if it is not a loop device (`ENOTTY`, `EINVAL`) or has no file
/// (`ENXIO`).
pub(super) fn loop_status(device: &File) -> io::Result<LoopStatus> {
    let mut info = LoopInfo64 {
        device: 0,
        inode: 0,
        rdevice: 0,
        offset: 0,
        size_limit: 0,
        number: 0,
        encrypt_type: 0,
        encrypt_key_size: 0,
        flags: 0,
        file_name: [0; 64],
        crypt_name: [0; 64],
        encrypt_key: [0; 32],
        init: [0; 2],
    };
    // SAFETY: `device` is an open descriptor for the duration of the call, and `info` has the
    // layout of struct loop_info64, which is all that this request fills. The caller has made sure
    // that it is a loop device, for which the number means this request.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), LOOP_GET_STATUS64, &raw mut info) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(LoopStatus { device: info.device, inode: info.inode, offset: info.offset })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structure_has_the_size_of_the_kernels() {
        assert_eq!(size_of::<LoopInfo64>(), 232);
    }

    #[test]
    fn what_is_no_loop_device_is_an_error() {
        assert!(loop_status(&tempfile::tempfile().unwrap()).is_err());
    }
}
