//! The recovery points of marks, and of streams without marks. Pure.

use crate::group::keeper::now;
use crate::journal::catalogue::{NewPoint, PointKind};
use crate::journal::state::exact;
use crate::stream::{Mark, MarkKind, Name, StreamHeader};

/// The point for a mark.
pub(super) fn of_mark(mark: Mark) -> NewPoint {
    let kind = match mark.kind {
        MarkKind::CrashConsistent => PointKind::Crash,
        MarkKind::ApplicationConsistent => PointKind::App,
    };
    // 0: the writer of the stream did not know the time.
    let time = if mark.time.0 == 0 { now() } else { mark.time.0 };
    NewPoint { time, kind, name: mark.name.as_ref().map(exact) }
}

/// The point that a stream without marks ends at: named after the snapshot, if all its volumes have
/// the same one.
pub(super) fn of_end(header: &StreamHeader, now: u64) -> NewPoint {
    let mut names = header.volumes.iter().map(|volume| volume.to.as_ref());
    let first: Option<&Name> = names.next().flatten();
    let name = first.filter(|_| names.all(|name| name == first)).map(exact);
    NewPoint { time: now, kind: PointKind::Crash, name }
}
