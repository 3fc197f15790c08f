//! Moving a volume of a group to another disk.

use super::Group;
use crate::Result;
use crate::assignment::Assignment;
use crate::retarget::SameContent;
use crate::target_identity;

impl Group {
    /// Makes the disks of `assignments` the targets of their volumes from now on; each holds what
    /// the current one does (`proofs`). All of them change in one save: a crash leaves the old
    /// disks or the new ones, and either is right, because neither was written.
    ///
    /// The journal does not record this before the next epoch begins: a state that is rebuilt from
    /// it before that has the old disks.
    ///
    /// # Errors
    ///
    /// `Failed`: it could not be saved.
    pub fn retarget(
        &mut self,
        assignments: &mut [Assignment],
        proofs: Vec<SameContent>,
    ) -> Result<()> {
        let mut changes = Vec::new();
        for proof in proofs {
            let of_volume = |one: &&mut Assignment| one.volume == proof.volume;
            let Some(assignment) = assignments.iter_mut().find(of_volume) else { continue };
            let bytes = assignment.target.geometry().capacity.get();
            let mut identity = assignment.target_identity();
            identity.content = target_identity::content(assignment.target.held(), bytes);
            changes.push((proof.volume, assignment.identity.name.clone(), bytes, identity));
        }
        self.ledger.save(|state| {
            for (name, target, bytes, identity) in changes {
                let Some(volume) = state.volumes.get_mut(&name) else { continue };
                volume.target = Some(target);
                volume.target_bytes = bytes;
                volume.identity = Some(identity);
            }
        })
    }
}
