//! The part of an export of format 2 before its diffs: the image's own records, and the number of
//! diffs. None of it affects what is written, so only its shape is checked.

use crate::little_endian::u64_at;
use crate::stream::rbd_diff::record::Skip;
use crate::stream::{Malformed, Problem};

/// The first part of the banner: as long as a diff's, so that the two can be distinguished.
pub(super) const BANNER_START: &[u8] = b"rbd image v2";
const BANNER_END: &[u8] = b"\n";
const DIFFS_BANNER: &[u8] = b"rbd image diffs v2\n";
const COUNT_BYTES: usize = 8;

/// Takes everything between [`BANNER_START`] and the first diff.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ImageHeader {
    BannerEnd,
    Tag,
    Length { tag: u8 },
    Skip(Skip),
    Diffs,
}

impl ImageHeader {
    pub(super) fn want(self) -> usize {
        match self {
            Self::BannerEnd | Self::Tag => 1,
            Self::Length { .. } => 8,
            Self::Skip(skip) => skip.want(),
            Self::Diffs => DIFFS_BANNER.len() + COUNT_BYTES,
        }
    }

    /// Takes the bytes wanted, which begin at `offset`; returns the number of diffs once it is
    /// known.
    pub(super) fn take(&mut self, offset: u64, bytes: &[u8]) -> Result<Option<u64>, Malformed> {
        let malformed = |problem| Malformed::new(offset, problem);
        *self = match *self {
            Self::BannerEnd if bytes != BANNER_END => {
                return Err(malformed(Problem::WrongFormat("rbd image")));
            }
            Self::BannerEnd => Self::Tag,
            Self::Tag => match bytes[0] {
                b'E' => Self::Diffs,
                tag => Self::Length { tag },
            },
            Self::Length { tag } => {
                // A wrong length is reported at the beginning of its record: at the tag before it.
                let record = offset.saturating_sub(1);
                let length = u64_at(bytes, 0);
                check_length(record, tag, length)?;
                Skip::new(record, length)?.map_or(Self::Tag, Self::Skip)
            }
            Self::Skip(skip) => skip.after(bytes.len()).map_or(Self::Tag, Self::Skip),
            Self::Diffs => return diff_count(offset, bytes).map(Some),
        };
        Ok(None)
    }
}

/// Order, features, stripe unit and stripe count are one number each.
fn check_length(record: u64, tag: u8, found: u64) -> Result<(), Malformed> {
    if matches!(tag, b'O' | b'T' | b'U' | b'C') && found != 8 {
        let what = "the length of a record of the image";
        return Err(Malformed::new(record, Problem::Unexpected { what, found, expected: 8 }));
    }
    Ok(())
}

fn diff_count(offset: u64, bytes: &[u8]) -> Result<u64, Malformed> {
    let Some(count) = bytes.strip_prefix(DIFFS_BANNER) else {
        return Err(Malformed::new(offset, Problem::WrongFormat("rbd image diffs")));
    };
    match u64_at(count, 0) {
        // There is always one that leads to the head.
        0 => Err(Malformed::new(offset + DIFFS_BANNER.len() as u64, Problem::Missing("diff"))),
        count => Ok(count),
    }
}
