//! The udev rule that keeps the retention volume's link by UUID, whatever data it holds. Text only;
//! `retention` decides when it is written, and docs/adr/0011 says why it is needed.

use crate::filesystem::RetentionFilesystem;

/// Path of the rule: it runs after udev's own probing (60-persistent-storage.rules), and before the
/// rules that assemble what the probing found (63-md, 64-btrfs, 69-lvm).
pub const UDEV_RULE_FILE: &str = "/etc/udev/rules.d/62-mtctl-retention.rules";

/// The rule for one volume. It probes only whole disks that udev did not take for the volume, and
/// only for the volume's own superblock. `/sbin/blkid` exists on every distribution, and every udev
/// replaces `%N` by the node.
pub fn udev_rule(filesystem: RetentionFilesystem, uuid: &str) -> String {
    format!(
        "# Written by mtctl: changes here are lost.
# The retention volume keeps what other disks held. Where that looks like a RAID member or a
# ZFS label, udev would give the volume no link by its UUID, or the disk to somebody else.
SUBSYSTEM==\"block\", ENV{{DEVTYPE}}==\"disk\", ACTION!=\"remove\", ATTR{{size}}!=\"0\", \\
  KERNEL!=\"ram*|sr*|fd*|zram*\", ENV{{DM_MULTIPATH_DEVICE_PATH}}!=\"1\", \\
  ENV{{DM_UDEV_DISABLE_OTHER_RULES_FLAG}}!=\"1\", ENV{{ID_FS_UUID}}!=\"{uuid}\", \\
  PROGRAM==\"/sbin/blkid -p -n {filesystem} -o value -s UUID %N\", RESULT==\"{uuid}\", \\
  ENV{{ID_FS_USAGE}}=\"filesystem\", ENV{{ID_FS_TYPE}}=\"{filesystem}\", \\
  ENV{{ID_FS_UUID}}=\"{uuid}\", ENV{{ID_FS_UUID_ENC}}=\"{uuid}\", \\
  SYMLINK+=\"disk/by-uuid/{uuid}\"
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_is_one_and_names_the_volume_and_its_type() {
        let rule = udev_rule(RetentionFilesystem::Xfs, "ab-cd");
        let joined = rule.replace("\\\n", "");
        let rows: Vec<_> = joined.lines().filter(|row| !row.starts_with('#')).collect();
        let [row] = rows.as_slice() else { panic!("{rows:?}") };
        assert!(row.contains("RESULT==\"ab-cd\""), "{row}");
        assert!(row.contains("blkid -p -n xfs "), "{row}");
        assert!(row.ends_with("SYMLINK+=\"disk/by-uuid/ab-cd\""), "{row}");
    }
}
