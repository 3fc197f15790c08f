//! Runs a program and writes its peak memory to a file, in bytes. This is a small process of its
//! own, because the peak of a child includes the memory its parent had when the child was started.
//!
//! `peak_of FILE PROGRAM ARGUMENT…`

use std::ffi::OsString;
use std::process::{Command, ExitCode};

use nix::sys::resource::{UsageWho, getrusage};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(file), Some(program)) = (arguments.next(), arguments.next()) else {
        return ExitCode::from(2);
    };
    match run(&file, Command::new(program).args(arguments)) {
        // Death by a signal has no exit code.
        Ok(code) => ExitCode::from(code.unwrap_or(255)),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn run(file: &OsString, command: &mut Command) -> std::io::Result<Option<u8>> {
    let ended = command.status()?;
    let kib = getrusage(UsageWho::RUSAGE_CHILDREN)?.max_rss();
    std::fs::write(file, format!("{}", kib << 10))?;
    Ok(ended.code().and_then(|code| u8::try_from(code).ok()))
}
