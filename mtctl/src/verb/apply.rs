//! `mtctl apply`: applies change streams to disks. `blockio::apply` does the work; this verb names
//! things, prints, and chooses the exit code.

use std::path::PathBuf;
use std::time::Instant;

use blockio::apply::{
    ApplyEvent, ApplyJob, ApplyOptions, Ending, HistorySettings, Outcome, StreamArgument,
};
use blockio::assignment::Assignment;
use blockio::group::{self, Group, GroupView, RunBegin};
use blockio::journal::settings::GroupSettings;
use blockio::stream::Name;
use clap::Args;

use crate::attention;
use crate::byte_progress::ByteProgress;
use crate::completion;
use crate::exit::Exit;
use crate::group_place::{self, GroupOptions};
use crate::group_targets;
use crate::own_run;
use crate::policy_options::{EngineName, PolicyOptions};
use crate::remedy;
use crate::report;
use crate::retention_options::RetentionOptions;
use crate::size_argument;
use crate::stream_options::{self, FormatName};
use crate::target_options::TargetOptions;

mod show;

const EXAMPLES: &str = "\
Examples:
  mtctl apply delta.rbd --target /dev/sdb
  mtctl apply full.mts day1.mts --group web --target wwid:6000c29f3a2b4c5d6e7f8091a2b3c4d5
                                              remembers where it is: the same command goes on
  mtctl apply day2.mts --group web            onto the disks that the group has
  nc -l 9443 | mtctl apply - --group web --resume --map db=/dev/sdb --map log=/dev/sdc
  mtctl apply disk.img --format raw --target /srv/images/disk.raw --verify
  mtctl apply db.rbd --group shop --volume db           of the volumes of the group, this one
  mtctl apply delta.rbd --target /dev/sdb --dry-run     read, verify, plan; write nothing

A stream whose checksum, order or bounds are wrong ends it with exit code 5, and nothing of the
batch in question is written. What was applied before is durable, and remembered with --group.

Without --group nothing is remembered: no resuming, no check that a stream follows the last one.";

/// What was typed after `mtctl apply`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Streams in the order in which they are applied; - is standard input, a directory is the svd
    /// streams in it by sequence number
    #[arg(value_name = "STREAM", required = true)]
    streams: Vec<PathBuf>,

    #[command(flatten)]
    targets: TargetOptions,

    /// The protection group: remembers what was applied, so that it is resumed, and checked
    #[arg(long, value_name = "NAME", add = completion::groups())]
    group: Option<String>,

    /// What the volume is called: of streams that have one and do not name it
    #[arg(long, value_name = "NAME", value_parser = stream_options::volume_name)]
    #[arg(conflicts_with = "map")]
    volume: Option<Name>,

    /// The format; a raw image has to be named
    #[arg(long, value_enum, default_value_t = FormatName::Auto)]
    format: FormatName,

    /// The size of a raw image that comes through a pipe: one that ends before it was cut
    #[arg(long, value_name = "SIZE", value_parser = size_argument::size)]
    size: Option<u64>,

    /// How disks are written [default of a new group: auto]
    #[arg(long, value_enum)]
    engine: Option<EngineName>,

    #[command(flatten)]
    at: RetentionOptions,

    #[command(flatten)]
    policy: PolicyOptions,

    /// A pipe that ends before its stream does is no failure: the rest comes another time
    #[arg(long, requires = "group")]
    resume: bool,

    /// Read back what was written and compare checksums
    #[arg(long)]
    verify: bool,

    /// Take it that the source has another size than before; grow an image file that is too small
    #[arg(long)]
    accept_resize: bool,

    /// Take the target though it is not known to be the one, or not as the group left it
    #[arg(long)]
    accept_target: bool,

    /// Apply an svd stream that the source made before the last one, or a native stream that may
    /// have been applied long ago
    #[arg(long)]
    accept_older: bool,

    /// Take it that the volume is where the stream begins, where that cannot be known
    #[arg(long)]
    accept_base: bool,

    /// Give up the stream that was begun and not finished, and apply this one
    #[arg(long)]
    accept_unfinished: bool,

    /// Read, verify and plan; write nothing: exit 3 if something is to be applied
    #[arg(long)]
    dry_run: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,

    /// Say on stderr what is done
    #[arg(long, short)]
    verbose: bool,
}

/// Applies the streams.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    crate::logging::start(arguments.verbose);
    let stop = crate::stop::flag()?;
    let mut group = open_group(arguments)?;
    let inputs = stream_options::inputs(&arguments.streams, arguments.format)?;
    let inputs = stream_options::of_size(inputs, arguments.format, arguments.size)?;
    let inputs = stream_options::of_volume(inputs, arguments.volume.as_ref());
    let progress = ByteProgress::new(inputs.iter().map(StreamArgument::length_bytes).sum());
    let assignments = assignments(arguments, group.view())?;
    let without_history = arguments.at.is_without_history();
    arguments.policy.settle_with(&mut group, arguments.engine, without_history)?;
    let options = options(arguments, &group.view().settings());
    if group.view().remembers() && !arguments.dry_run {
        let name = group.view().name();
        let place = arguments.at.place_of(name)?;
        let targets = assignments.iter().map(|assignment| assignment.identity.name.as_str());
        group_place::remember(&place, name, targets)?;
    }
    record(arguments, &group, &inputs, &assignments);
    let history = HistorySettings::default();
    let job = ApplyJob { source: inputs.into(), assignments, group, options, history, pool: None };
    let started = Instant::now();
    let outcome = blockio::apply::run(job, &stop, &mut |event| show_event(&progress, &event));
    drop(progress);
    finish(arguments, &outcome?, started.elapsed())
}

/// Records the streams by file, so that they are found later, even if the run is killed.
fn record(
    arguments: &Arguments,
    group: &Group,
    inputs: &[StreamArgument],
    assignments: &[Assignment],
) {
    if arguments.dry_run || !group.view().remembers() {
        return;
    }
    let (streams, more_streams) = own_run::streams(inputs, arguments.format.into());
    let disks = assignments.iter().map(|one| one.identity.name.clone()).collect();
    let run = RunBegin { streams, more_streams, disks, ..own_run::of("apply") };
    own_run::begins(group.begin_run(&run));
}

fn show_event(progress: &ByteProgress, event: &ApplyEvent<'_>) {
    match event {
        ApplyEvent::Progress { consumed } => progress.at(*consumed),
        ApplyEvent::Notice(notice) => {
            progress.say(&attention::kept(remedy::told(notice)));
        }
        ApplyEvent::VolumeFailed(error) => progress.suspend(|| {
            report::ours(error);
        }),
    }
}

fn options(arguments: &Arguments, settings: &GroupSettings) -> ApplyOptions {
    ApplyOptions {
        format: arguments.format.into(),
        engine: settings.engine,
        verify: arguments.verify,
        resume: arguments.resume,
        dry_run: arguments.dry_run,
        accept_resize: arguments.accept_resize,
        accept_target: arguments.accept_target,
        accept_older: arguments.accept_older,
        accept_base: arguments.accept_base,
        accept_unfinished: arguments.accept_unfinished,
        point_every: settings.point_every,
    }
}

fn open_group(arguments: &Arguments) -> anyhow::Result<Group> {
    let Some(name) = &arguments.group else {
        arguments.at.check_without_group()?;
        return Ok(Group::default());
    };
    group::check_name(name)?;
    let place = arguments.at.place_of(name)?;
    if arguments.targets.is_empty() {
        // A new group needs disks: without them, the name most likely has a typing error.
        GroupOptions { group: name.clone(), at: arguments.at.clone() }.place()?;
    }
    if place.history.is_none() && arguments.at.retention.is_none() {
        let text = "nothing is mounted on /mnt/retention: no history is kept, and there \
                    is no way back to a recovery point; --retention DIR keeps one, --retention \
                    none says that none is wanted";
        attention::warn(text);
    }
    let mut group = match arguments.dry_run {
        true => Group::rehearse(GroupView::look(&place, name)?),
        false => Group::open(&place, name)?,
    };
    attention::is_about(&place, name);
    attention::warn_of(&group.take_notes());
    Ok(group)
}

/// The disks that were named, or those of the group if none was named.
fn assignments(arguments: &Arguments, group: &GroupView) -> anyhow::Result<Vec<Assignment>> {
    let Some(name) = arguments.group.as_ref().filter(|_| arguments.targets.is_empty()) else {
        require_some(&arguments.targets)?;
        let place = arguments.group.as_ref().map(|name| arguments.at.place_of(name));
        let targets = arguments.targets.of_volume(arguments.volume.as_ref());
        return targets.open(&arguments.at, place.transpose()?.as_ref(), group);
    };
    if group.state().volumes.values().all(|volume| volume.target.is_none()) {
        return Err(group_targets::no_volumes(group).into());
    }
    let of = GroupOptions { group: name.clone(), at: arguments.at.clone() };
    let Some(volume) = &arguments.volume else { return group_targets::open(group, &of, false) };
    group_targets::open_one(group, &of, &volume.to_string().into())
}

fn require_some(targets: &TargetOptions) -> system::Result<()> {
    if !targets.is_empty() {
        return Ok(());
    }
    let context = "no disk is named that the streams are to go to";
    Err(system::Error::new(system::ErrorKind::Usage, context).with_hint(
        "--target DEVICE, or for each volume --map SOURCE=DEVICE, or the group that has its disks: \
             --group NAME",
    ))
}

fn finish(
    arguments: &Arguments,
    outcome: &Outcome,
    elapsed: std::time::Duration,
) -> anyhow::Result<Exit> {
    own_run::wrote(outcome.summary.bytes);
    let shown = show::Shown {
        as_json: arguments.json,
        is_dry: arguments.dry_run,
        is_in_group: arguments.group.is_some(),
    };
    show::outcome(outcome, elapsed, shown)?;
    Ok(match &outcome.ending {
        // Data may have been written before a guard refused.
        Ending::Failed(error) => report::ours_after_writing(error),
        Ending::Stopped => Exit::Failed,
        Ending::Complete | Ending::Incomplete => match volumes_exit(outcome) {
            Exit::Done if arguments.dry_run && !show::nothing_to_do(outcome) => Exit::NotReady,
            exit => exit,
        },
    })
}

/// Failed volumes were reported when they failed.
fn volumes_exit(outcome: &Outcome) -> Exit {
    let kinds = outcome.failed_volumes.iter().map(system::Error::kind);
    kinds.map(report::exit_of).next().unwrap_or(Exit::Done)
}
