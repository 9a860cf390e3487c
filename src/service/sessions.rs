//! Sessions. A start is an Acquire that asks for a slot and a slice; a heartbeat and an end are
//! settlement, and served while the node drains.

use std::sync::Arc;

use crate::{
    domain::{
        command::{EndSession, GetSession, GetSessionStatus, Heartbeat, ListSessions},
        decision::Decision,
        ids::{OrgId, Scope, SessionId},
        reply::{Beat, EndedSession, SessionStatus, SessionView},
    },
    error::ServiceError,
};

use super::{Ask, Call, Service};

impl Service {
    pub async fn start_session(&self, ask: Ask, call: &Call) -> Result<Decision, ServiceError> {
        let org = ask.org.clone();
        let decision = self.acquire(ask, call).await?;
        if decision.session.is_some() && !decision.replayed {
            self.metrics.session_started();
            tracing::info!(%org, decision = decision.id.map(tracing::field::display), "a session starts");
        }
        Ok(decision)
    }

    pub async fn heartbeat(&self, org: &OrgId, beat: Heartbeat, call: &Call) -> Result<Beat, ServiceError> {
        let beat = self.orgs.ask(org, Box::new(beat), call.deadline.at).await?;
        if beat.disputed > 0 && !beat.replayed {
            tracing::warn!(%org, millis = beat.disputed, "compute was reported that one heartbeat cannot book");
        }
        Ok(*beat)
    }

    /// The session as it is after its end.
    pub async fn end_session(&self, org: &OrgId, end: EndSession, call: &Call) -> Result<EndedSession, ServiceError> {
        let ended = self.orgs.ask(org, Box::new(end), call.deadline.at).await?;
        if ended.ended {
            self.metrics.session_ended();
        }
        Ok(*ended)
    }

    pub async fn session(&self, org: &OrgId, id: SessionId, call: &Call) -> Result<SessionView, ServiceError> {
        Ok(*self.orgs.ask(org, GetSession { id }, call.deadline.at).await?)
    }

    pub async fn sessions(
        &self,
        org: &OrgId,
        list: ListSessions,
        call: &Call,
    ) -> Result<Vec<SessionView>, ServiceError> {
        self.orgs.ask(org, list, call.deadline.at).await
    }

    /// Whether a session could start now.
    pub async fn session_status(&self, org: &OrgId, scope: Scope, call: &Call) -> Result<SessionStatus, ServiceError> {
        let query = |known| {
            let query = GetSessionStatus { scope: scope.clone(), known };
            async move { Ok(*self.orgs.ask(org, query, call.deadline.at).await?) }
        };
        self.with_provider(org, query, |status| status.decision.code(), call).await
    }

    /// Where an org gets more; empty where nothing is configured.
    pub fn upgrade_url(&self, org: &OrgId) -> Arc<str> {
        self.policy(org).balance.upgrade_url.clone()
    }
}
