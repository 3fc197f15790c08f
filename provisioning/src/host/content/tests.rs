//! What is found in files that stand in for devices.

use std::os::unix::fs::FileExt;

use super::*;
use crate::blank::{self, END_BYTES, WHOLE_BYTES_MAX};

const SIZE_BYTES: u64 = 4 << 30;

fn look(file: &File, size_bytes: u64) -> io::Result<Option<Found>> {
    let rest = blank::look(size_bytes, 512, 7, None).pieces;
    find(file, &[blank::ends(size_bytes), rest].concat())
}

fn with_a_byte_at(size_bytes: u64, offset: Option<u64>) -> Option<Found> {
    let file = tempfile::tempfile_in("/dev/shm").unwrap();
    file.set_len(size_bytes).unwrap();
    if let Some(offset) = offset {
        file.write_all_at(&[1], offset).unwrap();
    }
    look(&file, size_bytes).unwrap()
}

#[test]
fn a_byte_at_an_end_in_a_known_place_or_anywhere_on_a_small_disk_is_content() {
    let small = WHOLE_BYTES_MAX - 512;
    let rows = [
        (SIZE_BYTES, 0, "the beginning"),
        (SIZE_BYTES, END_BYTES - 1, "the beginning"),
        (SIZE_BYTES, SIZE_BYTES - END_BYTES, "the end"),
        (SIZE_BYTES, SIZE_BYTES - 1, "the end"),
        (SIZE_BYTES, 128 << 20, "the beginning of a partition, or the end of the one before it"),
        (SIZE_BYTES, (9 * 128) << 20, "a backup superblock of ext2, ext3 or ext4"),
        (SIZE_BYTES, (25 * 128) << 20, "a backup superblock of ext2, ext3 or ext4"),
        (small, END_BYTES, "anywhere"),
        (small, small - 1, "anywhere"),
    ];
    for (size_bytes, offset, place) in rows {
        let found = with_a_byte_at(size_bytes, Some(offset)).unwrap();
        assert_eq!(found, Found { offset, place: place.to_owned() });
    }
    assert_eq!(with_a_byte_at(small, None), None);
    assert_eq!(with_a_byte_at(SIZE_BYTES, None), None);
}

#[test]
fn what_is_shorter_than_it_should_be_is_an_error_and_not_blank() {
    let file = tempfile::tempfile_in("/dev/shm").unwrap();
    file.set_len(SIZE_BYTES - 4096).unwrap();
    assert!(look(&file, SIZE_BYTES).is_err());
    // A byte that was found takes precedence over the error.
    file.write_all_at(&[1], 0).unwrap();
    assert!(look(&file, SIZE_BYTES).unwrap().is_some());
}
