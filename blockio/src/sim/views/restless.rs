//! A state that is replaced again and again while it is read.
#![cfg(test)]

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::{SIZE, begun, start};
use crate::ErrorKind;
use crate::device::BlockDevice;
use crate::device::Engine;
use crate::journal::catalogue::PointId;
use crate::storage::{SegmentNumber, Space, StateCopy, Storage};
use crate::view::PointHistory;

/// A read-only directory whose state changes each time somebody asks, `left` more times.
struct Restless {
    under: Arc<dyn Storage>,
    left: AtomicUsize,
    stamp: Mutex<u64>,
    listed: AtomicUsize,
}

impl Storage for Restless {
    fn read_state(&self, copy: StateCopy) -> io::Result<Option<String>> {
        self.under.read_state(copy)
    }

    fn replace_state(&self, _: StateCopy, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn append_state(&self, _: StateCopy, _: u64, _: &str) -> io::Result<bool> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn create_segment(
        &self,
        _: SegmentNumber,
        _: u64,
        _: Engine,
    ) -> io::Result<Box<dyn BlockDevice>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn open_segment(&self, number: SegmentNumber) -> io::Result<Box<dyn BlockDevice>> {
        self.under.open_segment(number)
    }

    fn state_stamp(&self) -> io::Result<u64> {
        let mut stamp = self.stamp.lock().unwrap();
        let less = |left: usize| left.checked_sub(1);
        if self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok() {
            *stamp += 1;
        }
        Ok(*stamp)
    }

    fn shorten_segment(&self, _: SegmentNumber, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn remove_segment(&self, _: SegmentNumber) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn segments(&self) -> io::Result<Vec<SegmentNumber>> {
        self.listed.fetch_add(1, Ordering::Relaxed);
        self.under.segments()
    }

    fn space(&self) -> io::Result<Space> {
        self.under.space()
    }
}

fn restless(under: Arc<dyn Storage>, left: usize) -> Arc<Restless> {
    let (left, listed) = (AtomicUsize::new(left), AtomicUsize::new(0));
    Arc::new(Restless { under, left, stamp: Mutex::new(100), listed })
}

#[test]
fn a_point_that_is_not_found_is_looked_for_again_where_the_state_changed_meanwhile() {
    let (_scenario, machine) = begun(SIZE);
    let (known, unknown) = (start(&machine), PointId(999));
    // It is asked twice for each look.
    for (point, changes, looks) in
        [(unknown, 0, 1), (unknown, 5, 3), (unknown, usize::MAX, 1000), (known, 5, 1)]
    {
        let storage = restless(machine.storage(), changes);
        let opened = PointHistory::open(storage.clone(), point);
        match opened {
            Ok(_) => assert_eq!(point, known),
            Err(error) => assert_eq!((error.kind(), point), (ErrorKind::Usage, unknown)),
        }
        assert_eq!(storage.listed.load(Ordering::Relaxed), looks, "{changes} changes");
    }
}

#[test]
fn a_state_that_changes_all_the_time_is_told_and_one_that_rests_is_followed() {
    let (_scenario, machine) = begun(SIZE);
    let storage = restless(machine.storage(), 0);
    let history = PointHistory::open(storage.clone(), start(&machine)).unwrap();
    let before = history.overwritten_bytes("v0").unwrap();
    storage.left.store(7, Ordering::Relaxed);
    assert_eq!(history.overwritten_bytes("v0").unwrap(), before);
    storage.left.store(usize::MAX, Ordering::Relaxed);
    let error = history.overwritten_bytes("v0").unwrap_err();
    assert!(error.to_string().contains("the group keeps changing"), "{error}");
}
