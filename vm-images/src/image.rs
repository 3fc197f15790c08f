//! The images that cases boot: their contents, and where they are kept. An image is named after the
//! hash of everything it is made of, built if it is missing, and reused while nothing changes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use nix::fcntl::{Flock, FlockArg};

use crate::packages;
use crate::{kernel, modules, tool};

mod bootable;
mod contents;
mod system;

pub(crate) use contents::KERNEL_ARGUMENTS;
use contents::{AGENT, COMMON, INIT, PRUNED, finish_tree, hash};

/// The variable that names the folder of packages and images; the default is target/vm-images.
pub const CACHE: &str = "MTCTL_VM_CACHE";

/// The image that a case boots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Kernel 6.1 of Debian 12; udev and the tools of file systems, multipath and SCSI.
    Debian,
    /// The same with kernel 6.12, which has kernel.io_uring_disabled and ublk.
    DebianNewKernel,
    /// A system on a disk, with systemd, dnf and an RPM database, which claims to be a CentOS.
    CentosLike,
    /// The same on a disk with a boot loader, a login, and `mtctl prepare` at its first boot.
    Bootable,
}

impl Kind {
    /// All images, in the order in which they are built.
    pub const ALL: [Self; 4] =
        [Self::Debian, Self::DebianNewKernel, Self::CentosLike, Self::Bootable];

    /// Its name in tables and file names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Debian => "debian",
            Self::DebianNewKernel => "debian-6.12",
            Self::CentosLike => "centos-like",
            Self::Bootable => "bootable",
        }
    }
}

/// A bootable image.
#[derive(Clone, Debug)]
pub struct Image {
    /// What QEMU starts; `None` if the machine boots from the disk with the system.
    pub started: Option<Started>,
    /// The disk with the system, of which copy-on-write copies are made; `None` if there is only
    /// the initramfs.
    pub system: Option<PathBuf>,
}

/// What QEMU starts directly, without BIOS and boot loader.
#[derive(Clone, Debug)]
pub struct Started {
    /// The ELF kernel.
    pub kernel: PathBuf,
    /// The initramfs, LZ4.
    pub initramfs: PathBuf,
}

/// Additional packages of the test VMs that consist of an initramfs.
const MORE: &[&str] = &["btrfs-progs", "reiserfsprogs", "dosfstools", "xxd"];

/// The folder of packages and images.
pub fn cache() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    std::env::var_os(CACHE).map_or_else(|| workspace.join("target/vm-images"), PathBuf::from)
}

/// The programs of the host that images are built with.
pub const BUILT_WITH: [&str; 13] = [
    "apt-get",
    "apt-cache",
    "dpkg-deb",
    "tar",
    "cpio",
    "lz4",
    "depmod",
    "modprobe",
    "mkfs.ext4",
    "sfdisk",
    "rpm",
    "rpmbuild",
    "createrepo_c",
];

/// Returns the image `kind`, which is built if it does not exist; `say` is called before slow
/// steps.
///
/// # Errors
///
/// Packages are not available, or there is no space.
pub fn get(kind: Kind, say: &dyn Fn(&str)) -> Result<Image> {
    let cache = cache();
    fs::create_dir_all(&cache).with_context(|| format!("making {}", cache.display()))?;
    // If two programs need one image, it is built once.
    let lock = File::create(cache.join("lock")).context("making the lock of the images")?;
    let _lock = Flock::lock(lock, FlockArg::LockExclusive)
        .map_err(|(_, errno)| errno)
        .context("locking the images")?;
    let kernel = get_kernel(kind, &cache, say)?;
    let initramfs = get_initramfs(&kernel, &cache, say)?;
    let system = match kind {
        Kind::Debian | Kind::DebianNewKernel => None,
        Kind::CentosLike => Some(system::get(&kernel, &cache, say)?),
        Kind::Bootable => {
            let system = Some(bootable::get(&kernel, &initramfs, &cache, say)?);
            return Ok(Image { started: None, system });
        }
    };
    let started = Started { kernel: kernel.0.join("vmlinux"), initramfs };
    Ok(Image { started: Some(started), system })
}

/// The unpacked package of a kernel, with its `vmlinux`, and its version.
fn get_kernel(kind: Kind, cache: &Path, say: &dyn Fn(&str)) -> Result<(PathBuf, String)> {
    let (begin, end) = match kind {
        Kind::Debian | Kind::CentosLike | Kind::Bootable => ("linux-image-6.1.0-", "-amd64"),
        Kind::DebianNewKernel => ("linux-image-6.12.", "+deb12-amd64"),
    };
    let name = packages::newest(begin, end)?;
    let version = name.trim_start_matches("linux-image-").to_owned();
    let into = cache.join(&name);
    if !into.join("vmlinux").exists() {
        say(&format!("{name}: fetching and unpacking it"));
        let package = packages::fetch_alone(&name, &cache.join("packages"))?;
        making(&into, |tree| {
            tool::run("dpkg-deb", &["-x".as_ref(), package.as_os_str(), tree.as_os_str()])?;
            let image = fs::read(tree.join(format!("boot/vmlinuz-{version}")))?;
            Ok(fs::write(tree.join("vmlinux"), kernel::Payload::locate(&image)?.vmlinux()?)?)
        })?;
    }
    Ok((into, version))
}

/// The initramfs with the modules of this kernel.
fn get_initramfs(
    (kernel, version): &(PathBuf, String),
    cache: &Path,
    say: &dyn Fn(&str),
) -> Result<PathBuf> {
    let archives = cache.join("packages");
    let names = [COMMON, MORE].concat();
    let packages = packages::resolve(&names)?;
    let hash = hash(&packages, &[version, INIT, AGENT, PRUNED, &modules::WANTED.join(" ")]);
    let into = cache.join(format!("initramfs-{version}-{hash}"));
    if !into.exists() {
        say(&format!("initramfs of {version}: {} packages", packages.len()));
        packages::fetch(&names, &archives)?;
        let tree = tempfile::tempdir_in(cache)?;
        packages::tree(&packages, &archives, tree.path())?;
        let prune = format!("cd \"$1\" && rm -rf {PRUNED}");
        tool::script(&prune, &[tree.path()])?;
        modules::copy(kernel, version, tree.path())?;
        finish_tree(tree.path())?;
        let part = into.with_extension("part");
        // The kernel requires LZ4's legacy frame.
        let pack = "cd \"$1\" && find . -print0 | cpio -o -0 -H newc -R 0:0 --quiet | \
                    lz4 -q -l -1 - \"$2\"";
        let _ = fs::remove_file(&part);
        tool::script(pack, &[tree.path(), &part])?;
        fs::rename(part, &into)?;
    }
    Ok(into)
}

/// Makes the folder `into` by filling another one first: an existing folder is complete.
fn making(into: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let part = into.with_extension("part");
    let _ = fs::remove_dir_all(&part);
    fs::create_dir_all(&part)?;
    fill(&part)?;
    fs::rename(&part, into).with_context(|| format!("making {}", into.display()))
}

/// The size of the image `kind`, and the time it took to get it, for people.
///
/// # Errors
///
/// As [`get`].
pub fn describe(kind: Kind, say: &dyn Fn(&str)) -> Result<String> {
    let begun = Instant::now();
    let image = get(kind, say)?;
    let mib = |path: &Path| fs::metadata(path).map(|found| found.len() >> 20);
    let parts = [
        ("kernel", image.started.as_ref().map(|started| &started.kernel)),
        ("initramfs", image.started.as_ref().map(|started| &started.initramfs)),
        ("system", image.system.as_ref()),
    ];
    let mut text = format!("{:12} ", kind.name());
    for (name, path) in parts {
        if let Some(path) = path {
            text += &format!("{name} {} MiB, ", mib(path)?);
        }
    }
    Ok(text + &format!("ready in {:.1} s", begun.elapsed().as_secs_f64()))
}
