//! What happens after admission: settle, resume, record, report. All of it is about executions that
//! already run, so it has a lane of its own and is served while the node drains.

use crate::{
    actors::admission::Lane,
    domain::{
        command::Command,
        ids::{DecisionId, OrgId},
        reply::Reply,
    },
    error::ServiceError,
};

use super::{Call, Service};

impl Service {
    /// Commit, Release, Extend, Record, ReportCumulative: durable, or an error.
    pub async fn settle(&self, org: &OrgId, command: Command, call: &Call) -> Result<Reply, ServiceError> {
        if let Command::Record { decision, .. } = &command
            && !decision.is_some_and(DecisionId::is_admitted)
        {
            self.metrics.unguarded_record();
            tracing::warn!(%org, "usage was recorded that no admission preceded");
        }
        self.orgs.call_one(org, command, Lane::Settle, call.deadline.at).await
    }

    /// Never denied: whatever keeps it from being counted, the execution goes on. Answers the
    /// number of continuations, 0 where it was not counted, and whether it is a replay.
    pub async fn resume(&self, org: &OrgId, command: Command, call: &Call) -> (u64, bool) {
        let reply = self.orgs.call_one(org, command, Lane::Settle, call.deadline.at).await;
        let (continuations, replayed) = match reply {
            Ok(Reply::Resumed { continuations, replayed }) => (continuations, replayed),
            _ => (0, false),
        };
        if continuations == 0 {
            self.metrics.uncounted_resume();
        }
        if continuations >= u64::from(self.orgs.rules().bounds.continuation_alarm) && !replayed {
            self.metrics.unusual_continuations();
            tracing::warn!(%org, continuations, "an execution was resumed unusually often");
        }
        (continuations, replayed)
    }
}
