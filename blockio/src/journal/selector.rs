//! How people name a recovery point: `latest`, `latest-app`, `start`, its number, its name, or a
//! time. Pure. What is ambiguous or expired is refused by name: never another point instead.

use std::fmt;
use std::str::FromStr;

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp, Zoned};

use crate::journal::catalogue::{Catalogue, Point, PointId, PointKind};
use crate::plain::Plain;
use crate::{Error, ErrorKind, Result};

/// A recovery point, as it was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// The newest.
    Latest,
    /// The newest that is application-consistent.
    LatestApp,
    /// What was there before the first stream.
    Start,
    /// A number, a name, or a time.
    Text(String),
}

impl FromStr for Selector {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "" => Err("a point has a number, a name, or a time".to_owned()),
            "latest" => Ok(Self::Latest),
            "latest-app" => Ok(Self::LatestApp),
            "start" => Ok(Self::Start),
            other => Ok(Self::Text(other.to_owned())),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => write!(f, "latest"),
            Self::LatestApp => write!(f, "latest-app"),
            Self::Start => write!(f, "start"),
            Self::Text(text) => write!(f, "{text}"),
        }
    }
}

/// The point of `catalogue` that is meant.
///
/// # Errors
///
/// `Usage`: there is none, or it expired, or several are meant.
pub fn find<'a>(catalogue: &'a Catalogue, selector: &Selector) -> Result<&'a Point> {
    let mut points = catalogue.recovery_points();
    let none = |what: &str| refuse(catalogue, format!("there is no {what}"));
    match selector {
        Selector::Latest => points.next_back().ok_or_else(|| none("recovery point")),
        Selector::LatestApp => points
            .rfind(|point| point.kind == PointKind::App)
            .ok_or_else(|| none("application-consistent recovery point")),
        Selector::Start => catalogue
            .all()
            .next()
            .filter(|point| point.kind == PointKind::Start)
            .ok_or_else(|| none("start any more: what it was kept in was given up")),
        Selector::Text(text) => find_text(catalogue, text),
    }
}

fn find_text<'a>(catalogue: &'a Catalogue, text: &str) -> Result<&'a Point> {
    let (id, name) = (of_id(text), of_name(text));
    let is_meant = |number: PointId, named: Option<&str>| {
        id == Some(number) || (name.is_some() && named == name)
    };
    let meant: Vec<_> = catalogue
        .recovery_points()
        .filter(|point| is_meant(point.id, point.name.as_deref()))
        .collect();
    match meant.as_slice() {
        [one] => return Ok(one),
        [] => {}
        several => {
            let shown: Vec<_> = several.iter().map(|point| shown(point)).collect();
            let context = format!("\"{text}\" is ambiguous: {}", shown.join("; "));
            return Err(
                Error::new(ErrorKind::Usage, context).with_hint("name it by its number: id:NUMBER")
            );
        }
    }
    let gone = catalogue.expired.iter().rev();
    if let Some(gone) = gone.clone().find(|gone| is_meant(gone.id, gone.name.as_deref())) {
        let name = gone.name.as_ref();
        let name = name.map_or_else(String::new, |name| format!(" \"{}\"", Plain(name)));
        let context =
            format!("point {}{name} of {} has expired, or was given up", gone.id, time(gone.time));
        return Err(refuse(catalogue, context));
    }
    let was_given_away = |id: &PointId| (1..catalogue.next_point).contains(&id.0);
    if let Some(id) = id.filter(was_given_away) {
        return Err(refuse(catalogue, format!("point {id} has expired, or was given up")));
    }
    match parse_time(text, TimeZone::system())? {
        Some(wanted) => at_time(catalogue, text, wanted),
        None => Err(refuse(catalogue, format!("there is no recovery point \"{text}\""))),
    }
}

fn of_id(text: &str) -> Option<PointId> {
    let digits = text.strip_prefix("id:").unwrap_or(text);
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number).map(PointId)
}

fn of_name(text: &str) -> Option<&str> {
    match text.strip_prefix("id:") {
        Some(_) => None,
        None => Some(text.strip_prefix("name:").unwrap_or(text)),
    }
}

/// The newest point that is not after `wanted`.
fn at_time<'a>(catalogue: &'a Catalogue, text: &str, wanted: u64) -> Result<&'a Point> {
    let mut before: Vec<_> =
        catalogue.recovery_points().filter(|point| point.time <= wanted).collect();
    before.sort_by_key(|point| (point.time, point.id));
    let Some(newest) = before.last() else {
        let context = format!(
            "there is no recovery point at or before {text}: it expired, if ever \
                               there was one"
        );
        return Err(refuse(catalogue, context));
    };
    let same: Vec<_> = before.iter().filter(|point| point.time == newest.time).collect();
    if same.len() > 1 {
        let shown: Vec<_> = same.iter().map(|point| shown(point)).collect();
        let context = format!("{text} is ambiguous: {}", shown.join("; "));
        return Err(Error::new(ErrorKind::Usage, context).with_hint("name it by its number"));
    }
    Ok(newest)
}

/// A time as people write it, in nanoseconds since 1970: with an offset, or in this host's zone.
///
/// # Errors
///
/// `Usage`: in that zone the time came twice, or never.
fn parse_time(text: &str, zone: TimeZone) -> Result<Option<u64>> {
    let exact = text.parse::<Timestamp>().ok();
    let time = match (exact, text.parse::<DateTime>()) {
        (Some(exact), _) => Some(exact),
        (None, Ok(civil)) => in_zone(text, civil, zone)?,
        (None, Err(_)) => None,
    };
    Ok(time.and_then(|time| u64::try_from(time.as_nanosecond()).ok()))
}

/// A time of the wall clock. At the end of summer time an hour comes twice, at its beginning one
/// is left out: which moment was meant, only who typed it can say.
fn in_zone(text: &str, civil: DateTime, zone: TimeZone) -> Result<Option<Timestamp>> {
    let possible = zone.into_ambiguous_zoned(civil);
    if !possible.is_ambiguous() {
        return Ok(possible.compatible().ok().map(|time| time.timestamp()));
    }
    let offset = possible.offset();
    let named = |time: std::result::Result<Zoned, jiff::Error>| {
        time.map_or_else(
            |_| text.to_owned(),
            |time| time.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
        )
    };
    let (one, other) = (named(possible.clone().earlier()), named(possible.later()));
    let what = match offset {
        AmbiguousOffset::Fold { .. } => format!("came twice, as {one} and as {other}"),
        AmbiguousOffset::Gap { .. } | AmbiguousOffset::Unambiguous { .. } => {
            format!("never was: clocks went from {one} on to {other}")
        }
    };
    let context = format!("{text} of this host's zone {what}");
    Err(Error::new(ErrorKind::Usage, context).with_hint("name it with its offset, or in UTC"))
}

fn refuse(catalogue: &Catalogue, context: String) -> Error {
    let mut kept = catalogue.recovery_points();
    let hint = match (kept.next(), kept.next_back()) {
        (None, _) => "no recovery point is kept".to_owned(),
        (Some(only), None) => format!("{} is the only one that is kept", shown(only)),
        (Some(first), Some(last)) => format!(
            "kept are {} to {}; `mtctl points list` shows them all",
            shown(first),
            shown(last)
        ),
    };
    Error::new(ErrorKind::Usage, context).with_hint(hint)
}

/// A point, as messages call it.
#[must_use]
pub fn shown(point: &Point) -> String {
    let name = point.name.as_ref();
    let name = name.map_or_else(String::new, |name| format!(" \"{}\"", Plain(name)));
    match point.kind {
        PointKind::Start => "the start of the history".to_owned(),
        PointKind::Break => format!("where the history breaks off ({})", point.id),
        PointKind::Crash | PointKind::App => {
            format!("point {}{name} of {}", point.id, time(point.time))
        }
    }
}

/// Nanoseconds since 1970, for people: UTC, to the second.
#[must_use]
pub fn time(nanoseconds: u64) -> String {
    // Beyond the year 9999 there is only the number.
    let seconds = i64::try_from(nanoseconds / 1_000_000_000).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).map_or_else(|_| nanoseconds.to_string(), |t| t.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::catalogue::NewPoint;

    const SECOND: u64 = 1_000_000_000;

    fn catalogue() -> Catalogue {
        let mut catalogue = Catalogue::new([0; 16], 0);
        let points = [
            (100, PointKind::Crash, None),
            (200, PointKind::App, Some("upgrade")),
            (300, PointKind::Crash, Some("1")),
            (400, PointKind::Crash, Some("twice")),
            (400, PointKind::Crash, Some("twice")),
        ];
        for (time, kind, name) in points {
            let name = name.map(str::to_owned);
            catalogue.seal(Vec::new(), NewPoint { time: time * SECOND, kind, name }, 0);
        }
        catalogue
    }

    fn found(text: &str) -> std::result::Result<u64, String> {
        let selector = text.parse().unwrap();
        find(&catalogue(), &selector).map(|point| point.id.0).map_err(|error| error.to_string())
    }

    #[test]
    fn points_are_found_by_what_they_are() {
        assert_eq!(found("latest"), Ok(5));
        assert_eq!(found("latest-app"), Ok(2));
        assert_eq!(found("start"), Ok(0));
        assert_eq!(found("2"), Ok(2));
        assert_eq!(found("upgrade"), Ok(2));
        assert_eq!(found("1970-01-01T00:03:20Z"), Ok(2));
        assert_eq!(found("1970-01-01T00:04:59Z"), Ok(2));
        assert_eq!(found("name:1"), Ok(3));
        assert_eq!(found("id:1"), Ok(1));
    }

    #[test]
    fn what_is_ambiguous_is_refused_with_all_that_it_could_be() {
        let refused = found("1").unwrap_err();
        assert!(refused.contains("ambiguous: point 1 ") && refused.contains("point 3 \"1\""));
        assert!(found("twice").unwrap_err().contains("ambiguous"));
        assert!(found("1970-01-01T00:10:00Z").unwrap_err().contains("ambiguous"));
    }

    #[test]
    fn a_local_time_that_came_twice_or_never_is_refused_with_both() {
        let zone = || TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let parse = |text: &str| parse_time(text, zone()).map_err(|error| error.to_string());
        let twice = parse("2023-10-29T02:30:00").unwrap_err();
        let both = "as 2023-10-29T02:30:00+02:00 and as 2023-10-29T02:30:00+01:00";
        assert!(twice.contains(both), "{twice}");
        assert!(parse("2023-03-26T02:30:00").unwrap_err().contains("never was"));
        let summer = parse("2023-10-29T02:30:00+02:00").unwrap().unwrap();
        let winter = parse("2023-10-29T02:30:00+01:00").unwrap().unwrap();
        assert_eq!(winter - summer, 3600 * SECOND);
        assert_eq!(parse("2023-10-29T03:30:00").unwrap().unwrap(), winter + 3600 * SECOND);
        assert_eq!(parse("no time"), Ok(None));
    }

    #[test]
    fn an_expired_point_is_refused_by_name_and_no_other_taken() {
        let mut catalogue = catalogue();
        let _ = catalogue.forget(&[PointId(0), PointId(1), PointId(2)]);
        for (text, expected) in [
            ("2", "point 2 \"upgrade\" of 1970-01-01T00:03:20Z has expired, or was given up"),
            ("upgrade", "point 2 \"upgrade\" of 1970-01-01T00:03:20Z has expired, or was given up"),
            ("1970-01-01T00:03:20Z", "there is no recovery point at or before"),
            ("99", "there is no recovery point \"99\""),
            ("start", "there is no start any more"),
        ] {
            let error = find(&catalogue, &text.parse().unwrap()).unwrap_err();
            assert!(error.to_string().contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_time_means_the_newest_point_before_it_however_many_are_older() {
        assert_eq!(found("1970-01-01T00:05:00Z"), Ok(3));
        assert_eq!(found("1970-01-01T00:06:39Z"), Ok(3));
        assert_eq!(found("1970-01-01T00:01:40Z"), Ok(1));
        assert!(found("1970-01-01T00:01:39Z").unwrap_err().contains("at or before"));
    }

    #[test]
    fn a_selector_is_shown_as_it_was_typed() {
        for text in ["latest", "latest-app", "start", "id:7", "upgrade"] {
            assert_eq!(text.parse::<Selector>().unwrap().to_string(), text);
        }
    }
}
