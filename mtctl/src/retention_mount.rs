//! Where the retention volume is mounted, and why it must be: the one place that decides this, for
//! every verb. What is mounted there is not examined, except for its UUID.

use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser as _};
use provisioning::fstab::{FSTAB_PATH, Fstab};
use provisioning::host::{Host, Tree};
use provisioning::spec::RETENTION_MOUNT_DEFAULT;
use provisioning::{filesystem, observe};
use system::lossless_text;
use system::{Error, ErrorKind};

use crate::configuration::{self, PrepareConfiguration};

/// --retention-mount and its variable.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct RetentionMountOption {
    /// Where the retention volume is mounted [default: where fstab has the one that prepare made,
    /// else /mnt/retention]
    // `mount_point` explains an empty value better than the parser would.
    #[arg(long, value_name = "DIR", env = "MTCTL_RETENTION_MOUNT", hide_env = true,
          value_parser = OsStringValueParser::new().map(PathBuf::from))]
    retention_mount: Option<PathBuf>,
}

/// The mount point of the retention volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RetentionMount {
    /// An absolute directory, as text ([`lossless_text`]), because it may contain bytes that are
    /// not UTF-8.
    pub(crate) path: PathBuf,
    /// Who says that a volume is mounted there, in words that follow "the volume that"; `None` if
    /// nobody does, and this host may have none.
    pub(crate) said_by: Option<&'static str>,
}

impl RetentionMountOption {
    /// The option, which overrides the environment, then `file`, then our row in the fstab of
    /// `system`, and finally the default.
    ///
    /// # Errors
    /// Returns [`ErrorKind::Usage`] for a directory that cannot be a mount point, and an error if
    /// fstab exists and cannot be read.
    pub(crate) fn resolve(
        &self,
        file: &PrepareConfiguration,
        system: &Tree,
    ) -> system::Result<RetentionMount> {
        if let Some(typed) = &self.retention_mount {
            let said_by = Some("--retention-mount or MTCTL_RETENTION_MOUNT names");
            return Ok(RetentionMount { path: mount_point(typed)?, said_by });
        }
        if let Some(configured) = &file.retention_mount {
            let said_by = Some("mtctl.toml names");
            return Ok(RetentionMount { path: mount_point(configured)?, said_by });
        }
        let fstab = fstab(system)?;
        let said_by = Some("/etc/fstab has");
        let ours = fstab.ours().and_then(|(_, row)| mount_point(Path::new(&row.mount_point)).ok());
        if let Some(path) = ours {
            return Ok(RetentionMount { path, said_by });
        }
        let has_row = fstab.by_mount_point(RETENTION_MOUNT_DEFAULT).next().is_some();
        let said_by = said_by.filter(|_| has_row);
        Ok(RetentionMount { path: PathBuf::from(RETENTION_MOUNT_DEFAULT), said_by })
    }

    /// Like [`resolve`](Self::resolve) on this host; in addition, the record of `prepare` can say
    /// that there is a volume, though not where.
    ///
    /// # Errors
    /// As for [`resolve`](Self::resolve); also if the configuration or the record is not
    /// understood, because it must not be ignored.
    pub(crate) fn of_this_host(&self) -> system::Result<RetentionMount> {
        let host = Host::running();
        let configured = match self.retention_mount {
            Some(_) => PrepareConfiguration::default(),
            None => configuration::load(host.system())?.prepare,
        };
        let mut mount = self.resolve(&configured, host.system())?;
        if mount.said_by.is_none() && provisioning::record::load(&host)?.retention.is_some() {
            mount.said_by = Some("/var/lib/mtctl/provisioning.json has");
        }
        Ok(mount)
    }
}

/// Checks that the volume mounted there has the UUID by which this host knows its retention volume,
/// if it knows one: history on another filesystem would not be found, and the existing history
/// would be left behind.
///
/// # Errors
/// Returns [`ErrorKind::Refused`] if something else is mounted there; an error if that cannot be
/// determined.
pub(crate) fn check_is_the_known_one(mount: &RetentionMount) -> system::Result<()> {
    let host = Host::running();
    let Some(uuid) = known_uuid(&host)? else { return Ok(()) };
    let at = lossless_text::of_path(&mount.path);
    let mounts = observe::mount_table(&host)?;
    let source = mounts.topmost(&at).map(|mounted| mounted.source.clone()).unwrap_or_default();
    if source.starts_with('/') {
        let found = filesystem::probe_signature(&host, Path::new(&source))?;
        if found.carries(&uuid).is_some() {
            return Ok(());
        }
    }
    let context = format!("{source} is mounted on {at}, not the retention volume UUID={uuid}");
    Err(Error::refused(context).with_hint(format!(
        "umount {at}, then run `mtctl prepare`, which mounts the volume; or name another volume \
         for this run: --retention DIR"
    )))
}

/// The UUID of the volume that `prepare` made, from our fstab row, else from the record.
fn known_uuid(host: &Host) -> system::Result<Option<String>> {
    let fstab = fstab(host.system())?;
    let row = fstab.ours().and_then(|(_, row)| row.source.strip_prefix("UUID=").map(str::to_owned));
    match row {
        Some(uuid) => Ok(Some(uuid)),
        None => Ok(provisioning::record::load(host)?.retention.map(|volume| volume.uuid)),
    }
}

fn fstab(system: &Tree) -> system::Result<Fstab> {
    Ok(Fstab::parse(&system.text_if_exists(FSTAB_PATH)?.unwrap_or_default()))
}

/// An absolute path without `.` and `..`, as in fstab and the kernel's mount table.
fn mount_point(path: &Path) -> system::Result<PathBuf> {
    let is_plain = path.components().all(|component| {
        use std::path::Component::{Normal, RootDir};
        matches!(component, Normal(_) | RootDir)
    });
    if path.is_absolute() && is_plain && path.components().count() > 1 {
        let path: PathBuf = path.components().collect();
        return Ok(lossless_text::of_path(&path).into());
    }
    let context = format!("mounting the retention volume on '{}'", path.display());
    Err(Error::new(ErrorKind::Usage, context).with_hint(
        "--retention-mount and MTCTL_RETENTION_MOUNT need an absolute path other than /, without \
         '..'",
    ))
}

#[cfg(test)]
mod tests {
    use provisioning::host::MemoryTree;

    use super::*;

    #[test]
    fn a_mount_point_is_absolute_and_plain() {
        for typed in ["", "/", "mnt", "/mnt/../etc", "./x"] {
            assert!(mount_point(Path::new(typed)).is_err(), "{typed:?}");
        }
        assert_eq!(mount_point(Path::new("/mnt//r/")).unwrap(), PathBuf::from("/mnt/r"));
    }

    #[test]
    fn the_flag_goes_before_the_file_the_file_before_the_row_and_that_before_the_default() {
        let ours = "# \u{e9}\nUUID=11-22 /srv/row ext4 nofail,x-mtctl 0 2\n";
        let other = "UUID=11-22 /mnt/retention ext4 nofail 0 2\n";
        let flag = Some("/srv/flag");
        let file = Some("/srv/file");
        let rows = [
            (flag, file, ours, "/srv/flag", true),
            (None, file, ours, "/srv/file", true),
            (None, None, ours, "/srv/row", true),
            (None, None, other, "/mnt/retention", true),
            (None, None, "", "/mnt/retention", false),
        ];
        for (flag, file, fstab, path, is_said) in rows {
            let memory = MemoryTree::new();
            memory.put_text(FSTAB_PATH, fstab);
            let option = RetentionMountOption { retention_mount: flag.map(PathBuf::from) };
            let configured = PrepareConfiguration {
                retention_mount: file.map(PathBuf::from),
                ..PrepareConfiguration::default()
            };
            let found = option.resolve(&configured, &Tree::memory(memory)).unwrap();
            assert_eq!((found.path.to_str(), found.said_by.is_some()), (Some(path), is_said));
        }
    }

    #[test]
    fn bytes_of_another_encoding_hide_no_row() {
        let memory = MemoryTree::new();
        let text = b"# caf\xe9\nUUID=11-22 /srv/row ext4 nofail,x-mtctl 0 2\n".to_vec();
        memory.put(FSTAB_PATH, provisioning::host::Node::File(text));
        let option = RetentionMountOption::default();
        let found = option.resolve(&PrepareConfiguration::default(), &Tree::memory(memory));
        assert_eq!(found.unwrap().path, PathBuf::from("/srv/row"));
    }
}
