//! What in-process tests share: a clock that stands still, one policy for all, and a node's actors
//! and service over the memory store.

#![cfg(feature = "server")]

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use smallvec::smallvec;

use crate::{
    actors::{
        self, Orgs, Policies, Rules, WriteBehind,
        billing::{Balances, BillingRules},
    },
    bounds::{Bounds, HOUR_MS},
    cluster::table::Table,
    domain::{
        balance::{Balance, BalanceVerdict, DenyReason},
        command::{Acquire, Record, Resume},
        events::EventKinds,
        gate::Cause,
        ids::{ExecutionId, Meter, OrgId, RequestId},
        lease::{LeaseTime, Now},
        outbox::Delivery,
        policy::{BalancePolicy, BalanceSource, OrgPolicy, Plans, RateLimit},
        request::Idempotency,
        scopes::Scopes,
        service_time::{ClockMark, ClockState},
        window::Millis,
    },
    ports::{BillingProvider, Clock, DeliveryFault, Freshness, NotDelivered, Notice, Usage, Webhook},
    service::{self, Service},
    store::{dump::Text, memory::MemoryStore},
    telemetry::Metrics,
};

pub(crate) const T0: Millis = 495_000 * HOUR_MS;

#[derive(Debug)]
pub(crate) struct TestClock {
    now: AtomicU64,
    pub(crate) doubted: AtomicBool,
}

impl Default for TestClock {
    fn default() -> Self {
        Self { now: T0.into(), doubted: false.into() }
    }
}

impl TestClock {
    pub(crate) fn at(now: Millis) -> Self {
        Self { now: now.into(), doubted: false.into() }
    }

    pub(crate) fn advance(&self, by: Millis) {
        self.now.fetch_add(by, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn read(&self) -> Now {
        Now::at(self.now.load(Ordering::SeqCst))
    }

    fn may_purge(&self) -> bool {
        !self.doubted.load(Ordering::SeqCst)
    }

    fn state(&self) -> ClockState {
        if self.may_purge() { ClockState::Steady } else { ClockState::Ahead(HOUR_MS) }
    }

    fn mark(&self) -> ClockMark {
        ClockMark { service: self.now(), lease: LeaseTime(self.now()), ..ClockMark::default() }
    }
}

/// One policy for every org; looking it up for the org `poison` panics while `poisoned` is set.
#[derive(Debug, Default)]
pub(crate) struct Uniform {
    pub(crate) policy: Arc<OrgPolicy>,
    pub(crate) poisoned: AtomicBool,
}

impl Plans for Uniform {
    fn with_plan(&self, _: &OrgId, _: &str) -> Option<Arc<OrgPolicy>> {
        None
    }

    fn plan_names(&self) -> Vec<String> {
        Vec::new()
    }
}

impl Policies for Uniform {
    fn policy(&self, org: &OrgId) -> Arc<OrgPolicy> {
        assert!(org.as_str() != "poison" || !self.poisoned.load(Ordering::SeqCst), "poisoned");
        self.policy.clone()
    }

    fn admits(&self, _: &OrgId) -> bool {
        true
    }

    fn lists(&self, _: &OrgId) -> bool {
        false
    }
}

/// Gives the answer that a test sets, after as long as the test sets, and counts how often it was asked.
#[derive(Debug)]
pub(crate) struct Scripted {
    pub(crate) verdict: Mutex<BalanceVerdict>,
    pub(crate) pays: Mutex<Result<bool, Cause>>,
    pub(crate) delivery: Mutex<Delivery>,
    /// For some orgs, another delivery than for the rest.
    pub(crate) delivery_of: Mutex<BTreeMap<OrgId, Delivery>>,
    pub(crate) takes: Mutex<Duration>,
    /// For some orgs, another verdict and duration than for the rest.
    pub(crate) of: Mutex<BTreeMap<OrgId, (BalanceVerdict, Duration)>>,
    /// It panics when asked.
    pub(crate) broken: AtomicBool,
    /// Checks, and those of them that went past the provider's caches.
    pub(crate) asked: AtomicU64,
    pub(crate) asked_fresh: AtomicU64,
    pub(crate) asked_pays: AtomicU64,
    /// Everything reported, repeats included.
    pub(crate) reported: Mutex<Vec<Usage>>,
}

impl Default for Scripted {
    fn default() -> Self {
        Self {
            verdict: allowed().into(),
            pays: Ok(false).into(),
            delivery: Delivery::Delivered.into(),
            delivery_of: Mutex::default(),
            takes: Duration::ZERO.into(),
            of: Mutex::default(),
            broken: false.into(),
            asked: 0.into(),
            asked_fresh: 0.into(),
            asked_pays: 0.into(),
            reported: Vec::new().into(),
        }
    }
}

impl Scripted {
    pub(crate) fn says(&self, verdict: BalanceVerdict) {
        *self.verdict.lock().unwrap() = verdict;
    }

    pub(crate) fn says_of(&self, name: &str, verdict: BalanceVerdict, takes: Duration) {
        self.of.lock().unwrap().insert(org(name), (verdict, takes));
    }

    pub(crate) fn takes(&self, takes: Duration) {
        *self.takes.lock().unwrap() = takes;
    }

    pub(crate) fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }

    async fn taking<T>(&self, answer: T) -> T {
        let takes = *self.takes.lock().unwrap();
        self.after(takes, answer).await
    }

    /// What is said is decided when the question arrives, and heard when the time is over.
    async fn after<T>(&self, takes: Duration, answer: T) -> T {
        assert!(!self.broken.load(Ordering::SeqCst), "broken");
        if !takes.is_zero() {
            let _ = tokio::time::timeout(takes, std::future::pending::<()>()).await;
        }
        answer
    }
}

impl BillingProvider for Scripted {
    fn check<'a>(&'a self, org: &'a OrgId, freshness: Freshness) -> BoxFuture<'a, BalanceVerdict> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.asked_fresh.fetch_add(u64::from(freshness == Freshness::Fresh), Ordering::SeqCst);
        let common = (*self.verdict.lock().unwrap(), *self.takes.lock().unwrap());
        let (verdict, takes) = self.of.lock().unwrap().get(org).copied().unwrap_or(common);
        Box::pin(self.after(takes, verdict))
    }

    fn pays<'a>(&'a self, _: &'a OrgId) -> BoxFuture<'a, Result<bool, Cause>> {
        self.asked_pays.fetch_add(1, Ordering::SeqCst);
        let pays = *self.pays.lock().unwrap();
        Box::pin(self.taking(pays))
    }

    fn report(&self, usage: Usage) -> BoxFuture<'_, Delivery> {
        let common = *self.delivery.lock().unwrap();
        let delivery = self.delivery_of.lock().unwrap().get(&usage.org).copied().unwrap_or(common);
        self.reported.lock().unwrap().push(usage);
        Box::pin(self.taking(delivery))
    }
}

/// What a provider says of an org that has enough.
pub(crate) fn allowed() -> BalanceVerdict {
    BalanceVerdict::Allowed(Balance { authoritative: true, ..Balance::default() })
}

/// What it says of one that has nothing left.
pub(crate) fn exhausted() -> BalanceVerdict {
    let balance = Balance { granted: Some(10), remaining: Some(0), authoritative: true, ..Balance::default() };
    BalanceVerdict::Denied(DenyReason::Exhausted, balance)
}

/// The policy of an org whose balance a provider keeps.
pub(crate) fn billed(policy: OrgPolicy) -> OrgPolicy {
    OrgPolicy { balance: BalancePolicy { source: BalanceSource::Provider, ..policy.balance }, ..policy }
}

/// Takes events, and answers as each test sets it.
#[derive(Debug, Default)]
pub(crate) struct Receiving {
    /// Everything that came, repeats included: the org, the number, and whether it was taken.
    pub(crate) got: Mutex<Vec<(String, u64, bool)>>,
    /// Attempts to refuse from now on.
    pub(crate) refuse: AtomicU64,
    /// Whatever is of this org is refused.
    pub(crate) refused_org: Mutex<String>,
}

impl Webhook for Receiving {
    fn deliver<'a>(&'a self, notice: Notice<'a>) -> BoxFuture<'a, Result<(), NotDelivered>> {
        let (from, number) = match notice {
            Notice::Org(org, undelivered) => (org.to_string(), undelivered.number()),
            Notice::Node(node, event) => (node.to_owned(), event.number),
        };
        let refused = self.refuse.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        let refused = refused || *self.refused_org.lock().unwrap() == from;
        self.got.lock().unwrap().push((from, number, !refused));
        let outcome =
            if refused { Err(NotDelivered { fault: DeliveryFault::Refused(500), after: None }) } else { Ok(()) };
        async move { outcome }.boxed()
    }
}

/// A node without its fronts.
pub(crate) struct Node {
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) billing: Arc<Scripted>,
    pub(crate) webhook: Arc<Receiving>,
    pub(crate) orgs: Orgs,
    pub(crate) service: Arc<Service>,
    pub(crate) policies: Arc<Uniform>,
    pub(crate) metrics: Arc<Metrics>,
}

pub(crate) fn rate_of(amount: u64) -> OrgPolicy {
    OrgPolicy { rate: RateLimit { amount: Some(amount), ..RateLimit::default() }, ..OrgPolicy::default() }
}

pub(crate) fn rules(policies: Arc<Uniform>, bounds: Bounds, generation: u64) -> Rules {
    Rules {
        policies,
        bounds,
        pool_stats: Duration::from_secs(15),
        webhook_kinds: EventKinds::NONE,
        since: 0,
        generation,
    }
}

pub(crate) async fn node(policy: OrgPolicy) -> Node {
    node_on(MemoryStore::new(), policy, WriteBehind { interval: Duration::from_millis(10), max: 4096 }).await
}

pub(crate) async fn node_on(store: Arc<MemoryStore>, policy: OrgPolicy, write_behind: WriteBehind) -> Node {
    let clock = Arc::new(TestClock::default());
    let policies = Arc::new(Uniform { policy: Arc::new(policy), poisoned: false.into() });
    let billing = Arc::new(Scripted::default());
    let metrics = Arc::new(Metrics::default());
    let webhook = Arc::new(Receiving::default());
    let deps = actors::Deps {
        clock: clock.clone(),
        store: store.clone(),
        table: Table::alone(),
        rules: rules(policies.clone(), Bounds::default(), 0),
        write_behind,
        incarnation: 7,
        node: "test".into(),
        provider: billing.clone(),
        webhook: webhook.clone(),
        events: metrics.clone(),
    };
    let orgs = Orgs::start(deps).await.unwrap();
    let balances = Balances::start(billing.clone(), clock.clone(), BillingRules::default()).await.unwrap();
    let (reloads, mut asked) = service::Reloads::new();
    tokio::spawn(async move {
        while let Some(reply) = asked.recv().await {
            drop(reply.send(Arc::default()));
        }
    });
    let service = Arc::new(Service::new(service::Deps {
        table: Table::alone(),
        others: None,
        orgs: orgs.clone(),
        clock: clock.clone(),
        store: store.clone(),
        engine: store.clone(),
        dump: Arc::new(Text),
        balances: balances.clone(),
        metrics: metrics.clone(),
        reloads,
        node: "test".into(),
    }));
    Node { store, clock, billing, webhook, orgs, service, policies, metrics }
}

pub(crate) fn org(name: &str) -> OrgId {
    OrgId::parse("org", name).unwrap()
}

pub(crate) fn idempotency(id: &str) -> Idempotency {
    Idempotency { id: RequestId::parse("request_id", id).unwrap(), fingerprint: 1 }
}

pub(crate) fn acquire() -> Acquire {
    Acquire::of(Scopes::org(), smallvec![(Meter::executions(), 1)])
}

pub(crate) fn plain() -> Arc<Acquire> {
    Arc::new(acquire())
}

pub(crate) fn record(id: &str, amount: u64) -> Record {
    let usage = smallvec![(Meter::spend(), amount)];
    Record { scopes: Scopes::org(), usage, decision: None, occurred_at: None, idempotency: idempotency(id) }
}

pub(crate) fn resume() -> Resume {
    Resume { execution: ExecutionId::parse("execution_id", "e1").unwrap(), idempotency: None }
}

/// Moves the runtime's paused clock on, step by step, until `happened`; fails past a minute.
pub(crate) async fn until(mut happened: impl FnMut() -> bool) {
    for _ in 0..60_000 {
        if happened() {
            return;
        }
        tokio::task::yield_now().await;
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    panic!("it did not happen within a minute");
}
