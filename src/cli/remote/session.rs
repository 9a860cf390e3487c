//! `tollgate session`: long-running executions: start, heartbeats, end.

use crate::{
    cli::{
        Exit,
        args::{HeartbeatArgs, PageArgs, SessionEndArgs, SessionNameArgs, SessionStartArgs, SessionVerb},
        connect::Connection,
        failure::Failure,
        output::{Output, Tone, View, facts},
    },
    domain::{ids::OrgId, window::Millis},
    rpc::table,
    wire::v1::{
        EndSessionRequest, GetSessionRequest, HeartbeatRequest, HeartbeatResponse, ListSessionsRequest,
        ListSessionsResponse, Session, SessionAction, StartSessionRequest, StartSessionResponse,
    },
};

use super::{
    acquire::PLANE,
    decision_view,
    format::outcome_line,
    format::when,
    paging,
    request_id::{named_in_doubt, org_and_request_id},
    scope_texts, session_status,
    session_view::{Quota, session_facts, session_table, state_name, time},
};

pub(super) async fn run(connection: &Connection, verb: &SessionVerb, output: &mut Output<'_>) -> Result<Exit, Failure> {
    match verb {
        SessionVerb::Start(args) => start(connection, args, output).await,
        SessionVerb::Heartbeat(args) => heartbeat(connection, args, output).await,
        SessionVerb::End(args) => end(connection, args, output).await,
        SessionVerb::Show(args) => show(connection, args, output).await,
        SessionVerb::List { org, ended, page } => list(connection, org, *ended, page, output).await,
        SessionVerb::Status(args) => session_status::run(connection, args, output).await,
    }
}

async fn start(connection: &Connection, args: &SessionStartArgs, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let (org, request_id) = org_and_request_id(&args.write)?;
    let (scope, scopes) = scope_texts(&args.scope);
    let request = StartSessionRequest {
        org: org.to_string(),
        session_id: args.session.to_string(),
        identity: args.identity.to_string(),
        request_id: request_id.clone(),
        scope,
        plane: PLANE.to_owned(),
        explain: args.explain,
        scopes,
    };
    let answer = connection.ask::<table::StartSession>(request).await;
    let answer = named_in_doubt(answer, &request_id)?;
    let asked = format!("{org}  {}", args.session);
    output.answer(&answer, |answer, now| decision_view::describe(&asked, &answer.into(), granted(answer, now), now))?;
    Ok(if answer.allowed { Exit::Done } else { Exit::Denied })
}

/// What an admitted session was granted, and where a denied one gets more.
fn granted(answer: &StartSessionResponse, now: Millis) -> Vec<(&'static str, String)> {
    let mut known = Vec::new();
    if answer.allowed {
        known.push(("first slice", time(answer.first_slice_ms)));
        known.push(("heartbeat", format!("every {}", time(answer.heartbeat_interval_ms))));
        known.push(("expires", when(now, answer.expires_at_ms)));
    }
    if !answer.upgrade_url.is_empty() {
        known.push(("upgrade", answer.upgrade_url.clone()));
    }
    known
}

async fn heartbeat(connection: &Connection, args: &HeartbeatArgs, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let request = HeartbeatRequest {
        org: args.of.org.to_string(),
        session_id: args.of.session.to_string(),
        identity: args.identity.to_string(),
        incarnation: args.incarnation.to_string(),
        total_seconds: args.total,
        // A repetition is safe without one: the total is the same.
        request_id: String::new(),
    };
    let answer = connection.ask::<table::Heartbeat>(request).await?;
    output.answer(&answer, |answer, now| beat(&args.of, answer, now))?;
    Ok(match answer.action() {
        SessionAction::Continue | SessionAction::Warn => Exit::Done,
        SessionAction::Stop => Exit::Denied,
        SessionAction::Unspecified => {
            let unknown = format!("the answer is neither to continue nor to stop: action {}", answer.action);
            output.error(&Failure::NoAnswer(unknown));
            Exit::Error
        }
    })
}

fn beat(of: &SessionNameArgs, answer: &HeartbeatResponse, now: Millis) -> View {
    let action = match answer.action() {
        SessionAction::Continue => "continue",
        SessionAction::Warn => "warn    ",
        SessionAction::Stop => "stop    ",
        SessionAction::Unspecified => "unknown ",
    };
    let line = outcome_line("", &of.org, &of.session, answer.replayed);
    let said = View::verdict(Tone::of_state(action), action, &line).then(answer.message.as_str());
    said.then(facts(booked(answer, now)))
}

fn booked(answer: &HeartbeatResponse, now: Millis) -> Vec<(&'static str, String)> {
    let HeartbeatResponse { used_ms, reserved_ms, quota_ms, unlimited, .. } = *answer;
    let quota = Quota { used_ms, reserved_ms, quota_ms, unlimited };
    let mut known = Vec::new();
    if answer.action() == SessionAction::Stop {
        let left = if answer.grace_ms > 0 { time(answer.grace_ms) } else { "0s: at once".to_owned() };
        known.push(("end within", left));
    }
    known.push(("state", state_name(answer.state)));
    known.push(("booked", time(answer.booked_ms)));
    if answer.disputed_ms > 0 {
        known.push(("disputed", time(answer.disputed_ms)));
    }
    known.push(("compute", quota.sentence()));
    known.push(("expires", when(now, answer.expires_at_ms)));
    if !answer.upgrade_url.is_empty() {
        known.push(("upgrade", answer.upgrade_url.clone()));
    }
    known
}

async fn end(connection: &Connection, args: &SessionEndArgs, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let (org, request_id) = org_and_request_id(&args.write)?;
    let request = EndSessionRequest {
        org: org.to_string(),
        session_id: args.session.to_string(),
        identity: args.identity.to_string(),
        request_id: request_id.clone(),
        incarnation: args.incarnation.as_ref().map(ToString::to_string).unwrap_or_default(),
        total_seconds: args.total,
    };
    let answer = connection.ask::<table::EndSession>(request).await;
    let answer = named_in_doubt(answer, &request_id)?;
    let session = complete(answer.session.as_ref())?;
    output.answer(&answer, |answer, now| {
        let ended = outcome_line(&state_name(session.state), org, &session.session_id, answer.replayed);
        View::from(ended).then(session_facts(session, now))
    })?;
    Ok(Exit::Done)
}

async fn show(connection: &Connection, args: &SessionNameArgs, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let request = GetSessionRequest { org: args.org.to_string(), session_id: args.session.to_string() };
    let answer = connection.ask::<table::GetSession>(request).await?;
    let session = complete(answer.session.as_ref())?;
    output.answer(&answer, |_, now| session_facts(session, now))?;
    Ok(Exit::Done)
}

async fn list(
    connection: &Connection,
    org: &OrgId,
    ended: bool,
    page: &PageArgs,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let (sessions, next_page_token) = paging::collect(page, async |page_size, page_token| {
        let request = ListSessionsRequest { org: org.to_string(), page_size, page_token, ended };
        let page = connection.ask::<table::ListSessions>(request).await?;
        Ok((page.sessions, page.next_page_token))
    })
    .await?;
    let all = ListSessionsResponse { sessions, next_page_token };
    output.answer(&all, |all, now| session_table(&all.sessions, now))?;
    paging::continuation(&all.next_page_token, output);
    Ok(Exit::Done)
}

fn complete(session: Option<&Session>) -> Result<&Session, Failure> {
    session.ok_or(Failure::Incomplete("it has no session"))
}
