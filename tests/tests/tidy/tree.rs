//! Reads the repository for the rules: tracked files, and cargo's metadata about the dependencies.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// A file tracked by git: its path relative to the root of the repository, and its text.
pub(crate) struct Tracked {
    pub(crate) path: String,
    pub(crate) text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("invariant: the package lies in the repository")
        .to_owned()
}

/// The text of a file in the repository.
pub(crate) fn read(path: &str) -> Result<String> {
    fs::read_to_string(root().join(path)).with_context(|| format!("reading {path}"))
}

/// Every text file that git tracks, or would track if it were added.
pub(crate) fn tracked() -> Result<Vec<Tracked>> {
    let listing = output(Command::new("git").args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]))?;
    let paths = String::from_utf8(listing).context("reading the paths that git tracks")?;
    let files = paths
        .split_terminator('\0')
        .filter_map(|path| {
            let bytes = fs::read(root().join(path)).ok()?;
            let text = String::from_utf8(bytes).ok()?;
            let path = path.to_owned();
            Some(Tracked { path, text })
        })
        .collect();
    Ok(files)
}

/// `cargo metadata` of this workspace for the current machine, without the network.
pub(crate) fn cargo_metadata() -> Result<serde_json::Value> {
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let json = output(Command::new(env!("CARGO")).args([
        "metadata",
        "--offline",
        "--locked",
        "--format-version=1",
        "--filter-platform",
        &platform,
    ]))?;
    serde_json::from_slice(&json).context("parsing what cargo metadata printed")
}

fn output(command: &mut Command) -> Result<Vec<u8>> {
    let output =
        command.current_dir(root()).output().with_context(|| format!("starting {command:?}"))?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "running {command:?}: {complaint}");
    Ok(output.stdout)
}
