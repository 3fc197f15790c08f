//! Two epochs that became one: of a block that both preserved only the earlier image counts. The
//! others are left out by writing what counts anew, into segments of its own.
//!
//! Order, and what a crash in between leaves: the copy is durable, then the state is saved with it
//! instead of what it was made of, then that is removed. A crash leaves a copy that no point has,
//! or originals that none has; either is removed at the next open.

use std::sync::Arc;

use crate::device::buffer::ArenaPool;
use crate::extent::Extent;
use crate::journal::catalogue::{Catalogue, Point, Span};
use crate::journal::draft::{Draft, Outline};
use crate::journal::images::Images;
use crate::journal::index::Place;
use crate::journal::layout::{header_bytes, padded};
use crate::journal::log::{End, Log, failed};
use crate::storage::{SegmentNumber, Storage};
use crate::{Error, Result};

/// A copy is worth its writing when it is at most this part of what it is made of, in percent.
const WORTH_PERCENT: u64 = 75;

/// What a copy is made with.
pub(crate) struct Compaction<'a> {
    pub(crate) storage: &'a Arc<dyn Storage>,
    pub(crate) catalogue: &'a Catalogue,
    pub(crate) pool: &'a ArenaPool,
    /// Another one than that of the log: what is left of an earlier copy must not be taken for
    /// this.
    pub(crate) salt: u64,
    /// The first number that the copy may have.
    pub(crate) next_segment: u64,
    pub(crate) segment_bytes: u64,
}

/// A copy.
#[derive(Debug)]
pub(crate) struct Copy {
    pub(crate) spans: Vec<Span>,
    /// The first number after it.
    pub(crate) next_segment: u64,
}

impl Compaction<'_> {
    /// Copies what counts of the epoch that `point` begins; none if it is not worth it, or there is
    /// no room for it.
    pub(crate) fn run(&self, point: &Point) -> Result<Option<Copy>> {
        let only = Catalogue { points: vec![point.clone()], ..self.catalogue.clone() };
        let images = Images::since(self.storage, &only, point.id, self.pool)?;
        let counts: u64 = (0..only.volumes.len())
            .filter_map(|number| images.of(number as u32))
            .flat_map(|index| index.iter())
            .filter(|image| image.place != Place::Zeros)
            .map(|image| image.extent.length().get())
            .sum();
        let has = point.journal_bytes();
        let space =
            self.storage.space().map_err(failed(&**self.storage, "asking its volume for room"))?;
        let is_worth = counts.saturating_mul(100) <= has.saturating_mul(WORTH_PERCENT);
        let needs = counts.saturating_add(counts / 8).saturating_add(2 * self.segment_bytes);
        if !is_worth || space.free_bytes < needs {
            return Ok(None);
        }
        let end = End {
            identity: self.catalogue.identity,
            epoch: point.id,
            next_segment: self.next_segment,
            next_record: 1,
            spans: Vec::new(),
        };
        let mut log = Log::new(Arc::clone(self.storage), end, self.salt, false)?;
        match self.copy(&images, point, &mut log) {
            Ok(()) => {
                let (next_segment, _) = log.next_numbers();
                Ok(Some(Copy { spans: log.spans(), next_segment }))
            }
            Err(error) => {
                // Half a copy is none, and its room is wanted.
                for number in self.next_segment..log.next_numbers().0 {
                    let _ = self.storage.remove_segment(SegmentNumber(number));
                }
                Err(error)
            }
        }
    }

    fn copy(&self, images: &Images, point: &Point, log: &mut Log) -> Result<()> {
        let text = serde_json::to_string(&images.progress())
            .map_err(|error| Error::failed("writing down where the volumes were", error))?;
        let begin = Draft::of_text(&text, self.pool.take(), log.stamp());
        self.submit(log, point, begin)?;
        for number in 0..self.catalogue.volumes.len() as u32 {
            let Some(index) = images.of(number) else { continue };
            let extents: Vec<Extent> = index.iter().map(|image| image.extent).collect();
            for outline in Outline::of(number, &extents, self.segment_bytes / 2) {
                let mut position = header_bytes(outline.entries().len());
                let mut places = Vec::new();
                for entry in outline.entries() {
                    let start = entry.extent.start().get();
                    for image in index.images_of(entry.extent) {
                        let within = (image.extent.start().get() - start) as usize;
                        let length = padded(image.extent.length().get() as usize);
                        places.push((image.place, position + within, length));
                    }
                    position += padded(entry.extent.length().get() as usize);
                }
                let arena = images.read(&places, self.pool.take(), self.pool)?;
                self.submit(log, point, Draft::of_images(outline, arena, log.stamp()))?;
            }
        }
        let all = log.submitted();
        let _ = log.wait(all)?;
        log.end_segment().map_err(failed(&**self.storage, "ending a segment"))
    }

    fn submit(&self, log: &mut Log, point: &Point, draft: Draft) -> Result<()> {
        if !log.has_room(draft.record_bytes()) {
            log.begin_segment(point.id, self.segment_bytes)
                .map_err(failed(&**self.storage, "making a segment"))?;
        }
        log.submit(draft).map(drop)
    }
}
