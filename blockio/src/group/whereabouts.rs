//! Where the volumes of a group are, according to its state: what an operator asks first. Pure.

use super::GroupView;
use crate::journal::catalogue::PointId;
use crate::volume_name::VolumeName;

/// Where the volumes of a group are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whereabouts {
    /// Nothing was applied yet.
    NeverWritten,
    /// A rollback to this point was begun and not finished.
    RollingBack(PointId),
    /// A run was cut short: what these volumes hold after their checkpoint is unknown.
    InBetween(Vec<VolumeName>),
    /// They were rolled back to this point, and nothing was written since then.
    RolledBack(PointId),
    /// These volumes are in the middle of a stream, exactly where it was left.
    WithinStream(Vec<VolumeName>),
    /// All streams that were begun are applied to their end.
    Applied,
}

impl GroupView {
    /// Where its volumes are.
    #[must_use]
    pub fn whereabouts(&self) -> Whereabouts {
        if let Some(to) = self.rolling_back_to() {
            return Whereabouts::RollingBack(to);
        }
        let begun = |exact: bool| {
            let volumes = self.state.volumes.iter().filter(move |(_, volume)| {
                volume.in_between.as_ref().is_some_and(|one| one.exact == exact)
            });
            volumes.map(|(name, _)| name.clone()).collect::<Vec<_>>()
        };
        let rolled_back_to = self.state.journal.as_ref().and_then(|known| known.rolled_back_to);
        match (begun(false), rolled_back_to, begun(true)) {
            (half, _, _) if !half.is_empty() => Whereabouts::InBetween(half),
            (_, Some(point), _) => Whereabouts::RolledBack(point),
            (_, None, within) if !within.is_empty() => Whereabouts::WithinStream(within),
            (_, None, _) if self.is_untouched() => Whereabouts::NeverWritten,
            (_, None, _) => Whereabouts::Applied,
        }
    }

    fn is_untouched(&self) -> bool {
        self.state.volumes.values().all(|volume| volume.applied.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::state::{Fingerprint, InBetween};
    use crate::stream::{Format, StreamHeader};

    #[test]
    fn what_is_worst_is_told_first() {
        let mut group = GroupView::none();
        assert_eq!(group.whereabouts(), Whereabouts::NeverWritten);
        let volume = group.state.volumes.entry("db".into()).or_default();
        let (format, identity) = (Format::Native, Some([1; 16]));
        let input = Fingerprint::of(
            &StreamHeader { format, is_in_write_order: true, identity, volumes: Vec::new() },
            0,
        );
        volume.complete(input.clone());
        assert_eq!(group.whereabouts(), Whereabouts::Applied);
        for (exact, expected) in [
            (true, Whereabouts::WithinStream(vec!["db".into()])),
            (false, Whereabouts::InBetween(vec!["db".into()])),
        ] {
            let volume = group.state.volumes.get_mut("db").unwrap();
            volume.in_between = Some(InBetween {
                input: input.clone(),
                position: 1,
                exact,
                unordered: false,
                content: None,
            });
            assert_eq!(group.whereabouts(), expected);
        }
    }
}
