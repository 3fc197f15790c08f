//! A disk that boots like a real machine's: boot sector, GRUB, a partition with the kernel and a
//! complete system, a login, and the unit of `mtctl kickstart` that runs `mtctl prepare` at the
//! first boot. The loader is installed like grub-install would do it, but into a file and without
//! mounting anything. The rest of the system is in `system`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use provisioning::kickstart::{Answers, Request, render};

use super::contents::KERNEL_ARGUMENTS;
use super::system::{MIB, Recipe, UUID};
use crate::hardware::vmware_uuid;
use crate::{packages, tool};

/// Additional packages for a login.
const LOGIN: &[&str] = &["login", "bsdutils"];
/// The package of the loader; the program that assembles it is in a dependency.
const LOADER: &[&str] = &["grub-pc-bin"];
/// The name of the disk that becomes the retention volume; see [`vmware_uuid`].
const RETENTION: &str = "retention";
/// The password of root is `master-target`.
const PASSWORD: &str = "$6$masterta$E3PR/NgHzxoiEAqPJ8iOYtHNesMGTBvy6wulLliGZsySKq/7d741STofQQ\
    mQDpyc6LVPKnD.ENSmlfFa.eh.v.";

/// The configuration of the loader: the serial console is the only one.
const CONFIGURATION: &str = "serial --unit=0
terminal_output serial
set timeout=0
menuentry \"master target\" {
	linux /boot/vmlinuz ARGUMENTS mt.root=/dev/disk/by-label/mtctl-system
	initrd /boot/initramfs
}
";

/// Makes the disk `$3` of `$4` MiB from the system in `$1`, with the loader's packages in `$2`. The
/// loader consists of the boot sector, and a core in the gap before the partition: neither has to
/// be told where the next one is, because these are the default places. Programs from the packages
/// run with the libraries from the packages: what this host has does not matter.
const SCRIPT: &str = r#"
tree=$1 loader=$2 disk=$3 mib=$4 uuid=$5
truncate -s $((1 + mib))M "$disk"
mkfs.ext4 -q -F -U "$uuid" -L mtctl-system -d "$tree" -E offset=$((1 << 20)) "$disk" "${mib}M"
echo 'start=2048, type=83, bootable' | sfdisk -q --label dos "$disk"
libraries=$loader/usr/lib/x86_64-linux-gnu
"$libraries/ld-linux-x86-64.so.2" --library-path "$libraries" "$loader/usr/bin/grub-mkimage" \
	-d "$loader/usr/lib/grub/i386-pc" -O i386-pc -o "$loader/core" -p '(hd0,msdos1)/boot/grub' \
	biosdisk part_msdos ext2 linux normal configfile serial terminal echo
[ "$(stat -c %s "$loader/core")" -le $((2047 * 512)) ]
dd if="$loader/usr/lib/grub/i386-pc/boot.img" of="$disk" bs=1 count=440 conv=notrunc status=none
dd if="$loader/core" of="$disk" bs=512 seek=1 conv=notrunc status=none
"#;

/// Files that are not in packages: how root logs in, and where the first boot gets mtctl from.
const FILES: &[(&str, &str)] = &[
    ("etc/pam.d/common-auth", "auth required pam_unix.so\n"),
    ("etc/pam.d/common-account", "account required pam_unix.so\n"),
    ("etc/pam.d/common-password", "password required pam_unix.so\n"),
    ("etc/pam.d/common-session", "session required pam_unix.so\n"),
    (
        "etc/systemd/system/mtctl-first-boot.service.d/host.conf",
        "[Unit]\nRequiresMountsFor=/host\nBefore=serial-getty@ttyS0.service\n[Service]\n\
         ExecStartPre=/usr/bin/install -D /host/mtctl /usr/local/bin/mtctl\n",
    ),
];

/// The disk with this kernel, which is made if it does not exist.
pub(super) fn get(
    kernel: &(PathBuf, String),
    initramfs: &Path,
    cache: &Path,
    say: &dyn Fn(&str),
) -> Result<PathBuf> {
    let recipe = Recipe::new(LOGIN, kernel)?;
    let loader = packages::resolve(LOADER)?;
    let unit = first_boot()?;
    let name = initramfs.file_name().unwrap_or_default().to_string_lossy();
    let files: Vec<_> = loader.iter().map(|package| package.file.as_str()).collect();
    let texts = [KERNEL_ARGUMENTS, &*name, &unit, include_str!("bootable.rs"), &files.join(" ")];
    let into = cache.join(format!("bootable-{}-{}", kernel.1, recipe.hash(&texts)));
    if !into.exists() {
        let tree = recipe.tree(cache, say)?;
        fill(tree.path(), &unit)?;
        let boot = tree.path().join("boot");
        fs::create_dir_all(boot.join("grub"))?;
        let vmlinuz = kernel.0.join(format!("boot/vmlinuz-{}", kernel.1));
        fs::copy(vmlinuz, boot.join("vmlinuz")).context("copying the kernel")?;
        fs::copy(initramfs, boot.join("initramfs")).context("copying the initramfs")?;
        let configuration = CONFIGURATION.replace("ARGUMENTS", KERNEL_ARGUMENTS);
        fs::write(boot.join("grub/grub.cfg"), configuration)?;
        let programs = tempfile::tempdir_in(cache)?;
        packages::fetch(LOADER, &cache.join("packages"))?;
        packages::tree(&loader, &cache.join("packages"), programs.path())?;
        let part = into.with_extension("part");
        let _ = fs::remove_file(&part);
        let (mib, uuid) = (MIB.to_string(), Path::new(UUID));
        tool::script(SCRIPT, &[tree.path(), programs.path(), &part, Path::new(&mib), uuid])
            .context("making a disk that boots")?;
        fs::rename(part, &into)?;
    }
    Ok(into)
}

/// The unit of the first boot, taken from the kickstart that an operator would use.
fn first_boot() -> Result<String> {
    let answers = Answers {
        release: "8".into(),
        hostname: "vm".into(),
        disk: "/dev/disk/by-id/virtio-system".into(),
        address: "192.0.2.10/24".into(),
        gateway: "192.0.2.1".into(),
        dns: vec!["192.0.2.53".into()],
        timezone: "Europe/Berlin".into(),
        root_password_hash: Some(PASSWORD.into()),
        retention_disk: Some(format!("/dev/disk/by-id/wwn-0x{}", vmware_uuid(RETENTION))),
        ..Answers::default()
    };
    let kickstart = render(&Request::from_answers(&answers).context("asking for a kickstart")?);
    let unit = kickstart.split_once("mtctl-first-boot.service <<'UNIT'\n");
    let unit = unit.and_then(|(_, rest)| rest.split_once("UNIT\n"));
    Ok(unit.context("a kickstart without the unit of the first boot")?.0.to_owned())
}

/// Turns the system into one that people log in to and that prepares itself.
fn fill(tree: &Path, unit: &str) -> Result<()> {
    let units = tree.join("etc/systemd/system");
    for masked in ["getty.target", "serial-getty@ttyS0.service"] {
        fs::remove_file(units.join(masked)).with_context(|| format!("unmasking {masked}"))?;
    }
    let shadow = format!("root:{PASSWORD}:19000:0:99999:7:::\n");
    let own =
        [("etc/shadow", shadow.as_str()), ("etc/systemd/system/mtctl-first-boot.service", unit)];
    for (name, text) in own.iter().chain(FILES) {
        let file = tree.join(name);
        fs::create_dir_all(file.parent().unwrap_or(tree))?;
        fs::write(&file, text).with_context(|| format!("writing {name}"))?;
    }
    fs::create_dir_all(tree.join("var/lib/mtctl"))?;
    let name = "mtctl-first-boot.service";
    symlink(format!("../{name}"), units.join("multi-user.target.wants").join(name))
        .context("enabling the first boot")
}
