//! Which features a new filesystem gets: on the running host whatever its mkfs makes by default, in
//! an image only what the oldest of its kernels can mount and its own tools can check. Decided by
//! versions, not by names of distributions: a kernel with a backported feature merely goes without
//! it.

use std::fmt;

use serde::{Serialize, Serializer};

use super::retention_filesystem::RetentionFilesystem;

/// A version of a kernel or of tools: major, minor, patch; missing numbers are 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32, pub u32);

impl Version {
    /// The version at the beginning of a text such as `4.14.35-2047.el7uek.x86_64`. At least two
    /// numbers are required.
    pub fn leading(text: &str) -> Option<Self> {
        let end = text.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(text.len());
        let mut numbers = text[..end].split('.').map(str::parse);
        let (major, minor) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        Some(Self(major, minor, numbers.next().and_then(Result::ok).unwrap_or(0)))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The software of a system that will mount and check the filesystem; `None` if it is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Readers {
    /// Its oldest kernel.
    pub kernel: Option<Version>,
    /// e2fsprogs.
    pub e2fsprogs: Option<Version>,
    /// xfsprogs.
    pub xfsprogs: Option<Version>,
    /// The ext4 features in its own mke2fs.conf(5), if it has that file.
    pub ext4_by_default: Option<Vec<String>>,
}

/// The tools that make the filesystem: those of the running host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Makers {
    /// e2fsprogs.
    pub e2fsprogs: Option<Version>,
    /// xfsprogs.
    pub xfsprogs: Option<Version>,
}

/// Which features a new filesystem may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Features {
    /// Whatever mkfs makes by default.
    Current,
    /// An ext4 with the features that Linux 2.6.32 and e2fsprogs 1.41 support, and these.
    Ext4 {
        /// `64bit`: more than 16 TiB.
        is_64bit: bool,
        /// `metadata_csum`.
        has_checksums: bool,
    },
    /// An XFS without the features that its readers do not support.
    Xfs {
        /// The oldest kernel.
        kernel: Version,
        /// The xfsprogs that check it.
        tools: Version,
        /// The xfsprogs that make it, which have no options for later features.
        maker: Version,
    },
}

/// What is not known, so that a filesystem is not made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// Which kernel mounts it.
    Kernel,
    /// Which tools check it.
    Tools,
    /// Which tools make it.
    Makers,
    /// The kernel or the tools cannot use any filesystem made today; in words.
    TooOld(String),
}

/// ext4(5), table of kernels: 64bit 2.6.28, metadata_csum 3.18 (experimental from 3.5 to 3.17).
/// e2fsprogs 1.42 and 1.43 are the first that check such filesystems.
const SIXTY_FOUR_BIT: Feature = feature("64bit", Version(2, 6, 28), Version(1, 42, 0));
const CHECKSUMS: Feature = feature("metadata_csum", Version(3, 18, 0), Version(1, 43, 0));

/// The oldest versions that support version 5 of the XFS format, the default of mkfs.xfs since
/// 3.2.3.
const XFS_5: Feature = feature("crc", Version(3, 10, 0), Version(3, 2, 0));

/// Features of XFS that mkfs.xfs enables by default, or will, with its option for each: the kernel
/// in which it stopped being experimental (mkfs.xfs(8), the kernel's log of fs/xfs), and the first
/// xfsprogs that have it.
const XFS: [(&str, Feature); 10] = [
    ("-m", feature("finobt", Version(3, 16, 0), Version(3, 2, 1))),
    ("-m", feature("rmapbt", Version(4, 16, 0), Version(4, 9, 0))),
    ("-m", feature("reflink", Version(4, 16, 0), Version(4, 9, 0))),
    ("-m", feature("bigtime", Version(5, 10, 0), Version(5, 10, 0))),
    ("-m", feature("inobtcount", Version(5, 10, 0), Version(5, 10, 0))),
    ("-m", feature("metadir", Version(6, 13, 0), Version(6, 13, 0))),
    ("-i", feature("sparse", Version(4, 2, 0), Version(4, 2, 0))),
    ("-i", feature("nrext64", Version(6, 5, 0), Version(6, 0, 0))),
    ("-i", feature("exchange", Version(6, 10, 0), Version(6, 10, 0))),
    ("-n", feature("parent", Version(6, 10, 0), Version(6, 10, 0))),
];

struct Feature {
    name: &'static str,
    kernel: Version,
    tools: Version,
}

const fn feature(name: &'static str, kernel: Version, tools: Version) -> Feature {
    Feature { name, kernel, tools }
}

impl Features {
    /// The features that `readers` support and `makers` can make.
    ///
    /// # Errors
    /// Names what is not known if no choice of features is safe.
    pub fn for_readers(
        filesystem: RetentionFilesystem,
        readers: &Readers,
        makers: &Makers,
    ) -> Result<Self, Unknown> {
        match filesystem {
            RetentionFilesystem::Ext4 => Ok(Self::Ext4 {
                is_64bit: is_ext4_feature(&SIXTY_FOUR_BIT, readers, makers),
                has_checksums: is_ext4_feature(&CHECKSUMS, readers, makers),
            }),
            RetentionFilesystem::Xfs => {
                let kernel = readers.kernel.ok_or(Unknown::Kernel)?;
                let tools = readers.xfsprogs.ok_or(Unknown::Tools)?;
                let maker = makers.xfsprogs.ok_or(Unknown::Makers)?;
                if kernel < XFS_5.kernel {
                    return Err(Unknown::TooOld(format!("Linux {kernel}")));
                }
                if tools < XFS_5.tools {
                    return Err(Unknown::TooOld(format!("xfsprogs {tools}")));
                }
                Ok(Self::Xfs { kernel, tools, maker })
            }
        }
    }

    /// The most that a filesystem with these features can hold, in bytes: without 64bit, block
    /// numbers have 32 bits.
    pub(crate) fn bytes_max(self) -> Option<u64> {
        match self {
            Self::Ext4 { is_64bit: false, .. } => Some((1 << 32) * 4096),
            Self::Ext4 { is_64bit: true, .. } | Self::Xfs { .. } | Self::Current => None,
        }
    }

    /// The options of mkfs that select these features.
    pub(super) fn options(self, filesystem: RetentionFilesystem) -> Vec<String> {
        match (self, filesystem) {
            (Self::Ext4 { is_64bit, has_checksums }, RetentionFilesystem::Ext4) => {
                ext4_options(is_64bit, has_checksums)
            }
            (Self::Xfs { kernel, tools, maker }, RetentionFilesystem::Xfs) => {
                xfs_options(kernel, tools, maker)
            }
            // Features of one filesystem do not apply to the other.
            (Self::Current | Self::Ext4 { .. } | Self::Xfs { .. }, _) => Vec::new(),
        }
    }
}

/// Supported by the kernel and the tools, and listed in the system's own mke2fs.conf if there is
/// one: an administrator who removed a feature from it had a reason.
fn is_ext4_feature(feature: &Feature, readers: &Readers, makers: &Makers) -> bool {
    let is_new = |found: Option<Version>, needed| found.is_some_and(|found| found >= needed);
    let listed = readers.ext4_by_default.as_ref();
    let listed = listed.map(|names| names.iter().any(|name| name == feature.name));
    let is_known_to_tools = match listed {
        Some(is_listed) => is_listed && readers.e2fsprogs.is_none_or(|it| it >= feature.tools),
        None => is_new(readers.e2fsprogs, feature.tools),
    };
    is_new(readers.kernel, feature.kernel)
        && is_known_to_tools
        && is_new(makers.e2fsprogs, feature.tools)
}

/// `none` comes first, so that nothing is added by the mke2fs.conf of the host that makes it.
fn ext4_options(is_64bit: bool, has_checksums: bool) -> Vec<String> {
    let mut names = vec![
        "none",
        "has_journal",
        "ext_attr",
        "resize_inode",
        "dir_index",
        "filetype",
        "extent",
        "flex_bg",
        "sparse_super",
        "large_file",
        "huge_file",
        "dir_nlink",
        "extra_isize",
    ];
    names.extend(is_64bit.then_some(SIXTY_FOUR_BIT.name));
    // One kind of checksum replaces the other.
    names.push(if has_checksums { CHECKSUMS.name } else { "uninit_bg" });
    vec!["-O".to_owned(), names.join(",")]
}

/// Turns off only features that mkfs has an option for: it cannot make the ones it does not know.
fn xfs_options(kernel: Version, tools: Version, maker: Version) -> Vec<String> {
    let is_off = |one: &Feature| maker >= one.tools && (kernel < one.kernel || tools < one.tools);
    let mut options = Vec::new();
    for section in ["-m", "-i", "-n"] {
        let of_section = XFS.iter().filter(|(one, _)| *one == section).map(|(_, one)| one);
        let off: Vec<String> =
            of_section.filter(|one| is_off(one)).map(|one| format!("{}=0", one.name)).collect();
        if !off.is_empty() {
            options.extend([section.to_owned(), off.join(",")]);
        }
    }
    options
}

/// The features of an ext4 in a mke2fs.conf(5): those of `[defaults]` and those of `ext4` itself.
pub(crate) fn ext4_by_default(mke2fs_conf: &str) -> Vec<String> {
    let (mut place, mut section) = (String::new(), String::new());
    let mut found = Vec::new();
    for row in mke2fs_conf.lines().map(|row| row.split(['#', ';']).next().unwrap_or_default()) {
        let row = row.trim();
        if let Some(name) = row.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            name.trim().clone_into(&mut section);
            place.clear();
        } else if let Some((name, "{")) = row.split_once('=').map(|(n, v)| (n.trim(), v.trim())) {
            name.clone_into(&mut place);
        } else if row == "}" {
            place.clear();
        } else if let Some((name, value)) = row.split_once('=') {
            let is_default = section == "defaults" && place.is_empty();
            let is_ext4 = section == "fs_types" && place == "ext4";
            let counts = match name.trim() {
                "base_features" | "default_features" => is_default || is_ext4,
                "features" => is_ext4,
                _ => false,
            };
            let names = value.trim().trim_matches('"').split([',', ' ']);
            found.extend(names.filter(|one| counts && !one.is_empty()).map(str::to_owned));
        }
    }
    // `^name` removes a feature that was listed.
    let taken: Vec<String> =
        found.iter().filter_map(|one| one.strip_prefix(['^', '-']).map(str::to_owned)).collect();
    found.retain(|one| !one.starts_with(['^', '-']) && !taken.contains(one));
    found
}

#[cfg(test)]
mod tests;
