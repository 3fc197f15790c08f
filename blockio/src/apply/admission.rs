//! May this stream be applied to this volume, and from where? Decided once the stream's header is
//! known, and before anything is written. Pure.
//!
//! Without a group nothing is known of a volume: only sizes are compared then.

use crate::apply::ApplyOptions;
use crate::extent::Extent;
use crate::journal::state::{
    APPLIED_COUNT_MAX, Fingerprint, Head, InBetween, SourceOrder, VolumeState, exact,
};
use crate::notice::Notice;
use crate::remedy::{DiskRemedy, Remedied, StreamRemedy};
use crate::stream::{Format, VolumeHeader};
use crate::units::{ByteCount, ByteOffset};
use crate::{Error, Result};

/// Where applying begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// At the beginning of the stream.
    Beginning,
    /// After this byte of the input: everything before is applied and durable.
    After(u64),
    /// Everything up to this byte was applied to its end before, if the stream is what it calls
    /// itself: its content is to be compared. Anything after that byte is new.
    Again(u64),
    /// Nowhere: all of the stream was applied before.
    Nowhere,
}

/// A positive answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Admission {
    /// Where applying begins.
    pub(crate) start: Start,
    /// The size that the target must have first: an image file is grown to it.
    pub(crate) grow_to: Option<ByteCount>,
    /// The part by which the source has grown since the previous stream. It reads as zeros there
    /// until the stream says otherwise; the target may hold data there of a larger source, or of
    /// somebody else.
    pub(crate) grown: Option<Extent>,
    /// Notices for the operator.
    pub(crate) warnings: Vec<Notice>,
}

impl Admission {
    fn new() -> Self {
        Self { start: Start::Beginning, grow_to: None, grown: None, warnings: Vec::new() }
    }
}

/// How a stream identifies itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Named<'a> {
    /// The fingerprint of its input.
    pub(crate) input: &'a Fingerprint,
    /// The same as written by versions that recorded no content.
    pub(crate) before: &'a Fingerprint,
    /// Whether it has an identity of its own: a native stream, or a file that is a raw image.
    pub(crate) has_identity: bool,
    /// Its position in the order of its source.
    pub(crate) order: Option<SourceOrder>,
}

/// The question to decide.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    /// The name of the volume in messages.
    pub(crate) shown: &'a str,
    /// What the group knows of the volume; `None` without a group, or if the volume is new to it.
    pub(crate) known: Option<&'a VolumeState>,
    /// Whether there is a group at all.
    pub(crate) in_group: bool,
    /// The format of the stream.
    pub(crate) format: Format,
    /// The stream's header of the volume.
    pub(crate) header: &'a VolumeHeader,
    /// How the stream identifies itself.
    pub(crate) named: Named<'a>,
    /// The files of other streams that were begun, as far as known.
    pub(crate) begun_files: &'a [String],
    /// The size of the source in the stream before, if it is known.
    pub(crate) source_before: Option<ByteCount>,
    /// The size of the target.
    pub(crate) capacity: ByteCount,
    /// Whether we can grow the target.
    pub(crate) is_image_file: bool,
    /// What the operator accepts.
    pub(crate) options: &'a ApplyOptions,
}

/// Decides the question.
pub(crate) fn admit(question: &Question<'_>) -> Result<Admission> {
    let mut admission = Admission::new();
    if let Some(known) = question.known {
        admission.start = start(question, known, &mut admission.warnings)?;
    }
    if admission.start == Start::Beginning {
        check_follows(question, &mut admission)?;
        check_same_size(question)?;
    }
    if admission.start != Start::Nowhere {
        check_fits(question, &mut admission)?;
    }
    Ok(admission)
}

/// Decides about a further stream of an input whose first stream was admitted.
pub(crate) fn admit_next(question: &Question<'_>) -> Result<Admission> {
    let mut admission = Admission::new();
    if let Some(known) = question.known.filter(|_| question.format == Format::Svd) {
        check_later(question, known, &mut admission.warnings)?;
    }
    check_follows(question, &mut admission)?;
    check_same_size(question)?;
    check_fits(question, &mut admission)?;
    Ok(admission)
}

fn start(
    question: &Question<'_>,
    known: &VolumeState,
    warnings: &mut Vec<Notice>,
) -> Result<Start> {
    let Some(between) = &known.in_between else { return at_rest(question, known, warnings) };
    let named = question.named;
    let is_it = between.input == *named.input
        || (between.content.is_none() && between.input == *named.before);
    if is_it {
        let known_again = can_be_known_again(question);
        return Ok(Start::After(if known_again { between.position } else { 0 }));
    }
    // The volume is in the middle of a later stream: another volume failed in this one, and was
    // dropped.
    if question.format == Format::Native && known.applied.contains(named.input) {
        return Ok(Start::Nowhere);
    }
    leave_unfinished(question, between, warnings)
}

/// Another stream was begun, and this one is to be applied instead.
fn leave_unfinished(
    question: &Question<'_>,
    between: &InBetween,
    warnings: &mut Vec<Notice>,
) -> Result<Start> {
    let begun = format!(
        "{}: stream {} was begun on it and never finished (applied up to byte {}); this stream is \
         {}",
        question.shown, between.input, between.position, question.named.input
    );
    let files = question.begun_files.to_vec();
    if !between.exact && question.format != Format::Raw {
        // Whatever this stream holds, the rest of the disk would remain in between.
        return Err(Error::refused(begun).remedied(StreamRemedy::FinishOrReplace { files }));
    }
    if !question.options.accept_unfinished {
        return Err(Error::refused(begun).remedied(StreamRemedy::FinishOrGiveUp { files }));
    }
    warnings.push(taken(format!("{begun}: it is abandoned")));
    Ok(Start::Beginning)
}

/// Every stream that was begun was finished.
fn at_rest(
    question: &Question<'_>,
    known: &VolumeState,
    warnings: &mut Vec<Notice>,
) -> Result<Start> {
    let named = question.named;
    let (was_applied, is_last) =
        (known.applied.contains(named.input), known.applied.last() == Some(named.input));
    match (question.format, &known.lineage.last_content) {
        (Format::Native, _) if was_applied => Ok(Start::Nowhere),
        (Format::Native, _) => {
            check_not_forgotten(question, known, warnings)?;
            Ok(Start::Beginning)
        }
        // Without a name at its end, it cannot be distinguished from another one.
        (Format::RbdDiff, _) if question.header.to.is_none() => Ok(Start::Beginning),
        (Format::RbdDiff | Format::Svd, Some(content)) if is_last => {
            Ok(Start::Again(content.bytes))
        }
        (Format::RbdDiff, None) if is_last || known.applied.last() == Some(named.before) => {
            warnings.push(taken(format!(
                "{}: the last stream had the same names, but its contents were not recorded: this \
                 one is assumed to be the same, and skipped",
                question.shown
            )));
            Ok(Start::Nowhere)
        }
        (Format::Svd, _) => {
            let is_older = named.order < known.lineage.latest;
            if is_older && was_applied && known.lineage.latest.is_some() {
                return Ok(Start::Nowhere);
            }
            check_later(question, known, warnings)?;
            Ok(Start::Beginning)
        }
        (Format::RbdDiff | Format::Raw, _) => Ok(Start::Beginning),
    }
}

/// Requires that the source began it after the last one that was applied.
fn check_later(
    question: &Question<'_>,
    known: &VolumeState,
    warnings: &mut Vec<Notice>,
) -> Result<()> {
    let (Some(now), Some(latest)) = (question.named.order, known.lineage.latest) else {
        return Ok(());
    };
    if now >= latest {
        return Ok(());
    }
    let what = format!(
        "{}: the source began this stream (write {}) before the last applied one (write {}): the \
         disk has newer data",
        question.shown, now.sequence, latest.sequence
    );
    accept_older(question, what, warnings)
}

/// Requires that a native stream is not a forgotten one: a stream that is not remembered is known
/// to be new only as long as all applied streams are remembered.
fn check_not_forgotten(
    question: &Question<'_>,
    known: &VolumeState,
    warnings: &mut Vec<Notice>,
) -> Result<()> {
    let forgets = known.lineage.forgets || known.applied.len() >= APPLIED_COUNT_MAX;
    // The ends of a link of a chain determine where it belongs.
    if !forgets || is_chained(question.format, question.header) {
        return Ok(());
    }
    let (now, latest) = (question.named.order, known.lineage.latest);
    if now.is_none() || now > latest {
        return Ok(());
    }
    let what = format!(
        "{}: this stream is no newer than the last applied one, and only {APPLIED_COUNT_MAX} \
         streams are remembered: it may have been applied long ago",
        question.shown
    );
    accept_older(question, what, warnings)
}

fn accept_older(question: &Question<'_>, what: String, warnings: &mut Vec<Notice>) -> Result<()> {
    if question.options.accept_older {
        warnings.push(taken(format!("{what}; applying it anyway")));
        return Ok(());
    }
    Err(Error::refused(what).remedied(StreamRemedy::AcceptOlder))
}

/// Whether a stream that identifies itself like the previous one is the same. A stream without any
/// name may have other content now (an image from a pipe, a diff that ends at no snapshot): what
/// was applied of the other stream must not count as applied of this one.
fn can_be_known_again(question: &Question<'_>) -> bool {
    match question.format {
        Format::Native | Format::Svd => true,
        Format::RbdDiff => question.header.to.is_some(),
        // True for a file. Of an image from a pipe nothing is known but its size, if that was
        // given.
        Format::Raw => question.named.has_identity,
    }
}

/// Requires that a stream that begins at a snapshot finds the volume there.
fn check_follows(question: &Question<'_>, admission: &mut Admission) -> Result<()> {
    let from = question.header.from.as_ref().map(exact);
    let at = question.known.and_then(|known| known.ends_at.clone());
    let is_link = is_chained(question.format, question.header);
    match (&from, &at) {
        (_, None) if is_link && question.known.is_some_and(|known| !known.applied.is_empty()) => {
            return check_follows_unnamed(question, from.as_deref(), admission);
        }
        (Some(from), None) if question.in_group => admission.warnings.push(taken(format!(
            "{}: the stream begins at \"{from}\", and what the target holds is unknown: assuming \
             that it is there",
            question.shown
        ))),
        (None, None) if is_link => admission.warnings.push(taken(format!(
            "{}: the stream begins at an empty disk: ranges that it does not mention stay as they \
             are, so the target must read as zeros",
            question.shown
        ))),
        (_, None) => {}
        (from, at) if from == at => {}
        (from, at) if is_link => {
            let (from, at) = (told(from.as_deref()), told(at.as_deref()));
            return Err(Error::refused(format!(
                "{}: the stream begins at {from}, but the volume is at {at}: the changes in \
                 between are missing",
                question.shown
            ))
            .with_hint(format!("apply the stream that begins at {at} first")));
        }
        _ => {}
    }
    Ok(())
}

/// Decides for a volume at a state without a name: the names do not show what is missing between
/// that state and the beginning of the stream.
fn check_follows_unnamed(
    question: &Question<'_>,
    from: Option<&str>,
    admission: &mut Admission,
) -> Result<()> {
    let Some(known) = question.known else { return Ok(()) };
    let head = known.lineage.head.clone().or_else(|| known.applied.last()?.head_before());
    let shown = question.shown;
    let (what, since) = match &head {
        // An rbd diff has everything written since its beginning, and so includes the content of
        // the other one.
        Some(Head { since }) if question.format == Format::RbdDiff && since.as_deref() == from => {
            return Ok(());
        }
        Some(Head { since }) => {
            let since = told(since.as_deref());
            let what = format!("the last stream led from {since} to an unnamed state");
            (what, Some(since))
        }
        // A whole image may be of any snapshot.
        None if known.applied.last().is_some_and(|last| last.to_string().starts_with("raw")) => {
            admission.warnings.push(taken(format!(
                "{shown}: the stream begins at {}, and the applied image has no name: assuming \
                 that it is there",
                told(from)
            )));
            return Ok(());
        }
        None => ("the last stream led to an unnamed state".to_owned(), None),
    };
    let what = format!("{shown}: {what}, but this one begins at {}", told(from));
    if question.options.accept_base {
        admission.warnings.push(taken(format!("{what}: assuming that the volume is there")));
        return Ok(());
    }
    Err(Error::refused(format!("{what}: there is no way to tell whether the volume is there"))
        .remedied(StreamRemedy::AcceptBase { since }))
}

fn taken(why: String) -> Notice {
    Notice::StreamTaken { why }
}

fn told(name: Option<&str>) -> String {
    name.map_or_else(|| "nothing (an empty disk)".to_owned(), |name| format!("\"{name}\""))
}

/// Whether a stream of `format` is a link of a chain: it has ends, and anything it does not mention
/// is unchanged between them.
pub(crate) fn is_chained(format: Format, header: &VolumeHeader) -> bool {
    format == Format::RbdDiff || header.from.is_some() || header.to.is_some()
}

fn check_same_size(question: &Question<'_>) -> Result<()> {
    match (question.source_before, question.header.size) {
        (Some(before), Some(now)) if before != now && !question.options.accept_resize => {
            Err(Error::refused(format!(
                "{}: the source has {now} bytes, but had {before} in the previous stream",
                question.shown
            ))
            .remedied(StreamRemedy::AcceptResize))
        }
        _ => Ok(()),
    }
}

/// The part by which the source has grown, as far as the target covered it already: an image file
/// that is enlarged has zeros there.
fn grown(question: &Question<'_>) -> Option<Extent> {
    planted!(GrowthNotCleared => { return None });
    let before = question.source_before?.get();
    let now = question.header.size?.min(question.capacity).get();
    Extent::new(ByteOffset::new(before), ByteCount::new(now.checked_sub(before)?)).ok()
}

fn check_fits(question: &Question<'_>, admission: &mut Admission) -> Result<()> {
    let Some(source) = question.header.size else { return Ok(()) };
    admission.grown = grown(question);
    if source > question.capacity {
        let too_small = Error::refused(format!(
            "{}: the source has {source} bytes, the target only {}",
            question.shown, question.capacity
        ));
        match (question.is_image_file, question.options.accept_resize) {
            (true, true) => admission.grow_to = Some(source),
            (true, false) => {
                return Err(too_small.remedied(DiskRemedy::GrowImage));
            }
            (false, _) => return Err(too_small.with_hint("grow the disk, or name a larger one")),
        }
    } else if source < question.capacity {
        admission.warnings.push(taken(format!(
            "{}: the target has {} bytes, the source only {source}: the rest of the target stays \
             as it is",
            question.shown, question.capacity
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
