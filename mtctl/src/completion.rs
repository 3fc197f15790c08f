//! Shell completions that only this host knows: groups and recovery points. Nothing is locked or
//! changed, and whatever cannot be read is left out silently, because somebody is typing.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use blockio::group::GroupView;
use blockio::journal::catalogue::Catalogue;
use blockio::journal::selector;
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};

use crate::group_list;
use crate::retention_options::RetentionOptions;

/// The groups of this host, or of the retention volume that is named in the same line.
pub(crate) fn groups() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let names = group_list::names(&Line::typed().retention()).unwrap_or_default();
        names.into_iter().map(CompletionCandidate::new).collect()
    })
}

/// The recovery points of the group that is named in the same line, and the words that select a
/// point. A point with a unique name is offered by its name, any other by its number.
pub(crate) fn points() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let words = ["latest", "latest-app", "start"].map(CompletionCandidate::new);
        words.into_iter().chain(points_of(&Line::typed()).unwrap_or_default()).collect()
    })
}

fn points_of(line: &Line) -> Option<Vec<CompletionCandidate>> {
    let name = line.value_of("--group")?.into_string().ok()?;
    let place = line.retention().place_of(&name).ok()?;
    let view = GroupView::look(&place, &name).ok()?;
    let known = view.state().journal.as_ref()?;
    let mut named = BTreeMap::<&str, u64>::new();
    for name in Catalogue::recovery_points(known).filter_map(|point| point.name.as_deref()) {
        *named.entry(name).or_default() += 1;
    }
    let is_only = |name: &&str| is_typed_as_it_is(name) && named.get(name) == Some(&1);
    let candidates = Catalogue::recovery_points(known).map(|point| {
        let word = match point.name.as_deref().filter(is_only) {
            Some(name) => name.to_owned(),
            None => point.id.to_string(),
        };
        CompletionCandidate::new(word).help(Some(selector::time(point.time).into()))
    });
    Some(candidates.collect())
}

/// Whether no shell gives a special meaning to anything in `name`.
fn is_typed_as_it_is(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.@%+,/-".contains(&byte);
    name.bytes().all(is_plain) && !name.is_empty() && !name.starts_with('-')
}

/// The words typed so far.
struct Line(Vec<OsString>);

impl Line {
    fn typed() -> Self {
        // The shell passes them after a `--` of its own.
        Self(std::env::args_os().skip_while(|word| word != "--").skip(1).collect())
    }

    /// The value of `option`, as the next word or after a `=`.
    fn value_of(&self, option: &str) -> Option<OsString> {
        let mut words = self.0.iter();
        while let Some(word) = words.next() {
            if word == option {
                return words
                    .next()
                    .filter(|value| *value != "=")
                    .or_else(|| words.next())
                    .cloned();
            }
            let (Some(word), length) = (word.to_str(), option.len()) else { continue };
            if word.starts_with(option) && word[length..].starts_with('=') {
                return Some(word[length + 1..].into());
            }
        }
        None
    }

    fn retention(&self) -> RetentionOptions {
        RetentionOptions {
            retention: self.value_of("--retention").map(PathBuf::from),
            retention_unmounted: self.0.iter().any(|word| word == "--retention-unmounted"),
            state_dir: self.value_of("--state-dir").map(PathBuf::from),
            ..RetentionOptions::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_of_the_line_has_its_value_however_it_is_typed() {
        for words in [
            &["mtctl", "--group", "web", "--to", ""][..],
            &["mtctl", "--group=web"],
            // As bash splits it.
            &["mtctl", "--group", "=", "web"],
        ] {
            let line = Line(words.iter().map(OsString::from).collect());
            assert_eq!(line.value_of("--group"), Some("web".into()), "{words:?}");
            assert_eq!(line.value_of("--retention"), None);
        }
        let open = Line(vec!["--group".into()]);
        assert_eq!(open.value_of("--group"), None);
    }

    #[test]
    fn a_name_that_a_shell_would_take_apart_is_not_offered() {
        for name in ["nightly", "2026-01-02", "a_b.c@d", "10%"] {
            assert!(is_typed_as_it_is(name), "{name}");
        }
        for name in ["", "-x", "a b", "$(reboot)", "a;b", "`x`", "é", "a\nb", "a:b"] {
            assert!(!is_typed_as_it_is(name), "{name}");
        }
    }
}
