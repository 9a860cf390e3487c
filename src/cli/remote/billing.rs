//! `tollgate billing`: an org's balance at the billing provider, and usage that waits for delivery.

use crate::{
    cli::{
        Exit,
        args::{BillingVerb, OrgWriteArgs, PageArgs, WhyArgs},
        connect::Connection,
        failure::Failure,
        output::{Output, Tone, View, number, table, text, time},
    },
    domain::{
        ids::{OrgId, Reason},
        outbox::OutboxKey,
        window::Millis,
    },
    rpc::table,
    wire::admin::v1::{
        BalanceVerdict, Export, ListExportsRequest, ListExportsResponse, RefreshBalanceRequest, RefreshBalanceResponse,
        ReplayExportsRequest, ReplayExportsResponse,
    },
};

use super::{
    all_scopes,
    format::{amount, when},
    limit_view::next_reset,
    paging,
    request_id::{named_in_doubt, org_and_request_id},
    why_text,
};

pub(super) async fn run(connection: &Connection, verb: &BillingVerb, output: &mut Output<'_>) -> Result<Exit, Failure> {
    match verb {
        BillingVerb::Refresh { org, reason } => refresh(connection, org, reason.as_ref(), output).await,
        BillingVerb::Exports { org, set_aside, page } => exports(connection, org, *set_aside, page, output).await,
        BillingVerb::Replay { write, key, why } => replay(connection, write, *key, why, output).await,
    }
}

async fn refresh(
    connection: &Connection,
    org: &OrgId,
    reason: Option<&Reason>,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let reason = reason.map(ToString::to_string).unwrap_or_default();
    let request = RefreshBalanceRequest { org: org.to_string(), reason };
    let answer = connection.ask::<table::RefreshBalance>(request).await?;
    output.answer(&answer, |answer, now| verdict(org, answer, now))?;
    Ok(match answer.verdict() {
        BalanceVerdict::Allowed => Exit::Done,
        BalanceVerdict::Denied if answer.allowed => Exit::Done,
        BalanceVerdict::Denied => Exit::Denied,
        BalanceVerdict::Unspecified => {
            output.error(&Failure::NoAnswer(format!("the billing provider gave no verdict: {}", cause(&answer))));
            Exit::Error
        }
    })
}

fn verdict(org: &OrgId, answer: &RefreshBalanceResponse, now: Millis) -> View {
    let (verdict, why) = match answer.verdict() {
        BalanceVerdict::Allowed => ("allowed", ""),
        BalanceVerdict::Denied if answer.allowed => ("allowed", answer.reason.as_str()),
        BalanceVerdict::Denied => ("denied ", answer.reason.as_str()),
        BalanceVerdict::Unspecified => ("unknown", cause(answer)),
    };
    let said = joined([org.to_string(), why.to_owned(), policy(answer), balance(answer, now)], "  ");
    View::verdict(Tone::of_state(verdict), verdict, &format!("  {said}"))
}

/// What happens to calls where the provider has not decided. An older node does not say.
fn policy(answer: &RefreshBalanceResponse) -> String {
    let (calls, value) = if answer.allowed { ("let through", "allow") } else { ("denied", "deny") };
    match answer.decided_by.as_str() {
        "" => String::new(),
        key => format!("calls are {calls}: {key} = \"{value}\""),
    }
}

fn cause(answer: &RefreshBalanceResponse) -> &str {
    if answer.cause.is_empty() { "no cause given" } else { &answer.cause }
}

/// `72 left of 100 (overage allowed, resets in 42m 10s)`, as far as the provider states it.
fn balance(answer: &RefreshBalanceResponse, now: Millis) -> String {
    let RefreshBalanceResponse { granted, remaining, .. } = answer;
    let left = match (answer.remaining_known, answer.granted_known) {
        _ if answer.unlimited => "unlimited".to_owned(),
        (true, true) => format!("{remaining} left of {granted}"),
        (true, false) => format!("{remaining} left"),
        (false, true) => format!("{granted} granted"),
        (false, false) => String::new(),
    };
    let overage = answer.overage_allowed.then(|| "overage allowed".to_owned());
    let reset = (answer.resets_at_ms != 0).then(|| next_reset(now, answer.resets_at_ms));
    let remarks = joined(overage.into_iter().chain(reset), ", ");
    let remarks = if remarks.is_empty() { remarks } else { format!("({remarks})") };
    joined([left, remarks], " ")
}

fn joined(parts: impl IntoIterator<Item = String>, between: &str) -> String {
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(between)
}

async fn exports(
    connection: &Connection,
    org: &OrgId,
    set_aside: bool,
    page: &PageArgs,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let (exports, next_page_token) = paging::collect(page, async |page_size, page_token| {
        let request = ListExportsRequest { org: org.to_string(), page_size, page_token, set_aside };
        let page = connection.ask::<table::ListExports>(request).await?;
        Ok((page.exports, page.next_page_token))
    })
    .await?;
    let all = ListExportsResponse { exports, next_page_token };
    output.answer(&all, export_table)?;
    paging::continuation(&all.next_page_token, output);
    Ok(Exit::Done)
}

fn export_table(all: &ListExportsResponse, now: Millis) -> View {
    let columns = [
        text("key"),
        text("scope"),
        text("meter").spare(2),
        number("amount"),
        time("recorded").spare(3),
        number("attempts").spare(1),
        time("next try"),
        text("last error").cut(),
    ];
    table(columns, all.exports.iter().map(|export| row(export, now)))
}

fn row(export: &Export, now: Millis) -> [String; 8] {
    let next = match export.set_aside.as_str() {
        "" => when(now, export.due_at_ms),
        why => format!("set aside: {why}"),
    };
    [
        export.key.clone(),
        all_scopes(&export.scope, &export.scopes),
        export.meter.clone(),
        amount(&export.meter, export.amount),
        when(now, export.at_ms),
        export.attempts.to_string(),
        next,
        export.last_error.clone(),
    ]
}

async fn replay(
    connection: &Connection,
    write: &OrgWriteArgs,
    key: Option<OutboxKey>,
    why: &WhyArgs,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let (org, request_id) = org_and_request_id(write)?;
    let one = key.map(|key| key.to_string()).unwrap_or_default();
    let request = ReplayExportsRequest {
        org: org.to_string(),
        request_id: request_id.clone(),
        key: one,
        reason: why_text(why),
        dry_run: why.dry_run,
    };
    let answer = connection.ask::<table::ReplayExports>(request).await;
    let answer = named_in_doubt(answer, &request_id)?;
    output.answer(&answer, |answer: &ReplayExportsResponse, _| match answer.replayed_rows {
        0 if key.is_some() => format!("no such row of {org} is set aside"),
        0 => format!("nothing of {org} is set aside"),
        1 => format!("replayed  {org}  1 row"),
        rows => format!("replayed  {org}  {rows} rows"),
    })?;
    Ok(Exit::Done)
}
