//! Skipped is never passed: a test that cannot run here says so, and `tests/run` counts it. Each
//! test decides itself what is missing, and whether to skip.

use std::fs::OpenOptions;
use std::io::{self, Write};

/// The variable with which `tests/run` names the file that collects the skips.
const LIST: &str = "MTCTL_SKIPS";

/// Records that `test` did not run, and why: one line `test: reason` in the file named by
/// `MTCTL_SKIPS`, or on stderr if there is none. The test returns after this.
///
/// # Errors
///
/// The file cannot be written: the skip would look like a pass, so the test must fail.
pub fn record(test: &str, reason: &str) -> io::Result<()> {
    let line = format!("{test}: {}\n", reason.replace('\n', " "));
    let Some(path) = std::env::var_os(LIST) else {
        return io::stderr().write_all(line.as_bytes());
    };
    // One write in append mode, so that the lines of concurrent tests are not mixed.
    let mut list = OpenOptions::new().append(true).create(true).open(path)?;
    list.write_all(line.as_bytes())
}

/// [`record`] for a case that is named after the missing program or feature.
pub fn skipped(reason: &str) {
    record("a case on loop devices", reason).expect("writing the list of skips");
}

/// Whether `program` is installed; if not, the case that needs it is recorded as skipped.
pub fn has_program(program: &str) -> bool {
    let directories = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    let found =
        directories.iter().any(|directory| std::path::Path::new(directory).join(program).exists());
    if !found {
        skipped(&format!("{program} is not installed"));
    }
    found
}
