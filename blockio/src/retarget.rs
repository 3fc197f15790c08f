//! What is proven before a volume goes to another disk from now on: that the other disk holds what
//! the one until now does. Saving it is the group's.
//!
//! There are two proofs. Both disks are read, and compared; or the other disk has the digest that
//! was made of a recovery point, and the group is at that very point: nothing was overwritten since
//! it was made, as every overwrite is preserved first. A digest of anything else proves nothing: a
//! disk that was written since would be taken for what it was.

use crate::assignment::Disk;
use crate::device::open::Engine;
use crate::digest::{Document, Findings, Watch, differences, verify};
use crate::group::{GroupView, Whereabouts};
use crate::journal::catalogue::PointId;
use crate::journal::selector;
use crate::journal::state::VolumeState;
use crate::plain::Plain;
use crate::view::View;
use crate::volume_name::VolumeName;
use crate::{Error, ErrorKind, Result};

/// Proof that a disk holds what the target of a volume holds.
#[must_use = "a group takes another disk for it"]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SameContent {
    pub(crate) volume: VolumeName,
    bytes: u64,
}

impl SameContent {
    /// How much was compared, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// The volumes of `group` hold what is known of them.
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
                "group {name} is in-between: what its disks hold is not known"
            ))
            .with_hint(format!(
                "apply the same stream again, or go back: mtctl recover --group {name}"
            )))
        }
        Whereabouts::NeverWritten
        | Whereabouts::RollingBack(_)
        | Whereabouts::RolledBack(_)
        | Whereabouts::WithinStream(_)
        | Whereabouts::Applied => Ok(()),
    }
}

/// The disk `new` can be that of the volume of which `known` is known: it is as large, and its
/// sectors are no longer.
///
/// # Errors
///
/// `Refused`.
pub fn require_room(known: &VolumeState, new: &Disk) -> Result<()> {
    let (shown, geometry) = (new.shown(), new.geometry());
    let (bytes, before) = (geometry.capacity.get(), known.target_bytes);
    if bytes < before {
        return Err(Error::refused(format!(
            "{shown}: it has {bytes} bytes, and the disk of the volume {before}"
        ))
        .with_hint("name a disk that is as large"));
    }
    let sectors = geometry.sector_size.bytes().get();
    let before = known.identity.as_ref().map_or(0, |known| known.sector_bytes);
    if before > 0 && sectors > before {
        return Err(Error::refused(format!(
            "{shown}: it has sectors of {sectors} bytes, and the disk of the volume {before}"
        ))
        .with_hint("name a disk with sectors as short: what leads back is of such"));
    }
    Ok(())
}

/// `disk`, to be compared.
///
/// # Errors
///
/// `Failed`: it cannot be opened.
pub fn view(disk: &mut Disk) -> Result<View> {
    // One read at a time is what a view asks for: a ring would be no faster.
    View::of_disk(disk.shown(), disk.open(Engine::Blocking, &[])?)
}

/// Compares the disk of `volume`, of which `known` is known, with the one that it is to have.
///
/// # Errors
///
/// `Integrity`: they differ. `Failed`: one cannot be read, or it was stopped.
pub fn by_the_old(
    volume: &VolumeName,
    known: &VolumeState,
    (old, new): (&View, &View),
    watch: &mut Watch<'_>,
) -> Result<SameContent> {
    let findings = differences(old, new, watch)?;
    same(volume, known, &findings, (old.shown(), new.shown()))
}

/// What messages and digests call the bytes of `volume` at the point that is `shown`: of two disks
/// at one point each is called otherwise, and so are those of two groups.
#[must_use]
pub fn at_point(group: &GroupView, volume: &VolumeName, shown: &str) -> String {
    let volume = match volume.is_unnamed() {
        true => "the volume".to_owned(),
        false => format!("volume \"{volume}\""),
    };
    format!("at {shown}, {volume} of group {}", group.name())
}

/// Compares the disk that `volume` is to have with `document`, the digest of it at `point`, which
/// the group is at.
///
/// # Errors
///
/// `Refused`: the digest is of something else. `Integrity`: the disk holds something else.
/// `Failed`: it cannot be read, or it was stopped.
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
    let (at, name) = (at_point(group, volume, &shown), group.name());
    let is_of_it = document.of.ends_with(&format!(" {at}"));
    if !is_of_it || document.digest.length().get() != known.target_bytes {
        let context = format!(
            "the digest is of {}, and the disk was {at}, with {} bytes: it does not tell what that \
             held last",
            Plain(&document.of),
            known.target_bytes
        );
        return Err(Error::refused(context).with_hint(format!(
            "take one that was made of this point and volume: mtctl digest --group {name} --to \
             id:{point} --output FILE; or attach the disk"
        )));
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
    Err(Error::new(ErrorKind::Integrity, context).with_hint(
        "copy it anew, while nothing writes to either; `mtctl verify` says what differs",
    ))
}

/// There is no such volume.
pub fn no_volume(group: &GroupView, volume: &VolumeName) -> Error {
    let names = VolumeName::listed(group.state().volumes.keys());
    let context = format!("group {} does not have {}", group.name(), volume.in_words());
    Error::new(ErrorKind::Usage, context).with_hint(format!("its volumes are: {names}"))
}
