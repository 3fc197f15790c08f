//! Image files, and what is no target at all. Disks are in the integration tests on loop devices.

use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use tempfile::TempDir;

use super::*;

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
    assert!(error.hint().is_some(), "{error:?}");
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
        assert!(error.hint().is_some());
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
    assert!(error.to_string().contains("written to meanwhile"), "{error:?}");
}
