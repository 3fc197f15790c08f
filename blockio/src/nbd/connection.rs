//! One client, from its greeting to its end: its requests are done one after the other, in the
//! order they come. What it asks is bounded before anything is done for it.

use std::error::Error as _;
use std::io;

use nix::errno::Errno;

use crate::extent::Extent;
use crate::nbd::export::Export;
use crate::nbd::handshake::{self, Agreed};
use crate::nbd::protocol::{
    self, CHUNK_HEADER_BYTES, Chunk, Command, Fault, PAYLOAD_BYTES_MAX, REQUEST_BYTES, Request,
    SIMPLE_REPLY_BYTES, allocation_flag, command_flag,
};
use crate::nbd::scratch::Scratch;
use crate::nbd::wire::{Ended, Wire};
use crate::units::{ByteCount, ByteOffset};
use crate::view::Allocation;
use crate::{Error, ErrorKind};

/// So much is read or written at once, in bytes; longer requests are done in pieces of it.
const PIECE_BYTES: usize = 1 << 20;
/// So much of a disk is looked at for one question about zeros, in bytes: the answer may be shorter
/// than the question.
const STATUS_BYTES_MAX: u32 = 256 << 20;
/// So many extents are in one answer about zeros, at most.
const DESCRIPTORS_MAX: usize = 8192;

/// What is in front of the bytes of a data chunk: the header and their place.
const DATA_FRONT_BYTES: usize = CHUNK_HEADER_BYTES + 8;

/// Serves a client until it ends.
pub(crate) fn run(wire: &mut Wire<'_>, exports: &[Export]) -> Ended {
    let agreed = match handshake::run(wire, exports) {
        Ok(agreed) => agreed,
        Err(ended) => return ended,
    };
    let mut connection = Connection { wire, agreed, buffer: Vec::new() };
    loop {
        if let Err(ended) = connection.next() {
            return ended;
        }
    }
}

struct Connection<'wire, 'socket, 'exports> {
    wire: &'wire mut Wire<'socket>,
    agreed: Agreed<'exports>,
    /// For one piece; kept from request to request.
    buffer: Vec<u8>,
}

impl<'exports> Connection<'_, '_, 'exports> {
    fn next(&mut self) -> Result<(), Ended> {
        let mut header = [0; REQUEST_BYTES];
        self.wire.receive_next(&mut header)?;
        let request = Request::parse(&header)?;
        match request.command {
            Command::Disconnect => Err(Ended::Done),
            Command::Read => self.read(request),
            Command::Write => self.write(request),
            Command::Trim | Command::WriteZeroes => self.zero(request),
            Command::BlockStatus => self.block_status(request),
            // What was written is where every connection sees it, and is thrown away in the end.
            Command::Flush => self.answer(request, flags_allowed(request)),
            Command::Unknown(_) => self.answer(request, Err(Fault::Invalid)),
        }
    }

    /// An answer without a payload to anything but a read.
    fn answer(&mut self, request: Request, result: Result<(), Fault>) -> Result<(), Ended> {
        self.wire.send(&protocol::simple_reply(request.cookie, result.err()))
    }

    /// The answer to a read that failed before anything of it was sent.
    fn refuse_read(&mut self, request: Request, fault: Fault) -> Result<(), Ended> {
        if self.agreed.is_structured {
            self.wire.send(&protocol::error_chunk(request.cookie, fault))
        } else {
            self.answer(request, Err(fault))
        }
    }

    /// The bytes that a request is about.
    fn extent(&self, request: Request, past_end: Fault) -> Result<Extent, Fault> {
        flags_allowed(request)?;
        let length = ByteCount::new(u64::from(request.length));
        if length.is_zero() {
            return Err(Fault::Invalid);
        }
        let extent = Extent::new(ByteOffset::new(request.offset), length).ok();
        let capacity = self.agreed.export.capacity();
        extent.filter(|extent| extent.end().get() <= capacity).ok_or(past_end)
    }

    /// The same for a change, and the layer that takes it.
    fn change(&self, request: Request) -> Result<(Extent, &'exports Scratch), Fault> {
        let scratch = self.agreed.export.scratch.as_ref().ok_or(Fault::ReadOnly)?;
        Ok((self.extent(request, Fault::NoSpace)?, scratch))
    }

    fn read(&mut self, request: Request) -> Result<(), Ended> {
        let extent = match self.extent(request, Fault::Invalid) {
            Ok(_) if request.length > PAYLOAD_BYTES_MAX => Err(Fault::Invalid),
            other => other,
        };
        let extent = match extent {
            Ok(extent) => extent,
            Err(fault) => return self.refuse_read(request, fault),
        };
        if !self.agreed.is_structured {
            return self.read_simply(request, extent);
        }
        let parts = if request.flags & command_flag::DF == 0 {
            self.agreed.export.allocation(extent).map_err(|error| self.fault(&error))
        } else if request.length as usize > PIECE_BYTES {
            Err(Fault::TooLong)
        } else {
            Ok(vec![Allocation { extent, is_hole: false }])
        };
        match parts {
            Ok(parts) => self.send_parts(request, extent, &parts),
            Err(fault) => self.refuse_read(request, fault),
        }
    }

    /// A simple reply says first whether all went well: all of it is read before any is sent.
    fn read_simply(&mut self, request: Request, extent: Extent) -> Result<(), Ended> {
        let mut reply = vec![0; SIMPLE_REPLY_BYTES + request.length as usize];
        let (header, data) = reply.split_at_mut(SIMPLE_REPLY_BYTES);
        if let Err(error) = self.agreed.export.read(extent.start(), data) {
            let fault = self.fault(&error);
            return self.answer(request, Err(fault));
        }
        header.copy_from_slice(&protocol::simple_reply(request.cookie, None));
        self.wire.send(&reply)
    }

    /// The chunks of a read, the last of which ends the reply.
    fn send_parts(
        &mut self,
        request: Request,
        whole: Extent,
        parts: &[Allocation],
    ) -> Result<(), Ended> {
        for part in parts {
            let end = part.extent.end().get();
            let mut at = part.extent.start().get();
            while at < end {
                let length =
                    if part.is_hole { end - at } else { (end - at).min(PIECE_BYTES as u64) };
                let is_last = at + length == whole.end().get();
                if part.is_hole {
                    let length = length as u32;
                    let chunk = protocol::hole_chunk(request.cookie, is_last, at, length);
                    self.wire.send(&chunk)?;
                } else if let Err(fault) = self.send_data(request, is_last, at, length as usize)? {
                    return self.wire.send(&protocol::error_chunk(request.cookie, fault));
                }
                at += length;
            }
        }
        Ok(())
    }

    /// One chunk of data, at most [`PIECE_BYTES`] long, unless it cannot be read.
    fn send_data(
        &mut self,
        request: Request,
        is_last: bool,
        at: u64,
        length: usize,
    ) -> Result<Result<(), Fault>, Ended> {
        let header =
            protocol::chunk_header(request.cookie, Chunk::Data, is_last, 8 + length as u32);
        let mut chunk = std::mem::take(&mut self.buffer);
        chunk.resize(DATA_FRONT_BYTES + length, 0);
        chunk[..CHUNK_HEADER_BYTES].copy_from_slice(&header);
        chunk[CHUNK_HEADER_BYTES..DATA_FRONT_BYTES].copy_from_slice(&at.to_be_bytes());
        let read = self.agreed.export.read(ByteOffset::new(at), &mut chunk[DATA_FRONT_BYTES..]);
        let result = read.map_err(|error| self.fault(&error));
        if result.is_ok() {
            self.wire.send(&chunk)?;
        }
        self.buffer = chunk;
        Ok(result)
    }

    /// Takes the payload in pieces, also what is refused: the next request is behind it.
    fn write(&mut self, request: Request) -> Result<(), Ended> {
        let (extent, scratch) = match self.change(request) {
            Ok(change) => change,
            Err(fault) => {
                self.wire.skip(request.length)?;
                return self.answer(request, Err(fault));
            }
        };
        let (mut at, end) = (extent.start().get(), extent.end().get());
        let mut result = Ok(());
        while at < end && result.is_ok() {
            let length = (end - at).min(PIECE_BYTES as u64);
            self.buffer.resize(length as usize, 0);
            self.wire.receive(&mut self.buffer)?;
            let view = &self.agreed.export.view;
            result = scratch.write(view, ByteOffset::new(at), &self.buffer);
            at += length;
        }
        self.wire.skip((end - at) as u32)?;
        let result = result.map_err(|error| self.fault(&error));
        self.answer(request, result)
    }

    /// Zeros: the layer keeps nothing for them, also where space is to be taken up (the file behind
    /// it is sparse, and space in it is never promised).
    fn zero(&mut self, request: Request) -> Result<(), Ended> {
        let result = self.change(request).and_then(|(extent, scratch)| {
            if request.flags & command_flag::FAST_ZERO != 0 {
                return Err(Fault::Unsupported);
            }
            scratch.zero(&self.agreed.export.view, extent).map_err(|error| self.fault(&error))
        });
        self.answer(request, result)
    }

    fn block_status(&mut self, request: Request) -> Result<(), Ended> {
        if !self.agreed.has_allocation {
            return self.refuse_read(request, Fault::Invalid);
        }
        let asked = self.extent(request, Fault::Invalid);
        let looked_at = Request { length: request.length.min(STATUS_BYTES_MAX), ..request };
        let descriptors = asked
            .and_then(|_| self.extent(looked_at, Fault::Invalid))
            .and_then(|extent| {
                let parts = self.agreed.export.allocation(extent);
                parts.map_err(|error| self.fault(&error))
            })
            .map(|parts| descriptors(&parts, request.flags & command_flag::REQ_ONE != 0));
        match descriptors {
            Ok(descriptors) => {
                self.wire.send(&protocol::block_status_chunk(request.cookie, &descriptors))
            }
            Err(fault) => self.refuse_read(request, fault),
        }
    }

    /// What a client is told of a failure; the operator is told the rest.
    fn fault(&self, error: &Error) -> Fault {
        let export = &self.agreed.export.name;
        tracing::warn!(export, error = error.chain(), "a request of an NBD client failed");
        match error.kind() {
            ErrorKind::Usage => Fault::Invalid,
            ErrorKind::Failed | ErrorKind::Refused | ErrorKind::Integrity => {
                let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
                let errno = cause.and_then(io::Error::raw_os_error).map(Errno::from_raw);
                match errno {
                    Some(Errno::ENOSPC | Errno::EDQUOT | Errno::EFBIG) => Fault::NoSpace,
                    Some(_) | None => Fault::Disk,
                }
            }
        }
    }
}

fn flags_allowed(request: Request) -> Result<(), Fault> {
    let allowed = request.command.flags_allowed();
    if request.flags & !allowed == 0 { Ok(()) } else { Err(Fault::Invalid) }
}

/// Lengths and flags; neighbours of the same kind are one, and only the first if `only_one`.
fn descriptors(parts: &[Allocation], only_one: bool) -> Vec<(u32, u32)> {
    let most = if only_one { 1 } else { DESCRIPTORS_MAX };
    let mut descriptors: Vec<(u32, u32)> = Vec::new();
    for part in parts {
        let length = part.extent.length().get() as u32;
        let flags = if part.is_hole { allocation_flag::HOLE | allocation_flag::ZERO } else { 0 };
        let count = descriptors.len();
        match descriptors.last_mut() {
            Some(last) if last.1 == flags => last.0 += length,
            Some(_) if count == most => break,
            Some(_) | None => descriptors.push((length, flags)),
        }
    }
    descriptors
}
