//! Our block in a file that belongs to somebody else: add, replace, remove; everything else is left
//! untouched. The contents of the block are determined by the callers.

use crate::lines::{Line, appended, ending_of, lines, spliced};

/// The first line of our block.
pub(crate) const BEGIN: &str = "# BEGIN mtctl";
/// The last line of our block.
pub(crate) const END: &str = "# END mtctl";

/// Why our block cannot be located reliably; line numbers start at 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// `BEGIN` without `END`.
    #[error("line {line}: the block that begins here has no '{END}'")]
    Unterminated {
        /// Where it begins.
        line: usize,
    },
    /// `END` without `BEGIN`.
    #[error("line {line}: a block ends here that has no '{BEGIN}'")]
    Stray {
        /// Where it ends.
        line: usize,
    },
    /// A second `BEGIN`.
    #[error("line {line}: a second block begins here")]
    Repeated {
        /// Where it begins.
        line: usize,
    },
}

/// The position of our block, in bytes, including both markers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Region<'a> {
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// The line ending after `END`.
    ending: &'a str,
}

/// Finds our block.
///
/// # Errors
/// Returns an error if the markers are not paired or there are two blocks: then nothing may be
/// edited.
pub(crate) fn find(text: &str) -> Result<Option<Region<'_>>, BlockError> {
    let mut begun: Option<(usize, usize)> = None;
    let mut found = None;
    for (index, line) in lines(text).enumerate() {
        let number = index + 1;
        match (line.body.trim_end(), begun) {
            (BEGIN, None) if found.is_none() => begun = Some((number, line.start)),
            (BEGIN, _) => return Err(BlockError::Repeated { line: number }),
            (END, Some((_, start))) => {
                found = Some(region(start, line));
                begun = None;
            }
            (END, None) => return Err(BlockError::Stray { line: number }),
            _ => {}
        }
    }
    match begun {
        Some((line, _)) => Err(BlockError::Unterminated { line }),
        None => Ok(found),
    }
}

fn region(start: usize, last: Line<'_>) -> Region<'_> {
    Region { start, end: last.end(), ending: last.ending }
}

/// `text` with our block containing `body`: replaced in place, or appended. The text is returned
/// unchanged if the block already contains `body`.
///
/// # Errors
/// Returns a [`BlockError`]; the file must not be edited then.
pub fn put(text: &str, body: &str) -> Result<String, BlockError> {
    let rows = || [BEGIN].into_iter().chain(body.lines()).chain([END]);
    let Some(region) = find(text)? else {
        return Ok(appended(text, rows()));
    };
    let mut block = rows().collect::<Vec<_>>().join(ending_of(text));
    block.push_str(region.ending);
    Ok(spliced(text, region.start, region.end, &block))
}

/// `text` without our block; unchanged if there is none.
///
/// # Errors
/// Returns a [`BlockError`].
pub fn remove(text: &str) -> Result<String, BlockError> {
    Ok(match find(text)? {
        Some(region) => spliced(text, region.start, region.end, ""),
        None => text.to_owned(),
    })
}

/// The lines outside our block, with their numbers (from 1).
///
/// # Errors
/// Returns a [`BlockError`].
pub(crate) fn foreign_lines(
    text: &str,
) -> Result<impl Iterator<Item = (usize, Line<'_>)>, BlockError> {
    let ours = find(text)?.map_or(0..0, |region| region.start..region.end);
    Ok(lines(text)
        .enumerate()
        .map(|(index, line)| (index + 1, line))
        .filter(move |(_, line)| !ours.contains(&line.start)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_block_after_a_lone_carriage_return_is_put_once() {
        let once = put("x\r", "a\nb\n").unwrap();
        assert_eq!(put(&once, "a\nb\n").unwrap(), once);
    }

    #[test]
    fn a_block_is_replaced_in_place_with_the_endings_of_the_file() {
        let text = "a\r\n# BEGIN mtctl\r\nold\r\nolder\r\n# END mtctl\r\nz";
        let wanted = "a\r\n# BEGIN mtctl\r\nnew\r\n# END mtctl\r\nz";
        assert_eq!(put(text, "new\n").as_deref(), Ok(wanted));
        assert_eq!(remove(wanted).as_deref(), Ok("a\r\nz"));
    }

    #[test]
    fn a_block_that_ends_the_file_without_a_newline_stays_so() {
        let text = "# BEGIN mtctl\nnew\n# END mtctl";
        assert_eq!(put(text, "new").as_deref(), Ok(text));
    }

    #[test]
    fn markers_that_do_not_pair_are_refused() {
        for (text, error) in [
            ("# BEGIN mtctl\n", BlockError::Unterminated { line: 1 }),
            ("a\n# END mtctl\n", BlockError::Stray { line: 2 }),
            ("# BEGIN mtctl\n# BEGIN mtctl\n# END mtctl\n", BlockError::Repeated { line: 2 }),
            (
                "# BEGIN mtctl\n# END mtctl\n# BEGIN mtctl\n# END mtctl\n",
                BlockError::Repeated { line: 3 },
            ),
        ] {
            assert_eq!(put(text, "x"), Err(error), "{text}");
            assert_eq!(remove(text), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_put_is_put_once_and_can_be_taken_back(
            text in "([a#= \t]{0,8}\r?\n){0,6}",
            body in "([a-z{}]{0,6}\n){0,3}",
        ) {
            let once = put(&text, &body).unwrap();
            prop_assert_eq!(&put(&once, &body).unwrap(), &once);
            prop_assert_eq!(remove(&once).unwrap(), text);
        }
    }
}
