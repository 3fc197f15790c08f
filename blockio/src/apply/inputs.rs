//! The inputs that an operator named, in their order; each is opened when its turn comes, so that a
//! directory of thousands is not thousands of open files.

use std::fs::{File, Metadata};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::PathBuf;

use crate::device::buffer::ArenaPool;
use crate::journal::state::Fingerprint;
use crate::stream::open::{Source, open};
use crate::stream::reader::Input;
use crate::stream::{Format, Frame, StreamHeader};
use crate::{Error, ErrorKind, Result};

/// A stream that is to be applied.
#[derive(Debug)]
pub enum StreamArgument {
    /// A file, by path.
    Path(PathBuf),
    /// Something that is open: standard input, a socket.
    Open {
        /// What messages call it.
        name: String,
        /// Where its bytes come from.
        input: Input,
    },
}

impl StreamArgument {
    /// What messages call it.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Path(path) => path.display().to_string(),
            Self::Open { name, .. } => name.clone(),
        }
    }

    /// How long it is, in bytes, if that can be known beforehand.
    #[must_use]
    pub fn length_bytes(&self) -> Option<u64> {
        match self {
            Self::Path(path) => path.metadata().ok().filter(|m| m.is_file()).map(|m| m.len()),
            Self::Open { input: Input::File(file), .. } => {
                file.get_ref().metadata().ok().map(|metadata| metadata.len())
            }
            Self::Open { input: Input::Pipe(_), .. } => None,
        }
    }

    /// Whether what is missing at its end may still come, another time.
    pub(crate) fn is_pipe(&self) -> bool {
        match self {
            Self::Path(path) => !path.is_file(),
            Self::Open { input, .. } => matches!(input, Input::Pipe(_)),
        }
    }

    /// Whether it is read from the same file, or disk, that `target` is.
    pub(crate) fn is_also(&self, target: &File) -> bool {
        let own = match self {
            Self::Path(path) => path.metadata(),
            Self::Open { input: Input::File(file), .. } => file.get_ref().metadata(),
            Self::Open { input: Input::Pipe(_), .. } => return false,
        };
        let what = |metadata: &Metadata| match metadata.file_type().is_block_device() {
            true => (true, metadata.rdev(), 0),
            false => (false, metadata.dev(), metadata.ino()),
        };
        matches!((own, target.metadata()), (Ok(own), Ok(other)) if what(&own) == what(&other))
    }

    /// What it is recognised by, if it is a file that can be read twice.
    pub(crate) fn fingerprint(
        &self,
        format: Option<Format>,
        pool: ArenaPool,
    ) -> Option<Fingerprint> {
        // A pipe must not even be opened: what is read from it is gone.
        let Self::Path(path) = self else { return None };
        if self.is_pipe() {
            return None;
        }
        let mut source = Self::Path(path.clone()).open(format, pool).ok()?;
        match source.next_frame() {
            Ok(Some(Frame::Begin(header))) => Some(Fingerprint::of(&header, source.consumed())),
            _ => None,
        }
    }

    /// What every stream in it says of itself: all of them if it is a file, whose payload is passed
    /// over.
    ///
    /// # Errors
    ///
    /// As reading it. `Usage` if it is a pipe: it can be read once only.
    pub fn headers(&self, format: Option<Format>, pool: ArenaPool) -> Result<Vec<StreamHeader>> {
        let Self::Path(path) = self else {
            let context = format!("looking into {} before reading it", self.name());
            return Err(Error::new(ErrorKind::Usage, context)
                .with_hint("save it to a file, and convert that"));
        };
        let mut source = Self::Path(path.clone()).open(format, pool)?;
        source.resume_after(u64::MAX);
        let mut headers = Vec::new();
        while let Some(frame) = source.next_frame()? {
            if let Frame::Begin(header) = frame {
                headers.push(header);
            }
        }
        Ok(headers)
    }

    /// Opens it.
    ///
    /// # Errors
    ///
    /// `Failed`: it cannot be opened. `Integrity`: its first bytes are of no format that we know.
    pub fn open(self, format: Option<Format>, pool: ArenaPool) -> Result<Source> {
        let name = self.name();
        let input = match self {
            Self::Path(path) => File::open(path)
                .and_then(Input::from_file)
                .map_err(|error| Error::failed(format!("opening {name}"), error))?,
            Self::Open { input, .. } => input,
        };
        open(&name, input, format, pool)
    }
}
