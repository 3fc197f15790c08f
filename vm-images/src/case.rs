//! A case: a story that a machine goes through, and the tools that the story has.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::hardware::{Backing, Disk, Hardware, Identity, vmware_uuid};
use crate::image::{Image, Kind};
use crate::machine::{Machine, Start};
use crate::servers::ScsiTarget;
use crate::tool;

/// A story with a name. It panics or returns an error if an expectation fails.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// The name for selecting it: `file::what_it_shows`.
    pub name: &'static str,
    /// The image that it boots.
    pub image: Kind,
    /// The time after which its machines are killed.
    pub limit: Duration,
    /// The story.
    pub story: fn(&mut Lab) -> Result<()>,
}

/// Counts of events in a case, for the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How often a machine was started.
    pub boots: u32,
    /// How often its power was cut.
    pub cuts: u32,
    /// Number of injected faults: errors, lost paths, pulled disks, killed processes.
    pub faults: u32,
}

/// The tools of a story: a folder, an image, and functions to attach things.
#[derive(Debug)]
pub struct Lab {
    image: Image,
    directory: TempDir,
    deadline: Instant,
    system: Option<PathBuf>,
    /// Counts of the events so far.
    pub tally: Tally,
    files: RefCell<HashMap<String, PathBuf>>,
}

impl Lab {
    /// Prepares a case that boots `image`; `mtctl` becomes /usr/bin/mtctl of its guests.
    ///
    /// # Errors
    ///
    /// There is no space.
    pub fn new(image: Image, mtctl: &Path, limit: Duration) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("mtctl-vm-").tempdir()?;
        let share = directory.path().join("share");
        fs::create_dir(&share)?;
        fs::copy(mtctl, share.join("mtctl")).context("copying mtctl for the guest")?;
        let copied = |system| copy_on_write(system, directory.path().join("system.qcow2"));
        let system = image.system.as_deref().map(copied).transpose()?;
        let deadline = Instant::now() + limit;
        let (tally, files) = (Tally::default(), RefCell::default());
        Ok(Self { image, directory, deadline, system, tally, files })
    }

    /// Starts a machine; only one can run at a time.
    ///
    /// # Errors
    ///
    /// It does not start.
    pub fn boot(&mut self, hardware: &Hardware) -> Result<Machine> {
        self.tally.boots += 1;
        Machine::start(&Start {
            image: &self.image,
            system: self.system.as_deref(),
            hardware,
            directory: self.directory.path(),
            deadline: self.deadline,
        })
    }

    /// The path of a file in the case's folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The folder that the guests see as /host.
    pub fn share(&self) -> PathBuf {
        self.directory.path().join("share")
    }

    /// Creates an image file of `mib` MiB, all zeros, and returns its path.
    ///
    /// # Errors
    ///
    /// There is no space.
    pub fn blank(&self, name: &str, mib: u64) -> Result<PathBuf> {
        let path = self.file(name);
        File::create(&path)?.set_len(mib << 20)?;
        self.files.borrow_mut().insert(name.to_owned(), path.clone());
        Ok(path)
    }

    /// Makes another copy of the image's system, to be used as a disk of a machine, and returns its
    /// path.
    ///
    /// # Errors
    ///
    /// The image has none, or there is no space.
    pub fn second_system(&self) -> Result<PathBuf> {
        let system = self.image.system.as_deref().context("the image has no system")?;
        copy_on_write(system, self.file("second-system.qcow2"))
    }

    /// Makes machines start from this system from now on.
    pub fn start_from(&mut self, system: PathBuf) {
        self.system = Some(system);
    }

    /// A disk that looks like VMware's with disk.EnableUUID on, on the first controller.
    ///
    /// # Errors
    ///
    /// The target refuses it.
    pub fn vmware_disk(
        &self,
        target: &mut ScsiTarget,
        name: &str,
        slot: u8,
        mib: u64,
    ) -> Result<Disk> {
        let file = self.blank(&format!("{name}.raw"), mib)?;
        let lun = target.add(&file, &vmware_uuid(name))?;
        Ok(Disk {
            name: name.to_owned(),
            controller: 0,
            slot,
            backing: Backing::Iscsi { portal: target.portal(), lun },
            identity: Identity::None,
            sector_bytes: 512,
        })
    }

    /// Keeps the case's folder for inspection, and returns its path.
    pub fn keep(self) -> PathBuf {
        self.directory.keep()
    }
}

/// Makes `copy`, which shares the contents of `system` until it is written to.
fn copy_on_write(system: &Path, copy: PathBuf) -> Result<PathBuf> {
    let create = ["create", "-q", "-f", "qcow2", "-F", "raw", "-b"];
    let paths = [&*system.to_string_lossy(), &*copy.to_string_lossy()];
    tool::run("qemu-img", &[&create[..], &paths].concat())?;
    Ok(copy)
}
