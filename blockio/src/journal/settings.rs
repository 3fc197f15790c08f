//! The settings of a group, as saved with it: set once, and not typed again. Pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::device::Engine;
use crate::journal::keep::Keep;
use crate::journal::retention::Policy;

/// The settings of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Saved", into = "Saved")]
pub struct GroupSettings {
    /// How long its points are kept.
    pub policy: Policy,
    /// How often a crash-consistent point is made, in streams that are in write order.
    pub point_every: Option<Duration>,
    /// The I/O engine for its disks.
    pub engine: Engine,
    /// No history is wanted: its absence is not a reason for an alarm.
    pub without_history: bool,
}

/// The saved form: plain numbers, readable by eye.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    window_ns: u64,
    keep_all_ns: u64,
    thin_to_ns: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    journal_bytes_max: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keep_last: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keep_hourly: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keep_daily: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keep_weekly: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    point_every_ns: Option<u64>,
    engine: SavedEngine,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    without_history: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SavedEngine {
    Auto,
    Uring,
    Blocking,
}

/// At most five centuries: longer times are as good as for ever.
fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl From<Saved> for GroupSettings {
    fn from(saved: Saved) -> Self {
        let policy = Policy {
            window: Duration::from_nanos(saved.window_ns),
            keep_all: Duration::from_nanos(saved.keep_all_ns),
            thin_to: Duration::from_nanos(saved.thin_to_ns),
            journal_bytes_max: saved.journal_bytes_max,
            keep: Keep {
                last: saved.keep_last,
                hourly: saved.keep_hourly,
                daily: saved.keep_daily,
                weekly: saved.keep_weekly,
            },
        };
        let engine = match saved.engine {
            SavedEngine::Auto => Engine::Auto,
            SavedEngine::Uring => Engine::Uring,
            SavedEngine::Blocking => Engine::Blocking,
        };
        let point_every = saved.point_every_ns.map(Duration::from_nanos);
        Self { policy, point_every, engine, without_history: saved.without_history }
    }
}

impl From<GroupSettings> for Saved {
    fn from(settings: GroupSettings) -> Self {
        let Policy { window, keep_all, thin_to, journal_bytes_max, keep } = settings.policy;
        let engine = match settings.engine {
            Engine::Auto => SavedEngine::Auto,
            Engine::Uring => SavedEngine::Uring,
            Engine::Blocking => SavedEngine::Blocking,
        };
        Self {
            window_ns: nanoseconds(window),
            keep_all_ns: nanoseconds(keep_all),
            thin_to_ns: nanoseconds(thin_to),
            journal_bytes_max,
            keep_last: keep.last,
            keep_hourly: keep.hourly,
            keep_daily: keep.daily,
            keep_weekly: keep.weekly,
            point_every_ns: settings.point_every.map(nanoseconds),
            engine,
            without_history: settings.without_history,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_what_is_read() {
        let keep = Keep { last: Some(3), hourly: None, daily: Some(7), weekly: Some(u32::MAX) };
        let policy = Policy { journal_bytes_max: Some(7), keep, ..Policy::default() };
        let point_every = Some(Duration::from_millis(500));
        let engine = Engine::Blocking;
        let settings = GroupSettings { policy, point_every, engine, without_history: true };
        let text = serde_json::to_string(&settings).unwrap();
        assert!(text.contains("\"engine\":\"blocking\""), "{text}");
        assert_eq!(serde_json::from_str::<GroupSettings>(&text).unwrap(), settings);
    }
}
