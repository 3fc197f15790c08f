//! What is read of a disk before it is called blank, and what that proves. Pure: the places are
//! chosen here and read by `host::content`, which never writes.

pub mod known_places;
mod piece;
pub mod samples;

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

pub use piece::{END_BYTES, Piece, SAMPLE_BYTES};
use system::size;

/// A disk of at most this many bytes is read as a whole.
pub(crate) const WHOLE_BYTES_MAX: u64 = 256 << 20;
/// How many samples are taken between the two ends.
pub(crate) const SAMPLE_COUNT: u32 = 8192;
/// The ranges that the device reports as mapped are read completely up to this many bytes; if there
/// is more, samples of them are read.
pub(crate) const MAPPED_BYTES_MAX: u64 = 1 << 30;
/// Size of one read, in bytes.
const READ_BYTES: u64 = 1 << 20;

/// What lies on a disk without a signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// Everything that was read is zero.
    Blank(Proof),
    /// Something that is not zero.
    Found(Found),
    /// Not read, or not stated by an older record: not blank.
    Untold,
}

/// The first place that is not zero.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Where, in bytes from the beginning of the disk.
    pub offset: u64,
    /// What is usually kept there.
    pub place: String,
}

/// What was read and found to be zero.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proof {
    /// Every byte of the disk.
    Whole {
        /// Size of the disk.
        bytes: u64,
    },
    /// The ends, the places where copies are kept, and samples.
    Sampled {
        /// Length of each end, in bytes.
        end_bytes: u64,
        /// Number of places between the ends where a copy of a superblock, label or table may lie.
        known_places: u32,
        /// Number of blocks of [`SAMPLE_BYTES`], spread over everything between the ends.
        samples: u32,
        /// What the device reports as mapped; `None` if it does not report it.
        mapped: Option<Mapped>,
    },
    /// Both ends only: from a record that an older version made.
    Ends,
}

/// The parts outside the ends to which a thin disk or a sparse image has allocated blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mapped {
    /// Their total, in bytes.
    pub bytes: u64,
    /// How many samples of them were read; `None` if all of them were read.
    pub samples: Option<u32>,
}

impl Content {
    /// Whether the disk is proven to hold nothing.
    pub fn is_blank(&self) -> bool {
        matches!(self, Self::Blank(_))
    }
}

impl From<bool> for Content {
    /// What a record of an older version states: whether both ends are zero.
    fn from(blank: bool) -> Self {
        if blank { Self::Blank(Proof::Ends) } else { Self::Untold }
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blank(proof) => proof.fmt(f),
            Self::Found(found) => {
                write!(f, "not zero at byte {} ({})", found.offset, found.place)
            }
            Self::Untold => f.write_str("its content was not recorded"),
        }
    }
}

impl fmt::Display for Proof {
    /// What was looked at, as the plan prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole { bytes } => write!(f, "all of its {} are zero", size::binary(*bytes)),
            Self::Ends => f.write_str("both ends are zero"),
            Self::Sampled { known_places, samples, mapped, .. } => {
                write!(f, "both ends, {known_places} known places and {samples} samples are zero")?;
                match mapped {
                    None => {}
                    Some(Mapped { bytes: 0, .. }) => f.write_str(", and nothing else is mapped")?,
                    Some(Mapped { bytes, samples: None }) => {
                        write!(f, ", and so is all that is mapped ({})", size::binary(*bytes))?;
                    }
                    Some(Mapped { bytes, samples: Some(samples) }) => {
                        let bytes = size::binary(*bytes);
                        write!(f, ", and {samples} samples of the {bytes} that are mapped")?;
                    }
                }
                if self.is_certain() {
                    return Ok(());
                }
                let percent = 100.0 * chance_to_miss(0.001, *samples);
                write!(
                    f,
                    "; if one block in a thousand has content, it is missed with a probability of \
                     {percent:.2} %"
                )
            }
        }
    }
}

impl Proof {
    /// Whether every byte was read, or has no block allocated by the device.
    pub(crate) fn is_certain(&self) -> bool {
        match self {
            Self::Whole { .. } => true,
            Self::Sampled { mapped, .. } => mapped.is_some_and(|mapped| mapped.samples.is_none()),
            Self::Ends => false,
        }
    }
}

/// The probability that `samples` samples all miss content that fills the fraction `filled` of the
/// blocks, scattered at random. Content that is not scattered is missed less often, because samples
/// leave no large gap.
pub(crate) fn chance_to_miss(filled: f64, samples: u32) -> f64 {
    (1.0 - filled).powf(f64::from(samples))
}

/// What is read of a disk after its [`ends`], and what both prove if they are zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// In reading order: the places most likely to hold something come first.
    pub pieces: Vec<Piece>,
    /// What is proven if all of them are zero.
    pub proof: Proof,
}

/// What is read first of a disk of `size_bytes`: most disks that hold something show it here.
pub fn ends(size_bytes: u64) -> Vec<Piece> {
    let mut pieces = Vec::new();
    if size_bytes > WHOLE_BYTES_MAX {
        push(&mut pieces, 0..END_BYTES, "the beginning");
        push(&mut pieces, size_bytes - END_BYTES..size_bytes, "the end");
    }
    pieces
}

/// What is read of a disk of `size_bytes` with sectors of `sector_bytes`. `seed` selects the
/// samples; `mapped` is what the device reports as allocated, if it reports that.
pub fn look(size_bytes: u64, sector_bytes: u32, seed: u64, mapped: Option<&[Range<u64>]>) -> Look {
    let mut pieces = Vec::new();
    if size_bytes <= WHOLE_BYTES_MAX {
        push(&mut pieces, 0..size_bytes, "anywhere");
        return Look { pieces, proof: Proof::Whole { bytes: size_bytes } };
    }
    let block = SAMPLE_BYTES.max(u64::from(sector_bytes));
    let middle = END_BYTES..size_bytes - END_BYTES;
    let known = known_places::known_places(size_bytes, sector_bytes);
    let known_places = u32::try_from(known.len()).unwrap_or(u32::MAX);
    known.into_iter().for_each(|place| push(&mut pieces, place.range, place.what));
    let samples = samples::samples(std::slice::from_ref(&middle), block, SAMPLE_COUNT, seed);
    let count = u32::try_from(samples.len()).unwrap_or(u32::MAX);
    push_samples(&mut pieces, &samples, block, size_bytes, "a sample");
    let mapped = mapped.map(|mapped| push_mapped(&mut pieces, mapped, &middle, block, seed));
    let proof = Proof::Sampled { end_bytes: END_BYTES, known_places, samples: count, mapped };
    Look { pieces, proof }
}

fn push(pieces: &mut Vec<Piece>, range: Range<u64>, what: &'static str) {
    let mut at = range.start;
    while at < range.end {
        let end = range.end.min(at + READ_BYTES);
        pieces.push(Piece { range: at..end, what });
        at = end;
    }
}

fn push_samples(
    pieces: &mut Vec<Piece>,
    samples: &[u64],
    block: u64,
    end: u64,
    what: &'static str,
) {
    let piece = |at: &u64| Piece { range: *at..(*at + block).min(end), what };
    pieces.extend(samples.iter().map(piece));
}

/// Everything that is mapped in `middle`, or samples of it if that is too much.
fn push_mapped(
    pieces: &mut Vec<Piece>,
    mapped: &[Range<u64>],
    middle: &Range<u64>,
    block: u64,
    seed: u64,
) -> Mapped {
    const WHAT: &str = "a block that the device has mapped";
    let whole_blocks = |range: &Range<u64>| {
        let start = (range.start / block * block).max(middle.start);
        let end = range.end.div_ceil(block).saturating_mul(block).min(middle.end);
        (start < end).then_some(start..end)
    };
    let mapped: Vec<Range<u64>> = mapped.iter().filter_map(whole_blocks).collect();
    let bytes = mapped.iter().map(|range| range.end - range.start).sum();
    if bytes <= MAPPED_BYTES_MAX {
        mapped.into_iter().for_each(|range| push(pieces, range, WHAT));
        return Mapped { bytes, samples: None };
    }
    let samples = samples::samples(&mapped, block, SAMPLE_COUNT, !seed);
    push_samples(pieces, &samples, block, middle.end, WHAT);
    Mapped { bytes, samples: u32::try_from(samples.len()).ok() }
}

#[cfg(test)]
mod tests;
