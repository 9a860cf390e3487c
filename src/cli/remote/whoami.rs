//! `tollgate whoami`: who the command is to the node that it asks.

use crate::{
    cli::{
        Exit,
        connect::Connection,
        failure::Failure,
        output::{Output, View, facts},
    },
    domain::window::Millis,
    rpc::table,
    wire::admin::v1::{GetCallerRequest, GetCallerResponse},
};

use super::format::when;

pub(super) async fn run(connection: &Connection, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let answer = connection.ask::<table::GetCaller>(GetCallerRequest {}).await?;
    output.answer(&answer, describe)?;
    Ok(Exit::Done)
}

fn describe(caller: &GetCallerResponse, now: Millis) -> View {
    let ends = match (caller.authenticated, caller.expires_at_ms) {
        (false, _) => "the node asks nobody who they are".to_owned(),
        (true, 0) => "never".to_owned(),
        (true, at) => when(now, at),
    };
    facts([
        ("name", caller.name.clone()),
        ("role", caller.role.clone()),
        ("orgs", caller.orgs.join(", ")),
        ("ends", ends),
    ])
}
