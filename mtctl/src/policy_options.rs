//! How long recovery points are kept, as it is typed.

use std::time::Duration;

use blockio::apply::Settings;
use blockio::journal::retention::Policy;
use blockio::{Error, ErrorKind, Result};
use clap::Args;
use jiff::SignedDuration;

/// How long recovery points are kept, and when one is made by the clock.
#[derive(Clone, Debug, Args)]
pub(crate) struct PolicyOptions {
    /// How far back recovery points are kept
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = duration)]
    retention_window: Duration,

    /// Up to this age all of them are kept; of older ones, one an hour
    #[arg(long, value_name = "DURATION", default_value = "2h", value_parser = duration)]
    keep_all: Duration,

    /// The most that the history of the group may take [default: what the volume has]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    retention_bytes: Option<u64>,

    /// Make a crash-consistent point so often, in native streams whose batches come in the order of
    /// the writes
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    point_every: Option<Duration>,
}

impl PolicyOptions {
    /// As the library takes them.
    ///
    /// # Errors
    ///
    /// `Usage`: they contradict each other.
    pub(crate) fn settings(&self) -> Result<Settings> {
        if self.keep_all > self.retention_window {
            let context = "--keep-all is longer than --retention-window";
            return Err(Error::new(ErrorKind::Usage, context)
                .with_hint("points older than the window go in any case"));
        }
        let policy = Policy {
            window: self.retention_window,
            keep_all: self.keep_all,
            journal_bytes_max: self.retention_bytes,
            ..Policy::default()
        };
        Ok(Settings { policy, ..Settings::default() })
    }

    /// How often a point is made by the clock.
    pub(crate) fn point_every(&self) -> Option<Duration> {
        self.point_every
    }
}

fn duration(text: &str) -> std::result::Result<Duration, String> {
    let parsed: SignedDuration = text.parse().map_err(|error| format!("{error}"))?;
    Duration::try_from(parsed).map_err(|_| "it is negative".to_owned())
}

fn size(text: &str) -> std::result::Result<u64, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|error| format!("{error}"))?;
    let shift = match &text[digits.len()..] {
        "" => 0,
        "K" | "KiB" => 10,
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        "T" | "TiB" => 40,
        other => return Err(format!("\"{other}\" is no unit: K, M, G, or T")),
    };
    number.checked_mul(1 << shift).ok_or_else(|| "it is too large".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_units() {
        assert_eq!(size("4096"), Ok(4096));
        assert_eq!(size("10G"), Ok(10 << 30));
        assert_eq!(size("1MiB"), Ok(1 << 20));
        for wrong in ["", "G", "1X", "-1", "99999999T"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations_are_as_people_write_them() {
        assert_eq!(duration("24h"), Ok(Duration::from_secs(86_400)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert!(duration("-5m").is_err() && duration("five").is_err());
    }
}
