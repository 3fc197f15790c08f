//! Checks and mounts the retention volume by its fstab row, and proves that the next boot will
//! mount it.

use std::path::Path;

use super::progress::{Event, Watch, go_on};
use crate::filesystem::{self, RetentionFilesystem};
use crate::fstab::{FSTAB_PATH, Fstab, Mark};
use crate::host::{Host, Invocation};
use crate::observe;
use system::error::{Error, Result};

/// What is to be mounted, and where.
pub(super) struct Volume<'a> {
    pub(super) mount_point: &'a Path,
    pub(super) filesystem: RetentionFilesystem,
    pub(super) uuid: &'a str,
    /// The disk that carried it when the plan was made.
    pub(super) device: &'a Path,
}

/// Checks, mounts, unmounts, and mounts again as a boot does. A crash in between leaves the volume
/// mounted or not; its fstab row is already in place, and the next run or the next boot mounts it.
pub(super) fn mount(host: &Host, volume: &Volume<'_>, watch: Watch<'_>) -> Result<()> {
    let found = is_there(host, volume)?;
    check(host, volume)?;
    let at = volume.mount_point.display().to_string();
    if is_out_of_reach(host, volume, &found) {
        host.change(&by_device(host, volume)?, &mut |_| {})?;
        let told = "not proven by mount -a: there is no udev to link the volume by its UUID";
        let _ = watch(&Event::Line(told));
        return check_mounted(host, volume);
    }
    host.change(&Invocation::new("mount").argument(&at), &mut |_| {})?;
    check_mounted(host, volume)?;
    go_on(watch(&Event::Reached("mounted once")))?;
    host.change(&Invocation::new("umount").argument(&at), &mut |_| {})?;
    go_on(watch(&Event::Reached("unmounted")))?;
    // Only rows with our mark: the other rows of fstab are none of our business.
    let all = Invocation::new("mount").arguments(["--all", "--test-opts", mark(host).option()]);
    host.change(&all, &mut |_| {})?;
    check_mounted(host, volume)
}

/// The path may lead to another disk than when the plan was made: a device that is not the volume
/// is not checked, and so not written to.
fn is_there(host: &Host, volume: &Volume<'_>) -> Result<filesystem::Signature> {
    let found = filesystem::probe_signature(host, volume.device)?;
    if found.carries(volume.uuid) == Some(volume.filesystem) {
        return Ok(found);
    }
    let device = volume.device.display();
    let context = format!("mounting UUID={}: {device} has {found}", volume.uuid);
    Err(Error::refused(context).with_hint("run mtctl prepare again"))
}

/// Checks the file system as a boot does. One that a boot would not mount is not mounted here
/// either: its journal, and data that is only in the journal, could be lost (docs/adr/0010).
fn check(host: &Host, volume: &Volume<'_>) -> Result<()> {
    let Some(fsck) = volume.filesystem.check(volume.device) else { return Ok(()) };
    let output = host.change_output(&fsck, &mut |_| {})?;
    // 1: errors were found and repaired (fsck(8)).
    if matches!(output.status, Some(0 | 1)) {
        return Ok(());
    }
    let why = format!("{}{}", output.stdout, output.stderr);
    let why = why.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>();
    let at = volume.mount_point.display();
    let context =
        format!("checking the filesystem to be mounted on {at}: {fsck}: {}", output.status_text());
    let program = &fsck.program;
    Err(Error::failed(context, why.join("; ")).with_hint(format!(
        "{program} -y {}; then run the same command again. Mounting it before that can lose data",
        volume.device.display()
    )))
}

/// Our mark as it appears in the fstab row.
fn mark(host: &Host) -> Mark {
    let text = host.system().text_if_exists(FSTAB_PATH).ok().flatten().unwrap_or_default();
    let row = Fstab::parse(&text).ours().and_then(|(_, entry)| entry.mark());
    row.unwrap_or(Mark::XOption)
}

/// Whether mount(8) cannot find the volume by its UUID: data on it hides it from libblkid, and no
/// udev is running that has a link for it (docs/adr/0011).
fn is_out_of_reach(host: &Host, volume: &Volume<'_>, found: &filesystem::Signature) -> bool {
    let link = format!("/dev/disk/by-uuid/{}", volume.uuid);
    found.hidden.is_some() && !host.machine().exists(link)
}

/// Mounts what the row mounts, with device and type given explicitly and with the row's options.
fn by_device(host: &Host, volume: &Volume<'_>) -> Result<Invocation> {
    let text = host.system().text_if_exists(FSTAB_PATH)?.unwrap_or_default();
    let options = Fstab::parse(&text).ours().map(|(_, row)| row.options.join(","));
    let options = options.unwrap_or_else(|| "defaults".to_owned());
    let mount = Invocation::new("mount").arguments(["-t", volume.filesystem.name(), "-o"]);
    let [device, at] = [volume.device, volume.mount_point].map(|path| path.display().to_string());
    Ok(mount.arguments([&options, &device, &at]))
}

fn check_mounted(host: &Host, volume: &Volume<'_>) -> Result<()> {
    let Volume { mount_point, uuid, .. } = volume;
    let mounts = observe::mount_table(host)?;
    let failed = |why: String| {
        Error::failed(format!("mounting {}", mount_point.display()), why)
            .with_hint(format!("see: grep {} {FSTAB_PATH}; dmesg | tail", mark(host).option()))
    };
    let at = mount_point.to_str().unwrap_or_default();
    let Some(mount) = mounts.topmost(at) else {
        return Err(failed("mount succeeded, but nothing is mounted there".into()));
    };
    let found = filesystem::probe_signature(host, Path::new(&mount.source))?;
    if found.carries(uuid).is_some() {
        return Ok(());
    }
    Err(failed(format!("{} is mounted there instead of UUID={uuid}", mount.source)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{MemoryTree, RecordedHost};

    #[test]
    fn the_row_is_mounted_by_the_mark_that_it_has() {
        let rows = [
            ("UUID=1 / ext4 defaults 0 1\nUUID=2 /r ext4 nofail,x-mtctl 0 2\n", Mark::XOption),
            ("UUID=2 /r ext4 nofail,comment=mtctl 0 2\n", Mark::Comment),
        ];
        for (text, expected) in rows {
            let tree = MemoryTree::new();
            tree.put_text(FSTAB_PATH, text);
            let host = Host::recorded(RecordedHost::new("", &tree, Vec::new()));
            assert_eq!(mark(&host), expected, "{text}");
        }
    }
}
