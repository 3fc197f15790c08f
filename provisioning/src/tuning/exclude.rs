//! Adds `kernel*` to the packages that yum.conf(5) or dnf.conf(5) exclude, losslessly, and removes
//! it again. Other options are not read.

use std::ops::Range;

use crate::lines::{Line, ending_of, lines, spliced};
use crate::marked_block::{self, BlockError};

const PATTERN: &str = "kernel*";
const MARK: &str = "# mtctl: kernel* was added to the next line";

/// The position of an `exclude` or `excludepkgs` option of `[main]`, in bytes.
#[derive(Clone, Debug)]
struct ExcludeOption {
    /// Where its line starts.
    start: usize,
    /// From its first value (or the place for one) to the end of its last continuation line.
    value: Range<usize>,
}

impl ExcludeOption {
    /// Values are separated by commas or white space, over any number of continuation lines.
    fn holds_kernel(&self, text: &str) -> bool {
        let rows = text[self.value.clone()].lines();
        let rows = rows.filter(|row| !is_comment(row));
        let mut packages = rows.flat_map(|row| row.split([',', ' ', '\t']));
        packages.any(|package| package == PATTERN)
    }
}

#[derive(Clone, Debug, Default)]
struct MainSection {
    /// Where the line after its header starts.
    body_start: Option<usize>,
    /// The last one, which is the effective one: yum lets it override earlier ones.
    exclude: Option<ExcludeOption>,
}

impl MainSection {
    fn find(text: &str) -> Self {
        let mut section = Self::default();
        let mut in_main = false;
        let mut in_exclude = false;
        for line in lines(text) {
            if line.body.trim().is_empty() || is_comment(line.body) {
                continue;
            }
            if line.body.starts_with([' ', '\t']) {
                // A continuation of the option above.
                if let Some(option) = section.exclude.as_mut().filter(|_| in_exclude) {
                    option.value.end = line.end();
                }
                continue;
            }
            in_exclude = false;
            if line.body.starts_with('[') {
                in_main = line.body.trim_end() == "[main]";
                if in_main {
                    section.body_start = section.body_start.or(Some(line.end()));
                }
            } else if let Some(option) = exclude_option(line).filter(|_| in_main) {
                section.exclude = Some(option);
                in_exclude = true;
            }
        }
        section
    }
}

fn is_comment(row: &str) -> bool {
    row.starts_with(['#', ';'])
}

fn exclude_option(line: Line<'_>) -> Option<ExcludeOption> {
    let (name, rest) = line.body.split_once(['=', ':'])?;
    if !matches!(name.trim_end(), "exclude" | "excludepkgs") {
        return None;
    }
    let value = rest.trim_start_matches([' ', '\t']);
    let value_start = line.start + line.body.len() - value.len();
    Some(ExcludeOption { start: line.start, value: value_start..line.end() })
}

pub(super) fn is_held(text: &str) -> bool {
    let option = MainSection::find(text).exclude;
    option.is_some_and(|option| option.holds_kernel(text))
}

pub(super) fn held(text: &str) -> Result<String, BlockError> {
    // Unpaired markers are refused even if there is nothing to do.
    let base = released(text)?;
    if is_held(text) {
        return Ok(text.to_owned());
    }
    let ending = ending_of(&base);
    let section = MainSection::find(&base);
    let Some(option) = section.exclude else {
        return with_new_option(&base, section.body_start);
    };
    let with_value = spliced(&base, option.value.start, option.value.start, &format!("{PATTERN} "));
    let mark = format!("{MARK}{ending}");
    Ok(spliced(&with_value, option.start, option.start, &mark))
}

/// Inserted right after the header, because at the end of the section an indented line could
/// follow.
fn with_new_option(base: &str, body_start: Option<usize>) -> Result<String, BlockError> {
    let option = format!("exclude={PATTERN}\n");
    let Some(start) = body_start else {
        return marked_block::put(base, &format!("[main]\n{option}"));
    };
    let head = marked_block::put(&base[..start], &option)?;
    Ok(head + &base[start..])
}

pub(super) fn released(text: &str) -> Result<String, BlockError> {
    let text = marked_block::remove(text)?;
    let mut whole = String::with_capacity(text.len());
    let mut marked = false;
    for line in lines(&text) {
        let was_marked = std::mem::replace(&mut marked, line.body == MARK);
        if marked {
            continue;
        }
        let option = exclude_option(line).filter(|_| was_marked);
        let value = option.map(|option| option.value.start - line.start);
        let (before, after) = line.body.split_at(value.unwrap_or(0));
        whole.push_str(before);
        whole.push_str(match value {
            Some(_) => without_pattern(after),
            None => after,
        });
        whole.push_str(line.ending);
    }
    Ok(whole)
}

/// The value without the pattern that we put first. An editor may have removed the space after it.
fn without_pattern(value: &str) -> &str {
    let rest = value.strip_prefix(PATTERN);
    let rest = rest.filter(|rest| rest.is_empty() || rest.starts_with([' ', ',']));
    rest.map_or(value, |rest| rest.strip_prefix([' ', ',']).unwrap_or(rest))
}
