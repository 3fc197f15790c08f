//! Which volume groups are the host's own. They are compared by UUID, because a customer's group
//! can have any name. The caller says what is on the host's own disks; nothing is read here.

use std::collections::BTreeSet;

use super::{PhysicalVolume, VolumeGroup};

/// Directories in /dev whose entries are not logical volumes.
const NO_GROUPS: [&str; 8] = ["block", "cciss", "disk", "ida", "loop", "mapper", "md", "rd"];

/// Two volume groups with one name, at least one of which is the host's own. Activation lists
/// contain names only, so they cannot list one group without the other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("two volume groups are called {name}: one on {one}, one on {other} (UUID {other_uuid})")]
pub(crate) struct SameName {
    /// The name.
    pub name: String,
    /// A physical volume of the host's own group.
    pub one: String,
    /// A physical volume of the other group.
    pub other: String,
    /// The UUID of the other group.
    pub other_uuid: String,
}

/// The physical volumes of every group that has a volume for which `is_on_own_disk` is true, or
/// that is among `named`, the groups that fstab or crypttab name.
///
/// # Errors
/// Returns an error if such a group shares its name with another.
pub(crate) fn own_volumes<'a>(
    volumes: &'a [PhysicalVolume],
    is_on_own_disk: impl Fn(&str) -> bool,
    named: &BTreeSet<String>,
) -> Result<Vec<&'a PhysicalVolume>, SameName> {
    let grouped = || volumes.iter().filter_map(|one| Some((one, one.volume_group.as_ref()?)));
    // Groups on the host's own disks come first, so that in a conflict the other group is the
    // foreign one.
    let on_disk = grouped().filter(|(volume, _)| is_on_own_disk(&volume.path));
    let by_name = grouped().filter(|(_, group)| named.contains(&group.name));
    let own: Vec<(&PhysicalVolume, &VolumeGroup)> = on_disk.chain(by_name).collect();
    for (volume, group) in &own {
        let twin =
            grouped().find(|(_, other)| other.name == group.name && other.uuid != group.uuid);
        if let Some((other, twin)) = twin {
            return Err(SameName {
                name: group.name.clone(),
                one: volume.path.clone(),
                other: other.path.clone(),
                other_uuid: twin.uuid.clone(),
            });
        }
    }
    let is_own = |group: &VolumeGroup| own.iter().any(|(_, one)| one.uuid == group.uuid);
    Ok(grouped().filter(|(_, group)| is_own(group)).map(|(volume, _)| volume).collect())
}

/// The volume group of a logical volume named by `path`: `/dev/mapper/GROUP-VOLUME` or
/// `/dev/GROUP/VOLUME`. Other paths can have the same form; only LVM knows whether the group
/// exists.
pub(crate) fn group_of_path(path: &str) -> Option<String> {
    let rest = path.strip_prefix("/dev/")?;
    if let Some(name) = rest.strip_prefix("mapper/") {
        return group_of_map(name);
    }
    let (group, volume) = rest.split_once('/')?;
    let is_volume = !volume.is_empty() && !volume.contains('/') && !NO_GROUPS.contains(&group);
    is_volume.then(|| group.to_owned())
}

/// The volume group of a logical volume, from its device-mapper name: LVM joins group and volume
/// with a hyphen and doubles the hyphens inside them. A name with no such hyphen, or with several,
/// is not a logical volume's.
pub(crate) fn group_of_map(name: &str) -> Option<String> {
    let unescaped = name.replace("--", "\0");
    let (group, volume) = unescaped.split_once('-')?;
    let is_volume = !group.is_empty() && !volume.is_empty() && !volume.contains('-');
    is_volume.then(|| group.replace('\0', "-"))
}

/// The volume groups that fstab(5) or crypttab(5) appear to name: `sources` are paths.
pub(crate) fn groups_named<'a>(sources: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    sources.into_iter().filter_map(group_of_path).collect()
}

/// The devices named in a crypttab(5).
pub(crate) fn crypttab_sources(text: &str) -> impl Iterator<Item = &str> {
    let rows = text.lines().map(str::trim).filter(|row| !row.starts_with('#'));
    rows.filter_map(|row| row.split_ascii_whitespace().nth(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(path: &str, name: &str, uuid: &str) -> PhysicalVolume {
        let volume_group = Some(VolumeGroup { name: name.into(), uuid: uuid.into() });
        PhysicalVolume { path: path.into(), volume_group }
    }

    fn own(volumes: &[PhysicalVolume], named: &[&str]) -> Result<Vec<String>, SameName> {
        let named = named.iter().map(|&name| name.to_owned()).collect();
        let found = own_volumes(volumes, |path| path == "/dev/sda2", &named)?;
        Ok(found.into_iter().map(|one| one.path.clone()).collect())
    }

    #[test]
    fn groups_on_own_disks_and_those_named_are_own_with_all_their_volumes() {
        let blank = PhysicalVolume { path: "/dev/sdz".into(), volume_group: None };
        let volumes = [
            volume("/dev/sda2", "rl", "1"),
            volume("/dev/sdb", "rl", "1"),
            volume("/dev/sdc", "data", "2"),
            volume("/dev/sdd", "customer", "3"),
            blank,
        ];
        assert_eq!(own(&volumes, &[]).unwrap(), ["/dev/sda2", "/dev/sdb"]);
        assert_eq!(own(&volumes, &["data"]).unwrap(), ["/dev/sda2", "/dev/sdb", "/dev/sdc"]);
        assert_eq!(own(&volumes[2..], &["gone"]).unwrap(), [""; 0]);
    }

    #[test]
    fn a_customers_group_with_the_name_of_an_own_one_is_refused() {
        let same = [volume("/dev/sdc", "rl", "2"), volume("/dev/sda2", "rl", "1")];
        let error = own(&same, &[]).unwrap_err();
        assert_eq!(
            (&*error.one, &*error.other, &*error.other_uuid),
            ("/dev/sda2", "/dev/sdc", "2")
        );
        let named = [volume("/dev/sdc", "data", "2"), volume("/dev/sdd", "data", "3")];
        assert!(own(&named, &["data"]).is_err());
        assert_eq!(own(&named, &[]).unwrap(), [""; 0], "two customers may have one name");
    }

    #[test]
    fn the_group_is_read_from_every_path_of_a_volume() {
        let rows = [
            ("/dev/mapper/rl-root", Some("rl")),
            ("/dev/mapper/rl--a-root--b", Some("rl-a")),
            ("/dev/rl/root", Some("rl")),
            ("/dev/mapper/luks-0b6ba6a5-5a9e", None),
            ("/dev/mapper/mpatha", None),
            ("/dev/disk/by-id/x", None),
            ("/dev/md/root", None),
            ("/dev/sda2", None),
            ("/dev/rl/", None),
            ("UUID=1-2", None),
        ];
        for (path, group) in rows {
            assert_eq!(group_of_path(path).as_deref(), group, "{path}");
        }
    }

    #[test]
    fn the_sources_of_a_crypttab_are_read() {
        let text = "# a /dev/x/y\nhome /dev/data/home none luks\n\nswap\n z  UUID=1\n";
        assert_eq!(crypttab_sources(text).collect::<Vec<_>>(), ["/dev/data/home", "UUID=1"]);
        assert_eq!(groups_named(crypttab_sources(text)), ["data".to_owned()].into());
    }
}
