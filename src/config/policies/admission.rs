//! `[orgs] admit`: which orgs there may be.

use super::{
    super::{
        mistake::Place,
        reader::{Parsed, Section},
        tree::{Entry, Value},
    },
    Policies,
};
use crate::domain::{ids::OrgId, reach::OrgPatterns};

pub(in crate::config) const KEY: &str = "admit";
const RULE: &str = "\"any\", \"listed\" (those with a section of their own), or a list of orgs such as \
                    [\"acme\", \"acme-*\"]";

/// Which orgs may execute. Those with a section of their own always may.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Admit {
    /// Every org.
    #[default]
    Any,
    /// No other one.
    Listed,
    /// Also these.
    Matching(OrgPatterns),
}

impl Policies {
    /// Whether the org has a section of its own.
    pub fn lists(&self, org: &OrgId) -> bool {
        self.orgs.contains_key(org)
    }

    /// Whether the org may execute.
    pub fn admits(&self, org: &OrgId) -> bool {
        match &self.admit {
            None | Some(Admit::Any) => true,
            Some(Admit::Listed) => self.lists(org),
            Some(Admit::Matching(patterns)) => patterns.covers(org.as_str()) || self.lists(org),
        }
    }
}

/// Notes that the key leaves no org that may execute.
pub(super) fn warn_of_nobody(root: &mut Section<'_>, at: Option<Place>, admit: Option<&Admit>, none_is_listed: bool) {
    if let (Some(at), Some(Admit::Listed), true) = (at, admit, none_is_listed) {
        let text = "orgs.admit is \"listed\", and no org has a section [orgs.\"ID\"]: no org may execute";
        root.findings.warn(&at, text.into());
    }
}

/// The key, unless it is the section of an org that is called so.
pub(super) fn admit(section: &mut Section<'_>) -> Option<Admit> {
    if section.is_table(KEY) { None } else { section.read(KEY, read) }
}

fn read(entry: &Entry) -> Parsed<Admit> {
    match (&entry.value, entry.text()) {
        (_, Some("any")) => Ok(Admit::Any),
        (_, Some("listed")) => Ok(Admit::Listed),
        (Value::List(items), _) if !items.is_empty() => {
            let texts = items.iter().map(Entry::text).collect::<Option<Vec<_>>>().ok_or(RULE)?;
            let patterns = OrgPatterns::parse(texts).map_err(|error| format!("{RULE}; {error}"))?;
            Ok(Admit::Matching(patterns))
        }
        _ => Err(RULE.into()),
    }
}
