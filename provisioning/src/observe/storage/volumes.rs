//! Which LVM volumes belong to the system being prepared, according to LVM, fstab and crypttab. The
//! parent module decides which disks are the system's own.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::disk::{Disk, Use};
use crate::fstab::{FSTAB_PATH, Fstab};
use crate::guard::Refusal;
use crate::host::{Host, Invocation};
use crate::lvm::{self, OwnLvm, PhysicalVolume, own};

/// The LVM volumes of the system itself, whose disks are `own_disks`.
///
/// # Errors
/// Returns the reason if they cannot be determined; a filter without the system's own volumes would
/// keep it from booting.
pub(super) fn observe(host: &Host, own_disks: &[&Disk], has_lvm: bool) -> Result<OwnLvm, Refusal> {
    let named = groups_named(host)?;
    let is_used = own_disks.iter().flat_map(|disk| &disk.used_by).any(is_volume);
    if !is_used && (named.is_empty() || (!has_lvm && host.image().is_none())) {
        return Ok(OwnLvm::default());
    }
    let volumes = physical_volumes(host).ok_or_else(unknown)?;
    let is_on_own = |path: &str| is_on(host, own_disks, path);
    // A volume group named by an image belongs to it only if it is on the image's own disks: the
    // preparing host can have a volume group of the same name.
    let by_name = if host.image().is_some() { &BTreeSet::new() } else { &named };
    let found = own::own_volumes(&volumes, is_on_own, by_name).map_err(|same| {
        let hint = format!(
            "rename the other: vgrename {} NEWNAME; or detach {}; or --skip lvm",
            same.other_uuid, same.other
        );
        Refusal::new(same.to_string(), hint)
    })?;
    let own = described(host, &found)?;
    let is_missing = |name: &String| !own.volume_groups.contains(name);
    let is_image_unknown = host.image().is_some() && named.iter().any(is_missing);
    if (is_used && own.physical_volumes.is_empty()) || is_image_unknown {
        return Err(unknown());
    }
    Ok(own)
}

fn unknown() -> Refusal {
    let reason = "the system's own LVM volumes could not be determined";
    Refusal::new(reason, "see: pvs; lvs; or continue without: --skip lvm")
}

fn is_volume(one: &Use) -> bool {
    matches!(one, Use::LogicalVolume(_))
}

fn physical_volumes(host: &Host) -> Option<Vec<PhysicalVolume>> {
    let columns = "pv_name,vg_name,vg_uuid";
    let ask = Invocation::new("pvs").arguments(["--reportformat", "json", "-o", columns]);
    lvm::parse_physical_volumes(&host.ask_checked(&ask).ok()?).ok()
}

/// The volume groups that the system mounts or unlocks by name, at boot or on request.
///
/// # Errors
/// Returns an error if a file that may name one exists and cannot be read: that does not mean none.
fn groups_named(host: &Host) -> Result<BTreeSet<String>, Refusal> {
    let text = |path: &str| {
        let text = host.system().text_if_exists(path).map_err(|error| {
            let reason = format!("which LVM volumes {path} names is unknown: {}", error.chain());
            Refusal::new(reason, "repair that file, or continue without: --skip lvm")
        });
        Ok(text?.unwrap_or_default())
    };
    let fstab = Fstab::parse(&text(FSTAB_PATH)?);
    let crypttab = text("/etc/crypttab")?;
    let mounted = fstab.entries().map(|(_, entry)| entry.source.as_str());
    Ok(own::groups_named(mounted.chain(own::crypttab_sources(&crypttab))))
}

fn described(host: &Host, volumes: &[&PhysicalVolume]) -> Result<OwnLvm, Refusal> {
    let mut own = OwnLvm::default();
    for volume in volumes {
        let path = lasting_path(host, &volume.path).ok_or_else(|| {
            let reason = format!(
                "{} is the system's own LVM volume, but is known only by its kernel name, which \
                 may be another disk's after the next boot",
                volume.path
            );
            Refusal::new(reason, lasting_hint(host))
        })?;
        own.physical_volumes.push(path);
        let name = volume.volume_group.as_ref().map(|group| group.name.clone());
        own.volume_groups.extend(name.filter(|name| !own.volume_groups.contains(name)));
    }
    Ok(own)
}

fn lasting_hint(host: &Host) -> &'static str {
    let vendor = host.machine().attribute("/sys/class/dmi/id/sys_vendor").unwrap_or_default();
    match vendor.starts_with("VMware") {
        true => "set disk.EnableUUID and restart first: mtctl vmx --fix FILE.vmx; or --skip lvm",
        false => {
            "give its disk a serial number or WWN of its own in the hypervisor and restart first; \
             or --skip lvm"
        }
    }
}

/// The kernel's name of a device: `sda2`, `dm-0`, `cciss!c0d0p1`.
fn kernel_name(host: &Host, path: &str) -> String {
    let inside = host.machine().canonical(path).unwrap_or_else(|| PathBuf::from(path));
    let inside = system::lossless_text::of_path(&inside);
    inside.strip_prefix("/dev/").unwrap_or(&inside).replace('/', "!")
}

/// Whether `path` is one of the disks, or a partition of one as the kernel knows it. Judged by the
/// text, nvme0n12 would be a partition of nvme0n1.
fn is_on(host: &Host, disks: &[&Disk], path: &str) -> bool {
    let name = kernel_name(host, path);
    let is_partition_of =
        |disk: &&&Disk| host.machine().exists(format!("/sys/block/{}/{name}/partition", disk.name));
    disks.iter().any(|disk| disk.name == name || is_partition_of(&disk))
}

/// A persistent path of `device`: a link in /dev/disk/by-id that is built from what the hardware,
/// the array or the map reports about itself, or the name of a device-mapper device.
fn lasting_path(host: &Host, device: &str) -> Option<String> {
    let machine = host.machine();
    let wanted = machine.canonical(device)?;
    let kernel_name = kernel_name(host, device);
    let is_lasting = |name: &String| is_lasting_link(&kernel_name, name);
    let link = |name: &String| Path::new("/dev/disk/by-id").join(name);
    let names = machine.list("/dev/disk/by-id").into_iter().filter(is_lasting);
    let links = names.rev().map(|name| link(&name));
    let found = links.into_iter().find(|path| machine.canonical(path).as_ref() == Some(&wanted));
    let mapped = || {
        let name = machine.attribute(format!("/sys/block/{kernel_name}/dm/name"))?;
        Some(format!("/dev/mapper/{name}"))
    };
    found.map(|path| system::lossless_text::of_path(&path)).or_else(mapped)
}

/// Whether a link in /dev/disk/by-id names the device persistently. The paths of a map have the
/// same WWID as the map, and links to them exist before the map does: a map is named by a link of
/// its own.
fn is_lasting_link(kernel_name: &str, link: &str) -> bool {
    let starts: &[&str] = if kernel_name.starts_with("dm-") {
        &["dm-uuid-mpath-", "dm-uuid-part"]
    } else if kernel_name.starts_with("md") {
        &["md-uuid-"]
    } else {
        &["wwn-", "scsi-1", "scsi-2", "scsi-3", "scsi-8", "scsi-S", "nvme-", "virtio-", "ata-"]
    };
    starts.iter().any(|start| link.starts_with(start))
}

/// Names of the active volume groups that are not the system's own and will be shut out.
pub(super) fn shut_out(disks: &[Disk], own: &OwnLvm) -> BTreeSet<String> {
    let uses = disks.iter().flat_map(|disk| &disk.used_by);
    let active = uses.filter_map(|one| match one {
        Use::LogicalVolume(name) => own::group_of_map(name),
        _ => None,
    });
    active.filter(|name| !own.volume_groups.contains(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{MemoryTree, Node, RecordedHost};

    fn host(nodes: &[&str], links: &[(&str, &str)]) -> Host {
        let tree = MemoryTree::new();
        for name in nodes {
            let node =
                Node::BlockDevice { device_number: (8, 1), blank: false.into(), busy: false };
            tree.put(format!("/dev/{name}"), node);
        }
        for (name, target) in links {
            let target = format!("/dev/{target}");
            tree.put(format!("/dev/disk/by-id/{name}"), Node::Link(target.into()));
        }
        tree.put_text("/sys/block/dm-1/dm/name", "luks-1\n");
        tree.put_text("/sys/block/nvme0n1/nvme0n1p2/partition", "2\n");
        tree.put_text("/sys/block/md1/md1p2/partition", "2\n");
        Host::recorded(RecordedHost::new("", &tree, Vec::new()))
    }

    #[test]
    fn a_partition_is_its_kernel_parents_and_nobody_elses() {
        let nodes = ["nvme0n1", "nvme0n12", "nvme0n1p2", "md1", "md12", "md1p2"];
        let host = host(&nodes, &[]);
        let rows = [
            ("nvme0n1", "nvme0n1", true),
            ("nvme0n1", "nvme0n1p2", true),
            ("nvme0n1", "nvme0n12", false),
            ("md1", "md1p2", true),
            ("md1", "md12", false),
        ];
        for (disk, path, expected) in rows {
            let disk = crate::disk::inventory::observe(
                &host,
                &[],
                &[],
                &crate::groups::Groups::default(),
                crate::disk::inventory::Signatures::Cached,
            )
            .into_iter()
            .find(|one| one.name == disk)
            .unwrap();
            assert_eq!(is_on(&host, &[&disk], &format!("/dev/{path}")), expected, "{path}");
        }
    }

    #[test]
    fn groups_are_named_beside_bytes_that_are_no_utf_8_and_a_file_that_is_none_is_not_empty() {
        let tree = MemoryTree::new();
        let latin = b"# G\xE9n\xE9ral\n/dev/data/home /srv/d\xE9p\xF4t xfs defaults 0 0\n".to_vec();
        tree.put(FSTAB_PATH, Node::File(latin));
        tree.put("/etc/crypttab", Node::File(b"# cl\xE9\nx /dev/vault/y\n".to_vec()));
        let host = |tree: &MemoryTree| Host::recorded(RecordedHost::new("", tree, Vec::new()));
        let named = groups_named(&host(&tree)).unwrap();
        assert_eq!(named, ["data".to_owned(), "vault".to_owned()].into());
        assert!(observe(&host(&tree), &[], true).is_err(), "pvs does not answer");

        tree.put("/etc/crypttab", Node::Directory);
        let refusal = observe(&host(&tree), &[], false).unwrap_err();
        assert!(refusal.reason.contains("/etc/crypttab"), "{refusal:?}");
    }

    #[test]
    fn a_kernel_name_is_not_lasting() {
        let links = [
            ("ata-DISK_1-part3", "sda3"),
            ("wwn-0x6000-part3", "sda3"),
            ("scsi-0QEMU_drive0", "sdb3"),
            ("dm-uuid-mpath-36000", "dm-0"),
            ("wwn-0x6000", "dm-0"),
            ("dm-uuid-CRYPT-LUKS2-1", "dm-1"),
            ("md-name-x:0", "md0"),
            ("md-uuid-1:2", "md0"),
            ("md-name-x:1", "md1"),
        ];
        let nodes = ["sda3", "sdb3", "vda3", "dm-0", "dm-1", "md0", "md1"];
        let host = host(&nodes, &links);
        let rows = [
            ("sda3", Some("/dev/disk/by-id/wwn-0x6000-part3")),
            ("sdb3", None),
            ("vda3", None),
            ("dm-0", Some("/dev/disk/by-id/dm-uuid-mpath-36000")),
            ("dm-1", Some("/dev/mapper/luks-1")),
            ("md0", Some("/dev/disk/by-id/md-uuid-1:2")),
            ("md1", None),
            ("[unknown]", None),
        ];
        for (name, expected) in rows {
            assert_eq!(lasting_path(&host, &format!("/dev/{name}")).as_deref(), expected, "{name}");
        }
    }
}
