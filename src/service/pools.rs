//! Pools of upstream accounts. A pick that passes the gates of its org is an Acquire like any other; what
//! an upstream said is read by the org, and is settlement.

use crate::{
    domain::{
        command::{Pick, ReportOutcome},
        decision::Decision,
        ids::OrgId,
        outcome::{Done, OutcomeReported},
    },
    error::ServiceError,
};

use super::{Ask, Call, Service};

impl Service {
    /// One account, past the gates of the org: for the calls of what runs already, so it is served while the
    /// node drains.
    pub async fn pick(&self, org: &OrgId, pick: Pick, call: &Call) -> Result<Box<Decision>, ServiceError> {
        let decision = self.ask(org, pick, call).await?;
        Ok(self.counted(decision))
    }

    /// One account, and the gates of the org with it.
    pub async fn pick_gated(&self, ask: Ask, call: &Call) -> Result<Box<Decision>, ServiceError> {
        self.acquire(ask, call).await.map(|decision| self.counted(decision))
    }

    fn counted(&self, decision: Box<Decision>) -> Box<Decision> {
        if !decision.replayed {
            self.metrics.picked(decision.code());
        }
        decision
    }

    /// Records how a call of an account went; counted once for each request id.
    pub async fn report_outcome(
        &self,
        org: &OrgId,
        report: ReportOutcome,
        call: &Call,
    ) -> Result<Done<OutcomeReported>, ServiceError> {
        let done = self.ask(org, Box::new(report), call).await?;
        if !done.replayed {
            self.metrics.upstream(done.outcome.outcome);
        }
        Ok(done)
    }
}
