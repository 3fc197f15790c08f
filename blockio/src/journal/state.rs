//! The recorded state of a group and its volumes: a value that touches no file. Its text form is in
//! `state_text`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::journal::catalogue::{Catalogue, JournalVolume, PointId};
use crate::journal::layout::Identity;
use crate::journal::settings::GroupSettings;
pub use crate::stream::content::{Consumed, SourceOrder};
use crate::stream::{Format, Name, StreamHeader};
use crate::target_identity::TargetIdentity;
use crate::units::ByteOffset;
use crate::volume_name::VolumeName;

/// The version of the text form that is written. Earlier versions can be read: a text of version 2
/// has no appended pieces; one of version 1 has no generation, and has only one copy.
pub(crate) const VERSION: u32 = 3;
/// How many committed histories are remembered.
const DROPPED_COUNT_MAX: usize = 4;

/// The state of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupState {
    version: u32,
    /// How often it was saved: segments record the generation at which they were made.
    #[serde(default)]
    generation: u64,
    /// The last histories that were committed, or only just begun: what a crash left of their
    /// segments may be removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    dropped: Vec<String>,
    /// The number of the next point when a history was last dropped: numbers used by that history
    /// are never reused.
    #[serde(default, skip_serializing_if = "is_zero")]
    next_point: u64,
    /// Its volumes, by their name at the source; the single volume of a stream without names is "".
    pub volumes: BTreeMap<VolumeName, VolumeState>,
    /// Its settings; `None` in a state of a version that did not save them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<GroupSettings>,
    /// Its history; `None` without a retention volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journal: Option<Catalogue>,
}

impl Default for GroupState {
    fn default() -> Self {
        Self {
            version: VERSION,
            generation: 0,
            dropped: Vec::new(),
            next_point: 0,
            volumes: BTreeMap::new(),
            settings: None,
            journal: None,
        }
    }
}

/// The state of a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VolumeState {
    /// What identifies the target: its WWID, or the path of an image file.
    pub target: Option<String>,
    /// The size of the source in its last stream that stated it, in bytes.
    pub source_bytes: Option<u64>,
    /// The size of the target, in bytes.
    pub target_bytes: u64,
    /// What else distinguishes the target from others; `None` in a state of a version that did not
    /// save it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<TargetIdentity>,
    /// The snapshot that the last stream ended at, if it had a name: the next stream must begin
    /// there.
    pub ends_at: Option<String>,
    /// What is known of the applied streams beyond names.
    #[serde(default, skip_serializing_if = "Lineage::is_empty")]
    pub lineage: Lineage,
    /// The last streams that were applied to their end, latest last; at most `APPLIED_COUNT_MAX`.
    pub applied: Arc<Vec<Fingerprint>>,
    /// The stream that is being applied: the volume is in-between (I4).
    pub in_between: Option<InBetween>,
}

/// How many streams applied to their end are remembered for a volume.
pub(crate) const APPLIED_COUNT_MAX: usize = 256;

impl VolumeState {
    /// Records that the input `input` was applied to its end.
    pub fn complete(&mut self, input: Fingerprint) {
        self.in_between = None;
        let applied = Arc::make_mut(&mut self.applied);
        applied.retain(|earlier| *earlier != input);
        applied.push(input);
        let too_many = applied.len().saturating_sub(APPLIED_COUNT_MAX);
        self.lineage.forgets |= too_many > 0;
        applied.drain(..too_many);
    }
}

/// A stream that was begun and not yet applied to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InBetween {
    /// The input, identified by its first stream.
    pub input: Fingerprint,
    /// Every batch that ends at or before this byte of the input is applied and durable.
    pub position: u64,
    /// Nothing was written after `position`: the run that applied it ended in order.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exact: bool,
    /// Its batches are not in the order of the source's writes: in the middle of it there is no
    /// state of the source. For formats other than native this is known without the flag.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unordered: bool,
    /// What the input holds up to `position`; `None` in a state of a version that did not save it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Consumed>,
}

/// What is known beyond names of the streams that were applied to a volume: their content, and
/// their order. Empty in a state of a version that did not save it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lineage {
    /// The content of the last stream that was applied to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_content: Option<Consumed>,
    /// The position of the latest stream in the order of its source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest: Option<SourceOrder>,
    /// The volume is at a state without a name: the last stream of a chain led to the head.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<Head>,
    /// Earlier streams were applied that are no longer remembered.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forgets: bool,
}

impl Lineage {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A state of the source without a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The snapshot that the stream leading to it began at; `None` for an empty disk.
    pub since: Option<String>,
}

/// The progress of the volumes of a group at a recovery point: what it takes to continue from
/// there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Progress(pub BTreeMap<VolumeName, VolumeProgress>);

/// The progress of a volume at a recovery point.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VolumeProgress {
    /// As in [`VolumeState`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_bytes: Option<u64>,
    /// As in [`VolumeState`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<String>,
    /// As in [`VolumeState`].
    #[serde(default, skip_serializing_if = "Lineage::is_empty")]
    pub lineage: Lineage,
    /// As in [`VolumeState`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_between: Option<InBetween>,
    /// As in [`VolumeState`]: a rollback may also lead forward, to where more was applied. If there
    /// are many long ones, only the latest.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub applied: Arc<Vec<Fingerprint>>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn is_empty(applied: &Arc<Vec<Fingerprint>>) -> bool {
    applied.is_empty()
}

impl GroupState {
    /// The version of the text that it was read from.
    pub(crate) fn version(&self) -> u32 {
        self.version
    }

    /// The same state, to be saved in the current version.
    pub(crate) fn of_today(self) -> Self {
        Self { version: VERSION, ..self }
    }

    /// Whether everything but its generation, its volumes and its history is as in `other`.
    pub(crate) fn is_same_but_for_progress(&self, other: &Self) -> bool {
        let Self { version, generation: _, dropped, next_point, volumes: _, settings, journal: _ } =
            self;
        (version, dropped, next_point, settings)
            == (&other.version, &other.dropped, &other.next_point, &other.settings)
    }

    /// A copy that lacks the points: there can be very many.
    pub(crate) fn without_points(&self) -> Self {
        let journal = self.journal.as_ref().map(Catalogue::without_points);
        let (dropped, volumes) = (self.dropped.clone(), self.volumes.clone());
        let Self { version, generation, next_point, settings, .. } = *self;
        Self { version, generation, dropped, next_point, volumes, settings, journal }
    }

    /// How often it was saved; 0 if never, or by an earlier version.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Where the last sector of a volume ends. Image files grow: the larger of the length when the
    /// history began, and the current length.
    pub(crate) fn end_of(&self, known: &JournalVolume) -> ByteOffset {
        let now = self.volumes.get(&known.name).map_or(0, |volume| volume.target_bytes);
        let end = ByteOffset::new(known.capacity_bytes.max(now));
        match known.sector_size() {
            Ok(sector_size) => sector_size.align_up(end).unwrap_or(end),
            Err(_) => end,
        }
    }

    /// A state in which nothing is known but the settings and the dropped histories.
    pub(crate) fn kept_as(settings: Option<GroupSettings>, dropped: Vec<String>) -> Self {
        Self { settings, dropped, ..Self::default() }
    }

    /// Begins the next generation: the state is about to be saved.
    pub(crate) fn begin_generation(&mut self) {
        self.generation = self.generation.saturating_add(1);
    }

    /// Begins a generation after every state that can exist if a segment was made at `generation`.
    pub(crate) fn begin_after(&mut self, generation: u64) {
        self.generation = generation.saturating_add(GENERATIONS_AFTER);
    }

    /// Drops its history.
    pub(crate) fn drop_history(&mut self) {
        let next_point = self.journal.as_ref().map_or(0, |known| known.next_point);
        self.next_point = self.next_point.max(next_point);
        self.drop_beginning();
    }

    /// Drops a history that was only begun: no point of it was reported to anybody.
    pub(crate) fn drop_beginning(&mut self) {
        let Some(known) = self.journal.take() else { return };
        let identity = identity_text(&known.identity);
        self.dropped.retain(|earlier| *earlier != identity);
        self.dropped.push(identity);
        let too_many = self.dropped.len().saturating_sub(DROPPED_COUNT_MAX);
        self.dropped.drain(..too_many);
    }

    /// The number of the point that its next history begins with.
    pub(crate) fn next_start(&self) -> PointId {
        PointId(self.next_point)
    }

    /// Whether the volumes were accepted as they are, and nothing since is known that could be
    /// rolled back: they may be released.
    #[must_use]
    pub fn is_committed(&self) -> bool {
        let mut volumes = self.volumes.values();
        let were_written = volumes.any(|one| !one.applied.is_empty() || one.in_between.is_some());
        self.journal.is_none() && !self.dropped.is_empty() && were_written
    }

    /// The histories that were dropped, as text.
    pub(crate) fn dropped(&self) -> &[String] {
        &self.dropped
    }

    /// Whether it once had this history.
    pub(crate) fn has_dropped(&self, identity: &Identity) -> bool {
        self.dropped.contains(&identity_text(identity))
    }

    /// The progress of its volumes.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let room = APPLIED_BYTES_MAX / self.volumes.len().max(1);
        let volumes = self.volumes.iter().map(|(name, volume)| {
            let VolumeState { source_bytes, ends_at, mut lineage, in_between, .. } = volume.clone();
            // At a point, nothing was written after `position`.
            let in_between = in_between.map(|between| InBetween { exact: true, ..between });
            let remembered = latest(&volume.applied, room);
            let applied = match remembered.len() == volume.applied.len() {
                true => Arc::clone(&volume.applied),
                false => Arc::new(remembered.to_vec()),
            };
            lineage.forgets |= applied.len() < volume.applied.len();
            let progress = VolumeProgress { source_bytes, ends_at, lineage, in_between, applied };
            (name.clone(), progress)
        });
        Progress(volumes.collect())
    }

    /// Whether the content of all its volumes is known, so that they can be distinguished from
    /// others.
    #[must_use]
    pub fn knows_content(&self) -> bool {
        let has = |volume: &VolumeState| {
            volume.identity.as_ref().is_some_and(|identity| identity.content.is_some())
        };
        self.volumes.values().all(has)
    }

    /// Forgets the content of its volumes.
    pub(crate) fn forget_content(&mut self) {
        for identity in self.volumes.values_mut().filter_map(|volume| volume.identity.as_mut()) {
            identity.content = None;
        }
    }

    /// Takes its volumes back to `progress`. A volume that was not known then is forgotten, except
    /// for its target.
    pub(crate) fn go_back(&mut self, progress: &Progress) {
        for (name, volume) in &mut self.volumes {
            let then = progress.0.get(name).cloned().unwrap_or_default();
            volume.applied = then.applied;
            volume.source_bytes = then.source_bytes;
            volume.ends_at = then.ends_at;
            volume.lineage = then.lineage;
            volume.in_between = then.in_between;
        }
    }
}

/// A segment records the generation at which it was made, not how often the state was saved after
/// that.
const GENERATIONS_AFTER: u64 = 1 << 32;

fn identity_text(identity: &Identity) -> String {
    format!("{:032x}", u128::from_be_bytes(*identity))
}

/// The maximum size in bytes of all streams remembered at a point: they go into one record.
const APPLIED_BYTES_MAX: usize = 1 << 20;

/// The latest of `applied` that fit into `room` bytes.
fn latest(applied: &[Fingerprint], room: usize) -> &[Fingerprint] {
    let mut used = 0;
    let fits = applied.iter().rev().take_while(|input| {
        // Includes quotes and a comma; escaped characters are rare, and there is more room than
        // this.
        used += input.0.len() + 3;
        used <= room
    });
    let count = fits.count();
    &applied[applied.len() - count..]
}

/// What identifies a stream when it comes again: readable, as shown in messages.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// The fingerprint of the stream that begins with `header`: format and identity, or from, to
    /// and size, and `header_bytes`, the bytes of the input that the header took. A diff of v1, one
    /// of v2, and an export that begins with it differ in nothing else, and an offset in one is not
    /// valid in the others.
    #[must_use]
    pub fn of(header: &StreamHeader, header_bytes: u64) -> Self {
        Self::spelled(header, header_bytes, escaped)
    }

    /// The fingerprint as spelled by versions in which names could run together. Fingerprints that
    /// they recorded have to be recognised.
    #[must_use]
    pub(crate) fn of_before(header: &StreamHeader, header_bytes: u64) -> Self {
        let plain = |name: &Option<Name>| name.as_ref().map(exact).unwrap_or_default();
        Self::spelled(header, header_bytes, plain)
    }

    fn spelled(
        header: &StreamHeader,
        header_bytes: u64,
        name: fn(&Option<Name>) -> String,
    ) -> Self {
        let mut text = header.format.to_string();
        if let Some(identity) = header.identity {
            text.push(':');
            text.push_str(&hex::encode(identity));
            return Self(text);
        }
        for volume in &header.volumes {
            let size = volume.size.map_or_else(String::new, |size| format!("/{size}"));
            text.push_str(&format!(":{}..{}{size}", name(&volume.from), name(&volume.to)));
        }
        if header.format == Format::RbdDiff {
            text.push_str(&format!("@{header_bytes}"));
        }
        Self(text)
    }
}

impl Fingerprint {
    /// The head that an rbd diff led to, as far as it was recorded by versions that did not know
    /// heads.
    #[must_use]
    pub(crate) fn head_before(&self) -> Option<Head> {
        let names = self.0.strip_prefix("rbd-diff:")?;
        let names = names.rsplit_once('@').map_or(names, |(names, _)| names);
        let names = names.rsplit_once('/').map_or(names, |(names, _)| names);
        let since = names.strip_suffix("..")?;
        Some(Head { since: (!since.is_empty()).then(|| since.to_owned()) })
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A name between separators: whatever could be taken for a separator is escaped, and so are dots
/// that could become two. An empty name differs from no name.
fn escaped(name: &Option<Name>) -> String {
    let Some(name) = name else { return String::new() };
    let text = exact(name);
    if text.is_empty() {
        return "%".to_owned();
    }
    let mut escaped = String::with_capacity(text.len());
    let last = text.len() - 1;
    for (place, character) in text.char_indices() {
        let is_at_an_edge = place == 0 || place == last || escaped.ends_with('.');
        match character {
            '.' if is_at_an_edge => escaped.push_str("%2e"),
            '%' | '/' | ':' | '@' => escaped.push_str(&format!("%{:02x}", u32::from(character))),
            other => escaped.push(other),
        }
    }
    escaped
}

/// A name as text from which it can be restored: valid UTF-8 as it is, anything else as `\x` and
/// hex.
#[must_use]
pub fn exact(name: &Name) -> String {
    match std::str::from_utf8(name.as_bytes()) {
        Ok(text) if !text.starts_with("\\x") => text.to_owned(),
        _ => format!("\\x{}", name.as_bytes().escape_ascii()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::memo::TargetMemo;

    #[test]
    fn going_back_brings_back_what_is_known_beyond_names() {
        let mut state = GroupState::default();
        let volume = state.volumes.entry("db".into()).or_default();
        volume.lineage.head = Some(Head { since: Some("s1".to_owned()) });
        volume.lineage.latest = Some(SourceOrder { time: 7, sequence: 3 });
        let (before, then) = (state.clone(), state.progress());
        let volume = state.volumes.get_mut("db").unwrap();
        volume.lineage = Lineage { forgets: true, ..Lineage::default() };
        state.go_back(&then);
        assert_eq!(state, before);
        let text = serde_json::to_string(&then).unwrap();
        assert_eq!(serde_json::from_str::<Progress>(&text).unwrap(), then);
    }

    fn input(text: &str) -> Fingerprint {
        Fingerprint(text.to_owned())
    }

    #[test]
    fn that_streams_were_forgotten_is_known_from_the_first_one_on() {
        let mut volume = VolumeState::default();
        (0..APPLIED_COUNT_MAX).for_each(|number| volume.complete(input(&number.to_string())));
        assert!(!volume.lineage.forgets);
        volume.complete(input("0"));
        assert_eq!((volume.applied.len(), volume.lineage.forgets), (APPLIED_COUNT_MAX, false));
        volume.complete(input("more"));
        assert_eq!((volume.applied.len(), volume.lineage.forgets), (APPLIED_COUNT_MAX, true));
        volume.complete(input("more"));
        assert!(volume.lineage.forgets);
    }

    #[test]
    fn the_latest_are_remembered_as_far_as_they_fit_with_their_signs() {
        let applied = ["aaaa", "bbbb", "cc"].map(input);
        for (room, count) in [(4, 0), (5, 1), (11, 1), (12, 2), (18, 2), (19, 3), (100, 3)] {
            assert_eq!(latest(&applied, room), &applied[3 - count..], "{room}");
        }
    }

    #[test]
    fn all_volumes_share_what_is_remembered_at_a_point_and_a_part_is_known_to_be_one() {
        let mut state = GroupState::default();
        // Each takes a quarter of the room.
        let long: Vec<_> = (0..4)
            .map(|number| input(&number.to_string().repeat(APPLIED_BYTES_MAX / 4 - 3)))
            .collect();
        let applied = Arc::new(long.clone());
        state.volumes.insert("a".into(), VolumeState { applied, ..VolumeState::default() });
        let alone = &state.progress().0["a"];
        assert_eq!((alone.applied.as_slice(), alone.lineage.forgets), (&long[..], false));
        state.volumes.entry("b".into()).or_default().lineage.forgets = true;
        let progress = state.progress();
        let (a, b) = (&progress.0["a"], &progress.0["b"]);
        assert_eq!((a.applied.as_slice(), a.lineage.forgets), (&long[2..], true));
        assert!(b.applied.is_empty() && b.lineage.forgets);
    }

    #[test]
    fn at_a_point_a_volume_in_between_is_exactly_where_it_is_said_to_be() {
        let mut state = GroupState::default();
        let between = InBetween {
            input: input("one"),
            position: 7,
            exact: false,
            unordered: true,
            content: None,
        };
        let volume = state.volumes.entry("a".into()).or_default();
        volume.in_between = Some(between.clone());
        let then = state.progress().0["a"].in_between.clone();
        assert_eq!(then, Some(InBetween { exact: true, ..between }));
    }

    #[test]
    fn what_is_empty_of_the_progress_of_a_volume_is_not_written() {
        let text = |volume: &VolumeProgress| serde_json::to_string(volume).unwrap();
        assert_eq!(text(&VolumeProgress::default()), "{}");
        let applied = Arc::new(vec![input("one")]);
        let some = VolumeProgress { applied, ..VolumeProgress::default() };
        assert_eq!(text(&some), "{\"applied\":[\"one\"]}");
    }

    #[test]
    fn a_group_that_is_begun_anew_has_its_settings_and_its_dropped_histories() {
        let dropped = vec!["one".to_owned(), "two".to_owned()];
        let state = GroupState::kept_as(Some(GroupSettings::default()), dropped.clone());
        assert_eq!(state.dropped(), dropped);
        assert_eq!(state.settings, Some(GroupSettings::default()));
        assert_eq!(GroupState::default().dropped(), [""; 0]);
    }

    #[test]
    fn what_volumes_hold_is_known_if_it_is_of_all_and_until_it_is_forgotten() {
        let mut state = GroupState::default();
        assert!(state.knows_content(), "there is none");
        let content = Some(crate::target_identity::Content::default());
        let known = TargetIdentity { content, ..TargetIdentity::default() };
        let target = TargetMemo { target: None, target_bytes: 3, identity: Some(known) };
        state.know(&[("a".into(), target.clone())].into());
        assert!(state.knows_content());
        assert_eq!(state.volumes["a"].target_bytes, 3);
        for identity in [None, Some(TargetIdentity::default())] {
            state.know(&[("b".into(), TargetMemo { identity, ..target.clone() })].into());
            assert!(!state.knows_content());
        }
        state.know(&[("b".into(), target)].into());
        assert!(state.knows_content());
        state.forget_content();
        assert!(!state.knows_content());
        let none = state.volumes.values().map(|volume| volume.identity.clone());
        assert!(none.eq([Some(TargetIdentity::default()), Some(TargetIdentity::default())]));
    }

    #[test]
    fn a_name_that_looks_like_hex_is_told_from_the_one_that_it_would_be_hex_of() {
        let of = |bytes: &[u8]| exact(&Name::new(bytes).unwrap());
        assert_eq!(of(b"plain"), "plain");
        assert_eq!(of(b"\xff"), "\\x\\xff");
        assert_ne!(of(b"\\x\\xff"), of(b"\xff"));
        assert_eq!(of(b"\\x\\xff"), "\\x\\\\x\\\\xff");
    }
}
