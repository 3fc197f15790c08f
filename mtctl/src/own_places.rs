//! Places that belong to mtctl: the retention volume, and the directories of groups' states and
//! history. No target may lie there, by whatever name it is reached: writing to it would overwrite
//! what a rollback needs.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use blockio::group::GroupPlace;
use blockio::{Error, Result};
use provisioning::groups::{GROUPS_PATH, registry};
use provisioning::host::Tree;

use crate::location::{Location, directory_of, files_behind, is_mount_point};
use crate::retention_options::RetentionOptions;

/// Where mtctl keeps what it knows of this host: its record, its registry, groups without history.
const OWN: &str = "/var/lib/mtctl";

/// Our own places on this host.
#[derive(Debug, Default)]
pub(crate) struct OwnPlaces {
    /// Filesystems that are retention volumes, and their mount points.
    filesystems: Vec<(u64, PathBuf)>,
    directories: Vec<(Location, PathBuf)>,
    /// Files in those directories: one may have another name elsewhere.
    files: BTreeSet<Location>,
}

impl OwnPlaces {
    /// Our own places: the retention volume of this host, those that `at` names, every known
    /// directory with a group's state, and the group of this run.
    pub(crate) fn of_this_host(at: &RetentionOptions, place: Option<&GroupPlace>) -> Self {
        let mut own = Self::default();
        for root in at.all_roots() {
            own.add_retention(&root);
        }
        own.add(Path::new(OWN));
        own.add_root(Path::new(GROUPS_PATH));
        // A registry that cannot be read is reported by the code that has to write it.
        for (_, directory) in registry::load(&Tree::directory("/")).unwrap_or_default() {
            own.add(&directory);
        }
        for directory in place.iter().flat_map(|p| [Some(&p.state), p.history.as_ref()]).flatten() {
            own.add(directory);
        }
        own
    }

    /// `output`, a file that is to be made or replaced, does not lie where mtctl keeps what it
    /// knows of this host; nor does what a link of that name leads to.
    ///
    /// # Errors
    ///
    /// `Refused`: it does.
    pub(crate) fn refuse_output(output: &Path) -> Result<()> {
        let mut own = Self::default();
        own.add(Path::new(OWN));
        let real = output.canonicalize().ok();
        [Some(output), real.as_deref()]
            .into_iter()
            .flatten()
            .try_for_each(|path| own.refuse_in(output, directory_of(path)))
    }

    fn add_retention(&mut self, root: &Path) {
        if let Ok(found) = root.metadata().map(|metadata| metadata.dev()) {
            if is_mount_point(root) {
                self.filesystems.push((found, root.to_owned()));
            }
        }
        self.add_root(root);
    }

    /// Adds `root` and the directories of groups in it, because one of them may also be mounted
    /// elsewhere.
    fn add_root(&mut self, root: &Path) {
        self.add(root);
        for entry in fs::read_dir(root).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                self.add(&entry.path());
            }
        }
    }

    fn add(&mut self, directory: &Path) {
        let Ok(metadata) = directory.metadata() else { return };
        self.directories.push(((metadata.dev(), metadata.ino()), directory.to_owned()));
        let files = fs::read_dir(directory).into_iter().flatten().flatten();
        let files = files.filter_map(|entry| entry.metadata().ok()).filter(fs::Metadata::is_file);
        self.files.extend(files.map(|file| (file.dev(), file.ino())));
    }

    /// Refuses a `target` that lies in our own places, or is made of files that do.
    ///
    /// # Errors
    ///
    /// `Refused`: it lies in one of our places.
    pub(crate) fn refuse(&self, target: &Path) -> Result<()> {
        for file in files_behind(target) {
            let Some(place) = self.place_of(&file) else { continue };
            let (shown, place) = (target.display(), place.display());
            let what = match file == target {
                true => format!("{shown} lies"),
                false => format!("{shown} is made of {}, which is", file.display()),
            };
            return Err(Error::refused(format!(
                "{what} in {place}, where mtctl keeps states and history"
            ))
            .with_hint("move the image elsewhere, or name another disk"));
        }
        Ok(())
    }

    /// The same for a `target` that is to be made in `directory`.
    ///
    /// # Errors
    ///
    /// As [`refuse`](Self::refuse).
    pub(crate) fn refuse_in(&self, target: &Path, directory: &Path) -> Result<()> {
        let Some(place) = self.place_above(directory) else { return Ok(()) };
        let (shown, place) = (target.display(), place.display());
        let context = format!("{shown} would be in {place}, where mtctl keeps states and history");
        Err(Error::refused(context).with_hint("name a file elsewhere"))
    }

    /// The one of our places that contains `file`.
    fn place_of(&self, file: &Path) -> Option<&Path> {
        let found = file.metadata().ok()?;
        let real = file.canonicalize().ok()?;
        // A single file may be mounted elsewhere.
        let here = self.filesystem(found.dev());
        if let Some(place) = here.or_else(|| self.place_above(real.parent()?)) {
            return Some(place);
        }
        let is_ours = found.nlink() > 1 && self.files.contains(&(found.dev(), found.ino()));
        is_ours.then(|| self.directories.first().map(|(_, place)| place.as_path())).flatten()
    }

    /// The mount point of the filesystem with this number, if it is a retention volume.
    fn filesystem(&self, number: u64) -> Option<&Path> {
        let found = self.filesystems.iter().find(|(own, _)| *own == number);
        found.map(|(_, root)| root.as_path())
    }

    /// The one of our places that contains `directory`.
    fn place_above(&self, directory: &Path) -> Option<&Path> {
        let real = directory.canonicalize().ok()?;
        if let Some(root) = self.filesystem(real.metadata().ok()?.dev()) {
            return Some(root);
        }
        let locations = real.ancestors().filter_map(|above| above.metadata().ok());
        let mut locations = locations.map(|metadata| (metadata.dev(), metadata.ino()));
        locations.find_map(|location| {
            let found = self.directories.iter().find(|(own, _)| *own == location);
            found.map(|(_, place)| place.as_path())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_below_a_place_of_ours_is_refused_by_every_name_and_nothing_else_is() {
        let here = tempfile::tempdir().unwrap();
        let at = |path: &str| here.path().join(path);
        fs::create_dir_all(at("keep/g/deeper")).unwrap();
        fs::create_dir_all(at("keeper")).unwrap();
        for file in ["keep/image", "keep/g/segment", "keep/g/deeper/image", "keeper/image"] {
            fs::write(at(file), "x").unwrap();
        }
        std::os::unix::fs::symlink(at("keep/g/segment"), at("link")).unwrap();
        fs::hard_link(at("keep/g/segment"), at("hard")).unwrap();
        fs::hard_link(at("keeper/image"), at("other")).unwrap();
        let mut own = OwnPlaces::default();
        own.add_root(&at("keep"));
        for ours in ["keep/image", "keep/g/segment", "keep/g/deeper/image", "link", "hard"] {
            let refused = own.refuse(&at(ours)).unwrap_err();
            assert_eq!(refused.kind(), system::ErrorKind::Refused, "{ours}");
            assert!(refused.hint().is_some());
        }
        for other in ["keeper/image", "other", "missing"] {
            assert!(own.refuse(&at(other)).is_ok(), "{other}");
        }
        for (directory, is_ours) in [("keep", true), ("keep/g/deeper", true), ("keeper", false)] {
            let refused = own.refuse_in(&at(directory).join("new"), &at(directory));
            assert_eq!(refused.is_err(), is_ours, "{directory}");
        }
    }
}
