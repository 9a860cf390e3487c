//! Tasks that call a node until it stops answering, and log what they were promised.

mod pools;

use std::{collections::BTreeMap, time::Duration};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tollgate::wire::v1::{
    AcquireBatchRequest, AcquireRequest, AcquireResponse, Amount, CommitRequest, EndSessionRequest, ExtendRequest,
    HeartbeatRequest, PeriodPatch, RecordRequest, ReleaseRequest, ReportCumulativeRequest, ResumeRequest,
    StartSessionRequest, UpdateBudgetRequest, acquire_batch_result,
};
use tonic::{Code, Status};

use crate::{
    harness::{
        chance::Chance,
        client::{Budget, Gate, Pools, Sessions, plain, reason},
        node::Node,
    },
    oracle::{BRIEF, BYTES, COMPUTE, Call, Durable, Ends, Log, PLAIN_ONLY, Plain, Promise, SPEND, is_brief},
};

use pools::Upstreams;

/// Longer than any test: it does not expire by itself.
const HOLD_MS: i64 = 86_400_000;
/// The shortest there is. Such holds are left to a later load: they expire, over kills, and are committed late.
const BRIEF_HOLD_MS: i64 = 1_000;
const SCOPES: [&str; 3] = ["", "workspace/a", "workspace/b"];
const CONNECTIONS: usize = 4;

/// More than any org of these tests can spend.
const BUDGET: i64 = 9_000_000_000_000_000;
const IDENTITY: &str = "machine";
const INCARNATION: &str = "first";

/// The clients of one connection.
#[derive(Debug, Clone)]
pub struct Planes {
    gate: Gate,
    sessions: Sessions,
    budgets: Budget,
    pub pools: Pools,
}

impl Planes {
    pub async fn of(node: &Node) -> Self {
        let channel = node.channel().await;
        let (gate, sessions) = (Gate::new(channel.clone()), Sessions::new(channel.clone()));
        let (budgets, pools) = (Budget::new(channel.clone()), Pools::new(channel));
        Self { gate, sessions, budgets, pools }
    }
}

/// Who calls, and how much.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub durable_tasks: usize,
    pub plain_tasks: usize,
    /// Calls of each task; without, they go on until the node is gone or the load is stopped.
    pub calls: Option<usize>,
}

impl Default for Plan {
    fn default() -> Self {
        Self { durable_tasks: 12, plain_tasks: 8, calls: None }
    }
}

/// What one task brings home.
#[derive(Debug, Default)]
struct Heard {
    calls: Vec<Call>,
    plains: Vec<Plain>,
    draining: usize,
    resumed: usize,
    strange: Vec<Status>,
}

/// What all of them saw.
#[derive(Debug, Default)]
pub struct Summary {
    pub promised: usize,
    /// Commits of holds that had expired.
    pub late: usize,
    pub admitted: usize,
    pub in_doubt: usize,
    pub draining: usize,
    pub resumed: usize,
    pub pools: Pooled,
    /// Errors that no fault of the test explains.
    pub strange: Vec<Status>,
}

/// Calls of pools: those promised, and picks that found every account exhausted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pooled {
    pub picked: usize,
    pub reported: usize,
    pub configured: usize,
    pub denied: usize,
}

impl Summary {
    fn count(&mut self, call: &Call) {
        match (&call.request, &call.promise) {
            (_, None) => self.in_doubt += 1,
            (_, Some(Promise::Denied)) => return self.pools.denied += 1,
            (Durable::Pick(_), _) => self.pools.picked += 1,
            (Durable::Outcome(_), _) => self.pools.reported += 1,
            (Durable::Configure(_), _) => self.pools.configured += 1,
            (_, Some(Promise::Committed { late: true })) => self.late += 1,
            _ => {}
        }
        self.promised += usize::from(call.promise.is_some());
    }
}

#[derive(Debug)]
pub struct Load {
    stop: CancellationToken,
    tasks: JoinSet<Heard>,
}

impl Load {
    /// Starts the tasks. Calls that fail because the node goes away are in doubt, not errors.
    pub async fn start(node: &Node, log: &mut Log, chance: &mut Chance, plan: Plan) -> Self {
        log.rounds += 1;
        let mut planes = Vec::new();
        for _ in 0..CONNECTIONS {
            planes.push(Planes::of(node).await);
        }
        let stop = CancellationToken::new();
        let orgs: Vec<String> = log.orgs.keys().cloned().collect();
        let settled: Vec<String> = orgs.iter().filter(|org| !org.starts_with(PLAIN_ONLY)).cloned().collect();
        let mut tasks = JoinSet::new();
        for number in 0..plan.durable_tasks {
            let Share { open, brief, totals, running, upstreams } = share_of(log, number, plan.durable_tasks);
            let prefix = format!("r{}-d{number}-", log.rounds);
            let source = format!("meter/{number}");
            let task = Settler {
                planes: planes[number % CONNECTIONS].clone(),
                orgs: settled.clone(),
                chance: chance.fork(),
                ids: (prefix, 0),
                open,
                brief,
                source,
                totals,
                running,
                upstreams,
            };
            tasks.spawn(task.run(stop.clone(), plan.calls));
        }
        for number in 0..plan.plain_tasks {
            let task = Asker {
                gate: planes[number % CONNECTIONS].gate.clone(),
                orgs: orgs.clone(),
                chance: chance.fork(),
                ids: (format!("r{}-p{number}-", log.rounds), 0),
            };
            tasks.spawn(task.run(stop.clone(), plan.calls));
        }
        Self { stop, tasks }
    }

    /// No further calls; those under way are waited for.
    pub async fn stop(self, log: &mut Log) -> Summary {
        self.stop.cancel();
        self.finish(log).await
    }

    /// Until every task has ended: the node is gone, or each made its calls.
    pub async fn finish(mut self, log: &mut Log) -> Summary {
        let mut summary = Summary::default();
        let all = async {
            while let Some(heard) = self.tasks.join_next().await {
                let heard = heard.unwrap();
                summary.draining += heard.draining;
                summary.resumed += heard.resumed;
                summary.strange.extend(heard.strange);
                for call in heard.calls {
                    summary.count(&call);
                    log.note(call);
                }
                for plain in heard.plains {
                    summary.admitted += usize::from(plain.acknowledged);
                    log.note_plain(plain);
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(120), all).await.expect("the load ends");
        summary
    }
}

/// One session, and what it has run.
#[derive(Debug, Clone)]
struct Running {
    org: String,
    session: String,
    seconds: i64,
}

/// What is one task's own: reservations it settles, its counter's last total by org, and sessions.
#[derive(Debug, Default)]
struct Share {
    open: Vec<(String, String)>,
    /// Brief ones, of loads before.
    brief: Vec<(String, String)>,
    totals: BTreeMap<String, u64>,
    running: Vec<Running>,
    upstreams: Upstreams,
}

fn share_of(log: &Log, number: usize, of: usize) -> Share {
    let Share { mut open, mut brief, mut totals, mut running, .. } = Share::default();
    for (name, org) in &log.orgs {
        let sessions = org.facts.sessions.iter().filter(|(_, session)| session.runs).enumerate();
        for (_, (id, session)) in sessions.filter(|(index, _)| index % of == number) {
            let seconds = (session.booked / 1000) as i64;
            running.push(Running { org: name.clone(), session: id.clone(), seconds });
        }
        let mine = org.facts.open.keys().enumerate().filter(|(index, _)| index % of == number);
        open.extend(mine.map(|(_, id)| (name.clone(), id.clone())));
        let mine = org.facts.brief.keys().enumerate().filter(|(index, _)| index % of == number);
        brief.extend(mine.map(|(_, id)| (name.clone(), id.clone())));
        totals.insert(name.clone(), org.facts.sources.get(&format!("meter/{number}")).copied().unwrap_or(0));
    }
    Share { open, brief, totals, running, upstreams: Upstreams::share_of(log, number, of) }
}

fn next_id((prefix, number): &mut (String, u64)) -> String {
    *number += 1;
    format!("{prefix}{number}")
}

/// What an error says about a durable call.
enum Meaning {
    /// It was certainly not carried out.
    Refused,
    InDoubt,
}

fn meaning(status: &Status, heard: &mut Heard) -> Meaning {
    match (status.code(), reason(status).as_str()) {
        (_, "DRAINING") => {
            heard.draining += 1;
            Meaning::Refused
        }
        // Its task has not made the pool yet.
        (Code::ResourceExhausted, _) | (Code::NotFound, "POOL_UNKNOWN") => Meaning::Refused,
        (_, "STORE_UNAVAILABLE" | "INTERRUPTED" | "NO_ANSWER_IN_TIME") => Meaning::InDoubt,
        // The node is gone: the transport's own errors carry no reason.
        (Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal | Code::DeadlineExceeded, "") => {
            Meaning::InDoubt
        }
        _ => {
            heard.strange.push(status.clone());
            Meaning::InDoubt
        }
    }
}

/// Makes durable calls one after the other.
struct Settler {
    planes: Planes,
    orgs: Vec<String>,
    chance: Chance,
    ids: (String, u64),
    open: Vec<(String, String)>,
    brief: Vec<(String, String)>,
    source: String,
    totals: BTreeMap<String, u64>,
    running: Vec<Running>,
    upstreams: Upstreams,
}

impl Settler {
    async fn run(mut self, stop: CancellationToken, calls: Option<usize>) -> Heard {
        let mut heard = Heard::default();
        let mut left = calls.unwrap_or(usize::MAX);
        while left > 0 && !stop.is_cancelled() {
            left -= 1;
            if self.chance.percent(2) && !self.resume(&mut heard).await {
                break;
            }
            let request = self.next_call();
            match ask(&mut self.planes, &request).await {
                Ok((promise, _)) => {
                    self.learn(&request, &promise);
                    heard.calls.push(Call { request, promise: Some(promise) });
                }
                Err(status) => match meaning(&status, &mut heard) {
                    Meaning::Refused => {}
                    Meaning::InDoubt => {
                        heard.calls.push(Call { request, promise: None });
                        break;
                    }
                },
            }
        }
        heard
    }

    /// False where the node is gone. Whatever else happens, Resume is answered.
    async fn resume(&mut self, heard: &mut Heard) -> bool {
        let org = self.orgs[self.chance.below(self.orgs.len())].clone();
        let request = ResumeRequest { org, execution_id: "execution".into(), request_id: next_id(&mut self.ids) };
        match self.planes.gate.resume(request).await {
            Ok(_) => heard.resumed += 1,
            Err(status) => {
                if !reason(&status).is_empty() {
                    heard.strange.push(status);
                }
                return false;
            }
        }
        true
    }

    fn next_call(&mut self) -> Durable {
        let org = self.orgs[self.chance.below(self.orgs.len())].clone();
        let scope = SCOPES[self.chance.below(SCOPES.len())].to_owned();
        let request_id = next_id(&mut self.ids);
        if self.chance.percent(40) {
            return self.pool_call(request_id);
        }
        let amount = self.chance.between(1, 1_000_000) as i64;
        let some = |meter: &str| vec![Amount { meter: meter.into(), amount }];
        let kind = self.chance.below(100);
        match kind {
            0..22 => {
                Durable::Record(RecordRequest { org, scope, usage: some(SPEND), request_id, ..Default::default() })
            }
            22..36 => {
                let total = self.totals[&org] as i64 + amount;
                let source = self.source.clone();
                let (incarnation, meter) = ("first".into(), BYTES.into());
                let scope = String::new();
                let scopes = Vec::new();
                Durable::Report(ReportCumulativeRequest {
                    org,
                    scope,
                    source,
                    incarnation,
                    meter,
                    total,
                    request_id,
                    scopes,
                })
            }
            36..40 => {
                // Another limit each time, so that each is a change.
                let patch = PeriodPatch { limit: Some(BUDGET - amount), clear: false };
                let periods = [("monthly".to_owned(), patch)].into();
                Durable::Budget(UpdateBudgetRequest { org, request_id, periods, ..Default::default() })
            }
            40..60 => self.session(org, scope, request_id),
            60..64 => {
                let (reserve, reservation_ttl_ms) = (some(BRIEF), BRIEF_HOLD_MS);
                let hold = AcquireRequest { org, scope, request_id, reserve, reservation_ttl_ms, ..Default::default() };
                Durable::Hold(hold)
            }
            64..68 if !self.brief.is_empty() => {
                let chosen = self.chance.below(self.brief.len());
                let (org, reservation_id) = self.brief.swap_remove(chosen);
                Durable::Commit(CommitRequest { org, reservation_id, request_id, actual: some(BRIEF) })
            }
            70.. if !self.open.is_empty() => self.settlement(kind, request_id, some(COMPUTE)),
            _ => {
                let (reserve, reservation_ttl_ms) = (some(COMPUTE), HOLD_MS);
                Durable::Hold(AcquireRequest {
                    org,
                    scope,
                    request_id,
                    reserve,
                    reservation_ttl_ms,
                    ..Default::default()
                })
            }
        }
    }

    fn pool_call(&mut self, request_id: String) -> Durable {
        let (upstreams, chance) = (&self.upstreams, &mut self.chance);
        if let Some(request) = upstreams.missing(&request_id) {
            return Durable::Configure(request);
        }
        let kind = chance.below(100);
        let request = match kind {
            0..8 => upstreams.raise(&request_id, chance).map(Durable::Configure),
            8..45 => upstreams.report(&request_id, chance).map(Durable::Outcome),
            _ => None,
        };
        request.unwrap_or_else(|| Durable::Pick(upstreams.pick(&self.orgs, request_id, chance)))
    }

    fn session(&mut self, org: String, scope: String, request_id: String) -> Durable {
        let identity = IDENTITY.to_owned();
        if self.running.is_empty() || self.chance.percent(30) {
            let session_id = format!("session/{request_id}");
            return Durable::Start(StartSessionRequest {
                org,
                session_id,
                identity,
                request_id,
                scope,
                ..Default::default()
            });
        }
        let chosen = self.chance.below(self.running.len());
        if self.chance.percent(25) {
            let Running { org, session: session_id, seconds } = self.running.swap_remove(chosen);
            // With its last total it records nothing more; without one, the time that passes here.
            let (incarnation, total_seconds) = (INCARNATION.into(), Some(seconds));
            return Durable::End(EndSessionRequest {
                org,
                session_id,
                identity,
                request_id,
                incarnation,
                total_seconds,
            });
        }
        let running = &self.running[chosen];
        let (org, session_id) = (running.org.clone(), running.session.clone());
        let total_seconds = running.seconds + self.chance.between(0, 90) as i64;
        let incarnation = INCARNATION.into();
        Durable::Beat(HeartbeatRequest { org, session_id, identity, incarnation, total_seconds, request_id })
    }

    fn settlement(&mut self, kind: usize, request_id: String, actual: Vec<Amount>) -> Durable {
        let chosen = self.chance.below(self.open.len());
        if kind < 78 {
            let (org, reservation_id) = self.open[chosen].clone();
            return Durable::Extend(ExtendRequest { org, reservation_id, request_id, ttl_ms: HOLD_MS });
        }
        let (org, reservation_id) = self.open.swap_remove(chosen);
        if kind < 90 {
            Durable::Commit(CommitRequest { org, reservation_id, request_id, actual })
        } else {
            Durable::Release(ReleaseRequest { org, reservation_id, request_id })
        }
    }

    fn learn(&mut self, request: &Durable, promise: &Promise) {
        match (request, promise) {
            (Durable::Report(request), _) => drop(self.totals.insert(request.org.clone(), request.total as u64)),
            (Durable::Start(request), _) => {
                let (org, session) = (request.org.clone(), request.session_id.clone());
                self.running.push(Running { org, session, seconds: 0 });
            }
            (Durable::Beat(request), _) => {
                let beaten = |running: &&mut Running| running.session == request.session_id;
                self.running.iter_mut().filter(beaten).for_each(|running| running.seconds = request.total_seconds);
            }
            (Durable::Hold(request), _) if is_brief(&request.reserve) => {}
            (Durable::Hold(request), Promise::Held { reservation, .. }) => {
                self.open.push((request.org.clone(), reservation.clone()));
            }
            (Durable::Configure(request), _) => self.upstreams.configured(request),
            (Durable::Pick(request), Promise::Picked { account, hold }) => {
                self.upstreams.picked(&request.org, account);
                self.open.extend(hold.iter().map(|(reservation, _)| (request.org.clone(), reservation.clone())));
            }
            _ => {}
        }
    }
}

/// Makes one durable call; answers what was promised and whether it is a replay.
pub async fn ask(planes: &mut Planes, request: &Durable) -> Result<(Promise, bool), Status> {
    let Planes { gate, sessions, budgets, pools } = planes;
    Ok(match request.clone() {
        Durable::Start(request) => {
            let answer = sessions.start_session(request).await?.into_inner();
            assert!(answer.allowed && answer.fail_open.is_empty(), "a session starts or it is an error: {answer:?}");
            (Promise::Started { slice: answer.first_slice_ms as u64 }, answer.replayed)
        }
        Durable::Beat(request) => {
            let answer = sessions.heartbeat(request).await?.into_inner();
            (Promise::Beat { booked: answer.booked_ms as u64 }, answer.replayed)
        }
        Durable::End(request) => (Promise::Ended, sessions.end_session(request).await?.into_inner().replayed),
        Durable::Budget(request) => (Promise::BudgetSet, budgets.update_budget(request).await?.into_inner().replayed),
        Durable::Configure(request) => {
            let answer = pools.configure_pool(request.clone()).await?.into_inner();
            let version = answer.pool.map(|pool| pool.version);
            let next = request.expected_version.map(|version| version + 1);
            assert!(answer.replayed || version == next, "one change is one version: {request:?}, {version:?}");
            (Promise::Configured, answer.replayed)
        }
        Durable::Pick(request) => self::pools::promise(&request, pools.pick(request.clone()).await?.into_inner()),
        Durable::Outcome(request) => {
            let answer = pools.report_outcome(request.clone()).await?.into_inner();
            assert_eq!(answer.known, !request.account.is_empty(), "no account ever leaves: {request:?}");
            (Promise::Told { outcome: answer.outcome() }, answer.replayed)
        }
        Durable::Record(request) => (Promise::Recorded, gate.record(request).await?.into_inner().replayed),
        Durable::Commit(request) => {
            let answer = gate.commit(request).await?.into_inner();
            (Promise::Committed { late: answer.late }, answer.replayed)
        }
        Durable::Release(request) => (Promise::Released, gate.release(request).await?.into_inner().replayed),
        Durable::Extend(request) => {
            let answer = gate.extend(request).await?.into_inner();
            (Promise::Extended { expires_at: Ends(answer.expires_at_ms) }, answer.replayed)
        }
        Durable::Report(request) => {
            let answer = gate.report_cumulative(request).await?.into_inner();
            (Promise::Reported { increment: answer.increment as u64 }, answer.replayed)
        }
        Durable::Hold(request) => {
            let answer = gate.acquire(request).await?.into_inner();
            assert!(answer.allowed && answer.fail_open.is_empty(), "a hold is granted or an error: {answer:?}");
            let (reservation, expires_at) = (answer.reservation_id, Ends(answer.reservation_expires_at_ms));
            (Promise::Held { reservation, expires_at }, answer.replayed)
        }
    })
}

/// Makes written-behind Acquires, alone and in batches.
struct Asker {
    gate: Gate,
    orgs: Vec<String>,
    chance: Chance,
    ids: (String, u64),
}

impl Asker {
    async fn run(mut self, stop: CancellationToken, calls: Option<usize>) -> Heard {
        let mut heard = Heard::default();
        let mut left = calls.unwrap_or(usize::MAX);
        while left > 0 && !stop.is_cancelled() {
            left -= 1;
            let goes_on =
                if self.chance.percent(10) { self.batch(&mut heard).await } else { self.one(&mut heard).await };
            if !goes_on {
                break;
            }
        }
        heard
    }

    /// Every second org gets only calls with ids, so that ids and charges can be compared.
    fn next(&mut self, number: usize) -> AcquireRequest {
        let with_id = number.is_multiple_of(2) || self.chance.percent(50);
        let id = if with_id { next_id(&mut self.ids) } else { String::new() };
        AcquireRequest { scope: SCOPES[self.chance.below(SCOPES.len())].into(), ..plain(&self.orgs[number], &id) }
    }

    async fn one(&mut self, heard: &mut Heard) -> bool {
        let number = self.chance.below(self.orgs.len());
        let request = self.next(number);
        match self.gate.acquire(request.clone()).await {
            Ok(answer) => heard.plains.push(Plain { request, acknowledged: counted(&answer.into_inner()) }),
            Err(status) => return failed(status, vec![request], heard),
        }
        true
    }

    async fn batch(&mut self, heard: &mut Heard) -> bool {
        let number = self.chance.below(self.orgs.len());
        let items: Vec<_> = (0..self.chance.between(2, 20)).map(|_| self.next(number)).collect();
        let answer = match self.gate.acquire_batch(AcquireBatchRequest { items: items.clone() }).await {
            Ok(answer) => answer.into_inner(),
            Err(status) => return failed(status, items, heard),
        };
        for (request, result) in items.into_iter().zip(answer.results) {
            match result.result.unwrap() {
                acquire_batch_result::Result::Decision(decision) => {
                    heard.plains.push(Plain { request, acknowledged: counted(&decision) });
                }
                acquire_batch_result::Result::Error(error) if error.reason == "DRAINING" => heard.draining += 1,
                acquire_batch_result::Result::Error(error) if error.grpc_code == Code::ResourceExhausted as i32 => {}
                acquire_batch_result::Result::Error(_) => heard.plains.push(Plain { request, acknowledged: false }),
            }
        }
        true
    }
}

/// Admitted, and by the org's counter; what was let through unevaluated may not have been counted.
fn counted(answer: &AcquireResponse) -> bool {
    assert!(answer.allowed, "nothing here is near a limit: {answer:?}");
    answer.fail_open.is_empty()
}

fn failed(status: Status, requests: Vec<AcquireRequest>, heard: &mut Heard) -> bool {
    match meaning(&status, heard) {
        // Nothing new is admitted, but a new connection would be of no use either.
        Meaning::Refused => true,
        Meaning::InDoubt => {
            heard.plains.extend(requests.into_iter().map(|request| Plain { request, acknowledged: false }));
            false
        }
    }
}
