//! The steps of `prepare`, the actions a step may take, and their outcomes: values only. `plan`
//! decides which actions are needed; `apply` carries them out.

use std::fmt;
use std::path::PathBuf;

use serde::{Serialize, Serializer};
use uuid::Uuid;

use crate::blank::Proof;
use crate::disk::DiskIdentity;
use crate::filesystem::{Features, RetentionFilesystem, Signature};
use crate::host::Invocation;
use crate::packages::{PackageManager, PackageRoot};
use crate::record::RetentionRecord;

/// The steps, in the order in which they are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StepId {
    /// Distribution, kernel, memory, cores, root.
    Platform,
    /// Every SCSI disk has an id, and no two share one.
    ScsiIds,
    /// disk.EnableUUID is in effect.
    EnableUuid,
    /// Required packages are installed.
    Packages,
    /// Filesystem support in kernel and tools.
    Filesystems,
    /// The multipath policy.
    Multipath,
    /// LVM, software RAID and udisks stay off attached disks.
    Lvm,
    /// The retention volume.
    Retention,
    /// io_uring, disk timeouts, scheduler, kernel updates.
    Tuning,
    /// The site's own changes, each once.
    CustomChanges,
    /// Whether a restart is needed.
    Reboot,
}

impl StepId {
    /// All steps in order.
    pub const ALL: [Self; 11] = [
        Self::Platform,
        Self::ScsiIds,
        Self::EnableUuid,
        Self::Packages,
        Self::Filesystems,
        Self::Multipath,
        Self::Lvm,
        Self::Retention,
        Self::Tuning,
        Self::CustomChanges,
        Self::Reboot,
    ];

    /// The name used in options and output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Platform => "platform",
            Self::ScsiIds => "scsi-ids",
            Self::EnableUuid => "enable-uuid",
            Self::Packages => "packages",
            Self::Filesystems => "filesystems",
            Self::Multipath => "multipath",
            Self::Lvm => "lvm",
            Self::Retention => "retention",
            Self::Tuning => "tuning",
            Self::CustomChanges => "custom-changes",
            Self::Reboot => "reboot",
        }
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for StepId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// A file that gets new text ([`system::lossless_text`]). `before` is its text when the host was
/// observed: applying compares the file with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileChange {
    /// The path, as seen from inside the system being prepared.
    pub path: PathBuf,
    /// Its current text; `None` if the file does not exist.
    pub before: Option<String>,
    /// Its text afterwards.
    pub after: String,
}

/// Why the content of a disk may be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Consent {
    /// It has no content.
    Blank,
    /// The operator named this disk with --destroy.
    Destroy,
    /// An earlier run began to format exactly this disk and did not finish.
    Unfinished,
}

/// A disk to be formatted, as it was when the plan was made; applying compares again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Format {
    /// The device node.
    pub path: PathBuf,
    /// What identifies the disk.
    pub disk: DiskIdentity,
    /// Major and minor number.
    pub device_number: (u32, u32),
    /// The kernel's number of this attachment.
    pub diskseq: Option<u64>,
    /// Capacity.
    pub size_bytes: u64,
    /// The signature on it.
    pub signature: Signature,
    /// What was read of a blank disk and found to be zero.
    pub proof: Option<Proof>,
    /// Why this is allowed.
    pub consent: Consent,
    /// The filesystem to make.
    pub filesystem: RetentionFilesystem,
    /// The features of the filesystem.
    pub features: Features,
    /// The UUID of the filesystem.
    pub uuid: Uuid,
}

/// One action on the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Replace or create a file of the system being prepared.
    WriteFile(FileChange),
    /// Set disk.EnableUUID in the .vmx that the operator named on the running machine. The texts
    /// are for display: the file is read again when the action is carried out.
    FixVmx(FileChange),
    /// Write a kernel attribute below /sys or /proc/sys.
    SetAttribute {
        /// Path of the attribute.
        path: PathBuf,
        /// Its current value.
        before: String,
        /// Its value afterwards.
        after: String,
    },
    /// Install packages.
    Install {
        /// The package tool.
        manager: PackageManager,
        /// Their names.
        packages: Vec<String>,
        /// Whose tool and database are used.
        root: PackageRoot,
    },
    /// Run a command that changes no state of its own but makes a file take effect.
    Run {
        /// The command.
        invocation: Invocation,
        /// What it is for.
        purpose: String,
    },
    /// Record that the initramfs has to be rebuilt, before a file changes that it contains a copy
    /// of.
    NoteInitramfsDue,
    /// Rebuild the initramfs of every kernel, and record that no rebuild is due.
    RebuildInitramfs(Invocation),
    /// Make the retention filesystem.
    Format(Box<Format>),
    /// Record the existing retention volume, and forget a format that was interrupted.
    Adopt(RetentionRecord),
    /// Create a directory.
    MakeDirectory(PathBuf),
    /// Check and mount the retention volume by its fstab row, and prove that a boot will mount it.
    Mount {
        /// The mount point.
        mount_point: PathBuf,
        /// The kind of filesystem.
        filesystem: RetentionFilesystem,
        /// The filesystem's UUID.
        uuid: String,
        /// The disk that carries it.
        device: PathBuf,
    },
    /// Run one of the site's own changes.
    RunOnce {
        /// The script.
        path: PathBuf,
        /// SHA-256 of its content, in hexadecimal digits.
        sha256: String,
    },
}

impl fmt::Display for Action {
    /// One sentence for the operator, without a full stop.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WriteFile(change) | Self::FixVmx(change) => {
                let verb = if change.before.is_some() { "edit" } else { "make" };
                write!(f, "{verb} {}", change.path.display())
            }
            Self::SetAttribute { path, before, after } => {
                write!(f, "set {} from {before} to {after}", path.display())
            }
            Self::Install { packages, .. } => write!(f, "install {}", packages.join(" ")),
            Self::Run { invocation, purpose } => write!(f, "run {invocation} ({purpose})"),
            Self::NoteInitramfsDue => f.write_str("record that the initramfs must be rebuilt"),
            Self::RebuildInitramfs(invocation) => {
                write!(f, "run {invocation} (the initramfs has copies of these files)")
            }
            Self::Format(format) => write_format(f, format),
            Self::Adopt(volume) => {
                write!(
                    f,
                    "remember UUID={} on {} as the retention volume",
                    volume.uuid, volume.disk
                )
            }
            Self::MakeDirectory(path) => write!(f, "make directory {}", path.display()),
            Self::Mount { mount_point, filesystem, uuid, .. } => write!(
                f,
                "{1}mount UUID={uuid} on {0}; verify with umount {0} and mount -a",
                mount_point.display(),
                if filesystem.is_checked_by_fsck() { "check and " } else { "" }
            ),
            Self::RunOnce { path, .. } => write!(f, "run {} once", path.display()),
        }
    }
}

fn write_format(f: &mut fmt::Formatter<'_>, format: &Format) -> fmt::Result {
    let Format { path, disk, size_bytes, filesystem, uuid, .. } = format;
    let size = system::size::binary(*size_bytes);
    match format.consent {
        Consent::Blank => write!(f, "format the blank disk ")?,
        Consent::Destroy => write!(f, "DESTROY THE CONTENT ({}) and format ", format.signature)?,
        Consent::Unfinished => write!(f, "format again, because an earlier run was interrupted, ")?,
    }
    write!(f, "{} ({size}, {disk}) as {filesystem} with UUID {uuid}", path.display())?;
    format.proof.as_ref().map_or(Ok(()), |proof| write!(f, "; looked at: {proof}"))
}

/// The outcome of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Nothing had to be done, or nothing was tried.
    Unchanged,
    /// Something was done.
    Changed,
    /// A guard refused.
    Refused,
    /// It was tried and failed, or the host does not meet a requirement.
    Failed,
}

/// A step and its outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StepReport {
    /// The step.
    pub id: StepId,
    /// Its outcome.
    pub outcome: Outcome,
    /// In words, with a hint if there is one.
    pub detail: String,
}

/// The outcome of a whole run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// How many steps changed something.
    pub changed: usize,
    /// Every step that was planned.
    pub steps: Vec<StepReport>,
    /// Whether the host has to be restarted for all changes to take effect.
    pub reboot_required: bool,
}

impl FileChange {
    /// The change in the format of `diff -u`, with three lines of context.
    pub fn unified_diff(&self) -> String {
        let before = self.before.as_deref().unwrap_or_default();
        let path = self.path.display().to_string();
        let old = if self.before.is_some() { path.as_str() } else { "/dev/null" };
        similar::TextDiff::from_lines(before, &self.after)
            .unified_diff()
            .header(old, &path)
            .to_string()
    }
}
