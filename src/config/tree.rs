//! The file as a tree in which every key and every value knows where it was written.
//!
//! TOML's own tree borrows from its text and knows byte offsets only; this one outlives the text,
//! holds lines and columns, and takes variables of the environment beside them.

use std::collections::BTreeMap;

use toml::{
    Spanned,
    de::{DeString, DeTable, DeValue},
};

use super::mistake::{Findings, Place};

pub(super) type Table = BTreeMap<String, Entry>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    /// As it was written, with its number where that fits.
    Integer(String, Option<i128>),
    Bool(bool),
    Table(Table),
    List(Vec<Entry>),
    /// What no key takes (floats, dates), as it is shown.
    Other(String),
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key_at: Place,
    pub(super) value_at: Place,
    pub(super) value: Value,
    /// What a variable held, before it was tried as TOML.
    pub(super) raw: Option<String>,
}

impl Entry {
    /// The value as an error repeats it.
    pub(super) fn shown(&self) -> String {
        match (&self.raw, &self.value) {
            (Some(raw), _) => raw.clone(),
            (None, Value::Text(text) | Value::Integer(text, _) | Value::Other(text)) => text.clone(),
            (None, Value::Bool(value)) => value.to_string(),
            (None, Value::List(_)) => "[...]".into(),
            (None, Value::Table(table)) => {
                let keys: Vec<_> = table.keys().map(String::as_str).collect();
                format!("{{ {} }}", keys.join(", "))
            }
        }
    }

    /// A date or a time, with or without quotes.
    pub(super) fn moment(&self) -> Option<&str> {
        match &self.value {
            Value::Other(text) => Some(text),
            _ => self.text(),
        }
    }

    /// The value as text. A variable is text whatever else it could be read as: a node may be
    /// called `42` without a second pair of quotes.
    pub(super) fn text(&self) -> Option<&str> {
        match (&self.value, &self.raw) {
            (Value::Text(text), _) => Some(text),
            (Value::Table(_) | Value::List(_), _) | (_, None) => None,
            (_, Some(raw)) => Some(raw),
        }
    }
}

/// Everything of `text` that is TOML; what is not goes to the findings.
pub(super) fn parse(text: &str, findings: &mut Findings) -> Table {
    let lines = Lines::of(text);
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let offset = error.span().map_or(0, |span| span.start);
        findings.broken(lines.place(offset), format!("not TOML: {}", error.message()));
    }
    entries(table.get_ref(), &|offset| lines.place(offset))
}

/// One value, as it stands behind `=`; `None` where it is not TOML.
pub(super) fn parse_value(text: &str, place: &Place) -> Option<Value> {
    let parsed = DeValue::parse(text).ok()?;
    Some(value(parsed.get_ref(), &|_| place.clone()))
}

fn entries(table: &DeTable<'_>, place: &dyn Fn(usize) -> Place) -> Table {
    table.iter().map(|(key, value)| (key.get_ref().to_string(), entry(key, value, place))).collect()
}

fn entry(key: &Spanned<DeString<'_>>, spanned: &Spanned<DeValue<'_>>, place: &dyn Fn(usize) -> Place) -> Entry {
    Entry {
        key_at: place(key.span().start),
        value_at: place(spanned.span().start),
        value: value(spanned.get_ref(), place),
        raw: None,
    }
}

fn listed(item: &Spanned<DeValue<'_>>, place: &dyn Fn(usize) -> Place) -> Entry {
    let at = place(item.span().start);
    Entry { key_at: at.clone(), value_at: at, value: value(item.get_ref(), place), raw: None }
}

fn value(value: &DeValue<'_>, place: &dyn Fn(usize) -> Place) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(integer) => {
            Value::Integer(integer.to_string(), i128::from_str_radix(integer.as_str(), integer.radix()).ok())
        }
        DeValue::Float(float) => Value::Other(float.to_string()),
        DeValue::Boolean(value) => Value::Bool(*value),
        DeValue::Datetime(date) => Value::Other(date.to_string()),
        DeValue::Array(values) => Value::List(values.iter().map(|item| listed(item, place)).collect()),
        DeValue::Table(table) => Value::Table(entries(table, place)),
    }
}

/// Columns further right are counted in bytes: every key has a place, and counting characters from
/// the start of an endless line for each would take the square of its length.
const COUNTED_BYTES: usize = 4_096;

const BYTE_ORDER_MARK: char = '\u{feff}';

/// Where the lines of a text begin.
struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    fn of(text: &'t str) -> Self {
        let behind_newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(index, _)| index + 1);
        Self { text, starts: std::iter::once(0).chain(behind_newlines).collect() }
    }

    fn place(&self, offset: usize) -> Place {
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = line.checked_sub(1).and_then(|index| self.starts.get(index)).copied().unwrap_or(0);
        let before = self.text.get(start..offset).unwrap_or_default();
        let is_counted = before.len() <= COUNTED_BYTES;
        let column = if is_counted { before.chars().filter(|c| *c != BYTE_ORDER_MARK).count() } else { before.len() };
        Place::Position { line, column: column + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_and_characters_from_one() {
        let lines = Lines::of("é = 1\r\nb\n\nlast");
        for (offset, line, column) in [(0, 1, 1), (2, 1, 2), (8, 2, 1), (10, 3, 1), (11, 4, 1), (15, 4, 5), (99, 4, 1)]
        {
            assert_eq!(lines.place(offset), Place::Position { line, column }, "{offset}");
        }
        assert_eq!(Lines::of("\u{feff}a").place(3), Place::Position { line: 1, column: 1 });
        assert_eq!(Lines::of("").place(0), Place::Position { line: 1, column: 1 });
    }
}
