//! How people name a recovery point: `latest`, `latest-app`, `start`, its number, its name, or a
//! time (`moment`); and which names they may give. An ambiguous or expired selection is refused by
//! name: another point is never substituted.

use std::fmt;
use std::str::FromStr;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use crate::journal::catalogue::{Catalogue, Point, PointId, PointKind};
use crate::plain::{self, Plain};
use crate::remedy::{PointRemedy, Remedied};
use crate::{Error, ErrorKind, Result};

mod moment;

/// The longest name given by hand, in bytes.
pub const NAME_BYTES_MAX: usize = 200;

const SECOND_NS: u64 = 1_000_000_000;

/// A recovery point, as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// The newest point.
    Latest,
    /// The newest application-consistent point.
    LatestApp,
    /// The content before the first stream.
    Start,
    /// A number, a name, or a time.
    Text(String),
}

impl FromStr for Selector {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "" => Err("name a point by its number, its name or a time".to_owned()),
            "latest" => Ok(Self::Latest),
            "latest-app" => Ok(Self::LatestApp),
            "start" => Ok(Self::Start),
            other => match other.strip_prefix("id:") {
                Some(number) if of_id(number).is_none() => {
                    Err("id: must be followed by a point's number, as in id:7".to_owned())
                }
                Some(_) | None => Ok(Self::Text(other.to_owned())),
            },
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

/// Checks that a point may be given `name` by hand: it must not be mistaken for something else, and
/// must be readable. Names from streams are not checked.
///
/// # Errors
///
/// Why not, as text that follows the name.
pub fn check_name(name: &str) -> std::result::Result<(), String> {
    let why = match name {
        "latest" | "latest-app" | "start" => format!("{name} means another point"),
        _ if name.trim().is_empty() => "a name is not empty".to_owned(),
        _ if of_id(name).is_some() || name.bytes().all(|byte| byte.is_ascii_digit()) => {
            "a number means a point's number, and cannot be a name".to_owned()
        }
        _ if name.starts_with("id:") || name.starts_with("name:") => {
            "names cannot begin with id: or name:".to_owned()
        }
        _ if name.len() > NAME_BYTES_MAX => {
            format!("it has {} bytes, but a name has at most {NAME_BYTES_MAX}", name.len())
        }
        _ if !name.chars().all(|one| plain::is_plain(one) && !looks_empty(one)) => {
            "it has invisible characters, or characters that a terminal would obey".to_owned()
        }
        _ if name.trim() != name => "it begins or ends with a space".to_owned(),
        _ if name.starts_with('-') => "it would be taken for an option".to_owned(),
        _ if name.chars().all(char::is_numeric) => "it reads as a number".to_owned(),
        _ if moment::is_one(name) => {
            "it reads as a time, which means the newest point before it".to_owned()
        }
        _ => return Ok(()),
    };
    Err(why)
}

/// A character that is rendered as nothing.
fn looks_empty(character: char) -> bool {
    matches!(character, '\u{115f}' | '\u{1160}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}')
}

/// The point of `catalogue` that `selector` means; times are by this host's clock and zone.
///
/// # Errors
///
/// `Usage`: there is no such point, or it expired, or several are meant, or a time is not valid.
pub fn find<'a>(catalogue: &'a Catalogue, selector: &Selector) -> Result<&'a Point> {
    find_at(catalogue, selector, &Zoned::now())
}

/// The point of `catalogue` that `selector` means at `now`. Pure.
fn find_at<'a>(catalogue: &'a Catalogue, selector: &Selector, now: &Zoned) -> Result<&'a Point> {
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
            .ok_or_else(|| none("start any more: its history was given up")),
        Selector::Text(text) => find_text(catalogue, text, now),
    }
}

fn find_text<'a>(catalogue: &'a Catalogue, text: &str, now: &Zoned) -> Result<&'a Point> {
    let (id, name) = (of_id(text), of_name(text));
    let is_meant = |number: PointId, named: Option<&str>| {
        id == Some(number) || (name.is_some() && named == name)
    };
    let meant: Vec<_> =
        catalogue.ways_back().filter(|point| is_meant(point.id, point.name.as_deref())).collect();
    match meant.as_slice() {
        [one] if id.is_some_and(|number| number != one.id) => return Err(is_a_name(text, one)),
        [one] => return Ok(one),
        [] => {}
        several => {
            let shown: Vec<_> = several.iter().map(|point| shown(point)).collect();
            let context = format!("\"{}\" is ambiguous: {}", Plain(text), shown.join("; "));
            return Err(
                Error::new(ErrorKind::Usage, context).with_hint("name it by its number: id:NUMBER")
            );
        }
    }
    if let Some(what) = gone(catalogue, id, is_meant) {
        return Err(refuse(catalogue, format!("{what} has expired, or was given up")));
    }
    let shown = Plain(text);
    match moment::parse(text, now)? {
        Some(wanted) => at_time(catalogue, text, wanted),
        None if moment::looks_like_one(text) => {
            let context = format!("\"{shown}\" is neither a time nor the name of a recovery point");
            Err(Error::new(ErrorKind::Usage, context).with_hint(moment::FORMS))
        }
        None => Err(refuse(catalogue, format!("there is no recovery point \"{shown}\""))),
    }
}

/// An expired or forgotten point that is meant, as messages call it.
fn gone(
    catalogue: &Catalogue,
    id: Option<PointId>,
    is_meant: impl Fn(PointId, Option<&str>) -> bool,
) -> Option<String> {
    let mut gone = catalogue.expired.iter().rev();
    let Some(gone) = gone.find(|gone| is_meant(gone.id, gone.name.as_deref())) else {
        let id = id.filter(|id| id.0 < catalogue.next_point)?;
        return Some(format!("point {id}"));
    };
    let name = gone.name.as_ref();
    let name = name.map_or_else(String::new, |name| format!(" \"{}\"", Plain(name)));
    Some(format!("point {}{name} of {}", gone.id, time(gone.time)))
}

/// The error for a number that no point has any more, but that is the name of another point: names
/// come from streams.
fn is_a_name(text: &str, point: &Point) -> Error {
    let context = format!("no point has the number {text}; {} has that name", { shown(point) });
    Error::new(ErrorKind::Usage, context)
        .with_hint(format!("if you mean that one: name:{text}, or {}", typed(point)))
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

/// The newest point that is not after `wanted`. If `wanted` is a whole second, points within that
/// second count, because points are shown with their second.
fn at_time<'a>(catalogue: &'a Catalogue, text: &str, wanted: u64) -> Result<&'a Point> {
    let wanted_shown = match time(wanted) {
        same if same == text => same,
        other => format!("{} ({other})", Plain(text)),
    };
    let grain = if wanted % SECOND_NS == 0 { SECOND_NS } else { 1 };
    let last = wanted.saturating_add(grain - 1);
    let mut before: Vec<_> =
        catalogue.recovery_points().filter(|point| point.time <= last).collect();
    before.sort_by_key(|point| (point.time, point.id));
    let Some(newest) = before.last() else {
        let context = format!(
            "there is no recovery point at or before {wanted_shown}; if there was one, it has \
             expired"
        );
        return Err(refuse(catalogue, context));
    };
    // Of several points in the second that was typed, none is preferred.
    let is_typed = |point: &Point| point.time / grain == wanted / grain;
    let is_same =
        |point: &Point| point.time == newest.time || (is_typed(point) && is_typed(newest));
    let same: Vec<_> = before.iter().filter(|point| is_same(point)).collect();
    if same.len() > 1 {
        let shown: Vec<_> = same.iter().map(|point| shown(point)).collect();
        let context = format!("{wanted_shown} is ambiguous: {}", shown.join("; "));
        return Err(Error::new(ErrorKind::Usage, context).with_hint("name it by its number"));
    }
    Ok(newest)
}

fn refuse(catalogue: &Catalogue, context: String) -> Error {
    let mut kept = catalogue.recovery_points();
    let error = Error::new(ErrorKind::Usage, context);
    match (kept.next(), kept.next_back()) {
        (None, _) => error.with_hint("there are no recovery points"),
        (Some(only), None) => error.with_hint(format!("{} is the only one", shown(only))),
        (Some(first), Some(last)) => {
            error.remedied(PointRemedy::ListBetween { first: shown(first), last: shown(last) })
        }
    }
}

/// The name of a point in messages.
#[must_use]
pub fn shown(point: &Point) -> String {
    let name = point.name.as_ref();
    let name = name.map_or_else(String::new, |name| format!(" \"{}\"", Plain(name)));
    match point.kind {
        PointKind::Start => "start (before the first stream)".to_owned(),
        PointKind::Break => format!("where the history breaks off ({})", point.id),
        PointKind::Crash | PointKind::App => {
            format!("point {}{name} of {}", point.id, time(point.time))
        }
    }
}

/// The short name of the point with this number in messages: `start`, or `point 7`.
#[must_use]
pub fn called(catalogue: &Catalogue, id: PointId) -> String {
    match catalogue.point(id).map(|point| point.kind) {
        Some(PointKind::Start) => "start".to_owned(),
        Some(PointKind::Break | PointKind::Crash | PointKind::App) | None => format!("point {id}"),
    }
}

/// How to type a point unambiguously.
#[must_use]
pub fn typed(point: &Point) -> String {
    match point.kind {
        PointKind::Start => "start".to_owned(),
        PointKind::Break | PointKind::Crash | PointKind::App => format!("id:{}", point.id),
    }
}

/// Nanoseconds since 1970, for people, by the clock of `zone`: to the second, with the offset.
#[must_use]
pub fn time_in(nanoseconds: u64, zone: &TimeZone) -> String {
    let exact = Timestamp::from_nanosecond(nanoseconds.into());
    exact.map_or_else(
        |_| nanoseconds.to_string(),
        |exact| moment::with_offset(&exact.to_zoned(zone.clone())),
    )
}

/// Nanoseconds since 1970, for people: UTC, to the second.
#[must_use]
pub fn time(nanoseconds: u64) -> String {
    // After the year 9999, only the number is shown.
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
        assert_eq!((found("0"), found("id:0")), (Ok(0), Ok(0)), "the start has a number as well");
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
    fn an_expired_point_is_refused_by_name_and_no_other_taken() {
        let mut catalogue = catalogue();
        let _ = catalogue.forget(&[PointId(0), PointId(1), PointId(2)]);
        for (text, expected) in [
            ("2", "point 2 \"upgrade\" of 1970-01-01T00:03:20Z has expired, or was given up"),
            ("upgrade", "point 2 \"upgrade\" of 1970-01-01T00:03:20Z has expired, or was given up"),
            ("1970-01-01T00:03:20Z", "there is no recovery point at or before"),
            ("99", "there is no recovery point \"99\""),
            ("20261122", "there is no recovery point \"20261122\""),
            ("2026-13-45", "\"2026-13-45\" is neither a time nor the name of a recovery point"),
            ("up\u{1b}grade", "there is no recovery point \"up\\u{1b}grade\""),
            ("0", "point 0 has expired, or was given up"),
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
    fn a_time_as_it_is_shown_finds_the_point_that_it_is_shown_of() {
        let mut catalogue = Catalogue::new([7; 16], 0);
        for time in [100 * SECOND + 7, 200 * SECOND + 999_999_999, 201 * SECOND, 201 * SECOND + 1] {
            catalogue.seal(Vec::new(), NewPoint { time, kind: PointKind::Crash, name: None }, 0);
        }
        let found = |text: &str| {
            let point = find(&catalogue, &text.parse().unwrap());
            point.map(|point| point.id.0).map_err(|error| error.to_string())
        };
        assert_eq!(found("1970-01-01T00:01:40Z"), Ok(1));
        assert_eq!(found("1970-01-01T00:03:20Z"), Ok(2));
        assert_eq!(found("1970-01-01T00:03:20.9Z"), Ok(1), "who types a fraction means it");
        assert!(found("1970-01-01T00:03:21Z").unwrap_err().contains("ambiguous"));
        assert_eq!(found("1970-01-01T00:03:22Z"), Ok(4));
    }

    #[test]
    fn a_number_that_expired_is_not_a_point_that_is_called_so() {
        let mut catalogue = catalogue();
        let _ = catalogue.forget(&[PointId(1)]);
        let error = find(&catalogue, &"1".parse().unwrap()).unwrap_err();
        assert!(error.to_string().contains("no point has the number 1"), "{error}");
        assert!(error.hint().unwrap().contains("name:1"), "{error:?}");
        let named = find(&catalogue, &"name:1".parse().unwrap()).unwrap();
        assert_eq!(named.id, PointId(3));
    }

    #[test]
    fn a_time_that_is_none_says_how_times_are_typed() {
        let error = find(&catalogue(), &"yesterday noon".parse().unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.hint().unwrap().contains("yesterday 18:00"), "{error}");
        assert!("id:seven".parse::<Selector>().is_err());
    }

    #[test]
    fn a_name_given_by_hand_means_one_thing_and_can_be_read() {
        let long = "n".repeat(NAME_BYTES_MAX + 1);
        for name in [
            "",
            " ",
            "7",
            "007",
            "99999999999999999999999",
            "latest",
            "latest-app",
            "start",
            "id:7",
            "id:x",
            "name:x",
            "a\nb",
            "\u{1b}[2J",
            "a\u{202e}b",
            "\u{3164}",
            "upgrade ",
            "\u{a0}upgrade",
            "--help",
            "\u{ff17}",
            "yesterday",
            "18:00",
            "2h ago",
            "2026-11-30",
            "2026-11-30T18:44:33Z",
            &long,
        ] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
        let dated = "2026-11-30-before-upgrade";
        let good = ["upgrade", "7th", "started", "vor dem Größenwechsel", "long ago", dated];
        for name in good.into_iter().chain([&long[1..]]) {
            assert_eq!(check_name(name), Ok(()), "{name:?}");
        }
    }

    #[test]
    fn a_point_is_shown_by_a_local_clock_with_its_offset() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        assert_eq!(time_in(1_700_000_000 * SECOND, &zone), "2023-11-14T23:13:20+01:00");
        assert_eq!(time_in(1_690_000_000 * SECOND, &zone), "2023-07-22T06:26:40+02:00");
    }

    #[test]
    fn what_a_point_is_typed_as_finds_it() {
        for point in catalogue().all() {
            assert_eq!(found(&typed(point)), Ok(point.id.0));
        }
    }

    #[test]
    fn a_selector_is_shown_as_it_was_typed() {
        for text in ["latest", "latest-app", "start", "id:7", "upgrade"] {
            assert_eq!(text.parse::<Selector>().unwrap().to_string(), text);
        }
    }
}
