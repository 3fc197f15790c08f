//! A file with the process number of this process, for scripts and service managers (`--pid-file`).

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use system::Error;

use crate::whole_file;

/// The longest process number including the line ending, in bytes.
const TEXT_BYTES_MAX: u64 = 20;

/// The file; removed on drop if it still belongs to this process.
#[derive(Debug)]
pub(super) struct PidFile(PathBuf);

/// Refuses a `path` where anything exists other than the file of a process that has ended.
///
/// # Errors
///
/// `Usage`: no file can be made there. `Refused`: another file is there, or that process is alive.
pub(super) fn check(path: &Path) -> system::Result<()> {
    whole_file::check(path, "choose another place for --pid-file")?;
    let Some(found) = path.metadata().ok().filter(|found| found.len() > 0) else { return Ok(()) };
    let text = Some(found).filter(|found| found.len() <= TEXT_BYTES_MAX);
    let text = text.and_then(|_| fs::read_to_string(path).ok()).unwrap_or_default();
    let Ok(process) = text.trim().parse::<u32>() else {
        let context =
            format!("writing {}: the file exists and does not hold a process id", path.display());
        return Err(Error::refused(context).with_hint("choose another place for --pid-file"));
    };
    if process == std::process::id() || !Path::new("/proc").join(process.to_string()).exists() {
        return Ok(());
    }
    let context =
        format!("writing {}: it belongs to process {process}, which is running", path.display());
    Err(Error::refused(context).with_hint(
        "choose another place; if the id now belongs to another program, remove the file",
    ))
}

impl PidFile {
    /// Writes the file atomically, so that a reader never sees a part of it.
    ///
    /// # Errors
    ///
    /// As [`check`], and errors of the filesystem.
    pub(super) fn write(path: &Path) -> anyhow::Result<Self> {
        check(path)?;
        whole_file::write(path, |file| Ok(file.write_all(text().as_bytes())?))?;
        Ok(Self(path.to_owned()))
    }
}

fn text() -> String {
    format!("{}\n", std::process::id())
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if fs::read_to_string(&self.0).is_ok_and(|found| found == text()) {
            let _ = fs::remove_file(&self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use system::ErrorKind;

    use super::*;

    #[test]
    fn only_the_file_of_a_process_that_ended_is_replaced() {
        let here = tempfile::tempdir().unwrap();
        let path = here.path().join("file");
        // No process can have this number; process 1 is alive.
        let ended = "4294967295\n";
        for (text, is_taken) in [
            (ended, true),
            ("", true),
            ("123 disks\n", false),
            (&"1".repeat(21), false),
            ("1\n", false),
        ] {
            fs::write(&path, text).unwrap();
            let refused = check(&path).err().map(|error| error.kind());
            assert_eq!(refused, (!is_taken).then_some(ErrorKind::Refused), "{text:?}");
        }
        assert_eq!(check(here.path()).unwrap_err().kind(), ErrorKind::Usage);
    }

    #[test]
    fn it_goes_with_the_process_unless_another_one_has_it_by_then() {
        let here = tempfile::tempdir().unwrap();
        let path = here.path().join("file");
        let held = PidFile::write(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        drop(held);
        assert!(!path.exists());
        let held = PidFile::write(&path).unwrap();
        fs::write(&path, "1\n").unwrap();
        drop(held);
        assert!(path.exists());
    }
}
