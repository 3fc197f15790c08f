//! The spellings of what a row of fstab(5) mounts: tags, device nodes, udev's links. Which device
//! they mean is not known here.

use system::lossless_text;

/// What a row names, independent of its spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `UUID=…` or /dev/disk/by-uuid/…, in lower case, because FAT's are written in upper case.
    Uuid(String),
    /// `LABEL=…` or /dev/disk/by-label/….
    Label(String),
    /// Anything else that udev has a link for, as that link; and any other path.
    Path(String),
    /// Not a device: a share, `tmpfs`, `none`.
    Other,
}

/// Tags, and the directory of udev's links of that kind.
const TAGS: [(&str, &str); 5] = [
    ("UUID", "/dev/disk/by-uuid/"),
    ("LABEL", "/dev/disk/by-label/"),
    ("PARTUUID", "/dev/disk/by-partuuid/"),
    ("PARTLABEL", "/dev/disk/by-partlabel/"),
    ("ID", "/dev/disk/by-id/"),
];

impl Source {
    /// What `text`, an [`super::Entry::source`], names.
    pub fn parse(text: &str) -> Self {
        let written = text.split_once('=');
        let tag = written.and_then(|(name, value)| {
            let (tag, directory) = TAGS.iter().find(|(tag, _)| *tag == name)?;
            Some((*tag, *directory, value.to_owned()))
        });
        let link = || {
            let in_directory = |(_, directory): &&(&str, &str)| text.starts_with(directory);
            let (tag, directory) = TAGS.iter().find(in_directory)?;
            Some((*tag, *directory, without_escapes(text.strip_prefix(directory)?)))
        };
        match tag.or_else(link) {
            Some(("UUID", _, value)) => Self::Uuid(value.to_ascii_lowercase()),
            Some(("LABEL", _, value)) => Self::Label(value),
            Some((_, directory, value)) => Self::Path(format!("{directory}{value}")),
            None if text.starts_with('/') => Self::Path(text.to_owned()),
            None => Self::Other,
        }
    }
}

/// The source without the quotes that a tag's value may have; quotes in a path are part of it.
pub(super) fn without_quotes(source: String) -> String {
    let is_tag = |name: &str| TAGS.iter().any(|(tag, _)| *tag == name);
    match source.split_once('=') {
        Some((name, value)) if is_tag(name) => {
            format!("{name}={}", value.trim_matches(['"', '\'']))
        }
        _ => source,
    }
}

/// A name made by udev, with every `\xNN` replaced by the byte that it stands for.
fn without_escapes(name: &str) -> String {
    let bytes = name.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let digits = bytes.get(at + 2..at + 4).filter(|_| bytes[at..].starts_with(b"\\x"));
        let escaped = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        plain.push(escaped.unwrap_or(byte));
        at += if escaped.is_some() { 4 } else { 1 };
    }
    lossless_text::from_bytes(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filesystem_is_known_by_each_of_its_spellings() {
        let rows = [
            ("UUID=AB-cd", Source::Uuid("ab-cd".into())),
            ("/dev/disk/by-uuid/ab-cd", Source::Uuid("ab-cd".into())),
            ("LABEL=my disk", Source::Label("my disk".into())),
            ("/dev/disk/by-label/my\\x20disk", Source::Label("my disk".into())),
            ("/dev/disk/by-label/d\\xc3\\xa9p\\x4", Source::Label("dép\\x4".into())),
            ("PARTUUID=1-2", Source::Path("/dev/disk/by-partuuid/1-2".into())),
            ("ID=wwn-0x5", Source::Path("/dev/disk/by-id/wwn-0x5".into())),
            ("/dev/sdb", Source::Path("/dev/sdb".into())),
            ("//server/a=b", Source::Path("//server/a=b".into())),
            ("server:/share", Source::Other),
            ("none", Source::Other),
        ];
        for (text, expected) in rows {
            assert_eq!(Source::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn quotes_belong_to_tags_only() {
        for (written, plain) in [
            ("UUID=\"a-b\"", "UUID=a-b"),
            ("LABEL='x y'", "LABEL=x y"),
            ("/srv/\"x\"=y", "/srv/\"x\"=y"),
        ] {
            assert_eq!(without_quotes(written.to_owned()), plain);
        }
    }
}
