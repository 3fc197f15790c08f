//! A stream in a file.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use blockio::stream::native::{self, Cursor};
use blockio::stream::{Decoder, Want};

use super::Supply;
use crate::session::message::Known;
use crate::{Error, ErrorKind, Result};

/// A native stream in a file.
#[derive(Debug)]
pub struct StreamFile {
    path: PathBuf,
    file: File,
    length: u64,
    header_bytes: u64,
    position: u64,
}

impl StreamFile {
    /// The stream in the file at `path`.
    ///
    /// # Errors
    ///
    /// `Failed`: it cannot be read. `Integrity`: it does not begin as a native stream does.
    pub fn open(path: &Path) -> Result<Self> {
        let failed = |cause| Error::failed(format!("reading {}", path.display()), cause);
        let file = File::open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let path = path.to_owned();
        let mut stream = Self { path, file, length, header_bytes: 0, position: 0 };
        let cursor = stream.walk(1)?;
        let no_stream = || {
            let context = format!("{} is not a native change stream", stream.path.display());
            Error::new(ErrorKind::Integrity, context)
                .with_hint("make one of it with mtctl stream convert")
        };
        stream.header_bytes = cursor.ok_or_else(no_stream)?.position;
        stream.position = stream.header_bytes;
        Ok(stream)
    }

    fn read(&self, room: &mut [u8], position: u64) -> Result<()> {
        let read = self.file.read_exact_at(room, position);
        read.map_err(|cause| Error::failed(format!("reading {}", self.path.display()), cause))
    }

    /// The first place between two records that is not before byte `position`: headers are read up
    /// to there, and no payload. `None` if there is none.
    fn walk(&self, position: u64) -> Result<Option<Cursor>> {
        let mut decoder = native::Decoder::new();
        let damaged = |cause| Error::integrity(format!("reading {}", self.path.display()), cause);
        let mut bytes = Vec::new();
        loop {
            while decoder.event().is_some() {}
            let cursor = decoder.cursor().filter(|cursor| cursor.position >= position);
            if cursor.is_some() {
                return Ok(cursor);
            }
            match decoder.want() {
                Want::Bytes(length) => {
                    if decoder.consumed() + length as u64 > self.length {
                        return Ok(None);
                    }
                    bytes.resize(length, 0);
                    self.read(&mut bytes, decoder.consumed())?;
                    decoder.take(&bytes).map_err(damaged)?;
                }
                Want::Payload { .. } | Want::Compressed { .. } => {
                    decoder.payload_taken().map_err(damaged)?;
                }
                Want::BytesOrEnd(_) | Want::End => return Ok(None),
            }
        }
    }

    fn find(&self, known: &Known) -> Result<Option<Cursor>> {
        let cursor = self.walk(known.position)?;
        let is_it =
            |cursor: &Cursor| cursor.position == known.position && cursor.chain.0 == known.chain;
        Ok(cursor.filter(is_it))
    }
}

impl Supply for StreamFile {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn length(&self) -> Option<u64> {
        Some(self.length)
    }

    fn header(&mut self) -> Result<Vec<u8>> {
        let mut header = vec![0; usize::try_from(self.header_bytes.min(self.length)).unwrap_or(0)];
        self.read(&mut header, 0)?;
        Ok(header)
    }

    fn go_to(&mut self, known: &Known) -> Result<Option<Cursor>> {
        let cursor = self.find(known)?;
        cursor.iter().for_each(|cursor| self.position = cursor.position);
        Ok(cursor)
    }

    fn go_to_start(&mut self) -> Result<()> {
        self.position = self.header_bytes;
        Ok(())
    }

    fn next(&mut self, room: &mut Vec<u8>) -> Result<()> {
        let left = self.length.saturating_sub(self.position);
        let length =
            usize::try_from(left).map_or(room.capacity(), |left| left.min(room.capacity()));
        room.resize(length, 0);
        self.read(room, self.position)?;
        self.position += length as u64;
        Ok(())
    }

    /// The file stays.
    fn forget(&mut self, _: u64) {}
}
