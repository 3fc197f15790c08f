//! Contenders that read a whole disk through NBD, with four connections: from `mtctl export` as it
//! is and as it was, and from qemu-nbd.

use anyhow::{Context, Result};

use crate::contender::{Contender, Copied, Leaves, Role, Skipped};
use crate::history::{GROUP, RetentionVolume};
use crate::representation::Representations;
use crate::tools::Tools;

/// nbdcopy, the same for all servers; the last word is where the bytes go. It uses no more
/// connections than threads, of which it would have one for each processor.
const CLIENT: &str = "nbdcopy --connections=4 --threads=4 --requests=64";

/// Reading the newest point, which is the disk as it is, and what was there before the workload,
/// for which before-images are read in its place. The reference is qemu-nbd, of the disk itself.
///
/// # Errors
///
/// There is no stream.
pub(crate) fn reading(
    volume: &RetentionVolume<'_>,
    files: &Representations,
    tools: &Tools,
) -> Result<(Vec<Contender>, Vec<Skipped>)> {
    let stream = files.native.as_deref().context("there is no stream")?;
    for needed in ["nbdcopy", "qemu-nbd"] {
        if !tools.versions.contains_key(needed) {
            let skipped =
                Skipped { name: "mtctl export".to_owned(), reason: format!("no {needed}") };
            return Ok((Vec::new(), vec![skipped]));
        }
    }
    let target = volume.target();
    let [socket, identity] = ["view.sock", "view.pid"].map(|name| target.path(name));
    let (at, pid) = (socket.display(), identity.display());
    let client = format!("{CLIENT} nbd+unix:///?socket={at} null:");
    let reader = |name: &str, role, copied, before, after| Contender {
        around: [before, after],
        server: Some(identity.clone()),
        leaves: Leaves::Copy(copied),
        ..Contender::new(name, role, &client)
    };
    let end = format!(
        "id=$(cat {pid})\nkill $id\nwhile kill -0 $id 2>/dev/null; do sleep 0.02; done\n\
         rm -f {pid} {at}\n"
    );
    let qemu = format!(
        "qemu-nbd --fork --pid-file={pid} --socket={at} --format=raw --read-only --shared=4 \
         --persistent --cache=none --aio=io_uring {}",
        target.device()
    );
    let qemu = reader("qemu-nbd", Role::Reference, Copied::Now, qemu, end.clone());
    let applied = volume.apply("", Role::Peer, stream, true, &tools.mtctl);
    let [_, forget] = &applied.around;
    let (mtctl, place) = (tools.mtctl.display(), volume.place());
    let view = |name: &str, role, copied, point: &str| {
        let before = format!(
            "{} >/dev/null\n{mtctl} points create --group {GROUP} {place} >/dev/null\n\
             {mtctl} export --group {GROUP} {place} --to {point} --socket {at} --pid-file {pid} \
             >/dev/null 2>&1 &\nwhile ! [ -s {pid} ]; do sleep 0.02; done",
            applied.command.join(" ")
        );
        reader(name, role, copied, before, format!("{end}{forget}"))
    };
    let now = view("mtctl export, newest point", Role::Subject, Copied::Now, "latest");
    let again = now.again();
    let before = view("mtctl export, oldest point", Role::Peer, Copied::Before, "start");
    Ok((vec![qemu, now, again, before], Vec::new()))
}
