//! The real binary and the billing provider's stand-in: what is admitted and completes is billed once,
//! whatever fails on the way.

#[path = "../standin/mod.rs"]
mod standin;

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tollgate::wire::{
    admin::v1::{BalanceVerdict, GetOrgRequest, RefreshBalanceRequest, ReplayExportsRequest},
    v1::{AcquireRequest, Amount, CommitRequest, DecisionCode, RecordRequest, ResumeRequest},
};
use tonic::Status;

use self::standin::{Fault, Standin, books::Feature};
use crate::harness::{
    alone, beside_another,
    chance::Chance,
    client::{Gate, plain},
    node::{Node, Setup},
    poll, size,
};

const ORGS: usize = 6;
/// This customer has nothing left: its executions are denied, and none may be billed.
const BROKE: &str = "broke";
/// Outbox rows that a kill interrupted go out again by the org's timer, half a minute later.
const DELIVERED_WITHIN: Duration = Duration::from_secs(240);
const SOON: Duration = Duration::from_secs(15);

struct Lab {
    dir: TempDir,
    standin: Standin,
    setup: Setup,
}

async fn lab() -> Lab {
    let (dir, standin) = (TempDir::new().unwrap(), Standin::start().await);
    let secret = |name: &str, text: &str| -> PathBuf {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let key = secret("key", "am_sk_test_standin");
    let setup = Setup::at(dir.path().join("data"))
        .set("RATE__AMOUNT", 1_000_000_000)
        .set("BILLING__PROVIDER", "autumn")
        .set("BILLING__AUTUMN__BASE_URL", standin.base_url())
        .set("BILLING__AUTUMN__SECRET_KEY_FILE", key.display());
    Lab { dir, standin, setup }
}

fn granted(granted: i64) -> Feature {
    Feature { granted, ..Feature::default() }
}

/// What one org's callers know, over every kill.
#[derive(Debug, Default)]
struct Told {
    /// Executions whose end was acknowledged.
    completed: i64,
    /// Ends that were reported and not acknowledged: they are reported again under the same id.
    unsure: Vec<End>,
    /// Ends of executions whose holds are left to expire, and in which life of the node each began.
    left: Vec<(usize, CommitRequest)>,
    /// Of those that are completed, how many had expired.
    late: u64,
    denied: u64,
    calls: u64,
}

/// The end of an execution, as it is reported.
#[derive(Debug, Clone)]
enum End {
    Record(RecordRequest),
    Commit(CommitRequest),
}

impl End {
    /// Whether it was late; an error where nobody says.
    async fn tell(self, gate: &mut Gate) -> Result<bool, Status> {
        match self {
            Self::Record(request) => gate.record(request).await.map(|_| false),
            Self::Commit(request) => gate.commit(request).await.map(|answer| answer.into_inner().late),
        }
    }
}

fn spend() -> Vec<Amount> {
    vec![Amount { meter: "spend".into(), amount: 5 }]
}

/// Lives of the node, of 0.3 s each, after which a hold of a second has expired.
const LIVES_OF_A_HOLD: usize = 8;

/// Asks, runs and tells the end of executions until the node is gone.
async fn run(
    (node, life): (&Node, usize),
    org: String,
    told: Arc<Mutex<BTreeMap<String, Told>>>,
    stop: CancellationToken,
) {
    let mut gate = node.gate().await;
    let mut ends = {
        let mut told = told.lock().unwrap();
        let mine = told.entry(org.clone()).or_default();
        let is_due = |(began, _): &mut (usize, CommitRequest)| *began + LIVES_OF_A_HOLD <= life;
        let due: Vec<_> = mine.left.extract_if(.., is_due).map(|(_, commit)| End::Commit(commit)).collect();
        std::mem::take(&mut mine.unsure).into_iter().chain(due).collect::<Vec<_>>()
    };
    while !stop.is_cancelled() {
        let Some(end) = ends.pop() else {
            let number = {
                let mut told = told.lock().unwrap();
                let mine = told.entry(org.clone()).or_default();
                mine.calls += 1;
                mine.calls
            };
            let mut ask = AcquireRequest { org: org.clone(), ..AcquireRequest::default() };
            if number % 4 == 0 {
                ask.request_id = format!("hold-{number}");
                (ask.reserve, ask.reservation_ttl_ms) = (spend(), 1_000);
            }
            let Ok(decision) = gate.acquire(ask).await else {
                return;
            };
            let decision = decision.into_inner();
            let (org, request_id) = (org.clone(), format!("end-{number}"));
            if !decision.reservation_id.is_empty() {
                let reservation_id = decision.reservation_id;
                let commit = CommitRequest { org: org.clone(), reservation_id, request_id, actual: spend() };
                told.lock().unwrap().entry(org).or_default().left.push((life, commit));
            } else if decision.allowed {
                ends.push(End::Record(RecordRequest {
                    org,
                    decision_id: decision.decision_id,
                    request_id,
                    usage: spend(),
                    ..RecordRequest::default()
                }));
            } else {
                assert_eq!(decision.code, i32::from(DecisionCode::BalanceExhausted), "{decision:?}");
                told.lock().unwrap().entry(org).or_default().denied += 1;
            }
            continue;
        };
        let Ok(late) = end.clone().tell(&mut gate).await else {
            ends.push(end);
            break;
        };
        let mut told = told.lock().unwrap();
        let mine = told.entry(org.clone()).or_default();
        mine.completed += 1;
        mine.late += u64::from(late);
    }
    told.lock().unwrap().entry(org).or_default().unsure.extend(ends);
}

/// One request in three fails in one way or another.
fn flaky(standin: &Standin, chance: &mut Chance) {
    for _ in 0..20 {
        standin.fault_for(
            "/v1/balances.track",
            match chance.below(6) {
                0 => Fault::Status(500),
                1 => Fault::LostAnswer,
                2 => Fault::Close,
                3 => Fault::RateLimited { retry_after: "1".into() },
                4 => Fault::Garbage,
                _ => Fault::Stall { ms: chance.between(1, 300) },
            },
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_completes_is_billed_once_over_kills_and_a_flaky_provider() {
    let _beside = beside_another().await;
    let mut chance = Chance::new("billing under kill -9");
    let (kills, began) = (size("TOLLGATE_BILLING_KILLS", 50), Instant::now());
    let Lab { dir: _dir, standin, setup } = lab().await;
    let orgs: Vec<String> = (0..ORGS).map(|index| format!("org-{index}")).collect();
    for org in &orgs {
        standin.grant(org, granted(1_000_000_000));
    }
    standin.grant(BROKE, granted(0));
    let told: Arc<Mutex<BTreeMap<String, Told>>> = Arc::default();
    for kill in 0..=kills {
        let node = Arc::new(setup.start().await);
        flaky(&standin, &mut chance);
        let stop = CancellationToken::new();
        let all = orgs.iter().cloned().chain([BROKE.to_owned()]);
        let callers: Vec<_> = all
            .map(|org| {
                let (node, told, stop) = (node.clone(), told.clone(), stop.clone());
                tokio::spawn(async move { run((&node, kill), org, told, stop).await })
            })
            .collect();
        // The moment of the kill: random on purpose, nothing is waited for.
        tokio::time::sleep(chance.millis(60, 500)).await;
        if kill == kills {
            stop.cancel();
        } else {
            node.process.signal("KILL");
        }
        for caller in callers {
            caller.await.unwrap();
        }
        let node = Arc::into_inner(node).unwrap();
        if kill < kills {
            node.kill();
            continue;
        }
        finish(&node, &standin, &orgs, &told).await;
        node.terminate().await;
    }
    let told = told.lock().unwrap();
    let (mut completed, mut late, mut tracked) = (0, 0, 0);
    for org in &orgs {
        assert_eq!(standin.usage(org), told[org].completed, "{org}: billed and completed");
        completed += told[org].completed;
        late += told[org].late;
    }
    tracked += standin.ledger().iter().filter(|entry| entry.path == "/v1/balances.track").count();
    assert_eq!(standin.usage(BROKE), 0, "what was denied is not billed");
    assert!(told[BROKE].denied > 0 && told[BROKE].completed == 0);
    println!(
        "billing: {kills} kills, {completed} completed and billed once, {late} of them late, {tracked} reports, {:?}",
        began.elapsed()
    );
    assert!(late > 0, "no hold was committed after it had expired");
    assert!(completed > i64::try_from(kills).unwrap(), "hardly anything completed");
    assert!(tracked > usize::try_from(completed).unwrap(), "nothing was ever told twice: this test sees nothing");
}

/// Tells what is unsure, and waits until nothing is on its way.
async fn finish(node: &Node, standin: &Standin, orgs: &[String], told: &Mutex<BTreeMap<String, Told>>) {
    let mut gate = node.gate().await;
    for org in orgs {
        let ends = {
            let mut told = told.lock().unwrap();
            let mine = told.get_mut(org).unwrap();
            let left = std::mem::take(&mut mine.left).into_iter().map(|(_, commit)| End::Commit(commit));
            std::mem::take(&mut mine.unsure).into_iter().chain(left).collect::<Vec<_>>()
        };
        for end in ends {
            let late = end.tell(&mut gate).await.unwrap();
            let mut told = told.lock().unwrap();
            let mine = told.get_mut(org).unwrap();
            mine.completed += 1;
            mine.late += u64::from(late);
        }
    }
    let admin = node.admin().await;
    for org in orgs {
        let arrived = || async {
            let found = admin.clone().get_org(GetOrgRequest { org: org.clone() }).await.unwrap().into_inner();
            assert_eq!(found.exports_set_aside, 0, "{org}");
            (found.exports_pending == 0).then_some(())
        };
        poll(format!("the usage of {org} to arrive"), DELIVERED_WITHIN, arrived).await;
    }
    assert!(standin.ledger().len() > orgs.len());
}

async fn allowed(node: &Node, org: &str) -> bool {
    node.gate().await.acquire(plain(org, "")).await.unwrap().into_inner().allowed
}

/// Of 500 calls, one after the other.
async fn p99(node: &Node, org: &str) -> Duration {
    let mut gate = node.gate().await;
    let mut took = Vec::new();
    for _ in 0..500 {
        let began = Instant::now();
        assert!(gate.acquire(plain(org, "")).await.unwrap().into_inner().allowed);
        took.push(began.elapsed());
    }
    took.sort_unstable();
    took[took.len() * 99 / 100]
}

fn checks(standin: &Standin, org: &str) -> usize {
    let of = |entry: &&standin::Entry| entry.path == "/v1/balances.check" && entry.body["customer_id"] == org;
    standin.ledger().iter().filter(of).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_of_the_provider_is_asked_past_flagged_and_asked_again() {
    let _beside = beside_another().await;
    let Lab { dir: _dir, standin, setup } = lab().await;
    let node = setup.set("BILLING__AUTUMN__BREAKER_FAILURES", 1000).start().await;
    let faults = [
        ("provider_error", Fault::Status(500)),
        ("timeout", Fault::Stall { ms: 3_000 }),
        ("provider_failed_open", Fault::FailedOpen),
        ("unknown_customer", Fault::CustomerNotFound),
        ("unknown_feature", Fault::FeatureNotFound),
        ("provider_unauthorized", Fault::Status(401)),
        ("provider_rate_limited", Fault::RateLimited { retry_after: "1".into() }),
        ("provider_bad_answer", Fault::Garbage),
        ("provider_bad_answer", Fault::Huge),
        ("provider_unreachable", Fault::Close),
        ("timeout", Fault::Trickle),
    ];
    let mut gate = node.gate().await;
    let mut counted = BTreeMap::new();
    for (index, (cause, fault)) in faults.into_iter().enumerate() {
        let org = format!("org-{index}");
        standin.grant(&org, granted(10));
        standin.fault(fault.clone());
        let first = gate.acquire(plain(&org, "")).await.unwrap().into_inner();
        let causes: Vec<_> = first.fail_open.iter().map(|open| (open.gate.as_str(), open.cause.as_str())).collect();
        assert_eq!((first.allowed, causes), (true, vec![("balance", cause)]), "{fault:?}");
        assert_eq!(checks(&standin, &org), 1, "{fault:?}: it was asked");
        let second = gate.acquire(plain(&org, "")).await.unwrap().into_inner();
        assert!(second.allowed && second.fail_open.is_empty(), "{fault:?}: {second:?}");
        assert_eq!(checks(&standin, &org), 2, "{fault:?}: a failure is not remembered");
        *counted.entry(cause).or_insert(0) += 1;
        let series = format!("tollgate_fail_open_total{{gate=\"balance\",cause=\"{cause}\"}}");
        assert_eq!(node.metric(&series).await, counted[cause], "{cause}");
    }
    node.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_hangs_is_left_alone_after_a_while_and_others_do_not_wait() {
    let _alone = alone().await;
    let Lab { dir: _dir, standin, setup } = lab().await;
    let node = setup.start().await;
    standin.grant("known", granted(1_000_000));
    assert!(allowed(&node, "known").await);
    let before = p99(&node, "known").await;
    for _ in 0..50 {
        standin.fault(Fault::Hang);
    }
    let (gate, org) = (node.gate().await, "stuck-first");
    let stuck: Vec<_> = (0..200)
        .map(|_| {
            let mut gate = gate.clone();
            tokio::spawn(async move { gate.acquire(plain(org, "")).await.unwrap().into_inner() })
        })
        .collect();
    let during = p99(&node, "known").await;
    assert!(stuck.iter().any(|call| !call.is_finished()), "measured while they hang");
    for call in stuck {
        let decision = call.await.unwrap();
        assert_eq!((decision.allowed, decision.fail_open[0].cause.as_str()), (true, "timeout"));
    }
    println!("billing: p99 of another org {before:?}, with a provider that hangs {during:?}");
    let mut causes = Vec::new();
    for index in 0..8 {
        let began = Instant::now();
        let mut gate = node.gate().await;
        let decision = gate.acquire(plain(&format!("stuck-{index}"), "")).await.unwrap().into_inner();
        assert!(decision.allowed && began.elapsed() < SOON, "{:?}", began.elapsed());
        causes.push(decision.fail_open[0].cause.clone());
        assert!(allowed(&node, "known").await, "it has its answer");
    }
    assert!(causes.contains(&"timeout".to_owned()) && causes.contains(&"circuit_open".to_owned()), "{causes:?}");
    let mut gate = node.gate().await;
    let resume = ResumeRequest { org: "stuck-0".into(), execution_id: "e".into(), ..ResumeRequest::default() };
    assert!(gate.resume(resume).await.unwrap().into_inner().counted);
    node.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_cold_calls_are_one_question_and_a_denied_org_asks_no_more_than_it_may() {
    let _beside = beside_another().await;
    let Lab { dir: _dir, standin, setup } = lab().await;
    let node = setup.start().await;
    standin.grant("crowd", granted(1_000_000));
    standin.fault(Fault::Stall { ms: 300 });
    let gate = node.gate().await;
    let calls: Vec<_> = (0..1000)
        .map(|_| {
            let mut gate = gate.clone();
            tokio::spawn(async move { gate.acquire(plain("crowd", "")).await.unwrap().into_inner().allowed })
        })
        .collect();
    for call in calls {
        assert!(call.await.unwrap());
    }
    assert_eq!(checks(&standin, "crowd"), 1);
    standin.grant("empty", granted(0));
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(10) {
        assert!(!allowed(&node, "empty").await);
    }
    let asked = checks(&standin, "empty");
    assert!((2..=6).contains(&asked), "{asked}");
    node.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_seen_by_itself_and_at_once_by_a_refresh() {
    let _beside = beside_another().await;
    let Lab { dir: _dir, standin, setup } = lab().await;
    let node = setup.start().await;
    standin.caching(true);
    for org in ["alone", "refreshed"] {
        standin.grant(org, granted(0));
        assert!(!allowed(&node, org).await);
    }
    standin.caching(false);
    standin.grant("alone", granted(10));
    let paid = Instant::now();
    poll("a payment to be seen by itself", SOON, || async { allowed(&node, "alone").await.then_some(()) }).await;
    println!("billing: seen by itself after {:?}", paid.elapsed());

    standin.caching(true);
    assert!(!allowed(&node, "refreshed").await);
    standin.grant("refreshed", granted(10));
    let refresh = RefreshBalanceRequest { org: "refreshed".into(), ..Default::default() };
    let answer = node.admin().await.refresh_balance(refresh).await.unwrap().into_inner();
    assert_eq!((answer.verdict(), answer.remaining), (BalanceVerdict::Allowed, 10), "past the provider's own cache");
    assert!(allowed(&node, "refreshed").await);
    node.terminate().await;
}

/// Posts that something happened to `org`, signed with `key`.
async fn hook(node: &Node, key: &str, id: &str, org: &str) -> u16 {
    let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().to_string();
    let body = format!(r#"{{"type":"billing.updated","data":{{"customer_id":"{org}"}}}}"#);
    let mac = Hmac::<Sha256>::new_from_slice(&BASE64_STANDARD.decode(key).unwrap()).unwrap();
    let mac = mac.chain_update(format!("{id}.{at}.{body}")).finalize().into_bytes();
    let signature = format!("v1,{}", BASE64_STANDARD.encode(mac));
    let headers = [("svix-id", id), ("svix-timestamp", &at), ("svix-signature", &signature)];
    node.post("/webhooks/autumn", &headers, &body).await.unwrap().0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_seen_at_once_by_a_webhook_that_is_signed() {
    const KEY: &str = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let _beside = beside_another().await;
    let Lab { dir, standin, setup } = lab().await;
    let secret = dir.path().join("webhook");
    fs::write(&secret, format!("whsec_{KEY}\n")).unwrap();
    // So that nothing but the message makes the node ask again.
    let setup = setup.set("BILLING__DENY_TTL", "1h").set("BILLING__DENY_REVALIDATE", "60s");
    let node = setup.set("BILLING__AUTUMN__WEBHOOK_SECRET_FILE", secret.display()).start().await;
    standin.grant("acme", granted(0));
    assert!(!allowed(&node, "acme").await);
    standin.grant("acme", granted(10));
    let forged = hook(&node, "Zm9yZ2VkIGZvcmdlZCBmb3JnZWQ=", "msg_1", "acme").await;
    let of_another = hook(&node, KEY, "msg_2", "other").await;
    assert_eq!((forged, of_another, allowed(&node, "acme").await), (401, 200, false));
    assert_eq!((hook(&node, KEY, "msg_1", "acme").await, allowed(&node, "acme").await), (200, true));
    assert_eq!((hook(&node, KEY, "msg_1", "acme").await, allowed(&node, "acme").await), (200, true));
    assert_eq!(checks(&standin, "acme"), 2, "a repeat of a message is no news");
    node.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_secret_there_is_no_webhook() {
    let _beside = beside_another().await;
    let Lab { dir: _dir, standin: _standin, setup } = lab().await;
    let node = setup.start().await;
    assert_eq!(node.post("/webhooks/autumn", &[], "{}").await.unwrap().0, 404);
    node.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_provider_refuses_is_set_aside_and_goes_out_when_an_operator_says_so() {
    let _beside = beside_another().await;
    let Lab { dir: _dir, standin, setup } = lab().await;
    let node = setup.start().await;
    standin.grant("acme", granted(10));
    let mut gate = node.gate().await;
    let decision = gate.acquire(plain("acme", "")).await.unwrap().into_inner();
    standin.fault_for("/v1/balances.track", Fault::Status(400));
    let end = RecordRequest {
        org: "acme".into(),
        decision_id: decision.decision_id,
        request_id: "end".into(),
        usage: vec![tollgate::wire::v1::Amount { meter: "spend".into(), amount: 5 }],
        ..RecordRequest::default()
    };
    gate.record(end).await.unwrap();
    let mut admin = node.admin().await;
    let org = || GetOrgRequest { org: "acme".into() };
    let aside = || async {
        let found = node.admin().await.get_org(org()).await.unwrap().into_inner();
        (found.exports_set_aside == 1).then_some(())
    };
    poll("the row to be set aside", SOON, aside).await;
    assert_eq!(standin.usage("acme"), 0);
    let replay = ReplayExportsRequest { org: "acme".into(), request_id: "again".into(), ..Default::default() };
    assert_eq!(admin.replay_exports(replay).await.unwrap().into_inner().replayed_rows, 1);
    poll("the row to arrive", SOON, || async { (standin.usage("acme") == 1).then_some(()) }).await;
    node.terminate().await;
}
