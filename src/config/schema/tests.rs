//! The schema against the readers: what one of the two has and the other has not is found here.

use std::collections::BTreeSet;

use super::*;
use crate::{
    bounds::DAY_MS,
    config::{
        ConfigErrors, check,
        limits::{LENGTH_EXAMPLES, RESERVED},
        mistake::join,
    },
};

const BOGUS: &str = "zz_bogus";
/// What one key says depends on another one.
const BETWEEN_KEYS: [&str; 5] =
    ["needs a source of identity", "only with", "only together", "no value without", "where no callers are known"];

/// A key or a section, by its names.
struct Place<'s> {
    path: Vec<String>,
    schema: &'s Value,
}

impl Place<'_> {
    fn shown(&self) -> String {
        self.path.iter().fold(String::new(), |outer, key| join(&outer, key))
    }

    /// Whether an operator names something on the way.
    fn is_shared(&self) -> bool {
        self.path.iter().any(|key| {
            ["plans", "orgs", "cluster", "named", "subjects", "principals", "envoy", "forward_auth"]
                .contains(&key.as_str())
        })
    }

    fn line(&self, value: &Value) -> String {
        let names: Vec<String> = self.path.iter().map(|key| format!("\"{key}\"")).collect();
        format!("{} = {value}\n", names.join("."))
    }

    /// What the reader of this key says against the value.
    fn refusals(&self, value: &Value) -> Vec<String> {
        let Err(errors) = check(&self.line(value), "t.toml") else { return Vec::new() };
        let start = format!("{} ", self.shown());
        let texts = errors.mistakes().iter().map(|mistake| mistake.text.clone());
        texts.filter(|text| text.starts_with(&start)).collect()
    }

    /// The same without what is a matter of other keys.
    fn refusals_of_itself(&self, value: &Value) -> Vec<String> {
        let is_of_itself = |text: &String| !BETWEEN_KEYS.iter().any(|other| text.contains(other));
        self.refusals(value).into_iter().filter(is_of_itself).collect()
    }
}

/// A schema, without references and with each of its alternatives.
fn alternatives<'s>(root: &'s Value, schema: &'s Value) -> Vec<&'s Value> {
    if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
        let path = name.trim_start_matches('#');
        return alternatives(root, root.pointer(path).unwrap_or_else(|| panic!("{name} is not defined")));
    }
    let inner = ["allOf", "anyOf"].iter().filter_map(|word| schema.get(word)).filter_map(Value::as_array).flatten();
    let inner: Vec<_> = inner.flat_map(|inner| alternatives(root, inner)).collect();
    let is_own = ["type", "enum", "const"].iter().any(|word| schema.get(word).is_some());
    if is_own { [schema].into_iter().chain(inner).collect() } else { inner }
}

/// A name that an operator might give below this key.
fn sample(parent: Option<&String>) -> &'static str {
    match parent.map(String::as_str) {
        Some("plans") => "p",
        Some("orgs") => "o",
        Some("scopes") => "w/1",
        Some("named" | "subjects" | "principals") => "n",
        Some("features") => "tokens",
        _ => "scans",
    }
}

fn visit<'s>(root: &'s Value, schema: &'s Value, path: &[String], found: &mut Vec<Place<'s>>) {
    if schema == &Value::Bool(false) {
        return;
    }
    found.push(Place { path: path.to_vec(), schema });
    for each in alternatives(root, schema) {
        let mut inner: Vec<(String, &Value)> = Vec::new();
        if let Some(Value::Object(properties)) = each.get("properties") {
            inner.extend(properties.iter().map(|(key, value)| (key.clone(), value)));
        }
        if let Some(other) = each.get("additionalProperties").filter(|other| other.is_object()) {
            inner.push((sample(path.last()).to_owned(), other));
        }
        if let Some(Value::Object(patterns)) = each.get("patternProperties") {
            inner.extend(patterns.values().map(|value| ("aligned_1h".to_owned(), value)));
        }
        for (key, value) in inner {
            let below: Vec<String> = path.iter().cloned().chain([key]).collect();
            visit(root, value, &below, found);
        }
    }
}

fn places(root: &Value) -> Vec<Place<'_>> {
    let mut found = Vec::new();
    visit(root, root, &[], &mut found);
    found
}

/// The keys that the reader of a section names to somebody who has mistyped one.
fn read_at(place: &Place<'_>) -> BTreeSet<String> {
    let bogus = Place { path: [place.path.as_slice(), &[BOGUS.to_owned()]].concat(), schema: place.schema };
    let mut text = bogus.line(&json!(1));
    if place.shown().ends_with("pools.window") || place.shown().ends_with("pools.named.n.window") {
        // Without a window there is nothing that a zone could be of.
        text.push_str(
            &Place { path: [place.path.as_slice(), &["calendar".to_owned()]].concat(), ..bogus }.line(&json!("day")),
        );
    }
    let errors: ConfigErrors = check(&text, "t.toml").expect_err(&text);
    let start = format!("{} is not a known key: use one of ", join(&place.shown(), BOGUS));
    let list = errors.mistakes().iter().find_map(|mistake| mistake.text.strip_prefix(&start).map(str::to_owned));
    let list = list.unwrap_or_else(|| panic!("{text} does not say {start:?}: {errors}"));
    let list = list.split(" (did you mean").next().unwrap_or_default();
    list.split(", ").filter(|name| !LENGTH_EXAMPLES.contains(name)).map(str::to_owned).collect()
}

#[test]
fn every_key_that_is_read_is_in_the_schema_and_no_other() {
    let root = schema();
    let mut sections = 0;
    for place in places(&root) {
        for table in alternatives(&root, place.schema) {
            let Some(Value::Object(properties)) = table.get("properties") else { continue };
            if place.path == ["orgs"] {
                assert!(properties.keys().eq(["admit"]), "{properties:?}");
                continue;
            }
            let is_key =
                |(key, value): &(&String, &Value)| **value != Value::Bool(false) || !RESERVED.contains(&key.as_str());
            let keys: BTreeSet<String> = properties.iter().filter(is_key).map(|(key, _)| key.clone()).collect();
            assert_eq!(keys, read_at(&place), "[{}]", place.shown());
            sections += 1;
        }
    }
    assert!(sections > 50, "only {sections} sections were compared");
}

#[test]
fn every_default_of_the_schema_is_the_default() {
    let root = schema();
    let mut text = String::new();
    for place in places(&root).iter().filter(|place| !place.is_shared()) {
        if let Some(default) = place.schema.get("default") {
            text.push_str(&place.line(default));
        }
    }
    assert_eq!(check(&text, "t.toml").unwrap_or_else(|errors| panic!("{errors}\n{text}")), Config::default());
    let written: BTreeSet<_> = text.lines().map(|line| line.replace('"', "")).collect();
    // Everything that the example writes out as a default has one in the schema.
    let mut section = String::new();
    for line in Config::example().lines().filter(|line| !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
        } else if let Some((key, _)) = line.split_once(" = ").filter(|(key, _)| *key != "window") {
            let start = format!("{section}.{key} = ");
            assert!(written.iter().any(|line| line.starts_with(&start)), "{start} has no default in the schema");
        }
    }
}

#[test]
fn the_ends_of_ranges_and_the_choices_are_those_of_the_readers() {
    let root = schema();
    let mut compared = 0;
    for place in places(&root) {
        let alternatives = alternatives(&root, place.schema);
        let takes_text = alternatives.iter().any(|each| each["type"] == "string");
        for each in alternatives {
            let mut good: Vec<Value> = each["enum"].as_array().cloned().unwrap_or_default();
            good.extend(each.get("const").cloned());
            let mut bad = Vec::new();
            if let (Some(least), Some(most)) = (each["minimum"].as_u64(), each["maximum"].as_u64()) {
                good.extend([json!(least), json!(most)]);
                bad.extend([json!(most + 1), json!(i64::try_from(least).unwrap() - 1)]);
            }
            if each["type"] == "boolean" {
                good.extend([json!(true), json!(false)]);
                bad.extend([json!("yes"), json!(1)]);
            }
            if each.get("enum").is_some() && !takes_text {
                bad.push(json!("zz"));
            }
            for value in &good {
                assert_eq!(place.refusals_of_itself(value), [""; 0], "{} = {value}", place.shown());
            }
            for value in &bad {
                assert_ne!(place.refusals(value), [""; 0], "{} = {value} is taken", place.shown());
            }
            compared += good.len() + bad.len();
        }
    }
    assert!(compared > 500, "only {compared} values were compared");
}

#[test]
fn every_key_says_what_it_is() {
    let root = schema();
    for place in places(&root) {
        // What is named by an operator below a section says it there.
        let doc = place.schema.get("description").and_then(Value::as_str).unwrap_or_default();
        let is_described = !doc.is_empty() || place.schema.get("$ref").is_some() || place.schema.get("anyOf").is_some();
        let is_name = place.path.iter().any(|key| ["features", "scopes"].contains(&key.as_str()));
        assert!(is_described || is_name, "{} has no description", place.shown());
    }
    assert_eq!(duration(SECOND, DAY_MS)["description"], "A duration from 1s to 1d.");
}

const SECOND: Millis = 1_000;

/// With the feature there is a period more.
#[cfg(not(feature = "extra-period"))]
#[test]
fn the_file_of_the_repository_is_what_the_command_prints() {
    let file = include_str!("../../../tollgate.schema.json");
    let hint = "write it again: cargo run -- config-schema > tollgate.schema.json";
    assert!(file == format!("{:#}\n", schema()), "{hint}");
}
