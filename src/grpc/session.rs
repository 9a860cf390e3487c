//! `tollgate.v1.SessionService`.

use futures_util::{StreamExt, stream};
use tonic::Request;

use super::{Answer, Front};
use crate::{
    domain::command::ListSessions,
    error::ServiceError,
    service::{Ask, Call},
    wire::{
        answers, requests, status,
        v1::{self, session_service_server::SessionService},
    },
};

/// Orgs of one batch that are looked at at once.
const LOOKS_AT_ONCE: usize = 64;

#[tonic::async_trait]
impl SessionService for Front {
    async fn start_session(&self, request: Request<v1::StartSessionRequest>) -> Answer<v1::StartSessionResponse> {
        self.answer("StartSession", request, |request, call| async move {
            let (org, acquire) = requests::start_session(&request)?;
            let decision = self.0.start_session(Ask { org: org.clone(), acquire }, &call).await?;
            Ok(answers::started(decision, self.0.node(), &self.0.upgrade_url(&org)))
        })
        .await
    }

    async fn heartbeat(&self, request: Request<v1::HeartbeatRequest>) -> Answer<v1::HeartbeatResponse> {
        self.answer("Heartbeat", request, |request, call| async move {
            let (org, command) = requests::heartbeat(&request)?;
            let beat = self.0.heartbeat(&org, command, &call).await?;
            Ok(answers::heartbeat(&beat, &self.0.upgrade_url(&org)))
        })
        .await
    }

    async fn end_session(&self, request: Request<v1::EndSessionRequest>) -> Answer<v1::EndSessionResponse> {
        self.answer("EndSession", request, |request, call| async move {
            let (org, command) = requests::end_session(&request)?;
            let ended = self.0.end_session(&org, command, &call).await?;
            Ok(v1::EndSessionResponse { session: Some(answers::session(&ended.session)), replayed: ended.replayed })
        })
        .await
    }

    async fn get_session(&self, request: Request<v1::GetSessionRequest>) -> Answer<v1::GetSessionResponse> {
        self.answer("GetSession", request, |request, call| async move {
            let (org, id) = (requests::org(&request.org)?, requests::session(&request.session_id)?);
            let session = self.0.session(&org, id, &call).await?;
            Ok(v1::GetSessionResponse { session: Some(answers::session(&session)) })
        })
        .await
    }

    async fn list_sessions(&self, request: Request<v1::ListSessionsRequest>) -> Answer<v1::ListSessionsResponse> {
        self.answer("ListSessions", request, |request, call| async move {
            let (org, size, after) = requests::sessions_page(&request)?;
            let list = ListSessions { after, max: size, running: !request.ended };
            let sessions = self.0.sessions(&org, list, &call).await?;
            let next = sessions.last().filter(|_| sessions.len() == size).map(|session| session.row.id.to_string());
            Ok(v1::ListSessionsResponse {
                sessions: sessions.iter().map(answers::session).collect(),
                next_page_token: next.unwrap_or_default(),
            })
        })
        .await
    }

    async fn batch_status(&self, request: Request<v1::BatchStatusRequest>) -> Answer<v1::BatchStatusResponse> {
        self.answer("BatchStatus", request, |request, call| async move {
            requests::batch(&request.items, self.0.orgs().rules().bounds.batch_items)?;
            let looks = stream::iter(request.items).map(|item| self.session_status_of(item, call.clone()));
            let results = looks.buffered(LOOKS_AT_ONCE).map(status_result).collect().await;
            Ok(v1::BatchStatusResponse { results })
        })
        .await
    }
}

impl Front {
    async fn session_status_of(
        &self,
        request: v1::SessionStatusRequest,
        call: Call,
    ) -> Result<v1::SessionStatus, ServiceError> {
        let (org, scope) = (requests::org(&request.org)?, requests::scope(&request.scope)?);
        let status = self.0.session_status(&org, scope.clone(), &call).await?;
        Ok(answers::session_status(status, &org, &scope, &self.0.upgrade_url(&org)))
    }
}

fn status_result(item: Result<v1::SessionStatus, ServiceError>) -> v1::BatchStatusResult {
    use v1::batch_status_result::Result as Outcome;
    let outcome = match item {
        Ok(status) => Outcome::Status(status),
        Err(error) => Outcome::Error(status::to_item(&error)),
    };
    v1::BatchStatusResult { result: Some(outcome) }
}
