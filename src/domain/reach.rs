//! What a caller may reach: which orgs, which scopes in them, and the scopes that each of its calls is in.

use std::{fmt, sync::Arc};

use super::{ids::Scope, input::InputError, policy::Family, scopes::Scopes};
use crate::bounds::SCOPES_PER_CALL;

/// At the end of a pattern: whatever follows.
const ANY: char = '*';
/// Between the segments of a scope.
const SEGMENT: char = '/';
const ORGS_RULE: &str = "an org such as \"acme\", orgs that begin alike such as \"acme-*\", or \"*\" for all";
const SCOPES_RULE: &str = "a scope such as \"agent/7\", or scopes that begin alike such as \"agent/*\"; not account/... \
                           or pool/..., which no call names";

/// One org, or all that begin alike.
#[derive(Debug, Clone, PartialEq, Eq)]
enum OrgPattern {
    Only(String),
    Prefix(String),
}

impl OrgPattern {
    fn parse(text: &str) -> Result<Self, InputError> {
        let (name, is_prefix) = match text.strip_suffix(ANY) {
            Some(prefix) => (prefix, true),
            None => (text, false),
        };
        if name.contains(ANY) || (name.is_empty() && !is_prefix) || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(InputError::new("orgs", text, ORGS_RULE));
        }
        Ok(if is_prefix { Self::Prefix(name.to_owned()) } else { Self::Only(name.to_owned()) })
    }

    fn covers(&self, org: &str) -> bool {
        match self {
            Self::Only(only) => only == org,
            Self::Prefix(prefix) => org.starts_with(prefix.as_str()),
        }
    }
}

impl fmt::Display for OrgPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Only(only) => f.write_str(only),
            Self::Prefix(prefix) => write!(f, "{prefix}{ANY}"),
        }
    }
}

/// Orgs by name or by what they begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrgPatterns(Vec<OrgPattern>);

impl OrgPatterns {
    /// Every org.
    pub fn all() -> Self {
        Self(vec![OrgPattern::Prefix(String::new())])
    }

    /// `acme`, `acme-*`, `*`.
    ///
    /// # Errors
    /// Naming the one that is no pattern.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, InputError> {
        texts.into_iter().map(OrgPattern::parse).collect::<Result<_, _>>().map(Self)
    }

    /// Whether this org, which may be no valid id, is one of them.
    pub fn covers(&self, org: &str) -> bool {
        self.0.iter().any(|pattern| pattern.covers(org))
    }

    /// The org, where it is one alone.
    pub fn only(&self) -> Option<&str> {
        match self.0.as_slice() {
            [OrgPattern::Only(org)] => Some(org),
            _ => None,
        }
    }

    /// Each as it is written.
    pub fn texts(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(ToString::to_string)
    }

    /// Whether they are all orgs, and the node with them.
    pub fn are_all(&self) -> bool {
        self.0.iter().any(|pattern| matches!(pattern, OrgPattern::Prefix(prefix) if prefix.is_empty()))
    }
}

/// `acme, beta-*`.
impl fmt::Display for OrgPatterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, pattern) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{pattern}")?;
        }
        Ok(())
    }
}

/// The scopes that calls may be in, and those that they are always in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScopeRules {
    /// Only these; empty = any.
    only: Vec<Family>,
    /// Every call is in them, named or not.
    bound: Scopes,
}

/// A call names a scope that its caller may not use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScopeRefused {
    /// It is none of those that are allowed.
    Outside {
        /// As it was named, for people.
        scope: String,
    },
    /// Only some are allowed, and the call names none.
    Unnamed,
}

impl fmt::Display for ScopeRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outside { scope } => write!(f, "this caller may not use the scope {scope}"),
            Self::Unnamed => f.write_str("this caller may act only within some scopes: name one of them"),
        }
    }
}

impl ScopeRules {
    /// `only`: scopes and families; `bound`: scopes. `None` where neither says anything.
    ///
    /// # Errors
    /// Naming what is no scope and no family.
    pub fn parse<'a>(
        only: impl IntoIterator<Item = &'a str>,
        bound: impl IntoIterator<Item = &'a str>,
    ) -> Result<Option<Arc<Self>>, InputError> {
        let only: Vec<Family> = only.into_iter().map(family).collect::<Result<_, _>>()?;
        let mut scopes = Scopes::org();
        for text in bound {
            let scope = Scope::parse_counted("bind", text)?;
            if scope.is_org() {
                return Err(InputError::new("bind", text, SCOPES_RULE));
            }
            scopes.insert(scope);
        }
        if scopes.len() > SCOPES_PER_CALL {
            let allowed = format!("at most {SCOPES_PER_CALL} scopes");
            return Err(InputError::new("bind", format_args!("{} scopes", scopes.len()), allowed));
        }
        let rules = Self { only, bound: scopes };
        Ok((rules != Self::default()).then(|| Arc::new(rules)))
    }

    /// Puts what is bound into the scopes that a call names.
    ///
    /// # Errors
    /// Where it names one that it may not use, or none although only some are allowed.
    pub fn bind(&self, first: &mut String, others: &mut Vec<String>) -> Result<(), ScopeRefused> {
        let named = || std::iter::once(first.as_str()).chain(others.iter().map(String::as_str));
        for name in named().filter(|name| !name.is_empty()) {
            if !self.allows(name) {
                // What is no valid name is shown as nobody's secret.
                let scope = Scope::parse("scope", name);
                let scope = scope.map_or_else(|error| error.value, |scope| scope.shown().into_owned());
                return Err(ScopeRefused::Outside { scope });
            }
        }
        if self.bound.is_empty() && named().all(str::is_empty) {
            return Err(ScopeRefused::Unnamed);
        }
        let missing: Vec<_> =
            self.bound.iter().map(Scope::as_str).filter(|bound| named().all(|name| name != *bound)).collect();
        for bound in missing {
            if first.is_empty() {
                bound.clone_into(first);
            } else {
                others.push(bound.to_owned());
            }
        }
        Ok(())
    }

    fn allows(&self, name: &str) -> bool {
        if self.bound.iter().any(|bound| bound.as_str() == name) {
            return true;
        }
        if self.bound.iter().any(|bound| kind(bound.as_str()).is_some_and(|kind| name.starts_with(kind))) {
            return false;
        }
        self.only.is_empty() || Scope::parse("scope", name).is_ok_and(|scope| self.are_within(&scope))
    }

    fn are_within(&self, scope: &Scope) -> bool {
        self.only.iter().any(|family| family.covers(scope))
    }

    /// Whether what was begun in these scopes is one of the caller's.
    pub fn cover(&self, scopes: &Scopes) -> bool {
        let is_allowed = |scope: &Scope| self.allows(scope.as_str());
        let has_bound = self.bound.iter().all(|bound| scopes.contains(bound));
        let names_some = self.only.is_empty() || !scopes.is_empty();
        has_bound && names_some && scopes.iter().all(is_allowed)
    }
}

/// What a scope and its siblings begin with: `agent/`.
fn kind(scope: &str) -> Option<&str> {
    scope.find(SEGMENT).map(|at| &scope[..=at])
}

fn family(text: &str) -> Result<Family, InputError> {
    let refused = || InputError::new("scopes", text, SCOPES_RULE);
    if text.trim_end_matches(ANY).contains(ANY) {
        return Err(refused());
    }
    let family = match text.strip_suffix(ANY) {
        Some("") => Family::Prefix(String::new()),
        Some(prefix) if Scope::parse("scopes", prefix).is_ok_and(|scope| !scope.is_shared()) => {
            Family::Prefix(prefix.to_owned())
        }
        Some(_) => return Err(refused()),
        None => Family::Only(Scope::parse_chosen("scopes", text).map_err(|_| refused())?),
    };
    let is_org = matches!(&family, Family::Only(scope) if scope.is_org());
    if is_org || family.is_upstream() { Err(refused()) } else { Ok(family) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(rules: &ScopeRules, first: &str, others: &[&str]) -> Result<(String, Vec<String>), ScopeRefused> {
        let (mut first, mut others) = (first.to_owned(), others.iter().map(ToString::to_string).collect());
        rules.bind(&mut first, &mut others).map(|()| (first, others))
    }

    #[test]
    fn orgs_are_named_one_by_one_or_by_what_they_begin_with() {
        let orgs = OrgPatterns::parse(["acme", "beta-*"]).unwrap();
        for (org, covered) in [("acme", true), ("acme2", false), ("beta-1", true), ("beta", false), ("", false)] {
            assert_eq!(orgs.covers(org), covered, "{org:?}");
        }
        assert!(!orgs.are_all());
        assert!(OrgPatterns::parse(["*"]).unwrap().are_all());
        assert!(!OrgPatterns::parse([]).unwrap().covers("acme"), "no pattern, no org");
        for wrong in ["", "a*b", "**", "a b", "a\n"] {
            assert!(OrgPatterns::parse([wrong]).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn what_is_bound_is_added_and_its_siblings_are_refused() {
        let rules = ScopeRules::parse([], ["agent/a"]).unwrap().unwrap();
        assert_eq!(bound(&rules, "", &[]), Ok(("agent/a".into(), vec![])));
        assert_eq!(bound(&rules, "agent/a", &[]), Ok(("agent/a".into(), vec![])));
        assert_eq!(bound(&rules, "workspace/w", &[]), Ok(("workspace/w".into(), vec!["agent/a".into()])));
        assert!(matches!(bound(&rules, "agent/b", &[]), Err(ScopeRefused::Outside { .. })));
        assert!(matches!(bound(&rules, "agent/a", &["agent/b"]), Err(ScopeRefused::Outside { .. })));
    }

    #[test]
    fn a_caller_of_some_scopes_names_one_of_them() {
        let rules = ScopeRules::parse(["agent/*", "prod"], []).unwrap().unwrap();
        assert!(bound(&rules, "agent/a", &["prod"]).is_ok());
        assert_eq!(bound(&rules, "", &[]), Err(ScopeRefused::Unnamed));
        assert!(matches!(bound(&rules, "agent/a", &["test"]), Err(ScopeRefused::Outside { .. })));
        assert!(matches!(bound(&rules, "a b", &[]), Err(ScopeRefused::Outside { .. })), "no valid name");
    }

    #[test]
    fn what_was_begun_elsewhere_is_not_the_callers() {
        let only = ScopeRules::parse(["agent/*"], []).unwrap().unwrap();
        let of = |text: &str| Scopes::parse("scopes", text).unwrap();
        assert!(only.cover(&of("agent/a")));
        assert!(!only.cover(&of("agent/a,test")));
        assert!(!only.cover(&of("")));
        let bound = ScopeRules::parse([], ["agent/a"]).unwrap().unwrap();
        assert!(bound.cover(&of("agent/a,test")));
        assert!(!bound.cover(&of("agent/b")));
        assert!(!bound.cover(&of("")));
    }

    #[test]
    fn what_is_no_scope_is_refused_by_name() {
        for wrong in ["", "account/*", "pool/x", "a b", "other", "a/*/b"] {
            assert!(ScopeRules::parse([wrong], []).is_err(), "{wrong:?}");
            assert!(wrong.contains('*') || ScopeRules::parse([], [wrong]).is_err(), "{wrong:?}");
        }
        assert_eq!(ScopeRules::parse([], []), Ok(None));
    }
}
