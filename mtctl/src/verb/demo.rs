//! `mtctl demo`: what this program does, told as a story on loop devices that nobody else sees. It
//! is also a check: anything unexpected ends it with exit code 1.

mod chapters;
mod delta;
mod homecoming;
mod ransomware;
mod stage;
mod story;

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};
use clap::Args;

use crate::exit::Exit;
use crate::output;
use chapters::{CHAPTERS, World};
use stage::Stage;
use story::Story;

const EXAMPLES: &str = "\
Examples:
  sudo mtctl demo                   the whole story, in some seconds
  sudo mtctl demo | less            at leisure
  mtctl demo --json | jq .ok        as a check: does it work on this machine?

It needs root, and touches only loop devices that it makes, in a mount namespace of its own.
When it ends, also by Ctrl-C or kill -9, the kernel takes all of it away.
Exit codes: 0 all as expected; 1 something was not; 4 refused: no root, or no loop devices.";

/// What was typed after `mtctl demo`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Print JSON instead of the story: the chapters, their commands and exit codes
    #[arg(long)]
    json: bool,
}

/// Tells the story.
pub(crate) fn run(arguments: &Arguments) -> Result<Exit> {
    let out: Box<dyn Write> = match arguments.json {
        true => Box::new(std::io::sink()),
        false => Box::new(output::stdout()),
    };
    let mut story = Story::new(out, interruption()?);
    let told = tell(&mut story);
    if arguments.json {
        story.json(&mut output::stdout(), told.is_ok())?;
    }
    told.map(|()| Exit::Done)
}

/// Set by the first Ctrl-C, which ends the story in order; the second one ends it immediately.
fn interruption() -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in
        [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP]
    {
        let at_once = Arc::clone(&flag);
        signal_hook::flag::register_conditional_shutdown(signal, 1, at_once)?;
        signal_hook::flag::register(signal, Arc::clone(&flag))?;
    }
    Ok(flag)
}

fn tell(story: &mut Story) -> Result<()> {
    let mut world = World::new(Stage::set()?);
    let told = tell_chapters(story, &mut world);
    // Clean up after a failure as well; an error here matters less than that failure.
    let struck = world.into_stage().strike();
    told?;
    struck?;
    story.say("The disks are gone, and nothing is left behind.")?;
    story.heading("On a real machine")?;
    story.lines(ON_A_REAL_MACHINE)
}

fn tell_chapters(story: &mut Story, world: &mut World) -> Result<()> {
    story.heading("mtctl: a freshly installed Linux VM becomes a master target")?;
    story.say(
        "Everything below is done for real, on disks made for the occasion, in a mount \
         namespace that only this process is in: there /etc, /var/lib and /mnt are scratch copies, \
         and the disks of this machine are out of sight. After a $ stands what you would type.",
    )?;
    for (title, tell) in CHAPTERS {
        story.begin(title)?;
        tell(story, world).with_context(|| format!("telling '{title}'"))?;
        story.end_well();
    }
    Ok(())
}

const ON_A_REAL_MACHINE: &str = "\
mtctl disks               which disks there are, and whose they are
mtctl check               what is missing; changes nothing
mtctl prepare --dry-run   everything that would be done
mtctl prepare             shows it, asks, does it
mtctl check               says ready
mtctl apply FILE.mts      what changed in the cloud, onto its disk at home

Before you attach disks on VMware: mtctl vmx FILE.vmx (disk.EnableUUID).
No VM yet? mtctl kickstart --help. Every verb has --help with examples.
";
