//! The retention volume: which disk it is on or will be made on, and what is missing for it to be
//! mounted at every boot. Pure; `apply` carries it out, and `check` judges it for people.

mod spelling;
pub mod udev_rule;
mod volume;

use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::blank::Content;
use crate::disk::{Disk, Purpose, Use};
use crate::ext4::{ERRORS_REMOUNT_RO, Ext4};
use crate::filesystem::features::{Features, Unknown};
use crate::filesystem::{MARGIN_BYTES, RetentionFilesystem};
use crate::fstab::{FSTAB_PATH, Fstab, Mark, RetentionRow};
use crate::guard::{self, Refusal};
use crate::host::Invocation;
use crate::multipath::MultipathPolicy;
use crate::observe::{Capacity, Observed};
use crate::plan::packages::will_install;
use crate::platform::RedHatRelease;
use crate::record::{RECORD_PATH, RetentionRecord};
use crate::spec::Desired;
use crate::step::{Action, Consent, FileChange, Format};
use system::size;
use udev_rule::{UDEV_RULE_FILE, udev_rule};
use volume::{Volume, carriers, is_path_of_a_map};

/// What has to be done for the retention volume, in this order; empty if it is as wanted.
///
/// The fstab row comes before the mount: the mount uses the row, and so proves that the next boot
/// will mount the volume. What a crash between two of these leaves is said in `apply::mount` and
/// `apply::format`.
///
/// # Errors
/// Returns the reason why nothing may be done.
pub fn plan(observed: &Observed, desired: &Desired) -> Result<Vec<Action>, Refusal> {
    let (volume, format) = volume(observed, desired)?;
    check_mount_point_free(observed, desired)?;
    let fstab = fstab_change(observed, desired, &volume, format.as_ref())?;
    let there = match &format {
        Some(_) => None,
        None => carriers(observed, &volume.uuid).first().copied(),
    };
    let device = there.map(|disk| disk.path.clone());
    let device = format.as_ref().map(|format| format.path.clone()).or(device);
    let mut actions: Vec<Action> = match format {
        Some(format) => vec![Action::Format(Box::new(format))],
        None => adoption(observed, desired, &volume)?.into_iter().collect(),
    };
    if !observed.mount_point.exists {
        actions.push(Action::MakeDirectory(desired.retention_mount.clone()));
    }
    actions.extend(link(observed, &volume, there));
    if fstab.is_some() && observed.platform.has_systemd && !observed.platform.is_image {
        actions.extend(fstab);
        actions.push(Action::Run {
            invocation: Invocation::new("systemctl").argument("daemon-reload"),
            purpose: "systemd reads fstab".to_owned(),
        });
    } else {
        actions.extend(fstab);
    }
    if let (None, Some(device)) = (observed.retention_mount(desired), device) {
        actions.extend(mounting(observed, desired, volume, device));
    }
    if observed.retention_ext4.as_ref().is_some_and(Ext4::goes_on) {
        let option = format!("remount,{ERRORS_REMOUNT_RO}");
        let at = desired.retention_mount.display().to_string();
        actions.push(Action::Run {
            invocation: Invocation::new("mount").arguments(["-o", &option, &at]),
            purpose: "it stops at an error, and loses nothing".to_owned(),
        });
    }
    Ok(actions)
}

/// Puts the rule by which udev links the volume into effect, only on the disk that carries the
/// volume: an event of another disk would make other rules process a customer's disk
/// (docs/adr/0006).
fn link(observed: &Observed, volume: &Volume, carrier: Option<&Disk>) -> Vec<Action> {
    let before = observed.file(UDEV_RULE_FILE);
    let after = udev_rule(volume.filesystem, &volume.uuid);
    if before == Some(after.as_str()) {
        return Vec::new();
    }
    let before = before.map(str::to_owned);
    let rule = FileChange { path: UDEV_RULE_FILE.into(), before, after };
    let mut actions = vec![Action::WriteFile(rule)];
    if observed.platform.is_image || !observed.storage.has_udev {
        return actions;
    }
    let mut run = |arguments: &[&str], purpose: &str| {
        let invocation = Invocation::new("udevadm").arguments(arguments.iter().copied());
        actions.push(Action::Run { invocation, purpose: purpose.to_owned() });
    };
    run(&["control", "--reload"], "udev reads the rule");
    // A disk that is about to be formatted gets its event when mkfs closes it.
    if let Some(disk) = carrier {
        let name = format!("--sysname-match={}", disk.name);
        let only = ["trigger", "--action=change", "--subsystem-match=block", &name];
        run(&only, "udev links the volume");
        run(&["settle", "--timeout=30"], "the link exists");
    }
    actions
}

/// An image mounts the volume at its own boots.
fn mounting(
    observed: &Observed,
    desired: &Desired,
    volume: Volume,
    device: PathBuf,
) -> Vec<Action> {
    if observed.platform.is_image {
        return Vec::new();
    }
    let mount_point = desired.retention_mount.clone();
    let at = mount_point.display().to_string();
    let Volume { uuid, filesystem } = volume;
    let mut actions = vec![Action::Mount { mount_point, filesystem, uuid, device }];
    if observed.storage.has_selinux {
        let invocation = Invocation::new("restorecon").argument(at);
        actions.push(Action::Run { invocation, purpose: "SELinux label".to_owned() });
    }
    actions
}

/// The volume, and how it is made if it does not exist.
fn volume(observed: &Observed, desired: &Desired) -> Result<(Volume, Option<Format>), Refusal> {
    if let Some(volume) = mounted_volume(observed, desired)? {
        return Ok((volume, None));
    }
    if let Some(volume) = existing_volume(observed, desired)? {
        return Ok((volume, None));
    }
    let format = new_volume(observed, desired)?;
    let volume = Volume { uuid: text(format.uuid), filesystem: format.filesystem };
    Ok((volume, Some(format)))
}

/// Whether an existing volume has to be recorded again: a format that was interrupted made it, or
/// it is on another disk than the one it was made on and the operator named that disk.
fn adoption(
    observed: &Observed,
    desired: &Desired,
    volume: &Volume,
) -> Result<Option<Action>, Refusal> {
    let carriers = carriers(observed, &volume.uuid);
    if let [one, other, ..] = carriers.as_slice() {
        return Err(copies(one, other, &volume.uuid));
    }
    let Some((disk, known_by)) =
        carriers.first().and_then(|disk| disk.known_by.clone().map(|by| (disk, by)))
    else {
        return Ok(None);
    };
    let made_on = observed.record.retention.as_ref().filter(|made| made.uuid == volume.uuid);
    let moved = made_on.filter(|made| made.disk.is_other_disk(&known_by));
    if let (Some(made), None) = (moved, &desired.retention_disk) {
        let path = disk.path.display();
        let reason = format!(
            "the retention volume UUID={} was made on the disk with {}, but is on {path} now, \
             which has {known_by}: is this a copy?",
            volume.uuid, made.disk
        );
        return Err(Refusal::new(reason, format!("if it is that one: --retention-disk {path}")));
    }
    if moved.is_none() && observed.record.formatting.is_none() {
        return Ok(None);
    }
    Ok(Some(Action::Adopt(RetentionRecord {
        disk: known_by,
        filesystem: volume.filesystem,
        uuid: volume.uuid.clone(),
    })))
}

fn copies(one: &Disk, other: &Disk, uuid: &str) -> Refusal {
    let (one, other) = (one.path.display(), other.path.display());
    let reason = format!("{one} and {other} both carry the retention volume UUID={uuid}");
    Refusal::new(reason, "detach the copy")
}

/// The disk that is the retention volume, or that this plan turns into it; `None` if that is
/// refused.
pub(crate) fn planned_disk<'a>(observed: &'a Observed, desired: &Desired) -> Option<&'a Disk> {
    let (volume, format) = volume(observed, desired).ok()?;
    match format {
        Some(format) => observed.disks.iter().find(|disk| disk.path == format.path),
        None => carriers(observed, &volume.uuid).first().copied(),
    }
}

/// Mounting hides the contents of the directory, and whoever wrote them would not notice.
fn check_mount_point_free(observed: &Observed, desired: &Desired) -> Result<(), Refusal> {
    let entries = observed.mount_point.entries;
    if observed.retention_mount(desired).is_some() || entries == 0 {
        return Ok(());
    }
    let at = desired.retention_mount.display();
    let reason = format!("{at} holds {entries} entries on another filesystem: a mount hides them");
    Err(Refusal::new(reason, format!("move them away: mv {at} {at}.old")))
}

/// A warning about the volume that is mounted, or that `actions` are about to make.
pub fn warning(observed: &Observed, desired: &Desired, actions: &[Action]) -> Option<String> {
    let to_be = actions.iter().find_map(|action| match action {
        Action::Format(format) => observed.disks.iter().find(|disk| disk.path == format.path),
        _ => None,
    });
    let retention = to_be.or_else(|| observed.retention_disk(desired))?;
    let mounted = observed.retention_capacity.filter(|_| to_be.is_none());
    let behind_margin = retention.size_bytes.saturating_sub(MARGIN_BYTES);
    let retention_bytes = mounted.map_or(behind_margin, Capacity::bytes);
    let attached = observed.disks.iter().filter(|disk| {
        disk.is_attached_disk() && disk.name != retention.name && !is_path_of_a_map(disk)
    });
    let attached_bytes: u64 = attached.map(|disk| disk.size_bytes).sum();
    (retention_bytes < attached_bytes / 10).then(|| {
        format!(
            "the retention volume ({}) is smaller than a tenth of the attached disks ({})",
            system::size::binary(retention_bytes),
            system::size::binary(attached_bytes)
        )
    })
}

fn text(uuid: Uuid) -> String {
    uuid.hyphenated().to_string()
}

/// The volume mounted at the retention directory, if it can stay there.
fn mounted_volume(observed: &Observed, desired: &Desired) -> Result<Option<Volume>, Refusal> {
    let Some(mount) = observed.retention_mount(desired) else { return Ok(None) };
    let at = desired.retention_mount.display();
    let unmount = format!("unmount it (umount {at}) or choose another --retention-mount");
    let Some(filesystem) = RetentionFilesystem::of_name(&mount.filesystem) else {
        let reason = match mount.filesystem.as_str() {
            name @ ("vfat" | "msdos" | "exfat") => {
                format!(
                    "{at} is a FAT filesystem ({name}, {}), not a retention volume",
                    mount.source
                )
            }
            name => format!("{at} is a {name} mount of {}, not a retention volume", mount.source),
        };
        return Err(Refusal::new(reason, unmount));
    };
    let Some(disk) = observed.retention_disk(desired) else {
        let reason =
            format!("{at} is mounted from {}, which is not a disk of this host", mount.source);
        return Err(Refusal::new(reason, unmount));
    };
    if disk.is_system() {
        let reason = format!("{at} is on {}, the disk of the running system", disk.path.display());
        return Err(Refusal::new(reason, unmount));
    }
    if let Some(wanted) = named_disk(observed, desired)?.filter(|named| named.name != disk.name) {
        let (has, wanted) = (disk.path.display(), wanted.path.display());
        let reason = format!("{at} is mounted from {has}, not from {wanted}");
        return Err(Refusal::new(reason, unmount));
    }
    check_filesystem_wanted(filesystem, desired, &disk.path)?;
    let own = disk.signature.own().filter(|_| mount.device == disk.device_number);
    let Some((_, uuid)) = own else {
        let reason = format!("{at} is mounted from a part of {}", disk.path.display());
        return Err(Refusal::new(reason, unmount));
    };
    Ok(Some(Volume { uuid: uuid.to_owned(), filesystem }))
}

fn check_filesystem_wanted(
    found: RetentionFilesystem,
    desired: &Desired,
    path: &Path,
) -> Result<(), Refusal> {
    match desired.filesystem {
        Some(wanted) if wanted != found => Err(Refusal::new(
            format!("the retention volume on {} is {found}, not {wanted}", path.display()),
            format!("leave --filesystem out, or say --filesystem {found}"),
        )),
        _ => Ok(()),
    }
}

/// A retention volume made earlier that is attached but not mounted: known by our fstab row or our
/// record, both of which contain its UUID.
fn existing_volume(observed: &Observed, desired: &Desired) -> Result<Option<Volume>, Refusal> {
    let Some(uuid) = known_uuid(observed) else { return Ok(None) };
    let named = named_disk(observed, desired)?;
    let holders = carriers(observed, &uuid);
    match (holders.as_slice(), named) {
        ([], Some(_)) => Ok(None),
        ([], None) => Err(Refusal::new(
            format!("the retention volume UUID={uuid} is not attached"),
            "attach its disk, or name a blank one: --retention-disk PATH",
        )),
        ([disk], named) if named.is_none_or(|named| named.name == disk.name) => {
            let Some(filesystem) = disk.signature.carries(&uuid) else { return Ok(None) };
            check_filesystem_wanted(filesystem, desired, &disk.path)?;
            check_mounted_nowhere(observed, desired, disk, &uuid)?;
            Ok(Some(Volume { uuid, filesystem }))
        }
        ([disk], _) => Err(is_known(disk, &uuid)),
        ([one, other, ..], _) => Err(copies(one, other, &uuid)),
    }
}

/// A volume that is mounted elsewhere is left to the operator, who knows what it is used for there.
fn check_mounted_nowhere(
    observed: &Observed,
    desired: &Desired,
    disk: &Disk,
    uuid: &str,
) -> Result<(), Refusal> {
    let mounted = disk.used_by.iter().find_map(|one| match one {
        Use::Mounted(at) => Some(at.display()),
        _ => None,
    });
    let Some(at) = mounted.filter(|_| !observed.platform.is_image) else { return Ok(()) };
    let wanted = desired.retention_mount.display();
    let reason = format!("the retention volume UUID={uuid} is mounted on {at}, not on {wanted}");
    Err(Refusal::new(reason, format!("stop whatever uses it, and unmount it: umount {at}")))
}

/// An operator who names another disk, or names this one to be destroyed, has to give up its
/// history first.
fn is_known(disk: &Disk, uuid: &str) -> Refusal {
    Refusal::new(
        format!("{} is already the retention volume (UUID={uuid})", disk.path.display()),
        format!(
            "to give it up with everything on it: remove its x-mtctl row from {FSTAB_PATH} and \
             move {RECORD_PATH} away"
        ),
    )
}

/// The UUID by which the volume is known.
pub(crate) fn known_uuid(observed: &Observed) -> Option<String> {
    known_uuids(observed).next()
}

/// Every UUID by which a volume is known, in order of precedence: the one of an interrupted format
/// that has been used since, our row in fstab, our record.
fn known_uuids(observed: &Observed) -> impl Iterator<Item = String> {
    let begun = observed.begun.as_ref().filter(|begun| begun.is_in_use);
    let begun = begun.map(|begun| text(begun.intent.uuid));
    let fstab = Fstab::parse(observed.file(FSTAB_PATH).unwrap_or_default());
    let row =
        fstab.ours().and_then(|(_, entry)| entry.source.strip_prefix("UUID=").map(str::to_owned));
    let record = observed.record.retention.as_ref().map(|volume| volume.uuid.clone());
    begun.into_iter().chain(row).chain(record)
}

/// The disk that is to be formatted, after every guard.
fn new_volume(observed: &Observed, desired: &Desired) -> Result<Format, Refusal> {
    let disk = match named_disk(observed, desired)? {
        Some(disk) => disk,
        None => {
            guard::check_understood(&observed.groups)?;
            the_only_blank_disk(observed)?
        }
    };
    if let Some(uuid) = known_uuids(observed).find(|uuid| disk.signature.carries(uuid).is_some()) {
        return Err(is_known(disk, &uuid));
    }
    if desired.multipath == MultipathPolicy::Require && disk.multipath.is_none() {
        let reason = format!(
            "{} is not a multipath map, which --multipath require needs",
            disk.path.display()
        );
        let hint =
            "make the maps first: mtctl prepare --only packages multipath --multipath require";
        return Err(Refusal::new(reason, hint));
    }
    let destroy = destroyed_disk(observed, desired, disk)?;
    let begun = observed.begun.as_ref();
    let consent = guard::may_format(disk, &observed.disks, &observed.groups, destroy, begun)?;
    let Some(known_by) = disk.known_by.clone() else {
        let reason = format!("{} has no identity", disk.path.display());
        return Err(Refusal::new(reason, "name another disk"));
    };
    let begun = begun.filter(|begun| begun.is_left_on(disk)).map(|begun| &begun.intent);
    let filesystem = desired
        .filesystem
        .or_else(|| begun.map(|intent| intent.filesystem))
        .unwrap_or(RetentionFilesystem::Ext4);
    guard::check_large_enough(disk, filesystem)?;
    check_can_be_made(observed, desired, filesystem)?;
    Ok(Format {
        path: disk.path.clone(),
        disk: known_by,
        device_number: disk.device_number,
        diskseq: disk.diskseq,
        size_bytes: disk.size_bytes,
        signature: disk.signature.clone(),
        proof: match (consent, &disk.content) {
            (Consent::Blank, Some(Content::Blank(proof))) => Some(proof.clone()),
            _ => None,
        },
        consent,
        filesystem,
        features: features(observed, disk, filesystem)?,
        uuid: begun.map_or(desired.new_filesystem_uuid, |intent| intent.uuid),
    })
}

fn named_disk<'a>(observed: &'a Observed, desired: &Desired) -> Result<Option<&'a Disk>, Refusal> {
    desired.retention_disk.as_ref().map(|name| observed.find_disk(name)).transpose()
}

/// Whether --destroy names `disk`; it is a contradiction if it names another one.
fn destroyed_disk(observed: &Observed, desired: &Desired, disk: &Disk) -> Result<bool, Refusal> {
    let Some(name) = &desired.destroy else { return Ok(false) };
    let named = observed.find_disk(name)?;
    if named.name == disk.name {
        return Ok(true);
    }
    let reason = format!(
        "--destroy names {}, but the retention disk is {}",
        named.path.display(),
        disk.path.display()
    );
    Err(Refusal::new(reason, "name the same disk twice, or leave --destroy out"))
}

/// The one disk that may be proposed without being named.
fn the_only_blank_disk(observed: &Observed) -> Result<&Disk, Refusal> {
    let blank: Vec<&Disk> = observed
        .disks
        .iter()
        .filter(|disk| disk.is_listed_by_default())
        .filter(|disk| disk.eligible_for.contains(&Purpose::Retention) || is_begun(observed, disk))
        .collect();
    let name = "name one: --retention-disk PATH|WWID (mtctl disks lists them)";
    match blank.as_slice() {
        [disk] => Ok(disk),
        [] => {
            let hint =
                format!("attach a blank disk, or {name}; or continue without: --skip retention");
            Err(Refusal::new("there is no blank disk for the retention volume", hint))
        }
        several => {
            let paths: Vec<String> =
                several.iter().map(|disk| disk.path.display().to_string()).collect();
            let reason = format!("there are {} blank disks: {}", several.len(), paths.join(", "));
            Err(Refusal::new(reason, name))
        }
    }
}

fn is_begun(observed: &Observed, disk: &Disk) -> bool {
    let begun = observed.begun.as_ref();
    begun.is_some_and(|begun| begun.is_left_on(disk)) && !is_path_of_a_map(disk)
}

/// The features that the system being prepared supports: on the running host those of its own mkfs,
/// in an image those that its oldest kernel and its own tools support.
fn features(
    observed: &Observed,
    disk: &Disk,
    filesystem: RetentionFilesystem,
) -> Result<Features, Refusal> {
    let Some((readers, makers)) = &observed.image_readers else { return Ok(Features::Current) };
    let features = Features::for_readers(filesystem, readers, makers);
    let features = features.map_err(|why| not_for_image(observed, filesystem, &why))?;
    match features.bytes_max() {
        Some(most) if disk.size_bytes > most => {
            let (has, most) = (size::binary(disk.size_bytes), size::binary(most));
            let path = disk.path.display();
            let reason =
                format!("{path} has {has}, but {filesystem} for this image at most {most}");
            Err(Refusal::new(reason, "name a smaller disk, or --filesystem xfs"))
        }
        _ => Ok(features),
    }
}

fn not_for_image(observed: &Observed, filesystem: RetentionFilesystem, why: &Unknown) -> Refusal {
    let image = &observed.platform.distribution.pretty_name;
    let ext4 = "leave --filesystem out: ext4 is made with features that every kernel knows";
    let package = filesystem.package();
    let (reason, hint) = match why {
        Unknown::Kernel => ("no kernel was found in /lib/modules".to_owned(), ext4.to_owned()),
        Unknown::Tools => {
            let hint = format!("install {package} in it, or {ext4}");
            (format!("it has no {package} that reports its version"), hint)
        }
        Unknown::Makers => {
            let hint = format!("install {package} on this host, or {ext4}");
            (format!("{} of this host reports no version", filesystem.mkfs_program()), hint)
        }
        Unknown::TooOld(what) => {
            (format!("{what} does not know the features that are made today"), ext4.to_owned())
        }
    };
    Refusal::new(
        format!("{image} may not mount the {filesystem} that is made here: {reason}"),
        hint,
    )
}

/// Whether the kernel and the tools can make and mount the filesystem: checked before anything is
/// wiped.
fn check_can_be_made(
    observed: &Observed,
    desired: &Desired,
    filesystem: RetentionFilesystem,
) -> Result<(), Refusal> {
    let support = observed.filesystems.get(filesystem.name());
    let in_kernel = support.is_some_and(|support| support.kernel) || observed.platform.is_image;
    if !in_kernel {
        let reason = format!("this kernel cannot mount {filesystem}");
        return Err(Refusal::new(reason, "name one that it can: --filesystem ext4|xfs"));
    }
    let package = filesystem.package();
    let has_tools = support.is_some_and(|support| support.tools) || observed.platform.is_image;
    if has_tools || will_install(observed, desired, &[package]) {
        return Ok(());
    }
    let reason = format!("{} is not installed", filesystem.mkfs_program());
    Err(Refusal::new(reason, format!("install {package}, or do not --skip packages")))
}

fn fstab_change(
    observed: &Observed,
    desired: &Desired,
    volume: &Volume,
    format: Option<&Format>,
) -> Result<Option<Action>, Refusal> {
    let before = observed.file(FSTAB_PATH);
    let row = RetentionRow {
        uuid: volume.uuid.clone(),
        mount_point: desired.retention_mount.display().to_string(),
        filesystem: volume.filesystem.name().to_owned(),
        mark: mark(observed),
    };
    let fstab = Fstab::parse(before.unwrap_or_default());
    let names = spelling::Names::of(observed, volume, format);
    let after = fstab.with_retention(&row, |source| names.include(source)).map_err(|conflict| {
        let hint = format!("comment that row out: sed -i '{}s/^/#/' {FSTAB_PATH}", conflict.line);
        Refusal::new(format!("{FSTAB_PATH}: {conflict}"), hint)
    })?;
    let after = after.to_string();
    if before == Some(after.as_str()) {
        return Ok(None);
    }
    let before = before.map(str::to_owned);
    Ok(Some(Action::WriteFile(FileChange { path: FSTAB_PATH.into(), before, after })))
}

/// Decided by the image's mount(8), or by its release if it has none. The running host's is built
/// on libmount, because this program would not run there otherwise.
fn mark(observed: &Observed) -> Mark {
    let release = observed.platform.distribution.red_hat_release();
    match observed.knows_x_options {
        Some(true) => Mark::XOption,
        Some(false) => Mark::Comment,
        None if release == Some(RedHatRelease::Six) => Mark::Comment,
        None => Mark::XOption,
    }
}
