//! The contenders that are measured, with the command line of each, in one place.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use serde_json::Value;

use crate::measure::{Input, Measured, quietly, run};
use crate::representation::Representations;
use crate::tools::Tools;
use crate::workload::{Kind, Workload};

/// Possible settings for fio's replay; which one is fastest depends on the workload and the
/// machine, so all are tried. Registered files are not included: fio 3.33 refuses them for a log.
const FIO_SETTINGS: [&str; 3] = [
    "--iodepth_batch_submit=16 --iodepth_batch_complete_min=1",
    "--iodepth_batch_submit=16 --iodepth_batch_complete_min=1 --iodepth_batch_complete_max=64 \
     --scramble_buffers=0 --gtod_reduce=1 --thread",
    "--iodepth_batch_submit=32 --iodepth_batch_complete_min=16 --iodepth_batch_complete_max=64 \
     --scramble_buffers=0 --gtod_reduce=1 --thread",
];

/// The names of contenders that claims refer to.
pub(crate) const BARE_READER: &str = "bare reader, socket";
/// The same stream without a sender.
pub(crate) const FROM_FILE: &str = "mtctl apply, file";

/// The role of a contender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Role {
    /// The others are compared with it.
    Reference,
    /// `mtctl` as it is judged.
    Subject,
    /// A command that is measured a second time: any difference is noise.
    Control,
    /// Anything else.
    Peer,
}

/// The clock that measures a contender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clock {
    /// Ours, from the start of the process to its end.
    Ours,
    /// mtctl's own, from its first look at the stream to the last flush; this is compared with fio.
    /// Another program of ours reports its time in the same way.
    Mtctl,
    /// fio's own: it excludes the time that fio takes to read its log, which is more than half a
    /// second.
    Fio,
}

/// One command that does all the work of a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Contender {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) command: Vec<String>,
    pub(crate) input: Input,
    pub(crate) clock: Clock,
    /// Shell scripts that run before and after it and are not measured; empty for none.
    pub(crate) around: [String; 2],
    /// A file with the process id of the server of which it is a client, if there is one.
    pub(crate) server: Option<PathBuf>,
    pub(crate) leaves: Leaves,
}

/// What the target holds after a contender has run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaves {
    /// The bytes of the workload.
    Payload,
    /// The contents from before the workload, because it rolls back.
    Before,
    /// The bytes of the workload, in slices of the target instead of the target itself.
    Slices,
    /// As many bytes as the workload has, with different contents.
    Anything,
    /// The contents as they are, because it only reads: with its last word, which is where the
    /// bytes go, replaced by the name of a file, it leaves them there.
    Copy(Copied),
}

/// What is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Copied {
    /// The target as it is.
    Now,
    /// The target as it was before the workload.
    Before,
}

/// A contender that could not be measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Skipped {
    pub(crate) name: String,
    pub(crate) reason: String,
}

impl Contender {
    /// A contender that writes the payload, timed by our clock and without input.
    pub(crate) fn new(name: &str, role: Role, command: &str) -> Self {
        Self {
            name: name.to_owned(),
            role,
            command: command.split_whitespace().map(str::to_owned).collect(),
            input: Input::None,
            clock: Clock::Ours,
            around: Default::default(),
            server: None,
            leaves: Leaves::Payload,
        }
    }

    pub(crate) fn reading(self, input: Input) -> Self {
        Self { input, ..self }
    }

    /// The same command under another name.
    pub(crate) fn again(&self) -> Self {
        Self { name: format!("{} again", self.name), role: Role::Control, ..self.clone() }
    }

    /// Runs `command`, which is its own or that with something around it; files of the run go to
    /// `directory`.
    ///
    /// # Errors
    ///
    /// It failed, or what has to run before or after it.
    pub(crate) fn run(&self, command: &[String], directory: &Path) -> Result<Measured> {
        let [before, after] = &self.around;
        quietly("sh", &["-ec", before])?;
        let measured = run(command, &self.input, self.server.as_deref(), directory);
        // Even if the run failed, so that nothing of it disturbs the next one.
        let put_away = quietly("sh", &["-ec", after]);
        let measured = measured?;
        put_away?;
        Ok(measured)
    }

    /// The relevant time in seconds of a run that was to write `bytes`.
    ///
    /// # Errors
    ///
    /// fio did not report it, or did not write everything.
    pub(crate) fn seconds(&self, measured: &Measured, bytes: u64) -> Result<f64> {
        match self.clock {
            Clock::Ours => Ok(measured.wall_seconds),
            Clock::Mtctl => mtctl_seconds(&measured.output),
            Clock::Fio => fio_seconds(&measured.output, bytes),
        }
    }
}

/// The time that mtctl, or another program of ours, reports.
fn mtctl_seconds(output: &str) -> Result<f64> {
    let said: Value = serde_json::from_str(output).context("parsing what mtctl printed")?;
    said["seconds"].as_f64().context("mtctl did not report how long it took")
}

/// The time that fio reports. fio stops its clock when it has read its log: it neither waits for
/// nor counts the I/O in flight at that point, at most its queue of 64, so its rate is applied to
/// all of `bytes`.
fn fio_seconds(output: &str, bytes: u64) -> Result<f64> {
    let json = output.find('{').map_or("", |start| &output[start..]);
    let said: Value = serde_json::from_str(json).context("parsing what fio printed")?;
    let write = &said["jobs"][0]["write"];
    let written = write["io_bytes"].as_f64().context("fio did not report what it wrote")?;
    let milliseconds = write["runtime"].as_f64().context("fio did not report how long it took")?;
    ensure!(written >= 0.9 * bytes as f64, "fio wrote {written} of {bytes} bytes");
    Ok(milliseconds / 1000.0 * bytes as f64 / written)
}

/// The candidates for the reference of `workload`; the fastest becomes the reference.
pub(crate) fn references(
    workload: &Workload,
    files: &Representations,
    device: &str,
) -> Vec<Contender> {
    let Some(iolog) = &files.iolog else {
        let image = files.image.as_deref().unwrap_or(Path::new(""));
        return vec![convert(Role::Reference, image, device)];
    };
    FIO_SETTINGS
        .iter()
        .map(|setting| {
            let command = format!(
                "fio --name={} --read_iolog={} --replay_redirect={device} --replay_no_stall=1 \
                 --ioengine=io_uring --direct=1 --iodepth=64 --fixedbufs {setting} \
                 --output-format=json",
                workload.name,
                iolog.display(),
            );
            Contender {
                clock: Clock::Fio,
                leaves: Leaves::Anything,
                ..Contender::new("fio replay", Role::Reference, &command)
            }
        })
        .collect()
}

/// All contenders except the reference, and those that are not installed.
pub(crate) fn others(
    reference: &Contender,
    workload: &Workload,
    files: &Representations,
    device: &str,
    tools: &Tools,
) -> (Vec<Contender>, Vec<Skipped>) {
    let mut found = Vec::new();
    let mut skipped = Vec::new();
    if tools.applying() {
        found.extend(mtctl(workload, files, device, &tools.mtctl));
    } else {
        skipped.push(Skipped {
            name: "mtctl apply".to_owned(),
            reason: format!("{} has no verb `apply`", tools.mtctl.display()),
        });
        found.push(reference.again());
    }
    if let Some(overlay) = &files.overlay {
        let command = format!("qemu-img commit -q -d -t none {}", overlay.display());
        found.push(Contender::new("qemu-img commit", Role::Peer, &command));
        if let Some(patch) = &files.patch {
            let command = format!("bdsync --patch={device}");
            let input = Input::File(patch.clone());
            found.push(Contender::new("bdsync", Role::Peer, &command).reading(input));
        } else {
            let reason =
                "bdsync is not installed (Debian 12 and the RHEL family do not package it)";
            skipped.push(Skipped { name: "bdsync".to_owned(), reason: reason.to_owned() });
        }
    }
    if let Some(image) = &files.image {
        if workload.kind != Kind::Image {
            found.push(convert(Role::Peer, image, device));
        }
        let command = format!(
            "dd if={} of={device} bs=1M oflag=direct conv=notrunc status=none",
            image.display()
        );
        found.push(Contender::new("dd", Role::Peer, &command));
    }
    (found, skipped)
}

/// `qemu-img convert` that also writes zeros into holes: no `--target-is-zero`.
fn convert(role: Role, image: &Path, device: &str) -> Contender {
    let command = format!(
        "qemu-img convert -n -W -m 16 -t none -T none -f raw -O raw {} {device}",
        image.display()
    );
    Contender::new("qemu-img convert", role, &command)
}

/// `mtctl apply`, twice; for the mixed delta also with its other engine.
fn mtctl(
    workload: &Workload,
    files: &Representations,
    device: &str,
    program: &Path,
) -> Vec<Contender> {
    let streams = [(&files.native, "native"), (&files.image, "raw")];
    let first = streams.into_iter().find_map(|(file, format)| Some((file.as_ref()?, format)));
    let Some((stream, format)) = first else { return Vec::new() };
    let source = stream.to_string_lossy();
    let subject = apply("mtctl apply", &source, format, device, program);
    let mut found = vec![subject.clone(), subject.again()];
    if workload.name == "mixed-delta" {
        let mut blocking = apply("mtctl apply, blocking", &source, format, device, program);
        blocking.role = Role::Peer;
        // The last word is the engine.
        blocking.command.pop();
        blocking.command.push("blocking".to_owned());
        found.push(blocking);
    }
    found
}

/// `mtctl apply` of the stream `source` of `format`, without a group.
fn apply(name: &str, source: &str, format: &str, device: &str, program: &Path) -> Contender {
    let command = format!(
        "{} apply {source} --format {format} --target {device} --json --engine uring",
        program.display()
    );
    // fio is timed by its own clock; convert, the reference for images, is not.
    let clock = if format == "native" { Clock::Mtctl } else { Clock::Ours };
    Contender { clock, ..Contender::new(name, Role::Subject, &command) }
}

/// The contenders that are fed by another process: a program that only reads, which is the
/// reference, and `mtctl apply`; it also applies the same stream from the file.
///
/// # Errors
///
/// There is no stream.
pub(crate) fn streamed(
    files: &Representations,
    device: &str,
    tools: &Tools,
) -> Result<Vec<Contender>> {
    let stream = files.native.clone().context("there is no stream")?;
    let reader = format!("{} read-stream", tools.ourselves.display());
    let bare = Contender {
        clock: Clock::Mtctl,
        leaves: Leaves::Anything,
        ..Contender::new(BARE_READER, Role::Reference, &reader)
    }
    .reading(Input::Socket(stream.clone()));
    let applying = |name, source: &str| apply(name, source, "native", device, &tools.mtctl);
    let socket = applying("mtctl apply, socket", "-").reading(Input::Socket(stream.clone()));
    let as_peer = |contender| Contender { role: Role::Peer, ..contender };
    let pipe = as_peer(applying("mtctl apply, pipe", "-").reading(Input::Pipe(stream.clone())));
    let file = as_peer(applying(FROM_FILE, &stream.to_string_lossy()));
    let again = socket.again();
    Ok(vec![bare, socket, again, pipe, file])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tools(programs: &[&str]) -> Tools {
        let versions = programs.iter().map(|name| ((*name).to_owned(), String::new())).collect();
        let [mtctl, ourselves] = ["/bin/mtctl", "/bin/mt-bench"].map(PathBuf::from);
        Tools { mtctl, ourselves, versions }
    }

    fn delta() -> (Workload, Representations) {
        let files = Representations {
            native: Some(PathBuf::from("/m/stream")),
            iolog: Some(PathBuf::from("/m/iolog")),
            overlay: Some(PathBuf::from("/m/overlay")),
            ..Representations::default()
        };
        (Workload::new("mixed-delta", 1 << 30), files)
    }

    fn names(contenders: &[Contender]) -> Vec<&str> {
        contenders.iter().map(|contender| contender.name.as_str()).collect()
    }

    #[test]
    fn the_mixed_delta_has_all_rows_of_mtctl_and_says_who_is_missing() {
        let (workload, files) = delta();
        let reference = references(&workload, &files, "/dev/loop9").remove(0);
        let tools = tools(&["mtctl"]);
        let (found, skipped) = others(&reference, &workload, &files, "/dev/loop9", &tools);
        let wanted =
            ["mtctl apply", "mtctl apply again", "mtctl apply, blocking", "qemu-img commit"];
        assert_eq!(names(&found), wanted);
        assert_eq!(found[0].command, found[1].command);
        assert!(found[2].command.ends_with(&["--engine", "blocking"].map(str::to_owned)));
        assert_eq!(skipped[0].name, "bdsync");
    }

    #[test]
    fn a_sender_feeds_the_bare_reader_and_apply_alike() {
        let (_, files) = delta();
        let found = streamed(&files, "/dev/loop9", &tools(&["mtctl"])).unwrap();
        assert_eq!(found[0].name, BARE_READER);
        assert_eq!((found[0].role, found[1].role), (Role::Reference, Role::Subject));
        assert_eq!(found[0].input, Input::Socket(PathBuf::from("/m/stream")));
        assert_eq!(found[0].input, found[1].input);
        assert_eq!(
            (found[1].command.clone(), found[1].clock),
            (found[2].command.clone(), found[0].clock)
        );
        assert!(found[1].command.contains(&"-".to_owned()), "{:?}", found[1]);
        assert_eq!((found[4].name.as_str(), &found[4].input), (FROM_FILE, &Input::None));
    }

    #[test]
    fn without_apply_the_reference_is_its_own_control() {
        let (workload, files) = delta();
        let reference = references(&workload, &files, "/dev/loop9").remove(0);
        let tools = tools(&[]);
        let (found, skipped) = others(&reference, &workload, &files, "/dev/loop9", &tools);
        assert_eq!(names(&found), ["fio replay again", "qemu-img commit"]);
        assert_eq!((found[0].role, found[0].clock), (Role::Control, Clock::Fio));
        assert_eq!(skipped[0].name, "mtctl apply");
    }

    #[test]
    fn an_image_is_compared_with_convert() {
        let workload = Workload::new("half-zero-image", 1 << 30);
        let image = Some(PathBuf::from("/m/image"));
        let files = Representations { image, ..Representations::default() };
        let reference = references(&workload, &files, "/dev/loop9").remove(0);
        let tools = tools(&["mtctl"]);
        let (found, _) = others(&reference, &workload, &files, "/dev/loop9", &tools);
        assert_eq!(reference.name, "qemu-img convert");
        assert_eq!(names(&found), ["mtctl apply", "mtctl apply again", "dd"]);
        assert!(found[0].command.contains(&"raw".to_owned()), "{:?}", found[0]);
    }

    #[test]
    fn fio_is_timed_by_itself_and_has_to_have_written_everything() {
        let said = |bytes| {
            format!("note\n{{\"jobs\":[{{\"write\":{{\"io_bytes\":{bytes},\"runtime\":500}}}}]}}")
        };
        assert!((fio_seconds(&said(1000), 1000).unwrap() - 0.5).abs() < 1e-9);
        assert!((fio_seconds(&said(940), 1000).unwrap() - 0.5 * 1000.0 / 940.0).abs() < 1e-9);
        assert!(fio_seconds(&said(899), 1000).is_err());
        assert!(fio_seconds("no JSON", 1000).is_err());
    }
}
