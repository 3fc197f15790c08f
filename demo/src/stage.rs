//! The disks of the story: loop devices, in a namespace in which no other disks are visible. When
//! this process ends, however it ends, the kernel removes them.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use system::Error;
use system::loop_device::{Closed, LoopDevice};

use crate::namespace::{self, SCRATCH};

/// Mount point of the retention volume.
pub(crate) const RETENTION_MOUNT: &str = "/mnt/retention";
/// Mount point of the disk with a filesystem.
pub(crate) const ATTACHED_MOUNT: &str = "/mnt/attached";
/// Mount point of the disk in the cloud.
pub(crate) const SOURCE_MOUNT: &str = "/mnt/cloud";
/// Mount point of its disk at home.
pub(crate) const TARGET_MOUNT: &str = "/mnt/home";
/// The directory in which the kernel lists disks.
const DISK_LIST: &str = "/sys/block";

const BLANK_BYTES: u64 = 1 << 30;
const ATTACHED_BYTES: u64 = 64 << 20;
/// Size of each of the two disks of the replica.
pub(crate) const REPLICA_BYTES: u64 = 64 << 20;
/// Number of files on the disk with a filesystem.
pub(crate) const ATTACHED_FILES: u64 = 24;
/// udev may have a device open for a moment after we close it.
const DETACH_TIME_MAX: Duration = Duration::from_secs(10);

/// The disks.
#[derive(Debug)]
pub(crate) struct Stage {
    /// A blank disk.
    pub(crate) blank: LoopDevice,
    /// Somebody's disk: an ext4 filesystem with files.
    pub(crate) filesystem: LoopDevice,
    /// Somebody else's disk: a partition table.
    pub(crate) table: LoopDevice,
    /// A disk in the cloud and its disk at home, once they are needed.
    replica: Option<[LoopDevice; 2]>,
    /// Hashes of the two disks that belong to somebody, as `sha256sum` printed them.
    pub(crate) attached_hashes: String,
}

impl Stage {
    /// Enters a namespace of our own, and sets the stage there.
    ///
    /// # Errors
    /// Returns [`system::ErrorKind::Refused`] without root, or if this is not permitted.
    pub(crate) fn set() -> Result<Self> {
        namespace::enter()?;
        let stage = Self::with_disks().context("making three disks")?;
        stage.hide_other_disks().context("hiding the disks of this machine")?;
        Ok(stage)
    }

    fn with_disks() -> Result<Self> {
        fs::create_dir(image_folder())?;
        let (_, blank) = image("blank", BLANK_BYTES)?;
        let (path, filesystem) = image("filesystem", ATTACHED_BYTES)?;
        make_filesystem(&path)?;
        let (_, mut table) = image("table", ATTACHED_BYTES)?;
        table.write_all(&partition_table())?;
        let stage = Self {
            blank: attach(&blank)?,
            filesystem: attach(&filesystem)?,
            table: attach(&table)?,
            replica: None,
            attached_hashes: String::new(),
        };
        stage.fill_filesystem()?;
        Ok(stage)
    }

    fn fill_filesystem(&self) -> Result<()> {
        fs::create_dir(ATTACHED_MOUNT)?;
        let ext4 = Some("ext4");
        mount(Some(self.filesystem.path()), ATTACHED_MOUNT, ext4, MsFlags::empty(), None::<&str>)?;
        for number in 1..=ATTACHED_FILES {
            let path = format!("{ATTACHED_MOUNT}/invoice-{number:02}.dat");
            fs::write(path, generated_bytes(number, 64 << 10))?;
        }
        Ok(umount2(ATTACHED_MOUNT, MntFlags::empty())?)
    }

    /// Makes the kernel's list of disks show only ours.
    fn hide_other_disks(&self) -> Result<()> {
        let list = Path::new(SCRATCH).join("block");
        fs::create_dir(&list)?;
        for disk in [&self.blank, &self.filesystem, &self.table] {
            list_disk(disk, &list)?;
        }
        namespace::cover(DISK_LIST, &list)
    }

    /// Makes two more disks, for a disk and its replica.
    ///
    /// # Errors
    /// Returns an error if they cannot be made.
    pub(crate) fn attach_replica(&mut self) -> Result<()> {
        let (_, cloud) = image("cloud", REPLICA_BYTES)?;
        let (_, home) = image("home", REPLICA_BYTES)?;
        let disks = [attach(&cloud)?, attach(&home)?];
        for disk in &disks {
            list_disk(disk, Path::new(DISK_LIST))?;
        }
        self.replica = Some(disks);
        fs::create_dir(SOURCE_MOUNT)?;
        Ok(fs::create_dir(TARGET_MOUNT)?)
    }

    /// The paths of these two.
    ///
    /// # Errors
    /// Returns an error if they are not attached yet.
    pub(crate) fn replica(&self) -> Result<[String; 2]> {
        let disks = self.replica.as_ref().context("the replica is not attached")?;
        Ok(disks.each_ref().map(path))
    }

    /// Takes everything down, and checks that it is gone.
    ///
    /// # Errors
    /// Returns an error if a disk is still there after a while.
    pub(crate) fn strike(self) -> Result<()> {
        for mount_point in [RETENTION_MOUNT, ATTACHED_MOUNT, SOURCE_MOUNT, TARGET_MOUNT] {
            unmount(mount_point);
        }
        let disks = [self.blank, self.filesystem, self.table].into_iter();
        let disks = disks.chain(self.replica.into_iter().flatten());
        let closed: Vec<Closed> = disks.map(LoopDevice::close).collect();
        let begun = Instant::now();
        while let Some(left) = closed.iter().find(|disk| !disk.is_gone()) {
            if begun.elapsed() > DETACH_TIME_MAX {
                return Err(still_there(left).into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

/// The path of `disk` as it is typed.
pub(crate) fn path(disk: &LoopDevice) -> String {
    disk.path().display().to_string()
}

/// The name appears in the output of losetup outside the namespace.
fn image_folder() -> PathBuf {
    Path::new(SCRATCH).join(format!("mtctl-demo-{}", std::process::id()))
}

/// Creates the file behind a disk.
fn image(name: &str, size_bytes: u64) -> Result<(PathBuf, File)> {
    let path = image_folder().join(name);
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    file.set_len(size_bytes)?;
    Ok((path, file))
}

/// Adds `disk` to the disks in `list`.
fn list_disk(disk: &LoopDevice, list: &Path) -> Result<()> {
    let name = disk.path().file_name().context("a loop device has a name")?;
    Ok(symlink(Path::new("../devices/virtual/block").join(name), list.join(name))?)
}

fn still_there(left: &Closed) -> Error {
    let path = left.path().display();
    Error::failed(
        format!("cleaning up: {path}"),
        "it is still attached: another process has it open",
    )
    .with_hint(format!("fuser -v {path}; losetup --detach {path}"))
}

/// Also handles a filesystem that is not mounted, or mounted twice; the end of the namespace would
/// unmount it anyway.
fn unmount(mount_point: &str) {
    while umount2(mount_point, MntFlags::empty()).is_ok() {}
    let _ = umount2(mount_point, MntFlags::MNT_DETACH);
}

fn make_filesystem(path: &Path) -> Result<()> {
    let mut mkfs = Command::new("mkfs.ext4");
    mkfs.args(["-q", "-F", "-L", "accounting"]).arg(path);
    let made = mkfs.output().map_err(|cause| {
        Error::failed("starting mkfs.ext4", cause).with_hint("install the package e2fsprogs")
    })?;
    let said = String::from_utf8_lossy(&made.stderr);
    anyhow::ensure!(made.status.success(), "mkfs.ext4: {}", said.trim());
    Ok(())
}

fn attach(file: &File) -> Result<LoopDevice> {
    LoopDevice::attach(file).map_err(|cause| {
        Error::refused("making a loop device")
            .caused_by(cause)
            .with_hint("modprobe loop; a container must be given /dev/loop-control and /dev/loop*")
            .into()
    })
}

/// A master boot record with one Linux partition, from the first MiB to the end.
fn partition_table() -> [u8; 512] {
    const SECTOR_BYTES: u64 = 512;
    let first: u32 = 2048;
    let sectors = u32::try_from(ATTACHED_BYTES / SECTOR_BYTES).unwrap_or(u32::MAX) - first;
    let mut record = [0; 512];
    record[440..444].copy_from_slice(&0x6d74_6374_u32.to_le_bytes());
    record[446 + 4] = 0x83;
    record[446 + 8..446 + 12].copy_from_slice(&first.to_le_bytes());
    record[446 + 12..446 + 16].copy_from_slice(&sectors.to_le_bytes());
    record[510..].copy_from_slice(&[0x55, 0xaa]);
    record
}

/// Bytes that do not repeat soon, always the same for the same `seed`: xorshift64.
pub(crate) fn generated_bytes(seed: u64, len_bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.flatten().take(len_bytes).collect()
}
