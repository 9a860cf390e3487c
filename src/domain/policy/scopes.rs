//! Which scopes a rule of the configuration is about.

use std::fmt;

use crate::domain::ids::{Meter, Scope};

/// One scope, or all whose names begin alike.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// By its full name.
    Only(Scope),
    /// What the names begin with; an empty text is any scope.
    Prefix(String),
}

impl Family {
    /// Whether the scope belongs to it.
    pub fn covers(&self, scope: &Scope) -> bool {
        match self {
            Self::Only(only) => only == scope,
            Self::Prefix(prefix) => !scope.is_org() && scope.as_str().starts_with(prefix.as_str()),
        }
    }

    /// Whether all of it are upstream accounts, or pools.
    pub fn is_upstream(&self) -> bool {
        self.meters().is_some()
    }

    /// The meters that are counted in all of it; `None` = any.
    pub fn meters(&self) -> Option<[Meter; 2]> {
        match self {
            Self::Only(scope) => scope.meters(),
            Self::Prefix(prefix) => Scope::parse("scopes", prefix).ok()?.meters(),
        }
    }
}

/// As it is configured: `agent/7`, `agent/*`.
impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Only(scope) => f.write_str(&scope.shown()),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}
