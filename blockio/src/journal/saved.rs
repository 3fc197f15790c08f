//! The two copies of a group's state: each save writes or appends to both, one after the other, and
//! the one of the higher generation counts. So a copy that is damaged, lost or put back from a
//! backup does no harm.
//!
//! A crash between the two leaves a first copy that is one generation ahead. Nothing that depends
//! on it has happened: the saver continues only when both are written.

use std::io;

use crate::journal::catalogue::Catalogue;
use crate::journal::state::GroupState;
use crate::journal::state_text::{self, Parsed};
use crate::notice::Notice;
use crate::storage::{StateCopy, Storage};

/// The first version with two copies.
const COPIED_FROM: u32 = 2;

/// A process that is killed, or loses power, between the two writes leaves the second copy behind
/// by one more; it does not happen this many times in a row.
const BEHIND_MAX: u64 = 3;

/// How often the copies are read again when they contradict each other: a save may be under way.
const ATTEMPTS: usize = 3;

/// The state that counts.
#[derive(Clone, Debug)]
pub struct Saved {
    /// The state.
    pub state: GroupState,
    /// Notices for the operator about its copies.
    pub notes: Vec<Notice>,
}

/// Why the state is not known.
#[derive(Debug, thiserror::Error)]
pub enum NotReadable {
    /// The kernel returned an error.
    #[error("{file}: {cause}")]
    Failed {
        /// The file of the copy.
        file: String,
        /// The kernel's error.
        #[source]
        cause: io::Error,
    },
    /// Both copies are damaged: the reason for each that exists.
    #[error("{0}")]
    Damaged(String),
    /// Both copies are torn. Each is durable before the other is appended to, so no crash causes
    /// that: the last save may have been acted on, and is not known.
    #[error("the last save is damaged in both copies, {0} and {1}")]
    BothTorn(String, String),
    /// The copies belong to two histories.
    #[error("{0} and {1} belong to different histories: one of them was put there by hand")]
    OfTwoHistories(String, String),
}

/// One copy, as read.
enum CopyRead {
    Missing,
    Damaged(String),
    Whole(Box<Parsed>),
}

/// The state in `storage`; `None` if none was ever saved.
///
/// # Errors
///
/// Why it is not known.
pub fn read(storage: &dyn Storage) -> Result<Option<Saved>, NotReadable> {
    let mut attempt = 1;
    loop {
        // A save in between makes the second copy newer than the first was when it was read.
        let first = storage.read_state(StateCopy::First);
        let second = storage.read_state(StateCopy::Second);
        let is_same = matches!((&first, &second), (Ok(Some(one)), Ok(Some(other))) if one == other);
        let chosen = match is_same {
            // Usually they are equal: with many points, a second state would take a lot of memory.
            true => choose_the_one(storage, copy_of(storage, StateCopy::First, first)?),
            false => {
                let first = copy_of(storage, StateCopy::First, first)?;
                choose(storage, first, copy_of(storage, StateCopy::Second, second)?)
            }
        };
        let may_be_by_chance = match &chosen {
            Err(NotReadable::OfTwoHistories(..) | NotReadable::BothTorn(..)) => true,
            Ok(Some(saved)) => !saved.notes.is_empty(),
            Ok(None) | Err(_) => false,
        };
        if !may_be_by_chance || attempt == ATTEMPTS {
            return chosen;
        }
        attempt += 1;
    }
}

/// The result of reading a copy.
fn copy_of(
    storage: &dyn Storage,
    copy: StateCopy,
    read: io::Result<Option<String>>,
) -> Result<CopyRead, NotReadable> {
    match read {
        Ok(None) => Ok(CopyRead::Missing),
        Ok(Some(text)) => Ok(match state_text::parse_copy(&text) {
            Ok(parsed) => CopyRead::Whole(Box::new(parsed)),
            Err(problem) => CopyRead::Damaged(problem.to_string()),
        }),
        // A sector that cannot be read is damage to this copy; so is a path that is not a file.
        Err(error) if is_damage(&error) => Ok(CopyRead::Damaged(error.to_string())),
        Err(cause) => Err(NotReadable::Failed { file: shown(storage, copy), cause }),
    }
}

fn is_damage(error: &io::Error) -> bool {
    const OF_ONE_COPY: [i32; 4] = [libc::EIO, libc::EUCLEAN, libc::ELOOP, libc::ENXIO];
    error.kind() == io::ErrorKind::InvalidData
        || error.raw_os_error().is_some_and(|code| OF_ONE_COPY.contains(&code))
}

/// The file of a copy, for messages.
fn shown(storage: &dyn Storage, copy: StateCopy) -> String {
    let file = storage.state_file(copy);
    file.map_or_else(|| "a copy of the state".to_owned(), |file| file.display().to_string())
}

fn both(storage: &dyn Storage) -> (String, String) {
    (shown(storage, StateCopy::First), shown(storage, StateCopy::Second))
}

/// The state if both copies have the same text.
fn choose_the_one(storage: &dyn Storage, copy: CopyRead) -> Result<Option<Saved>, NotReadable> {
    let (first, second) = both(storage);
    match copy {
        CopyRead::Whole(parsed) if parsed.is_torn && !planted!(TornInBothBelieved) => {
            Err(NotReadable::BothTorn(first, second))
        }
        CopyRead::Whole(parsed) => Ok(Some(Saved { state: parsed.state, notes: Vec::new() })),
        CopyRead::Damaged(why) => Err(NotReadable::Damaged(format!("{first} and {second}: {why}"))),
        CopyRead::Missing => Ok(None),
    }
}

fn choose(
    storage: &dyn Storage,
    first: CopyRead,
    second: CopyRead,
) -> Result<Option<Saved>, NotReadable> {
    use StateCopy::{First, Second};
    let note = |bad, why: String, good| {
        let (bad, good) = (shown(storage, bad), shown(storage, good));
        vec![Notice::StateCopyPassedOver { bad, why, good }]
    };
    let damaged = |copy, why: &str| format!("{}: {why}", shown(storage, copy));
    let missing = || "it is missing".to_owned();
    let (Parsed { state, .. }, notes) = match (first, second) {
        (CopyRead::Missing, CopyRead::Missing) => return Ok(None),
        (CopyRead::Whole(one), CopyRead::Whole(other)) => {
            let (first, second) = both(storage);
            if of_two_histories(&one.state, &other.state) {
                return Err(NotReadable::OfTwoHistories(first, second));
            }
            if one.is_torn && other.is_torn && !planted!(TornInBothBelieved) {
                return Err(NotReadable::BothTorn(first, second));
            }
            let (ours, theirs) = (one.state.generation(), other.state.generation());
            let older = |is, other| format!("it is older (generation {is}, the other is {other})");
            match theirs > ours && !planted!(FirstCopyAlwaysCounts) {
                true => (*other, note(First, older(ours, theirs), Second)),
                false if ours.saturating_sub(theirs) <= BEHIND_MAX => (*one, Vec::new()),
                false => (*one, note(Second, older(theirs, ours), First)),
            }
        }
        (CopyRead::Whole(one), CopyRead::Missing) => {
            // A state of version 1 had no second copy; and the very first save makes the first copy
            // before the second.
            let notes = match one.version >= COPIED_FROM && one.state.generation() > BEHIND_MAX {
                true => note(Second, missing(), First),
                false => Vec::new(),
            };
            (*one, notes)
        }
        (CopyRead::Whole(one), CopyRead::Damaged(why)) => (*one, note(Second, why, First)),
        (CopyRead::Missing, CopyRead::Whole(other)) => (*other, note(First, missing(), Second)),
        (CopyRead::Damaged(why), CopyRead::Whole(other)) => (*other, note(First, why, Second)),
        (CopyRead::Damaged(one), CopyRead::Damaged(other)) => {
            let (first, second) = (damaged(First, &one), damaged(Second, &other));
            return Err(NotReadable::Damaged(format!("{first}; {second}")));
        }
        (CopyRead::Damaged(why), CopyRead::Missing) => {
            return Err(NotReadable::Damaged(damaged(First, &why)));
        }
        (CopyRead::Missing, CopyRead::Damaged(why)) => {
            return Err(NotReadable::Damaged(damaged(Second, &why)));
        }
    };
    Ok(Some(Saved { state, notes }))
}

/// Whether the copies are of two histories. Between two histories both copies are saved without
/// one.
fn of_two_histories(first: &GroupState, second: &GroupState) -> bool {
    let identity =
        |state: &GroupState| state.journal.as_ref().map(|known: &Catalogue| known.identity);
    matches!((identity(first), identity(second)), (Some(one), Some(other)) if one != other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::by_hand::ByHand;
    use crate::storage::directory::{Directory, STATE, STATE_COPY};

    fn state(generation: u64, identity: u8) -> GroupState {
        let mut state = GroupState::default();
        (0..generation).for_each(|_| state.begin_generation());
        state.journal = Some(Catalogue::new([identity; 16], 1));
        state
    }

    /// The generation that counts of two texts, and the number of notices; or why none counts.
    fn counts(first: Option<&str>, second: Option<&str>) -> Result<(u64, usize), String> {
        let place = tempfile::tempdir().unwrap();
        for (name, text) in [(STATE, first), (STATE_COPY, second)] {
            text.iter().for_each(|text| std::fs::write(place.path().join(name), text).unwrap());
        }
        let directory = Directory::open(place.path(), place.path()).unwrap();
        let saved = read(&directory).map_err(|error| error.to_string())?.ok_or("none")?;
        Ok((saved.state.generation(), saved.notes.len()))
    }

    #[test]
    fn the_copy_of_the_higher_generation_counts_whatever_has_become_of_the_other() {
        let (old, new) = (state_text::print(&state(4, 1)), state_text::print(&state(5, 1)));
        let damaged = new.replace("crc32c", "crc32d");
        let (old, new, damaged) = (Some(&*old), Some(&*new), Some(&*damaged));
        assert_eq!(counts(new, new), Ok((5, 0)));
        assert_eq!(counts(new, old), Ok((5, 0)), "a crash between the two");
        assert_eq!(counts(old, new), Ok((5, 1)), "the first was put back from a backup");
        assert_eq!(counts(damaged, new), Ok((5, 1)));
        assert_eq!(counts(new, damaged), Ok((5, 1)));
        assert_eq!(counts(None, new), Ok((5, 1)));
        assert_eq!(counts(new, None), Ok((5, 1)));
        let first = state_text::print(&state(1, 1));
        assert_eq!(counts(Some(&first), None), Ok((1, 0)), "a crash in the first save of all");
        let oldest = state_text::print(&state(1, 1));
        assert_eq!(counts(new, Some(&oldest)), Ok((5, 1)), "no crash leaves it that far behind");
        assert_eq!(counts(None, None), Err("none".to_owned()));
        assert!(counts(damaged, damaged).is_err());
        assert!(counts(damaged, None).is_err());
        assert!(counts(None, damaged).is_err());
    }

    #[test]
    fn what_is_torn_in_both_copies_may_have_been_acted_on_and_is_refused() {
        let whole = state_text::print(&state(5, 1));
        let torn = format!("{whole}{{\"generation\":6");
        let (older, whole, torn) = (state_text::print(&state(4, 1)), Some(&*whole), Some(&*torn));
        assert_eq!(counts(torn, whole), Ok((5, 0)), "a crash while the first was appended to");
        assert_eq!(counts(torn, Some(&older)), Ok((5, 0)));
        assert_eq!(counts(Some(&older), torn), Ok((5, 1)), "the first was put back");
        assert_eq!((counts(torn, None), counts(None, torn)), (Ok((5, 1)), Ok((5, 1))));
        assert!(counts(torn, torn).unwrap_err().contains("in both copies"));
        let other = format!("{}\0", torn.unwrap());
        assert!(counts(torn, Some(&other)).unwrap_err().contains("in both copies"));
    }

    #[test]
    fn copies_of_two_histories_are_refused() {
        let (one, other) = (state_text::print(&state(4, 1)), state_text::print(&state(5, 2)));
        let refused = counts(Some(&one), Some(&other)).unwrap_err();
        assert!(refused.contains("different histories"), "{refused}");
    }

    #[test]
    fn a_second_copy_is_missed_once_there_were_more_saves_than_a_crash_leaves_behind() {
        let of = |generation| state_text::print(&state(generation, 1));
        assert_eq!(counts(Some(&of(BEHIND_MAX)), None), Ok((BEHIND_MAX, 0)));
        assert_eq!(counts(Some(&of(BEHIND_MAX + 1)), None), Ok((BEHIND_MAX + 1, 1)));
    }

    #[test]
    fn a_copy_that_cannot_be_read_is_damage_only_if_that_is_of_this_copy_alone() {
        let text = state_text::print(&state(5, 1));
        let counts = |errno| {
            let copies = [Err(errno), Ok(Some(text.clone()))];
            read(&ByHand::default().with_copies(copies)).map(|saved| saved.unwrap())
        };
        for errno in [libc::EIO, libc::EUCLEAN, libc::ELOOP, libc::ENXIO] {
            let saved = counts(errno).unwrap();
            assert_eq!((saved.state.generation(), saved.notes.len()), (5, 1), "{errno}");
        }
        for errno in [libc::EACCES, libc::EMFILE] {
            let error = counts(errno).unwrap_err();
            assert!(matches!(error, NotReadable::Failed { .. }), "{error}");
            assert!(error.to_string().starts_with("a copy of the state: "), "{error}");
        }
    }

    #[test]
    fn what_is_no_text_is_damage_of_its_copy() {
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join(STATE), [0xff; 100]).unwrap();
        std::fs::write(place.path().join(STATE_COPY), state_text::print(&state(5, 1))).unwrap();
        let directory = Directory::open(place.path(), place.path()).unwrap();
        let saved = read(&directory).unwrap().unwrap();
        let told = saved.notes[0].to_string();
        let file = |name| place.path().join(name).display().to_string();
        assert!(told.starts_with(&file(STATE)), "{told}");
        assert!(told.contains(&format!("using {}", file(STATE_COPY))), "{told}");
    }

    #[test]
    fn copies_that_contradict_each_other_are_both_named_by_their_files() {
        let place = tempfile::tempdir().unwrap();
        for (name, identity) in [(STATE, 1), (STATE_COPY, 2)] {
            let text = state_text::print(&state(5, identity));
            std::fs::write(place.path().join(name), text).unwrap();
        }
        let directory = Directory::open(place.path(), place.path()).unwrap();
        let told = read(&directory).unwrap_err().to_string();
        let [first, second] = [STATE, STATE_COPY].map(|name| place.path().join(name));
        let both = format!("{} and {} belong to different", first.display(), second.display());
        assert!(told.starts_with(&both), "{told}");
    }
}
