//! A wire between sender and receiver that is cut when told to, and keeps its own book of what went
//! over it: written from docs/format/session-v1.md alone.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// What went over the wire.
#[derive(Debug, Default)]
pub(crate) struct Book {
    /// The sender was told that everything before this is durable.
    durable: u64,
    /// Where the records go on that come next; `None` until the receiver has answered.
    position: Option<u64>,
    header_bytes: u64,
    /// Bytes of records.
    pub(crate) records: u64,
    /// Bytes of records that the sender had been told were durable.
    pub(crate) durable_again: u64,
    /// The connections that were taken up.
    pub(crate) connections: u64,
    /// What breaks the protocol or a promise.
    pub(crate) wrong: Vec<String>,
}

/// The bytes of one direction, as frames.
#[derive(Default)]
struct Frames {
    bytes: Vec<u8>,
    // What was durable when the current frame began: the sender could not know of more.
    known: Option<u64>,
}

impl Frames {
    /// The frames that are complete with `bytes`, each with what was durable when it began.
    fn take(&mut self, bytes: &[u8], durable: u64) -> Vec<(u8, Vec<u8>, u64)> {
        self.bytes.extend_from_slice(bytes);
        let mut frames = Vec::new();
        while self.bytes.len() >= 8 {
            let known = *self.known.get_or_insert(durable);
            let length = u32::from_le_bytes(self.bytes[4..8].try_into().unwrap()) as usize;
            if self.bytes.len() < 8 + length {
                break;
            }
            let rest = self.bytes.split_off(8 + length);
            let frame = std::mem::replace(&mut self.bytes, rest);
            frames.push((frame[0], frame[8..].to_vec(), known));
            self.known = None;
        }
        frames
    }
}

fn number(body: &[u8], path: &[&str]) -> Option<u64> {
    let message: serde_json::Value = serde_json::from_slice(body).unwrap();
    path.iter().fold(&message, |value, key| &value[*key]).as_u64()
}

impl Book {
    fn sent(&mut self, kind: u8, body: &[u8], known: u64) {
        match (kind, self.position) {
            (3, _) => (self.position, self.header_bytes) = (None, 0),
            (4, None) => self.header_bytes += body.len() as u64,
            (4, Some(position)) => {
                let length = body.len() as u64;
                self.records += length;
                self.durable_again += known.saturating_sub(position).min(length);
                self.position = Some(position + length);
            }
            (6, _) => {
                let position = number(body, &["position"]).unwrap();
                self.position = Some(position.max(self.header_bytes));
            }
            (1 | 8 | 10, _) => {}
            (other, _) => self.wrong.push(format!("the sender sent a frame of kind {other}")),
        }
    }

    fn received(&mut self, kind: u8, body: &[u8]) {
        match kind {
            5 => {
                let position = number(body, &["resume", "position"]);
                let taken = body.windows(12).any(|part| part == b"\"taken\":true");
                if position.unwrap_or(0) < self.durable && !taken {
                    let (durable, told) = (self.durable, String::from_utf8_lossy(body));
                    self.wrong.push(format!("{durable} were durable, and now: {told}"));
                }
                self.durable = self.durable.max(position.unwrap_or(0));
                self.position = Some(self.header_bytes);
            }
            7 => {
                let position = u64::from_le_bytes(body.try_into().unwrap());
                self.durable = self.durable.max(position);
            }
            2 | 8 | 9 | 10 | 11 => {}
            other => self.wrong.push(format!("the receiver sent a frame of kind {other}")),
        }
    }

    /// How much the sender was told is durable.
    pub(crate) fn durable(&self) -> u64 {
        self.durable
    }
}

/// A wire from a socket of its own to the receiver's.
pub(crate) struct Wire {
    pub(crate) path: PathBuf,
    pub(crate) book: Arc<Mutex<Book>>,
    // How many more bytes go from the sender to the receiver before the connection is cut.
    left: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Wire {
    /// A wire to `receiver`; each connection is cut after as many bytes as `cut_after` says.
    pub(crate) fn new(
        path: PathBuf,
        receiver: &Path,
        mut cut_after: impl FnMut() -> u64 + Send + 'static,
    ) -> Self {
        let listener = UnixListener::bind(&path).unwrap();
        let book = Arc::<Mutex<Book>>::default();
        let (left, is_over) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let receiver = receiver.to_owned();
        let kept = (Arc::clone(&book), Arc::clone(&left), Arc::clone(&is_over));
        let thread = thread::spawn(move || {
            let (book, left, is_over) = kept;
            for sender in listener.incoming() {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(receiver) = UnixStream::connect(&receiver) else { continue };
                book.lock().unwrap().connections += 1;
                left.store(cut_after(), Ordering::Relaxed);
                carry(sender.unwrap(), receiver, &book, &left);
            }
        });
        Self { path, book, left, is_over, thread: Some(thread) }
    }

    /// Cuts the connection now.
    pub(crate) fn cut(&self) {
        self.left.store(0, Ordering::Relaxed);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.cut();
        let _ = UnixStream::connect(&self.path);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn carry(sender: UnixStream, receiver: UnixStream, book: &Mutex<Book>, left: &AtomicU64) {
    thread::scope(|scope| {
        let (to, from) = (sender.try_clone().unwrap(), receiver.try_clone().unwrap());
        scope.spawn(move || {
            let unlimited = AtomicU64::new(u64::MAX);
            pump(from, to, &unlimited, |frames, bytes| {
                for (kind, body, _) in frames.take(bytes, 0) {
                    book.lock().unwrap().received(kind, &body);
                }
            });
        });
        pump(sender, receiver, left, |frames, bytes| {
            let durable = book.lock().unwrap().durable;
            for (kind, body, known) in frames.take(bytes, durable) {
                book.lock().unwrap().sent(kind, &body, known);
            }
        });
    });
}

/// Carries bytes until one side closes or `left` is used up; then closes both. What is passed on is
/// booked first.
fn pump(
    mut from: UnixStream,
    mut to: UnixStream,
    left: &AtomicU64,
    mut book: impl FnMut(&mut Frames, &[u8]),
) {
    let (mut room, mut frames) = (vec![0; 16 << 10], Frames::default());
    loop {
        let read = from.read(&mut room).unwrap_or(0) as u64;
        let now = read.min(left.load(Ordering::Relaxed));
        let bytes = &room[..now as usize];
        book(&mut frames, bytes);
        let is_lost = to.write_all(bytes).is_err();
        left.fetch_sub(now.min(left.load(Ordering::Relaxed)), Ordering::Relaxed);
        if now < read || read == 0 || is_lost {
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
            return;
        }
    }
}
