//! Runs the programs that build images: quietly, and with the end of their output if they fail.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// Runs `program` to its end and returns its stdout.
///
/// # Errors
///
/// It cannot be started, or fails; then with the end of its output.
pub(crate) fn run<S: AsRef<OsStr>>(program: &str, arguments: &[S]) -> Result<String> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C")
        .stdin(Stdio::null());
    let output = command.output().with_context(|| format!("starting {program}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = said.lines().collect();
    let last = lines[lines.len().saturating_sub(10)..].join("\n");
    ensure!(output.status.success(), "{program} failed ({}):\n{last}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a bash script, which ends at the first command that fails; `arguments` are its `$1`, ….
///
/// # Errors
///
/// As [`run`].
pub(crate) fn script<S: AsRef<OsStr>>(text: &str, arguments: &[S]) -> Result<String> {
    let mut all = vec![OsStr::new("-euo"), OsStr::new("pipefail"), OsStr::new("-c")];
    all.extend([OsStr::new(text), OsStr::new("script")]);
    all.extend(arguments.iter().map(AsRef::as_ref));
    run("bash", &all)
}

/// Those of `wanted` that are not installed here.
pub(crate) fn missing<'a>(wanted: &[&'a str]) -> Vec<&'a str> {
    let directories = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    let is_there = |name: &str| {
        directories.iter().any(|directory| std::path::Path::new(directory).join(name).exists())
    };
    wanted.iter().copied().filter(|name| !is_there(name)).collect()
}
