//! The parts of a transfer, and a file that cannot be flushed or written.

use std::os::fd::OwnedFd;

use super::*;
use crate::units::{ByteCount, SectorSize};

const SECTOR: usize = 512;

fn geometry(bytes: u64) -> Geometry {
    Geometry { capacity: ByteCount::new(bytes), sector_size: SectorSize::Bytes512 }
}

impl DiskFile {
    /// The same, taken for a disk.
    pub(in crate::device) fn taken_for_disk(self) -> Self {
        Self { is_disk: true, ..self }
    }
}

/// A file of two sectors and a part of a third.
fn uneven() -> DiskFile {
    let file = tempfile::tempfile().unwrap();
    file.set_len(1100).unwrap();
    DiskFile::new(file, geometry(1100)).unwrap()
}

#[test]
fn a_transfer_is_cut_where_the_last_sector_is_not_whole() {
    let disk = uneven();
    let transfer = |at: u64, position: usize, sectors: usize| Transfer {
        at: ByteOffset::new(at),
        position,
        length: sectors * SECTOR,
    };
    let parts = |of| disk.parts(of, 8 * SECTOR).unwrap();
    let before = transfer(0, SECTOR, 2);
    assert_eq!(parts(before), Parts { whole: Some(before), tail: None });
    let last = transfer(1024, SECTOR, 1);
    assert_eq!(parts(last), Parts { whole: None, tail: Some(last) });
    let (whole, tail) = (transfer(512, SECTOR, 1), transfer(1024, 2 * SECTOR, 1));
    let all = Parts { whole: Some(whole), tail: Some(tail) };
    assert_eq!(parts(transfer(512, SECTOR, 2)), all);
}

#[test]
fn the_last_sector_of_what_is_open_for_reading_is_read_and_not_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("image");
    std::fs::write(&path, [7; 1100]).unwrap();
    let disk = DiskFile::new(File::open(&path).unwrap(), geometry(1100)).unwrap();
    let mut sector = [1; SECTOR];
    disk.read_tail(&mut sector).unwrap();
    assert_eq!(sector[..76], [7; 76]);
    assert_eq!(sector[76..], [0; SECTOR - 76]);
    assert!(disk.write_tail(&[9; SECTOR]).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), [7; 1100]);
}

#[test]
fn a_flush_is_a_flush_of_the_file_of_the_device() {
    // A pipe is the only file that reports to any user that it cannot be flushed.
    let (_reader, writer) = std::io::pipe().unwrap();
    let disk = DiskFile::new(File::from(OwnedFd::from(writer)), geometry(512)).unwrap();
    assert_eq!(disk.flush().unwrap_err().raw_os_error(), Some(libc::EINVAL));
    uneven().flush().unwrap();
}

#[test]
fn a_transfer_is_named_by_its_bytes_also_where_there_can_be_none() {
    let named = |at, length| {
        let extent = extent_of(Transfer { at: ByteOffset::new(at), position: 0, length });
        (extent.start().get(), extent.end().get())
    };
    let far = 1 << 62;
    assert_eq!(named(far, 1 << 20), (far, far + (1 << 20)));
    assert_eq!(named(512, 0), (512, 513));
    assert_eq!(named(u64::MAX, SECTOR), (u64::MAX - 512, u64::MAX));
}

#[test]
fn a_disk_is_written_where_it_is_short_and_an_image_file_is_cleared() {
    let file = || {
        let file = tempfile::tempfile().unwrap();
        file.set_len(CLEAR_BYTES_MIN * 2 + 100).unwrap();
        DiskFile::new(file, geometry(CLEAR_BYTES_MIN * 2 + 100)).unwrap()
    };
    let extent = |start, length| {
        Extent::between(ByteOffset::new(start), ByteOffset::new(start + length)).unwrap()
    };
    let (short, long) = (CLEAR_BYTES_MIN - 512, CLEAR_BYTES_MIN);
    for (disk, length, as_data) in [
        (file().taken_for_disk(), short, true),
        (file().taken_for_disk(), long, false),
        (file(), short, false),
    ] {
        let whole = Some(extent(512, length));
        let expected = PartsToClear { whole, as_data, has_tail: false };
        assert_eq!(disk.parts_to_clear(extent(512, length)).unwrap(), expected);
    }
    let end = CLEAR_BYTES_MIN * 2;
    let parts = |start, length| file().parts_to_clear(extent(start, length)).unwrap();
    let tail = PartsToClear { whole: None, as_data: false, has_tail: true };
    assert_eq!(parts(end, 512), tail);
    assert_eq!(
        parts(end - 512, 1024),
        PartsToClear { whole: Some(extent(end - 512, 512)), ..tail }
    );
}
