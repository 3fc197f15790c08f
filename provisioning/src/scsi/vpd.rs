//! Decoders for the VPD pages that identify a logical unit: 0x80 (serial) and 0x83 (designators).
//! `designator` decodes single designators; the callers read the bytes.
//!
//! Layout of both pages (SPC-5 7.7.1): byte 0 peripheral qualifier and type, byte 1 page code,
//! bytes 2-3 big-endian page length, then that many bytes. Any further bytes belong to the buffer,
//! not to the page, and are ignored: an INQUIRY may transfer more than the page, while sysfs keeps
//! exactly four bytes more than the page length.

use super::designator::Designator;
use super::world_wide_name::DesignatorFault;
use super::wwid::Wwid;

/// Page code of the unit serial number page.
pub(crate) const UNIT_SERIAL_NUMBER: u8 = 0x80;
/// Page code of the device identification page.
pub(crate) const DEVICE_IDENTIFICATION: u8 = 0x83;
/// Bytes before the content of a page, and before each designator.
const HEADER_LEN: usize = 4;

/// Why bytes are not the requested page. Offsets are in bytes from the start of the page.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VpdError {
    /// Fewer bytes than the header of a page.
    #[error("a VPD page has a header of 4 bytes, but there are {available}")]
    ShortHeader {
        /// How many bytes were given.
        available: usize,
    },
    /// The header names another page.
    #[error("expected VPD page {expected:#04x}, found {found:#04x}")]
    WrongPage {
        /// The page code asked for.
        expected: u8,
        /// The page code in the bytes.
        found: u8,
    },
    /// The page length exceeds the bytes.
    #[error("the page length is {declared}, but {available} bytes follow the header")]
    PageLength {
        /// The length the header declares.
        declared: usize,
        /// How many bytes follow the header.
        available: usize,
    },
    /// The page ends inside the header of a designator.
    #[error("the page ends inside the designator header at byte {offset}")]
    DesignatorHeader {
        /// Where the header starts.
        offset: usize,
    },
    /// A designator extends past the end of the page.
    #[error(
        "the designator at byte {offset} has {declared} bytes, but the page has only {available} \
         more"
    )]
    DesignatorOverrun {
        /// Where the header of the designator starts.
        offset: usize,
        /// The length its header declares.
        declared: usize,
        /// What is left of the page after that header.
        available: usize,
    },
    /// A designator lies within the page, but is not what its type requires.
    #[error("the designator at byte {offset} is malformed: {fault}")]
    Designator {
        /// Where the header of the designator starts.
        offset: usize,
        /// What is wrong with it.
        fault: DesignatorFault,
    },
    /// A byte of a serial number that is not printable ASCII.
    #[error("the serial number has the byte {byte:#04x} at {offset}")]
    SerialByte {
        /// Offset of the byte.
        offset: usize,
        /// The byte.
        byte: u8,
    },
}

impl VpdError {
    /// Whether it hides the rest of the page: it is not known where the next designator begins, or
    /// the bytes are not the page at all.
    pub(crate) fn hides_the_rest(&self) -> bool {
        match self {
            Self::Designator { .. } | Self::SerialByte { .. } => false,
            Self::ShortHeader { .. }
            | Self::WrongPage { .. }
            | Self::PageLength { .. }
            | Self::DesignatorHeader { .. }
            | Self::DesignatorOverrun { .. } => true,
        }
    }
}

/// The device identification page, 0x83 (SPC-5 7.7.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VpdPage83 {
    designators: Vec<Designator>,
    faults: Vec<VpdError>,
}

impl VpdPage83 {
    /// Decodes a page as read from sysfs (`device/vpd_pg83`) or by an INQUIRY.
    ///
    /// A page without designators is well formed. Designators of reserved types, or with a code set
    /// that is reserved or not allowed for their type, are kept as opaque bytes.
    ///
    /// A fault in one designator does not discredit the others: the faulty one is left out and
    /// reported by [`faults`](Self::faults). A wrong length hides where the next designator begins:
    /// everything after it is left out as well, and the designators before it count. A page that
    /// ends before its declared length yields the designators that are complete.
    ///
    /// # Errors
    ///
    /// Returns a [`VpdError`] if the bytes are not such a page.
    pub fn parse(bytes: &[u8]) -> Result<Self, VpdError> {
        let Content { bytes: mut rest, cut } = content(DEVICE_IDENTIFICATION, bytes)?;
        let mut offset = HEADER_LEN;
        let mut page = Self { designators: Vec::new(), faults: Vec::new() };
        while !rest.is_empty() {
            match next_designator(offset, rest) {
                Ok((decoded, after)) => {
                    match decoded {
                        Ok(designator) => page.designators.push(designator),
                        Err(fault) => page.faults.push(VpdError::Designator { offset, fault }),
                    }
                    offset += rest.len() - after.len();
                    rest = after;
                }
                Err(error) => {
                    // If the page was cut off, the fault is its own length.
                    page.faults.extend(cut.is_none().then_some(error));
                    break;
                }
            }
        }
        page.faults.extend(cut);
        Ok(page)
    }

    /// The faults of the page, in page order; empty for a well-formed page.
    pub fn faults(&self) -> &[VpdError] {
        &self.faults
    }

    /// Every valid designator of the page, in page order.
    pub(crate) fn designators(&self) -> &[Designator] {
        &self.designators
    }

    /// The designator that names the logical unit best, and its text form.
    ///
    /// Only designators associated with the logical unit count, in the order of
    /// `Preference`; of equal ones the first. `None` if no
    /// designator of the page distinguishes this logical unit from every other.
    pub fn identity(&self) -> Option<(&Designator, Wwid)> {
        self.designators
            .iter()
            .filter_map(|designator| Some((designator.preference()?, designator)))
            .filter_map(|(preference, designator)| {
                Some((preference, designator, designator.wwid()?))
            })
            .rev() // max_by_key gives the last of equal ones, udev and multipath take the first
            .max_by_key(|(preference, _, _)| *preference)
            .map(|(_, designator, wwid)| (designator, wwid))
    }
}

/// The unit serial number page, 0x80 (SPC-5 7.7.19).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VpdPage80 {
    serial: Option<String>,
}

impl VpdPage80 {
    /// Decodes a page as read from sysfs (`device/vpd_pg80`) or by an INQUIRY.
    ///
    /// The standard specifies ASCII, right-aligned and padded with spaces; LIO terminates it with a
    /// NUL. Both kinds of padding are removed at both ends.
    ///
    /// # Errors
    ///
    /// Returns a [`VpdError`] if the header is wrong, the page length exceeds the bytes, or a byte
    /// between the padding is not printable ASCII.
    pub fn parse(bytes: &[u8]) -> Result<Self, VpdError> {
        let Content { bytes: field, cut } = content(UNIT_SERIAL_NUMBER, bytes)?;
        if let Some(error) = cut {
            return Err(error);
        }
        let is_filled = |byte: &u8| !matches!(byte, 0 | b' ');
        let first = field.iter().position(is_filled);
        let last = field.iter().rposition(is_filled);
        let (Some(first), Some(last)) = (first, last) else {
            return Ok(Self { serial: None });
        };
        let serial = &field[first..=last];
        if let Some(index) = serial.iter().position(|byte| !matches!(byte, b' '..=b'~')) {
            return Err(VpdError::SerialByte {
                offset: HEADER_LEN + first + index,
                byte: serial[index],
            });
        }
        let serial = serial.iter().copied().map(char::from).collect();
        Ok(Self { serial: Some(serial) })
    }

    /// The serial number without its padding; `None` if the device left it blank.
    pub fn serial(&self) -> Option<&str> {
        self.serial.as_deref()
    }
}

/// The part of a page after its header.
struct Content<'a> {
    bytes: &'a [u8],
    /// Set if the page length exceeds the bytes.
    cut: Option<VpdError>,
}

/// Splits the header off a page and checks its page code and length.
fn content(expected: u8, bytes: &[u8]) -> Result<Content<'_>, VpdError> {
    let Some((&[_, found, high, low], rest)) = bytes.split_first_chunk() else {
        let available = bytes.len();
        return Err(VpdError::ShortHeader { available });
    };
    if found != expected {
        return Err(VpdError::WrongPage { expected, found });
    }
    let declared = usize::from(u16::from_be_bytes([high, low]));
    let available = rest.len();
    Ok(match rest.get(..declared) {
        Some(bytes) => Content { bytes, cut: None },
        None => Content { bytes: rest, cut: Some(VpdError::PageLength { declared, available }) },
    })
}

type Decoded = Result<Designator, DesignatorFault>;

/// Splits the first designator off the rest of a page.
fn next_designator(offset: usize, rest: &[u8]) -> Result<(Decoded, &[u8]), VpdError> {
    let Some((header, rest)) = rest.split_first_chunk::<HEADER_LEN>() else {
        return Err(VpdError::DesignatorHeader { offset });
    };
    let declared = usize::from(header[3]);
    let Some((bytes, after)) = rest.split_at_checked(declared) else {
        let available = rest.len();
        return Err(VpdError::DesignatorOverrun { offset, declared, available });
    };
    Ok((Designator::decode(*header, bytes), after))
}

#[cfg(test)]
mod tests;
