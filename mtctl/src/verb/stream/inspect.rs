//! `mtctl stream inspect`: headers, volumes, counts, marks, and the first error. `blockio::inspect`
//! does the reading.

use std::io::Write;
use std::path::PathBuf;

use blockio::inspect::{Inspection, StreamInspection, inspect};
use blockio::stream::open::arenas_for_reading;
use blockio::stream::{Format, Mark, MarkKind, Name, Timestamp};
use clap::Args;
use serde::{Serialize, Serializer};
use system::size;

use crate::byte_progress::ByteProgress;
use crate::document;
use crate::exit::Exit;
use crate::output;
use crate::report;
use crate::size_argument;
use crate::stream_options::{self, FormatName};

const EXAMPLES: &str = "\
Examples:
  mtctl stream inspect delta.rbd
  rbd export-diff --from-snap s1 pool/image@s2 - | mtctl stream inspect -
  mtctl stream inspect day1.mts --json | jq '.streams[].marks[].name'

The whole stream is read and verified, as by apply. If something is wrong, the exit code is 5, and
what was found up to there is still printed.";

/// What was typed after `mtctl stream inspect`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The stream; - is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Format of the stream; a raw image is not detected
    #[arg(long, value_enum, default_value_t = FormatName::Auto)]
    format: FormatName,

    /// Size of a raw image from a pipe: if it ends earlier, it was truncated
    #[arg(long, value_name = "SIZE", value_parser = size_argument::size)]
    size: Option<u64>,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Inspects the stream.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let files = std::slice::from_ref(&arguments.file);
    let inputs = stream_options::inputs(files, arguments.format)?;
    let mut inputs = stream_options::of_size(inputs, arguments.format, arguments.size)?;
    let mut exit = Exit::Done;
    let mut out = output::stdout();
    for input in inputs.drain(..) {
        let (name, progress) = (input.name(), ByteProgress::new(input.length_bytes()));
        let mut source = input.open(arguments.format.into(), arenas_for_reading()?)?;
        let found = inspect(&name, &mut source, &mut |bytes| progress.at(bytes));
        drop(progress);
        match arguments.json {
            true => document::print(&mut out, &json(&name, &found))?,
            false => print(&mut out, &name, &found)?,
        }
        out.flush()?;
        if let Some(error) = &found.error {
            exit = report::ours(error);
        }
    }
    Ok(exit)
}

fn print(out: &mut impl Write, name: &str, found: &Inspection) -> anyhow::Result<()> {
    for stream in &found.streams {
        print_stream(out, name, stream)?;
    }
    let more = found.stream_count.saturating_sub(found.streams.len() as u64);
    if more > 0 {
        writeln!(out, "and {more} more streams in the same input")?;
    }
    let end = if found.error.is_some() { "read up to byte" } else { "complete:" };
    Ok(writeln!(out, "{end} {} ({})", found.bytes, size::binary(found.bytes))?)
}

fn print_stream(out: &mut impl Write, name: &str, stream: &StreamInspection) -> anyhow::Result<()> {
    writeln!(out, "{}: {} stream{}", output::plain(name), stream.header.format, identity(stream))?;
    let mut table =
        output::table(&["VOLUME", "SIZE", "FROM", "TO", "EXTENTS", "DATA", "ZERO", "DISCARD"]);
    for (header, volume) in stream.header.volumes.iter().zip(&stream.volumes) {
        table.add_row([
            shown(header.name.as_ref()),
            header.size.map_or_else(|| "-".to_owned(), |bytes| size::binary(bytes.get())),
            shown(header.from.as_ref()),
            shown(header.to.as_ref()),
            volume.extents.to_string(),
            size::binary(volume.data_bytes),
            size::binary(volume.zero_bytes),
            size::binary(volume.discard_bytes),
        ]);
    }
    output::print_table(out, &table)?;
    for mark in &stream.marks {
        let line = format!("mark {} {} {}", time(mark.time), kind(mark), shown(mark.name.as_ref()));
        writeln!(out, "{}", output::wrapped(&line, 5))?;
    }
    let more = stream.mark_count.saturating_sub(stream.marks.len() as u64);
    if more > 0 {
        writeln!(out, "and {more} more marks")?;
    }
    if stream.header.format == Format::Native && !stream.header.is_in_write_order {
        writeln!(out, "not in the order of the source's writes: consistent only at its marks")?;
    }
    let no_point = stream.end.as_ref().is_some_and(|end| !end.consistent);
    if no_point {
        let why = match stream.header.format {
            Format::Raw => "its size is not known, so it may be truncated",
            Format::Native | Format::RbdDiff | Format::Svd => {
                "the order of its writes was not kept"
            }
        };
        writeln!(out, "its end is not a recovery point: {why}")?;
    }
    Ok(())
}

fn identity(stream: &StreamInspection) -> String {
    stream.header.identity.map_or_else(String::new, |bytes| format!(" {}", hex::encode(bytes)))
}

fn shown(name: Option<&Name>) -> String {
    name.map_or_else(|| "-".to_owned(), |name| output::with_short_words(name.to_string()))
}

fn kind(mark: &Mark) -> &'static str {
    match mark.kind {
        MarkKind::CrashConsistent => "crash-consistent",
        MarkKind::ApplicationConsistent => "application-consistent",
    }
}

/// The time in RFC 3339, UTC; 0 means unknown.
fn time(Timestamp(nanoseconds): Timestamp) -> String {
    let known = (nanoseconds > 0).then(|| i128::from(nanoseconds));
    known
        .and_then(|nanoseconds| jiff::Timestamp::from_nanosecond(nanoseconds).ok())
        .map_or_else(|| "-".to_owned(), |time| time.to_string())
}

/// Stable: fields are added, never changed.
#[derive(Serialize)]
struct Json<'a> {
    input: &'a str,
    bytes: u64,
    streams: Vec<JsonStream<'a>>,
    stream_count: u64,
    error: Option<String>,
}

#[derive(Serialize)]
struct JsonStream<'a> {
    format: String,
    identity: Option<String>,
    volumes: Vec<JsonVolume<'a>>,
    batches: u64,
    marks: Vec<JsonMark<'a>>,
    mark_count: u64,
    complete: bool,
    consistent: bool,
    in_write_order: bool,
}

#[derive(Serialize)]
struct JsonVolume<'a> {
    name: Option<JsonName<'a>>,
    size_bytes: Option<u64>,
    from: Option<JsonName<'a>>,
    to: Option<JsonName<'a>>,
    extents: u64,
    data_bytes: u64,
    zero_bytes: u64,
    discard_bytes: u64,
}

#[derive(Serialize)]
struct JsonMark<'a> {
    time: Option<String>,
    kind: &'static str,
    name: Option<JsonName<'a>>,
    group: Option<JsonName<'a>>,
}

/// A name for display, formatted only when it is written, because the displayed form can be five
/// times as long.
struct JsonName<'a>(&'a Name);

impl Serialize for JsonName<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self.0)
    }
}

fn json<'a>(name: &'a str, found: &'a Inspection) -> Json<'a> {
    Json {
        input: name,
        bytes: found.bytes,
        streams: found.streams.iter().map(json_stream).collect(),
        stream_count: found.stream_count,
        error: found.error.as_ref().map(system::Error::chain),
    }
}

fn json_stream(stream: &StreamInspection) -> JsonStream<'_> {
    let volumes = stream.header.volumes.iter().zip(&stream.volumes);
    JsonStream {
        format: stream.header.format.to_string(),
        identity: stream.header.identity.map(hex::encode),
        volumes: volumes
            .map(|(header, volume)| JsonVolume {
                name: header.name.as_ref().map(JsonName),
                size_bytes: header.size.map(|size| size.get()),
                from: header.from.as_ref().map(JsonName),
                to: header.to.as_ref().map(JsonName),
                extents: volume.extents,
                data_bytes: volume.data_bytes,
                zero_bytes: volume.zero_bytes,
                discard_bytes: volume.discard_bytes,
            })
            .collect(),
        batches: stream.batches,
        marks: stream.marks.iter().map(json_mark).collect(),
        mark_count: stream.mark_count,
        complete: stream.end.is_some(),
        consistent: stream.end.as_ref().is_some_and(|end| end.consistent),
        in_write_order: stream.header.is_in_write_order,
    }
}

fn json_mark(mark: &Mark) -> JsonMark<'_> {
    JsonMark {
        time: Some(time(mark.time)).filter(|text| text != "-"),
        kind: kind(mark),
        name: mark.name.as_ref().map(JsonName),
        group: mark.group.as_ref().map(JsonName),
    }
}
