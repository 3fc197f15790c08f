//! `mtctl restore`: copies a recovery point onto other disks or new image files while replication
//! continues. `blockio::restore` copies and reads back; `restore_targets` finds the targets.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use blockio::device::Engine;
use blockio::device::open::open;
use blockio::digest::{LeafSize, Watch, digest};
use blockio::group::{GroupView, RunBegin};
use blockio::journal::selector::{self, Selector};
use blockio::restore::{Before, Copied, Onto, copy, verify};
use blockio::view::View;
use blockio::volume::{self, Target, TargetKind, TargetRequest};
use clap::Args;
use system::{Error, ErrorKind};

use crate::byte_progress::ByteProgress;
use crate::completion;
use crate::exit::Exit;
use crate::group_place::GroupOptions;
use crate::new_image::NewImage;
use crate::point_views::{self, PointView};
use crate::qemu_image::{self, ImageFormat, QemuFormat};
use crate::restore_targets::{self, Destination};
use crate::{group_targets, output, own_run, question, report};

mod package;
mod pair;
mod show;

use package::PackageOptions;
use pair::{Pair, Restored};
use show::About;

const EXAMPLES: &str = "\
Examples:
  mtctl restore --group web --to latest-app --onto db=/dev/sdx --onto log=/dev/sdy
  mtctl restore --group web --to latest --onto db=/srv/db.img --create     a new file, sparse
  mtctl restore --group mail --to before-upgrade --onto wwid:6000c29f3a2b4c5d6e7f8091a2b3c4d5
                                              a group with one volume
  mtctl restore --group web --to latest --onto db=/dev/sdx --dry-run       what would be written
  mtctl restore --group web --to latest --onto db=web-db.vmdk --onto log=web-log.vmdk --create \\
      --output-format vmdk --ovf web.ovf     for import into ESXi

The disks of the group are only read, and replication may continue. What was written is flushed,
read back and compared; only then does an image file get its name. If the restore stops or fails, a
target disk holds only a part of the point.";

/// What was typed after `mtctl restore`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    of: GroupOptions,

    /// Which point: a number, a name, a time, latest, latest-app, or start
    #[arg(long, value_name = "POINT", add = completion::points())]
    to: Selector,

    /// Target of a volume: a disk (a path, or wwid:ID) or an image file, at least as large; once
    /// for each volume to restore. The name can be omitted if the group has one volume
    #[arg(long, value_name = "VOLUME=TARGET", required = true)]
    onto: Vec<String>,

    /// Create image files that do not exist
    #[arg(long)]
    create: bool,

    /// Format of new image files; qcow2 and vmdk need qemu-img
    #[arg(long, value_enum, default_value_t = ImageFormat::Raw)]
    output_format: ImageFormat,

    #[command(flatten)]
    package: PackageOptions,

    /// Accept disks that may not be the group's, or are not as it left them
    #[arg(long)]
    accept_target: bool,

    /// Do not ask before overwriting something
    #[arg(long)]
    yes: bool,

    /// Show what would be written where, and write nothing; exit 3
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Restores the point.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    crate::logging::start(false);
    let stop = crate::stop::flag()?;
    let group = arguments.of.look()?;
    let point = selector::find(group.catalogue()?, &arguments.to)?.id;
    let (shown, pairs) = pairs(arguments, &group)?;
    check_format(arguments, &pairs)?;
    arguments.package.check(&pairs, &arguments.of)?;
    let about = About {
        point,
        point_text: &shown,
        format: arguments.output_format,
        package: &arguments.package,
        as_json: arguments.json,
    };
    if !arguments.json || arguments.dry_run {
        show::plan(&pairs, &about)?;
    }
    if arguments.dry_run {
        return Ok(Exit::NotReady);
    }
    require_agreement(&pairs, arguments.yes)?;
    own_run::begins(group.begin_run_beside(&record(&group, &pairs, &shown)));
    let how = How {
        engine: group.settings().engine,
        format: arguments.output_format.of_qemu(),
        stop: &stop,
    };
    match restore_all(pairs, how).and_then(|restored| packed(arguments, restored)) {
        Ok(restored) => {
            own_run::wrote(restored.iter().map(|one| one.bytes).sum());
            show::restored(&restored, &about)?;
            Ok(Exit::Done)
        }
        Err(Stopped { left, error }) => {
            let exit = report::ours_after_writing(&error);
            output::complain(&output::wrapped(&left, 2));
            Ok(exit)
        }
    }
}

/// The entry in the group's log of runs.
fn record(group: &GroupView, pairs: &[Pair], shown: &str) -> RunBegin {
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let onto = pairs.iter().map(|pair| absolute(pair.path()).display().to_string());
    let onto = onto.collect::<Vec<_>>();
    let detail = Some(format!("onto {}", onto.join(", ")));
    RunBegin { detail, ..own_run::at(group, "restore", shown) }
}

/// How to restore.
#[derive(Clone, Copy)]
struct How<'a> {
    engine: Engine,
    /// The format that qemu-img is to make; `None` for raw bytes.
    format: Option<QemuFormat>,
    stop: &'a AtomicBool,
}

/// A format applies to files: a disk holds the bytes themselves.
fn check_format(arguments: &Arguments, pairs: &[Pair]) -> system::Result<()> {
    let usage =
        |context: String, hint: &str| Err(Error::new(ErrorKind::Usage, context).with_hint(hint));
    if arguments.package.descriptor().is_some() && arguments.output_format != ImageFormat::Vmdk {
        let context = "--ovf: an OVF needs VMDKs".to_owned();
        return usage(context, "add --output-format vmdk");
    }
    if arguments.output_format == ImageFormat::Raw {
        return Ok(());
    }
    if let Some(there) = pairs.iter().find(|pair| pair.held.is_some()) {
        let context = format!("--output-format: {} already exists", there.path().display());
        return usage(context, "images of that format are new files: name one, and add --create");
    }
    qemu_image::check()
}

/// Adds a package around `restored`, if one is wanted.
fn packed(arguments: &Arguments, restored: Vec<Restored>) -> Result<Vec<Restored>, Stopped> {
    let written = arguments.package.write(&arguments.of.group, &restored);
    let left = || "the images are complete; the OVF or its manifest is not".to_owned();
    written.map_err(|error| Stopped { left: left(), error })?;
    Ok(restored)
}

/// The wanted volumes at the point, each with its target, which has passed every guard and is held.
fn pairs(arguments: &Arguments, group: &GroupView) -> anyhow::Result<(String, Vec<Pair>)> {
    let volumes: Vec<_> = group.state().volumes.keys().cloned().collect();
    let assigned = restore_targets::assigned(&volumes, &arguments.onto)?;
    let typed: Vec<_> = assigned.iter().map(|(_, target)| *target).collect();
    let found = restore_targets::look_up(&typed, arguments.create, &arguments.of, group)?;
    let wanted: Vec<_> = assigned.iter().map(|(name, _)| name.as_str()).collect();
    if !arguments.accept_target {
        group_targets::require_readable_points(group, Some(&wanted))?;
    }
    let (point, mut views) = point_views::at(&arguments.of, group, &arguments.to, Some(&wanted))?;
    let mut pairs = Vec::new();
    for ((name, _), destination) in assigned.into_iter().zip(found) {
        let Some(at) = views.iter().position(|view| view.name == name) else {
            let context =
                format!("group {} does not know the disk of {}", group.name(), name.in_words());
            return Err(Error::new(ErrorKind::Usage, context)
                .with_hint("its state was rebuilt: name the disk again with the next stream")
                .into());
        };
        let PointView { name, view } = views.swap_remove(at);
        let held = match &destination {
            Destination::There(named) => Some(hold(&named.request, &view)?),
            Destination::New(_) => None,
        };
        pairs.push(Pair { name, view, destination, held });
    }
    Ok((selector::shown(point), pairs))
}

/// Opens an existing target exclusively, if `view` fits.
fn hold(request: &TargetRequest, view: &View) -> system::Result<Target> {
    let target = volume::open(request)?;
    let (room, length) = (target.geometry().capacity, view.geometry().capacity);
    if room >= length {
        return Ok(target);
    }
    let hint = match target.kind() {
        TargetKind::BlockDevice => "name a larger disk",
        TargetKind::ImageFile => "name a new file, and add --create",
    };
    let path = request.path.display();
    Err(Error::refused(format!("{path}: it has {room} bytes, but the volume has {length}"))
        .with_hint(hint))
}

/// New files need no agreement.
fn require_agreement(pairs: &[Pair], yes: bool) -> anyhow::Result<()> {
    let there = pairs.iter().filter(|pair| pair.held.is_some());
    let there: Vec<_> = there.map(|pair| output::plain(pair.path().display())).collect();
    if there.is_empty() {
        return Ok(());
    }
    question::require_yes(&format!("Overwrite everything on {}?", there.join(", ")), yes)
}

/// The error that ended the restore, and what it leaves behind.
struct Stopped {
    left: String,
    error: Error,
}

/// Restores volume by volume. Files get their names when all volumes are complete and read back: a
/// crash before that leaves none of them.
fn restore_all(pairs: Vec<Pair>, how: How<'_>) -> Result<Vec<Restored>, Stopped> {
    let passes = if how.format.is_some() { 3 } else { 2 };
    let total: u64 = pairs.iter().map(|pair| passes * pair.length()).sum();
    let progress = ByteProgress::new(Some(total));
    let mut before = 0;
    let (mut restored, mut images) = (Vec::new(), Vec::new());
    for pair in pairs {
        let left = what_is_left(&pair);
        let length = pair.length();
        let mut told = |bytes| progress.at(before + bytes);
        let done = match how.format {
            Some(format) => image_of(pair, format, how.stop, &mut told),
            None => restore(pair, how, &mut told),
        };
        let (one, image) = done.map_err(|error| Stopped { left, error })?;
        restored.push(one);
        images.extend(image);
        before += passes * length;
    }
    for image in images {
        let left = "not every file was renamed into place".to_owned();
        image.finish().map_err(|error| Stopped { left, error })?;
    }
    Ok(restored)
}

/// What exists of `pair` if it was not restored completely.
fn what_is_left(pair: &Pair) -> String {
    let there = pair.held.as_ref().map(|_| output::plain(pair.path().display()));
    there.map_or_else(
        || "no file was made".to_owned(),
        |there| format!("{there} holds only a part of the point"),
    )
}

/// Copies, flushes, reads back and compares. An image that was made has no name yet.
fn restore(
    pair: Pair,
    How { engine, stop, .. }: How<'_>,
    told: &mut dyn FnMut(u64),
) -> system::Result<(Restored, Option<NewImage>)> {
    let started = Instant::now();
    let length = pair.length();
    let Pair { name, view, destination, held } = pair;
    let path = destination.path().to_owned();
    let (target, image) = match held {
        Some(target) => (target, None),
        None => {
            let image = NewImage::begin(&path, length)?;
            let request = TargetRequest { path: image.part().to_owned(), ..Default::default() };
            (volume::open(&request)?, Some(image))
        }
    };
    let shown = path.display().to_string();
    let before = if image.is_some() { Before::Zeros } else { Before::Unknown };
    let copied = write(&view, &target, (shown.clone(), before), engine, stop, told)?;
    let read_back = read_back(shown, target)?;
    let mut progress = |bytes| told(length + bytes);
    verify(&copied, &read_back, &mut Watch { stop, progress: &mut progress })?;
    let seconds = started.elapsed().as_secs_f64();
    let (zero_bytes, digest) = (Some(copied.zero_bytes.get()), copied.digest.root().to_string());
    Ok((Restored { name, path, bytes: length, zero_bytes, digest, seconds }, image))
}

/// The same in a format of qemu-img, which makes and compares the image. The point is hashed before
/// that, so that damage is found before anything is written.
fn image_of(
    pair: Pair,
    format: QemuFormat,
    stop: &AtomicBool,
    told: &mut dyn FnMut(u64),
) -> system::Result<(Restored, Option<NewImage>)> {
    let started = Instant::now();
    let (bytes, path) = (pair.length(), pair.path().to_owned());
    let Pair { name, view, .. } = pair;
    let capacity = view.geometry().capacity;
    let mut watch = Watch { stop, progress: &mut *told };
    let digest = digest(&view, capacity, LeafSize::DEFAULT, &mut watch)?.root().to_string();
    let image = NewImage::begin(&path, 0)?;
    let mut progress = |passes: f64| told(bytes + (passes * bytes as f64) as u64);
    qemu_image::make(view, image.part(), format, stop, &mut progress)?;
    let seconds = started.elapsed().as_secs_f64();
    Ok((Restored { name, path, bytes, zero_bytes: None, digest, seconds }, Some(image)))
}

fn write(
    view: &View,
    target: &Target,
    (shown, before): (String, Before),
    engine: Engine,
    stop: &AtomicBool,
    told: &mut dyn FnMut(u64),
) -> system::Result<Copied> {
    let file = target.file().try_clone();
    let file = file.map_err(|cause| Error::failed(format!("opening {shown}"), cause))?;
    let device = open(file, target.geometry(), engine)?;
    copy(view, Onto { shown, device, before }, &mut Watch { stop, progress: told })
}

/// The written data, as it is read from the disk.
fn read_back(shown: String, target: Target) -> system::Result<View> {
    let geometry = target.geometry();
    // A view requests one read at a time: a ring would not be faster.
    View::of_disk(shown, open(target.into_file(), geometry, Engine::Blocking)?)
}
