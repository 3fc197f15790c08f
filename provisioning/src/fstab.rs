//! Reads and edits /etc/fstab (fstab(5)) losslessly; our one row carries our mark in its options.
//! Nothing is read from disk or mounted here.

use std::fmt;
use std::ops::Range;

use crate::ext4::ERRORS_REMOUNT_RO;
use crate::lines::{appended, lines};
pub use mark::Mark;
use system::octal_escape::{decoded, encoded};

mod mark;
mod options;
pub mod source;
#[cfg(test)]
mod tests;

/// Path of fstab.
pub const FSTAB_PATH: &str = "/etc/fstab";

/// The contents of one row, with octal escapes decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `UUID=…`, `LABEL=…`, a path, or whatever else the filesystem accepts; without the quotes of
    /// a tag.
    pub source: String,
    /// Where it is mounted; `none` or `swap` for swap space.
    pub mount_point: String,
    /// The filesystem; `auto` if the row omits it.
    pub filesystem: String,
    /// The options, split at commas.
    pub options: Vec<String>,
    /// For dump(8).
    pub dump_frequency: u32,
    /// Order of fsck(8) at boot; 0 is never.
    pub pass: u32,
}

impl Entry {
    /// Whether the row carries our mark in either form.
    pub fn is_ours(&self) -> bool {
        self.mark().is_some()
    }

    /// Our mark as the row carries it.
    pub fn mark(&self) -> Option<Mark> {
        Mark::ALL.into_iter().find(|mark| self.options.iter().any(|one| one == mark.option()))
    }

    fn parse(row: &str) -> Option<Self> {
        let row = row.trim();
        if row.starts_with('#') {
            return None;
        }
        let mut fields = fields(row).map(|range| &row[range]);
        let source = source::without_quotes(decoded(fields.next()?));
        let mount_point = decoded(fields.next()?);
        let filesystem = decoded(fields.next().unwrap_or("auto"));
        let options = decoded(fields.next().unwrap_or("defaults"));
        let mut number = || fields.next().and_then(|field| field.parse().ok());
        Some(Self {
            source,
            mount_point,
            filesystem,
            options: options.split(',').map(str::to_owned).collect(),
            dump_frequency: number().unwrap_or(0),
            pass: number().unwrap_or(0),
        })
    }

    /// The fields in their encoded form.
    fn fields(&self) -> [String; 6] {
        [
            encoded(&self.source),
            encoded(&self.mount_point),
            encoded(&self.filesystem),
            encoded(&self.options.join(",")),
            self.dump_frequency.to_string(),
            self.pass.to_string(),
        ]
    }

    fn is_mounted_at(&self, mount_point: &str) -> bool {
        self.mount_point.starts_with('/')
            && components(&self.mount_point).eq(components(mount_point))
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.fields().join(" "))
    }
}

/// The byte ranges of the fields in a row.
fn fields(row: &str) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    row.split([' ', '\t']).filter_map(move |field| {
        let range = start..start + field.len();
        start = range.end + 1;
        (!range.is_empty()).then_some(range)
    })
}

/// `/mnt//retention/` and `/mnt/retention` name the same directory.
fn components(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|component| !component.is_empty())
}

/// The row that the retention volume is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionRow {
    /// UUID of the filesystem, as blkid(8) prints it.
    pub uuid: String,
    /// An absolute path.
    pub mount_point: String,
    /// `ext4` or `xfs`.
    pub filesystem: String,
    /// The form that this host's mount(8) understands.
    pub mark: Mark,
}

impl RetentionRow {
    /// The row. `nofail` and the device timeout make a missing disk delay the boot rather than stop
    /// it. It is checked at boot after the root filesystem, except XFS: fsck.xfs(8) does nothing by
    /// design (XFS recovers from its log when mounted), and a 0 shows that. An ext4 that continues
    /// after an error would lose durable data (docs/adr/0010).
    pub fn entry(&self) -> Entry {
        // Nothing waits for the device (nofail), and nothing mounts it later: the timeout is long
        // enough for a slow boot in which the link by UUID appears only with the rule on the system
        // disk (docs/adr/0011).
        let time_out = (self.mark == Mark::XOption).then_some("x-systemd.device-timeout=90s");
        let on_error = (self.filesystem == "ext4").then_some(ERRORS_REMOUNT_RO);
        let options = ["defaults", "nofail"].into_iter().chain(time_out).chain(["noatime"]);
        let options = options.chain(on_error).chain([self.mark.option()]);
        Entry {
            source: format!("UUID={}", self.uuid),
            mount_point: self.mount_point.clone(),
            filesystem: self.filesystem.clone(),
            options: options.map(str::to_owned).collect(),
            dump_frequency: 0,
            pass: if self.filesystem == "xfs" { 0 } else { 2 },
        }
    }
}

/// What somebody else's row has in common with the row we want.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConflictKind {
    /// The same mount point.
    MountPoint,
    /// The same source, mounted elsewhere.
    Source,
}

/// A row without our mark that is in the way. It is not overwritten: the caller refuses and shows
/// it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {row}", self.said())]
pub struct Conflict {
    /// Line number, from 1.
    pub line: usize,
    /// The row as written.
    pub row: String,
    /// What is in conflict.
    pub kind: ConflictKind,
}

impl Conflict {
    fn said(&self) -> String {
        let line = self.line;
        match self.kind {
            ConflictKind::MountPoint => {
                format!("line {line} of fstab, not written by mtctl, has the same mount point")
            }
            ConflictKind::Source => {
                format!("line {line} of fstab, not written by mtctl, mounts the same filesystem")
            }
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    body: String,
    ending: String,
    /// `None` for comments, blank lines and rows that cannot be parsed.
    entry: Option<Entry>,
}

/// /etc/fstab; printing it reproduces every byte that was read, except for edits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fstab {
    rows: Vec<Row>,
}

impl Fstab {
    /// Parses any text: lines that are not valid rows are kept unchanged.
    pub fn parse(text: &str) -> Self {
        let rows = lines(text).map(|line| Row {
            body: line.body.to_owned(),
            ending: line.ending.to_owned(),
            entry: Entry::parse(line.body),
        });
        Self { rows: rows.collect() }
    }

    /// The entries with their line numbers (from 1).
    pub fn entries(&self) -> impl Iterator<Item = (usize, &Entry)> {
        let numbered = self.rows.iter().enumerate();
        numbered.filter_map(|(index, row)| Some((index + 1, row.entry.as_ref()?)))
    }

    /// The entries mounted at a directory; the last one determines what is visible there.
    pub fn by_mount_point<'a>(&'a self, path: &'a str) -> impl Iterator<Item = (usize, &'a Entry)> {
        self.entries().filter(move |(_, entry)| entry.is_mounted_at(path))
    }

    /// Our row, if there is one.
    pub fn ours(&self) -> Option<(usize, &Entry)> {
        self.entries().find(|(_, entry)| entry.is_ours())
    }

    /// The table with exactly one row of ours and the wanted contents: in the place of our first
    /// row, or at the end if there was none. Equal to `self` if nothing has to change. Options that
    /// an administrator added to our row are kept.
    ///
    /// `is_same` says whether a source, as [`Entry::source`] spells it, also means the wanted
    /// filesystem.
    ///
    /// # Errors
    /// Returns a row of somebody else that has the same mount point or the same filesystem.
    pub fn with_retention(
        &self,
        wanted: &RetentionRow,
        is_same: impl Fn(&str) -> bool,
    ) -> Result<Self, Conflict> {
        let entry = wanted.entry();
        self.refuse_conflict(&entry, is_same)?;
        if self.ours().is_none() {
            let row = entry.to_string();
            return Ok(Self::parse(&appended(&self.to_string(), [row.as_str()])));
        }
        let mut entry = Some(entry);
        let mut table = Self::default();
        for row in &self.rows {
            match row.entry.as_ref().filter(|found| found.is_ours()) {
                None => table.rows.push(row.clone()),
                Some(found) => {
                    table.rows.extend(entry.take().map(|entry| row.saying(found, entry)))
                }
            }
        }
        Ok(table)
    }

    fn refuse_conflict(
        &self,
        wanted: &Entry,
        is_same: impl Fn(&str) -> bool,
    ) -> Result<(), Conflict> {
        let foreign = self.entries().filter(|(_, entry)| !entry.is_ours());
        for (line, entry) in foreign {
            let kind = if entry.is_mounted_at(&wanted.mount_point) {
                ConflictKind::MountPoint
            } else if entry.source == wanted.source || is_same(&entry.source) {
                ConflictKind::Source
            } else {
                continue;
            };
            let row = self.rows[line - 1].body.trim().to_owned();
            return Err(Conflict { line, row, kind });
        }
        Ok(())
    }
}

impl Row {
    /// The row with the wanted contents. Fields that already match keep their bytes, and so does
    /// everything between and after the fields.
    fn saying(&self, found: &Entry, mut wanted: Entry) -> Self {
        if found.filesystem == wanted.filesystem {
            wanted.options = options::merged(&found.options, &wanted.options);
        }
        if *found == wanted {
            return self.clone();
        }
        let (theirs, ours) = (found.fields(), wanted.fields());
        let mut body = self.body.clone();
        let spans: Vec<Range<usize>> = fields(&self.body).collect();
        // From the last field to the first, so that the ranges of earlier fields stay valid.
        for (index, field) in ours.iter().enumerate().rev() {
            match spans.get(index) {
                Some(span) if theirs[index] != *field => body.replace_range(span.clone(), field),
                Some(_) | None => {}
            }
        }
        let missing = ours.iter().skip(spans.len());
        let trimmed = body.trim_end().len();
        body.insert_str(trimmed, &missing.map(|field| format!(" {field}")).collect::<String>());
        Self { body, ending: self.ending.clone(), entry: Some(wanted) }
    }
}

impl fmt::Display for Fstab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows = self.rows.iter();
        rows.try_for_each(|row| write!(f, "{}{}", row.body, row.ending))
    }
}
