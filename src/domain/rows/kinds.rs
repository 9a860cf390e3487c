//! The one table of stored kinds, and what follows from it: rows by their kinds, the keys that name them,
//! and what a commit of an org writes.

use super::{
    BaselineRow, BudgetRow, CounterRow, DisputedRow, EventsDeliveredRow, ExecutionRow, Head, IdPageRow, JournalRow,
    LeadsToRow, NamesRow, OverrideRow, OverrideSubject, PlaneDayRow, PlaneOfRow, PoolRow, RequestIdRow, ReservationRow,
    SessionRow, SettledRow, SliceRow, TimerRow, TrialEndedRow, UpstreamAccountRow, UsageDayRow, UsageKeptRow,
    UsageMonthRow,
};
use crate::domain::{
    alerts::{AlertRow, Subject},
    denials::{DayRow, DenialRow},
    events::EventRow,
    ids::{AccountId, DecisionId, ExecutionId, Meter, OrgId, Plane, PoolId, RequestId, Scope, SessionId, Source},
    lease::Now,
    outbox::{OutboxKey, OutboxRow},
    request::Rpc,
    scopes::Scopes,
    window::{Millis, Window},
};

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
        #[allow(missing_docs, reason = "each part of a key is the field of its row with the same name")]
        pub enum RowKey {
            $($(#[$doc])* $kind $({ $($part: $type),+ })?,)+
        }

        /// What a row is about.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum RowKind {
            $($(#[$doc])* $kind,)+
        }

        /// Everything stored of an org, sorted by kind.
        #[derive(Debug, Default)]
        pub struct RowsByKind {
            $($(#[$doc])* pub $place: Vec<$row>,)+
        }

        impl Row {
            /// The name of this row among those of its org.
            pub fn key(&self) -> RowKey {
                match self {
                    $(Self::$kind(_row) => RowKey::$kind $({
                        $($part: kinds!(@part _row, $part $(, $($path).+)?)),+
                    })?,)+
                }
            }

            /// What this row is about.
            pub fn kind(&self) -> RowKind {
                match self { $(Self::$kind(_) => RowKind::$kind,)+ }
            }
        }

        impl RowKey {
            /// What the named row is about.
            pub fn kind(&self) -> RowKind {
                match self { $(Self::$kind { .. } => RowKind::$kind,)+ }
            }
        }

        impl RowKind {
            /// Every kind, in the order of the table.
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
    /// Sequence, backstop, freeze and timer of the org: one row, in every commit.
    Head(Head) in heads;
    /// When the org is to be woken; at most one row.
    Timer(TimerRow) { wake_at: Millis } in timers;
    /// Usage of one hour of a ledger.
    Slice(SliceRow) { scope: Scope, meter: Meter, start: Millis = slice.start } in slices;
    /// Usage in the running window of a limit, where that is no sum of slices.
    Counter(CounterRow) { scope: Scope, meter: Meter, window: Window } in counters;
    /// Short-lived entries, and for a while those of durable calls; every number has one.
    Journal(JournalRow) { seq: u64 } in journal;
    /// Entries remembered for a day, as an older tollgate kept them.
    LongJournal(JournalRow) { seq: u64 } in long_journal;
    /// An open reservation.
    Reservation(ReservationRow) { id: DecisionId } in reservations;
    /// The last total of a cumulative source.
    Baseline(BaselineRow) { scopes: Scopes, source: Source, meter: Meter } in baselines;
    /// Continuations of an execution, and what its completion reports.
    Execution(ExecutionRow) { id: ExecutionId } in executions;
    /// An amount that was reported and not recorded as usage.
    Disputed(DisputedRow) { seq: u64 } in disputed;
    /// Usage that the billing provider does not have yet.
    Outbox(OutboxRow) { key: OutboxKey } in outbox;
    /// Limits of a scope that were set at run time.
    Budget(BudgetRow) { scope: Scope } in budgets;
    /// A session, running or ended within a day.
    Session(SessionRow) { id: SessionId } in sessions;
    /// The org's trial has ended, and that was announced, as an older tollgate kept it; at most one row.
    TrialEnded(TrialEndedRow) in trial_ended;
    /// A pool of upstream accounts.
    Pool(PoolRow) { id: PoolId } in pools;
    /// An account of a pool.
    UpstreamAccount(UpstreamAccountRow) { id: AccountId } in upstream_accounts;
    /// What happened to the org.
    Event(EventRow) { number: u64 } in events;
    /// What was announced of a limit, a spell of denials, a session, an upstream account or a trial.
    Alert(AlertRow) { scope: Scope, subject: Subject } in alerts;
    /// What a durable call was answered.
    RequestId(RequestIdRow) { rpc: Rpc, id: RequestId, at: Millis } in request_ids;
    /// How a reservation ended.
    Settled(SettledRow) { id: DecisionId, at: Millis } in settled;
    /// Names of rows of the two kinds above, in the order of time.
    IdPage(IdPageRow) { number: u64 } in id_pages;
    /// Calls that were denied, or let through without an evaluated gate, and are alike.
    Denial(DenialRow) { number: u64 } in denials;
    /// What was allowed and denied in one day.
    Day(DayRow) { start: Millis } in days;
    /// Usage of a day whose slices are gone.
    UsageDay(UsageDayRow) { month: Millis, scope: Scope, meter: Meter, start: Millis, plane: Plane } in usage_days;
    /// Usage of a month whose days are gone.
    UsageMonth(UsageMonthRow) { start: Millis, scope: Scope, meter: Meter, plane: Plane } in usage_months;
    /// What was used through which plane on a day of which slices are kept.
    PlaneDay(PlaneDayRow) { start: Millis } in plane_days;
    /// Through which plane something was asked for that is not settled.
    PlaneOf(PlaneOfRow) { id: DecisionId } in planes_of;
    /// What there is of the days and months above; at most one row.
    UsageKept(UsageKeptRow) in usage_kept;
    /// What an operator has set over everything else.
    Override(OverrideRow) { scope: Scope, subject: OverrideSubject } in overrides;
    /// The org that this id is another name of; at most one row, and no others beside it.
    LeadsTo(LeadsToRow) in leads_to;
    /// What the org is called where it was renamed; at most one row.
    Names(NamesRow) in names;
    /// How far a webhook has the log of events; at most one row.
    EventsDelivered(EventsDeliveredRow) in events_delivered;
}

/// Owns rows of an org: takes them from [`RowsByKind`] when the org is loaded, and says from then on what
/// of them is to be stored.
pub(in crate::domain) trait Keeper {
    /// Rows changed since the last call, as puts and deletions.
    fn take_changes(&mut self, puts: &mut Vec<Row>, dels: &mut Vec<RowKey>);

    /// Nothing is left that a later call could need: an org of which that is true is forgotten.
    fn is_spent(&self) -> bool;

    /// When the org is to be woken for one of the rows, by service time.
    fn next_wake(&self, _now: &Now) -> Option<Millis> {
        None
    }
}

/// One commit of one org: all of it becomes durable, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrgWrite {
    /// Whose rows these are.
    pub org: OrgId,
    /// Removes every row of the org first.
    pub wipe: bool,
    /// Rows to write, each whole.
    pub puts: Vec<Row>,
    /// Rows to remove.
    pub dels: Vec<RowKey>,
    /// An operator wants nothing of what it removes to stay in the files.
    pub purged: bool,
    /// A reply waits for it. Where none does, an engine may wait a moment for others and write them together.
    pub awaited: bool,
}

impl OrgWrite {
    /// A commit of nothing: it is done when everything handed over before it is durable.
    pub fn empty(org: &OrgId) -> Self {
        Self { org: org.clone(), wipe: false, puts: Vec::new(), dels: Vec::new(), purged: false, awaited: true }
    }
}

/// Everything stored of an org, in any order. No head = the org is not known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrgRows {
    /// Each key at most once.
    pub rows: Vec<Row>,
}
