//! What accounts and pools come to, from lists of what happened to them.

use std::{cmp::Reverse, ops::Bound};

use super::*;

const CLOCK_MINUTE: Window = Window::Aligned { len: MINUTE_MS };

/// What holds for an account that is in a pool.
#[derive(Debug, Clone, Copy)]
pub(super) struct InForce {
    pub(super) limit: u64,
    pub(super) buffer: u64,
    pub(super) window: Window,
    pub(super) per_minute: Option<u64>,
}

impl InForce {
    pub(super) fn usable(&self) -> u64 {
        self.limit.saturating_sub(self.buffer)
    }
}

/// What has happened to one account, in a pool or not.
#[derive(Debug, Clone, Default)]
pub(super) struct Life {
    /// Instants of its picks.
    picks: Vec<Millis>,
    /// By length of the window: when the last anchored one began, and how many picks came before it.
    begun: BTreeMap<Millis, (Millis, usize)>,
    /// When it was said to be exhausted, until when, at which limit.
    said: Option<(Millis, Millis, u64)>,
    /// When it was last refused, failed, or asked to wait, and until when.
    refused: Option<(Millis, Millis)>,
    failed: Option<(Millis, Millis)>,
    limited: Option<(Millis, Millis)>,
    reported: Reported,
    last_used: Option<Millis>,
}

impl Life {
    fn begin(&mut self, window: Window, at: Millis) {
        let Window::Anchored { len } = window else { return };
        if self.running(len, at).is_none() {
            self.begun.insert(len, (at, self.picks.len()));
            // What was reported while none ran counts in it.
            let kept = if at < self.reported.until { self.reported } else { Reported::default() };
            self.reported = Reported { until: at + len, ..kept };
        }
    }

    fn running(&self, len: Millis, at: Millis) -> Option<(Millis, usize)> {
        self.begun.get(&len).copied().filter(|(start, _)| at < start + len)
    }

    /// `None` where none runs, or it has no end.
    fn window_end(&self, window: Window, at: Millis) -> Option<Millis> {
        match window {
            Window::Anchored { len } => self.running(len, at).map(|(start, _)| start + len),
            Window::Rolling { .. } => None,
            _ => window.end(window.start(at)),
        }
    }

    pub(super) fn pick(&mut self, window: Window, at: Millis) {
        self.begin(window, at);
        self.picks.push(at);
        self.last_used = Some(at);
    }

    fn report(&mut self, it: InForce, report: &ReportOutcome, outcome: Upstream, rules: &PoolRules, at: Millis) {
        let named = report.retry_after;
        if outcome == Upstream::QuotaExhausted {
            if named.is_none() {
                self.begin(it.window, at);
            }
            let until = match (named, it.window) {
                (Some(named), _) => at + named,
                (None, Window::Rolling { len }) => at + len,
                (None, window) => self.window_end(window, at).unwrap(),
            };
            self.said = Some((at, until, it.limit));
        }
        if self.reported.until <= at {
            // Where no window runs a length of its own; of a rolling one whole lengths from the epoch.
            let until = match it.window {
                Window::Rolling { len } => (at / len + 1) * len,
                Window::Anchored { len } => self.window_end(it.window, at).unwrap_or(at + len),
                window => self.window_end(window, at).unwrap(),
            };
            self.reported = Reported { until, ..Reported::default() };
        }
        self.reported.bytes_up += report.bytes_up;
        self.reported.bytes_down += report.bytes_down;
        // The time that is named decides; without one the longer lasts.
        let avoided = |known: Option<(Millis, Millis)>, length| {
            let longest = known.map_or(0, |(_, until)| until).max(at + length);
            Some((at, named.map_or(longest, |named| at + named)))
        };
        match outcome {
            Upstream::Ok => return self.succeed(report.picked_at),
            Upstream::QuotaExhausted => return self.reported.quota_errors += 1,
            Upstream::Refused => self.refused = avoided(self.refused, rules.quarantine),
            Upstream::Unavailable => self.failed = avoided(self.failed, rules.cooldown),
            Upstream::RateLimited => self.limited = avoided(None, 0),
            Upstream::Failed => {}
        }
        self.reported.failed += 1;
    }

    /// What was said before the call was picked is over.
    fn succeed(&mut self, picked_at: Option<Millis>) {
        let Some(picked_at) = picked_at else { return };
        self.said = self.said.filter(|(said_at, ..)| picked_at <= *said_at);
        for route in [&mut self.refused, &mut self.failed, &mut self.limited] {
            *route = route.filter(|(since, _)| picked_at <= *since);
        }
    }

    /// Whether there was anything to forget.
    fn clear(&mut self, at: Millis) -> bool {
        let was_held = self.said.is_some_and(|(_, until, _)| at < until) || self.route(at).is_some();
        (self.said, self.refused, self.failed, self.limited) = (None, None, None, None);
        was_held
    }

    /// It has left its pool: only what was counted stays.
    fn leave(&mut self) {
        *self =
            Self { picks: std::mem::take(&mut self.picks), begun: std::mem::take(&mut self.begun), ..Self::default() };
    }

    pub(super) fn used(&self, window: Window, at: Millis) -> u64 {
        let before = match window {
            Window::Anchored { len } => self.running(len, at).map_or(self.picks.len(), |(_, before)| before),
            _ => self.picks.partition_point(|pick| *pick < window.start(at)),
        };
        (self.picks.len() - before) as u64
    }

    /// When one more pick fits, if nothing else happens.
    fn fits_at(&self, it: InForce, at: Millis) -> Option<Millis> {
        if it.usable() == 0 {
            return None;
        }
        let Window::Rolling { len } = it.window else { return self.window_end(it.window, at) };
        let slice = it.window.slice();
        let leaves = self.picks.iter().map(|pick| pick / slice * slice + slice + len).filter(|leaves| *leaves > at);
        leaves.into_iter().find(|leaves| self.used(it.window, *leaves) < it.usable())
    }

    /// By whom it is exhausted, and until when: `None` = not by itself.
    fn exhausted(&self, it: InForce, at: Millis) -> Option<(Exhaustion, Option<Millis>)> {
        let minute = it.per_minute.filter(|most| self.used(CLOCK_MINUTE, at) >= *most);
        let minute = minute.map(|most| (most > 0).then(|| (at / MINUTE_MS + 1) * MINUTE_MS));
        let limits = [self.is_full(it, at).then(|| self.fits_at(it, at)), minute];
        let full = limits.into_iter().flatten().reduce(|a, b| a.zip(b).map(|(a, b)| a.max(b)));
        match (self.said(it, at), full) {
            (None, None) => None,
            (None, Some(fits)) => Some((Exhaustion::Limit, fits)),
            (Some(until), None) => Some((Exhaustion::Upstream, Some(until))),
            (Some(until), Some(fits)) => Some((Exhaustion::Upstream, fits.map(|fits| fits.max(until)))),
        }
    }

    fn is_full(&self, it: InForce, at: Millis) -> bool {
        self.used(it.window, at) >= it.usable()
    }

    fn said(&self, it: InForce, at: Millis) -> Option<Millis> {
        self.said.filter(|(_, until, limit)| at < *until && it.limit <= *limit).map(|(_, until, _)| until)
    }

    /// Whether it is announced: what only the minute exhausts is not.
    fn is_announced(&self, it: InForce, at: Millis) -> bool {
        let full = self.is_full(it, at) && (it.window != CLOCK_MINUTE || it.usable() == 0);
        full || self.said(it, at).is_some()
    }

    /// Of its limits the smallest part that is left, and the whole.
    fn part(&self, it: InForce, at: Millis) -> (u64, u64) {
        let day = (it.usable() - self.used(it.window, at), it.usable());
        let minute = it.per_minute.map(|most| (most - self.used(CLOCK_MINUTE, at), most));
        minute.filter(|(left, of)| left * day.1 < day.0 * of).unwrap_or(day)
    }

    /// A refusal lasts over a failure, the longer over the shorter.
    fn route(&self, at: Millis) -> Option<Route> {
        let of = |route: Option<(Millis, Millis)>, refused| {
            route.filter(|(_, until)| at < *until).map(|(since, until)| Route {
                since,
                until: Now::at(at).due(until),
                refused,
            })
        };
        let failed = [of(self.failed, false), of(self.limited, false)].into_iter().flatten();
        of(self.refused, true).or_else(|| failed.max_by_key(|route| route.until))
    }

    fn view(&self, id: u8, it: InForce, at: Millis) -> AccountView {
        let used = self.used(it.window, at);
        let exhausted = self.exhausted(it, at);
        let minute = it.per_minute.map_or(u64::MAX, |most| most.saturating_sub(self.used(CLOCK_MINUTE, at)));
        let left = if exhausted.is_some() { 0 } else { (it.usable() - used).min(minute) };
        let reported = if at < self.reported.until { self.reported } else { Reported::default() };
        AccountView {
            account: account(id).masked(),
            daily_limit: it.limit,
            safety_buffer: it.buffer,
            window: it.window,
            per_minute: it.per_minute,
            used,
            reported: Reported { until: 0, ..reported },
            last_used_at: self.last_used,
            window_ends_at: self.window_end(it.window, at).map(|end| Now::at(at).due(end)),
            exhausted: exhausted.map(|(by, _)| by),
            available_at: exhausted.and_then(|(_, until)| until).map(|end| Now::at(at).due(end)),
            route: self.route(at),
            estimate: estimate(left, used, reported.bytes()),
            left,
        }
    }
}

/// At the average of at least five calls, which counts as 50 KB to 500 KB.
fn estimate(left: u64, calls: u64, bytes: u64) -> Option<u64> {
    (calls >= 5).then(|| left * (bytes / calls).clamp(50_000, 500_000))
}

/// What a call is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    PoolUnknown,
    /// As before.
    Again(u8),
    Denied(Code),
    /// Of a call that takes no account.
    Passed,
    Picked {
        account: u8,
        last_resort: bool,
    },
}

#[derive(Debug, Clone, Default)]
pub(super) struct Pool {
    pub(super) version: u64,
    pub(super) accounts: BTreeMap<u8, NewAccount>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    pub(super) now: Millis,
    pub(super) policy: Arc<PoolPolicy>,
    pub(super) pools: BTreeMap<u8, Pool>,
    pub(super) incarnations: BTreeMap<u8, Life>,
    /// Which pool was called when, and how many bytes went through it.
    pub(super) calls: Vec<(u8, Millis)>,
    bytes: Vec<(u8, Millis, u64)>,
    /// When the gates of the org let something pass.
    admitted: Vec<Millis>,
    pub(super) frozen: bool,
    /// By request id: when it was answered, and with which account.
    picked: BTreeMap<String, (Millis, u8)>,
    reported: BTreeMap<String, (Millis, bool)>,
    /// Accounts and pools that were announced as exhausted.
    pub(super) told: BTreeSet<u8>,
    pub(super) told_pools: BTreeSet<u8>,
}

impl Model {
    pub(super) fn new(policy: Arc<PoolPolicy>) -> Self {
        Self { now: T0, policy, ..Self::default() }
    }

    /// Time and configuration are not the org's to lose.
    pub(super) fn lost_all_but(&self, durable: &Self) -> Self {
        Self { now: self.now, policy: self.policy.clone(), ..durable.clone() }
    }

    fn midnight(&self) -> Millis {
        self.now / DAY_MS * DAY_MS
    }

    pub(super) fn life(&self, account: u8) -> Life {
        self.incarnations.get(&account).cloned().unwrap_or_default()
    }

    pub(super) fn in_force(&self, said: &NewAccount) -> InForce {
        InForce {
            limit: said.daily_limit.unwrap_or(self.policy.rules.daily_limit),
            buffer: said.safety_buffer.unwrap_or(self.policy.rules.safety_buffer),
            window: said.window.unwrap_or(self.policy.rules.window),
            per_minute: said.per_minute,
        }
    }

    /// The account in the pool that has it.
    pub(super) fn configured(&self, account: u8) -> Option<(u8, InForce)> {
        let of = |(pool, its): (&u8, &Pool)| Some((*pool, self.in_force(its.accounts.get(&account)?)));
        self.pools.iter().find_map(of)
    }

    /// False where an account is in another pool.
    pub(super) fn configure(&mut self, pool: u8, accounts: BTreeMap<u8, NewAccount>) -> bool {
        if accounts.keys().any(|id| self.configured(*id).is_some_and(|(other, _)| other != pool)) {
            return false;
        }
        let old = self.pools.remove(&pool).unwrap_or_default();
        for left in old.accounts.keys().filter(|id| !accounts.contains_key(id)) {
            self.told.remove(left);
            self.incarnations.entry(*left).or_default().leave();
        }
        if accounts.is_empty() {
            self.told_pools.remove(&pool);
        } else {
            let version = old.version + u64::from(old.accounts != accounts);
            self.pools.insert(pool, Pool { version, accounts });
        }
        true
    }

    pub(super) fn views(&self, pool: u8) -> Vec<AccountView> {
        let view = |(id, said): (&u8, &NewAccount)| self.life(*id).view(*id, self.in_force(said), self.now);
        self.pools.get(&pool).map_or_else(Vec::new, |its| its.accounts.iter().map(view).collect())
    }

    pub(super) fn view(&self, pool: u8) -> PoolView {
        let accounts = self.views(pool);
        let sum = |of: fn(&AccountView) -> u64| accounts.iter().map(of).sum::<u64>();
        let (used, remaining) = (sum(|view| view.used), sum(|view| view.left));
        let since_midnight = |at: Millis| at >= self.midnight();
        let summary = PoolSummary {
            capacity: sum(|view| view.daily_limit.saturating_sub(view.safety_buffer)),
            used,
            remaining,
            failed: sum(|view| view.reported.failed),
            quota_errors: sum(|view| view.reported.quota_errors),
            accounts: accounts.len() as u64,
            active: sum(|view| view.exhausted.is_none().into()),
            avoided: sum(|view| (view.exhausted.is_none() && view.route.is_some()).into()),
            soonest_reset: accounts.iter().filter_map(|view| view.available_at).min(),
            total_calls: self.calls.iter().filter(|(of, at)| *of == pool && since_midnight(*at)).count() as u64,
            bytes: self.bytes.iter().filter(|(of, at, _)| *of == pool && since_midnight(*at)).map(|each| each.2).sum(),
            estimate: estimate(remaining, used, sum(|view| view.reported.bytes())),
        };
        let version = self.pools.get(&pool).map_or(0, |its| its.version);
        let settings = PoolSettings::default();
        let in_force = self.policy.in_force(&pool_id(pool), &settings);
        PoolView { id: pool_id(pool), version, accounts, summary, settings, in_force }
    }

    /// The account that comes next, and whether it is avoided.
    fn next(&self, pool: u8) -> Option<Answer> {
        let of_id = self.pools[&pool].accounts.keys().copied().zip(self.views(pool));
        let usable: Vec<_> = of_id.filter(|(_, view)| view.exhausted.is_none()).collect();
        let route = |view: &AccountView| view.route.map_or(0, |route| 1 + u8::from(route.refused));
        let part = |id: u8| {
            let (_, it) = self.configured(id).unwrap();
            self.life(id).part(it, self.now)
        };
        let best = usable.into_iter().min_by(|(a_id, a), (b_id, b)| {
            let ((of_a, whole_a), (of_b, whole_b)) = (part(*a_id), part(*b_id));
            let part = (of_b * whole_a).cmp(&(of_a * whole_b));
            let rest = |id: u8, view: &AccountView| (Reverse(view.left), view.last_used_at, id);
            route(a).cmp(&route(b)).then(part).then_with(|| rest(*a_id, a).cmp(&rest(*b_id, b)))
        });
        best.map(|(account, view)| Answer::Picked { account, last_resort: route(&view) > 0 })
    }

    /// Calls that the gates let pass in this clock hour.
    pub(super) fn admitted(&self) -> u64 {
        self.admitted.iter().filter(|at| **at >= self.now / HOUR_MS * HOUR_MS).count() as u64
    }

    /// `gates`: the calls that the gates of the org let pass in an hour, where they are asked.
    pub(super) fn ask(&self, pool: u8, gates: Option<u64>, key: Option<&str>) -> Answer {
        let before = key.and_then(|key| self.picked.get(key)).filter(|(at, _)| self.now < at + DAY_MS);
        if let Some((_, account)) = before {
            return Answer::Again(*account);
        }
        if !self.pools.contains_key(&pool) {
            return Answer::PoolUnknown;
        }
        if gates.is_some() && self.frozen {
            return Answer::Denied(Code::Frozen);
        }
        let Some(next) = self.next(pool) else { return Answer::Denied(Code::AccountsExhausted) };
        if gates.is_some_and(|most| self.admitted() >= most) { Answer::Denied(Code::RateLimited) } else { next }
    }

    pub(super) fn admit(&mut self) {
        self.admitted.push(self.now);
    }

    pub(super) fn pick(&mut self, pool: u8, answer: Answer, key: Option<String>) {
        if matches!(answer, Answer::PoolUnknown | Answer::Again(_)) {
            return;
        }
        self.calls.push((pool, self.now));
        let Answer::Picked { account, .. } = answer else { return };
        let (_, it) = self.configured(account).unwrap();
        let life = self.incarnations.entry(account).or_default();
        life.pick(it.window, self.now);
        assert!(life.used(it.window, self.now) <= it.usable(), "R-POOL-2: a pick passed the limit");
        self.picked.extend(key.map(|key| (key, (self.now, account))));
    }

    /// How a report is answered: whether the account is in the pool, and whether it came before.
    pub(super) fn report(
        &mut self,
        pool: u8,
        id: Option<u8>,
        report: &ReportOutcome,
        outcome: Upstream,
    ) -> Option<(bool, bool)> {
        let key = report.idempotency.as_ref().unwrap().id.as_str().to_owned();
        if let Some((_, known)) = self.reported.get(&key).filter(|(at, _)| self.now < at + DAY_MS) {
            return Some((*known, true));
        }
        if !self.pools.contains_key(&pool) {
            return None;
        }
        self.bytes.push((pool, self.now, report.bytes_up + report.bytes_down));
        if id.is_none() {
            self.calls.push((pool, self.now));
        }
        let at_home = id.and_then(|id| self.configured(id)).filter(|(of, _)| *of == pool);
        if let Some((_, it)) = at_home {
            let life = self.incarnations.entry(id.unwrap()).or_default();
            life.report(it, report, outcome, &self.policy.rules, self.now);
        }
        self.reported.insert(key, (self.now, at_home.is_some()));
        Some((at_home.is_some(), false))
    }

    /// Whether there was anything to forget.
    pub(super) fn clear(&mut self, pool: u8, id: u8) -> Result<bool, OrgError> {
        if !self.pools.contains_key(&pool) {
            return Err(OrgError::PoolUnknown);
        }
        let at_home = self.configured(id).is_some_and(|(home, _)| home == pool);
        if !at_home {
            return Err(OrgError::AccountUnknown);
        }
        Ok(self.incarnations.entry(id).or_default().clear(self.now))
    }

    /// Accounts that are exhausted, and pools of which all are.
    pub(super) fn exhausted(&self) -> (BTreeSet<u8>, BTreeSet<u8>) {
        let spent = |id: &u8| {
            let (_, it) = self.configured(*id).unwrap();
            self.life(*id).is_announced(it, self.now)
        };
        let pools = self.pools.iter().filter(|(_, its)| its.accounts.keys().all(spent)).map(|(pool, _)| *pool);
        let accounts = self.pools.values().flat_map(|its| its.accounts.keys()).filter(|id| spent(id)).copied();
        (accounts.collect(), pools.collect())
    }

    /// Instants to come at which something ends by itself.
    pub(super) fn ends(&self) -> Vec<Millis> {
        let views = self.pools.keys().flat_map(|pool| self.views(*pool));
        let of = |view: AccountView| [view.window_ends_at, view.available_at, view.route.map(|route| route.until)];
        let ends: BTreeSet<_> = views.flat_map(of).flatten().map(|due| due.at).collect();
        ends.range((Bound::Excluded(self.now), Bound::Unbounded)).copied().collect()
    }
}
