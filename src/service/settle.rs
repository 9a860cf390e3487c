//! Record and resume, which are counted and logged here. They are about executions that already run, so their
//! lane is that of settlement, and they are served while the node drains.

use crate::{
    domain::{
        command::{Record, Resume},
        ids::{DecisionId, OrgId},
        outcome::{Done, Recorded, Resumed, Shown},
        scopes::Scopes,
    },
    error::ServiceError,
};

use super::{Call, Service};

impl Service {
    /// Records usage that has happened. Without the decision that admitted it, it is logged.
    pub async fn record(
        &self,
        org: &OrgId,
        record: Record,
        call: &Call,
    ) -> Result<Shown<Recorded, Scopes>, ServiceError> {
        let is_guarded = record.decision.is_some_and(DecisionId::is_admitted);
        let recorded = self.ask(org, record, call).await;
        if !is_guarded && !matches!(recorded, Err(ServiceError::LeadsTo(_))) {
            self.metrics.unguarded_record();
            tracing::warn!(%org, trace_id = call.shown_trace(), "usage was recorded that no admission preceded");
        }
        recorded
    }

    /// Never denied: whatever keeps it from being counted, the execution goes on, with 0 continuations.
    ///
    /// # Errors
    /// Where another node may count it.
    pub async fn resume(&self, org: &OrgId, resume: Resume, call: &Call) -> Result<Done<Resumed>, ServiceError> {
        let uncounted = Done { outcome: Resumed { continuations: 0 }, replayed: false };
        let done = match self.ask(org, resume, call).await {
            Err(leads @ ServiceError::LeadsTo(_)) => return Err(leads),
            Err(moved @ (ServiceError::Moved | ServiceError::NoOwner)) if !call.is_ownerless => return Err(moved),
            done => done.unwrap_or(uncounted),
        };
        let continuations = done.outcome.continuations;
        if continuations == 0 {
            self.metrics.uncounted_resume();
        }
        if continuations >= u64::from(self.orgs.rules().bounds.continuation_alarm) && !done.replayed {
            self.metrics.unusual_continuations();
            let trace_id = call.shown_trace();
            tracing::warn!(%org, continuations, trace_id, "an execution was resumed unusually often");
        }
        Ok(done)
    }
}
