//! What was denied, and what was let through without an evaluated gate: a bounded list of an org, and counts by day.
//!
//! ```text
//! one that repeats another within ten minutes   is counted in its row: how many, first and last
//! any other                                     is a row of its own; past the bound the oldest goes
//! of each day                                   allowed, and by gate denied and let through
//! ```
//!
//! It is written behind, like a plain admission: no decision waits for it, and no rule reads it.

mod decided;
mod kept;
mod views;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::{
    gate::{Cause, Code, Gate},
    ids::{Amounts, DecisionId, Meter, Plane, PoolId, Scope},
    limit::LimitTexts,
    scopes::Scopes,
    trace::TraceId,
    window::Millis,
};

pub(super) use kept::Denials;
pub use views::{Block, DayView, DenialFilter, DenialPage, Explained, Lately, LatelyBy, Way, WaysThrough, Why};

/// What a call asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// To execute.
    Execute,
    /// To execute, with pauses.
    ExecuteWithPause,
    /// To start a session.
    StartSession,
    /// For an upstream account, without the gates of the org.
    Pick,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 4] = [Self::Execute, Self::ExecuteWithPause, Self::StartSession, Self::Pick];

    /// As people and the API have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Execute => "execute",
            Self::ExecuteWithPause => "execute_with_pause",
            Self::StartSession => "start_session",
            Self::Pick => "pick",
        }
    }
}

/// What a call asked for, as far as a decision on it can be explained by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// What it asked to do.
    pub operation: Operation,
    /// Whose limits counted, with those of the org.
    pub scopes: Scopes,
    /// Who asked; empty where it did not say.
    pub plane: Plane,
    /// The pool whose accounts it was to use; `None` = none.
    pub pool: Option<PoolId>,
    /// What it would have been charged, in the units of the meters.
    pub cost: Amounts,
    /// What it would have held, in the units of the meters.
    pub reserve: Amounts,
}

/// A limit that did not admit a call, as it stood then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FullLimit {
    /// Name, meter and window as answers show them.
    pub texts: Arc<LimitTexts>,
    /// What it counts.
    pub meter: Meter,
    /// Whose limit it is; empty is the org itself.
    pub scope: Scope,
    /// In the unit of the meter, like what follows.
    pub amount: u64,
    /// How much of the amount is held back.
    pub buffer: u64,
    /// Used in the window.
    pub used: u64,
    /// Held by reservations.
    pub reserved: u64,
    /// What the call asked of it.
    pub asked: u64,
    /// When it fits if nothing else happens; `None` = not while the limit stands, or nobody knows.
    pub fits_at: Option<Millis>,
}

impl FullLimit {
    /// By how much the limit would have to be higher to admit what was asked: at least one.
    pub fn missing(&self) -> u64 {
        let taken = self.used.saturating_add(self.reserved);
        match self.asked {
            0 => taken.saturating_add(1).saturating_sub(self.amount),
            asked => taken.saturating_add(asked).saturating_sub(self.amount.saturating_sub(self.buffer)),
        }
        .max(1)
    }
}

/// What one gate said of a call, as far as it is kept. A gate that is not in the list had nothing to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Said {
    /// Evaluated, and the call fits.
    Passed,
    /// Known exhaustion.
    Denied(Code),
    /// It could not be evaluated, and its policy let the call through.
    Unevaluated(Cause),
}

/// When a denied call fits, if nothing else happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Until {
    /// When somebody acts.
    Unknown,
    /// From this instant of service time on.
    At(Millis),
    /// Not while the limit stands.
    Never,
}

/// Denials that are alike, or admissions that no gate was asked for: one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DenialRow {
    /// Numbers the rows of the org, from 1.
    pub number: u64,
    /// What was asked, the last time. Of what was too much to tell apart it has no scopes and no plane.
    pub asked: Asked,
    /// The node that decided.
    pub node: Arc<str>,
    /// The call was in shadow mode: it was let through all the same.
    pub shadow: bool,
    /// Calls are counted here that differ in scopes and planes, because there were too many to tell apart.
    pub mixed: bool,
    /// What each gate said, in the order of the pipeline.
    pub gates: Vec<(Gate, Said)>,
    /// The limits that did not admit it, as they stood the last time.
    pub limits: Vec<FullLimit>,
    /// What was answered, the last time.
    pub message: String,
    /// When the call fits, as it was known the last time.
    pub until: Until,
    /// How many calls.
    pub count: u64,
    /// Service time of the first.
    pub first_at: Millis,
    /// Service time of the last.
    pub last_at: Millis,
    /// Of the first; `None` = it had no id.
    pub first: Option<DecisionId>,
    /// Of the last.
    pub last: Option<DecisionId>,
    /// Of the last call that had one.
    pub trace: Option<TraceId>,
}

impl DenialRow {
    /// The gate that denied, and with which code; `None` = the call was let through without an evaluated gate.
    pub fn denied_by(&self) -> Option<(Gate, Code)> {
        self.gates.iter().find_map(|(gate, said)| match said {
            Said::Denied(code) => Some((*gate, *code)),
            Said::Passed | Said::Unevaluated(_) => None,
        })
    }

    /// The first gate that could not be evaluated, and why.
    pub fn unevaluated(&self) -> Option<(Gate, Cause)> {
        self.all_unevaluated().next()
    }

    /// Every gate that could not be evaluated, and why.
    pub fn all_unevaluated(&self) -> impl Iterator<Item = (Gate, Cause)> {
        self.gates.iter().filter_map(|(gate, said)| match said {
            Said::Unevaluated(cause) => Some((*gate, *cause)),
            Said::Passed | Said::Denied(_) => None,
        })
    }

    /// The limit that the answer was about: of those that did not admit the call the one that fits last. None where a
    /// gate denied that is about no amount.
    pub fn limit(&self) -> Option<&FullLimit> {
        if self.denied_by().is_some_and(|(gate, _)| gate.stands_alone()) {
            return None;
        }
        self.limits.iter().rev().max_by_key(|limit| limit.fits_at.unwrap_or(Millis::MAX))
    }

    /// Whether a call of these scopes is counted in it.
    pub fn concerns(&self, scope: &Scope) -> bool {
        scope.is_org() || self.asked.scopes.contains(scope) || self.limits.iter().any(|limit| limit.scope == *scope)
    }

    /// Whether both are counted in one row, in one spell.
    pub fn is_like(&self, other: &Self) -> bool {
        self.likeness() == other.likeness()
    }

    /// Counts the calls of a later row that is like this one; what is shown is that of the last.
    pub fn add(&mut self, later: Self) {
        let (number, first, first_at) = (self.number, self.first.or(later.first), self.first_at);
        let (count, trace) = (self.count.saturating_add(later.count), later.trace.or(self.trace));
        let (last, last_at) = (later.last.or(self.last), later.last_at.max(self.last_at));
        *self = Self { number, first, first_at, count, trace, last, last_at, ..later };
    }

    /// A hash of what makes two of them alike.
    fn likeness(&self) -> u64 {
        let mut hash = DefaultHasher::new();
        let Asked { operation, scopes, plane, pool, .. } = &self.asked;
        (operation, scopes, plane, pool, &self.node, self.shadow, self.mixed, &self.gates).hash(&mut hash);
        for limit in &self.limits {
            (&limit.texts.name, &limit.scope).hash(&mut hash);
        }
        hash.finish()
    }

    /// The same without what tells it apart from others of its gates.
    fn among_others(self) -> Self {
        let Asked { operation, pool, .. } = self.asked;
        let (scopes, plane, cost, reserve) = (Scopes::org(), Plane::default(), Amounts::new(), Amounts::new());
        let asked = Asked { operation, scopes, plane, pool, cost, reserve };
        Self { asked, mixed: true, limits: Vec::new(), ..self }
    }

    /// Whether this row counts a decision of this id: for certain where it is the first or the last, else because
    /// it is between them.
    pub(super) fn counts(&self, id: DecisionId) -> Option<bool> {
        let (first, last) = (self.first?, self.last?);
        if first.is_same(id) || last.is_same(id) {
            return Some(true);
        }
        id.is_between(first, last).then_some(false)
    }
}

/// What was decided in one day of UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayRow {
    /// Its first instant.
    pub start: Millis,
    /// Acquires that had been allowed and charged before its first one, since the org was first seen.
    pub allowed_before: u64,
    /// Calls that each gate denied, in the order of the pipeline; in shadow mode as well.
    pub denied: [u64; Gate::ALL.len()],
    /// Calls that were let through although this gate could not be evaluated.
    pub failed_open: [u64; Gate::ALL.len()],
}
