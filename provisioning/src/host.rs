//! The only door to the machine: files under a root prefix, block devices, and one way to run
//! commands. What is read or run through it, and why, is decided elsewhere.
//!
//! A [`Host`] has two trees. `machine` is where the kernel speaks: /sys, /proc, /dev, /run.
//! `system` is the installation being prepared: /etc, /var/lib, package databases. They are the
//! same tree on a running host; with `--root DIR` the machine stays the running one and the system
//! is the image mounted at DIR; a recorded host has both in memory.

mod command;
mod content;
mod device;
mod loop_status;
mod mapped;
mod memory;
mod recorded;
mod tree;
#[cfg(feature = "udev")]
mod udev;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

pub use command::{CommandRunner, Invocation, Output, RealRunner};
pub use device::DeviceReader;
pub use memory::{MemoryTree, Node};
pub use recorded::{RecordedCommand, RecordedHost};
pub use tree::{FileKind, FileStatus, FileWriteMode, Tree, lock_file};

use crate::blank::Content;
use crate::error::{Error, Result};
use crate::lossless_text;

/// Whether this kernel lets this process set up an io_uring.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RingProbe {
    /// A ring was set up.
    Available,
    /// Setting one up failed with this errno (1 EPERM: forbidden; 38 ENOSYS: not there).
    Refused(i32),
    /// Not tried: the host is recorded or an image.
    Unknown,
}

/// The machine and the system being prepared; see the module documentation.
pub struct Host {
    machine: Tree,
    system: Tree,
    image: Option<PathBuf>,
    runner: Box<dyn CommandRunner>,
    ring: Option<RingProbe>,
    record: Option<(MemoryTree, Rc<RefCell<Vec<RecordedCommand>>>)>,
}

impl Host {
    /// The running machine.
    pub fn running() -> Self {
        Self {
            machine: Tree::directory("/"),
            system: Tree::directory("/"),
            image: None,
            runner: Box::new(RealRunner),
            ring: None,
            record: None,
        }
    }

    /// The running machine, with everything that is read and run put down ([`Host::record`]).
    pub fn recording() -> Self {
        let files = MemoryTree::new();
        let commands = Rc::new(RefCell::new(Vec::new()));
        Self {
            machine: Tree::recorded_into(files.clone()),
            system: Tree::recorded_into(files.clone()),
            runner: Box::new(recorded::RecordingRunner(Rc::clone(&commands))),
            record: Some((files, commands)),
            ..Self::running()
        }
    }

    /// The running machine's devices, and the system mounted at `root` as the one to prepare.
    ///
    /// # Errors
    /// When `root` is not a directory.
    pub fn with_image(root: &Path) -> Result<Self> {
        let absolute = tree::absolute_directory(root)?;
        if absolute == Path::new("/") {
            return Ok(Self::running());
        }
        let system = Tree::directory(&absolute);
        // As text: mount points, which it is compared with, are.
        let image = lossless_text::of_path(&absolute).into();
        Ok(Self { system, image: Some(image), ..Self::running() })
    }

    /// A host recorded earlier ([`RecordedHost`]): nothing of the running machine is looked at, and
    /// edits stay in memory.
    pub fn recorded(record: RecordedHost) -> Self {
        let ring = record.io_uring.clone();
        let (tree, commands) = record.into_parts();
        Self::scripted(tree, Box::new(commands)).with_ring(ring)
    }

    /// A host in memory whose commands are answered by `runner`.
    pub fn scripted(tree: MemoryTree, runner: Box<dyn CommandRunner>) -> Self {
        Self {
            machine: Tree::memory(tree.clone()),
            system: Tree::memory(tree),
            image: None,
            runner,
            ring: Some(RingProbe::Unknown),
            record: None,
        }
    }

    /// The same host with another command runner: to watch, to count, or to fail on purpose.
    #[must_use]
    pub fn with_runner(mut self, runner: Box<dyn CommandRunner>) -> Self {
        self.runner = runner;
        self
    }

    fn with_ring(mut self, ring: RingProbe) -> Self {
        self.ring = Some(ring);
        self
    }

    /// Where the kernel speaks: /sys, /proc, /dev, /run; also files that the operator named.
    pub fn machine(&self) -> &Tree {
        &self.machine
    }

    /// The system being prepared: /etc, /var/lib, /lib/modules.
    pub fn system(&self) -> &Tree {
        &self.system
    }

    /// The image's directory, when a mounted image is prepared and not the running host.
    pub fn image(&self) -> Option<&Path> {
        self.image.as_deref()
    }

    /// Whether the kernel that answers is the running one (not a recording).
    pub fn is_live(&self) -> bool {
        !self.machine.is_memory()
    }

    /// Runs `invocation`, which only looks, to its end; a status other than zero is an output.
    ///
    /// # Errors
    /// When the program cannot be found or started.
    pub fn ask(&self, invocation: &Invocation) -> Result<Output> {
        let output = self.runner.run(invocation, &mut |_| {})?;
        tracing::debug!(command = %invocation, status = %output.status_text(), "asked");
        Ok(output)
    }

    /// As [`Host::ask`], and gives what was printed on stdout.
    ///
    /// # Errors
    /// When it cannot be started or its status is not zero: the last lines of stderr are in the
    /// error.
    pub fn ask_checked(&self, invocation: &Invocation) -> Result<String> {
        self.ask(invocation)?.into_stdout(invocation)
    }

    /// Runs `invocation`, which changes something, and gives every line it prints to `watch`. What
    /// was run, and what came of it, is logged.
    ///
    /// # Errors
    /// When it cannot be started or its status is not zero: the last lines of stderr are in the
    /// error.
    pub fn change(&self, invocation: &Invocation, watch: &mut dyn FnMut(&str)) -> Result<String> {
        self.change_output(invocation, watch)?.into_stdout(invocation)
    }

    /// As [`Host::change`], with whatever came of it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn change_output(
        &self,
        invocation: &Invocation,
        watch: &mut dyn FnMut(&str),
    ) -> Result<Output> {
        let output = self.runner.run(invocation, watch)?;
        tracing::info!(command = %invocation, status = %output.status_text(), "ran");
        Ok(output)
    }

    /// Opens the block device at `path` for reading, without claiming it.
    ///
    /// # Errors
    /// When there is no block device or it cannot be opened.
    pub fn open_device(&self, path: &Path) -> Result<DeviceReader> {
        DeviceReader::open(&self.machine, path)
    }

    /// Opens the block device at `path` for reading with O_EXCL: refused by the kernel while the
    /// device is mounted, held, swapped on or claimed by another exclusive opener.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Refused`] when it is busy; otherwise as [`Host::open_device`].
    pub fn open_device_exclusively(&self, path: &Path) -> Result<DeviceReader> {
        DeviceReader::open_exclusively(&self.machine, path)
    }

    /// Whether the kernel refuses to open the device at `path` exclusively; `false` too when it may
    /// not be opened at all.
    pub fn is_held(&self, path: &Path) -> bool {
        let opened = self.open_device_exclusively(path);
        let is_held = opened.is_err_and(|error| error.kind() == crate::ErrorKind::Refused);
        if is_held {
            self.machine.record_busy(path);
        }
        is_held
    }

    /// What lies on the device at `path` that shows no signature ([`crate::blank`]).
    ///
    /// # Errors
    /// When it cannot be opened, or any of what is to be looked at cannot be read.
    pub fn content(&self, path: &Path) -> Result<Content> {
        self.content_of(&self.open_device(path)?)
    }

    /// As [`Host::content`], of a device that is open. Other places are looked at each time.
    ///
    /// # Errors
    /// When any of what is to be looked at cannot be read.
    pub fn content_of(&self, device: &DeviceReader) -> Result<Content> {
        let (seed, _) = uuid::Uuid::new_v4().as_u64_pair();
        let content = device.content(&self.machine, seed)?;
        self.machine.record_content(device.path(), device.device_number(), &content);
        Ok(content)
    }

    /// Asks a SCSI device for a VPD page by SG_IO; `None` when it has none, or is no SCSI device,
    /// or may not be asked, or the host is recorded.
    pub fn inquire_vpd(&self, path: &Path, page: u8) -> Option<Vec<u8>> {
        self.open_device(path).ok()?.inquire_vpd(page)
    }

    /// Sets up a small io_uring and takes it down again.
    pub fn probe_io_uring(&self) -> RingProbe {
        if let Some(recorded) = &self.ring {
            return recorded.clone();
        }
        if self.image.is_some() {
            return RingProbe::Unknown;
        }
        match io_uring::IoUring::new(2) {
            Ok(_ring) => RingProbe::Available,
            Err(error) => RingProbe::Refused(error.raw_os_error().unwrap_or(0)),
        }
    }

    /// The udev database of every block device: `None` where udevd is not running.
    /// Keys are kernel names (`sda`), values udev's properties (`ID_FS_TYPE`).
    pub fn udev_block_devices(&self) -> Option<UdevDatabase> {
        if !self.machine.exists("/run/udev/control") {
            return None;
        }
        #[cfg(feature = "udev")]
        if self.is_live() && !self.machine.is_recording() {
            return udev::block_devices();
        }
        let export = Invocation::new("udevadm").arguments(["info", "--export-db"]);
        let text = self.ask_checked(&export).ok()?;
        Some(recorded::parse_udev_export(&text))
    }

    /// What was read and run so far, when this host keeps a record ([`Host::recording`]).
    pub fn record(&self) -> Option<RecordedHost> {
        let (files, commands) = self.record.as_ref()?;
        let mut record = RecordedHost::new("", files, commands.borrow().clone());
        record.io_uring = self.probe_io_uring();
        Some(record)
    }
}

/// Properties by kernel name.
pub type UdevDatabase = std::collections::BTreeMap<String, UdevProperties>;
/// One device's udev properties.
pub type UdevProperties = std::collections::BTreeMap<String, String>;

/// The error for a program, file or device that is not what `what` needs.
pub(crate) fn io_failed(doing: &str, path: &Path, cause: std::io::Error) -> Error {
    Error::failed(format!("{doing} {}", path.display()), cause)
}
