//! Merges several streams, of one or several volumes each, into one native stream that ends in one
//! common mark: a recovery point of all of them. Verified on the way, as for applying.
//!
//! The snapshots that a volume leads from and to stay with it, so that the applying end can refuse
//! a wrong base. A mark within an input is not a state of all volumes: it is left out and counted.

use std::io::Write;

use crate::convert::{Conversion, OutputFormat, StreamSink, bounds_of, end_mark, joined};
use crate::plain::Plain;
use crate::remedy::{Remedied, StreamRemedy};
use crate::stream::open::Stream;
use crate::stream::{
    End, Format, Frame, Mark, MarkKind, Name, StreamHeader, Timestamp, VolumeHeader, native,
};
use crate::{Error, ErrorKind, Result};

/// The combination of several streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    header: StreamHeader,
    /// For each input, the number of its first volume in the header.
    first_volumes: Vec<u16>,
}

/// The mark at the end, as far as the operator specified it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommonMark {
    /// Its name; `None` to use the one that all inputs end in.
    pub name: Option<Name>,
    /// Its kind; `None` for application-consistent if all inputs end so.
    pub kind: Option<MarkKind>,
}

/// The volumes of a chain of streams, and those streams with the names of their inputs.
type Part<'a> = (Vec<&'a Name>, Vec<(String, StreamHeader)>);

impl Merged {
    /// Combines `inputs`, given by their names and the headers of the streams in them. Streams of
    /// the same volumes follow one another in their order.
    ///
    /// # Errors
    ///
    /// `Usage`: a volume has no name, or is in inputs of different volumes; a stream does not begin
    /// where the one before it of the same volumes ends; there are too many volumes.
    pub fn of(inputs: &[(String, Vec<StreamHeader>)]) -> Result<Self> {
        let mut parts: Vec<Part<'_>> = Vec::new();
        let mut part_of = Vec::new();
        for (name, headers) in inputs {
            let names = volume_names(name, headers)?;
            let index = match parts.iter().position(|(known, _)| *known == names) {
                Some(index) => index,
                None => {
                    refuse_shared(name, &names, &parts)?;
                    parts.push((names, Vec::new()));
                    parts.len() - 1
                }
            };
            let named = headers.iter().map(|header| (name.clone(), header.clone()));
            parts[index].1.extend(named);
            part_of.push(index);
        }
        let mut volumes = Vec::new();
        let mut first_of_part = Vec::new();
        for (_, headers) in &parts {
            first_of_part.push(u16::try_from(volumes.len()).map_err(|_| too_many())?);
            volumes.extend(joined(headers)?.volumes);
        }
        let header = StreamHeader {
            format: Format::Native,
            // The volumes follow one another.
            is_in_write_order: false,
            identity: None,
            volumes,
        };
        let first_volumes = part_of.into_iter().map(|part| first_of_part[part]).collect();
        Ok(Self { header, first_volumes })
    }

    /// The header of the merged stream.
    #[must_use]
    pub fn header(&self) -> &StreamHeader {
        &self.header
    }

    /// The name of the snapshot that all volumes end at; `None` if no volume ends at one.
    ///
    /// # Errors
    ///
    /// `Usage`: they end at different ones.
    pub fn common_end(&self) -> Result<Option<Name>> {
        let mut ends = self.header.volumes.iter().map(|volume| (volume, &volume.to));
        let Some((first, end)) = ends.next() else { return Ok(None) };
        match ends.find(|(_, other)| *other != end) {
            None => Ok(end.clone()),
            Some((other, to)) => Err(disagree((shown(first), end), (shown(other), to))),
        }
    }
}

/// Writes the content of `sources` (their names and how to open them, in the order of the inputs
/// that `merged` was made of) to `output`.
///
/// # Errors
///
/// `Usage`: they do not end in one mark, and `mark` does not name it. `Refused`: one does not end
/// in a state of its source. `Integrity`, `Failed`: as for converting.
pub fn merge<W: Write>(
    sources: impl IntoIterator<Item = Result<(String, Stream)>>,
    merged: &Merged,
    mark: &CommonMark,
    options: native::EncoderOptions,
    output: W,
    progress: &mut dyn FnMut(u64),
) -> Result<Conversion> {
    let mut sink = StreamSink::new(&merged.header, OutputFormat::Native(options), output)?;
    let mut done = Conversion::default();
    let mut before = 0;
    let mut ends: Vec<(u16, String, Mark)> = Vec::new();
    for (source, first_volume) in sources.into_iter().zip(&merged.first_volumes) {
        let (name, mut source) = source?;
        sink.first_volume = *first_volume;
        let at = |consumed| before + consumed;
        let end = one(&name, &mut source, &mut sink, &mut done, &mut |bytes| progress(at(bytes)))?;
        before += source.consumed();
        // In a chain of streams, the last one determines where their volumes end.
        done.marks_lost += ends.iter().filter(|(part, ..)| part == first_volume).count() as u64;
        ends.retain(|(part, ..)| part != first_volume);
        ends.push((*first_volume, name, end));
    }
    sink.mark(&common(&ends, mark)?, &mut done)?;
    sink.finish()?;
    Ok(done)
}

/// Writes the content of `source`, and returns the mark that it ends in.
fn one<W: Write>(
    name: &str,
    source: &mut Stream,
    sink: &mut StreamSink<W>,
    done: &mut Conversion,
    progress: &mut dyn FnMut(u64),
) -> Result<Mark> {
    let (mut bounds, mut is_state) = (Vec::new(), true);
    let (mut marked, mut at_end): (Option<Mark>, Option<Mark>) = (None, None);
    while let Some(frame) = source.next_frame()? {
        progress(source.consumed());
        match frame {
            Frame::Begin(header) => {
                bounds = bounds_of(&header);
                sink.begin(&header, done)?;
                at_end = end_mark(&header);
            }
            Frame::Batch(batch) => {
                is_state = false;
                done.marks_lost += u64::from(marked.take().is_some());
                sink.batch(name, batch, &bounds, done)?;
            }
            Frame::Mark(mark) => {
                is_state = true;
                done.marks_lost += u64::from(marked.replace(mark).is_some());
            }
            Frame::End(End { consistent, .. }) => is_state |= consistent,
        }
    }
    if !is_state {
        let context = format!("merging {name}: its end is not a state of its source");
        return Err(Error::refused(context)
            .with_hint("continue to its next mark: also merge the stream that follows it"));
    }
    let (time, kind) = (Timestamp(0), MarkKind::CrashConsistent);
    Ok(marked.or(at_end).unwrap_or(Mark { time, kind, name: None, group: None }))
}

/// The common mark of `ends`; its time is the latest of theirs.
fn common(ends: &[(u16, String, Mark)], said: &CommonMark) -> Result<Mark> {
    let name = match (&said.name, ends.split_first()) {
        (Some(name), _) => Some(name.clone()),
        (None, None) => None,
        (None, Some(((_, first, end), rest))) => {
            if let Some((_, other, to)) = rest.iter().find(|(.., to)| to.name != end.name) {
                return Err(disagree((first.clone(), &end.name), (other.clone(), &to.name)));
            }
            end.name.clone()
        }
    };
    let is_application = |(.., mark): &(u16, String, Mark)| match mark.kind {
        MarkKind::CrashConsistent => false,
        MarkKind::ApplicationConsistent => true,
    };
    let kind = said.kind.unwrap_or(match ends.iter().all(is_application) {
        true => MarkKind::ApplicationConsistent,
        false => MarkKind::CrashConsistent,
    });
    let latest = ends.iter().map(|(.., mark)| mark.time.0).max().unwrap_or_default();
    Ok(Mark { time: Timestamp(latest), kind, name, group: None })
}

/// The names of the volumes of one input.
fn volume_names<'a>(input: &str, headers: &'a [StreamHeader]) -> Result<Vec<&'a Name>> {
    let volumes = headers.first().map(|header| header.volumes.as_slice()).unwrap_or_default();
    let names = volumes.iter().map(|volume| {
        let name = volume.name.as_ref().filter(|name| !name.as_bytes().is_empty());
        name.ok_or_else(|| {
            let context = format!("merging {input}: it does not name its volume");
            Error::new(ErrorKind::Usage, context)
                .remedied(StreamRemedy::NameVolumeOf { input: input.to_owned() })
        })
    });
    names.collect()
}

/// Refuses a volume of `names` that is already in a part with other volumes.
fn refuse_shared(input: &str, names: &[&Name], parts: &[Part<'_>]) -> Result<()> {
    let known = |name: &&&Name| parts.iter().any(|(known, _)| known.contains(*name));
    let Some(name) = names.iter().find(known) else { return Ok(()) };
    let context = format!(
        "merging {input}: its volume \"{}\" is in another stream, with other volumes",
        Plain(name)
    );
    Err(Error::new(ErrorKind::Usage, context)
        .with_hint("streams either have the same volumes and follow one another, or share none"))
}

fn too_many() -> Error {
    Error::new(ErrorKind::Usage, "merging streams: there are too many volumes")
}

fn shown(volume: &VolumeHeader) -> String {
    let name = volume.name.as_ref().map(|name| Plain(name).to_string());
    format!("volume \"{}\"", name.unwrap_or_default())
}

fn disagree(one: (String, &Option<Name>), other: (String, &Option<Name>)) -> Error {
    let told = |(of, name): (String, &Option<Name>)| match name {
        Some(name) => format!("{of} ends at \"{}\"", Plain(name)),
        None => format!("{of} ends at an unnamed state"),
    };
    let context = format!("merging streams into one mark: {}, {}", told(one), told(other));
    Error::new(ErrorKind::Usage, context).remedied(StreamRemedy::NameMark)
}

#[cfg(test)]
mod tests;
