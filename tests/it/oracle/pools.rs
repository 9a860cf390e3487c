//! What is known of the pool of an org, and what `GetPool` must then show. Accounts are named by their masks.

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use tollgate::wire::{
    admin::v1::{GetOrgResponse, Ledger},
    v1::{
        AccountState, ConfigurePoolRequest, Pool, PoolAccountStatus, PoolSummary, ReportOutcomeRequest, RouteHealth,
        UpstreamOutcome,
    },
};

/// The one pool of every org with durable calls.
pub const POOL: &str = "upstreams";
/// Speaks of a quota, in the node's own words.
pub const QUOTA_TEXT: &str = "403: Daily Limit exceeded";

const CALLS: &str = "calls";
const DAY_MS: i64 = 86_400_000;
const OF_ACCOUNT: &str = "account/";
const OF_POOL: &str = "pool/";

/// As the node shows an account.
pub fn masked(account: &str) -> String {
    format!("{}…{}", &account[..4], &account[account.len() - 4..])
}

/// Whether usage of this scope is a pool's.
pub fn is_of_pool(scope: &str) -> bool {
    scope.starts_with(OF_ACCOUNT) || scope.starts_with(OF_POOL)
}

/// What the call of a report was.
fn outcome(request: &ReportOutcomeRequest) -> UpstreamOutcome {
    match request.status {
        0 => UpstreamOutcome::Unavailable,
        _ if request.error_text == QUOTA_TEXT => UpstreamOutcome::QuotaExhausted,
        401 | 403 | 429 => UpstreamOutcome::Refused,
        500.. => UpstreamOutcome::Unavailable,
        400.. => UpstreamOutcome::Failed,
        _ => UpstreamOutcome::Ok,
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    pub limit: u64,
    pub buffer: u64,
    pub used: u64,
    pub failed: u64,
    pub quota_errors: u64,
    pub up: u64,
    pub down: u64,
    pub state: AccountState,
    pub route: RouteHealth,
    /// The limit that it had when its upstream last spoke of a quota.
    said: Option<u64>,
}

impl Account {
    fn of(status: &PoolAccountStatus) -> Self {
        Self {
            limit: status.daily_limit as u64,
            buffer: status.safety_buffer as u64,
            used: status.used as u64,
            failed: status.failed as u64,
            quota_errors: status.quota_errors as u64,
            up: status.bytes_up as u64,
            down: status.bytes_down as u64,
            state: status.state(),
            route: status.route(),
            said: None,
        }
    }

    fn usable(&self) -> u64 {
        self.limit.saturating_sub(self.buffer)
    }

    /// A higher limit is word that there is more.
    fn state(&self) -> AccountState {
        match self.said {
            Some(limit) if self.limit <= limit => AccountState::QuotaExhausted,
            _ if self.used >= self.usable() => AccountState::LimitReached,
            _ => AccountState::Active,
        }
    }

    fn learn(&mut self, request: &ReportOutcomeRequest) {
        self.up += request.bytes_up as u64;
        self.down += request.bytes_down as u64;
        match outcome(request) {
            UpstreamOutcome::QuotaExhausted => {
                self.quota_errors += 1;
                self.said = Some(self.limit);
            }
            UpstreamOutcome::Refused => self.route = RouteHealth::Quarantine,
            UpstreamOutcome::Unavailable if self.route != RouteHealth::Quarantine => {
                self.route = RouteHealth::Cooldown;
            }
            _ => {}
        }
        let failures = [UpstreamOutcome::Refused, UpstreamOutcome::Unavailable, UpstreamOutcome::Failed];
        self.failed += u64::from(failures.contains(&outcome(request)));
    }

    /// Nothing of `promised` is missing, but there may be more.
    fn covers(&self, promised: &Self) -> bool {
        self.limit >= promised.limit
            && self.used >= promised.used
            && self.failed >= promised.failed
            && self.quota_errors >= promised.quota_errors
            && self.up >= promised.up
            && self.down >= promised.down
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PoolFacts {
    pub version: u64,
    /// Of every path.
    pub bytes: u64,
    pub accounts: BTreeMap<String, Account>,
}

impl PoolFacts {
    pub fn of(pool: &Pool) -> Self {
        let accounts = pool.accounts.iter().map(|status| (status.account.clone(), Account::of(status)));
        Self { version: pool.version as u64, bytes: 0, accounts: accounts.collect() }
    }

    pub fn configure(&mut self, request: &ConfigurePoolRequest) {
        self.version += 1;
        for new in &request.accounts {
            let account = self.accounts.entry(masked(&new.account)).or_default();
            account.limit = new.daily_limit.unwrap() as u64;
            account.buffer = new.safety_buffer.unwrap() as u64;
        }
    }

    pub fn pick(&mut self, account: &str) {
        self.accounts.entry(masked(account)).or_default().used += 1;
    }

    pub fn report(&mut self, request: &ReportOutcomeRequest, said: UpstreamOutcome) {
        assert_eq!(said, outcome(request), "R-POOL-4: {request:?}");
        self.bytes += (request.bytes_up + request.bytes_down) as u64;
        if !request.account.is_empty() {
            self.accounts.entry(masked(&request.account)).or_default().learn(request);
        }
    }

    /// As the node has to show it.
    pub fn expected(&self) -> Self {
        let mut shown = self.clone();
        for account in shown.accounts.values_mut() {
            account.state = account.state();
            account.said = None;
            if account.route == RouteHealth::Unspecified {
                account.route = RouteHealth::Ok;
            }
        }
        shown
    }

    /// Takes over picks without an id whose answers were lost: at most so many, of whichever account.
    /// Answers how many are there.
    pub fn adopt(&mut self, seen: &Self, most: u64) -> u64 {
        let mut there = 0;
        for (name, account) in &mut self.accounts {
            let used = seen.accounts.get(name).map_or(0, |seen| seen.used);
            there += used.saturating_sub(account.used);
            account.used = account.used.max(used);
        }
        assert!(there <= most, "R-POOL-2: {there} picks more than promised, {most} were in doubt: {seen:?}");
        there
    }

    /// Nothing of `promised` is missing, but there may be more.
    pub fn covers(&self, promised: &Self) -> bool {
        let there = |(name, account)| self.accounts.get(name).is_some_and(|seen: &Account| seen.covers(account));
        self.version >= promised.version && self.bytes >= promised.bytes && promised.accounts.iter().all(there)
    }
}

/// A pool and its ledgers side by side.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PoolSeen {
    pool: Option<Pool>,
    /// The same out of the org.
    summary: Option<PoolSummary>,
    /// By scope and meter: since ever, and since midnight.
    ledgers: BTreeMap<(String, String), (u64, u64)>,
}

impl PoolSeen {
    pub fn of(org: &GetOrgResponse, pool: Option<Pool>) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
        let midnight = now / DAY_MS * DAY_MS;
        let sums = |ledger: &Ledger| {
            let since =
                |from| ledger.hours.iter().filter(move |hour| hour.start_ms >= from).map(|hour| hour.total as u64);
            (since(0).sum(), since(midnight).sum())
        };
        let of_pool = org.ledgers.iter().filter(|ledger| is_of_pool(&ledger.scope));
        let ledgers = of_pool.map(|ledger| ((ledger.scope.clone(), ledger.meter.clone()), sums(ledger)));
        let summary = org.pools.first().and_then(|pool| pool.summary);
        Self { pool, summary, ledgers: ledgers.collect() }
    }

    /// Calls and bytes since ever, what never was a call of an account included.
    pub fn calls(&self) -> u64 {
        self.ledger(OF_POOL, POOL, CALLS).0
    }

    pub fn bytes(&self) -> u64 {
        self.ledger(OF_POOL, POOL, super::BYTES).0
    }

    /// Ends of the windows that run.
    pub fn windows(&self) -> impl Iterator<Item = (&str, i64)> {
        let accounts = self.pool.iter().flat_map(|pool| &pool.accounts);
        let windows = accounts.map(|account| (account.account.as_str(), account.window_ends_at_ms));
        windows.filter(|(_, end)| *end > 0)
    }

    fn ledger(&self, kind: &str, id: &str, meter: &str) -> (u64, u64) {
        self.ledgers.get(&(format!("{kind}{id}"), meter.to_owned())).copied().unwrap_or_default()
    }

    /// The numbers of a pool follow from its accounts, and those from their ledgers.
    pub fn fits(&self) {
        let Some(pool) = &self.pool else { return };
        let summary = at_rest(pool.summary.unwrap());
        assert_eq!(self.summary.map(at_rest), Some(summary), "{pool:?}");
        let mut sum =
            PoolSummary { estimated_remaining_bytes: summary.estimated_remaining_bytes, ..Default::default() };
        for account in &pool.accounts {
            let ledger = |meter| self.ledger(OF_ACCOUNT, &account.account, meter).0 as i64;
            assert_eq!(account.used, ledger(super::EXECUTIONS), "{account:?}");
            assert_eq!(account.bytes_up + account.bytes_down, ledger(super::BYTES), "{account:?}");
            let usable = account.daily_limit - account.safety_buffer;
            assert_eq!(account.remaining, usable - account.used, "{account:?}");
            // No limit of the load is ever lowered.
            assert!(account.remaining >= 0, "R-POOL-2: given out more often than it may be: {account:?}");
            assert_eq!(account.used > 0, account.last_used_at_ms > 0, "{account:?}");
            let (is_active, available_at) = (account.state() == AccountState::Active, account.available_at_ms);
            assert_eq!(is_active, available_at == 0, "{account:?}");
            assert_eq!(account.route() == RouteHealth::Ok, account.route_until_ms == 0, "{account:?}");
            sum.accounts += 1;
            sum.active += i64::from(is_active);
            sum.avoided += i64::from(is_active && account.route() != RouteHealth::Ok);
            sum.capacity += usable;
            sum.used += account.used;
            sum.remaining += if is_active { account.remaining } else { 0 };
            sum.failed += account.failed;
            sum.quota_errors += account.quota_errors;
            let soonest = [sum.soonest_reset_ms, available_at].into_iter().filter(|at| *at > 0).min();
            sum.soonest_reset_ms = soonest.unwrap_or(0);
        }
        sum.total_calls = self.ledger(OF_POOL, POOL, CALLS).1 as i64;
        sum.bytes = self.ledger(OF_POOL, POOL, super::BYTES).1 as i64;
        assert_eq!(summary, sum, "a summary that does not add up: {pool:?}");
    }
}

/// Without how long it is until then, which is less with every millisecond.
fn at_rest(summary: PoolSummary) -> PoolSummary {
    PoolSummary { soonest_reset_in_ms: 0, ..summary }
}
