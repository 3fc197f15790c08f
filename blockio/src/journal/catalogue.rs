//! Which recovery points a group has, and which segments lead back to each: a value that is saved
//! with the group's state, and so changes as a whole or not at all. What expires when is decided by
//! `retention`; how people name a point, by `selector`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::journal::layout::Identity;
use crate::storage::SegmentNumber;
use crate::units::{ByteCount, SectorSize};
use crate::volume_name::VolumeName;

/// The number of the first record of a history.
pub(crate) const FIRST_RECORD: u64 = 1;

/// How many expired points are remembered, to be refused by name.
pub(crate) const EXPIRED_COUNT_MAX: usize = 256;

/// The number of a recovery point. Numbers of a group only rise and are never reused, also after a
/// commit; the start of a history has a number as well, 0 in the first history.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default,
)]
#[serde(transparent)]
pub struct PointId(pub u64);

impl std::fmt::Display for PointId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The kind of a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PointKind {
    /// The content before the first stream: not a recovery point of the source, but a way back.
    Start,
    /// The state after a power cut of the source.
    Crash,
    /// The application had made its data consistent.
    App,
    /// The history breaks off here: a rollback without undo started from here. It is not a point
    /// and cannot be selected; it expires with the next point.
    Break,
}

impl PointKind {
    /// Whether it is a state of the source.
    #[must_use]
    pub(crate) fn is_of_the_source(self) -> bool {
        match self {
            Self::Crash | Self::App => true,
            Self::Start | Self::Break => false,
        }
    }
}

/// A part of the journal: consecutive records in one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u64, u64, u64, u64)", into = "(u64, u64, u64, u64)")]
pub struct Span {
    /// The segment.
    pub segment: SegmentNumber,
    /// How much of it is used, in bytes: the header and whole records.
    pub bytes: u64,
    /// The number of its first record.
    pub first_record: u64,
    /// One more than the number of its last record.
    pub next_record: u64,
}

impl From<(u64, u64, u64, u64)> for Span {
    fn from((segment, bytes, first_record, next_record): (u64, u64, u64, u64)) -> Self {
        Self { segment: SegmentNumber(segment), bytes, first_record, next_record }
    }
}

impl From<Span> for (u64, u64, u64, u64) {
    fn from(span: Span) -> Self {
        (span.segment.0, span.bytes, span.first_record, span.next_record)
    }
}

/// A recovery point, and the segments that lead back to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Point {
    /// Its number.
    pub id: PointId,
    /// When the source was in this state: nanoseconds since 1970, by the source's clock.
    pub time: u64,
    /// When the point was made here, by this host's clock.
    pub taken: u64,
    /// Its kind.
    pub kind: PointKind,
    /// Its name, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether it is exempt from expiry.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pinned: bool,
    /// The segments with the before-images from this point to the next, in the order of their
    /// records; of several images of a block, the earliest counts. The last point may have more
    /// than is recorded here.
    pub spans: Vec<Span>,
}

impl Point {
    /// How many bytes of the journal lead from the next point (or from the disks) back to this one.
    #[must_use]
    pub fn journal_bytes(&self) -> u64 {
        self.spans.iter().fold(0, |sum: u64, span| sum.saturating_add(span.bytes))
    }

    /// The date that its age is counted from: the source's clock is believed unless it is in the
    /// future.
    #[must_use]
    pub(crate) fn dated(&self) -> u64 {
        self.time.min(self.taken)
    }
}

/// A point that no longer exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expired {
    /// Its number.
    pub id: PointId,
    /// When the source was in this state.
    pub time: u64,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// A volume, as identified by number in the records of a journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JournalVolume {
    /// Its name in the group.
    pub name: VolumeName,
    /// The sector size of its target, in bytes.
    pub sector_bytes: u64,
    /// The length of its target, in bytes.
    pub capacity_bytes: u64,
}

impl JournalVolume {
    /// The sector size of its target.
    ///
    /// # Errors
    ///
    /// The number of bytes, if it is not a supported sector size.
    pub fn sector_size(&self) -> Result<SectorSize, u64> {
        SectorSize::try_from(self.sector_bytes).map_err(|_| self.sector_bytes)
    }

    /// The length of its target.
    #[must_use]
    pub fn capacity(&self) -> ByteCount {
        ByteCount::new(self.capacity_bytes)
    }
}

/// The history of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    /// Stored in the header of every segment.
    #[serde(with = "hex_identity")]
    pub identity: Identity,
    /// The number of the next segment that was not in use when this was saved.
    pub next_segment: u64,
    /// Every record before this one was durable when this was saved.
    pub next_record: u64,
    /// The number of the next point.
    pub next_point: u64,
    /// Its volumes; the index of each is its number in the records.
    pub volumes: Vec<JournalVolume>,
    /// The points that are kept, oldest first. There is always at least one.
    pub points: Vec<Arc<Point>>,
    /// How often it was opened for writing: a concurrent reader starts over when this has changed.
    pub session: u64,
    /// A rollback to this point is complete, and nothing was written since then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolled_back_to: Option<PointId>,
    /// After a rollback to this point something was written, and no point was made since then: the
    /// volumes came from here, and not from the last point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub went_on_from: Option<PointId>,
    /// A rollback to this point was begun and not finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolling_back_to: Option<PointId>,
    /// Points that expired, oldest first; at most `EXPIRED_COUNT_MAX`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expired: Vec<Expired>,
    /// If points younger than the retention window were given up for lack of room: the remaining
    /// window, in nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_cut_to: Option<u64>,
}

impl Catalogue {
    /// The first history of a group, beginning at `now` (nanoseconds since 1970).
    #[must_use]
    pub fn new(identity: Identity, now: u64) -> Self {
        Self::beginning_with(PointId(0), identity, now)
    }

    /// A history beginning at `now` (nanoseconds since 1970) with the point `start`: every lower
    /// number may have been used by an earlier history.
    #[must_use]
    pub(crate) fn beginning_with(start: PointId, identity: Identity, now: u64) -> Self {
        let next_point = start.0 + 1;
        let start = Point {
            id: start,
            time: now,
            taken: now,
            kind: PointKind::Start,
            name: None,
            pinned: false,
            spans: Vec::new(),
        };
        Self {
            identity,
            next_segment: 1,
            next_record: FIRST_RECORD,
            next_point,
            volumes: Vec::new(),
            points: vec![Arc::new(start)],
            session: 0,
            rolled_back_to: None,
            rolling_back_to: None,
            went_on_from: None,
            expired: Vec::new(),
            window_cut_to: None,
        }
    }

    /// A copy without points, and without those that expired.
    pub(crate) fn without_points(&self) -> Self {
        let volumes = self.volumes.clone();
        Self { volumes, points: Vec::new(), expired: Vec::new(), ..*self }
    }

    /// All points that are kept, oldest first.
    pub fn all(&self) -> impl DoubleEndedIterator<Item = &Point> {
        self.points.iter().map(Arc::as_ref)
    }

    /// The points of the source.
    pub fn recovery_points(&self) -> impl DoubleEndedIterator<Item = &Point> {
        self.all().filter(|point| point.kind.is_of_the_source())
    }

    /// The points that the volumes can be rolled back to: the points of the source, and the start.
    pub(crate) fn ways_back(&self) -> impl DoubleEndedIterator<Item = &Point> {
        self.all().filter(|point| point.kind != PointKind::Break)
    }

    /// The points after `to`: a rollback to it without undo gives them up.
    pub(crate) fn points_after(&self, to: PointId) -> impl Iterator<Item = &Point> {
        self.all().filter(move |point| point.id > to)
    }

    /// The point with number `id`.
    #[must_use]
    pub fn point(&self, id: PointId) -> Option<&Point> {
        let at = self.points.binary_search_by_key(&id, |point| point.id).ok()?;
        self.points.get(at).map(Arc::as_ref)
    }

    /// The point that the images of the open epoch lead back to.
    #[must_use]
    pub(crate) fn open_epoch(&self) -> PointId {
        self.points.last().map_or(PointId(0), |point| point.id)
    }

    /// The point that the volumes were at before the first write of the open epoch.
    #[must_use]
    pub(crate) fn came_from(&self) -> PointId {
        self.rolled_back_to.or(self.went_on_from).unwrap_or_else(|| self.open_epoch())
    }

    /// Records that something is written from now on.
    pub fn go_on(&mut self) {
        self.went_on_from = self.rolled_back_to.take().or(self.went_on_from);
        planted!(MarkOfRollbackLost => { self.went_on_from = None });
    }

    /// All known segments, oldest first.
    pub fn spans(&self) -> impl Iterator<Item = &Span> {
        self.points.iter().flat_map(|point| &point.spans)
    }

    /// The size of the whole journal, in bytes.
    #[must_use]
    pub fn journal_bytes(&self) -> u64 {
        self.points.iter().fold(0, |sum: u64, point| sum.saturating_add(point.journal_bytes()))
    }

    /// The number of the volume `name`; assigns one if it has none.
    pub(crate) fn number_volume(
        &mut self,
        name: &VolumeName,
        volume: impl FnOnce() -> JournalVolume,
    ) -> u32 {
        let known = self.volumes.iter().position(|known| known.name == *name);
        let at = known.unwrap_or_else(|| {
            self.volumes.push(volume());
            self.volumes.len() - 1
        });
        // A group has at most VOLUMES_MAX volumes.
        u32::try_from(at).unwrap_or(u32::MAX)
    }

    /// Begins another point: `spans` are all segments of the epoch that ends with it.
    pub fn seal(&mut self, spans: Vec<Span>, new: NewPoint, now: u64) -> PointId {
        if let Some(last) = self.points.last_mut() {
            Arc::make_mut(last).spans = spans;
        }
        let id = PointId(self.next_point);
        self.next_point += 1;
        let NewPoint { time, kind, name } = new;
        let spans = Vec::new();
        let point = Point { id, time, taken: now, kind, name, pinned: false, spans };
        self.points.push(Arc::new(point));
        self.rolled_back_to = None;
        self.went_on_from = None;
        id
    }

    /// The break in the history for a rollback to `to`, with the same time as that point.
    #[must_use]
    pub(crate) fn break_after(&self, to: PointId) -> NewPoint {
        let time = self.point(to).map_or(0, |point| point.time);
        NewPoint { time, kind: PointKind::Break, name: None }
    }

    /// Breaks off the history: a rollback to `to` without undo begins, and will overwrite what
    /// leads back to later points. These are forgotten; `spans`, all segments of the epoch that
    /// ends, now lead to `to`.
    ///
    /// This has to be saved before the first of them is overwritten.
    pub(crate) fn break_off(&mut self, to: PointId, spans: Vec<Span>, now: u64) {
        let later: Vec<_> = self.points_after(to).map(|point| point.id).collect();
        let given_up = if planted!(BreakNotInTheState) { Vec::new() } else { later };
        self.seal(spans, self.break_after(to), now);
        // None of their segments is unneeded: `to` and earlier points are read through them.
        let _ = self.forget(&given_up);
        self.rolling_back_to = Some(to);
        // A concurrent reader of one of these points must notice.
        self.session += 1;
    }

    /// Forgets the points of `ids`, but never the last one, and returns the segments that nothing
    /// leads back through any more. What led back to a forgotten point now leads to the one before
    /// it, if there is one.
    ///
    /// The caller must first save the state, then remove the segments. A crash in between leaves
    /// segments that no point has, which are removed at the next open.
    pub fn forget(&mut self, ids: &[PointId]) -> Forgotten {
        let last = self.open_epoch();
        let mut kept: Vec<Arc<Point>> = Vec::with_capacity(self.points.len());
        let mut forgotten = Forgotten::default();
        for point in std::mem::take(&mut self.points) {
            if point.id == last || !ids.contains(&point.id) {
                kept.push(point);
                continue;
            }
            match kept.last_mut() {
                Some(before) => {
                    let before = Arc::make_mut(before);
                    before.spans.extend(&point.spans);
                    forgotten.merged.push(before.id);
                    if planted!(ExpiryOfANeededSegment) {
                        forgotten.unneeded.extend(point.spans.iter().map(|span| span.segment));
                    }
                }
                None => {
                    forgotten.unneeded.extend(point.spans.iter().map(|span| span.segment));
                }
            }
            if point.kind.is_of_the_source() {
                let Point { id, time, ref name, .. } = *point;
                self.expired.push(Expired { id, time, name: name.clone() });
            }
        }
        self.points = kept;
        let too_many = self.expired.len().saturating_sub(EXPIRED_COUNT_MAX);
        self.expired.drain(..too_many);
        forgotten.merged.dedup();
        forgotten
    }
}

/// What is left to do after points were forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "segments are to be removed, after the state was saved"]
pub struct Forgotten {
    /// Segments that no point needs any more.
    pub unneeded: Vec<SegmentNumber>,
    /// The points that took over the segments of forgotten ones.
    pub merged: Vec<PointId>,
}

/// A point to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPoint {
    /// When the source was in this state: nanoseconds since 1970.
    pub time: u64,
    /// Its kind.
    pub kind: PointKind,
    /// Its name.
    pub name: Option<String>,
}

mod hex_identity {
    //! An identity as 32 hexadecimal digits.
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::journal::layout::Identity;

    pub(super) fn serialize<S: Serializer>(id: &Identity, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&format!("{:032x}", u128::from_be_bytes(*id)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Identity, D::Error> {
        let text = String::deserialize(from)?;
        let number = u128::from_str_radix(&text, 16).map_err(D::Error::custom)?;
        Ok(number.to_be_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(segment: u64) -> Span {
        Span { segment: SegmentNumber(segment), bytes: 10, first_record: 1, next_record: 2 }
    }

    fn crash(time: u64) -> NewPoint {
        NewPoint { time, kind: PointKind::Crash, name: None }
    }

    fn catalogue() -> Catalogue {
        let mut catalogue = Catalogue::new([7; 16], 1);
        for number in 1..=4 {
            catalogue.seal(vec![span(number)], crash(number), 100);
        }
        catalogue
    }

    fn ids(catalogue: &Catalogue) -> Vec<u64> {
        catalogue.points.iter().map(|point| point.id.0).collect()
    }

    #[test]
    fn the_oldest_points_go_with_their_segments() {
        let mut catalogue = catalogue();
        let forgotten = catalogue.forget(&[PointId(0), PointId(1)]);
        assert_eq!(forgotten.unneeded, [1, 2].map(SegmentNumber));
        assert_eq!(ids(&catalogue), [2, 3, 4]);
        assert_eq!(catalogue.expired.len(), 1);
    }

    #[test]
    fn a_point_in_the_middle_leaves_its_segments_to_the_one_before() {
        let mut catalogue = catalogue();
        let forgotten = catalogue.forget(&[PointId(2)]);
        assert_eq!((forgotten.unneeded, forgotten.merged), (vec![], vec![PointId(1)]));
        let one = catalogue.point(PointId(1)).unwrap();
        assert_eq!(one.spans, [span(2), span(3)]);
    }

    #[test]
    fn the_last_point_is_never_forgotten() {
        let mut catalogue = catalogue();
        let all: Vec<_> = catalogue.points.iter().map(|point| point.id).collect();
        let _ = catalogue.forget(&all);
        assert_eq!(ids(&catalogue), [4]);
    }

    #[test]
    fn it_comes_back_from_its_text() {
        let catalogue = catalogue();
        let text = serde_json::to_string(&catalogue).unwrap();
        assert_eq!(serde_json::from_str::<Catalogue>(&text).unwrap(), catalogue);
    }

    #[test]
    fn where_the_history_breaks_off_who_reads_meanwhile_notices() {
        let mut catalogue = catalogue();
        let before = catalogue.session;
        catalogue.break_off(PointId(2), vec![span(9)], 200);
        assert_eq!((ids(&catalogue), catalogue.session), (vec![0, 1, 2, 5], before + 1));
        assert_eq!(catalogue.rolling_back_to, Some(PointId(2)));
        let spans: Vec<_> = catalogue.point(PointId(2)).unwrap().spans.to_vec();
        assert_eq!(spans, [span(3), span(4), span(9)]);
    }
}
