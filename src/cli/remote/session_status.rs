//! `tollgate session status`: whether a session could start now, and what is left of the machine time,
//! without taking anything.

use crate::{
    cli::{
        Exit,
        args::StatusArgs,
        connect::{Connection, Failure},
        output::{Output, numbers, table, words},
    },
    domain::window::Millis,
    wire::v1::{
        BatchStatusRequest, BatchStatusResponse, DecisionCode, SessionStatus, SessionStatusRequest,
        batch_status_result::Result as Item,
    },
};

use super::{
    items,
    limits::code_name,
    scope_text,
    session_view::{Quota, time},
    units::wait,
};

pub(super) async fn run(connection: &Connection, args: &StatusArgs, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let scope = scope_text(args.scope.as_ref());
    let item = |org: &_| SessionStatusRequest { org: ToString::to_string(org), scope: scope.clone() };
    let request = BatchStatusRequest { items: args.orgs.iter().map(item).collect() };
    let answer = connection.wait(connection.session().batch_status(request)).await?;
    items::one_for_each(args.orgs.len(), answer.results.len())?;
    output.answer(&answer, describe)?;
    let failed = args.orgs.iter().zip(&answer.results).filter_map(|(org, result)| match &result.result {
        Some(Item::Status(_)) => None,
        Some(Item::Error(error)) => Some((org, items::reason(Some(error)))),
        None => Some((org, items::reason(None))),
    });
    Ok(items::report(failed, output))
}

fn describe(answer: &BatchStatusResponse, _: Millis) -> String {
    let columns = [
        words("org"),
        words("can start"),
        words("code"),
        words("plan"),
        words("taken"),
        numbers("used"),
        numbers("reserved"),
        numbers("quota"),
        numbers("sessions"),
        words("try again in"),
        words("message"),
        words("upgrade"),
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
