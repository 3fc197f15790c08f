//! How a group is kept, as typed: an omitted option keeps its setting, or has its default.

use std::time::Duration;

use blockio::device::Engine;
use blockio::group::{Group, GroupView};
use blockio::journal::keep::Keep;
use blockio::journal::settings::GroupSettings;
use clap::{Args, ValueEnum};
use jiff::SignedDuration;
use system::{Error, ErrorKind, Result};

use crate::size_argument::size;

/// How long recovery points are kept, and when one is made by the clock.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct PolicyOptions {
    /// How long to keep recovery points [default of a new group: 24h]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    retention_window: Option<Duration>,

    /// How long to keep every point; after that, one for each hour [default of a new group: 2h]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    keep_all: Option<Duration>,

    /// The most space that the history may use [default of a new group: the whole volume]
    #[arg(long, value_name = "SIZE|none", value_parser = or_none(size))]
    retention_bytes: Option<OrNone<u64>>,

    /// Keep the last N points, however old they are [default of a new group: none]
    #[arg(long, value_name = "N|none", value_parser = or_none(count))]
    keep_last: Option<OrNone<u32>>,

    /// Keep the newest point of each of the last N hours that have points, however old it is
    /// [default of a new group: none]
    #[arg(long, value_name = "N|none", value_parser = or_none(count))]
    keep_hourly: Option<OrNone<u32>>,

    /// The same for the last N days, in UTC
    #[arg(long, value_name = "N|none", value_parser = or_none(count))]
    keep_daily: Option<OrNone<u32>>,

    /// The same for the last N weeks, which begin on Monday, in UTC
    #[arg(long, value_name = "N|none", value_parser = or_none(count))]
    keep_weekly: Option<OrNone<u32>>,

    /// Create a crash-consistent point at this interval; only for native streams whose batches are
    /// in the order of the writes
    #[arg(long, value_name = "DURATION|none", value_parser = or_none(interval))]
    point_every: Option<OrNone<Duration>>,
}

/// The smallest limit of a history, in bytes: a few of its segments.
const JOURNAL_BYTES_MIN: u64 = 64 << 20;

/// A value, or `none`, which removes one that was set.
#[derive(Clone, Copy, Debug)]
struct OrNone<T>(Option<T>);

fn none() -> String {
    "none".to_owned()
}

fn or_none<T>(
    parse: fn(&str) -> std::result::Result<T, String>,
) -> impl Fn(&str) -> std::result::Result<OrNone<T>, String> + Clone {
    move |text| {
        if text == "none" { Ok(OrNone(None)) } else { parse(text).map(|one| OrNone(Some(one))) }
    }
}

fn over<T>(typed: Option<OrNone<T>>, kept: Option<T>) -> Option<T> {
    typed.map_or(kept, |OrNone(typed)| typed)
}

/// How disks are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EngineName {
    /// io_uring, or blocking if io_uring is not available
    Auto,
    /// io_uring only
    Uring,
    /// one write at a time
    Blocking,
}

impl From<EngineName> for Engine {
    fn from(name: EngineName) -> Self {
        match name {
            EngineName::Auto => Self::Auto,
            EngineName::Uring => Self::Uring,
            EngineName::Blocking => Self::Blocking,
        }
    }
}

impl PolicyOptions {
    /// `settings` overridden by the options that were typed.
    ///
    /// # Errors
    ///
    /// `Usage`: they contradict each other.
    pub(crate) fn over(
        &self,
        settings: GroupSettings,
        engine: Option<EngineName>,
    ) -> Result<GroupSettings> {
        let GroupSettings { mut policy, point_every, engine: kept_engine, without_history } =
            settings;
        policy.window = self.retention_window.unwrap_or(policy.window);
        policy.journal_bytes_max = over(self.retention_bytes, policy.journal_bytes_max);
        policy.keep = Keep {
            last: over(self.keep_last, policy.keep.last),
            hourly: over(self.keep_hourly, policy.keep.hourly),
            daily: over(self.keep_daily, policy.keep.daily),
            weekly: over(self.keep_weekly, policy.keep.weekly),
        };
        // If not given, as much of it as fits into the window.
        policy.keep_all = self.keep_all.unwrap_or(policy.keep_all.min(policy.window));
        if policy.keep_all > policy.window {
            let context = "--keep-all is longer than the retention window";
            return Err(Error::new(ErrorKind::Usage, context)
                .with_hint("points older than the window are dropped in any case"));
        }
        // A smaller limit set by an earlier version is accepted until somebody types one.
        let typed = self.retention_bytes.and_then(|OrNone(typed)| typed);
        if typed.is_some_and(|limit| limit < JOURNAL_BYTES_MIN) {
            let context = "--retention-bytes is less than the 64 MiB that a history needs";
            return Err(Error::new(ErrorKind::Usage, context)
                .with_hint("use a larger size, or none for the whole volume"));
        }
        let point_every = over(self.point_every, point_every);
        let engine = engine.map_or(kept_engine, Engine::from);
        Ok(GroupSettings { policy, point_every, engine, without_history })
    }

    /// Applies the typed options to a group that has no settings yet; an existing group is not
    /// changed in passing.
    ///
    /// # Errors
    ///
    /// `Usage`: an option that was typed differs from the setting.
    pub(crate) fn settle(&self, group: &mut Group, engine: Option<EngineName>) -> Result<()> {
        self.settle_with(group, engine, false)
    }

    /// The same; `without_history` records in a new group that the operator wants no history.
    ///
    /// # Errors
    ///
    /// As [`settle`](Self::settle).
    pub(crate) fn settle_with(
        &self,
        group: &mut Group,
        engine: Option<EngineName>,
        without_history: bool,
    ) -> Result<()> {
        let asked = self.over(group.view().settings(), engine)?;
        if group.view().state().settings.is_some() {
            return require_no_change(group.view(), asked);
        }
        group.begin_with(GroupSettings { without_history, ..asked });
        Ok(())
    }
}

fn require_no_change(group: &GroupView, asked: GroupSettings) -> Result<()> {
    let changes = changes(&group.settings(), &asked);
    let Some(first) = changes.first() else { return Ok(()) };
    let context = format!(
        "{} of group {} is set to {}, and {} was asked for",
        first.option,
        group.name(),
        first.from,
        first.to
    );
    let set: Vec<_> = changes.iter().map(|one| format!("{} {}", one.option, one.to)).collect();
    Err(Error::new(ErrorKind::Usage, context).with_hint(format!(
        "omit it, or change the setting: mtctl group set --group {} {}",
        group.name(),
        set.join(" ")
    )))
}

/// A setting that changes.
pub(crate) struct Change {
    /// The option that sets it.
    pub(crate) option: String,
    /// The current value.
    pub(crate) from: String,
    /// The new value.
    pub(crate) to: String,
}

/// Each setting by its option, as it is typed.
pub(crate) fn typed(settings: &GroupSettings) -> [(&'static str, String); 9] {
    let policy = &settings.policy;
    let engine = match settings.engine {
        Engine::Auto => "auto",
        Engine::Uring => "uring",
        Engine::Blocking => "blocking",
    };
    [
        ("--retention-window", shown(policy.window)),
        ("--keep-all", shown(policy.keep_all)),
        (
            "--retention-bytes",
            policy.journal_bytes_max.map_or_else(none, |bytes| bytes.to_string()),
        ),
        ("--keep-last", policy.keep.last.map_or_else(none, |count| count.to_string())),
        ("--keep-hourly", policy.keep.hourly.map_or_else(none, |count| count.to_string())),
        ("--keep-daily", policy.keep.daily.map_or_else(none, |count| count.to_string())),
        ("--keep-weekly", policy.keep.weekly.map_or_else(none, |count| count.to_string())),
        ("--point-every", settings.point_every.map_or_else(none, shown)),
        ("--engine", engine.to_owned()),
    ]
}

/// The settings that differ in `to`.
pub(crate) fn changes(from: &GroupSettings, to: &GroupSettings) -> Vec<Change> {
    let pairs = typed(from).into_iter().zip(typed(to));
    let changed = pairs.filter(|(from, to)| from != to);
    let change = |((option, from), (_, to)): ((&str, _), _)| (option.to_owned(), from, to);
    let changed = changed.map(change).map(|(option, from, to)| Change { option, from, to });
    let history = (from.without_history != to.without_history).then(|| {
        let shown = |without| if without { none() } else { "not said".to_owned() };
        let (from, to) = (shown(from.without_history), shown(to.without_history));
        Change { option: "--retention".to_owned(), from, to }
    });
    changed.chain(history).collect()
}

/// In a form that can be typed.
fn shown(duration: Duration) -> String {
    SignedDuration::try_from(duration)
        .map_or_else(|_| format!("{duration:?}"), |one| format!("{one:#}"))
}

fn duration(text: &str) -> std::result::Result<Duration, String> {
    let parsed: SignedDuration = text
        .parse()
        .map_err(|_| "a number with a unit is expected, such as 90s, 15m, 24h or 7d".to_owned())?;
    Duration::try_from(parsed).map_err(|_| "it is negative".to_owned())
}

fn interval(text: &str) -> std::result::Result<Duration, String> {
    match duration(text) {
        Ok(Duration::ZERO) => Err("it must be longer than 0; none removes it".to_owned()),
        parsed => parsed,
    }
}

fn count(text: &str) -> std::result::Result<u32, String> {
    match text.parse() {
        Ok(0) => Err("it must be at least 1; none removes the rule".to_owned()),
        Ok(count) => Ok(count),
        Err(error) => Err(format!("{error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_keeps_at_least_one_point() {
        assert_eq!((count("1"), count("365")), (Ok(1), Ok(365)));
        assert!(count("0").is_err() && count("-1").is_err() && count("").is_err());
    }

    #[test]
    fn durations_are_as_people_write_them() {
        assert_eq!(duration("24h"), Ok(Duration::from_secs(86_400)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert!(duration("-5m").is_err() && duration("five").is_err());
        assert!(interval("0s").is_err() && interval("-5m").is_err());
        assert_eq!(interval("1ms"), Ok(Duration::from_millis(1)));
    }
}
