//! Makes the retention filesystem: the one irreversible action. Everything the plan saw of the disk
//! is checked again before the first byte changes.

use std::ops::ControlFlow;
use std::path::Path;

use super::progress::{Event, Watch, go_on};
use crate::disk::inventory::Signatures;
use crate::disk::{self, Disk};
use crate::filesystem;
use crate::groups::{self, Groups};
use crate::guard::{self, Begun};
use crate::host::{Host, Invocation};
use crate::observe;
use crate::platform;
use crate::record::{self, FormatIntent, RetentionRecord};
use crate::spec::Desired;
use crate::step::{Consent, Format};
use system::error::{Error, Result};

/// Formats. Durable states in order, and what a crash after each leaves:
///
/// 1. the intent is recorded: the disk is unchanged; if it has content, the next run asks again for
///    the agreement to destroy it;
/// 2. old signatures are wiped: a disk without a signature, ours to format by the intent;
/// 3. mkfs has run, in part or to its end: formatted again by the intent unless it was mounted
///    since, and recorded as it is if it was (`guard::Begun`);
/// 4. the record names the volume and the intent is gone: the next run only mounts it.
///
/// A program that fails removes the intent: somebody knows about the failure then, and whatever is
/// on the disk from then on is not formatted unless it is named. A program that is killed leaves
/// the intent, like a crash.
pub(super) fn format(
    host: &Host,
    planned: &Format,
    desired: &Desired,
    watch: Watch<'_>,
) -> Result<()> {
    // While this is open, the kernel does not reuse the device number for another disk.
    let pinned = host.open_device(&planned.path)?;
    if pinned.device_number() != planned.device_number {
        return Err(changed(planned, "the path leads to another device"));
    }
    let (disks, groups) = observe_again(host)?;
    let found = disks.iter().find(|disk| disk.path == planned.path);
    let disk = found.ok_or_else(|| changed(planned, "it is gone"))?;
    check_same_disk(planned, disk)?;
    check_still_allowed(host, planned, disk, (&disks, &groups), desired)?;
    // Closed before mkfs runs, which wants the device exclusively itself.
    let exclusive = host.open_device_exclusively(&planned.path)?;
    if planned.consent == Consent::Blank {
        let content = host.content_of(&exclusive)?;
        if !content.is_blank() {
            return Err(changed(planned, &format!("it is no longer blank: {content}")));
        }
    }
    drop(exclusive);
    // Before anything is wiped, make sure that mkfs is installed and starts.
    host.ask_checked(&Invocation::new(planned.filesystem.mkfs_program()).argument("-V"))?;
    remember_intent(host, planned)?;
    let flow = match make(host, planned, watch) {
        Ok(flow) => flow,
        Err(Unmade::CutOff(error)) => return Err(error),
        Err(Unmade::Failed(error)) => {
            forget_intent(host)?;
            return Err(error);
        }
    };
    drop(pinned);
    settle(host);
    adopt(host, &volume(planned))?;
    go_on(flow)
}

/// Why the filesystem was not made.
enum Unmade {
    /// The operator, a program or the device refused.
    Failed(Error),
    /// A program was killed halfway.
    CutOff(Error),
}

impl From<Error> for Unmade {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

fn remember_intent(host: &Host, planned: &Format) -> Result<()> {
    let mut record = record::load(host)?;
    record.formatting = Some(FormatIntent {
        machine: platform::machine(host),
        disk: planned.disk.clone(),
        size_bytes: planned.size_bytes,
        filesystem: planned.filesystem,
        uuid: planned.uuid,
        replaces: planned.signature.clone(),
    });
    record::store(host, &record)
}

fn forget_intent(host: &Host) -> Result<()> {
    let mut record = record::load(host)?;
    record.formatting = None;
    record::store(host, &record)
}

/// Wipes the disk and makes the filesystem. Stopping is possible until the first byte changes, and
/// then only at the end, because there is nothing to go back to. Returns whether to stop then.
fn make(
    host: &Host,
    planned: &Format,
    watch: Watch<'_>,
) -> std::result::Result<ControlFlow<()>, Unmade> {
    go_on(watch(&Event::Reached("the intent is recorded")))?;
    let mut flow = ControlFlow::Continue(());
    if planned.consent != Consent::Blank {
        let wipe = Invocation::new("wipefs").arguments(["--all", "--quiet"]);
        run(host, &wipe.argument(planned.path.display().to_string()))?;
        flow = watch(&Event::Reached("the old signatures are wiped"));
    }
    let Format { path, uuid, features, size_bytes, .. } = planned;
    run(host, &planned.filesystem.mkfs(path, *uuid, *features, *size_bytes))?;
    let stop = watch(&Event::Reached("the filesystem is made, not recorded"));
    check_made(host, planned)?;
    Ok(if flow.is_break() { flow } else { stop })
}

fn run(host: &Host, invocation: &Invocation) -> std::result::Result<(), Unmade> {
    let output = host.change_output(invocation, &mut |_| {})?;
    let was_killed = output.status.is_none();
    let error = output.into_stdout(invocation).err();
    error.map_or(Ok(()), |error| {
        Err(if was_killed { Unmade::CutOff(error) } else { Unmade::Failed(error) })
    })
}

fn volume(planned: &Format) -> RetentionRecord {
    RetentionRecord {
        disk: planned.disk.clone(),
        filesystem: planned.filesystem,
        uuid: planned.uuid.hyphenated().to_string(),
    }
}

/// Records `volume`, and forgets in the same write the format that made it.
pub(super) fn adopt(host: &Host, volume: &RetentionRecord) -> Result<()> {
    let mut record = record::load(host)?;
    record.formatting = None;
    record.retention = Some(volume.clone());
    record::store(host, &record)
}

/// Lets udev process the new filesystem, so that mounting by UUID finds it. If udev is late,
/// mount(8) looks at the disks itself.
fn settle(host: &Host) {
    if host.machine().exists("/run/udev/control") {
        let _ = host.ask(&Invocation::new("udevadm").arguments(["settle", "--timeout=30"]));
    }
}

fn observe_again(host: &Host) -> Result<(Vec<Disk>, Groups)> {
    let mounts = observe::mount_table(host)?;
    let swaps = observe::swaps(host)?;
    let groups = groups::observe(host, mounts.mounts());
    let signatures = Signatures::Direct;
    Ok((disk::inventory::observe(host, mounts.mounts(), &swaps, &groups, signatures), groups))
}

fn check_same_disk(planned: &Format, disk: &Disk) -> Result<()> {
    if disk.known_by.as_ref() != Some(&planned.disk) {
        let now = disk.known_by.as_ref().map_or("none".to_owned(), ToString::to_string);
        return Err(changed(planned, &format!("it was {}, but is {now}", planned.disk)));
    }
    if disk.size_bytes != planned.size_bytes {
        let (was, is) = (planned.size_bytes, disk.size_bytes);
        return Err(changed(planned, &format!("it had {was} bytes, but has {is}")));
    }
    if disk.diskseq != planned.diskseq || disk.device_number != planned.device_number {
        return Err(changed(planned, "it was detached and attached again"));
    }
    if disk.signature != planned.signature {
        let (was, is) = (&planned.signature, &disk.signature);
        return Err(changed(planned, &format!("it had {was}, but has {is}")));
    }
    Ok(())
}

fn check_still_allowed(
    host: &Host,
    planned: &Format,
    disk: &Disk,
    (all, groups): (&[Disk], &Groups),
    desired: &Desired,
) -> Result<()> {
    let begun = begun(host, planned, disk)?;
    let is_named = planned.consent == Consent::Destroy && desired.destroy.is_some();
    let consent = guard::may_format(disk, all, groups, is_named, begun.as_ref())?;
    if consent == planned.consent {
        return Ok(());
    }
    Err(changed(planned, "its content has changed"))
}

/// The interrupted format, as the disk stands now; only if the plan rests on it.
fn begun(host: &Host, planned: &Format, disk: &Disk) -> Result<Option<Begun>> {
    let intent = record::load(host)?.formatting;
    let machine = platform::machine(host);
    let Some(intent) =
        intent.filter(|intent| planned.consent == Consent::Unfinished && intent.machine == machine)
    else {
        return Ok(None);
    };
    let is_in_use = filesystem::was_used(host, intent.filesystem, &disk.path);
    Ok(Some(Begun { intent, is_in_use }))
}

fn check_made(host: &Host, planned: &Format) -> Result<()> {
    let found = filesystem::probe_signature(host, &planned.path)?;
    let uuid = planned.uuid.hyphenated().to_string();
    if found.filesystem.as_deref() == Some(planned.filesystem.name())
        && found.uuid.as_deref() == Some(uuid.as_str())
    {
        return Ok(());
    }
    let context = format!("formatting {}: it shows {found} afterwards", shown(&planned.path));
    Err(Error::failed(context, "the new filesystem is missing").with_hint("see: dmesg | tail"))
}

fn changed(planned: &Format, what: &str) -> Error {
    let context = format!("{} changed since the plan was made: {what}", shown(&planned.path));
    Error::refused(context).with_hint("nothing was written to it; run mtctl prepare again")
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
