//! What is decided about orgs, and what holds for all of them.

use std::{sync::Arc, time::Duration};

use super::THIS_NODE;
use crate::{
    bounds::Bounds,
    domain::{
        events::EventKinds,
        gateways::Gateways,
        ids::{DecisionId, OrgId, Reason},
        lease::Now,
        org::Context,
        policy::{OrgPolicy, Plans},
        window::Millis,
    },
};

/// What an operator decided about each org.
pub trait Policies: Plans + Send + Sync {
    /// What is configured for the org; what runs out by itself is in it with its end.
    fn policy(&self, org: &OrgId) -> Arc<OrgPolicy>;

    /// Whether the org may execute.
    fn admits(&self, org: &OrgId) -> bool;

    /// Whether the org is configured by its name.
    fn lists(&self, org: &OrgId) -> bool;
}

/// Everything that may change while running. Swapped whole on reload.
#[derive(Debug, Clone)]
pub struct Rules {
    /// What is configured for each org.
    pub policies: Arc<dyn Policies>,
    /// The maxima in force.
    pub bounds: Bounds,
    /// How often a line says what all pools add up to.
    pub pool_stats: Duration,
    /// Events of these kinds are delivered to the webhook; none where there is no webhook.
    pub webhook_kinds: EventKinds,
    /// What the questions of proxies mean.
    pub gateways: Arc<Gateways>,
    /// Service time from which on they hold.
    pub since: Millis,
    /// Grows with every reload; actors compare it to see whether their policy is current.
    pub generation: u64,
}

impl Rules {
    /// What a command of this node itself is carried out with.
    pub(super) fn context<'a>(
        &'a self,
        (org, policy): (&'a OrgId, &'a Arc<OrgPolicy>),
        (now, decision): (Now, DecisionId),
        store_fault: bool,
    ) -> Context<'a> {
        Context {
            org,
            now,
            policy,
            plans: &*self.policies,
            policy_since: Some(self.since),
            bounds: &self.bounds,
            decision,
            store_fault,
            within: None,
            caller: &THIS_NODE,
            reason: Reason::none(),
            trace: None,
        }
    }
}

/// When plain Acquires reach the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteBehind {
    /// Zero: every reply waits for its commit.
    pub interval: Duration,
    /// Unflushed admissions per org beyond which Acquire waits.
    pub max: u64,
}
