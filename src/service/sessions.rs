//! Sessions. A start is an Acquire that asks for a slot and a slice; a heartbeat and an end are
//! settlement, and served while the node drains.

use std::sync::Arc;

use crate::{
    actors::admission::Lane,
    domain::{
        command::Command,
        decision::Decision,
        ids::{OrgId, Scope, SessionId},
        reply::{Beat, Reply, SessionStatus, SessionView},
    },
    error::ServiceError,
};

use super::{Ask, Call, Service, admin::Known};

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

    pub async fn heartbeat(&self, org: &OrgId, command: Command, call: &Call) -> Result<Beat, ServiceError> {
        match self.orgs.call_one(org, command, Lane::Settle, call.deadline.at).await? {
            Reply::Beat(beat) => {
                if beat.disputed > 0 && !beat.replayed {
                    tracing::warn!(%org, millis = beat.disputed, "compute was reported that one heartbeat can not book");
                }
                Ok(*beat)
            }
            _ => Err(ServiceError::Interrupted),
        }
    }

    /// The session as it is after its end, and whether it was ended by this id before.
    pub async fn end_session(
        &self,
        org: &OrgId,
        command: Command,
        call: &Call,
    ) -> Result<(SessionView, bool), ServiceError> {
        match self.orgs.call_one(org, command, Lane::Settle, call.deadline.at).await? {
            Reply::SessionEnded { session, ended, replayed } => {
                if ended {
                    self.metrics.session_ended();
                }
                Ok((*session, replayed))
            }
            _ => Err(ServiceError::Interrupted),
        }
    }

    pub async fn session(&self, org: &OrgId, id: SessionId, call: &Call) -> Result<SessionView, ServiceError> {
        match self.orgs.call_one(org, Command::Session { id }, Lane::Admit, call.deadline.at).await? {
            Reply::Session(session) => Ok(*session),
            _ => Err(ServiceError::Interrupted),
        }
    }

    pub async fn sessions(
        &self,
        org: &OrgId,
        after: Option<SessionId>,
        max: usize,
        running: bool,
        call: &Call,
    ) -> Result<Vec<SessionView>, ServiceError> {
        let command = Command::Sessions { after, max, running };
        match self.orgs.call_one(org, command, Lane::Admit, call.deadline.at).await? {
            Reply::Sessions(sessions) => Ok(sessions),
            _ => Err(ServiceError::Interrupted),
        }
    }

    /// Whether a session could start now.
    pub async fn session_status(&self, org: &OrgId, scope: Scope, call: &Call) -> Result<SessionStatus, ServiceError> {
        let look = |known: Known| {
            let Known { balance, exempt } = known;
            let command = Command::SessionStatus { scope: scope.clone(), balance, exempt };
            async move {
                match self.orgs.call_one(org, command, Lane::Admit, call.deadline.at).await? {
                    Reply::SessionStatus(status) => Ok(*status),
                    _ => Err(ServiceError::Interrupted),
                }
            }
        };
        self.looked_at(org, look, |status| status.decision.code(), call).await
    }

    /// Where an org gets more; empty where nothing is configured.
    pub fn upgrade_url(&self, org: &OrgId) -> Arc<str> {
        self.policy(org).balance.upgrade_url.clone()
    }
}
