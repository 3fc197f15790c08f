//! Which disks a multipath configuration hides from multipath-tools, and by which row: blacklists
//! and their exceptions, evaluated in the order of libmultipath's filters (multipath.conf(5)). The
//! blacklist built into multipath-tools is not known here.

use std::fmt;

use regex_lite::Regex;

use super::configuration::{Configuration, Setting};

/// One file of the configuration.
#[derive(Clone, Copy, Debug)]
pub struct BlacklistFile<'a> {
    /// Its path.
    pub path: &'a str,
    /// Its text.
    pub text: &'a str,
}

/// How multipath-tools identify a disk.
#[derive(Clone, Debug, Default)]
pub struct Candidate {
    /// The kernel's name.
    pub name: String,
    /// Vendor and product as the disk reports them.
    pub vendor: Option<String>,
    /// See `vendor`.
    pub product: Option<String>,
    /// udev's `ID_SERIAL`, if the disk has one.
    pub wwid: Option<String>,
    /// Its possible transports, such as `scsi:sas`. Empty if they are not known.
    pub protocols: Vec<&'static str>,
    /// The names of its udev properties, sorted.
    pub properties: Vec<String>,
}

/// A row that hides disks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hiding {
    /// The file it is in.
    pub file: String,
    /// Its line number, from 1.
    pub line: usize,
    /// The text of the row.
    pub rule: String,
    /// A row for `blacklist_exceptions` that lifts it for the disks that it hides.
    pub exception: String,
}

impl fmt::Display for Hiding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} of {} (blacklist: {})", self.line, self.file, self.rule)
    }
}

/// The blacklist sections of all files, with the conditions they apply to a disk.
#[derive(Debug, Default)]
pub(crate) struct Blacklist {
    rules: Vec<Rule>,
    exceptions: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    file: String,
    line: usize,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Devnode(Pattern),
    Wwid(Pattern),
    Property(Pattern),
    Protocol(Pattern),
    /// At least one of the two is present.
    Device {
        vendor: Option<Pattern>,
        product: Option<Pattern>,
    },
}

/// A POSIX extended regular expression, unanchored; after a `!`, it must not match.
#[derive(Clone, Debug)]
struct Pattern {
    written: String,
    regex: Regex,
    is_inverted: bool,
}

impl Pattern {
    /// `None` if it cannot be compiled: multipath-tools ignore such rows.
    fn new(written: &str) -> Option<Self> {
        let (is_inverted, plain) = match written.strip_prefix('!') {
            Some(plain) => (true, plain),
            None => (false, written),
        };
        // A shell pattern written by mistake, which multipath-tools accept.
        let plain = if plain == "*" { ".*" } else { plain };
        let regex = Regex::new(plain).ok()?;
        Some(Self { written: written.to_owned(), regex, is_inverted })
    }

    fn matches(&self, text: &str) -> bool {
        self.regex.is_match(text) != self.is_inverted
    }
}

impl Blacklist {
    /// Reads the files, in the order that multipath-tools read them.
    pub(crate) fn parse<'a>(files: impl IntoIterator<Item = BlacklistFile<'a>>) -> Self {
        let mut whole = Self::default();
        for file in files {
            let read = Configuration::parse([file.text]);
            let mut devices: Vec<&Setting> = Vec::new();
            for setting in read.settings() {
                let names: Vec<&str> = setting.section.iter().map(String::as_str).collect();
                match names.as_slice() {
                    [list] => whole.add(list, file.path, setting.line, kind(setting)),
                    [_, "device"] => devices.push(setting),
                    _ => {}
                }
            }
            for device in devices.chunk_by(|one, next| one.section_line == next.section_line) {
                whole.add(&device[0].section[0], file.path, device[0].line, device_kind(device));
            }
        }
        whole
    }

    fn add(&mut self, list: &str, file: &str, line: usize, kind: Option<Kind>) {
        let Some(kind) = kind else { return };
        let rule = Rule { file: file.to_owned(), line, kind };
        match list {
            "blacklist" | "devnode_blacklist" => self.rules.push(rule),
            "blacklist_exceptions" => self.exceptions.push(rule),
            _ => {}
        }
    }

    /// Whether any rule matches properties of disks: these require udev's database.
    pub(crate) fn asks_for_properties(&self) -> bool {
        let mut all = self.rules.iter().chain(&self.exceptions);
        all.any(|rule| matches!(rule.kind, Kind::Property(_)))
    }

    /// The row that hides `disk`, if one does. An exception lifts only rows of its own kind.
    pub(crate) fn hides(&self, disk: &Candidate) -> Option<Hiding> {
        let by_property = self.property(disk);
        let others = self.rules.iter().find(|rule| {
            !matches!(rule.kind, Kind::Property(_))
                && rule.kind.matches(disk)
                && !self.exceptions.iter().any(|exception| {
                    std::mem::discriminant(&exception.kind) == std::mem::discriminant(&rule.kind)
                        && exception.kind.matches(disk)
                })
        });
        by_property.or_else(|| others.map(|rule| rule.hiding(disk)))
    }

    /// The first property found in either list decides. If there are exceptions, a disk that
    /// matches none of them is hidden.
    fn property(&self, disk: &Candidate) -> Option<Hiding> {
        let named = |rules: &'_ [Rule], name: &str| {
            rules.iter().position(|rule| matches!(&rule.kind, Kind::Property(p) if p.matches(name)))
        };
        for name in &disk.properties {
            if named(&self.exceptions, name).is_some() {
                return None;
            }
            if let Some(index) = named(&self.rules, name) {
                return Some(self.rules[index].hiding(disk));
            }
        }
        let demand = self.exceptions.iter().find(|rule| matches!(rule.kind, Kind::Property(_)))?;
        (!disk.properties.is_empty()).then(|| Hiding {
            rule: format!("a disk without the exception {}", demand.kind),
            ..demand.hiding(disk)
        })
    }
}

fn kind(setting: &Setting) -> Option<Kind> {
    let pattern = Pattern::new(&setting.value)?;
    Some(match setting.keyword.as_str() {
        "devnode" => Kind::Devnode(pattern),
        "wwid" => Kind::Wwid(pattern),
        "property" => Kind::Property(pattern),
        "protocol" => Kind::Protocol(pattern),
        _ => return None,
    })
}

/// The conditions of one `device` subsection; if any of them cannot be compiled, there are none.
fn device_kind(settings: &[&Setting]) -> Option<Kind> {
    let part = |keyword: &str| {
        let setting = settings.iter().rev().find(|setting| setting.keyword == keyword)?;
        Some(Pattern::new(&setting.value))
    };
    let (vendor, product) = (part("vendor"), part("product"));
    let is_broken = matches!(vendor, Some(None)) || matches!(product, Some(None));
    let (vendor, product) = (vendor.flatten(), product.flatten());
    let is_empty = vendor.is_none() && product.is_none();
    (!is_broken && !is_empty).then_some(Kind::Device { vendor, product })
}

impl Rule {
    fn hiding(&self, disk: &Candidate) -> Hiding {
        Hiding {
            file: self.file.clone(),
            line: self.line,
            rule: self.kind.to_string(),
            exception: self.kind.exception(disk),
        }
    }
}

impl Kind {
    fn matches(&self, disk: &Candidate) -> bool {
        let has = |pattern: &Pattern, text: &Option<String>| {
            text.as_ref().is_some_and(|text| pattern.matches(text))
        };
        match self {
            Self::Devnode(pattern) => pattern.matches(&disk.name),
            Self::Wwid(pattern) => has(pattern, &disk.wwid),
            Self::Property(pattern) => disk.properties.iter().any(|name| pattern.matches(name)),
            Self::Protocol(pattern) => disk.protocols.iter().any(|name| pattern.matches(name)),
            Self::Device { vendor, product } => {
                disk.vendor.is_some()
                    && disk.product.is_some()
                    && vendor.as_ref().is_none_or(|pattern| has(pattern, &disk.vendor))
                    && product.as_ref().is_none_or(|pattern| has(pattern, &disk.product))
            }
        }
    }

    /// A row for `blacklist_exceptions` that lifts this one for `disk` and for few others.
    fn exception(&self, disk: &Candidate) -> String {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        match self {
            Self::Devnode(_) => format!("devnode \"^{}$\"", disk.name),
            Self::Wwid(_) => format!("wwid \"{}\"", text(&disk.wwid)),
            Self::Property(_) => "property \"ID_SERIAL\"".to_owned(),
            Self::Protocol(pattern) => format!("protocol \"{}\"", pattern.written),
            Self::Device { .. } => format!(
                "device {{ vendor \"{}\" product \"{}\" }}",
                text(&disk.vendor),
                text(&disk.product)
            ),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Devnode(pattern) => write!(f, "devnode \"{}\"", pattern.written),
            Self::Wwid(pattern) => write!(f, "wwid \"{}\"", pattern.written),
            Self::Property(pattern) => write!(f, "property \"{}\"", pattern.written),
            Self::Protocol(pattern) => write!(f, "protocol \"{}\"", pattern.written),
            Self::Device { vendor, product } => {
                f.write_str("device")?;
                let parts = [("vendor", vendor), ("product", product)];
                parts.iter().try_for_each(|(name, pattern)| match pattern {
                    Some(pattern) => write!(f, " {name} \"{}\"", pattern.written),
                    None => Ok(()),
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk() -> Candidate {
        Candidate {
            name: "sdb".into(),
            vendor: Some("VMware".into()),
            product: Some("Virtual disk".into()),
            wwid: Some("36000c29aa".into()),
            protocols: vec!["scsi:unspec"],
            properties: ["DEVNAME", "ID_SERIAL", "ID_WWN"].map(str::to_owned).into(),
        }
    }

    /// The row that hides the disk, given a main file and a drop-in.
    fn hidden_by(main: &str, drop_in: &str) -> Option<(String, usize)> {
        let files = [("main", main), ("drop-in", drop_in)];
        let files = files.map(|(path, text)| BlacklistFile { path, text });
        Blacklist::parse(files).hides(&disk()).map(|found| (found.file, found.line))
    }

    fn section(name: &str, rows: &str) -> String {
        format!("{name} {{\n{rows}\n}}\n")
    }

    #[test]
    fn each_kind_of_row_hides_what_it_matches() {
        for (rows, is_hidden) in [
            ("devnode \"^sd[a-z]\"", true),
            ("devnode \"^(hd|vd)[a-z]\"", false),
            ("devnode \"!^sda$\"", true),
            ("devnode \"!^sd\"", false),
            ("devnode *", true),
            ("wwid 36000c29aa", true),
            ("wwid \"^36000c29a$\"", false),
            ("wwid \".*\"", true),
            ("protocol \"scsi:unspec\"", true),
            ("protocol \"scsi:fcp\"", false),
            ("property ID_WWN", true),
            ("property \"ID_ATA\"", false),
            ("device {\nvendor VMware\nproduct \"Virtual disk\"\n}", true),
            ("device {\nvendor \"VMware\"\n}", true),
            ("device {\nproduct \".*\"\n}", true),
            ("device {\nvendor VMware\nproduct LUNZ\n}", false),
            ("device {\nvendor IBM\n}\ndevice {\nproduct LUNZ\n}", false),
            ("device {\nvendor IBM\n}\ndevice {\nproduct Virtual\n}", true),
            ("wwid \"(\"", false),
            ("wwid \"[[:xdigit:]]{4}\"", true),
        ] {
            let found = hidden_by(&section("blacklist", rows), "");
            assert_eq!(found.is_some(), is_hidden, "{rows}: {found:?}");
        }
    }

    #[test]
    fn an_exception_lifts_rows_of_its_own_kind() {
        let device = section("blacklist", "device {\nvendor VMware\nproduct .*\n}");
        for (exception, is_hidden) in [
            ("device {\nvendor VMware\nproduct \"Virtual disk\"\n}", false),
            ("device {\nvendor IBM\n}", true),
            ("wwid 36000c29aa", true),
            ("devnode sdb", true),
        ] {
            let exception = section("blacklist_exceptions", exception);
            assert_eq!(hidden_by(&device, &exception).is_some(), is_hidden, "{exception}");
        }
    }

    #[test]
    fn where_properties_are_exceptions_a_disk_needs_one_of_them() {
        let exception = |name: &str| section("blacklist_exceptions", &format!("property {name}"));
        assert_eq!(hidden_by(&exception("ID_ATA"), ""), Some(("main".into(), 2)));
        assert_eq!(hidden_by(&exception("ID_WWN"), ""), None);
        // ID_SERIAL comes first.
        let both = exception("ID_WWN") + &section("blacklist", "property ID_SERIAL");
        assert_eq!(hidden_by(&both, ""), Some(("main".into(), 5)));
    }

    #[test]
    fn the_row_is_told_with_file_and_line_and_what_lifts_it() {
        let text = "defaults {\n}\nblacklist {\n\tdevice {\n\t\tvendor \"VMware\"\n\
                    \t\tproduct \"Virtual disk\"\n\t}\n}\n";
        let found =
            Blacklist::parse([BlacklistFile { path: "/etc/multipath.conf", text }]).hides(&disk());
        let found = found.unwrap();
        assert_eq!(
            found.to_string(),
            "line 5 of /etc/multipath.conf (blacklist: device vendor \"VMware\" \
             product \"Virtual disk\")"
        );
        assert_eq!(found.exception, "device { vendor \"VMware\" product \"Virtual disk\" }");
    }
}
