//! The device that everything is written to: a loop device over a file in memory that was filled in
//! advance, so that software is measured, and neither a disk nor the first touch of memory.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::measure::quietly;
use crate::workload::{ByteRange, Filling, SLICES, Workload, slice_bytes};

/// The directory for files in memory.
const MEMORY: &str = "/dev/shm";
/// The unit of comparison, in bytes.
const CHUNK: usize = 1 << 20;

/// A loop device over a file in a directory of its own; both are removed on drop.
#[derive(Debug)]
pub(crate) struct Target {
    device: LoopDevice,
    bytes: u64,
    backing: File,
    // Last, so that the device is detached before its file is deleted.
    directory: TempDir,
}

/// A loop device; it is detached on drop.
#[derive(Debug)]
pub(crate) struct LoopDevice {
    node: String,
}

/// The CRC32C of every MiB of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checksums(Vec<u32>);

impl Target {
    /// Makes a target of `bytes`, every one of which is written and not zero.
    pub(crate) fn new(bytes: u64) -> Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("mtctl-bench-")
            .tempdir_in(MEMORY)
            .with_context(|| format!("making a directory in {MEMORY}"))?;
        let (backing, device) = filled_device(&directory.path().join("target"), bytes)?;
        Ok(Self { device, bytes, backing, directory })
    }

    /// The device node.
    pub(crate) fn device(&self) -> &str {
        self.device.node()
    }

    /// The file behind the device.
    pub(crate) fn backing(&self) -> PathBuf {
        self.path("target")
    }

    /// Its size, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The directory in memory for all files of a run.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A path in [`directory`](Self::directory).
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Applies `workload` in the simplest possible way, as the reference for comparison.
    pub(crate) fn apply(&self, workload: &Workload, filling: Filling) -> Result<()> {
        write_all(&self.backing, &workload.data, filling)?;
        match filling {
            Filling::Payload => write_zeros(&self.backing, &workload.zeros),
            Filling::Before | Filling::Noise => self.fill_holes(workload),
        }
    }

    /// Image files with the contents of the first [`SLICES`] parts of the target.
    pub(crate) fn slices(&self) -> Vec<PathBuf> {
        (0..SLICES).map(|number| self.path(&format!("slice{number}"))).collect()
    }

    /// Writes the slices: what the target has there now.
    pub(crate) fn fill_slices(&self) -> Result<()> {
        let length = slice_bytes(self.bytes);
        let mut chunk = vec![0; CHUNK];
        for (number, path) in (0..).zip(self.slices()) {
            // Not truncated: its memory is kept.
            let slice = File::options().write(true).create(true).truncate(false).open(&path);
            let slice = slice.with_context(|| format!("opening {}", path.display()))?;
            for part in (0..length).step_by(CHUNK) {
                let offset = number * length + part;
                self.backing.read_exact_at(&mut chunk, offset).context("reading the target")?;
                slice.write_all_at(&chunk, part).context("writing a slice")?;
            }
        }
        Ok(())
    }

    /// Reads the slices, as if they were parts of one target.
    pub(crate) fn checksums_of_slices(&self) -> Result<Checksums> {
        let mut all = Vec::new();
        for path in self.slices() {
            let slice = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
            all.extend(checksums(&slice, slice_bytes(self.bytes))?.0);
        }
        Ok(Checksums(all))
    }

    /// Deletes the slices.
    pub(crate) fn delete_slices(&self) -> Result<()> {
        for path in self.slices() {
            fs::remove_file(&path).with_context(|| format!("deleting {}", path.display()))?;
        }
        Ok(())
    }

    /// Restores the original contents of the target, with noise where `workload` writes.
    pub(crate) fn restore(&self, workload: &Workload) -> Result<()> {
        write_all(&self.backing, &[ByteRange { offset: 0, length: self.bytes }], Filling::Before)?;
        self.apply(workload, Filling::Noise)
    }

    /// Fills the ranges that the workload turns into zeros: an existing hole would cost less.
    pub(crate) fn fill_holes(&self, workload: &Workload) -> Result<()> {
        write_all(&self.backing, &workload.zeros, Filling::Noise)
    }

    /// Reads the whole target.
    pub(crate) fn checksums(&self) -> Result<Checksums> {
        checksums(&self.backing, self.bytes)
    }

    /// Reads a file that should be a copy of the target.
    pub(crate) fn checksums_of_copy(&self, path: &Path) -> Result<Checksums> {
        let copy = File::open(path).with_context(|| format!("opening {}", path.display()))?;
        checksums(&copy, self.bytes)
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        if let Err(error) = quietly("losetup", &["--detach", &self.node]) {
            eprintln!("bench: {error:#}\nhint: losetup --detach {}", self.node);
        }
    }
}

impl LoopDevice {
    /// A new device, of what `arguments` of losetup say, with direct I/O.
    fn attach(arguments: &[&str]) -> Result<Self> {
        let options = ["--find", "--show", "--direct-io=on"];
        let node = quietly("losetup", &[&options, arguments].concat())?;
        let device = Self { node: node.trim().to_owned() };
        device.check_direct()?;
        Ok(device)
    }

    /// The device node.
    pub(crate) fn node(&self) -> &str {
        &self.node
    }

    /// Checks that the kernel bypasses its cache: otherwise the cache would be measured.
    fn check_direct(&self) -> Result<()> {
        let name = self.node.trim_start_matches("/dev/");
        let path = format!("/sys/block/{name}/loop/dio");
        let direct = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        if direct.trim() != "1" {
            bail!(
                "{} cannot do direct I/O to a file in {MEMORY}\nhint: that needs Linux 6.6",
                self.node
            );
        }
        Ok(())
    }
}

/// A new file of `bytes` at `path`, every one of which is written and not zero, and a device over
/// it.
pub(crate) fn filled_device(path: &Path, bytes: u64) -> Result<(File, LoopDevice)> {
    let backing = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(path)
        .with_context(|| format!("creating {}", path.display()))?;
    write_all(&backing, &[ByteRange { offset: 0, length: bytes }], Filling::Before)?;
    let device = LoopDevice::attach(&[&path.to_string_lossy()])?;
    Ok((backing, device))
}

/// The checksums of the first `bytes` of `file`.
fn checksums(file: &File, bytes: u64) -> Result<Checksums> {
    let mut chunk = vec![0; CHUNK];
    let mut checksums = Vec::new();
    for offset in (0..bytes).step_by(CHUNK) {
        let length = CHUNK.min(usize::try_from(bytes - offset)?);
        file.read_exact_at(&mut chunk[..length], offset).context("reading content to compare")?;
        checksums.push(crc32c::crc32c(&chunk[..length]));
    }
    Ok(Checksums(checksums))
}

impl Checksums {
    /// Those of the beginning of a target, as long as `other`.
    pub(crate) fn beginning(&self, other: &Self) -> Self {
        Self(self.0.iter().take(other.0.len()).copied().collect())
    }

    /// The first MiB in which they differ; `None` if they are equal.
    pub(crate) fn first_difference(&self, other: &Self) -> Option<usize> {
        (0..self.0.len().max(other.0.len())).find(|index| self.0.get(*index) != other.0.get(*index))
    }
}

/// Writes `filling` to `ranges` of `file`, in order.
pub(crate) fn write_all(file: &File, ranges: &[ByteRange], filling: Filling) -> Result<()> {
    let mut chunk = vec![0; CHUNK];
    for (index, range) in ranges.iter().enumerate() {
        for part in (0..range.length).step_by(CHUNK) {
            let length = CHUNK.min(usize::try_from(range.length - part)?);
            // The parts of a long range differ: `index` is in the low bits, the part above it.
            filling.fill(index as u64 | (part << 20), &mut chunk[..length]);
            file.write_all_at(&chunk[..length], range.offset + part).context("writing content")?;
        }
    }
    Ok(())
}

fn write_zeros(file: &File, ranges: &[ByteRange]) -> Result<()> {
    let zeros = vec![0; CHUNK];
    for range in ranges {
        for part in (0..range.length).step_by(CHUNK) {
            let length = CHUNK.min(usize::try_from(range.length - part)?);
            file.write_all_at(&zeros[..length], range.offset + part).context("writing zeros")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_named_also_when_one_is_shorter() {
        let of = |values: &[u32]| Checksums(values.to_vec());
        assert_eq!(of(&[1, 2, 3]).first_difference(&of(&[1, 2, 3])), None);
        assert_eq!(of(&[1, 2, 3]).first_difference(&of(&[1, 9, 9])), Some(1));
        assert_eq!(of(&[1, 2]).first_difference(&of(&[1])), Some(1));
        let parts = of(&[1, 2]);
        assert_eq!(parts.first_difference(&of(&[1, 2, 3]).beginning(&parts)), None);
    }

    #[test]
    fn where_ranges_overlap_the_later_one_is_read() {
        let file = tempfile::tempfile().unwrap();
        let ranges = [ByteRange { offset: 0, length: 64 }, ByteRange { offset: 32, length: 64 }];
        write_all(&file, &ranges, Filling::Payload).unwrap();
        let mut wanted = [0; 64];
        Filling::Payload.fill(1, &mut wanted);
        let mut found = [0; 64];
        file.read_exact_at(&mut found, 32).unwrap();
        assert_eq!(found, wanted);
    }

    #[test]
    fn zeros_are_written_as_such() {
        let file = tempfile::tempfile().unwrap();
        let ranges = [ByteRange { offset: 0, length: 3 * CHUNK as u64 }];
        write_all(&file, &ranges, Filling::Before).unwrap();
        write_zeros(&file, &[ByteRange { offset: 100, length: 2 * CHUNK as u64 }]).unwrap();
        let mut found = vec![1; 3 * CHUNK];
        file.read_exact_at(&mut found, 0).unwrap();
        let zeros = found.iter().filter(|byte| **byte == 0).count();
        assert_eq!(zeros, 2 * CHUNK);
    }
}
