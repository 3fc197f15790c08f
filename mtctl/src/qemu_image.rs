//! An image in a format that is not ours, made by qemu-img from a view that we serve to it, and
//! compared by qemu-img afterwards. Only qemu-img knows the formats.

use std::io::{ErrorKind as IoKind, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use blockio::nbd::{Export, Listen, Server};
use blockio::view::View;
use clap::ValueEnum;
use nix::sys::statvfs::statvfs;
use system::{Error, ErrorKind, Result};

use crate::location::directory_of;
use crate::private_socket::PrivateSocket;

const PROGRAM: &str = "qemu-img";
const EXPORT: &str = "point";
/// How much of its error output is kept, in bytes.
const SAID_BYTES_MAX: u64 = 4096;

/// If less space is left, in bytes, an image could not be made for lack of space: an image grows by
/// a cluster and the tables that lead to it.
const ROOM_BYTES_MIN: u64 = 1 << 20;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ImageFormat {
    /// The bytes of the disk, as a sparse file
    Raw,
    /// A QEMU disk
    Qcow2,
    /// A disk of an OVF package (streamOptimized)
    Vmdk,
}

impl ImageFormat {
    /// The format as typed.
    pub(crate) fn name(self) -> &'static str {
        self.of_qemu().map_or("raw", QemuFormat::name)
    }

    /// The format that qemu-img has to make; `None` for raw bytes.
    pub(crate) fn of_qemu(self) -> Option<QemuFormat> {
        match self {
            Self::Raw => None,
            Self::Qcow2 => Some(QemuFormat::Qcow2),
            Self::Vmdk => Some(QemuFormat::Vmdk),
        }
    }
}

/// A format supported by qemu-img.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QemuFormat {
    /// qcow2, version 3.
    Qcow2,
    /// VMDK, streamOptimized: the kind in an OVF package.
    Vmdk,
}

impl QemuFormat {
    fn name(self) -> &'static str {
        match self {
            Self::Qcow2 => "qcow2",
            Self::Vmdk => "vmdk",
        }
    }

    fn options(self) -> &'static [&'static str] {
        match self {
            Self::Qcow2 => &[],
            Self::Vmdk => &["-o", "subformat=streamOptimized"],
        }
    }
}

/// Checks that qemu-img is available.
///
/// # Errors
///
/// `Usage`: it is not.
pub(crate) fn check() -> Result<()> {
    let found = Command::new(PROGRAM).arg("--version").stdout(Stdio::null()).status();
    found.map(drop).map_err(not_started)
}

fn not_started(cause: std::io::Error) -> Error {
    let is_absent = cause.kind() == IoKind::NotFound;
    let error = Error::failed(format!("starting {PROGRAM}"), cause);
    if !is_absent {
        return error;
    }
    let context = format!("{PROGRAM}, which makes images of this format, is not installed");
    Error::new(ErrorKind::Usage, context).with_hint(
        "install it (Debian, Ubuntu: qemu-utils; RHEL family: qemu-img), or restore a raw image",
    )
}

/// Turns `path`, which is an empty file, into an image of `view` in `format`, and compares the two.
/// `told` receives the progress, from 0 to 2: 1 when made, 2 when compared.
///
/// # Errors
///
/// `Failed`: qemu-img says why, or was stopped. `Integrity`: the image holds something else.
pub(crate) fn make(
    view: View,
    path: &Path,
    format: QemuFormat,
    stop: &AtomicBool,
    told: &mut dyn FnMut(f64),
) -> Result<()> {
    let socket = PrivateSocket::new()?;
    let export = Export { name: EXPORT.to_owned(), view: Arc::new(view), scratch: None };
    let server = Server::bind(Listen::Unix(socket.path()), vec![export])?;
    let uri = server.address().uri(EXPORT);
    // Set by the signals that end us, and by us when there is nothing left to serve.
    let ending =
        crate::stop::flag().map_err(|error| Error::new(ErrorKind::Failed, format!("{error:#}")))?;
    ending.fetch_or(stop.load(Ordering::SeqCst), Ordering::SeqCst);
    std::thread::scope(|scope| {
        // If the server ends, so does its client, because its disk is gone.
        let served = scope.spawn(|| server.serve(&ending));
        let made = convert(&uri, path, format, &mut *told)
            .and_then(|()| compare(&uri, path, format, &mut |part| told(1.0 + part)));
        let was_stopped = ending.swap(true, Ordering::SeqCst);
        let served = served.join().unwrap_or(Ok(()));
        match made {
            Err(_) if was_stopped => {
                Err(Error::new(ErrorKind::Failed, "stopped before the end, as requested"))
            }
            made => made.and(served),
        }
    })
}

fn convert(uri: &str, path: &Path, format: QemuFormat, told: &mut dyn FnMut(f64)) -> Result<()> {
    let mut command = Command::new(PROGRAM);
    command.args(["convert", "-p", "-f", "raw", "-O", format.name()]).args(format.options());
    match run(command.arg(uri).arg(path), told)? {
        (Some(0), _) => {}
        (_, said) => return Err(failed("making the image", path, &said)),
    }
    // Makes the comparison cover more than the page cache.
    let file = std::fs::File::open(path).and_then(|file| file.sync_all());
    file.map_err(|cause| Error::failed("flushing the image", cause))
}

fn compare(uri: &str, path: &Path, format: QemuFormat, told: &mut dyn FnMut(f64)) -> Result<()> {
    let mut command = Command::new(PROGRAM);
    command.args(["compare", "-p", "-f", "raw", "-F", format.name()]);
    match run(command.arg(uri).arg(path), told)? {
        (Some(0), _) => Ok(()),
        (Some(1), said) => {
            let context = format!("comparing the image with the point: {said}");
            Err(Error::new(ErrorKind::Integrity, context)
                .with_hint("do not trust this filesystem, or this qemu-img: make a raw image"))
        }
        (_, said) => Err(failed("comparing the image with the point", path, &said)),
    }
}

/// On a full filesystem, its message may not say so.
fn failed(doing: &str, path: &Path, said: &str) -> Error {
    let directory = directory_of(path);
    let left = statvfs(directory).map(|found| found.blocks_available() * found.fragment_size());
    if left.is_ok_and(|bytes| bytes < ROOM_BYTES_MIN) {
        let directory = directory.display();
        let context = format!("{doing}: no space left in {directory} ({PROGRAM} says: {said})");
        return Error::new(ErrorKind::Failed, context)
            .with_hint("make room, or name a file on another filesystem");
    }
    Error::new(ErrorKind::Failed, format!("{doing}: {PROGRAM} says: {said}"))
        .with_hint("a raw image needs no qemu-img")
}

/// Runs `command`, which prints its progress; returns its exit code and what it complained about.
fn run(command: &mut Command, told: &mut dyn FnMut(f64)) -> Result<(Option<i32>, String)> {
    let piped = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().map_err(not_started)?;
    let waiting = |cause| Error::failed(format!("waiting for {PROGRAM}"), cause);
    let said = std::thread::scope(|scope| {
        let stderr = child.stderr.take();
        let said = scope.spawn(move || last_words(stderr));
        let stdout = listen(&mut child, told);
        let said = said.join().unwrap_or_default();
        if said.is_empty() { stdout } else { said }
    });
    Ok((child.wait().map_err(waiting)?.code(), said))
}

/// Reads everything, so that the program need not wait for us; only the beginning is kept.
fn last_words(from: Option<impl Read>) -> String {
    let Some(mut from) = from else { return String::new() };
    let mut said = Vec::new();
    let _ = from.by_ref().take(SAID_BYTES_MAX).read_to_end(&mut said);
    let _ = std::io::copy(&mut from, &mut std::io::sink());
    String::from_utf8_lossy(&said).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Follows the progress until the end: `    (12.34/100%)`, each overwriting the last. Returns the
/// last other line of the output.
fn listen(child: &mut Child, told: &mut dyn FnMut(f64)) -> String {
    let Some(mut stdout) = child.stdout.take() else { return String::new() };
    let (mut line, mut byte, mut last) = (Vec::new(), [0], String::new());
    while stdout.read(&mut byte).is_ok_and(|count| count == 1) {
        if !matches!(byte[0], b'\r' | b'\n') {
            line.push(byte[0]);
            continue;
        }
        let text = String::from_utf8_lossy(&line).trim().to_owned();
        match fraction(&text) {
            Some(done) => told(done),
            None if text.is_empty() => {}
            None => last = text,
        }
        line.clear();
    }
    last
}

fn fraction(text: &str) -> Option<f64> {
    let percent: f64 = text.strip_prefix('(')?.strip_suffix("/100%)")?.parse().ok()?;
    Some(percent / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_it_is_is_told_as_qemu_img_prints_it() {
        assert_eq!(fraction("(50.00/100%)"), Some(0.5));
        for other in ["Images are identical.", "(x/100%)", "(50.00/100%", ""] {
            assert_eq!(fraction(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_said_besides_how_far_it_is_is_kept() {
        let script = "printf '    (0.00/100%%)\\r    (99.50/100%%)\\r\\nNot the same.\\n'; exit 1";
        let mut heard = Vec::new();
        let mut command = Command::new("sh");
        let ended = run(command.args(["-c", script]), &mut |part| heard.push(part)).unwrap();
        assert_eq!(ended, (Some(1), "Not the same.".to_owned()));
        assert_eq!(heard, [0.0, 0.995]);
    }
}
