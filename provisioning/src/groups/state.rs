//! What the text of a group's state says of its targets. Two lines: JSON, and its CRC32C. What a
//! later version adds is passed over; what the targets are must be there.

use serde_json::Value;

/// The versions whose targets are known.
const VERSIONS: std::ops::RangeInclusive<u64> = 1..=2;

/// Why the targets are not known. Completes "PATH: ".
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum StateError {
    #[error("its last line is no checksum: it is not whole")]
    NoChecksum,
    #[error("its checksum does not fit: it was damaged or changed by hand")]
    Checksum,
    #[error("it is not the JSON of a group's state")]
    Json,
    #[error("its version is {0}, and this program knows 1 and 2")]
    Version(u64),
    #[error("it does not say what the target of volume {0:?} is")]
    NoTarget(String),
}

/// The targets of all volumes that have one.
pub(super) fn targets(text: &str) -> Result<Vec<String>, StateError> {
    let (json, last) = text.split_once('\n').ok_or(StateError::NoChecksum)?;
    let checksum = last
        .strip_prefix("crc32c ")
        .and_then(|rest| rest.strip_suffix('\n'))
        .and_then(|digits| u32::from_str_radix(digits, 16).ok())
        .ok_or(StateError::NoChecksum)?;
    if crc32c::crc32c(json.as_bytes()) != checksum {
        return Err(StateError::Checksum);
    }
    let state: Value = serde_json::from_str(json).map_err(|_| StateError::Json)?;
    let version = state.get("version").and_then(Value::as_u64).ok_or(StateError::Json)?;
    if !VERSIONS.contains(&version) {
        return Err(StateError::Version(version));
    }
    let volumes = state.get("volumes").and_then(Value::as_object).ok_or(StateError::Json)?;
    let mut targets = Vec::new();
    for (name, volume) in volumes {
        match volume.get("target") {
            Some(Value::String(target)) if is_a_target(target) => targets.push(target.clone()),
            // Before the first stream.
            Some(Value::Null) => {}
            _ => return Err(StateError::NoTarget(name.clone())),
        }
    }
    Ok(targets)
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
            (text(r#"{"version":3,"volumes":{}}"#), StateError::Version(3)),
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
