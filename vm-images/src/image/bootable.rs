//! A disk that a machine starts by itself, as a real one does: boot sector, GRUB, a partition with
//! the kernel and a whole system. The loader is put together of Debian's packages, as grub-install
//! would, but into a file and without mounting anything.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::{packages, tool};

/// The packages of the loader and of the program that puts it together.
const LOADER: [&str; 2] = ["grub-pc-bin", "grub-common"];
/// What is in the loader's core: enough to find the partition and read its configuration.
const CORE: &str = "biosdisk part_msdos ext2 linux normal configfile serial terminal echo";
/// Where the partition begins, as every partitioning program does it.
const PARTITION_AT: u64 = 1 << 20;
/// How large the disk is: sparse.
const DISK_BYTES: u64 = 3 << 30;

const CONFIGURATION: &str = "serial --unit=0
terminal_output serial
set timeout=0
menuentry \"master target\" {
  linux /boot/vmlinuz ARGUMENTS
  initrd /boot/initramfs
}
";

/// Makes the disk `to` of the system in `tree`, which gets its kernel and initramfs; the kernel is
/// started with `arguments`.
///
/// # Errors
///
/// The packages of the loader cannot be had, or there is no room.
pub(super) fn make(
    tree: &Path,
    (vmlinuz, initramfs): (&Path, &Path),
    arguments: &str,
    cache: &Path,
    to: &Path,
) -> Result<()> {
    let boot = tree.join("boot/grub");
    fs::create_dir_all(&boot)?;
    fs::copy(vmlinuz, tree.join("boot/vmlinuz")).context("copying the kernel")?;
    fs::copy(initramfs, tree.join("boot/initramfs")).context("copying the initramfs")?;
    fs::write(boot.join("grub.cfg"), CONFIGURATION.replace("ARGUMENTS", arguments))?;
    let loader = tempfile::tempdir_in(cache)?;
    for name in LOADER {
        let package = packages::fetch_alone(name, &cache.join("packages"))?;
        packages::unpack(&package, loader.path())?;
    }
    let part = to.with_extension("part");
    fs::File::create(&part)?.set_len(DISK_BYTES)?;
    // Boot sector, then the core in the gap before the partition: its blocks are where the boot
    // sector and the core expect them when nobody says otherwise.
    let script = format!(
        "tree=$1 loader=$2 disk=$3
         mkfs.ext4 -q -L mtctl-system -d \"$tree\" -E offset={PARTITION_AT} \"$disk\" {size}k
         echo 'start=2048,type=83,bootable' | sfdisk -q --label dos \"$disk\" 2>/dev/null
         modules=$loader/usr/lib/grub/i386-pc
         \"$loader/usr/bin/grub-mkimage\" -d \"$modules\" -O i386-pc -o \"$loader/core\" \
             -p '(hd0,msdos1)/boot/grub' {CORE}
         dd if=\"$modules/boot.img\" of=\"$disk\" bs=1 count=440 conv=notrunc status=none
         dd if=\"$loader/core\" of=\"$disk\" bs=512 seek=1 conv=notrunc status=none",
        size = (DISK_BYTES - PARTITION_AT) >> 10
    );
    tool::script(&script, &[tree, loader.path(), &part]).context("making a disk that boots")?;
    fs::rename(&part, to).with_context(|| format!("making {}", to.display()))
}
