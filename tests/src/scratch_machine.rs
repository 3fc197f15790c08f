//! A machine for one test case: a private mount namespace with an /etc, /var/lib/mtctl, /mnt and
//! /run of its own, in which `mtctl prepare` may do everything. Nothing of it remains on the host.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use tempfile::TempDir;

use crate::loop_device::{BACKING_DIRECTORY, DIRECTORY_PREFIX, LoopDevice, leftovers, sweep};
use crate::program::{self, Run};
use crate::second_opinion;
use crate::skip::skipped;

/// The files of the host's /etc that its programs need; the others are absent.
const HOST_FILES: [&str; 6] =
    ["passwd", "group", "ld.so.cache", "mke2fs.conf", "nsswitch.conf", "localtime"];

/// The fstab that a case finds: rows written by others, in their own formatting.
pub const FSTAB: &str = "# written by somebody else\n\
    UUID=11111111-2222-3333-4444-555555555555 /boot ext4 defaults,noauto 0 2\n\
    /dev/sr0\t/media/cdrom0\tudf,iso9660\tuser,noauto\t0\t0\n";

/// The os-release that a case finds.
pub const OS_RELEASE: &str =
    "ID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n";

/// The mount point of a retention volume.
pub const RETENTION: &str = "/mnt/retention";

/// The machine of one case.
pub struct ScratchMachine {
    directory: PathBuf,
}

/// Runs `case` on a machine of its own. Cases run one after the other, whatever the test runner
/// does and whoever else runs tests on this host, because each would see the others' disks.
pub fn on_a_scratch_machine(case: impl FnOnce(&ScratchMachine) + Send) {
    if !nix::unistd::geteuid().is_root() {
        return skipped("loop devices and mount namespaces need root");
    }
    // Built before the host's /etc is hidden, because the linker is found through it.
    program::mtctl();
    let _turn = take_turn();
    sweep();
    let before = fs::read("/etc/fstab").ok();
    let directory = scratch_directory();
    // A thread of its own: its namespace ends with it, and the test runner stays in the host's.
    let ended = std::thread::scope(|scope| {
        let run = || {
            let machine = ScratchMachine::boot(directory.path().to_owned());
            case(&machine);
            second_opinion::agree_at_the_end(&machine, Path::new(RETENTION));
        };
        scope.spawn(run).join()
    });
    if let Err(panic) = ended {
        std::panic::resume_unwind(panic);
    }
    // Only now, because a mount point in any of our namespaces cannot be removed.
    directory.close().expect("removing the scratch directory");
    let own = i32::try_from(std::process::id()).unwrap();
    assert_eq!(leftovers(|process| process == own), [""; 0], "loop devices are left");
    assert_eq!(before, fs::read("/etc/fstab").ok(), "the host's fstab is not as it was");
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let own = format!("{BACKING_DIRECTORY}/{DIRECTORY_PREFIX}{own}-");
    assert!(!mounts.contains(&own), "mounts are left: {mounts}");
}

/// Waits until no other test on this host is using disks.
pub fn take_turn() -> Flock<fs::File> {
    let path = Path::new(BACKING_DIRECTORY).join("mtctl-test.lock");
    let file = fs::OpenOptions::new().write(true).create(true).truncate(false).open(path);
    Flock::lock(file.unwrap(), FlockArg::LockExclusive).map_err(|(_, error)| error).unwrap()
}

/// A directory in memory for the disks of a test; [`sweep`] recognises its name.
pub fn scratch_directory() -> TempDir {
    tempfile::Builder::new()
        .prefix(&format!("{DIRECTORY_PREFIX}{}-", std::process::id()))
        .permissions(fs::Permissions::from_mode(0o755))
        .tempdir_in(BACKING_DIRECTORY)
        .unwrap()
}

impl ScratchMachine {
    fn boot(directory: PathBuf) -> Self {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        let machine = Self { directory };
        machine.fill_etc();
        for (name, place) in
            [("etc", "/etc"), ("state", "/var/lib/mtctl"), ("mnt", "/mnt"), ("run", "/run")]
        {
            let from = machine.directory.join(name);
            fs::create_dir_all(&from).unwrap();
            fs::create_dir_all(place).unwrap();
            mount(Some(&from), place, none, MsFlags::MS_BIND, none).unwrap();
        }
        machine
    }

    fn fill_etc(&self) {
        let etc = self.directory.join("etc");
        fs::create_dir(&etc).unwrap();
        for name in HOST_FILES {
            let from = Path::new("/etc").join(name);
            if from.exists() {
                fs::copy(from, etc.join(name)).unwrap();
            }
        }
        fs::write(etc.join("fstab"), FSTAB).unwrap();
        fs::write(etc.join("os-release"), OS_RELEASE).unwrap();
        symlink("/proc/self/mounts", etc.join("mtab")).unwrap();
    }

    /// A directory for other files of a case.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A file in that directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// A blank disk of `mib` MiB.
    pub fn disk(&self, name: &str, mib: u64) -> LoopDevice {
        LoopDevice::new(&self.file(name), mib << 20)
    }

    /// A retention volume of `mib` MiB, mounted at its default place.
    pub fn retention(&self, mib: u64) -> LoopDevice {
        let disk = self.disk("retention.img", mib);
        program::run("mkfs.ext4", &["-q", disk.path()]);
        fs::create_dir_all(RETENTION).unwrap();
        program::run("mount", &[disk.path(), RETENTION]);
        disk
    }

    /// Runs the program under test.
    #[track_caller]
    pub fn mtctl(&self, arguments: &[&str]) -> Run {
        program::finish(&mut program::command(program::mtctl(), arguments))
    }

    /// Runs `mtctl prepare --only retention --retention-disk DISK` and further arguments.
    #[track_caller]
    pub fn prepare(&self, disk: &str, more: &[&str]) -> Run {
        let mut arguments = vec!["prepare", "--only", "retention", "--retention-disk", disk];
        arguments.extend(more);
        self.mtctl(&arguments)
    }

    /// The current fstab.
    pub fn fstab(&self) -> String {
        fs::read_to_string("/etc/fstab").unwrap()
    }

    /// The source of the filesystem mounted at `place`, if there is one.
    pub fn mounted_at(&self, place: &str) -> Option<String> {
        // Not /proc/self, which shows the namespace of the process's first thread.
        let mounts = fs::read_to_string("/proc/thread-self/mounts").unwrap();
        let row = mounts.lines().rev().find(|row| row.split(' ').nth(1) == Some(place))?;
        row.split(' ').next().map(str::to_owned)
    }
}

impl Drop for ScratchMachine {
    /// Unmounts what the case mounted, so that its loop devices are free immediately rather than
    /// when the namespace is gone.
    fn drop(&mut self) {
        let mounts = fs::read_to_string("/proc/thread-self/mounts").unwrap_or_default();
        for row in mounts.lines().rev().filter(|row| row.starts_with("/dev/loop")) {
            if let Some(place) = row.split(' ').nth(1) {
                let _ = nix::mount::umount(place);
            }
        }
    }
}
