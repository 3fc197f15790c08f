//! The VMDK descriptor: a disk's UUID, type, parent and capacity, from a text file or from inside a
//! sparse extent. Data is not read, and files are not opened here.
//!
//! The format is that of VMware's "Virtual Disk Format 5.0" technical note; extents are counted in
//! sectors of 512 bytes, and the header of a sparse extent is little-endian.

use nom::branch::alt;
use nom::bytes::complete::{tag, take, take_till, take_till1, take_while1};
use nom::character::complete::u64 as decimal;
use nom::combinator::opt;
use nom::number::complete::le_u64;
use nom::sequence::{delimited, preceded};
use nom::{IResult, Parser};

use super::dictionary::{self, Assignment, Lines, blanks, is_blank};
use super::encoding::{self, FileName};
use super::identity::DiskUuid;

/// How much of a file has to be read to find its descriptor, in bytes; that of a 62 TiB disk in
/// pieces of 2 GB still fits.
pub(crate) const HEAD_BYTES_MAX: usize = 4 << 20;
const SECTOR_BYTES: u64 = 512;
const SPARSE_MAGIC: &[u8] = b"KDMV";
const ESX_SPARSE_MAGIC: &[u8] = b"COWD";
/// The fields between the magic and the offset of the descriptor: version, flags, capacity, grain
/// size.
const BEFORE_DESCRIPTOR_OFFSET: usize = 4 + 4 + 8 + 8;

/// Why there is no descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DescriptorError {
    /// The bytes are data, or text of another kind.
    #[error("it is not a VMDK descriptor: the first row is not version=")]
    NotADescriptor,
    /// An extent of a disk whose descriptor is another file.
    #[error("it is an extent without a descriptor of its own")]
    Extent,
    /// The header of a sparse extent, or the descriptor it points to, is incomplete.
    #[error("its header names a descriptor that is not within its first {HEAD_BYTES_MAX} bytes")]
    Misplaced,
    /// Text longer than `HEAD_BYTES_MAX`.
    #[error("it is larger than {HEAD_BYTES_MAX} bytes")]
    TooLarge,
    /// A row that is neither a comment nor an extent nor an assignment. Lines count from 1.
    #[error("line {0}: it is neither an extent nor key=value")]
    Row(usize),
    /// Two different `ddb.uuid`, or one that is not 16 bytes.
    #[error("line {0}: ddb.uuid is not one UUID of 16 bytes")]
    Uuid(usize),
    /// The extents add up to more than 2^64 bytes.
    #[error("line {0}: the extents are larger than any disk")]
    Capacity(usize),
}

/// The contents of a descriptor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Descriptor {
    /// `createType`, as written: `vmfs`, `monolithicSparse`, `vmfsRawDeviceMap`, …
    pub create_type: Option<String>,
    /// `parentFileNameHint`: the disk that this one is a difference to.
    pub parent: Option<FileName>,
    /// `CID`, as written: changes whenever the disk is written to after it was opened.
    pub content_id: Option<String>,
    /// `parentCID`: the `CID` that the parent must have.
    pub parent_content_id: Option<String>,
    /// `ddb.uuid`. A snapshot's own file usually has none: then that of the base disk counts.
    pub uuid: Option<DiskUuid>,
    /// The sum of the extents in bytes.
    pub capacity_bytes: u64,
    encoding: Vec<u8>,
    has_version: bool,
}

impl Descriptor {
    /// Whether this disk is a difference to `parent`, judged by their content IDs.
    pub(crate) fn is_child_of(&self, parent: &Self) -> bool {
        self.parent_content_id.is_some() && self.parent_content_id == parent.content_id
    }
}

/// Parses the beginning of a file: all of a text descriptor, or at least as much of a sparse extent
/// as its descriptor needs (`HEAD_BYTES_MAX`).
///
/// # Errors
/// Returns a [`DescriptorError`].
pub fn parse(head: &[u8]) -> Result<Descriptor, DescriptorError> {
    if head.starts_with(ESX_SPARSE_MAGIC) {
        return Err(DescriptorError::Extent);
    }
    if let Ok((_, (offset, size))) = descriptor_place(head) {
        return parse_text(embedded(head, offset, size)?);
    }
    if head.starts_with(SPARSE_MAGIC) {
        return Err(DescriptorError::Misplaced);
    }
    if head.len() > HEAD_BYTES_MAX {
        return Err(DescriptorError::TooLarge);
    }
    parse_text(head)
}

/// The first sector, and the number of sectors, of the descriptor inside a sparse extent.
fn descriptor_place(head: &[u8]) -> IResult<&[u8], (u64, u64)> {
    let header = (tag(SPARSE_MAGIC), take(BEFORE_DESCRIPTOR_OFFSET));
    preceded(header, (le_u64, le_u64)).parse(head)
}

fn embedded(head: &[u8], offset: u64, size: u64) -> Result<&[u8], DescriptorError> {
    if offset == 0 || size == 0 {
        return Err(DescriptorError::Extent);
    }
    let bytes = |sectors: u64| usize::try_from(sectors.checked_mul(SECTOR_BYTES)?).ok();
    let range = || {
        let begin = bytes(offset)?;
        head.get(begin..begin.checked_add(bytes(size)?)?)
    };
    let padded = range().ok_or(DescriptorError::Misplaced)?;
    // The text is padded with zeros to whole sectors.
    Ok(padded.split(|byte| *byte == 0).next().unwrap_or(padded))
}

fn parse_text(text: &[u8]) -> Result<Descriptor, DescriptorError> {
    let mut descriptor = Descriptor::default();
    for (number, (line, _)) in (1..).zip(Lines(text)) {
        if dictionary::is_blank_or_comment(line) {
            continue;
        }
        if let Some(sectors) = extent(line) {
            descriptor.add_extent(number, sectors)?;
            continue;
        }
        let mut row = preceded(blanks, dictionary::assignment);
        let (_, assignment) = row.parse(line).map_err(|_| descriptor.row_error(number))?;
        descriptor.add_assignment(number, &assignment)?;
    }
    if !descriptor.has_version {
        return Err(DescriptorError::NotADescriptor);
    }
    Ok(descriptor)
}

impl Descriptor {
    fn row_error(&self, number: usize) -> DescriptorError {
        if self.has_version {
            DescriptorError::Row(number)
        } else {
            DescriptorError::NotADescriptor
        }
    }

    fn add_extent(&mut self, number: usize, sectors: u64) -> Result<(), DescriptorError> {
        let added = sectors
            .checked_mul(SECTOR_BYTES)
            .and_then(|bytes| self.capacity_bytes.checked_add(bytes));
        self.capacity_bytes = added.ok_or(DescriptorError::Capacity(number))?;
        Ok(())
    }

    fn add_assignment(
        &mut self,
        number: usize,
        assignment: &Assignment<'_>,
    ) -> Result<(), DescriptorError> {
        // VMware also recognises a descriptor by its first row.
        if !self.has_version && !assignment.is("version") {
            return Err(DescriptorError::NotADescriptor);
        }
        self.has_version = true;
        if assignment.is("encoding") {
            self.encoding = assignment.value();
        }
        let text = || encoding::decode(&assignment.value(), &self.encoding);
        if assignment.is("createType") {
            self.create_type = Some(text());
        } else if assignment.is("parentFileNameHint") {
            self.parent = Some(FileName::new(&assignment.value(), &self.encoding));
        } else if assignment.is("CID") {
            self.content_id = Some(text().to_ascii_lowercase());
        } else if assignment.is("parentCID") {
            self.parent_content_id = Some(text().to_ascii_lowercase());
        } else if assignment.is("ddb.uuid") {
            let uuid = DiskUuid::normalise(&text()).ok_or(DescriptorError::Uuid(number))?;
            if self.uuid.as_ref().is_some_and(|earlier| *earlier != uuid) {
                return Err(DescriptorError::Uuid(number));
            }
            self.uuid = Some(uuid);
        }
        Ok(())
    }
}

/// The number of sectors in an extent row: `RW 83886080 VMFS "disk-flat.vmdk" 0`.
fn extent(line: &[u8]) -> Option<u64> {
    let space = || take_while1(is_blank);
    let access = alt((tag("RW"), tag("RDONLY"), tag("NOACCESS")));
    let kind = take_till1(is_blank);
    let file = delimited(tag("\""), take_till(|byte| byte == b'"'), tag("\""));
    let parsed: IResult<&[u8], _> =
        (blanks, access, space(), decimal, space(), kind, opt(preceded(space(), file))).parse(line);
    let (_, (_, _, _, sectors, ..)) = parsed.ok()?;
    Some(sectors)
}

#[cfg(test)]
mod tests;
