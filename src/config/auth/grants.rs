//! What is granted to names that somebody else gives: `"NAME" = { role, orgs, scopes, bind }`.

use crate::{
    auth::{Grant, Role},
    bounds::PRINCIPAL_BYTES,
    config::{
        mistake::join,
        policies::named_tables,
        reader::{Parsed, Section},
        tree::{Entry, Value},
        values::choice,
    },
};

/// At the end of a name: whatever follows.
const ANY: char = '*';
/// Entries of one list.
pub(in crate::config) const LISTED: usize = 1_000;

/// Reads every row of a section. `kind` goes before a name to make that of its principal.
pub(super) fn grants(mut section: Section<'_>, kind: &str, roles: &[Role]) -> Vec<(String, Grant)> {
    let mut rows = Vec::new();
    for (name, at, entries) in named_tables(&mut section) {
        let path = join(section.path(), &name);
        let beginning = name.strip_suffix(ANY).unwrap_or(&name);
        let most = PRINCIPAL_BYTES - kind.len();
        let is_name = (1..=most).contains(&name.len())
            && beginning.bytes().all(|byte| byte.is_ascii_graphic() && byte != ANY as u8);
        if !is_name {
            let outer = section.path().to_owned();
            let allowed = format!("a name of at most {most} printable ASCII characters, whole or ending in *");
            section.findings.refuse(&at, &outer, &name, allowed);
        }
        let mut row = section.open(&name, at.clone(), entries);
        let names: Vec<(&str, Role)> = roles.iter().map(|role| (role.name(), *role)).collect();
        let has = ["role", "orgs"].map(|key| row.place(key).is_some());
        let (role, orgs) = (row.read("role", |entry| choice(entry, &names)), row.read("orgs", texts));
        let (scopes, bind) = (row.read("scopes", texts), row.read("bind", texts));
        for (key, allowed) in
            [("role", "what the name may do"), ("orgs", "[\"acme\"], [\"acme-*\"], or [\"*\"] for all")]
        {
            if !has[usize::from(key == "orgs")] && row.findings.is_whole() {
                row.findings.add(&at, format!("{} is missing: {allowed}", join(&path, key)));
            }
        }
        let (Some(role), Some(orgs)) = (role, orgs) else { continue };
        let grant = Grant { role, orgs, scopes: scopes.unwrap_or_default(), bind: bind.unwrap_or_default() };
        // The name was judged above, and that of a principal has more in front.
        match grant.to("name", None) {
            Ok(_) => rows.push((name, grant)),
            Err(error) => row.findings.add(&at, error.within(&path).to_string()),
        }
    }
    rows
}

fn texts(entry: &Entry) -> Parsed<Vec<String>> {
    let texts: Option<Vec<String>> = match &entry.value {
        Value::List(entries) if entries.len() <= LISTED => {
            entries.iter().map(|entry| entry.text().map(str::to_owned)).collect()
        }
        _ => None,
    };
    texts.ok_or_else(|| format!("a list of at most {LISTED} texts such as [\"acme\"]").into())
}
