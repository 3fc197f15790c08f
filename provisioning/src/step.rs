//! The steps of `prepare`, the actions a step may take, and what became of them: values only.
//! Which actions are needed is decided in `plan`; carrying them out is `apply`.

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
    /// Packages.
    Packages,
    /// Filesystem support in kernel and tools.
    Filesystems,
    /// The multipath policy.
    Multipath,
    /// LVM, software RAID and udisks keep off attached disks.
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

/// A file that gets new text ([`crate::lossless_text`]). `before` is what was there when it was
/// looked at: applying compares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileChange {
    /// The path, as seen from inside the system being prepared.
    pub path: PathBuf,
    /// Its text now; `None` when there is no such file.
    pub before: Option<String>,
    /// Its text afterwards.
    pub after: String,
}

/// Why the content of a disk may be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Consent {
    /// There is no content.
    Blank,
    /// The operator named this disk with --destroy.
    Destroy,
    /// An earlier run began to format exactly this disk and did not end.
    Unfinished,
}

/// A disk to be formatted, as it was when the plan was made; applying compares again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Format {
    /// The device node.
    pub path: PathBuf,
    /// What recognises the disk.
    pub disk: DiskIdentity,
    /// Major and minor number.
    pub device_number: (u32, u32),
    /// The kernel's number of this attachment.
    pub diskseq: Option<u64>,
    /// Capacity.
    pub size_bytes: u64,
    /// The signature on it.
    pub signature: Signature,
    /// What was read of a blank disk, and is zero.
    pub proof: Option<Proof>,
    /// Why this is allowed.
    pub consent: Consent,
    /// What is made.
    pub filesystem: RetentionFilesystem,
    /// With which features.
    pub features: Features,
    /// The UUID it gets.
    pub uuid: Uuid,
}

/// One thing that is done to the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Replace or make a file of the system being prepared.
    WriteFile(FileChange),
    /// Set disk.EnableUUID in the .vmx that the operator named on the running machine. The texts
    /// are for showing: the file is read again when it is done.
    FixVmx(FileChange),
    /// Write a kernel attribute below /sys or /proc/sys.
    SetAttribute {
        /// The attribute.
        path: PathBuf,
        /// Its value now.
        before: String,
        /// Its value afterwards.
        after: String,
    },
    /// Install packages.
    Install {
        /// With this tool.
        manager: PackageManager,
        /// These.
        packages: Vec<String>,
        /// Whose tool and database.
        root: PackageRoot,
    },
    /// Run a command that changes no state of its own but makes a file take effect.
    Run {
        /// The command.
        invocation: Invocation,
        /// What it is for.
        purpose: String,
    },
    /// Note that the initramfs has to be rebuilt, before a file changes that it has a copy of.
    NoteInitramfsDue,
    /// Rebuild the initramfs of every kernel, and note that it is not due any more.
    RebuildInitramfs(Invocation),
    /// Make the retention filesystem.
    Format(Box<Format>),
    /// Remember the retention volume that is there, and forget a format that was cut off.
    Adopt(RetentionRecord),
    /// Make a directory.
    MakeDirectory(PathBuf),
    /// Check and mount the retention volume by its fstab row, and prove that a boot will.
    Mount {
        /// Where.
        mount_point: PathBuf,
        /// What it is.
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
            Self::NoteInitramfsDue => f.write_str("note that the initramfs has to be rebuilt"),
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
                "{1}mount UUID={uuid} on {0}; prove it by umount {0} and mount -a",
                mount_point.display(),
                if filesystem.is_checked_by_fsck() { "check and " } else { "" }
            ),
            Self::RunOnce { path, .. } => write!(f, "run {} once", path.display()),
        }
    }
}

fn write_format(f: &mut fmt::Formatter<'_>, format: &Format) -> fmt::Result {
    let Format { path, disk, size_bytes, filesystem, uuid, .. } = format;
    let size = crate::size::binary(*size_bytes);
    match format.consent {
        Consent::Blank => write!(f, "format the blank disk ")?,
        Consent::Destroy => write!(f, "DESTROY THE CONTENT ({}) and format ", format.signature)?,
        Consent::Unfinished => write!(f, "format again, as an earlier run was cut off, ")?,
    }
    write!(f, "{} ({size}, {disk}) as {filesystem} with UUID {uuid}", path.display())?;
    format.proof.as_ref().map_or(Ok(()), |proof| write!(f, "; looked at: {proof}"))
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Nothing had to be done, or nothing was tried.
    Unchanged,
    /// Something was done.
    Changed,
    /// A guard said no.
    Refused,
    /// It was tried and failed, or the host is not what it has to be.
    Failed,
}

/// A step and what it came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StepReport {
    /// The step.
    pub id: StepId,
    /// What it came to.
    pub outcome: Outcome,
    /// In words, with a hint where there is one.
    pub detail: String,
}

/// What a whole run came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// How many steps changed something.
    pub changed: usize,
    /// Every step that was looked at.
    pub steps: Vec<StepReport>,
    /// Whether the host has to be restarted before all of it is in effect.
    pub reboot_required: bool,
}

impl FileChange {
    /// The change as `diff -u` prints it, three lines of context.
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
