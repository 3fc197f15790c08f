//! The two copies of a group's state: both are written, or appended to, each time it is saved, one
//! after the other, and the one of the higher generation counts. So one that is damaged, lost or
//! put back from a backup takes nothing with it.
//!
//! What a crash between the two leaves is a first copy that is one generation ahead. Nothing that
//! depends on it has happened: who saves goes on when both are there.

use std::io;

use crate::journal::catalogue::Catalogue;
use crate::journal::state::GroupState;
use crate::journal::state_text::{self, Parsed};
use crate::notice::Notice;
use crate::storage::{StateCopy, Storage};

/// So often the copies are read again when they contradict each other: somebody may be saving.
const ATTEMPTS: usize = 3;

/// The state that counts.
#[derive(Clone, Debug)]
pub struct Saved {
    /// The state.
    pub state: GroupState,
    /// What the operator should know of its copies.
    pub notes: Vec<Notice>,
}

/// Why no state is known.
#[derive(Debug, thiserror::Error)]
pub enum NotReadable {
    /// The kernel said so.
    #[error("{0}")]
    Failed(#[source] io::Error),
    /// Neither copy is what was written.
    #[error("{0}")]
    Damaged(String),
    /// Each is durable before the other is appended to, so that no crash does that: what was saved
    /// last may have been acted on, and is not known.
    #[error("what was saved last is damaged in both copies")]
    BothTorn,
    /// They are of two histories.
    #[error("its two copies are of different histories: one of them was put there by hand")]
    OfTwoHistories,
}

/// One copy, as it was read.
enum Copy {
    Missing,
    Damaged(String),
    Whole(Box<GroupState>),
}

/// The state in `storage`; none if none was ever saved.
///
/// # Errors
///
/// Why it is not known.
pub fn read(storage: &dyn Storage) -> Result<Option<Saved>, NotReadable> {
    let mut chosen = Err(NotReadable::OfTwoHistories);
    for _ in 0..ATTEMPTS {
        // Who saves in between makes the second copy newer than the first was when it was read.
        let first = storage.read_state(StateCopy::First);
        let second = storage.read_state(StateCopy::Second);
        let is_same = matches!((&first, &second), (Ok(Some(one)), Ok(Some(other))) if one == other);
        // As a rule they are: of many points, a second state in memory would be a lot.
        let second = if is_same { Ok(None) } else { second };
        let (first, is_first_torn) = copy_of(first).map_err(NotReadable::Failed)?;
        let (second, is_second_torn) = copy_of(second).map_err(NotReadable::Failed)?;
        chosen = match is_first_torn && (is_second_torn || is_same) {
            true => Err(NotReadable::BothTorn),
            false => choose(storage, first, second),
        };
        match &chosen {
            Err(NotReadable::OfTwoHistories | NotReadable::BothTorn) => {}
            Ok(Some(saved)) if !saved.notes.is_empty() => {}
            Ok(_) | Err(_) => break,
        }
    }
    chosen
}

/// A copy, and whether what was appended to it last is torn, and left out.
fn copy_of(read: io::Result<Option<String>>) -> io::Result<(Copy, bool)> {
    match read {
        Ok(None) => Ok((Copy::Missing, false)),
        Ok(Some(text)) => Ok(match state_text::parse_copy(&text) {
            Ok(Parsed { state, is_torn }) => (Copy::Whole(Box::new(state)), is_torn),
            Err(problem) => (Copy::Damaged(problem.to_string()), false),
        }),
        // A sector that cannot be read is damage of this copy; so is what is no file.
        Err(error) if is_damage(&error) => Ok((Copy::Damaged(error.to_string()), false)),
        Err(error) => Err(error),
    }
}

fn is_damage(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidData
        || matches!(error.raw_os_error(), Some(libc::EIO | libc::EUCLEAN | libc::ELOOP))
}

fn choose(storage: &dyn Storage, first: Copy, second: Copy) -> Result<Option<Saved>, NotReadable> {
    let shown = |copy| {
        let file = storage.state_file(copy);
        file.map_or_else(|| "a copy of the state".to_owned(), |file| file.display().to_string())
    };
    let note = |bad, why: &str, good| {
        let (bad, why, good) = (shown(bad), why.to_owned(), shown(good));
        vec![Notice::StateCopyPassedOver { bad, why, good }]
    };
    let (state, notes) = match (first, second) {
        (Copy::Missing, Copy::Missing) => return Ok(None),
        (Copy::Whole(first), Copy::Whole(second)) => {
            if of_two_histories(&first, &second) {
                return Err(NotReadable::OfTwoHistories);
            }
            match second.generation() > first.generation() {
                true => {
                    let why = format!(
                        "it is older (generation {}, the other is {})",
                        first.generation(),
                        second.generation()
                    );
                    (second, note(StateCopy::First, &why, StateCopy::Second))
                }
                false => (first, Vec::new()),
            }
        }
        // A state of version 1 had no second copy.
        (Copy::Whole(first), Copy::Missing) => (first, Vec::new()),
        (Copy::Whole(first), Copy::Damaged(why)) => {
            (first, note(StateCopy::Second, &why, StateCopy::First))
        }
        (Copy::Missing, Copy::Whole(second)) => {
            (second, note(StateCopy::First, "it is not there", StateCopy::Second))
        }
        (Copy::Damaged(why), Copy::Whole(second)) => {
            (second, note(StateCopy::First, &why, StateCopy::Second))
        }
        (Copy::Damaged(why), _) => return Err(NotReadable::Damaged(why)),
        (Copy::Missing, Copy::Damaged(why)) => return Err(NotReadable::Damaged(why)),
    };
    Ok(Some(Saved { state: *state, notes }))
}

/// Between two histories both copies are without one.
fn of_two_histories(first: &GroupState, second: &GroupState) -> bool {
    let identity =
        |state: &GroupState| state.journal.as_ref().map(|known: &Catalogue| known.identity);
    matches!((identity(first), identity(second)), (Some(one), Some(other)) if one != other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::directory::{Directory, STATE, STATE_COPY};

    fn state(generation: u64, identity: u8) -> GroupState {
        let mut state = GroupState::default();
        (0..generation).for_each(|_| state.begin_generation());
        state.journal = Some(Catalogue::new([identity; 16], 1));
        state
    }

    /// The generation that counts of two texts, and how much is told; or why none does.
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
        assert_eq!(counts(new, None), Ok((5, 0)), "as version 1 was");
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
        assert_eq!((counts(torn, None), counts(None, torn)), (Ok((5, 0)), Ok((5, 1))));
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
}
