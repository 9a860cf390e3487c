//! What comes from outside the file: variables of the environment, and flags.
//!
//! `TOLLGATE__RATE__AMOUNT=5000` sets `rate.amount`: two underscores lead into a section, capitals
//! do not matter. Where the file has a name that differs only in its capitals, that name is meant;
//! otherwise the name is written small. The value is read as TOML (`5000`, `true`, `{ aligned =
//! "1h" }`) and taken as text where it is none, so that paths and addresses need no quotes.

use std::{env, ffi::OsString, net::SocketAddr, path::PathBuf, sync::Arc};

use super::{
    mistake::{Findings, Place, join},
    tree::{Entry, Table, Value, parse_value},
};

const PREFIX: &str = "TOLLGATE__";
/// How every variable begins that is meant for this program.
const OURS: &str = "TOLLGATE_";
/// Those of the client verbs.
const OF_CLIENTS: [&str; 4] = ["TOLLGATE_ADDR", "TOLLGATE_TOKEN_FILE", "TOLLGATE_TIMEOUT", "TOLLGATE_OUTPUT"];
/// Kubernetes sets such variables in every container beside a service named `tollgate`.
const OF_KUBERNETES: [&str; 2] = ["TOLLGATE_SERVICE_", "TOLLGATE_PORT"];

/// The deepest key is `orgs.ID.scopes.SCOPE.METER.WINDOW.amount`.
const DEPTH_MAX: usize = 8;

/// Flags of the command line; they win over the environment and the file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Overrides {
    /// `--data-dir`: in the place of `data.dir`.
    pub data_dir: Option<PathBuf>,
    /// `--grpc`: in the place of `listen.grpc`.
    pub grpc: Option<SocketAddr>,
    /// `--http`: in the place of `listen.http`.
    pub http: Option<SocketAddr>,
}

/// The variables of this process that are meant for this program. (`env::vars` would panic on any
/// variable that is not UTF-8; here such a value is refused by the key it is for.)
pub fn environment() -> impl Iterator<Item = (String, String)> {
    let text = |raw: OsString| raw.to_string_lossy().into_owned();
    env::vars_os().map(move |(name, value)| (text(name), text(value))).filter(|(name, _)| name.starts_with(OURS))
}

/// Notes variables that set nothing: most likely one underscore is missing.
fn warn_of_unread(variables: &[(String, String)], findings: &mut Findings) {
    for (name, _) in variables {
        let Some(rest) = name.strip_prefix(OURS).filter(|rest| !rest.starts_with('_')) else { continue };
        let is_known = OF_CLIENTS.contains(&name.as_str());
        if is_known || OF_KUBERNETES.iter().any(|start| name.starts_with(start)) {
            continue;
        }
        // A section is one word.
        let meant = rest.replacen('_', "__", if rest.contains("__") { 0 } else { 1 });
        let text = format!(
            "sets nothing: variables of the configuration have two underscores behind TOLLGATE and \
             between the keys (did you mean {PREFIX}{meant}?)"
        );
        findings.warn(&Place::Variable(name.as_str().into()), text);
    }
}

/// Lays variables over the file.
pub(super) fn overlay(table: &mut Table, variables: impl Iterator<Item = (String, String)>, findings: &mut Findings) {
    let mut variables: Vec<_> = variables.filter(|(name, _)| name.starts_with(OURS)).collect();
    warn_of_unread(&variables, findings);
    variables.retain(|(name, _)| name.starts_with(PREFIX));
    // A whole section comes before one of its keys, so the result does not depend on their order.
    variables.sort();
    for (name, raw) in variables {
        let place = Place::Variable(name.as_str().into());
        let path: Vec<&str> = name.get(PREFIX.len()..).unwrap_or_default().split("__").collect();
        if raw.contains(char::REPLACEMENT_CHARACTER) {
            findings.refuse(&place, &path.join(".").to_ascii_lowercase(), &raw, "text in UTF-8");
        } else if path.len() > DEPTH_MAX {
            findings.refuse(&place, "the name", &name, format!("at most {DEPTH_MAX} names between \"__\""));
        } else {
            set(table, &path, &raw, &place, findings);
        }
    }
}

fn set(table: &mut Table, path: &[&str], raw: &str, place: &Place, findings: &mut Findings) {
    let Some((last, sections)) = path.split_last() else { return };
    let mut inner = table;
    let mut shown = String::new();
    for section in sections {
        let key = existing_or_small(inner, section);
        shown = join(&shown, &key);
        let entry = inner.entry(key).or_insert_with(|| empty_section(place));
        let text = entry.shown();
        match &mut entry.value {
            Value::Table(entries) => inner = entries,
            _ => return findings.refuse(place, &shown, text, "a section, because a variable sets a key inside it"),
        }
    }
    let key = existing_or_small(inner, last);
    if let Some(Entry { value_at: Place::Variable(other), .. }) = inner.get(&key) {
        let (path, other) = (join(&shown, &key), Arc::clone(other));
        return findings.refuse(place, &path, raw, format!("set by one variable; {other} also sets it"));
    }
    let value = parse_value(raw, place).unwrap_or_else(|| Value::Text(raw.to_owned()));
    let entry = Entry { key_at: place.clone(), value_at: place.clone(), value, raw: Some(raw.to_owned()) };
    inner.insert(key, entry);
}

fn empty_section(place: &Place) -> Entry {
    Entry { key_at: place.clone(), value_at: place.clone(), value: Value::Table(Table::new()), raw: None }
}

fn existing_or_small(table: &Table, name: &str) -> String {
    let small = name.to_ascii_lowercase();
    if table.contains_key(&small) {
        return small;
    }
    table.keys().find(|key| key.eq_ignore_ascii_case(name)).cloned().unwrap_or(small)
}

/// Lays the addresses among the flags over everything else. The directory is no text and is set by
/// the caller.
pub(super) fn overlay_flags(table: &mut Table, overrides: &Overrides) {
    let flags = [("grpc", "--grpc", overrides.grpc), ("http", "--http", overrides.http)];
    for (key, flag, address) in flags {
        let Some(address) = address else { continue };
        let place = Place::Flag(flag);
        let listen = table.entry("listen".to_owned()).or_insert_with(|| empty_section(&place));
        if let Value::Table(entries) = &mut listen.value {
            let value = Value::Text(address.to_string());
            entries.insert(key.to_owned(), Entry { key_at: place.clone(), value_at: place, value, raw: None });
        }
    }
}
