//! Loop devices for tests: a guard that detaches, a hash of every byte, and a search for devices
//! that a killed test left behind.

use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::program::{command, finish, run};

/// The prefix of every directory with backing files; the process id follows.
pub const DIRECTORY_PREFIX: &str = "mtctl-test-";

/// The directory for backing files: in memory, sparse.
pub const BACKING_DIRECTORY: &str = "/dev/shm";

/// A loop device and the file behind it. Detached when dropped.
#[derive(Debug)]
pub struct LoopDevice {
    path: String,
    file: PathBuf,
}

impl LoopDevice {
    /// Creates `file`, all zeros, and attaches it.
    pub fn new(file: &Path, bytes: u64) -> Self {
        fs::File::create(file).unwrap().set_len(bytes).unwrap();
        Self::attach(&["--direct-io=off"], file)
    }

    /// Attaches the existing `file`, with additional options for losetup(8).
    pub fn attach(options: &[&str], file: &Path) -> Self {
        let mut arguments = vec!["--find", "--show"];
        arguments.extend(options);
        arguments.push(file.to_str().unwrap());
        Self { path: run("losetup", &arguments).trim().to_owned(), file: file.to_owned() }
    }

    /// Takes over a device to which something else has attached `file`.
    pub fn attached(path: &str, file: &Path) -> Self {
        Self { path: path.to_owned(), file: file.to_owned() }
    }

    /// The device node, `/dev/loop3`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The kernel's name, `loop3`.
    pub fn name(&self) -> &str {
        &self.path["/dev/".len()..]
    }

    /// The file behind it.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Drops cached data, because somebody else has written to the file behind the device.
    pub fn forget_cached(&self) {
        run("blockdev", &["--flushbufs", &self.path]);
    }

    /// SHA-256 of every byte, read from the backing file after the kernel has written everything
    /// back: the contents that a reboot would find.
    pub fn sha256(&self) -> String {
        self.forget_cached();
        let mut file = fs::File::open(&self.file).unwrap();
        let mut hash = Sha256::new();
        let mut chunk = vec![0; 1 << 20];
        while let count @ 1.. = file.read(&mut chunk).unwrap() {
            hash.update(&chunk[..count]);
        }
        format!("{:x}", hash.finalize())
    }

    /// Writes `bytes` at `offset`, durably.
    pub fn write(&self, offset: u64, bytes: &[u8]) {
        let mut device = fs::OpenOptions::new().write(true).open(&self.path).unwrap();
        device.seek(SeekFrom::Start(offset)).unwrap();
        device.write_all(bytes).unwrap();
        device.sync_all().unwrap();
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        if is_attached(self.name(), &self.file) {
            finish(&mut command("losetup", &["--detach", &self.path]));
        }
    }
}

fn is_attached(name: &str, file: &Path) -> bool {
    backing_file(name).is_some_and(|found| found == file)
}

fn backing_file(name: &str) -> Option<PathBuf> {
    let text = fs::read_to_string(format!("/sys/block/{name}/loop/backing_file")).ok()?;
    let text = text.trim_end_matches('\n');
    Some(PathBuf::from(text.strip_suffix(" (deleted)").unwrap_or(text)))
}

/// Loop devices whose backing file is below a test directory for whose process id `is_meant` is
/// true. A device that the kernel detaches at its last close is not a leftover: somebody is only
/// looking at it.
pub fn leftovers(is_meant: impl Fn(i32) -> bool) -> Vec<String> {
    let names = fs::read_dir("/sys/block").unwrap().flatten();
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    let is_left = |name: &String| {
        let Some(owner) = backing_file(name).as_deref().and_then(owner_of) else { return false };
        let autoclear = fs::read_to_string(format!("/sys/block/{name}/loop/autoclear"));
        is_meant(owner) && autoclear.is_ok_and(|text| text.trim() == "0")
    };
    names.filter(is_left).collect()
}

/// The process id in `/dev/shm/mtctl-test-1234-…/disk`. The path may begin anywhere: that of a file
/// attached in a namespace that is gone does not start at the root.
fn owner_of(file: &Path) -> Option<i32> {
    let name = file.iter().find_map(|part| part.to_str()?.strip_prefix(DIRECTORY_PREFIX))?;
    name.split('-').next()?.parse().ok()
}

/// Removes what killed tests left behind: loop devices and directories whose process is gone.
pub fn sweep() {
    let is_gone = |process: i32| !Path::new(&format!("/proc/{process}")).exists();
    for name in leftovers(is_gone) {
        finish(&mut command("losetup", &["--detach", &format!("/dev/{name}")]));
    }
    for entry in fs::read_dir(BACKING_DIRECTORY).unwrap().flatten() {
        let path = entry.path().join("any");
        if owner_of(&path).is_some_and(is_gone) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
