//! `mtctl digest`: the BLAKE3 hash of a disk, and those of its parts as a document.
//! `blockio::digest` does the hashing.

use std::io::Write;
use std::path::{Path, PathBuf};

use blockio::digest::{Document, LeafSize, digest, is_document};
use clap::Args;

use crate::exit::Exit;
use crate::output;
use crate::size_argument::size;
use crate::target_argument;
use crate::whole_file;

pub(crate) mod subject;

use subject::{Looking, Subject, SubjectArguments};

const EXAMPLES: &str = "\
Examples:
  mtctl digest /dev/sdb                            prints what b3sum /dev/sdb prints
  mtctl digest /dev/sdb --output sdb.digest        for mtctl verify, which shows what differs
  mtctl digest --group web --to latest --volume db  a disk as it was at a recovery point
  mtctl digest disk.img --leaf 64K --json | jq -r .root

The disk is opened exclusively and only read. A disk that is in use, or is written to meanwhile, is
refused: its hash would not belong to any one state.";

/// What was typed after `mtctl digest`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    subject: SubjectArguments,

    /// How much data each hash in the document covers: a power of two from 64K to 64M
    #[arg(long, value_name = "SIZE", default_value = "1M", value_parser = leaf_size)]
    leaf: LeafSize,

    /// Write the document with all hashes to FILE; an existing digest is replaced
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Print the document
    #[arg(long)]
    json: bool,
}

fn leaf_size(text: &str) -> Result<LeafSize, String> {
    LeafSize::new(size(text)?).map_err(|error| error.to_string())
}

/// Hashes the disk.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    if let Some(path) = &arguments.output {
        check_output(path)?;
    }
    let subject = match arguments.subject.at_point()? {
        Some(subject) => subject,
        None => {
            let named = target_argument::resolve(&arguments.subject.device)?;
            let [named] = named.as_slice() else { return Ok(Exit::Failed) };
            Subject::of_target(named)?
        }
    };
    let looking = Looking::begin(subject.length())?;
    let length = subject.view.geometry().capacity;
    let digest = looking.watch(|watch| digest(&subject.view, length, arguments.leaf, watch))?;
    let of = subject.end()?;
    let document = Document { of, digest };
    if let Some(path) = &arguments.output {
        whole_file::write(path, |file| Ok(document.write(file)?))?;
    }
    let mut out = output::stdout();
    match arguments.json {
        true => document.write(&mut out)?,
        false => writeln!(out, "{}  {}", document.digest.root(), output::plain(&document.of))?,
    }
    out.flush()?;
    Ok(Exit::Done)
}

/// An existing digest may be replaced; anything else was not meant, least of all the image that is
/// hashed.
fn check_output(path: &Path) -> anyhow::Result<()> {
    whole_file::check(path, "name a new file")?;
    if !path.exists() || whole_file::head(path)?.is_empty() || is_digest(path)? {
        return Ok(());
    }
    let context = format!("writing {}: it exists and is not a digest", path.display());
    Err(system::Error::refused(context).with_hint("name a new file, or remove the existing one"))?
}

/// Whether the file at `path` is meant to be a digest.
pub(crate) fn is_digest(path: &Path) -> anyhow::Result<bool> {
    Ok(is_document(&whole_file::head(path)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leaf_size_has_a_unit_or_none() {
        for (text, bytes) in [("64K", 1 << 16), ("1MiB", 1 << 20), ("64m", 1 << 26)] {
            assert_eq!(leaf_size(text).unwrap().bytes(), bytes, "{text}");
        }
        assert_eq!(leaf_size("131072").unwrap().bytes(), 131_072);
        for text in ["", "M", "1G", "3M", "1.5M", "-1M", "32K", "99999999999999999999M", "é"] {
            assert!(leaf_size(text).is_err(), "{text}");
        }
    }
}
