//! Which target a volume goes to: a disk or image file of this host, or a device that is already
//! open.

use std::fs::File;

use crate::device::Engine;
use crate::device::open::open;
use crate::device::{BlockDevice, Geometry};
use crate::target_identity::{Held, KnownAs, TargetIdentity};
use crate::units::ByteCount;
use crate::volume::{Target, TargetKind};
use crate::volume_name::VolumeName;
use crate::{Error, ErrorKind, Result};

/// Which target a volume of the streams goes to.
#[derive(Debug)]
pub struct Assignment {
    /// The volume's name in the streams; unnamed if they have a single volume, which is this one.
    pub volume: VolumeName,
    /// The target, open.
    pub target: Disk,
    /// What identifies the target.
    pub identity: KnownAs,
}

impl Assignment {
    /// What distinguishes its target from others; the content of the target is not read.
    pub(crate) fn target_identity(&self) -> TargetIdentity {
        let KnownAs { serial, backing_file, .. } = self.identity.clone();
        let sector_bytes = self.target.geometry().sector_size.bytes().get();
        TargetIdentity { serial, backing_file, sector_bytes, content: None }
    }
}

/// A disk to write to.
#[derive(Debug)]
pub enum Disk {
    /// A disk or an image file of this host, held.
    Target(Target),
    /// A device that is open already.
    Device(OpenDevice),
}

/// An open device, until it is taken for writing.
pub struct OpenDevice {
    shown: String,
    geometry: Geometry,
    device: Option<Box<dyn BlockDevice>>,
}

impl std::fmt::Debug for OpenDevice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenDevice").field("shown", &self.shown).finish_non_exhaustive()
    }
}

impl OpenDevice {
    /// `device`, named `shown` in messages.
    #[must_use]
    pub fn new(shown: String, device: Box<dyn BlockDevice>) -> Self {
        Self { shown, geometry: device.geometry(), device: Some(device) }
    }
}

impl From<Target> for Disk {
    fn from(target: Target) -> Self {
        Self::Target(target)
    }
}

impl Disk {
    /// Its name in messages.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::Target(target) => target.path().display().to_string(),
            Self::Device(device) => device.shown.clone(),
        }
    }

    /// Its length and sectors.
    #[must_use]
    pub fn geometry(&self) -> Geometry {
        match self {
            Self::Target(target) => target.geometry(),
            Self::Device(device) => device.geometry,
        }
    }

    /// Whether it is an image file, which can grow.
    pub(crate) fn is_image_file(&self) -> bool {
        match self {
            Self::Target(target) => target.kind() == TargetKind::ImageFile,
            Self::Device(_) => false,
        }
    }

    /// Its content, for inspection; `None` for a device that is already being written.
    pub(crate) fn held(&mut self) -> Option<Held<'_>> {
        match self {
            Self::Target(target) => Some(Held::File(target.file())),
            Self::Device(device) => Some(Held::Device(device.device.as_mut()?.as_mut())),
        }
    }

    /// The file behind it, if it is a file or disk of this host.
    pub(crate) fn file(&self) -> Option<&File> {
        match self {
            Self::Target(target) => Some(target.file()),
            Self::Device(_) => None,
        }
    }

    /// Grows its image file.
    pub(crate) fn grow_to(&mut self, size: ByteCount) -> Result<()> {
        match self {
            Self::Target(target) => target.grow_to(size),
            Self::Device(device) => {
                let context = format!("growing {}: it cannot grow", device.shown);
                Err(Error::refused(context).with_hint("name a larger one"))
            }
        }
    }

    /// Opens it for writing.
    ///
    /// # Errors
    ///
    /// `Failed`: it could not be opened, or is already being written.
    pub fn open(&mut self, engine: Engine) -> Result<Box<dyn BlockDevice>> {
        let opening = |shown: &str| format!("opening {shown}");
        match self {
            Self::Target(target) => {
                let shown = target.path().display().to_string();
                let file = target.file().try_clone();
                let file = file.map_err(|error| Error::failed(opening(&shown), error))?;
                open(file, target.geometry(), engine)
            }
            Self::Device(device) => device.device.take().ok_or_else(|| {
                let context =
                    format!("{}: another volume writes to it already", opening(&device.shown));
                Error::new(ErrorKind::Failed, context)
            }),
        }
    }
}
