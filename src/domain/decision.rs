//! The pipeline's answer to one Acquire.

use std::sync::Arc;

use smallvec::SmallVec;

use super::{
    gate::{Code, Denial, FailOpen, Gate, Reports, Verdict},
    ids::{AccountId, DecisionId, Scope},
    limit::{Label, Limit},
    promise::Promise,
    scopes::Scopes,
    spending::Spending,
    window::Millis,
};

/// One limit as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitView {
    /// Name, meter and window.
    pub label: Arc<Label>,
    /// Whose limit it is; empty is the org itself.
    pub scope: Scope,
    /// In the unit of the meter; `None` = unlimited.
    pub amount: Option<u64>,
    /// How much of the amount is held back.
    pub buffer: u64,
    /// Used in the window, with what was carried into it.
    pub used: u64,
    /// Of that, what the windows before had over the limit.
    pub carried: u64,
    /// Held by reservations; it counts like what is used.
    pub reserved: u64,
    /// When what was asked fits if nothing else happens, or the end of the window; `None` = never.
    pub resets_at: Option<Millis>,
    /// The limit that denied.
    pub limiting: bool,
    /// It is evaluated and never denies.
    pub shadow: bool,
    /// Backstop only.
    pub blocked: u64,
    /// Balance only: the last answer of a provider that cannot be asked now.
    pub stale: bool,
    /// When nothing is left if the org goes on as it did lately; `None` = not in the running window, nothing is left
    /// now, or the answer is none that forecasts.
    pub runs_out_at: Option<Millis>,
    /// How grants stand that last until they are spent, where there are any; the amount is with them.
    pub spending: Spending,
}

impl LimitView {
    /// A limit with what counts against it.
    pub fn of(limit: &Limit, scope: &Scope, used: u64, reserved: u64) -> Self {
        Self {
            label: limit.label.clone(),
            scope: scope.clone(),
            amount: limit.amount,
            buffer: limit.buffer,
            used,
            carried: 0,
            reserved,
            resets_at: None,
            limiting: false,
            shadow: limit.shadow,
            blocked: 0,
            stale: false,
            runs_out_at: None,
            spending: Spending::default(),
        }
    }

    /// The same, with grants that last until they are spent.
    #[must_use]
    pub fn with(self, spending: Spending) -> Self {
        Self { amount: spending.over_amount(self.amount), spending, ..self }
    }

    /// As the API shows it: `rate`, `budget/hourly`, `quota/executions`.
    pub fn name(&self) -> &str {
        self.label.name()
    }

    /// amount - buffer - used - reserved; may be negative. A buffer at or above the amount makes
    /// nothing usable. `None` = unlimited.
    pub fn remaining(&self) -> Option<i64> {
        let usable = i128::from(self.amount?.saturating_sub(self.buffer));
        let left = usable - i128::from(self.used) - i128::from(self.reserved);
        Some(i64::try_from(left).unwrap_or(if left < 0 { i64::MIN } else { i64::MAX }))
    }

    /// How much of it is taken by usage and holds, in whole percent; of a limit with nothing to use, all. `None` =
    /// unlimited.
    pub fn percent_taken(&self) -> Option<u64> {
        let usable = self.amount?.saturating_sub(self.buffer);
        let taken = u128::from(self.used) + u128::from(self.reserved);
        Some((taken * 100).checked_div(usable.into()).map_or(100, |percent| u64::try_from(percent).unwrap_or(u64::MAX)))
    }

    /// Whether nothing is left; an unlimited one never is.
    pub fn exhausted(&self) -> bool {
        self.remaining().is_some_and(|left| left <= 0)
    }
}

/// The limits of one answer; the backstop alone needs no memory of its own.
pub type LimitViews = SmallVec<[LimitView; 1]>;

/// A granted reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    /// The reservation's own, which is that of its decision.
    pub id: DecisionId,
    /// When it ends by itself.
    pub expires_at: Millis,
}

/// A session that may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionGrant {
    /// Compute that is reserved for it, in milliseconds.
    pub slice: u64,
    /// Time between two heartbeats.
    pub heartbeat: Millis,
    /// When it expires without a heartbeat.
    pub expires_at: Millis,
}

/// An upstream account that was picked and charged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PickedAccount {
    /// A secret, in full: the caller needs it.
    pub id: AccountId,
    /// When it was picked; a report of the call names it.
    pub picked_at: Millis,
    /// Calls that are left after this one.
    pub remaining: u64,
    /// Every other account is exhausted or avoided as well.
    pub last_resort: bool,
}

/// The answer to one Acquire. What it says follows from what the gates said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// `None` for a peek.
    pub id: Option<DecisionId>,
    /// Whether the caller may run: in shadow mode also where a gate denies.
    pub allowed: bool,
    /// What each gate said. A replay knows only which gates were let through unevaluated.
    pub reports: Reports,
    /// In pipeline order, the backstop first.
    pub limits: LimitViews,
    /// What was reserved; `None` = nothing.
    pub hold: Option<Hold>,
    /// Of a session that may begin.
    pub session: Option<SessionGrant>,
    /// `None` = no account was picked.
    pub account: Option<PickedAccount>,
    /// Scopes of which something that the call asks for is counted in a ledger that scopes share.
    pub folded: Scopes,
    /// The answer to an earlier call of the same request id.
    pub replayed: bool,
    /// Service time of the decision, at which it was charged; 0 = it was made without the org.
    pub decided_at: Millis,
    /// The wall clock of the answer: service time comes to an instant when this is there.
    pub at: Millis,
    /// What is left then of the hold, or of the lease of the session, also in a replay; 0 = it has ended, or there
    /// is none.
    pub remaining: Millis,
}

impl Decision {
    /// What the gates said, of which the first denial decides; in shadow mode it is not enforced.
    pub fn judged(id: Option<DecisionId>, reports: Reports, shadow: bool) -> Self {
        Self {
            id,
            allowed: shadow || reports.denial().is_none(),
            reports,
            limits: LimitViews::new(),
            hold: None,
            session: None,
            account: None,
            folded: Scopes::org(),
            replayed: false,
            decided_at: 0,
            at: 0,
            remaining: 0,
        }
    }

    /// Allowed by gates that had nothing to say.
    pub fn allowed(id: Option<DecisionId>) -> Self {
        Self::judged(id, Reports::default(), false)
    }

    /// The verdict of the gates; in shadow mode this may be a denial that was not enforced.
    pub fn code(&self) -> Code {
        self.reports.denial().map_or(Code::Allowed, |(_, denial)| denial.code)
    }

    /// The gate that denied.
    pub fn gate(&self) -> Option<Gate> {
        self.reports.denial().map(|(gate, _)| gate)
    }

    /// For people; empty where allowed without remark.
    pub fn message(&self) -> &str {
        self.reports.denial().map_or("", |(_, denial)| &denial.message)
    }

    /// 0 = allowed, or never.
    pub fn retry_after(&self) -> Millis {
        self.reports.denial().map_or(0, |(_, denial)| denial.retry_after())
    }

    /// Gates that were let through unevaluated, in pipeline order.
    pub fn fail_open(&self) -> Vec<FailOpen> {
        self.reports.fail_open()
    }

    /// The same, denied after all by `gate`.
    #[must_use]
    pub fn denied_by(mut self, gate: Gate, denial: Denial, shadow: bool) -> Self {
        self.reports.set(gate, Verdict::Denied(Box::new(denial)));
        Self { limits: self.limits, at: self.at, ..Self::judged(self.id.map(DecisionId::denied), self.reports, shadow) }
    }

    /// The same, of a call that was let through with them: what operators read of and count. A denied org may
    /// ask a thousand times a second.
    pub fn let_through(&self) -> Vec<FailOpen> {
        if self.allowed { self.fail_open() } else { Vec::new() }
    }

    /// What the caller is promised with it.
    pub fn promise(&self) -> Promise {
        if self.hold.is_some() || self.session.is_some() || self.account.is_some() {
            Promise::Durable
        } else if self.id.is_some() && self.code() == Code::Allowed {
            Promise::WrittenBehind
        } else {
            Promise::Nothing
        }
    }
}
