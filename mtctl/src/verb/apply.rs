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
                                              remembers its position: the same command resumes
  mtctl apply day2.mts --group web            onto the disks of the group
  nc -l 9443 | mtctl apply - --group web --resume --map db=/dev/sdb --map log=/dev/sdc
  mtctl apply disk.img --format raw --target /srv/images/disk.raw --verify
  mtctl apply db.rbd --group shop --volume db           one volume of the group
  mtctl apply delta.rbd --target /dev/sdb --dry-run     read, verify, plan; write nothing

A stream with a wrong checksum, order or bounds ends the run with exit code 5, and nothing of the
batch in question is written. What was applied before is durable, and with --group remembered.

Without --group nothing is remembered: a run cannot be resumed, and nobody checks that a stream
follows the last one.";

/// What was typed after `mtctl apply`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Streams in the order in which to apply them; - is standard input; a directory stands for the
    /// svd streams in it, by sequence number
    #[arg(value_name = "STREAM", required = true)]
    streams: Vec<PathBuf>,

    #[command(flatten)]
    targets: TargetOptions,

    /// The protection group: it remembers what was applied, so that a run can be resumed and the
    /// next stream checked
    #[arg(long, value_name = "NAME", add = completion::groups())]
    group: Option<String>,

    /// Name of the volume, for streams with one volume that do not name it
    #[arg(long, value_name = "NAME", value_parser = stream_options::volume_name)]
    #[arg(conflicts_with = "map")]
    volume: Option<Name>,

    /// Format of the stream; a raw image is not detected
    #[arg(long, value_enum, default_value_t = FormatName::Auto)]
    format: FormatName,

    /// Size of a raw image from a pipe: if it ends earlier, it was truncated
    #[arg(long, value_name = "SIZE", value_parser = size_argument::size)]
    size: Option<u64>,

    /// How to write to disks [default of a new group: auto]
    #[arg(long, value_enum)]
    engine: Option<EngineName>,

    #[command(flatten)]
    at: RetentionOptions,

    #[command(flatten)]
    policy: PolicyOptions,

    /// Do not fail if a pipe ends before its stream does: the rest follows later
    #[arg(long, requires = "group")]
    resume: bool,

    /// Read back what was written and compare checksums
    #[arg(long)]
    verify: bool,

    /// Accept that the size of the source changed, and grow an image file that is too small
    #[arg(long)]
    accept_resize: bool,

    /// Accept a target that may not be the group's disk, or is not as the group left it
    #[arg(long)]
    accept_target: bool,

    /// Accept an svd stream older than the last one, or a native stream that may have been applied
    /// long ago
    #[arg(long)]
    accept_older: bool,

    /// Accept that the volume is where the stream begins if this is not known
    #[arg(long)]
    accept_base: bool,

    /// Give up the unfinished stream, and apply this one
    #[arg(long)]
    accept_unfinished: bool,

    /// Read, verify and plan, but write nothing; exit 3 if there is something to apply
    #[arg(long)]
    dry_run: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,

    /// Log on stderr what is done
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
    let job = ApplyJob { source: inputs.into(), assignments, options, history, pool: None };
    let started = Instant::now();
    let outcome =
        blockio::apply::run(&mut group, job, &stop, &mut |event| show_event(&progress, &event));
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
        checkpoint_bytes: None,
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
        let text = "nothing is mounted on /mnt/retention: no history is kept, so there will be no \
                    recovery points; use --retention DIR to keep history, or --retention none to \
                    go without";
        attention::warn(text);
    }
    let mut group = match arguments.dry_run {
        true => Group::rehearse(GroupView::look(&place, name)?),
        false => Group::open(&place, name)?,
    };
    attention::set_group(&place, name);
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
    let context = "no disk is named for the streams";
    Err(system::Error::new(system::ErrorKind::Usage, context).with_hint(
        "use --target DEVICE, or --map SOURCE=DEVICE for each volume, or name the group that has \
         the disks: --group NAME",
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
