//! `tollgate org`: list, inspect, freeze, unfreeze and purge orgs.

use crate::{
    cli::{
        Exit,
        args::{EndArgs, OrgVerb, OrgWriteArgs, PageArgs, WhyArgs},
        connect::Connection,
        failure::Failure,
        output::{Output, number, table, text},
    },
    domain::{
        ids::{OrgId, Reason},
        window::Millis,
    },
    wire::admin::v1::{
        FreezeRequest, FreezeResponse, GetOrgRequest, ListOrgsRequest, ListOrgsResponse, PurgeOrgRequest,
        PurgeOrgResponse, UnfreezeRequest, UnfreezeResponse,
    },
};

use super::{
    control, events,
    format::when,
    org_view, paging,
    request_id::{named_in_doubt, org_and_request_id},
    why_text,
};

pub(super) async fn run(connection: &Connection, verb: &OrgVerb, output: &mut Output<'_>) -> Result<Exit, Failure> {
    match verb {
        OrgVerb::List(args) => list(connection, args, output).await,
        OrgVerb::Show { org } => {
            let request = GetOrgRequest { org: org.to_string() };
            let answer = connection.wait(connection.admin().get_org(request)).await?;
            output.answer(&answer, org_view::describe)?;
            Ok(Exit::Done)
        }
        OrgVerb::Purge { write, why } => purge(connection, write, why, output).await,
        OrgVerb::Freeze { write, reason, end } => freeze(connection, write, (reason.as_ref(), end), output).await,
        OrgVerb::Unfreeze { write, why } => unfreeze(connection, write, why, output).await,
        OrgVerb::Changes(args) => events::changes(connection, args, output).await,
        OrgVerb::Override(verb) => control::overrides(connection, verb, output).await,
        OrgVerb::SetPlan(args) => control::set_plan(connection, args, output).await,
        OrgVerb::Exempt(args) => control::exempt(connection, args, output).await,
    }
}

async fn list(connection: &Connection, page: &PageArgs, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let (orgs, next_page_token) = paging::collect(page, async |page_size, page_token| {
        let request = ListOrgsRequest { page_size, page_token };
        let page = connection.wait(connection.admin().list_orgs(request)).await?;
        Ok((page.orgs, page.next_page_token))
    })
    .await?;
    let all = ListOrgsResponse { orgs, next_page_token };
    output.answer(&all, list_table)?;
    paging::continuation(&all.next_page_token, output);
    Ok(Exit::Done)
}

fn list_table(all: &ListOrgsResponse, now: Millis) -> String {
    let columns = [text("org"), text("frozen"), number("commits"), text("last change")];
    let rows = all.orgs.iter().map(|org| {
        let frozen = if org.frozen { "frozen" } else { "" };
        [org.org.clone(), frozen.to_owned(), org.sequence.to_string(), when(now, org.last_change_at_ms)]
    });
    table(columns, rows)
}

async fn purge(
    connection: &Connection,
    write: &OrgWriteArgs,
    why: &WhyArgs,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let (org, request_id) = org_and_request_id(write)?;
    let request = PurgeOrgRequest { org: org.to_string(), request_id: request_id.clone(), reason: why_text(why) };
    let answer = connection.wait(connection.admin().purge_org(request)).await;
    let answer = named_in_doubt(answer, &request_id)?;
    output.answer(&answer, |answer: &PurgeOrgResponse, _| {
        if answer.existed { format!("purged  {org}") } else { format!("nothing was stored of {org}") }
    })?;
    Ok(Exit::Done)
}

async fn freeze(
    connection: &Connection,
    write: &OrgWriteArgs,
    (reason, end): (Option<&Reason>, &EndArgs),
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
    };
    let answer = connection.wait(connection.admin().freeze(request)).await;
    let answer = named_in_doubt(answer, &request_id)?;
    output.answer(&answer, |answer: &FreezeResponse, now| {
        let frozen = changed("frozen", org, answer.replayed, answer.was_frozen.then_some("it was frozen already"));
        if answer.until_ms == 0 { frozen } else { format!("{frozen}  until {}", when(now, answer.until_ms)) }
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
    let request = UnfreezeRequest { org: org.to_string(), request_id: request_id.clone(), reason: why_text(why) };
    let answer = connection.wait(connection.admin().unfreeze(request)).await;
    let answer = named_in_doubt(answer, &request_id)?;
    output.answer(&answer, |answer: &UnfreezeResponse, _| {
        changed("unfrozen", org, answer.replayed, (!answer.was_frozen).then_some("it was not frozen"))
    })?;
    Ok(Exit::Done)
}

fn changed(what: &str, org: &OrgId, replayed: bool, unchanged: Option<&str>) -> String {
    let remark = if replayed { Some("replayed") } else { unchanged };
    remark.map_or_else(|| format!("{what}  {org}"), |remark| format!("{what}  {org}  ({remark})"))
}
