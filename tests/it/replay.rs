//! After a restart: what is there is exactly what was promised, and asking again changes nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
};

use futures_util::{StreamExt, stream};
use tollgate::wire::{
    admin::v1::GetOrgRequest,
    v1::{AccountState, AcquireRequest, GetPoolRequest, RouteHealth},
};
use tonic::{Code, Status};

use crate::{
    harness::{
        chance::Chance,
        client::{Admin, Gate, Pools, reason},
        node::Node,
    },
    load::{Planes, ask},
    oracle::{Call, Durable, Facts, Log, OrgLog, Plain, PoolLog, Promise, Seen, pools::POOL},
};

const AT_ONCE: usize = 64;

/// What one comparison found.
#[derive(Debug, Clone, Copy, Default)]
pub struct Found {
    /// Durable calls that were in doubt and turned out to be there.
    pub doubts_there: usize,
    pub doubts: usize,
    /// Calls that had waited and were asked again.
    pub replayed: usize,
    /// Plain admissions acknowledged and forgotten, over all orgs and of the worst.
    pub forgotten: u64,
    pub forgotten_max: u64,
    /// Picks without an id that were in doubt, and of those, how many there are.
    pub unkeyed: u64,
    pub unkeyed_there: u64,
    /// Upstream accounts that are used up, whose upstream said so, and whose route is avoided.
    pub used_up: usize,
    pub said: usize,
    pub avoided: usize,
}

/// How a comparison is made.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// Plain admissions that may be forgotten per org.
    pub forgets: u64,
    /// Also asks a sample of this many older calls again; `usize::MAX` is all.
    pub older: usize,
}

pub async fn see(admin: &mut Admin, org: &str) -> Result<Seen, Status> {
    match admin.get_org(GetOrgRequest { org: org.into() }).await {
        Ok(answer) => Ok(Seen::of(&answer.into_inner(), None)),
        Err(status) if status.code() == Code::NotFound => Ok(Seen::default()),
        Err(status) => Err(status),
    }
}

/// With the accounts of its pool.
async fn see_whole(admin: &mut Admin, pools: &mut Pools, org: &str) -> Result<Seen, Status> {
    let answer = match admin.get_org(GetOrgRequest { org: org.into() }).await {
        Ok(answer) => answer.into_inner(),
        Err(status) if status.code() == Code::NotFound => return Ok(Seen::default()),
        Err(status) => return Err(status),
    };
    if answer.pools.is_empty() {
        return Ok(Seen::of(&answer, None));
    }
    let pool = pools.get_pool(GetPoolRequest { org: org.into(), pool: POOL.into() }).await?.into_inner();
    Ok(Seen::of(&answer, pool.pool))
}

async fn see_all(node: &Node, log: &Log) -> BTreeMap<String, Seen> {
    let (mut admin, mut pools) = (node.admin().await, Pools::new(node.channel().await));
    let mut seen = BTreeMap::new();
    for name in log.orgs.keys() {
        let org = see_whole(&mut admin, &mut pools, name).await.unwrap_or_else(|status| panic!("{name}: {status:?}"));
        // A session is admitted and charges no execution.
        let sessions = org.facts.sessions.len() as u64;
        assert_eq!(org.executions + sessions, org.admitted, "{name}: a charge and its count share one fate");
        org.pool.fits();
        seen.insert(name.clone(), org);
    }
    seen
}

/// Compares every org with the log, resolves what is in doubt, and asks everything again.
pub async fn compare(node: &Node, log: &mut Log, terms: Terms, chance: &mut Chance) -> Found {
    let mut found = Found::default();
    let (gate, planes) = (node.gate().await, Planes::of(node).await);
    let first = see_all(node, log).await;
    let mut late = BTreeMap::new();
    for (name, org) in &mut log.orgs {
        late.insert(name.clone(), settle_org(name, org, &first[name], &planes, terms, &mut found).await);
    }
    for (name, org) in &log.orgs {
        ask_again(name, org, &planes, terms, chance, &mut found).await;
    }
    for org in log.orgs.values_mut() {
        org.kept.append(&mut org.fresh);
    }
    let second = see_all(node, log).await;
    for (name, org) in &mut log.orgs {
        assert_eq!(second[name].facts, org.expected(), "{name}: R-PIPE-6: asking again changed something");
        let late = late[name];
        let admitted = first[name].admitted + late.admitted;
        assert_eq!(second[name].admitted, admitted, "{name}: R-PIPE-6: asking again charged again");
        org.admitted = admitted;
        let calls = first[name].pool.calls() + late.calls;
        assert_eq!(second[name].pool.calls(), calls, "{name}: R-PIPE-6: asking again counted again");
        org.pool = PoolLog {
            calls: (calls - late.denied, calls),
            windows: std::mem::take(&mut org.pool.windows),
            ..PoolLog::default()
        };
        found.look_at(&second[name]);
        let plains = std::mem::take(&mut org.plains);
        org.plains = ask_plains_again(name, &gate, plains, org.plains_there).await;
    }
    found
}

impl Found {
    fn look_at(&mut self, seen: &Seen) {
        for account in seen.facts.pool.accounts.values() {
            self.used_up += usize::from(account.state == AccountState::LimitReached);
            self.said += usize::from(account.state == AccountState::QuotaExhausted);
            self.avoided += usize::from(account.route != RouteHealth::Ok);
        }
    }
}

/// What asking again carried out only now.
#[derive(Debug, Clone, Copy, Default)]
struct Late {
    admitted: u64,
    /// Of the pool; those denied are written behind.
    calls: u64,
    denied: u64,
}

impl Late {
    fn of(calls: &[Call]) -> Self {
        let count = |is: fn(&&Call) -> bool| calls.iter().filter(is).count() as u64;
        Self {
            admitted: count(|call| call.admits()),
            calls: count(|call| call.request.is_pool_call()),
            denied: count(|call| call.promise == Some(Promise::Denied)),
        }
    }
}

/// Every promise is kept, and what is in doubt is there once or not at all.
async fn settle_org(
    name: &str,
    org: &mut OrgLog,
    seen: &Seen,
    planes: &Planes,
    terms: Terms,
    found: &mut Found,
) -> Late {
    let (mut late, mut holds, mut calls) = (Vec::new(), 0, 0);
    let mut fresh = std::mem::take(&mut org.fresh);
    for call in &mut fresh {
        if call.promise.is_none() {
            found.doubts += 1;
            let answer = ask(&mut planes.clone(), &call.request).await;
            if matches!(&answer, Err(status) if is_without_pool(status)) && org.facts.pool.version == 0 {
                // Its pool was never made, so it cannot have been carried out.
                call.promise = Some(Promise::Denied);
                continue;
            }
            let (promise, replayed) = answer.unwrap_or_else(|status| panic!("{:?}: {status:?}", call.request));
            found.doubts_there += usize::from(replayed);
            call.promise = Some(promise);
            if !replayed {
                late.push(call.clone());
                continue;
            }
        }
        org.facts.apply(&call.request, call.promise.as_ref().unwrap());
        holds += u64::from(call.admits());
        calls += u64::from(call.request.is_pool_call());
    }
    fresh.retain(|call| call.request.is_retry_safe() && call.promise != Some(Promise::Denied));
    org.fresh = fresh;
    found.unkeyed += org.pool.unkeyed;
    found.unkeyed_there += org.facts.pool.adopt(&seen.facts.pool, org.pool.unkeyed);
    assert_eq!(seen.facts, org.expected(), "{name}: what was promised (right) is not what is there (left)");
    check_plains(name, org, seen, holds, terms, found);
    check_pool(name, &mut org.pool, seen, calls, Late::of(&late).calls);
    late.iter().for_each(|call| org.facts.apply(&call.request, call.promise.as_ref().unwrap()));
    Late::of(&late)
}

/// What a denied pick counts is written behind, and what was in doubt may have been denied.
fn check_pool(name: &str, pool: &mut PoolLog, seen: &Seen, promised: u64, in_doubt: u64) {
    let (least, most) = (pool.calls.0 + promised, pool.calls.1 + promised + pool.denied + pool.unkeyed + in_doubt);
    let calls = seen.pool.calls();
    assert!((least..=most).contains(&calls), "{name}: {calls} calls of the pool, at least {least}, at most {most}");
    for (account, end) in seen.pool.windows() {
        let known = *pool.windows.entry(account.to_owned()).or_insert(end);
        assert_eq!(end, known, "{name}: {account}: a window that runs has another end");
    }
}

fn check_plains(name: &str, org: &mut OrgLog, seen: &Seen, holds: u64, terms: Terms, found: &mut Found) {
    let there = seen.admitted.checked_sub(org.admitted + holds);
    let there = there.unwrap_or_else(|| panic!("{name}: {} admitted, {} + {holds} kept", seen.admitted, org.admitted));
    let acknowledged = org.plains.iter().filter(|plain| plain.acknowledged).count() as u64;
    let asked = org.plains.len() as u64;
    assert!(there <= asked, "{name}: {there} plain admissions of {asked} asked");
    let forgotten = acknowledged.saturating_sub(there);
    assert!(
        forgotten <= terms.forgets,
        "{name}: {forgotten} of {acknowledged} acknowledged admissions were forgotten, allowed are {}",
        terms.forgets
    );
    found.forgotten += forgotten;
    found.forgotten_max = found.forgotten_max.max(forgotten);
    org.plains_there = there;
}

fn is_without_pool(status: &Status) -> bool {
    status.code() == Code::NotFound && reason(status) == "POOL_UNKNOWN"
}

/// The same call under the same id.
async fn retried(planes: &Planes, request: &Durable) -> (Promise, bool) {
    let mut planes = planes.clone();
    match ask(&mut planes, request).await {
        Ok(answer) => answer,
        Err(status) => panic!("{request:?}: {status:?}"),
    }
}

async fn ask_again(name: &str, org: &OrgLog, planes: &Planes, terms: Terms, chance: &mut Chance, found: &mut Found) {
    let mut calls: Vec<&Call> = org.fresh.iter().collect();
    if terms.older == usize::MAX {
        calls.extend(&org.kept);
    } else if !org.kept.is_empty() {
        calls.extend((0..terms.older).map(|_| &org.kept[chance.below(org.kept.len())]));
    }
    let answers = stream::iter(calls).map(|call| async move { (call, retried(planes, &call.request).await) });
    let mut answers = answers.buffer_unordered(AT_ONCE);
    while let Some((call, (promise, replayed))) = answers.next().await {
        assert!(replayed, "{name}: R-PIPE-6: carried out again: {:?}", call.request);
        assert_eq!(Some(&promise), call.promise.as_ref(), "{name}: R-PIPE-6: {:?}", call.request);
        found.replayed += 1;
    }
}

/// A plain Acquire shares the fate of its id: those that are remembered were counted, and the others
/// are counted now. Answers the latter, which are written behind again.
async fn ask_plains_again(name: &str, gate: &Gate, plains: Vec<Plain>, there: u64) -> Vec<Plain> {
    let without_id = plains.iter().filter(|plain| plain.request.request_id.is_empty()).count() as u64;
    let asks = plains.into_iter().filter(|plain| !plain.request.request_id.is_empty());
    let mut answers = stream::iter(asks)
        .map(|plain| async move { (remembered(gate, &plain.request).await, plain) })
        .buffer_unordered(AT_ONCE);
    let (mut counted, mut again) = (0_u64, Vec::new());
    while let Some((replayed, plain)) = answers.next().await {
        if replayed {
            counted += 1;
        } else {
            again.push(Plain { acknowledged: true, ..plain });
        }
    }
    assert!(
        (counted..=counted + without_id).contains(&there),
        "{name}: R-PIPE-6: {there} plain admissions are there, {counted} ids of theirs and {without_id} had none"
    );
    again
}

async fn remembered(gate: &Gate, request: &AcquireRequest) -> bool {
    let mut gate = gate.clone();
    let answer = gate.acquire(request.clone()).await.unwrap().into_inner();
    assert!(answer.allowed, "{answer:?}");
    answer.replayed
}

/// Whether every promise of the log is kept, without asking anything again: an `Err` names the first
/// org where it is not. Calls in doubt must have been resolved, or their orgs are judged leniently.
pub async fn kept_by(node: &Node, log: &Log, plains: Plains) -> Result<(), Broken> {
    let (mut admin, mut pools) = (node.admin().await, Pools::new(node.channel().await));
    let mut refused = Vec::new();
    for (name, org) in &log.orgs {
        match see_whole(&mut admin, &mut pools, name).await {
            Ok(seen) if keeps(&seen, org) && plains.are_kept(&seen, org) => {}
            Ok(seen) => {
                let apart = difference(&seen.facts, &promised(org).expected());
                return Err(Broken::Lost(format!("{name}: {} admitted {apart}", seen.admitted)));
            }
            Err(status) => refused.push((name.clone(), status)),
        }
    }
    if refused.is_empty() { Ok(()) } else { Err(Broken::Refused(refused)) }
}

/// Whether admissions that were written behind are compared as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plains {
    /// Every one had reached the disk.
    Counted,
    MayBeForgotten,
}

impl Plains {
    fn are_kept(self, seen: &Seen, org: &OrgLog) -> bool {
        let holds = org.fresh.iter().filter(|call| call.admits()).count();
        let plains = org.plains.iter().filter(|plain| plain.acknowledged).count();
        self == Self::MayBeForgotten || seen.admitted == org.admitted + (holds + plains) as u64
    }
}

/// Why promises are not kept.
#[derive(Debug)]
pub enum Broken {
    /// Something else is shown as if nothing had happened.
    Lost(String),
    /// These orgs are not shown at all, and the node says why.
    Refused(Vec<(String, Status)>),
}

/// What is there and was not promised, and the other way round.
fn difference(there: &Facts, promised: &Facts) -> String {
    fn apart<K: Ord + Debug, V: PartialEq + Debug>(there: &BTreeMap<K, V>, promised: &BTreeMap<K, V>) -> String {
        let keys: BTreeSet<&K> = there.keys().chain(promised.keys()).collect();
        let differ = keys.into_iter().filter(|key| there.get(key) != promised.get(key));
        differ.map(|key| format!("\n  {key:?}: {:?}, promised {:?}", there.get(key), promised.get(key))).collect()
    }
    let maps = [
        apart(&there.ledgers, &promised.ledgers),
        apart(&there.open, &promised.open),
        apart(&there.sources, &promised.sources),
        apart(&there.sessions, &promised.sessions),
        apart(&there.pool.accounts, &promised.pool.accounts),
    ];
    maps.concat()
}

fn promised(org: &OrgLog) -> OrgLog {
    let mut certain = org.clone();
    for call in &org.fresh {
        if let Some(promise) = &call.promise {
            certain.facts.apply(&call.request, promise);
        }
    }
    certain
}

fn keeps(seen: &Seen, org: &OrgLog) -> bool {
    let in_doubt = org.pool.unkeyed > 0 || org.fresh.iter().any(|call| call.promise.is_none());
    let expected = promised(org).expected();
    if !in_doubt {
        return seen.facts == expected;
    }
    // What is in doubt can add usage, and end a hold.
    let used = |ledger| seen.facts.ledgers.get(ledger).map_or(0, |(used, _)| *used);
    let may_have_ended = |id: &str| {
        let in_doubt = org.fresh.iter().filter(|call| call.promise.is_none());
        in_doubt.filter_map(|call| call.request.settles()).any(|settled| settled == id)
    };
    expected.ledgers.iter().all(|(ledger, (promised, _))| used(ledger) >= *promised)
        && expected.sources.iter().all(|(source, total)| seen.facts.sources.get(source) >= Some(total))
        && expected.open.keys().all(|id| seen.facts.open.contains_key(id) || may_have_ended(id))
        && expected
            .sessions
            .iter()
            .all(|(id, session)| seen.facts.sessions.get(id).is_some_and(|seen| seen.booked >= session.booked))
        && seen.facts.budget_version >= expected.budget_version
        && seen.facts.pool.covers(&expected.pool)
}
