//! The upstream accounts of an org: which pool each is in, how it is configured, and what is known of it
//! beside its ledger. What it may still be used follows from limits and ledger at every look.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use super::{
    alerts::Subject,
    command::{ConfigurePool, NewAccount},
    ids::{AccountId, Meter, PoolId, Scope},
    lease::Now,
    limit::{Limit, LimitSource, Origin},
    policy::{OrgPolicy, PoolPolicy, PoolRules, PoolSettings, Profile},
    reply::{Exhaustion, Route},
    rows::{Avoided, Keeper, Limited, PoolRow, Reported, Row, RowKey, RowsByKind, UpstreamAccountRow},
    table::Table,
    window::{Millis, Window},
};
use crate::bounds::{ESTIMATE_BYTES, ESTIMATE_CALLS, LIMITED_PAUSE_MAX_MS, LIMITED_PAUSE_MS, MINUTE_MS};

/// Name the limits of an account among others on its scope.
const ACCOUNT: &str = "account";
const ACCOUNT_MINUTE: &str = "account/minute";
const OF_POOL: Origin = Origin::of(LimitSource::Pool);

/// The window of a limit per minute. What it exhausts is usable again so soon that it is not announced.
pub(super) const CLOCK_MINUTE: Window = Window::Aligned { len: MINUTE_MS };

/// An account of a pool, with its scope at hand.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) id: AccountId,
    pub(super) scope: Scope,
}

impl Member {
    pub(super) fn of(id: &AccountId) -> Self {
        Self { id: id.clone(), scope: Scope::from(id) }
    }
}

#[derive(Debug, Default)]
pub(super) struct Pools {
    pools: Table<PoolId, PoolRow>,
    accounts: Table<AccountId, UpstreamAccountRow>,
    /// In the order of their ids.
    members: BTreeMap<PoolId, Arc<[Member]>>,
    /// When something of an account ends by itself, the soonest first.
    due: BTreeSet<(Millis, AccountId)>,
    looks: HashMap<AccountId, Millis>,
}

impl UpstreamAccountRow {
    /// The limit per window that the pool sets on its account.
    pub(super) fn limit(&self, rules: &PoolRules) -> Limit {
        let amount = self.daily_limit.unwrap_or(rules.daily_limit);
        let buffer = self.safety_buffer.unwrap_or(rules.safety_buffer);
        let window = self.window.unwrap_or(rules.window);
        Limit { buffer, ..Limit::named(ACCOUNT, Meter::executions(), window, Some(amount)) }.with_origin(OF_POOL)
    }

    /// The same as it is in force: an override may have changed its amount.
    pub(super) fn limit_in_force(&self, scope: &Scope, rules: &PoolRules, policy: &OrgPolicy) -> Limit {
        let limit = policy.limits_of(scope).iter().find(|limit| limit.name() == ACCOUNT);
        limit.cloned().unwrap_or_else(|| self.limit(rules))
    }

    /// The limit per minute, where there is one.
    pub(super) fn minute_limit(&self, rules: &PoolRules) -> Option<Limit> {
        let amount = self.per_minute.or(rules.per_minute)?;
        Some(Limit::named(ACCOUNT_MINUTE, Meter::executions(), CLOCK_MINUTE, Some(amount)).with_origin(OF_POOL))
    }

    /// The same as it is in force.
    pub(super) fn minute_limit_in_force(&self, scope: &Scope, rules: &PoolRules, policy: &OrgPolicy) -> Option<Limit> {
        let limit = policy.limits_of(scope).iter().find(|limit| limit.name() == ACCOUNT_MINUTE);
        limit.cloned().or_else(|| self.minute_limit(rules))
    }

    fn of(pool: &PoolId, new: &NewAccount, old: Option<&Self>) -> Self {
        let fresh = Self {
            id: new.id.clone(),
            pool: pool.clone(),
            daily_limit: None,
            safety_buffer: None,
            window: None,
            per_minute: None,
            last_used_at: None,
            reported: Reported::default(),
            evidence: None,
            quarantine: None,
            cooldown: None,
            limited: None,
            announced: false,
        };
        Self {
            daily_limit: new.daily_limit,
            safety_buffer: new.safety_buffer,
            window: new.window,
            per_minute: new.per_minute,
            ..old.cloned().unwrap_or(fresh)
        }
    }

    /// Whether its route is avoided; a refusal is worse than a failure.
    pub(super) fn route(&self, now: &Now) -> Option<Route> {
        let at = |avoided: Option<Avoided>, refused| {
            let Avoided { since, until } = avoided.filter(|avoided| now.lease < avoided.until)?;
            Some(Route { refused, since, until: now.ends(until) })
        };
        let asked_to_wait = self.limited.map(|limited| Avoided { since: limited.since, until: limited.until });
        let later = [self.cooldown, asked_to_wait].into_iter().flatten().max_by_key(|avoided| avoided.until);
        at(self.quarantine, true).or_else(|| at(later, false))
    }

    /// Why the profile keeps from it what its upstream said of its route, and until when.
    pub(super) fn withheld(&self, profile: Profile, now: &Now) -> Option<(Exhaustion, Millis)> {
        let limited = self.limited.map(|limited| (Exhaustion::RateLimited, limited.until));
        let refused = self.quarantine.map(|refused| (Exhaustion::Refused, refused.until));
        let longest = [limited, refused].into_iter().flatten().max_by_key(|(_, until)| *until);
        let withheld = longest.filter(|(_, until)| profile == Profile::Llm && now.lease < *until);
        withheld.map(|(why, until)| (why, now.shown(until)))
    }

    /// The upstream asked to wait, for the time that it `named` or for twice the last pause. Calls that were
    /// under way when it first did say the same once more, and double nothing.
    pub(super) fn asked_to_wait(&mut self, named: Option<Millis>, picked_at: Option<Millis>, now: &Now) {
        let known = self.limited.filter(|limited| now.lease < limited.forgotten_at);
        let (pause, until) = match (named, known) {
            (Some(named), known) => (known.map_or(0, |known| known.pause), now.lease.after(named)),
            (None, Some(known)) if picked_at.map_or(now.lease < known.until, |at| at <= known.since) => {
                (known.pause, known.until)
            }
            (None, known) => {
                let doubled = known.map_or(0, |known| known.pause.saturating_mul(2));
                let pause = doubled.clamp(LIMITED_PAUSE_MS, LIMITED_PAUSE_MAX_MS);
                (pause, now.lease.after(pause))
            }
        };
        let forgotten_at = until.after(LIMITED_PAUSE_MAX_MS);
        self.limited = Some(Limited { since: now.service, until, pause, forgotten_at });
    }

    /// A call went well. What was said before it was picked holds no longer. Where it is not known when that
    /// was, only the pauses begin again, once none runs.
    pub(super) fn went_well(&mut self, picked_at: Option<Millis>, now: &Now) {
        let Some(picked_at) = picked_at.filter(|at| *at <= now.service) else {
            self.limited = self.limited.filter(|limited| now.lease < limited.until);
            return;
        };
        self.evidence = self.evidence.filter(|evidence| picked_at <= evidence.at);
        self.limited = self.limited.filter(|limited| picked_at <= limited.since);
        for avoided in [&mut self.quarantine, &mut self.cooldown] {
            *avoided = avoided.filter(|avoided| picked_at <= avoided.since);
        }
    }

    /// Forgets evidence and route; answers whether there was anything that held at `now`.
    pub(super) fn clear(&mut self, now: &Now) -> bool {
        let was_held = self.evidence.is_some_and(|evidence| now.service < evidence.until) || self.route(now).is_some();
        (self.evidence, self.quarantine, self.cooldown, self.limited) = (None, None, None, None);
        was_held
    }

    /// The window that ends at `until` runs. What was reported while none did counts in it.
    pub(super) fn reported_until(&mut self, until: Millis, now: Millis) {
        let kept = if now < self.reported.until { self.reported } else { Reported::default() };
        self.reported = Reported { until, ..kept };
    }

    /// What has ended by `now` is gone.
    fn roll(&mut self, now: &Now) {
        self.evidence = self.evidence.filter(|evidence| now.service < evidence.until);
        self.quarantine = self.quarantine.filter(|avoided| now.lease < avoided.until);
        self.cooldown = self.cooldown.filter(|avoided| now.lease < avoided.until);
        self.limited = self.limited.filter(|limited| now.lease < limited.forgotten_at);
        if self.reported.until <= now.service {
            self.reported = Reported::default();
        }
    }

    /// When the next of it ends, if the node stays up.
    fn next_end(&self, now: &Now) -> Option<Millis> {
        let evidence = self.evidence.map(|evidence| evidence.until);
        let avoided = |avoided: Option<Avoided>| Some(now.wake(avoided?.until));
        let (quarantine, cooldown) = (avoided(self.quarantine), avoided(self.cooldown));
        let reported = Some(self.reported.until).filter(|until| *until > 0);
        let limited = self.limited.map(|limited| now.wake(limited.forgotten_at));
        [evidence, quarantine, cooldown, reported, limited].into_iter().flatten().min()
    }
}

impl Pools {
    pub(super) fn load(rows: &mut RowsByKind, now: &Now) -> Self {
        let pools = std::mem::take(&mut rows.pools);
        let accounts = std::mem::take(&mut rows.upstream_accounts);
        let mut loaded = Self {
            pools: Table::load(pools.into_iter().map(|row| (row.id.clone(), row))),
            accounts: Table::load(accounts.iter().map(|row| (row.id.clone(), row.clone()))),
            ..Self::default()
        };
        for row in accounts {
            loaded.look_at(&row, None, now);
        }
        let ids: Vec<_> = loaded.pools.iter().map(|(id, _)| id.clone()).collect();
        ids.iter().for_each(|id| loaded.gather(id));
        loaded
    }

    /// Whose accounts are in the pool, in the order of their ids.
    fn gather(&mut self, pool: &PoolId) {
        let of_pool = self.accounts.iter().filter(|(_, row)| row.pool == *pool);
        let members = of_pool.map(|(id, _)| Member::of(id));
        self.members.insert(pool.clone(), members.collect());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pools.is_empty() && self.accounts.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.pools.len()
    }

    pub(super) fn get(&self, id: &PoolId) -> Option<&PoolRow> {
        self.pools.get(id)
    }

    /// What holds for accounts of the pool that say nothing else.
    pub(super) fn rules(&self, pool: &PoolId, policy: &PoolPolicy) -> PoolRules {
        self.pools.get(pool).map_or(policy.rules, |row| policy.rules(pool, &row.settings))
    }

    pub(super) fn ids(&self) -> Vec<PoolId> {
        self.pools.iter().map(|(id, _)| id.clone()).collect()
    }

    pub(super) fn members(&self, pool: &PoolId) -> Arc<[Member]> {
        self.members.get(pool).cloned().unwrap_or_default()
    }

    pub(super) fn account(&self, id: &AccountId) -> Option<&UpstreamAccountRow> {
        self.accounts.get(id)
    }

    /// The scopes of all accounts.
    pub(super) fn scopes(&self) -> impl Iterator<Item = Scope> {
        self.accounts.iter().map(|(id, _)| Scope::from(id))
    }

    /// `limits` of a scope, with those of its account.
    pub(super) fn over(&self, scope: &Scope, mut limits: Vec<Limit>, policy: &PoolPolicy) -> Vec<Limit> {
        let account = scope.account().and_then(|text| AccountId::parse("account", text).ok());
        if let Some(row) = account.and_then(|id| self.accounts.get(&id)) {
            let rules = self.rules(&row.pool, policy);
            limits.push(row.limit(&rules));
            limits.extend(row.minute_limit(&rules));
            limits.sort_by(|a, b| a.rank().cmp(&b.rank()));
        }
        limits
    }

    /// Takes what was announced of pools and accounts out of their rows, where an older tollgate kept it.
    pub(super) fn take_announced(&mut self) -> Vec<Subject> {
        let pools = self.pools.iter().filter(|(_, row)| row.announced);
        let pools: Vec<PoolId> = pools.map(|(id, _)| id.clone()).collect();
        let accounts = self.accounts.iter().filter(|(_, row)| row.announced);
        let accounts: Vec<AccountId> = accounts.map(|(id, _)| id.clone()).collect();
        pools.iter().for_each(|id| self.pools.change(id, |row| row.announced = false));
        accounts.iter().for_each(|id| self.accounts.change(id, |row| row.announced = false));
        pools.into_iter().map(Subject::Pool).chain(accounts.into_iter().map(Subject::Account)).collect()
    }

    /// `free_at`: when an exhausted account is usable again.
    pub(super) fn put(&mut self, row: UpstreamAccountRow, free_at: Option<Millis>, now: &Now) {
        self.look_at(&row, free_at, now);
        self.accounts.put(row.id.clone(), row);
    }

    /// Sets when the account is to be examined next.
    pub(super) fn look_at(&mut self, row: &UpstreamAccountRow, free_at: Option<Millis>, now: &Now) {
        if let Some(old) = self.looks.remove(&row.id) {
            self.due.remove(&(old, row.id.clone()));
        }
        if let Some(at) = row.next_end(now).into_iter().chain(free_at).min() {
            self.looks.insert(row.id.clone(), at);
            self.due.insert((at, row.id.clone()));
        }
    }

    /// Replaces the accounts of a pool, and its settings where they are given; without any account the pool is
    /// gone. Answers the scopes whose limits may
    /// have changed.
    pub(super) fn configure(&mut self, set: &ConfigurePool, now: &Now) -> Vec<Scope> {
        let mut changed = BTreeSet::new();
        let named: BTreeSet<&AccountId> = set.accounts.iter().map(|new| &new.id).collect();
        for member in self.members(&set.pool).iter().filter(|member| !named.contains(&member.id)) {
            if let Some(at) = self.looks.remove(&member.id) {
                self.due.remove(&(at, member.id.clone()));
            }
            self.accounts.remove(&member.id);
            changed.insert(member.scope.clone());
        }
        for new in &set.accounts {
            let old = self.accounts.get(&new.id);
            let row = UpstreamAccountRow::of(&set.pool, new, old);
            if old != Some(&row) {
                changed.insert(Scope::from(&new.id));
                self.put(row, None, now);
            }
        }
        let old = self.pools.get(&set.pool).cloned();
        if set.accounts.is_empty() {
            self.pools.remove(&set.pool);
            self.members.remove(&set.pool);
            return changed.into_iter().collect();
        }
        let fresh = PoolRow { id: set.pool.clone(), version: 0, announced: false, settings: PoolSettings::default() };
        let mut row = old.unwrap_or(fresh);
        let settings = set.settings.clone().unwrap_or_else(|| row.settings.clone());
        if row.version == 0 || !changed.is_empty() || row.settings != settings {
            if row.settings != settings {
                changed.extend(set.accounts.iter().map(|new| Scope::from(&new.id)));
            }
            (row.version, row.settings) = (row.version + 1, settings);
            self.pools.put(set.pool.clone(), row);
            self.gather(&set.pool);
        }
        changed.into_iter().collect()
    }

    /// What is set for a pool and for each of its accounts.
    pub(super) fn configured(&self, pool: &PoolId) -> (Option<PoolRow>, Vec<UpstreamAccountRow>) {
        let members = self.members(pool);
        let accounts = members.iter().filter_map(|member| self.accounts.get(&member.id)).cloned().collect();
        (self.pools.get(pool).cloned(), accounts)
    }

    /// Ends what has ended by `now`. Answers the pools that it concerns.
    pub(super) fn roll(&mut self, now: &Now) -> BTreeSet<PoolId> {
        let mut concerned = BTreeSet::new();
        while let Some((_, id)) = self.due.first().filter(|(at, _)| *at <= now.service).cloned() {
            let Some(mut row) = self.accounts.get(&id).cloned() else {
                self.due.pop_first();
                continue;
            };
            row.roll(now);
            concerned.insert(row.pool.clone());
            self.put(row, None, now);
        }
        concerned
    }
}

impl Keeper for Pools {
    fn take_changes(&mut self, puts: &mut Vec<Row>, dels: &mut Vec<RowKey>) {
        self.pools.take_rows(puts, dels, |_, row| Row::Pool(row), |id| RowKey::Pool { id });
        self.accounts.take_rows(puts, dels, |_, row| Row::UpstreamAccount(row), |id| RowKey::UpstreamAccount { id });
    }

    fn is_spent(&self) -> bool {
        self.is_empty()
    }

    fn next_wake(&self, _now: &Now) -> Option<Millis> {
        self.due.first().map(|(at, _)| *at)
    }
}

/// R-POOL-7: what `remaining` calls will transfer, if `calls` of them transferred `bytes`.
pub(super) fn estimate(remaining: u64, calls: u64, bytes: u64) -> Option<u64> {
    let (least, most) = ESTIMATE_BYTES;
    let average = bytes.checked_div(calls).filter(|_| calls >= ESTIMATE_CALLS)?;
    Some(remaining.saturating_mul(average.clamp(least, most)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_to_transfer_is_estimated_after_five_calls_from_a_clamped_average() {
        assert_eq!(estimate(10, 4, 4_000_000), None, "R-POOL-7");
        assert_eq!(estimate(10, 5, 500_000), Some(1_000_000));
        assert_eq!(estimate(10, 5, 0), Some(500_000), "at least 50 KB");
        assert_eq!(estimate(10, 5, u64::MAX), Some(5_000_000), "at most 500 KB");
        assert_eq!(estimate(0, 5, 500_000), Some(0));
        assert_eq!(estimate(10, 0, 7), None);
    }
}
