//! What must be true of a disk before it may be formatted. Pure: the same checks are applied to the
//! disk as planned and, right before mkfs, to the disk as it is then (`apply::format`).

use std::path::Path;

use serde::Serialize;

use crate::blank::Content;
use crate::disk::{Disk, Use};
use crate::filesystem::{RETENTION_BYTES_MIN, RetentionFilesystem, Signature};
use crate::groups::Groups;
use crate::record::FormatIntent;
use crate::step::Consent;
use system::error::Error;
use system::size;

/// A refusal: why, and what to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong, and with what.
    pub reason: String,
    /// What to do now.
    pub hint: String,
}

impl Refusal {
    /// A refusal with its hint.
    pub fn new(reason: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { reason: reason.into(), hint: hint.into() }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::refused(refusal.reason).with_hint(refusal.hint)
    }
}

/// Whether `disk` may be formatted, and why: blank, named with --destroy, or begun by us earlier.
/// `all` are the disks of the host, including `disk`; `groups` is what is known about the groups
/// that write to them.
///
/// # Errors
/// Returns the first reason against it.
pub fn may_format(
    disk: &Disk,
    all: &[Disk],
    groups: &Groups,
    is_named_for_destruction: bool,
    begun: Option<&Begun>,
) -> Result<Consent, Refusal> {
    check_formattable(disk)?;
    check_unused(disk)?;
    check_no_group(disk)?;
    check_understood(groups)?;
    check_unambiguous(disk, all)?;
    if let Some(problem) = &disk.problem {
        let reason = format!("{} could not be examined: {problem}", disk.path.display());
        return Err(Refusal::new(reason, "run as root; see: dmesg | tail"));
    }
    let is_unfinished = begun.is_some_and(|begun| begun.is_left_on(disk));
    match () {
        () if disk.used_by.is_empty() => Ok(Consent::Blank),
        () if is_unfinished => Ok(Consent::Unfinished),
        () if is_named_for_destruction => Ok(Consent::Destroy),
        () => Err(has_content(disk)),
    }
}

fn check_formattable(disk: &Disk) -> Result<(), Refusal> {
    let path = disk.path.display();
    let another = "name another disk: mtctl disks lists them";
    if let Some(why) = disk.kind.no_retention() {
        let reason = format!("{path} {why}");
        return Err(Refusal::new(reason, "name a whole disk: mtctl disks lists them"));
    }
    if disk.size_bytes == 0 {
        return Err(Refusal::new(format!("{path} has no capacity (0 bytes)"), another));
    }
    if disk.size_bytes < RETENTION_BYTES_MIN {
        let (has, needs) = (size::binary(disk.size_bytes), size::binary(RETENTION_BYTES_MIN));
        let reason =
            format!("{path} is too small for retention: it has {has}, but {needs} are needed");
        return Err(Refusal::new(reason, another));
    }
    if disk.read_only {
        return Err(Refusal::new(format!("{path} is read-only"), another));
    }
    if disk.known_by.is_none() {
        let reason = format!("{path} has no identity by which it can be recognised again");
        let hint = match disk.is_vmware_virtual() {
            true => "set disk.EnableUUID = \"TRUE\": mtctl vmx --fix FILE",
            false => "give it a serial number or WWN of its own in the hypervisor, or name another",
        };
        return Err(Refusal::new(reason, hint));
    }
    Ok(())
}

/// Whether `filesystem` can be made on a disk of this size at all.
///
/// # Errors
/// Returns a refusal that names the size it needs.
pub(crate) fn check_large_enough(
    disk: &Disk,
    filesystem: RetentionFilesystem,
) -> Result<(), Refusal> {
    let needed = filesystem.disk_bytes_min();
    if disk.size_bytes >= needed {
        return Ok(());
    }
    let (has, needs) = (size::binary(disk.size_bytes), size::binary(needed));
    let path = disk.path.display();
    let reason =
        format!("{path} is too small for {filesystem}: it has {has}, but {needs} are needed");
    Err(Refusal::new(reason, "name a larger disk, or another --filesystem"))
}

fn check_unused(disk: &Disk) -> Result<(), Refusal> {
    let path = disk.path.display();
    let users: Vec<&Use> = disk.used_by.iter().filter(|one| one.is_active()).collect();
    for user in &users {
        match user {
            Use::System => {
                let reason = format!("{path} carries the running system ({})", listed(&users[1..]));
                return Err(Refusal::new(reason, "name another disk: mtctl disks lists them"));
            }
            Use::MultipathPath(map) => {
                let reason = format!("{path} is a path of the multipath map {map}");
                let hint = format!("name the map: --retention-disk /dev/mapper/{map}");
                return Err(Refusal::new(reason, hint));
            }
            Use::Mounted(_)
            | Use::Swap
            | Use::LogicalVolume(_)
            | Use::RaidArray(_)
            | Use::Holder(_)
            | Use::Loop(_)
            | Use::Group { .. }
            | Use::PartitionTable(_)
            | Use::LvmMember
            | Use::RaidMember
            | Use::Signature(_)
            | Use::UnknownContent => {}
        }
    }
    if users.is_empty() {
        return Ok(());
    }
    let reason = format!("{path} is in use ({})", listed(&users));
    Err(Refusal::new(reason, format!("find what uses it with: lsblk {path}; fuser -vm {path}")))
}

/// A disk that a group writes to is replicated: zeros on it prove nothing, and no option overrides
/// that.
fn check_no_group(disk: &Disk) -> Result<(), Refusal> {
    let group = disk.used_by.iter().find_map(|one| match one {
        Use::Group { name, state } => Some((name, state)),
        _ => None,
    });
    let Some((name, state)) = group else { return Ok(()) };
    let path = disk.path.display();
    let reason = format!("{path} is a target of the protection group {name} ({})", state.display());
    let hint = format!(
        "name another disk; to make the group release this one: mtctl group release --group {name} \
         {}",
        options_for(name, state)
    );
    Err(Refusal::new(reason, hint))
}

/// The options that select the group `name` with this state file. A directory named after the group
/// also contains its history, if it has any.
fn options_for(name: &str, state: &Path) -> String {
    let directory = state.parent().unwrap_or(state);
    let has_all = directory.ends_with(name);
    let history = if has_all { "--retention none " } else { "" };
    format!("{history}--state-dir {}", directory.display())
}

/// Whether the targets of every group on this host are known.
///
/// # Errors
/// Returns a refusal for the first group whose targets are not known: it could write to any disk.
pub fn check_understood(groups: &Groups) -> Result<(), Refusal> {
    let Some(unreadable) = groups.unreadable.first() else { return Ok(()) };
    let (path, why) = (unreadable.path.display(), &unreadable.reason);
    let reason = format!("it is unknown which disks a protection group writes to: {path}: {why}");
    let hint = format!(
        "nothing is formatted until that is known: repair it, or, if the group is no longer \
         needed, move it away: mv {path} /root/"
    );
    Err(Refusal::new(reason, hint))
}

fn listed(users: &[&Use]) -> String {
    let words: Vec<String> = users.iter().map(ToString::to_string).collect();
    words.join(", ")
}

/// Refuses if two nodes lead to one disk: O_EXCL on one of them does not cover the other.
fn check_unambiguous(disk: &Disk, all: &[Disk]) -> Result<(), Refusal> {
    let is_a_path = |other: &Disk| other.multipath.is_some() && other.multipath == disk.multipath;
    let twin = all.iter().find(|other| {
        other.name != disk.name
            && other.known_by.is_some()
            && other.known_by == disk.known_by
            && !is_a_path(other)
    });
    let Some((twin, identity)) = twin.zip(disk.known_by.as_ref()) else { return Ok(()) };
    let reason = format!(
        "{} and {} have the same {identity}: two ways to one disk, or clones of one template",
        disk.path.display(),
        twin.path.display()
    );
    Err(Refusal::new(reason, "two paths: mtctl prepare --multipath require; clones: detach one"))
}

fn has_content(disk: &Disk) -> Refusal {
    let users: Vec<&Use> = disk.used_by.iter().collect();
    let found = match &disk.content {
        Some(content @ Content::Found(_)) => format!(": {content}"),
        _ => String::new(),
    };
    let reason = format!("{} is not blank ({}{found})", disk.path.display(), listed(&users));
    let name =
        disk.wwid.as_ref().map_or_else(|| disk.path.display().to_string(), |w| w.to_string());
    Refusal::new(reason, format!("if its content may be destroyed, add: --destroy {name}"))
}

/// A format interrupted by a crash, and what is known of the filesystem it was making.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Begun {
    /// What was recorded before the first byte changed.
    pub intent: FormatIntent,
    /// The filesystem was mounted since, or is complete: its contents belong to somebody.
    pub is_in_use: bool,
}

impl Begun {
    /// Whether `disk` is in the state that the crash left: it is exactly the recorded disk, and it
    /// shows either no signature or our new filesystem, which nobody can have used. If the
    /// destruction of content was agreed to but not begun, it must be agreed to again, because the
    /// content may have changed since.
    pub(crate) fn is_left_on(&self, disk: &Disk) -> bool {
        let is_the_disk = disk.known_by.as_ref() == Some(&self.intent.disk)
            && disk.size_bytes == self.intent.size_bytes;
        let no_signature = disk.signature == Signature::default();
        is_the_disk && (no_signature || (self.is_ours(&disk.signature) && !self.is_in_use))
    }

    /// Whether this is the filesystem that was being made.
    pub fn is_ours(&self, found: &Signature) -> bool {
        let uuid = self.intent.uuid.hyphenated().to_string();
        found.carries(&uuid) == Some(self.intent.filesystem)
    }
}
