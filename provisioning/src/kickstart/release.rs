//! The releases of the CentOS/RHEL family, oldest first, and what each supports. No syntax here.

use std::fmt;

use super::refusal;
use system::error::Result;

/// A major release; ordered, so that "since 8" is a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Release {
    /// 6: kernel 2.6.32, upstart, anaconda 13.
    El6,
    /// 7: kernel 3.10, systemd 219, anaconda 21.
    El7,
    /// 8: kernel 4.18, anaconda 29 and later.
    El8,
    /// 9: kernel 5.14, anaconda 34.
    El9,
    /// 10: kernel 6.12, anaconda 40.
    El10,
}

impl Release {
    /// Every release, oldest first.
    pub const ALL: [Self; 5] = [Self::El6, Self::El7, Self::El8, Self::El9, Self::El10];

    /// The release with this number.
    ///
    /// # Errors
    ///
    /// Returns a usage error for anything else.
    pub fn parse(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|release| release.to_string() == text).ok_or_else(|| {
            refusal::of("--release", text, "it is not one of 6, 7, 8, 9 and 10").with_hint(
                "give the major release alone: --release 9 for every 9.x of CentOS, RHEL, \
                 AlmaLinux, Rocky or Oracle Linux",
            )
        })
    }

    /// The major number.
    pub fn number(self) -> u8 {
        match self {
            Self::El6 => 6,
            Self::El7 => 7,
            Self::El8 => 8,
            Self::El9 => 9,
            Self::El10 => 10,
        }
    }

    /// Whether pykickstart knows the command `sshkey` for this release.
    pub(super) fn has_sshkey_command(self) -> bool {
        self >= Self::El8
    }

    /// Whether mtctl runs on it: mtctl needs Linux 3.2 or later, and 6 has 2.6.32.
    pub fn runs_mtctl(self) -> bool {
        self > Self::El6
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.number())
    }
}
