//! `mtctl-demo`: what mtctl does, told as a story on loop devices that nobody else sees. It is also
//! a check: anything unexpected ends it with exit code 1. It runs the `mtctl` beside itself.

mod chapters;
mod delta;
mod expectation;
mod homecoming;
mod namespace;
mod prepare;
mod ransomware;
mod stage;
mod story;

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use system::ErrorKind;

use chapters::CHAPTERS;
use stage::Stage;
use story::Story;

const USAGE: &str = "usage: sudo mtctl-demo

It needs root, and touches only loop devices that it makes, in a mount namespace of its own.
When it ends, even by Ctrl-C or kill -9, the kernel removes everything.
Exit codes: 0 all was as expected; 1 something was not; 4 refused: no root, or no loop devices.";

const ON_A_REAL_MACHINE: &str = "mtctl disks               lists the disks, and who uses them
mtctl check               what is missing; changes nothing
mtctl prepare --dry-run   shows everything that would be done
mtctl prepare             shows it, asks, and does it
mtctl check               says ready
mtctl apply FILE.mts      applies changes from the cloud to the disk at home

Before you attach disks on VMware: mtctl vmx FILE.vmx (disk.EnableUUID).
No VM yet? mtctl kickstart --help. Every verb has --help with examples.
";

fn main() -> ExitCode {
    if std::env::args_os().len() > 1 {
        complain(USAGE);
        return ExitCode::from(2);
    }
    let Err(error) = tell() else { return ExitCode::SUCCESS };
    complain(&format!("mtctl-demo: {error:#}"));
    let ours = error.downcast_ref::<system::Error>();
    let hint = ours.and_then(system::Error::hint);
    complain(&format!("hint: {}", hint.unwrap_or("please report this with the complete output")));
    let is_refused = ours.is_some_and(|error| error.kind() == ErrorKind::Refused);
    ExitCode::from(if is_refused { 4 } else { 1 })
}

/// Prints on stderr, whether or not anybody reads it.
fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn tell() -> Result<()> {
    let mut story = Story::new()?;
    let mut stage = Stage::set()?;
    let told = tell_chapters(&mut story, &mut stage);
    // Clean up after a failure as well; an error here matters less than that failure.
    let struck = stage.strike();
    told?;
    struck?;
    story.say("The disks are gone, and nothing is left behind.");
    story.heading("On a real machine");
    story.lines(ON_A_REAL_MACHINE);
    Ok(())
}

fn tell_chapters(story: &mut Story, stage: &mut Stage) -> Result<()> {
    story.heading("mtctl turns a freshly installed Linux VM into a master target");
    story.say(
        "Everything below really happens, on disks made for this demo, in a mount namespace that \
         only this process and its children see: there, /etc, /var/lib and /mnt are scratch \
         copies, and the disks of this machine are hidden. After a $ comes what you would type.",
    );
    for (number, (title, tell)) in (1..).zip(CHAPTERS) {
        story.heading(&format!("{number}. {title}"));
        tell(story, stage).with_context(|| format!("in chapter '{title}'"))?;
    }
    Ok(())
}
