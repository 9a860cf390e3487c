//! `GetCluster` and `DrainNode`: the nodes that share the store, as this one sees them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Answer,
    route::{self, Forwarded},
    table::{Method, RefreshBalance},
};
use crate::{
    auth::Principal,
    cluster::keeper::Place,
    domain::{
        ids::OrgId,
        members::Member,
        shard::{SHARDS, Shard, ShardSet},
    },
    error::ServiceError,
    service::{Call, Service},
    wire::{admin::v1 as admin, answers},
};

pub(super) async fn get_cluster(
    service: &Service,
    _: &Call,
    request: &mut admin::GetClusterRequest,
) -> Answer<admin::GetClusterResponse> {
    let Some(membership) = service.membership() else { return Ok(alone(service)) };
    let (places, now) = (membership.places(), service.clock().uptime());
    let nodes = nodes(&places);
    let cells: Vec<_> = (0..places.len()).zip(&places).map(|(at, place)| cell(at, places.len(), place, now)).collect();
    let of_all = |count: fn(&admin::ClusterCell) -> i64| cells.iter().map(count).sum();
    let moved = |count: fn(&Place) -> u64| answers::int(places.iter().map(|place| count(place)).sum());
    Ok(admin::GetClusterResponse {
        node: service.node().into(),
        drift: drift(&nodes),
        nodes,
        shards_owned: of_all(|cell| cell.shards_owned),
        shards_free: of_all(|cell| cell.shards_free),
        shards_total: SHARDS.into(),
        seen_ms_ago: cells.iter().map(|cell| cell.seen_ms_ago).max().unwrap_or_default(),
        fault: cells.iter().map(|cell| cell.fault.clone()).find(|fault| !fault.is_empty()).unwrap_or_default(),
        shards_claimed: moved(|place| place.claimed),
        shards_handed_over: moved(|place| place.handed_over),
        shards_lost: moved(|place| place.lost),
        leases_lost: moved(|place| place.lives_lost),
        cells,
        shards: if request.shards { shards(&places) } else { Vec::new() },
    })
}

fn cell(at: usize, cells: usize, place: &Place, now: u64) -> admin::ClusterCell {
    let shards = ShardSet::of_cell(at, cells);
    let owner = |shard| place.view.holding(shard).and_then(|row| row.owner.as_ref());
    let owned = shards.iter().filter_map(owner).filter(|owner| place.view.living(owner).is_some()).count();
    admin::ClusterCell {
        number: number(at),
        shards_owned: answers::size(owned),
        shards_free: answers::size(shards.len() - owned),
        shards_total: answers::size(shards.len()),
        seen_ms_ago: answers::int(now.saturating_sub(place.seen_at)),
        fault: place.fault.as_ref().map(ToString::to_string).unwrap_or_default(),
    }
}

fn shards(places: &[Arc<Place>]) -> Vec<admin::ClusterShard> {
    let shard = |shard: Shard| {
        let at = shard.cell(places.len());
        let view = &places.get(at)?.view;
        let row = view.holding(shard)?;
        let owner = row.owner.as_ref().filter(|owner| view.living(owner).is_some());
        Some(admin::ClusterShard {
            number: shard.number().into(),
            cell: number(at),
            owner: owner.map(|owner| owner.name.to_string()).unwrap_or_default(),
            epoch: answers::int(row.epoch),
        })
    };
    ShardSet::all().iter().filter_map(shard).collect()
}

/// As people count them.
fn number(cell: usize) -> i32 {
    i32::try_from(cell + 1).unwrap_or(i32::MAX)
}

/// Each node once, whatever lives it has had, by its name.
fn nodes(places: &[Arc<Place>]) -> Vec<admin::ClusterNode> {
    let mut nodes = BTreeMap::<&str, admin::ClusterNode>::new();
    for (at, place) in places.iter().enumerate() {
        let of = ShardSet::of_cell(at, places.len());
        for member in &place.view.members {
            let known = nodes.entry(&member.id.name).or_insert_with(|| node(member, place.view.at));
            if member.expires_at.is_none() {
                continue;
            }
            if known.cells.is_empty() {
                *known = node(member, place.view.at);
            }
            let owner = |shard| place.view.holding(shard).and_then(|row| row.owner.as_ref());
            known.shards += answers::size(of.iter().filter(|shard| owner(*shard) == Some(&member.id)).count());
            known.cells.push(number(at));
            if member.is_draining {
                known.set_state(admin::NodeState::Draining);
            }
        }
    }
    nodes.into_values().collect()
}

/// A node without others owns everything.
fn alone(service: &Service) -> admin::GetClusterResponse {
    let itself = admin::ClusterNode {
        name: service.node().into(),
        state: admin::NodeState::Alive.into(),
        shards: SHARDS.into(),
        weight: 1,
        version: env!("TOLLGATE_VERSION").into(),
        ..admin::ClusterNode::default()
    };
    admin::GetClusterResponse {
        node: service.node().into(),
        nodes: vec![itself],
        shards_owned: SHARDS.into(),
        shards_total: SHARDS.into(),
        ..admin::GetClusterResponse::default()
    }
}

/// Without what it owns.
fn node(member: &Member, at: i64) -> admin::ClusterNode {
    let state = if member.expires_at.is_some() { admin::NodeState::Alive } else { admin::NodeState::Dead };
    let about = &member.about;
    admin::ClusterNode {
        name: member.id.name.to_string(),
        incarnation: member.id.incarnation.to_string(),
        state: state.into(),
        shards: 0,
        weight: about.weight.get().into(),
        version: about.version.clone(),
        config: about.config.clone(),
        grpc: about.grpc.clone(),
        peer: about.peer.clone(),
        cells: Vec::new(),
        lease_ms: member.expires_at.map_or(0, |expires_at| (expires_at - at) / 1_000),
    }
}

/// Something happened to the org's balance at the provider: who owns the org forgets what was known of it.
pub async fn balance_changed(service: &Service, org: &OrgId) {
    let call = service.call(RefreshBalance::RPC.method, Arc::new(Principal::anybody()), None);
    let request = admin::RefreshBalanceRequest { org: org.to_string(), reason: String::new() };
    let forwarded = Forwarded::of(RefreshBalance::RPC, &request);
    let here = |_| async {
        service.balance_changed(org);
        Ok(())
    };
    if let Err(error) = route::to_owner(service, &call, org, &forwarded, here, |_, _| Ok(())).await {
        tracing::warn!(%org, %error, "the owner of the org was not told that its balance has changed");
    }
}

/// In what the nodes that live differ, though they should not.
fn drift(nodes: &[admin::ClusterNode]) -> Vec<String> {
    let living: Vec<_> = nodes.iter().filter(|node| !node.cells.is_empty()).collect();
    let differ = |what: &str, of: fn(&admin::ClusterNode) -> &str| {
        let texts: BTreeSet<_> = living.iter().map(|node| of(node)).collect();
        let names: Vec<_> = living.iter().map(|node| format!("{} ({})", node.name, of(node))).collect();
        (texts.len() > 1).then(|| format!("{} differ in their {what}", names.join(", ")))
    };
    let configured = differ("configuration", |node| &node.config);
    configured.into_iter().chain(differ("version", |node| &node.version)).collect()
}

pub(super) async fn drain_node(
    service: &Service,
    call: &Call,
    request: &mut admin::DrainNodeRequest,
) -> Answer<admin::DrainNodeResponse> {
    let node = if request.node.is_empty() { service.node().to_owned() } else { std::mem::take(&mut request.node) };
    let unknown = || ServiceError::UnknownNode(node.clone());
    let membership = service.membership().ok_or_else(unknown)?;
    if !membership.drain(&node, !request.undo).await.map_err(ServiceError::Store)? {
        return Err(unknown());
    }
    let (caller, undo, trace_id) = (call.caller.name(), request.undo, call.shown_trace());
    tracing::info!(target: "tollgate::audit", caller, command = "DrainNode", node, undo, trace_id, "operator");
    Ok(admin::DrainNodeResponse { node })
}
