//! Everything that a disk or an image holds, as a stream that is made while it is sent. Zeros
//! travel as their length.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::os::unix::fs::{FileExt, MetadataExt};

use blockio::device::buffer::{Arena, ArenaPool};
use blockio::extent::Extent;
use blockio::stream::native::{Cursor, Encoder, EncoderOptions};
use blockio::stream::{Format, Name, StreamHeader, Timestamp, VolumeHeader, VolumeIndex};
use blockio::units::{ByteCount, ByteOffset};
use blockio::volume::{Target, TargetKind};

use super::Supply;
use crate::session::message::Known;
use crate::{Error, Result};

/// How much becomes one batch, in bytes.
const STEP_BYTES: usize = 1 << 20;
/// Zeros are looked for in pieces of this many bytes.
const PIECE_BYTES: usize = 64 << 10;

/// A full copy of a disk or an image.
#[derive(Debug)]
pub struct FullCopy {
    source: Target,
    encoder: Encoder<Vec<u8>>,
    header: Vec<u8>,
    // Where the header ends.
    start: Cursor,
    // How much of the encoder's output was passed on.
    taken: usize,
    // Everything on the disk before this is encoded.
    offset: u64,
    // Where records end that are not known to be durable, and how far on the disk that is.
    places: VecDeque<(Cursor, u64)>,
    memory: Arena,
    has_ended: bool,
}

impl FullCopy {
    /// A copy of `source`, which nobody else may write to meanwhile, as the volume called `volume`.
    ///
    /// An image file keeps its identity as long as it is not changed, so that a copy goes on if it
    /// is begun anew; a copy of a disk goes on as long as this lives.
    ///
    /// # Errors
    ///
    /// `Failed`: there is no memory, or the source cannot be examined.
    pub fn new(source: Target, volume: Option<Name>) -> Result<Self> {
        let size = source.geometry().capacity;
        let volume = VolumeHeader { name: volume, size: Some(size), from: None, to: None };
        let (identity, created) = identity(&source)?.unzip();
        let header = StreamHeader {
            format: Format::Native,
            is_in_write_order: false,
            identity,
            volumes: vec![volume],
        };
        let options =
            EncoderOptions { batch_bytes: STEP_BYTES, created, ..EncoderOptions::default() };
        let mut encoder = Encoder::new(Vec::new(), &header, options)?;
        let header = std::mem::take(encoder.output());
        let length = NonZeroUsize::new(STEP_BYTES).expect("invariant: not zero");
        let memory = ArenaPool::new(1, length)
            .map_err(|cause| Error::failed("allocating memory for reading", cause))?
            .take()?;
        let start = encoder.cursor();
        let places = VecDeque::from([(start, 0)]);
        let (taken, offset, has_ended) = (0, 0, false);
        Ok(Self { source, encoder, header, start, taken, offset, places, memory, has_ended })
    }

    fn size(&self) -> u64 {
        self.source.geometry().capacity.get()
    }

    /// Encodes the next step, or the end.
    fn step(&mut self) -> Result<()> {
        self.encoder.output().clear();
        self.taken = 0;
        let left = self.size() - self.offset;
        if left == 0 {
            if !std::mem::replace(&mut self.has_ended, true) {
                self.encoder.end(true)?;
            }
            return Ok(());
        }
        let length = usize::try_from(left).map_or(STEP_BYTES, |left| left.min(STEP_BYTES));
        let bytes = &mut self.memory.as_mut_slice()[..length];
        let read = self.source.file().read_exact_at(bytes, self.offset);
        read.map_err(|cause| {
            Error::failed(format!("reading {}", self.source.path().display()), cause)
        })?;
        let mut start = self.offset;
        for piece in bytes.chunks(PIECE_BYTES) {
            let at = ByteOffset::new(start);
            if piece.iter().any(|byte| *byte != 0) {
                self.encoder.data(VolumeIndex(0), at, piece)?;
            } else {
                let extent = Extent::new(at, ByteCount::new(piece.len() as u64));
                let extent = extent.map_err(|cause| Error::failed("copying a disk", cause))?;
                self.encoder.zero(VolumeIndex(0), extent)?;
            }
            start += piece.len() as u64;
        }
        self.encoder.end_batch()?;
        self.offset = start;
        self.places.push_back((self.encoder.cursor(), self.offset));
        Ok(())
    }

    fn go_on_at(&mut self, cursor: Cursor, offset: u64) {
        self.encoder.output().clear();
        self.encoder.go_on_at(cursor);
        (self.taken, self.offset, self.has_ended) = (0, offset, false);
        self.places.retain(|(place, _)| place.position <= cursor.position);
    }
}

/// What distinguishes an image from what it becomes, its inode and when it was changed; and the
/// latter. `None` for a disk, which does not say when it was changed.
fn identity(source: &Target) -> Result<Option<([u8; 16], Timestamp)>> {
    if source.kind() == TargetKind::BlockDevice {
        return Ok(None);
    }
    let doing = || format!("examining {}", source.path().display());
    let metadata = source.file().metadata();
    let metadata = metadata.map_err(|cause| Error::failed(doing(), cause))?;
    let changed = metadata.mtime().wrapping_mul(1_000_000_000).wrapping_add(metadata.mtime_nsec());
    let mut identity = [0; 16];
    identity[..8].copy_from_slice(&changed.to_be_bytes());
    identity[8..].copy_from_slice(&metadata.ino().to_be_bytes());
    Ok(Some((identity, Timestamp(changed.unsigned_abs()))))
}

impl Supply for FullCopy {
    fn name(&self) -> String {
        self.source.path().display().to_string()
    }

    /// Zeros and headers make it another one.
    fn length(&self) -> Option<u64> {
        None
    }

    fn header(&mut self) -> Result<Vec<u8>> {
        Ok(self.header.clone())
    }

    /// If the place was forgotten, or is of an earlier run, everything before it is read and
    /// encoded again, but not sent: if the chain is the same then, the source has not changed.
    fn go_to(&mut self, known: &Known) -> Result<Option<Cursor>> {
        let is_it = |place: &(Cursor, u64)| place.0.position == known.position;
        let found = match self.places.iter().find(|place| is_it(place)) {
            Some(place) => Some(*place),
            None => {
                self.go_to_start()?;
                while !self.has_ended && self.encoder.cursor().position < known.position {
                    self.step()?;
                }
                Some((self.encoder.cursor(), self.offset)).filter(is_it)
            }
        };
        let same = found.filter(|(cursor, _)| cursor.chain.0 == known.chain);
        Ok(same.map(|(cursor, offset)| {
            self.go_on_at(cursor, offset);
            cursor
        }))
    }

    fn go_to_start(&mut self) -> Result<()> {
        self.places = VecDeque::from([(self.start, 0)]);
        self.go_on_at(self.start, 0);
        Ok(())
    }

    fn next(&mut self, room: &mut Vec<u8>) -> Result<()> {
        if self.taken == self.encoder.output().len() {
            self.step()?;
        }
        let output = self.encoder.output();
        let end = output.len().min(self.taken + room.capacity());
        room.extend_from_slice(&output[self.taken..end]);
        self.taken = end;
        Ok(())
    }

    fn forget(&mut self, position: u64) {
        while self.places.len() > 1 && self.places[1].0.position <= position {
            self.places.pop_front();
        }
    }
}
