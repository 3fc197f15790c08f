//! Decides what multipath-tools may claim on this host, and expresses that as multipath.conf(5)
//! text. No maps are made here, and nothing is read or run.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use system::error::{Error, ErrorKind, Result};

pub mod blacklist;
pub mod configuration;
pub mod status;
#[cfg(test)]
mod tests;

/// The main file. Red Hat's service and udev rules do nothing at all unless it exists.
pub const MAIN_FILE: &str = "/etc/multipath.conf";
/// The directory of drop-ins, read after the main file in alphabetical order.
pub const DROP_IN_DIRECTORY: &str = "/etc/multipath/conf.d";
/// Our drop-in; settings that are read last win.
pub const DROP_IN: &str = "/etc/multipath/conf.d/mtctl.conf";

const FIRST_LINE: &str = "# Written by mtctl: changes here are lost.";

/// What multipath-tools may claim.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MultipathPolicy {
    /// No disk, except those that the host itself already uses through a map.
    Off,
    /// Existing maps are kept; nothing new is claimed automatically.
    #[default]
    Auto,
    /// Every attached disk, including single paths, as /dev/mapper/WWID.
    Require,
}

impl MultipathPolicy {
    /// Every policy, in the order help lists them.
    pub const ALL: [Self; 3] = [Self::Off, Self::Auto, Self::Require];
}

impl fmt::Display for MultipathPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::Auto => "auto",
            Self::Require => "require",
        })
    }
}

impl FromStr for MultipathPolicy {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|one| one.to_string() == word);
        found.ok_or_else(|| {
            Error::new(ErrorKind::Usage, format!("reading the multipath policy '{word}'"))
                .with_hint("one of: off, auto, require")
        })
    }
}

/// What the multipath-tools of a distribution release support.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MultipathGeneration {
    /// Release 6 (0.4.9): only [`MAIN_FILE`]; `find_multipaths yes|no`.
    MainFileOnly,
    /// Release 7 (0.4.9 with Red Hat's patches): drop-ins; `find_multipaths yes|no`.
    YesNo,
    /// Releases 8 and newer, Debian 10 and newer (0.7.8 and later): drop-ins;
    /// `find_multipaths strict|no|yes|greedy|smart`.
    Named,
}

impl MultipathGeneration {
    /// The file that contains the policy.
    pub fn file(self) -> &'static str {
        match self {
            Self::MainFileOnly => MAIN_FILE,
            Self::YesNo | Self::Named => DROP_IN,
        }
    }
}

/// A map the host itself runs on (root, swap, the retention volume). It keeps its name and its
/// partitions under every policy, because otherwise the host would not boot again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnMap {
    /// The WWID in the form that multipath-tools use: udev's `ID_SERIAL`, including the `3` of
    /// scsi_id(8).
    pub wwid: String,
    /// The map's name, without /dev/mapper.
    pub name: String,
}

/// The disks that belong to the host itself rather than to a customer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnDisks {
    /// Disks used through a map.
    pub mapped: Vec<OwnMap>,
    /// WWIDs of disks used directly. If they were claimed, their partitions would vanish from
    /// systemd's view and the next boot would wait for them in vain; so no policy claims them.
    pub plain: Vec<String>,
}

impl OwnDisks {
    /// The union of these and `others`, in an order that does not depend on which came first: the
    /// text made of them must not change if a disk becomes the host's own in another way.
    #[must_use]
    pub fn with(mut self, others: Self) -> Self {
        self.mapped.extend(others.mapped);
        self.mapped.sort_by(|a, b| a.wwid.cmp(&b.wwid));
        self.mapped.dedup();
        self.plain.extend(others.plain);
        self.plain.sort_unstable();
        self.plain.dedup();
        self
    }
}

/// The whole text of [`MultipathGeneration::file`] for a policy.
///
/// - `off` blacklists everything. It does so by device node if no map is the host's own: then
///   multipathd need not even ask disks without an id for one. Otherwise it blacklists by WWID with
///   exceptions, because an exception of one kind does not lift a blacklist entry of another kind.
/// - `auto` is `strict`: a disk is claimed only if it is in the wwids file, that is, if it was a
///   map before. `yes` would take two disks with one WWID (clones of a template) for two paths of
///   one disk and write both customers' data to either. Where `strict` is not supported, `yes` is
///   the most restrictive value that works, and the check for duplicate ids comes before it.
/// - `require` is `greedy`, the only value with which both the udev rules and multipathd claim a
///   disk as soon as one path appears: with `no` the udev rules pass the disk on to LVM and mounts
///   before multipathd gets it, and `yes`, `smart` and `strict` never map a lone path of an unknown
///   disk. Where `greedy` is not supported, `no` means the same. Partitions of customers' disks get
///   no maps (`skip_kpartx`): those would be holders and keep the disk from being opened
///   exclusively.
///
/// Maps are named by WWID (`user_friendly_names no`), which is the same on every host.
///
/// # Errors
/// Returns [`ErrorKind::Usage`] for a WWID or name that cannot be written in the file.
pub fn policy_text(
    policy: MultipathPolicy,
    generation: MultipathGeneration,
    own: &OwnDisks,
) -> Result<String> {
    let maps = own.mapped.iter().flat_map(|map| [&map.wwid, &map.name]);
    maps.chain(&own.plain).try_for_each(|word| checked(word))?;
    let mut text = format!("{FIRST_LINE}\n# Policy: {policy}\n");
    text += &defaults(policy, generation);
    text += &blacklist(policy, own);
    text += &maps_kept(own);
    Ok(text)
}

/// A main file for hosts that have none, so that the service starts and reads [`DROP_IN`].
pub fn minimal_main_file() -> String {
    format!("{FIRST_LINE}\n# The policy is in {DROP_IN}\ndefaults {{\n}}\n")
}

/// Whether mtctl wrote this file: a main file of somebody else must not be overwritten.
pub fn is_ours(text: &str) -> bool {
    text.lines().next() == Some(FIRST_LINE)
}

fn defaults(policy: MultipathPolicy, generation: MultipathGeneration) -> String {
    use MultipathGeneration::{MainFileOnly, Named, YesNo};
    let mut rows = vec!["user_friendly_names no"];
    match (policy, generation) {
        (MultipathPolicy::Off, _) => {}
        (MultipathPolicy::Auto, Named) => rows.push("find_multipaths strict"),
        (MultipathPolicy::Auto, YesNo | MainFileOnly) => rows.push("find_multipaths yes"),
        (MultipathPolicy::Require, Named) => {
            rows.extend(["find_multipaths greedy", "skip_kpartx yes"]);
        }
        (MultipathPolicy::Require, YesNo) => rows.extend(["find_multipaths no", "skip_kpartx yes"]),
        (MultipathPolicy::Require, MainFileOnly) => rows.push("find_multipaths no"),
    }
    section("defaults", rows.into_iter().map(str::to_owned))
}

fn blacklist(policy: MultipathPolicy, own: &OwnDisks) -> String {
    match policy {
        MultipathPolicy::Off if own.mapped.is_empty() => {
            section("blacklist", ["devnode \".*\"".to_owned()])
        }
        MultipathPolicy::Off => {
            let kept = own.mapped.iter().map(|map| wwid_row(&map.wwid));
            section("blacklist", ["wwid \".*\"".to_owned()])
                + &section("blacklist_exceptions", kept)
        }
        MultipathPolicy::Auto | MultipathPolicy::Require if own.plain.is_empty() => String::new(),
        MultipathPolicy::Auto | MultipathPolicy::Require => {
            section("blacklist", own.plain.iter().map(|wwid| wwid_row(wwid)))
        }
    }
}

/// The multipath subsections of the host's own maps. Without them, `skip_kpartx` in the defaults
/// would remove their partitions, and `user_friendly_names no` their names.
fn maps_kept(own: &OwnDisks) -> String {
    if own.mapped.is_empty() {
        return String::new();
    }
    let map = |map: &OwnMap| {
        let OwnMap { wwid, name } = map;
        format!(
            "\tmultipath {{\n\t\twwid \"{wwid}\"\n\t\talias \"{name}\"\n\
             \t\tskip_kpartx no\n\t}}\n"
        )
    };
    let maps: String = own.mapped.iter().map(map).collect();
    format!("multipaths {{\n{maps}}}\n")
}

fn section(name: &str, rows: impl IntoIterator<Item = String>) -> String {
    let rows = rows.into_iter().map(|row| format!("\t{row}\n"));
    format!("{name} {{\n{}}}\n", rows.collect::<String>())
}

/// A blacklist treats a WWID as an unanchored extended regular expression.
fn wwid_row(wwid: &str) -> String {
    let mut pattern = String::new();
    for character in wwid.chars() {
        match character {
            // `^` cannot stand alone in brackets. For all the others, brackets are the only way to
            // remove their special meaning without a backslash, which older parsers treat
            // differently.
            '.' | '*' | '+' | '?' | '(' | ')' | '{' | '}' | '|' | '$' | '[' => {
                pattern.extend(['[', character, ']']);
            }
            other => pattern.push(other),
        }
    }
    format!("wwid \"^{pattern}$\"")
}

fn checked(word: &str) -> Result<()> {
    let fits = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b'^' | b']');
    if !word.is_empty() && word.bytes().all(fits) {
        return Ok(());
    }
    let context = format!("naming {word:?} in {DROP_IN}: not a WWID or map name it can hold");
    Err(Error::new(ErrorKind::Usage, context))
}
