//! The sessions that are open, by sender: a newer one takes the place of an older one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::identity::Identity;
use crate::{Error, Result};

/// All open sessions.
#[derive(Clone, Debug, Default)]
pub(super) struct Sessions(Arc<Mutex<BTreeMap<(Identity, String), Open>>>);

#[derive(Debug)]
struct Open {
    generation: u64,
    is_evicted: Arc<AtomicBool>,
}

/// A session that is open until this is dropped.
#[derive(Debug)]
pub(super) struct OpenSession {
    sessions: Sessions,
    key: (Identity, String),
    is_evicted: Arc<AtomicBool>,
}

impl Sessions {
    /// Opens the session `generation` of `sender`, and evicts the one before.
    ///
    /// # Errors
    ///
    /// `Failed`: a newer one is open, or the same. It may be gone soon.
    pub(super) fn open(
        &self,
        identity: &Identity,
        sender: &str,
        generation: u64,
    ) -> Result<OpenSession> {
        let key = (identity.clone(), sender.to_owned());
        let is_evicted = Arc::<AtomicBool>::default();
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = open.get(&key) {
            if before.generation >= generation {
                let (context, newer) =
                    (format!("sender {sender}"), "a newer session of it is open");
                return Err(Error::failed(context, newer)
                    .with_hint("if that is another sender, give each a name of its own"));
            }
            before.is_evicted.store(true, Ordering::Relaxed);
        }
        let this = Open { generation, is_evicted: Arc::clone(&is_evicted) };
        open.insert(key.clone(), this);
        Ok(OpenSession { sessions: self.clone(), key, is_evicted })
    }
}

impl OpenSession {
    /// Set once a newer session has taken its place.
    pub(super) fn is_evicted(&self) -> &Arc<AtomicBool> {
        &self.is_evicted
    }
}

impl Drop for OpenSession {
    fn drop(&mut self) {
        let mut open = self.sessions.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_this = |open: &Open| Arc::ptr_eq(&open.is_evicted, &self.is_evicted);
        if open.get(&self.key).is_some_and(is_this) {
            open.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_session_takes_the_place_of_an_older_one_and_not_the_other_way_round() {
        let (sessions, me) = (Sessions::default(), Identity::User(0));
        let first = sessions.open(&me, "db", 5).unwrap();
        assert!(sessions.open(&me, "db", 5).is_err() && sessions.open(&me, "db", 4).is_err());
        let other = sessions.open(&me, "log", 1).unwrap();
        let second = sessions.open(&me, "db", 6).unwrap();
        let evicted = |one: &OpenSession| one.is_evicted().load(Ordering::Relaxed);
        assert!(evicted(&first) && !evicted(&second) && !evicted(&other));
        // The place belongs to the second one now.
        drop(first);
        assert!(sessions.open(&me, "db", 6).is_err());
        drop(second);
        assert!(sessions.open(&me, "db", 1).is_ok());
    }
}
