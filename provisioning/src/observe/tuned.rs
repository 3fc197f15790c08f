//! The kernel attributes that tuning sets on each disk, with their current values.

use std::path::PathBuf;

use serde::Serialize;

use crate::disk::{Disk, DiskKind};
use crate::host::Host;
use crate::tuning::DISK_TIMEOUT_SECONDS;

/// An attribute below /sys, its value, and the value it is to have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TunedAttribute {
    /// Path of the attribute.
    pub path: PathBuf,
    /// Its current value; for a choice such as the scheduler, the selected one.
    pub value: String,
    /// The value it is to have.
    pub wanted: String,
}

pub(super) fn observe(host: &Host, disks: &[Disk]) -> Vec<TunedAttribute> {
    disks.iter().flat_map(|disk| [timeout(host, disk), scheduler(host, disk)]).flatten().collect()
}

fn timeout(host: &Host, disk: &Disk) -> Option<TunedAttribute> {
    if disk.kind != DiskKind::Scsi {
        return None;
    }
    let path = PathBuf::from(format!("/sys/block/{}/device/timeout", disk.name));
    let value = host.machine().attribute(&path)?;
    Some(TunedAttribute { path, value, wanted: DISK_TIMEOUT_SECONDS.to_string() })
}

/// `none`, or `noop` as older kernels call it, if the kernel offers one of them.
fn scheduler(host: &Host, disk: &Disk) -> Option<TunedAttribute> {
    if !matches!(disk.kind, DiskKind::Scsi | DiskKind::Nvme | DiskKind::Virtio) {
        return None;
    }
    let path = PathBuf::from(format!("/sys/block/{}/queue/scheduler", disk.name));
    let offered = host.machine().attribute(&path)?;
    let (value, wanted) = scheduler_choice(&offered)?;
    Some(TunedAttribute { path, value, wanted })
}

/// The selected scheduler (in brackets) and the wanted one: `mq-deadline [none]`.
fn scheduler_choice(offered: &str) -> Option<(String, String)> {
    let plain = |word: &str| word.trim_matches(['[', ']']).to_owned();
    let words: Vec<&str> = offered.split_whitespace().collect();
    let chosen = words.iter().find(|word| word.starts_with('[')).or(words.first())?;
    let wanted =
        ["none", "noop"].into_iter().find(|name| words.iter().any(|w| plain(w) == *name))?;
    Some((plain(chosen), wanted.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::scheduler_choice;

    #[test]
    fn the_chosen_scheduler_is_in_brackets_and_the_wanted_one_must_be_offered() {
        let choice = |offered| scheduler_choice(offered);
        let pair = |chosen: &str, wanted: &str| Some((chosen.to_owned(), wanted.to_owned()));
        assert_eq!(choice("mq-deadline [none] bfq"), pair("none", "none"));
        assert_eq!(choice("noop [deadline] cfq"), pair("deadline", "noop"));
        assert_eq!(choice("none"), pair("none", "none"));
        assert_eq!(choice("[deadline] cfq"), None);
    }
}
