//! A server, and clients of our own that send exactly what a test wants, byte by byte; real clients
//! are covered by the integration tests.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tempfile::TempDir;

use crate::device::buffer::ArenaPool;
use crate::device::memory::MemoryDevice;
use crate::device::{BlockDevice, Geometry, Transfer, WriteBatch};
use crate::nbd::{Export, Listen, Scratch, Server};
use crate::units::{ByteCount, ByteOffset, SectorSize};
use crate::view::View;

mod client;
mod hostile;
mod negotiation;
mod requests;
mod robustness;

use client::Client;

const MIB: usize = 1 << 20;
/// Not a multiple of 4096-byte blocks, and not of megabytes.
const CAPACITY: usize = 3 * MIB + 512;

/// The content of a disk in the tests: every 8 bytes encode their position.
pub(super) fn content(bytes: usize) -> Vec<u8> {
    (0..bytes as u64).map(|at| (at / 8 + 1).to_be_bytes()[(at % 8) as usize]).collect()
}

pub(super) fn disk(content: &[u8]) -> MemoryDevice {
    let capacity = ByteCount::new(content.len() as u64);
    let mut device = MemoryDevice::new(Geometry { capacity, sector_size: SectorSize::Bytes512 });
    let pool = ArenaPool::new(1, NonZeroUsize::new(content.len()).unwrap()).unwrap();
    let mut arena = pool.take().unwrap();
    arena.as_mut_slice()[..content.len()].copy_from_slice(content);
    let pieces = (0..content.len()).step_by(MIB);
    let writes = pieces
        .map(|position| Transfer {
            at: ByteOffset::new(position as u64),
            position,
            length: MIB.min(content.len() - position),
        })
        .collect();
    device.write_batch(WriteBatch { arena: Arc::new(arena), writes, clears: Vec::new() }).unwrap();
    device
}

fn view(device: MemoryDevice) -> Arc<View> {
    Arc::new(View::of_disk("vda".to_owned(), Box::new(device)).unwrap())
}

fn read_only(name: &str) -> Export {
    Export { name: name.to_owned(), view: view(disk(&content(CAPACITY))), scratch: None }
}

fn writable(name: &str) -> Export {
    let view = view(disk(&content(CAPACITY)));
    let scratch = Some(Scratch::new(&std::env::temp_dir(), &view).unwrap());
    Export { name: name.to_owned(), view, scratch }
}

/// A server in a folder of its own.
struct Served {
    _folder: TempDir,
    path: PathBuf,
    server: Server,
    stop: AtomicBool,
}

impl Served {
    fn new(exports: Vec<Export>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let server = Server::bind(Listen::Unix(path.clone()), exports).unwrap();
        Self { _folder: folder, path, server, stop: AtomicBool::new(false) }
    }

    /// Serves while `work` is done, and stops even if that fails.
    fn run(&self, work: impl FnOnce()) {
        thread::scope(|scope| {
            let serving = scope.spawn(|| self.server.serve(&self.stop));
            {
                let _stop = StopAtLast(&self.stop);
                work();
            }
            serving.join().unwrap().unwrap();
        });
        assert!(!self.path.exists(), "the socket file stayed behind");
    }

    fn client(&self) -> Client {
        Client::connect(&self.path)
    }

    /// A client that has chosen `name`, with structured replies and `base:allocation`.
    fn structured(&self, name: &str) -> Client {
        let mut client = self.client();
        client.greet(3);
        client.agree_on_structure();
        client.choose_allocation(name);
        client.go(name);
        client
    }

    /// The same with simple replies.
    fn simple(&self, name: &str) -> Client {
        let mut client = self.client();
        client.greet(3);
        client.go(name);
        client
    }
}

struct StopAtLast<'a>(&'a AtomicBool);

impl Drop for StopAtLast<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
