//! `tollgate org rename`, and how people are shown an org that has another name than its id.

use crate::{
    cli::{
        Exit,
        args::RenameArgs,
        connect::Connection,
        failure::Failure,
        output::{Output, Tone, View},
    },
    rpc::table,
    wire::admin::v1::{FormerName, RenameOrgRequest, RenameOrgResponse},
};

use super::{
    request_id::{named_in_doubt, org_and_request_id},
    why_text,
};

pub(super) async fn rename(
    connection: &Connection,
    args: &RenameArgs,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let (org, request_id) = org_and_request_id(&args.write)?;
    let request = RenameOrgRequest {
        org: org.to_string(),
        to: args.to.to_string(),
        request_id: request_id.clone(),
        reason: why_text(&args.why),
        dry_run: args.why.dry_run,
        ..RenameOrgRequest::default()
    };
    let answer = connection.ask::<table::RenameOrg>(request).await;
    let answer = named_in_doubt(answer, &request_id)?;
    output.answer(&answer, |answer, _| renamed(answer))?;
    Ok(Exit::Done)
}

fn renamed(answer: &RenameOrgResponse) -> View {
    let RenameOrgResponse { org, before, name, former_names, replayed, .. } = answer;
    let change = match (replayed, before == name) {
        (true, _) => format!("{name} (replayed)"),
        (false, true) => format!("{name} (it was called so already)"),
        (false, false) => format!("{before} → {name}"),
    };
    let former = match former(former_names) {
        names if names.is_empty() => names,
        names => format!("  as well as {names}"),
    };
    View::verdict(Tone::Plain, "renamed", &format!("  {change}  id {org}{former}"))
}

/// `acme-corp (id acme)`, or the id alone. `name` is empty where that is what the org is called.
pub(in crate::cli) fn called(name: &str, org: &str) -> String {
    if name.is_empty() || name == org { org.to_owned() } else { format!("{name} (id {org})") }
}

/// `acme, acme-inc`.
pub(super) fn former(names: &[FormerName]) -> String {
    names.iter().map(|former| former.name.as_str()).collect::<Vec<_>>().join(", ")
}
