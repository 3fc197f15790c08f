//! Options that describe the desired state, shared by `check` and `prepare`. Flags take precedence
//! over the environment, and the environment over the configuration file.

use clap::{Args, ValueEnum};
use provisioning::filesystem::RetentionFilesystem;
use provisioning::host::Tree;
use provisioning::multipath::MultipathPolicy;
use provisioning::spec::{Desired, DiskName, Profile};
use system::{Error, ErrorKind};

use crate::configuration::PrepareConfiguration;
use crate::retention_mount::RetentionMountOption;

/// What is desired of a master target.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct DesiredOptions {
    #[command(flatten)]
    retention: RetentionMountOption,

    /// How multipathing is set up [default: auto]
    #[arg(long, value_name = "POLICY", env = "MTCTL_MULTIPATH", hide_env = true)]
    multipath: Option<Multipath>,

    /// Which requirements apply: those of replication, or also those of the vendor's procedure
    /// [default: generic]
    #[arg(long, value_name = "PROFILE", env = "MTCTL_PROFILE", hide_env = true)]
    profile: Option<ProfileName>,
}

/// --multipath
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Multipath {
    /// Claim no disks except those that the host itself runs on
    Off,
    /// Keep existing maps; claim nothing new
    Auto,
    /// Use every attached disk through a map
    Require,
}

/// --profile
#[derive(Clone, Copy, Debug, ValueEnum)]
enum ProfileName {
    /// The requirements of replication
    Generic,
    /// Also a VMware machine, 6 GiB of memory, 4 cores, and kernel updates held
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
    /// The desired state for `system`: these options override those of the file, which override the
    /// defaults.
    ///
    /// # Errors
    /// Returns [`ErrorKind::Usage`] for values that cannot be used.
    pub(crate) fn resolve(
        &self,
        file: PrepareConfiguration,
        system: &Tree,
    ) -> system::Result<Desired> {
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
        let retention = self.retention.resolve(&file, system)?;
        Ok(Desired {
            retention_disk: file.retention_disk.as_deref().map(lasting_name).transpose()?,
            retention_mount: retention.path,
            filesystem: file.filesystem,
            multipath: multipath.or(file.multipath).unwrap_or_default(),
            profile,
            hold_kernel_updates: file.hold_kernel_updates.unwrap_or(profile == Profile::Asr),
            ..Desired::default()
        })
    }
}

/// Parses the name of a disk in a file, which must be a persistent one. `/dev/sdb` may be another
/// disk after the next one is attached, and a file is read long after it was written.
fn lasting_name(written: &str) -> system::Result<DiskName> {
    let is_lasting = !written.starts_with('/') || written.starts_with("/dev/disk/by-id/");
    if is_lasting {
        return DiskName::parse(written);
    }
    let context = format!("reading retention_disk = \"{written}\" of the configuration");
    Err(Error::new(ErrorKind::Usage, context).with_hint(
        "in the file, name the disk by its WWID or by /dev/disk/by-id/…: see mtctl disks",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let system = Tree::memory(provisioning::host::MemoryTree::new());
        let flags = DesiredOptions { multipath: Some(Multipath::Require), ..Default::default() };
        let desired = flags.resolve(file.clone(), &system).unwrap();
        assert_eq!((desired.multipath, desired.profile), (MultipathPolicy::Require, Profile::Asr));
        assert!(desired.hold_kernel_updates);
        let desired = DesiredOptions::default().resolve(file, &system).unwrap();
        assert_eq!(desired.multipath, MultipathPolicy::Off);
    }
}
