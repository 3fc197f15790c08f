//! Opening a target on real loop devices: what keeps us from opening it, whom we keep from opening
//! it, and what its name must still mean. Nothing here writes to a target, and every byte stays the
//! same.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test code outside of test functions")]

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Stdio;

use blockio::units::{ByteCount, SectorSize};
use blockio::volume::{Expected, Target, TargetKind, TargetRequest, open};
use mt_tests::content::Content;
use mt_tests::loop_device::LoopDevice;
use mt_tests::program::{command, finish, run, shell};
use mt_tests::scratch_machine::{ScratchMachine, on_a_scratch_machine};
use mt_tests::skip::{has_program, skipped};
use nix::fcntl::OFlag;
use system::ErrorKind;

const MIB: u64 = 1 << 20;

fn expecting(path: impl AsRef<Path>, expected: Expected) -> TargetRequest {
    TargetRequest { path: path.as_ref().to_owned(), expected }
}

fn opened(path: impl AsRef<Path>) -> system::Result<Target> {
    open(&expecting(path, Expected::default()))
}

/// Asserts that it is refused with all of `words` and a hint.
#[track_caller]
fn refusal(request: &TargetRequest, words: &[&str]) {
    let error = open(request).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
    for word in words {
        assert!(error.to_string().contains(word), "expected {word:?} in {error:?}");
    }
    assert!(error.to_string().contains(request.path.to_str().unwrap()), "{error:?}");
    assert!(error.has_remedy(), "{error:?}");
}

/// Asserts that it is refused for the reason in `words`, and that every byte of the disk is
/// unchanged.
#[track_caller]
fn is_refused(disk: &LoopDevice, words: &[&str]) {
    let before = disk.sha256();
    refusal(&expecting(disk.path(), Expected::default()), words);
    assert_eq!(disk.sha256(), before, "the disk was written to");
}

fn exclusively(path: &str) -> std::io::Result<File> {
    OpenOptions::new().read(true).custom_flags(OFlag::O_EXCL.bits()).open(path)
}

/// A disk with one partition that the kernel knows until this is dropped.
struct Partitioned {
    disk: LoopDevice,
    partition: String,
}

impl Partitioned {
    /// `None` if the partition table cannot be made, which is counted as a skip.
    fn new(machine: &ScratchMachine) -> Option<Self> {
        let disk = Content::Mbr.on_a_disk(machine)?;
        // Not --add, because a killed test may have left a partition with this number.
        run("partx", &["--update", disk.path()]);
        let partition = format!("{}p1", disk.path());
        Some(Self { disk, partition })
    }
}

impl Drop for Partitioned {
    fn drop(&mut self) {
        // The kernel keeps the partitions of a loop device when it is detached.
        finish(&mut command("partx", &["--delete", self.disk.path()]));
    }
}

#[test]
fn a_free_disk_is_opened_with_its_geometry_and_sequence_number() {
    on_a_scratch_machine(|machine| {
        let disk = LoopDevice::new(&machine.file("disk"), 64 * MIB + 512);
        let before = disk.sha256();
        let target = opened(disk.path()).unwrap();
        assert_eq!(target.kind(), TargetKind::BlockDevice);
        assert_eq!(target.geometry().capacity, ByteCount::new(64 * MIB + 512));
        assert_eq!(target.geometry().sector_size, SectorSize::Bytes512);
        let sequence = format!("/sys/block/{}/diskseq", disk.name());
        let sequence = std::fs::read_to_string(sequence).ok();
        assert_eq!(target.disk_sequence(), sequence.map(|text| text.trim().parse().unwrap()));
        let flags = nix::fcntl::fcntl(target.file(), nix::fcntl::FcntlArg::F_GETFL).unwrap();
        assert!(OFlag::from_bits_truncate(flags).contains(OFlag::O_DIRECT | OFlag::O_RDWR));
        drop(target);
        assert_eq!(disk.sha256(), before);
    });
}

#[test]
fn a_disk_with_sectors_of_4096_bytes_is_measured_as_one() {
    on_a_scratch_machine(|machine| {
        let file = machine.file("disk");
        File::create(&file).unwrap().set_len(64 * MIB).unwrap();
        let disk = LoopDevice::attach(&["--sector-size", "4096"], &file);
        let target = opened(disk.path()).unwrap();
        assert_eq!(target.geometry().sector_size, SectorSize::Bytes4096);
    });
}

#[test]
fn a_disk_that_is_a_target_is_nobody_elses_until_it_is_closed() {
    on_a_scratch_machine(|machine| {
        let disk = machine.disk("disk", 64);
        run("mkfs.ext4", &["-q", disk.path()]);
        let file = opened(disk.path()).unwrap().into_file();
        is_refused(&disk, &["has it open exclusively"]);
        let mount = finish(&mut command("mount", &["-o", "ro", disk.path(), "/mnt"]));
        assert_ne!(mount.code, Some(0), "{mount:#?}");
        assert_eq!(exclusively(disk.path()).unwrap_err().raw_os_error(), Some(libc_ebusy()));
        drop(file);
        opened(disk.path()).unwrap();
    });
}

fn libc_ebusy() -> i32 {
    nix::errno::Errno::EBUSY as i32
}

#[test]
fn a_mounted_disk_is_refused_with_the_place_where_it_is_mounted() {
    on_a_scratch_machine(|machine| {
        let disk = machine.disk("disk", 64);
        run("mkfs.ext4", &["-q", disk.path()]);
        shell(&format!("mkdir '/mnt/some where'; mount -o ro {} '/mnt/some where'", disk.path()));
        is_refused(&disk, &["it is mounted at /mnt/some where"]);
        run("umount", &["/mnt/some where"]);
        opened(disk.path()).unwrap();
    });
}

#[test]
fn a_disk_is_refused_while_a_partition_of_it_is_mounted_or_opened_exclusively() {
    on_a_scratch_machine(|machine| {
        let Some(partitioned) = Partitioned::new(machine) else { return };
        let Partitioned { disk, partition } = &partitioned;
        run("mkfs.ext4", &["-q", partition]);
        shell(&format!("mkdir /mnt/part; mount -o ro {partition} /mnt/part"));
        let name = format!("its partition {}p1 is mounted at /mnt/part", disk.name());
        is_refused(disk, &[&name]);
        run("umount", &["/mnt/part"]);
        let holder = exclusively(partition).unwrap();
        is_refused(disk, &["has it open exclusively"]);
        drop(holder);
        let target = opened(disk.path()).unwrap();
        let refused = exclusively(partition).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc_ebusy()), "the whole disk is ours");
        drop(target);
    });
}

#[test]
fn a_partition_is_refused_with_the_name_of_its_disk() {
    on_a_scratch_machine(|machine| {
        let Some(partitioned) = Partitioned::new(machine) else { return };
        let Partitioned { disk, partition } = &partitioned;
        let before = disk.sha256();
        let request = expecting(partition, Expected::default());
        refusal(&request, &[&format!("a partition of {}", disk.path())]);
        let hint = open(&request).unwrap_err();
        assert!(hint.hint().unwrap().contains(&format!("name {}", disk.path())), "{hint:?}");
        assert_eq!(disk.sha256(), before);
    });
}

#[test]
fn a_disk_that_is_swapped_to_is_refused_and_so_is_one_with_such_a_partition() {
    on_a_scratch_machine(|machine| {
        let disk = machine.disk("swap", 64);
        run("mkswap", &[disk.path()]);
        run("swapon", &[disk.path()]);
        let whole = opened(disk.path()).map(drop);
        run("swapoff", &[disk.path()]);
        let Some(partitioned) = Partitioned::new(machine) else { return };
        let Partitioned { disk: other, partition } = &partitioned;
        run("mkswap", &[partition]);
        run("swapon", &[partition]);
        let part = opened(other.path()).map(drop);
        run("swapoff", &[partition]);
        for (outcome, words) in
            [(whole, "it is used as swap"), (part, &format!("{}p1 is used as swap", other.name()))]
        {
            let error = outcome.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Refused);
            assert!(error.to_string().contains(words), "{error}");
        }
    });
}

#[test]
fn a_disk_that_a_mapping_holds_is_refused_with_the_name_of_the_mapping() {
    on_a_scratch_machine(|machine| {
        if !has_program("dmsetup") {
            return;
        }
        if !std::fs::read_to_string("/proc/misc").unwrap().contains("device-mapper") {
            return skipped("this kernel has no device-mapper");
        }
        let disk = machine.disk("disk", 64);
        let name = format!("mtctl-test-{}", std::process::id());
        let table = format!("0 1024 linear {} 0", disk.path());
        run("dmsetup", &["create", &name, "--table", &table]);
        let outcome = opened(disk.path()).map(drop);
        run("dmsetup", &["remove", &name]);
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused);
        assert!(error.to_string().contains("it is held by /dev/dm-"), "{error}");
        assert!(error.to_string().contains(&name), "{error}");
    });
}

#[test]
fn a_disk_or_partition_behind_a_loop_device_is_refused_though_the_kernel_would_share_it() {
    on_a_scratch_machine(|machine| {
        let Some(partitioned) = Partitioned::new(machine) else { return };
        let Partitioned { disk, partition } = &partitioned;
        for below in [disk.path(), partition] {
            let above = LoopDevice::attach(&[], Path::new(below));
            is_refused(disk, &[&format!("it is behind the loop device {}", above.path())]);
            drop(above);
            opened(disk.path()).unwrap();
        }
    });
}

#[test]
fn a_disk_that_another_process_holds_is_refused() {
    on_a_scratch_machine(|machine| {
        let disk = machine.disk("held", 64);
        let holder = exclusively(disk.path()).unwrap();
        is_refused(&disk, &["another program or the kernel has it open exclusively"]);
        drop(holder);
        opened(disk.path()).unwrap();
    });
}

#[test]
fn a_read_only_disk_is_refused_whoever_made_it_so() {
    on_a_scratch_machine(|machine| {
        let file = machine.disk("disk", 64).file().to_owned();
        let attached = LoopDevice::attach(&["--read-only"], &file);
        is_refused(&attached, &["it is read-only"]);
        drop(attached);
        let set = LoopDevice::attach(&[], &file);
        run("blockdev", &["--setro", set.path()]);
        is_refused(&set, &["it is read-only"]);
        run("blockdev", &["--setrw", set.path()]);
        opened(set.path()).unwrap();
    });
}

#[test]
fn a_disk_without_capacity_is_refused() {
    on_a_scratch_machine(|machine| {
        let disk = machine.disk("nothing", 0);
        is_refused(&disk, &["it has no capacity (0 bytes)"]);
    });
}

#[test]
fn a_disk_of_another_size_than_was_seen_is_refused() {
    on_a_scratch_machine(|machine| {
        let disk = machine.disk("disk", 64);
        let seen = Expected { size: Some(ByteCount::new(64 * MIB)), disk_sequence: None };
        open(&expecting(disk.path(), seen)).unwrap();
        OpenOptions::new().write(true).open(disk.file()).unwrap().set_len(65 * MIB).unwrap();
        run("losetup", &["--set-capacity", disk.path()]);
        refusal(&expecting(disk.path(), seen), &["it has 68157440 bytes now, and had 67108864"]);
    });
}

#[test]
fn another_file_at_the_same_loop_device_is_another_disk() {
    on_a_scratch_machine(|machine| {
        let first = machine.disk("first", 64);
        let path = first.path().to_owned();
        let Some(sequence) = opened(&path).unwrap().disk_sequence() else {
            return skipped("this kernel has no disk sequence numbers");
        };
        let seen = Expected { size: None, disk_sequence: Some(sequence) };
        open(&expecting(&path, seen)).unwrap();
        drop(first);
        let second = machine.file("second");
        File::create(&second).unwrap().set_len(64 * MIB).unwrap();
        run("losetup", &[&path, second.to_str().unwrap()]);
        let again = LoopDevice::attached(&path, &second);
        let before = again.sha256();
        let said = format!("and was {sequence}");
        refusal(&expecting(&path, seen), &["not the disk that was meant", &said]);
        assert_eq!(again.sha256(), before);
    });
}

#[test]
fn a_disk_is_never_grown() {
    on_a_scratch_machine(|machine| {
        let disk = machine.disk("disk", 64);
        let mut target = opened(disk.path()).unwrap();
        let error = target.grow_to(ByteCount::new(65 * MIB)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused);
        assert_eq!(target.geometry().capacity, ByteCount::new(64 * MIB));
    });
}

#[test]
fn an_image_file_behind_a_loop_device_is_refused_under_each_of_its_names() {
    on_a_scratch_machine(|machine| {
        let disk = machine.disk("image", 64);
        let before = disk.sha256();
        let reason = format!("it is behind the loop device {}", disk.path());
        let other_name = machine.file("other-name");
        std::fs::hard_link(disk.file(), &other_name).unwrap();
        refusal(&expecting(disk.file(), Expected::default()), &[&reason]);
        refusal(&expecting(&other_name, Expected::default()), &[&reason]);
        // The name that the kernel would report is gone, but the file is not.
        std::fs::remove_file(disk.file()).unwrap();
        refusal(&expecting(&other_name, Expected::default()), &[&reason]);
        std::fs::rename(&other_name, disk.file()).unwrap();
        assert_eq!(disk.sha256(), before);
        run("losetup", &["--detach", disk.path()]);
        opened(disk.file()).unwrap();
    });
}

#[test]
fn an_image_file_is_a_virtual_machines_or_ours_and_never_both() {
    if !has_program("qemu-io") {
        return;
    }
    on_a_scratch_machine(|machine| {
        let path = machine.file("image");
        File::create(&path).unwrap().set_len(MIB).unwrap();
        let arguments = ["-f", "raw", path.to_str().unwrap()];
        let mut qemu = command("qemu-io", &arguments);
        let mut qemu = qemu.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        // It prompts for a command once it has the file open.
        qemu.stdout.as_mut().unwrap().read_exact(&mut [0; 8]).unwrap();
        let outcome = opened(&path).map(drop);
        drop(qemu.stdin.take());
        qemu.wait().unwrap();
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
        assert!(error.to_string().contains("it is locked by another program"), "{error}");
        let _ours = opened(&path).unwrap();
        let arguments = ["-f", "raw", "-c", "write 0 512", path.to_str().unwrap()];
        let refused = finish(&mut command("qemu-io", &arguments));
        refused.says("lock");
        assert_eq!(std::fs::read(&path).unwrap(), vec![0; 1 << 20]);
    });
}

#[test]
fn a_swap_file_is_refused() {
    on_a_scratch_machine(|machine| {
        // Swap is not possible on tmpfs, but on a filesystem on a disk.
        let disk = machine.disk("disk", 64);
        run("mkfs.ext4", &["-q", disk.path()]);
        shell(&format!("mkdir /mnt/files; mount {} /mnt/files", disk.path()));
        shell("dd if=/dev/zero of=/mnt/files/area bs=1M count=16 status=none");
        shell("chmod 600 /mnt/files/area; mkswap -q /mnt/files/area; swapon /mnt/files/area");
        let outcome = opened("/mnt/files/area").map(drop);
        run("swapoff", &["/mnt/files/area"]);
        let after = opened("/mnt/files/area").map(drop);
        run("umount", &["/mnt/files"]);
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
        assert!(error.to_string().contains("it is used as swap"), "{error}");
        after.unwrap();
    });
}

#[test]
fn the_sectors_of_an_image_file_are_those_of_the_disk_that_its_filesystem_is_on() {
    on_a_scratch_machine(|machine| {
        for (bytes, sector_size) in [("512", SectorSize::Bytes512), ("4096", SectorSize::Bytes4096)]
        {
            let file = machine.file(bytes);
            File::create(&file).unwrap().set_len(64 * MIB).unwrap();
            let disk = LoopDevice::attach(&["--sector-size", bytes], &file);
            run("mkfs.ext4", &["-q", disk.path()]);
            shell(&format!("mkdir -p /mnt/files; mount {} /mnt/files", disk.path()));
            File::create("/mnt/files/image").unwrap().set_len(MIB + 1).unwrap();
            let geometry = opened("/mnt/files/image").unwrap().geometry();
            run("umount", &["/mnt/files"]);
            assert_eq!(geometry.sector_size, sector_size);
            assert_eq!(geometry.capacity, ByteCount::new(MIB + 1));
        }
    });
}

#[test]
fn an_image_file_on_a_filesystem_that_is_mounted_read_only_is_refused() {
    on_a_scratch_machine(|machine| {
        let disk = machine.disk("disk", 64);
        run("mkfs.ext4", &["-q", disk.path()]);
        shell(&format!("mkdir /mnt/files; mount {} /mnt/files", disk.path()));
        File::create("/mnt/files/image").unwrap().set_len(MIB).unwrap();
        run("mount", &["-o", "remount,ro", "/mnt/files"]);
        refusal(&expecting("/mnt/files/image", Expected::default()), &["it is read-only"]);
        run("umount", &["/mnt/files"]);
    });
}

#[test]
fn no_stream_takes_the_place_of_the_file_behind_a_loop_device() {
    on_a_scratch_machine(|machine| {
        let disk = machine.disk("disk", 8);
        let before = disk.sha256();
        let (file, stream) = (disk.file().to_str().unwrap(), "data/native/two-volumes.mts");
        let stream = Path::new(env!("CARGO_MANIFEST_DIR")).join(stream);
        let typed = ["stream", "convert", stream.to_str().unwrap(), "--to", "native"];
        let convert = |more: &[&str]| machine.mtctl(&[&typed[..], more].concat());
        convert(&["--output", file]).exits(4).says("is not empty");
        let asked = convert(&["--output", file, "--force", file]);
        asked.exits(4).says(&format!("behind the loop device {}", disk.path()));
        asked.says("hint: name a new file");
        convert(&["--output", disk.path(), "--force", disk.path()]).exits(2);
        assert_eq!(disk.sha256(), before);
    });
}
