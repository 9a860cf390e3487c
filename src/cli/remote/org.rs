//! `tollgate org`: list, inspect, freeze, unfreeze and delete orgs.

use crate::{
    cli::{
        Exit,
        args::{EndArgs, OrgVerb, OrgWriteArgs, WhyArgs},
        confirm::confirmed,
        connect::Connection,
        failure::Failure,
        output::{Output, Tone, View, number, table, text},
    },
    domain::{
        ids::{OrgId, Reason},
        window::Millis,
    },
    rpc::table,
    wire::admin::v1::{
        DeletionReceipt, FreezeRequest, FreezeResponse, GetOrgRequest, PurgeOrgRequest, PurgeOrgResponse,
        UnfreezeRequest, UnfreezeResponse,
    },
};

use super::{
    control, events,
    format::{since, when},
    grants, names, org_list, org_view,
    request_id::{named_in_doubt, org_and_request_id},
    why_text,
};

pub(super) async fn run(connection: &Connection, verb: &OrgVerb, output: &mut Output<'_>) -> Result<Exit, Failure> {
    match verb {
        OrgVerb::List(args) => org_list::list(connection, args, output).await,
        OrgVerb::Show { org } => {
            let request = GetOrgRequest { org: org.to_string() };
            let answer = connection.ask::<table::GetOrg>(request).await?;
            output.answer(&answer, org_view::describe)?;
            Ok(Exit::Done)
        }
        OrgVerb::Rename(args) => names::rename(connection, args, output).await,
        OrgVerb::Delete { write, why, yes } => {
            confirmed(*yes || why.dry_run, &format!("delete {}", write.org), write.org.as_str(), output)?;
            delete(connection, write, why, output).await
        }
        OrgVerb::Freeze { write, reason, dry_run, end } => {
            freeze(connection, write, (reason.as_ref(), end, *dry_run), output).await
        }
        OrgVerb::Unfreeze { write, why } => unfreeze(connection, write, why, output).await,
        OrgVerb::Changes(args) => events::changes(connection, args, output).await,
        OrgVerb::Override(verb) => control::overrides(connection, verb, output).await,
        OrgVerb::Grant(args) => grants::grant(connection, args, output).await,
        OrgVerb::RevokeGrant(args) => grants::revoke(connection, args, output).await,
        OrgVerb::Reset(args) => grants::reset(connection, args, output).await,
        OrgVerb::SetPlan(args) => control::set_plan(connection, args, output).await,
        OrgVerb::Exempt(args) => control::exempt(connection, args, output).await,
    }
}

async fn delete(
    connection: &Connection,
    write: &OrgWriteArgs,
    why: &WhyArgs,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let (org, request_id) = org_and_request_id(write)?;
    let request = PurgeOrgRequest {
        org: org.to_string(),
        request_id: request_id.clone(),
        reason: why_text(why),
        dry_run: why.dry_run,
        ..PurgeOrgRequest::default()
    };
    let answer = connection.ask::<table::PurgeOrg>(request).await;
    let answer = named_in_doubt(answer, &request_id)?;
    output.answer(&answer, |answer: &PurgeOrgResponse, now| deleted(org, answer, now))?;
    Ok(Exit::Done)
}

fn deleted(org: &OrgId, answer: &PurgeOrgResponse, now: Millis) -> View {
    let of_org = match &answer.receipt {
        // It may have been named by another name of it.
        Some(receipt) => format!("  {}", receipt.org),
        None => format!("  {org}"),
    };
    let Some(receipt) = &answer.receipt else {
        let none = || View::verdict(Tone::Plain, &format!("nothing was stored of {org}"), "");
        return if answer.existed { View::verdict(Tone::Plain, "deleted", &of_org) } else { none() };
    };
    let DeletionReceipt {
        rows, exports_kept, deleted_at_ms, caller, reason, request_id, names, bytes_gone_by_ms, ..
    } = receipt;
    let total = rows.values().fold(0_i64, |sum, rows| sum.saturating_add(*rows));
    let kept = if *exports_kept == 0 { String::new() } else { format!(", {exports_kept} stay until they are billed") };
    let why = if reason.is_empty() { String::new() } else { format!("  \"{reason}\"") };
    let names = if names.is_empty() { String::new() } else { format!(" and its names {}", names.join(", ")) };
    let by =
        format!("{of_org}{names}  {total} rows{kept}  {}  by {caller}{why}  {request_id}", since(now, *deleted_at_ms));
    let lines = rows.iter().map(|(kind, rows)| [kind.clone(), rows.to_string()]);
    let view = table([text("kind"), number("rows")], lines).apart(View::verdict(Tone::Plain, "deleted", &by));
    match *bytes_gone_by_ms {
        0 => view,
        gone => view.apart(View::verbatim(&format!("its bytes leave the disk by {}", when(now, gone)))),
    }
}

async fn freeze(
    connection: &Connection,
    write: &OrgWriteArgs,
    (reason, end, dry_run): (Option<&Reason>, &EndArgs, bool),
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let (org, request_id) = org_and_request_id(write)?;
    let reason = reason.map(ToString::to_string).unwrap_or_default();
    let EndArgs { after, until } = *end;
    let request = FreezeRequest {
        org: org.to_string(),
        request_id: request_id.clone(),
        reason,
        for_ms: after.unwrap_or(0),
        until_ms: until.unwrap_or(0),
        dry_run,
    };
    let answer = connection.ask::<table::Freeze>(request).await;
    let answer = named_in_doubt(answer, &request_id)?;
    output.answer(&answer, |answer: &FreezeResponse, now| {
        let until =
            if answer.until_ms == 0 { String::new() } else { format!("  until {}", when(now, answer.until_ms)) };
        let was = if answer.was_frozen { SAME_FROZEN } else { "active → frozen" };
        changed("frozen", org, answer.replayed, &format!("{was}{until}"))
    })?;
    Ok(Exit::Done)
}

async fn unfreeze(
    connection: &Connection,
    write: &OrgWriteArgs,
    why: &WhyArgs,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let (org, request_id) = org_and_request_id(write)?;
    let (reason, dry_run) = (why_text(why), why.dry_run);
    let request = UnfreezeRequest { org: org.to_string(), request_id: request_id.clone(), reason, dry_run };
    let answer = connection.ask::<table::Unfreeze>(request).await;
    let answer = named_in_doubt(answer, &request_id)?;
    output.answer(&answer, |answer: &UnfreezeResponse, _| {
        changed("unfrozen", org, answer.replayed, if answer.was_frozen { "frozen → active" } else { SAME_ACTIVE })
    })?;
    Ok(Exit::Done)
}

const SAME_FROZEN: &str = "(it was frozen already)";
const SAME_ACTIVE: &str = "(it was not frozen)";

/// `frozen  acme  active → frozen`.
fn changed(what: &str, org: &OrgId, replayed: bool, change: &str) -> View {
    let change = if replayed { "(replayed)" } else { change };
    View::verdict(Tone::of_state(what), what, &format!("  {org}  {change}"))
}
