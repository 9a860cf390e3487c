//! What a decision has charged, as far as that is known afterwards, and what of it an operator has given back.
//!
//! A decision with a reservation is known for a day after its Commit or its Release, in the row that says how it ended; until
//! then in the reservation. Of a plain Acquire nothing is stored, because it is the hot path: the node that decided
//! remembers it for two minutes, as far as it remembers admissions at all.

use super::{
    ids::{Amounts, DecisionId, Meter, Plane},
    scopes::Scopes,
    window::Millis,
};

/// What a decision has charged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// Where it counts, besides the org.
    pub scopes: Scopes,
    /// Through which plane; unnamed where it did not say.
    pub plane: Plane,
    /// When it was admitted.
    pub admitted_at: Millis,
    /// What was charged with the admission.
    pub cost: Amounts,
    /// When its reservation was committed; without meaning where nothing was booked then.
    pub settled_at: Millis,
    /// What was booked then.
    pub booked: Amounts,
    /// The execution had completed before its reservation was released, so that its admission is reported to the billing provider.
    pub completed: bool,
}

impl Charge {
    /// Everything that was charged, each amount with its time.
    pub fn parts(&self) -> [(Millis, &Amounts); 2] {
        [(self.admitted_at, &self.cost), (self.settled_at, &self.booked)]
    }

    /// Whether anything was.
    pub fn is_empty(&self) -> bool {
        self.parts().iter().all(|(_, amounts)| amounts.iter().all(|(_, amount)| *amount == 0))
    }
}

/// What was given back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refunded {
    /// Whose charge it was; `None` = amounts were named.
    pub decision: Option<DecisionId>,
    /// Where it had counted, besides the org.
    pub scopes: Scopes,
    /// Each meter once.
    pub amounts: Vec<GivenBack>,
}

/// What was given back of one meter, in its unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenBack {
    /// What is counted.
    pub meter: Meter,
    /// What was charged, or named.
    pub asked: u64,
    /// What was given back of it: as much as there was.
    pub given: u64,
}
