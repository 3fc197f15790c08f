//! The kernels and tools of an image that will mount and check the filesystem made for it. They are
//! judged by what they are, not by the name of the distribution: by module directories, and by the
//! version that each program contains. Nothing in the image is run.

use std::path::Path;

use crate::filesystem::features::{Makers, Readers, Version, ext4_by_default};
use crate::host::{Host, Invocation, Tree};

/// Size limit of a program that is searched, in bytes; none is larger.
const PROGRAM_BYTES_MAX: usize = 8 << 20;

/// The kernels and tools that the system has.
pub(super) fn readers(system: &Tree) -> Readers {
    let conf = system.text_if_exists("/etc/mke2fs.conf").ok().flatten();
    Readers {
        kernel: oldest_kernel(system),
        e2fsprogs: version_in(system, "e2fsck", is_e2fsprogs),
        xfsprogs: version_in(system, "xfs_repair", is_xfsprogs),
        ext4_by_default: conf.map(|text| ext4_by_default(&text)),
    }
}

/// The running host's tools, as they report themselves.
pub(super) fn makers(host: &Host) -> Makers {
    let version = |program: &str| {
        let output = host.ask(&Invocation::new(program).argument("-V")).ok()?;
        let said = format!("{} {}", output.stdout, output.stderr);
        said.split_whitespace().find_map(Version::leading)
    };
    Makers { e2fsprogs: version("mkfs.ext4"), xfsprogs: version("mkfs.xfs") }
}

/// Whether the system's mount(8) treats options that begin with `x-` as comments, which it does if
/// it is built on libmount. `None` if there is no such program.
pub(super) fn knows_x_options(system: &Tree) -> Option<bool> {
    let bytes = program(system, &["/usr/bin", "/bin"], "mount")?;
    Some(bytes.windows(11).any(|window| window == b"libmount.so"))
}

/// Any of the kernels may be booted one day, so the oldest one counts.
fn oldest_kernel(system: &Tree) -> Option<Version> {
    let modules = ["/lib/modules", "/usr/lib/modules"];
    let installed = modules.into_iter().flat_map(|path| system.list(path));
    let images = system.list("/boot").into_iter();
    let images = images.filter_map(|name| {
        let prefixes = ["vmlinuz-", "vmlinux-", "Image-", "kernel-"];
        prefixes.iter().find_map(|prefix| name.strip_prefix(prefix).map(str::to_owned))
    });
    installed.chain(images).filter_map(|name| Version::leading(&name)).min()
}

fn program(system: &Tree, directories: &[&str], name: &str) -> Option<Vec<u8>> {
    let found = directories.iter().find_map(|directory| {
        let path = Path::new(directory).join(name);
        system.head_if_exists(path, PROGRAM_BYTES_MAX).ok().flatten()
    });
    found.filter(|bytes| !bytes.is_empty())
}

/// The version that a program contains as a separate string; the lowest, if there are several.
fn version_in(system: &Tree, name: &str, is_one: fn(&str) -> bool) -> Option<Version> {
    let bytes = program(system, &["/usr/sbin", "/sbin"], name)?;
    let texts = bytes.split(|byte| *byte == 0).filter(|text| (4..16).contains(&text.len()));
    let texts = texts.filter_map(|text| std::str::from_utf8(text).ok());
    texts.filter(|text| is_one(text)).filter_map(Version::leading).min()
}

/// `1.41.12`, `1.47.0`, `1.47.1-rc1`.
fn is_e2fsprogs(text: &str) -> bool {
    text.strip_prefix("1.").is_some_and(|rest| {
        let minor = rest.split(['.', '-']).next().unwrap_or_default();
        minor.parse().is_ok_and(|minor: u32| (35..=99).contains(&minor)) && is_version(text)
    })
}

/// `2.10.1`, `3.1.1`, `6.1.0`.
fn is_xfsprogs(text: &str) -> bool {
    is_version(text) && text.matches('.').count() == 2
}

fn is_version(text: &str) -> bool {
    let end = text.find("-rc").or_else(|| text.find("-WIP")).unwrap_or(text.len());
    let numbers: Vec<&str> = text[..end].split('.').collect();
    let is_number = |part: &&str| {
        (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    (2..=3).contains(&numbers.len()) && numbers.iter().all(is_number)
}

#[cfg(test)]
mod tests;
