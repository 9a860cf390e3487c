//! What can happen to an org, each with its numbers.

use std::sync::Arc;

use super::{Change, EventKind, listed};
use crate::domain::{
    alerts::Level,
    gate::{Cause, Gate},
    ids::{Meter, PoolId, Reason, Scope, SessionId},
    window::{Millis, iso},
    words,
};

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// An operator changed something.
    Operated {
        /// The name of the principal; the address where callers need none.
        caller: Arc<str>,
        /// The name of the rpc.
        command: Arc<str>,
        /// What is another one now; at most [`EVENT_CHANGES`](crate::bounds::EVENT_CHANGES).
        changes: Vec<Change>,
        /// As the operator gave it; may be empty.
        reason: Reason,
    },
    /// A limit is nearly used up, used up, exceeded, or usable again.
    Limit(Box<LimitEvent>),
    /// A limit, or a gate without one, has begun to deny, or has not denied for ten minutes.
    Denials(Box<DenialsEvent>),
    /// Calls are let through because a gate cannot be evaluated; the first of them, then none for ten minutes.
    FailedOpen {
        /// That gate.
        gate: Gate,
        /// Why.
        cause: Cause,
    },
    /// Something has become of a session.
    Session {
        /// The plane's name for it.
        id: SessionId,
        /// What.
        change: SessionChange,
        /// Compute that was recorded of it, in milliseconds.
        used: u64,
    },
    /// An upstream account, or a whole pool, is used up, or usable again.
    Upstream {
        /// The pool.
        pool: PoolId,
        /// Masked; `None` = the whole pool.
        account: Option<Arc<str>>,
        /// It is usable again.
        is_usable: bool,
        /// When it will be; `None` = it is, or nobody knows.
        until: Option<Millis>,
    },
    /// The trial has used up what it includes.
    TrialEnded,
    /// Numbers of the org that are not what its ledger says.
    Drifted {
        /// How many.
        numbers: u64,
    },
    /// What an operator had set has ended by itself.
    OverrideEnded(Box<OverrideEnded>),
    /// Calls were admitted whose usage is not in the state of the org: limits may be exceeded by as
    /// much.
    OverAdmitted {
        /// How many; at most where it is not known whether the store has some of them.
        calls: u64,
        /// Of the first that is known, otherwise when it was found.
        since: Millis,
    },
    /// There was no room for so many events.
    LeftOut {
        /// How many.
        count: u64,
        /// From when on.
        since: Millis,
    },
}

/// How a limit stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitEvent {
    /// What was reached; [`Level::Below`] = it is usable again.
    pub level: Level,
    /// Whose limit it is; empty is the org.
    pub scope: Scope,
    /// Its name: `budget/daily`.
    pub limit: Arc<str>,
    /// What it counts.
    pub meter: Meter,
    /// What is used, in the unit of the meter; what reservations hold does not count.
    pub used: u64,
    /// What may be.
    pub amount: u64,
    /// The end of its window; `None` = a rolling one.
    pub ends_at: Option<Millis>,
}

/// A spell of denials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DenialsEvent {
    /// The gate that denies.
    pub gate: Gate,
    /// Of the limit; empty is the org.
    pub scope: Scope,
    /// Name of the limit; empty where the gate has none.
    pub limit: Arc<str>,
    /// It is over.
    pub is_over: bool,
    /// So far; after a crash up to ten seconds of them may be missing.
    pub count: u64,
    /// The first of them.
    pub since: Millis,
    /// The last of them.
    pub last: Millis,
}

/// An override, a plan, an exemption or a freeze whose time is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverrideEnded {
    /// Whose limit it was of; empty is the org.
    pub scope: Scope,
    /// What was set: the name of a limit, `plan`, `exemption` or `freeze`.
    pub subject: Arc<str>,
    /// To what, as people read it: `$50.00 until 2027-01-31T00:00:00Z`.
    pub setting: Arc<str>,
    /// When it was set.
    pub set_at: Millis,
    /// When it ended.
    pub until: Millis,
    /// Why it was set; may be empty.
    pub reason: Reason,
}

/// What becomes of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SessionChange {
    /// It has begun.
    Started,
    /// A heartbeat was answered with a warning at 80 percent.
    Warned80,
    /// The same at 95 percent.
    Warned95,
    /// A heartbeat was answered with a stop.
    Stopped,
    /// Its plane has ended it.
    Ended,
    /// Its heartbeats have stopped.
    Expired,
}

impl Happening {
    /// By which readers choose it.
    pub const fn kind(&self) -> EventKind {
        match self {
            Self::Operated { .. } => EventKind::Operator,
            Self::Limit(event) => match event.level {
                Level::Below => EventKind::Recovered,
                Level::Near80 | Level::Near95 => EventKind::NearLimit,
                Level::Exhausted => EventKind::Exhausted,
                Level::Over => EventKind::OverLimit,
            },
            Self::Denials(event) if event.is_over => EventKind::DenialsEnded,
            Self::Denials(_) => EventKind::DenialsBegan,
            Self::FailedOpen { .. } => EventKind::FailOpen,
            Self::Session { change, .. } => match change {
                SessionChange::Started => EventKind::SessionStarted,
                SessionChange::Warned80 | SessionChange::Warned95 => EventKind::SessionWarned,
                SessionChange::Stopped => EventKind::SessionStopped,
                SessionChange::Ended => EventKind::SessionClosed,
                SessionChange::Expired => EventKind::SessionExpired,
            },
            Self::Upstream { account: Some(_), is_usable, .. } => {
                if *is_usable {
                    EventKind::AccountUsable
                } else {
                    EventKind::AccountExhausted
                }
            }
            Self::Upstream { account: None, is_usable, .. } => {
                if *is_usable {
                    EventKind::PoolUsable
                } else {
                    EventKind::PoolExhausted
                }
            }
            Self::TrialEnded => EventKind::TrialEnded,
            Self::Drifted { .. } => EventKind::Drift,
            Self::OverrideEnded(_) => EventKind::OverrideEnded,
            Self::OverAdmitted { .. } => EventKind::OverAdmitted,
            Self::LeftOut { .. } => EventKind::LeftOut,
        }
    }

    /// One sentence for people.
    pub fn sentence(&self) -> String {
        match self {
            Self::Operated { caller, command, changes, reason } => {
                let because = reason.given().map(|reason| format!(" ({reason})")).unwrap_or_default();
                format!("{caller} called {command}: {}{because}", listed(changes))
            }
            Self::Limit(event) => event.sentence(),
            Self::Denials(event) => event.sentence(),
            Self::FailedOpen { gate, cause } => {
                format!("calls are let through although gate {} cannot be evaluated: {}", gate.name(), cause.name())
            }
            Self::Session { id, change, used } => {
                format!("session {id} {}, {} recorded", change.words(), words::duration(*used))
            }
            Self::Upstream { pool, account, is_usable, until } => {
                let what =
                    account.as_ref().map_or_else(|| "all accounts".to_owned(), |account| format!("account {account}"));
                let how = if *is_usable { "usable again" } else { "exhausted" };
                let until = until.map(|until| format!(" until {}", iso(until))).unwrap_or_default();
                format!("pool {pool}: {what} {how}{until}")
            }
            Self::TrialEnded => "the trial has used up what it includes".to_owned(),
            Self::Drifted { numbers } => format!("{numbers} numbers are not what the ledger says"),
            Self::OverrideEnded(ended) => {
                let OverrideEnded { scope, subject, setting, set_at, reason, .. } = &**ended;
                let because = reason.given().map(|reason| format!(" ({reason})")).unwrap_or_default();
                format!("{subject}{}, set on {} to {setting}, has ended{because}", of_scope(scope), iso(*set_at))
            }
            Self::OverAdmitted { calls, since } => {
                format!("up to {calls} calls since {} were admitted and are not counted", iso(*since))
            }
            Self::LeftOut { count, since } => {
                format!("{count} events since {} are left out: there were too many", iso(*since))
            }
        }
    }
}

fn of_scope(scope: &Scope) -> String {
    if scope.is_org() { String::new() } else { format!(" of {}", scope.shown()) }
}

impl LimitEvent {
    fn sentence(&self) -> String {
        let Self { level, scope, limit, meter, used, amount, ends_at } = self;
        let how = match level {
            Level::Below => "is usable again".to_owned(),
            Level::Near80 | Level::Near95 => format!("is used to {} %", level.percent()),
            Level::Exhausted => "is used up".to_owned(),
            Level::Over => "is exceeded".to_owned(),
        };
        let of = match *amount {
            u64::MAX => "no limit".to_owned(),
            amount => words::amount(meter, amount),
        };
        let numbers = format!("{} of {of}", words::amount(meter, *used));
        let until = ends_at.map(|at| format!(", until {}", iso(at))).unwrap_or_default();
        format!("{limit}{} {how}: {numbers}{until}", of_scope(scope))
    }
}

impl DenialsEvent {
    fn sentence(&self) -> String {
        let Self { gate, scope, limit, is_over, count, since, last } = self;
        let by = if limit.is_empty() {
            format!("gate {}", gate.name())
        } else if *gate == Gate::Accounts {
            format!("pool {limit}")
        } else {
            format!("{limit}{}", of_scope(scope))
        };
        if *is_over {
            let calls = words::counted(*count, "call");
            format!("{by} has denied {calls}, from {} to {}, and none since", iso(*since), iso(*last))
        } else {
            format!("{by} denies calls")
        }
    }
}

impl SessionChange {
    /// How much of the tightest limit was used at least; 0 = nothing is said of it.
    pub fn percent(self) -> u64 {
        match self {
            Self::Warned80 => 80,
            Self::Warned95 => 95,
            Self::Stopped => 100,
            Self::Started | Self::Ended | Self::Expired => 0,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Started => "has started",
            Self::Warned80 => "was warned: 80 % of its limit is used",
            Self::Warned95 => "was warned: 95 % of its limit is used",
            Self::Stopped => "has to stop",
            Self::Ended => "has ended",
            Self::Expired => "has expired without heartbeats",
        }
    }
}
