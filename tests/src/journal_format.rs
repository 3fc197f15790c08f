//! Reads the retention journal according to docs/format/retention-journal-v2.md, without any of the
//! program's code: a second opinion on the contents of each point. Volumes are held in memory as a
//! whole.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

const BLOCK: u64 = 4096;
/// Fields of the catalogue that have the same form in a change as in the state: left out if `None`.
const CHANGED: [&str; 8] = [
    "next_segment",
    "next_record",
    "next_point",
    "session",
    "rolled_back_to",
    "went_on_from",
    "rolling_back_to",
    "window_cut_to",
];

/// The history of a group.
#[derive(Debug)]
pub struct History {
    directory: PathBuf,
    identity: [u8; 16],
    state: Value,
}

/// A point in the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// Its number.
    pub id: u64,
    /// `start`, `crash` or `app`.
    pub kind: String,
    /// Its name.
    pub name: Option<String>,
}

/// One record of a segment.
struct Record {
    kind: u32,
    /// Volume, whether it has data, offset and length.
    entries: Vec<(u32, bool, u64, u64)>,
    payload: Vec<u8>,
    is_payload_whole: bool,
    end: u64,
}

/// A valid segment.
struct Segment {
    file: File,
    epoch: u64,
    first_record: u64,
    salt: u64,
    length: u64,
    generation: u64,
    tag: [u8; 8],
}

/// The former contents of a volume, as far as they are known.
struct Filled {
    name: String,
    /// Its index in the catalogue, once it has one.
    number: Option<u32>,
    bytes: Vec<u8>,
    /// How much of each block has an image.
    known: BTreeMap<u64, usize>,
}

impl History {
    /// The history of the group in `directory`; `None` if it has none.
    pub fn read(directory: &Path) -> Result<Option<Self>, String> {
        let copies = ["state", "state.copy"].map(|name| copy(&directory.join(name)));
        let generation = |state: &Value| state["generation"].as_u64().unwrap_or_default();
        let torn = copies.iter().flatten().flatten().filter(|(_, is_torn)| *is_torn).count();
        if torn == 2 {
            return Err("both copies are torn".to_owned());
        }
        let problems: Vec<_> =
            copies.iter().filter_map(|copy| copy.as_ref().err().cloned()).collect();
        // If both are equally new, the first one counts; `max` returns the last, so the order is
        // reversed.
        let found = copies.into_iter().rev().flatten().flatten().map(|(state, _)| state);
        let Some(state) = found.max_by_key(generation) else {
            return if problems.is_empty() { Ok(None) } else { Err(problems.join("; ")) };
        };
        let Some(digits) = state["journal"]["identity"].as_str() else { return Ok(None) };
        let mut identity = [0; 16];
        for (at, byte) in identity.iter_mut().enumerate() {
            let digits = digits.get(2 * at..2 * at + 2).ok_or("the identity is short")?;
            *byte = u8::from_str_radix(digits, 16).map_err(|error| error.to_string())?;
        }
        let mut history = Self { directory: directory.to_owned(), identity, state };
        history.take_in_what_is_beyond()?;
        Ok(Some(history))
    }

    /// Takes in an epoch that is missing from the state, if nothing was overwritten in it.
    fn take_in_what_is_beyond(&mut self) -> Result<(), String> {
        let open = self.list("points").last().and_then(|point| point["id"].as_u64());
        for number in self.numbers()?.range(self.number("next_segment")?..) {
            let Some(segment) = self.segment(*number)? else { continue };
            let is_later = Some(segment.epoch) > open && segment.first_record < 1 << 62;
            if !is_later || Some(segment.generation) > self.state["generation"].as_u64() {
                continue;
            }
            let Some(first) = segment.record(BLOCK, segment.first_record)? else { continue };
            if first.kind != 2 || !first.is_payload_whole {
                continue;
            }
            let begins: Value =
                serde_json::from_slice(&first.payload).map_err(|error| error.to_string())?;
            let (mut at, mut next, mut has_images) = (first.end, segment.first_record + 1, false);
            while let Some(record) = segment.record(at, next)? {
                has_images |= record.kind == 1;
                (at, next) = (record.end, next + 1);
            }
            let is_next = begins["points"][0]["id"].as_u64() == Some(self.number("next_point")?);
            if has_images || !is_next {
                continue;
            }
            let ended = self.spans_up_to(segment.first_record)?;
            let span = json!([number, first.end, segment.first_record, segment.first_record + 1]);
            return self.begin_epoch(ended, &begins, span);
        }
        Ok(())
    }

    /// All spans of the open epoch, which ends before record `until`.
    fn spans_up_to(&self, until: u64) -> Result<Vec<Value>, String> {
        let mut spans = Vec::new();
        let known = self.list("points").last().and_then(|point| point["spans"].as_array().cloned());
        let mut known: Vec<_> = known.unwrap_or_default();
        let last = known.pop();
        let first = last.as_ref().and_then(|last| last[2].as_u64());
        let mut next = first.map_or(self.number("next_record")?, |first| first);
        spans.append(&mut known);
        let last = last.and_then(|last| last[0].as_u64());
        let later =
            self.numbers()?.range(self.number("next_segment")?..).copied().collect::<Vec<_>>();
        for number in last.into_iter().chain(later) {
            let Some(segment) = self.segment(number)? else { continue };
            if segment.first_record != next || next == until {
                continue;
            }
            let mut at = BLOCK;
            while let Some(record) = segment.record(at, next)?.filter(|_| next < until) {
                (at, next) = (record.end, next + 1);
            }
            spans.push(json!([number, at, segment.first_record, next]));
        }
        match next == until {
            true => Ok(spans),
            false => Err(format!("an epoch ends before record {next}, and {until} is the next")),
        }
    }

    /// Ends the open epoch with the spans `ended`, and begins another one.
    fn begin_epoch(
        &mut self,
        ended: Vec<Value>,
        begins: &Value,
        span: Value,
    ) -> Result<(), String> {
        let new = begins["points"].as_array().cloned().unwrap_or_default();
        let mut points = self.list("points").to_vec();
        points.last_mut().ok_or("there is no point")?["spans"] = Value::Array(ended);
        if let Some(to) = begins["gives_up_after"].as_u64() {
            let is_given_up = |point: &Value| point["id"].as_u64() > Some(to);
            let from = points.iter().position(is_given_up).unwrap_or(points.len());
            let given_up = points.split_off(from);
            let leads_on = given_up.iter().filter_map(|point| point["spans"].as_array()).flatten();
            let last = points.last_mut().ok_or("no point is left")?["spans"].as_array_mut();
            last.ok_or("a point without spans")?.extend(leads_on.cloned());
        }
        for mut point in new {
            point["spans"] = json!([]);
            points.push(point);
        }
        points.last_mut().ok_or("there is no point")?["spans"] = json!([span]);
        let journal = &mut self.state["journal"];
        journal["next_segment"] = json!(span[0].as_u64().unwrap_or_default() + 1);
        journal["next_record"] = span[3].clone();
        journal["points"] = Value::Array(points);
        Ok(())
    }

    /// Its points, oldest first; the start is one of them.
    pub fn points(&self) -> Vec<Point> {
        let point = |point: &Value| {
            let kind = point["kind"].as_str()?.to_owned();
            let name = point["name"].as_str().map(str::to_owned);
            (kind != "break").then_some(Point { id: point["id"].as_u64()?, kind, name })
        };
        self.list("points").iter().filter_map(point).collect()
    }

    /// Its volumes, each with its size and the path or the WWID of its target.
    pub fn volumes(&self) -> Vec<(String, u64, Option<String>)> {
        let volume = |volume: &Value| {
            let name = volume["name"].as_str()?.to_owned();
            let target = self.state["volumes"][&name]["target"].as_str().map(str::to_owned);
            Some((name, volume["capacity_bytes"].as_u64()?, target))
        };
        self.list("volumes").iter().filter_map(volume).collect()
    }

    /// The file behind the target of `volume`, which distinguishes it from another at the same
    /// path.
    pub fn backing_file(&self, volume: &str) -> Option<&str> {
        self.state["volumes"][volume]["identity"]["backing_file"].as_str()
    }

    /// The contents of `volume` at `point`, given the current contents `disk`.
    pub fn held(&self, volume: &str, point: u64, disk: Vec<u8>) -> Result<Vec<u8>, String> {
        // A volume that is not in the catalogue may begin in a segment that the catalogue does not
        // cover yet.
        let number = self.volumes().iter().position(|(name, ..)| name == volume);
        let number = number.map(u32::try_from).transpose().map_err(|error| error.to_string())?;
        let name = volume.to_owned();
        let mut filled = Filled { name, number, bytes: disk, known: BTreeMap::new() };
        let points = self.list("points");
        let open = points.last().ok_or("there is no point")?;
        let mut next = self.number("next_record")?;
        for one in points.iter().filter(|one| one["id"].as_u64() >= Some(point)) {
            let spans = one["spans"].as_array().ok_or("a point without spans")?;
            for (at, span) in spans.iter().enumerate() {
                let [number, _, first, end] = [0, 1, 2, 3].map(|at| span[at].as_u64());
                let segment = self.segment(number.ok_or("a span")?)?;
                let segment = segment.ok_or_else(|| format!("segment {number:?} is none"))?;
                let end = end.ok_or("a span")?;
                let is_last = one == open && at + 1 == spans.len();
                if Some(segment.first_record) != first {
                    return Err(format!("segment {number:?} begins with another record"));
                }
                let until = if is_last { u64::MAX } else { end };
                let found = filled.take(&segment, until, self.number("next_record")?)?;
                if is_last {
                    next = found;
                }
                if found < end {
                    return Err(format!("segment {number:?} ends before record {end}"));
                }
            }
        }
        self.follow(open["id"].as_u64(), next, &mut filled)?;
        Ok(filled.bytes)
    }

    /// Reads segments of the open epoch that the state does not contain yet.
    fn follow(&self, epoch: Option<u64>, mut next: u64, filled: &mut Filled) -> Result<(), String> {
        for number in self.numbers()?.range(self.number("next_segment")?..) {
            let Some(segment) = self.segment(*number)? else { continue };
            if Some(segment.epoch) == epoch && segment.first_record == next {
                next = filled.take(&segment, u64::MAX, next)?;
            }
        }
        match next >= self.number("next_record")? {
            true => Ok(()),
            false => Err(format!("the log ends before record {next}")),
        }
    }

    fn list(&self, field: &str) -> &[Value] {
        self.state["journal"][field].as_array().map_or(&[], Vec::as_slice)
    }

    fn number(&self, field: &str) -> Result<u64, String> {
        self.state["journal"][field].as_u64().ok_or_else(|| format!("no {field}"))
    }

    /// The numbers of the existing segments.
    fn numbers(&self) -> Result<BTreeSet<u64>, String> {
        let entries = fs::read_dir(&self.directory).map_err(|error| error.to_string())?;
        let number = |entry: std::io::Result<fs::DirEntry>| {
            let entry =
                entry.ok().filter(|entry| entry.file_type().is_ok_and(|it| it.is_file()))?;
            let name = entry.file_name().into_string().ok()?;
            name.strip_prefix("segment-").filter(|digits| digits.len() == 16)?.parse().ok()
        };
        Ok(entries.filter_map(number).collect())
    }

    /// Segment `number`, if its header is intact and it belongs to this journal.
    fn segment(&self, number: u64) -> Result<Option<Segment>, String> {
        let path = self.directory.join(format!("segment-{number:016}"));
        // Opening a pipe would block.
        if fs::metadata(&path).is_ok_and(|found| !found.is_file()) {
            return Ok(None);
        }
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("{}: {error}", path.display())),
        };
        let header = read(&file, 0, BLOCK)?;
        let version = u32_at(&header, 8);
        let is_whole = header.starts_with(b"MTJSEGM\x01")
            && matches!(version, 1 | 2)
            && u32_at(&header, 4092) == crc32c::crc32c(&header[..4092]);
        let is_ours = header[16..32] == self.identity && u64_at(&header, 32) == number;
        Ok((is_whole && is_ours).then(|| Segment {
            epoch: u64_at(&header, 40),
            first_record: u64_at(&header, 48),
            salt: u64_at(&header, 56),
            length: u64_at(&header, 64),
            generation: if version == 1 { 0 } else { u64_at(&header, 72) },
            tag: self.identity[..8].try_into().expect("eight of sixteen"),
            file,
        }))
    }
}

impl Segment {
    /// Record `number`, if it is the one at `at`.
    fn record(&self, at: u64, number: u64) -> Result<Option<Record>, String> {
        if at + BLOCK > self.length {
            return Ok(None);
        }
        let mut header = read(&self.file, at, BLOCK)?;
        let entries = u64::from(u32_at(&header, 36));
        let is_one = header.starts_with(b"MTJRECO\x01")
            && u64_at(&header, 8) == number
            && u64_at(&header, 16) == self.salt
            && header[24..32] == self.tag
            && entries <= 2048;
        let length = (64 + 24 * entries).next_multiple_of(BLOCK);
        let payload = u64::from(u32_at(&header, 40));
        let end = at + length + payload.next_multiple_of(BLOCK);
        if !is_one || end > self.length {
            return Ok(None);
        }
        header = read(&self.file, at, length)?;
        let expected = u32_at(&header, 60);
        header[60..64].fill(0);
        if crc32c::crc32c(&header) != expected {
            return Ok(None);
        }
        let payload = read(&self.file, at + length, payload)?;
        let is_payload_whole = crc32c::crc32c(&payload) == u32_at(&header, 44);
        let entry = |entry: &[u8]| {
            (u32_at(entry, 0), u32_at(entry, 4) == 1, u64_at(entry, 8), u64_at(entry, 16))
        };
        let entries = header[64..].chunks_exact(24).take(entries as usize).map(entry).collect();
        let kind = u32_at(&header, 32);
        Ok(Some(Record { kind, entries, payload, is_payload_whole, end }))
    }
}

impl Filled {
    /// Takes the images of `segment` before record `until`; returns the number of the first record
    /// that the segment does not have. From `may_be_torn` on, an incomplete record ends the
    /// segment.
    fn take(&mut self, segment: &Segment, until: u64, may_be_torn: u64) -> Result<u64, String> {
        let (mut at, mut number) = (BLOCK, segment.first_record);
        while number < until {
            let Some(record) = segment.record(at, number)? else { break };
            if !record.is_payload_whole {
                match number >= may_be_torn {
                    true => break,
                    false => return Err(format!("the images of record {number} are damaged")),
                }
            }
            match record.kind {
                1 => self.images(&record)?,
                3 => self.begins(&record)?,
                _ => {}
            }
            (at, number) = (record.end, number + 1);
        }
        Ok(number)
    }

    /// A volume begins, which may be this one.
    fn begins(&mut self, record: &Record) -> Result<(), String> {
        let begins: Value =
            serde_json::from_slice(&record.payload).map_err(|error| error.to_string())?;
        if begins["volume"]["name"] == self.name.as_str() {
            let number = begins["number"].as_u64().ok_or("a volume without a number")?;
            self.number = Some(u32::try_from(number).map_err(|error| error.to_string())?);
        }
        Ok(())
    }

    fn images(&mut self, record: &Record) -> Result<(), String> {
        let mut payload = record.payload.as_slice();
        for (volume, is_data, offset, length) in &record.entries {
            let data = match is_data {
                true => {
                    let padded = length.next_multiple_of(BLOCK) as usize;
                    let taken = payload.split_at_checked(padded).ok_or("a payload is short")?;
                    payload = taken.1;
                    Some(taken.0)
                }
                false => None,
            };
            if Some(*volume) == self.number {
                self.image(*offset, *length, data)?;
            }
        }
        Ok(())
    }

    /// The first image of a block counts. Where a later one is longer, the volume has grown, and
    /// what the first one does not have was zeros.
    fn image(&mut self, offset: u64, length: u64, data: Option<&[u8]>) -> Result<(), String> {
        // The last sector of an image file may reach past its end.
        let end = self.bytes.len() as u64;
        if offset % BLOCK != 0 || offset + length > end.next_multiple_of(512) {
            return Err(format!("an image of {length} bytes at {offset}"));
        }
        let length = length.min(end.saturating_sub(offset));
        for block in 0..length.div_ceil(BLOCK) {
            let from = (block * BLOCK) as usize;
            let count = (length as usize - from).min(BLOCK as usize);
            let to = &mut self.bytes[offset as usize + from..][..count];
            let known = self.known.entry(offset / BLOCK + block).or_default();
            match data {
                Some(data) if *known == 0 => to.copy_from_slice(&data[from..from + count]),
                _ if *known < count => to[*known..].fill(0),
                _ => {}
            }
            *known = count.max(*known);
        }
        Ok(())
    }
}

/// A copy of the state, and whether its end is torn; `None` if it does not exist.
fn copy(path: &Path) -> Result<Option<(Value, bool)>, String> {
    // Opening a pipe would block.
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(format!("{}: it is no file", path.display()));
    }
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{}: {error}", path.display())),
    };
    let named = |problem: &str| format!("{}: {problem}", path.display());
    let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    let (first, rest) = lines.split_at_checked(2).ok_or_else(|| named("no two lines"))?;
    let (mut state, mut checksum) = piece(first, 0).ok_or_else(|| named("it is damaged"))?;
    let mut rest = rest;
    while !rest.is_empty() {
        let whole = rest.split_at_checked(2).and_then(|(lines, after)| {
            let (change, checksum) = piece(lines, checksum)?;
            Some((change, checksum, after))
        });
        let Some((change, next, after)) = whole else {
            return match rest.len() <= 2 {
                true => Ok(Some((state, true))),
                false => Err(named("what was appended is damaged")),
            };
        };
        apply(&mut state, &change);
        (checksum, rest) = (next, after);
    }
    Ok(Some((state, false)))
}

/// The JSON in two lines, and its checksum.
fn piece(lines: &[&[u8]], after: u32) -> Option<(Value, u32)> {
    let json = lines[0].strip_suffix(b"\n")?;
    let line = std::str::from_utf8(lines[1].strip_suffix(b"\n")?).ok()?;
    let expected = u32::from_str_radix(line.strip_prefix("crc32c ")?, 16).ok()?;
    let checksum = crc32c::crc32c_append(after, json);
    if checksum != expected {
        return None;
    }
    Some((serde_json::from_slice(json).ok()?, checksum))
}

/// Applies the changes of one save.
fn apply(state: &mut Value, change: &Value) {
    state["generation"] = change["generation"].clone();
    for (name, changed) in change["volumes"].as_object().into_iter().flatten() {
        let mut is = changed["is"].clone();
        is["applied"] = match changed.get("applied") {
            Some(applied) => applied.clone(),
            None => state["volumes"][name]["applied"].clone(),
        };
        state["volumes"][name] = is;
    }
    let Some(changed) = change.get("journal").and_then(Value::as_object) else { return };
    let journal = &mut state["journal"];
    for field in CHANGED {
        journal[field] = changed.get(field).cloned().unwrap_or(Value::Null);
    }
    if let Some(expired) = changed.get("expired") {
        journal["expired"] = expired.clone();
    }
    let none = json!([]);
    let list = |field| changed.get(field).unwrap_or(&none).as_array().cloned().unwrap_or_default();
    let (gone, new) = (list("gone"), list("points"));
    let id = |point: &Value| point["id"].as_u64();
    let mut points = journal["points"].as_array().cloned().unwrap_or_default();
    points.retain(|old| !gone.contains(&old["id"]) && !new.iter().any(|new| id(new) == id(old)));
    points.extend(new);
    points.sort_by_key(id);
    journal["points"] = Value::Array(points);
}

fn read(file: &File, at: u64, length: u64) -> Result<Vec<u8>, String> {
    let mut bytes = vec![0; length as usize];
    file.read_exact_at(&mut bytes, at).map_err(|error| format!("reading a segment: {error}"))?;
    Ok(bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
