//! The places for clients: who has one, what it does there, and who leaves it for somebody else.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// So many places.
pub(crate) struct Seats {
    places: usize,
    taken: Mutex<Vec<Arc<Occupant>>>,
}

/// A place; free again when it is dropped.
pub(crate) struct Seat<'a> {
    seats: &'a Seats,
    occupant: Arc<Occupant>,
}

/// A connection, as far as its place is concerned.
#[derive(Default)]
pub(crate) struct Occupant(Mutex<Activity>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Activity {
    /// A request or the handshake is under way.
    #[default]
    Busy,
    /// Nothing was asked since then.
    IdleSince(Instant),
    /// Somebody else has its place: it is to end.
    Dismissed,
}

impl Seats {
    pub(crate) fn new(places: usize) -> Self {
        Self { places, taken: Mutex::default() }
    }

    /// A place for a client that comes `now`. If none is free, it is that of the client which has
    /// been idle longest, if that is `idle` or longer: it is told to end, and may still be about
    /// to when this returns, without a request and what one needs.
    pub(crate) fn take(&self, now: Instant, idle: Duration) -> Option<Seat<'_>> {
        let mut taken = self.lock();
        if taken.len() >= self.places {
            let since = taken.iter().enumerate().filter_map(|(index, one)| {
                let since = one.idle_since()?;
                (now.saturating_duration_since(since) >= idle).then_some((since, index))
            });
            let (_, index) = since.min()?;
            if !taken[index].dismiss() {
                // It asks for something at this very moment.
                return None;
            }
            taken.swap_remove(index);
        }
        let occupant = Arc::<Occupant>::default();
        taken.push(Arc::clone(&occupant));
        Some(Seat { seats: self, occupant })
    }

    /// Whoever panicked did so between two changes.
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Occupant>>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat<'_> {
    /// Who has it.
    pub(crate) fn occupant(&self) -> Arc<Occupant> {
        Arc::clone(&self.occupant)
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.seats.lock().retain(|one| !Arc::ptr_eq(one, &self.occupant));
    }
}

impl Occupant {
    /// Nothing is asked from `now` on.
    pub(crate) fn rests(&self, now: Instant) {
        let mut activity = self.lock();
        if *activity != Activity::Dismissed {
            *activity = Activity::IdleSince(now);
        }
    }

    /// Something is asked; whether it still has its place, and keeps it until it rests.
    #[must_use]
    pub(crate) fn works(&self) -> bool {
        let mut activity = self.lock();
        if *activity == Activity::Dismissed {
            return false;
        }
        *activity = Activity::Busy;
        true
    }

    /// Somebody else has its place.
    pub(crate) fn is_dismissed(&self) -> bool {
        *self.lock() == Activity::Dismissed
    }

    fn idle_since(&self) -> Option<Instant> {
        match *self.lock() {
            Activity::IdleSince(since) => Some(since),
            Activity::Busy | Activity::Dismissed => None,
        }
    }

    /// Whether it was idle still.
    fn dismiss(&self) -> bool {
        let mut activity = self.lock();
        let is_idle = matches!(*activity, Activity::IdleSince(_));
        if is_idle {
            *activity = Activity::Dismissed;
        }
        is_idle
    }

    fn lock(&self) -> MutexGuard<'_, Activity> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(60);

    #[test]
    fn who_has_been_idle_longest_makes_room_and_nobody_before_its_time() {
        let seats = Seats::new(3);
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let [busy, later, longest] = [0, 0, 0].map(|now| seats.take(at(now), IDLE).unwrap());
        later.occupant.rests(at(2));
        longest.occupant.rests(at(1));
        assert!(seats.take(at(60), IDLE).is_none());
        let new = seats.take(at(62), IDLE).unwrap();
        assert!(longest.occupant.is_dismissed() && !longest.occupant.works());
        assert!(!later.occupant.is_dismissed());
        // That it goes at last frees no place: it has none.
        longest.occupant.rests(at(62));
        drop(longest);
        let another = seats.take(at(62), IDLE).unwrap();
        assert!(later.occupant.is_dismissed());
        assert!(seats.take(at(1000), IDLE).is_none());
        assert!([busy, new].iter().all(|seat| seat.occupant.works()));
        drop(another);
        assert!(seats.take(at(1000), IDLE).is_some());
    }

    #[test]
    fn who_asks_again_keeps_its_place() {
        let seats = Seats::new(1);
        let began = Instant::now();
        let seat = seats.take(began, IDLE).unwrap();
        seat.occupant.rests(began);
        assert!(seat.occupant.works());
        assert!(seats.take(began + 2 * IDLE, IDLE).is_none());
        seat.occupant.rests(began + 2 * IDLE);
        assert!(seats.take(began + 2 * IDLE, IDLE).is_none());
        assert!(seats.take(began + 3 * IDLE, IDLE).is_some());
    }
}
