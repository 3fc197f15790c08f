//! A connection's socket: sends and receives whole messages, and never waits for ever. It knows
//! when the server is to stop and when a client stalls; the meaning of the bytes is not here.

use std::io::{self, IoSlice, Read, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::nbd::pace::Pace;
use crate::nbd::protocol::Breach;
use crate::nbd::seats::{Keeps, Occupant};

/// How often a wait checks whether the server is to stop, in milliseconds.
pub(crate) const STOP_POLL_MS: u16 = 100;

/// A socket that does not block.
pub(crate) trait Socket: Read + Write + AsFd + Send {}

impl<S: Read + Write + AsFd + Send> Socket for S {}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    /// The client announced that it disconnects.
    #[error("the client is done")]
    Done,
    /// The server stops.
    #[error("the server stops")]
    Stopped,
    /// The client disconnected without a word.
    #[error("the client disconnected in the middle of a request")]
    Vanished,
    /// The client is too slow.
    #[error("the client neither sends nor receives what is due")]
    Stalled,
    /// The client was idle or stalled, and another one has its seat.
    #[error("the client was idle or stalled, and was disconnected to make room for another one")]
    Replaced,
    /// The rest of a reply that has begun cannot be read, and there is no other way to report it.
    #[error("a reply could not be finished")]
    Torn,
    /// The client does not speak the protocol.
    #[error("the client violates the protocol: {0}")]
    Breach(#[from] Breach),
    /// There is no memory for its requests.
    #[error("there is no memory for its requests: {0}")]
    Memory(io::Error),
    /// The socket failed.
    #[error("the socket failed: {0}")]
    Socket(#[from] io::Error),
}

/// How long to wait for a client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// For all of the handshake.
    pub handshake: Duration,
    /// For the next byte of a message that has begun, in or out.
    pub progress: Duration,
    /// For all of a message that has begun, or of a piece of it: memory is held meanwhile.
    pub message: Duration,
    /// For the next request, or the client's part of the one under way, if another client wants the
    /// seat.
    pub keeps: Keeps,
    /// For a message that has begun when the server is to stop.
    pub stopping: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            progress: Duration::from_secs(60),
            message: Duration::from_secs(120),
            keeps: Keeps { idle: Duration::from_secs(60), stalled: Duration::from_secs(30) },
            stopping: Duration::from_secs(2),
        }
    }
}

/// Both directions of one connection.
pub(crate) struct Wire<'a> {
    socket: Box<dyn Socket + 'a>,
    stop: &'a AtomicBool,
    patience: Patience,
    occupant: Arc<Occupant>,
    /// When the handshake must be over.
    deadline: Option<Instant>,
    stop_seen: Option<Instant>,
    /// The client's pace in the request under way.
    pace: Pace,
}

/// The purpose of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    /// A message that may never come.
    Message,
    /// The rest of a message that has begun, which must be complete by then.
    Rest(Instant),
    /// Room for the message being sent, which must be gone by then.
    Room(Instant),
}

impl<'a> Wire<'a> {
    /// A wire whose handshake begins now. `socket` must not block; `occupant` is kept up to date.
    pub(crate) fn new(
        socket: Box<dyn Socket + 'a>,
        stop: &'a AtomicBool,
        patience: Patience,
        occupant: Arc<Occupant>,
    ) -> Self {
        let deadline = Some(Instant::now() + patience.handshake);
        Self { socket, stop, patience, occupant, deadline, stop_seen: None, pace: Pace::default() }
    }

    /// The flag that is set when the server is to stop.
    pub(crate) fn stop(&self) -> &'a AtomicBool {
        self.stop
    }

    /// Ends the handshake: a client may be silent between requests for as long as it likes, unless
    /// another one needs its seat.
    pub(crate) fn handshake_is_over(&mut self) {
        self.deadline = None;
    }

    /// Fills `message`, which may never come: a client that disconnects before its first byte is
    /// [`Ended::Done`], and a server that is to stop does not wait for it.
    pub(crate) fn receive_next(&mut self, message: &mut [u8]) -> Result<(), Ended> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(Ended::Stopped);
        }
        // Checked even if nothing is waited for: a client that talks without end is late as well.
        self.check_deadline()?;
        if self.deadline.is_none() {
            self.occupant.rests(Instant::now());
            self.pace = Pace::default();
        }
        let received = self.receive_some(message, Wait::Message)?;
        if received == 0 && !message.is_empty() {
            return Err(Ended::Done);
        }
        if !self.occupant.works() {
            return Err(Ended::Replaced);
        }
        self.receive(&mut message[received..])
    }

    /// Fills `rest`, which belongs to a message that has begun.
    pub(crate) fn receive(&mut self, rest: &mut [u8]) -> Result<(), Ended> {
        let wait = Wait::Rest(Instant::now() + self.patience.message);
        let mut filled = 0;
        while filled < rest.len() {
            match self.receive_some(&mut rest[filled..], wait)? {
                0 => return Err(Ended::Vanished),
                received => {
                    filled += received;
                    self.pace.moves(received);
                }
            }
        }
        Ok(())
    }

    /// Receives `length` bytes and drops them.
    pub(crate) fn skip(&mut self, length: u32) -> Result<(), Ended> {
        let mut left = length as usize;
        let mut piece = [0; 16 << 10];
        while left > 0 {
            let length = left.min(piece.len());
            self.receive(&mut piece[..length])?;
            left -= length;
        }
        Ok(())
    }

    /// Sends all of `bytes`.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        self.send_after(&[], bytes)
    }

    /// Sends all of `front` and then of `bytes`, together as far as the socket takes them.
    pub(crate) fn send_after(&mut self, front: &[u8], bytes: &[u8]) -> Result<(), Ended> {
        let wait = Wait::Room(Instant::now() + self.patience.message);
        let (mut front, mut bytes) = (front, bytes);
        while !front.is_empty() || !bytes.is_empty() {
            match self.socket.write_vectored(&[IoSlice::new(front), IoSlice::new(bytes)]) {
                Ok(0) => return Err(Ended::Vanished),
                Ok(more) => {
                    self.pace.moves(more);
                    let of_front = more.min(front.len());
                    front = &front[of_front..];
                    bytes = &bytes[more - of_front..];
                }
                Err(error) => self.after(error, wait)?,
            }
        }
        Ok(())
    }

    fn receive_some(&mut self, buffer: &mut [u8], wait: Wait) -> Result<usize, Ended> {
        loop {
            match self.socket.read(buffer) {
                Ok(received) => return Ok(received),
                Err(error) => self.after(error, wait)?,
            }
        }
    }

    /// Decides after an error of the socket: retry, possibly after a wait, or end.
    fn after(&mut self, error: io::Error, wait: Wait) -> Result<(), Ended> {
        match error.kind() {
            io::ErrorKind::Interrupted => self.check_deadline(),
            io::ErrorKind::WouldBlock => self.wait(wait),
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Err(Ended::Vanished),
            _ => Err(Ended::Socket(error)),
        }
    }

    fn wait(&mut self, wait: Wait) -> Result<(), Ended> {
        let began = Instant::now();
        // Between requests the client is idle, and the handshake has its own time limit.
        let is_its_turn = wait != Wait::Message && self.deadline.is_none();
        if is_its_turn {
            self.occupant.stalls(self.pace.waits_since(began));
        }
        self.wait_until_ready(wait, began)?;
        if is_its_turn {
            self.pace.waited(began.elapsed());
            if !self.occupant.works() {
                return Err(Ended::Replaced);
            }
        }
        Ok(())
    }

    fn wait_until_ready(&mut self, wait: Wait, began: Instant) -> Result<(), Ended> {
        let interest = match wait {
            Wait::Message | Wait::Rest(_) => PollFlags::POLLIN,
            Wait::Room(_) => PollFlags::POLLOUT,
        };
        loop {
            self.check_deadline()?;
            self.check_stop(wait)?;
            self.check_progress(wait, began)?;
            let mut descriptors = [PollFd::new(self.socket.as_fd(), interest)];
            match poll(&mut descriptors, PollTimeout::from(STOP_POLL_MS)) {
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return Ok(()),
                Err(error) => return Err(Ended::Socket(error.into())),
            }
        }
    }

    fn check_deadline(&self) -> Result<(), Ended> {
        match self.deadline {
            Some(deadline) if Instant::now() > deadline => Err(Ended::Stalled),
            Some(_) | None => Ok(()),
        }
    }

    fn check_progress(&self, wait: Wait, began: Instant) -> Result<(), Ended> {
        match wait {
            _ if self.occupant.is_dismissed() => Err(Ended::Replaced),
            Wait::Message => Ok(()),
            Wait::Rest(due) | Wait::Room(due) => {
                let is_late = began.elapsed() > self.patience.progress || Instant::now() > due;
                if is_late { Err(Ended::Stalled) } else { Ok(()) }
            }
        }
    }

    /// A request that has begun is finished, unless the client takes too long.
    fn check_stop(&mut self, wait: Wait) -> Result<(), Ended> {
        if !self.stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        let seen = *self.stop_seen.get_or_insert_with(Instant::now);
        if wait == Wait::Message || seen.elapsed() > self.patience.stopping {
            return Err(Ended::Stopped);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::thread;

    use super::*;
    use crate::nbd::seats::Seats;

    fn pair(stop: &AtomicBool, patience: Patience) -> (Wire<'_>, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        (Wire::new(Box::new(ours), stop, patience, Arc::default()), theirs)
    }

    fn impatient() -> Patience {
        let short = Duration::from_millis(20);
        Patience { progress: short, stopping: short, ..Patience::default() }
    }

    #[test]
    fn whoever_takes_nothing_of_a_long_message_stalls() {
        let stop = AtomicBool::new(false);
        let (mut wire, mut client) = pair(&stop, impatient());
        assert!(matches!(wire.send(&vec![7; 8 << 20]), Err(Ended::Stalled)));
        // The same with a message that begins and does not continue.
        client.write_all(b"half").unwrap();
        assert!(matches!(wire.receive_next(&mut [0; 8]), Err(Ended::Stalled)));
    }

    #[test]
    fn whoever_takes_a_message_too_slowly_stalls_also_if_it_goes_on() {
        let stop = AtomicBool::new(false);
        let patience = Patience { message: Duration::ZERO, ..Patience::default() };
        let (mut wire, mut client) = pair(&stop, patience);
        thread::scope(|scope| {
            scope.spawn(move || while client.read(&mut [0; 512]).is_ok_and(|length| length > 0) {});
            assert!(matches!(wire.send(&vec![7; 8 << 20]), Err(Ended::Stalled)));
            drop(wire);
        });
    }

    #[test]
    fn whoever_is_dismissed_is_not_waited_for_and_not_served() {
        let stop = AtomicBool::new(false);
        let (mut wire, mut client) = pair(&stop, Patience::default());
        wire.handshake_is_over();
        let seats = Seats::new(1);
        let keeps = Keeps { idle: Duration::ZERO, stalled: Duration::ZERO };
        let seat = seats.take(Instant::now(), None, keeps).unwrap();
        wire.occupant = seat.occupant();
        wire.occupant.rests(Instant::now());
        assert!(seats.take(Instant::now(), None, keeps).is_some());
        assert!(matches!(wire.receive_next(&mut [0; 4]), Err(Ended::Replaced)));
        client.write_all(b"late").unwrap();
        assert!(matches!(wire.receive_next(&mut [0; 4]), Err(Ended::Replaced)));
    }

    #[test]
    fn silence_between_messages_is_no_stall_once_the_handshake_is_over() {
        let stop = AtomicBool::new(false);
        let patience = Patience { handshake: Duration::ZERO, ..impatient() };
        let (mut wire, mut client) = pair(&stop, patience);
        assert!(matches!(wire.receive_next(&mut [0; 1]), Err(Ended::Stalled)));
        wire.handshake_is_over();
        thread::scope(|scope| {
            // Sent at any moment: only the bytes end the wait.
            scope.spawn(move || client.write_all(b"late").map(|()| client));
            let mut message = [0; 4];
            wire.receive_next(&mut message).unwrap();
            assert_eq!(&message, b"late");
        });
    }

    #[test]
    fn a_client_that_goes_between_messages_is_done_and_within_one_has_vanished() {
        let stop = AtomicBool::new(false);
        let (mut wire, client) = pair(&stop, Patience::default());
        drop(client);
        assert!(matches!(wire.receive_next(&mut [0; 4]), Err(Ended::Done)));
        assert!(matches!(wire.send(b"hello"), Err(Ended::Vanished)));
        let (mut wire, mut client) = pair(&stop, Patience::default());
        client.write_all(b"hal").unwrap();
        drop(client);
        assert!(matches!(wire.receive_next(&mut [0; 4]), Err(Ended::Vanished)));
        assert!(matches!(wire.skip(1), Err(Ended::Vanished)));
    }

    #[test]
    fn a_stop_ends_a_wait_for_a_message_at_once_and_for_its_rest_after_a_while() {
        let stop = AtomicBool::new(true);
        let patience = Patience { stopping: Duration::from_millis(20), ..Patience::default() };
        let (mut wire, mut client) = pair(&stop, patience);
        client.write_all(b"more").unwrap();
        assert!(matches!(wire.receive_next(&mut [0; 4]), Err(Ended::Stopped)));
        wire.receive(&mut [0; 4]).unwrap();
        assert!(matches!(wire.receive(&mut [0; 4]), Err(Ended::Stopped)));
    }
}
