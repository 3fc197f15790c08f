//! `mtctl stream convert`: writes streams as one stream of another format. `blockio::convert` does
//! the work; this verb gives the output its name once it is complete.

use std::io::Write;
use std::path::PathBuf;

use blockio::apply::StreamArgument;
use blockio::convert::{Conversion, OutputFormat, convert, joined_header};
use blockio::stream::open::{Stream, arenas_for_reading};
use blockio::stream::rbd_diff;
use blockio::stream::{Name, StreamHeader};
use blockio::units::ByteCount;
use clap::{Args, ValueEnum};

use super::written::WrittenOptions;
use crate::byte_progress::ByteProgress;
use crate::exit::Exit;
use crate::size_argument;
use crate::stream_options::{self, FormatName};

const EXAMPLES: &str = "\
Examples:
  mtctl stream convert s1-s2.rbd --to native --output day1.mts
  mtctl stream convert s1-s2.rbd --volume db --to native --output db.mts
  mtctl stream convert /var/spool/svd --size 100G --to native --output svd.mts
  mtctl stream convert day1.mts --to rbd-diff-v1 --output - | rbd import-diff - pool/image

Several inputs become one stream, in the order given. FILE gets its name only when it is complete.
An existing file is not replaced, unless --force names it again.";

/// What was typed after `mtctl stream convert`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Streams in order; a directory stands for the svd streams in it, by sequence number
    #[arg(value_name = "INPUT", required = true)]
    inputs: Vec<PathBuf>,

    /// Format to write
    #[arg(long, value_enum)]
    to: To,

    /// Format of the inputs; a raw image is not detected
    #[arg(long, value_enum, default_value_t = FormatName::Auto)]
    format: FormatName,

    /// Name of the volume, for inputs with one volume that do not name it
    #[arg(long, value_name = "NAME", value_parser = stream_options::volume_name)]
    volume: Option<Name>,

    /// Size of the disk, if the inputs do not have it
    #[arg(long, value_name = "SIZE", value_parser = size_argument::size)]
    size: Option<u64>,

    #[command(flatten)]
    written: WrittenOptions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum To {
    /// Native change stream
    Native,
    /// An rbd diff v1, as `rbd import-diff` reads it
    RbdDiffV1,
    /// An rbd diff v2
    RbdDiffV2,
}

/// Converts the streams.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    check(arguments)?;
    let inputs = stream_options::inputs(&arguments.inputs, arguments.format)?;
    let inputs = stream_options::of_volume(inputs, arguments.volume.as_ref());
    let header = joined_header(&headers(arguments, &inputs)?, arguments.size.map(ByteCount::new))?;
    let write = |out: &mut dyn Write| write(arguments, inputs, &header, out);
    let done = arguments.written.write(write)?;
    arguments.written.tell(&done, "an rbd diff cannot hold that")?;
    Ok(Exit::Done)
}

/// Refuses what can be refused before anything is read.
fn check(arguments: &Arguments) -> system::Result<()> {
    let usage = |context: &str| system::Error::new(system::ErrorKind::Usage, context);
    if arguments.written.is_compressed() && arguments.to != To::Native {
        return Err(usage("--compression: an rbd diff cannot be compressed")
            .with_hint("compress the file: mtctl stream convert … --output - | zstd > FILE"));
    }
    if arguments.volume.is_some() && arguments.to != To::Native {
        return Err(usage("--volume: an rbd diff does not name its volume")
            .with_hint("omit it; name the volume when you apply the diff"));
    }
    arguments.written.check(&arguments.inputs, "convert")
}

fn target(arguments: &Arguments) -> OutputFormat {
    match arguments.to {
        To::Native => OutputFormat::Native(arguments.written.of_native()),
        To::RbdDiffV1 => OutputFormat::RbdDiff(rbd_diff::Version::V1),
        To::RbdDiffV2 => OutputFormat::RbdDiff(rbd_diff::Version::V2),
    }
}

/// The headers of all the streams: the output begins with what they say.
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
    output: &mut dyn Write,
) -> anyhow::Result<Conversion> {
    let length: Option<u64> = inputs.iter().map(StreamArgument::length_bytes).sum();
    let progress = ByteProgress::new(length);
    let pool = arenas_for_reading()?;
    let sources = inputs.into_iter().map(|input| -> system::Result<(String, Stream)> {
        Ok((input.name(), input.open(arguments.format.into(), pool.clone())?))
    });
    Ok(convert(sources, header, target(arguments), output, &mut |bytes| progress.at(bytes))?)
}
