//! `tollgate status`: what is left for some orgs, without consuming anything.
//!
//! One org or many is the same call, so that the JSON has the same shape.

use crate::{
    cli::{
        Exit,
        args::StatusArgs,
        connect::Connection,
        failure::Failure,
        output::{Output, Tone, View, table, text},
    },
    domain::{window::Millis, words},
    rpc::table,
    wire::v1::{
        BatchGetStatusRequest, BatchGetStatusResponse, GetStatusRequest, GetStatusResponse, Limit,
        batch_get_status_result::Result as Item,
    },
};

use super::{
    batch,
    format::{counted, relative, wait},
    limit_view::{code_name, usage_table},
    names::called,
    org_list, scope_texts,
};

pub(super) async fn run(connection: &Connection, args: &StatusArgs, output: &mut Output<'_>) -> Result<Exit, Failure> {
    if let Some(percent) = args.near {
        return org_list::near(connection, (percent, args.limit), output).await;
    }
    let (scope, scopes) = scope_texts(&args.scope);
    let items = args.orgs.iter().map(|org| GetStatusRequest {
        org: org.to_string(),
        scope: scope.clone(),
        scopes: scopes.clone(),
    });
    let request = BatchGetStatusRequest { items: items.collect() };
    let answer = connection.ask::<table::BatchGetStatus>(request).await?;
    batch::check_count(args.orgs.len(), answer.results.len())?;
    output.answer(&answer, describe)?;
    let failed = args.orgs.iter().zip(&answer.results).filter_map(|(org, result)| match &result.result {
        Some(Item::Status(_)) => None,
        Some(Item::Error(error)) => Some((org.as_str(), Some(error))),
        None => Some((org.as_str(), None)),
    });
    Ok(batch::report_failures(failed, output))
}

fn describe(answer: &BatchGetStatusResponse, now: Millis) -> View {
    let statuses: Vec<&GetStatusResponse> = answer
        .results
        .iter()
        .filter_map(|result| match &result.result {
            Some(Item::Status(status)) => Some(status),
            _ => None,
        })
        .collect();
    if statuses.is_empty() {
        return View::default();
    }
    let remarks = statuses.iter().flat_map(|status| remarks(status, now)).collect::<Vec<_>>();
    let remarks = remarks.join("\n");
    let limits = statuses
        .iter()
        .flat_map(|status| status.limits.iter().map(|limit| (org_name(status), limit, denied_by(status, limit))));
    verdicts(&statuses).apart(remarks).apart(usage_table(limits, now))
}

fn org_name(status: &GetStatusResponse) -> String {
    called(&status.name, &status.org)
}

/// What the verdict on one call does not say of the org.
fn remarks(status: &GetStatusResponse, now: Millis) -> Vec<String> {
    let org = &status.org;
    if status.unknown {
        return vec![format!("{org}: nothing is stored of this org")];
    }
    if status.denied_by.is_empty() {
        return Vec::new();
    }
    let by = status.denied_by.iter().map(|by| {
        let name = if by.limit.is_empty() { &by.gate } else { &by.limit };
        let scope = if by.scope.is_empty() { String::new() } else { format!(" of {}", by.scope) };
        format!("{} by {name}{scope}, the last {}", by.count, relative(now, by.last_at_ms))
    });
    let by = by.collect::<Vec<_>>().join("; ");
    vec![format!(
        "{org}: {} {} denied lately ({by}); see: tollgate why {}",
        counted(status.denied_lately, "call"),
        if status.denied_lately == 1 { "was" } else { "were" },
        words::for_shell(org)
    )]
}

/// How many calls this limit has denied lately.
fn denied_by(status: &GetStatusResponse, limit: &Limit) -> i64 {
    let by_it = status.denied_by.iter().filter(|by| by.limit == limit.texts.name && *by.scope == *limit.scope);
    by_it.map(|by| by.count).sum()
}

fn verdicts(statuses: &[&GetStatusResponse]) -> View {
    let columns = [
        text("org"),
        text("next acquire").toned(Tone::of_state),
        text("plan").spare(1),
        text("try again in"),
        text("message"),
    ];
    let rows = statuses.iter().map(|status| {
        let verdict = match status.allowed {
            true if status.denied_lately > 0 => "allowed, others denied".to_owned(),
            true => "allowed".to_owned(),
            false => format!("denied {}", code_name(status.code)),
        };
        let retry = if status.retry_after_ms > 0 { wait(status.retry_after_ms) } else { String::new() };
        [org_name(status), verdict, status.plan.clone(), retry, status.message.clone()]
    });
    table(columns, rows)
}
