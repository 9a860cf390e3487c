//! `tollgate cluster` and `tollgate drain`: the nodes that share a store.

use crate::{
    cli::{
        Exit,
        args::DrainArgs,
        connect::Connection,
        failure::Failure,
        output::{Output, facts, number, table, text},
    },
    wire::admin::v1::{ClusterNode, DrainNodeRequest, GetClusterRequest, GetClusterResponse, NodeState},
};

pub(super) async fn run(connection: &Connection, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let answer = connection.wait(connection.admin().get_cluster(GetClusterRequest {})).await?;
    output.answer(&answer, |answer, _| describe(answer))?;
    for drift in &answer.drift {
        output.remark(&format!("warning: {drift}"));
    }
    Ok(Exit::Done)
}

pub(super) async fn drain(connection: &Connection, args: &DrainArgs, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let request = DrainNodeRequest { node: args.node.clone().unwrap_or_default(), undo: args.undo };
    let answer = connection.wait(connection.admin().drain_node(request)).await?;
    let told = if args.undo { "takes its share again" } else { "hands over what it owns" };
    output.answer(&answer, |answer, _| format!("{} {told}; `tollgate cluster` says how far it is", answer.node))?;
    Ok(Exit::Done)
}

fn describe(cluster: &GetClusterResponse) -> String {
    let shards = format!("{} of {} have an owner", cluster.shards_owned, cluster.shards_total);
    let moved = format!(
        "{} claimed, {} handed over, {} lost with {} leases, since it started",
        cluster.shards_claimed, cluster.shards_handed_over, cluster.shards_lost, cluster.leases_lost
    );
    let mut known = vec![("shards", shards), ("seen by", cluster.node.clone()), ("there", moved)];
    if cluster.seen_ms_ago > 2_000 {
        known.push(("seen", format!("{} s ago", cluster.seen_ms_ago / 1_000)));
    }
    if !cluster.fault.is_empty() {
        known.push(("store", cluster.fault.clone()));
    }
    let columns = [
        text("node"),
        text("state"),
        number("shards"),
        number("weight"),
        text("version"),
        text("configuration"),
        text("callers"),
    ];
    format!("{}\n\n{}", facts(known), table(columns, cluster.nodes.iter().map(row)))
}

fn row(node: &ClusterNode) -> [String; 7] {
    let state = match node.state() {
        NodeState::Alive => "alive",
        NodeState::Draining => "draining",
        NodeState::Dead => "dead",
        NodeState::Unspecified => "unknown",
    };
    [
        node.name.clone(),
        state.to_owned(),
        node.shards.to_string(),
        node.weight.to_string(),
        node.version.clone(),
        node.config.clone(),
        node.grpc.clone(),
    ]
}
