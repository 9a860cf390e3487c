//! Sessions. A start is an Acquire that asks for a slot and a slice; a heartbeat is settlement,
//! and served while the node drains.

use std::sync::Arc;

use crate::{
    domain::{
        command::{GetSessionStatus, Heartbeat},
        decision::Decision,
        ids::OrgId,
        outcome::{Beaten, Shown},
        reply::{Beat, SessionStatus},
        scopes::Scopes,
    },
    error::ServiceError,
};

use super::{Ask, Call, Service};

impl Service {
    /// Asks for a slot and a first slice of compute; a denial is an answer, not an error.
    pub async fn start_session(&self, ask: Ask, call: &Call) -> Result<Box<Decision>, ServiceError> {
        let org = ask.org.clone();
        let decision = self.acquire(ask, call).await?;
        if decision.session.is_some() && !decision.replayed {
            self.metrics.session_started();
            let (decision, trace_id) = (decision.id.map(tracing::field::display), call.shown_trace());
            tracing::info!(%org, decision, trace_id, "a session starts");
        }
        Ok(decision)
    }

    /// Records what the machine's total has grown by, and answers whether the session may go on.
    pub async fn heartbeat(
        &self,
        org: &OrgId,
        beat: Heartbeat,
        call: &Call,
    ) -> Result<Shown<Beaten, Box<Beat>>, ServiceError> {
        let beat = self.ask(org, Box::new(beat), call).await?;
        let disputed = beat.outcome.disputed;
        if disputed > 0 && !beat.replayed {
            let trace_id = call.shown_trace();
            tracing::warn!(%org, millis = disputed, trace_id, "compute was reported that one heartbeat cannot book");
        }
        Ok(beat)
    }

    /// Whether a session could start now.
    pub async fn session_status(
        &self,
        org: &OrgId,
        scopes: Scopes,
        call: &Call,
    ) -> Result<SessionStatus, ServiceError> {
        self.is_admitted(org, call).await?;
        let query = |known| {
            let query = GetSessionStatus { scopes: scopes.clone(), known };
            async move { Ok(*self.ask(org, query, call).await?) }
        };
        self.with_provider(org, query, |status| (status.decision.code(), status.asks_provider), call).await
    }

    /// Where an org gets more; empty where nothing is configured.
    pub fn upgrade_url(&self, org: &OrgId) -> Arc<str> {
        self.policy(org).balance.upgrade_url.clone()
    }
}
