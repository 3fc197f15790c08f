//! How streams are named on the command line: `STREAM…`, `-`, a directory, `--format`. Shared by
//! the verbs that read streams.

use std::fs::File;
use std::io::{IsTerminal, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use blockio::apply::StreamArgument;
use blockio::stream::input::Input;
use blockio::stream::svd::directory;
use blockio::stream::{Format, Name};
use clap::ValueEnum;

use crate::attention;

/// A format by its name.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum FormatName {
    /// Detect the format by the first bytes
    Auto,
    /// Native change stream
    Native,
    /// An rbd diff v1 or v2, or an rbd export of format 2
    RbdDiff,
    /// Change stream of the disk filter driver
    Svd,
    /// A raw image; its holes are zeros
    Raw,
}

impl From<FormatName> for Option<Format> {
    fn from(name: FormatName) -> Self {
        match name {
            FormatName::Auto => None,
            FormatName::Native => Some(Format::Native),
            FormatName::RbdDiff => Some(Format::RbdDiff),
            FormatName::Svd => Some(Format::Svd),
            FormatName::Raw => Some(Format::Raw),
        }
    }
}

/// The inputs that `paths` name, in order, to be read as `format`.
///
/// # Errors
///
/// `Usage`: one does not exist, or contains a stream but is not one; standard input is a terminal,
/// or named twice. Others: a directory cannot be read, or contains something other than svd
/// streams.
pub(crate) fn inputs(paths: &[PathBuf], format: FormatName) -> anyhow::Result<Vec<StreamArgument>> {
    let mut inputs = Vec::new();
    let mut standard_inputs = 0;
    for path in paths {
        if path.as_os_str() == "-" {
            standard_inputs += 1;
            inputs.push(standard_input(standard_inputs)?);
        } else if path.is_dir() {
            inputs.extend(directory::ordered(path)?.into_iter().map(StreamArgument::Path));
        } else {
            check_is_there(path)?;
            if matches!(format, FormatName::Auto) {
                check_is_not_packed(path)?;
            }
            inputs.push(StreamArgument::Path(path.clone()));
        }
    }
    Ok(inputs)
}

/// The same inputs, in which raw images read from pipes are `size` bytes long. Without a size, a
/// warning explains the consequences.
///
/// # Errors
///
/// `Usage`: a size was given but no input needs one, or an image file has another size.
pub(crate) fn of_size(
    inputs: Vec<StreamArgument>,
    format: FormatName,
    size: Option<u64>,
) -> system::Result<Vec<StreamArgument>> {
    let is_raw = matches!(format, FormatName::Raw);
    let needs_size = |input: &StreamArgument| is_raw && has_no_length(input);
    let Some(size_bytes) = size else {
        for input in inputs.iter().filter(|input| needs_size(input)) {
            let text = format!(
                "{}: the size of the image is not known, so a truncated image would look \
                 complete: no recovery point is created; give the size: --size SIZE",
                input.name()
            );
            attention::warn(text);
        }
        return Ok(inputs);
    };
    if size_bytes == 0 {
        return Err(usage(
            "--size 0: an image cannot be empty".to_owned(),
            "give the size of the image",
        ));
    }
    let files = inputs.iter().filter(|input| is_raw && !needs_size(input));
    for (name, length) in files.filter_map(|file| Some((file.name(), file.length_bytes()?))) {
        if length != size_bytes {
            let context = format!("--size {size_bytes}: {name} has {length} bytes");
            return Err(usage(context, "the length of a file is known: omit the option"));
        }
    }
    let is_known = |input: &StreamArgument| is_raw && input.length_bytes().is_some();
    if !inputs.iter().any(|input| needs_size(input) || is_known(input)) {
        let context = "--size is given, but no input is a raw image from a pipe".to_owned();
        return Err(usage(
            context,
            "files have a length and other streams have an end: omit the option",
        ));
    }
    let sized = |input| match needs_size(&input) {
        true => StreamArgument::Sized { image: Box::new(input), size_bytes },
        false => input,
    };
    Ok(inputs.into_iter().map(sized).collect())
}

/// Parses the name of a volume.
pub(crate) fn volume_name(text: &str) -> Result<Name, String> {
    let named = Name::new(text.as_bytes()).filter(|name| !name.as_bytes().is_empty());
    named.ok_or_else(|| "a name must have 1 to 1024 bytes".to_owned())
}

/// The same inputs, each assigned to the one volume `volume`; unchanged if there is none.
pub(crate) fn of_volume(inputs: Vec<StreamArgument>, volume: Option<&Name>) -> Vec<StreamArgument> {
    let Some(volume) = volume else { return inputs };
    let called =
        |input| StreamArgument::OfVolume { stream: Box::new(input), volume: volume.clone() };
    inputs.into_iter().map(called).collect()
}

/// A disk is read like a pipe, but knows its size.
fn has_no_length(input: &StreamArgument) -> bool {
    let is_disk = match input {
        StreamArgument::Path(path) => {
            path.metadata().is_ok_and(|metadata| metadata.file_type().is_block_device())
        }
        StreamArgument::Open { .. }
        | StreamArgument::Sized { .. }
        | StreamArgument::OfVolume { .. } => false,
    };
    input.is_pipe() && !is_disk
}

fn usage(context: String, hint: impl Into<String>) -> system::Error {
    system::Error::new(system::ErrorKind::Usage, context).with_hint(hint)
}

fn check_is_there(path: &Path) -> system::Result<()> {
    path.metadata().map(drop).map_err(|cause| {
        let context = format!("looking for the stream {}", path.display());
        system::Error::new(system::ErrorKind::Usage, context).caused_by(cause)
    })
}

/// Reports a compressed file as such, and which program unpacks it for us.
fn check_is_not_packed(path: &Path) -> system::Result<()> {
    // A pipe has one reader, and its first bytes must not be consumed here.
    if !path.is_file() {
        return Ok(());
    }
    let mut head = [0; 6];
    let packed = File::open(path).and_then(|mut file| file.read_exact(&mut head));
    // The code that reads the file reports what is wrong with it.
    let tool = packed.ok().and_then(|()| PACKERS.iter().find(|(magic, _)| head.starts_with(magic)));
    let Some((_, tool)) = tool else { return Ok(()) };
    let context = format!("{} is compressed, by {tool}", path.display());
    Err(usage(context, format!("{tool} --decompress --stdout {} | mtctl … -", path.display())))
}

/// Magic bytes, and the program that writes them.
const PACKERS: [(&[u8], &str); 4] = [
    (&[0x1f, 0x8b], "gzip"),
    (&[0xfd, b'7', b'z', b'X', b'Z', 0], "xz"),
    (&[0x28, 0xb5, 0x2f, 0xfd], "zstd"),
    (b"BZh", "bzip2"),
];

/// Standard input, if it is named for the first time.
fn standard_input(number: usize) -> anyhow::Result<StreamArgument> {
    if number > 1 {
        let context = "- is named twice, but there is only one standard input".to_owned();
        Err(usage(context, "join the streams: cat FIRST SECOND | mtctl … -"))?;
    }
    if std::io::stdin().is_terminal() {
        let context = "standard input is a terminal: it cannot supply a stream".to_owned();
        Err(usage(context, "COMMAND | mtctl … -, or mtctl … - < FILE"))?;
    }
    let opening = || "opening standard input";
    let file = std::io::stdin().as_fd().try_clone_to_owned().with_context(opening)?;
    let input = Input::from_file(File::from(file)).with_context(opening)?;
    Ok(StreamArgument::Open { name: "standard input".to_owned(), input })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compressed_file_is_named_with_what_unpacks_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), [0xfd, b'7', b'z', b'X', b'Z', 0, 1]).unwrap();
        let error = check_is_not_packed(file.path()).unwrap_err();
        assert_eq!(error.kind(), system::ErrorKind::Usage);
        assert!(error.hint().unwrap().starts_with("xz --decompress --stdout "), "{error:?}");
    }

    #[test]
    fn what_is_not_compressed_is_left_to_whoever_reads_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for bytes in [&b""[..], b"\x1f", b"rbd diff v1\n"] {
            std::fs::write(file.path(), bytes).unwrap();
            assert!(check_is_not_packed(file.path()).is_ok(), "{bytes:?}");
        }
    }
}
