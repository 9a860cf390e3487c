//! `tollgate commit`, `release`, `extend`, `record`, `complete` and `resume`: what follows an admission.

use crate::{
    cli::{
        Exit,
        args::{CommitArgs, CompleteArgs, ExtendArgs, RecordArgs, ReservedArgs, ResumeArgs},
        connect::Connection,
        failure::Failure,
        output::{Output, View, facts},
    },
    domain::{ids::OrgId, window::Millis},
    rpc::table,
    wire::v1::{
        CommitRequest, CommitResponse, ExtendRequest, ExtendResponse, RecordRequest, ReleaseRequest, ResumeRequest,
        ScopedAmount,
    },
};

use super::{
    acquire::amounts,
    format::{amount, outcome_line, when},
    request_id::{named_in_doubt, org_and_request_id},
    scope_texts,
};

pub(super) fn commit(args: &CommitArgs) -> Result<CommitRequest, Failure> {
    let (org, request_id) = org_and_request_id(&args.reserved.write)?;
    Ok(CommitRequest {
        org: org.to_string(),
        reservation_id: args.reserved.reservation.to_string(),
        request_id,
        actual: amounts("actual", &args.actual)?,
    })
}

pub(super) async fn committed(
    connection: &Connection,
    request: CommitRequest,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let (org, reservation, id) = (request.org.clone(), request.reservation_id.clone(), request.request_id.clone());
    let answer = named_in_doubt(connection.ask::<table::Commit>(request).await, &id)?;
    output.answer(&answer, |answer, _| {
        let line = outcome_line("committed", &org, &reservation, answer.replayed);
        View::from(line).then(facts(settled(answer)))
    })?;
    Ok(Exit::Done)
}

/// What was made of what was reserved.
fn settled(answer: &CommitResponse) -> Vec<(&'static str, String)> {
    let lists = [("used", &answer.booked), ("given back", &answer.released), ("beyond it", &answer.overrun)];
    let named = lists.into_iter().filter(|(_, amounts)| !amounts.is_empty());
    let mut settled: Vec<_> = named.map(|(name, amounts)| (name, listed(amounts))).collect();
    if answer.late {
        settled.push(("late", "it had expired; what was used counts all the same".to_owned()));
    }
    settled
}

fn listed(amounts: &[ScopedAmount]) -> String {
    let one = |of: &ScopedAmount| {
        let scope = if of.scope.is_empty() { String::new() } else { format!(" in {}", of.scope) };
        format!("{} {}{scope}", of.meter, amount(&of.meter, of.amount))
    };
    amounts.iter().map(one).collect::<Vec<_>>().join(", ")
}

pub(super) async fn release(
    connection: &Connection,
    args: &ReservedArgs,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let (org, request_id) = org_and_request_id(&args.write)?;
    let (reservation_id, asked) = (args.reservation.to_string(), request_id.clone());
    let request = ReleaseRequest { org: org.to_string(), reservation_id, request_id: asked };
    let answer = named_in_doubt(connection.ask::<table::Release>(request).await, &request_id)?;
    output.answer(&answer, |answer, _| outcome_line("released", org, args.reservation, answer.replayed))?;
    Ok(Exit::Done)
}

pub(super) async fn extend(
    connection: &Connection,
    args: &ExtendArgs,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let (org, request_id) = org_and_request_id(&args.reserved.write)?;
    let reservation = args.reserved.reservation;
    let request = ExtendRequest {
        org: org.to_string(),
        reservation_id: reservation.to_string(),
        request_id: request_id.clone(),
        ttl_ms: args.ttl,
    };
    let answer = named_in_doubt(connection.ask::<table::Extend>(request).await, &request_id)?;
    output.answer(&answer, |answer, now| {
        let line = outcome_line("extended", org, reservation, answer.replayed);
        View::from(line).then(facts([("expires", expires(answer, now))]))
    })?;
    Ok(Exit::Done)
}

fn expires(answer: &ExtendResponse, now: Millis) -> String {
    if answer.remaining_ms == 0 { "it has ended since".to_owned() } else { when(now, answer.expires_at_ms) }
}

pub(super) fn record(args: &RecordArgs) -> Result<RecordRequest, Failure> {
    let (org, request_id) = org_and_request_id(&args.write)?;
    let (scope, scopes) = scope_texts(&args.scope);
    Ok(RecordRequest {
        org: org.to_string(),
        scope,
        scopes,
        usage: amounts("usage", &args.usage)?,
        request_id,
        decision_id: args.decision.map(|decision| decision.to_string()).unwrap_or_default(),
        ..RecordRequest::default()
    })
}

/// The usage of an execution is that it has ended.
pub(super) fn complete(args: &CompleteArgs) -> Result<RecordRequest, Failure> {
    let (org, request_id) = org_and_request_id(&args.write)?;
    let (scope, scopes) = scope_texts(&args.scope);
    let decision_id = args.decision.to_string();
    Ok(RecordRequest { org: org.to_string(), scope, scopes, request_id, decision_id, ..RecordRequest::default() })
}

pub(super) async fn recorded(
    connection: &Connection,
    request: RecordRequest,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let (org, id) = (request.org.clone(), request.request_id.clone());
    let (outcome, what) = if request.usage.is_empty() {
        ("completed", request.decision_id.clone())
    } else {
        let used = request.usage.iter().map(|of| format!("{} {}", of.meter, amount(&of.meter, of.amount)));
        ("recorded", used.collect::<Vec<_>>().join(", "))
    };
    let answer = named_in_doubt(connection.ask::<table::Record>(request).await, &id)?;
    output.answer(&answer, |answer, _| outcome_line(outcome, &org, &what, answer.replayed))?;
    Ok(Exit::Done)
}

pub(super) async fn resume(
    connection: &Connection,
    args: &ResumeArgs,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let (org, request_id) = org_and_request_id(&args.write)?;
    let request = ResumeRequest {
        org: OrgId::to_string(org),
        execution_id: args.execution.to_string(),
        request_id: request_id.clone(),
    };
    let answer = named_in_doubt(connection.ask::<table::Resume>(request).await, &request_id)?;
    output.answer(&answer, |answer, _| {
        let line = outcome_line("resumed", org, &args.execution, answer.replayed);
        let counted = match (answer.counted, answer.continuations) {
            (false, _) => "not counted".to_owned(),
            (true, 1) => "once so far".to_owned(),
            (true, times) => format!("{times} times so far"),
        };
        format!("{line}  {counted}")
    })?;
    Ok(Exit::Done)
}
