//! One run: takes what its source passes on, in order, and decides when things become durable.
//!
//! ```text
//! waiting     the next item, memory, the timer
//! admitting   streams that begin: may they, and from where
//! checkpoint  when progress becomes durable: at once, or beside what follows
//! record      reports progress and points to the group   BARRIER 3
//! ```

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use crate::apply::source::{Beginning, Fed, Position, Source};
use crate::apply::volumes::{Applied, Volumes, by_volume};
use crate::apply::{ApplyEvent, ApplyJob, ApplyOptions, Ending, Outcome, Summary};
use crate::assignment::Assignment;
use crate::barrier::AllFlushed;
use crate::device::buffer::ArenaPool;
use crate::extent::Extent;
use crate::group::Group;
use crate::group::checkpoint::When;
use crate::group::keeper::now;
use crate::journal::catalogue::NewPoint;
use crate::journal::memo::Targets;
use crate::journal::state::{Consumed, Fingerprint, SourceOrder};
use crate::notice::Notice;
use crate::stream::{BATCH_BYTES_MAX, Batch, Content, Format, Piece, StreamHeader, VolumeIndex};
use crate::target_check;
use crate::verify::VerifiedBatch;
use crate::{Error, ErrorKind, Result};

mod admitting;
mod checkpoint;
mod place;
mod point;
mod record;
mod waiting;

#[cfg(test)]
use checkpoint::{CHECKPOINT_AFTER, CHECKPOINT_BYTES};
use place::CheckpointBehind;

/// How many batches can be read ahead, or be under way to the devices.
const ARENAS: usize = 4;
/// With a history, batches wait for it as well.
const ARENAS_WITH_HISTORY: usize = 8;
pub(super) const ARENA_BYTES: NonZeroUsize =
    NonZeroUsize::new(BATCH_BYTES_MAX).expect("invariant: not zero");
/// A checkpoint is due when this many marks came with nothing between them: their names stay in
/// memory until then.
const POINTS_WAITING_MAX: usize = 256;

/// A run.
pub(crate) struct Session<'a> {
    volumes: Volumes,
    group: &'a mut Group,
    options: ApplyOptions,
    pool: ArenaPool,
    source: Box<dyn Source>,
    stop: &'a AtomicBool,
    observe: &'a mut dyn FnMut(ApplyEvent<'_>),
    summary: Summary,
    // The summary at the last checkpoint.
    durable: Summary,
    // The input being applied.
    input: Option<Input>,
    // Whether the input that ended is the last one.
    is_last_input: bool,
    // The total length of the inputs that ended.
    consumed_before: u64,
    written_since: u64,
    checkpointed: Instant,
    // The checkpoint beside which the run continues.
    behind: Option<CheckpointBehind>,
    has_written: bool,
    // Some volumes may have a batch that others do not have.
    is_in_a_batch: bool,
    // Recovery points at the current position; made before anything else is written.
    points: Vec<NewPoint>,
    point_made: Instant,
    // The forecast of the retention volume that was reported last.
    told_forecast: Option<Duration>,
    forecast_made: Option<Instant>,
    // Reported once, until points are made again.
    has_told_not_whole: bool,
}

/// The input being applied.
struct Input {
    fingerprint: Fingerprint,
    header: StreamHeader,
    /// For each volume of the stream, the index of our volume.
    route: Vec<usize>,
    consumed: u64,
    /// What it holds up to `consumed`, if that is tracked.
    content: Option<Consumed>,
    /// The position of the stream in the order of its source.
    order: Option<SourceOrder>,
    /// Everything up to this byte was applied by an earlier run.
    resumed: u64,
    /// All of it was applied before: it is only compared, unless it has more data now.
    is_again: bool,
    /// Whether it is recorded that its volumes are in-between.
    is_marked: bool,
    /// The parts by which volumes have grown since the previous stream, and that are not cleared
    /// yet.
    grown: Vec<(usize, Extent)>,
    /// The stream ended here; not recorded yet.
    ended: Option<AllFlushed>,
}

/// Whether the run continues.
enum Next {
    Go,
    End(Ending),
}

impl<'a> Session<'a> {
    /// Prepares a run.
    pub(crate) fn begin(
        group: &'a mut Group,
        job: ApplyJob,
        stop: &'a AtomicBool,
        observe: &'a mut dyn FnMut(ApplyEvent<'_>),
    ) -> Result<Self> {
        let ApplyJob { mut source, mut assignments, options, history, pool } = job;
        check_no_stream_is_a_target(source.as_ref(), &assignments)?;
        group.view().require_no_rollback()?;
        if group.view().remembers() {
            for note in target_check::check(group.view(), &mut assignments, options.accept_target)?
            {
                observe(ApplyEvent::Notice(&note));
            }
        }
        group.open_history(history)?;
        let arenas = if group.has_history_open() { ARENAS_WITH_HISTORY } else { ARENAS };
        let made = || ArenaPool::new(arenas, ARENA_BYTES);
        let pool = pool
            .map_or_else(made, Ok)
            .map_err(|error| Error::failed("allocating memory for I/O", error))?;
        let mut summary = Summary::default();
        let volumes: Vec<_> = assignments.iter().map(|one| one.volume.clone()).collect();
        let view = group.view();
        let run = Beginning { group: view, volumes: &volumes, options, pool: &pool };
        summary.inputs_left_out = source.begin(&run)?;
        Ok(Self {
            volumes: Volumes::new(assignments),
            group,
            options,
            pool,
            source,
            stop,
            observe,
            summary,
            durable: summary,
            input: None,
            is_last_input: false,
            consumed_before: 0,
            written_since: 0,
            checkpointed: Instant::now(),
            behind: None,
            has_written: false,
            is_in_a_batch: false,
            points: Vec::new(),
            point_made: Instant::now(),
            told_forecast: None,
            forecast_made: None,
            has_told_not_whole: false,
        })
    }

    /// Runs until it ends, in whichever way.
    pub(crate) fn run(mut self) -> Result<Outcome> {
        let ending = loop {
            let next = match self.next_fed() {
                Some(fed) => self.take(fed),
                None => Ok(Next::End(Ending::Stopped)),
            };
            match next {
                Ok(Next::Go) if self.volumes.have_all_failed() => break Ending::Complete,
                Ok(Next::Go) => {}
                Ok(Next::End(ending)) => break ending,
                Err(error) if !self.has_written => return Err(error),
                Err(error) => break Ending::Failed(error),
            }
        };
        // A run that stopped in the middle of a batch may have written some of it.
        let when = if self.is_in_a_batch { When::OnTheWay } else { When::AtTheEnd };
        let checkpointed = self.checkpoint(when).and_then(|()| self.group.merge_all(self.stop));
        self.tell_failures();
        // The summary has only what was done, which is unknown for everything that waited for a
        // checkpoint that failed.
        let summary = match checkpointed {
            Ok(()) => self.summary,
            Err(_) => self.durable,
        };
        let ending = match (ending, checkpointed) {
            (Ending::Failed(error), _) | (_, Err(error)) => Ending::Failed(error),
            (ending, Ok(())) => ending,
        };
        Ok(Outcome { summary, ending, failed_volumes: self.volumes.into_failures() })
    }

    fn take(&mut self, fed: Fed) -> Result<Next> {
        match fed {
            Fed::Begin { header, is_first, order, consumed } => {
                let answer = match is_first {
                    true => self.first_stream(header, order, consumed)?,
                    false => self.next_stream(header, order, consumed)?,
                };
                self.source.answer(answer);
            }
            Fed::Batch(batch, at) => return self.batch(batch, at),
            Fed::Mark(mark, at) => {
                tracing::debug!(?mark, consumed = at.byte, "recovery point");
                // Several marks may be at one position of the stream: after a checkpoint between
                // them, a run that resumes would miss the later ones. The next batch makes the
                // checkpoint; if none comes, marks must not accumulate without limit.
                let is_behind = self.input.as_ref().is_some_and(|input| at.byte > input.consumed);
                if is_behind && self.points.len() >= POINTS_WAITING_MAX {
                    self.checkpoint(When::OnTheWay)?;
                }
                if !self.clear_grown()? {
                    return Ok(Next::End(Ending::Stopped));
                }
                self.advance(at, |_| {});
                self.points.push(point::of_mark(mark));
                self.written_since = u64::MAX;
            }
            Fed::End(end, at) => {
                self.require_content(&at)?;
                if !self.clear_grown()? {
                    return Ok(Next::End(Ending::Stopped));
                }
                let flushed = self.flush()?;
                // Marks that an earlier run passed count as well.
                let makes_point = |input: &&Input| end.totals.marks == 0 && at.byte > input.resumed;
                let ended = self.input.as_ref().filter(makes_point).filter(|_| end.consistent);
                let point = ended.map(|input| point::of_end(&input.header, now()));
                self.points.extend(point);
                self.advance(at, |input| input.ended = Some(flushed));
            }
            Fed::InputEnd { is_last } => {
                self.is_last_input = is_last;
                self.input_end()?;
            }
            Fed::Failed { error: _, is_cut_pipe: true } if self.options.resume => {
                return Ok(Next::End(Ending::Incomplete));
            }
            Fed::Failed { error, .. } => return Err(error),
            Fed::Done => {
                self.warn_of_what_was_in_no_stream();
                return Ok(Next::End(Ending::Complete));
            }
        }
        Ok(Next::Go)
    }

    /// An image without a byte is what a sender leaves that failed before it began.
    fn require_content(&self, at: &Position) -> Result<()> {
        let is_image = |input: &Input| input.header.format == Format::Raw;
        if at.byte > 0 || !self.input.as_ref().is_some_and(is_image) {
            return Ok(());
        }
        let context = "the raw image is empty";
        Err(Error::new(ErrorKind::Integrity, context)
            .with_hint("nothing was applied; find out at the source why the image is empty"))
    }

    fn advance(&mut self, at: Position, change: impl FnOnce(&mut Input)) {
        let consumed = at.byte;
        if let Some(input) = &mut self.input {
            (input.consumed, input.content) = (consumed, at.content);
            change(input);
        }
        let consumed = self.consumed_before.saturating_add(consumed);
        (self.observe)(ApplyEvent::Progress { consumed });
    }

    fn batch(&mut self, batch: VerifiedBatch, at: Position) -> Result<Next> {
        self.point_by_timer();
        if !self.points.is_empty() && self.group.view().remembers() {
            // The content at the points must not be overwritten before they are made.
            self.checkpoint(When::OnTheWay)?;
        }
        let batch = batch.into_batch();
        let summary_before = self.summary;
        self.count(&batch.header.pieces);
        let written = if self.options.dry_run { Ok(true) } else { self.write(batch, &at) };
        if !matches!(written, Ok(true)) {
            // The summary has only what was done.
            self.summary = summary_before;
            return written.map(|_| Next::End(Ending::Stopped));
        }
        self.tell_failures();
        self.advance(at, |_| {});
        self.is_in_a_batch = false;
        if self.is_checkpoint_due() {
            self.begin_checkpoint()?;
        }
        self.finish_checkpoint(false)?;
        Ok(Next::Go)
    }

    /// Begins to write `batch`; returns false if the run is to stop in the middle of it.
    fn write(&mut self, batch: Batch, at: &Position) -> Result<bool> {
        self.mark_in_between()?;
        if !self.clear_grown()? {
            return Ok(false);
        }
        let arena = Arc::new(batch.arena);
        let route = self.input.as_ref().map_or_else(Vec::new, |input| input.route.clone());
        self.is_in_a_batch = true;
        for (index, pieces) in by_volume(batch.header.pieces, route.len()) {
            let volume = route[index];
            if self.volumes.get(volume).applied < Applied::UpTo(at.byte) {
                let (volumes, group) = (&mut self.volumes, &mut *self.group);
                if !volumes.write(volume, &pieces, &arena, group, self.stop)? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Clears the part by which a source has grown since the previous stream, before anything of
    /// the stream is written or its marks are reached; returns false if the run is to stop in the
    /// middle of it.
    fn clear_grown(&mut self) -> Result<bool> {
        let grown = self.input.as_ref().map_or_else(Vec::new, |input| input.grown.clone());
        if grown.is_empty() {
            return Ok(true);
        }
        let pieces = grown.iter().map(|(_, extent)| Piece {
            volume: VolumeIndex(0),
            extent: *extent,
            content: Content::Zero,
        });
        let pieces: Vec<_> = pieces.collect();
        self.count(&pieces);
        if !self.options.dry_run {
            self.mark_in_between()?;
            // Zeros have no bytes of their own: this memory is only there because the plan needs an
            // arena.
            let empty = ArenaPool::new(1, NonZeroUsize::MIN)
                .map_err(|error| Error::failed("allocating memory for I/O", error))?;
            let arena = Arc::new(empty.take()?);
            self.is_in_a_batch = true;
            for ((index, _), piece) in grown.iter().zip(&pieces) {
                let (volumes, group) = (&mut self.volumes, &mut *self.group);
                let piece = std::slice::from_ref(piece);
                if !volumes.write(*index, piece, &arena, group, self.stop)? {
                    return Ok(false);
                }
            }
            self.is_in_a_batch = false;
        }
        self.input.iter_mut().for_each(|input| input.grown.clear());
        Ok(true)
    }

    /// Records before the first write that the volumes are between two streams from now on.
    fn mark_in_between(&mut self) -> Result<()> {
        if self.input.as_ref().is_none_or(|input| input.is_marked) {
            return Ok(());
        }
        let targets = self.targets();
        self.group.begin_history(&targets)?;
        self.input.iter_mut().for_each(|input| input.is_marked = true);
        self.has_written = true;
        let flushed = self.flush()?;
        self.record(flushed, When::OnTheWay)
    }

    /// The targets of the input's volumes.
    fn targets(&mut self) -> Targets {
        let volumes = &mut self.volumes;
        let route = self.input.iter().flat_map(|input| &input.route);
        let target = |index: &usize| {
            let volume = volumes.get(*index);
            (volume.name().to_owned(), volume.target_memo())
        };
        route.map(target).collect()
    }

    fn count(&mut self, pieces: &[Piece]) {
        self.summary.extents = self.summary.extents.saturating_add(pieces.len() as u64);
        for piece in pieces {
            let length = piece.extent.length().get();
            match piece.content {
                Content::Data { .. } => add(&mut self.summary.bytes, length),
                Content::Zero | Content::Discard => add(&mut self.summary.zero_bytes, length),
            }
            add(&mut self.written_since, length);
        }
    }

    fn input_end(&mut self) -> Result<()> {
        let is_same = |input: &&Input| input.is_again && input.consumed <= input.resumed;
        if let Some(input) = self.input.as_ref().filter(is_same) {
            self.consumed_before = self.consumed_before.saturating_add(input.consumed);
            self.summary.inputs_left_out += 1;
            self.input = None;
            return Ok(());
        }
        let flushed = self.flush()?;
        self.record(flushed, When::InputComplete)?;
        self.durable = self.summary;
        if let Some(input) = self.input.take() {
            self.consumed_before = self.consumed_before.saturating_add(input.consumed);
        }
        Ok(())
    }

    fn tell_failures(&mut self) {
        for error in self.volumes.new_failures() {
            (self.observe)(ApplyEvent::VolumeFailed(error));
        }
    }

    fn warn_of_what_was_in_no_stream(&mut self) {
        // Nothing is known of inputs that were skipped unread.
        if self.summary.inputs_left_out > 0 {
            return;
        }
        for volume in self.volumes.in_no_stream() {
            let target = volume.shown();
            (self.observe)(ApplyEvent::Notice(&Notice::InNoStream { target }));
        }
    }
}

/// An input must not be overwritten.
fn check_no_stream_is_a_target(source: &dyn Source, assignments: &[Assignment]) -> Result<()> {
    let mut files = assignments.iter().filter_map(|assignment| assignment.target.file());
    let Some(name) = files.find_map(|file| source.is_also(file)) else { return Ok(()) };
    let context = format!("{name} is both a stream and a target");
    Err(Error::refused(context).with_hint("name the disk that it is meant for"))
}

/// Totals that a stream claims saturate at the largest number.
fn add(total: &mut u64, more: u64) {
    *total = total.saturating_add(more);
}

#[cfg(test)]
mod tests;
