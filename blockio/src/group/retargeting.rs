//! A volume of a group goes to another disk from now on.

use super::Group;
use crate::Result;
use crate::assignment::Assignment;
use crate::retarget::SameContent;
use crate::target_identity;

impl Group {
    /// From now on the disks of `assignments` are the targets of their volumes; each holds what the
    /// one until now does (`proofs`). All of them in one save: a crash leaves the old disks or the
    /// new ones, and each is right, since neither was written.
    ///
    /// The journal does not say so before the next epoch begins: a state that is made anew from it
    /// before that knows the old disks.
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
