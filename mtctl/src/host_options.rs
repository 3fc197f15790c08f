//! Options that select the host to look at, shared by the verbs that look at one.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use provisioning::host::{Host, RecordedHost};

use crate::whole_file;

/// Which host.
#[derive(Debug, Default, Args)]
pub(crate) struct HostOptions {
    /// Use the host recorded in FILE instead of this one
    #[arg(long, value_name = "FILE")]
    recorded: Option<PathBuf>,

    /// Also record what was read from this host in FILE, for support
    #[arg(long, value_name = "FILE", conflicts_with = "recorded")]
    record: Option<PathBuf>,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,

    /// Log on stderr what is run
    #[arg(long, short)]
    pub(crate) verbose: bool,
}

impl HostOptions {
    /// Opens the requested host.
    pub(crate) fn open(&self) -> anyhow::Result<Host> {
        crate::logging::start(self.verbose);
        if let Some(file) = &self.record {
            check_record(file)?;
        }
        match (&self.recorded, &self.record) {
            (Some(file), _) => Ok(Host::recorded(read_record(file)?)),
            (None, Some(_)) => Ok(Host::recording()),
            (None, None) => Ok(Host::running()),
        }
    }

    /// Whether the host is a recorded one.
    pub(crate) fn is_recorded(&self) -> bool {
        self.recorded.is_some()
    }

    /// Writes the record, if one was requested.
    pub(crate) fn finish(&self, host: &Host, about: &str) -> anyhow::Result<()> {
        let (Some(file), Some(mut record)) = (&self.record, host.record()) else { return Ok(()) };
        record.about = about.to_owned();
        whole_file::write(file, |out| {
            serde_json::to_writer_pretty(&mut *out, &record).map_err(std::io::Error::from)?;
            Ok(writeln!(out)?)
        })
    }
}

/// An existing record may be replaced; anything else was not meant, least of all a disk.
fn check_record(file: &Path) -> anyhow::Result<()> {
    whole_file::check(file, "name a new file")?;
    // Only a file that begins like a record is read to its end; an image is not.
    if !file.exists() || whole_file::head(file)?.is_empty() {
        return Ok(());
    }
    if whole_file::head(file)?.starts_with(b"{") && read_record(file).is_ok() {
        return Ok(());
    }
    let context = format!("writing {}: it exists and is not a record", file.display());
    Err(system::Error::refused(context).with_hint("name a new file, or remove the existing one"))?
}

fn read_record(file: &Path) -> anyhow::Result<RecordedHost> {
    let reading = || format!("reading the record {}", file.display());
    let bytes = std::fs::read(file).with_context(reading)?;
    let usage = |cause: serde_json::Error| {
        system::Error::new(system::ErrorKind::Usage, reading()).caused_by(cause)
    };
    Ok(serde_json::from_slice(&bytes).map_err(usage)?)
}
