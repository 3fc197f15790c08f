//! Memory is bounded by design, not by the stream: measured from outside.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use blockio::stream::native::compression::Method;
use blockio::stream::native::{Encoder, EncoderOptions};
use blockio::stream::{BATCH_BYTES_MAX, Format, StreamHeader, VolumeIndex};
use blockio::units::ByteOffset;
use mt_tests::change_stream::volume;
use mt_tests::program::{command, mtctl, peak_bytes_of};
use mt_tests::random::Random;
use mt_tests::scratch_machine::on_a_scratch_machine;
use mt_tests::skip::record;

const LIMIT_BYTES: u64 = 64 << 20;
const EXTENT_BYTES: u64 = 4096;

/// Writes a native stream of `count` extents, scattered over `size` bytes, and calls `then` before
/// the end. Returns the offset and contents of the last extent.
fn scatter(
    output: impl Write,
    (size, count): (u64, u64),
    options: EncoderOptions,
    then: impl FnOnce(),
) -> (u64, Vec<u8>) {
    let volumes = vec![volume("", size, "", "")];
    let header =
        StreamHeader { format: Format::Native, is_in_write_order: true, identity: None, volumes };
    let mut encoder = Encoder::new(output, &header, options).unwrap();
    let mut random = Random::new(51);
    // Half of it is zeros, so that it compresses.
    let mut data = random.bytes(EXTENT_BYTES as usize);
    data[EXTENT_BYTES as usize / 2..].fill(0);
    let mut at = 0;
    for index in 0..count {
        at = random.below(size / EXTENT_BYTES) * EXTENT_BYTES;
        data[..8].copy_from_slice(&index.to_le_bytes());
        encoder.data(VolumeIndex(0), ByteOffset::new(at), &data).unwrap();
    }
    then();
    encoder.finish(true).unwrap();
    (at, data)
}

/// Applies `count` scattered extents from a pipe to a sparse image of `size` bytes at `target`, and
/// checks the memory against the limit.
#[track_caller]
fn stays_small(target: &Path, size: u64, count: u64, options: EncoderOptions) {
    File::create(target).unwrap().set_len(size).unwrap();
    let words = ["apply", "-", "--target", target.to_str().unwrap(), "--json"];
    let started = Instant::now();
    let mut child = Command::new(mtctl());
    let mut child = child.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let process = child.id();
    let mut peak_bytes = 0;
    let output = BufWriter::with_capacity(1 << 20, child.stdin.take().unwrap());
    // Before the end, because afterwards the process no longer exists.
    let (at, data) =
        scatter(output, (size, count), options, || peak_bytes = peak_bytes_of(process).unwrap());
    let said = io::read_to_string(child.stdout.take().unwrap()).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    println!("{count} extents: peak {} KiB, {:?}: {said}", peak_bytes >> 10, started.elapsed());
    let json: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(json["bytes"], count * EXTENT_BYTES);
    assert!(peak_bytes > 1 << 20, "{peak_bytes} bytes are no measurement");
    assert!(peak_bytes < LIMIT_BYTES, "{peak_bytes} bytes of memory");
    let skip = at / EXTENT_BYTES;
    let target = target.display();
    let dd = format!("dd if={target} bs={EXTENT_BYTES} skip={skip} count=1 status=none");
    let found = command("sh", &["-c", &dd]).output().unwrap().stdout;
    assert_eq!(found, data, "the last extent");
}

#[test]
fn a_pipe_of_a_hundred_thousand_extents_takes_no_more_memory_than_a_short_one() {
    on_a_scratch_machine(|machine| {
        stays_small(&machine.file("image"), 128 << 20, 100_000, EncoderOptions::default());
    });
}

#[test]
fn the_largest_batches_compressed_take_no_more_than_is_promised() {
    on_a_scratch_machine(|machine| {
        for compression in [None, Some(Method::Lz4), Some(Method::Zstd)] {
            let options =
                EncoderOptions { batch_bytes: BATCH_BYTES_MAX, compression, created: None };
            stays_small(&machine.file("image"), 128 << 20, 20_000, options);
        }
    });
}

#[test]
fn a_pipe_of_a_million_extents_over_16_gib_takes_no_more_memory_than_a_short_one() {
    if std::env::var_os("MTCTL_LONG_TESTS").is_none() {
        let reason = "writes 4 GiB to a disk: runs only with MTCTL_LONG_TESTS=1";
        return record("a million extents over 16 GiB", reason).unwrap();
    }
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    stays_small(&directory.path().join("image"), 16 << 30, 1_000_000, EncoderOptions::default());
}
