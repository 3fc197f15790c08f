//! One session: the sender introduces itself, offers streams, and is told what became of them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::holder::{Holder, Taken};
use super::permission;
use super::sessions::Sessions;
use super::stream::{SharedLink, lock};
use crate::identity::Identity;
use crate::session::VERSION;
use crate::session::frame::Kind;
use crate::session::link::{Incoming, KEEP_ALIVE, Link};
use crate::session::message::{self, Hello, Offer, Refused, Welcome};
use crate::{Error, ErrorKind, Result};

/// How long a sender may take to introduce itself.
pub(super) const INTRODUCTION: Duration = Duration::from_secs(10);
/// How long what is said last may take to go out.
const GOODBYE: Duration = Duration::from_secs(2);
/// How often it is looked whether the session is to end.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// The longest name of a sender, in bytes.
const SENDER_BYTES_MAX: usize = 200;

/// What all sessions share.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) holders: Arc<BTreeMap<String, Holder>>,
    pub(super) sessions: Sessions,
    pub(super) stop: Arc<AtomicBool>,
}

/// Speaks with the sender `identity` on `link` until one of them ends it.
pub(super) fn speak(mut link: Link, identity: &Identity, shared: &Shared) {
    let introduced = introduction(&mut link, identity, shared);
    let open = match introduced {
        Ok(open) => open,
        Err(error) => return refuse(link, &error),
    };
    let link: SharedLink = Arc::new(Mutex::new(link));
    let ended = loop {
        match next_offer(&link, open.is_evicted(), &shared.stop) {
            Ok(Some(offer)) => match take(&offer, identity, &link, open.is_evicted(), shared) {
                Ok(true) => {}
                Ok(false) => break still(open.is_evicted()),
                Err(error) => break Err(error),
            },
            Ok(None) => {
                let _ = lock(&link).send(Kind::End, &[]);
                break Ok(());
            }
            Err(error) => break Err(error),
        }
    };
    // The run that had it is over.
    let Ok(link) = Arc::try_unwrap(link) else { return };
    let link = link.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    match ended {
        Ok(()) => link.close(GOODBYE),
        Err(error) => refuse(link, &error),
    }
}

/// An error if a newer session has taken the place of this one.
fn still(is_evicted: &AtomicBool) -> Result<()> {
    if !is_evicted.load(Ordering::Relaxed) {
        return Ok(());
    }
    Err(Error::refused("a newer session of the same sender has taken the place of this one")
        .with_hint("if that is another sender, give each a name of its own"))
}

fn refuse(mut link: Link, error: &Error) {
    tracing::warn!(peer = link.peer(), error = error.chain(), "a session ends");
    let _ = link.tell(Kind::Refused, &Refused::of(error, error.hint()));
    link.close(GOODBYE);
}

fn introduction(
    link: &mut Link,
    identity: &Identity,
    shared: &Shared,
) -> Result<super::sessions::OpenSession> {
    let hello: Hello = link.expect(Kind::Hello, Instant::now() + INTRODUCTION)?;
    if hello.version != VERSION {
        let context = format!("version {} of the session protocol is not known", hello.version);
        return Err(Error::new(ErrorKind::Usage, context)
            .with_hint(format!("use a sender that speaks version {VERSION}")));
    }
    let is_name = |name: &str| !name.is_empty() && !name.contains(|one: char| one.is_control());
    if hello.sender.len() > SENDER_BYTES_MAX || !is_name(&hello.sender) {
        return Err(Error::new(ErrorKind::Usage, "the name of the sender is not valid"));
    }
    let open = shared.sessions.open(identity, &hello.sender, hello.generation)?;
    let program = concat!("mtctl ", env!("CARGO_PKG_VERSION")).to_owned();
    let keep_alive_seconds = KEEP_ALIVE.as_secs();
    let welcome = Welcome { version: VERSION, program, keep_alive_seconds };
    link.tell(Kind::Welcome, &welcome).map_err(|error| link.error(error))?;
    tracing::info!(peer = link.peer(), sender = hello.sender, program = hello.program, "session");
    Ok(open)
}

/// The next offer; `None` at the end of the session.
fn next_offer(
    link: &SharedLink,
    is_evicted: &AtomicBool,
    stop: &AtomicBool,
) -> Result<Option<Offer>> {
    let mut link = lock(link);
    loop {
        still(is_evicted)?;
        if stop.load(Ordering::Relaxed) {
            return Err(Error::failed("this session", "the receiver is being stopped"));
        }
        match link.poll().map_err(|error| link.error(error))? {
            Incoming::Message(Kind::Offer, body) => {
                let offer = message::read(&body).map_err(crate::session::link::invalid);
                return offer.map(Some).map_err(|error| link.error(error));
            }
            Incoming::Message(Kind::End, _) => return Ok(None),
            Incoming::Message(..) | Incoming::Records => {
                return Err(Error::new(ErrorKind::Integrity, "an offer is expected here"));
            }
            Incoming::Closed => {
                return Err(link.error(std::io::ErrorKind::UnexpectedEof.into()));
            }
            Incoming::Nothing => {
                let waited = link.keep_alive().and_then(|()| link.wait(LOOK_EVERY));
                waited.map_err(|error| link.error(error))?;
            }
        }
    }
}

/// Takes the stream that is offered; whether the session goes on.
fn take(
    offer: &Offer,
    identity: &Identity,
    link: &SharedLink,
    is_evicted: &Arc<AtomicBool>,
    shared: &Shared,
) -> Result<bool> {
    let group = shortened(&offer.group);
    let unknown = || permission::unknown(identity, &group);
    let holder = shared.holders.get(&offer.group).ok_or_else(unknown)?;
    holder.permission().require(identity, &group)?;
    match holder.take(Arc::clone(link), Arc::clone(is_evicted))? {
        Taken::Cut => Ok(false),
        Taken::All { points } => {
            let mut link = lock(link);
            let taken = link.tell(Kind::Taken, &message::Taken { points });
            taken.map_err(|error| link.error(error))?;
            Ok(true)
        }
    }
}

/// A name that somebody else chose, as it is told.
fn shortened(name: &str) -> String {
    name.chars().filter(|one| !one.is_control()).take(SENDER_BYTES_MAX).collect()
}
