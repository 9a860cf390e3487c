//! The JSON schema of the file, for editors: `tollgate config-schema`, and `tollgate.schema.json` of the repository.
//!
//! Names, ranges, choices and defaults are those that the readers use. What is written here besides is one sentence for
//! each key. A test asks the readers for the keys of every section and compares; another one writes every default and
//! every end of a range, and asks the readers what they say. What a file says in two places at once (`clamp` and
//! `heartbeat`) and what is in other files is not in the schema: `tollgate check-config` judges that.
//!
//! Draft 7, because that is what the editors' TOML plug-ins read, and without an `$id`: they refuse one that is no URL.

mod gateways;
mod node;
mod orgs;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::Config;
use crate::{
    bounds::AMOUNT_MAX,
    domain::window::{Length, Millis},
};

/// `values::length`.
const LENGTH: &str = "[0-9]+(ms|s|m|h|d)";
/// `ids::is_id`, but for what ends in `*`.
const IDS: &str = r"[A-Za-z0-9+/_@][!#-&(-+\--;=?-\[\]-_a-~]*";

/// Everything that a file may say.
pub fn schema() -> Value {
    let config = Config::default();
    let mut root = table("Configuration of tollgate. Every key has a default.", node::sections(&config));
    let properties = orgs::sections(&config);
    if let (Value::Object(root), Value::Object(more)) = (&mut root, Value::from(properties)) {
        if let Some(Value::Object(sections)) = root.get_mut("properties") {
            sections.extend(more);
            sections.extend(gateways::sections());
        }
        root.insert("$schema".into(), "http://json-schema.org/draft-07/schema#".into());
        root.insert("title".into(), "tollgate.toml".into());
        root.insert("definitions".into(), Value::Object(orgs::definitions()));
    }
    root
}

/// Keys and what is allowed for each.
type Keys = Map<String, Value>;

fn keys<const N: usize>(keys: [(&str, Value); N]) -> Keys {
    keys.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// A section that has these keys and no others.
fn table(doc: &str, properties: Keys) -> Value {
    json!({"type": "object", "description": doc, "properties": properties, "additionalProperties": false})
}

/// A section whose keys an operator names; `names` is what a name has to be.
fn named(doc: &str, names: Value, each: Value) -> Value {
    json!({"type": "object", "description": doc, "propertyNames": names, "additionalProperties": each})
}

/// The section needs all of these as soon as it has any key.
fn needs(table: Value, required: &[&str]) -> Value {
    with(table, "anyOf", json!([{"maxProperties": 0}, {"required": required}]))
}

fn with(mut schema: Value, keyword: &str, value: Value) -> Value {
    if let Value::Object(keywords) = &mut schema {
        keywords.insert(keyword.to_owned(), value);
    }
    schema
}

/// What an editor shows of a key, before what is allowed.
fn key(doc: &str, allowed: Value) -> Value {
    let rule = allowed.get("description").and_then(Value::as_str).map(|rule| format!(" {rule}")).unwrap_or_default();
    with(allowed, "description", format!("{doc}{rule}").into())
}

/// A key with the value that holds where it is not written.
fn or(doc: &str, allowed: Value, default: impl Into<Value>) -> Value {
    with(key(doc, allowed), "default", default.into())
}

fn length(length: Duration) -> Value {
    let millis = Millis::try_from(length.as_millis()).unwrap_or(Millis::MAX);
    Length(millis).to_string().into()
}

fn truth() -> Value {
    json!({"type": "boolean"})
}

fn whole(least: u64, most: u64) -> Value {
    json!({"type": "integer", "minimum": least, "maximum": most})
}

/// An amount of anything, from `least`.
fn amount(least: u64) -> Value {
    whole(least, AMOUNT_MAX)
}

/// What `allowed` says, or this text.
fn or_text(allowed: Value, text: &str) -> Value {
    json!({"anyOf": [allowed, {"const": text}]})
}

fn duration(least: Millis, most: Millis) -> Value {
    with(lengths(), "description", format!("A duration from {} to {}.", Length(least), Length(most)).into())
}

/// A number with its unit.
fn lengths() -> Value {
    json!({"type": "string", "pattern": format!("^{LENGTH}$")})
}

fn choice<'n>(names: impl IntoIterator<Item = &'n str>) -> Value {
    json!({"enum": names.into_iter().collect::<Vec<_>>()})
}

fn named_values<T>(choices: &[(&'static str, T)]) -> Value {
    choice(choices.iter().map(|(name, _)| *name))
}

fn on_indeterminate() -> Value {
    choice(["allow", "deny"])
}

/// `values::is_name`.
fn name() -> Value {
    pattern("^[A-Za-z0-9._-]{1,64}$")
}

/// A name, or none.
fn name_or_none() -> Value {
    pattern("^[A-Za-z0-9._-]{0,64}$")
}

fn pattern(pattern: &str) -> Value {
    json!({"type": "string", "pattern": pattern})
}

/// `ids::is_id`.
fn id() -> Value {
    let pattern = format!(r"^(?!.*(//|\*$))(?!(.*/)?\.\.?(/|$)){IDS}$");
    json!({"type": "string", "pattern": pattern, "maxLength": crate::bounds::ID_BYTES})
}

fn file() -> Value {
    json!({"type": "string", "minLength": 1})
}

fn address() -> Value {
    with(
        pattern(r"^([0-9]{1,3}(\.[0-9]{1,3}){3}|\[[0-9A-Fa-f:.%]+\]):[0-9]{1,5}$"),
        "description",
        "An IP address and a port.".into(),
    )
}

/// `values::is_safe`, as far as a pattern says it.
fn safe_url() -> Value {
    pattern(r"^(https://|http://(localhost|127\.[0-9.]+|\[::1\])([:/]|$))[^@#\s]*$")
}

fn list(items: Value, least: usize, most: usize) -> Value {
    json!({"type": "array", "items": items, "minItems": least, "maxItems": most})
}
