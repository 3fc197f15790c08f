//! The seats for clients: who has one, what its client does, and who gives it up for another
//! client.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How many clients are served simultaneously; one more is refused, unless another one has been
/// idle, or has stalled, for long.
pub(crate) const CONNECTIONS_MAX: usize = 64;

/// A fixed number of seats.
pub(crate) struct Seats {
    places: usize,
    taken: Mutex<Vec<Arc<Occupant>>>,
}

/// A seat; free again when it is dropped.
pub(crate) struct Seat<'a> {
    seats: &'a Seats,
    occupant: Arc<Occupant>,
}

/// How long a client keeps its seat when another one wants it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keeps {
    /// While it requests nothing.
    pub idle: Duration,
    /// While it does too little of its part of a request.
    pub stalled: Duration,
}

/// A connection, as far as its seat is concerned.
#[derive(Default)]
pub(crate) struct Occupant {
    /// Its address, as far as known.
    peer: Option<IpAddr>,
    activity: Mutex<Activity>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Activity {
    /// It is the server's turn, or the handshake is under way, which has its own time limit.
    #[default]
    Busy,
    /// Nothing was requested since then.
    IdleSince(Instant),
    /// A request is under way, and since then the client did too little of its part.
    StallsSince(Instant),
    /// Another client has its seat: it must end.
    Dismissed,
}

impl Seats {
    pub(crate) fn new(places: usize) -> Self {
        Self { places, taken: Mutex::default() }
    }

    /// A seat for a client that arrives at `now` from `peer`. If none is free, it takes that of a
    /// client which has been idle, or has stalled, for at least as long as `keeps` says: first from
    /// a peer with the most seats, then from the client which has been so longest. That client is
    /// dismissed, and may still be ending when this returns; because it checks for dismissal while
    /// it waits, it soon gives back the memory of its request.
    pub(crate) fn take(
        &self,
        now: Instant,
        peer: Option<IpAddr>,
        keeps: Keeps,
    ) -> Option<Seat<'_>> {
        let peer = peer.map(network_of);
        let mut taken = self.lock();
        if taken.len() >= self.places {
            let (index, activity) = gives_way(&taken, now, keeps)?;
            if !taken[index].dismiss(activity) {
                // It became active at this very moment.
                return None;
            }
            taken.swap_remove(index);
        }
        let occupant = Arc::new(Occupant { peer, activity: Mutex::default() });
        taken.push(Arc::clone(&occupant));
        Some(Seat { seats: self, occupant })
    }

    /// A thread that panicked did so between two changes.
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Occupant>>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The client that gives up its seat, and its activity.
fn gives_way(taken: &[Arc<Occupant>], now: Instant, keeps: Keeps) -> Option<(usize, Activity)> {
    // On a unix socket nobody has a peer, and all are equal.
    let places_of = |peer| taken.iter().filter(|one| one.peer == peer && peer.is_some()).count();
    let candidates = taken.iter().enumerate().filter_map(|(index, one)| {
        let activity = *one.lock();
        let (since, keeps) = match activity {
            Activity::IdleSince(since) => (since, keeps.idle),
            Activity::StallsSince(since) => (since, keeps.stalled),
            Activity::Busy | Activity::Dismissed => return None,
        };
        let time = now.saturating_duration_since(since);
        (time >= keeps).then(|| (places_of(one.peer), time, index, activity))
    });
    let first = candidates.max_by_key(|(places, time, _, _)| (*places, *time))?;
    Some((first.2, first.3))
}

/// Addresses that one host can choose freely count as one peer: for IPv6, the first 64 bits.
fn network_of(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        address @ IpAddr::V4(_) => address,
    }
}

impl Seat<'_> {
    /// Its occupant.
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
    /// Records that nothing is requested from `now` on.
    pub(crate) fn rests(&self, now: Instant) {
        self.becomes(Activity::IdleSince(now));
    }

    /// Records that a request is under way, and that it has done too little of its part `since`
    /// then.
    pub(crate) fn stalls(&self, since: Instant) {
        self.becomes(Activity::StallsSince(since));
    }

    /// Records that it is the server's turn; returns whether it still has its seat, which it then
    /// keeps until it rests or stalls.
    #[must_use]
    pub(crate) fn works(&self) -> bool {
        self.becomes(Activity::Busy)
    }

    /// Whether another client has its seat.
    pub(crate) fn is_dismissed(&self) -> bool {
        *self.lock() == Activity::Dismissed
    }

    /// Returns whether it still has its seat: a dismissed client stays dismissed.
    fn becomes(&self, next: Activity) -> bool {
        let mut activity = self.lock();
        let has_place = *activity != Activity::Dismissed;
        if has_place {
            *activity = next;
        }
        has_place
    }

    /// Dismisses it if its activity is still as `seen`; returns whether it was.
    fn dismiss(&self, seen: Activity) -> bool {
        let mut activity = self.lock();
        let is_same = *activity == seen;
        if is_same {
            *activity = Activity::Dismissed;
        }
        is_same
    }

    fn lock(&self) -> MutexGuard<'_, Activity> {
        self.activity.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(60);
    const STALLED: Duration = Duration::from_secs(30);
    const KEEPS: Keeps = Keeps { idle: IDLE, stalled: STALLED };

    fn take(seats: &Seats, now: Instant) -> Option<Seat<'_>> {
        seats.take(now, None, KEEPS)
    }

    #[test]
    fn who_has_been_idle_longest_makes_room_and_nobody_before_its_time() {
        let seats = Seats::new(3);
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let [busy, later, longest] = [0, 0, 0].map(|now| take(&seats, at(now)).unwrap());
        later.occupant.rests(at(2));
        longest.occupant.rests(at(1));
        assert!(take(&seats, at(60)).is_none());
        let new = take(&seats, at(62)).unwrap();
        assert!(longest.occupant.is_dismissed() && !longest.occupant.works());
        assert!(!later.occupant.is_dismissed());
        // When it finally goes, no seat becomes free: it has none.
        longest.occupant.rests(at(62));
        drop(longest);
        let another = take(&seats, at(62)).unwrap();
        assert!(later.occupant.is_dismissed());
        assert!(take(&seats, at(1000)).is_none());
        assert!([busy, new].iter().all(|seat| seat.occupant.works()));
        drop(another);
        assert!(take(&seats, at(1000)).is_some());
    }

    #[test]
    fn who_asks_again_keeps_its_place() {
        let seats = Seats::new(1);
        let began = Instant::now();
        let seat = take(&seats, began).unwrap();
        seat.occupant.rests(began);
        assert!(seat.occupant.works());
        assert!(take(&seats, began + 2 * IDLE).is_none());
        seat.occupant.rests(began + 2 * IDLE);
        assert!(take(&seats, began + 2 * IDLE).is_none());
        assert!(take(&seats, began + 3 * IDLE).is_some());
    }

    #[test]
    fn who_stalls_makes_room_once_it_is_time_and_who_goes_on_does_not() {
        let seats = Seats::new(2);
        let began = Instant::now();
        let [stalled, slow] = [0; 2].map(|_| take(&seats, began).unwrap());
        stalled.occupant.stalls(began);
        slow.occupant.stalls(began);
        // It took something, and is waited for again.
        assert!(slow.occupant.works());
        slow.occupant.stalls(began + STALLED / 2);
        assert!(take(&seats, began + STALLED - Duration::from_millis(1)).is_none());
        let _new = take(&seats, began + STALLED).unwrap();
        assert!(stalled.occupant.is_dismissed() && !stalled.occupant.works());
        assert!(!slow.occupant.is_dismissed() && slow.occupant.works());
        assert!(take(&seats, began + 100 * STALLED).is_none());
    }

    #[test]
    fn a_peer_that_holds_the_most_places_makes_room_first() {
        let seats = Seats::new(4);
        let began = Instant::now();
        let peers = ["192.0.2.1", "2001:db8::1", "2001:db8::2:1", "::ffff:192.0.2.2"];
        let places = peers.map(|peer| {
            let peer = Some(peer.parse().unwrap());
            seats.take(began, peer, KEEPS).unwrap()
        });
        places.iter().for_each(|place| place.occupant.rests(began));
        // One network has two: the one of them that stalls goes, although others were idle longer.
        places[2].occupant.stalls(began + Duration::from_secs(100));
        places[1].occupant.stalls(began + Duration::from_secs(101));
        let peer = Some("192.0.2.2".parse().unwrap());
        let _new = seats.take(began + Duration::from_secs(131), peer, KEEPS).unwrap();
        let dismissed = places.each_ref().map(|place| place.occupant.is_dismissed());
        assert_eq!(dismissed, [false, false, true, false]);
        // Now 192.0.2.2 has two, however it is written.
        let _new = seats.take(began + Duration::from_secs(131), None, KEEPS).unwrap();
        assert!(places[3].occupant.is_dismissed());
    }
}
