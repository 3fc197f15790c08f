//! Debian packages: resolved by apt as if nothing were installed, fetched once, and unpacked. There
//! is no chroot and no maintainer script; the recipe of an image does their work.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::tool;

/// A package in the repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Its file name, including the version.
    pub file: String,
    /// Its checksum, as printed by apt.
    pub checksum: String,
}

/// Parts of packages that a test VM never uses.
const LEFT_OUT: &str = "doc,man,locale,info,lintian,bug,bash-completion,i18n";

/// Common options for apt: nothing is installed, and only required packages count.
fn options(cache: &Path) -> Vec<String> {
    let archives = format!("Dir::Cache::archives={}", cache.display());
    let settings = [
        "Dir::State::status=/dev/null",
        "APT::Install-Recommends=0",
        "APT::Sandbox::User=root",
        "Debug::NoLocking=1",
        &archives,
    ];
    settings.iter().flat_map(|setting| ["-o".to_owned(), (*setting).to_owned()]).collect()
}

/// The packages `names` with all of their dependencies.
///
/// # Errors
///
/// apt does not know one of them, or is not installed.
pub fn resolve(names: &[&str]) -> Result<Vec<Package>> {
    // apt prints no address for packages that are in its cache, so the cache is empty here.
    let empty = tempfile::tempdir()?;
    fs::create_dir(empty.path().join("partial"))?;
    let mut arguments = options(empty.path());
    arguments.extend(["--print-uris", "-y", "install"].map(str::to_owned));
    arguments.extend(names.iter().map(|name| (*name).to_owned()));
    let printed = tool::run("apt-get", &arguments)
        .context("asking apt for the packages of a VM; its lists may be old: apt-get update")?;
    let mut found: Vec<Package> = printed.lines().filter_map(package).collect();
    found.sort_by(|one, other| one.file.cmp(&other.file));
    ensure!(!found.is_empty(), "apt names no package for {names:?}");
    Ok(found)
}

/// Parses a line such as `'http://…/a_1_amd64.deb' a_1_amd64.deb 7820 SHA256:…`.
fn package(line: &str) -> Option<Package> {
    let mut words = line.strip_prefix('\'')?.split_whitespace();
    let (file, _bytes) = (words.nth(1)?, words.next()?);
    let checksum = words.next().unwrap_or_default();
    Some(Package { file: file.to_owned(), checksum: checksum.to_owned() })
}

/// Fetches the packages `names` and their dependencies that are not yet in `cache`.
///
/// # Errors
///
/// The repository cannot be reached.
pub fn fetch(names: &[&str], cache: &Path) -> Result<()> {
    fs::create_dir_all(cache.join("partial")).context("making the cache of packages")?;
    let mut arguments = options(cache);
    arguments.extend(["--download-only", "-y", "install"].map(str::to_owned));
    arguments.extend(names.iter().map(|name| (*name).to_owned()));
    tool::run("apt-get", &arguments).context("fetching the packages of a VM").map(drop)
}

/// Fetches a single package without its dependencies, and returns its file.
///
/// # Errors
///
/// The repository cannot be reached, or does not have it.
pub fn fetch_alone(name: &str, cache: &Path) -> Result<PathBuf> {
    fs::create_dir_all(cache).context("making the cache of packages")?;
    let begin = format!("{name}_");
    let have = || -> Option<PathBuf> {
        let mut files = fs::read_dir(cache).ok()?.flatten();
        let found = files.find(|file| file.file_name().to_string_lossy().starts_with(&begin))?;
        Some(found.path())
    };
    if let Some(file) = have() {
        return Ok(file);
    }
    let fetch = "cd \"$1\" && apt-get -o APT::Sandbox::User=root download \"$2\"";
    tool::script(fetch, &[cache.as_os_str(), name.as_ref()])
        .with_context(|| format!("fetching {name}"))?;
    have().with_context(|| format!("{name} was fetched, but is missing"))
}

/// The newest package whose name is `begin`, digits and dots or dashes, and then `end`.
///
/// # Errors
///
/// There is none.
pub fn newest(begin: &str, end: &str) -> Result<String> {
    let names = tool::run("apt-cache", &["pkgnames", begin])?;
    let numbers = |name: &str| -> Option<Vec<u32>> {
        let middle = name.strip_prefix(begin)?.strip_suffix(end)?;
        middle.split(['.', '-']).filter(|part| !part.is_empty()).map(|n| n.parse().ok()).collect()
    };
    let found = names.lines().filter_map(|name| Some((numbers(name)?, name))).max();
    let (_, name) = found.with_context(|| format!("no package has a name like {begin}*{end}"))?;
    Ok(name.to_owned())
}

/// Unpacks the package in `file` into `tree`, in which /bin, /lib, … may be links.
///
/// # Errors
///
/// The package is damaged, or there is no space.
pub fn unpack(file: &Path, tree: &Path) -> Result<()> {
    let unpack = format!(
        "dpkg-deb --fsys-tarfile \"$1\" | tar -x -C \"$2\" --keep-directory-symlink \
         --no-same-owner --exclude=./usr/share/{{{LEFT_OUT}}} \
         --exclude=./usr/lib/x86_64-linux-gnu/gconv"
    );
    tool::script(&unpack, &[file, tree])
        .with_context(|| format!("unpacking {}", file.display()))
        .map(drop)
}

/// Fills an empty tree in which /bin, /sbin and /lib are in /usr with `packages` from `cache`.
///
/// # Errors
///
/// As [`unpack`].
pub fn tree(packages: &[Package], cache: &Path, tree: &Path) -> Result<()> {
    for directory in ["bin", "sbin", "lib", "lib64"] {
        fs::create_dir_all(tree.join("usr").join(directory))?;
        std::os::unix::fs::symlink(format!("usr/{directory}"), tree.join(directory))?;
    }
    for directory in ["proc", "sys", "dev", "run", "tmp", "host", "mnt", "etc", "root", "var"] {
        fs::create_dir_all(tree.join(directory))?;
    }
    packages.iter().try_for_each(|package| unpack(&cache.join(&package.file), tree))
}

#[cfg(test)]
mod tests {
    use super::{Package, package};

    #[test]
    fn a_line_of_apt_names_file_and_checksum_and_others_name_nothing() {
        let line = "'http://h/pool/a_1%3a2_amd64.deb' a_1%3a2_amd64.deb 7820 SHA256:00ff";
        let expected = Package { file: "a_1%3a2_amd64.deb".into(), checksum: "SHA256:00ff".into() };
        assert_eq!(package(line), Some(expected));
        for other in ["Reading package lists...", "", "'http://h/a.deb'"] {
            assert_eq!(package(other), None, "{other}");
        }
    }
}
