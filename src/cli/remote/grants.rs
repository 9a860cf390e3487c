//! `tollgate org grant`, `revoke-grant` and `reset`: what operators add to limits for a while, and windows that begin anew.

use crate::{
    cli::{
        Exit,
        args::{EndArgs, GrantArgs, ResetArgs, RevokeGrantArgs},
        connect::Connection,
        failure::Failure,
        output::{Output, facts},
    },
    rpc::table,
    wire::{
        admin::v1::{GrantRequest, ResetWindowRequest, ResetWindowResponse, RevokeGrantRequest},
        v1::Limit,
    },
};

use super::{
    control::show_change,
    format::amount,
    request_id::{named_in_doubt, org_and_request_id},
    scope_text, why_text,
};

pub(super) async fn grant(connection: &Connection, args: &GrantArgs, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let amount = args.amount().map_err(Failure::Usage)?;
    let (org, request_id) = org_and_request_id(&args.write)?;
    let EndArgs { after, until } = args.end;
    let request = GrantRequest {
        org: org.to_string(),
        scope: scope_text(args.scope.as_ref()),
        request_id: request_id.clone(),
        limit: args.limit.to_string(),
        amount,
        // Without all of these it is the window that runs, which the command line wants to be said.
        for_ms: after.unwrap_or(0),
        until_ms: until.unwrap_or(0),
        reason: why_text(&args.why),
        until_spent: args.until_spent,
        dry_run: args.why.dry_run,
    };
    let answer = connection.ask::<table::Grant>(request).await;
    show_change(&named_in_doubt(answer, &request_id)?, org, output)
}

pub(super) async fn revoke(
    connection: &Connection,
    args: &RevokeGrantArgs,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let (org, request_id) = org_and_request_id(&args.write)?;
    let request = RevokeGrantRequest {
        org: org.to_string(),
        request_id: request_id.clone(),
        grant: args.grant,
        reason: why_text(&args.why),
        dry_run: args.why.dry_run,
    };
    let answer = connection.ask::<table::RevokeGrant>(request).await;
    show_change(&named_in_doubt(answer, &request_id)?, org, output)
}

pub(super) async fn reset(connection: &Connection, args: &ResetArgs, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let (org, request_id) = org_and_request_id(&args.write)?;
    let request = ResetWindowRequest {
        org: org.to_string(),
        scope: scope_text(args.scope.as_ref()),
        request_id: request_id.clone(),
        limit: args.limit.to_string(),
        reason: why_text(&args.why),
        dry_run: args.why.dry_run,
    };
    let answer = connection.ask::<table::ResetWindow>(request).await;
    let answer = named_in_doubt(answer, &request_id)?;
    output.answer(&answer, |answer: &ResetWindowResponse, _| {
        let used =
            |limit: Option<&Limit>| limit.map_or("no limit".to_owned(), |limit| amount(&limit.texts.meter, limit.used));
        let (before, after) = (used(answer.before.as_ref()), used(answer.after.as_ref()));
        let change = if answer.replayed { format!("{after} (replayed)") } else { format!("{before} → {after}") };
        let mut known = vec![("org", org.to_string()), ("limit", args.limit.to_string())];
        known.extend(args.scope.as_ref().map(|scope| ("scope", scope.shown().into_owned())));
        known.push(("used", change));
        if let Some(limit) = answer.after.as_ref().filter(|limit| !limit.unlimited) {
            known.push(("remaining", amount(&limit.texts.meter, limit.remaining)));
        }
        facts(known)
    })?;
    Ok(Exit::Done)
}
