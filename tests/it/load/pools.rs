//! The part of the load that picks upstream accounts, reports of them, and raises their limits.

use tollgate::wire::v1::{
    AcquireRequest, Amount, ConfigurePoolRequest, DecisionCode, PickRequest, PickResponse, PoolAccount,
    ReportOutcomeRequest,
};

use super::{HOLD_MS, SCOPES};
use crate::{
    harness::chance::Chance,
    oracle::{
        COMPUTE, Ends, Log, PLAIN_ONLY, Promise,
        pools::{POOL, QUOTA_TEXT, masked},
    },
};

const FEW: &str = "upstream-few";
const SAID: &str = "upstream-said";
const SHAKY: &str = "upstream-shaky";
const PLENTY: &str = "upstream-plenty";

/// Each with its first limit: in every second org all of them are used up soon.
const TIGHT: [(&str, i64); 3] = [(FEW, 3), (SAID, 4), (SHAKY, 4)];
const WIDE: [(&str, i64); 4] = [(FEW, 3), (SAID, 1_000), (SHAKY, 1_000), (PLENTY, 1_000_000)];
const BUFFER: i64 = 1;

/// A pool that one task alone configures, and whose upstream speaks of a quota to that task alone: the order
/// of the two decides.
#[derive(Debug, Clone)]
struct Owned {
    org: String,
    version: i64,
    limits: Vec<(&'static str, i64)>,
}

/// What one task knows of pools.
#[derive(Debug, Default)]
pub(super) struct Upstreams {
    owned: Vec<Owned>,
    /// Org and account of what it picked.
    picked: Vec<(String, String)>,
}

impl Upstreams {
    pub(super) fn share_of(log: &Log, number: usize, of: usize) -> Self {
        let orgs = log.orgs.iter().filter(|(name, _)| !name.starts_with(PLAIN_ONLY)).enumerate();
        let mine = orgs.filter(|(index, _)| index % of == number);
        let owned = mine.map(|(index, (name, org))| {
            let first = if index.is_multiple_of(2) { &TIGHT[..] } else { &WIDE[..] };
            let known = |account: &str| org.facts.pool.accounts.get(&masked(account)).map(|known| known.limit as i64);
            let limits = first.iter().map(|(account, limit)| (*account, known(account).unwrap_or(*limit)));
            Owned { org: name.clone(), version: org.facts.pool.version as i64, limits: limits.collect() }
        });
        Self { owned: owned.collect(), picked: Vec::new() }
    }

    pub(super) fn configured(&mut self, request: &ConfigurePoolRequest) {
        for owned in self.owned.iter_mut().filter(|owned| owned.org == request.org) {
            owned.version += 1;
            for ((_, limit), new) in owned.limits.iter_mut().zip(&request.accounts) {
                *limit = new.daily_limit.unwrap();
            }
        }
    }

    pub(super) fn picked(&mut self, org: &str, account: &str) {
        self.picked.push((org.to_owned(), account.to_owned()));
    }

    /// A pool that is still to be made.
    pub(super) fn missing(&self, request_id: &str) -> Option<ConfigurePoolRequest> {
        let owned = self.owned.iter().find(|owned| owned.version == 0)?;
        Some(owned.request(owned.limits.clone(), request_id))
    }

    /// More for some of the accounts, so that what was exhausted is usable again.
    pub(super) fn raise(&self, request_id: &str, chance: &mut Chance) -> Option<ConfigurePoolRequest> {
        let owned = (!self.owned.is_empty()).then(|| &self.owned[chance.below(self.owned.len())])?;
        let mut limits = owned.limits.clone();
        for (account, limit) in &mut limits {
            // One is raised every time: each configuration is a change.
            if *account == FEW || chance.percent(30) {
                *limit += chance.between(1, 3) as i64;
            }
        }
        Some(owned.request(limits, request_id))
    }

    pub(super) fn pick(&self, orgs: &[String], request_id: String, chance: &mut Chance) -> PickRequest {
        let own = !self.owned.is_empty() && chance.percent(50);
        let org = if own { &self.owned[chance.below(self.owned.len())].org } else { &orgs[chance.below(orgs.len())] };
        let with_id = chance.percent(80);
        let acquire = chance.percent(50).then(|| {
            let scope = SCOPES[chance.below(SCOPES.len())].to_owned();
            let holds = with_id && chance.percent(50);
            let reserve = Amount { meter: COMPUTE.into(), amount: chance.between(1, 1_000_000) as i64 };
            let reserve = if holds { vec![reserve] } else { Vec::new() };
            let reservation_ttl_ms = if holds { HOLD_MS } else { 0 };
            AcquireRequest { scope, reserve, reservation_ttl_ms, ..Default::default() }
        });
        let request_id = if with_id { request_id } else { String::new() };
        PickRequest { org: org.clone(), pool: POOL.into(), request_id, acquire }
    }

    /// How a call of an account went that was picked; `None` before the first one.
    pub(super) fn report(&self, request_id: &str, chance: &mut Chance) -> Option<ReportOutcomeRequest> {
        let (org, account) = (!self.picked.is_empty()).then(|| &self.picked[chance.below(self.picked.len())])?;
        let speaks = account == SAID && self.owned.iter().any(|owned| owned.org == *org) && chance.percent(50);
        let status = match chance.below(100) {
            0..4 => 0,
            4..8 => 500,
            8..14 => 404,
            14..24 if account == SHAKY => 403,
            _ => 200,
        };
        let (status, error_text) =
            if speaks { ([200, 403, 429, 503][chance.below(4)], QUOTA_TEXT) } else { (status, "") };
        let account = if !speaks && chance.percent(10) { "" } else { account };
        Some(ReportOutcomeRequest {
            org: org.clone(),
            pool: POOL.into(),
            account: account.into(),
            status,
            error_text: error_text.into(),
            bytes_up: chance.below(10_000) as i64,
            bytes_down: chance.below(1_000_000) as i64,
            request_id: request_id.into(),
            ..Default::default()
        })
    }
}

impl Owned {
    fn request(&self, limits: Vec<(&'static str, i64)>, request_id: &str) -> ConfigurePoolRequest {
        let account = |(account, limit): (&str, i64)| PoolAccount {
            account: account.into(),
            daily_limit: Some(limit),
            safety_buffer: Some(BUFFER),
            ..Default::default()
        };
        ConfigurePoolRequest {
            reason: String::new(),
            org: self.org.clone(),
            pool: POOL.into(),
            accounts: limits.into_iter().map(account).collect(),
            request_id: request_id.into(),
            expected_version: Some(self.version),
            settings: None,
            dry_run: false,
        }
    }
}

/// What the answer of a pick promises.
pub(super) fn promise(request: &PickRequest, mut answer: PickResponse) -> (Promise, bool) {
    let decision = answer.decision.take().unwrap_or_default();
    assert!(decision.fail_open.is_empty(), "{decision:?}");
    if !answer.allowed {
        assert_eq!((answer.code(), answer.account.as_str()), (DecisionCode::AccountsExhausted, ""), "{request:?}");
        assert!(answer.retry_after_ms > 0 && !answer.replayed, "R-POOL-3: every window ends: {request:?}");
        return (Promise::Denied, false);
    }
    assert_eq!(answer.code(), DecisionCode::Allowed, "{request:?}");
    let hold = (decision.reservation_id, Ends(decision.reservation_expires_at_ms));
    let hold = (!hold.0.is_empty()).then_some(hold);
    (Promise::Picked { account: answer.account, hold }, answer.replayed)
}
