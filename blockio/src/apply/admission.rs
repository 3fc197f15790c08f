//! May this stream be applied to this volume, and from where on? Decided when the stream has said
//! what it is, and before anything is written. Pure.
//!
//! Without a group nothing is known of a volume: only sizes are compared then.

use crate::journal::state::{Fingerprint, VolumeState, exact};
use crate::stream::{Format, VolumeHeader};
use crate::units::ByteCount;
use crate::{Error, Result};

/// Where applying begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// At the stream's beginning.
    Beginning,
    /// After this byte of the input: what comes before is applied and durable.
    After(u64),
    /// Nowhere: all of it was applied before.
    Nowhere,
}

/// The answer, if it is yes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Admission {
    /// Where applying begins.
    pub(crate) start: Start,
    /// The size that the target must have first: an image file is grown to it.
    pub(crate) grow_to: Option<ByteCount>,
    /// What the operator should know.
    pub(crate) warnings: Vec<String>,
}

/// What is asked about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    /// What messages call the volume.
    pub(crate) shown: &'a str,
    /// What the group knows of it; none: no group, or a volume new to it.
    pub(crate) known: Option<&'a VolumeState>,
    /// Whether there is a group at all.
    pub(crate) in_group: bool,
    /// The format of the stream.
    pub(crate) format: Format,
    /// What the stream says of the volume.
    pub(crate) header: &'a VolumeHeader,
    /// Which input the stream is in.
    pub(crate) input: &'a Fingerprint,
    /// What the target is known by.
    pub(crate) identity: &'a str,
    /// The size of the target.
    pub(crate) capacity: ByteCount,
    /// Whether the target can be grown by us.
    pub(crate) is_image_file: bool,
    /// Whether the operator takes another size than before.
    pub(crate) accept_resize: bool,
}

/// Decides.
pub(crate) fn admit(question: &Question<'_>) -> Result<Admission> {
    let mut admission = Admission { start: Start::Beginning, grow_to: None, warnings: Vec::new() };
    if let Some(known) = question.known {
        same_target(question, known)?;
        admission.start = start(question, known)?;
    }
    if admission.start == Start::Beginning {
        follows(question, &mut admission)?;
        same_size(question)?;
    }
    if admission.start != Start::Nowhere {
        fits(question, &mut admission)?;
    }
    Ok(admission)
}

/// Decides about another stream of an input whose first one was admitted.
pub(crate) fn admit_next(question: &Question<'_>) -> Result<Admission> {
    let mut admission = Admission { start: Start::Beginning, grow_to: None, warnings: Vec::new() };
    follows(question, &mut admission)?;
    same_size(question)?;
    fits(question, &mut admission)?;
    Ok(admission)
}

fn same_target(question: &Question<'_>, known: &VolumeState) -> Result<()> {
    match &known.target {
        Some(before) if before != question.identity => Err(Error::refused(format!(
            "{}: the group knows this volume's target as {before}, and this is {}",
            question.shown, question.identity
        ))
        .with_hint("name the disk that has been written so far, or begin another group")),
        _ => Ok(()),
    }
}

fn start(question: &Question<'_>, known: &VolumeState) -> Result<Start> {
    match &known.in_between {
        Some(between) if between.input == *question.input => {
            let known_again = can_be_known_again(question);
            Ok(Start::After(if known_again { between.position } else { 0 }))
        }
        // It is in the middle of a later one: another volume failed in this one, and was left.
        Some(_) if question.format == Format::Native && known.applied.contains(question.input) => {
            Ok(Start::Nowhere)
        }
        Some(between) => Err(Error::refused(format!(
            "{}: stream {} was begun on it and not finished (applied up to byte {}), and this is \
             {}",
            question.shown, between.input, between.position, question.input
        ))
        .with_hint("apply that stream again: it goes on where it stopped")),
        None if was_applied(question, known) => Ok(Start::Nowhere),
        None => Ok(Start::Beginning),
    }
}

/// Whether a stream that calls itself as the one before is the same. One without any name may have
/// another content now (an image from a pipe, a diff that ends at no snapshot): what was applied
/// of the other one must not be taken for applied of this one.
fn can_be_known_again(question: &Question<'_>) -> bool {
    match question.format {
        Format::Native | Format::Svd => true,
        Format::RbdDiff => question.header.to.is_some(),
        // A file; its identity is part of what it calls itself.
        Format::Raw => question.header.size.is_some(),
    }
}

/// Whether the stream cannot be another one, and was applied: a native stream has an identity; a
/// diff is known by its ends, and only as long as the volume still is at that end. The others come
/// twice by design, and applying them twice is harmless.
fn was_applied(question: &Question<'_>, known: &VolumeState) -> bool {
    match question.format {
        Format::Native => known.applied.contains(question.input),
        Format::RbdDiff => {
            question.header.to.is_some() && known.applied.last() == Some(question.input)
        }
        Format::Svd | Format::Raw => false,
    }
}

/// A stream that begins at a snapshot must find the volume there.
fn follows(question: &Question<'_>, admission: &mut Admission) -> Result<()> {
    let from = question.header.from.as_ref().map(exact);
    let at = question.known.and_then(|known| known.ends_at.clone());
    let told = |name: &Option<String>| {
        name.as_ref().map_or_else(|| "nothing (an empty disk)".to_owned(), |n| format!("\"{n}\""))
    };
    match (&from, &at) {
        (Some(from), None) if question.in_group => admission.warnings.push(format!(
            "{}: the stream begins at \"{from}\", and nothing is known of what is on the target: \
             it is taken to be there",
            question.shown
        )),
        (None, None) if is_chained(question) => admission.warnings.push(format!(
            "{}: the stream begins at an empty disk: what it does not mention stays as it is, so \
             the target must read as zeros",
            question.shown
        )),
        (_, None) => {}
        (from, at) if from == at => {}
        (from, at) if is_chained(question) => {
            return Err(Error::refused(format!(
                "{}: the stream begins at {}, and the volume is at {}: what lies between is \
                 missing",
                question.shown,
                told(from),
                told(at)
            ))
            .with_hint(format!("apply the stream that begins at {} first", told(at))));
        }
        _ => {}
    }
    Ok(())
}

/// Whether the stream is a link of a chain: it has ends, and what it does not mention is unchanged
/// between them.
fn is_chained(question: &Question<'_>) -> bool {
    let header = question.header;
    question.format == Format::RbdDiff || header.from.is_some() || header.to.is_some()
}

fn same_size(question: &Question<'_>) -> Result<()> {
    let before = question.known.and_then(|known| known.source_bytes);
    match (before, question.header.size.map(ByteCount::get)) {
        (Some(before), Some(now)) if before != now && !question.accept_resize => {
            Err(Error::refused(format!(
                "{}: the source has {now} bytes, and had {before} in the stream before",
                question.shown
            ))
            .with_hint("if it was resized on purpose, say so: --accept-resize"))
        }
        _ => Ok(()),
    }
}

fn fits(question: &Question<'_>, admission: &mut Admission) -> Result<()> {
    let Some(source) = question.header.size else { return Ok(()) };
    if source > question.capacity {
        let too_small = Error::refused(format!(
            "{}: the source has {source} bytes, and the target only {}",
            question.shown, question.capacity
        ));
        match (question.is_image_file, question.accept_resize) {
            (true, true) => admission.grow_to = Some(source),
            (true, false) => {
                return Err(too_small.with_hint("--accept-resize grows the image file"));
            }
            (false, _) => return Err(too_small.with_hint("grow the disk, or name a larger one")),
        }
    } else if source < question.capacity {
        admission.warnings.push(format!(
            "{}: the target has {} bytes, and the source only {source}: what is past that stays \
             as it is",
            question.shown, question.capacity
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
