//! What an alert is of, and its name as a key.

use std::{fmt, sync::Arc};

use crate::domain::{
    gate::{Cause, Gate},
    ids::SessionId,
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
    /// Numbers that do not fit together.
    Drift,
    /// Events that there was no room for.
    Flood,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limit(limit) => write!(f, "limit {limit}"),
            Self::Denials { gate, limit } => write!(f, "denials {} {limit}", gate.name()),
            Self::FailOpen { gate, cause } => write!(f, "fail_open {} {}", gate.name(), cause.name()),
            Self::Session(id) => write!(f, "session {id}"),
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

    /// Reads what [`fmt::Display`] writes. No name in it has a space.
    ///
    /// # Errors
    /// Naming what it is not.
    pub fn parse(field: &str, text: &str) -> Result<Self, InputError> {
        let refused = || InputError::new(field, text, "a subject of alerts: limit NAME, session ID, …");
        let gate = |name: &str| Gate::ALL.into_iter().find(|gate| gate.name() == name).ok_or_else(refused);
        let cause = |name: &str| Cause::ALL.into_iter().find(|cause| cause.name() == name).ok_or_else(refused);
        let parts: Vec<&str> = text.split(' ').collect();
        match parts[..] {
            ["limit", limit] => Ok(Self::Limit(limit.into())),
            ["denials", at, limit] => Ok(Self::Denials { gate: gate(at)?, limit: limit.into() }),
            ["fail_open", at, why] => Ok(Self::FailOpen { gate: gate(at)?, cause: cause(why)? }),
            ["session", id] => SessionId::parse("id", id).map(Self::Session),
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
            Subject::Drift,
            Subject::Flood,
        ] {
            assert_eq!(Subject::parse("subject", &subject.to_string()), Ok(subject));
        }
        for bad in ["", "limit", "denials x y z", "denials rate", "fail_open rate x", "session ", "weather"] {
            assert!(Subject::parse("subject", bad).is_err(), "{bad:?}");
        }
    }
}
