//! A loop device that the kernel removes by itself: it is detached when its last opener closes it,
//! whatever the reason. Its contents are the business of `stage`.
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
const LOOP_CONFIGURE: c_ulong = 0x4C0A;
const LOOP_CTL_GET_FREE: c_ulong = 0x4C82;
const LO_FLAGS_AUTOCLEAR: u32 = 4;

/// How often another process may take the free device before us.
const ATTEMPTS_MAX: usize = 64;

/// `struct loop_info64` of <linux/loop.h>.
#[repr(C)]
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

nix::ioctl_none_bad!(get_free, LOOP_CTL_GET_FREE);
nix::ioctl_write_int_bad!(set_file, LOOP_SET_FD);
nix::ioctl_write_ptr_bad!(set_status, LOOP_SET_STATUS64, Status);
nix::ioctl_write_ptr_bad!(configure, LOOP_CONFIGURE, Configuration);

/// An attached loop device; it is detached when this is dropped and nobody else has it open.
#[derive(Debug)]
pub(super) struct LoopDevice {
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
    pub(super) fn attach(file: &File) -> io::Result<Self> {
        let control = File::open("/dev/loop-control")?;
        for _ in 0..ATTEMPTS_MAX {
            // SAFETY: the request takes no argument, and `control` is open during the call.
            let number = unsafe { get_free(control.as_raw_fd()) }?;
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
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Closes the device, and returns a value that can tell whether it is gone.
    pub(super) fn close(self) -> Closed {
        Closed { path: self.path, backing: self.backing }
    }
}

/// A loop device that was closed here.
#[derive(Debug)]
pub(super) struct Closed {
    path: PathBuf,
    backing: Option<String>,
}

impl Closed {
    /// Whether the kernel has detached it (and perhaps given it to somebody else).
    pub(super) fn is_gone(&self) -> bool {
        self.backing.is_none() || backing_file(&self.path) != self.backing
    }

    /// `/dev/loopN`.
    pub(super) fn path(&self) -> &Path {
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
        status: status(),
        reserved: [0; 8],
    };
    // SAFETY: `configuration` has the layout of the kernel's struct loop_config, is only read, and
    // outlives the call; both descriptors are open during it.
    match unsafe { configure(device.as_raw_fd(), &raw const configuration) } {
        Ok(_) => Ok(()),
        Err(Errno::EINVAL | Errno::ENOTTY) => bind_in_two_requests(device, file),
        Err(errno) => Err(errno),
    }
}

fn bind_in_two_requests(device: &File, file: &File) -> nix::Result<()> {
    // SAFETY: the argument is the number of a descriptor that is open during the call.
    unsafe { set_file(device.as_raw_fd(), file.as_raw_fd()) }?;
    let status = status();
    // SAFETY: `status` has the layout of the kernel's struct loop_info64, is only read, and
    // outlives the call; the descriptor is open during it.
    unsafe { set_status(device.as_raw_fd(), &raw const status) }.map(|_| ())
}

fn status() -> Status {
    Status {
        device: 0,
        inode: 0,
        real_device: 0,
        offset: 0,
        size_limit: 0,
        number: 0,
        encrypt_type: 0,
        encrypt_key_size: 0,
        flags: LO_FLAGS_AUTOCLEAR,
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
}
