//! What is hashed or compared: how it is named, how it becomes a view, and how it is checked that
//! it did not change. The one place where the verbs that only read get a view.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use blockio::device::{Engine, open};
use blockio::digest::Watch;
use blockio::journal::selector::Selector;
use blockio::view::View;
use blockio::volume;
use blockio::volume::stillness::Stillness;
use clap::Args;
use system::{Error, ErrorKind};

use crate::byte_progress::ByteProgress;
use crate::completion;
use crate::group_place::GroupOptions;
use crate::point_views;
use crate::retention_options::RetentionOptions;
use crate::target_argument::{NamedTarget, TargetArgument};

/// What names it.
#[derive(Debug, Args)]
pub(crate) struct SubjectArguments {
    /// The disk or image file: a path, or wwid:ID
    #[arg(value_name = "DEVICE", required_unless_present = "to", conflicts_with = "to")]
    pub(crate) device: Option<TargetArgument>,

    /// A recovery point of a group, instead of a disk; replication may continue
    #[arg(long, value_name = "POINT", requires = "group", add = completion::points())]
    to: Option<Selector>,

    /// Which volume of the group
    #[arg(long, value_name = "NAME", requires = "to")]
    volume: Option<String>,

    /// The protection group of the recovery point
    #[arg(long, value_name = "NAME", requires = "to", add = completion::groups())]
    group: Option<String>,

    #[command(flatten)]
    at: RetentionOptions,
}

impl SubjectArguments {
    /// The volume at the recovery point that is named, if one is.
    ///
    /// # Errors
    ///
    /// As [`point_views::at`]; `Usage`: several volumes match.
    pub(crate) fn at_point(&self) -> anyhow::Result<Option<Subject>> {
        let (Some(to), Some(group)) = (&self.to, &self.group) else { return Ok(None) };
        let of = GroupOptions { group: group.clone(), at: self.at.clone() };
        let group = of.look()?;
        let wanted = self.volume.as_deref().map(|name| [name]);
        let (_, mut views) = point_views::at(&of, &group, to, wanted.as_ref().map(|w| &w[..]))?;
        let only = views.pop().filter(|_| views.is_empty());
        let only = only.ok_or_else(|| {
            let names = group.state().volumes.keys().map(|name| format!("--volume {name}"));
            let names: Vec<_> = names.collect();
            let context = format!("group {} has several volumes", group.name());
            Error::new(ErrorKind::Usage, context)
                .with_hint(format!("name one: {}", names.join(", or ")))
        })?;
        Ok(Some(Subject { view: only.view, stillness: None }))
    }
}

/// A disk or recovery point to be read.
pub(crate) struct Subject {
    /// Its bytes.
    pub(crate) view: View,
    /// `None` if nobody can write to it.
    stillness: Option<Stillness>,
}

impl Subject {
    /// A disk or an image file in its current state, claimed for as long as this lives.
    ///
    /// # Errors
    ///
    /// As [`volume::open_for_reading`]; `Usage`: it is empty.
    pub(crate) fn of_target(named: &NamedTarget) -> system::Result<Self> {
        let target = volume::open_for_reading(&named.request)?;
        let (shown, geometry) = (target.path().display().to_string(), target.geometry());
        if geometry.capacity.is_zero() {
            let context = format!("reading {shown}: it is empty");
            return Err(Error::new(ErrorKind::Usage, context)
                .with_hint("name another: mtctl disks lists the disks"));
        }
        let stillness = Some(Stillness::begin(&target)?);
        // A view requests one read at a time: a ring would not be faster.
        let device = open::open(target.into_file(), geometry, Engine::Blocking)?;
        Ok(Self { view: View::of_disk(shown, device)?, stillness })
    }

    /// Its length in bytes.
    pub(crate) fn length(&self) -> u64 {
        self.view.geometry().capacity.get()
    }

    /// Releases it after the last read, and returns its name for messages.
    ///
    /// # Errors
    ///
    /// `Refused`: it was written to meanwhile, so what was read is not a single state of it.
    pub(crate) fn end(self) -> system::Result<String> {
        if let Some(stillness) = self.stillness {
            stillness.end()?;
        }
        Ok(self.view.shown().to_owned())
    }
}

/// Accompanies reading with a moving line and the signals that end it.
pub(crate) struct Looking {
    progress: ByteProgress,
    stop: Arc<AtomicBool>,
}

impl Looking {
    /// Begins, with `length` bytes to read.
    ///
    /// # Errors
    ///
    /// The signal handlers cannot be installed.
    pub(crate) fn begin(length: u64) -> anyhow::Result<Self> {
        let stop = crate::stop::flag()?;
        Ok(Self { progress: ByteProgress::new(Some(length)), stop })
    }

    /// Does `work`, and ends the moving line.
    pub(crate) fn watch<T>(self, work: impl FnOnce(&mut Watch<'_>) -> T) -> T {
        let progress = &mut |bytes| self.progress.at(bytes);
        work(&mut Watch { stop: &self.stop, progress })
    }
}
