//! `mtctl group create` and `set`: how a group is kept. Changes are shown.

use std::io::Write;

use blockio::group::{self, Group, GroupView, RunBegin};
use blockio::journal::settings::GroupSettings;
use clap::Args;
use serde::Serialize;
use system::{Error, ErrorKind};

use crate::document;
use crate::exit::Exit;
use crate::group_place::{self, GroupOptions};
use crate::output;
use crate::own_run;
use crate::policy_options::{self, Change, EngineName, PolicyOptions};
use crate::target_options::TargetOptions;

const EXAMPLES_OF_CREATE: &str = "\
Examples:
  mtctl group create --group web --target /dev/sdb
  mtctl group create --group shop --map db=/dev/sdb --map log=/dev/sdc
  mtctl group create --group web --retention-window 48h --keep-all 4h --point-every 5m";

const EXAMPLES_OF_SET: &str = "\
Examples:
  mtctl group set --group web --point-every 5m
  mtctl group set --group web --retention-bytes none --dry-run     exit 3 if it would change";

/// What was typed after `mtctl group create`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES_OF_CREATE)]
pub struct Create {
    #[command(flatten)]
    of: GroupOptions,

    #[command(flatten)]
    targets: TargetOptions,

    #[command(flatten)]
    kept: Kept,
}

/// What was typed after `mtctl group set`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES_OF_SET)]
pub struct Set {
    #[command(flatten)]
    of: GroupOptions,

    #[command(flatten)]
    kept: Kept,
}

#[derive(Debug, Args)]
struct Kept {
    #[command(flatten)]
    policy: PolicyOptions,

    /// How to write to its disks
    #[arg(long, value_enum)]
    engine: Option<EngineName>,

    /// Show what would change, and change nothing; exit 3 if something would
    #[arg(long)]
    dry_run: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Creates a group.
pub(super) fn create(arguments: &Create) -> anyhow::Result<Exit> {
    let name = &arguments.of.group;
    group::check_name(name)?;
    let place = arguments.of.at.place_of(name)?;
    if place.has_something()? {
        let context = format!("group {name} already exists, in {}", place.state.display());
        return Err(Error::new(ErrorKind::Usage, context)
            .with_hint(format!("see `mtctl group show --group {name}`"))
            .into());
    }
    let without_history = arguments.of.at.is_without_history();
    let new = GroupSettings { without_history, ..GroupSettings::default() };
    let settings = arguments.kept.policy.over(new, arguments.kept.engine)?;
    let nobody = GroupView::look(&place, name)?;
    let assignments = arguments.targets.open(&arguments.of.at, Some(&place), &nobody)?;
    let settled = policy_options::typed(&settings).into_iter();
    let settled = settled.map(|(option, to)| (option.to_owned(), to));
    let disks = assignments.iter().map(|one| match one.volume.is_unnamed() {
        true => ("--target".to_owned(), one.identity.name.clone()),
        false => (format!("--map {}", one.volume), one.identity.name.clone()),
    });
    let new = |(option, to)| Change { option, from: "-".to_owned(), to };
    let changes: Vec<Change> = disks.chain(settled).map(new).collect();
    if !arguments.kept.dry_run {
        let targets = assignments.iter().map(|one| one.identity.name.as_str());
        group_place::remember(&place, name, targets)?;
        let mut group = Group::open(&place, name)?;
        let disks = assignments.iter().map(|one| one.identity.name.clone()).collect();
        let run = RunBegin { disks, ..own_run::of("group create") };
        own_run::begins(group.begin_run(&RunBegin { detail: own_run::told(&changes), ..run }));
        group.create(settings, &assignments)?;
    }
    let done = format!("group {name} was created in {}", place.state.display());
    show(&changes, &arguments.kept, &done)
}

/// Changes how a group is kept.
pub(super) fn set(arguments: &Set) -> anyhow::Result<Exit> {
    let mut group = arguments.of.open_unless_dry(arguments.kept.dry_run)?;
    let before = group.view().settings();
    let mut after = arguments.kept.policy.over(before, arguments.kept.engine)?;
    after.without_history |= arguments.of.at.is_without_history();
    let changes = policy_options::changes(&before, &after);
    if !arguments.kept.dry_run && (!changes.is_empty() || group.view().state().settings.is_none()) {
        let detail = own_run::told(&changes);
        let run = RunBegin { detail, ..own_run::of("group set") };
        own_run::begins(group.begin_run(&run));
        group.set(after)?;
    }
    show(&changes, &arguments.kept, &format!("group {} is set", group.view().name()))
}

#[derive(Serialize)]
struct JsonChange<'a> {
    option: &'a str,
    from: &'a str,
    to: &'a str,
}

fn show(changes: &[Change], kept: &Kept, done: &str) -> anyhow::Result<Exit> {
    let mut out = output::stdout();
    if kept.json {
        let changes = changes.iter().map(|change| JsonChange {
            option: &change.option,
            from: &change.from,
            to: &change.to,
        });
        let changes: Vec<_> = changes.collect();
        let document = serde_json::json!({ "changes": changes, "changed": !kept.dry_run });
        document::print(&mut out, &document)?;
    } else if changes.is_empty() {
        writeln!(out, "nothing to do: these are already its settings")?;
    } else {
        let mut table = output::table(&["SETTING", "WAS", "IS"]);
        for change in changes {
            table.add_row([change.option.as_str(), change.from.as_str(), change.to.as_str()]);
        }
        output::print_table(&mut out, &table)?;
        let told = if kept.dry_run { "dry run: nothing was changed" } else { done };
        writeln!(out, "{told}")?;
    }
    out.flush()?;
    Ok(if kept.dry_run && !changes.is_empty() { Exit::NotReady } else { Exit::Done })
}
