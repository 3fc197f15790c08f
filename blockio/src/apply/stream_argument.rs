//! An input as named by an operator: what is known of it before it is read, and how it is opened.

use std::fs::{File, Metadata};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::device::buffer::ArenaPool;
use crate::journal::scan::{READER_ARENAS, WINDOW_BYTES};
use crate::journal::state::Fingerprint;
use crate::stream::input::Input;
use crate::stream::open::{Opening, Stream};
use crate::stream::{Format, Frame, Name, StreamHeader, naming};
use crate::{Error, ErrorKind, Result};

/// A stream to apply.
#[derive(Debug)]
pub enum StreamArgument {
    /// A file, by path.
    Path(PathBuf),
    /// Something that is already open: standard input, a socket.
    Open {
        /// Its name in messages.
        name: String,
        /// The source of its bytes.
        input: Input,
    },
    /// A raw image with a size given by the operator, because a pipe has none.
    Sized {
        /// The image.
        image: Box<StreamArgument>,
        /// Its length.
        size_bytes: u64,
    },
    /// A stream of one volume that does not name it, with the name of the volume.
    OfVolume {
        /// The stream.
        stream: Box<StreamArgument>,
        /// The name of its volume.
        volume: Name,
    },
}

impl StreamArgument {
    /// Its name in messages.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Path(path) => path.display().to_string(),
            Self::Open { name, .. } => name.clone(),
            Self::Sized { image, .. } => image.name(),
            Self::OfVolume { stream, .. } => stream.name(),
        }
    }

    /// Its name from any directory: the absolute path of a file, else its [`name`](Self::name).
    #[must_use]
    pub fn absolute_name(&self) -> String {
        match self {
            Self::Path(path) => {
                let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
                path.display().to_string()
            }
            Self::Open { .. } => self.name(),
            Self::Sized { image, .. } => image.absolute_name(),
            Self::OfVolume { stream, .. } => stream.absolute_name(),
        }
    }

    /// What identifies it when it comes again; `None` for an input that can be read only once, or
    /// not at all.
    #[must_use]
    pub fn identity(&self, format: Option<Format>) -> Option<Fingerprint> {
        self.fingerprint(format, ArenaPool::new(READER_ARENAS, WINDOW_BYTES).ok()?)
    }

    /// Its length in bytes, if that is known beforehand.
    #[must_use]
    pub fn length_bytes(&self) -> Option<u64> {
        match self {
            Self::Path(path) => path.metadata().ok().filter(|m| m.is_file()).map(|m| m.len()),
            Self::Open { input: Input::File(file), .. } => {
                file.get_ref().metadata().ok().map(|metadata| metadata.len())
            }
            Self::Open { input: Input::Pipe(_), .. } => None,
            Self::Sized { size_bytes, .. } => Some(*size_bytes),
            Self::OfVolume { stream, .. } => stream.length_bytes(),
        }
    }

    /// Whether data missing at its end may still follow in a later run.
    #[must_use]
    pub fn is_pipe(&self) -> bool {
        match self {
            Self::Sized { image, .. } => image.is_pipe(),
            Self::OfVolume { stream, .. } => stream.is_pipe(),
            Self::Path(path) => !path.is_file(),
            Self::Open { input, .. } => !matches!(input, Input::File(_)),
        }
    }

    /// Whether it is read from the file or disk that `target` is.
    pub(crate) fn is_also(&self, target: &File) -> bool {
        let own = match self {
            Self::Path(path) => path.metadata(),
            Self::Open { input: Input::File(file), .. } => file.get_ref().metadata(),
            Self::Open { input: Input::Pipe(_), .. } => return false,
            Self::Sized { image, .. } => return image.is_also(target),
            Self::OfVolume { stream, .. } => return stream.is_also(target),
        };
        let what = |metadata: &Metadata| match metadata.file_type().is_block_device() {
            true => (true, metadata.rdev(), 0),
            false => (false, metadata.dev(), metadata.ino()),
        };
        matches!((own, target.metadata()), (Ok(own), Ok(other)) if what(&own) == what(&other))
    }

    /// What identifies it, if it is a file that can be read twice.
    pub(crate) fn fingerprint(
        &self,
        format: Option<Format>,
        pool: ArenaPool,
    ) -> Option<Fingerprint> {
        // The fingerprint of a stream does not depend on the name of its volume.
        if let Self::OfVolume { stream, .. } = self {
            return stream.fingerprint(format, pool);
        }
        // A pipe must not even be opened: what is read from it is gone.
        let Self::Path(path) = self else { return None };
        if self.is_pipe() {
            return None;
        }
        let mut stream = Self::Path(path.clone()).open(format, pool).ok()?;
        match stream.next_frame() {
            Ok(Some(Frame::Begin(header))) => Some(Fingerprint::of(&header, stream.consumed())),
            _ => None,
        }
    }

    /// The headers of all streams in it, if it is a file; payload is skipped.
    ///
    /// # Errors
    ///
    /// As for reading it. `Usage` if it is a pipe, which can be read only once.
    pub fn headers(&self, format: Option<Format>, pool: ArenaPool) -> Result<Vec<StreamHeader>> {
        let path = match self {
            Self::Path(path) => Some(path).filter(|path| !is_read_once(path)),
            Self::Open { .. } | Self::Sized { .. } => None,
            Self::OfVolume { stream, volume } => {
                let headers = stream.headers(format, pool)?.into_iter();
                return headers.map(|header| naming::called(header, volume)).collect();
            }
        };
        let Some(path) = path else {
            let context = format!("looking into {} before reading it", self.name());
            return Err(Error::new(ErrorKind::Usage, context)
                .with_hint("save it to a file, and convert that"));
        };
        let mut stream = Self::Path(path.clone()).open(format, pool)?;
        stream.resume_after(u64::MAX);
        let mut headers = Vec::new();
        while let Some(frame) = stream.next_frame()? {
            if let Frame::Begin(header) = frame {
                headers.push(header);
            }
        }
        Ok(headers)
    }

    /// Opens it. Waits for the first bytes of a pipe.
    ///
    /// # Errors
    ///
    /// `Failed`: it cannot be opened. `Integrity`: its first bytes are not of a known format.
    pub fn open(self, format: Option<Format>, pool: ArenaPool) -> Result<Stream> {
        self.begin_opening(format, pool)?.finish()
    }

    /// Opens it, but does not wait for its first bytes.
    ///
    /// # Errors
    ///
    /// `Failed`: it cannot be opened.
    pub(crate) fn begin_opening(self, format: Option<Format>, pool: ArenaPool) -> Result<Opening> {
        self.begin_of_size(format, None, pool)
    }

    fn begin_of_size(
        self,
        format: Option<Format>,
        size: Option<u64>,
        pool: ArenaPool,
    ) -> Result<Opening> {
        let name = self.name();
        let opening = |error| Error::failed(format!("opening {name}"), error);
        let (input, size) = match self {
            Self::Path(path) => {
                let mut file = open_file(&path).map_err(opening)?;
                let size = size.or(size_of_disk(&mut file).map_err(opening)?);
                (Input::from_file(file).map_err(opening)?, size)
            }
            Self::Open { input, .. } => (input, size),
            Self::Sized { image, size_bytes } => {
                return image.begin_of_size(format, Some(size_bytes), pool);
            }
            Self::OfVolume { stream, volume } => {
                let mut opening = stream.begin_of_size(format, size, pool)?;
                opening.call_volume(volume);
                return Ok(opening);
            }
        };
        Ok(Opening::new(&name, input, format, size, pool))
    }
}

/// Opens a named pipe without waiting for its writer: the reads wait instead, and can be stopped.
fn open_file(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true);
    if path.metadata()?.file_type().is_fifo() {
        options.custom_flags(libc::O_NONBLOCK);
    }
    options.open(path)
}

/// Whether data read from `path` is gone afterwards.
fn is_read_once(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| {
        let kind = metadata.file_type();
        kind.is_fifo() || kind.is_socket() || kind.is_char_device()
    })
}

/// A disk has a known size, although it is read like a pipe.
fn size_of_disk(file: &mut File) -> io::Result<Option<u64>> {
    if !file.metadata()?.file_type().is_block_device() {
        return Ok(None);
    }
    let size = file.seek(SeekFrom::End(0))?;
    file.rewind()?;
    Ok(Some(size))
}

#[cfg(test)]
mod tests;
