//! Reads the targets from the text of a group's state: the whole state, followed by the changes
//! since, one piece for each save. A piece is two lines: JSON, and a CRC32C that continues that of
//! the piece before. Additions of later versions are ignored; the targets must be present.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// The versions whose targets can be read.
const VERSIONS: std::ops::RangeInclusive<u64> = 1..=3;

/// Why the targets are not known. Completes "PATH: ".
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum StateError {
    #[error("its checksum is missing: it is incomplete")]
    NoChecksum,
    #[error("its checksum is wrong: it was damaged or edited")]
    Checksum,
    #[error("it is not the JSON of a group's state")]
    Json,
    #[error("its version is {0}, but this program knows only 1 to 3")]
    Version(u64),
    #[error("it does not say what the target of volume {0:?} is")]
    NoTarget(String),
}

/// Read first, because the format of the rest depends on it.
#[derive(Deserialize)]
struct Versioned {
    version: u64,
}

/// A whole state. It may have very many points: fields that are not named here are not kept in
/// memory.
#[derive(Deserialize)]
struct Whole {
    volumes: BTreeMap<String, Volume>,
}

/// The changes of one save.
#[derive(Deserialize)]
struct Change {
    #[serde(default)]
    volumes: BTreeMap<String, Changed>,
}

#[derive(Deserialize)]
struct Changed {
    is: Option<Volume>,
}

#[derive(Deserialize)]
struct Volume {
    /// `None` if the field is missing, as opposed to null.
    #[serde(default, deserialize_with = "said")]
    target: Option<Value>,
}

fn said<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// The targets of all volumes that have one.
pub(super) fn targets(text: &str) -> Result<Vec<String>, StateError> {
    let (json, mut checksum, mut rest) = piece(text, 0)?;
    let Versioned { version } = parse(json)?;
    if !VERSIONS.contains(&version) {
        return Err(StateError::Version(version));
    }
    let Whole { volumes } = parse(json)?;
    let mut targets = BTreeMap::new();
    for (name, volume) in volumes {
        let target = target(&name, volume)?;
        targets.insert(name, target);
    }
    while !rest.is_empty() {
        // A piece torn by a crash is in one copy at most: the caller then reads the other one.
        let (json, next, after) = piece(rest, checksum)?;
        let Change { volumes } = parse(json)?;
        for (name, changed) in volumes {
            let is = changed.is.ok_or_else(|| StateError::NoTarget(name.clone()))?;
            let target = target(&name, is)?;
            targets.insert(name, target);
        }
        (checksum, rest) = (next, after);
    }
    Ok(targets.into_values().flatten().collect())
}

fn parse<'de, T: Deserialize<'de>>(json: &'de str) -> Result<T, StateError> {
    serde_json::from_str(json).map_err(|_| StateError::Json)
}

/// The target of the volume `name`; `None` before the first stream.
fn target(name: &str, volume: Volume) -> Result<Option<String>, StateError> {
    match volume.target {
        Some(Value::String(target)) if is_a_target(&target) => Ok(Some(target)),
        Some(Value::Null) => Ok(None),
        _ => Err(StateError::NoTarget(name.to_owned())),
    }
}

/// The JSON of the first piece of `text`, its checksum, and the rest of the text.
fn piece(text: &str, after: u32) -> Result<(&str, u32, &str), StateError> {
    let (json, rest) = text.split_once('\n').ok_or(StateError::NoChecksum)?;
    let (last, rest) = rest.split_once('\n').ok_or(StateError::NoChecksum)?;
    let checksum = last
        .strip_prefix("crc32c ")
        .and_then(|digits| u32::from_str_radix(digits, 16).ok())
        .ok_or(StateError::NoChecksum)?;
    match crc32c::crc32c_append(after, json.as_bytes()) == checksum {
        true => Ok((json, checksum, rest)),
        false => Err(StateError::Checksum),
    }
}

/// A path, or a WWID.
fn is_a_target(text: &str) -> bool {
    text.starts_with('/') || crate::scsi::Wwid::parse_operator(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(json: &str) -> String {
        format!("{json}\ncrc32c {:08x}\n", crc32c::crc32c(json.as_bytes()))
    }

    #[test]
    fn targets_are_read_past_fields_that_a_later_version_adds() {
        let wwid = "naa.6000c293e4b5a1b2c3d4e5f607182907";
        let one = r#"{"target":"/dev/sdb","target_bytes":1,"new":{}}"#;
        let json =
            format!(r#"{{"version":1,"policy":[],"volumes":{{"":{one},"b":{{"target":"{wwid}"}},"#)
                + r#""c":{"target":null}}}"#;
        let expected = ["/dev/sdb", wwid];
        assert_eq!(targets(&text(&json)).unwrap(), expected);
        assert_eq!(targets(&text(r#"{"version":1,"volumes":{}}"#)).unwrap(), [""; 0]);
        let today = r#"{"version":2,"generation":7,"volumes":{}}"#;
        assert_eq!(targets(&text(today)).unwrap(), [""; 0]);
    }

    #[test]
    fn a_target_that_was_appended_counts_and_a_torn_copy_is_not_understood() {
        let whole = text(r#"{"version":3,"volumes":{"a":{"target":"/dev/sdb"}}}"#);
        let change = r#"{"generation":2,"volumes":{"a":{"is":{"target":"/dev/sdc"}},"#.to_owned()
            + r#""b":{"is":{"target":"/dev/sdd"}}}}"#;
        let first = u32::from_str_radix(whole.trim_end().rsplit(' ').next().unwrap(), 16).unwrap();
        let checksum = crc32c::crc32c_append(first, change.as_bytes());
        let piece = format!("{change}\ncrc32c {checksum:08x}\n");
        assert_eq!(targets(&format!("{whole}{piece}")).unwrap(), ["/dev/sdc", "/dev/sdd"]);
        for cut in 0..piece.len() {
            let torn = format!("{whole}{}", &piece[..cut]);
            assert_eq!(targets(&torn).is_ok(), cut == 0, "{cut}");
        }
        let damaged = format!("{whole}{}{piece}", piece.replace("sdd", "sde"));
        assert_eq!(targets(&damaged).unwrap_err(), StateError::Checksum);
        let again = format!("{whole}{piece}{piece}");
        assert_eq!(targets(&again).unwrap_err(), StateError::Checksum);
    }

    #[test]
    fn a_state_that_does_not_say_all_its_targets_is_an_error() {
        let good = text(r#"{"version":1,"volumes":{"a":{"target":"/dev/sdb"}}}"#);
        assert!(targets(&good).is_ok());
        let no_target = StateError::NoTarget("a".to_owned());
        for (damaged, expected) in [
            (String::new(), StateError::NoChecksum),
            (good[..good.len() - 1].to_owned(), StateError::NoChecksum),
            (good.replace("sdb", "sdc"), StateError::Checksum),
            (text("{"), StateError::Json),
            (text(r#"{"volumes":{}}"#), StateError::Json),
            (text(r#"{"version":1}"#), StateError::Json),
            (text(r#"{"version":4,"volumes":{}}"#), StateError::Version(4)),
            (text(r#"{"version":1,"volumes":{"a":{"targets":[]}}}"#), no_target),
            (
                text(r#"{"version":1,"volumes":{"a":{"target":"sdb?"}}}"#),
                StateError::NoTarget("a".to_owned()),
            ),
        ] {
            assert_eq!(targets(&damaged).unwrap_err(), expected, "{damaged}");
        }
    }
}
