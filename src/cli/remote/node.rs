//! `tollgate node`: the state of the node that answers, and its bounds in force.

use crate::{
    cli::{
        Exit,
        connect::Connection,
        failure::Failure,
        output::{Output, View, facts, number, table, text},
    },
    domain::window::Millis,
    rpc::table,
    wire::admin::v1::{GetNodeRequest, GetNodeResponse, WebhookState},
};

use super::format::{since, span, when};

pub(super) async fn run(connection: &Connection, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let answer = connection.ask::<table::GetNode>(GetNodeRequest {}).await?;
    output.answer(&answer, describe)?;
    Ok(Exit::Done)
}

/// `10ms, at most 4096 per org`.
fn write_behind(node: &GetNodeResponse) -> String {
    let delay = span(u64::try_from(node.write_behind_ms).unwrap_or_default());
    format!("{delay}, at most {} per org", node.write_behind_max)
}

/// `last event delivered 5s ago`; `last event delivered 2h ago, 7 attempts failed since: it answered 500`.
fn delivery(webhook: &WebhookState, now: Millis) -> String {
    let delivered = match webhook.delivered_at_ms {
        0 => "no event delivered since the start".to_owned(),
        at => format!("last event delivered {}", since(now, at)),
    };
    match webhook.failures {
        0 => delivered,
        failures => format!("{delivered}, {failures} attempts failed since: {}", webhook.trouble),
    }
}

fn describe(node: &GetNodeResponse, now: Millis) -> View {
    let mut known = vec![
        ("node", node.node.clone()),
        ("version", node.version.clone()),
        ("health", node.health.clone()),
        ("store", node.store.clone()),
        ("started", when(now, node.started_at_ms)),
        ("service time", when(now, node.now_ms)),
        ("clock", node.clock.clone()),
        ("resident orgs", node.resident_orgs.to_string()),
        ("in flight", node.in_flight.to_string()),
        ("commit groups", node.commit_group.to_string()),
        ("write behind", write_behind(node)),
        ("configuration", format!("reloaded {} times", node.config_generation)),
    ];
    if node.disk_size_bytes > 0 {
        known.push(("disk", format!("{} of {} bytes free", node.disk_free_bytes, node.disk_size_bytes)));
    }
    if node.purged_since_ms > 0 {
        let (purged, gone) = (since(now, node.purged_since_ms), when(now, node.purged_gone_by_ms));
        known.push(("purged", format!("{purged}; its bytes leave the disk by {gone}")));
    }
    if !node.needs_restart.is_empty() {
        known.push(("needs a restart", node.needs_restart.join(", ")));
    }
    if !node.reload_mistakes.is_empty() {
        known.push(("last reload", format!("refused: {}", node.reload_mistakes.join("; "))));
    }
    if let Some(webhook) = &node.webhook {
        known.push(("webhook", delivery(webhook, now)));
    }
    let mut bounds: Vec<_> = node.bounds.iter().collect();
    bounds.sort();
    let rows = bounds.into_iter().map(|(name, value)| [name.clone(), value.to_string()]);
    facts(known).apart(table([text("bound"), number("value")], rows))
}
