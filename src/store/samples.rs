//! What the samples of the kinds, each in its file, have in common; and what journals remember.

use std::collections::BTreeMap;

use smallvec::smallvec;

use super::kinds;
use crate::{
    bounds::HOUR_MS,
    domain::{
        decision::{Hold, SessionGrant},
        gate::{Cause, FailOpen, Gate},
        ids::{AccountId, Amounts, DecisionId, Meter, OrgId, PoolId, RequestId, Scope, Source},
        outcome::{
            AccountCleared, Admitted, Beaten, BudgetSet, Committed, Entry, Extended, Frozen, GivenBack, Granted,
            Outcome, OutcomeReported, OverrideSet, Picked, PoolConfigured, Recorded, Refunded, Renamed, Reported,
            Resumed, SessionEnded, Settled, Settlement, Started,
        },
        request::{Idempotency, Rpc},
        rows::Row,
        scopes::Scopes,
        upstream::Upstream,
        window::Millis,
        zone::Zone,
    },
};

pub(super) const T0: Millis = 495_000 * HOUR_MS;

pub(super) fn org(text: &str) -> OrgId {
    OrgId::parse("org", text).unwrap()
}

pub(super) fn scope() -> Scope {
    Scope::parse("scope", "workspace/ws_42").unwrap()
}

pub(super) fn scopes() -> Scopes {
    ["workspace/ws_42", "agent/7"].map(|name| Scope::parse("scope", name).unwrap()).into_iter().collect()
}

pub(super) fn source() -> Source {
    Source::parse("source", "node-1").unwrap()
}

pub(super) fn entry(id: &str, at: Millis, long: bool, outcome: Outcome) -> Entry {
    let id = RequestId::parse("request_id", id).unwrap();
    let idempotency = Some(Idempotency { id, fingerprint: 0xfeed_f00d });
    Entry { at, rpc: Rpc::Acquire, idempotency, long, outcome, charge: None }
}

/// One entry of every outcome and every rpc.
pub(super) fn entries() -> Vec<Entry> {
    let hold = Hold { id: DecisionId(7 << 64), expires_at: T0 + 300_000 };
    let opened = |gate| FailOpen { gate, cause: Cause::ProviderError };
    let admitted = Outcome::Admitted(Admitted {
        decision: DecisionId(u128::MAX),
        hold: Some(hold),
        // As many as there were when the bytes were written down; the others follow in rows of their own.
        fail_open: [Gate::Freeze, Gate::Rate, Gate::Budgets, Gate::Balance, Gate::Reserve].map(opened).to_vec(),
    });
    let timeout = FailOpen { gate: Gate::Rate, cause: Cause::Timeout };
    let fault = FailOpen { gate: Gate::Rate, cause: Cause::StoreFault };
    let outcomes = [
        (Rpc::Acquire, admitted),
        (
            Rpc::Acquire,
            Outcome::Admitted(Admitted { decision: DecisionId(1), hold: None, fail_open: vec![timeout, fault] }),
        ),
        (Rpc::Commit, Outcome::Settled(Settled { reservation: DecisionId(2), how: Settlement::Committed })),
        (Rpc::Release, Outcome::Settled(Settled { reservation: DecisionId(3), how: Settlement::Released })),
        (Rpc::Release, Outcome::Settled(Settled { reservation: DecisionId(4), how: Settlement::Expired })),
        (Rpc::Extend, Outcome::Extended(Extended { expires_at: T0 + 1 })),
        (Rpc::Resume, Outcome::Resumed(Resumed { continuations: 3 })),
        (Rpc::Record, Outcome::Recorded(Recorded)),
        (Rpc::ReportCumulative, Outcome::Reported(Reported { increment: 60, reset: true, disputed: 5 })),
        (Rpc::Freeze, Outcome::Frozen(Frozen { was_frozen: false })),
        (Rpc::Unfreeze, Outcome::Frozen(Frozen { was_frozen: true })),
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
pub(super) fn session_entries() -> Vec<Entry> {
    let grant = SessionGrant { slice: 180_000, heartbeat: 30_000, expires_at: T0 + 120_000 };
    let malformed = FailOpen { gate: Gate::Budgets, cause: Cause::MalformedLimit };
    let others = [Gate::Concurrency, Gate::SessionQuota].map(|gate| FailOpen { gate, cause: Cause::Timeout });
    let fail_open = [malformed].into_iter().chain(others).collect();
    let outcomes = [
        (Rpc::StartSession, Outcome::Started(Started { decision: DecisionId(9), grant, fail_open })),
        (Rpc::Heartbeat, Outcome::Beaten(Beaten { booked: 30_000, disputed: 1 })),
        (Rpc::EndSession, Outcome::SessionEnded(SessionEnded { decision: DecisionId(9) })),
        (Rpc::UpdateBudget, Outcome::BudgetSet(BudgetSet)),
        (Rpc::ReplaceBudget, Outcome::BudgetSet(BudgetSet)),
    ];
    let remembered = |(rpc, outcome)| Entry { rpc, ..entry("r", T0, true, outcome) };
    outcomes.into_iter().map(remembered).collect()
}

/// What settlements are remembered by.
pub(super) fn settlement_entries() -> Vec<Entry> {
    let committed = |id, late, booked, reserved| {
        let reservation = DecisionId(id);
        Outcome::Committed(Committed { reservation, late, scopes: scope().into(), booked, reserved })
    };
    let spent = |amount| smallvec![(Meter::spend(), amount)];
    let outcomes = [
        committed(3, false, spent(40), smallvec![(Meter::spend(), 90), (Meter::executions(), 1)]),
        committed(5, true, spent(500), spent(90)),
        committed(7, false, Amounts::new(), spent(1)),
    ];
    outcomes.into_iter().map(|outcome| Entry { rpc: Rpc::Commit, ..entry("r", T0, true, outcome) }).collect()
}

pub(super) fn account(text: &str) -> AccountId {
    AccountId::parse("account", text).unwrap()
}

pub(super) fn zone() -> Zone {
    Zone::parse("America/Los_Angeles").unwrap().unwrap()
}

pub(super) fn pool_id() -> PoolId {
    PoolId::parse("pool", "relay/1").unwrap()
}

/// What picks and reports are remembered by.
pub(super) fn pool_entries() -> Vec<Entry> {
    let hold = Some(Hold { id: DecisionId(9), expires_at: T0 + 300_000 });
    let fail_open = vec![FailOpen { gate: Gate::Accounts, cause: Cause::Timeout }];
    let upstream = [Upstream::Ok, Upstream::QuotaExhausted, Upstream::Refused, Upstream::Unavailable, Upstream::Failed];
    let reported = upstream
        .map(|outcome| (Rpc::ReportOutcome, Outcome::OutcomeReported(OutcomeReported { outcome, known: true })));
    let picked = |account, decision, hold, fail_open| Outcome::Picked(Picked { account, decision, hold, fail_open });
    let outcomes = [
        (Rpc::ConfigurePool, Outcome::PoolConfigured(PoolConfigured)),
        (Rpc::Pick, picked(account("sk-0123-9f3c"), None, None, vec![])),
        (Rpc::Pick, picked(account(&"k".repeat(128)), Some(DecisionId(9)), hold, fail_open)),
    ];
    let remembered = |(rpc, outcome)| Entry { rpc, ..entry("r", T0, true, outcome) };
    outcomes.into_iter().chain(reported).map(remembered).collect()
}

/// What is remembered of an account that asked to wait, and was cleared.
pub(super) fn pool_key_entries() -> Vec<Entry> {
    let reported = OutcomeReported { outcome: Upstream::RateLimited, known: true };
    let outcomes = [
        (Rpc::ReportOutcome, Outcome::OutcomeReported(reported)),
        (Rpc::ClearAccount, Outcome::AccountCleared(AccountCleared { was_held: true })),
    ];
    let remembered = |(rpc, outcome)| Entry { rpc, ..entry("r", T0, true, outcome) };
    outcomes.into_iter().map(remembered).collect()
}

/// What is remembered of what operators set.
pub(super) fn control_entries() -> Vec<Entry> {
    let rpcs = [Rpc::SetOverride, Rpc::ClearOverride, Rpc::SetPlan, Rpc::SetExemption];
    let remembered = |rpc| Entry { rpc, ..entry("r", T0, true, Outcome::OverrideSet(OverrideSet)) };
    rpcs.into_iter().map(remembered).collect()
}

/// What refunds are remembered by.
pub(super) fn refund_entries() -> Vec<Entry> {
    let given = |meter, asked, given| GivenBack { meter, asked, given };
    let of_decision = Refunded {
        decision: Some(DecisionId(9)),
        scopes: scopes(),
        amounts: vec![given(Meter::executions(), 1, 1), given(Meter::spend(), 50_000, 20_000)],
    };
    let of_usage = Refunded { decision: None, scopes: Scopes::org(), amounts: vec![given(Meter::spend(), 7, 7)] };
    let remembered = |refunded| Entry { rpc: Rpc::Refund, ..entry("r", T0, true, Outcome::Refunded(refunded)) };
    [of_decision, of_usage].map(remembered).to_vec()
}

/// What is remembered of a renaming.
pub(super) fn rename_entries() -> Vec<Entry> {
    let outcome = Outcome::Renamed(Renamed { before: OrgId::parse("org", "acme").unwrap() });
    vec![Entry { rpc: Rpc::RenameOrg, ..entry("r", T0, true, outcome) }]
}

/// What is remembered of grants.
pub(super) fn grant_entries() -> Vec<Entry> {
    let outcomes =
        [(Rpc::Grant, Outcome::Granted(Granted { number: 7 })), (Rpc::RevokeGrant, Outcome::OverrideSet(OverrideSet))];
    let remembered = |(rpc, outcome)| Entry { rpc, ..entry("r", T0, true, outcome) };
    outcomes.into_iter().map(remembered).collect()
}

/// What is remembered of windows that were reset.
pub(super) fn reset_entries() -> Vec<Entry> {
    vec![Entry { rpc: Rpc::ResetWindow, ..entry("r", T0, true, Outcome::OverrideSet(OverrideSet)) }]
}

/// One row of every kind, and more of those that have several forms; the head's timer is among them. Of the heads
/// it is the newest.
pub(super) fn rows() -> Vec<Row> {
    let rows: BTreeMap<_, _> = kinds::named_rows().into_iter().map(|(_, row)| (row.key(), row)).collect();
    rows.into_values().collect()
}
