//! Extracts the ELF kernel (vmlinux) from a bzImage, bytes to bytes: QEMU starts it through PVH,
//! which saves the seconds that an emulated CPU would need to decompress it. No file is read here.
//!
//! Formats: the Linux/x86 boot protocol (Documentation/arch/x86/boot.rst of the kernel) for the
//! header; the kernel's build appends the uncompressed size as four bytes, little endian. The
//! supported compressions are those of Debian's kernels: xz (12), LZ4 (12, cloud), zstd (13).

use std::fmt;
use std::io::Read;

#[cfg(test)]
mod tests;

/// The largest kernel that is unpacked. Debian's have 50 to 70 MB; a damaged size must not request
/// all memory.
pub const VMLINUX_BYTES_MAX: usize = 512 << 20;

// Offsets of the setup header, from the beginning of the image.
const SETUP_SECTS: usize = 0x1f1;
const BOOT_FLAG: usize = 0x1fe;
const HEADER: usize = 0x202;
const VERSION: usize = 0x206;
const PAYLOAD_OFFSET: usize = 0x248;
const PAYLOAD_LENGTH: usize = 0x24c;

/// The first version of the protocol that gives the position of the payload.
const VERSION_WITH_PAYLOAD: u16 = 0x208;
const SECTOR_BYTES: usize = 512;

const LZ4_LEGACY_MAGIC_BYTES: usize = 4;
/// The largest unpacked size of one block in the LZ4 legacy format.
const LZ4_LEGACY_BLOCK_BYTES_MAX: usize = 8 << 20;

/// Why no kernel could be extracted from an image.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The boot flag or the magic of the setup header is missing.
    #[error("the image is no x86 Linux kernel: {0}")]
    NotAKernel(&'static str),
    /// The boot protocol is older than 2.08 or does not describe a payload.
    #[error("boot protocol {}.{:02} of the image names no payload", .version >> 8, .version & 0xff)]
    NoPayload {
        /// The protocol version as in the header: major in the high byte.
        version: u16,
    },
    /// The image ends before the header or the payload does.
    #[error("the image has {length} bytes, and its {what} reaches to {end}")]
    Truncated {
        /// The part that was cut off.
        what: &'static str,
        /// Where that part would end.
        end: usize,
        /// Length of the image.
        length: usize,
    },
    /// The payload does not begin with a magic number of the boot protocol.
    #[error("the payload begins with {0:02x?}, which is no known compression")]
    UnknownCompression([u8; 2]),
    /// A compression that is recognised but not supported.
    #[error("{0} payloads are not unpacked")]
    Unsupported(Compression),
    /// The size given by the payload exceeds [`VMLINUX_BYTES_MAX`].
    #[error("the payload claims to unpack to {0} bytes, {VMLINUX_BYTES_MAX} at most are believed")]
    TooLarge(usize),
    /// The payload cannot be unpacked.
    #[error("unpacking the {compression} payload")]
    Damaged {
        /// Its compression.
        compression: Compression,
        /// The error of the decoder.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The unpacked payload does not have the length that it states.
    #[error("the payload unpacks to {found} bytes and names {named}")]
    WrongLength {
        /// The size stated at its end.
        named: usize,
        /// How many bytes were unpacked; one more than `named` if there are more.
        found: usize,
    },
    /// The unpacked data is not an ELF file.
    #[error("what was unpacked is no ELF file")]
    NotElf,
}

/// How a payload is compressed, as listed in the boot protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Uncompressed: an ELF file.
    None,
    /// gzip, magic 1F 8B or 1F 9E.
    Gzip,
    /// bzip2, magic 42 5A.
    Bzip2,
    /// LZMA alone, magic 5D 00.
    Lzma,
    /// xz, magic FD 37.
    Xz,
    /// LZ4 in its legacy format, magic 02 21.
    Lz4,
    /// Zstandard, magic 28 B5.
    Zstd,
}

/// The payload of a bzImage: the compressed kernel in its place in the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload<'a> {
    compression: Compression,
    bytes: &'a [u8],
}

impl<'a> Payload<'a> {
    /// Finds the payload of the bzImage `image`, and determines its compression.
    ///
    /// # Errors
    ///
    /// Returns a [`KernelError`]: not a kernel, an old protocol, a truncated image, an unknown
    /// magic number.
    pub fn locate(image: &'a [u8]) -> Result<Self, KernelError> {
        if u16_at(image, BOOT_FLAG)? != 0xaa55 {
            return Err(KernelError::NotAKernel("no boot flag"));
        }
        if slice(image, HEADER, 4, "setup header")? != b"HdrS" {
            return Err(KernelError::NotAKernel("no setup header"));
        }
        let version = u16_at(image, VERSION)?;
        if version < VERSION_WITH_PAYLOAD || u32_at(image, PAYLOAD_OFFSET)? == 0 {
            return Err(KernelError::NoPayload { version });
        }
        let offset = protected_mode_offset(image)?.saturating_add(u32_at(image, PAYLOAD_OFFSET)?);
        let bytes = slice(image, offset, u32_at(image, PAYLOAD_LENGTH)?, "payload")?;
        let compression = Compression::of(bytes)?;
        Ok(Self { compression, bytes })
    }

    /// The compression of the payload.
    #[must_use]
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// The payload as it is in the image, including the size at its end.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Unpacks the kernel, which is an ELF file.
    ///
    /// # Errors
    ///
    /// Returns a [`KernelError`]: an unsupported compression, damage, a wrong size, not an ELF
    /// file.
    pub fn vmlinux(&self) -> Result<Vec<u8>, KernelError> {
        let vmlinux = match self.compression {
            Compression::None => self.bytes.to_vec(),
            Compression::Xz => {
                self.unpack_with(|packed| Ok(liblzma::read::XzDecoder::new(packed)))?
            }
            Compression::Zstd => self.unpack_with(zstd::stream::read::Decoder::new)?,
            Compression::Lz4 => self.unpack_lz4()?,
            other @ (Compression::Gzip | Compression::Bzip2 | Compression::Lzma) => {
                return Err(KernelError::Unsupported(other));
            }
        };
        if !vmlinux.starts_with(b"\x7fELF") {
            return Err(KernelError::NotElf);
        }
        Ok(vmlinux)
    }

    /// The compressed bytes, and the size appended to them.
    fn packed_and_size(&self) -> Result<(&'a [u8], usize), KernelError> {
        let (packed, size) = self.bytes.split_last_chunk().ok_or(KernelError::Truncated {
            what: "size of the payload",
            end: size_of::<u32>(),
            length: self.bytes.len(),
        })?;
        let size = length(u32::from_le_bytes(*size));
        if size > VMLINUX_BYTES_MAX {
            return Err(KernelError::TooLarge(size));
        }
        Ok((packed, size))
    }

    fn unpack_with<R: Read>(
        &self,
        decoder: impl FnOnce(&'a [u8]) -> std::io::Result<R>,
    ) -> Result<Vec<u8>, KernelError> {
        let (packed, named) = self.packed_and_size()?;
        let mut unpacked = Vec::with_capacity(named);
        decoder(packed)
            // One byte more than stated, to detect a payload that is too long.
            .and_then(|reader| reader.take(named as u64 + 1).read_to_end(&mut unpacked))
            .map_err(|error| self.damaged(error))?;
        expect_length(named, unpacked.len())?;
        Ok(unpacked)
    }

    /// LZ4's legacy format: a magic number, then blocks until the end, each preceded by its packed
    /// length.
    fn unpack_lz4(&self) -> Result<Vec<u8>, KernelError> {
        let (packed, named) = self.packed_and_size()?;
        let mut unpacked = vec![0; named];
        let (mut filled, mut at) = (0, LZ4_LEGACY_MAGIC_BYTES);
        while at < packed.len() {
            let block_length = u32_at(packed, at)?;
            let block = slice(packed, at + size_of::<u32>(), block_length, "LZ4 block")?;
            let room_end = named.min(filled + LZ4_LEGACY_BLOCK_BYTES_MAX);
            filled += lz4_flex::block::decompress_into(block, &mut unpacked[filled..room_end])
                .map_err(|error| self.damaged(error))?;
            at += size_of::<u32>() + block.len();
        }
        expect_length(named, filled)?;
        Ok(unpacked)
    }

    fn damaged(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> KernelError {
        KernelError::Damaged { compression: self.compression, source: source.into() }
    }
}

impl Compression {
    fn of(payload: &[u8]) -> Result<Self, KernelError> {
        match slice(payload, 0, 2, "magic number of the payload")? {
            [0x7f, b'E'] => Ok(Self::None),
            [0x1f, 0x8b | 0x9e] => Ok(Self::Gzip),
            [0x42, 0x5a] => Ok(Self::Bzip2),
            [0x5d, 0x00] => Ok(Self::Lzma),
            [0xfd, 0x37] => Ok(Self::Xz),
            [0x02, 0x21] => Ok(Self::Lz4),
            [0x28, 0xb5] => Ok(Self::Zstd),
            other => Err(KernelError::UnknownCompression([other[0], other[1]])),
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::None => "uncompressed",
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
            Self::Lzma => "LZMA",
            Self::Xz => "xz",
            Self::Lz4 => "LZ4",
            Self::Zstd => "zstd",
        })
    }
}

/// Where the protected-mode code begins, to which the payload's offset is relative: after the boot
/// sector and `setup_sects` more sectors, where zero means four.
fn protected_mode_offset(image: &[u8]) -> Result<usize, KernelError> {
    let sectors = match slice(image, SETUP_SECTS, 1, "setup header")?[0] {
        0 => 4,
        sectors => usize::from(sectors),
    };
    Ok((sectors + 1) * SECTOR_BYTES)
}

fn expect_length(named: usize, found: usize) -> Result<(), KernelError> {
    if named == found {
        return Ok(());
    }
    Err(KernelError::WrongLength { named, found })
}

fn slice<'a>(
    bytes: &'a [u8],
    at: usize,
    length: usize,
    what: &'static str,
) -> Result<&'a [u8], KernelError> {
    let end = at.saturating_add(length);
    bytes.get(at..end).ok_or(KernelError::Truncated { what, end, length: bytes.len() })
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, KernelError> {
    let bytes = slice(bytes, at, 2, "setup header")?;
    Ok(u16::from_le_bytes([bytes[0], bytes[1]]))
}

/// A 32-bit number as a length in memory.
fn u32_at(bytes: &[u8], at: usize) -> Result<usize, KernelError> {
    let bytes = slice(bytes, at, 4, "32-bit number")?;
    Ok(length(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])))
}

/// No machine that runs QEMU for x86-64 has smaller pointers; elsewhere, a length that does not fit
/// exceeds every image.
fn length(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
