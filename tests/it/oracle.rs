//! The log of answers, and what follows from it.
//!
//! A naive model of one org that shares no code with the node: it adds up what was answered, call by
//! call, and says what `GetOrg` must then show. Calls without an answer are in doubt: they may have
//! been carried out once or not at all, and asking again under the same id tells which.

pub mod pools;

use std::collections::BTreeMap;

use tollgate::wire::{
    admin::v1::GetOrgResponse,
    v1::{
        AcquireRequest, Amount, CommitRequest, ConfigurePoolRequest, EndSessionRequest, ExtendRequest,
        HeartbeatRequest, PickRequest, Pool, RecordRequest, ReleaseRequest, ReportCumulativeRequest,
        ReportOutcomeRequest, Reservation, SessionState, StartSessionRequest, UpdateBudgetRequest, UpstreamOutcome,
    },
};

use pools::{PoolFacts, PoolSeen, is_of_pool};

pub const SPEND: &str = "spend";
pub const BYTES: &str = "bytes";
pub const COMPUTE: &str = "compute";
/// Of holds that expire.
pub const BRIEF: &str = "brief";
pub const EXECUTIONS: &str = "executions";

/// Prefix of the orgs without durable calls.
pub const PLAIN_ONLY: &str = "plain-only-";
const PLAIN_ONLY_ORGS: usize = 4;

/// A call whose answer waits for the disk.
#[derive(Debug, Clone)]
pub enum Durable {
    Record(RecordRequest),
    Report(ReportCumulativeRequest),
    Hold(AcquireRequest),
    Commit(CommitRequest),
    Release(ReleaseRequest),
    Extend(ExtendRequest),
    Start(StartSessionRequest),
    Beat(HeartbeatRequest),
    End(EndSessionRequest),
    Budget(UpdateBudgetRequest),
    Configure(ConfigurePoolRequest),
    Pick(PickRequest),
    Outcome(ReportOutcomeRequest),
}

impl Durable {
    pub fn org(&self) -> &str {
        match self {
            Self::Record(request) => &request.org,
            Self::Report(request) => &request.org,
            Self::Hold(request) => &request.org,
            Self::Commit(request) => &request.org,
            Self::Release(request) => &request.org,
            Self::Extend(request) => &request.org,
            Self::Start(request) => &request.org,
            Self::Beat(request) => &request.org,
            Self::End(request) => &request.org,
            Self::Budget(request) => &request.org,
            Self::Configure(request) => &request.org,
            Self::Pick(request) => &request.org,
            Self::Outcome(request) => &request.org,
        }
    }

    /// The reservation that it ends.
    pub fn settles(&self) -> Option<&str> {
        match self {
            Self::Commit(request) => Some(&request.reservation_id),
            Self::Release(request) => Some(&request.reservation_id),
            _ => None,
        }
    }

    /// Whether it can be asked again without being carried out again.
    pub fn is_retry_safe(&self) -> bool {
        !matches!(self, Self::Pick(request) if request.request_id.is_empty())
    }

    /// Whether its pool counts it as a call, whatever comes of it.
    pub fn is_pool_call(&self) -> bool {
        match self {
            Self::Pick(_) => true,
            Self::Outcome(request) => request.account.is_empty(),
            _ => false,
        }
    }
}

/// When a hold ends, as an answer shows it: in milliseconds since the epoch, if the node stays up. Every absence
/// of the node moves it, so two that differ by no more than the absences of a test agree.
#[derive(Debug, Clone, Copy)]
pub struct Ends(pub i64);

impl PartialEq for Ends {
    fn eq(&self, other: &Self) -> bool {
        self.0.abs_diff(other.0) < ABSENCES_MS
    }
}

impl Eq for Ends {}

/// More than a node is away for in one test.
const ABSENCES_MS: u64 = 15 * 60_000;

/// What was promised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Promise {
    Recorded,
    Reported {
        increment: u64,
    },
    Held {
        reservation: String,
        expires_at: Ends,
    },
    /// Late where the hold had expired.
    Committed {
        late: bool,
    },
    Released,
    Extended {
        expires_at: Ends,
    },
    Started {
        slice: u64,
    },
    Beat {
        booked: u64,
    },
    Ended,
    BudgetSet,
    Configured,
    /// The account, and the reservation that came with it.
    Picked {
        account: String,
        hold: Option<(String, Ends)>,
    },
    /// Of a pick: nothing is promised.
    Denied,
    Told {
        outcome: UpstreamOutcome,
    },
}

/// A durable call; without a promise it is in doubt.
#[derive(Debug, Clone)]
pub struct Call {
    pub request: Durable,
    pub promise: Option<Promise>,
}

impl Call {
    /// Whether it was promised, and an execution was admitted or a session.
    pub fn admits(&self) -> bool {
        match (&self.request, &self.promise) {
            (Durable::Hold(_) | Durable::Start(_), promise) => promise.is_some(),
            (Durable::Pick(request), Some(Promise::Picked { .. })) => request.acquire.is_some(),
            _ => false,
        }
    }
}

/// A written-behind Acquire.
#[derive(Debug, Clone)]
pub struct Plain {
    pub request: AcquireRequest,
    /// It was admitted and counted, by the answer.
    pub acknowledged: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    pub scope: String,
    pub amount: u64,
    pub expires_at: Ends,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub scope: String,
    /// Milliseconds.
    pub booked: u64,
    pub held: u64,
    pub runs: bool,
}

type Ledger = (String, String);

/// Everything compared of one org.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Used and reserved, by scope and meter; those of `executions` are apart.
    pub ledgers: BTreeMap<Ledger, (u64, u64)>,
    pub open: BTreeMap<String, Open>,
    /// Brief holds that are not committed, with their scopes: open or expired.
    pub brief: BTreeMap<String, String>,
    /// How many these are.
    pub uncommitted: usize,
    /// Last total, by source.
    pub sources: BTreeMap<String, u64>,
    pub sessions: BTreeMap<String, Session>,
    /// Of the org's own budget: how often it was changed.
    pub budget_version: u64,
    pub pool: PoolFacts,
}

impl Facts {
    fn add(&mut self, scope: &str, meter: &str, used: u64, reserved: i64) {
        let scopes = if scope.is_empty() { vec![""] } else { vec!["", scope] };
        for scope in scopes {
            let ledger = self.ledgers.entry((scope.into(), meter.into())).or_default();
            ledger.0 += used;
            ledger.1 = ledger.1.checked_add_signed(reserved).unwrap();
        }
    }

    /// Carries out one call that is known to be in the store.
    pub fn apply(&mut self, request: &Durable, promise: &Promise) {
        match (request, promise) {
            (Durable::Record(request), Promise::Recorded) => {
                request.usage.iter().for_each(|usage| self.add(&request.scope, &usage.meter, usage.amount as u64, 0));
            }
            (Durable::Report(request), Promise::Reported { increment }) => {
                let total = request.total as u64;
                let before = self.sources.insert(request.source.clone(), total).unwrap_or(0);
                assert_eq!(*increment, total - before, "R-BUD-5: {request:?}");
                self.add(&request.scope, &request.meter, *increment, 0);
            }
            (Durable::Hold(request), Promise::Held { reservation, expires_at }) => {
                self.hold(request, reservation, *expires_at);
            }
            (Durable::Commit(request), Promise::Committed { late }) if is_brief(&request.actual) => {
                let scope = self.brief.remove(&request.reservation_id);
                let scope = scope.unwrap_or_else(|| panic!("{request:?} was committed twice, late: {late}"));
                self.add(&scope, BRIEF, request.actual[0].amount as u64, 0);
            }
            (Durable::Commit(request), Promise::Committed { late }) => {
                assert!(!late, "nothing else expires: {request:?}");
                let scope = self.close(&request.reservation_id);
                self.add(&scope, COMPUTE, single(&request.actual), 0);
            }
            (Durable::Release(request), Promise::Released) => drop(self.close(&request.reservation_id)),
            (Durable::Extend(request), Promise::Extended { expires_at }) => {
                // A replay may come after the reservation was settled.
                if let Some(open) = self.open.get_mut(&request.reservation_id) {
                    open.expires_at = *expires_at;
                }
            }
            (Durable::Start(request), Promise::Started { slice }) => {
                self.add(&request.scope, COMPUTE, 0, *slice as i64);
                let session = Session { scope: request.scope.clone(), booked: 0, held: *slice, runs: true };
                assert!(self.sessions.insert(request.session_id.clone(), session).is_none(), "{request:?}");
            }
            (Durable::Beat(request), Promise::Beat { booked }) => self.beat(request, *booked),
            (Durable::End(request), Promise::Ended) => {
                let session = self.sessions.get_mut(&request.session_id).unwrap();
                let (scope, held) = (session.scope.clone(), std::mem::take(&mut session.held));
                session.runs = false;
                self.add(&scope, COMPUTE, 0, -(held as i64));
            }
            (Durable::Budget(_), Promise::BudgetSet) => self.budget_version += 1,
            (Durable::Configure(request), Promise::Configured) => self.pool.configure(request),
            (Durable::Pick(request), Promise::Picked { account, hold }) => {
                self.pool.pick(account);
                let holds = request.acquire.as_ref().filter(|acquire| !acquire.reserve.is_empty());
                assert_eq!(holds.is_some(), hold.is_some(), "{request:?}");
                if let (Some(acquire), Some((reservation, expires_at))) = (holds, hold) {
                    self.hold(acquire, reservation, *expires_at);
                }
            }
            (Durable::Pick(_), Promise::Denied) => {}
            (Durable::Outcome(request), Promise::Told { outcome }) => self.pool.report(request, *outcome),
            (request, promise) => panic!("{promise:?} does not answer {request:?}"),
        }
    }

    fn hold(&mut self, request: &AcquireRequest, reservation: &str, expires_at: Ends) {
        if is_brief(&request.reserve) {
            let scope = request.scope.clone();
            assert!(self.brief.insert(reservation.to_owned(), scope).is_none(), "one id for two holds: {request:?}");
            return;
        }
        let amount = single(&request.reserve);
        self.add(&request.scope, COMPUTE, 0, amount as i64);
        let open = Open { scope: request.scope.clone(), amount, expires_at };
        assert!(self.open.insert(reservation.to_owned(), open).is_none(), "one id for two holds: {request:?}");
    }

    /// A total books what it grew by, out of the first slice as long as some is left.
    fn beat(&mut self, request: &HeartbeatRequest, booked: u64) {
        let session = self.sessions.get_mut(&request.session_id).unwrap();
        let grown = request.total_seconds as u64 * 1000 - session.booked;
        assert_eq!(booked, grown, "R-SES-3: {request:?}");
        let paid = session.held.min(booked);
        session.booked += booked;
        session.held -= paid;
        let scope = session.scope.clone();
        self.add(&scope, COMPUTE, booked, -(paid as i64));
    }

    fn close(&mut self, reservation: &str) -> String {
        let open = self.open.remove(reservation).unwrap_or_else(|| panic!("{reservation} was settled twice"));
        self.add(&open.scope, COMPUTE, 0, -(open.amount as i64));
        open.scope
    }
}

/// Whether amounts are those of a hold that is there to expire.
pub fn is_brief(amounts: &[Amount]) -> bool {
    amounts.iter().any(|amount| amount.meter == BRIEF)
}

fn single(amounts: &[Amount]) -> u64 {
    assert_eq!((amounts.len(), amounts[0].meter.as_str()), (1, COMPUTE));
    amounts[0].amount as u64
}

/// What a node shows of one org.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    pub facts: Facts,
    pub admitted: u64,
    /// The org's own ledger of `executions`.
    pub executions: u64,
    /// The backstop's window and count.
    pub rate: (i64, u64),
    pub pool: PoolSeen,
}

impl Seen {
    pub fn of(org: &GetOrgResponse, pool: Option<Pool>) -> Self {
        let mut seen = Self { admitted: org.admitted_total as u64, ..Self::default() };
        seen.facts.pool = pool.as_ref().map(PoolFacts::of).unwrap_or_default();
        seen.pool = PoolSeen::of(org, pool);
        seen.facts.pool.bytes = seen.pool.bytes();
        assert_eq!(org.request_ids_evicted, 0, "{}: ids were forgotten before their time", org.org);
        for ledger in org.ledgers.iter().filter(|ledger| !is_of_pool(&ledger.scope)) {
            let total = ledger.hours.iter().map(|hour| hour.total as u64).sum();
            match (ledger.meter.as_str(), ledger.scope.as_str()) {
                (EXECUTIONS, "") => seen.executions = total,
                (EXECUTIONS, _) => {}
                // What of it is held depends on how much has expired.
                (BRIEF, scope) if total > 0 => {
                    seen.facts.ledgers.insert((scope.into(), BRIEF.into()), (total, 0));
                }
                (BRIEF, _) => {}
                (meter, scope) if total > 0 || ledger.reserved > 0 => {
                    seen.facts.ledgers.insert((scope.into(), meter.into()), (total, ledger.reserved as u64));
                }
                _ => {}
            }
        }
        for session in &org.sessions {
            let seen_session = Session {
                scope: session.scope.clone(),
                booked: session.booked_ms as u64,
                held: session.reserved_ms as u64,
                runs: session.state() == SessionState::Running,
            };
            seen.facts.sessions.insert(session.session_id.clone(), seen_session);
        }
        let budget = org.budgets.iter().find(|budget| budget.scope.is_empty());
        seen.facts.budget_version = budget.map_or(0, |budget| budget.version as u64);
        // The slice of a session is one of the reservations.
        let of_session = |id: &str| org.sessions.iter().any(|session| session.decision_id == id);
        let brief = org.reservations.iter().filter(|hold| is_brief(&hold.amounts)).count();
        seen.facts.uncommitted = brief + org.reservations_expired as usize;
        let lasting = |hold: &&Reservation| !of_session(&hold.reservation_id) && !is_brief(&hold.amounts);
        for hold in org.reservations.iter().filter(lasting) {
            let open =
                Open { scope: hold.scope.clone(), amount: single(&hold.amounts), expires_at: Ends(hold.expires_at_ms) };
            seen.facts.open.insert(hold.reservation_id.clone(), open);
        }
        for baseline in &org.baselines {
            seen.facts.sources.insert(baseline.source.clone(), baseline.total as u64);
        }
        if let Some(rate) = &org.rate {
            seen.rate = (rate.window_id, rate.count as u64);
        }
        seen
    }
}

/// One org as far as this process knows it.
#[derive(Debug, Clone, Default)]
pub struct OrgLog {
    pub facts: Facts,
    /// Admissions that are certainly in the store.
    pub admitted: u64,
    /// Durable calls with their promises, oldest first.
    pub kept: Vec<Call>,
    /// Since the last comparison.
    pub fresh: Vec<Call>,
    pub plains: Vec<Plain>,
    /// How many of `plains` the last comparison found.
    pub plains_there: u64,
    pub pool: PoolLog,
}

/// Of a pool, what is not known exactly, since the last comparison; and what never changes.
#[derive(Debug, Clone, Default)]
pub struct PoolLog {
    /// Picks without an id whose answer was lost.
    pub unkeyed: u64,
    /// Picks that were denied: counted, and written behind.
    pub denied: u64,
    /// Calls of the pool at the last comparison, at least and at most.
    pub calls: (u64, u64),
    /// Ends of windows, by account.
    pub windows: BTreeMap<String, i64>,
}

impl OrgLog {
    /// The same without what an empty ledger or a used-up hold leaves behind.
    pub fn expected(&self) -> Facts {
        let mut facts = self.facts.clone();
        facts.ledgers.retain(|_, (used, reserved)| *used > 0 || *reserved > 0);
        facts.uncommitted = std::mem::take(&mut facts.brief).len();
        facts.pool = facts.pool.expected();
        facts
    }
}

/// Every org of a data directory.
#[derive(Debug, Clone, Default)]
pub struct Log {
    pub orgs: BTreeMap<String, OrgLog>,
    /// Numbers request ids.
    pub rounds: u64,
}

impl Log {
    /// That many orgs, and a few that only ever get plain Acquires: nothing but the write-behind and
    /// the end of the node brings those to disk.
    pub fn of(orgs: usize) -> Self {
        let names = (0..orgs).map(|number| format!("org-{number}"));
        let names = names.chain((0..PLAIN_ONLY_ORGS).map(|number| format!("{PLAIN_ONLY}{number}")));
        Self { orgs: names.map(|name| (name, OrgLog::default())).collect(), rounds: 0 }
    }

    pub fn note(&mut self, call: Call) {
        let org = self.orgs.get_mut(call.request.org()).unwrap();
        match (&call.request, &call.promise) {
            (_, Some(Promise::Denied)) => org.pool.denied += 1,
            (Durable::Pick(request), None) if request.request_id.is_empty() => {
                org.pool.unkeyed += 1;
                // Of the org it is an admission without an id.
                let plain = |request| Plain { request, acknowledged: false };
                org.plains.extend(request.acquire.clone().map(plain));
            }
            _ => org.fresh.push(call),
        }
    }

    pub fn note_plain(&mut self, plain: Plain) {
        self.orgs.get_mut(&plain.request.org).unwrap().plains.push(plain);
    }
}
