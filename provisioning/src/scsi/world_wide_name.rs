//! The binary designators that are unique in the world, NAA and EUI-64, and what can be wrong with
//! the bytes of a designator.

/// What is wrong with a designator that lies within its page.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DesignatorFault {
    /// Its length is not allowed for its type.
    #[error("{kind} of {found} bytes, where the standard has {allowed}")]
    Length {
        /// The type of the designator.
        kind: &'static str,
        /// Its length in bytes.
        found: usize,
        /// The lengths the standard allows.
        allowed: &'static str,
    },
    /// The first four bits of an NAA designator are not a known format.
    #[error("NAA designator of the unknown type {0:#x}")]
    UnknownNaa(u8),
    /// The first four bits of a UUID designator are not a known format.
    #[error("UUID designator of the unknown type {0:#x}")]
    UnknownUuidType(u8),
    /// A SCSI name string that is not UTF-8, or not terminated and padded with NULs.
    #[error("SCSI name string that is not UTF-8 ended by NULs")]
    NameString,
    /// Nothing but zeros, ones or blanks instead of a name: every disk of a vendor that omitted the
    /// name has the same.
    #[error("{0} that was left blank")]
    Blank(&'static str),
}

/// An NAA designator by its format (SPC-5 7.7.6.6), including the first four bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naa {
    /// NAA 2, IEEE extended.
    Extended([u8; 8]),
    /// NAA 3, locally assigned: unique only if the administrator made it so.
    LocallyAssigned([u8; 8]),
    /// NAA 5, IEEE registered.
    Registered([u8; 8]),
    /// NAA 6, IEEE registered extended.
    RegisteredExtended([u8; 16]),
}

/// An EUI-64 based designator by its length (SPC-5 7.7.6.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eui64 {
    /// 8 bytes: the EUI-64 alone.
    Plain([u8; 8]),
    /// 12 bytes: EUI-64 and a directory identifier.
    WithDirectory([u8; 12]),
    /// 16 bytes: identifier extension and EUI-64.
    Extended([u8; 16]),
}

impl Naa {
    /// Determines the format from the first four bits and checks the length.
    ///
    /// # Errors
    ///
    /// Returns [`DesignatorFault::UnknownNaa`] for values other than 2, 3, 5 and 6,
    /// [`DesignatorFault::Length`] for NAA 6 of other than 16 bytes and the others of other than 8,
    /// and [`DesignatorFault::Blank`] for nothing but zeros or ones.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DesignatorFault> {
        match bytes.first().map(|first| first >> 4) {
            None => Err(wrong_length("NAA designator", bytes, "8 or 16")),
            Some(_) if is_blank(bytes) => Err(DesignatorFault::Blank("NAA designator")),
            Some(2) => array("NAA 2 designator", bytes, "8").map(Self::Extended),
            Some(3) => array("NAA 3 designator", bytes, "8").map(Self::LocallyAssigned),
            Some(5) => array("NAA 5 designator", bytes, "8").map(Self::Registered),
            Some(6) => array("NAA 6 designator", bytes, "16").map(Self::RegisteredExtended),
            Some(value) => Err(DesignatorFault::UnknownNaa(value)),
        }
    }

    /// The designator's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Extended(bytes) | Self::LocallyAssigned(bytes) | Self::Registered(bytes) => bytes,
            Self::RegisteredExtended(bytes) => bytes,
        }
    }
}

impl Eui64 {
    /// Determines the form from the length.
    ///
    /// # Errors
    ///
    /// Returns [`DesignatorFault::Length`] for other than 8, 12 and 16 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DesignatorFault> {
        const KIND: &str = "EUI-64 designator";
        const ALLOWED: &str = "8, 12 or 16";
        match bytes.len() {
            8 => array(KIND, bytes, ALLOWED).map(Self::Plain),
            12 => array(KIND, bytes, ALLOWED).map(Self::WithDirectory),
            _ => array(KIND, bytes, ALLOWED).map(Self::Extended),
        }
    }

    /// The designator's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Plain(bytes) => bytes,
            Self::WithDirectory(bytes) => bytes,
            Self::Extended(bytes) => bytes,
        }
    }
}

/// Whether the bytes are those of memory or flash that was never written.
pub(super) fn is_blank(bytes: &[u8]) -> bool {
    [0, 0xff].iter().any(|filler| bytes.iter().all(|byte| byte == filler))
}

pub(super) fn wrong_length(
    kind: &'static str,
    bytes: &[u8],
    allowed: &'static str,
) -> DesignatorFault {
    DesignatorFault::Length { kind, found: bytes.len(), allowed }
}

pub(super) fn array<const N: usize>(
    kind: &'static str,
    bytes: &[u8],
    allowed: &'static str,
) -> Result<[u8; N], DesignatorFault> {
    bytes.try_into().map_err(|_| wrong_length(kind, bytes, allowed))
}
