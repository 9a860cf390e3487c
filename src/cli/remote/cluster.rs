//! `tollgate cluster` and `tollgate drain`: the nodes that share a store.

use crate::{
    cli::{
        Exit,
        args::{ClusterArgs, DrainArgs},
        connect::Connection,
        failure::Failure,
        output::{Output, Tone, View, facts, number, table, text},
    },
    domain::{ids::OrgId, shard::Shard},
    rpc::table,
    wire::admin::v1::{
        ClusterCell, ClusterNode, ClusterShard, DrainNodeRequest, GetClusterRequest, GetClusterResponse, NodeState,
    },
};

pub(super) async fn run(connection: &Connection, args: &ClusterArgs, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let request = GetClusterRequest { shards: args.shards || args.org.is_some() };
    let mut answer = connection.ask::<table::GetCluster>(request).await?;
    if let Some(org) = &args.org {
        let number = i32::from(Shard::of(org).number());
        answer.shards.retain(|shard| shard.number == number);
    }
    output.answer(&answer, |answer, _| match &args.org {
        Some(org) => of_org(answer, org).into(),
        None if args.shards => shards(&answer.shards),
        None => describe(answer),
    })?;
    for drift in &answer.drift {
        output.remark(&format!("warning: {drift}"));
    }
    Ok(Exit::Done)
}

pub(super) async fn drain(connection: &Connection, args: &DrainArgs, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let request = DrainNodeRequest { node: args.node.clone().unwrap_or_default(), undo: args.undo };
    let answer = connection.ask::<table::DrainNode>(request).await?;
    let told = if args.undo { "takes its share again" } else { "hands over what it owns" };
    output.answer(&answer, |answer, _| format!("{} {told}; `tollgate cluster` says how far it is", answer.node))?;
    Ok(Exit::Done)
}

/// Where an org is.
fn of_org(cluster: &GetClusterResponse, org: &OrgId) -> String {
    let number = Shard::of(org).number();
    let Some(shard) = cluster.shards.first() else {
        return format!("{org} is in shard {number}, which {} owns: it is alone", cluster.node);
    };
    let place = format!("{org} is in shard {number}, cell {} of {}", shard.cell, cluster.cells.len());
    match cluster.nodes.iter().find(|node| node.name == shard.owner) {
        Some(node) => format!("{place}, owned by {} at {}, epoch {}", node.name, node.grpc, shard.epoch),
        None => format!("{place}, which nobody owns, epoch {}", shard.epoch),
    }
}

fn shards(shards: &[ClusterShard]) -> View {
    let rows = shards.iter().map(|shard| {
        let owner = if shard.owner.is_empty() { "nobody" } else { &shard.owner };
        [shard.number.to_string(), shard.cell.to_string(), owner.to_owned(), shard.epoch.to_string()]
    });
    table([number("shard"), number("cell"), text("owner").toned(Tone::of_state), number("epoch")], rows)
}

fn describe(cluster: &GetClusterResponse) -> View {
    let shards = format!("{} of {} have an owner", cluster.shards_owned, cluster.shards_total);
    let moved = format!(
        "{} claimed, {} handed over, {} lost with {} leases, since it started",
        cluster.shards_claimed, cluster.shards_handed_over, cluster.shards_lost, cluster.leases_lost
    );
    let mut known = vec![("shards", shards), ("seen by", cluster.node.clone()), ("there", moved)];
    if let [cell] = &*cluster.cells {
        known.extend(seen(cell).map(|seen| ("database", seen)));
    }
    let columns = [
        text("node"),
        text("state").toned(Tone::of_state),
        number("shards"),
        number("weight").spare(2),
        text("version").spare(1),
        text("configuration").spare(3),
        text("callers"),
    ];
    let rows = cluster.nodes.iter().map(|node| row(node, cluster.cells.len()));
    let nodes = facts(known).apart(table(columns, rows));
    if cluster.cells.len() < 2 {
        return nodes;
    }
    let columns = [number("cell"), text("shards"), text("database")];
    let rows = cluster.cells.iter().map(|cell| {
        let owned = format!("{} of {} have an owner", cell.shards_owned, cell.shards_total);
        [cell.number.to_string(), owned, seen(cell).unwrap_or_else(|| "answers".to_owned())]
    });
    nodes.apart(table(columns, rows))
}

/// Why what is shown of it may be out of date.
fn seen(cell: &ClusterCell) -> Option<String> {
    match (cell.fault.as_str(), cell.seen_ms_ago / 1_000) {
        ("", 0..=2) => None,
        ("", ago) => Some(format!("seen {ago} s ago")),
        (fault, ago) => Some(format!("does not answer, seen {ago} s ago: {fault}")),
    }
}

fn row(node: &ClusterNode, cells: usize) -> [String; 7] {
    let state = match node.state() {
        NodeState::Alive => "alive",
        NodeState::Draining => "draining",
        NodeState::Dead => "dead",
        NodeState::Unspecified => "unknown",
    };
    let lives = node.cells.len();
    let state =
        if (1..cells).contains(&lives) { format!("{state} in {lives} of {cells} cells") } else { state.to_owned() };
    [
        node.name.clone(),
        state,
        node.shards.to_string(),
        node.weight.to_string(),
        node.version.clone(),
        node.config.clone(),
        node.grpc.clone(),
    ]
}
