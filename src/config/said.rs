//! What a configuration says, key by key, as it was written: a reload names from it what has changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::tree::{Entry, Table, Value};
use crate::domain::ids::Scope;

/// Keys whose values hold a secret, or may: only that they have changed is shown.
const SECRET: [&str; 5] = [
    "cluster.postgres_urls",
    "billing.autumn.secret_key_file",
    "billing.autumn.webhook_secret_file",
    "webhook.secret_file",
    // Its path may be one.
    "webhook.url",
];
/// Keys that begin so are names of upstream accounts, which are secret.
const ACCOUNT: &str = "account/";
/// Characters of a value that are shown.
const SHOWN: usize = 100;

/// One key that another configuration gives another value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its dotted name.
    pub key: String,
    /// What it was; `None` where it was not written, so that its default held.
    pub from: Option<String>,
    /// What it is now; `None` where it is not written any more.
    pub to: Option<String>,
    /// A secret: the two values are left out.
    pub is_secret: bool,
    /// It takes effect with a restart, and has none until then.
    pub needs_restart: bool,
}

/// The values that are written, by their dotted keys. Two configurations that mean the same are equal, whatever they say.
#[derive(Clone, Eq, Default)]
pub(super) struct Said(BTreeMap<String, String>);

impl PartialEq for Said {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl fmt::Debug for Said {
    /// Without the values: some are secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} keys", self.0.len())
    }
}

impl Said {
    pub(super) fn of(table: &Table) -> Self {
        let mut said = BTreeMap::new();
        flat(table, "", &mut said);
        Self(said)
    }

    /// The keys that differ, in their order; also those of the secrets whose files hold something else.
    pub(super) fn changes(&self, new: &Self, secrets: &[&str]) -> Vec<Change> {
        let keys: BTreeSet<&String> = self.0.keys().chain(new.0.keys()).collect();
        let differs = |key: &str| self.0.get(key) != new.0.get(key) || secrets.contains(&key);
        let changed = keys.into_iter().filter(|key| differs(key)).map(|key| {
            let is_secret = SECRET.contains(&key.as_str());
            let shown = |said: &Self| said.0.get(key).filter(|_| !is_secret).map(|value| cut(value));
            Change { key: key.clone(), from: shown(self), to: shown(new), is_secret, needs_restart: false }
        });
        changed.collect()
    }

    /// What runs after a reload: of keys that wait for a restart, what was said before.
    pub(super) fn running(mut self, new: Self, changes: &[Change]) -> Self {
        let mut running = new.0;
        for Change { key, .. } in changes.iter().filter(|change| change.needs_restart) {
            match self.0.remove(key) {
                Some(old) => running.insert(key.clone(), old),
                None => running.remove(key),
            };
        }
        Self(running)
    }
}

/// A key as people may read it: names of upstream accounts are masked.
pub fn shown_key(key: &str) -> String {
    let masked = |part: &str| match Scope::parse("key", part) {
        _ if !part.starts_with(ACCOUNT) => part.to_owned(),
        Ok(scope) => scope.shown().into_owned(),
        Err(_) => format!("{ACCOUNT}…"),
    };
    key.split('"').map(masked).collect::<Vec<_>>().join("\"")
}

/// Whether a key is the one of this name, or in the section of this name.
pub(super) fn is_in(key: &str, name: &str) -> bool {
    key.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn cut(value: &str) -> String {
    let mut shown: String = value.chars().take(SHOWN).collect();
    if shown.len() < value.len() {
        shown.push('…');
    }
    shown
}

fn flat(table: &Table, path: &str, said: &mut BTreeMap<String, String>) {
    for (key, entry) in table {
        let key = quoted(key);
        let path = if path.is_empty() { key } else { format!("{path}.{key}") };
        match &entry.value {
            Value::Table(inner) if !inner.is_empty() => flat(inner, &path, said),
            _ => {
                said.insert(path, text(entry));
            }
        }
    }
}

/// As TOML has it; whole, so that no two keys are one.
fn quoted(key: &str) -> String {
    let is_bare = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    if is_bare { key.to_owned() } else { format!("{key:?}") }
}

fn text(entry: &Entry) -> String {
    match &entry.value {
        Value::List(items) => format!("[{}]", items.iter().map(text).collect::<Vec<_>>().join(", ")),
        Value::Table(table) if table.is_empty() => "{}".to_owned(),
        Value::Table(table) => {
            let inner = table.iter().map(|(key, entry)| format!("{} = {}", quoted(key), text(entry)));
            format!("{{ {} }}", inner.collect::<Vec<_>>().join(", "))
        }
        _ => entry.shown(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{mistake::Findings, tree};

    fn said(text: &str) -> Said {
        Said::of(&tree::parse(text, &mut Findings::new("file")))
    }

    fn changes(old: &str, new: &str) -> Vec<String> {
        let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".into());
        let changes = said(old).changes(&said(new), &[]);
        changes
            .iter()
            .map(|change| format!("{}: {} > {}", change.key, shown(&change.from), shown(&change.to)))
            .collect()
    }

    #[test]
    fn what_differs_is_named_by_its_whole_key_and_nothing_else_is() {
        let old = "[rate]\namount = 2\n[orgs.\"a.b\"]\nplan = \"x\"\nspend = { daily = \"5u\" }\n";
        assert_eq!(changes(old, old), [""; 0]);
        let new =
            "rate = { amount = 2 }\norgs.\"a.b\" = { plan = \"y\", spend.daily = \"5u\" }\n[log]\nlevel = \"debug\"\n";
        assert_eq!(changes(old, new), ["log.level: - > debug", "orgs.\"a.b\".plan: x > y"]);
        assert_eq!(changes("[rate]\namount = 2\n", ""), ["rate.amount: 2 > -"]);
        let lists = changes("billing.free_plans = [\"a\"]\n", "billing.free_plans = [\"a\", \"b\"]\n");
        assert_eq!(lists, ["billing.free_plans: [a] > [a, b]"]);
        let long = changes("", &format!("node.name = \"{}\"\n", "n".repeat(200)));
        assert_eq!(long, [format!("node.name: - > {}…", "n".repeat(SHOWN))]);
    }

    #[test]
    fn the_name_of_an_upstream_account_in_a_key_is_masked() {
        let key = "orgs.acme.scopes.\"account/sk-live-0123456789abcdef\".executions.daily";
        let shown = shown_key(key);
        assert!(!shown.contains("0123456789"), "{shown}");
        assert!(shown.starts_with("orgs.acme.scopes.\"account/") && shown.ends_with("\".executions.daily"), "{shown}");
        for plain in ["rate.amount", "orgs.\"a.b\".plan", "orgs.acme.scopes.\"workspace/*\".spend.daily"] {
            assert_eq!(shown_key(plain), plain);
        }
    }

    #[test]
    fn the_value_of_a_secret_is_not_shown() {
        let old = said("[cluster]\npostgres_urls = [\"postgres://u:hush@h/d\"]\n");
        let new = said("[cluster]\npostgres_urls = [\"postgres://u:other@h/d\"]\n");
        let [change] = &old.changes(&new, &[])[..] else { panic!("one") };
        assert_eq!((&change.from, &change.to, change.is_secret), (&None, &None, true));
        let key = said("billing.autumn.secret_key_file = \"/k\"\n");
        assert_eq!(key.changes(&key, &[]), []);
        let [change] = &key.changes(&key, &["billing.autumn.secret_key_file"])[..] else { panic!("one") };
        assert!(change.is_secret, "the same file holds another secret");
        assert!(!format!("{old:?}").contains("hush"), "{old:?}");
    }
}
