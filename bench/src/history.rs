//! Contenders that keep history: mtctl with a retention volume and without, and QEMU's
//! copy-before-write with fio writing to its export through NBD. `report::claims` compares them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::contender::{Clock, Contender, Leaves, Role, Skipped};
use crate::measure::quietly;
use crate::representation::Representations;
use crate::target::{LoopDevice, Target, filled_device};
use crate::tools::Tools;

/// The names of contenders that claims refer to.
pub(crate) const QEMU_PLAIN: &str = "qemu NBD";
/// The same with before-images kept.
pub(crate) const QEMU_KEEPING: &str = "qemu NBD, copy-before-write";
/// The group of all applies.
pub(crate) const GROUP: &str = "bench";

/// An ext4 in memory for the history. It is made like the target, so that neither a disk nor the
/// first touch of memory is measured, and its memory is not freed while it exists.
#[derive(Debug)]
pub(crate) struct RetentionVolume<'a> {
    target: &'a Target,
    mount_point: PathBuf,
    backing: PathBuf,
    device: Option<LoopDevice>,
}

impl<'a> RetentionVolume<'a> {
    /// Makes and mounts a volume with room for the before-images of all of `target`; with more room
    /// if `twice`, because a rollback keeps what it overwrites.
    pub(crate) fn new(target: &'a Target, twice: bool) -> Result<Self> {
        let backing = target.path("retention");
        let mount_point = target.path("retention.mounted");
        let room = target.bytes() / 4 * if twice { 6 } else { 5 };
        let (_, device) = filled_device(&backing, room + (256 << 20))?;
        // Discarding would punch holes into the file, and writing into holes is slow.
        let options = "nodiscard,lazy_itable_init=0,lazy_journal_init=0";
        quietly("mkfs.ext4", &["-q", "-m", "0", "-E", options, device.node()])?;
        fs::create_dir(&mount_point).context("making a mount point")?;
        quietly("mount", &["-o", "nodiscard", device.node(), &mount_point.to_string_lossy()])?;
        Ok(Self { target, mount_point, backing, device: Some(device) })
    }

    /// `apply` of the workload for a group, with or without history.
    pub(crate) fn apply(
        &self,
        name: &str,
        role: Role,
        stream: &Path,
        keeping: bool,
        mtctl: &Path,
    ) -> Contender {
        let target = format!("--target {}", self.target.device());
        if keeping {
            return self.apply_to(name, role, stream, &target, mtctl);
        }
        let state = self.target.path("state");
        let place = format!("--retention none --state-dir {}", state.display());
        let command = command(stream, &target, &place, mtctl);
        let around = [String::new(), format!("rm -rf {}", state.display())];
        Contender { around, ..Contender::new(name, role, &command) }
    }

    /// `apply` with history of a stream whose targets are named by `options`.
    pub(crate) fn apply_to(
        &self,
        name: &str,
        role: Role,
        stream: &Path,
        options: &str,
        mtctl: &Path,
    ) -> Contender {
        let command = command(stream, options, &self.place(), mtctl);
        let around = [String::new(), self.forget(mtctl)];
        Contender { around, ..Contender::new(name, role, &command) }
    }

    /// The target whose history it keeps.
    pub(crate) fn target(&self) -> &Target {
        self.target
    }

    /// The options that name the volume to mtctl.
    pub(crate) fn place(&self) -> String {
        format!("--retention {}", self.mount_point.display())
    }

    /// Drops the history, and the group's record of the stream.
    fn forget(&self, mtctl: &Path) -> String {
        let (mtctl, place) = (mtctl.display(), self.place());
        let group = self.mount_point.join(GROUP);
        format!(
            "{mtctl} commit --group {GROUP} {place} --yes >/dev/null\nrm -rf {}\nsync -f {}",
            group.display(),
            self.mount_point.display()
        )
    }

    /// fio's NBD client, writing to an export of the target, with or without keeping before-images.
    fn qemu(&self, name: &str, iolog: &Path, keeping: bool) -> Contender {
        let socket = self.target.path("nbd.sock");
        let identity = self.target.path("nbd.pid");
        let kept = self.mount_point.join("kept");
        let mut nodes = format!(
            "--blockdev driver=host_device,node-name=disk,filename={},cache.direct=on,aio=io_uring",
            self.target.device()
        );
        let mut before = String::new();
        let mut node = "disk";
        if keeping {
            // Written in advance, which is fastest for QEMU: no extent has to be converted.
            before = format!(
                "dd if=/dev/zero of={} bs=1M count={} oflag=direct conv=fsync status=none\n",
                kept.display(),
                self.target.bytes() >> 20
            );
            nodes += &format!(
                " --blockdev driver=file,node-name=kept,filename={},cache.direct=on,aio=io_uring \
                 --blockdev driver=copy-before-write,node-name=keeping,file=disk,target=kept",
                kept.display()
            );
            node = "keeping";
        }
        before += &format!(
            "qemu-storage-daemon --daemonize --pidfile {} {nodes} \
             --nbd-server addr.type=unix,addr.path={} \
             --export type=nbd,id=export,name=disk,node-name={node},writable=on",
            identity.display(),
            socket.display()
        );
        // The daemon deletes its pid file at the very end.
        let after = format!(
            "kill $(cat {0})\nwhile [ -e {0} ]; do sleep 0.05; done\nrm -f {1} {2}",
            identity.display(),
            socket.display(),
            kept.display()
        );
        let command = format!(
            "fio --name=nbd --ioengine=nbd --uri=nbd+unix:///disk?socket={} --read_iolog={} \
             --replay_redirect=nbd --replay_no_stall=1 --iodepth=64 --output-format=json",
            socket.display(),
            iolog.display()
        );
        Contender {
            clock: Clock::Fio,
            leaves: Leaves::Anything,
            around: [before, after],
            server: Some(identity),
            ..Contender::new(name, Role::Peer, &command)
        }
    }
}

impl Drop for RetentionVolume<'_> {
    fn drop(&mut self) {
        let mount_point = self.mount_point.to_string_lossy().into_owned();
        // A group whose last command was interrupted can still be unmounted.
        if let Err(error) = quietly("umount", &["--lazy", &mount_point]) {
            eprintln!("bench: {error:#}\nhint: umount {mount_point}");
        }
        self.device = None;
        // Their directory is removed later, but their memory is needed now.
        let _ = fs::remove_dir(&self.mount_point);
        let _ = fs::remove_file(&self.backing);
    }
}

fn command(stream: &Path, options: &str, place: &str, mtctl: &Path) -> String {
    format!(
        "{} apply {} {options} --group {GROUP} {place} --engine uring --json",
        mtctl.display(),
        stream.display()
    )
}

/// Applying without history, which is the reference, and with it.
///
/// # Errors
///
/// There is no stream.
pub(crate) fn applying(
    volume: &RetentionVolume<'_>,
    files: &Representations,
    tools: &Tools,
) -> Result<(Vec<Contender>, Vec<Skipped>)> {
    let stream = files.native.as_deref().context("there is no stream")?;
    let iolog = files.iolog.as_deref().context("there is no I/O log")?;
    let without =
        volume.apply("mtctl apply, no history", Role::Reference, stream, false, &tools.mtctl);
    let again = without.again();
    let with = volume.apply("mtctl apply, history", Role::Subject, stream, true, &tools.mtctl);
    let mut found = vec![without, with, again];
    let mut skipped = Vec::new();
    if let Some(reason) = no_qemu(tools) {
        for name in [QEMU_PLAIN, QEMU_KEEPING] {
            skipped.push(Skipped { name: name.to_owned(), reason: reason.clone() });
        }
    } else {
        found.push(volume.qemu(QEMU_PLAIN, iolog, false));
        found.push(volume.qemu(QEMU_KEEPING, iolog, true));
    }
    Ok((found, skipped))
}

/// Why QEMU's copy-before-write cannot be measured here.
fn no_qemu(tools: &Tools) -> Option<String> {
    if !tools.versions.contains_key("qemu-storage-daemon") {
        return Some(
            "there is no qemu-storage-daemon (Debian has it in qemu-system-common)".into(),
        );
    }
    let engine = quietly("fio", &["--enghelp=nbd"]);
    engine.is_err().then(|| "this fio has no NBD engine".to_owned())
}

/// Rolling back a change that was applied before, twice. The reference is the sequential limit of
/// the device, measured by fio over the same `bytes` from the beginning.
///
/// # Errors
///
/// There is no stream.
pub(crate) fn going_back(
    volume: &RetentionVolume<'_>,
    files: &Representations,
    bytes: u64,
    tools: &Tools,
) -> Result<Vec<Contender>> {
    let stream = files.native.as_deref().context("there is no stream")?;
    let apply = volume.apply("", Role::Peer, stream, true, &tools.mtctl);
    let [_, after] = apply.around;
    let before = format!("{} >/dev/null", apply.command.join(" "));
    let command = format!(
        "{} rollback --group {GROUP} {} --to start --yes --json",
        tools.mtctl.display(),
        volume.place()
    );
    let rollback = Contender {
        around: [before, after],
        leaves: Leaves::Before,
        ..Contender::new("mtctl rollback", Role::Subject, &command)
    };
    let again = rollback.again();
    // Not a replay: a replay ignores the I/O in flight at the end, which is a lot if writes are
    // large.
    let command = format!(
        "fio --name=sequential --filename={} --rw=write --bs=1M --size={bytes} --direct=1 \
         --ioengine=io_uring --iodepth=16 --fixedbufs --output-format=json",
        volume.target.device()
    );
    let limit = Contender {
        clock: Clock::Fio,
        leaves: Leaves::Anything,
        ..Contender::new("fio sequential", Role::Reference, &command)
    };
    Ok(vec![limit, rollback, again])
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn without_qemu_both_of_its_rows_are_skipped_with_the_reason() {
        let [mtctl, ourselves] = ["/bin/mtctl", "/bin/mt-bench"].map(PathBuf::from);
        let tools = Tools { mtctl, ourselves, versions: BTreeMap::new() };
        assert!(no_qemu(&tools).is_some_and(|reason| reason.contains("qemu-storage-daemon")));
    }
}
