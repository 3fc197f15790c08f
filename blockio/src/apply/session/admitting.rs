//! Streams that begin: may they be applied, from where, and which of our volumes do their volumes
//! go to.

use super::{Input, Session};
use crate::apply::ApplyEvent;
use crate::apply::admission::{Admission, Named, Question, Start, admit, admit_next};
use crate::apply::source::Answer;
use crate::apply::volumes::Applied;
use crate::group::checkpoint::When;
use crate::journal::state::{Fingerprint, SourceOrder};
use crate::remedy::{Remedied, StreamRemedy};
use crate::stream::{Format, StreamHeader, VolumeHeader};
use crate::units::ByteCount;
use crate::verify::Bounds;
use crate::{Error, Result};

impl Session<'_> {
    /// The first stream of an input: may it be applied, and from where?
    pub(super) fn first_stream(
        &mut self,
        header: StreamHeader,
        order: Option<SourceOrder>,
        begins_at: u64,
    ) -> Result<Answer> {
        self.require_order_if_timed(&header)?;
        let route = self.volumes.route(&header)?;
        let fingerprint = Fingerprint::of(&header, begins_at);
        let before = Fingerprint::of_before(&header, begins_at);
        let (mut resume_after, mut expected, mut is_again) = (None, Vec::new(), true);
        let has_identity = header.identity.is_some();
        let named = Named { input: &fingerprint, before: &before, has_identity, order };
        let mut grown = Vec::new();
        for (index, admission) in self.ask_all(&header, &route, named, admit)? {
            let volume = self.volumes.get(index);
            let known = self.group.view().state().volumes.get(volume.name());
            let between = known.and_then(|known| known.in_between.as_ref());
            volume.unsure_from =
                between.filter(|between| !between.exact).map(|between| between.position);
            let last = known.and_then(|known| known.lineage.last_content.clone());
            let begun = between.and_then(|between| between.content.clone());
            (volume.applied, volume.applied_content) = match admission.start {
                Start::Beginning => (Applied::UpTo(0), None),
                Start::After(position) => (Applied::UpTo(position), begun),
                Start::Again(position) => (Applied::UpTo(position), last),
                Start::Nowhere => (Applied::All, None),
            };
            let Some(position) = volume.applied.position() else { continue };
            is_again &= matches!(admission.start, Start::Again(_));
            let content = volume.applied_content.clone();
            expected.extend(content.filter(|content| content.bytes == position));
            resume_after = Some(resume_after.unwrap_or(position).min(position));
            // Where a run before went on from, it was cleared.
            let grown_now = admission.grown.filter(|_| position == 0);
            grown.extend(grown_now.map(|extent| (index, extent)));
            self.prepare(index, &admission)?;
        }
        let Some(resumed) = resume_after else {
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
            grown,
            ended: None,
        });
        Ok(Answer::Apply { bounds, resume_after: resumed, expected })
    }

    /// A further stream in the same input: it must follow the one before.
    pub(super) fn next_stream(
        &mut self,
        header: StreamHeader,
        order: Option<SourceOrder>,
        consumed: u64,
    ) -> Result<Answer> {
        self.require_order_if_timed(&header)?;
        let flushed = self.flush()?;
        self.record(flushed, When::OnTheWay)?;
        let route = self.volumes.route(&header)?;
        let Some(input) = &self.input else { return Ok(Answer::SkipInput) };
        let (fingerprint, resumed) = (input.fingerprint.clone(), input.resumed);
        let mut grown = Vec::new();
        if consumed > resumed {
            let has_identity = header.identity.is_some();
            let named = Named { input: &fingerprint, before: &fingerprint, has_identity, order };
            for (index, admission) in self.ask_all(&header, &route, named, admit_next)? {
                // Only rbd exports have several streams, of one volume: none is further than here.
                grown.extend(admission.grown.map(|extent| (index, extent)));
                self.prepare(index, &admission)?;
            }
        }
        let bounds = self.bounds(&header, &route)?;
        if let Some(input) = &mut self.input {
            (input.header, input.route, input.order) = (header, route, order);
            input.grown = grown;
        }
        Ok(Answer::Apply { bounds, resume_after: resumed, expected: Vec::new() })
    }

    /// Refuses the stream if points on a timer are wanted and it has no state of its source between
    /// its marks: no point could be made where the operator relies on one.
    pub(super) fn require_order_if_timed(&self, header: &StreamHeader) -> Result<()> {
        let is_timed = self.options.point_every.is_some() && self.group.view().keeps_history();
        if !is_timed || header.is_in_write_order {
            return Ok(());
        }
        let context = "points are to be made by the clock, but this stream is not in the order of \
                       the source's writes: it matches a state of the source only at its marks and \
                       its end";
        Err(Error::refused(context).remedied(StreamRemedy::MakePointsAtMarks {
            group: self.group.view().name().to_owned(),
        }))
    }

    /// Decides for all volumes of a stream, before anything is done to one of them. A volume that
    /// failed is skipped: it is left behind, and does not hold up the others.
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
        let known = self.group.view().state().volumes.get(volume.name());
        // This is needed only for a refusal, because it reads a file.
        let between = known.and_then(|known| known.in_between.as_ref());
        let is_another = between.is_some_and(|between| between.input != *named.input);
        let begun_files = if is_another { self.group.view().begun_files() } else { Vec::new() };
        let admission = decide(&Question {
            shown: &volume.shown(),
            known,
            in_group: self.group.view().remembers(),
            format,
            header,
            named,
            begun_files: &begun_files,
            // Of what no group knows, this run does.
            source_before: known
                .and_then(|known| known.source_bytes)
                .map(ByteCount::new)
                .or(volume.source_bytes),
            capacity: volume.capacity(),
            is_image_file: volume.is_image_file(),
            options: &self.options,
        })?;
        volume.source_bytes = header.size.or(volume.source_bytes);
        for warning in &admission.warnings {
            (self.observe)(ApplyEvent::Notice(warning));
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
        self.volumes.get(index).open(&self.options)
    }

    pub(super) fn bounds(&mut self, header: &StreamHeader, route: &[usize]) -> Result<Vec<Bounds>> {
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
