//! What is shown of denials: pages, one decision explained, what blocks an org, and what lets it through.

use super::{DayRow, DenialRow, FullLimit, Until};
use crate::{
    bounds::DENIALS_LATELY_MS,
    domain::{
        gate::{Cause, Code, Gate},
        ids::{OrgId, Plane, PoolId, Scope},
        scopes::Scopes,
        window::{Millis, Window},
    },
};

/// Which rows are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DenialFilter {
    /// Rows with a smaller number; `None` = from the newest on.
    pub before: Option<u64>,
    /// At most so many.
    pub max: usize,
    /// Of calls that named it, and of its limits; the org itself = all.
    pub scope: Scope,
    /// Of this gate; `None` = of any.
    pub gate: Option<Gate>,
    /// Whose last call was at this time or later.
    pub since: Millis,
    /// Whose first call was at this time or before.
    pub until: Millis,
    /// Also calls that were let through without an evaluated gate.
    pub let_through: bool,
}

impl DenialFilter {
    pub(super) fn takes(&self, row: &DenialRow) -> bool {
        let denied_by = row.denied_by().map(|(gate, _)| gate);
        let gate = denied_by.or_else(|| row.unevaluated().map(|(gate, _)| gate));
        self.before.is_none_or(|before| row.number < before)
            && row.last_at >= self.since
            && row.first_at <= self.until
            && (self.let_through || denied_by.is_some())
            && self.gate.is_none_or(|wanted| gate == Some(wanted))
            && row.concerns(&self.scope)
    }
}

/// Rows, the newest first, and the counts of each day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DenialPage {
    /// As many as were asked for; fewer at the end.
    pub rows: Vec<DenialRow>,
    /// The oldest first.
    pub days: Vec<DayView>,
}

/// What was decided in one day of UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayView {
    /// Its first instant.
    pub start: Millis,
    /// Acquires that were allowed and charged.
    pub allowed: u64,
    /// Calls that a gate denied, and those that were let through without it; gates without either are left out.
    pub gates: Vec<(Gate, u64, u64)>,
}

impl DayView {
    pub(super) fn of(row: &DayRow, allowed: u64) -> Self {
        let counted =
            Gate::ALL.into_iter().map(|gate| (gate, row.denied[gate as usize], row.failed_open[gate as usize]));
        let gates = counted.filter(|(_, denied, failed_open)| denied + failed_open > 0).collect();
        Self { start: row.start, allowed: allowed.saturating_sub(row.allowed_before), gates }
    }
}

/// What lets a denied call through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// A limit that is higher by so much, in the unit of its meter.
    Raise {
        /// The limit as it stands.
        limit: FullLimit,
        /// By how much, at least.
        by: u64,
    },
    /// To wait until then.
    Wait(Millis),
    /// An operator ends the freeze.
    Unfreeze,
    /// The call names a scope of each required family, and none that may not be named.
    NameScopes,
    /// An account of the pool, with something left.
    FreeAccount(PoolId),
    /// A session ends.
    SessionEnds,
    /// A balance at the billing provider.
    TopUp,
    /// The call reserves less at a time.
    AskLess,
    /// What could not be evaluated can be again.
    Repair(Cause),
}

/// In the order in which they are worth trying.
pub type WaysThrough = Vec<Way>;

impl DenialRow {
    /// What would have let it through, and still does as far as it is not over by `now`. A limit is raised by all that
    /// is missing, so that raising each of them is enough.
    pub fn ways_through(&self, now: Millis) -> WaysThrough {
        let Some((gate, code)) = self.denied_by() else { return WaysThrough::new() };
        let mut ways = WaysThrough::new();
        match code {
            Code::Frozen => ways.push(Way::Unfreeze),
            Code::ScopeRequired => ways.push(Way::NameScopes),
            Code::AccountsExhausted => ways.extend(self.asked.pool.clone().map(Way::FreeAccount)),
            Code::SessionLimitReached => ways.push(Way::SessionEnds),
            Code::BalanceExhausted => ways.push(Way::TopUp),
            Code::Indeterminate => ways.extend(self.unevaluated().map(|(_, cause)| Way::Repair(cause))),
            Code::Allowed | Code::RateLimited | Code::BudgetExceeded | Code::QuotaExceeded => {}
        }
        if gate == Gate::Reserve {
            ways.push(Way::AskLess);
        } else {
            // A balance of the provider's is nothing that can be raised here.
            let own = self.limits.iter().filter(|limit| limit.texts.window != Window::Provider.to_string());
            ways.extend(own.map(|limit| Way::Raise { limit: limit.clone(), by: limit.missing() }));
        }
        if let Until::At(at) = self.until
            && at > now
        {
            ways.push(Way::Wait(at));
        }
        ways
    }
}

/// What is known of one decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// The row that counts it.
    pub row: DenialRow,
    /// The numbers are those of this very decision, and not of one like it.
    pub certain: bool,
}

/// What keeps calls of an org from being allowed, now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// What one of these calls would be answered now.
    pub now: DenialRow,
    /// Calls that it denied, as far as they are kept.
    pub count: u64,
    /// The first of them.
    pub since: Millis,
    /// The last of them.
    pub last_at: Millis,
    /// The planes that asked, each with how many calls; the busiest first.
    pub planes: Vec<(Plane, u64)>,
    /// The sets of scopes that were named, each once.
    pub scopes: Vec<Scopes>,
}

/// Why calls of an org are denied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Why {
    /// What the org is called; `None` = as its id.
    pub name: Option<OrgId>,
    /// Something is kept of the org.
    pub is_known: bool,
    /// Name of the plan in force; empty without one.
    pub plan: String,
    /// What denies now: of calls as they were asked lately, and of an execution in the scope that was asked for.
    pub blocks: Vec<Block>,
    /// What was denied lately and would be allowed now, the newest first.
    pub over: Vec<DenialRow>,
    /// What was let through lately without an evaluated gate, the newest first.
    pub let_through: Vec<DenialRow>,
    /// The counts of each day, the oldest first.
    pub days: Vec<DayView>,
    /// Service time of the answer.
    pub at: Millis,
}

/// What was denied of late, in brief.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lately {
    /// Calls that were denied, of the rows that are not over for an hour.
    pub denied: u64,
    /// What denied them, the newest first: gate, code, name of the limit and its scope, how many calls, when the last.
    pub by: Vec<LatelyBy>,
}

/// One line of [`Lately`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LatelyBy {
    /// The gate that denied.
    pub gate: Gate,
    /// With which code.
    pub code: Code,
    /// Name of the limit; empty where it was none.
    pub limit: String,
    /// The scope of the limit, or that of the call; empty is the org.
    pub scope: Scope,
    /// How many calls.
    pub count: u64,
    /// When the first and the last of them were.
    pub first_at: Millis,
    /// Service time.
    pub last_at: Millis,
}

/// Lines of [`Lately`]; a list has all.
const LATELY_BY: usize = 8;

pub(super) fn lately<'a>(newest: impl Iterator<Item = &'a DenialRow>, now: Millis) -> Lately {
    let mut lately = Lately::default();
    for row in newest.filter(|row| !row.shadow && now < row.last_at.saturating_add(DENIALS_LATELY_MS)) {
        let Some((gate, code)) = row.denied_by() else { continue };
        lately.denied = lately.denied.saturating_add(row.count);
        let limit = row.limit();
        let name = limit.map_or("", |limit| &limit.texts.name);
        let scope = limit.map_or_else(|| row.asked.scopes.first(), |limit| &limit.scope);
        let known = lately.by.iter_mut().find(|by| by.gate == gate && by.limit == name && by.scope == *scope);
        if let Some(by) = known {
            by.count = by.count.saturating_add(row.count);
            by.first_at = by.first_at.min(row.first_at);
            by.last_at = by.last_at.max(row.last_at);
        } else if lately.by.len() < LATELY_BY {
            let (limit, scope, count) = (name.to_owned(), scope.clone(), row.count);
            let (first_at, last_at) = (row.first_at, row.last_at);
            lately.by.push(LatelyBy { gate, code, limit, scope, count, first_at, last_at });
        }
    }
    lately
}
