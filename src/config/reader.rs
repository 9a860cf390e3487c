//! Reads sections and remembers which keys were read, so that the list of known keys cannot
//! differ from what is read: whatever is left in a [`Section`] when it goes out of scope is unknown.

use std::borrow::Cow;

use super::{
    mistake::{Findings, Place, join},
    tree::{Entry, Table, Value},
};

/// What was read, or what would have been allowed.
pub(super) type Parsed<T> = Result<T, Cow<'static, str>>;

#[derive(Debug)]
pub(super) struct Section<'f> {
    path: String,
    at: Place,
    entries: Table,
    known: Vec<&'static str>,
    pub(super) findings: &'f mut Findings,
}

impl<'f> Section<'f> {
    /// The whole configuration.
    pub(super) fn root(entries: Table, findings: &'f mut Findings) -> Self {
        Self { path: String::new(), at: Place::File, entries, known: Vec::new(), findings }
    }

    /// Its dotted path.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Where it was opened.
    pub(super) fn at(&self) -> &Place {
        &self.at
    }

    /// Whether `key` has a table behind it.
    pub(super) fn is_table(&self, key: &str) -> bool {
        self.entries.get(key).is_some_and(|entry| matches!(entry.value, Value::Table(_)))
    }

    /// Where the value of `key` was written.
    pub(super) fn place(&self, key: &str) -> Option<Place> {
        self.entries.get(key).map(|entry| entry.value_at.clone())
    }

    /// The value of `key`. `None` where it is absent, and where it is refused: that is noted.
    pub(super) fn read<T>(&mut self, key: &'static str, parse: impl FnOnce(&Entry) -> Parsed<T>) -> Option<T> {
        self.known.push(key);
        let entry = self.entries.remove(key)?;
        match parse(&entry) {
            Ok(value) => Some(value),
            Err(allowed) => {
                self.findings.refuse(&entry.value_at, &join(&self.path, key), entry.shown(), allowed);
                None
            }
        }
    }

    /// The table behind `key`, empty where it is absent or something else: that is noted.
    pub(super) fn section(&mut self, key: &'static str) -> Section<'_> {
        self.known.push(key);
        let entry = self.entries.remove(key);
        let path = join(&self.path, key);
        let (at, entries) = match entry {
            Some(Entry { key_at, value: Value::Table(entries), .. }) => (key_at, entries),
            Some(other) => {
                let allowed = format!("a section [{path}] or a table {{ … }}");
                self.findings.refuse(&other.value_at, &path, other.shown(), allowed);
                (other.key_at, Table::new())
            }
            None => (self.at.clone(), Table::new()),
        };
        Section { path, at, entries, known: Vec::new(), findings: self.findings }
    }

    /// Notes `key` as unknown. Known are the keys that were read, and `others`.
    pub(super) fn unknown(&mut self, key: &str, at: &Place, others: &[&str]) {
        let known: Vec<&str> = self.known.iter().copied().chain(others.iter().copied()).collect();
        self.findings.unknown(at, &self.path, key, &known);
    }

    /// Takes everything that is left, for keys which an operator names.
    pub(super) fn take_named(&mut self) -> Table {
        std::mem::take(&mut self.entries)
    }

    /// A table that was taken before.
    pub(super) fn open(&mut self, key: &str, at: Place, entries: Table) -> Section<'_> {
        Section { path: join(&self.path, key), at, entries, known: Vec::new(), findings: self.findings }
    }
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        for (key, entry) in &self.entries {
            self.findings.unknown(&entry.key_at, &self.path, key, &self.known);
        }
    }
}
