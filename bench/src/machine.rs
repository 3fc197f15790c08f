//! The machine that was measured: without this, the other results mean nothing.

use std::fs;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::measure::quietly;

/// The machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Machine {
    pub(crate) cpus: usize,
    pub(crate) model: String,
    pub(crate) kernel: String,
    pub(crate) memory_mib: u64,
}

impl Machine {
    /// This machine.
    pub(crate) fn here() -> Result<Self> {
        let processors = read("/proc/cpuinfo")?;
        let cpus = std::thread::available_parallelism().context("counting processors")?.get();
        Ok(Self {
            cpus,
            model: value(&processors, "model name").unwrap_or("unknown").to_owned(),
            kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            memory_mib: memory_mib("MemTotal")?,
        })
    }
}

/// Memory that can be used without swapping, in MiB.
pub(crate) fn available_mib() -> Result<u64> {
    memory_mib("MemAvailable")
}

/// The current time, as ISO 8601 in UTC.
pub(crate) fn date() -> Result<String> {
    Ok(quietly("date", &["--utc", "+%Y-%m-%dT%H:%M:%SZ"])?.trim().to_owned())
}

fn memory_mib(key: &str) -> Result<u64> {
    let bytes = system::memory::bytes(&read("/proc/meminfo")?, key);
    Ok(bytes.with_context(|| format!("looking for {key} in /proc/meminfo"))? >> 20)
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("reading {path}"))
}

/// The value of the first line of the form `key : value`.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let mut pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.find(|(found, _)| found.trim() == key).map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_their_whole_key() {
        let text = "model\t\t: 85\nmodel name\t: Model: 7\n";
        assert_eq!(value(text, "model name"), Some("Model: 7"));
        assert_eq!(value(text, "name"), None);
    }
}
