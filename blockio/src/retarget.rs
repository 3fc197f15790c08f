//! The proof that is needed before a volume moves to another disk: that the new disk holds what the
//! old one does. Saving the move is the group's job.
//!
//! There are two proofs. Either both disks are read and compared; or the new disk has the digest
//! that was made of a recovery point, and the group is at that very point: nothing was overwritten
//! since it was made, because every overwrite is preserved first. A digest of anything else proves
//! nothing: it would match a disk that does not have the writes since.

use crate::assignment::Disk;
use crate::device::Engine;
use crate::digest::{Document, Findings, Watch, differences, verify};
use crate::group::{GroupView, Whereabouts};
use crate::journal::catalogue::PointId;
use crate::journal::selector;
use crate::journal::state::VolumeState;
use crate::plain::Plain;
use crate::remedy::{DiskRemedy, GroupRemedy, Remedied};
use crate::view::View;
use crate::volume_name::VolumeName;
use crate::{Error, ErrorKind, Result};

/// Proof that a disk holds what the target of a volume holds.
#[must_use = "the group may use another disk now"]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SameContent {
    pub(crate) volume: VolumeName,
    bytes: u64,
}

impl SameContent {
    /// How many bytes were compared.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// Requires that the volumes of `group` hold exactly what is recorded of them.
///
/// # Errors
///
/// `Refused`: a rollback is not finished, or a run was cut short.
pub fn require_at_rest(group: &GroupView) -> Result<()> {
    group.require_no_rollback()?;
    match group.whereabouts() {
        Whereabouts::InBetween(_) => {
            let name = group.name();
            Err(Error::refused(format!(
                "group {name} is in-between: what its disks hold is unknown"
            ))
            .remedied(GroupRemedy::ApplyAgainOrRecover { group: name.to_owned() }))
        }
        Whereabouts::NeverWritten
        | Whereabouts::RollingBack(_)
        | Whereabouts::RolledBack(_)
        | Whereabouts::WithinStream(_)
        | Whereabouts::Applied => Ok(()),
    }
}

/// Requires that the disk `new` can take the volume with state `known`: it is at least as large,
/// and its sectors are no longer.
///
/// # Errors
///
/// `Refused`.
pub fn require_room(known: &VolumeState, new: &Disk) -> Result<()> {
    let (shown, geometry) = (new.shown(), new.geometry());
    let (bytes, before) = (geometry.capacity.get(), known.target_bytes);
    if bytes < before {
        return Err(Error::refused(format!(
            "{shown} has {bytes} bytes, but the volume's disk has {before}"
        ))
        .with_hint("name a disk of the same size"));
    }
    let sectors = geometry.sector_size.bytes().get();
    let before = known.identity.as_ref().map_or(0, |known| known.sector_bytes);
    if before > 0 && sectors > before {
        return Err(Error::refused(format!(
            "{shown} has sectors of {sectors} bytes, but the volume's disk has {before}"
        ))
        .with_hint("name a disk with sectors as small: the history consists of such sectors"));
    }
    Ok(())
}

/// A view of `disk`, for comparison.
///
/// # Errors
///
/// `Failed`: it cannot be opened.
pub fn view(disk: &mut Disk) -> Result<View> {
    // A view reads one piece at a time: a ring would be no faster.
    View::of_disk(disk.shown(), disk.open(Engine::Blocking)?)
}

/// Compares the old disk of `volume`, whose state is `known`, with the new one.
///
/// # Errors
///
/// `Integrity`: they differ. `Failed`: one cannot be read, or the comparison was stopped.
pub fn by_the_old(
    volume: &VolumeName,
    known: &VolumeState,
    (old, new): (&View, &View),
    watch: &mut Watch<'_>,
) -> Result<SameContent> {
    let findings = differences(old, new, watch)?;
    same(volume, known, &findings, (old.shown(), new.shown()))
}

/// The name in messages and digests for the bytes of `volume` at the point `shown`: it differs
/// between two disks at one point, and between two groups.
#[must_use]
pub fn at_point(group: &GroupView, volume: &VolumeName, shown: &str) -> String {
    let volume = match volume.is_unnamed() {
        true => "the volume".to_owned(),
        false => format!("volume \"{volume}\""),
    };
    format!("at {shown}, {volume} of group {}", group.name())
}

/// Compares the new disk of `volume` with `document`, the digest of the volume at `point`, which
/// the group is at.
///
/// # Errors
///
/// `Refused`: the digest is of something else. `Integrity`: the disk holds something else.
/// `Failed`: it cannot be read, or the comparison was stopped.
pub fn by_digest(
    group: &GroupView,
    point: PointId,
    volume: &VolumeName,
    (document, new): (&Document, &View),
    watch: &mut Watch<'_>,
) -> Result<SameContent> {
    let known = group.state().volumes.get(volume).ok_or_else(|| no_volume(group, volume))?;
    let of = group.catalogue()?.point(point);
    let shown = of.map_or_else(|| format!("point {point}"), selector::shown);
    let at = at_point(group, volume, &shown);
    let is_of_it = document.of.ends_with(&format!(" {at}"));
    if !is_of_it || document.digest.length().get() != known.target_bytes {
        let context = format!(
            "the digest is of {}, but the disk was {at}, with {} bytes: the digest does not say \
             what the disk held last",
            Plain(&document.of),
            known.target_bytes
        );
        return Err(Error::refused(context)
            .remedied(DiskRemedy::HashPoint { group: group.name().to_owned(), point }));
    }
    let findings = verify(new, &document.digest, watch)?;
    same(volume, known, &findings, (&document.of, new.shown()))
}

fn same(
    volume: &VolumeName,
    known: &VolumeState,
    findings: &Findings,
    (old, new): (&str, &str),
) -> Result<SameContent> {
    let compared = findings.compared.get();
    if findings.extent_count == 0 && compared >= known.target_bytes {
        return Ok(SameContent { volume: volume.clone(), bytes: compared });
    }
    let first = findings.extents.first().map(|extent| format!(", the first at {}", extent.start()));
    let context = format!(
        "{new} does not hold what {old} does: {} bytes differ{}",
        findings.differing,
        first.unwrap_or_default()
    );
    Err(Error::new(ErrorKind::Integrity, context).remedied(DiskRemedy::CopyAgain))
}

/// The error for a volume that the group does not have.
pub fn no_volume(group: &GroupView, volume: &VolumeName) -> Error {
    let names = VolumeName::listed(group.state().volumes.keys());
    let context = format!("group {} does not have {}", group.name(), volume.in_words());
    Error::new(ErrorKind::Usage, context).with_hint(format!("its volumes are: {names}"))
}
