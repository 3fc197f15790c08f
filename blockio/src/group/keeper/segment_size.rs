//! How long the segments of a history are.

use crate::Result;
use crate::journal::log::failed;
use crate::journal::retention::Policy;
use crate::storage::Storage;

/// The maximum length of a segment, in bytes. Between this and the minimum, it is a fraction of
/// what the history may take by the volume or the policy.
const SEGMENT_BYTES_MAX: u64 = 256 << 20;
/// The minimum length of a segment, in bytes.
const SEGMENT_BYTES_MIN: u64 = 8 << 20;
/// The divisor of that fraction.
const SEGMENTS_ON_A_VOLUME: u64 = 64;

/// The length of a segment, in bytes, if it is not given: derived from the size of the volume in
/// `storage`.
///
/// # Errors
///
/// `Failed`: the size of the volume cannot be determined.
pub(crate) fn segment_bytes(storage: &dyn Storage, policy: &Policy) -> Result<u64> {
    let space = storage.space().map_err(failed(storage, "querying the size of its volume"))?;
    let all = policy.journal_bytes_max.unwrap_or(u64::MAX).min(space.total_bytes);
    let usual = (all / SEGMENTS_ON_A_VOLUME) >> 20 << 20;
    Ok(usual.clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX))
}
