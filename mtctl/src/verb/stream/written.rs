//! The stream that a verb writes: its destination, its compression, and the report about it.

use std::io::{BufWriter, IsTerminal, Write};
use std::path::PathBuf;

use blockio::convert::Conversion;
use blockio::stream::native;
use blockio::stream::native::compression::Method;
use clap::{Args, ValueEnum};
use serde::Serialize;
use system::size;

use crate::document;
use crate::{output, whole_file};

/// Where a stream goes, and how.
#[derive(Debug, Args)]
pub(super) struct WrittenOptions {
    /// The file to write; - is standard output
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,

    /// Replace an existing --output file: its name again
    #[arg(long, value_name = "FILE")]
    force: Option<PathBuf>,

    /// Compress each batch of a native stream
    #[arg(long, value_enum, default_value_t = Compression::None)]
    compression: Compression,

    /// Print JSON; on stderr if the stream goes to stdout
    #[arg(long)]
    json: bool,
}

/// How batches of a native stream are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Compression {
    /// as it is
    None,
    /// fast
    Lz4,
    /// small
    Zstd,
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

impl WrittenOptions {
    /// Checks that `verb`, which reads `inputs`, can write its stream to the output.
    ///
    /// # Errors
    ///
    /// `Usage`: a stream cannot go there. `Refused`: something exists there that --force does not
    /// name.
    pub(super) fn check(&self, inputs: &[PathBuf], verb: &str) -> system::Result<()> {
        if !self.is_stdout() {
            let hint = "to write to a disk, apply the stream: mtctl apply";
            whole_file::check(&self.output, hint)?;
            let force = self.force.as_deref();
            return whole_file::check_replaces_nothing(&self.output, force, inputs);
        }
        let why_not = match () {
            () if self.force.is_some() => "--force names a file, but the output is not a file",
            () if std::io::stdout().is_terminal() => {
                "standard output is a terminal: a stream is not text"
            }
            () if output::is_stdout_closed() => "standard output is closed",
            () => return Ok(()),
        };
        Err(system::Error::new(system::ErrorKind::Usage, why_not)
            .with_hint(format!("mtctl stream {verb} … --output - | COMMAND")))
    }

    /// Lets `write` write the stream. A file gets its name when it is complete.
    ///
    /// # Errors
    ///
    /// Errors of `write`, or the file cannot be made.
    pub(super) fn write(
        &self,
        write: impl FnOnce(&mut dyn Write) -> anyhow::Result<Conversion>,
    ) -> anyhow::Result<Conversion> {
        match self.is_stdout() {
            true => write(&mut output::stdout_for_bytes()),
            false => whole_file::write(&self.output, |file| write(&mut BufWriter::new(file))),
        }
    }

    /// Reports what was written, on stderr if the stream went to stdout; `lost` says why some marks
    /// are not in it.
    ///
    /// # Errors
    ///
    /// Errors of the kernel about the output.
    pub(super) fn tell(&self, done: &Conversion, lost: &str) -> anyhow::Result<()> {
        let Conversion { extents, data_bytes, zero_bytes, marks, marks_lost } = *done;
        let mut out: Box<dyn Write> = match self.is_stdout() {
            true => Box::new(std::io::stderr()),
            false => Box::new(output::stdout()),
        };
        if self.json {
            let json = Json { extents, data_bytes, zero_bytes, marks, marks_lost };
            return document::print(&mut out, &json);
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

    /// The options for writing a native stream.
    pub(super) fn of_native(&self) -> native::EncoderOptions {
        native::EncoderOptions { compression: self.method(), ..native::EncoderOptions::default() }
    }

    /// Whether batches are to be compressed.
    pub(super) fn is_compressed(&self) -> bool {
        self.method().is_some()
    }

    fn method(&self) -> Option<Method> {
        match self.compression {
            Compression::None => None,
            Compression::Lz4 => Some(Method::Lz4),
            Compression::Zstd => Some(Method::Zstd),
        }
    }

    fn is_stdout(&self) -> bool {
        self.output.as_os_str() == "-"
    }
}
