//! One row of every kind, for the tests of this module.

use std::sync::Arc;

use super::{
    keys::{Key, Memory},
    records::{Meta, Record},
};
use crate::{
    bounds::{DAY_MS, HOUR_MS},
    domain::{
        decision::{Hold, SessionGrant},
        gate::{Cause, FailOpen, Gate},
        ids::{
            AccountId, DecisionId, ExecutionId, Identity, Incarnation, Meter, OrgId, PoolId, Reason, RequestId, Scope,
            SessionId, Source,
        },
        ledger::HourSlice,
        outbox::{DeadCause, OutboxKey, OutboxRow},
        outcome::{Entry, Outcome, Settlement},
        rate::{Counter, RateRecord},
        request::{Idempotency, Rpc},
        rows::{
            Avoided, BaselineRow, BudgetRow, DisputedRow, Evidence, ExecutionRow, Head, JournalRow, OpenExecution,
            PoolRow, Reported, ReservationRow, Row, SessionRow, SessionState, UpstreamAccountRow,
        },
        service_time::ClockMark,
        upstream::Upstream,
        window::{Calendar, Millis, Window},
    },
};

pub(super) const T0: Millis = 495_000 * HOUR_MS;

pub(super) fn org(text: &str) -> OrgId {
    OrgId::parse("org", text).unwrap()
}

fn scope() -> Scope {
    Scope::parse("scope", "workspace/ws_42").unwrap()
}

pub(super) fn entry(id: &str, at: Millis, long: bool, outcome: Outcome) -> Entry {
    let id = RequestId::parse("request_id", id).unwrap();
    Entry { at, rpc: Rpc::Acquire, idempotency: Some(Idempotency { id, fingerprint: 0xfeed_f00d }), long, outcome }
}

/// One entry of every outcome and every rpc.
pub(super) fn entries() -> Vec<Entry> {
    let hold = Hold { id: DecisionId(7 << 64), expires_at: T0 + 300_000 };
    let opened = |gate| FailOpen { gate, cause: Cause::ProviderError };
    let admitted = Outcome::Admitted {
        decision: DecisionId(u128::MAX),
        hold: Some(hold),
        // As many as there were when the bytes were written down; the others follow in rows of their own.
        fail_open: [Gate::Freeze, Gate::Rate, Gate::Budgets, Gate::Balance, Gate::Reserve].map(opened).to_vec(),
    };
    let timeout = FailOpen { gate: Gate::Rate, cause: Cause::Timeout };
    let fault = FailOpen { gate: Gate::Rate, cause: Cause::StoreFault };
    let outcomes = [
        (Rpc::Acquire, admitted),
        (Rpc::Acquire, Outcome::Admitted { decision: DecisionId(1), hold: None, fail_open: vec![timeout, fault] }),
        (Rpc::Commit, Outcome::Settled { reservation: DecisionId(2), how: Settlement::Committed }),
        (Rpc::Release, Outcome::Settled { reservation: DecisionId(3), how: Settlement::Released }),
        (Rpc::Release, Outcome::Settled { reservation: DecisionId(4), how: Settlement::Expired }),
        (Rpc::Extend, Outcome::Extended { expires_at: T0 + 1 }),
        (Rpc::Resume, Outcome::Resumed { continuations: 3 }),
        (Rpc::Record, Outcome::Recorded),
        (Rpc::ReportCumulative, Outcome::Reported { increment: 60, reset: true, disputed: 5 }),
        (Rpc::Freeze, Outcome::Frozen { was_frozen: false }),
        (Rpc::Unfreeze, Outcome::Frozen { was_frozen: true }),
    ];
    let mut entries: Vec<Entry> = outcomes
        .into_iter()
        .enumerate()
        .map(|(index, (rpc, outcome))| Entry { rpc, ..entry(&format!("r \"{index}\""), T0, index % 2 == 0, outcome) })
        .collect();
    entries.push(Entry { idempotency: None, ..entries[4].clone() });
    entries
}

/// What sessions and budgets are remembered by.
fn session_entries() -> Vec<Entry> {
    let grant = SessionGrant { slice: 180_000, heartbeat: 30_000, expires_at: T0 + 120_000 };
    let malformed = FailOpen { gate: Gate::Budgets, cause: Cause::MalformedLimit };
    let others = [Gate::Concurrency, Gate::SessionQuota].map(|gate| FailOpen { gate, cause: Cause::Timeout });
    let fail_open = [malformed].into_iter().chain(others).collect();
    let outcomes = [
        (Rpc::StartSession, Outcome::Started { decision: DecisionId(9), grant, fail_open }),
        (Rpc::Heartbeat, Outcome::Beat { booked: 30_000, disputed: 1 }),
        (Rpc::EndSession, Outcome::SessionEnded { decision: DecisionId(9) }),
        (Rpc::UpdateBudget, Outcome::BudgetSet),
        (Rpc::ReplaceBudget, Outcome::BudgetSet),
    ];
    let remembered = |(rpc, outcome)| Entry { rpc, ..entry("r", T0, true, outcome) };
    outcomes.into_iter().map(remembered).collect()
}

fn account(text: &str) -> AccountId {
    AccountId::parse("account", text).unwrap()
}

fn pool_id() -> PoolId {
    PoolId::parse("pool", "relay/1").unwrap()
}

/// What picks and reports are remembered by.
fn pool_entries() -> Vec<Entry> {
    let hold = Some(Hold { id: DecisionId(9), expires_at: T0 + 300_000 });
    let fail_open = vec![FailOpen { gate: Gate::Accounts, cause: Cause::Timeout }];
    let upstream = [Upstream::Ok, Upstream::QuotaExhausted, Upstream::Refused, Upstream::Unavailable, Upstream::Failed];
    let reported = upstream.map(|outcome| (Rpc::ReportOutcome, Outcome::OutcomeReported { outcome, known: true }));
    let picked = |account, decision, hold, fail_open| Outcome::Picked { account, decision, hold, fail_open };
    let outcomes = [
        (Rpc::ConfigurePool, Outcome::PoolConfigured),
        (Rpc::Pick, picked(account("sk-0123-9f3c"), None, None, vec![])),
        (Rpc::Pick, picked(account(&"k".repeat(128)), Some(DecisionId(9)), hold, fail_open)),
    ];
    let remembered = |(rpc, outcome)| Entry { rpc, ..entry("r", T0, true, outcome) };
    outcomes.into_iter().chain(reported).map(remembered).collect()
}

fn upstream_account(text: &str, window: Option<Window>) -> UpstreamAccountRow {
    UpstreamAccountRow {
        id: account(text),
        pool: pool_id(),
        daily_limit: Some(1_000),
        safety_buffer: Some(0),
        window,
        last_used_at: Some(T0),
        reported: Reported { until: T0 + DAY_MS, failed: 1, quota_errors: 2, bytes_up: 3, bytes_down: 4 },
        evidence: Some(Evidence { at: T0 + 1, until: T0 + DAY_MS, limit: 1_000 }),
        quarantine: Some(Avoided { since: T0, until: T0 + DAY_MS }),
        cooldown: Some(Avoided { since: T0 + 2, until: T0 + 60_002 }),
        announced: true,
    }
}

/// One account for every kind of window, and one that says nothing.
fn upstream_accounts() -> Vec<(&'static str, Row)> {
    let windows = [
        ("account_aligned", Window::Aligned { len: HOUR_MS }),
        ("account_anchored", Window::Anchored { len: DAY_MS }),
        ("account_rolling", Window::Rolling { len: DAY_MS }),
        ("account_day", Window::Calendar(Calendar::Day)),
        ("account_week", Window::Calendar(Calendar::Week)),
        ("account_month", Window::Calendar(Calendar::Month)),
        ("account_month_from", Window::Calendar(Calendar::MonthFrom(31))),
    ];
    let blank = UpstreamAccountRow {
        daily_limit: None,
        safety_buffer: None,
        last_used_at: None,
        reported: Reported::default(),
        evidence: None,
        quarantine: None,
        cooldown: None,
        announced: false,
        ..upstream_account("account_blank", None)
    };
    let of_window = |(name, window)| (name, Row::UpstreamAccount(upstream_account(name, Some(window))));
    windows.map(of_window).into_iter().chain([("account_blank", Row::UpstreamAccount(blank))]).collect()
}

fn session(state: SessionState) -> SessionRow {
    SessionRow {
        id: SessionId::parse("session_id", "session/1").unwrap(),
        scope: scope(),
        identity: Identity::parse("identity", "vm \"1\"").unwrap(),
        decision: DecisionId(9),
        state,
        started_at: T0,
        last_heartbeat_at: T0 + 30_000,
        ends_at: T0 + 150_000,
        incarnations: vec![(Incarnation::parse("incarnation", "boot 1").unwrap(), 30_000)],
        booked: 30_000,
        booked_ahead: 0,
        disputed: 0,
        stopping_since: None,
    }
}

/// Named rows, at least one of every kind; the head's timer is among them.
pub(super) fn named_rows() -> Vec<(&'static str, Row)> {
    let meter = Meter::spend;
    let source = Source::parse("source", "node-1").unwrap();
    let counter =
        |window| Row::Counter { scope: scope(), meter: meter(), window, counter: Counter { start: T0, used: 7 } };
    let journal = JournalRow { seq: 6, at: T0, entries: entries() };
    let head = Head {
        seq: 7,
        journal_from: 6,
        last_at: T0 + 5,
        rate: Some(RateRecord { window_id: 495_000, len: HOUR_MS, count: 999, blocked: 3 }),
        frozen: Some(Reason::parse("reason", "abuse, see \"ticket\"").unwrap()),
        wake_at: Some(T0 + HOUR_MS),
        admitted_total: 1_000_000,
        evicted: 2,
        uncompleted: 1,
    };
    let limits = [("hourly", 5_000_000), ("fortnightly", 7)].map(|(period, amount)| (Arc::from(period), amount)).into();
    let mut rows = vec![
        ("head", Row::Head(head)),
        ("timer", Row::Timer { wake_at: T0 + HOUR_MS }),
        (
            "slice",
            Row::Slice {
                scope: Scope::org(),
                meter: meter(),
                slice: HourSlice { start: T0, total: 300, minutes: vec![(0, 100), (59, 200)] },
            },
        ),
        (
            "slice_rolled_up",
            Row::Slice {
                scope: scope(),
                meter: meter(),
                slice: HourSlice { start: T0 - DAY_MS, total: u64::MAX, minutes: vec![] },
            },
        ),
        ("counter_aligned", counter(Window::Aligned { len: HOUR_MS })),
        ("counter_anchored", counter(Window::Anchored { len: DAY_MS })),
        ("counter_rolling", counter(Window::Rolling { len: 30 * DAY_MS })),
        ("counter_day", counter(Window::Calendar(Calendar::Day))),
        ("counter_week", counter(Window::Calendar(Calendar::Week))),
        ("counter_month", counter(Window::Calendar(Calendar::Month))),
        ("journal", Row::Journal(journal.clone())),
        ("journal_empty", Row::Journal(JournalRow { seq: 7, at: T0 + 5, entries: vec![] })),
        ("long_journal", Row::LongJournal(journal)),
        (
            "reservation",
            Row::Reservation(ReservationRow {
                id: DecisionId(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef),
                scope: scope(),
                amounts: vec![(Meter::executions(), 1), (meter(), 50_000)],
                expires_at: T0 + 300_000,
            }),
        ),
        (
            "baseline",
            Row::Baseline(BaselineRow {
                scope: scope(),
                source: source.clone(),
                meter: meter(),
                incarnation: Incarnation::parse("incarnation", "boot 1").unwrap(),
                total: 180,
            }),
        ),
        (
            "execution",
            Row::Execution(ExecutionRow {
                id: ExecutionId::parse("execution_id", "run \\ 1").unwrap(),
                continuations: 4,
                last_seen: T0,
                admitted: true,
                open: None,
            }),
        ),
        (
            "execution_open",
            Row::Execution(ExecutionRow {
                id: ExecutionId::parse("execution_id", "run 2").unwrap(),
                continuations: 0,
                last_seen: T0,
                admitted: false,
                open: Some(OpenExecution { scope: scope(), cost: vec![(Meter::executions(), 3)], admitted_at: T0 - 1 }),
            }),
        ),
        ("export", Row::Outbox(OutboxRow::new(OutboxKey(u128::MAX - 1), scope(), meter(), 50_000, T0))),
        (
            "export_dead",
            Row::Outbox(OutboxRow {
                attempts: 9,
                last_error: Some(Cause::ProviderRefused),
                dead: Some(DeadCause::Rejected),
                ..OutboxRow::new(OutboxKey(7), Scope::org(), Meter::executions(), 1, T0)
            }),
        ),
        ("budget", Row::Budget(BudgetRow { scope: scope(), version: 3, limits })),
        ("session", Row::Session(session(SessionState::Running))),
        (
            "session_expired",
            Row::Session(SessionRow {
                id: SessionId::parse("session_id", "s2").unwrap(),
                incarnations: vec![],
                booked_ahead: 5,
                disputed: 4,
                stopping_since: Some(T0 + 40_000),
                ..session(SessionState::Expired)
            }),
        ),
        ("trial_ended", Row::TrialEnded { at: T0 }),
        ("long_journal_sessions", Row::LongJournal(JournalRow { seq: 7, at: T0, entries: session_entries() })),
        ("disputed", Row::Disputed(DisputedRow { seq: 6, scope: scope(), source, meter: meter(), amount: 5, at: T0 })),
        ("pool", Row::Pool(PoolRow { id: pool_id(), version: 4, announced: true })),
        ("long_journal_pools", Row::LongJournal(JournalRow { seq: 5, at: T0, entries: pool_entries() })),
    ];
    rows.extend(upstream_accounts());
    rows
}

pub(super) fn rows() -> Vec<Row> {
    named_rows().into_iter().map(|(_, row)| row).collect()
}

pub(super) fn meta() -> Meta {
    let mark = ClockMark { service: T0 + 9, boot_id: "3b1c-boot".into(), uptime: 12_345 };
    Meta { group: 42, mark: Some(mark), digests: 0xfeed_beef_0123_4567 }
}

/// One stored value of every kind.
pub(super) fn named_records(org: &OrgId) -> Vec<(&'static str, Key, Record)> {
    let row = |(name, row): (&'static str, Row)| (name, Key::row(org, &row.key()), Record::Row { row, parts: 0 });
    let part = |name, of| (name, Key::Part { org: org.clone(), of, seq: 6, part: 1 }, Record::Part(entries()));
    let mut records = vec![("meta", Key::Meta, Record::Meta(meta()))];
    records.extend(named_rows().into_iter().map(row));
    records.push(part("journal_part", Memory::Short));
    records.push(part("long_journal_part", Memory::Long));
    records
}

pub(super) fn keys_of(org: &OrgId) -> Vec<Key> {
    named_records(org).into_iter().map(|(_, key, _)| key).collect()
}

pub(super) fn keys() -> Vec<Key> {
    keys_of(&org("acme"))
}
