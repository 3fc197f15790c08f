//! A directory of streams is read in the order of their sequence numbers.

use std::fs;
use std::path::Path;

use crate::ErrorKind;
use crate::stream::svd::directory::ordered;
use crate::stream::svd::section::Order;
use crate::stream::svd::tests::{marks_in, stream};

/// A stream that begins with `sequence`.
fn numbered(sequence: u64) -> Vec<u8> {
    let mut bytes = stream(&[(0, 0, 0, &[7; 512])]);
    bytes[160..168].copy_from_slice(&sequence.to_le_bytes());
    bytes
}

fn names(directory: &Path) -> Vec<String> {
    let paths = ordered(directory).unwrap();
    paths.iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
}

#[test]
fn files_come_by_their_first_sequence_number_then_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(directory.path().join(name), bytes).unwrap();
    write("a", &numbered(70_000));
    write("b", &numbered(256));
    // The same stream, delivered twice.
    write("d", &numbered(9));
    write("c", &numbered(9));
    // 1000, from a big-endian machine.
    write("e", &marks_in(Order::Big, &[b"mark"]));
    assert_eq!(names(directory.path()), ["c", "d", "b", "e", "a"]);
}

#[test]
fn a_directory_whose_times_tell_another_order_than_its_numbers_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(directory.path().join(name), bytes).unwrap();
    let mut later = numbered(10);
    let time = u64::from_le_bytes(later[168..176].try_into().unwrap()) + 6_000_000_000;
    later[168..176].copy_from_slice(&time.to_le_bytes());
    write("before-the-boot", &numbered(1000));
    assert_eq!(names(directory.path()), ["before-the-boot"]);
    write("after-the-boot", &later);
    let error = ordered(directory.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    let said = "before-the-boot comes after after-the-boot by its sequence number";
    assert!(error.chain().contains(said), "{}", error.chain());
}

#[test]
fn what_is_no_stream_is_refused_by_name() {
    for (bytes, why) in [
        (
            &b"not a stream at all"[..],
            "at byte 0 of the stream: this is not a stream of the format svd",
        ),
        (b"", "at byte 0 of the stream: the input ends"),
        (&numbered(1)[..170], "at byte 170 of the stream: the input ends"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("good"), numbered(1)).unwrap();
        fs::write(directory.path().join("odd"), bytes).unwrap();
        let error = ordered(directory.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Integrity);
        assert!(error.chain().contains("odd: at byte"), "{}", error.chain());
        assert!(error.chain().contains(why), "{}", error.chain());
    }
}

#[test]
fn a_directory_without_streams_or_with_another_in_it_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(ordered(directory.path()).unwrap_err().kind(), ErrorKind::Usage);
    fs::create_dir(directory.path().join("inner")).unwrap();
    let error = ordered(directory.path()).unwrap_err();
    assert!(error.chain().contains("inner: it is not a regular file"), "{}", error.chain());
}
