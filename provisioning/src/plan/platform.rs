//! Step `platform`: is this a machine and a distribution that can become a master target?

use super::planned_step::PlannedStep;
use crate::guard::Refusal;
use crate::observe::Observed;
use crate::platform::Family;
use crate::spec::{Desired, Profile};
use crate::step::StepId;
use system::size;

/// Memory that the procedure requires, in bytes. Firmware reserves some of it, so a tenth may be
/// missing.
pub(crate) const MEMORY_BYTES_MIN: u64 = (6 << 30) / 10 * 9;
/// Cores that the procedure requires.
pub(crate) const CORES_MIN: usize = 4;

pub(super) fn plan(observed: &Observed, desired: &Desired) -> PlannedStep {
    let id = StepId::Platform;
    let platform = &observed.platform;
    if !platform.is_root {
        let refusal = Refusal::new("prepare is not running as root", "sudo mtctl prepare …");
        return PlannedStep::refused(id, refusal);
    }
    if platform.distribution.family == Family::Unknown {
        let reason = format!("the distribution is unknown: {}", platform.distribution.pretty_name);
        return PlannedStep::not_ready(id, reason, "use Debian, Ubuntu or the RHEL family");
    }
    if desired.profile == Profile::Asr && !platform.is_vmware() && !platform.is_image {
        let reason = format!("profile asr: not a VMware machine but '{}'", platform.system_vendor);
        return PlannedStep::not_ready(id, reason, "use a VMware VM, or --profile generic");
    }
    let mut warnings = Vec::new();
    if platform.memory_bytes < MEMORY_BYTES_MIN {
        let memory = size::binary(platform.memory_bytes);
        warnings.push(format!("{memory} of memory; the procedure asks for 6 GiB"));
    }
    if platform.cores < CORES_MIN {
        warnings.push(format!("{} cores; the procedure asks for {CORES_MIN}", platform.cores));
    }
    let warning = (!warnings.is_empty()).then(|| warnings.join("; "));
    PlannedStep { warning, ..PlannedStep::as_wanted(id, platform.distribution.pretty_name.clone()) }
}
