//! Rows and the tables that keep them: one table for each kind, named as a dump names it. What names a row is in
//! columns, the row itself in one of JSON.

use std::{borrow::Cow, collections::VecDeque};

use serde::de::DeserializeSeed;

use crate::{
    domain::{
        ids::{DecisionId, OrgId},
        rows::{Row, RowKey, RowKind},
        window::Window,
    },
    ports::StoreFault,
    store::kinds::{self, FIRST_VERSION, Item, ItemKey, ItemOf, KeyError, KeyReader, KeyWriter, Kind, window::Named},
};

/// The table of a kind.
pub(super) fn table(kind: RowKind) -> &'static str {
    Kind::Row(kind).name()
}

/// The columns that name a row of the kind beside its org, each with its type, in the order in which keys are written.
pub(super) fn columns(kind: RowKind) -> impl Iterator<Item = (&'static str, &'static str)> {
    kinds::key_parts(kind).iter().map(|part| match *part {
        "scopes" => ("scope", "text"),
        // Reserved in SQL.
        "window" => ("period", "text"),
        "rpc" => ("rpc", "smallint"),
        "month" | "start" | "seq" | "at" | "wake_at" | "number" => (*part, "numeric(20)"),
        text => (text, "text"),
    })
}

/// The parts of a key as text, in their order.
#[derive(Debug, Default)]
pub(super) struct Parts(VecDeque<String>);

impl Parts {
    pub(super) fn of(key: &RowKey) -> Self {
        let mut parts = Self::default();
        ItemKey::Row(key.clone()).write(&mut parts);
        parts
    }

    pub(super) fn into_iter(self) -> impl Iterator<Item = String> {
        self.0.into_iter()
    }
}

impl KeyWriter for Parts {
    fn text(&mut self, _name: &'static str, text: &str) {
        self.0.push_back(text.to_owned());
    }

    fn number(&mut self, _name: &'static str, number: u64) {
        self.0.push_back(number.to_string());
    }

    fn short(&mut self, _name: &'static str, number: u16) {
        self.0.push_back(number.to_string());
    }

    fn id(&mut self, _name: &'static str, id: u128) {
        self.0.push_back(DecisionId(id).to_string());
    }

    /// As JSON. No row has a window that cannot be counted; one would have no text, and not be read back.
    fn window(&mut self, _name: &'static str, window: Window) {
        let text = Named::try_from(window).ok().and_then(|named| serde_json::to_string(&named).ok());
        self.0.push_back(text.unwrap_or_default());
    }
}

impl Parts {
    fn next(&mut self, name: &'static str) -> Result<String, KeyError> {
        self.0.pop_front().ok_or(KeyError::Missing(name))
    }
}

impl KeyReader for Parts {
    fn text(&mut self, name: &'static str) -> Result<Cow<'_, str>, KeyError> {
        self.next(name).map(Cow::Owned)
    }

    fn number(&mut self, name: &'static str) -> Result<u64, KeyError> {
        self.next(name)?.parse().map_err(|_| KeyError::Missing(name))
    }

    fn short(&mut self, name: &'static str) -> Result<u16, KeyError> {
        self.next(name)?.parse().map_err(|_| KeyError::Missing(name))
    }

    fn id(&mut self, name: &'static str) -> Result<u128, KeyError> {
        Ok(DecisionId::parse(name, &self.next(name)?)?.0)
    }

    fn window(&mut self, name: &'static str) -> Result<Window, KeyError> {
        let named: Named = serde_json::from_str(&self.next(name)?).map_err(|_| KeyError::Missing(name))?;
        Ok(Window::try_from(named)?)
    }
}

/// A row as its table has it.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) parts: Vec<String>,
    pub(super) version: i16,
    /// As JSON.
    pub(super) value: String,
}

/// A row on its way into its table.
pub(super) fn store(row: Row) -> Result<Stored, String> {
    let key = row.key();
    let item = Item::Row { row, parts: 0 };
    let value = serde_json::to_string(&item).map_err(|error| format!("{key:?}: {error}"))?;
    Ok(Stored { parts: Parts::of(&key).into_iter().collect(), version: item.version().into(), value })
}

/// A row that was read. One that cannot be understood is an error with its name: it is never skipped.
pub(super) fn read(org: &OrgId, kind: RowKind, stored: Stored) -> Result<Row, StoreFault> {
    let Stored { parts, version, value } = stored;
    let named = parts.join(" ");
    let unreadable = |error: &dyn std::fmt::Display| StoreFault {
        operation: "load",
        cause: format!("\"{org}: {} {named}\" cannot be understood: {error}", table(kind)),
    };
    let key = ItemKey::read(Kind::Row(kind), &mut Parts(parts.into())).map_err(|error| unreadable(&error))?;
    let newest = Kind::Row(kind).newest();
    let version = u8::try_from(version).ok().filter(|version| (FIRST_VERSION..=newest).contains(version));
    let version = version.ok_or_else(|| unreadable(&format!("its version is not known, the newest is {newest}")))?;
    let value: serde_json::Value = serde_json::from_str(&value).map_err(|error| unreadable(&error))?;
    match (ItemOf { key: &key, version }).deserialize(&value) {
        Ok(Item::Row { row, .. }) => Ok(row),
        Ok(Item::Part(_)) => Err(unreadable(&"it is a part of a row")),
        Err(error) => Err(unreadable(&error)),
    }
}
