//! Which inputs were applied by an earlier run, as far as that is known before any is read. Whether
//! a stream may be applied is decided by `admission`.

use crate::apply::StreamArgument;
use crate::apply::source::Beginning;
use crate::journal::state::{APPLIED_COUNT_MAX, Fingerprint, VolumeState};

/// How many of `inputs` come before the one that the group is in the middle of: those were applied
/// by the run that was cut short. `None` if it is in the middle of none of them, or if one of the
/// volumes is not known to have come that far (it may have failed, and been left behind): then each
/// input is decided for each volume.
pub(super) fn begun_before(run: &Beginning<'_>, inputs: &[StreamArgument]) -> Option<usize> {
    let volumes = &run.group.state().volumes;
    let is_in = |volume: &VolumeState, one: &Fingerprint| {
        volume.in_between.as_ref().is_some_and(|begun| begun.input == *one)
    };
    if volumes.values().all(|volume| volume.in_between.is_none()) {
        return None;
    }
    let known = inputs.iter().map(|input| input.fingerprint(run.options.format, run.pool.clone()));
    let mut before = Vec::new();
    for fingerprint in known {
        let fingerprint = fingerprint?;
        if volumes.values().any(|volume| is_in(volume, &fingerprint)) {
            let has_passed = |one: &Fingerprint| {
                let has = |volume: &VolumeState| volume.applied.contains(one);
                let mut all = run.volumes.iter().map(|name| volumes.get(name));
                // A volume in the middle of this one has every earlier input that it was in.
                let has_all = all.all(|v| v.is_some_and(|v| has(v) || is_in(v, &fingerprint)));
                has_all && volumes.values().any(has)
            };
            // No more than these are remembered.
            let mut last = before.iter().rev().take(APPLIED_COUNT_MAX);
            return last.all(has_passed).then_some(before.len());
        }
        before.push(fingerprint);
    }
    None
}
