//! Opens a disk or an image file with an engine, and falls back to blocking I/O with one warning if
//! io_uring is refused. Guards (mounted, held, identity) are in `volume`.

use std::fs::File;
use std::io;
use std::sync::Once;

use crate::device::blocking::BlockingDevice;
use crate::device::uring::UringDevice;
use crate::device::{BlockDevice, Engine, Geometry};
use crate::remedy::{DiskRemedy, Remedied};
use crate::{Error, Result};

/// Makes a device of `file`, which is open for reading and writing, with O_DIRECT if possible.
/// [`BlockDevice::engine_name`] returns the engine that was chosen.
///
/// # Errors
///
/// Of kind `Failed` if [`Engine::Uring`] is wanted and not available, or if an image that is not
/// whole sectors cannot be opened a second time without O_DIRECT.
pub fn open(file: File, geometry: Geometry, engine: Engine) -> Result<Box<dyn BlockDevice>> {
    match engine {
        Engine::Blocking => open_blocking(file, geometry),
        Engine::Uring => match open_uring(&file, geometry) {
            Ok(device) => Ok(device),
            Err(cause) => {
                Err(Error::failed("setting up io_uring", cause).remedied(DiskRemedy::AllowRing))
            }
        },
        Engine::Auto => match open_uring(&file, geometry) {
            Ok(device) => Ok(device),
            Err(cause) => {
                warn_once(&cause);
                open_blocking(file, geometry)
            }
        },
    }
}

fn open_uring(file: &File, geometry: Geometry) -> io::Result<Box<dyn BlockDevice>> {
    Ok(Box::new(UringDevice::new(file.try_clone()?, geometry)?))
}

fn open_blocking(file: File, geometry: Geometry) -> Result<Box<dyn BlockDevice>> {
    let device = BlockingDevice::new(file, geometry)
        .map_err(|cause| Error::failed("opening an image for its last sector", cause))?;
    Ok(Box::new(device))
}

/// Warns once per process, however many disks it opens: the reason is the same for all.
fn warn_once(cause: &io::Error) {
    static WARNED: Once = Once::new();
    WARNED.call_once(|| {
        tracing::warn!(%cause, "io_uring is not permitted: using blocking I/O, which is slower");
    });
}
