//! Text and file names in the encoding that a VMware file declares. Their positions in the file,
//! and whether the named file exists, are not known here.

use std::fmt;
use std::path::{Path, PathBuf};

use encoding_rs::Encoding;

use system::lossless_text;

/// The encoding that VMware calls `label` (`.encoding` of a .vmx, `encoding` of a descriptor): a
/// name of the WHATWG Encoding Standard, or a Windows code page by its number. `None` for UTF-8,
/// and for unknown names.
fn of_label(label: &[u8]) -> Option<&'static Encoding> {
    let known = Encoding::for_label(label).or_else(|| {
        let label = label.to_ascii_lowercase();
        let starts = [&b"windows-"[..], b"cp", b"ms", b"ibm-"];
        let number = starts.iter().find_map(|start| label.strip_prefix(*start)).unwrap_or(&label);
        let name: &[u8] = match number {
            b"932" | b"943" => b"shift_jis",
            b"936" | b"1386" => b"gbk",
            b"949" | b"1363" => b"euc-kr",
            b"950" | b"1373" => b"big5",
            b"1250" | b"1251" | b"1252" | b"1253" | b"1254" | b"1255" | b"1256" | b"1257"
            | b"1258" => return Encoding::for_label(&[b"windows-", number].concat()),
            _ => return None,
        };
        Encoding::for_label(name)
    });
    known.filter(|encoding| *encoding != encoding_rs::UTF_8)
}

/// Decodes `bytes` in the encoding called `label`. Bytes that are not valid in it are treated as
/// UTF-8 ([`lossless_text`]), which ESXi writes.
pub fn decode(bytes: &[u8], label: &[u8]) -> String {
    let decoded = of_label(label)
        .and_then(|encoding| encoding.decode_without_bom_handling_and_without_replacement(bytes));
    decoded.map_or_else(|| lossless_text::from_bytes(bytes), |text| text.into_owned())
}

/// The name of a file as it appears in another file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileName {
    text: String,
    bytes: Vec<u8>,
    encoding: Option<&'static Encoding>,
}

impl FileName {
    /// Decodes the name `bytes` in the encoding called `label`.
    pub fn new(bytes: &[u8], label: &[u8]) -> Self {
        let text = decode(bytes, label);
        Self { text, bytes: bytes.to_vec(), encoding: of_label(label) }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is a path on a Windows drive or share, or not a valid path at all.
    pub(crate) fn is_elsewhere(&self) -> bool {
        let has_drive = self.text.as_bytes().get(1) == Some(&b':');
        has_drive || self.text.starts_with("\\\\") || self.text.contains('\0')
    }

    /// Whether it locates the file independently of the folder it is named in.
    pub fn is_absolute(&self) -> bool {
        self.is_elsewhere() || self.text.starts_with(['/', '\\'])
    }

    /// The same file name in another folder: the last part of the path.
    #[must_use]
    pub(crate) fn last_part(&self) -> Self {
        let text = self.text.rsplit(['/', '\\']).next().unwrap_or_default();
        Self { text: text.to_owned(), bytes: self.in_encoding(text), encoding: self.encoding }
    }

    /// The possible paths relative to `folder`: a directory has the name as UTF-8 if the system
    /// that created it uses UTF-8, and byte for byte if it was copied from one that does not. Never
    /// empty.
    pub fn paths(&self, folder: &Path) -> Vec<PathBuf> {
        let text = self.text.replace('\\', "/");
        let raw = lossless_text::from_bytes(self.in_encoding(&text));
        let mut paths = vec![folder.join(&text), folder.join(&raw)];
        paths.dedup();
        paths
    }

    /// `text`, which is this name or a part of it, in the bytes of the file. If the encoding has
    /// two ways to write a character, the bytes may differ, so the name itself is returned as it
    /// was read.
    fn in_encoding(&self, text: &str) -> Vec<u8> {
        if text == self.text {
            return self.bytes.clone();
        }
        match self.encoding {
            // A backslash can be the second byte of a character, so only the text is searched for
            // it.
            Some(encoding) => encoding.encode(text).0.into_owned(),
            None => lossless_text::to_bytes(text),
        }
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_label_of_vmwares_reads_its_encoding() {
        let rows: [(&str, &[u8], &str); 12] = [
            ("GBK", b"\xCA\xFD\xBE\xDD", "数据"),
            ("windows-936", b"\xCA\xFD\xBE\xDD", "数据"),
            ("Shift_JIS", b"\x83\x5C\x83\x74\x83\x67", "ソフト"),
            ("windows-932", b"\x83\x5C", "ソ"),
            ("Big5", b"\xB8\xEA\xAE\xC6", "資料"),
            ("EUC-KR", b"\xB5\xA5\xC0\xCC", "데이"),
            ("windows-949", b"\xB5\xA5", "데"),
            ("windows-1251", b"\xC4\xE8\xF1\xEA", "Диск"),
            ("windows-1252", b"B\xFCro \x80", "Büro €"),
            ("ISO-8859-2", b"\xB9", "š"),
            ("UTF-8", "Büro".as_bytes(), "Büro"),
            ("no such", "Büro".as_bytes(), "Büro"),
        ];
        for (label, bytes, text) in rows {
            assert_eq!(decode(bytes, label.as_bytes()), text, "{label}");
        }
        assert_eq!(lossless_text::to_bytes(&decode(b"\xFF\xE9", b"GBK")), b"\xFF\xE9");
    }

    #[test]
    fn a_file_name_is_beside_the_vmx_or_absolute_or_of_another_system() {
        let folder = Path::new("/vm/mt");
        let cases = [
            ("mt.vmdk", Some("/vm/mt/mt.vmdk"), false),
            ("../base/b.vmdk", Some("/vm/mt/../base/b.vmdk"), false),
            ("..\\base\\b.vmdk", Some("/vm/mt/../base/b.vmdk"), false),
            ("/vmfs/volumes/ds/b.vmdk", Some("/vmfs/volumes/ds/b.vmdk"), true),
            ("C:\\VMs\\b.vmdk", None, true),
            ("\\\\server\\share\\b.vmdk", None, true),
            ("a\0b", None, true),
        ];
        for (file, expected, is_absolute) in cases {
            let name = FileName::new(file.as_bytes(), b"");
            assert_eq!(name.is_elsewhere(), expected.is_none(), "{file}");
            assert_eq!(name.is_absolute(), is_absolute, "{file}");
            if let Some(expected) = expected {
                assert_eq!(name.paths(folder), [Path::new(expected)], "{file}");
            }
        }
    }

    #[test]
    fn a_name_is_looked_for_as_utf_8_and_as_its_bytes() {
        let name = FileName::new(b"..\\\x83\x5C\\\x83\x5C.vmdk", b"Shift_JIS");
        let [text, raw] = &name.paths(Path::new("/vm"))[..] else { panic!("{name:?}") };
        assert_eq!(text, Path::new("/vm/../ソ/ソ.vmdk"));
        let raw = lossless_text::to_bytes(&lossless_text::of_path(raw));
        assert_eq!(raw, b"/vm/../\x83\x5C/\x83\x5C.vmdk");
        assert_eq!(name.last_part(), FileName::new(b"\x83\x5C.vmdk", b"Shift_JIS"));
    }
}
