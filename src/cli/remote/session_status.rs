//! `tollgate session status`: whether a session could start now, and how much machine time is left,
//! without consuming anything.

use crate::{
    cli::{
        Exit,
        args::StatusArgs,
        connect::Connection,
        failure::Failure,
        output::{Output, Tone, View, number, table, text},
    },
    domain::window::Millis,
    rpc::table,
    wire::v1::{
        BatchStatusRequest, BatchStatusResponse, DecisionCode, SessionStatus, SessionStatusRequest,
        batch_status_result::Result as Item,
    },
};

use super::{
    batch,
    format::wait,
    limit_view::code_name,
    scope_texts,
    session_view::{Quota, time},
};

pub(super) async fn run(connection: &Connection, args: &StatusArgs, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let (scope, scopes) = scope_texts(&args.scope);
    let items = args.orgs.iter().map(|org| SessionStatusRequest {
        org: org.to_string(),
        scope: scope.clone(),
        scopes: scopes.clone(),
    });
    let request = BatchStatusRequest { items: items.collect() };
    let answer = connection.ask::<table::BatchStatus>(request).await?;
    batch::check_count(args.orgs.len(), answer.results.len())?;
    output.answer(&answer, describe)?;
    let failed = args.orgs.iter().zip(&answer.results).filter_map(|(org, result)| match &result.result {
        Some(Item::Status(_)) => None,
        Some(Item::Error(error)) => Some((org.as_str(), Some(error))),
        None => Some((org.as_str(), None)),
    });
    Ok(batch::report_failures(failed, output))
}

fn describe(answer: &BatchStatusResponse, _: Millis) -> View {
    let columns = [
        text("org"),
        text("can start"),
        text("code"),
        text("plan").spare(5),
        text("taken").toned(Tone::of_bar).spare(6),
        number("used").spare(2),
        number("reserved").spare(4),
        number("quota").spare(1),
        number("sessions").spare(3),
        text("try again in"),
        text("message"),
        text("upgrade"),
    ];
    let statuses = answer.results.iter().filter_map(|result| match &result.result {
        Some(Item::Status(status)) => Some(row(status)),
        _ => None,
    });
    table(columns, statuses)
}

fn row(status: &SessionStatus) -> [String; 12] {
    let SessionStatus { used_ms, reserved_ms, quota_ms, unlimited, .. } = *status;
    let quota = Quota { used_ms, reserved_ms, quota_ms, unlimited };
    let plain = status.code == i32::from(DecisionCode::Allowed);
    let most = if status.sessions_unlimited { "unlimited".to_owned() } else { status.sessions_max.to_string() };
    [
        status.org.clone(),
        if status.can_start { "yes" } else { "no" }.to_owned(),
        if plain { String::new() } else { code_name(status.code) },
        status.plan.clone(),
        quota.taken(),
        time(used_ms),
        time(reserved_ms),
        quota.most(),
        format!("{}/{most}", status.sessions),
        if status.retry_after_ms > 0 { wait(status.retry_after_ms) } else { String::new() },
        status.message.clone(),
        if status.can_start { String::new() } else { status.upgrade_url.clone() },
    ]
}
