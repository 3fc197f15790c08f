//! Change streams for tests: a list of changes, streams that carry them, and the resulting contents
//! of a disk. How the program applies them is not modelled here.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use blockio::extent::Extent;
use blockio::stream::native::{self, EncoderOptions};
use blockio::stream::rbd_diff::{self, Version};
use blockio::stream::{
    Format, Mark, MarkKind, Name, StreamHeader, Timestamp, VolumeHeader, VolumeIndex,
};
use blockio::units::{ByteCount, ByteOffset};

use crate::random::Random;

/// The new contents of a range of a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Become {
    /// These bytes.
    Data(Vec<u8>),
    /// This many zeros.
    Zero(u64),
    /// This many bytes that nobody needs, which read as zeros.
    Discard(u64),
}

/// One change of a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Offset of the first byte that changes.
    pub start: u64,
    /// The new contents from there on.
    pub becomes: Become,
}

impl Change {
    /// `bytes` at `start`.
    pub fn data(start: u64, bytes: impl Into<Vec<u8>>) -> Self {
        Self { start, becomes: Become::Data(bytes.into()) }
    }

    /// Number of bytes that change.
    pub fn length(&self) -> u64 {
        match &self.becomes {
            Become::Data(bytes) => bytes.len() as u64,
            Become::Zero(length) | Become::Discard(length) => *length,
        }
    }

    /// The bytes that change.
    pub fn extent(&self) -> Extent {
        Extent::new(ByteOffset::new(self.start), ByteCount::new(self.length())).unwrap()
    }

    /// Encodes it into a stream as a change of `volume`.
    pub fn encode<W: Write>(&self, encoder: &mut native::Encoder<W>, volume: VolumeIndex) {
        match &self.becomes {
            Become::Data(bytes) => encoder.data(volume, ByteOffset::new(self.start), bytes),
            Become::Zero(_) => encoder.zero(volume, self.extent()),
            Become::Discard(_) => encoder.discard(volume, self.extent()),
        }
        .unwrap();
    }

    /// Applies it to `image`.
    pub fn apply(&self, image: &mut [u8]) {
        let range = self.start as usize..(self.start + self.length()) as usize;
        match &self.becomes {
            Become::Data(bytes) => image[range].copy_from_slice(bytes),
            Become::Zero(_) | Become::Discard(_) => image[range].fill(0),
        }
    }
}

/// A volume as in the header of a stream: `name` and the snapshots are omitted if empty.
pub fn volume(name: &str, size: u64, from: &str, to: &str) -> VolumeHeader {
    let given = |text: &str| (!text.is_empty()).then(|| Name::new(text.as_bytes()).unwrap());
    let size = Some(ByteCount::new(size));
    VolumeHeader { name: given(name), size, from: given(from), to: given(to) }
}

/// A native stream has a mark after this many changes, and at the end.
pub const CHANGES_PER_MARK: usize = 16;

/// A native stream of one volume, in batches of at most 64 KiB, so that there are many.
pub fn native(volume: VolumeHeader, changes: &[Change]) -> Vec<u8> {
    native_of(vec![volume], &changes.iter().map(|change| (0, change)).collect::<Vec<_>>())
}

/// A native stream of several volumes; each change names the number of its volume.
pub fn native_of(volumes: Vec<VolumeHeader>, changes: &[(u16, &Change)]) -> Vec<u8> {
    let mut stream = Vec::new();
    let header =
        StreamHeader { format: Format::Native, is_in_write_order: true, identity: None, volumes };
    let options = EncoderOptions { batch_bytes: 64 << 10, ..EncoderOptions::default() };
    let mut encoder = native::Encoder::new(&mut stream, &header, options).unwrap();
    let point = Mark {
        time: Timestamp(1_700_000_000_000_000_000),
        kind: MarkKind::ApplicationConsistent,
        name: Name::new(b"point"),
        group: None,
    };
    for (index, (volume, change)) in changes.iter().enumerate() {
        let volume = VolumeIndex(*volume);
        if index > 0 && index % CHANGES_PER_MARK == 0 {
            encoder.mark(&point).unwrap();
        }
        change.encode(&mut encoder, volume);
    }
    encoder.mark(&point).unwrap();
    encoder.finish(true).unwrap();
    stream
}

/// An rbd diff.
pub fn rbd_diff(version: Version, volume: &VolumeHeader, changes: &[Change]) -> Vec<u8> {
    let mut encoder = rbd_diff::Encoder::new(Vec::new(), version, volume).unwrap();
    for change in changes {
        match &change.becomes {
            Become::Data(bytes) => encoder.data(ByteOffset::new(change.start), bytes),
            Become::Zero(_) | Become::Discard(_) => encoder.zero(change.extent()),
        }
        .unwrap();
    }
    encoder.finish().unwrap()
}

/// An rbd export of format 2 with these diffs of v2, without metadata of the image.
pub fn rbd_export(diffs: &[Vec<u8>]) -> Vec<u8> {
    let mut export = b"rbd image v2\nE".to_vec();
    export.extend(b"rbd image diffs v2\n");
    export.extend((diffs.len() as u64).to_le_bytes());
    diffs.iter().for_each(|diff| export.extend(diff));
    export
}

/// A little-endian svd stream of these writes, as the driver sends it; `sequence` is the number of
/// its first write.
pub fn svd(sequence: u64, writes: &[(u64, &[u8])]) -> Vec<u8> {
    let mut stream = b"DRTL".to_vec();
    let section = |stream: &mut Vec<u8>, tag: &[u8; 4]| {
        // Encoded as a number, as in the captured streams.
        stream.extend(tag);
        stream.extend(1_u32.to_le_bytes());
        stream.extend(0_u32.to_le_bytes());
    };
    let stamp = |stream: &mut Vec<u8>, sequence: u64| {
        stream.extend([3, 0, 0, 24]);
        stream.extend(sequence.to_le_bytes());
        stream.extend(17_953_825_422_905_286_u64.to_le_bytes());
    };
    section(&mut stream, b"SVD1");
    stream.extend([0; 128]);
    section(&mut stream, b"TFV2");
    stamp(&mut stream, sequence);
    section(&mut stream, b"LODC");
    let total: u64 = writes.iter().map(|(_, bytes)| 32 + bytes.len() as u64).sum();
    stream.extend(total.to_le_bytes());
    for (delta, (start, bytes)) in (0_u32..).zip(writes) {
        section(&mut stream, b"DDV2");
        stream.extend((bytes.len() as u32).to_le_bytes());
        stream.extend(start.to_le_bytes());
        stream.extend(delta.to_le_bytes());
        stream.extend(0_u32.to_le_bytes());
        stream.extend(*bytes);
    }
    section(&mut stream, b"TLV2");
    stamp(&mut stream, sequence + writes.len() as u64 - 1);
    stream
}

/// `count` changes of a disk of `size` bytes: some aligned to sectors, most not, overlapping, with
/// any contents.
pub fn random_changes(random: &mut Random, size: u64, count: usize) -> Vec<Change> {
    let mut changes = Vec::new();
    for _ in 0..count {
        let unit = [1, 512, 4096][random.below(3) as usize];
        let length = (1 + random.below(160 << 10)).next_multiple_of(unit).min(size);
        let start = match random.below(8) {
            0 => size - length,
            _ => random.below(size - length + 1) / unit * unit,
        };
        let becomes = match random.below(6) {
            0 => Become::Zero(length),
            1 => Become::Discard(length),
            _ => Become::Data(random.bytes(length as usize)),
        };
        changes.push(Change { start, becomes });
    }
    changes
}

/// The differences between two images of the same size, in blocks of 4096 bytes; blocks that became
/// zero are zero changes.
pub fn difference(before: &Path, after: &Path) -> Vec<Change> {
    const CHUNK: usize = 1 << 20;
    let (mut old, mut new) = (File::open(before).unwrap(), File::open(after).unwrap());
    let (mut old_chunk, mut new_chunk) = (vec![0; CHUNK], vec![0; CHUNK]);
    let mut changes: Vec<Change> = Vec::new();
    let length = new.metadata().unwrap().len();
    assert_eq!(old.metadata().unwrap().len(), length, "two sizes");
    for chunk_at in (0..length).step_by(CHUNK) {
        let count = CHUNK.min((length - chunk_at) as usize);
        old.read_exact(&mut old_chunk[..count]).unwrap();
        new.read_exact(&mut new_chunk[..count]).unwrap();
        if old_chunk[..count] == new_chunk[..count] {
            continue;
        }
        let blocks = old_chunk[..count].chunks(4096).zip(new_chunk[..count].chunks(4096));
        for (index, (_, block)) in blocks.enumerate().filter(|(_, (old, new))| old != new) {
            add(&mut changes, chunk_at + index as u64 * 4096, block);
        }
    }
    changes
}

/// Adds `block` to the last change if it continues that change.
fn add(changes: &mut Vec<Change>, start: u64, block: &[u8]) {
    let is_zero = block.iter().all(|byte| *byte == 0);
    let touches = changes.last_mut().filter(|last| last.start + last.length() == start);
    match touches.map(|last| &mut last.becomes) {
        Some(Become::Zero(length)) if is_zero => *length += block.len() as u64,
        Some(Become::Data(bytes)) if !is_zero => bytes.extend(block),
        _ if is_zero => {
            changes.push(Change { start, becomes: Become::Zero(block.len() as u64) });
        }
        _ => changes.push(Change::data(start, block)),
    }
}
