//! The disks of a group as typed: `--target`, or `--map` for each volume.

use blockio::assignment::Assignment;
use blockio::group::{GroupPlace, GroupView};
use blockio::stream::Name;
use blockio::volume;
use blockio::volume_name::VolumeName;
use clap::Args;

use crate::group_targets;
use crate::other_groups::OtherGroups;
use crate::own_places::OwnPlaces;
use crate::retention_options::RetentionOptions;
use crate::target_argument::{self, NamedTarget, TargetArgument};

/// Which disk each volume goes to.
#[derive(Clone, Debug, Args)]
pub(crate) struct TargetOptions {
    /// The disk or image file, for streams with one volume: a path, or wwid:ID
    #[arg(long, value_name = "DEVICE", conflicts_with = "map")]
    target: Option<TargetArgument>,

    /// The disk of volume SOURCE of the stream; once for each volume
    #[arg(long, value_name = "SOURCE=DEVICE", value_parser = mapping)]
    map: Vec<(String, TargetArgument)>,
}

/// Split at the last `=`: the name of a device contains none, that of a volume may.
fn mapping(text: &str) -> Result<(String, TargetArgument), String> {
    let (source, device) = text.rsplit_once('=').ok_or("no = between SOURCE and DEVICE")?;
    let target = device.parse().map_err(|error| format!("{error}"))?;
    Ok((source.to_owned(), target))
}

impl TargetOptions {
    /// The same options, with the one disk assigned to `volume`.
    pub(crate) fn of_volume(&self, volume: Option<&Name>) -> Self {
        let called = volume.zip(self.target.clone());
        match called {
            Some((volume, target)) => {
                Self { target: None, map: vec![(volume.to_string(), target)] }
            }
            None => self.clone(),
        }
    }

    /// Whether no disk was named.
    pub(crate) fn is_empty(&self) -> bool {
        self.target.is_none() && self.map.is_empty()
    }

    /// Opens the named disks exclusively, for the group at `place` that is known as `group`, or for
    /// none.
    ///
    /// # Errors
    ///
    /// `Usage`: a volume is named twice, or a disk does not exist. `Refused`: a disk is ours,
    /// belongs to another group, or is in use.
    pub(crate) fn open(
        &self,
        at: &RetentionOptions,
        place: Option<&GroupPlace>,
        group: &GroupView,
    ) -> anyhow::Result<Vec<Assignment>> {
        let single = self.target.iter().map(|target| (VolumeName::unnamed(), target));
        let mapped = self.map.iter().map(|(source, target)| (source.as_str().into(), target));
        let wanted: Vec<_> = single.chain(mapped).collect();
        check_mapped_once(&self.map)?;
        let named = target_argument::resolve(wanted.iter().map(|(_, target)| *target))?;
        check_free(&named, at, place, group.name())?;
        let opened = wanted.into_iter().zip(named).map(|((volume, _), named)| {
            let sectors = group_targets::sectors(group, &volume);
            let target = volume::open_again(&named.request, sectors)?;
            let identity = named.known_as();
            Ok(Assignment { volume, target: target.into(), identity })
        });
        opened.collect()
    }
}

/// Checks that the disks belong neither to mtctl nor to a group other than `name`.
fn check_free(
    named: &[NamedTarget],
    at: &RetentionOptions,
    place: Option<&GroupPlace>,
    name: &str,
) -> anyhow::Result<()> {
    let own = OwnPlaces::of_this_host(at, place);
    named.iter().try_for_each(|one| own.refuse(&one.request.path))?;
    let others = OtherGroups::than(name, place)?;
    Ok(named.iter().try_for_each(|one| others.refuse(one))?)
}

/// A volume has one target: if two are named, one of them was not meant.
fn check_mapped_once(map: &[(String, TargetArgument)]) -> system::Result<()> {
    for (index, (source, _)) in map.iter().enumerate() {
        if map[..index].iter().any(|(earlier, _)| earlier == source) {
            let volume = VolumeName::from(source.as_str()).in_words();
            let context = format!("{volume} is mapped twice");
            return Err(system::Error::new(system::ErrorKind::Usage, context)
                .with_hint("map each volume once"));
        }
    }
    Ok(())
}
