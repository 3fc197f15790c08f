//! How other files of multipath's configuration undo the policy: a blacklist that hides disks that
//! `require` demands, or a later setting of `find_multipaths`. These files are not ours to change.

use crate::disk::{Disk, DiskKind};
use crate::guard::Refusal;
use crate::multipath::blacklist::{Blacklist, BlacklistFile, Candidate, Hiding};
use crate::multipath::configuration::{Configuration, Setting};
use crate::multipath::{self, DROP_IN, MAIN_FILE, MultipathGeneration, MultipathPolicy, OwnDisks};
use crate::observe::Observed;

/// Why the policy is not in effect even with our file in place, or `None` if it is. Disks in `own`
/// are excluded on purpose.
pub(super) fn of(
    observed: &Observed,
    policy: MultipathPolicy,
    generation: MultipathGeneration,
    own: &OwnDisks,
) -> Option<Refusal> {
    let files = files_of_others(observed, generation);
    match policy {
        MultipathPolicy::Off => None,
        MultipathPolicy::Auto => overruled(&files, policy, generation),
        MultipathPolicy::Require => {
            let overruled = overruled(&files, policy, generation);
            overruled.or_else(|| hidden(observed, &files, own))
        }
    }
}

/// The files written by others, in the order in which they are read.
fn files_of_others(observed: &Observed, generation: MultipathGeneration) -> Vec<BlacklistFile<'_>> {
    let main = observed.file(MAIN_FILE).map(|text| BlacklistFile { path: MAIN_FILE, text });
    let drop_ins = observed.storage.multipath_drop_ins.iter();
    let drop_ins = drop_ins.filter(|_| generation != MultipathGeneration::MainFileOnly);
    let all = main.into_iter().chain(drop_ins.map(|(path, text)| BlacklistFile { path, text }));
    all.filter(|file| file.path != generation.file()).collect()
}

/// A file that is read after ours takes precedence.
fn overruled(
    files: &[BlacklistFile<'_>],
    policy: MultipathPolicy,
    generation: MultipathGeneration,
) -> Option<Refusal> {
    let text = multipath::policy_text(policy, generation, &OwnDisks::default()).ok()?;
    let ours = Configuration::parse([text.as_str()]);
    let mut later = files.iter().rev().filter(|file| file.path > DROP_IN);
    let said = later.find_map(|file| {
        let read = Configuration::parse([file.text]);
        let is_it =
            |one: &&Setting| one.section == ["defaults"] && one.keyword == "find_multipaths";
        Some((file.path, read.settings().iter().rev().find(is_it)?.clone()))
    });
    let (path, Setting { line, value, .. }) = said?;
    if ours.default_value("find_multipaths") == Some(value.as_str()) {
        return None;
    }
    let reason = format!(
        "line {line} of {path} says find_multipaths {value}, after {DROP_IN}, which contradicts \
         --multipath {policy}"
    );
    Some(Refusal::new(reason, format!("take that line out: sed -i '{line}d' {path}")))
}

fn hidden(observed: &Observed, files: &[BlacklistFile<'_>], own: &OwnDisks) -> Option<Refusal> {
    let blacklist = Blacklist::parse(files.iter().copied());
    let demanded = observed.disks.iter().filter(|disk| is_demanded(observed, disk, own));
    let found: Vec<(&Disk, Hiding)> = demanded
        .filter_map(|disk| Some((disk, blacklist.hides(&candidate(observed, disk))?)))
        .collect();
    let (_, row) = found.first()?;
    let by_it =
        found.iter().filter(|(_, other)| (&other.file, other.line) == (&row.file, row.line));
    let disks: Vec<String> = by_it.map(|(disk, _)| disk.path.display().to_string()).collect();
    let reason = format!(
        "{row} hides {} from multipathd, which --multipath require contradicts",
        disks.join(" ")
    );
    let hint = format!(
        "take that out of {}, or add to its blacklist_exceptions: {}; then run it again",
        row.file, row.exception
    );
    Some(Refusal::new(reason, hint))
}

/// Attached disks are used through maps; the host's own disks are left as they are.
fn is_demanded(observed: &Observed, disk: &Disk, own: &OwnDisks) -> bool {
    let if_own = observed.storage.if_own.get(&disk.name);
    let is_own = if_own.is_some_and(|one| one.plain.iter().any(|wwid| own.plain.contains(wwid)));
    let is_path = matches!(disk.kind, DiskKind::Scsi | DiskKind::Nvme);
    is_path && disk.is_attached_disk() && !is_own
}

fn candidate(observed: &Observed, disk: &Disk) -> Candidate {
    let wwid = disk.wwid.as_ref().and_then(|wwid| wwid.scsi_id_text());
    let plain = observed.storage.if_own.get(&disk.name).and_then(|own| own.plain.first().cloned());
    let properties = observed.storage.udev_properties.get(&disk.name).cloned();
    Candidate {
        name: disk.name.clone(),
        vendor: disk.vendor.clone(),
        product: disk.model.clone(),
        wwid: plain.or(wwid),
        protocols: protocols(disk),
        properties: properties.unwrap_or_default(),
    }
}

/// A virtual adapter has no transport that the kernel knows. The transport of a real one is not
/// visible here: then no row matches by protocol.
fn protocols(disk: &Disk) -> Vec<&'static str> {
    let is_virtual = disk
        .vendor
        .as_deref()
        .is_some_and(|vendor| ["VMware", "QEMU"].iter().any(|name| vendor.starts_with(name)));
    match disk.kind {
        DiskKind::Scsi if is_virtual => vec!["scsi:unspec"],
        _ => Vec::new(),
    }
}
