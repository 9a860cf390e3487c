//! The provider against the stand-in: every row of the answer table, every fault, and what was sent.

#[path = "../../../tests/standin/mod.rs"]
mod standin;

use std::time::Duration;

use serde_json::{Value, json};
use standin::{
    Fault, Standin,
    books::{Customer, Feature},
};

use super::*;
use crate::{
    domain::{
        balance::{Balance, DenyReason},
        outbox::OutboxKey,
    },
    testing::{T0, TestClock},
};

const KEY: &str = "am_sk_test_stand_in";

fn settings(base_url: String) -> AutumnSettings {
    // A machine that is busy is no fault of the provider's.
    let timeout = Duration::from_secs(30);
    AutumnSettings { base_url, timeout, ..AutumnSettings::new(SecretKey::parse(KEY).unwrap(), "executions") }
}

fn clock() -> Arc<TestClock> {
    Arc::new(TestClock::at(T0))
}

async fn start() -> (Standin, Autumn) {
    let standin = Standin::start().await;
    standin.clock(T0, Some(T0));
    let autumn = Autumn::new(settings(standin.base_url()), clock()).unwrap();
    (standin, autumn)
}

/// Waits for less than any delay of the stand-in.
fn impatient(autumn: &Autumn) -> Autumn {
    Autumn::new(AutumnSettings { timeout: Duration::from_secs(1), ..autumn.settings.clone() }, clock()).unwrap()
}

fn org(id: &str) -> OrgId {
    OrgId::parse("org", id).unwrap()
}

fn usage(units: u64) -> Usage {
    let (org, feature) = (org("org_1"), "executions".into());
    Usage { key: OutboxKey(units.into()), org, feature, units, is_refund: false, at: T0 }
}

async fn check(autumn: &Autumn) -> BalanceVerdict {
    autumn.check(&org("org_1"), Freshness::Cached).await
}

const ASKED: Balance = Balance {
    granted: None,
    remaining: None,
    unlimited: false,
    overage: false,
    resets_at: None,
    authoritative: true,
    stale: None,
};

fn amounts(granted: u64, remaining: u64) -> Balance {
    Balance { granted: Some(granted), remaining: Some(remaining), ..ASKED }
}

/// R-BAL-4, R-BAL-6: the answer table, row by row.
#[tokio::test]
async fn every_answer_has_its_verdict() {
    use BalanceVerdict::{Allowed, Denied};
    let (standin, autumn) = start().await;
    let included = Feature { granted: 100, ..Feature::default() };
    let overage = Feature { overage_allowed: true, usage: 100, ..included.clone() };
    for (row, feature, expected) in [
        (
            "allowed, metered",
            Feature { usage: 28, next_reset_at: Some(1_773_851_121_437), ..included.clone() },
            Allowed(Balance { resets_at: Some(1_773_851_121_437), ..amounts(100, 72) }),
        ),
        (
            "exhausted",
            Feature { usage: 100, next_reset_at: Some(7), ..included.clone() },
            Denied(DenyReason::Exhausted, Balance { resets_at: Some(7), ..amounts(100, 0) }),
        ),
        (
            "unlimited",
            Feature { unlimited: true, usage: 1_000_000, ..Feature::default() },
            Allowed(Balance { unlimited: true, ..ASKED }),
        ),
        ("usage-based overage", overage.clone(), Allowed(Balance { overage: true, ..amounts(100, 0) })),
        (
            "overage capped",
            Feature { max_purchase: Some(10), usage: 110, ..overage.clone() },
            Denied(DenyReason::SpendCap, Balance { overage: true, ..amounts(100, 0) }),
        ),
        (
            "overage below its cap",
            Feature { max_purchase: Some(10), usage: 109, ..overage.clone() },
            Allowed(Balance { overage: true, ..amounts(100, 0) }),
        ),
        (
            "windowed usage limit",
            Feature { usage_limit: Some(30), usage: 30, ..included.clone() },
            Denied(DenyReason::UsageCap, amounts(100, 70)),
        ),
        ("boolean", Feature { boolean: true, ..Feature::default() }, Allowed(ASKED)),
    ] {
        standin.grant("org_1", feature);
        assert_eq!(check(&autumn).await, expected, "{row}");
    }
    standin.customer("org_1", Customer::default());
    assert_eq!(check(&autumn).await, Denied(DenyReason::NoEntitlement, ASKED), "not in the plan");
}

/// Bodies that the stand-in's books cannot produce.
#[test]
fn bodies_are_read_tolerantly_and_never_taken_for_a_denial_they_are_not() {
    use BalanceVerdict::{Allowed, Denied, Unknown};
    let bad = Unknown(Cause::ProviderBadAnswer);
    for (body, expected) in [
        // Fractions are rounded down; strings may hold numbers; what is not known is passed over.
        (
            r#"{"allowed":true,"new":[1],"balance":{"granted":"100.5","remaining":99.99,"plan":{}},"flag":null}"#,
            Allowed(amounts(100, 99)),
        ),
        (r#"{"allowed":true,"balance":{"granted":1e3,"remaining":-0.5}}"#, Allowed(amounts(1000, 0))),
        (
            r#"{"allowed":true,"balance":{"remaining":5,"next_reset_at":"2026-12-01"}}"#,
            Allowed(Balance { remaining: Some(5), ..ASKED }),
        ),
        // Credits: what one execution costs says how many are left.
        (
            r#"{"allowed":true,"required_balance":5,"balance":{"granted":1000,"remaining":104.9}}"#,
            Allowed(amounts(200, 20)),
        ),
        (
            r#"{"allowed":false,"required_balance":5,"balance":{"granted":1000,"remaining":4.9}}"#,
            Denied(DenyReason::Exhausted, amounts(200, 0)),
        ),
        (
            r#"{"allowed":false,"required_balance":"0.5","balance":{"granted":10,"remaining":0.5}}"#,
            Denied(DenyReason::UsageCap, amounts(20, 1)),
        ),
        (
            r#"{"allowed":false,"balance":{"remaining":0.9}}"#,
            Denied(DenyReason::Exhausted, Balance { remaining: Some(0), ..ASKED }),
        ),
        (
            r#"{"allowed":false,"balance":{"remaining":40,"overage_allowed":true}}"#,
            Denied(DenyReason::UsageCap, Balance { remaining: Some(40), overage: true, ..ASKED }),
        ),
        // A flag ends when it says so.
        (
            r#"{"allowed":true,"balance":null,"flag":{"id":"f","expires_at":1773851121437}}"#,
            Allowed(Balance { resets_at: Some(1_773_851_121_437), ..ASKED }),
        ),
        (r#"{"allowed":false,"balance":null}"#, Denied(DenyReason::NoEntitlement, ASKED)),
        // Let through without a reason is how it fails open, whatever the status.
        (r#"{"allowed":true,"balance":null,"flag":null}"#, Unknown(Cause::ProviderFailedOpen)),
        // Contradictions.
        (r#"{"allowed":false,"balance":{"unlimited":true,"remaining":0}}"#, bad),
        (r#"{"allowed":false,"balance":null,"flag":{"id":"f"}}"#, bad),
        // Amounts that are none.
        (r#"{"allowed":true,"balance":{"remaining":1e30}}"#, bad),
        (r#"{"allowed":true,"balance":{"remaining":true}}"#, bad),
        (r#"{"allowed":true,"required_balance":{},"balance":{"remaining":1}}"#, bad),
        // Other versions of the API, and no API at all.
        (r#"{"allowed":true,"code":"feature_found","unlimited":false,"balance":350,"usage":150}"#, bad),
        (r#"{"allowed":false,"code":"feature_found","feature_id":"executions"}"#, bad),
        (r#"{"allowed":false,"balance":{"granted_balance":5,"current_balance":0}}"#, bad),
        (r#"{"balance":{"remaining":1}}"#, bad),
        (r#"{"allowed":"true","balance":{"remaining":1}}"#, bad),
        (r#"{"allowed":1}"#, bad),
        ("{}", bad),
        ("[]", bad),
        ("", bad),
        ("<html>", bad),
        ("{\"allowed\":true,\"balance\":{\"remaining\":1}", bad),
    ] {
        assert_eq!(answers::verdict(body.as_bytes()), expected, "{body}");
    }
}

fn faults() -> Vec<(Fault, Cause)> {
    vec![
        (Fault::Status(500), Cause::ProviderError),
        (Fault::Status(503), Cause::ProviderError),
        (Fault::Stall { ms: 3000 }, Cause::Timeout),
        (Fault::Hang, Cause::Timeout),
        (Fault::Trickle, Cause::Timeout),
        (Fault::FailedOpen, Cause::ProviderFailedOpen),
        (Fault::CustomerNotFound, Cause::UnknownCustomer),
        (Fault::FeatureNotFound, Cause::UnknownFeature),
        (Fault::Status(404), Cause::ProviderRefused),
        (Fault::Status(401), Cause::ProviderUnauthorized),
        (Fault::Status(403), Cause::ProviderUnauthorized),
        (Fault::Status(400), Cause::ProviderRefused),
        (Fault::Status(409), Cause::ProviderRefused),
        (Fault::Status(302), Cause::ProviderBadAnswer),
        (Fault::RateLimited { retry_after: "7".into() }, Cause::ProviderRateLimited),
        (Fault::Garbage, Cause::ProviderBadAnswer),
        (Fault::Huge, Cause::ProviderBadAnswer),
        (Fault::Close, Cause::ProviderUnreachable),
    ]
}

/// R-BAL-3: each fault was a question that was really asked, each has its own cause, and the next
/// call asks again.
#[tokio::test]
async fn every_fault_is_a_cause_and_the_next_call_asks_again() {
    let (standin, autumn) = start().await;
    standin.grant("org_1", Feature { granted: 10, ..Feature::default() });
    let impatient = impatient(&autumn);
    for (at, (fault, cause)) in faults().into_iter().enumerate() {
        let asking = if cause == Cause::Timeout { &impatient } else { &autumn };
        standin.fault(fault.clone());
        assert_eq!(check(asking).await, BalanceVerdict::Unknown(cause), "{fault:?}");
        assert_eq!(standin.ledger().len(), 2 * at + 1, "{fault:?} was asked");
        assert_eq!(check(&autumn).await, BalanceVerdict::Allowed(amounts(10, 10)), "after {fault:?}");
        assert_eq!(standin.ledger().len(), 2 * at + 2, "after {fault:?}");
    }
}

#[tokio::test]
async fn what_was_let_through_without_looking_is_no_word_whatever_it_says() {
    let (standin, autumn) = start().await;
    let body = json!({"allowed": true, "balance": {"granted": 10, "remaining": 10}, "flag": null}).to_string();
    standin.fault(Fault::Answer { status: 202, body });
    assert_eq!(check(&autumn).await, BalanceVerdict::Unknown(Cause::ProviderFailedOpen));
}

#[tokio::test]
async fn a_provider_that_is_not_there_is_unreachable() {
    let standin = Standin::start().await;
    let base_url = standin.base_url();
    drop(standin);
    let autumn = Autumn::new(settings(base_url), clock()).unwrap();
    // The listener goes with its task, which may still be on its way out.
    while check(&autumn).await == BalanceVerdict::Unknown(Cause::UnknownCustomer) {}
    assert_eq!(check(&autumn).await, BalanceVerdict::Unknown(Cause::ProviderUnreachable));
}

#[tokio::test]
async fn what_is_sent_is_what_the_contract_asks_for() {
    let (standin, autumn) = start().await;
    standin.grant("org_1", Feature { granted: 10, ..Feature::default() });
    check(&autumn).await;
    autumn.check(&org("org_1"), Freshness::Fresh).await;
    autumn.pays(&org("org_1")).await.unwrap();
    autumn.report(usage(3)).await;
    let ledger = standin.ledger();
    let asked = json!({"customer_id": "org_1", "feature_id": "executions"});
    let [cached, fresh, pays, report] = ledger.as_slice() else { panic!("{ledger:?}") };
    for (entry, path, body) in [
        (cached, "/v1/balances.check", asked.clone()),
        (fresh, "/v1/balances.check", asked),
        (pays, "/v1/customers.get", json!({"customer_id": "org_1"})),
        (
            report,
            "/v1/balances.track",
            json!({"customer_id": "org_1", "feature_id": "executions", "value": 3, "overage_behavior": "cap"}),
        ),
    ] {
        assert_eq!((entry.method.as_str(), entry.path.as_str(), &entry.body), ("POST", path, &body));
        for (name, value) in [
            ("authorization", "Bearer am_sk_test_stand_in"),
            ("x-api-version", "2.3.0"),
            ("content-type", "application/json"),
            ("user-agent", concat!("tollgate/", env!("CARGO_PKG_VERSION"))),
        ] {
            assert_eq!(entry.headers.get(name).map(String::as_str), Some(value), "{path}: {name}");
        }
    }
    let header = |entry: &standin::Entry, name: &str| entry.headers.get(name).cloned();
    assert_eq!(header(cached, "x-skip-cache"), None);
    assert_eq!(header(fresh, "x-skip-cache").as_deref(), Some("true"));
    assert_eq!(header(report, "idempotency-key").as_deref(), Some("00000000000000000000000000000003"));
}

#[tokio::test]
async fn a_fresh_check_goes_past_the_caches_of_the_provider() {
    let (standin, autumn) = start().await;
    standin.caching(true);
    standin.grant("org_1", Feature::default());
    assert_eq!(check(&autumn).await, BalanceVerdict::Denied(DenyReason::Exhausted, amounts(0, 0)));
    standin.grant("org_1", Feature { granted: 10, ..Feature::default() });
    assert_eq!(check(&autumn).await, BalanceVerdict::Denied(DenyReason::Exhausted, amounts(0, 0)), "from its cache");
    let fresh = autumn.check(&org("org_1"), Freshness::Fresh).await;
    assert_eq!(fresh, BalanceVerdict::Allowed(amounts(10, 10)));
}

#[tokio::test]
async fn who_has_a_running_plan_that_is_not_free_pays() {
    let (standin, autumn) = start().await;
    let settings = AutumnSettings { free_plans: vec!["free".into()], ..autumn.settings.clone() };
    let autumn = Autumn::new(settings, clock()).unwrap();
    for (subscriptions, pays) in [
        (json!([]), false),
        (json!([{"plan_id": "team", "status": "active", "past_due": false, "expires_at": null}]), true),
        (json!([{"plan_id": "free", "status": "active"}]), false),
        (json!([{"plan_id": "free", "status": "active"}, {"plan_id": "team", "status": "active"}]), true),
        (json!([{"plan_id": "team", "status": "scheduled"}]), false),
        (json!([{"plan_id": "team", "status": "expired"}]), false),
        (json!([{"plan_id": "team", "status": "something_new"}]), false),
        (json!([{"plan_id": "team", "status": "active", "expires_at": T0 + 1}]), true),
        (json!([{"plan_id": "team", "status": "active", "expires_at": T0}]), false),
        (json!([{"plan_id": "team", "status": "active", "trial_ends_at": T0 - 1}]), true),
        (json!([{"plan_id": "team", "status": "trialing", "trial_ends_at": T0 + 1}]), true),
        (json!([{"plan_id": "team", "status": "trialing", "trial_ends_at": T0}]), false),
        (json!([{"status": "active"}, {"plan_id": "", "status": "active"}]), false),
    ] {
        let list: Vec<Value> = subscriptions.as_array().unwrap().clone();
        standin.customer("org_1", Customer { subscriptions: list, ..Customer::default() });
        assert_eq!(autumn.pays(&org("org_1")).await, Ok(pays), "{subscriptions}");
    }
    assert_eq!(autumn.pays(&org("stranger")).await, Ok(false), "who is no customer does not pay");
}

#[tokio::test]
async fn whether_an_org_pays_is_never_guessed() {
    let (standin, autumn) = start().await;
    standin.customer("org_1", Customer::default());
    let impatient = impatient(&autumn);
    for (fault, cause) in faults().into_iter().filter(|(_, cause)| *cause != Cause::UnknownCustomer) {
        let asking = if cause == Cause::Timeout { &impatient } else { &autumn };
        standin.fault(fault.clone());
        assert_eq!(asking.pays(&org("org_1")).await, Err(cause), "{fault:?}");
        assert_eq!(autumn.pays(&org("org_1")).await, Ok(false), "after {fault:?}");
    }
}

fn later(cause: Cause) -> Delivery {
    Delivery::Retry { cause, after: None }
}

fn refused(status: u16, code: &str) -> Fault {
    Fault::Answer { status, body: json!({"message": "no", "code": code}).to_string() }
}

/// R-BAL-7: only what the provider has is delivered, and only what it will never take is given up.
#[tokio::test]
async fn every_answer_to_a_report_has_its_outcome() {
    let (standin, autumn) = start().await;
    standin.grant("org_1", Feature { granted: 1_000_000, ..Feature::default() });
    let mut expected: Vec<(Fault, Delivery)> =
        faults().into_iter().map(|(fault, cause)| (fault, later(cause))).collect();
    for (fault, delivery) in &mut expected {
        match fault {
            Fault::FailedOpen => *delivery = Delivery::Delivered,
            Fault::Status(400) => *delivery = Delivery::Rejected(Cause::ProviderRefused),
            Fault::RateLimited { .. } => {
                let after = Some(Duration::from_secs(7));
                *delivery = Delivery::Retry { cause: Cause::ProviderRateLimited, after };
            }
            _ => {}
        }
    }
    expected.extend([
        (refused(409, "duplicate_idempotency_key"), Delivery::Duplicate),
        (refused(409, "conflict"), later(Cause::ProviderRefused)),
        (refused(400, "invalid_inputs"), Delivery::Rejected(Cause::ProviderRefused)),
        (refused(400, "invalid_api_version"), later(Cause::ProviderRefused)),
        (refused(422, "invalid_inputs"), Delivery::Rejected(Cause::ProviderRefused)),
        (Fault::Answer { status: 202, body: String::new() }, Delivery::Delivered),
        (Fault::Answer { status: 200, body: "[]".into() }, later(Cause::ProviderBadAnswer)),
    ]);
    let impatient = impatient(&autumn);
    for (at, (fault, outcome)) in (1..).zip(expected) {
        let reporting = if outcome == later(Cause::Timeout) { &impatient } else { &autumn };
        standin.fault(fault.clone());
        assert_eq!(reporting.report(usage(at)).await, outcome, "{fault:?}");
        assert_eq!(autumn.report(usage(1000 + at)).await, Delivery::Delivered, "after {fault:?}");
    }
}

#[tokio::test]
async fn usage_whose_receipt_was_lost_is_booked_once() {
    let (standin, autumn) = start().await;
    standin.grant("org_1", Feature { granted: 100, ..Feature::default() });
    standin.fault(Fault::LostAnswer);
    assert_eq!(autumn.report(usage(3)).await, later(Cause::ProviderUnreachable));
    assert_eq!(autumn.report(usage(3)).await, Delivery::Duplicate);
    assert_eq!(standin.usage("org_1"), 3);
}

#[tokio::test]
async fn usage_for_an_unknown_org_waits_until_there_is_one() {
    let (standin, autumn) = start().await;
    assert_eq!(autumn.report(usage(3)).await, later(Cause::UnknownCustomer));
    standin.grant("org_1", Feature { granted: 100, ..Feature::default() });
    assert_eq!(autumn.report(usage(3)).await, Delivery::Delivered);
}

#[tokio::test]
async fn what_does_not_fit_is_capped_or_booked_as_configured() {
    let (standin, capping) = start().await;
    let settings = AutumnSettings { overage_behavior: Overage::Overflow, ..capping.settings.clone() };
    let overflowing = Autumn::new(settings, clock()).unwrap();
    for (autumn, booked) in [(&capping, 10), (&overflowing, 15)] {
        standin.grant("org_1", Feature { granted: 10, ..Feature::default() });
        assert_eq!(autumn.report(Usage { units: 15, ..usage(booked) }).await, Delivery::Delivered);
        assert_eq!(standin.usage("org_1"), i64::try_from(booked).unwrap());
    }
}

/// Each report with the time that it said.
fn times(standin: &Standin) -> Vec<Option<Millis>> {
    let reports = standin.ledger().into_iter().filter(|entry| entry.path == "/v1/balances.track");
    reports.map(|entry| entry.body.get("timestamp").and_then(Value::as_u64)).collect()
}

/// R-BAL-10
#[tokio::test]
async fn usage_says_when_it_was_once_that_is_past_at_the_provider_for_certain() {
    const SECOND: Millis = 1_000;
    let standin = Standin::start().await;
    let clock = clock();
    standin.grant("org_1", Feature { granted: 100, ..Feature::default() });
    let autumn = Autumn::new(settings(standin.base_url()), clock.clone()).unwrap();
    // Seconds since the usage, on the clock of the provider. This machine's own says something else.
    clock.advance(180 * SECOND);
    let mut expected = Vec::new();
    for (at, age, sent) in [(1, 120, false), (2, 55, true), (3, 120, false), (4, 120, true), (5, 120, true)] {
        // What is sent follows from the answer before.
        expected.push(sent.then_some(T0));
        standin.clock(T0 + age * SECOND, Some(T0 + age * SECOND));
        assert_eq!(autumn.report(usage(at)).await, Delivery::Delivered);
    }
    assert_eq!(times(&standin), expected, "not before the first answer, and not what is younger than a minute");
    clock.doubted.store(true, std::sync::atomic::Ordering::SeqCst);
    autumn.report(usage(6)).await;
    assert_eq!(times(&standin).last(), Some(&None), "by a clock that is not believed");
}

/// R-BAL-10: the provider is behind the date of its own answers.
#[tokio::test]
async fn usage_that_is_refused_for_its_time_is_reported_again_without_it() {
    let (standin, autumn) = start().await;
    standin.grant("org_1", Feature { granted: 100, ..Feature::default() });
    standin.clock(T0 - 1_000, Some(T0 + 3_600_000));
    check(&autumn).await;
    assert_eq!(autumn.report(usage(3)).await, Delivery::Delivered);
    assert_eq!((times(&standin), standin.usage("org_1")), (vec![Some(T0), None], 3));
    let keys: Vec<_> = standin.ledger().iter().map(|entry| entry.headers.get("idempotency-key").cloned()).collect();
    assert_eq!(keys[1], keys[2], "under one key");
    // What is refused for another reason stays refused.
    standin.fault_for("/v1/balances.track", refused(400, "invalid_inputs"));
    standin.fault_for("/v1/balances.track", refused(400, "invalid_inputs"));
    assert_eq!(autumn.report(usage(4)).await, Delivery::Rejected(Cause::ProviderRefused));
    assert_eq!(times(&standin).len(), 4);
    // Nobody says what time it is: nothing is said about it.
    standin.clock(T0, None);
    let silent = Autumn::new(settings(standin.base_url()), clock()).unwrap();
    for units in 5..7 {
        assert_eq!(silent.report(usage(units)).await, Delivery::Delivered);
    }
    assert_eq!(times(&standin)[4..], [None, None]);
}

/// R-BAL-10, R-BUD-10: an answer without a date says nothing of the time, and what is old is old by any clock.
#[tokio::test]
async fn without_a_date_the_time_is_said_of_what_is_older_than_any_clock_is_wrong() {
    let (standin, clock) = (Standin::start().await, clock());
    standin.grant("org_1", Feature { granted: 100, ..Feature::default() });
    standin.clock(T0, None);
    let autumn = Autumn::new(settings(standin.base_url()), clock.clone()).unwrap();
    for (units, ahead) in [(1, 0), (2, 14 * 60_000), (3, 60_000)] {
        clock.advance(ahead);
        assert_eq!(autumn.report(usage(units)).await, Delivery::Delivered);
    }
    assert_eq!(times(&standin), [None, None, Some(T0)], "from a quarter of an hour on");
    clock.doubted.store(true, std::sync::atomic::Ordering::SeqCst);
    autumn.report(usage(4)).await;
    assert_eq!(times(&standin).last(), Some(&None), "by a clock that is not believed");
}

/// Usage of another org than `usage` has.
fn usage_of(name: &str, units: u64) -> Usage {
    Usage { org: org(name), ..usage(units) }
}

#[tokio::test]
async fn a_provider_that_keeps_failing_is_not_asked_for_a_while() {
    let (standin, autumn) = start().await;
    standin.grant("org_1", Feature { granted: 10, ..Feature::default() });
    for number in 0..4 {
        standin.fault(Fault::Status(500));
        autumn.check(&org(&format!("other_{number}")), Freshness::Cached).await;
    }
    // Questions share one breaker.
    standin.fault(Fault::Status(500));
    assert_eq!(autumn.pays(&org("payer")).await, Err(Cause::ProviderError));
    assert_eq!(check(&autumn).await, BalanceVerdict::Unknown(Cause::CircuitOpen));
    assert_eq!(autumn.pays(&org("org_1")).await, Err(Cause::CircuitOpen));
    assert_eq!(standin.ledger().len(), 5, "nothing was sent any more");
    assert_eq!(autumn.report(usage(1)).await, Delivery::Delivered, "reports are another matter");
}

#[tokio::test]
async fn reports_that_keep_failing_rest_and_keep_no_question_from_being_asked() {
    let (standin, autumn) = start().await;
    standin.grant("org_1", Feature { granted: 10, ..Feature::default() });
    for number in 0..5 {
        standin.fault(Fault::RateLimited { retry_after: "30".into() });
        autumn.report(usage_of(&format!("other_{number}"), 1)).await;
    }
    let Delivery::NotTried { cause: Cause::CircuitOpen, left } = autumn.report(usage(1)).await else {
        panic!("reported to a provider that is left alone");
    };
    assert!(left > Duration::from_secs(5), "as long as it asked for: {left:?}");
    assert_eq!(standin.ledger().len(), 5, "nothing was sent any more");
    assert!(matches!(check(&autumn).await, BalanceVerdict::Allowed(_)), "the gate goes on");
}

/// R-BAL-10: what is refused is no failure of the provider's; and what one customer gets, however often, is
/// none either.
#[tokio::test]
async fn what_concerns_one_org_alone_never_opens_the_breaker() {
    let (standin, autumn) = start().await;
    let limited = Fault::RateLimited { retry_after: "1".into() };
    let faults = [Fault::CustomerNotFound, Fault::FeatureNotFound, Fault::Status(400), Fault::FailedOpen];
    for fault in faults.into_iter().chain([Fault::Status(500), Fault::Close, limited]) {
        for _ in 0..6 {
            standin.fault(fault.clone());
            assert_ne!(check(&autumn).await, BalanceVerdict::Unknown(Cause::CircuitOpen), "{fault:?}");
        }
        let other = autumn.check(&org("other"), Freshness::Cached).await;
        assert_eq!(other, BalanceVerdict::Unknown(Cause::UnknownCustomer), "an answer, after {fault:?}");
    }
}

/// R-BAL-10: of any number of customers.
#[tokio::test]
async fn a_limit_that_names_the_customer_is_no_failure_of_the_providers() {
    let (standin, autumn) = start().await;
    let body = json!({"message": "slow down", "code": "customer_rate_limit_exceeded"}).to_string();
    for number in 0..10 {
        standin.fault(Fault::Answer { status: 429, body: body.clone() });
        let verdict = autumn.check(&org(&format!("busy_{number}")), Freshness::Cached).await;
        assert_eq!(verdict, BalanceVerdict::Unknown(Cause::ProviderRateLimited));
    }
}

#[tokio::test]
async fn nothing_prints_the_key() {
    let (_standin, autumn) = start().await;
    assert!(!format!("{autumn:?}").contains("stand_in"), "{autumn:?}");
}

/// TLS is set up with what the machine trusts; nothing is sent.
#[tokio::test]
async fn an_address_with_tls_can_be_used() {
    let settings = AutumnSettings { base_url: "https://127.0.0.1:1".into(), ..settings(String::new()) };
    match Autumn::new(settings, clock()) {
        Ok(autumn) => assert_eq!(check(&autumn).await, BalanceVerdict::Unknown(Cause::ProviderUnreachable)),
        // A machine that trusts nobody says so before the first call.
        Err(error) => assert!(error.to_string().contains("ca-certificates"), "{error}"),
    }
}
