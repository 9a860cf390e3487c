//! What the provider said of each org's balance, and how long it holds.
//!
//! Read without a turn of the actor, written by the actor alone. Only the provider's own answer is
//! written down, never an estimate and never a failure.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::{super::spacing::Spacing, BillingRules, cache::Cache, under_way::UnderWay};
use crate::{
    domain::{
        balance::{Balance, BalanceVerdict, DenyReason},
        gate::Cause,
        ids::{Amounts, Meter, OrgId},
        shard::ShardSet,
        window::Millis,
    },
    ports::Clock,
};

#[derive(Debug)]
pub(super) struct Memory {
    words: Cache<Word>,
    pub(super) under_way: UnderWay,
    pub(super) spacing: Spacing,
    clock: Arc<dyn Clock>,
    meter: Meter,
    allow_ttl: Duration,
    deny_ttl: Duration,
    revalidate: Duration,
    /// Where nothing is ever written down, nothing is looked up.
    in_use: AtomicBool,
    /// What the times inside words are counted from.
    started: Instant,
}

/// The last answer on one org.
#[derive(Debug)]
struct Word {
    verdict: BalanceVerdict,
    /// It holds until then, and until the provider resets the balance.
    until: Instant,
    resets_at: Option<Millis>,
    bound: Option<Bound>,
    /// No check in the background begins before: milliseconds since the memory's start.
    next_check: AtomicU64,
}

/// Units that were left when the provider spoke, and our own count of what is left of them.
#[derive(Debug)]
struct Bound {
    said: u64,
    left: AtomicU64,
}

impl Bound {
    fn left(&self) -> u64 {
        self.left.load(Ordering::Relaxed)
    }

    /// More was used since the provider spoke than is left: as much again would be too much.
    fn runs_low(&self) -> bool {
        let left = self.left();
        left < self.said - left.min(self.said)
    }
}

impl Word {
    /// A denial, because it may have been paid for; an allowance that nears its end.
    fn wants_check(&self) -> bool {
        match self.verdict {
            BalanceVerdict::Denied(..) => true,
            BalanceVerdict::Allowed(_) => self.bound.as_ref().is_some_and(Bound::runs_low),
            BalanceVerdict::Unknown(_) => false,
        }
    }

    /// True for one caller per `every`.
    fn claims_check(&self, now: u64, every: Duration) -> bool {
        let next = self.next_check.load(Ordering::Relaxed);
        let after = now.saturating_add(millis(every));
        next <= now && self.next_check.compare_exchange(next, after, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// What is remembered, and whether the one who asked has to have it checked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Recalled {
    pub(super) verdict: BalanceVerdict,
    pub(super) check: bool,
}

impl Memory {
    pub(super) fn new(rules: &BillingRules, clock: Arc<dyn Clock>) -> Self {
        Self {
            words: Cache::new(rules),
            under_way: UnderWay::default(),
            spacing: Spacing::default(),
            clock,
            meter: rules.meter.clone(),
            allow_ttl: rules.allow_ttl,
            deny_ttl: rules.deny_ttl,
            revalidate: rules.deny_revalidate,
            in_use: AtomicBool::new(false),
            started: Instant::now(),
        }
    }

    /// The word on an org while it holds and something is left of it.
    pub(super) fn recall(&self, org: &OrgId) -> Option<Recalled> {
        let word = self.holding(org)?;
        Some(Recalled { verdict: word.verdict, check: self.check_is_due(&word) })
    }

    /// The same without a claim to check it.
    pub(super) fn peek(&self, org: &OrgId) -> Option<BalanceVerdict> {
        self.holding(org).map(|word| word.verdict)
    }

    /// Takes what was admitted off what is left; true for the one caller that has to have the word
    /// checked.
    pub(super) fn admitted(&self, org: &OrgId, cost: &Amounts) -> bool {
        let units = cost.iter().filter(|(meter, _)| *meter == self.meter).map(|(_, amount)| *amount);
        let units = units.fold(0, u64::saturating_add);
        if units == 0 {
            return false;
        }
        let Some(word) = self.holding(org) else { return false };
        let Some(bound) = &word.bound else { return false };
        // The closure always has a next value.
        let _ = bound.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some(left.saturating_sub(units)));
        self.check_is_due(&word)
    }

    /// A call was denied; true for the one caller that has to have the word checked.
    pub(super) fn denied(&self, org: &OrgId) -> bool {
        self.holding(org).is_some_and(|word| word.claims_check(self.since_start(Instant::now()), self.revalidate))
    }

    /// The denial on an org that stands for `more` beyond its time, because `cause` keeps the provider from
    /// answering. That a plan does not include the feature is no denial: nothing is used up.
    pub(super) fn stale(&self, org: &OrgId, cause: Cause, more: Duration) -> Option<BalanceVerdict> {
        if more.is_zero() || !cause.is_silence() {
            return None;
        }
        let word = self.until(org, more)?;
        match word.verdict {
            BalanceVerdict::Denied(DenyReason::NoEntitlement, _) => None,
            BalanceVerdict::Denied(reason, balance) => {
                Some(BalanceVerdict::Denied(reason, Balance { stale: Some(cause), ..balance }))
            }
            BalanceVerdict::Allowed(_) | BalanceVerdict::Unknown(_) => None,
        }
    }

    fn holding(&self, org: &OrgId) -> Option<Arc<Word>> {
        let word = self.until(org, Duration::ZERO)?;
        let spent = word.bound.as_ref().is_some_and(|bound| bound.left() == 0);
        (!spent).then_some(word)
    }

    /// The word on an org until `more` beyond its time, and never beyond the provider's reset.
    fn until(&self, org: &OrgId, more: Duration) -> Option<Arc<Word>> {
        if !self.in_use.load(Ordering::Relaxed) {
            return None;
        }
        let word = self.words.get(org)?;
        let over = Instant::now() >= word.until + more || word.resets_at.is_some_and(|at| self.clock.now() >= at);
        (!over).then_some(word)
    }

    fn check_is_due(&self, word: &Word) -> bool {
        word.wants_check() && word.claims_check(self.since_start(Instant::now()), self.revalidate)
    }

    /// Writes down what was said to a question that began at `began`. Called while the question
    /// counts.
    pub(super) fn remember(&self, org: &OrgId, verdict: BalanceVerdict, began: Instant) {
        let (balance, ttl) = match verdict {
            BalanceVerdict::Allowed(balance) => (balance, self.allow_ttl),
            BalanceVerdict::Denied(_, balance) => (balance, self.deny_ttl),
            BalanceVerdict::Unknown(_) => return,
        };
        if !balance.authoritative {
            return;
        }
        let now = Instant::now();
        let resets_at = balance.resets_at.filter(|at| *at > self.clock.now());
        // A reset that is due and has not happened yet: soon asked again, and not with every call.
        let ttl = if resets_at == balance.resets_at { ttl } else { ttl.min(self.revalidate) };
        let bound = match verdict {
            BalanceVerdict::Allowed(_) => balance.bound().map(|said| Bound { said, left: said.into() }),
            _ => None,
        };
        let next_check = self.since_start(began).saturating_add(millis(self.revalidate)).into();
        self.words.put(org, Word { verdict, until: now + ttl, resets_at, bound, next_check });
        self.in_use.store(true, Ordering::Relaxed);
    }

    /// Forgets the word, any that is on its way, and that asking failed.
    pub(super) fn forget(&self, org: &OrgId) {
        self.spacing.forget(org);
        self.under_way.forget(org, || self.words.remove(org));
    }

    /// The same of every org of these shards.
    pub(super) fn leave(&self, shards: &ShardSet) {
        self.words.orgs(shards).iter().for_each(|org| self.forget(org));
    }

    pub(super) fn len(&self) -> u64 {
        self.words.len()
    }

    fn since_start(&self, at: Instant) -> u64 {
        millis(at.saturating_duration_since(self.started))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
