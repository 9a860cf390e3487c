//! One stored value as a JSON object: its kind, its org, the parts of its key by name, its version where it is not
//! the first, and the value.

use std::borrow::Cow;

use serde::{Serialize, de::DeserializeSeed};
use serde_json::{Map, Value};

use crate::{
    domain::{
        ids::{DecisionId, OrgId},
        window::Window,
    },
    store::kinds::{FIRST_VERSION, Item, ItemKey, ItemOf, KeyError, KeyReader, KeyWriter, Kind, window::Named},
};

/// The line of an item, without its end.
pub(super) fn write(org: &OrgId, key: &ItemKey, item: &Item) -> Result<Vec<u8>, serde_json::Error> {
    let mut line = Object::default();
    line.field("kind", key.kind().name());
    line.field("org", org.as_str());
    key.write(&mut line);
    if item.version() != FIRST_VERSION {
        line.field("version", item.version());
    }
    line.field("value", item);
    line.end()
}

/// What a line says.
pub(super) fn read(line: &str) -> Result<(OrgId, ItemKey, Item), String> {
    let mut fields: Map<String, Value> = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let (org, key) = read_key(&mut fields).map_err(|error| error.to_string())?;
    let version = match fields.remove("version") {
        None => FIRST_VERSION,
        Some(version) => known_version(key.kind(), &version)?,
    };
    let value = fields.remove("value").ok_or("the line has no \"value\"")?;
    if let Some((unknown, _)) = fields.iter().next() {
        return Err(format!("\"{unknown}\" is not a part of this line"));
    }
    let named = |error: serde_json::Error| format!("{}: {error}", named(&org, &key));
    let item = ItemOf { key: &key, version }.deserialize(&value).map_err(named)?;
    Ok((org, key, item))
}

fn known_version(kind: Kind, given: &Value) -> Result<u8, String> {
    let version = given.as_u64().and_then(|version| u8::try_from(version).ok());
    let known = version.filter(|version| (FIRST_VERSION..=kind.newest()).contains(version));
    known.ok_or_else(|| format!("version {given} of \"{}\" is not known", kind.name()))
}

/// An item as a message names it.
pub(super) fn named(org: &OrgId, key: &ItemKey) -> String {
    match key {
        ItemKey::Row(row) => format!("\"{org}: {row:?}\""),
        ItemKey::Part { seq, part, .. } => format!("\"{org}: {} {seq}.{part}\"", key.kind().name()),
    }
}

fn read_key(fields: &mut Map<String, Value>) -> Result<(OrgId, ItemKey), KeyError> {
    let mut parts = Fields(fields);
    let kind = Kind::named(&parts.text("kind")?).ok_or(KeyError::Missing("kind"))?;
    let org = OrgId::parse("org", &parts.text("org")?)?;
    Ok((org, ItemKey::read(kind, &mut parts)?))
}

/// A JSON object, written field by field, so that the order of the fields is the same for ever.
#[derive(Default)]
struct Object {
    bytes: Vec<u8>,
    failed: Option<serde_json::Error>,
}

impl Object {
    fn field(&mut self, name: &str, value: impl Serialize) {
        self.bytes.push(if self.bytes.is_empty() { b'{' } else { b',' });
        let written = serde_json::to_writer(&mut self.bytes, name).and_then(|()| {
            self.bytes.push(b':');
            serde_json::to_writer(&mut self.bytes, &value)
        });
        if let Err(error) = written {
            self.failed.get_or_insert(error);
        }
    }

    fn end(mut self) -> Result<Vec<u8>, serde_json::Error> {
        self.bytes.push(b'}');
        self.failed.map_or(Ok(self.bytes), Err)
    }
}

impl KeyWriter for Object {
    fn text(&mut self, name: &'static str, text: &str) {
        self.field(name, text);
    }

    fn number(&mut self, name: &'static str, number: u64) {
        self.field(name, number);
    }

    fn short(&mut self, name: &'static str, number: u16) {
        self.field(name, number);
    }

    fn id(&mut self, name: &'static str, id: u128) {
        self.field(name, DecisionId(id).to_string());
    }

    /// No row has a window that cannot be counted; one would have no text, and not be read back.
    fn window(&mut self, name: &'static str, window: Window) {
        self.field(name, Named::try_from(window).ok());
    }
}

/// The fields of a line that nobody has taken yet.
struct Fields<'a>(&'a mut Map<String, Value>);

impl KeyReader for Fields<'_> {
    fn text(&mut self, name: &'static str) -> Result<Cow<'_, str>, KeyError> {
        match self.0.remove(name) {
            Some(Value::String(text)) => Ok(Cow::Owned(text)),
            _ => Err(KeyError::Missing(name)),
        }
    }

    fn number(&mut self, name: &'static str) -> Result<u64, KeyError> {
        self.0.remove(name).and_then(|value| value.as_u64()).ok_or(KeyError::Missing(name))
    }

    fn short(&mut self, name: &'static str) -> Result<u16, KeyError> {
        u16::try_from(self.number(name)?).map_err(|_| KeyError::Missing(name))
    }

    fn id(&mut self, name: &'static str) -> Result<u128, KeyError> {
        Ok(DecisionId::parse(name, &self.text(name)?)?.0)
    }

    fn window(&mut self, name: &'static str) -> Result<Window, KeyError> {
        let value = self.0.remove(name).ok_or(KeyError::Missing(name))?;
        let named: Named = serde_json::from_value(value).map_err(|_| KeyError::Missing(name))?;
        Ok(Window::try_from(named)?)
    }
}
