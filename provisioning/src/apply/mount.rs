//! Checks and mounts the retention volume by its fstab row, and proves that the next boot will.

use std::path::Path;

use super::{Event, Watch, go_on};
use crate::error::{Error, Result};
use crate::filesystem;
use crate::fstab::{FSTAB_PATH, Fstab, Mark};
use crate::host::{Host, Invocation};
use crate::observe;

/// Checks the file system of the fstab row, as a boot does. One that a boot would not mount is not
/// mounted here either: its journal, and what only that has, could be dropped (docs/adr/0010).
pub(super) fn check(host: &Host, mount_point: &Path) -> Result<()> {
    let at = mount_point.display().to_string();
    let fsck = Invocation::new("fsck").arguments(["-p", &at]);
    let output = host.change_output(&fsck, &mut |_| {})?;
    // 1: it has repaired something (fsck(8)).
    if matches!(output.status, Some(0 | 1)) {
        return Ok(());
    }
    let why = format!("{}{}", output.stdout, output.stderr);
    let why = why.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>();
    let context =
        format!("checking what is to be mounted on {at}: {fsck}: {}", output.status_text());
    Err(Error::failed(context, why.join("; ")).with_hint(format!(
        "fsck -y {at}; then run the same command again. Mounted before that, it can lose data"
    )))
}

/// Mounts, unmounts, and mounts again as a boot does. A crash in between leaves the volume mounted
/// or not; its fstab row is there already, and the next run or the next boot mounts it.
pub(super) fn mount(host: &Host, mount_point: &Path, uuid: &str, watch: Watch<'_>) -> Result<()> {
    let at = mount_point.display().to_string();
    host.change(&Invocation::new("mount").argument(&at), &mut |_| {})?;
    is_mounted(host, mount_point, uuid)?;
    go_on(watch(&Event::Reached("mounted once")))?;
    host.change(&Invocation::new("umount").argument(&at), &mut |_| {})?;
    go_on(watch(&Event::Reached("unmounted")))?;
    // Only rows with our mark: what else is in fstab is nobody's business here.
    let all = Invocation::new("mount").arguments(["--all", "--test-opts", mark(host).option()]);
    host.change(&all, &mut |_| {})?;
    is_mounted(host, mount_point, uuid)
}

/// Our mark as the row in fstab has it.
fn mark(host: &Host) -> Mark {
    let text = host.system().text_if_exists(FSTAB_PATH).ok().flatten().unwrap_or_default();
    let row = Fstab::parse(&text).ours().and_then(|(_, entry)| entry.mark());
    row.unwrap_or(Mark::XOption)
}

fn is_mounted(host: &Host, mount_point: &Path, uuid: &str) -> Result<()> {
    let mounts = observe::mount_table(host)?;
    let failed = |why: String| {
        Error::failed(format!("mounting {}", mount_point.display()), why)
            .with_hint(format!("look at: grep {} {FSTAB_PATH}; dmesg | tail", mark(host).option()))
    };
    let at = mount_point.to_str().unwrap_or_default();
    let Some(mount) = mounts.topmost(at) else {
        return Err(failed("mount succeeded, but nothing is mounted there".into()));
    };
    let found = filesystem::probe_signature(host, Path::new(&mount.source))?;
    if found.uuid.as_deref() == Some(uuid) {
        return Ok(());
    }
    Err(failed(format!("{} is mounted there, and is not UUID={uuid}", mount.source)))
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
