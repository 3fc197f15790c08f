//! `mtctl stream merge`: merges streams of several volumes into one with one common mark.
//! `blockio::merge` does the work.

use std::io::Write;
use std::path::{Path, PathBuf};

use blockio::apply::StreamArgument;
use blockio::convert::Conversion;
use blockio::merge::{CommonMark, Merged, merge};
use blockio::stream::open::{Stream, arenas_for_reading};
use blockio::stream::{MarkKind, Name, StreamHeader};
use clap::{Args, ValueEnum};

use super::written::WrittenOptions;
use crate::byte_progress::ByteProgress;
use crate::exit::Exit;
use crate::stream_options::{self, FormatName};

const EXAMPLES: &str = "\
Examples:
  mtctl stream merge db=db.s1-s2.rbd log=log.s1-s2.rbd --output s2.mts
  mtctl stream merge db=db.img log=log.img --format raw --mark monday --output monday.mts
  mtctl apply s2.mts --group shop

The stream has all changes of the inputs, then one mark, which becomes a recovery point of all
volumes. The mark is named after the snapshot at which all inputs end, or by --mark. FILE gets its
name only when it is complete; an existing file is not replaced, unless --force names it again.";

/// What was typed after `mtctl stream merge`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Streams, each with the name of its volume unless the stream has it; those of one volume in
    /// order; a directory stands for the svd streams in it
    #[arg(value_name = "[VOLUME=]FILE", required = true, value_parser = input)]
    inputs: Vec<(Option<Name>, PathBuf)>,

    /// Format of the inputs; a raw image is not detected
    #[arg(long, value_enum, default_value_t = FormatName::Auto)]
    format: FormatName,

    /// Name of the mark [default: the snapshot at which all inputs end]
    #[arg(long, value_name = "NAME", value_parser = stream_options::volume_name)]
    mark: Option<Name>,

    /// Kind of the mark [default: app if all inputs end that way, else crash]
    #[arg(long, value_enum)]
    kind: Option<Kind>,

    #[command(flatten)]
    written: WrittenOptions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// application-consistent
    App,
    /// crash-consistent
    Crash,
}

impl From<Kind> for MarkKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::App => Self::ApplicationConsistent,
            Kind::Crash => Self::CrashConsistent,
        }
    }
}

/// Split at the first `=`, unless the whole text is the name of an existing file.
fn input(text: &str) -> Result<(Option<Name>, PathBuf), String> {
    match text.split_once('=') {
        Some((volume, file)) if !Path::new(text).exists() => {
            Ok((Some(stream_options::volume_name(volume)?), file.into()))
        }
        Some(_) | None => Ok((None, text.into())),
    }
}

/// Merges the streams.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let files: Vec<_> = arguments.inputs.iter().map(|(_, file)| file.clone()).collect();
    arguments.written.check(&files, "merge")?;
    let inputs = inputs(arguments)?;
    let merged = Merged::of(&headers(arguments, &inputs)?)?;
    let name = match &arguments.mark {
        Some(name) => Some(name.clone()),
        // A disagreement about it is reported before all of the inputs are read.
        None => merged.common_end()?,
    };
    let mark = CommonMark { name, kind: arguments.kind.map(MarkKind::from) };
    let write = |out: &mut dyn Write| write(arguments, inputs, &merged, &mark, out);
    let done = arguments.written.write(write)?;
    arguments.written.tell(&done, "not all volumes have them")?;
    Ok(Exit::Done)
}

fn inputs(arguments: &Arguments) -> anyhow::Result<Vec<StreamArgument>> {
    let mut inputs = Vec::new();
    for (volume, path) in &arguments.inputs {
        let found = stream_options::inputs(std::slice::from_ref(path), arguments.format)?;
        inputs.extend(stream_options::of_volume(found, volume.as_ref()));
    }
    Ok(inputs)
}

fn headers(
    arguments: &Arguments,
    inputs: &[StreamArgument],
) -> anyhow::Result<Vec<(String, Vec<StreamHeader>)>> {
    let pool = arenas_for_reading()?;
    let mut headers = Vec::new();
    for input in inputs {
        headers.push((input.name(), input.headers(arguments.format.into(), pool.clone())?));
    }
    Ok(headers)
}

fn write(
    arguments: &Arguments,
    inputs: Vec<StreamArgument>,
    merged: &Merged,
    mark: &CommonMark,
    output: &mut dyn Write,
) -> anyhow::Result<Conversion> {
    let length: Option<u64> = inputs.iter().map(StreamArgument::length_bytes).sum();
    let progress = ByteProgress::new(length);
    let pool = arenas_for_reading()?;
    let sources = inputs.into_iter().map(|input| -> system::Result<(String, Stream)> {
        Ok((input.name(), input.open(arguments.format.into(), pool.clone())?))
    });
    let options = arguments.written.of_native();
    Ok(merge(sources, merged, mark, options, output, &mut |bytes| progress.at(bytes))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_stands_before_the_first_equals_sign_unless_that_is_a_file() {
        let parsed = |text: &str| {
            let (volume, file) = input(text).unwrap();
            (volume.map(|name| name.to_string()), file.display().to_string())
        };
        assert_eq!(parsed("db=/a/b=c.mts"), (Some("db".to_owned()), "/a/b=c.mts".to_owned()));
        assert_eq!(parsed("a.mts"), (None, "a.mts".to_owned()));
        assert!(input("=a.mts").is_err());
        let here = tempfile::tempdir().unwrap();
        let odd = here.path().join("a=b.mts").display().to_string();
        std::fs::write(&odd, "").unwrap();
        assert_eq!(parsed(&odd), (None, odd.clone()));
    }
}
