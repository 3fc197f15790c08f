//! `mtctl stream convert`: streams into one of another format. What that means is
//! `blockio::convert`'s; here the output gets its name once it is whole.

use std::io::{BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use blockio::apply::StreamArgument;
use blockio::convert::{Conversion, Output, convert, joined_header};
use blockio::stream::native::compression::Method;
use blockio::stream::open::{Stream, arenas_for_reading};
use blockio::stream::{Name, StreamHeader};
use blockio::stream::{native, rbd_diff};
use blockio::units::ByteCount;
use clap::{Args, ValueEnum};
use provisioning::size;
use serde::Serialize;

use crate::byte_progress::ByteProgress;
use crate::exit::Exit;
use crate::output;
use crate::size_argument;
use crate::stream_options::{self, FormatName};
use crate::whole_file;

const EXAMPLES: &str = "\
Examples:
  mtctl stream convert s1-s2.rbd --to native --output day1.mts
  mtctl stream convert s1-s2.rbd --volume db --to native --output db.mts
  mtctl stream convert /var/spool/svd --size 100G --to native --output svd.mts
  mtctl stream convert day1.mts --to rbd-diff-v1 --output - | rbd import-diff - pool/image

Several inputs become one stream, in the order given. FILE gets its name only when it is whole. One
that is there is not replaced, unless --force names it, too.";

/// What was typed after `mtctl stream convert`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Streams in their order; a directory is the svd streams in it by sequence number
    #[arg(value_name = "INPUT", required = true)]
    inputs: Vec<PathBuf>,

    /// The format to write
    #[arg(long, value_enum)]
    to: To,

    /// The file to write; - is standard output
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,

    /// The file that may be replaced, where --output is there already: the same name again
    #[arg(long, value_name = "FILE")]
    force: Option<PathBuf>,

    /// The format of the inputs; a raw image has to be named
    #[arg(long, value_enum, default_value_t = FormatName::Auto)]
    format: FormatName,

    /// What the volume is called: of inputs that have one and do not name it
    #[arg(long, value_name = "NAME", value_parser = stream_options::volume_name)]
    volume: Option<Name>,

    /// The size of the disk, where the inputs do not say it
    #[arg(long, value_name = "SIZE", value_parser = size_argument::size)]
    size: Option<u64>,

    /// Compress each batch of a native stream
    #[arg(long, value_enum, default_value_t = Compression::None)]
    compression: Compression,

    /// Print JSON, on stderr if the stream goes to stdout
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum To {
    /// our own
    Native,
    /// rbd diff v1, as `rbd import-diff` reads it
    RbdDiffV1,
    /// rbd diff v2
    RbdDiffV2,
}

/// How batches of a native stream are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Compression {
    /// as it is
    None,
    /// fast
    Lz4,
    /// small
    Zstd,
}

impl From<Compression> for Option<Method> {
    fn from(compression: Compression) -> Self {
        match compression {
            Compression::None => None,
            Compression::Lz4 => Some(Method::Lz4),
            Compression::Zstd => Some(Method::Zstd),
        }
    }
}

/// Stable: fields are added, never changed.
#[derive(Serialize)]
struct Json {
    extents: u64,
    data_bytes: u64,
    zero_bytes: u64,
    marks: u64,
    marks_lost: u64,
}

/// Converts.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    check(arguments)?;
    let inputs = stream_options::inputs(&arguments.inputs, arguments.format)?;
    let inputs = stream_options::of_volume(inputs, arguments.volume.as_ref());
    let header = joined_header(&headers(arguments, &inputs)?, arguments.size.map(ByteCount::new))?;
    let done = if arguments.output.as_os_str() == "-" {
        write(arguments, inputs, &header, output::stdout_for_bytes())?
    } else {
        whole_file::write(&arguments.output, |file| {
            write(arguments, inputs, &header, BufWriter::new(file))
        })?
    };
    tell(arguments, &done)?;
    Ok(Exit::Done)
}

/// What can be said no to before anything is read.
fn check(arguments: &Arguments) -> blockio::Result<()> {
    let usage = |context: &str| blockio::Error::new(blockio::ErrorKind::Usage, context);
    if arguments.compression != Compression::None && arguments.to != To::Native {
        return Err(usage("--compression: an rbd diff has none")
            .with_hint("compress the file: mtctl stream convert … --output - | zstd > FILE"));
    }
    if arguments.volume.is_some() && arguments.to != To::Native {
        return Err(usage("--volume: an rbd diff does not say what its volume is called")
            .with_hint("leave it out; it is named where the diff is applied"));
    }
    let (output, force) = (&arguments.output, arguments.force.as_deref());
    check_output(output, force, &arguments.inputs, "convert")
}

/// A stream can be written to `output`, `-` being stdout, by `verb`, which reads `inputs`.
///
/// # Errors
///
/// `Usage`: there is no place for it. `Refused`: something is there that `force` does not name.
pub(super) fn check_output(
    output: &Path,
    force: Option<&Path>,
    inputs: &[PathBuf],
    verb: &str,
) -> blockio::Result<()> {
    if output.as_os_str() != "-" {
        whole_file::check(output, "to write to a disk, apply the stream to it: mtctl apply")?;
        return whole_file::check_replaces_nothing(output, force, inputs);
    }
    let why_not = match () {
        () if force.is_some() => "--force names a file, and nothing is written to one",
        () if std::io::stdout().is_terminal() => {
            "standard output is a terminal: a stream is not for reading"
        }
        () if output::is_stdout_closed() => "standard output is closed",
        () => return Ok(()),
    };
    Err(blockio::Error::new(blockio::ErrorKind::Usage, why_not)
        .with_hint(format!("mtctl stream {verb} … --output - | COMMAND")))
}

fn target(arguments: &Arguments) -> Output {
    let compression = arguments.compression.into();
    match arguments.to {
        To::Native => Output::Native(native::Options { compression, ..native::Options::default() }),
        To::RbdDiffV1 => Output::RbdDiff(rbd_diff::Version::V1),
        To::RbdDiffV2 => Output::RbdDiff(rbd_diff::Version::V2),
    }
}

/// What all the streams say of themselves: the output says it in its first bytes.
fn headers(
    arguments: &Arguments,
    inputs: &[StreamArgument],
) -> anyhow::Result<Vec<(String, StreamHeader)>> {
    let pool = arenas_for_reading()?;
    let mut headers = Vec::new();
    for input in inputs {
        let of_input = input.headers(arguments.format.into(), pool.clone())?;
        headers.extend(of_input.into_iter().map(|header| (input.name(), header)));
    }
    Ok(headers)
}

fn write(
    arguments: &Arguments,
    inputs: Vec<StreamArgument>,
    header: &StreamHeader,
    output: impl Write,
) -> anyhow::Result<Conversion> {
    let length: Option<u64> = inputs.iter().map(StreamArgument::length_bytes).sum();
    let progress = ByteProgress::new(length);
    let pool = arenas_for_reading()?;
    let sources = inputs.into_iter().map(|input| -> blockio::Result<(String, Stream)> {
        Ok((input.name(), input.open(arguments.format.into(), pool.clone())?))
    });
    Ok(convert(sources, header, target(arguments), output, &mut |bytes| progress.at(bytes))?)
}

fn tell(arguments: &Arguments, done: &Conversion) -> anyhow::Result<()> {
    let to_stdout = arguments.output.as_os_str() == "-";
    tell_of(done, to_stdout, arguments.json, "an rbd diff cannot hold any")
}

/// What was written, on stderr if the stream went to stdout; `lost`: why marks are not in it.
pub(super) fn tell_of(
    done: &Conversion,
    to_stdout: bool,
    json: bool,
    lost: &str,
) -> anyhow::Result<()> {
    let Conversion { extents, data_bytes, zero_bytes, marks, marks_lost } = *done;
    let mut out: Box<dyn Write> = match to_stdout {
        true => Box::new(std::io::stderr()),
        false => Box::new(output::stdout()),
    };
    if json {
        let json = Json { extents, data_bytes, zero_bytes, marks, marks_lost };
        return output::print_result(&mut out, &json);
    }
    let text = format!(
        "wrote {} in {}, {} of zeros, {}",
        size::binary(data_bytes),
        output::counted(extents, "extent"),
        size::binary(zero_bytes),
        output::counted(marks, "mark"),
    );
    writeln!(out, "{text}")?;
    if marks_lost > 0 {
        let count = output::counted(marks_lost, "mark");
        writeln!(out, "{count} left out: {lost}")?;
    }
    Ok(out.flush()?)
}
