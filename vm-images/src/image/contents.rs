//! What every image consists of: packages, what is left out of them, our own two programs, and the
//! hash that names an image after them.

use std::fs;
use std::path::Path;

use anyhow::Result;

use crate::packages::Package;
use crate::tool;

/// The kernel's arguments, beside those of a case. An emulated processor needs no mitigations. QEMU
/// finds translated code by virtual address: with programs and libraries at random addresses, each
/// process would be translated again and take three times as long to start.
pub(crate) const KERNEL_ARGUMENTS: &str = "console=ttyS0 panic=-1 quiet tsc=reliable \
    no_timer_check mitigations=off cryptomgr.notests norandmaps";

/// Packages of every guest; their dependencies are added.
pub(super) const COMMON: &[&str] = &[
    "bash",
    "coreutils",
    "grep",
    "sed",
    "mawk",
    "findutils",
    "diffutils",
    "procps",
    "hostname",
    "kmod",
    "udev",
    "util-linux",
    "mount",
    "fdisk",
    "e2fsprogs",
    "xfsprogs",
    "multipath-tools",
    "kpartx",
    "dmsetup",
    "lvm2",
    "mdadm",
    "lsscsi",
    "sg3-utils",
    "psmisc",
    "libgcc-s1",
    "libudev1",
];

/// Paths in the tree that packages contain and no case uses.
pub(super) const PRUNED: &str = "usr/share/{perl*,python*,zoneinfo,icons,pixmaps,applications,\
    menu,reportbug,doc-base,info,debianutils,base-files,gcc,gdb,initramfs-tools,zsh,fish} \
    usr/lib/python3* usr/bin/python3* usr/bin/perl* usr/lib/x86_64-linux-gnu/{libperl*,perl*,\
    libicu*,libsqlite3*,libkrb5*,libgssapi*,libk5*,libstdc++*,libmvec*} usr/lib/udev/hwdb.d \
    usr/lib/udev/hwdb.bin usr/sbin/xfs_scrub* usr/include usr/lib/bfd-plugins \
    usr/lib/systemd/{catalog,user} var/lib/dpkg usr/lib/apt usr/bin/apt* usr/bin/dpkg* boot home";

pub(super) const INIT: &str = include_str!("../../guest/init");
pub(super) const AGENT: &str = include_str!("../../guest/agent");

/// Does the work of maintainer scripts, and adds our own two programs.
pub(super) fn finish_tree(tree: &Path) -> Result<()> {
    let link = |target: &str, name: &str| -> Result<()> {
        let name = tree.join(name);
        if name.symlink_metadata().is_err() {
            std::os::unix::fs::symlink(target, name)?;
        }
        Ok(())
    };
    link("mawk", "usr/bin/awk")?;
    link("bash", "usr/bin/sh")?;
    link("/proc/mounts", "etc/mtab")?;
    let groups = ["root:x:0:", "tty:x:5:", "disk:x:6:", "kmem:x:15:", "sgx:x:101:", "kvm:x:102:"];
    let more = ["video:x:44:", "render:x:103:", "input:x:104:", "audio:x:29:", "cdrom:x:24:"];
    let groups: Vec<&str> = groups.into_iter().chain(more).collect();
    fs::write(tree.join("etc/passwd"), "root:x:0:0:root:/root:/bin/bash\n")?;
    fs::write(tree.join("etc/group"), groups.join("\n") + "\n")?;
    fs::write(tree.join("etc/hostname"), "vm\n")?;
    for (name, text) in [("init", INIT), ("agent", AGENT)] {
        fs::write(tree.join(name), text)?;
        tool::run("chmod", &["755".as_ref(), tree.join(name).as_os_str()])?;
    }
    Ok(())
}

/// The first digits of a hash of packages and texts.
pub(super) fn hash(packages: &[Package], texts: &[&str]) -> String {
    let mut hasher = blake3::Hasher::new();
    for package in packages {
        hasher.update(package.file.as_bytes()).update(package.checksum.as_bytes());
    }
    for text in texts {
        hasher.update(text.as_bytes()).update(&[0]);
    }
    hasher.finalize().to_hex()[..16].to_owned()
}
