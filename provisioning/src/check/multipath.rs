//! Findings about multipath: its policy, disks it claimed needlessly, lost paths.

use super::by_plan::by_plan;
use crate::disk::{Disk, DiskKind};
use crate::finding::Finding;
use crate::multipath::configuration::Configuration;
use crate::multipath::{DROP_IN, MAIN_FILE, MultipathPolicy};
use crate::observe::Observed;
use crate::plan::multipath::generation;
use crate::spec::Desired;
use crate::step::StepId;

pub(super) fn check(observed: &Observed, desired: &Desired) -> Vec<Finding> {
    let mut findings = vec![by_policy(observed, desired)];
    match desired.multipath {
        MultipathPolicy::Require => findings.extend(lost_paths(observed)),
        MultipathPolicy::Off | MultipathPolicy::Auto => findings.extend(claimed(observed)),
    }
    findings
}

/// Judges the host as it is now: a disk that is to become the retention volume is excluded when the
/// volume is made, so its future exclusion is not missing yet.
fn by_policy(observed: &Observed, desired: &Desired) -> Finding {
    let mut desired = desired.clone();
    desired.skip.insert(StepId::Retention);
    by_plan("multipath", StepId::Multipath, "multipath-tools", observed, &desired)
}

/// Disks that multipath has claimed although only one path leads to them, with the reason.
fn claimed(observed: &Observed) -> Option<Finding> {
    let single: Vec<&str> = maps(observed)
        .filter(|name| paths(observed, name).count() == 1 && !is_own(observed, name))
        .collect();
    let (first, rest) = single.split_first()?;
    let configuration =
        Configuration::parse([MAIN_FILE, DROP_IN].iter().filter_map(|path| observed.file(path)));
    let give_back = match rest {
        [] => format!("multipath -f {first} && multipath -w {first}"),
        _ => {
            let names = single.join(" ");
            format!("for map in {names}; do multipath -f $map && multipath -w $map; done")
        }
    };
    let (why, hint) = if configuration.claims_single_paths(generation(observed)) {
        // In the other order they would be claimed again.
        let hint = format!("mtctl prepare --only multipath && {give_back}");
        ("its configuration makes it claim every disk", hint)
    } else {
        ("they are in /etc/multipath/wwids", give_back)
    };
    let message = format!("multipath holds {} single-path disks: {why}", single.len());
    Some(Finding::warn("multipath", &single.join(" "), message).hint(hint))
}

/// The names of the maps.
fn maps(observed: &Observed) -> impl Iterator<Item = &str> {
    let maps = observed.disks.iter().filter(|disk| disk.kind == DiskKind::Multipath);
    maps.filter_map(|disk| disk.multipath.as_deref())
}

/// The disks that are paths of a map.
fn paths<'a>(observed: &'a Observed, map: &'a str) -> impl Iterator<Item = &'a Disk> {
    let plain = observed.disks.iter().filter(|disk| disk.kind != DiskKind::Multipath);
    plain.filter(move |disk| disk.multipath.as_deref() == Some(map))
}

/// Maps that have lost a path: it has failed, or it is gone and another map of the same model has
/// more. Nobody has said how many paths there should be: a map with one path is still a map.
fn lost_paths(observed: &Observed) -> Vec<Finding> {
    let model = |map: &str| {
        let first = paths(observed, map).next();
        first.map(|disk| (disk.vendor.clone(), disk.model.clone()))
    };
    let of_model = |wanted: &Option<_>| {
        let same = maps(observed).filter(|map| wanted.is_some() && model(map) == *wanted);
        same.map(|map| paths(observed, map).count()).max().unwrap_or(1)
    };
    let finding = |map: &str| {
        let lost = |disk: &Disk| {
            let how = observed.storage.lost_paths.get(&disk.name)?;
            Some(format!("its path {} is {how}", disk.path.display()))
        };
        let mut faults: Vec<String> = paths(observed, map).filter_map(lost).collect();
        let (has, others_have) = (paths(observed, map).count(), of_model(&model(map)));
        if has < others_have {
            let noun = if has == 1 { "path" } else { "paths" };
            faults.push(format!("has {has} {noun}, where another map has {others_have}"));
        }
        let message = (!faults.is_empty()).then(|| faults.join("; "))?;
        let hint = format!("multipath -ll {map}; dmesg | tail; repair the path, then check again");
        Some(Finding::warn("multipath", map, message).hint(hint))
    };
    maps(observed).filter_map(finding).collect()
}

fn is_own(observed: &Observed, name: &str) -> bool {
    observed.storage.own_disks.mapped.iter().any(|map| map.name == name)
}
