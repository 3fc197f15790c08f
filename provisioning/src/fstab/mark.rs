//! How our row of fstab is marked as ours.

/// The mark of our row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// `x-mtctl`: every mount(8) built on libmount keeps options that start with `x-` from the
    /// kernel (distribution releases 7 and newer, Debian, Ubuntu).
    XOption,
    /// `comment=mtctl`: the mount(8) of util-linux-ng 2.17 (release 6) passes `x-` options to the
    /// kernel, where ext4 and xfs refuse them; `comment=` it has always kept to itself. That
    /// release has no systemd either, so the row has no `x-systemd` option.
    Comment,
}

impl Mark {
    pub(super) const ALL: [Self; 2] = [Self::XOption, Self::Comment];

    /// The option that serves as the mark.
    pub fn option(self) -> &'static str {
        match self {
            Self::XOption => "x-mtctl",
            Self::Comment => "comment=mtctl",
        }
    }
}
