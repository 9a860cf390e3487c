//! Why calls are denied: what the org keeps, and what this node remembers of admissions.

use crate::{
    domain::{
        command::{Acquire, AskWhy, Explain},
        decision::Decision,
        denials::{Asked, DenialRow, Explained, Why},
        gate::Code,
        ids::{OrgId, Scope},
        window::Millis,
    },
    error::ServiceError,
};

use super::{Call, Service, recent::Admission};

/// What is known of a decision.
#[derive(Debug)]
pub enum Explanation {
    /// Kept with the org: a denial, or a call that was let through without an evaluated gate.
    Kept(Box<Explained>),
    /// Remembered by this node: it was allowed.
    Allowed(Box<Admission>),
}

impl Service {
    /// What each gate said of a decision.
    ///
    /// # Errors
    /// [`ServiceError::UnknownDecision`] where nothing is known of it.
    pub async fn explain(&self, org: &OrgId, asked: Explain, call: &Call) -> Result<Explanation, ServiceError> {
        if let Explain::Decision(id) = asked
            && let Some(admission) = self.recent.get(org, id)
        {
            return Ok(Explanation::Allowed(Box::new(admission)));
        }
        let kept = self.ask(org, asked, call).await?;
        kept.map(Explanation::Kept).ok_or(ServiceError::UnknownDecision)
    }

    /// Whether the org is blocked for what is really asked, by what, and since when.
    pub async fn why(&self, org: &OrgId, scope: Scope, at: Option<Millis>, call: &Call) -> Result<Why, ServiceError> {
        let query = |known| {
            let query = AskWhy { scope: scope.clone(), at, known };
            async move { Ok(*self.ask(org, query, call).await?) }
        };
        let limited = |why: &Why| {
            let is_limited = |row: &DenialRow| row.denied_by().is_some_and(|(_, code)| code == Code::RateLimited);
            let is_blocked = why.blocks.iter().any(|block| is_limited(&block.now));
            (if is_blocked { Code::RateLimited } else { Code::Allowed }, false)
        };
        self.with_provider(org, query, limited, call).await
    }

    /// Remembers an admission for a while, and keeps what the org has not kept itself.
    pub(super) fn remember(&self, org: &OrgId, ask: &Acquire, decision: &Decision, is_kept: bool) {
        if decision.id.is_none() || decision.replayed {
            return;
        }
        // A session that was denied without the org asked no limit for its slice.
        let row = || DenialRow::of(Asked::of(ask), decision, 0, ask.trace, &self.clock.read(), self.orgs.node());
        if decision.reports.is_plain() {
            self.recent.keep(org, self.clock.now(), || Admission { row: row(), decision: decision.clone() });
        } else if !is_kept {
            self.orgs.keep_unnoted(org, row());
        }
    }
}
