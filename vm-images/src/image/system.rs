//! A complete system: Debian's systemd, dnf and rpm, and the files that make it claim to be a
//! CentOS; and the disk that consists of its root file system only, which the initramfs mounts.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::contents::{AGENT, COMMON, finish_tree, hash};
use crate::packages::{self, Package};
use crate::{modules, tool};

/// The packages that make it a system, beside those of every guest.
const SYSTEM: &[&str] = &["systemd", "dnf", "rpm"];

/// The packages that a master target needs on this release, from the list in
/// `provisioning::packages`.
const STAND_INS: &str = "xfsprogs e2fsprogs dosfstools util-linux lsscsi rsync wget perl mdadm \
    lvm2 kexec-tools open-vm-tools device-mapper-multipath kpartx";

/// Builds the stand-ins and their repository: `$1` is the tree, `$2` a folder to work in. Each is a
/// real RPM with one file; the programs of that name are already in the tree, from Debian.
const REPOSITORY: &str = r#"
mkdir -p "$1/srv/repo"
for name in $3; do
	printf '%s\n' "Name: $name" 'Version: 1' 'Release: 1' 'Summary: Stand-in' 'License: None' \
		'BuildArch: noarch' 'AutoReqProv: no' '%description' 'Stand-in.' '%install' \
		"mkdir -p %{buildroot}/usr/share/stand-in" \
		"echo $name >%{buildroot}/usr/share/stand-in/$name" \
		'%files' "/usr/share/stand-in/$name" >"$2/$name.spec"
	rpmbuild -bb --quiet --define "_topdir $2/top" --define "_rpmdir $1/srv/repo" "$2/$name.spec"
done
createrepo_c --quiet "$1/srv/repo"
rpm --root "$1" --define '_dbpath /var/lib/rpm' --initdb
"#;

/// The UUID of the root file system.
pub(super) const UUID: &str = "5e0f6a52-6d2c-4f0c-8a3e-0a1b2c3d4e5f";
/// Size of the disk in MiB; the file has holes.
pub(super) const MIB: u64 = 1536;

/// Files of the system that are in no package.
const FILES: &[(&str, &str)] = &[
    ("etc/centos-release", "CentOS Linux release 8.5.2111\n"),
    ("etc/redhat-release", "CentOS Linux release 8.5.2111\n"),
    (
        "etc/os-release",
        "NAME=\"CentOS Linux\"\nVERSION=\"8\"\nID=\"centos\"\nID_LIKE=\"rhel fedora\"\n\
         VERSION_ID=\"8\"\nPLATFORM_ID=\"platform:el8\"\nPRETTY_NAME=\"CentOS Linux 8\"\n",
    ),
    ("etc/rpm/macros", "%_dbpath /var/lib/rpm\n"),
    ("etc/machine-id", "0123456789abcdef0123456789abcdef\n"),
    ("etc/fstab", "UUID=5e0f6a52-6d2c-4f0c-8a3e-0a1b2c3d4e5f / ext4 defaults 1 1\n"),
    ("etc/nsswitch.conf", "passwd: files\ngroup: files\n"),
    (
        "etc/yum.repos.d/local.repo",
        "[local]\nname=local\nbaseurl=file:///srv/repo\nenabled=1\ngpgcheck=0\n",
    ),
    (
        "etc/systemd/system/host.mount",
        "[Mount]\nWhat=host\nWhere=/host\nType=9p\n\
         Options=trans=virtio,version=9p2000.L,msize=512000\n",
    ),
    (
        "etc/systemd/system/agent.service",
        "[Unit]\nDescription=Runs what the host asks for\nAfter=local-fs.target\n\
         RequiresMountsFor=/host\n[Service]\nExecStart=/agent\n\
         StandardOutput=journal+console\nKillMode=process\n",
    ),
];

/// A real CentOS rebuilds its initramfs with this. The machine boots one of ours, so this only
/// records that it was called; what dracut makes of the files is not tested here.
const DRACUT: &str = "#!/bin/sh\necho \"$*\" >>/var/log/dracut-calls\n";

/// Accounts that units and udev rules refer to.
const USERS: &str = "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534::/:/usr/sbin/nologin\n";
const MORE_GROUPS: &str = "nogroup:x:65534:\nsystemd-journal:x:999:\nutmp:x:43:\nlp:x:7:\n\
    dialout:x:20:\ntape:x:26:\nadm:x:4:\nusers:x:100:\nshadow:x:42:\n";

/// Links that `systemctl enable`, `mask` and `set-default` would have made.
const LINKS: &[(&str, &str)] = &[
    ("/usr/lib/systemd/system/multi-user.target", "default.target"),
    ("../agent.service", "multi-user.target.wants/agent.service"),
    ("/dev/null", "getty.target"),
    ("/dev/null", "serial-getty@ttyS0.service"),
    ("/dev/null", "systemd-hwdb-update.service"),
    ("/dev/null", "systemd-firstboot.service"),
];

/// Paths in the tree that packages contain and nothing here uses.
const PRUNED: &str = "usr/share/{zoneinfo,icons,pixmaps,applications,menu,reportbug,doc-base,\
    perl*,initramfs-tools,zsh,fish} usr/include usr/lib/udev/hwdb.d usr/lib/systemd/catalog \
    var/lib/dpkg boot home usr/lib/os-release etc/os-release";

/// What a system is made of: these packages, beside those of every system, and the modules of a
/// kernel.
pub(super) struct Recipe<'a> {
    names: Vec<&'a str>,
    found: Vec<Package>,
    kernel: &'a Path,
    version: &'a str,
}

impl<'a> Recipe<'a> {
    /// The recipe as apt currently resolves it.
    pub(super) fn new(more: &[&'a str], (kernel, version): &'a (PathBuf, String)) -> Result<Self> {
        let names = [COMMON, SYSTEM, more].concat();
        Ok(Self { found: packages::resolve(&names)?, names, kernel, version })
    }

    /// A hash of the recipe and of `more` texts.
    pub(super) fn hash(&self, more: &[&str]) -> String {
        let wanted = modules::WANTED.join(" ");
        let own = [self.version, AGENT, PRUNED, &wanted, include_str!("system.rs")];
        hash(&self.found, &[&own[..], more].concat())
    }

    /// The tree of the system, in a folder that is removed on drop.
    pub(super) fn tree(&self, cache: &Path, say: &dyn Fn(&str)) -> Result<TempDir> {
        say(&format!("system of {}: {} packages", self.version, self.found.len()));
        let archives = cache.join("packages");
        packages::fetch(&self.names, &archives)?;
        let tree = tempfile::tempdir_in(cache)?;
        tool::run("chmod", &["755".as_ref(), tree.path().as_os_str()])?;
        packages::tree(&self.found, &archives, tree.path())?;
        tool::script(&format!("cd \"$1\" && rm -rf {PRUNED}"), &[tree.path()])?;
        modules::copy(self.kernel, self.version, tree.path())?;
        fill(tree.path())?;
        let work = tempfile::tempdir_in(cache)?;
        tool::script(REPOSITORY, &[tree.path(), work.path(), Path::new(STAND_INS)])
            .context("making the repository of the system")?;
        Ok(tree)
    }
}

/// The disk with the modules of this kernel, which is made if it does not exist.
pub(super) fn get(kernel: &(PathBuf, String), cache: &Path, say: &dyn Fn(&str)) -> Result<PathBuf> {
    let recipe = Recipe::new(&[], kernel)?;
    let into = cache.join(format!("system-{}-{}", kernel.1, recipe.hash(&[])));
    if !into.exists() {
        let tree = recipe.tree(cache, say)?;
        let part = into.with_extension("part");
        let _ = fs::remove_file(&part);
        File::create(&part)?.set_len(MIB << 20)?;
        let (tree, part_text) = (tree.path().to_string_lossy(), part.to_string_lossy());
        tool::run("mkfs.ext4", &["-q", "-F", "-U", UUID, "-d", &*tree, &*part_text])?;
        fs::rename(part, &into)?;
    }
    Ok(into)
}

/// Does the work of maintainer scripts and an installer.
fn fill(tree: &Path) -> Result<()> {
    finish_tree(tree)?;
    fs::write(tree.join("etc/passwd"), USERS)?;
    let groups = fs::read_to_string(tree.join("etc/group"))? + MORE_GROUPS;
    fs::write(tree.join("etc/group"), groups)?;
    for directory in ["mnt/image", "var/lib/rpm", "var/log", "var/tmp", "var/cache"] {
        fs::create_dir_all(tree.join(directory))?;
    }
    for (name, text) in FILES {
        let file = tree.join(name);
        fs::create_dir_all(file.parent().unwrap_or(tree))?;
        fs::write(&file, text).with_context(|| format!("writing {name}"))?;
    }
    let dracut = tree.join("usr/bin/dracut");
    fs::write(&dracut, DRACUT)?;
    tool::run("chmod", &["755".as_ref(), dracut.as_os_str()])?;
    for (target, name) in LINKS {
        let link = tree.join("etc/systemd/system").join(name);
        fs::create_dir_all(link.parent().unwrap_or(tree))?;
        let _ = fs::remove_file(&link);
        symlink(target, &link).with_context(|| format!("linking {name}"))?;
    }
    Ok(())
}
