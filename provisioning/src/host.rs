//! The only door to the machine: files under a root prefix, block devices, and one way to run
//! commands. What is read or run through it, and why, is decided elsewhere.
//!
//! A [`Host`] has two trees. `machine` belongs to the kernel: /sys, /proc, /dev, /run. `system` is
//! the installation being prepared: /etc, /var/lib, package databases. They are the same tree on a
//! running host. With `--root DIR`, the machine is still the running one and the system is the
//! image mounted at DIR. A recorded host has both in memory.

mod command;
mod content;
mod device;
mod file;
mod mapped;
mod memory;
mod recorded;
mod ring;
mod tree;
mod udev;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

pub use command::{CommandOutput, CommandRunner, Invocation, RealRunner};
pub(crate) use device::DeviceReader;
pub use file::{FileKind, FileStatus, FileWriteMode};
pub(crate) use file::{io_failed, is_forbidden};
pub use memory::{MemoryTree, Node};
pub use recorded::{RecordedCommand, RecordedHost};
pub use ring::RingProbe;
pub use tree::Tree;
pub(crate) use tree::lock_file;
pub(crate) use udev::{UdevDatabase, UdevProperties};

use crate::blank::Content;
use system::error::Result;
use system::lossless_text;

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

    /// The running machine; everything that is read and run is recorded ([`Host::record`]).
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

    /// The devices of the running machine, and the system mounted at `root` as the one to prepare.
    ///
    /// # Errors
    /// Returns an error if `root` is not a directory.
    pub fn with_image(root: &Path) -> Result<Self> {
        let absolute = tree::absolute_directory(root)?;
        if absolute == Path::new("/") {
            return Ok(Self::running());
        }
        let system = Tree::directory(&absolute);
        // Kept as text, like the mount points it is compared with.
        let image = lossless_text::of_path(&absolute).into();
        Ok(Self { system, image: Some(image), ..Self::running() })
    }

    /// A host recorded earlier ([`RecordedHost`]): nothing is read from the running machine, and
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

    /// The kernel's files, /sys, /proc, /dev and /run, and files that the operator named.
    pub fn machine(&self) -> &Tree {
        &self.machine
    }

    /// The system being prepared: /etc, /var/lib, /lib/modules.
    pub fn system(&self) -> &Tree {
        &self.system
    }

    /// The directory of the image, if a mounted image is prepared instead of the running host.
    pub fn image(&self) -> Option<&Path> {
        self.image.as_deref()
    }

    /// Whether answers come from the running kernel (not from a recording).
    pub(crate) fn is_live(&self) -> bool {
        !self.machine.is_memory()
    }

    /// Runs the read-only `invocation` to its end; a status other than zero is not an error.
    ///
    /// # Errors
    /// Returns an error if the program cannot be found or started.
    pub fn ask(&self, invocation: &Invocation) -> Result<CommandOutput> {
        let output = self.runner.run(invocation, &mut |_| {})?;
        tracing::debug!(command = %invocation, status = %output.status_text(), "asked");
        Ok(output)
    }

    /// Like [`Host::ask`], but returns what was printed on stdout.
    ///
    /// # Errors
    /// Returns an error if the program cannot be started or its status is not zero; the error
    /// contains the last lines of stderr.
    pub(crate) fn ask_checked(&self, invocation: &Invocation) -> Result<String> {
        self.ask(invocation)?.into_stdout(invocation)
    }

    /// Runs `invocation`, which changes something, and passes every line it prints to `watch`. The
    /// command and its status are logged.
    ///
    /// # Errors
    /// Returns an error if the program cannot be started or its status is not zero; the error
    /// contains the last lines of stderr.
    pub fn change(&self, invocation: &Invocation, watch: &mut dyn FnMut(&str)) -> Result<String> {
        self.change_output(invocation, watch)?.into_stdout(invocation)
    }

    /// Like [`Host::change`], but returns the output whatever the status.
    ///
    /// # Errors
    /// Returns an error if the program cannot be started.
    pub(crate) fn change_output(
        &self,
        invocation: &Invocation,
        watch: &mut dyn FnMut(&str),
    ) -> Result<CommandOutput> {
        let output = self.runner.run(invocation, watch)?;
        tracing::info!(command = %invocation, status = %output.status_text(), "ran");
        Ok(output)
    }

    /// Opens the block device at `path` for reading, without claiming it.
    ///
    /// # Errors
    /// Returns an error if there is no block device or it cannot be opened.
    pub fn open_device(&self, path: &Path) -> Result<DeviceReader> {
        DeviceReader::open(&self.machine, path)
    }

    /// Opens the block device at `path` for reading with O_EXCL: the kernel refuses this while the
    /// device is mounted, held, swapped on or claimed by another exclusive opener.
    ///
    /// # Errors
    /// Returns [`crate::ErrorKind::Refused`] if the device is busy; otherwise like
    /// [`Host::open_device`].
    pub(crate) fn open_device_exclusively(&self, path: &Path) -> Result<DeviceReader> {
        DeviceReader::open_exclusively(&self.machine, path)
    }

    /// Whether the kernel refuses to open the device at `path` exclusively; `false` if it cannot be
    /// opened at all.
    pub fn is_held(&self, path: &Path) -> bool {
        let opened = self.open_device_exclusively(path);
        let is_held = opened.is_err_and(|error| error.kind() == crate::ErrorKind::Refused);
        if is_held {
            self.machine.record_busy(path);
        }
        is_held
    }

    /// What lies on the device at `path`, which shows no signature ([`crate::blank`]).
    ///
    /// # Errors
    /// Returns an error if the device cannot be opened, or any of the chosen places cannot be read.
    pub fn content(&self, path: &Path) -> Result<Content> {
        self.content_of(&self.open_device(path)?)
    }

    /// Like [`Host::content`], for a device that is already open. Each call reads different
    /// samples.
    ///
    /// # Errors
    /// Returns an error if any of the chosen places cannot be read.
    pub fn content_of(&self, device: &DeviceReader) -> Result<Content> {
        let (seed, _) = uuid::Uuid::new_v4().as_u64_pair();
        let content = device.content(&self.machine, seed)?;
        self.machine.record_content(device.path(), device.device_number(), &content);
        Ok(content)
    }

    /// Asks a SCSI device for a VPD page by SG_IO; `None` if it has no such page, is not a SCSI
    /// device, may not be asked, or the host is recorded.
    pub(crate) fn inquire_vpd(&self, path: &Path, page: u8) -> Option<Vec<u8>> {
        self.open_device(path).ok()?.inquire_vpd(page)
    }

    /// Sets up a small io_uring and takes it down again.
    pub(crate) fn probe_io_uring(&self) -> RingProbe {
        if let Some(recorded) = &self.ring {
            return recorded.clone();
        }
        if self.image.is_some() {
            return RingProbe::Unknown;
        }
        RingProbe::of_this_kernel()
    }

    /// The udev database of every block device; `None` if udevd is not running. Keys are kernel
    /// names (`sda`), values are udev's properties (`ID_FS_TYPE`).
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
        Some(udev::parse_export(&text))
    }

    /// What was read and run so far, if this host keeps a record ([`Host::recording`]).
    pub fn record(&self) -> Option<RecordedHost> {
        let (files, commands) = self.record.as_ref()?;
        let mut record = RecordedHost::new("", files, commands.borrow().clone());
        record.io_uring = self.probe_io_uring();
        Some(record)
    }
}
