//! Compresses and decompresses the payload of one batch: lz4 or zstd, a whole batch at a time,
//! bounded.

use crate::stream::Problem;

/// Fast enough to keep up with a disk; higher levels gain little on disk content.
const ZSTD_LEVEL: i32 = 1;

/// How a batch's payload is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// LZ4 block format.
    Lz4,
    /// Zstandard.
    Zstd,
}

/// Unpacks `stored` to exactly `unpacked.len()` bytes. After an error, the content of `unpacked` is
/// meaningless.
///
/// # Errors
///
/// [`Problem::Compression`] if the length differs, or the data is not compressed with `method`.
pub fn unpack(method: Method, stored: &[u8], unpacked: &mut [u8]) -> Result<(), Problem> {
    let length = match method {
        Method::Lz4 => lz4_flex::block::decompress_into(stored, unpacked)
            .map_err(|error| Problem::Compression(error.to_string()))?,
        Method::Zstd => zstd::bulk::decompress_to_buffer(stored, unpacked)
            .map_err(|error| Problem::Compression(error.to_string()))?,
    };
    if length != unpacked.len() {
        let expected = unpacked.len();
        return Err(Problem::Compression(format!("{length} bytes instead of {expected}")));
    }
    Ok(())
}

/// Packs `unpacked`; `None` if it would not be at least `gain` bytes shorter.
#[must_use]
pub fn pack(method: Method, unpacked: &[u8], gain: usize) -> Option<Vec<u8>> {
    let capacity = match method {
        Method::Lz4 => lz4_flex::block::get_maximum_output_size(unpacked.len()),
        Method::Zstd => unpacked.len(),
    };
    let mut stored = vec![0; capacity];
    // Either fails only if the buffer is too small: then the result is not shorter.
    let length = match method {
        Method::Lz4 => lz4_flex::block::compress_into(unpacked, &mut stored).ok()?,
        Method::Zstd => zstd::bulk::compress_to_buffer(unpacked, &mut stored, ZSTD_LEVEL).ok()?,
    };
    stored.truncate(length);
    (length.checked_add(gain)? <= unpacked.len()).then_some(stored)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOTH: [Method; 2] = [Method::Lz4, Method::Zstd];

    #[test]
    fn what_was_packed_unpacks_to_exactly_its_length_and_to_no_other() {
        let text: Vec<u8> = (0..40_000_u32).flat_map(|number| (number / 9).to_le_bytes()).collect();
        for method in BOTH {
            let packed = pack(method, &text, 4096).unwrap();
            let mut unpacked = vec![0xAA; text.len()];
            unpack(method, &packed, &mut unpacked).unwrap();
            assert_eq!(unpacked, text);
            for wrong in [0, 1, text.len() - 1, text.len() + 1] {
                let refused = unpack(method, &packed, &mut vec![0; wrong]);
                assert!(matches!(refused, Err(Problem::Compression(_))), "{method:?} {wrong}");
            }
            let cut = unpack(method, &packed[..packed.len() - 1], &mut unpacked);
            assert!(matches!(cut, Err(Problem::Compression(_))), "{method:?}");
        }
    }

    #[test]
    fn what_does_not_become_shorter_is_not_packed() {
        let mut state = 1_u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .take(10_000)
        .collect();
        for method in BOTH {
            assert_eq!(pack(method, &noise, 0), None);
            assert_eq!(pack(method, &[0; 4096], 4096), None);
            assert!(pack(method, &[0; 8192], 4096).is_some());
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_unpacked_or_refused(
            stored in prop::collection::vec(any::<u8>(), 0..200), length in 0_usize..5000,
        ) {
            for method in BOTH {
                let mut unpacked = vec![0; length];
                match unpack(method, &stored, &mut unpacked) {
                    Ok(()) => {}
                    Err(Problem::Compression(text)) => prop_assert!(!text.is_empty()),
                    Err(other) => prop_assert!(false, "{other}"),
                }
            }
        }
    }
}
