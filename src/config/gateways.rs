//! `[envoy.DOMAIN]` and `[forward_auth.NAME]`: what the questions of proxies mean.
//!
//! | key | |
//! | --- | --- |
//! | `org` | where the org is: with Envoy the key of a descriptor's entry; otherwise `{ header = "x-org" }`, `{ path = "/orgs/{}" }` or `"token"` |
//! | `scopes` | scopes by what they begin with: `{ workspace = … }`, each a place as above |
//! | `request_id` | the place of an id that makes a retry safe: one that the proxy makes, never the client |
//! | `cost` | what one request is charged: `{ executions = 1 }` |
//! | `limit` | the name of the limit that headers show; by default the one that is nearest to its end |
//! | `shadow` | charges and reports, and never denies |

use std::collections::BTreeMap;

use super::{
    mistake::join,
    reader::{Parsed, Section},
    tree::{Entry, Value},
    values::{NAME_RULE, is_name, truth, whole},
};
use crate::{
    bounds::{AMOUNT_MAX, GATEWAY_RULES, METERS_PER_CALL, SCOPES_PER_CALL},
    domain::{
        gateways::{Gateways, PathPattern, Place, Rule},
        ids::{Amounts, Meter, Scope},
        policy::Family,
    },
};

pub(super) const TOKEN: &str = "token";
const KEY_RULE: &str =
    "the key of an entry of Envoy's descriptors, such as \"org\": 1 to 128 printable ASCII characters";
const LIMIT_RULE: &str = "the name of a limit, such as \"rate\" or \"budget/daily\"";

/// A place of a kind: whether an org is looked for, which may be where nothing else is.
type ReadPlace<P> = fn(&Entry, bool) -> Parsed<P>;

pub(super) fn gateways(root: &mut Section<'_>, asks_who: bool) -> Gateways {
    let envoy = rules(root.section("envoy"), key);
    let forward_auth: BTreeMap<_, Rule<Place>> = rules(root.section("forward_auth"), place);
    if !asks_who
        && let Some((name, _)) = forward_auth.iter().find(|(_, rule)| rule.org == Place::Token)
        && root.findings.is_whole()
    {
        let at = root.at().clone();
        let text = format!(
            "forward_auth.{name}.org = \"{TOKEN}\" needs a source of identity: auth.tokens, auth.token_store or auth.jwt"
        );
        root.findings.add(&at, text);
    }
    Gateways { envoy, forward_auth }
}

fn rules<P>(mut section: Section<'_>, read: ReadPlace<P>) -> BTreeMap<String, Rule<P>> {
    let mut rules = BTreeMap::new();
    for (name, entry) in section.take_named() {
        let (outer, path) = (section.path().to_owned(), join(section.path(), &name));
        let Entry { key_at, value_at, .. } = &entry;
        match entry.value.clone() {
            _ if !is_name(&name) => section.findings.refuse(key_at, &outer, &name, NAME_RULE),
            _ if rules.len() == GATEWAY_RULES => {
                section.findings.refuse(key_at, &outer, &name, format!("at most {GATEWAY_RULES} sections"));
            }
            Value::Table(keys) => {
                if let Some(rule) = rule(section.open(&name, key_at.clone(), keys), read) {
                    rules.insert(name, rule);
                }
            }
            _ => section.findings.refuse(value_at, &path, entry.shown(), format!("a section [{path}]")),
        }
    }
    rules
}

/// `None` where it has a mistake, which is noted.
fn rule<P>(mut section: Section<'_>, read: ReadPlace<P>) -> Option<Rule<P>> {
    let has_org = section.place("org").is_some();
    let org = section.read("org", |entry| read(entry, true));
    if !has_org && section.findings.is_whole() {
        let (at, path) = (section.at().clone(), join(section.path(), "org"));
        section.findings.add(&at, format!("{path} is missing: where a request names its org"));
    }
    let request_id = section.read("request_id", |entry| read(entry, false));
    let cost = cost(section.section("cost"));
    let limit = section.read("limit", limit);
    let is_shadow = section.read("shadow", truth).unwrap_or_default();
    let scopes = scopes(section.section("scopes"), read);
    Some(Rule { org: org?, scopes, request_id, cost, limit, is_shadow })
}

fn scopes<P>(mut section: Section<'_>, read: ReadPlace<P>) -> BTreeMap<String, P> {
    let mut scopes = BTreeMap::new();
    for (family, entry) in section.take_named() {
        let path = join(section.path(), &family);
        // A value makes a scope of it: `workspace/w1`.
        let scope = Scope::parse_chosen("scopes", &format!("{family}/1"));
        let names_scopes = scope.is_ok_and(|scope| !Family::Only(scope).is_upstream()) && !family.contains('/');
        if !names_scopes {
            let allowed = "what scopes begin with, such as workspace; not account or pool, which no call names";
            section.findings.refuse(&entry.key_at, section.path().to_owned().as_str(), &family, allowed);
        } else if scopes.len() == SCOPES_PER_CALL {
            let allowed = format!("at most {SCOPES_PER_CALL}, as many as a call may be in");
            section.findings.refuse(&entry.key_at, section.path().to_owned().as_str(), &family, allowed);
        } else {
            match read(&entry, false) {
                Ok(place) => drop(scopes.insert(family, place)),
                Err(allowed) => section.findings.refuse(&entry.value_at, &path, entry.shown(), allowed),
            }
        }
    }
    scopes
}

fn key(entry: &Entry, _: bool) -> Parsed<String> {
    let is_key = |text: &&str| (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    entry.text().filter(is_key).map(str::to_owned).ok_or_else(|| KEY_RULE.into())
}

fn place(entry: &Entry, is_org: bool) -> Parsed<Place> {
    let rule = || {
        let token = if is_org { ", or \"token\" for the org of the client's credential" } else { "" };
        format!("{{ header = \"x-name\" }} or {{ path = … }} with {}{token}", PathPattern::RULE)
    };
    let found = match &entry.value {
        Value::Text(text) if text == TOKEN && is_org => Some(Place::Token),
        Value::Table(table) => match table.iter().next() {
            Some((kind, value)) if table.len() == 1 => named(kind, value),
            _ => None,
        },
        _ => None,
    };
    found.ok_or_else(|| rule().into())
}

fn named(kind: &str, value: &Entry) -> Option<Place> {
    let text = value.text()?;
    match kind {
        "header" => {
            let is_name = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
            let name = text.to_ascii_lowercase();
            (is_name && (1..=128).contains(&text.len())).then_some(Place::Header(name))
        }
        "path" => PathPattern::parse(text).map(Place::Path),
        _ => None,
    }
}

/// One execution where nothing is written.
fn cost(mut section: Section<'_>) -> Amounts {
    let mut cost = Amounts::new();
    for (name, entry) in section.take_named() {
        let path = join(section.path(), &name);
        match (Meter::parse(section.path(), &name), whole(&entry, 0, AMOUNT_MAX)) {
            (Err(error), _) => section.findings.add(&entry.key_at, error.to_string()),
            (Ok(_), Err(allowed)) => section.findings.refuse(&entry.value_at, &path, entry.shown(), allowed),
            (Ok(_), Ok(_)) if cost.len() == METERS_PER_CALL => {
                let allowed = format!("at most {METERS_PER_CALL} meters, as many as a call may charge");
                section.findings.refuse(&entry.key_at, section.path().to_owned().as_str(), &name, allowed);
            }
            (Ok(meter), Ok(amount)) => cost.push((meter, amount)),
        }
    }
    if cost.is_empty() { Amounts::from_iter([(Meter::executions(), 1)]) } else { cost }
}

fn limit(entry: &Entry) -> Parsed<String> {
    let is_limit = |text: &&str| (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    entry.text().filter(is_limit).map(str::to_owned).ok_or_else(|| LIMIT_RULE.into())
}
