//! What an alert is of, and its name as a key.

use std::{fmt, sync::Arc};

use crate::domain::{
    gate::{Cause, Gate},
    ids::{AccountId, PoolId, SessionId},
    input::InputError,
};

/// What an alert is of; its row has the scope beside it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// A limit, by its name: `budget/daily`.
    Limit(Arc<str>),
    /// Denials by one limit at one gate.
    Denials {
        /// The gate that denied.
        gate: Gate,
        /// Name of the limit; empty where the gate has none.
        limit: Arc<str>,
    },
    /// Calls that were let through because a gate could not be evaluated.
    FailOpen {
        /// That gate.
        gate: Gate,
        /// Why.
        cause: Cause,
    },
    /// A session that was warned or stopped.
    Session(SessionId),
    /// A pool of which every account is exhausted.
    Pool(PoolId),
    /// An upstream account that is exhausted. Its name is a secret.
    Account(AccountId),
    /// The trial, which has used up what it includes.
    Trial,
    /// Numbers that do not fit together.
    Drift,
    /// Events that there was no room for.
    Flood,
}

/// For the store: of an account this is its whole name.
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limit(limit) => write!(f, "limit {limit}"),
            Self::Denials { gate, limit } => write!(f, "denials {} {limit}", gate.name()),
            Self::FailOpen { gate, cause } => write!(f, "fail_open {} {}", gate.name(), cause.name()),
            Self::Session(id) => write!(f, "session {id}"),
            Self::Pool(id) => write!(f, "pool {id}"),
            Self::Account(id) => write!(f, "account {}", id.as_str()),
            Self::Trial => f.write_str("trial"),
            Self::Drift => f.write_str("drift"),
            Self::Flood => f.write_str("flood"),
        }
    }
}

impl Subject {
    /// Whether it is what goes on call by call until none comes.
    pub(in crate::domain) fn is_spell(&self) -> bool {
        matches!(self, Self::Denials { .. } | Self::FailOpen { .. })
    }

    /// Whether there are never more of them than of what they speak of, which has a bound of its own.
    pub(in crate::domain) fn is_bounded(&self) -> bool {
        matches!(self, Self::Pool(_) | Self::Account(_) | Self::Trial)
    }

    /// Reads what [`fmt::Display`] writes. No name in it has a space.
    ///
    /// # Errors
    /// Naming what it is not.
    pub fn parse(field: &str, text: &str) -> Result<Self, InputError> {
        // Without the name, which may be a secret.
        let kind = text.split(' ').next().unwrap_or_default();
        let refused = || InputError::new(field, kind, "a subject of alerts: limit NAME, session ID, …");
        let gate = |name: &str| Gate::ALL.into_iter().find(|gate| gate.name() == name).ok_or_else(refused);
        let cause = |name: &str| Cause::ALL.into_iter().find(|cause| cause.name() == name).ok_or_else(refused);
        let parts: Vec<&str> = text.split(' ').collect();
        match parts[..] {
            ["limit", limit] => Ok(Self::Limit(limit.into())),
            ["denials", at, limit] => Ok(Self::Denials { gate: gate(at)?, limit: limit.into() }),
            ["fail_open", at, why] => Ok(Self::FailOpen { gate: gate(at)?, cause: cause(why)? }),
            ["session", id] => SessionId::parse("id", id).map(Self::Session),
            ["pool", id] => PoolId::parse("id", id).map(Self::Pool),
            ["account", id] => AccountId::parse("id", id).map(Self::Account),
            ["trial"] => Ok(Self::Trial),
            ["drift"] => Ok(Self::Drift),
            ["flood"] => Ok(Self::Flood),
            _ => Err(refused()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_reads_back() {
        for subject in [
            Subject::Limit("rate".into()),
            Subject::Limit("quota/spend/calendar/day@America/New_York".into()),
            Subject::Denials { gate: Gate::Freeze, limit: "".into() },
            Subject::Denials { gate: Gate::Budgets, limit: "budget/daily".into() },
            Subject::FailOpen { gate: Gate::Balance, cause: Cause::Timeout },
            Subject::Session(SessionId::parse("id", "vm-1").unwrap()),
            Subject::Pool(PoolId::parse("id", "keys").unwrap()),
            Subject::Account(AccountId::parse("id", "sk-abc0123").unwrap()),
            Subject::Trial,
            Subject::Drift,
            Subject::Flood,
        ] {
            assert_eq!(Subject::parse("subject", &subject.to_string()), Ok(subject));
        }
        for bad in [
            "",
            "limit",
            "denials x y z",
            "denials rate",
            "fail_open rate x",
            "session ",
            "account",
            "pool a b",
            "weather",
        ] {
            assert!(Subject::parse("subject", bad).is_err(), "{bad:?}");
        }
    }
}
