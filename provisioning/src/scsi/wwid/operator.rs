//! Parses an identity in the forms that other tools print and operators paste. `wwid` has the
//! canonical forms.

use std::str::FromStr;

use super::{TEXT_LEN_MAX, Wwid};
use system::error::{Error, ErrorKind, Result};

/// Why a text is not an identity; completes "reading … as a disk identity: ".
pub(super) type Reason = &'static str;

pub(super) const BAD_NAA: Reason =
    "an NAA identity has 16 hex digits, of which the first is 2, 3 or 5, or 32, the first being 6";
pub(super) const BAD_EUI64: Reason = "an EUI-64 identity has 16, 24 or 32 hex digits";
pub(super) const BAD_UUID: Reason = "a UUID has 32 hex digits in groups of 8-4-4-4-12";
pub(super) const BAD_TEXT: Reason = "the text after the prefix is blank or not printable ASCII";
pub(super) const BAD_NAME: Reason = "a SCSI name begins with naa., eui. or iqn.";
pub(super) const PARTITION: Reason = "it names a partition, not a disk";
pub(super) const SHARED: Reason = "it is a vendor specific designator, which two disks may share";
pub(super) const FOREIGN_GROUPS: Reason =
    "digits in groups are read as VMware's, which begin with 6000c29";
const UNKNOWN: Reason = "it is in no known form";

/// Directories whose entries are named after an identity.
const DIRECTORIES: [&str; 2] = ["/dev/disk/by-id/", "/dev/mapper/"];

impl Wwid {
    /// Parses what an operator may paste, in upper or lower case: every canonical form; `0x…` and
    /// plain hex digits of an NAA identity; the output of `scsi_id` and multipath (`36000c29…`);
    /// udev links (`wwn-0x…`, `scsi-36000c29…`, `nvme-eui.…`, `dm-uuid-mpath-…`), with or without
    /// their directory; and a VMware `ddb.uuid` (`60 00 C2 9x …-…`) or `backing.uuid`.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Usage`] if the text is none of these, or names a partition or a
    /// designator that two disks may share. The context quotes the text and says what is wrong with
    /// it.
    pub fn parse_operator(text: &str) -> Result<Self> {
        read(text).map_err(|reason| {
            let shown: String = text.chars().take(80).collect();
            Error::new(ErrorKind::Usage, format!("reading {shown:?} as a disk identity: {reason}"))
                .with_hint(
                    "give the WWID as `mtctl disks` shows it, a link from /dev/disk/by-id, or \
                     ddb.uuid from the VMDK descriptor",
                )
        })
    }
}

impl FromStr for Wwid {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse_operator(text)
    }
}

impl TryFrom<String> for Wwid {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        Self::parse_operator(&text)
    }
}

/// Parses a text that consists of one identity.
fn read(text: &str) -> Result<Wwid, Reason> {
    let text = unquoted(text.trim());
    if text.is_empty() {
        return Err("it is empty");
    }
    if text.len() > TEXT_LEN_MAX {
        return Err("it is longer than any identity");
    }
    let entry = DIRECTORIES.iter().find_map(|path| text.strip_prefix(path));
    let name = entry.unwrap_or(text);
    if let Some(found) = read_link(name) {
        return found;
    }
    if entry.is_some() && is_partition(name) {
        return Err(PARTITION);
    }
    read_scheme(name).unwrap_or_else(|| read_digits(name))
}

/// The text inside a pair of double quotes, as in a .vmx file or VMDK descriptor.
fn unquoted(text: &str) -> &str {
    text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).map_or(text, str::trim)
}

/// Parses the name of a udev link; `None` if the text does not begin like one.
fn read_link(name: &str) -> Option<Result<Wwid, Reason>> {
    if let Some(rest) = strip(name, "dm-uuid-mpath-") {
        return Some(read_scsi_id(rest));
    }
    let (kind, rest) = name.split_once('-')?;
    let read: fn(&str) -> Result<Wwid, Reason> = match kind.to_ascii_lowercase().as_str() {
        "scsi" => read_scsi_id,
        "wwn" => |rest| match strip(rest, "0x") {
            Some(digits) => read_naa(digits),
            None => read_scheme(rest).unwrap_or(Err(UNKNOWN)),
        },
        "nvme" => |rest| read_scheme(rest).unwrap_or(Err(UNKNOWN)),
        _ => return None,
    };
    Some(if is_partition(rest) { Err(PARTITION) } else { read(rest) })
}

/// Whether the name of a link ends like udev's links to partitions.
fn is_partition(name: &str) -> bool {
    name.rsplit_once("-part").is_some_and(|(_, number)| {
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// Parses one of the canonical forms; `None` if the text has no known scheme.
fn read_scheme(text: &str) -> Option<Result<Wwid, Reason>> {
    let (scheme, rest) = text.split_once('.')?;
    let found = match scheme.to_ascii_lowercase().as_str() {
        "naa" => read_naa(rest),
        "eui" => Wwid::from_eui64_digits(rest).ok_or(BAD_EUI64),
        "uuid" => read_uuid(rest),
        "t10" => Wwid::from_text("t10", rest.as_bytes()).ok_or(BAD_TEXT),
        "serial" => Wwid::from_text("serial", rest.as_bytes()).ok_or(BAD_TEXT),
        "iqn" => read_lower_case("iqn", rest),
        "nvme" => read_lower_case("nvme", rest),
        _ => return None,
    };
    Some(found)
}

fn read_naa(digits: &str) -> Result<Wwid, Reason> {
    Wwid::from_naa_digits(digits).ok_or(BAD_NAA)
}

fn read_uuid(text: &str) -> Result<Wwid, Reason> {
    const HYPHENATED_LEN: usize = 36;
    if text.len() != HYPHENATED_LEN {
        return Err(BAD_UUID);
    }
    let uuid = uuid::Uuid::try_parse(text).map_err(|_| BAD_UUID)?;
    Ok(Wwid::from_uuid(uuid.as_bytes()))
}

fn read_lower_case(scheme: &str, rest: &str) -> Result<Wwid, Reason> {
    Wwid::from_text(scheme, rest.to_ascii_lowercase().as_bytes()).ok_or(BAD_TEXT)
}

/// Parses the output of `scsi_id`: the type of the designator in one digit, then the designator.
fn read_scsi_id(text: &str) -> Result<Wwid, Reason> {
    let mut characters = text.chars();
    let kind = characters.next();
    let rest = characters.as_str();
    match kind {
        Some('3') => read_naa(rest),
        Some('2') => Wwid::from_eui64_digits(rest).ok_or(BAD_EUI64),
        Some('1') => Wwid::from_text("t10", rest.as_bytes()).ok_or(BAD_TEXT),
        Some('8') => Wwid::from_scsi_name(rest).ok_or(BAD_NAME),
        Some('S') => Wwid::from_text("serial", rest.as_bytes()).ok_or(BAD_TEXT),
        Some('0') => Err(SHARED),
        _ => Err(UNKNOWN),
    }
}

/// Parses hex digits with `0x`, with the digit of `scsi_id`, in VMware's groups, or plain.
fn read_digits(text: &str) -> Result<Wwid, Reason> {
    if let Some(digits) = strip(text, "0x") {
        return read_naa(digits);
    }
    let digits: String = text.chars().filter(|&c| c != ' ' && c != '-').collect();
    if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(UNKNOWN);
    }
    if digits.len() != text.len() && strip(&digits, "6000c29").is_none() {
        return Err(FOREIGN_GROUPS);
    }
    match digits.len() {
        17 | 25 | 33 => read_scsi_id(&digits),
        _ => read_naa(&digits),
    }
}

/// The text after a prefix in upper or lower case.
fn strip<'text>(text: &'text str, prefix: &str) -> Option<&'text str> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}
