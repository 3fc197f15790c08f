//! The OVF package of restored VMDKs: its files, the descriptor, and the manifest.
//! `provisioning::vmware::ovf` writes the text of the descriptor.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use provisioning::vmware::ovf::{Controller, DISKS_MAX, Disk, Machine, manifest};
use sha2::{Digest, Sha256};
use system::{Error, ErrorKind, Result};

use super::pair::{Pair, Restored};
use crate::group_place::GroupOptions;
use crate::location::directory_of;
use crate::new_image::NewImage;
use crate::restore_targets;

/// What was typed for it.
#[derive(Debug, Args)]
pub(super) struct PackageOptions {
    /// Write an OVF that names the VMDKs, in the order of --onto, and its manifest (.mf); both are
    /// new files beside them
    #[arg(long, value_name = "FILE.ovf")]
    ovf: Option<PathBuf>,

    /// Disk controller of the machine in the OVF; its system needs a driver for it
    #[arg(long, value_enum, default_value_t = ControllerName::Lsilogic, requires = "ovf")]
    controller: ControllerName,
}

/// A controller by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ControllerName {
    /// LSI Logic Parallel
    Lsilogic,
    /// LSI Logic SAS
    LsilogicSas,
    /// VMware Paravirtual
    Pvscsi,
}

impl From<ControllerName> for Controller {
    fn from(name: ControllerName) -> Self {
        match name {
            ControllerName::Lsilogic => Self::LsiLogic,
            ControllerName::LsilogicSas => Self::LsiLogicSas,
            ControllerName::Pvscsi => Self::Paravirtual,
        }
    }
}

impl PackageOptions {
    /// The path of the descriptor, if one is wanted.
    pub(super) fn descriptor(&self) -> Option<&Path> {
        self.ovf.as_deref()
    }

    /// The path of the manifest.
    pub(super) fn manifest(&self) -> Option<PathBuf> {
        self.ovf.as_ref().map(|ovf| ovf.with_extension("mf"))
    }

    /// The files of a package beside its images: the descriptor, then the manifest.
    pub(super) fn files(&self) -> impl Iterator<Item = PathBuf> {
        self.ovf.clone().into_iter().chain(self.manifest())
    }

    /// Checks that a package of `pairs` can be made from new files in the directory of the VMDKs.
    ///
    /// # Errors
    ///
    /// `Usage`: the files cannot be named beside each other, or one is named twice, or there are
    /// too many disks. `Refused`: one exists, or would lie where mtctl keeps its files.
    pub(super) fn check(&self, pairs: &[Pair], of: &GroupOptions) -> Result<()> {
        let (Some(ovf), Some(mf)) = (&self.ovf, self.manifest()) else { return Ok(()) };
        let shown = ovf.display();
        let usage = |what: String, hint: &str| {
            Err(Error::new(ErrorKind::Usage, format!("making {shown}: {what}")).with_hint(hint))
        };
        if ovf.extension().is_none_or(|extension| extension != "ovf") {
            return usage("its name does not end in .ovf".to_owned(), "name it FILE.ovf");
        }
        if pairs.len() > DISKS_MAX {
            let what = format!("a machine has at most {DISKS_MAX} disks");
            return usage(what, "restore fewer volumes at a time");
        }
        let place = |path: &Path| directory_of(path).canonicalize().ok();
        for path in pairs.iter().map(Pair::path) {
            if place(path) != place(ovf) || name(path).is_none() {
                let what = format!("it cannot name {}", path.display());
                return usage(what, "put the OVF and its VMDKs in one directory, with plain names");
            }
        }
        let images = pairs.iter().map(Pair::path);
        restore_targets::check_possible(images.chain([ovf.as_path(), &mf]), of)
    }

    /// Writes the descriptor and the manifest of the `restored` images for the machine `machine`.
    /// The manifest comes last: a package without one is incomplete.
    ///
    /// # Errors
    ///
    /// `Failed`: a file cannot be read or written.
    pub(super) fn write(&self, machine: &str, restored: &[Restored]) -> Result<()> {
        let (Some(ovf), Some(mf)) = (&self.ovf, self.manifest()) else { return Ok(()) };
        let (mut disks, mut hashes) = (Vec::new(), Vec::new());
        for one in restored {
            let file = name(&one.path).unwrap_or_default();
            let (hash, file_bytes) = sha256(&one.path)?;
            disks.push(Disk { file: file.to_owned(), file_bytes, capacity_bytes: one.bytes });
            hashes.push((file, hash));
        }
        let controller = self.controller.into();
        let machine = Machine { name: machine.to_owned(), controller, disks };
        write(ovf, &machine.descriptor())?;
        hashes.insert(0, (name(ovf).unwrap_or_default(), sha256(ovf)?.0));
        write(&mf, &manifest(hashes))
    }
}

/// The name of a file in the package.
fn name(path: &Path) -> Option<&str> {
    let name = path.file_name()?.to_str()?;
    // A manifest cannot express that such a character is part of the name.
    name.chars().all(|c| !c.is_control() && !matches!(c, '(' | ')' | '/')).then_some(name)
}

fn write(path: &Path, text: &str) -> Result<()> {
    let image = NewImage::begin(path, 0)?;
    let failed = |cause| Error::failed(format!("writing {}", path.display()), cause);
    fs::write(image.part(), text).map_err(failed)?;
    image.finish()
}

/// The SHA-256 of a file in hexadecimal digits, and its length in bytes.
fn sha256(path: &Path) -> Result<(String, u64)> {
    let mut hasher = Sha256::new();
    let copied = File::open(path).and_then(|mut file| io::copy(&mut file, &mut hasher));
    let failed = |cause| Error::failed(format!("reading {}", path.display()), cause);
    let bytes = copied.map_err(failed)?;
    let hash = hasher.finalize();
    Ok((hex::encode(hash), bytes))
}
