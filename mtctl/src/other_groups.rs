//! Which other groups have a disk: a target belongs to one group. What a second group overwrites,
//! the first has not preserved, and cannot roll back.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use blockio::group::{GroupPlace, storage};
use blockio::journal::layout::Identity;
use blockio::journal::{saved, state_text};
use blockio::storage::directory::STATE_COPY;
use blockio::target_identity::TargetIdentity;
use blockio::{Error, Result};
use provisioning::groups::{Claim, GROUPS_PATH, Groups, observe_with};
use provisioning::host::Host;
use provisioning::observe::mount_table;

use crate::location::{is_mount_point, is_one, location};
use crate::report;
use crate::retention_options::RetentionOptions;
use crate::target_argument::{NamedTarget, TargetArgument};

/// The targets of other groups on this host, as far as their states are found and understood.
pub(crate) struct OtherGroups {
    groups: Groups,
    /// The name of the group itself.
    name: String,
    /// The directories of its state and of its history, which contains a copy of the state.
    own: Vec<(u64, u64)>,
    /// The identity of its history: a state elsewhere with the same identity is an older one of its
    /// own.
    history: Option<Identity>,
}

impl OtherGroups {
    /// All groups except `name` at `place`.
    ///
    /// # Errors
    ///
    /// `Failed`: the mounts of this host cannot be read.
    pub(crate) fn than(name: &str, place: Option<&GroupPlace>) -> Result<Self> {
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

    /// The claim of another group on `target`, if there is one.
    pub(crate) fn owner(&self, target: &NamedTarget) -> Option<&Claim> {
        let others = self.groups.claims.iter().filter(|claim| !self.is_own(claim));
        others.into_iter().find(|claim| means(claim, target))
    }

    fn is_own(&self, claim: &Claim) -> bool {
        let at = claim.state.parent().and_then(location);
        at.is_some_and(|at| self.own.contains(&at))
            || self.history.is_some_and(|own| history_of(claim) == Some(own))
    }

    /// Refuses a `target` of another group.
    ///
    /// # Errors
    ///
    /// `Refused`.
    pub(crate) fn refuse(&self, target: &NamedTarget) -> Result<()> {
        let Some(claim) = self.owner(target) else { return Ok(()) };
        let Claim { group, state, .. } = claim;
        let shown = target.request.path.display();
        Err(Error::refused(format!(
            "{shown} belongs to group {group} ({}): a disk can have only one group, because a \
             rollback cannot undo what another group wrote",
            state.display()
        ))
        .with_hint(format!(
            "{}; or release its disks first: {}",
            match *group == self.name {
                true => "a group of this name exists in two places: use that one".to_owned(),
                false => format!("use that group: {}", named(claim)),
            },
            release(claim)
        )))
    }

    /// Refuses a `target` that is to be rolled back and that another group has as well. With
    /// `accept`, it is used nevertheless, and the returned warning says so.
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
            return Ok(Some(format!("{what}; using it anyway")));
        }
        Err(Error::refused(what).with_hint(format!(
            "if the other group wrote last, roll that one back first: mtctl rollback {} \
             --accept-target --to latest; then release the disk there: {}",
            named(claim),
            release(claim)
        )))
    }

    /// The warning for a `target` that is only read.
    pub(crate) fn warning(&self, target: &NamedTarget) -> Option<String> {
        let claim = self.owner(target)?;
        Some(format!("{}; what is read may be that group's data", is_shared(claim, target)))
    }

    /// Number of states that exist but cannot be understood: their groups may have any disk.
    pub(crate) fn unreadable(&self) -> usize {
        self.groups.unreadable.len()
    }
}

fn is_shared(Claim { group, state, .. }: &Claim, target: &NamedTarget) -> String {
    format!(
        "{} is also a disk of group {group} ({}): what that group overwrote is not in this history",
        target.request.path.display(),
        state.display()
    )
}

/// The command that releases the disks of the group of `claim`.
fn release(claim: &Claim) -> String {
    let verb = format!("mtctl group release {}", named(claim));
    match &place(claim) {
        ClaimPlace::StateAlone(directory) => format!(
            "mtctl group release --group NAME --state-dir {}, with the name of its group; or, if \
             that group has another state now, remove this one: rm {}",
            directory.display(),
            claim.state.display()
        ),
        ClaimPlace::Usual | ClaimPlace::WithoutHistory | ClaimPlace::Retention(_) => verb,
    }
}

/// The options that name the group that `claim` is of, wherever it lies.
fn named(claim: &Claim) -> String {
    let named = format!("--group {}", claim.group);
    match place(claim) {
        ClaimPlace::Usual => named,
        ClaimPlace::WithoutHistory => format!("{named} --retention none"),
        ClaimPlace::StateAlone(directory) => format!("{named} --state-dir {}", directory.display()),
        ClaimPlace::Retention(root) => {
            let is_mounted = is_mount_point(&root);
            let unmounted = if is_mounted { "" } else { " --retention-unmounted" };
            format!("{named} --retention {}{unmounted}", root.display())
        }
    }
}

/// Where a group lies that has a disk.
enum ClaimPlace {
    /// Where its name alone finds it.
    Usual,
    /// Among the groups without history.
    WithoutHistory,
    /// On another retention volume.
    Retention(PathBuf),
    /// Its state lies alone: it was put there by `--state-dir`. Nothing tells what the group is
    /// called, where its history is, or whether another state counts now.
    StateAlone(PathBuf),
}

fn place(claim: &Claim) -> ClaimPlace {
    let Some(directory) = claim.state.parent() else { return ClaimPlace::Usual };
    if directory.starts_with(GROUPS_PATH) {
        return ClaimPlace::WithoutHistory;
    }
    if !directory.join(STATE_COPY).exists() {
        return ClaimPlace::StateAlone(directory.to_owned());
    }
    let Some(root) = directory.parent() else { return ClaimPlace::Usual };
    let usual = RetentionOptions::default().roots();
    let usual = usual.ok().and_then(|roots| roots.retention);
    match usual.is_some_and(|usual| location(&usual) == location(root)) {
        true => ClaimPlace::Usual,
        false => ClaimPlace::Retention(root.to_owned()),
    }
}

/// The identity of the history of the group at `place`, if it can be determined.
fn history(place: &GroupPlace) -> Option<Identity> {
    let there = |path: &PathBuf| path.is_dir();
    let history = place.history.clone().filter(there);
    history_at(&GroupPlace { history, ..place.clone() })
}

/// The same for the directories at `place`, which exist.
pub(crate) fn history_at(place: &GroupPlace) -> Option<Identity> {
    let storage = storage(place).ok()?;
    let saved = saved::read(storage.as_ref()).ok().flatten()?;
    saved.state.journal.map(|known| known.identity)
}

/// The identity of the history of the group of `claim`.
fn history_of(claim: &Claim) -> Option<Identity> {
    let text = std::fs::read_to_string(&claim.state).ok()?;
    state_text::parse(&text).ok()?.journal.map(|known| known.identity)
}

/// Whether `claim` refers to `target`.
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
    // A disk with a WWID is identified by it: the path meant another disk.
    let (claimed, own) = (Path::new(&claim.target), target.request.path.as_path());
    if target.identity.is_some() {
        return false;
    }
    is_one(claimed, own)
}

/// The identity of the target, besides its name, that the claiming group has recorded.
fn identity(claim: &Claim) -> Option<TargetIdentity> {
    let text = std::fs::read_to_string(&claim.state).ok()?;
    let volumes = state_text::parse(&text).ok()?.volumes;
    let mut volumes = volumes.into_values();
    volumes.find(|volume| volume.target.as_ref() == Some(&claim.target))?.identity
}
