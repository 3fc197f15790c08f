//! `mtctl verify`: whether a disk matches a digest or another disk. `blockio::digest` compares.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;
use blockio::digest::{Document, differences, verify};
use clap::Args;

use super::digest::is_digest;
use super::digest::subject::{Looking, Subject, SubjectArguments};
use crate::exit::Exit;
use crate::target_argument::{self, TargetArgument};

mod show;

use show::Comparison;

const EXAMPLES: &str = "\
Examples:
  mtctl verify /dev/sdb --against sdb.digest        a file from mtctl digest --output
  mtctl verify /dev/sdb --against /dev/sdc          byte by byte; ranges are exact to the sector
  mtctl verify --group web --to 7 --against before.raw    a disk as it was at a recovery point
  mtctl verify disk.raw --against other.raw --json | jq '.ranges[]'

The exit code is 0 if every byte and the length are the same, else 5. Compared with a digest, ranges
consist of its leaves (1 MiB each, unless mtctl digest --leaf chose otherwise). Nothing is written;
a disk that is in use, or is written to meanwhile, is refused.";

/// The longest digest of a disk that is read; a longer one would have a thousand million parts.
const DOCUMENT_BYTES_MAX: u64 = 64 << 30;

/// What was typed after `mtctl verify`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    subject: SubjectArguments,

    /// A digest file, or another disk or image file: a path, or wwid:ID
    #[arg(long, value_name = "OTHER")]
    against: TargetArgument,

    /// Print JSON, with all ranges
    #[arg(long)]
    json: bool,
}

/// Compares the disk.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let comparison = match digest_file(&arguments.against)? {
        Some(path) => with_digest(arguments, &path)?,
        None => with_disk(arguments)?,
    };
    show::comparison(&comparison, arguments.json)
}

/// The path of a digest: a regular file that identifies itself as one.
fn digest_file(against: &TargetArgument) -> anyhow::Result<Option<PathBuf>> {
    match against {
        TargetArgument::Path(path) if path.is_file() && is_digest(path)? => Ok(Some(path.clone())),
        TargetArgument::Path(_) | TargetArgument::Wwid(_) => Ok(None),
    }
}

fn with_digest(arguments: &Arguments, path: &Path) -> anyhow::Result<Comparison> {
    let against = path.display().to_string();
    let document = read(path).with_context(|| against.clone())?;
    let subject = match arguments.subject.at_point()? {
        Some(subject) => subject,
        None => open(&target_argument::resolve(&arguments.subject.device)?)?,
    };
    let expected = &document.digest;
    let looking = Looking::begin(subject.length().min(expected.length().get()))?;
    let findings = looking.watch(|watch| verify(&subject.view, expected, watch))?;
    let sector_bytes = sector_bytes(&subject);
    let unit_bytes = expected.leaf_size().bytes();
    Ok(Comparison { subject: subject.end()?, against, sector_bytes, unit_bytes, findings })
}

/// The digest in the file at `path`.
///
/// # Errors
///
/// The file cannot be read, or is not a digest.
pub(crate) fn read(path: &Path) -> anyhow::Result<Document> {
    let mut text = Vec::new();
    File::open(path)?.take(DOCUMENT_BYTES_MAX).read_to_end(&mut text)?;
    Ok(Document::read(&text)?)
}

fn with_disk(arguments: &Arguments) -> anyhow::Result<Comparison> {
    let (subject, other) = match arguments.subject.at_point()? {
        Some(subject) => (subject, open(&target_argument::resolve([&arguments.against])?)?),
        None => {
            let device = arguments.subject.device.iter();
            let named = target_argument::resolve(device.chain([&arguments.against]))?;
            (open(&named)?, open(&named[1..])?)
        }
    };
    let looking = Looking::begin(subject.length().min(other.length()))?;
    let findings = looking.watch(|watch| differences(&subject.view, &other.view, watch))?;
    let sector_bytes = sector_bytes(&subject);
    let (subject, against) = (subject.end()?, other.end()?);
    Ok(Comparison { subject, against, sector_bytes, unit_bytes: sector_bytes, findings })
}

fn open(named: &[target_argument::NamedTarget]) -> anyhow::Result<Subject> {
    let named = named.first().context("invariant: what was looked up is there")?;
    Ok(Subject::of_target(named)?)
}

fn sector_bytes(subject: &Subject) -> u64 {
    subject.view.geometry().sector_size.bytes().get()
}
