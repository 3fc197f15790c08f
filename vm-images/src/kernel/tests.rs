//! bzImages made here, with each compression used by Debian's kernels, and all the ways in which
//! one can be damaged.

use std::io::Write;

use liblzma::stream::{Check, Filters, LzmaOptions, Stream};
use proptest::prelude::*;

use super::*;

const SETUP_SECTORS: u8 = 3;
const PAYLOAD_AT: usize = 0x20;

/// An ELF file by its magic only, `length` bytes long, which compresses, but not to nothing.
fn elf(length: usize) -> Vec<u8> {
    let pattern = (0..length).map(|at| (at * at / 7 % 251) as u8);
    let mut bytes: Vec<u8> = b"\x7fELF".iter().copied().chain(pattern).collect();
    bytes.truncate(length);
    bytes
}

fn image(payload: &[u8]) -> Vec<u8> {
    let payload_at = (usize::from(SETUP_SECTORS) + 1) * SECTOR_BYTES + PAYLOAD_AT;
    let mut image = vec![0; payload_at];
    image[SETUP_SECTS] = SETUP_SECTORS;
    image[BOOT_FLAG..][..2].copy_from_slice(&[0x55, 0xaa]);
    image[HEADER..][..4].copy_from_slice(b"HdrS");
    image[VERSION..][..2].copy_from_slice(&0x20f_u16.to_le_bytes());
    image[PAYLOAD_OFFSET..][..4].copy_from_slice(&(PAYLOAD_AT as u32).to_le_bytes());
    image[PAYLOAD_LENGTH..][..4].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    image.extend(payload);
    image.extend(b"what follows the payload");
    image
}

fn with_size(mut packed: Vec<u8>, size: usize) -> Vec<u8> {
    packed.extend((size as u32).to_le_bytes());
    packed
}

/// As in the kernel's build: with the x86 branch filter and CRC32.
fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut filters = Filters::new();
    filters.x86().lzma2(&LzmaOptions::new_preset(1).unwrap());
    let stream = Stream::new_stream_encoder(&filters, Check::Crc32).unwrap();
    let mut encoder = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
    encoder.write_all(bytes).unwrap();
    with_size(encoder.finish().unwrap(), bytes.len())
}

/// As in the kernel's build: from a pipe, and so without the size; 128 MiB window; checksum.
fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(27).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(bytes).unwrap();
    with_size(encoder.finish().unwrap(), bytes.len())
}

/// As written by `lz4 -l`.
fn lz4(bytes: &[u8]) -> Vec<u8> {
    let mut packed = vec![0x02, 0x21, 0x4c, 0x18];
    for block in bytes.chunks(LZ4_LEGACY_BLOCK_BYTES_MAX) {
        let block = lz4_flex::block::compress(block);
        packed.extend((block.len() as u32).to_le_bytes());
        packed.extend(block);
    }
    with_size(packed, bytes.len())
}

fn vmlinux(image: &[u8]) -> Result<Vec<u8>, KernelError> {
    Payload::locate(image)?.vmlinux()
}

#[test]
fn each_compression_of_debian_gives_the_kernel_back() {
    let kernel = elf(100_000);
    let packed = [
        (Compression::Xz, xz(&kernel)),
        (Compression::Zstd, zstd(&kernel)),
        (Compression::Lz4, lz4(&kernel)),
        (Compression::None, kernel.clone()),
    ];
    for (compression, payload) in packed {
        let image = image(&payload);
        let located = Payload::locate(&image).unwrap();
        assert_eq!(located.compression(), compression);
        assert_eq!(located.bytes(), payload);
        assert!(located.vmlinux().unwrap() == kernel, "{compression}");
    }
}

#[test]
fn an_lz4_kernel_of_several_blocks_is_put_together() {
    let kernel = elf(2 * LZ4_LEGACY_BLOCK_BYTES_MAX + 1234);
    assert!(vmlinux(&image(&lz4(&kernel))).unwrap() == kernel);
}

#[test]
fn zero_setup_sectors_mean_four() {
    let kernel = elf(1000);
    let mut image = image(&kernel);
    // The offset stays the same, and the code to which it is relative moves by two sectors.
    image.splice(0x260..0x260, vec![0; SECTOR_BYTES]);
    image[SETUP_SECTS] = 0;
    assert_eq!(vmlinux(&image).unwrap(), kernel);
}

#[test]
fn every_magic_number_of_the_boot_protocol_is_known() {
    let unsupported = [
        ([0x1f, 0x8b], Compression::Gzip),
        ([0x1f, 0x9e], Compression::Gzip),
        ([0x42, 0x5a], Compression::Bzip2),
        ([0x5d, 0x00], Compression::Lzma),
    ];
    for (magic, compression) in unsupported {
        let refused = vmlinux(&image(&magic)).unwrap_err();
        let expected = format!("{compression} payloads are not unpacked");
        assert_eq!(refused.to_string(), expected);
    }
    let unknown = vmlinux(&image(b"PK")).unwrap_err();
    assert!(matches!(unknown, KernelError::UnknownCompression([b'P', b'K'])));
}

#[test]
fn what_is_no_kernel_is_told_from_an_old_one() {
    let good = image(&elf(10));
    let with = |at: usize, bytes: &[u8]| {
        let mut image = good.clone();
        image[at..at + bytes.len()].copy_from_slice(bytes);
        vmlinux(&image).unwrap_err().to_string()
    };
    let no_kernel = "the image is no x86 Linux kernel";
    assert_eq!(with(BOOT_FLAG, &[0, 0]), format!("{no_kernel}: no boot flag"));
    assert_eq!(with(HEADER, b"hdrs"), format!("{no_kernel}: no setup header"));
    let old = "boot protocol 2.07 of the image names no payload";
    assert_eq!(with(VERSION, &[7, 2]), old);
    let none = "boot protocol 2.15 of the image names no payload";
    assert_eq!(with(PAYLOAD_OFFSET, &[0; 4]), none);
    let beyond = with(PAYLOAD_OFFSET, &[0xff; 4]);
    assert!(beyond.contains("its payload reaches to"), "{beyond}");
}

#[test]
fn a_size_that_is_not_what_comes_out_is_refused() {
    let kernel = elf(10_000);
    for pack in [xz, zstd, lz4] {
        let mut payload = pack(&kernel);
        payload.truncate(payload.len() - 4);
        for named in [0, 9_999, 10_001] {
            let refused = vmlinux(&image(&with_size(payload.clone(), named)));
            assert!(
                matches!(
                    refused,
                    // LZ4 has no room for the rest, which its decoder reports as damage.
                    Err(KernelError::WrongLength { .. } | KernelError::Damaged { .. })
                ),
                "{named}: {refused:?}"
            );
        }
        let huge = vmlinux(&image(&with_size(payload, VMLINUX_BYTES_MAX + 1)));
        assert!(matches!(huge, Err(KernelError::TooLarge(_))));
    }
}

#[test]
fn what_unpacks_to_something_else_is_no_kernel() {
    let refused = vmlinux(&image(&xz(b"#!/bin/sh"))).unwrap_err();
    assert!(matches!(refused, KernelError::NotElf));
}

#[test]
fn an_image_cut_off_anywhere_is_refused() {
    let payload = lz4(&elf(500));
    let image = image(&payload);
    let end = image.len() - b"what follows the payload".len();
    assert!(vmlinux(&image[..end]).is_ok());
    for length in 0..end {
        let refused = vmlinux(&image[..length]);
        assert!(matches!(refused, Err(KernelError::Truncated { .. })), "{length}: {refused:?}");
    }
}

#[test]
fn damage_inside_the_payload_is_refused_and_named() {
    for pack in [xz, zstd] {
        let mut payload = pack(&elf(5_000));
        let middle = payload.len() / 2;
        payload[middle..middle + 8].fill(0xff);
        let refused = vmlinux(&image(&payload)).unwrap_err();
        assert!(matches!(refused, KernelError::Damaged { .. }), "{refused:?}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        choice in 0..3_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let pack = [xz, lz4, lz4][choice];
        let mut image = image(&pack(&elf(300)));
        for (index, byte) in changes {
            let at = index.index(image.len());
            image[at] = byte;
        }
        // Whatever is unpacked from a valid header and a lucky payload, it is an ELF file.
        if let Ok(kernel) = vmlinux(&image) {
            prop_assert!(kernel.starts_with(b"\x7fELF"));
        }
    }
}
