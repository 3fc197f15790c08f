//! Options that say what is desired; shared by `check` and `prepare`. Flags go before the
//! environment, and that before the configuration file.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use provisioning::filesystem::RetentionFilesystem;
use provisioning::lossless_text;
use provisioning::multipath::MultipathPolicy;
use provisioning::spec::{Desired, DiskName, Profile, RETENTION_MOUNT_DEFAULT};
use provisioning::{Error, ErrorKind};

use crate::configuration::PrepareConfiguration;

/// What is desired of a master target.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct DesiredOptions {
    /// Where the retention volume is mounted [default: /mnt/retention]
    #[arg(long, value_name = "DIR", env = "MTCTL_RETENTION_MOUNT", hide_env = true)]
    retention_mount: Option<PathBuf>,

    /// What multipathing is wanted [default: auto]
    #[arg(long, value_name = "POLICY", env = "MTCTL_MULTIPATH", hide_env = true)]
    multipath: Option<Multipath>,

    /// Which rules: what replication needs, or also what the vendor's procedure demands
    /// [default: generic]
    #[arg(long, value_name = "PROFILE", env = "MTCTL_PROFILE", hide_env = true)]
    profile: Option<ProfileName>,
}

/// --multipath
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Multipath {
    /// No disk is claimed but those the host itself runs on
    Off,
    /// What is a map stays one; nothing new is claimed
    Auto,
    /// Every attached disk is used through a map
    Require,
}

/// --profile
#[derive(Clone, Copy, Debug, ValueEnum)]
enum ProfileName {
    /// What replication needs
    Generic,
    /// Also a VMware machine, 6 GiB, 4 cores, kernel updates held
    Asr,
}

/// --filesystem
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum FilesystemName {
    /// The default
    Ext4,
    /// XFS
    Xfs,
}

impl From<FilesystemName> for RetentionFilesystem {
    fn from(name: FilesystemName) -> Self {
        match name {
            FilesystemName::Ext4 => Self::Ext4,
            FilesystemName::Xfs => Self::Xfs,
        }
    }
}

impl DesiredOptions {
    /// These options over `configuration` over the defaults.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for values that nothing can be done with.
    pub(crate) fn resolve(&self, file: PrepareConfiguration) -> provisioning::Result<Desired> {
        let multipath = self.multipath.map(|policy| match policy {
            Multipath::Off => MultipathPolicy::Off,
            Multipath::Auto => MultipathPolicy::Auto,
            Multipath::Require => MultipathPolicy::Require,
        });
        let profile = match (self.profile, file.profile.as_deref()) {
            (Some(ProfileName::Asr), _) | (None, Some("asr")) => Profile::Asr,
            (Some(ProfileName::Generic), _) | (None, None | Some("generic")) => Profile::Generic,
            (None, Some(other)) => {
                let context = format!("reading the profile '{other}' of the configuration");
                return Err(Error::new(ErrorKind::Usage, context).with_hint("generic or asr"));
            }
        };
        let mount = self.retention_mount.clone().or(file.retention_mount);
        Ok(Desired {
            retention_disk: file.retention_disk.as_deref().map(lasting_name).transpose()?,
            retention_mount: mount_point(mount)?,
            filesystem: file.filesystem,
            multipath: multipath.or(file.multipath).unwrap_or_default(),
            profile,
            hold_kernel_updates: file.hold_kernel_updates.unwrap_or(profile == Profile::Asr),
            ..Desired::default()
        })
    }
}

/// A disk that a file names: by what stays with it. `/dev/sdb` is another disk after the next one
/// is attached, and a file is read long after it was written.
fn lasting_name(written: &str) -> provisioning::Result<DiskName> {
    let is_lasting = !written.starts_with('/') || written.starts_with("/dev/disk/by-id/");
    if is_lasting {
        return DiskName::parse(written);
    }
    let context = format!("reading retention_disk = \"{written}\" of the configuration");
    Err(Error::new(ErrorKind::Usage, context)
        .with_hint("a file names a disk by its WWID or by /dev/disk/by-id/…: mtctl disks tells it"))
}

/// An absolute path without `.` and `..`, as fstab and the kernel's mount table write it, as text:
/// it may hold bytes that are no UTF-8.
fn mount_point(typed: Option<PathBuf>) -> provisioning::Result<PathBuf> {
    let path = typed.unwrap_or_else(|| PathBuf::from(RETENTION_MOUNT_DEFAULT));
    let is_plain = path.components().all(|component| {
        use std::path::Component::{Normal, RootDir};
        matches!(component, Normal(_) | RootDir)
    });
    if path.is_absolute() && is_plain && path.components().count() > 1 {
        let path: PathBuf = path.components().collect();
        return Ok(lossless_text::of_path(&path).into());
    }
    let context = format!("mounting the retention volume on '{}'", path.display());
    Err(Error::new(ErrorKind::Usage, context)
        .with_hint("--retention-mount takes an absolute directory, not the root, without '..'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_point_is_absolute_and_plain() {
        for typed in ["", "/", "mnt", "/mnt/../etc", "./x"] {
            assert!(mount_point(Some(typed.into())).is_err(), "{typed:?}");
        }
        assert_eq!(mount_point(Some("/mnt//r/".into())).unwrap(), PathBuf::from("/mnt/r"));
    }

    #[test]
    fn a_file_names_a_disk_by_what_stays_with_it() {
        for written in ["/dev/sdb", "/dev/disk/by-path/pci-0"] {
            assert_eq!(lasting_name(written).unwrap_err().kind(), ErrorKind::Usage, "{written}");
        }
        for written in [
            "/dev/disk/by-id/wwn-0x6000c293e4b5a1b2c3d4e5f60718293a",
            "0x6000c293e4b5a1b2c3d4e5f60718293a",
        ] {
            assert!(lasting_name(written).is_ok(), "{written}");
        }
    }

    #[test]
    fn the_flag_goes_before_the_file() {
        let file = PrepareConfiguration {
            multipath: Some(MultipathPolicy::Off),
            profile: Some("asr".into()),
            ..PrepareConfiguration::default()
        };
        let flags = DesiredOptions { multipath: Some(Multipath::Require), ..Default::default() };
        let desired = flags.resolve(file.clone()).unwrap();
        assert_eq!((desired.multipath, desired.profile), (MultipathPolicy::Require, Profile::Asr));
        assert!(desired.hold_kernel_updates);
        let desired = DesiredOptions::default().resolve(file).unwrap();
        assert_eq!(desired.multipath, MultipathPolicy::Off);
    }
}
