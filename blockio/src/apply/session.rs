//! One run: takes what the feeder hands on, in its order, and decides when things become durable.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use crate::apply::admission::{Admission, Named, Question, Start, admit, admit_next};
use crate::apply::feed::{Answer, At, Fed, Feed, Feeder};
use crate::apply::volumes::{Volumes, by_volume};
use crate::apply::{Ending, Event, Job, Options, Outcome, StreamArgument, Summary};
use crate::barrier::AllFlushed;
use crate::device::buffer::ArenaPool;
use crate::group::Group;
use crate::group::checkpoint::When;
use crate::group::keeper::now;
use crate::journal::catalogue::{NewPoint, PointKind};
use crate::journal::state::{Consumed, Fingerprint, SourceOrder};
use crate::stream::{BATCH_BYTES_MAX, Content, Format, Piece, StreamHeader, VolumeHeader};
use crate::target_identity;
use crate::verify::{Bounds, VerifiedBatch};
use crate::{Error, ErrorKind, Result};

mod inputs;
mod record;

use inputs::{begun_before, none_is_its_own_target};

/// So many batches can be read ahead, or be under way to the devices.
const ARENAS: usize = 4;
/// With history, batches wait for it as well.
const ARENAS_WITH_HISTORY: usize = 8;
const ARENA_BYTES: NonZeroUsize = NonZeroUsize::new(BATCH_BYTES_MAX).expect("invariant: not zero");
/// A checkpoint is due when so much was written since the last one, in bytes …
const CHECKPOINT_BYTES: u64 = 256 << 20;
/// … or so much time went by.
const CHECKPOINT_AFTER: Duration = Duration::from_secs(1);
/// While nothing comes in, this is how often the stop flag is looked at.
const IDLE: Duration = Duration::from_millis(100);

/// A run.
pub(crate) struct Session<'a> {
    volumes: Volumes,
    group: Group,
    options: Options,
    pool: ArenaPool,
    feed: Feed,
    stop: &'a AtomicBool,
    observe: &'a mut dyn FnMut(Event<'_>),
    summary: Summary,
    // Of the input that is being applied.
    input: Option<Input>,
    // Inputs that did not come to their end yet.
    inputs_left: usize,
    // Lengths of the inputs that came to their end.
    consumed_before: u64,
    written_since: u64,
    checkpointed: Instant,
    has_written: bool,
    // Some volumes may have a batch that others do not have.
    is_in_a_batch: bool,
    // Recovery points of the place that was reached; made before anything else is written.
    points: Vec<NewPoint>,
    point_made: Instant,
    has_told_forecast: bool,
    // Told once, until points are made again.
    has_told_not_whole: bool,
}

/// The input that is being applied.
struct Input {
    fingerprint: Fingerprint,
    header: StreamHeader,
    /// Which volume each volume of the stream is.
    route: Vec<usize>,
    consumed: u64,
    /// What it holds up to there, where that is followed.
    content: Option<Consumed>,
    /// Where the stream is in the order of its source.
    order: Option<SourceOrder>,
    /// Everything up to here was applied by a run before.
    resumed: u64,
    /// All of it was applied before: it is only compared, unless there is more of it now.
    is_again: bool,
    /// It is recorded that its volumes are in-between.
    is_marked: bool,
    /// The stream ended here; not recorded yet.
    ended: Option<AllFlushed>,
}

/// Whether the run goes on.
enum Next {
    Go,
    End(Ending),
}

impl<'a> Session<'a> {
    /// Prepares a run: memory, and the thread that reads.
    pub(crate) fn begin(
        job: Job,
        stop: &'a AtomicBool,
        observe: &'a mut dyn FnMut(Event<'_>),
    ) -> Result<Self> {
        let Job { mut inputs, mut assignments, mut group, options, history, pool } = job;
        none_is_its_own_target(&inputs, &assignments)?;
        group.view().require_no_rollback()?;
        if group.view().remembers() {
            for note in
                target_identity::check(group.view(), &mut assignments, options.accept_target)?
            {
                observe(Event::Warning(&note));
            }
        }
        if options.dry_run {
            group = group.into_rehearsal();
        }
        group.open_history(history)?;
        let arenas = if group.has_history_open() { ARENAS_WITH_HISTORY } else { ARENAS };
        let made = || ArenaPool::new(arenas, ARENA_BYTES);
        let pool = pool
            .map_or_else(made, Ok)
            .map_err(|error| Error::failed("allocating memory for I/O", error))?;
        let mut summary = Summary::default();
        let names = || assignments.iter().map(|one| one.source.as_deref().unwrap_or(""));
        if let Some(begun) = begun_before(group.view(), names, &inputs, options, &pool) {
            summary.inputs_left_out = begun as u64;
            inputs.drain(..begun);
        }
        let has_pipe = inputs.iter().any(StreamArgument::is_pipe);
        let inputs_left = inputs.len();
        let follows_content = group.view().remembers();
        let feeder = Feeder::new(inputs, options.format, follows_content, pool.clone());
        let feed = match has_pipe {
            true => Feed::thread(feeder)?,
            false => Feed::Inline(Box::new(feeder)),
        };
        Ok(Self {
            volumes: Volumes::new(assignments),
            group,
            options,
            pool,
            feed,
            stop,
            observe,
            summary,
            input: None,
            inputs_left,
            consumed_before: 0,
            written_since: 0,
            checkpointed: Instant::now(),
            has_written: false,
            is_in_a_batch: false,
            points: Vec::new(),
            point_made: Instant::now(),
            has_told_forecast: false,
            has_told_not_whole: false,
        })
    }

    /// Runs to the end, whichever it is.
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
        // What stopped in the middle of a batch may have written some of it.
        let when = if self.is_in_a_batch { When::OnTheWay } else { When::AtTheEnd };
        let checkpointed = self.checkpoint(when);
        self.tell_failures();
        let ending = match (ending, checkpointed) {
            (Ending::Failed(error), _) | (_, Err(error)) => Ending::Failed(error),
            (ending, Ok(())) => ending,
        };
        Ok(Outcome { summary: self.summary, ending, failed_volumes: self.volumes.into_failures() })
    }

    /// What comes next; none when the run is to stop. While nothing comes, and while every arena is
    /// on its way to a device, writes under way are waited for.
    fn next_fed(&mut self) -> Option<Fed> {
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return None;
            }
            match &mut self.feed {
                Feed::Inline(feeder) => {
                    let has_room = self.pool.try_take().is_some();
                    match if has_room { Ok(false) } else { self.volumes.reap(&mut self.group) } {
                        Ok(true) => {}
                        Ok(false) => return Some(feeder.next()),
                        Err(error) => return Some(Fed::Failed { error, is_cut_pipe: false }),
                    }
                }
                Feed::Thread { fed, .. } => match fed.try_recv() {
                    Ok(fed) => return Some(fed),
                    Err(TryRecvError::Disconnected) => return Some(feeder_is_gone()),
                    Err(TryRecvError::Empty) => match self.volumes.reap(&mut self.group) {
                        Ok(true) => {}
                        Ok(false) => match fed.recv_timeout(IDLE) {
                            Ok(fed) => return Some(fed),
                            Err(RecvTimeoutError::Disconnected) => return Some(feeder_is_gone()),
                            Err(RecvTimeoutError::Timeout) => {
                                if let Err(error) = self.idle() {
                                    return Some(Fed::Failed { error, is_cut_pipe: false });
                                }
                            }
                        },
                        Err(error) => return Some(Fed::Failed { error, is_cut_pipe: false }),
                    },
                },
            }
        }
    }

    /// A pipe is silent: what it sent so far is made durable, and recorded.
    fn idle(&mut self) -> Result<()> {
        self.point_by_timer();
        let has_news = self.written_since > 0 || !self.points.is_empty();
        if has_news && self.checkpointed.elapsed() >= CHECKPOINT_AFTER {
            self.checkpoint(When::OnTheWay)?;
        }
        Ok(())
    }

    /// A point is due by the clock: where nothing else is written before it is made.
    fn point_by_timer(&mut self) {
        let is_due = |every| self.point_made.elapsed() >= every;
        let is_in_order = self
            .input
            .as_ref()
            .is_some_and(|input| input.is_marked && input.header.is_in_write_order);
        if is_in_order && self.points.is_empty() && self.options.point_every.is_some_and(is_due) {
            self.points.push(NewPoint { time: now(), kind: PointKind::Crash, name: None });
        }
    }

    fn take(&mut self, fed: Fed) -> Result<Next> {
        match fed {
            Fed::Begin { header, is_first, order, consumed } => {
                let answer = match is_first {
                    true => self.first_stream(header, order, consumed)?,
                    false => self.next_stream(header, order, consumed)?,
                };
                self.feed.answer(answer);
            }
            Fed::Batch(batch, at) => return self.batch(batch, at),
            Fed::Mark(mark, at) => {
                tracing::debug!(?mark, consumed = at.byte, "recovery point");
                // Several marks may be at one place of the stream: a checkpoint between them would
                // leave out those after it when applying goes on. The next batch makes it.
                self.advance(at, |_| {});
                self.points.push(record::of_mark(mark));
                self.written_since = CHECKPOINT_BYTES;
            }
            Fed::End(end, at) => {
                let flushed = self.flush()?;
                // Marks that a run before has passed count as well.
                let makes_point = |input: &&Input| end.totals.marks == 0 && at.byte > input.resumed;
                let ended = self.input.as_ref().filter(makes_point).filter(|_| end.consistent);
                let point = ended.map(|input| record::of_end(&input.header, now()));
                self.points.extend(point);
                self.advance(at, |input| input.ended = Some(flushed));
            }
            Fed::InputEnd => self.input_end()?,
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

    fn advance(&mut self, at: At, change: impl FnOnce(&mut Input)) {
        let consumed = at.byte;
        if let Some(input) = &mut self.input {
            (input.consumed, input.content) = (consumed, at.content);
            change(input);
        }
        let consumed = self.consumed_before.saturating_add(consumed);
        (self.observe)(Event::Progress { consumed });
    }

    fn batch(&mut self, batch: VerifiedBatch, at: At) -> Result<Next> {
        self.point_by_timer();
        if !self.points.is_empty() && self.group.view().remembers() {
            // What is at the points must not be overwritten before they are made.
            self.checkpoint(When::OnTheWay)?;
        }
        let batch = batch.into_batch();
        let summary_before = self.summary;
        self.count(&batch.header.pieces);
        if !self.options.dry_run {
            self.mark_in_between()?;
            let arena = Arc::new(batch.arena);
            let route = self.input.as_ref().map_or_else(Vec::new, |input| input.route.clone());
            self.is_in_a_batch = true;
            for (index, pieces) in by_volume(batch.header.pieces, route.len()) {
                let volume = route[index];
                if self.volumes.get(volume).applied_to < at.byte {
                    let (volumes, group) = (&mut self.volumes, &mut self.group);
                    if !volumes.write(volume, &pieces, &arena, group, self.stop)? {
                        self.summary = summary_before;
                        return Ok(Next::End(Ending::Stopped));
                    }
                }
            }
        }
        self.tell_failures();
        self.advance(at, |_| {});
        self.is_in_a_batch = false;
        let due = self.written_since >= CHECKPOINT_BYTES
            || self.checkpointed.elapsed() >= CHECKPOINT_AFTER;
        if due && self.group.view().remembers() {
            self.checkpoint(When::OnTheWay)?;
        }
        Ok(Next::Go)
    }

    /// Before the first write: the volumes are between two streams from now on.
    fn mark_in_between(&mut self) -> Result<()> {
        if self.input.as_ref().is_none_or(|input| input.is_marked) {
            return Ok(());
        }
        self.group.begin_history()?;
        self.input.iter_mut().for_each(|input| input.is_marked = true);
        self.has_written = true;
        let flushed = self.flush()?;
        self.record(flushed, When::OnTheWay)
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

    fn flush(&mut self) -> Result<AllFlushed> {
        let flushed = self.volumes.flush(&mut self.group)?;
        self.tell_failures();
        Ok(flushed)
    }

    /// Everything so far becomes durable, then known to be so.
    fn checkpoint(&mut self, when: When) -> Result<()> {
        planted!(PointBeforeFlush => {
            if !self.points.is_empty() {
                self.record(AllFlushed::of_nothing(), when)?;
            }
        });
        let flushed = self.flush()?;
        (self.written_since, self.checkpointed) = (0, Instant::now());
        self.record(flushed, when)
    }

    fn input_end(&mut self) -> Result<()> {
        self.inputs_left = self.inputs_left.saturating_sub(1);
        let is_same = |input: &&Input| input.is_again && input.consumed <= input.resumed;
        if let Some(input) = self.input.as_ref().filter(is_same) {
            self.consumed_before = self.consumed_before.saturating_add(input.consumed);
            self.summary.inputs_left_out += 1;
            self.input = None;
            return Ok(());
        }
        let flushed = self.flush()?;
        self.record(flushed, When::InputComplete)?;
        if let Some(input) = self.input.take() {
            self.consumed_before = self.consumed_before.saturating_add(input.consumed);
        }
        Ok(())
    }

    fn tell_failures(&mut self) {
        for error in self.volumes.new_failures() {
            (self.observe)(Event::VolumeFailed(error));
        }
    }

    fn warn_of_what_was_in_no_stream(&mut self) {
        // Of inputs that were left out unread nothing is known.
        if self.summary.inputs_left_out > 0 {
            return;
        }
        for volume in self.volumes.in_no_stream() {
            let text = format!("{}: no stream had this volume", volume.shown());
            (self.observe)(Event::Warning(&text));
        }
    }

    /// The first stream of an input: may it be applied, and from where?
    fn first_stream(
        &mut self,
        header: StreamHeader,
        order: Option<SourceOrder>,
        begins_at: u64,
    ) -> Result<Answer> {
        self.can_be_timed(&header)?;
        let route = self.volumes.route(&header)?;
        let fingerprint = Fingerprint::of(&header, begins_at);
        let before = Fingerprint::of_before(&header, begins_at);
        let (mut resume_after, mut expected, mut is_again) = (None, Vec::new(), true);
        let named = Named { input: &fingerprint, before: &before, order };
        for (index, admission) in self.ask_all(&header, &route, named, admit)? {
            let volume = self.volumes.get(index);
            let known = self.group.view().state().volumes.get(volume.label());
            let between = known.and_then(|known| known.in_between.as_ref());
            volume.unsure_from =
                between.filter(|between| !between.exact).map(|between| between.position);
            let last = known.and_then(|known| known.lineage.last_content.clone());
            let begun = between.and_then(|between| between.content.clone());
            (volume.applied_to, volume.applied_content) = match admission.start {
                Start::Beginning => (0, None),
                Start::After(position) => (position, begun),
                Start::Again(position) => (position, last),
                Start::Nowhere => (u64::MAX, None),
            };
            if volume.applied_to == u64::MAX {
                continue;
            }
            is_again &= matches!(admission.start, Start::Again(_));
            let content = volume.applied_content.clone();
            expected.extend(content.filter(|content| content.bytes == volume.applied_to));
            resume_after = Some(resume_after.unwrap_or(u64::MAX).min(volume.applied_to));
            self.prepare(index, &admission)?;
        }
        let Some(resumed) = resume_after else {
            self.inputs_left = self.inputs_left.saturating_sub(1);
            self.summary.inputs_left_out += 1;
            return Ok(Answer::SkipInput);
        };
        if resumed > 0 && !is_again {
            self.summary.resumed_from.get_or_insert(resumed);
        }
        let bounds = self.bounds(&header, &route)?;
        let consumed = resumed;
        self.input = Some(Input {
            fingerprint,
            header,
            route,
            consumed,
            content: None,
            order,
            resumed,
            is_again,
            is_marked: false,
            ended: None,
        });
        Ok(Answer::Apply { bounds, resume_after: resumed, expected })
    }

    /// Another stream in the same input: it follows the one before.
    fn next_stream(
        &mut self,
        header: StreamHeader,
        order: Option<SourceOrder>,
        consumed: u64,
    ) -> Result<Answer> {
        self.can_be_timed(&header)?;
        let flushed = self.flush()?;
        self.record(flushed, When::OnTheWay)?;
        let route = self.volumes.route(&header)?;
        let Some(input) = &self.input else { return Ok(Answer::SkipInput) };
        let (fingerprint, resumed) = (input.fingerprint.clone(), input.resumed);
        if consumed > resumed {
            let named = Named { input: &fingerprint, before: &fingerprint, order };
            for (index, admission) in self.ask_all(&header, &route, named, admit_next)? {
                self.prepare(index, &admission)?;
            }
        }
        let bounds = self.bounds(&header, &route)?;
        if let Some(input) = &mut self.input {
            (input.header, input.route, input.order) = (header, route, order);
        }
        Ok(Answer::Apply { bounds, resume_after: resumed, expected: Vec::new() })
    }

    /// Points by the clock are asked for, and between its marks this stream has no state of its
    /// source: none could be made where the operator relies on one.
    fn can_be_timed(&self, header: &StreamHeader) -> Result<()> {
        let is_timed = self.options.point_every.is_some() && self.group.view().keeps_history();
        if !is_timed || header.is_in_write_order {
            return Ok(());
        }
        let context = "points are to be made by the clock, and this stream is not in the order of \
                       the source's writes: only at its marks, and at its end, is there a state \
                       of the source";
        Err(Error::refused(context).with_hint(
            "let marks alone make points: mtctl group set --group GROUP --point-every none",
        ))
    }

    /// Asks about all volumes of a stream, before anything is done to one of them. One that failed
    /// is not asked about: it is left, and keeps nothing from the others.
    fn ask_all(
        &mut self,
        header: &StreamHeader,
        route: &[usize],
        named: Named<'_>,
        decide: fn(&Question<'_>) -> Result<Admission>,
    ) -> Result<Vec<(usize, Admission)>> {
        let mut admissions = Vec::new();
        for (index, of_volume) in route.iter().zip(&header.volumes) {
            if !self.volumes.get(*index).has_failed() {
                let admission = self.ask(*index, of_volume, header.format, named, decide)?;
                admissions.push((*index, admission));
            }
        }
        Ok(admissions)
    }

    fn ask(
        &mut self,
        index: usize,
        header: &VolumeHeader,
        format: Format,
        named: Named<'_>,
        decide: fn(&Question<'_>) -> Result<Admission>,
    ) -> Result<Admission> {
        let volume = self.volumes.get(index);
        volume.was_in_a_stream = true;
        let known = self.group.view().state().volumes.get(volume.label());
        let admission = decide(&Question {
            shown: &volume.shown(),
            known,
            in_group: self.group.view().remembers(),
            format,
            header,
            named,
            capacity: volume.capacity(),
            is_image_file: volume.is_image_file(),
            options: &self.options,
        })?;
        for warning in &admission.warnings {
            (self.observe)(Event::Warning(warning));
        }
        Ok(admission)
    }

    fn prepare(&mut self, index: usize, admission: &Admission) -> Result<()> {
        if self.options.dry_run {
            return Ok(());
        }
        if let Some(size) = admission.grow_to {
            self.volumes.get(index).grow_to(size)?;
        }
        self.volumes.get(index).open(&self.options, self.pool.regions())
    }

    fn bounds(&mut self, header: &StreamHeader, route: &[usize]) -> Result<Vec<Bounds>> {
        let dry_run_grows = self.options.dry_run && self.options.accept_resize;
        let bounds = route.iter().zip(&header.volumes).map(|(index, of_volume)| {
            let volume = self.volumes.get(*index);
            let would_grow = dry_run_grows && volume.is_image_file();
            let target = Some(volume.capacity()).filter(|_| !would_grow);
            Bounds { source: of_volume.size, target }
        });
        Ok(bounds.collect())
    }
}

/// It says why it ends; if it did not, it must not look like an end.
fn feeder_is_gone() -> Fed {
    let error = Error::new(ErrorKind::Failed, "reading the streams: the reading thread ended");
    Fed::Failed { error, is_cut_pipe: false }
}

/// Totals that a stream claims end at the largest number.
fn add(total: &mut u64, more: u64) {
    *total = total.saturating_add(more);
}
