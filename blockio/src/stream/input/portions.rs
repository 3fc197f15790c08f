//! For tests: bytes that arrive in portions, with a silence before each of them.

use std::collections::VecDeque;
use std::io::{self, IoSliceMut, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Input;

/// An input that gives these portions one after another, and has nothing before each of them.
#[derive(Debug)]
struct Portions {
    portions: VecDeque<Vec<u8>>,
    has_come: bool,
    reads: Arc<AtomicUsize>,
}

impl Read for Portions {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        self.read_vectored(&mut [IoSliceMut::new(room)])
    }

    fn read_vectored(&mut self, rooms: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let Some(first) = self.portions.front_mut() else { return Ok(0) };
        if !std::mem::replace(&mut self.has_come, true) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut length = 0;
        for room in rooms {
            let now = room.len().min(first.len());
            room[..now].copy_from_slice(&first[..now]);
            first.drain(..now);
            length += now;
        }
        if first.is_empty() {
            self.portions.pop_front();
            self.has_come = false;
        }
        Ok(length)
    }
}

/// `bytes` cut at `cuts`; how many portions that are, and how often they were read.
pub(in crate::stream) fn portions(
    bytes: &[u8],
    mut cuts: Vec<usize>,
) -> (Input, usize, Arc<AtomicUsize>) {
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    cuts.dedup();
    let portions: VecDeque<_> =
        cuts.windows(2).map(|ends| bytes[ends[0]..ends[1]].to_vec()).collect();
    let (count, reads) = (portions.len(), Arc::default());
    let input = Portions { portions, has_come: false, reads: Arc::clone(&reads) };
    (Input::from_pipe(input), count, reads)
}
