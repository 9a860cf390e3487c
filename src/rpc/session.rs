//! `tollgate.v1.SessionService`.

use super::{
    Answer,
    batch::{self, Questions},
    table::BatchStatus,
};
use crate::{
    domain::command::{GetSession, ListSessions},
    service::{Ask, Call, Service},
    wire::{
        answers, requests,
        v1::{self, ItemError},
    },
};

pub(super) async fn start_session(
    service: &Service,
    call: &Call,
    request: &mut v1::StartSessionRequest,
) -> Answer<v1::StartSessionResponse> {
    let (org, acquire) = requests::start_session(request)?;
    let decision = service.start_session(Ask { org: org.clone(), acquire }, call).await?;
    Ok(answers::started(&decision, service.node(), &service.upgrade_url(&org)))
}

pub(super) async fn heartbeat(
    service: &Service,
    call: &Call,
    request: &mut v1::HeartbeatRequest,
) -> Answer<v1::HeartbeatResponse> {
    let (org, command) = requests::heartbeat(request)?;
    let beat = service.heartbeat(&org, command, call).await?;
    Ok(answers::heartbeat(&beat, &service.upgrade_url(&org)))
}

pub(super) async fn end_session(
    service: &Service,
    call: &Call,
    request: &mut v1::EndSessionRequest,
) -> Answer<v1::EndSessionResponse> {
    let (org, command) = requests::end_session(request)?;
    let done = service.ask(&org, Box::new(command), call).await?;
    Ok(v1::EndSessionResponse { session: Some(answers::session(&done.view)), replayed: done.replayed })
}

pub(super) async fn get_session(
    service: &Service,
    call: &Call,
    request: &mut v1::GetSessionRequest,
) -> Answer<v1::GetSessionResponse> {
    let (org, id) = (requests::org(&request.org)?, requests::session(&request.session_id)?);
    let session = service.ask(&org, GetSession { id }, call).await?;
    Ok(v1::GetSessionResponse { session: Some(answers::session(&session)) })
}

pub(super) async fn list_sessions(
    service: &Service,
    call: &Call,
    request: &mut v1::ListSessionsRequest,
) -> Answer<v1::ListSessionsResponse> {
    let (org, size, after) = requests::sessions_page(request)?;
    let list = ListSessions { after, max: size, running: !request.ended };
    let sessions = service.ask(&org, list, call).await?;
    let next = sessions.last().filter(|_| sessions.len() == size).map(|session| session.row.id.to_string());
    Ok(v1::ListSessionsResponse {
        sessions: sessions.iter().map(answers::session).collect(),
        next_page_token: next.unwrap_or_default(),
    })
}

pub(super) async fn batch_status(
    service: &Service,
    call: &Call,
    request: &mut v1::BatchStatusRequest,
) -> Answer<v1::BatchStatusResponse> {
    requests::batch(&request.items, service.bounds().batch_items)?;
    let ask = |call: Call, item| async move { status(service, &call, item).await };
    let statuses = batch::each::<BatchStatus, _>(service, call, std::mem::take(&mut request.items), ask).await?;
    Ok(v1::BatchStatusResponse { results: statuses.into_iter().map(status_result).collect() })
}

async fn status(service: &Service, call: &Call, request: v1::SessionStatusRequest) -> Answer<v1::SessionStatus> {
    let (org, scopes) = (requests::org(&request.org)?, requests::scopes(&request.scope, &request.scopes)?);
    let status = service.session_status(&org, scopes.clone(), call).await?;
    Ok(answers::session_status(status, &org, &scopes, &service.upgrade_url(&org)))
}

impl Questions for BatchStatus {
    type Item = v1::SessionStatusRequest;
    type Answer = v1::SessionStatus;

    fn one(item: Self::Item) -> Self::Request {
        v1::BatchStatusRequest { items: vec![item] }
    }

    fn answer(mut response: Self::Response) -> Option<Result<Self::Answer, ItemError>> {
        use v1::batch_status_result::Result as Outcome;
        Some(match response.results.pop()?.result? {
            Outcome::Status(status) => Ok(status),
            Outcome::Error(error) => Err(error),
        })
    }
}

fn status_result(item: Result<v1::SessionStatus, ItemError>) -> v1::BatchStatusResult {
    use v1::batch_status_result::Result as Outcome;
    v1::BatchStatusResult { result: Some(item.map_or_else(Outcome::Error, Outcome::Status)) }
}
