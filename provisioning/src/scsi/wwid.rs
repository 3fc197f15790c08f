//! The text form of a disk's identity, and the forms of it that operators paste. `designator`
//! chooses the designator it comes from; `vpd` decodes VPD bytes.
//!
//! One canonical form for each identity, without blanks, safe in a table and on a command line:
//!
//! | form | from |
//! |---|---|
//! | `naa.` 16 or 32 hex digits | NAA designator, or a SCSI name string that says the same |
//! | `eui.` 16, 24 or 32 hex digits | EUI-64 designator or SCSI name string, NVMe `wwid` |
//! | `uuid.` 8-4-4-4-12 hex digits | UUID designator, NVMe `wwid` |
//! | `iqn.` … | SCSI name string |
//! | `t10.` vendor and what it made unique | T10 vendor designator |
//! | `serial.` vendor`_`model`_`serial | page 0x80: a serial is unique within a model only |
//! | `nvme.` … | `wwid` of an NVMe namespace without a world-wide name |
//!
//! Hex digits and iSCSI names are lower case. In `t10.` and `serial.` the case is the vendor's and
//! is significant; blanks at the ends are dropped and each sequence of blanks inside becomes one
//! `_`, as in udev's links. The first three are what Linux shows in sysfs `wwid`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::world_wide_name::{Eui64, Naa};

mod operator;

/// The longest text form, in bytes; the longest designator has 255 bytes.
const TEXT_LEN_MAX: usize = 512;

/// A disk's identity in its canonical text form, such as `naa.6000c293e4b5a1b2c3d4e5f60718293a`.
///
/// Two are equal exactly if they name the same logical unit in the same way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Wwid(String);

impl Wwid {
    /// `naa.` and the designator in hex.
    pub(crate) fn from_naa(naa: &Naa) -> Self {
        Self(format!("naa.{}", hex::encode(naa.as_bytes())))
    }

    /// `eui.` and the designator in hex.
    pub(crate) fn from_eui64(eui: &Eui64) -> Self {
        Self(format!("eui.{}", hex::encode(eui.as_bytes())))
    }

    /// `uuid.` and the UUID, given in network byte order.
    pub(crate) fn from_uuid(bytes: &[u8; 16]) -> Self {
        let uuid = uuid::Uuid::from_bytes(*bytes);
        Self(format!("uuid.{}", uuid.hyphenated()))
    }

    /// The identity in a T10 vendor designator; `None` if it is not printable ASCII, or has nothing
    /// after the eight bytes of the vendor, which every disk of that vendor shares.
    pub(crate) fn from_t10(bytes: &[u8]) -> Option<Self> {
        const VENDOR_LEN: usize = 8;
        let unique = bytes.get(VENDOR_LEN..)?;
        let is_blank = unique.iter().all(|byte| matches!(byte, 0 | b' '));
        (!is_blank).then(|| Self::from_text("t10", bytes)).flatten()
    }

    /// The identity in a SCSI name string; `None` unless it begins with `naa.`, `eui.` or `iqn.`,
    /// as the standard requires, and the rest is valid for that prefix.
    pub(crate) fn from_scsi_name(name: &str) -> Option<Self> {
        match name.split_once('.')? {
            ("naa", digits) => Self::from_naa_digits(digits),
            ("eui", digits) => Self::from_eui64_digits(digits),
            ("iqn", rest) => Self::from_text("iqn", rest.to_ascii_lowercase().as_bytes()),
            _ => None,
        }
    }

    /// The identity formed by a unit serial number with its vendor and model, as INQUIRY or sysfs
    /// report them; `None` if the serial number is blank or one of them is not printable ASCII.
    pub fn from_unit_serial(vendor: &str, model: &str, serial: &str) -> Option<Self> {
        let serial = plain_text(serial.as_bytes())?;
        let text = format!("{} {} {serial}", vendor.trim(), model.trim());
        Self::from_text("serial", text.as_bytes())
    }

    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form that udev's `scsi_id` and multipath use (`36000c29…`; after `scsi-` it is the link
    /// in /dev/disk/by-id); `None` for `uuid.` and `nvme.`, which have no such form.
    pub fn scsi_id_text(&self) -> Option<String> {
        match self.0.split_once('.')? {
            ("naa", digits) => Some(format!("3{digits}")),
            ("eui", digits) => Some(format!("2{digits}")),
            ("t10", text) => Some(format!("1{}", link_text(text))),
            ("iqn", _) => Some(format!("8{}", link_text(&self.0))),
            ("serial", text) => Some(format!("S{}", link_text(text))),
            _ => None,
        }
    }

    fn from_naa_digits(digits: &str) -> Option<Self> {
        let naa = Naa::from_bytes(&hex::decode(digits).ok()?).ok()?;
        Some(Self::from_naa(&naa))
    }

    fn from_eui64_digits(digits: &str) -> Option<Self> {
        let eui = Eui64::from_bytes(&hex::decode(digits).ok()?).ok()?;
        Some(Self::from_eui64(&eui))
    }

    fn from_text(scheme: &str, bytes: &[u8]) -> Option<Self> {
        let text = format!("{scheme}.{}", plain_text(bytes)?);
        (text.len() <= TEXT_LEN_MAX).then_some(Self(text))
    }
}

impl fmt::Display for Wwid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl From<Wwid> for String {
    fn from(wwid: Wwid) -> Self {
        wwid.0
    }
}

/// Printable ASCII without the blanks at its ends (where NUL counts as a blank), and with each
/// sequence of blanks inside replaced by one `_`; `None` if nothing is left or it contains any
/// other byte.
fn plain_text(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    let words: Vec<&str> =
        text.trim_matches(['\0', ' ']).split(' ').filter(|word| !word.is_empty()).collect();
    let is_plain = |word: &&str| word.bytes().all(|byte| byte.is_ascii_graphic());
    (!words.is_empty() && words.iter().all(is_plain)).then(|| words.join("_"))
}

/// The form that udev gives a text in a link: characters outside its short list become `_`.
fn link_text(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '#' | '+' | '-' | '.' | ':' | '=' | '@' | '_' => character,
            _ if character.is_ascii_alphanumeric() => character,
            _ => '_',
        })
        .collect()
}

#[cfg(test)]
mod tests;
