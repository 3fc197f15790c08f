//! Whether a row of fstab(5) means the retention volume, under any of its names. The parent module
//! decides what to do about such a row.

use super::volume::{Volume, carriers};
use crate::disk::Disk;
use crate::filesystem::RETENTION_LABEL;
use crate::fstab::source::Source;
use crate::observe::Observed;
use crate::step::Format;

/// The names that mean the volume: its own, those of the content of its disk until that is
/// formatted, and those of the disk. A row that still names destroyed content would hold up the
/// next boot.
pub(super) struct Names<'a> {
    observed: &'a Observed,
    uuids: Vec<String>,
    labels: Vec<String>,
    disk: Option<&'a Disk>,
}

impl<'a> Names<'a> {
    /// The names of `volume`, which `format` makes if it does not exist.
    pub(super) fn of(observed: &'a Observed, volume: &Volume, format: Option<&Format>) -> Self {
        let disk = match format {
            Some(format) => observed.disks.iter().find(|disk| disk.path == format.path),
            None => carriers(observed, &volume.uuid).first().copied(),
        };
        let found = disk.map(|disk| &disk.signature);
        let uuids = found.and_then(|found| found.uuid.clone()).into_iter();
        let label = found.and_then(|found| found.label.clone());
        Self {
            observed,
            uuids: uuids.chain([volume.uuid.clone()]).collect(),
            labels: label.into_iter().chain(format.map(|_| RETENTION_LABEL.to_owned())).collect(),
            disk,
        }
    }

    /// Whether `source`, as a row spells it, is one of them. A device node in a mounted image
    /// refers to a disk of the machine that the image will run on.
    pub(super) fn include(&self, source: &str) -> bool {
        match Source::parse(source) {
            Source::Uuid(uuid) => self.uuids.iter().any(|one| one.eq_ignore_ascii_case(&uuid)),
            Source::Label(label) => self.labels.contains(&label),
            Source::Path(path) => self.disk.is_some_and(|disk| {
                let number = self.observed.fstab_devices.get(&path);
                number == Some(&disk.device_number)
            }),
            Source::Other => false,
        }
    }
}
