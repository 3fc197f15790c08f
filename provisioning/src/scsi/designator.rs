//! Designation descriptors of VPD page 0x83: decoding one, and how well it names a logical unit.
//! `vpd` decodes the surrounding page, and `wwid` has the text form of an identity.
//!
//! Vendors leave designators blank, truncate them, or fill them with values outside the standard.
//! Such a designator names nothing; the others on the page are not affected.

use super::world_wide_name::{DesignatorFault, Eui64, Naa, array, is_blank, wrong_length};
use super::wwid::Wwid;

/// What a designator identifies (bits 4-5 of byte 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Association {
    /// The addressed logical unit: the disk.
    LogicalUnit,
    /// The target port that received the command: the path.
    TargetPort,
    /// The target device that holds the logical unit: the array.
    TargetDevice,
    /// Value 3, reserved by the standard.
    Reserved,
}

/// How the bytes of a designator are encoded (bits 0-3 of byte 0).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeSet {
    /// Binary values.
    Binary,
    /// Printable ASCII.
    Ascii,
    /// UTF-8.
    Utf8,
    /// Values reserved by the standard: 0 and 4 to 15.
    Reserved(u8),
}

/// The contents of a designator, by its type (bits 0-3 of byte 1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identifier {
    /// Type 0: any bytes. Two disks may have the same bytes, so this never names a disk.
    VendorSpecific(Vec<u8>),
    /// Type 1: eight bytes of T10 vendor identification, then an identifier that the vendor made
    /// unique.
    T10Vendor(Vec<u8>),
    /// Type 2.
    Eui64(Eui64),
    /// Type 3.
    Naa(Naa),
    /// Type 4: the number of a port in its target device.
    RelativeTargetPort(u16),
    /// Type 5: the number of a group of ports (ALUA).
    TargetPortGroup(u16),
    /// Type 6: the number of a group of logical units.
    LogicalUnitGroup(u16),
    /// Type 7: an MD5 digest. The standard allows it only if there is nothing better; no tool names
    /// disks by it, and neither does this one.
    Md5([u8; 16]),
    /// Type 8: the text before the NULs.
    ScsiName(String),
    /// Type 9: the position of the port on USB or PCI Express.
    ProtocolSpecificPort(Vec<u8>),
    /// Type 0xa: a UUID in network byte order.
    Uuid([u8; 16]),
    /// A reserved type, or a code set that does not apply to this type: kept, not decoded.
    Opaque {
        /// The type, 0 to 15.
        type_code: u8,
        /// The designator's bytes.
        bytes: Vec<u8>,
    },
}

/// One designation descriptor (SPC-5 7.7.6.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Designator {
    /// What it identifies.
    pub association: Association,
    /// The protocol identifier (0 Fibre Channel, 5 iSCSI, 6 SAS …), if the header marks it as
    /// valid.
    pub protocol: Option<u8>,
    /// How its bytes are encoded.
    pub code_set: CodeSet,
    /// Its contents.
    pub identifier: Identifier,
}

/// How well a designator names a logical unit, worst first.
///
/// The standard requires a world-wide name but ranks none, so this is the order that udev's
/// `scsi_id` and multipath-tools agree on, as far as both go: NAA 6, 5, 2, then EUI-64 (longer
/// first, as in Linux' `scsi_vpd_lun_id`), then SCSI names. UUIDs, which neither of them reads yet,
/// follow: they are equally unique, but must not displace a name that the host's links already
/// carry. Names that are unique only by somebody's care come last. Among these, NAA 3 precedes the
/// T10 identification, as in `scsi_id` and as observed in the kernel's `wwid` on scsi_debug, which
/// reports both: the identity shown should be the one in the host's links. multipath-tools rank
/// these two the other way round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Preference {
    /// T10 vendor identification.
    T10Vendor,
    /// NAA 3.
    NaaLocallyAssigned,
    /// UUID.
    Uuid,
    /// SCSI name string.
    ScsiName,
    /// EUI-64 of 8 bytes.
    Eui64,
    /// EUI-64 of 12 bytes.
    Eui64WithDirectory,
    /// EUI-64 of 16 bytes.
    Eui64Extended,
    /// NAA 2.
    NaaExtended,
    /// NAA 5.
    NaaRegistered,
    /// NAA 6.
    NaaRegisteredExtended,
}

impl Designator {
    /// Decodes the four bytes of a descriptor's header and the designator that follows it.
    ///
    /// # Errors
    ///
    /// Returns a [`DesignatorFault`] if the bytes are not what the type requires.
    pub fn decode(header: [u8; 4], bytes: &[u8]) -> Result<Self, DesignatorFault> {
        const PROTOCOL_IDENTIFIER_VALID: u8 = 0x80;
        let code_set = CodeSet::from_bits(header[0] & 0xf);
        let has_protocol = header[1] & PROTOCOL_IDENTIFIER_VALID != 0;
        let identifier = Identifier::decode(header[1] & 0xf, code_set, bytes)?;
        if identifier.is_left_blank() {
            return Err(DesignatorFault::Blank(identifier.kind()));
        }
        Ok(Self {
            association: Association::from_bits(header[1] >> 4 & 0x3),
            protocol: has_protocol.then_some(header[0] >> 4),
            code_set,
            identifier,
        })
    }

    /// How well this names a logical unit; `None` if it identifies a port or an array, or its type
    /// is not a name.
    pub(crate) fn preference(&self) -> Option<Preference> {
        match self.association {
            Association::LogicalUnit => self.identifier.preference(),
            Association::TargetPort | Association::TargetDevice | Association::Reserved => None,
        }
    }

    /// The text form of the name, whatever it identifies; `None` if it is not a name, or its text
    /// is blank or not printable ASCII.
    pub fn wwid(&self) -> Option<Wwid> {
        match &self.identifier {
            Identifier::Naa(naa) => Some(Wwid::from_naa(naa)),
            Identifier::Eui64(eui) => Some(Wwid::from_eui64(eui)),
            Identifier::Uuid(bytes) => Some(Wwid::from_uuid(bytes)),
            Identifier::ScsiName(name) => Wwid::from_scsi_name(name),
            Identifier::T10Vendor(bytes) => Wwid::from_t10(bytes),
            Identifier::VendorSpecific(_)
            | Identifier::RelativeTargetPort(_)
            | Identifier::TargetPortGroup(_)
            | Identifier::LogicalUnitGroup(_)
            | Identifier::Md5(_)
            | Identifier::ProtocolSpecificPort(_)
            | Identifier::Opaque { .. } => None,
        }
    }
}

impl Association {
    fn from_bits(bits: u8) -> Self {
        match bits {
            0 => Self::LogicalUnit,
            1 => Self::TargetPort,
            2 => Self::TargetDevice,
            _ => Self::Reserved,
        }
    }
}

impl CodeSet {
    fn from_bits(bits: u8) -> Self {
        match bits {
            1 => Self::Binary,
            2 => Self::Ascii,
            3 => Self::Utf8,
            reserved => Self::Reserved(reserved),
        }
    }

    /// Whether the standard allows this code set for a designator of this type. ASCII is accepted
    /// for names, because it is part of UTF-8 and devices use it.
    fn suits(self, type_code: u8) -> bool {
        match self {
            Self::Binary => type_code != 8,
            Self::Ascii | Self::Utf8 => matches!(type_code, 0 | 1 | 8),
            Self::Reserved(_) => false,
        }
    }
}

impl Naa {
    fn preference(&self) -> Preference {
        match self {
            Self::Extended(_) => Preference::NaaExtended,
            Self::LocallyAssigned(_) => Preference::NaaLocallyAssigned,
            Self::Registered(_) => Preference::NaaRegistered,
            Self::RegisteredExtended(_) => Preference::NaaRegisteredExtended,
        }
    }
}

impl Eui64 {
    fn preference(&self) -> Preference {
        match self {
            Self::Plain(_) => Preference::Eui64,
            Self::WithDirectory(_) => Preference::Eui64WithDirectory,
            Self::Extended(_) => Preference::Eui64Extended,
        }
    }
}

impl Identifier {
    fn decode(type_code: u8, code_set: CodeSet, bytes: &[u8]) -> Result<Self, DesignatorFault> {
        let known_type = if code_set.suits(type_code) { type_code } else { u8::MAX };
        match known_type {
            0x0 => Ok(Self::VendorSpecific(bytes.to_vec())),
            0x1 => at_least("T10 vendor designator", bytes, 8, "8 or more").map(Self::T10Vendor),
            0x2 => Eui64::from_bytes(bytes).map(Self::Eui64),
            0x3 => Naa::from_bytes(bytes).map(Self::Naa),
            0x4 => number("relative target port", bytes).map(Self::RelativeTargetPort),
            0x5 => number("target port group", bytes).map(Self::TargetPortGroup),
            0x6 => number("logical unit group", bytes).map(Self::LogicalUnitGroup),
            0x7 => array("MD5 designator", bytes, "16").map(Self::Md5),
            0x8 => scsi_name(bytes).map(Self::ScsiName),
            0x9 => at_least("protocol specific port", bytes, 4, "4 or more")
                .map(Self::ProtocolSpecificPort),
            0xa => uuid(bytes).map(Self::Uuid),
            _ => Ok(Self::Opaque { type_code, bytes: bytes.to_vec() }),
        }
    }

    fn preference(&self) -> Option<Preference> {
        match self {
            Self::Naa(naa) => Some(naa.preference()),
            Self::Eui64(eui) => Some(eui.preference()),
            Self::ScsiName(_) => Some(Preference::ScsiName),
            Self::Uuid(_) => Some(Preference::Uuid),
            Self::T10Vendor(_) => Some(Preference::T10Vendor),
            Self::VendorSpecific(_)
            | Self::RelativeTargetPort(_)
            | Self::TargetPortGroup(_)
            | Self::LogicalUnitGroup(_)
            | Self::Md5(_)
            | Self::ProtocolSpecificPort(_)
            | Self::Opaque { .. } => None,
        }
    }

    /// Whether its type is a name, but it names nothing.
    fn is_left_blank(&self) -> bool {
        match self {
            // The first four bits are the format, and those of the vendor may be filled in as well.
            Self::Naa(naa) => {
                let [first, rest @ ..] = naa.as_bytes() else { return true };
                is_blank(&[&[first & 0xf], rest].concat())
                    || is_blank(&[&[first | 0xf0], rest].concat())
            }
            Self::Eui64(eui) => is_blank(eui.as_bytes()),
            Self::Uuid(bytes) | Self::Md5(bytes) => is_blank(bytes),
            Self::T10Vendor(bytes) => bytes.iter().all(|byte| matches!(byte, 0 | b' ')),
            Self::ScsiName(name) => names_nothing(name),
            Self::VendorSpecific(_)
            | Self::RelativeTargetPort(_)
            | Self::TargetPortGroup(_)
            | Self::LogicalUnitGroup(_)
            | Self::ProtocolSpecificPort(_)
            | Self::Opaque { .. } => false,
        }
    }

    /// The usual name of this type of designator.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::VendorSpecific(_) => "vendor specific",
            Self::T10Vendor(_) => "T10 vendor identification",
            Self::Eui64(_) => "EUI-64",
            Self::Naa(Naa::Extended(_)) => "NAA 2",
            Self::Naa(Naa::LocallyAssigned(_)) => "NAA 3",
            Self::Naa(Naa::Registered(_)) => "NAA 5",
            Self::Naa(Naa::RegisteredExtended(_)) => "NAA 6",
            Self::RelativeTargetPort(_) => "relative target port",
            Self::TargetPortGroup(_) => "target port group",
            Self::LogicalUnitGroup(_) => "logical unit group",
            Self::Md5(_) => "MD5",
            Self::ScsiName(_) => "SCSI name string",
            Self::ProtocolSpecificPort(_) => "protocol specific port",
            Self::Uuid(_) => "UUID",
            Self::Opaque { .. } => "unknown",
        }
    }
}

/// Whether a SCSI name is empty, or its hex digits are as blank as a designator of that kind can
/// be.
fn names_nothing(name: &str) -> bool {
    let digits = match name.split_once('.') {
        Some(("naa", digits)) => digits.get(1..).unwrap_or_default(),
        Some(("eui", digits)) => digits,
        Some(_) | None => return name.trim().is_empty(),
    };
    [b'0', b'f'].iter().any(|filler| digits.bytes().all(|digit| digit == *filler))
}

fn at_least(
    kind: &'static str,
    bytes: &[u8],
    least: usize,
    allowed: &'static str,
) -> Result<Vec<u8>, DesignatorFault> {
    if bytes.len() < least {
        return Err(wrong_length(kind, bytes, allowed));
    }
    Ok(bytes.to_vec())
}

/// Two reserved bytes and a number.
fn number(kind: &'static str, bytes: &[u8]) -> Result<u16, DesignatorFault> {
    let [_, _, high, low] = array(kind, bytes, "4")?;
    Ok(u16::from_be_bytes([high, low]))
}

fn scsi_name(bytes: &[u8]) -> Result<String, DesignatorFault> {
    // The standard's limit of 256 bytes exceeds what the one-byte length can express.
    if bytes.is_empty() || bytes.len() % 4 != 0 {
        return Err(wrong_length("SCSI name string", bytes, "a multiple of 4"));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| DesignatorFault::NameString)?;
    match text.split_once('\0') {
        Some((name, padding)) if padding.bytes().all(|byte| byte == 0) => Ok(name.to_owned()),
        Some(_) | None => Err(DesignatorFault::NameString),
    }
}

/// A type of four bits, twelve reserved bits, and the sixteen bytes of a UUID.
fn uuid(bytes: &[u8]) -> Result<[u8; 16], DesignatorFault> {
    const LOCALLY_ASSIGNED: u8 = 1;
    let [first, _, uuid @ ..]: [u8; 18] = array("UUID designator", bytes, "18")?;
    if first >> 4 != LOCALLY_ASSIGNED {
        return Err(DesignatorFault::UnknownUuidType(first >> 4));
    }
    Ok(uuid)
}

#[cfg(test)]
mod tests;
