//! A moment, as people type it: with its offset, by the wall clock of this host, or counted back
//! from now. Pure: the current time and the zone are passed in.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Span, Timestamp, Zoned};

use crate::{Error, ErrorKind, Result};

/// How to type a moment, as a hint.
pub(super) const FORMS: &str = "write a time as 2026-11-22T03:00:00Z, 2026-11-22 03:00 (in this \
                                host's time zone), 2026-11-22 (the beginning of that day), 14:10, \
                                yesterday 18:00, or 2h ago";

/// Parses `text` as a moment, in nanoseconds since 1970; `None` if it is not one. A plain number is
/// not one: it would be taken for a date.
///
/// # Errors
///
/// `Usage`: in the zone of `now` the time came twice, or never; or it is a time of today that is
/// still to come.
pub(super) fn parse(text: &str, now: &Zoned) -> Result<Option<u64>> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    let zone = || now.time_zone().clone();
    let exact = text.parse::<Timestamp>().or_else(|_| text.parse::<Zoned>().map(|t| t.timestamp()));
    let time = if let Ok(exact) = exact {
        Some(exact)
    } else if text.ends_with("ago") {
        // A day is a calendar day: it need not have 24 hours.
        let back = text.parse::<Span>().ok();
        back.and_then(|back| now.checked_add(back).ok()).map(|time| time.timestamp())
    } else if let Some(civil) = of_these_days(text, now.date()) {
        let time = by_the_clock(text, civil, zone())?;
        if let Some(time) = time.filter(|time| *time > now.timestamp()) {
            return Err(still_to_come(text, time));
        }
        time
    } else if let (Ok(day), false) = (text.parse::<Date>(), text.contains(':')) {
        // Where clocks skip midnight, the day begins after it.
        day.to_zoned(zone()).ok().map(|time| time.timestamp())
    } else {
        let civil = text.parse::<DateTime>().ok();
        civil.map(|civil| by_the_clock(text, civil, zone())).transpose()?.flatten()
    };
    Ok(time.and_then(|time| u64::try_from(time.as_nanosecond()).ok()))
}

/// Whether `text` was probably meant as a moment.
pub(super) fn looks_like_one(text: &str) -> bool {
    let begins = text.starts_with(|first: char| first.is_ascii_digit());
    let is_relative = text.ends_with(" ago");
    let names_a_day = text.starts_with("yesterday ") || text.starts_with("today ");
    is_relative || names_a_day || (begins && text.contains([':', '-']))
}

/// Whether `text` is a moment, regardless of when it is read.
pub(super) fn is_one(text: &str) -> bool {
    let noon = DateTime::constant(2000, 1, 1, 12, 0, 0, 0).to_zoned(TimeZone::UTC);
    // An error refers to something that was understood.
    noon.is_ok_and(|noon| !matches!(parse(text, &noon), Ok(None)))
}

/// `14:10`, `today 14:10`, `yesterday 18:00`, `yesterday`.
fn of_these_days(text: &str, today: Date) -> Option<DateTime> {
    let (day, time) = match text.split_once(' ').unwrap_or((text, "")) {
        ("yesterday", time) => (today.yesterday().ok()?, time),
        ("today", time) => (today, time),
        (_, _) => (today, text),
    };
    if time.is_empty() {
        return Some(day.at(0, 0, 0, 0));
    }
    let is_clock = time.len() <= CLOCK_BYTES_MAX
        && time.contains(':')
        && time.bytes().all(|byte| byte.is_ascii_digit() || byte == b':');
    let padded = if time.find(':') == Some(1) { format!("0{time}") } else { time.to_owned() };
    padded.parse::<Time>().ok().filter(|_| is_clock).map(|time| day.to_datetime(time))
}

/// `23:59:59`.
const CLOCK_BYTES_MAX: usize = 8;

/// A time of the wall clock. At the end of summer time an hour comes twice, and at its beginning
/// one is skipped: only the person who typed it can say which moment was meant.
fn by_the_clock(text: &str, civil: DateTime, zone: TimeZone) -> Result<Option<Timestamp>> {
    let possible = zone.into_ambiguous_zoned(civil);
    if !possible.is_ambiguous() {
        return Ok(possible.compatible().ok().map(|time| time.timestamp()));
    }
    let offset = possible.offset();
    let named = |time: std::result::Result<Zoned, jiff::Error>| {
        time.map_or_else(|_| text.to_owned(), |time| with_offset(&time))
    };
    let (one, other) = (named(possible.clone().earlier()), named(possible.later()));
    let what = match offset {
        AmbiguousOffset::Fold { .. } => format!("occurred twice, as {one} and as {other}"),
        AmbiguousOffset::Gap { .. } | AmbiguousOffset::Unambiguous { .. } => {
            format!("did not exist: clocks went from {one} to {other}")
        }
    };
    let context = format!("{text} in this host's time zone {what}");
    Err(Error::new(ErrorKind::Usage, context).with_hint("give its offset, or the time in UTC"))
}

/// At night, a time of day may be meant for yesterday: that is not guessed.
fn still_to_come(text: &str, time: Timestamp) -> Error {
    let context = format!("{text} is in the future: it would be {time}");
    Error::new(ErrorKind::Usage, context)
        .with_hint("name the day: yesterday 18:00, or 2026-11-22 18:00")
}

/// In a form that can be typed again.
pub(super) fn with_offset(time: &Zoned) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn zone() -> TimeZone {
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
    }

    /// Parses `text` as typed at half past two in the afternoon of this day, in Central Europe.
    fn typed(text: &str) -> std::result::Result<Option<String>, String> {
        let now: DateTime = "2026-11-22T14:30:00".parse().unwrap();
        let found = parse(text, &now.to_zoned(zone()).unwrap()).map_err(|e| e.to_string())?;
        Ok(found.map(|at| Timestamp::from_nanosecond(at.into()).unwrap().to_string()))
    }

    #[test]
    fn a_moment_is_typed_in_many_ways() {
        for (text, expected) in [
            ("2026-11-22T03:00:00Z", "2026-11-22T03:00:00Z"),
            ("2026-11-22 03:00:00Z", "2026-11-22T03:00:00Z"),
            ("2026-11-22T03:00:00+01:00", "2026-11-22T02:00:00Z"),
            ("2026-11-22T03:00:00-05:30", "2026-11-22T08:30:00Z"),
            ("2026-11-22T03:00:00", "2026-11-22T02:00:00Z"),
            ("2026-11-22 03:00", "2026-11-22T02:00:00Z"),
            ("2026-07-22 03:00", "2026-07-22T01:00:00Z"),
            ("2026-11-22", "2026-11-21T23:00:00Z"),
            ("14:10", "2026-11-22T13:10:00Z"),
            ("9:05", "2026-11-22T08:05:00Z"),
            ("14:10:30", "2026-11-22T13:10:30Z"),
            ("today 14:10", "2026-11-22T13:10:00Z"),
            ("today", "2026-11-21T23:00:00Z"),
            ("yesterday", "2026-11-20T23:00:00Z"),
            ("yesterday 18:00", "2026-11-21T17:00:00Z"),
            ("2h ago", "2026-11-22T11:30:00Z"),
            ("90m ago", "2026-11-22T12:00:00Z"),
            ("2 hours ago", "2026-11-22T11:30:00Z"),
            ("1h 30m ago", "2026-11-22T12:00:00Z"),
            ("3d ago", "2026-11-19T13:30:00Z"),
        ] {
            assert_eq!(typed(text), Ok(Some(expected.to_owned())), "{text}");
        }
    }

    #[test]
    fn a_day_ago_is_the_same_time_of_the_day_before_though_clocks_were_set() {
        let now: DateTime = "2026-10-25T14:30:00".parse().unwrap();
        let now = now.to_zoned(zone()).unwrap();
        let day = parse("1d ago", &now).unwrap().unwrap();
        let hours = parse("25h ago", &now).unwrap().unwrap();
        assert_eq!(day, hours);
    }

    #[test]
    fn what_is_no_moment_is_none() {
        for text in [
            "20261122",
            "2026",
            "monday",
            "2026-13-45",
            "2026-11-31",
            "25:00",
            "14:1",
            "14:10:99",
            "yesterday 25:00",
            "yesterday noon",
            "two hours ago",
            "2x ago",
            "ago",
            " ago",
            "2h",
            "1d",
            "-14:10",
            "before-upgrade",
            "1900-01-01T00:00:00Z",
            "-2h ago",
            "2026-11-22T",
            "14:10 yesterday",
        ] {
            assert_eq!(typed(text), Ok(None), "{text}");
        }
    }

    #[test]
    fn a_time_of_today_that_is_still_to_come_is_refused_and_one_with_its_day_is_not() {
        for text in ["18:00", "today 18:00"] {
            assert!(typed(text).unwrap_err().contains("is in the future"), "{text}");
        }
        // A source's clock may be ahead.
        assert_eq!(typed("2026-11-22 18:00"), Ok(Some("2026-11-22T17:00:00Z".to_owned())));
    }

    #[test]
    fn a_local_time_that_came_twice_or_never_is_refused_with_both() {
        let twice = typed("2023-10-29T02:30:00").unwrap_err();
        let both = "as 2023-10-29T02:30:00+02:00 and as 2023-10-29T02:30:00+01:00";
        assert!(twice.contains(both), "{twice}");
        assert!(typed("2023-03-26T02:30:00").unwrap_err().contains("did not exist"));
        let now = Timestamp::from_second(2_000_000_000).unwrap().to_zoned(zone());
        let at = |text: &str| parse(text, &now).unwrap().unwrap();
        let winter = at("2023-10-29T02:30:00+01:00");
        assert_eq!(winter - at("2023-10-29T02:30:00+02:00"), 3600 * SECOND);
        assert_eq!(at("2023-10-29T03:30:00"), winter + 3600 * SECOND);
    }

    #[test]
    fn a_day_whose_midnight_is_left_out_begins_after_it() {
        let zone = TimeZone::posix("EET-2EEST,M3.5.0/0,M10.5.0/0").unwrap();
        let now = Timestamp::from_second(2_000_000_000).unwrap().to_zoned(zone);
        let at = |text: &str| parse(text, &now).unwrap();
        assert_eq!(at("2023-03-26"), at("2023-03-26T01:00:00"));
    }

    #[test]
    fn what_was_meant_as_a_moment_is_told_from_a_name() {
        for text in ["2026-13-45", "25:00", "yesterday noon", "2x ago"] {
            assert!(looks_like_one(text), "{text}");
        }
        for text in ["99", "upgrade", "before-1", "yesterday-evening"] {
            assert!(!looks_like_one(text), "{text}");
        }
    }
}
