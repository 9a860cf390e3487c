//! `tollgate reload`: the node reads its configuration again, and what became of it.

use crate::{
    cli::{
        Exit,
        connect::Connection,
        failure::Failure,
        output::{Output, View, facts, table, text},
    },
    rpc::table,
    wire::admin::v1::{ConfigChange, ReloadRequest, ReloadResponse},
};

pub(super) async fn run(connection: &Connection, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let answer = connection.ask::<table::Reload>(ReloadRequest {}).await?;
    output.answer(&answer, |answer, _| describe(answer))?;
    for warning in &answer.warnings {
        output.remark(&format!("warning: {warning}"));
    }
    for mistake in &answer.mistakes {
        output.remark(&format!("mistake: {mistake}"));
    }
    let in_force = answer.applied && answer.needs_restart.is_empty();
    Ok(if in_force { Exit::Done } else { Exit::Error })
}

fn describe(answer: &ReloadResponse) -> View {
    let outcome = if !answer.applied {
        "refused: the configuration before it stays in force"
    } else if answer.needs_restart.is_empty() {
        "in force"
    } else {
        "in force in part"
    };
    let mut known =
        vec![("configuration", outcome.to_owned()), ("reloaded", format!("{} times", answer.config_generation))];
    if !answer.needs_restart.is_empty() {
        known.push(("needs a restart", answer.needs_restart.join(", ")));
    }
    if !answer.applied {
        return facts(known);
    }
    if answer.changes.is_empty() {
        known.push(("changed", "nothing".to_owned()));
        return facts(known);
    }
    known.push(("changed", answer.changed.to_string()));
    let columns = [text("key"), text("from"), text("to"), text("effect")];
    facts(known).apart(table(columns, answer.changes.iter().map(row)))
}

fn row(ConfigChange { key, from, to, secret, needs_restart }: &ConfigChange) -> [String; 4] {
    let effect = if *needs_restart { "needs a restart" } else { "in force" };
    let shown = |value: &Option<String>| match value {
        _ if *secret => "(secret)".to_owned(),
        Some(value) => value.clone(),
        None => "default".to_owned(),
    };
    [key.clone(), shown(from), shown(to), effect.to_owned()]
}
