//! Loop devices, as <linux/loop.h> has them: what file is behind one, and attaching a file to one
//! that the kernel detaches by itself when the last process that has it open closes it.
#![allow(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::libc::c_ulong;

/// From <linux/loop.h>.
const LOOP_SET_FD: c_ulong = 0x4C00;
const LOOP_SET_STATUS64: c_ulong = 0x4C04;
const LOOP_GET_STATUS64: c_ulong = 0x4C05;
const LOOP_CONFIGURE: c_ulong = 0x4C0A;
const LOOP_CTL_GET_FREE: c_ulong = 0x4C82;
const LO_FLAGS_AUTOCLEAR: u32 = 4;

/// How often another process may take the free device before us.
const ATTEMPTS_MAX: usize = 64;

/// `struct loop_info64` of <linux/loop.h>.
#[repr(C)]
#[derive(Clone, Copy)]
struct Status {
    device: u64,
    inode: u64,
    real_device: u64,
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

/// `struct loop_config` of <linux/loop.h>.
#[repr(C)]
struct Configuration {
    file: u32,
    block_size: u32,
    status: Status,
    reserved: [u64; 8],
}

mod request {
    use super::{Configuration, Status};

    nix::ioctl_none_bad!(get_free, super::LOOP_CTL_GET_FREE);
    nix::ioctl_write_int_bad!(set_file, super::LOOP_SET_FD);
    nix::ioctl_write_ptr_bad!(set_status, super::LOOP_SET_STATUS64, Status);
    nix::ioctl_read_bad!(get_status, super::LOOP_GET_STATUS64, Status);
    nix::ioctl_write_ptr_bad!(configure, super::LOOP_CONFIGURE, Configuration);
}

/// The file behind a loop device. The kernel knows it by its inode: the path in sysfs may have been
/// removed, or name another file in this mount namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backing {
    /// The filesystem that the file is on, as `st_dev`.
    pub filesystem: u64,
    /// The file's inode on it.
    pub inode: u64,
    /// The block device that the file is, as `st_rdev`; 0 if it is a regular file.
    pub device: u64,
    /// Where in the file the loop device begins, in bytes.
    pub offset: u64,
}

/// LOOP_GET_STATUS64: the file behind the loop device that is open as `device`; `None` if it is
/// detached.
///
/// # Errors
///
/// What the kernel says, of what is not a loop device: `ENOTTY` or `EINVAL`.
pub fn backing(device: &File) -> io::Result<Option<Backing>> {
    let mut status = status(0);
    // SAFETY: the request fills a `loop_info64`, which `Status` is laid out as; the descriptor is
    // open during the call.
    match unsafe { request::get_status(device.as_raw_fd(), &raw mut status) } {
        Ok(_) => Ok(Some(Backing {
            filesystem: status.device,
            inode: status.inode,
            device: status.real_device,
            offset: status.offset,
        })),
        Err(Errno::ENXIO) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// An attached loop device; it is detached when this is dropped and nobody else has it open.
#[derive(Debug)]
pub struct LoopDevice {
    path: PathBuf,
    backing: Option<String>,
    /// Held open, and not inherited by child processes: this keeps the device attached.
    _device: File,
}

impl LoopDevice {
    /// Attaches `file` to a free loop device.
    ///
    /// # Errors
    /// Returns an error if there is no loop driver, no free device, or it may not be used.
    pub fn attach(file: &File) -> io::Result<Self> {
        let control = File::open("/dev/loop-control")?;
        for _ in 0..ATTEMPTS_MAX {
            // SAFETY: the request takes no argument, and `control` is open during the call.
            let number = unsafe { request::get_free(control.as_raw_fd()) }?;
            let path = PathBuf::from(format!("/dev/loop{number}"));
            let device = OpenOptions::new().read(true).write(true).open(&path)?;
            match bind(&device, file) {
                Ok(()) => {
                    let backing = backing_file(&path);
                    return Ok(Self { path, backing, _device: device });
                }
                Err(Errno::EBUSY) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Err(Errno::EBUSY.into())
    }

    /// `/dev/loopN`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Closes the device, and returns a value that can tell whether it is gone.
    pub fn close(self) -> Closed {
        Closed { path: self.path, backing: self.backing }
    }
}

/// A loop device that was closed here.
#[derive(Debug)]
pub struct Closed {
    path: PathBuf,
    backing: Option<String>,
}

impl Closed {
    /// Whether the kernel has detached it (and perhaps given it to somebody else).
    pub fn is_gone(&self) -> bool {
        self.backing.is_none() || backing_file(&self.path) != self.backing
    }

    /// `/dev/loopN`.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Uses one request if the kernel has it (5.8), so that the device is never attached permanently;
/// else two, and only a kill between them would leave it attached.
fn bind(device: &File, file: &File) -> nix::Result<()> {
    let number = file.as_raw_fd();
    let configuration = Configuration {
        file: number.unsigned_abs(),
        block_size: 0,
        status: status(LO_FLAGS_AUTOCLEAR),
        reserved: [0; 8],
    };
    // SAFETY: `configuration` has the layout of the kernel's struct loop_config, is only read, and
    // outlives the call; both descriptors are open during it.
    match unsafe { request::configure(device.as_raw_fd(), &raw const configuration) } {
        Ok(_) => Ok(()),
        Err(Errno::EINVAL | Errno::ENOTTY) => bind_in_two_requests(device, file),
        Err(errno) => Err(errno),
    }
}

fn bind_in_two_requests(device: &File, file: &File) -> nix::Result<()> {
    // SAFETY: the argument is a number, that of a descriptor that is open during the call.
    unsafe { request::set_file(device.as_raw_fd(), file.as_raw_fd()) }?;
    let status = status(LO_FLAGS_AUTOCLEAR);
    // SAFETY: `status` is laid out as the kernel's struct loop_info64, is only read, and outlives
    // the call; the descriptor is open during it.
    unsafe { request::set_status(device.as_raw_fd(), &raw const status) }.map(|_| ())
}

fn status(flags: u32) -> Status {
    Status {
        device: 0,
        inode: 0,
        real_device: 0,
        offset: 0,
        size_limit: 0,
        number: 0,
        encrypt_type: 0,
        encrypt_key_size: 0,
        flags,
        file_name: [0; 64],
        crypt_name: [0; 64],
        encrypt_key: [0; 32],
        init: [0; 2],
    }
}

/// The file behind a loop device, as the kernel reports it; `None` if it is not attached.
fn backing_file(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    std::fs::read_to_string(format!("/sys/devices/virtual/block/{name}/loop/backing_file")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structures_have_the_sizes_that_the_kernel_checks() {
        assert_eq!(size_of::<Status>(), 232);
        assert_eq!(size_of::<Configuration>(), 304);
    }

    #[test]
    fn what_is_not_a_loop_device_is_an_error() {
        assert!(backing(&tempfile::tempfile().unwrap()).is_err());
    }
}
