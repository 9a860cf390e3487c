//! What the store keeps of an org, in domain terms. The store turns rows into bytes; nothing here
//! knows how.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    ids::{
        AccountId, Amounts, DecisionId, ExecutionId, Identity, Incarnation, Meter, OrgId, PoolId, Reason, Scope,
        SessionId, Source,
    },
    ledger::HourSlice,
    outbox::{OutboxKey, OutboxRow},
    outcome::Entry,
    rate::{Counter, RateRecord},
    window::{Millis, Window},
};

use crate::bounds::SESSION_LIVES;

/// One per org: the sequence, the backstop, the freeze, the timer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Head {
    /// Journal rows so far: every commit that remembers something adds one.
    pub seq: u64,
    /// Oldest journal row that is kept whatever it holds; from here to `seq` there is no gap.
    pub journal_from: u64,
    /// Service time of the last change.
    pub last_at: Millis,
    pub rate: Option<RateRecord>,
    pub frozen: Option<Reason>,
    /// Mirrored by a timer row, so that a sweep finds it without loading the org.
    pub wake_at: Option<Millis>,
    /// Acquires allowed and charged since the org was first seen.
    pub admitted_total: u64,
    /// Request ids given up early.
    pub evicted: u64,
    /// Executions that were admitted and never completed.
    pub uncompleted: u64,
}

/// What one commit of an org remembers: outcomes with their request ids. Entries remembered for a day
/// are kept in a row of their own, so that the short ones can go after ten minutes. A commit that
/// remembers nothing has no row and no number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalRow {
    pub seq: u64,
    pub at: Millis,
    pub entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReservationRow {
    pub id: DecisionId,
    pub scope: Scope,
    pub amounts: Amounts,
    pub expires_at: Millis,
}

/// The last total of a cumulative source, as reported: also above what is believed of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaselineRow {
    pub scope: Scope,
    pub source: Source,
    pub meter: Meter,
    pub incarnation: Incarnation,
    pub total: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutionRow {
    pub id: ExecutionId,
    pub continuations: u64,
    pub last_seen: Millis,
    /// An Acquire with pause admitted it.
    pub admitted: bool,
    /// What its completion reports to the billing provider; `None` once it has.
    pub open: Option<OpenExecution>,
}

/// An execution that was admitted and has not completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenExecution {
    pub scope: Scope,
    pub cost: Amounts,
    pub admitted_at: Millis,
}

/// An amount that was reported and not believed. Kept, never booked, never dropped in silence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisputedRow {
    /// Numbers the disputed entries of the org.
    pub seq: u64,
    pub scope: Scope,
    pub source: Source,
    pub meter: Meter,
    pub amount: u64,
    pub at: Millis,
}

/// Limits on `spend` of one scope that were set at run time, in micro-USD by the name of the period. As
/// stored: a name or an amount that means nothing is kept, so that it shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetRow {
    pub scope: Scope,
    /// Grows by one with every change.
    pub version: u64,
    pub limits: BTreeMap<Arc<str>, u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionState {
    Running,
    /// By its plane.
    Ended,
    /// Its heartbeats stopped.
    Expired,
}

/// One session. Times of its machine are in milliseconds of `compute`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    pub id: SessionId,
    pub scope: Scope,
    pub identity: Identity,
    /// Names the decision that let it begin, and what is left of its first slice: a reservation.
    pub decision: DecisionId,
    pub state: SessionState,
    pub started_at: Millis,
    /// When its last heartbeat arrived.
    pub last_heartbeat_at: Millis,
    /// When it expires; when it ended, once it has.
    pub ends_at: Millis,
    /// Lives of its machine with the highest total of each, the youngest last; at most
    /// [`crate::bounds::SESSION_LIVES`].
    pub incarnations: Vec<(Incarnation, u64)>,
    /// Booked so far.
    pub booked: u64,
    /// Booked ahead of reports: the next report is credited against it.
    pub booked_ahead: u64,
    /// Reported and not believed.
    pub disputed: u64,
    /// Since when heartbeats are answered with stop; `None` while it may go on.
    pub stopping_since: Option<Millis>,
}

impl SessionRow {
    /// Takes a total of one life, in milliseconds, and answers by how much it grew.
    pub fn grow(&mut self, incarnation: &Incarnation, total: u64) -> u64 {
        let known = self.incarnations.iter_mut().find(|(life, _)| life == incarnation);
        let Some((_, highest)) = known else {
            if self.incarnations.len() >= SESSION_LIVES {
                self.incarnations.remove(0);
            }
            self.incarnations.push((incarnation.clone(), total));
            return total;
        };
        let grown = total.saturating_sub(*highest);
        *highest += grown;
        grown
    }

    /// From its last heartbeat to its expiry.
    pub fn silence(&self) -> Millis {
        self.ends_at.saturating_sub(self.last_heartbeat_at)
    }
}

/// A pool of upstream accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolRow {
    pub id: PoolId,
    /// Grows by one with every change of its accounts.
    pub version: u64,
    /// Every account is exhausted, and that was announced.
    pub announced: bool,
}

/// An upstream account of a pool: how it is configured, and what is known of it beside its ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamAccountRow {
    pub id: AccountId,
    pub pool: PoolId,
    /// `None` = as the node is configured.
    pub daily_limit: Option<u64>,
    pub safety_buffer: Option<u64>,
    pub window: Option<Window>,
    pub last_used_at: Option<Millis>,
    pub reported: Reported,
    pub evidence: Option<Evidence>,
    /// Its route was refused, and has failed: each lasts by itself.
    pub quarantine: Option<Avoided>,
    pub cooldown: Option<Avoided>,
    /// It is exhausted, and that was announced.
    pub announced: bool,
}

/// What was reported of an account in one window of it. Nothing is decided by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reported {
    /// End of the window.
    pub until: Millis,
    pub failed: u64,
    pub quota_errors: u64,
    pub bytes_up: u64,
    pub bytes_down: u64,
}

impl Reported {
    pub fn bytes(&self) -> u64 {
        self.bytes_up.saturating_add(self.bytes_down)
    }
}

/// An upstream said that the quota of an account is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evidence {
    pub at: Millis,
    /// The end of the window in which it was said.
    pub until: Millis,
    /// The limit at that time: a higher one says that there is more.
    pub limit: u64,
}

/// A route is avoided for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Avoided {
    pub since: Millis,
    pub until: Millis,
}

/// When the org is to be woken: a sweep finds it without loading any org. Names the instant that the head
/// has as `wake_at`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimerRow {
    pub wake_at: Millis,
}

/// One hour of a ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SliceRow {
    pub scope: Scope,
    pub meter: Meter,
    pub slice: HourSlice,
}

/// The counter of an aligned or anchored window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CounterRow {
    pub scope: Scope,
    pub meter: Meter,
    pub window: Window,
    pub counter: Counter,
}

/// The org's trial has used up what it includes, and that was announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrialEndedRow {
    pub at: Millis,
}

/// The kinds of rows, one line each: the row, what its key is made of, and where [`RowsByKind`] has it.
/// A part of the key that is not a field of the row itself says where in the row it is.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident($row:ty) $({
        $($part:ident: $type:ty $(= $($path:ident).+)?),+
    })? in $place:ident;)+) => {
        /// One stored row.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Row {
            $($(#[$doc])* $kind($row),)+
        }

        /// Names one row of an org.
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
        pub enum RowKey {
            $($kind $({ $($part: $type),+ })?,)+
        }

        /// What a row is about.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum RowKind {
            $($kind,)+
        }

        /// Everything stored of an org, sorted by kind.
        #[derive(Debug, Default)]
        pub struct RowsByKind {
            $(pub $place: Vec<$row>,)+
        }

        impl Row {
            pub fn key(&self) -> RowKey {
                match self {
                    $(Self::$kind(_row) => RowKey::$kind $({
                        $($part: kinds!(@part _row, $part $(, $($path).+)?)),+
                    })?,)+
                }
            }

            pub fn kind(&self) -> RowKind {
                match self { $(Self::$kind(_) => RowKind::$kind,)+ }
            }
        }

        impl RowKey {
            pub fn kind(&self) -> RowKind {
                match self { $(Self::$kind { .. } => RowKind::$kind,)+ }
            }
        }

        impl RowKind {
            pub const ALL: &[Self] = &[$(Self::$kind),+];
        }

        impl From<OrgRows> for RowsByKind {
            fn from(rows: OrgRows) -> Self {
                let mut sorted = Self::default();
                for row in rows.rows {
                    match row { $(Row::$kind(row) => sorted.$place.push(row),)+ }
                }
                sorted
            }
        }
    };
    (@part $row:ident, $part:ident) => { Clone::clone(&$row.$part) };
    (@part $row:ident, $part:ident, $($path:ident).+) => { Clone::clone(&$row.$($path).+) };
}

kinds! {
    Head(Head) in heads;
    Timer(TimerRow) { wake_at: Millis } in timers;
    Slice(SliceRow) { scope: Scope, meter: Meter, start: Millis = slice.start } in slices;
    Counter(CounterRow) { scope: Scope, meter: Meter, window: Window } in counters;
    /// Short-lived entries; every number has one.
    Journal(JournalRow) { seq: u64 } in journal;
    /// Entries remembered for a day.
    LongJournal(JournalRow) { seq: u64 } in long_journal;
    Reservation(ReservationRow) { id: DecisionId } in reservations;
    Baseline(BaselineRow) { scope: Scope, source: Source, meter: Meter } in baselines;
    Execution(ExecutionRow) { id: ExecutionId } in executions;
    Disputed(DisputedRow) { seq: u64 } in disputed;
    Outbox(OutboxRow) { key: OutboxKey } in outbox;
    Budget(BudgetRow) { scope: Scope } in budgets;
    Session(SessionRow) { id: SessionId } in sessions;
    TrialEnded(TrialEndedRow) in trial_ended;
    Pool(PoolRow) { id: PoolId } in pools;
    UpstreamAccount(UpstreamAccountRow) { id: AccountId } in upstream_accounts;
}

/// Owns rows of an org: takes them from [`RowsByKind`] when the org is loaded, and says from then on what
/// of them is to be stored.
pub(super) trait Keeper {
    /// Rows changed since the last call, as puts and deletions.
    fn take_changes(&mut self, puts: &mut Vec<Row>, dels: &mut Vec<RowKey>);

    /// Nothing is left that a later call could need: an org of which that is true is forgotten.
    fn is_spent(&self) -> bool;

    /// When the org is to be woken for one of the rows.
    fn next_wake(&self) -> Option<Millis> {
        None
    }
}

/// One commit of one org: all of it becomes durable, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrgWrite {
    pub org: OrgId,
    /// Removes every row of the org first.
    pub wipe: bool,
    pub puts: Vec<Row>,
    pub dels: Vec<RowKey>,
}

impl OrgWrite {
    /// A commit of nothing: it is done when everything handed over before it is durable.
    pub fn empty(org: &OrgId) -> Self {
        Self { org: org.clone(), wipe: false, puts: Vec::new(), dels: Vec::new() }
    }
}

/// Everything stored of an org, in any order. No head = the org is not known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrgRows {
    pub rows: Vec<Row>,
}
