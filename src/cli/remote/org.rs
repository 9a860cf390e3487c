//! `tollgate org`: list, inspect, freeze and forget orgs.

use crate::{
    cli::{
        Exit,
        args::{OrgListArgs, OrgVerb, OrgWriteArgs},
        connect::{Connection, Failure},
        output::{Output, numbers, table, words},
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

use super::{show, units::when};

/// Orgs asked for at once; the node's maximum.
const PAGE: u32 = 1000;

pub(super) async fn run(connection: &Connection, verb: &OrgVerb, output: &mut Output<'_>) -> Result<Exit, Failure> {
    match verb {
        OrgVerb::List(args) => list(connection, args, output).await,
        OrgVerb::Show { org } => {
            let request = GetOrgRequest { org: org.to_string() };
            let answer = connection.wait(connection.admin().get_org(request)).await?;
            output.answer(&answer, show::describe)?;
            Ok(Exit::Done)
        }
        OrgVerb::Purge(write) => purge(connection, write, output).await,
        OrgVerb::Freeze { write, reason } => freeze(connection, write, reason.as_ref(), output).await,
        OrgVerb::Unfreeze(write) => unfreeze(connection, write, output).await,
    }
}

async fn list(connection: &Connection, args: &OrgListArgs, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let mut all = ListOrgsResponse { next_page_token: args.after.clone().unwrap_or_default(), ..Default::default() };
    let mut wanted = args.limit;
    loop {
        let page_size = i32::try_from(wanted.min(PAGE)).unwrap_or(i32::MAX);
        let request = ListOrgsRequest { page_size, page_token: all.next_page_token };
        let page = connection.wait(connection.admin().list_orgs(request)).await?;
        wanted = wanted.saturating_sub(u32::try_from(page.orgs.len()).unwrap_or(u32::MAX));
        let empty = page.orgs.is_empty();
        all.orgs.extend(page.orgs);
        all.next_page_token = page.next_page_token;
        if empty || wanted == 0 || all.next_page_token.is_empty() {
            break;
        }
    }
    output.answer(&all, list_table)?;
    if !all.next_page_token.is_empty() {
        output.note(&format!("there are more: --after {} continues", all.next_page_token));
    }
    Ok(Exit::Done)
}

fn list_table(all: &ListOrgsResponse, now: Millis) -> String {
    let columns = [words("org"), words("frozen"), numbers("commits"), words("last change")];
    let rows = all.orgs.iter().map(|org| {
        let frozen = if org.frozen { "frozen" } else { "" };
        [org.org.clone(), frozen.to_owned(), org.sequence.to_string(), when(now, org.last_change_at_ms)]
    });
    table(columns, rows)
}

async fn purge(connection: &Connection, write: &OrgWriteArgs, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let (org, request_id) = named(write)?;
    let request = PurgeOrgRequest { org: org.to_string(), request_id: request_id.clone() };
    let answer = connection.wait(connection.admin().purge_org(request)).await;
    let answer = repeatable(answer, &request_id, output)?;
    output.answer(&answer, |answer: &PurgeOrgResponse, _| {
        if answer.existed { format!("purged  {org}") } else { format!("nothing was kept of {org}") }
    })?;
    Ok(Exit::Done)
}

async fn freeze(
    connection: &Connection,
    write: &OrgWriteArgs,
    reason: Option<&Reason>,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let (org, request_id) = named(write)?;
    let reason = reason.map(ToString::to_string).unwrap_or_default();
    let request = FreezeRequest { org: org.to_string(), request_id: request_id.clone(), reason };
    let answer = connection.wait(connection.admin().freeze(request)).await;
    let answer = repeatable(answer, &request_id, output)?;
    output.answer(&answer, |answer: &FreezeResponse, _| {
        changed("frozen", org, answer.replayed, answer.was_frozen.then_some("it was frozen already"))
    })?;
    Ok(Exit::Done)
}

async fn unfreeze(connection: &Connection, write: &OrgWriteArgs, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let (org, request_id) = named(write)?;
    let request = UnfreezeRequest { org: org.to_string(), request_id: request_id.clone() };
    let answer = connection.wait(connection.admin().unfreeze(request)).await;
    let answer = repeatable(answer, &request_id, output)?;
    output.answer(&answer, |answer: &UnfreezeResponse, _| {
        changed("unfrozen", org, answer.replayed, (!answer.was_frozen).then_some("it was not frozen"))
    })?;
    Ok(Exit::Done)
}

fn changed(what: &str, org: &OrgId, replayed: bool, unchanged: Option<&str>) -> String {
    let remark = if replayed { Some("replayed") } else { unchanged };
    remark.map_or_else(|| format!("{what}  {org}"), |remark| format!("{what}  {org}  ({remark})"))
}

/// The org and the request id to use, a random one unless it was given.
fn named(write: &OrgWriteArgs) -> Result<(&OrgId, String), Failure> {
    let id = match &write.request_id {
        Some(given) => given.to_string(),
        None => random_id().map_err(|error| Failure::Machine(format!("no random request id: {error}")))?,
    };
    Ok((&write.org, id))
}

fn random_id() -> Result<String, getrandom::Error> {
    Ok(format!("cli-{:016x}{:016x}", getrandom::u64()?, getrandom::u64()?))
}

/// Where it is open whether the change happened, says how to ask again without changing twice.
fn repeatable<T>(answer: Result<T, Failure>, request_id: &str, output: &mut Output<'_>) -> Result<T, Failure> {
    if answer.as_ref().is_err_and(Failure::leaves_doubt) {
        output
            .note(&format!("it may have happened all the same: --request-id '{request_id}' repeats this call safely"));
    }
    answer
}
