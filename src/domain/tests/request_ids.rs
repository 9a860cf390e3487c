//! R-PIPE-6: a retry under the same request id gets the same answer and is charged once.

use super::*;

fn keyed(id: &str) -> Acquire {
    Acquire { idempotency: Some(key(id)), ..ask() }
}

#[test]
fn a_replay_answers_the_same_outcome_and_charges_once_also_after_a_restart() {
    let mut org = OrgBench::with([executions_limit(CLOCK_HOUR, 1)]);
    let first = org.acquire(keyed("a"));
    for _ in 0..3 {
        let again = org.acquire(keyed("a"));
        assert!(again.allowed && again.replayed, "R-PIPE-6");
        assert_eq!(again.id, first.id);
        assert_eq!((org.used("quota/executions/aligned/1h"), org.used("rate")), (1, 1));
        org.restart();
    }
    assert_eq!(org.run(), Code::QuotaExceeded, "a new call is a new call");
}

#[test]
fn an_admitted_call_is_replayed_whatever_would_be_decided_now() {
    let mut org = OrgBench::with([executions_limit(CLOCK_HOUR, 1)]);
    org.acquire(keyed("a"));
    org.freeze("f").unwrap();
    org.policy.limits = vec![executions_limit(CLOCK_HOUR, 0)].into();
    org.policy.balance.source = BalanceSource::Provider;
    let again = org.acquire(Acquire { balance: None, ..keyed("a") });
    assert!(again.allowed && again.replayed && again.code() == Code::Allowed);
}

#[test]
fn another_body_under_the_same_id_is_refused() {
    let mut org = OrgBench::new();
    org.acquire(keyed("a"));
    org.restart();
    assert_eq!(org.try_acquire(keyed("a#other")), Err(OrgError::RequestIdReused));
    assert_eq!(org.used("rate"), 1);
    assert!(org.record("", spend(1), "a").is_ok(), "ids are unique per rpc");
}

#[test]
fn a_denial_is_not_remembered() {
    let mut org = OrgBench::with([executions_limit(CLOCK_HOUR, 0)]);
    assert!(!org.acquire(keyed("a")).allowed);
    org.policy.limits = Limits::default();
    let second = org.acquire(keyed("a"));
    assert!(second.allowed && !second.replayed, "R-PIPE-6: evaluated afresh");
    assert_eq!(
        org.freeze("f").and(org.unfreeze("u")),
        Ok(Done { outcome: Frozen { was_frozen: true }, replayed: false })
    );
}

#[test]
fn plain_calls_are_remembered_ten_minutes_and_durable_ones_a_day() {
    let mut org = OrgBench::new();
    org.acquire(keyed("plain"));
    org.acquire(Acquire { reserve: spend(1), reservation_ttl: DAY_MS, ..keyed("holding") });
    org.record("", spend(1), "recorded").unwrap();
    org.resume("run", Some("resumed"));
    org.at(T0 + 10 * MINUTE_MS - 1).restart();
    assert!(org.acquire(keyed("plain")).replayed);
    assert_eq!(org.resume("run", Some("resumed")), Done { outcome: Resumed { continuations: 1 }, replayed: true });
    org.at(T0 + 10 * MINUTE_MS).restart();
    assert!(!org.acquire(keyed("plain")).replayed);
    assert_eq!(org.resume("run", Some("resumed")), Done { outcome: Resumed { continuations: 2 }, replayed: false });
    org.at(T0 + DAY_MS - 1).restart();
    assert!(org.acquire(Acquire { reserve: spend(1), reservation_ttl: DAY_MS, ..keyed("holding") }).replayed);
    assert_eq!(org.record("", spend(1), "recorded"), Ok(true));
    org.at(T0 + DAY_MS).restart();
    assert!(!org.acquire(Acquire { reserve: spend(1), ..keyed("holding") }).replayed);
    assert_eq!(org.record("", spend(1), "recorded"), Ok(false));
}

#[test]
fn sweeps_forget_no_id_before_its_time() {
    let mut org = OrgBench::new();
    org.acquire(keyed("plain"));
    org.record("", spend(1), "recorded").unwrap();
    for minute in 1..10 {
        org.at(T0 + minute * MINUTE_MS).sweep();
        org.crash();
        assert!(org.acquire(keyed("plain")).replayed, "minute {minute}");
    }
    for hour in 1..24 {
        org.at(T0 + hour * HOUR_MS).sweep();
        org.crash();
        assert_eq!(org.record("", spend(1), "recorded"), Ok(true), "hour {hour}");
    }
}

#[test]
fn an_id_shares_the_fate_of_its_charge() {
    let mut org = OrgBench::new();
    org.flush();
    org.acquire(keyed("a"));
    org.crash();
    assert!(!org.acquire(keyed("a")).replayed, "both were lost");
    assert_eq!(org.used("rate"), 1, "and the retry is charged once");
}

#[test]
fn a_full_memory_gives_up_ids_past_a_retrys_reach_and_refuses_before_that() {
    let mut org = OrgBench::new();
    org.bounds.request_ids_per_org = 2;
    org.acquire(keyed("a"));
    org.after(1).acquire(keyed("b"));
    org.at(T0 + MINUTE_MS - 1);
    assert_eq!(org.try_acquire(keyed("c")), Err(OrgError::RequestMemoryFull { most: 2 }), "R-PIPE-6");
    assert_eq!(org.used("rate"), 2, "a refused call is not charged");
    assert_eq!(org.record("", spend(1), "c"), Ok(false), "a durable call has room of its own");
    assert_eq!(org.run(), Code::Allowed, "a call without an id needs no room");
    assert!(org.acquire(keyed("a")).replayed, "and a replay neither");
    org.at(T0 + MINUTE_MS);
    assert!(org.acquire(keyed("c")).allowed);
    assert_eq!(org.snapshot().evicted, 1, "counted");
    assert!(org.acquire(keyed("b")).replayed);
}

#[test]
fn a_resume_is_never_refused_whatever_the_state() {
    let mut org = OrgBench::with([spend_limit(HOURLY, 0), executions_limit(CLOCK_HOUR, 0)]);
    org.policy.rate.amount = Some(1);
    org.policy.balance.source = BalanceSource::Provider;
    org.policy.balance.on_indeterminate = crate::domain::policy::OnIndeterminate::Deny;
    org.freeze("f").unwrap();
    org.store_fault = true;
    assert_eq!(
        org.resume("run", Some("a")),
        Done { outcome: Resumed { continuations: 1 }, replayed: false },
        "R-BAL-8"
    );
    assert_eq!(org.resume("run", Some("a")), Done { outcome: Resumed { continuations: 1 }, replayed: true });
    assert_eq!(org.resume("run", Some("b")), Done { outcome: Resumed { continuations: 2 }, replayed: false });
    let uncounted = Done { outcome: Resumed { continuations: 0 }, replayed: false };
    assert_eq!(org.resume("run", Some("a#other")), uncounted, "a clash of ids goes on uncounted");
    org.bounds.request_ids_per_org = 1;
    assert_eq!(org.resume("run", Some("c")), uncounted, "so does a full memory");
    org.bounds.executions_per_org = 1;
    assert_eq!(org.resume("other", None), uncounted, "and a full table");
    assert_eq!((org.used("rate"), org.limit("rate").blocked), (0, 0), "it is no call of the backstop");
}

#[test]
fn an_admitted_execution_is_known_before_its_first_continuation() {
    let mut org = OrgBench::new();
    let id = org.acquire(Acquire { with_pause: true, ..ask() }).id.unwrap();
    org.restart();
    assert!(org.snapshot().executions[0].admitted);
    assert_eq!(org.resume(&id.to_string(), None), Done { outcome: Resumed { continuations: 1 }, replayed: false });
    org.resume("unknown", None);
    let admitted: Vec<_> = org.snapshot().executions.iter().map(|row| row.admitted).collect();
    assert_eq!(admitted.iter().filter(|admitted| **admitted).count(), 1);
}
