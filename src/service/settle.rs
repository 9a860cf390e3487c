//! What happens after admission: settle, resume, record, report. All of it is about executions that
//! already run, so it has a lane of its own and is served while the node drains.

use crate::{
    domain::{
        command::{Record, Resume},
        commands::Ask,
        ids::{DecisionId, OrgId},
        outcome::{Done, Recorded, Resumed},
    },
    error::ServiceError,
};

use super::{Call, Service};

impl Service {
    /// Commit, Release, Extend, ReportCumulative: durable, or an error.
    pub async fn settle<C: Ask>(&self, org: &OrgId, command: C, call: &Call) -> Result<C::Answer, ServiceError> {
        self.orgs.ask(org, command, call.deadline.at).await
    }

    pub async fn record(&self, org: &OrgId, record: Record, call: &Call) -> Result<Done<Recorded>, ServiceError> {
        if !record.decision.is_some_and(DecisionId::is_admitted) {
            self.metrics.unguarded_record();
            tracing::warn!(%org, "usage was recorded that no admission preceded");
        }
        self.settle(org, record, call).await
    }

    /// Never denied: whatever keeps it from being counted, the execution goes on, with 0 continuations.
    pub async fn resume(&self, org: &OrgId, resume: Resume, call: &Call) -> Done<Resumed> {
        let uncounted = Done { outcome: Resumed { continuations: 0 }, replayed: false };
        let done = self.settle(org, resume, call).await.unwrap_or(uncounted);
        let continuations = done.outcome.continuations;
        if continuations == 0 {
            self.metrics.uncounted_resume();
        }
        if continuations >= u64::from(self.orgs.rules().bounds.continuation_alarm) && !done.replayed {
            self.metrics.unusual_continuations();
            tracing::warn!(%org, continuations, "an execution was resumed unusually often");
        }
        done
    }
}
