//! Logs made by hand in the kernel's format, and broken ones.

use proptest::prelude::*;

use super::{Become, DISCARD, FLUSH, FUA, Log, MARK, METADATA};

const SECTOR: usize = 512;

/// A log of `entries`: sector, sectors, flags, and the data or text.
fn log(sector_bytes: usize, entries: &[(u64, u64, u64, &[u8])]) -> Vec<u8> {
    let mut log = Vec::new();
    for number in [super::MAGIC, 1, entries.len() as u64, sector_bytes as u64] {
        log.extend(number.to_le_bytes());
    }
    log.resize(sector_bytes, 0);
    for (sector, sectors, flags, bytes) in entries {
        let begin = log.len();
        let text = if flags & MARK != 0 { bytes.len() as u64 } else { 0 };
        for number in [*sector, *sectors, *flags, text] {
            log.extend(number.to_le_bytes());
        }
        if flags & MARK != 0 {
            log.extend(*bytes);
        }
        log.resize(begin + sector_bytes, 0);
        if flags & MARK == 0 {
            log.extend(*bytes);
        }
    }
    log
}

/// The image after the first `count` entries.
fn image(log: &[u8], count: usize, length: usize) -> Vec<u8> {
    let mut image = vec![9; length];
    for entry in &Log::parse(log).unwrap().entries[..count] {
        entry.replay(log, &mut image).unwrap();
    }
    image
}

#[test]
fn what_was_written_is_there_from_its_place_in_the_log_on() {
    let (one, two) = ([1; SECTOR], [2; 2 * SECTOR]);
    let bytes = log(
        SECTOR,
        &[
            (0, 1, 0, &one),
            (1, 2, METADATA, &two),
            (0, 0, FLUSH, &[]),
            (0, 0, MARK, b"told"),
            (2, 1, DISCARD, &[]),
            (3, 1, FUA, &one),
        ],
    );
    let parsed = Log::parse(&bytes).unwrap();
    assert_eq!(parsed.barriers(), [3, 6]);
    assert_eq!(parsed.entries[3].becomes, Become::Marked("told".to_owned()));
    let firsts = |count| image(&bytes, count, 4 * SECTOR).chunks(SECTOR).map(|c| c[0]).collect();
    let seen: Vec<Vec<u8>> = (0..=6).map(firsts).collect();
    assert_eq!(seen[0], [9, 9, 9, 9]);
    assert_eq!(seen[1], [1, 9, 9, 9]);
    assert_eq!(seen[2], [1, 2, 2, 9]);
    assert_eq!((&seen[3], &seen[4]), (&seen[2], &seen[2]));
    assert_eq!(seen[5], [1, 2, 0, 9]);
    assert_eq!(seen[6], [1, 2, 0, 1]);
}

#[test]
fn of_flushes_with_no_change_between_them_only_the_last_is_a_place() {
    let one = [1; SECTOR];
    let bytes = log(
        SECTOR,
        &[
            (0, 0, FLUSH, &[]),
            (0, 0, FLUSH, &[]),
            (0, 1, 0, &one),
            (0, 0, FLUSH, &[]),
            (0, 0, MARK, b"told"),
            (0, 0, FLUSH, &[]),
            (0, 1, FUA, &one),
        ],
    );
    assert_eq!(Log::parse(&bytes).unwrap().barriers(), [2, 6, 7]);
}

#[test]
fn sectors_may_have_four_kibibytes() {
    let bytes = log(4096, &[(0, 0, MARK, b"x"), (1, 1, FLUSH | FUA, &[7; 4096])]);
    let found = image(&bytes, 2, 3 * 4096);
    assert_eq!((found[4095], found[4096], found[8191], found[8192]), (9, 7, 7, 9));
}

#[test]
fn what_is_no_log_or_ends_too_early_is_refused() {
    let whole = log(SECTOR, &[(0, 1, 0, &[1; SECTOR]), (0, 0, MARK, b"end")]);
    for length in 0..whole.len() {
        assert!(Log::parse(&whole[..length]).is_err(), "{length} bytes");
    }
    let with = |at: usize, byte: u8| {
        let mut broken = whole.clone();
        broken[at] = byte;
        format!("{:#}", Log::parse(&broken).unwrap_err())
    };
    assert_eq!(with(0, 0), "not a log of dm-log-writes");
    assert_eq!(with(8, 2), "a log of version 2");
    assert_eq!(with(25, 3), "sectors of 768 bytes");
    assert_eq!(with(SECTOR + 17, 1), "entry 0: unknown flags 0x100");
    assert_eq!(with(SECTOR + 15, 255), "entry 0: too many sectors");
    assert_eq!(with(3 * SECTOR + 25, 2), "entry 1: a mark of 515 bytes");
    assert_eq!(with(16, 3), "entry 2: the log ends too early");
}

#[test]
fn an_entry_past_the_end_of_the_disk_is_refused() {
    let bytes = log(SECTOR, &[(1, 1, 0, &[1; SECTOR])]);
    let entry = &Log::parse(&bytes).unwrap().entries[0];
    assert!(entry.replay(&bytes, &mut [0; SECTOR]).is_err());
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
        let begin = log(SECTOR, &[]);
        let length = bytes.len().min(20);
        bytes[..length].copy_from_slice(&begin[..length]);
        let _ = Log::parse(&bytes);
    }
}
