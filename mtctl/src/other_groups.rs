//! Which other groups have a disk: a target belongs to one group. What a second one overwrites, the
//! first has not preserved, and cannot go back from.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use blockio::group::{Place, storage};
use blockio::journal::layout::Identity;
use blockio::journal::{saved, state_text};
use blockio::storage::directory::STATE_COPY;
use blockio::target_identity::TargetIdentity;
use blockio::{Error, Result};
use provisioning::groups::{Claim, GROUPS_PATH, Groups, observe_with};
use provisioning::host::Host;
use provisioning::observe::mount_table;

use crate::own_places::{is_one, location};
use crate::report;
use crate::target_argument::{NamedTarget, TargetArgument};

/// What other groups of this host write to, as far as their states are found and understood.
pub(crate) struct OtherGroups {
    groups: Groups,
    /// The name of the group whose others these are.
    name: String,
    /// The directories of its state and of its history, which has a copy of it.
    own: Vec<(u64, u64)>,
    /// Its history: a state elsewhere that has the same is an older one of its own.
    history: Option<Identity>,
}

impl OtherGroups {
    /// Of all groups but `name` at `place`.
    ///
    /// # Errors
    ///
    /// `Failed`: the mounts of this host cannot be read.
    pub(crate) fn than(name: &str, place: Option<&Place>) -> Result<Self> {
        let host = Host::running();
        let mounts = mount_table(&host).map_err(report::as_of_blockio)?;
        let directories = place.iter().flat_map(|p| [Some(&p.state), p.history.as_ref()]).flatten();
        let directories: Vec<_> = directories.collect();
        let roots: BTreeSet<PathBuf> =
            directories.iter().filter_map(|one| one.parent().map(Path::to_owned)).collect();
        let roots: Vec<_> = roots.into_iter().collect();
        let groups = observe_with(&host, mounts.mounts(), &roots);
        let own = directories.iter().filter_map(|directory| location(directory)).collect();
        let history = place.and_then(history);
        Ok(Self { groups, name: name.to_owned(), own, history })
    }

    /// Whose `target` is.
    pub(crate) fn owner(&self, target: &NamedTarget) -> Option<&Claim> {
        let others = self.groups.claims.iter().filter(|claim| !self.is_own(claim));
        others.into_iter().find(|claim| means(claim, target))
    }

    fn is_own(&self, claim: &Claim) -> bool {
        let at = claim.state.parent().and_then(location);
        at.is_some_and(|at| self.own.contains(&at))
            || self.history.is_some_and(|own| history_of(claim) == Some(own))
    }

    /// `target` is no other group's.
    ///
    /// # Errors
    ///
    /// `Refused`.
    pub(crate) fn refuse(&self, target: &NamedTarget) -> Result<()> {
        let Some(claim) = self.owner(target) else { return Ok(()) };
        let Claim { group, state, .. } = claim;
        let shown = target.request.path.display();
        Err(Error::refused(format!(
            "{shown} belongs to group {group} ({}): a disk has one group, and what another \
             overwrites cannot be gone back from",
            state.display()
        ))
        .with_hint(format!(
            "{}; or give its disks up first: {}",
            match *group == self.name {
                true => "a group of this name is in two places: go on with that one".to_owned(),
                false => format!("name that group: --group {group}"),
            },
            release(claim)
        )))
    }

    /// `target`, which is to be gone back with, is no other group's. `accept`: it is taken all the
    /// same, and that is told.
    ///
    /// # Errors
    ///
    /// `Refused`.
    pub(crate) fn refuse_shared(
        &self,
        target: &NamedTarget,
        accept: bool,
    ) -> Result<Option<String>> {
        let Some(claim) = self.owner(target) else { return Ok(None) };
        let what = is_shared(claim, target);
        if accept {
            return Ok(Some(format!("{what}; it is taken all the same")));
        }
        Err(Error::refused(what).with_hint(format!(
            "first go back with the group that wrote last, where that is the other one: mtctl \
             rollback --group {} --accept-target --to latest; and give the disk up there: {}",
            claim.group,
            release(claim)
        )))
    }

    /// What there is to be said where `target` is only read.
    pub(crate) fn warning(&self, target: &NamedTarget) -> Option<String> {
        let claim = self.owner(target)?;
        Some(format!("{}; what is read may be of that one", is_shared(claim, target)))
    }

    /// States that are there and cannot be understood: their groups may have any disk.
    pub(crate) fn unreadable(&self) -> usize {
        self.groups.unreadable.len()
    }
}

fn is_shared(Claim { group, state, .. }: &Claim, target: &NamedTarget) -> String {
    format!(
        "{} is a disk of group {group} as well ({}): what that one overwrote is not in this \
         history",
        target.request.path.display(),
        state.display()
    )
}

/// What gives up the disks of the group that `claim` is of. A state that lies alone was put there
/// by `--state-dir`: nothing tells what its group is called, or whether another state counts now.
fn release(claim: &Claim) -> String {
    let Claim { group, state, .. } = claim;
    let verb = format!("mtctl group release --group {group}");
    match state.parent() {
        Some(directory) if directory.starts_with(GROUPS_PATH) => format!("{verb} --retention none"),
        Some(directory) if !directory.join(STATE_COPY).exists() => format!(
            "mtctl group release --group NAME --state-dir {}, by the name of its group; or, where \
             that group has another state now, remove this one: rm {}",
            directory.display(),
            state.display()
        ),
        _ => verb,
    }
}

/// The history of the group at `place`, as far as it can be told.
fn history(place: &Place) -> Option<Identity> {
    let there = |path: &PathBuf| path.is_dir();
    let history = place.history.clone().filter(there);
    history_at(&Place { history, ..place.clone() })
}

/// The same of the directories at `place`, which are there.
pub(crate) fn history_at(place: &Place) -> Option<Identity> {
    let storage = storage(place).ok()?;
    let saved = saved::read(storage.as_ref()).ok().flatten()?;
    saved.state.journal.map(|known| known.identity)
}

/// The history of the group that `claim` is of.
fn history_of(claim: &Claim) -> Option<Identity> {
    let text = std::fs::read_to_string(&claim.state).ok()?;
    state_text::parse(&text).ok()?.journal.map(|known| known.identity)
}

/// Whether `claim` means `target`.
fn means(claim: &Claim, target: &NamedTarget) -> bool {
    let claimed: Option<TargetArgument> = claim.target.parse().ok();
    if let Some(TargetArgument::Wwid(wwid)) = claimed {
        return target.identity == Some(wwid.to_string());
    }
    let known = identity(claim);
    let same = |one: &Option<String>, other: &Option<String>| one.is_some() && one == other;
    if let Some(known) = &known {
        if known.backing_file.is_some() || known.serial.is_some() {
            let file = known.backing_file.as_ref().map(Path::new);
            return same(&known.backing_file, &target.backing_file)
                || same(&known.serial, &target.serial)
                || file.is_some_and(|file| is_one(file, &target.request.path));
        }
    }
    // A disk that has a WWID is known by it: the path was another disk's.
    let (claimed, own) = (Path::new(&claim.target), target.request.path.as_path());
    if target.identity.is_some() {
        return false;
    }
    is_one(claimed, own)
}

/// What the group that claims it recorded besides its name.
fn identity(claim: &Claim) -> Option<TargetIdentity> {
    let text = std::fs::read_to_string(&claim.state).ok()?;
    let volumes = state_text::parse(&text).ok()?.volumes;
    let mut volumes = volumes.into_values();
    volumes.find(|volume| volume.target.as_ref() == Some(&claim.target))?.identity
}
