//! One client, from its greeting to its end: its requests are done one after the other, in the
//! order they arrive. Every request is bounded before anything is done for it.

use std::error::Error as _;
use std::io;
use std::num::NonZeroUsize;
use std::ops::Range;

use nix::errno::Errno;

use crate::device::buffer::{Arena, ArenaPool};
use crate::extent::Extent;
use crate::nbd::budget::{BUDGET_BYTES, Budget, REST_BYTES, Share};
use crate::nbd::export::Export;
use crate::nbd::handshake::{self, Agreed};
use crate::nbd::protocol::{
    self, AllocationFlags, CHUNK_HEADER_BYTES, Chunk, CommandFlags, CommandType, Fault,
    PAYLOAD_BYTES_MAX, REQUEST_BYTES, Request, SIMPLE_REPLY_BYTES,
};
use crate::nbd::scratch::Scratch;
use crate::nbd::seats::CONNECTIONS_MAX;
use crate::nbd::wire::{Ended, Wire};
use crate::units::{ByteCount, ByteOffset};
use crate::view::Allocation;
use crate::{Error, ErrorKind};

/// The unit of reading, writing and looking up, in bytes; longer requests are done in pieces of
/// this size.
const PIECE_BYTES: usize = 1 << 20;
/// The most of a disk that is looked up for one query about zeros, in bytes: the answer may be
/// shorter than the query.
const STATUS_BYTES_MAX: u32 = 256 << 20;
/// The most extents in one answer about zeros.
const DESCRIPTORS_MAX: usize = 8192;

/// The memory of a connection, in bytes: a piece, and the rest of its first and last sectors.
const MEMORY_BYTES: NonZeroUsize =
    NonZeroUsize::new(PIECE_BYTES + 2 * 4096).expect("invariant: not zero");
/// The length of what precedes the bytes of a data chunk: the header and the offset.
const DATA_FRONT_BYTES: usize = CHUNK_HEADER_BYTES + 8;

/// A client that holds a share keeps nobody else waiting; and what connections keep between
/// requests is within the same bound.
const _: () = assert!(CONNECTIONS_MAX * (MEMORY_BYTES.get() + REST_BYTES) <= BUDGET_BYTES);

/// Serves a client until it ends; memory for its requests is taken from `budget`.
pub(crate) fn run(wire: &mut Wire<'_>, exports: &[Export], budget: &Budget) -> Ended {
    let agreed = match handshake::run(wire, exports) {
        Ok(agreed) => agreed,
        Err(ended) => return ended,
    };
    // Mapped now, and taken by the requests as far as they need it. It is kept from one request to
    // the next: fresh memory would have to be cleared for each.
    let memory = match ArenaPool::new(1, MEMORY_BYTES) {
        Ok(memory) => memory,
        Err(error) => return Ended::Memory(error),
    };
    let mut connection = Connection { wire, agreed, budget, memory };
    loop {
        if let Err(ended) = connection.next() {
            return ended;
        }
    }
}

struct Connection<'wire, 'socket, 'exports> {
    wire: &'wire mut Wire<'socket>,
    agreed: Agreed<'exports>,
    budget: &'exports Budget,
    /// For one piece of the request under way.
    memory: ArenaPool,
}

impl<'exports> Connection<'_, '_, 'exports> {
    fn next(&mut self) -> Result<(), Ended> {
        let mut header = [0; REQUEST_BYTES];
        self.wire.receive_next(&mut header)?;
        let request = Request::parse(&header)?;
        match request.command {
            CommandType::Disconnect => Err(Ended::Done),
            CommandType::Read => self.read(request),
            CommandType::Write => self.write(request),
            CommandType::Trim | CommandType::WriteZeroes => self.zero(request),
            CommandType::BlockStatus => self.block_status(request),
            // Every connection sees the written data already, and it is thrown away in the end.
            CommandType::Flush => self.answer(request, flags_allowed(request)),
            CommandType::Unknown(_) => self.answer(request, Err(Fault::Invalid)),
        }
    }

    /// A reply without a payload, to anything but a read.
    fn answer(&mut self, request: Request, result: Result<(), Fault>) -> Result<(), Ended> {
        self.wire.send(&protocol::simple_reply(request.cookie, result.err()))
    }

    /// The reply to a read that failed before any of its data was sent.
    fn refuse_read(&mut self, request: Request, fault: Fault) -> Result<(), Ended> {
        if self.agreed.is_structured {
            self.wire.send(&protocol::error_chunk(request.cookie, fault))
        } else {
            self.answer(request, Err(fault))
        }
    }

    /// The extent of a request.
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

    /// The extent of a change, and the layer that takes it.
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
        if self.agreed.is_structured {
            self.read_in_chunks(request, extent)
        } else {
            self.read_simply(request, extent)
        }
    }

    /// The share of a request for `extent`, with `front_bytes` before its piece; it is given back
    /// before waiting for the next request.
    fn share(&self, front_bytes: usize, extent: Extent) -> Result<Share<'exports>, Ended> {
        let piece_bytes = extent.length().get().min(PIECE_BYTES as u64) as usize;
        let share = self.budget.share(front_bytes + piece_bytes, self.wire.stop());
        share.ok_or(Ended::Stopped)
    }

    /// Reads `piece`; returns the memory it is in, and where in it its bytes are.
    fn read_piece(&self, piece: Extent) -> crate::Result<(Arena, Range<usize>)> {
        let (arena, from) = self.agreed.export.read(piece, self.memory.take()?)?;
        Ok((arena, from..from + piece.length().get() as usize))
    }

    /// A simple reply states its success first: a failure after its first piece can only be
    /// reported by ending the connection.
    fn read_simply(&mut self, request: Request, whole: Extent) -> Result<(), Ended> {
        let _share = self.share(SIMPLE_REPLY_BYTES, whole)?;
        let header = protocol::simple_reply(request.cookie, None);
        for piece in pieces(whole) {
            let is_first = piece.start() == whole.start();
            let (arena, bytes) = match self.read_piece(piece) {
                Ok(read) => read,
                Err(error) => {
                    let fault = self.fault(&error);
                    return if is_first { self.answer(request, Err(fault)) } else { self.torn() };
                }
            };
            let front = if is_first { &header[..] } else { &[] };
            self.wire.send_after(front, &arena.as_slice()[bytes])?;
        }
        Ok(())
    }

    fn torn(&self) -> Result<(), Ended> {
        let export = &self.agreed.export.name;
        tracing::warn!(export, "disconnecting an NBD client: the rest of its reply cannot be read");
        Err(Ended::Torn)
    }

    /// Sends a read as chunks, the last of which ends the reply.
    fn read_in_chunks(&mut self, request: Request, whole: Extent) -> Result<(), Ended> {
        let in_one = request.flags.contains(CommandFlags::DF);
        if in_one && request.length as usize > PIECE_BYTES {
            return self.refuse_read(request, Fault::TooLong);
        }
        let _share = self.share(DATA_FRONT_BYTES, whole)?;
        for piece in pieces(whole) {
            let parts = if in_one {
                Ok(vec![Allocation { extent: piece, is_hole: false }])
            } else {
                self.agreed.export.allocation(piece).map_err(|error| self.fault(&error))
            };
            let sent = match parts {
                Ok(parts) => self.send_parts(request, whole, &parts)?,
                Err(fault) => Err(fault),
            };
            if let Err(fault) = sent {
                return self.refuse_read(request, fault);
            }
        }
        Ok(())
    }

    /// Sends one chunk for each part, none longer than [`PIECE_BYTES`], up to the first that cannot
    /// be read.
    fn send_parts(
        &mut self,
        request: Request,
        whole: Extent,
        parts: &[Allocation],
    ) -> Result<Result<(), Fault>, Ended> {
        for part in parts {
            let (at, length) = (part.extent.start().get(), part.extent.length().get() as u32);
            let is_last = part.extent.end() == whole.end();
            if part.is_hole {
                self.wire.send(&protocol::hole_chunk(request.cookie, is_last, at, length))?;
                continue;
            }
            let (arena, bytes) = match self.read_piece(part.extent) {
                Ok(read) => read,
                Err(error) => return Ok(Err(self.fault(&error))),
            };
            let header = protocol::chunk_header(request.cookie, Chunk::Data, is_last, 8 + length);
            let mut front = [0; DATA_FRONT_BYTES];
            front[..CHUNK_HEADER_BYTES].copy_from_slice(&header);
            front[CHUNK_HEADER_BYTES..].copy_from_slice(&at.to_be_bytes());
            self.wire.send_after(&front, &arena.as_slice()[bytes])?;
        }
        Ok(Ok(()))
    }

    /// Takes the payload in pieces, even if the write is refused: the next request follows it.
    fn write(&mut self, request: Request) -> Result<(), Ended> {
        let (extent, scratch) = match self.change(request) {
            Ok(change) => change,
            Err(fault) => {
                self.wire.skip(request.length)?;
                return self.answer(request, Err(fault));
            }
        };
        let _share = self.share(0, extent)?;
        let mut memory = self.memory.take().map_err(|e| Ended::Memory(io::Error::other(e)))?;
        let mut result = Ok(());
        for piece in pieces(extent) {
            let length = piece.length().get();
            if result.is_err() {
                self.wire.skip(length as u32)?;
                continue;
            }
            let data = &mut memory.as_mut_slice()[..length as usize];
            self.wire.receive(data)?;
            result = scratch.write(&self.agreed.export.view, piece.start(), data);
        }
        let result = result.map_err(|error| self.fault(&error));
        self.answer(request, result)
    }

    /// Writes zeros: the layer stores nothing for them, even if the client wants space allocated
    /// (the file behind it is sparse, and space in it is never guaranteed).
    fn zero(&mut self, request: Request) -> Result<(), Ended> {
        let result = self.change(request).and_then(|(extent, scratch)| {
            if request.flags.contains(CommandFlags::FAST_ZERO) {
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
        let extent = match self.extent(request, Fault::Invalid) {
            Ok(extent) => extent,
            Err(fault) => return self.refuse_read(request, fault),
        };
        let _share = self.budget.share(0, self.wire.stop()).ok_or(Ended::Stopped)?;
        let only_one = request.flags.contains(CommandFlags::REQ_ONE);
        let look = |piece| self.agreed.export.allocation(piece);
        match descriptors(extent, only_one, look) {
            Ok(descriptors) => {
                self.wire.send(&protocol::block_status_chunk(request.cookie, &descriptors))
            }
            Err(error) => {
                let fault = self.fault(&error);
                self.refuse_read(request, fault)
            }
        }
    }

    /// The error for the client; the operator gets the details.
    fn fault(&self, error: &Error) -> Fault {
        let export = &self.agreed.export.name;
        tracing::warn!(export, error = error.chain(), "a request of an NBD client failed");
        match error.kind() {
            ErrorKind::Usage => Fault::Invalid,
            ErrorKind::Failed | ErrorKind::NotReady | ErrorKind::Refused | ErrorKind::Integrity => {
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
    if allowed.contains(request.flags) { Ok(()) } else { Err(Fault::Invalid) }
}

/// `whole` in pieces, in order, none longer than [`PIECE_BYTES`].
fn pieces(whole: Extent) -> impl Iterator<Item = Extent> {
    let mut rest = Some(whole);
    std::iter::from_fn(move || {
        let (piece, after) = cut(rest?, PIECE_BYTES as u64);
        rest = after;
        Some(piece)
    })
}

/// The first `bytes` of `extent`, and the rest.
fn cut(extent: Extent, bytes: u64) -> (Extent, Option<Extent>) {
    let place = ByteOffset::new(extent.start().get().saturating_add(bytes));
    extent.split_at(place).map_or((extent, None), |(first, after)| (first, Some(after)))
}

/// Lengths and flags of what `look` finds from the start of `extent` on; neighbours of the same
/// kind are joined. It ends at the end of `extent`, at [`STATUS_BYTES_MAX`], or when the answer is
/// full: after [`DESCRIPTORS_MAX`] descriptors, or after the first if `only_one`.
fn descriptors(
    extent: Extent,
    only_one: bool,
    mut look: impl FnMut(Extent) -> crate::Result<Vec<Allocation>>,
) -> crate::Result<Vec<(u32, AllocationFlags)>> {
    let most = if only_one { 1 } else { DESCRIPTORS_MAX };
    let mut descriptors: Vec<(u32, AllocationFlags)> = Vec::new();
    for piece in pieces(cut(extent, STATUS_BYTES_MAX.into()).0) {
        for part in look(piece)? {
            let length = part.extent.length().get() as u32;
            let flags =
                if part.is_hole { AllocationFlags::all() } else { AllocationFlags::empty() };
            let count = descriptors.len();
            match descriptors.last_mut() {
                Some(last) if last.1 == flags => last.0 += length,
                Some(_) if count == most => return Ok(descriptors),
                Some(_) | None => descriptors.push((length, flags)),
            }
        }
    }
    Ok(descriptors)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(start: u64, length: u64) -> Extent {
        Extent::new(ByteOffset::new(start), ByteCount::new(length)).unwrap()
    }

    #[test]
    fn pieces_are_all_of_it_and_none_is_long() {
        let mib = PIECE_BYTES as u64;
        let (start, length) = (u64::MAX - 2 * mib - 5, 2 * mib + 1);
        let expected = [(start, mib), (start + mib, mib), (start + 2 * mib, 1)];
        let expected = expected.map(|(start, length)| extent(start, length));
        assert_eq!(pieces(extent(start, length)).collect::<Vec<_>>(), expected);
        assert_eq!(pieces(extent(7, mib)).collect::<Vec<_>>(), [extent(7, mib)]);
    }

    /// Every other sector is zeros.
    fn alternating(piece: Extent) -> Vec<Allocation> {
        let sectors = (piece.start().get()..piece.end().get()).step_by(512);
        let part = |at| Allocation { extent: extent(at, 512), is_hole: at / 512 % 2 == 1 };
        sectors.map(part).collect()
    }

    #[test]
    fn zeros_are_looked_for_piece_by_piece_and_not_behind_a_full_answer() {
        let mut looked_at = Vec::new();
        let mut answer = |length: u64, only_one| {
            looked_at.clear();
            let look = |piece: Extent| {
                looked_at.push(piece);
                Ok(alternating(piece))
            };
            let descriptors = descriptors(extent(0, length), only_one, look).unwrap();
            assert!(looked_at.iter().all(|piece| piece.length().get() <= PIECE_BYTES as u64));
            (descriptors.len(), looked_at.len())
        };
        // A MiB has 2048 sectors; the first sector of the fifth MiB shows that the answer is full.
        assert_eq!(answer(u64::from(u32::MAX), false), (DESCRIPTORS_MAX, 5));
        assert_eq!(answer(u64::from(u32::MAX), true), (1, 1));
        assert_eq!(answer(3 << 20, false), (3 * 2048, 3));
    }

    #[test]
    fn an_answer_about_zeros_joins_pieces_and_ends_at_its_limit() {
        let all = |is_hole| move |extent| Ok(vec![Allocation { extent, is_hole }]);
        let descriptors = |length, is_hole| descriptors(extent(5, length), false, all(is_hole));
        let limit = STATUS_BYTES_MAX;
        assert_eq!(descriptors(3 << 20, true).unwrap(), [(3 << 20, AllocationFlags::all())]);
        assert_eq!(
            descriptors(u64::from(u32::MAX), false).unwrap(),
            [(limit, AllocationFlags::empty())]
        );
    }
}
