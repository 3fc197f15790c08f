//! Image files, and paths that are not a target at all. Disks are covered by the integration tests
//! on loop devices.

use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use tempfile::TempDir;

use super::*;
use crate::remedy::{DiskRemedy, Remedy};

const MIB: u64 = 1 << 20;

fn image(directory: &TempDir, bytes: u64) -> PathBuf {
    let path = directory.path().join("disk.img");
    File::create(&path).unwrap().set_len(bytes).unwrap();
    path
}

fn request(path: &Path) -> TargetRequest {
    TargetRequest { path: path.to_owned(), expected: Expected::default() }
}

#[track_caller]
fn is_refused(request: &TargetRequest, reason: &str) {
    let error = open(request).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
    assert!(error.to_string().contains(reason), "{error:?}");
    assert!(error.has_remedy(), "{error:?}");
}

#[test]
fn an_image_file_is_opened_with_its_length_to_the_byte() {
    let directory = TempDir::new().unwrap();
    for bytes in [0, 1, MIB, MIB + 513] {
        let path = image(&directory, bytes);
        let target = open(&request(&path)).unwrap();
        assert_eq!(target.geometry().capacity, ByteCount::new(bytes));
        assert_eq!((target.kind(), target.disk_sequence()), (TargetKind::ImageFile, None));
        assert_eq!(target.path(), path);
    }
}

#[test]
fn a_link_leads_to_its_image_file() {
    let directory = TempDir::new().unwrap();
    let path = image(&directory, MIB);
    let link = directory.path().join("link");
    symlink(&path, &link).unwrap();
    let target = open(&request(&link)).unwrap();
    assert_eq!(target.geometry().capacity, ByteCount::new(MIB));
    is_refused(&request(&path), "locked by another program");
}

#[test]
fn what_is_neither_a_disk_nor_an_image_is_a_usage_error_that_names_it() {
    let directory = TempDir::new().unwrap();
    let place = |name: &str| directory.path().join(name);
    mkfifo(&place("pipe"), Mode::S_IRWXU).unwrap();
    let _socket = UnixListener::bind(place("socket")).unwrap();
    fs::write(place("file"), b"").unwrap();
    for (path, what) in [
        (place("absent"), "no such disk or file"),
        (place("file/below"), "no such disk or file"),
        (directory.path().to_owned(), "a directory"),
        (PathBuf::from("/dev/null"), "a character device"),
        (place("pipe"), "a pipe"),
        (place("socket"), "a socket"),
    ] {
        let error = open(&request(&path)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage, "{error:?}");
        assert!(error.to_string().contains(what), "{error:?}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error:?}");
        assert!(error.has_remedy());
    }
    assert!(!place("absent").exists(), "image files are not made");
}

#[test]
fn one_image_is_open_once_at_a_time() {
    let directory = TempDir::new().unwrap();
    let path = image(&directory, MIB);
    let first = open(&request(&path)).unwrap();
    is_refused(&request(&path), "locked by another program");
    let file = first.into_file();
    is_refused(&request(&path), "locked by another program");
    drop(file);
    open(&request(&path)).unwrap();
}

#[test]
fn an_image_that_another_program_locked_in_either_way_is_refused() {
    let directory = TempDir::new().unwrap();
    let path = image(&directory, MIB);
    let other = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    lock_as_a_whole(&other, FlockArg::LockExclusiveNonblock).unwrap();
    is_refused(&request(&path), "locked by another program");
    drop(other);
    // As QEMU does it: a shared lock on a single byte.
    let other = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let byte = libc::flock {
        l_type: libc::F_RDLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 201,
        l_len: 1,
        l_pid: 0,
    };
    fcntl(&other, FcntlArg::F_OFD_SETLK(&byte)).unwrap();
    is_refused(&request(&path), "locked by another program");
    drop(other);
    open(&request(&path)).unwrap();
}

#[test]
fn an_image_of_another_size_than_was_seen_is_refused() {
    let directory = TempDir::new().unwrap();
    let path = image(&directory, MIB);
    let expecting = |size: u64| TargetRequest {
        expected: Expected { size: Some(ByteCount::new(size)), disk_sequence: None },
        ..request(&path)
    };
    is_refused(&expecting(MIB + 1), "it has 1048576 bytes now, and had 1048577");
    open(&expecting(MIB)).unwrap();
}

#[test]
fn an_image_in_the_place_of_a_disk_is_refused() {
    let directory = TempDir::new().unwrap();
    let path = image(&directory, MIB);
    let expected = Expected { size: None, disk_sequence: Some(7) };
    is_refused(&TargetRequest { expected, ..request(&path) }, "number is none now, and was 7");
}

#[test]
fn a_name_that_led_elsewhere_between_the_look_and_the_open_is_refused() {
    let directory = TempDir::new().unwrap();
    let path = image(&directory, MIB);
    let seen = fs::metadata(&path).unwrap();
    // The first keeps its inode: it is only renamed.
    fs::rename(&path, directory.path().join("first")).unwrap();
    image(&directory, MIB);
    let error = open_image(Access::Write, &path, &seen, None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.to_string().contains("something else"), "{error}");
}

#[test]
fn an_image_file_grows_with_zeros_and_keeps_what_it_had() {
    let directory = TempDir::new().unwrap();
    let path = image(&directory, 0);
    OpenOptions::new().write(true).open(&path).unwrap().write_all(&[7; 512]).unwrap();
    let mut target = open(&request(&path)).unwrap();
    target.grow_to(ByteCount::new(MIB + 1)).unwrap();
    assert_eq!(target.geometry().capacity, ByteCount::new(MIB + 1));
    target.grow_to(ByteCount::new(MIB + 1)).unwrap();
    let mut bytes = Vec::new();
    File::open(&path).unwrap().read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len() as u64, MIB + 1);
    assert!(bytes[..512].iter().all(|&byte| byte == 7));
    assert!(bytes[512..].iter().all(|&byte| byte == 0));
}

#[test]
fn an_image_file_is_never_cut() {
    let directory = TempDir::new().unwrap();
    let path = image(&directory, MIB);
    let mut target = open(&request(&path)).unwrap();
    let error = target.grow_to(ByteCount::new(MIB - 1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert_eq!(fs::metadata(&path).unwrap().len(), MIB);
    assert_eq!(target.geometry().capacity, ByteCount::new(MIB));
}

#[test]
fn a_size_that_the_filesystem_cannot_have_is_a_failure_that_changes_nothing() {
    let directory = TempDir::new().unwrap();
    let path = image(&directory, MIB);
    let mut target = open(&request(&path)).unwrap();
    let error = target.grow_to(ByteCount::new(u64::MAX)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failed);
    assert_eq!(target.geometry().capacity, ByteCount::new(MIB));
    assert_eq!(fs::metadata(&path).unwrap().len(), MIB);
}

#[test]
fn the_sector_of_an_image_is_what_direct_writes_must_be_aligned_to() {
    for (alignment, bytes) in
        [(None, 512), (Some(1), 512), (Some(512), 512), (Some(1024), 4096), (Some(4096), 4096)]
    {
        assert_eq!(image_sector_bytes(alignment), bytes, "{alignment:?}");
    }
    let error = sector_size(image_sector_bytes(Some(16384)), Path::new("x")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.to_string().contains("16384"), "{error}");
}

#[test]
fn an_image_file_is_read_by_many_and_written_by_one() {
    let directory = TempDir::new().unwrap();
    let request = request(&image(&directory, MIB));
    let one = open_for_reading(&request).unwrap();
    let other = open_for_reading(&request).unwrap();
    is_refused(&request, "locked by another program");
    drop((one, other));
    let _written = open(&request).unwrap();
    let error = open_for_reading(&request).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
}

#[test]
fn what_is_opened_for_reading_cannot_be_written() {
    let directory = TempDir::new().unwrap();
    let target = open_for_reading(&request(&image(&directory, MIB))).unwrap();
    let error = target.file().set_len(0).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
}

#[test]
fn an_image_file_that_is_written_without_asking_is_told_afterwards() {
    let directory = TempDir::new().unwrap();
    let path = image(&directory, MIB);
    let target = open_for_reading(&request(&path)).unwrap();
    stillness::Stillness::begin(&target).unwrap().end().unwrap();
    let stillness = stillness::Stillness::begin(&target).unwrap();
    std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"x").unwrap();
    let error = stillness.end().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
    assert!(error.to_string().contains("wrote to it meanwhile"), "{error:?}");
}

#[test]
fn what_holds_a_target_is_waited_for_and_everything_else_is_told_at_once() {
    let held = || io::Error::from_raw_os_error(libc::EBUSY);
    let is_held = |cause: &io::Error| is(cause, libc::EBUSY);
    let mut answers = vec![Ok(7), Err(held()), Err(held())];
    assert_eq!(patiently(|| answers.pop().unwrap(), is_held).unwrap(), 7);
    assert!(answers.is_empty());
    let mut answers = vec![Ok(7), Err(io::ErrorKind::NotFound.into())];
    let error = patiently(|| answers.pop().unwrap(), is_held).unwrap_err();
    assert_eq!((error.kind(), answers.len()), (io::ErrorKind::NotFound, 1));
}

#[test]
fn only_a_lock_of_another_is_one_that_somebody_has() {
    let error = |errno: i32| io::Error::from_raw_os_error(errno);
    for (errno, kind) in [
        (libc::EAGAIN, ErrorKind::Refused),
        (libc::EACCES, ErrorKind::Refused),
        (libc::ENOLCK, ErrorKind::Failed),
        (libc::EINTR, ErrorKind::Failed),
    ] {
        assert_eq!(is_lock_held(&error(errno)), kind == ErrorKind::Refused, "{errno}");
        assert_eq!(locked(Path::new("x"), error(errno)).kind(), kind, "{errno}");
    }
}

#[test]
fn a_lock_is_one_against_both_ways_in_which_programs_lock() {
    let directory = TempDir::new().unwrap();
    let path = image(&directory, MIB);
    let again = || OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let (first, second) = (again(), again());
    lock(Access::Read, &first).unwrap();
    lock(Access::Read, &second).unwrap();
    assert!(is_lock_held(&lock(Access::Write, &second).unwrap_err()));
    drop(first);
    lock(Access::Write, &second).unwrap();
    assert!(is_lock_held(&lock(Access::Read, &again()).unwrap_err()));
}

#[test]
fn who_only_looks_keeps_nobody_out_and_is_kept_out_by_nobody() {
    let directory = TempDir::new().unwrap();
    let request = request(&image(&directory, MIB));
    let looked = open_to_look(&request).unwrap();
    let written = open(&request).unwrap();
    let again = open_to_look(&request).unwrap();
    assert_eq!((again.kind(), again.geometry()), (written.kind(), written.geometry()));
    assert_eq!(looked.geometry(), written.geometry());
}

#[test]
fn an_image_is_opened_again_with_the_shorter_of_its_sectors_and_those_of_its_place() {
    let directory = TempDir::new_in(".").unwrap();
    let request = request(&image(&directory, MIB));
    let is_direct = |target: &Target| {
        let flags = fcntl(target.file(), FcntlArg::F_GETFL).unwrap();
        flags & libc::O_DIRECT != 0
    };
    let first = open(&request).unwrap();
    let (measured, was_direct) = (first.geometry().sector_size, is_direct(&first));
    drop(first);
    for wanted in [SectorSize::Bytes512, SectorSize::Bytes4096] {
        let target = open_again(&request, Some(wanted)).unwrap();
        let is_shorter = wanted.bytes() < measured.bytes();
        let expected = if is_shorter { wanted } else { measured };
        assert_eq!(target.geometry().sector_size, expected);
        assert_eq!(is_direct(&target), was_direct && !is_shorter, "{wanted:?}");
    }
}

#[test]
fn the_first_loop_device_above_a_target_is_told() {
    let found = |names: &[&str]| Ok(names.iter().map(|&name| name.to_owned()).collect());
    let path = Path::new("x");
    check_no_loop_device_above(path, found(&[])).unwrap();
    let error = check_no_loop_device_above(path, found(&["loop3", "loop4"])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.to_string().contains("behind the loop device /dev/loop3"), "{error}");
    let unknown = Err(io::Error::from_raw_os_error(libc::EIO));
    let error = check_no_loop_device_above(path, unknown).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failed);
}

#[test]
fn what_is_not_known_to_be_writable_is_not_written_to() {
    assert!(check_writable(&tempfile::tempfile().unwrap(), Path::new("x")).is_err());
}

#[test]
fn a_target_tells_the_number_of_its_attachment() {
    let directory = TempDir::new().unwrap();
    let target = open(&request(&image(&directory, MIB))).unwrap();
    let target = Target { disk_sequence: Some(7), ..target };
    assert_eq!(target.disk_sequence(), Some(7));
    let expecting = |number| Expected { size: None, disk_sequence: Some(number) };
    check_expected(&target, expecting(7)).unwrap();
    assert_eq!(check_expected(&target, expecting(8)).unwrap_err().kind(), ErrorKind::Refused);
}

#[test]
fn the_alignment_that_is_told_is_one_that_direct_reads_may_have() {
    use nix::sys::statfs::{EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, fstatfs};
    use std::os::unix::fs::FileExt;
    let directory = TempDir::new_in(".").unwrap();
    let path = image(&directory, MIB);
    let file = File::open(&path).unwrap();
    let tells =
        [EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC].contains(&fstatfs(&file).unwrap().filesystem_type());
    let Some(alignment) = alignment::direct_alignment(&file).unwrap() else {
        assert!(!tells, "Linux tells it since 6.1");
        return;
    };
    assert!(alignment.is_power_of_two() && (512..=65536).contains(&alignment), "{alignment}");
    let direct = open_with(Access::Read, &path, libc::O_DIRECT).unwrap();
    let length = alignment as usize;
    let length = std::num::NonZeroUsize::new(length).unwrap();
    let pool = crate::device::buffer::ArenaPool::new(1, length).unwrap();
    let mut arena = pool.take().unwrap();
    direct.read_exact_at(arena.as_mut_slice(), alignment).unwrap();
}

#[test]
fn what_is_missing_read_only_or_forbidden_is_told_as_such() {
    let error = |errno: i32| not_opened(Path::new("x"), io::Error::from_raw_os_error(errno));
    let read_only = error(libc::EROFS);
    assert_eq!(read_only.kind(), ErrorKind::Refused);
    assert!(read_only.to_string().contains("it is read-only"), "{read_only}");
    let forbidden = error(libc::EPERM);
    assert_eq!(forbidden.kind(), ErrorKind::Failed);
    assert_eq!(Remedy::of(&forbidden), Some(&DiskRemedy::OpenAsRoot.into()));
    assert!(!error(libc::EIO).has_remedy());
}

#[test]
fn what_has_no_name_of_its_own_is_something_else() {
    let directory = TempDir::new().unwrap();
    let link = directory.path().join("link");
    symlink("nowhere", &link).unwrap();
    let error = neither(&link, &fs::symlink_metadata(&link).unwrap());
    assert!(error.to_string().contains("it is something else, neither"), "{error}");
}

#[test]
fn a_disk_is_flushed_before_it_is_looked_at_and_a_file_is_not() {
    // A pipe reports that it cannot be flushed.
    let (_reader, writer) = std::io::pipe().unwrap();
    let file = File::from(std::os::fd::OwnedFd::from(writer));
    assert!(stillness::mark(&file, TargetKind::ImageFile).is_ok());
    let error = stillness::mark(&file, TargetKind::BlockDevice).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
}
