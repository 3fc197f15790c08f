//! Verbs on a group: its state, its history, and its disks.

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use blockio::extent::Extent;
use blockio::journal::catalogue::{Point, PointId, PointKind};
use blockio::journal::layout::{
    BLOCK_BYTES, ENTRIES_MAX, Entry, Held, RecordHeader, RecordKind, SegmentHeader,
};
use blockio::journal::state_text;
use blockio::units::{ByteCount, ByteOffset};
use mt_tests::scratch_machine::{ScratchMachine, on_a_scratch_machine};

use crate::streams::{SIZE, TIB, marks, one_volume, scattered, sparse};
use crate::{Row, all_are_small};

/// The number of points that a group must be able to have.
const POINTS: u64 = 65_000;

/// The directory of the groups' history, in memory.
fn retention(machine: &ScratchMachine) -> String {
    let path = machine.file("retention");
    fs::create_dir_all(&path).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A group with one point and a history, on a sparse image of `size` bytes.
fn group(machine: &ScratchMachine, name: &str, size: u64) -> PathBuf {
    let target = sparse(machine, &format!("{name}.img"), size);
    let stream = scattered(machine, &format!("{name}.mts"), &one_volume(size), 64);
    let at = retention(machine);
    let words = ["apply", &stream, "--target", &target, "--group", name];
    let place = ["--retention", &at, "--retention-unmounted"];
    machine.mtctl(&[&words[..], &place].concat()).exits(0);
    Path::new(&at).join(name)
}

/// Adds `count` points to the group whose files are in `directory`; nothing was written between
/// them.
fn add_points(directory: &Path, count: u64) {
    let mut known =
        state_text::parse(&fs::read_to_string(directory.join("state")).unwrap()).unwrap();
    let journal = known.journal.as_mut().unwrap();
    let open = journal.points.pop().unwrap();
    let first = journal.points.last().map_or(0, |point| point.id.0 + 1);
    // The open epoch keeps its number, which is recorded in its segment, so the others come before
    // it.
    assert!(first + count <= open.id.0, "{first} {count} {:?}", open.id);
    journal.points.extend((first..first + count).map(|id| {
        Arc::new(Point {
            id: PointId(id),
            time: open.time,
            taken: open.taken,
            kind: PointKind::App,
            name: Some(format!("point-{id:026}")),
            pinned: false,
            spans: Vec::new(),
        })
    }));
    journal.points.push(open);
    let text = state_text::print(&known);
    ["state", "state.copy"].iter().for_each(|name| fs::write(directory.join(name), &text).unwrap());
}

/// Makes the number of the group's next point leave room for `count` others before it.
fn leave_room(directory: &Path, count: u64) {
    let mut known =
        state_text::parse(&fs::read_to_string(directory.join("state")).unwrap()).unwrap();
    known.journal.as_mut().unwrap().next_point += count;
    let text = state_text::print(&known);
    ["state", "state.copy"].iter().for_each(|name| fs::write(directory.join(name), &text).unwrap());
}

/// The last segment of a group.
fn last_segment(directory: &Path) -> PathBuf {
    let is_segment =
        |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with("segment-");
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(is_segment).max().unwrap()
}

/// Appends records to the open epoch, each with the maximum number of entries of `length` zero
/// bytes.
fn forge_zeros(directory: &Path, records: u64, length: u64, stride: u64, size: u64) {
    let path = last_segment(directory);
    let bytes = fs::read(&path).unwrap();
    let segment = SegmentHeader::read(&bytes).unwrap();
    let mut at = BLOCK_BYTES;
    let mut number = segment.first_record;
    while let Ok(header) = RecordHeader::read(&bytes[at..]) {
        at += header.record_bytes();
        number = header.number + 1;
    }
    let mut file = OpenOptions::new().write(true).open(&path).unwrap();
    file.seek(SeekFrom::Start(at as u64)).unwrap();
    let entries = (size / stride).min(ENTRIES_MAX as u64);
    for record in 0..records {
        let entry = |index: u64| {
            let start = (record * entries + index) * stride % size;
            let length = ByteCount::new(length.min(size - start));
            let extent = Extent::new(ByteOffset::new(start), length).unwrap();
            Entry { volume: 0, extent, held: Held::Zeros }
        };
        let header = RecordHeader {
            number,
            salt: segment.salt,
            tag: segment.journal[..8].try_into().unwrap(),
            kind: RecordKind::Images,
            entries: (0..entries).map(entry).collect(),
            payload_bytes: 0,
            payload_checksum: 0,
            durable_before: number,
        };
        let mut place = vec![0; header.header_bytes()];
        header.write(&mut place);
        file.write_all(&place).unwrap();
        number += 1;
    }
}

/// Every verb on the group `name`, with the exit codes of a check and of a rollback that keeps what
/// it overwrites.
fn rows(
    machine: &ScratchMachine,
    input: &'static str,
    name: &str,
    (check, rollback): (u8, u8),
) -> Vec<Row> {
    let at = retention(machine);
    let socket = machine.file("socket").to_str().unwrap().to_owned();
    let row = |code, verb: &str| {
        let verb = format!("{verb} --group {{}} --retention {{}} --retention-unmounted");
        let names: &[&str] =
            if verb.contains("--socket") { &[&socket, name, &at] } else { &[name, &at] };
        Row::new(code, input, &verb, names)
    };
    let mut rows = vec![
        row(0, "points list"),
        row(0, "points list --json"),
        row(0, "points show latest"),
        row(0, "points create --name here"),
        row(0, "group show"),
        row(0, "group show --json"),
        Row::new(0, input, "group list --retention {} --retention-unmounted", &[&at]),
        row(check, "journal check"),
        row(check, "journal check --json"),
        row(0, "journal dump --extents"),
        row(0, "journal rebuild --dry-run"),
        row(0, "export --to start --socket {}").stopped(),
        row(if rollback == 0 { 3 } else { rollback }, "rollback --to start --dry-run"),
        row(rollback, "rollback --to start --yes"),
    ];
    // A commit reads what was rolled back, which must not be terabytes here.
    if rollback == 0 {
        rows.push(row(0, "rollback --to start --yes --without-undo"));
    }
    rows.extend([row(0, "recover --yes"), row(0, "commit --yes")]);
    rows
}

#[test]
fn verbs_on_a_group_stay_below_128_mib_whatever_its_history_holds() {
    on_a_scratch_machine(|machine| {
        let at = retention(machine);
        let place = ["--retention", &at, "--retention-unmounted"];
        let mut table = Vec::new();

        let many = group(machine, "points", SIZE);
        leave_room(&many, POINTS);
        let create = ["points", "create", "--group", "points", "--name", "last"];
        machine.mtctl(&[&create[..], &place].concat()).exits(0);
        add_points(&many, POINTS);
        // No segment contains them, and the check says so. Every verb that changes another group of
        // the case has to read this one as well.
        let input = "a state of 65,000 points";
        let digest = "digest --to start --group points --retention {} --retention-unmounted";
        table.push(Row::new(0, input, digest, &[&at]));
        table.extend(rows(machine, input, "points", (5, 0)));

        // The data that it overwrites may not be zeros, and there is no space for it.
        let forged = group(machine, "zeros", 2 * TIB);
        forge_zeros(&forged, 1, 2 * TIB, 2 * TIB, 2 * TIB);
        table.extend(rows(machine, "2 TiB of forged zeros", "zeros", (0, 4)));

        let scattered = group(machine, "scattered", 2 * TIB);
        forge_zeros(&scattered, 100, 4096, 1 << 20, 2 * TIB);
        table.extend(rows(machine, "204,800 forged images of zeros", "scattered", (0, 0)));

        let stream = marks(machine, "marks.mts", 1000);
        let target = sparse(machine, "marks.img", SIZE);
        let apply = "apply {} --target {} --group marks --retention {} --retention-unmounted";
        let input = "1000 marks with the longest names";
        table.push(Row::new(0, input, apply, &[&stream, &target, &at]));
        table.extend(rows(machine, input, "marks", (0, 0)));
        all_are_small(machine, &table);
    });
}
