//! What is wrong with a configuration, and where: collected, sorted, shown one per line.
//!
//! A reader that stops at its first mistake makes an operator restart once per mistake, so nothing
//! here returns early: [`Findings`] is handed through the whole reading.

use std::{collections::BTreeSet, fmt, sync::Arc};

use crate::domain::input::InputError;

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The file as a whole.
    File,
    /// Both count from 1; columns are characters.
    Position {
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
    },
    /// An environment variable.
    Variable(Arc<str>),
    /// A flag of the command line.
    Flag(&'static str),
}

/// One mistake. `text` names the key, the value and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where it was written.
    pub place: Place,
    /// One sentence with the key, the value and what is allowed.
    pub text: String,
}

/// Every mistake of a configuration, in the order of the file; those of variables and flags follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    file: String,
    mistakes: Vec<Mistake>,
}

impl ConfigErrors {
    /// How many mistakes there are; at least 1.
    pub fn len(&self) -> usize {
        self.mistakes.len()
    }

    /// Always false for what a reading of a configuration returns.
    pub fn is_empty(&self) -> bool {
        self.mistakes.is_empty()
    }

    /// In the order of the file; those of variables and flags follow.
    pub fn mistakes(&self) -> &[Mistake] {
        &self.mistakes
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.mistakes.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&located(&self.file, &mistake.place, &mistake.text))?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

fn located(file: &str, place: &Place, text: &str) -> String {
    match place {
        Place::File => format!("{file}: {text}"),
        Place::Position { line, column } => format!("{file}:{line}:{column}: {text}"),
        Place::Variable(name) => format!("{name}: {text}"),
        Place::Flag(name) => format!("{name}: {text}"),
    }
}

/// How the secrets of billing providers begin.
const SECRETS: [&str; 4] = ["am_sk_", "whsec_", "postgres://", "postgresql://"];

/// Mistakes and warnings of one reading.
#[derive(Debug)]
pub(super) struct Findings {
    file: String,
    mistakes: Vec<Mistake>,
    warnings: Vec<Mistake>,
    /// Lines that are not TOML. What was guessed of them is not worth a second mistake.
    broken_lines: BTreeSet<usize>,
    is_whole: bool,
}

impl Findings {
    pub(super) fn new(file: &str) -> Self {
        Self {
            file: file.to_owned(),
            mistakes: Vec::new(),
            warnings: Vec::new(),
            broken_lines: BTreeSet::new(),
            is_whole: true,
        }
    }

    /// The file cannot be read here, or is not TOML. One mistake per line: the others follow from it.
    pub(super) fn broken(&mut self, place: Place, text: String) {
        self.is_whole = false;
        let is_new = match place {
            Place::Position { line, .. } => self.broken_lines.insert(line),
            _ => true,
        };
        if is_new {
            self.mistakes.push(Mistake { place, text });
        }
    }

    /// False where parts of the file could not be read: a key that seems to be missing may be there.
    pub(super) fn is_whole(&self) -> bool {
        self.is_whole
    }

    pub(super) fn add(&mut self, place: &Place, text: String) {
        let is_guessed = matches!(place, Place::Position { line, .. } if self.broken_lines.contains(line));
        if !is_guessed {
            self.mistakes.push(Mistake { place: place.clone(), text });
        }
    }

    /// `path "shown" is not allowed: allowed`. A secret that was written here by mistake is not shown.
    pub(super) fn refuse(&mut self, place: &Place, path: &str, shown: impl fmt::Display, allowed: impl Into<String>) {
        let shown = shown.to_string();
        let is_secret = SECRETS.iter().any(|start| shown.contains(start));
        self.add(place, InputError::new(path, if is_secret { "***" } else { &shown }, allowed).to_string());
    }

    /// A key that nothing reads. `known` are the names that are read here.
    pub(super) fn unknown(&mut self, place: &Place, outer: &str, key: &str, known: &[&str]) {
        let path = join(outer, key);
        let hint = nearest(key, known).map(|name| format!(" (did you mean {name}?)")).unwrap_or_default();
        self.add(place, format!("{path} is not a known key: use one of {}{hint}", known.join(", ")));
    }

    pub(super) fn warn(&mut self, place: &Place, text: String) {
        self.warnings.push(Mistake { place: place.clone(), text });
    }

    /// The warnings, or every mistake.
    pub(super) fn finish(mut self) -> Result<Vec<String>, ConfigErrors> {
        // A section that is read for two plans gives the same finding twice.
        let in_order = |said: &mut Vec<Mistake>| {
            said.sort_by(|a, b| a.place.cmp(&b.place));
            let mut seen = BTreeSet::new();
            said.retain(|mistake| seen.insert((mistake.place.clone(), mistake.text.clone())));
        };
        in_order(&mut self.mistakes);
        if !self.mistakes.is_empty() {
            return Err(ConfigErrors { file: self.file, mistakes: self.mistakes });
        }
        in_order(&mut self.warnings);
        Ok(self.warnings.iter().map(|warning| located(&self.file, &warning.place, &warning.text)).collect())
    }
}

/// How much of one key is repeated in a path.
const KEY_CHARS: usize = 128;

/// The path of `key` inside `outer`, quoted where TOML wants quotes, safe in logs and terminals.
pub(super) fn join(outer: &str, key: &str) -> String {
    let is_bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    let mut shown: String = key.chars().take(KEY_CHARS).flat_map(char::escape_default).collect();
    if key.chars().nth(KEY_CHARS).is_some() {
        shown.push('…');
    }
    if !is_bare {
        shown = format!("\"{shown}\"");
    }
    if outer.is_empty() { shown } else { format!("{outer}.{shown}") }
}

/// Longest key worth a comparison; the cost grows with its square.
const COMPARED_BYTES: usize = 64;
/// More edits than this make another key, not a typing error.
const EDITS_MAX: usize = 2;

/// The name that a mistyped `word` probably stands for.
pub(super) fn nearest<'n>(word: &str, names: &[&'n str]) -> Option<&'n str> {
    if word.len() > COMPARED_BYTES {
        return None;
    }
    let near = |name: &&str| (edits(word, name), name.len());
    let best = names.iter().min_by_key(|name| near(name))?;
    let (distance, length) = near(best);
    (distance <= EDITS_MAX && distance * 2 < length).then_some(best)
}

/// Levenshtein's distance.
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, from_char) in from.chars().enumerate() {
        let mut diagonal = index;
        let mut left = index + 1;
        let mut next = vec![left];
        for (above, to_char) in row.iter().skip(1).zip(&to) {
            left = (diagonal + usize::from(from_char != *to_char)).min(above + 1).min(left + 1);
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_finds_its_name_and_another_key_does_not() {
        let names = ["amount", "window", "idle_windows"];
        for (word, found) in [
            ("amont", Some("amount")),
            ("windwo", Some("window")),
            ("limit", None),
            ("", None),
            ("amounts", Some("amount")),
        ] {
            assert_eq!(nearest(word, &names), found, "{word}");
        }
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("abc", ""), 3);
    }

    #[test]
    fn paths_are_quoted_and_escaped() {
        assert_eq!(join("orgs", "acme"), "orgs.acme");
        assert_eq!(join("orgs", "a.b"), "orgs.\"a.b\"");
        assert_eq!(join("", "a\u{1b}\"b"), "\"a\\u{1b}\\\"b\"");
    }
}
