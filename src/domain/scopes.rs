//! The scopes that one call names: a set, so that the budget of an agent holds in whatever workspace it runs.
//!
//! A charge counts once in each of them and once in the org, except where all of them are upstream accounts
//! or pools, which stand beside it.

use std::{borrow::Cow, fmt, ops::Deref};

use smallvec::SmallVec;

use super::{ids::Scope, input::InputError};
use crate::bounds::SCOPES_PER_CALL;

/// Between the names of a set where it is one text. No name has it.
const SEPARATOR: char = ',';

/// The scopes of one call, each once and in the order of their names; none is the org itself.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Scopes(SmallVec<[Scope; 1]>);

impl Scopes {
    /// No scope: the org itself.
    pub fn org() -> Self {
        Self::default()
    }

    /// Adds one, unless it is the org itself or there already.
    pub fn insert(&mut self, scope: Scope) {
        if scope.is_org() {
            return;
        }
        if let Err(at) = self.0.binary_search(&scope) {
            self.0.insert(at, scope);
        }
    }

    /// The first of them, for whoever knows only one; the org itself where there is none.
    pub fn first(&self) -> &Scope {
        self.0.first().unwrap_or(Scope::of_org())
    }

    /// Each of them, and the org: where a charge to them counts.
    pub fn charged(&self) -> impl Iterator<Item = &Scope> {
        charged(self)
    }

    /// Whether a charge to them counts in `counted`.
    pub fn counts_in(&self, counted: &Scope) -> bool {
        if counted.is_org() { counts_for_org(self) } else { self.contains(counted) }
    }

    /// As one text: the name of a single scope, several with commas between them, nothing for the org.
    pub fn text(&self) -> Cow<'_, str> {
        match &*self.0 {
            [] => Cow::Borrowed(""),
            [only] => Cow::Borrowed(only.as_str()),
            [first, others @ ..] => {
                let mut text = first.as_str().to_owned();
                for other in others {
                    text.push(SEPARATOR);
                    text.push_str(other.as_str());
                }
                Cow::Owned(text)
            }
        }
    }

    /// Reads what [`Scopes::text`] writes.
    pub fn parse(field: &str, text: &str) -> Result<Self, InputError> {
        if text.is_empty() {
            return Ok(Self::org());
        }
        let mut scopes = Self::default();
        for name in text.split(SEPARATOR) {
            let scope = Scope::parse(field, name)?;
            if scope.is_org() || scopes.last().is_some_and(|last| *last >= scope) {
                return Err(InputError::new(field, name, "scopes in the order of their names, each once"));
            }
            scopes.0.push(scope);
        }
        if scopes.len() > SCOPES_PER_CALL {
            let allowed = format!("at most {SCOPES_PER_CALL} scopes");
            return Err(InputError::new(field, format_args!("{} scopes", scopes.len()), allowed));
        }
        Ok(scopes)
    }

    /// As people see them: the names of accounts are masked.
    pub fn shown(&self) -> Cow<'_, str> {
        if self.len() <= 1 {
            return self.first().shown();
        }
        let names: Vec<_> = self.iter().map(Scope::shown).collect();
        Cow::Owned(names.join(","))
    }
}

/// Where a charge to `scopes` counts: in each of them and in the org.
pub(super) fn charged(scopes: &[Scope]) -> impl Iterator<Item = &Scope> {
    scopes.iter().chain(counts_for_org(scopes).then(Scope::of_org))
}

/// Whether a charge to them counts in the org.
pub(super) fn counts_for_org(scopes: &[Scope]) -> bool {
    scopes.is_empty() || scopes.iter().any(Scope::counts_for_org)
}

impl Deref for Scopes {
    type Target = [Scope];

    fn deref(&self) -> &[Scope] {
        &self.0
    }
}

impl From<Scope> for Scopes {
    fn from(scope: Scope) -> Self {
        let mut scopes = Self::default();
        scopes.insert(scope);
        scopes
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        let mut set = Self::default();
        scopes.into_iter().for_each(|scope| set.insert(scope));
        set
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(text: &str) -> Scope {
        Scope::parse("scope", text).unwrap()
    }

    fn set(names: &[&str]) -> Scopes {
        names.iter().map(|name| scope(name)).collect()
    }

    fn names<'a>(scopes: impl Iterator<Item = &'a Scope>) -> Vec<&'a str> {
        scopes.map(Scope::as_str).collect()
    }

    #[test]
    fn a_set_knows_neither_order_nor_repetition() {
        let one = set(&["team/b", "agent/7", "team/b", "", "agent/7"]);
        assert_eq!(one, set(&["agent/7", "team/b"]), "R-PIPE-4");
        assert_eq!((names(one.iter()), one.first().as_str()), (vec!["agent/7", "team/b"], "agent/7"));
        assert_eq!((Scopes::org().first().as_str(), Scopes::from(Scope::org())), ("", Scopes::org()));
    }

    #[test]
    fn a_charge_counts_once_in_each_and_once_in_the_org() {
        for (scopes, charged) in [
            (vec![], vec![""]),
            (vec!["a"], vec!["a", ""]),
            (vec!["b", "a"], vec!["a", "b", ""]),
            (vec!["account/k"], vec!["account/k"]),
            (vec!["account/k", "pool/p"], vec!["account/k", "pool/p"]),
            (vec!["account/k", "b"], vec!["account/k", "b", ""]),
        ] {
            let set = set(&scopes);
            assert_eq!(names(set.charged()), charged, "R-PIPE-4: {scopes:?}");
            for other in ["", "a", "b", "account/k", "c"] {
                assert_eq!(set.counts_in(&scope(other)), charged.contains(&other), "{scopes:?} in {other}");
            }
        }
    }

    #[test]
    fn a_set_reads_back_from_its_text() {
        for (scopes, text) in [(vec![], ""), (vec!["a"], "a"), (vec!["b/2", "a", "b"], "a,b,b/2")] {
            let set = set(&scopes);
            assert_eq!(set.text(), text);
            assert_eq!(Scopes::parse("scope", text), Ok(set));
        }
        let nine = "a,b,c,d,e,f,g,h,i";
        for bad in ["b,a", "a,a", "a,", ",a", ",", "a b", nine] {
            assert!(Scopes::parse("scope", bad).is_err(), "{bad}");
        }
        assert!(Scopes::parse("scope", &nine[..15]).is_ok());
    }

    #[test]
    fn the_names_of_accounts_are_masked() {
        let set = set(&["account/sk-abc-0123456789-9f3c", "team/b"]);
        assert_eq!(set.shown(), "account/sk-a…9f3c,team/b");
        assert_eq!(format!("{set:?}"), r#"{"account/sk-a…9f3c", "team/b"}"#);
    }
}
