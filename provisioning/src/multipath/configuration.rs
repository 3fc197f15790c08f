//! Parses multipath.conf(5) far enough to know what multipath-tools will claim. Regular expressions
//! are not matched, hardware tables not known, and nothing is edited.

use super::MultipathGeneration;

/// One `keyword value` row and the sections around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Line number in its file, from 1.
    pub line: usize,
    /// The sections, outermost first: `["blacklist", "device"]`.
    pub section: Vec<String>,
    /// Line number at which the innermost section begins; 0 outside of any section.
    pub section_line: usize,
    /// The keyword.
    pub keyword: String,
    /// The value without its quotes; empty if there is none.
    pub value: String,
}

/// How disks with one path are treated: `find_multipaths`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FindMultipaths {
    /// Known maps only.
    Strict,
    /// Known maps, and two paths of one WWID.
    Yes,
    /// Its meaning depends on the generation.
    No,
    /// Every disk not blacklisted.
    Greedy,
    /// Every disk for a while, then like `Yes`.
    Smart,
    /// A word that multipath-tools do not know either.
    Unknown(String),
}

impl FindMultipaths {
    fn from_word(word: &str) -> Self {
        match word {
            "strict" => Self::Strict,
            "yes" | "on" | "1" => Self::Yes,
            "no" | "off" | "0" => Self::No,
            "greedy" => Self::Greedy,
            "smart" => Self::Smart,
            other => Self::Unknown(other.to_owned()),
        }
    }
}

/// One or more configuration files, in the order multipath-tools read them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configuration {
    settings: Vec<Setting>,
}

impl Configuration {
    /// Parses the main file and its drop-ins, in that order. Invalid rows are ignored, as
    /// multipath-tools do.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut whole = Self::default();
        for text in texts {
            whole.read(text);
        }
        whole
    }

    fn read(&mut self, text: &str) {
        let mut open: Vec<(String, usize)> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let words = tokens(line).unwrap_or_default();
            match words.as_slice() {
                [Token::Close] => drop(open.pop()),
                [Token::Word(name), Token::Open] => open.push((name.clone(), index + 1)),
                [Token::Word(keyword)] => self.set(index + 1, &open, keyword, ""),
                [Token::Word(keyword), Token::Word(value)] => {
                    self.set(index + 1, &open, keyword, value);
                }
                _ => {}
            }
        }
    }

    fn set(&mut self, line: usize, open: &[(String, usize)], keyword: &str, value: &str) {
        self.settings.push(Setting {
            line,
            section: open.iter().map(|(name, _)| name.clone()).collect(),
            section_line: open.last().map_or(0, |(_, line)| *line),
            keyword: keyword.to_owned(),
            value: value.to_owned(),
        });
    }

    /// Every setting, in the order read.
    pub fn settings(&self) -> &[Setting] {
        &self.settings
    }

    /// The last value of a keyword in the `defaults` sections, which is the effective one.
    pub fn default_value(&self, keyword: &str) -> Option<&str> {
        let named = |setting: &&Setting| setting.section == ["defaults"];
        let mut found = self.settings.iter().rev().filter(named);
        let setting = found.find(|setting| setting.keyword == keyword)?;
        Some(&setting.value)
    }

    /// The value of `find_multipaths`, if it is set.
    pub fn find_multipaths(&self) -> Option<FindMultipaths> {
        self.default_value("find_multipaths").map(FindMultipaths::from_word)
    }

    /// Whether a disk with a single path that was never seen before may get a map, which users call
    /// greedy.
    pub(crate) fn claims_single_paths(&self, generation: MultipathGeneration) -> bool {
        match self.find_multipaths() {
            Some(FindMultipaths::Greedy | FindMultipaths::No) => true,
            // It is claimed first and given back after a timeout.
            Some(FindMultipaths::Smart) => true,
            Some(FindMultipaths::Strict | FindMultipaths::Yes) => false,
            None | Some(FindMultipaths::Unknown(_)) => match generation {
                MultipathGeneration::MainFileOnly | MultipathGeneration::YesNo => true,
                MultipathGeneration::Named => false,
            },
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// A word, or a string without its quotes.
    Word(String),
    Open,
    Close,
}

/// The tokens of a line; `None` if a quote is not closed.
fn tokens(line: &str) -> Option<Vec<Token>> {
    let mut words = Vec::new();
    let mut rest = line.trim();
    while let Some(first) = rest.chars().next() {
        match first {
            '#' | '!' => break,
            '"' => {
                let (word, after) = quoted(&rest[1..])?;
                words.push(Token::Word(word));
                rest = after;
            }
            '{' => {
                words.push(Token::Open);
                rest = &rest[1..];
            }
            '}' => {
                words.push(Token::Close);
                rest = &rest[1..];
            }
            _ => {
                let ends = |c: char| c.is_whitespace() || matches!(c, '#' | '!' | '"' | '{' | '}');
                let (word, after) = rest.split_at(rest.find(ends).unwrap_or(rest.len()));
                words.push(Token::Word(word.to_owned()));
                rest = after;
            }
        }
        rest = rest.trim_start();
    }
    Some(words)
}

/// The string up to its closing quote, in which `""` stands for one quote, and the rest of the
/// text.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut word = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest.split_once('"')?;
        word.push_str(before);
        match after.strip_prefix('"') {
            Some(after) => {
                word.push('"');
                rest = after;
            }
            None => return Some((word, after)),
        }
    }
}
