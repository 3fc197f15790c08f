//! Verbs that read streams: `stream inspect`, `stream convert`, `apply`.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use blockio::extent::Extent;
use blockio::stream::native::compression::Method;
use blockio::stream::native::{Encoder, EncoderOptions};
use blockio::stream::rbd_diff::{self, Version};
use blockio::stream::{
    BATCH_BYTES_MAX, BATCH_PIECES_MAX, Format, Mark, MarkKind, NAME_BYTES_MAX, Name, StreamHeader,
    Timestamp, VOLUMES_MAX, VolumeHeader, VolumeIndex,
};
use blockio::units::{ByteCount, ByteOffset};
use mt_tests::change_stream;
use mt_tests::scratch_machine::{ScratchMachine, on_a_scratch_machine};

use crate::{MIB, Row, all_are_small};

pub(crate) const TIB: u64 = 1 << 40;
/// The size of small disks.
pub(crate) const SIZE: u64 = 64 * MIB;

/// A name of the maximum length, with characters that become longer when displayed.
fn longest_name(number: usize) -> Name {
    let mut name = format!("{number:08}").into_bytes();
    name.resize_with(NAME_BYTES_MAX, || b'x');
    name.iter_mut().skip(8).step_by(50).for_each(|byte| *byte = 1);
    Name::new(&name).unwrap()
}

fn header(volumes: Vec<VolumeHeader>) -> StreamHeader {
    StreamHeader { format: Format::Native, is_in_write_order: true, identity: None, volumes }
}

pub(crate) fn one_volume(size: u64) -> StreamHeader {
    header(vec![change_stream::volume("", size, "", "")])
}

/// Writes a native stream to a file, and returns its path.
fn native(
    machine: &ScratchMachine,
    name: &str,
    header: &StreamHeader,
    options: EncoderOptions,
    fill: impl FnOnce(&mut Encoder<BufWriter<File>>),
) -> String {
    let path = machine.file(name);
    let output = BufWriter::with_capacity(1 << 20, File::create(&path).unwrap());
    let mut encoder = Encoder::new(output, header, options).unwrap();
    fill(&mut encoder);
    encoder.finish(true).unwrap();
    path.to_str().unwrap().to_owned()
}

fn extent(start: u64, length: u64) -> Extent {
    Extent::new(ByteOffset::new(start), ByteCount::new(length)).unwrap()
}

/// A stream with `count` marks with the longest names.
pub(crate) fn marks(machine: &ScratchMachine, name: &str, count: usize) -> String {
    native(machine, name, &one_volume(SIZE), EncoderOptions::default(), |encoder| {
        encoder.data(VolumeIndex(0), ByteOffset::new(0), &[7; 4096]).unwrap();
        for number in 0..count {
            let time = Timestamp(1_700_000_000_000_000_000 + number as u64);
            let name = Some(longest_name(number));
            let kind = MarkKind::CrashConsistent;
            encoder.mark(&Mark { time, kind, group: name.clone(), name }).unwrap();
        }
    })
}

/// The largest header.
fn volumes(machine: &ScratchMachine) -> String {
    let volume = |number| {
        let name = Some(longest_name(number));
        VolumeHeader {
            name: name.clone(),
            size: Some(ByteCount::new(MIB)),
            from: name.clone(),
            to: name,
        }
    };
    let header = header((0..VOLUMES_MAX).map(volume).collect());
    native(machine, "volumes.mts", &header, EncoderOptions::default(), |encoder| {
        for number in 0..VOLUMES_MAX {
            let volume = VolumeIndex(number as u16);
            encoder.data(volume, ByteOffset::new(0), &[7; 4096]).unwrap();
        }
    })
}

/// A stream with the maximum number of volumes, with long names, and a target for each.
fn onto_a_thousand(machine: &ScratchMachine) -> Row {
    let name = |number: usize| format!("{number:08}{}", "x".repeat(NAME_BYTES_MAX - 8));
    let volume = |number| change_stream::volume(&name(number), MIB, "", "");
    let header = header((0..VOLUMES_MAX).map(volume).collect());
    let path = native(machine, "thousand.mts", &header, EncoderOptions::default(), |encoder| {
        for number in 0..VOLUMES_MAX {
            let volume = VolumeIndex(number as u16);
            encoder.data(volume, ByteOffset::new(0), &[7; 4096]).unwrap();
        }
    });
    let mut row = Row::new(0, "1024 volumes onto 1024 targets", "apply {}", &[&path]);
    for number in 0..VOLUMES_MAX {
        let target = sparse(machine, &format!("target-{number}"), MIB);
        row.words.extend(["--map".to_owned(), format!("{}={target}", name(number))]);
    }
    row
}

/// Batches with the maximum number of entries, of single sectors that are not adjacent.
fn entries(machine: &ScratchMachine, batches: usize) -> String {
    let options = EncoderOptions { batch_bytes: BATCH_BYTES_MAX, ..EncoderOptions::default() };
    native(machine, "entries.mts", &one_volume(SIZE), options, |encoder| {
        let places = SIZE / 1024;
        for number in 0..(batches * BATCH_PIECES_MAX) as u64 {
            let at = number * 7919 % places * 1024;
            if number % 3 == 0 {
                encoder.data(VolumeIndex(0), ByteOffset::new(at), &[number as u8; 512]).unwrap();
            } else {
                encoder.zero(VolumeIndex(0), extent(at, 512)).unwrap();
            }
        }
    })
}

/// `count` blocks of data, far apart.
pub(crate) fn scattered(
    machine: &ScratchMachine,
    name: &str,
    header: &StreamHeader,
    count: u64,
) -> String {
    let size = header.volumes[0].size.unwrap().get();
    native(machine, name, header, EncoderOptions::default(), |encoder| {
        for number in 0..count {
            let at = ByteOffset::new(size / count * number);
            encoder.data(VolumeIndex(0), at, &[7; 4096]).unwrap();
        }
    })
}

/// Zeros as data: 8 MiB of them compress to a few bytes.
fn bomb(machine: &ScratchMachine, name: &str, method: Method) -> String {
    let compression = Some(method);
    let options = EncoderOptions { batch_bytes: BATCH_BYTES_MAX, compression, created: None };
    native(machine, name, &one_volume(SIZE), options, |encoder| {
        for _ in 0..16 {
            encoder.data(VolumeIndex(0), ByteOffset::new(0), &vec![0; SIZE as usize]).unwrap();
        }
    })
}

/// One extent of zeros.
fn zeros(machine: &ScratchMachine, size: u64) -> String {
    native(machine, "zeros.mts", &one_volume(size), EncoderOptions::default(), |encoder| {
        encoder.zero(VolumeIndex(0), extent(0, size)).unwrap();
    })
}

/// Streams of the driver with the maximum number of marks of maximum length, one after another.
fn driver_marks(machine: &ScratchMachine, streams: usize) -> String {
    let mut one = change_stream::svd(1, &[(0, &[7; 512])]);
    // The header and the first stamp, then marks instead of writes, then the last stamp.
    let (front, stamp) = (one[..4 + 12 + 128 + 12 + 20].to_vec(), one.split_off(one.len() - 32));
    let mut stream = front;
    for _ in 0..blockio::stream::svd::MARKS_MAX {
        stream.extend(b"USER");
        stream.extend(1_u32.to_le_bytes());
        stream.extend(256_u32.to_le_bytes());
        stream.extend([1; 256]);
    }
    stream.extend(stamp);
    let path = machine.file("marks.svd");
    let mut output = File::create(&path).unwrap();
    (0..streams).for_each(|_| output.write_all(&stream).unwrap());
    path.to_str().unwrap().to_owned()
}

/// A directory with very many streams of the driver, with long names.
fn driver_directory(machine: &ScratchMachine, files: u64) -> String {
    let path = machine.file("streams");
    fs::create_dir(&path).unwrap();
    for number in 0..files {
        let name = format!("{number:08}{}", "x".repeat(240));
        let stream = change_stream::svd(1 + number, &[(number % 1000 * 512, &[7; 512])]);
        fs::write(path.join(name), stream).unwrap();
    }
    path.to_str().unwrap().to_owned()
}

/// An export with very many diffs, each from one longest name to the next.
fn diffs(machine: &ScratchMachine, count: usize) -> String {
    let path = machine.file("diffs.rbd");
    let mut output = BufWriter::new(File::create(&path).unwrap());
    output.write_all(b"rbd image v2\nErbd image diffs v2\n").unwrap();
    output.write_all(&(count as u64).to_le_bytes()).unwrap();
    for number in 0..count {
        let from = (number > 0).then(|| longest_name(number));
        let to = Some(longest_name(number + 1));
        let volume = VolumeHeader { name: None, size: Some(ByteCount::new(SIZE)), from, to };
        let mut encoder = rbd_diff::Encoder::new(Vec::new(), Version::V2, &volume).unwrap();
        encoder.data(ByteOffset::new(0), &[number as u8; 512]).unwrap();
        output.write_all(&encoder.finish().unwrap()).unwrap();
    }
    output.flush().unwrap();
    path.to_str().unwrap().to_owned()
}

/// An image of `bytes` that takes no space.
pub(crate) fn sparse(machine: &ScratchMachine, name: &str, bytes: u64) -> String {
    let path = machine.file(name);
    File::create(&path).unwrap().set_len(bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn verbs_that_read_streams_stay_below_128_mib_whatever_the_streams_hold() {
    on_a_scratch_machine(|machine| {
        let target = sparse(machine, "target", SIZE);
        let huge = sparse(machine, "huge", 2 * TIB);
        let hugest = sparse(machine, "hugest", 16 * TIB);
        let large = sparse(machine, "large", TIB);
        let image = sparse(machine, "image", 16 * TIB);
        let out = machine.file("out").to_str().unwrap().to_owned();
        let inputs = [
            ("100,001 marks with the longest names", marks(machine, "marks.mts", 100_001)),
            ("1024 volumes with the longest names", volumes(machine)),
            ("16,384 entries a batch", entries(machine, 40)),
            ("a bomb of lz4", bomb(machine, "lz4.mts", Method::Lz4)),
            ("a bomb of zstd", bomb(machine, "zstd.mts", Method::Zstd)),
            ("2 TiB of zeros in one extent", zeros(machine, 2 * TIB)),
            ("12 streams of 16,384 marks", driver_marks(machine, 12)),
            ("1000 streams in a directory", driver_directory(machine, 1000)),
            ("1000 diffs with the longest names", diffs(machine, 1000)),
        ];
        let mut rows = Vec::new();
        for (input, path) in &inputs {
            let target = if input.contains("TiB") { &huge } else { &target };
            rows.push(Row::new(0, input, "stream inspect {}", &[path]));
            rows.push(Row::new(0, input, "stream inspect --json {}", &[path]));
            // Only the streams of the driver do not contain the size of their disk.
            let convert = match input.contains("streams") {
                true => "stream convert --size 64M --to native -o {} --force {} {}",
                false => "stream convert --to native -o {} --force {} {}",
            };
            rows.push(Row::new(0, input, convert, &[&out, &out, path]));
            // One target is not enough for a thousand volumes: the missing ones are reported.
            let code = if input.contains("volumes") { 2 } else { 0 };
            rows.push(Row::new(code, input, "apply {} --target {}", &[path, target]));
            let dry = if code == 0 { 3 } else { code };
            rows.push(Row::new(dry, input, "apply {} --target {} --dry-run", &[path, target]));
            if !Path::new(path).is_dir() {
                rows.push(Row::new(code, input, "apply - --target {}", &[target]).piped(path));
            }
        }
        rows.push(onto_a_thousand(machine));
        let zeros = machine.file("zeros.mts").to_str().unwrap().to_owned();
        for engine in ["uring", "blocking"] {
            let apply = format!("apply --engine {engine} {{}} --target {{}}");
            rows.push(Row::new(0, "2 TiB of zeros in one extent", &apply, &[&zeros, &huge]));
        }
        let input = "a sparse image of 16 TiB";
        rows.push(Row::new(0, input, "stream inspect --format raw {}", &[&image]));
        let convert = "stream convert --format raw --to native -o {} --force {} {}";
        rows.push(Row::new(0, input, convert, &[&out, &out, &image]));
        let apply = "apply --format raw {} --target {}";
        rows.push(Row::new(3, input, &format!("{apply} --dry-run"), &[&image, &hugest]));
        rows.push(Row::new(0, "a sparse image of 1 TiB", apply, &[&large, &huge]));
        all_are_small(machine, &rows);
    });
}
