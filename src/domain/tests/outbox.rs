//! R-BAL-7: what is admitted and completes is reported once, whatever happens in between.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proptest::prelude::*;

use super::*;
use crate::{
    bounds::{EXPORT_BATCH, EXPORT_GRACE_MS, EXPORT_LEASE_MS, EXPORT_RETRY_MS, SECOND_MS},
    domain::{
        gate::Cause,
        outbox::{DeadCause, Delivery, OutboxKey, OutboxRow},
        policy::ExportWhen,
    },
};

const LATER: Delivery = Delivery::Retry { cause: Cause::ProviderError, after: None };

fn billed(export: ExportWhen) -> OrgBench {
    let mut org = OrgBench::new();
    org.policy.rate.amount = None;
    org.policy.balance.export = export;
    org.policy.balance.environment = "live".into();
    let features = [(Meter::executions(), "executions".into()), (Meter::spend(), "spend".into())];
    org.policy.balance.features = std::sync::Arc::new(BTreeMap::from(features));
    org
}

/// Amounts that wait, by meter.
fn waiting(org: &mut OrgBench) -> Vec<(String, u64)> {
    let Some(snapshot) = org.inspect() else { return Vec::new() };
    let mut rows: Vec<_> = snapshot.exports.iter().map(|row| (row.meter.to_string(), row.units)).collect();
    rows.sort();
    rows
}

fn take(org: &mut OrgBench) -> Vec<OutboxRow> {
    match org.ask(TakeOutbox { max: EXPORT_BATCH }) {
        Ok(rows) => rows,
        other => panic!("no exports: {other:?}"),
    }
}

fn settle(org: &mut OrgBench, key: OutboxKey, delivery: Delivery) -> u64 {
    match org.ask(SettleOutbox(vec![(key, delivery)])) {
        Ok(_) => org.state.take_news().set_aside,
        other => panic!("not settled: {other:?}"),
    }
}

/// Says that a row was not tried. Answers how long it waits then.
fn hold_back(org: &mut OrgBench, key: OutboxKey, left: Duration) -> Millis {
    let held_back = Delivery::NotTried { cause: Cause::CircuitOpen, left };
    let settled = org.ask(SettleOutbox(vec![(key, held_back)])).unwrap();
    settled.next_due.unwrap() - org.now
}

fn complete(org: &mut OrgBench, decision: DecisionId, usage: Amounts, id: &str) {
    let command = Command::Record(Record {
        scopes: Scopes::org(),
        usage,
        decision: Some(decision),
        occurred_at: None,
        idempotency: key(id),
    });
    org.apply(&command).unwrap();
}

fn admitted(org: &mut OrgBench) -> DecisionId {
    org.acquire(ask()).id.unwrap()
}

#[test]
fn an_execution_is_reported_when_it_completes_and_not_before() {
    let mut org = billed(ExportWhen::Completed);
    let plain = admitted(&mut org);
    let held = org.reserve(spend(100));
    assert_eq!(waiting(&mut org), []);
    complete(&mut org, plain, spend(7), "r1");
    org.commit(held, spend(60), "c1").unwrap();
    let all = [("executions", 1), ("executions", 1), ("spend", 7), ("spend", 60)];
    assert_eq!(waiting(&mut org), all.map(|(meter, units)| (meter.to_owned(), units)));
    org.restart();
    assert_eq!(waiting(&mut org).len(), 4, "written with what they report");
}

#[test]
fn an_execution_is_reported_once_however_often_its_end_is_told() {
    let mut org = billed(ExportWhen::Completed);
    let decision = admitted(&mut org);
    for id in ["r1", "r2", "r1"] {
        complete(&mut org, decision, Amounts::new(), id);
        org.restart();
    }
    assert_eq!(waiting(&mut org), [("executions".into(), 1)]);
}

#[test]
fn the_scope_that_tells_the_end_does_not_make_it_another_execution() {
    let mut org = billed(ExportWhen::Completed);
    let decision = org.acquire(Acquire { scopes: scope("workspace/a").into(), ..ask() }).id.unwrap();
    let mut names = BTreeSet::new();
    for (told_by, id) in [("workspace/a", "r1"), ("workspace/b", "r2"), ("", "r3")] {
        let usage = Amounts::new();
        let command = Command::Record(Record {
            scopes: scope(told_by).into(),
            usage,
            decision: Some(decision),
            occurred_at: None,
            idempotency: key(id),
        });
        org.apply(&command).unwrap();
        let row = take(&mut org).pop();
        names.extend(row.as_ref().map(|row| row.key));
        row.map(|row| settle(&mut org, row.key, Delivery::Delivered));
    }
    assert_eq!(names.len(), 1, "the provider counts it once");
}

#[test]
fn an_execution_that_was_charged_none_reports_none_however_often_its_end_is_told() {
    let mut org = billed(ExportWhen::Completed);
    let decision = org.acquire(Acquire { cost: spend(9), ..ask() }).id.unwrap();
    for id in ["r1", "r2"] {
        complete(&mut org, decision, Amounts::new(), id);
        for row in take(&mut org) {
            assert_eq!((row.meter, row.units), (Meter::spend(), 9));
            settle(&mut org, row.key, Delivery::Delivered);
        }
        org.restart();
    }
    assert_eq!(waiting(&mut org), []);
}

#[test]
fn what_was_denied_released_or_only_looked_at_is_not_reported() {
    let mut org = billed(ExportWhen::Completed);
    org.policy.balance.source = BalanceSource::Provider;
    let denied = org.acquire(Acquire { balance: Some(exhausted()), ..ask() });
    assert!(!denied.allowed);
    complete(&mut org, denied.id.unwrap(), Amounts::new(), "r1");
    org.peek(ask());
    let held = org.reserve(spend(100));
    org.release(held, "x1").unwrap();
    assert_eq!(waiting(&mut org), []);
    let expired = org.reserve(spend(100));
    org.after(6 * MINUTE_MS);
    assert_eq!(waiting(&mut org), []);
    complete(&mut org, expired, spend(5), "r2");
    assert_eq!(waiting(&mut org), [("executions".into(), 1), ("spend".into(), 5)], "it ran on past its hold");
}

#[test]
fn with_export_at_admission_the_request_id_names_it_or_else_the_decision() {
    let mut org = billed(ExportWhen::Admitted);
    let keyed = || Acquire { idempotency: Some(key("a")), cost: executions(3), ..ask() };
    let decision = org.acquire(keyed());
    org.acquire(keyed());
    assert_eq!(waiting(&mut org), [("executions".into(), 3)], "a replay charges and reports nothing");
    complete(&mut org, decision.id.unwrap(), Amounts::new(), "r1");
    admitted(&mut org);
    let names: BTreeSet<OutboxKey> = org.snapshot().exports.iter().map(|row| row.key).collect();
    let named = |id: &str| {
        OutboxKey::of(
            "live",
            &id_of_org(),
            &Scopes::org(),
            &Meter::executions(),
            crate::domain::request::Rpc::Acquire,
            id,
        )
    };
    assert!(names.contains(&named("a")));
    assert_eq!(names.len(), 2);
}

fn id_of_org() -> OrgId {
    id()
}

#[test]
fn a_completion_whose_admission_was_lost_with_a_crash_is_still_reported() {
    let mut org = billed(ExportWhen::Completed);
    let decision = admitted(&mut org);
    org.crash();
    complete(&mut org, decision, Amounts::new(), "r1");
    assert_eq!(waiting(&mut org), [("executions".into(), 1)]);
}

#[test]
fn cumulative_reports_export_their_increments() {
    let mut org = billed(ExportWhen::Completed);
    for (total, id) in [(60, "a"), (120, "b"), (0, "c"), (120, "b")] {
        org.report("boot-1", total, id).unwrap();
    }
    assert_eq!(waiting(&mut org), [("spend".into(), 60), ("spend".into(), 60)]);
}

#[test]
fn meters_without_a_feature_stay_here() {
    let mut org = billed(ExportWhen::Completed);
    org.record("", smallvec![(Meter::parse("meter", "bytes").unwrap(), 9)], "a").unwrap();
    assert_eq!(waiting(&mut org), []);
}

#[test]
fn a_row_is_handed_out_once_and_again_when_its_lease_ends() {
    let mut org = billed(ExportWhen::Completed);
    org.record("", spend(1), "a").unwrap();
    let first = take(&mut org);
    assert_eq!(first.len(), 1);
    assert!(take(org.after(EXPORT_LEASE_MS - 1)).is_empty());
    assert_eq!(take(org.after(1)), first, "nobody said what became of it");
    org.restart();
    assert!(take(&mut org).is_empty() == (org.now < T0 + EXPORT_GRACE_MS));
    settle(&mut org, first[0].key, Delivery::Duplicate);
    assert_eq!(waiting(&mut org), []);
    org.restart();
    assert_eq!(waiting(&mut org), []);
}

#[test]
fn the_timer_finds_what_a_crash_interrupted() {
    let mut org = billed(ExportWhen::Completed);
    org.record("", spend(1), "a").unwrap();
    org.flush();
    assert_eq!(org.disk.head().wake_at, Some(T0 + EXPORT_GRACE_MS));
    assert_eq!(take(&mut org).len(), 1);
    org.crash().at(T0 + EXPORT_GRACE_MS).sweep();
    assert!(org.state.has_exports());
    assert_eq!(take(&mut org).len(), 1);
}

#[test]
fn attempts_are_spaced_and_end_when_the_provider_no_longer_knows_the_key() {
    let mut org = billed(ExportWhen::Completed);
    org.record("", spend(1), "a").unwrap();
    let mut pauses = Vec::new();
    let mut dead = 0;
    while dead == 0 {
        let row = take(&mut org).pop().expect("due");
        dead = settle(&mut org, row.key, LATER);
        org.restart();
        let next = org.snapshot().exports[0].due_at;
        pauses.push(next - org.now);
        org.at(next);
    }
    assert!(pauses.iter().take(10).is_sorted_by(|a, b| 2 * **b >= **a), "{pauses:?}");
    assert!(pauses[0] >= SECOND_MS / 2 && pauses.iter().all(|pause| *pause <= 10 * MINUTE_MS));
    assert!(org.now <= T0 + EXPORT_RETRY_MS + 10 * MINUTE_MS);
    let row = org.snapshot().exports[0].clone();
    assert_eq!((row.dead, row.last_error), (Some(DeadCause::Expired), Some(Cause::ProviderError)));
    assert!(take(org.after(DAY_MS)).is_empty(), "it waits for an operator");
    assert_eq!(org.ask(ReplayOutbox { key: None }), Ok(OutboxReplayed { count: 1 }));
    let again = take(&mut org);
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].key, row.key, "under the same key");
    settle(&mut org, row.key, LATER);
    assert_eq!(org.snapshot().exports[0].dead, None, "with new time");
}

#[test]
fn what_a_long_stop_kept_from_going_out_waits_for_an_operator() {
    let mut org = billed(ExportWhen::Completed);
    for id in 0..=EXPORT_BATCH {
        org.record("", spend(1), &format!("r{id}")).unwrap();
    }
    assert_eq!(take(&mut org).len(), EXPORT_BATCH, "delivered, and the outcome is lost");
    org.flush();
    org.crash().at(T0 + EXPORT_RETRY_MS).record("", spend(1), "new").unwrap();
    let due = take(&mut org);
    assert_eq!((due.len(), due[0].at), (1, org.now), "R-BAL-7: the provider would take the others for new usage");
    assert_eq!(org.state.take_news().set_aside, 1 + EXPORT_BATCH as u64);
    assert_eq!(
        org.snapshot().exports.iter().filter(|row| row.dead == Some(DeadCause::Expired)).count(),
        1 + EXPORT_BATCH
    );
    org.ask(ReplayOutbox { key: None }).unwrap();
    assert_eq!(take(&mut org).len(), EXPORT_BATCH, "with new time");
}

#[test]
fn a_provider_that_names_a_pause_gets_it() {
    let mut org = billed(ExportWhen::Completed);
    org.record("", spend(1), "a").unwrap();
    let row = take(&mut org).pop().unwrap();
    let after = Some(Duration::from_secs(120));
    settle(&mut org, row.key, Delivery::Retry { cause: Cause::ProviderRateLimited, after });
    assert_eq!(org.snapshot().exports[0].due_at, T0 + 120 * SECOND_MS);
}

#[test]
fn what_was_not_tried_is_not_written_and_waits_no_longer_than_it_has_to() {
    let mut org = billed(ExportWhen::Completed);
    org.record("", spend(1), "a").unwrap();
    org.flush();
    let before = take(&mut org);
    for left in [0, 5, 0, 60, 0, 3] {
        let left = Duration::from_secs(left);
        let pause = hold_back(&mut org, before[0].key, left);
        let least = u64::try_from(left.as_millis()).unwrap();
        assert!((least.max(1)..=least.max(SECOND_MS)).contains(&pause), "{pause} after {left:?}");
        assert_eq!(org.flush(), None, "nothing is written");
        assert!(take(org.after(pause - 1)).is_empty());
        assert_eq!(take(org.after(1)), before, "the row is as it was");
    }
    settle(&mut org, before[0].key, LATER);
    assert_eq!((org.snapshot().exports[0].attempts, org.flush().is_some()), (1, true));
}

#[test]
fn what_is_never_tried_is_set_aside_in_time() {
    let mut org = billed(ExportWhen::Completed);
    org.record("", spend(1), "a").unwrap();
    let row = take(&mut org).pop().unwrap();
    hold_back(&mut org, row.key, Duration::ZERO);
    assert!(take(org.after(EXPORT_RETRY_MS)).is_empty());
    let row = &org.snapshot().exports[0];
    assert_eq!((row.dead, row.attempts), (Some(DeadCause::Expired), 0));
}

#[test]
fn a_full_outbox_adds_up_what_it_has_no_room_for() {
    let mut org = billed(ExportWhen::Completed);
    org.bounds.exports_per_org = 2;
    for id in ["a", "b", "c", "d"] {
        org.record("", spend(10), id).unwrap();
    }
    let exports = org.snapshot().exports;
    let full: Vec<_> = exports.iter().filter(|row| row.dead == Some(DeadCause::Full)).collect();
    assert_eq!((exports.len(), full.len(), full[0].units), (3, 1, 20));
    org.restart().ask(ReplayOutbox { key: Some(full[0].key) }).unwrap();
    org.record("", spend(10), "e").unwrap();
    let total: u64 = org.snapshot().exports.iter().map(|row| row.units).sum();
    assert_eq!(total, 50, "what is tried no longer grows, and nothing is lost");
}

#[test]
fn a_purge_keeps_what_the_provider_does_not_have() {
    let mut org = billed(ExportWhen::Completed);
    org.record("", spend(1), "a").unwrap();
    org.flush();
    org.ask(Purge).unwrap();
    assert!(org.flush().unwrap().purged, "R-OPS-16");
    org.restart();
    assert_eq!(waiting(&mut org), [("spend".into(), 1)]);
    let row = take(org.after(EXPORT_GRACE_MS)).pop().unwrap();
    settle(&mut org, row.key, Delivery::Delivered);
    let write = org.flush().unwrap();
    assert!(write.wipe || org.disk.is_empty(), "and then nothing is left");
    assert!(write.purged, "R-OPS-16: nor in the files");
}

#[test]
fn executions_that_never_complete_are_counted() {
    let mut org = billed(ExportWhen::Completed);
    admitted(&mut org);
    let done = admitted(&mut org);
    complete(&mut org, done, Amounts::new(), "r1");
    org.restart().after(DAY_MS).sweep();
    assert_eq!(org.snapshot().uncompleted, 1);
    org.restart();
    assert_eq!(org.snapshot().uncompleted, 1);
}

#[test]
fn a_batch_is_bounded() {
    let mut org = billed(ExportWhen::Completed);
    for index in 0..=EXPORT_BATCH {
        org.record("", spend(1), &format!("r{index}")).unwrap();
    }
    assert_eq!(take(&mut org).len(), EXPORT_BATCH);
    assert_eq!(take(&mut org).len(), 1);
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Run,
    Hold,
    Complete(u8),
    Again,
    Release(u8),
    Deliver(u8),
    Pass(u32),
    Restart,
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Run),
        2 => Just(Step::Hold),
        5 => any::<u8>().prop_map(Step::Complete),
        1 => Just(Step::Again),
        1 => any::<u8>().prop_map(Step::Release),
        4 => any::<u8>().prop_map(Step::Deliver),
        2 => (0..120_000_u32).prop_map(Step::Pass),
        1 => Just(Step::Restart),
        1 => Just(Step::Crash),
    ]
}

/// A provider that counts every key once.
#[derive(Default)]
struct Books(BTreeMap<OutboxKey, (String, u64)>);

impl Books {
    /// What the org learns of one attempt: it gets the answer, the answer is lost, or the provider fails.
    fn attempt(&mut self, row: &OutboxRow, luck: u8) -> Option<Delivery> {
        if luck % 4 == 3 {
            return Some(LATER);
        }
        let known = self.0.insert(row.key, (row.meter.to_string(), row.units));
        assert!(known.is_none_or(|known| known == (row.meter.to_string(), row.units)), "a key means one amount");
        (luck % 4 != 2).then_some(Delivery::Delivered)
    }

    fn total(&self, meter: &str) -> u64 {
        self.0.values().filter(|(of, _)| of == meter).map(|(_, units)| units).sum()
    }
}

fn deliver(org: &mut OrgBench, books: &mut Books, luck: u8) {
    for (index, row) in take(org).into_iter().enumerate() {
        let luck = luck.wrapping_add(u8::try_from(index).unwrap());
        if let Some(delivery) = books.attempt(&row, luck) {
            settle(org, row.key, delivery);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// Completions are durable before they are reported; admissions and outcomes may be lost in a crash.
    #[test]
    fn the_provider_has_every_completion_once(steps in prop::collection::vec(step(), 1..80)) {
        let mut org = billed(ExportWhen::Completed);
        let mut books = Books::default();
        let mut open: Vec<(DecisionId, bool)> = Vec::new();
        let mut told = 0_u64;
        let mut last = None;
        for (number, step) in steps.into_iter().enumerate() {
            let name = format!("n{number}");
            match step {
                Step::Run => open.push((admitted(&mut org), false)),
                Step::Hold => {
                    open.push((org.reserve(spend(5)), true));
                    org.flush();
                }
                Step::Complete(which) if !open.is_empty() => {
                    let (decision, held) = open.remove(usize::from(which) % open.len());
                    if !held || org.commit(decision, spend(2), &name).is_err() {
                        complete(&mut org, decision, spend(2), &name);
                    }
                    org.flush();
                    told += 1;
                    last = Some(decision);
                }
                Step::Again => {
                    if let Some(decision) = last {
                        complete(&mut org, decision, Amounts::new(), &name);
                        org.flush();
                    }
                }
                Step::Release(which) if !open.is_empty() => {
                    let (decision, held) = open.remove(usize::from(which) % open.len());
                    if held {
                        let _ = org.release(decision, &name);
                        org.flush();
                    }
                }
                Step::Complete(_) | Step::Release(_) => {}
                Step::Deliver(luck) => deliver(&mut org, &mut books, luck),
                Step::Pass(passed) => {
                    org.after(passed.into());
                }
                Step::Restart => {
                    org.restart();
                }
                Step::Crash => {
                    org.crash();
                }
            }
            prop_assert!(books.total("executions") <= told);
        }
        for _ in 0..200 {
            org.after(EXPORT_LEASE_MS).sweep();
            deliver(&mut org, &mut books, 0);
        }
        prop_assert_eq!(waiting(&mut org), []);
        prop_assert_eq!((books.total("executions"), books.total("spend")), (told, 2 * told));
    }
}

#[test]
fn a_row_that_was_not_tried_is_due_again_as_it_was() {
    let mut org = billed(ExportWhen::Completed);
    org.record("", spend(5), "a").unwrap();
    let before = take(&mut org);
    assert_eq!(before.len(), 1);
    assert!(take(&mut org).is_empty(), "in hand");
    let pause = hold_back(&mut org, before[0].key, Duration::ZERO);
    assert_eq!(take(org.after(pause)), before, "nothing was tried");
    org.record("", spend(6), "b").unwrap();
    org.record("", spend(7), "c").unwrap();
    assert_eq!(org.ask(TakeOutbox { max: 1 }).unwrap().len(), 1);
    assert_eq!(org.ask(TakeOutbox { max: 9 }).unwrap().len(), 1);
}
