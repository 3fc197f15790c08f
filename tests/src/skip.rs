//! Skipped is never passed: a test that cannot run here says so, and `tests/run` counts it. What is
//! missing, and whether to skip for it, each test decides itself.

use std::fs::OpenOptions;
use std::io::{self, Write};

/// The variable in which `tests/run` names the file that collects the skips.
const LIST: &str = "MTCTL_SKIPS";

/// Records that `test` did not run, and why: one line `test: reason` in the file of `MTCTL_SKIPS`,
/// or on stderr where there is none. The test returns after this.
///
/// # Errors
///
/// The file cannot be written: then the skip would look like a pass, so let the test fail.
pub fn record(test: &str, reason: &str) -> io::Result<()> {
    let line = format!("{test}: {}\n", reason.replace('\n', " "));
    let Some(path) = std::env::var_os(LIST) else {
        return io::stderr().write_all(line.as_bytes());
    };
    // One write in append mode: tests that run side by side do not mix their lines.
    let mut list = OpenOptions::new().append(true).create(true).open(path)?;
    list.write_all(line.as_bytes())
}

/// [`record`] for a case whose name is the program or the thing that is missing.
pub fn skipped(reason: &str) {
    record("a case on loop devices", reason).expect("writing the list of skips");
}

/// Whether `program` is installed; a case that needs it is skipped when not.
pub fn has_program(program: &str) -> bool {
    let directories = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    let found =
        directories.iter().any(|directory| std::path::Path::new(directory).join(program).exists());
    if !found {
        skipped(&format!("{program} is not installed"));
    }
    found
}
