//! `GetCluster` and `DrainNode`: the nodes that share the store, as this one sees them.

use std::{collections::BTreeSet, sync::Arc};

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
        members::{Member, NodeId},
        shard::{SHARDS, ShardSet},
    },
    error::ServiceError,
    service::{Call, Service},
    wire::{admin::v1 as admin, answers},
};

pub(super) async fn get_cluster(
    service: &Service,
    _: &Call,
    _: admin::GetClusterRequest,
) -> Answer<admin::GetClusterResponse> {
    let Some(keeper) = service.keeper() else { return Ok(alone(service)) };
    let place = keeper.place();
    let owner = |shard| place.view.holding(shard).and_then(|row| row.owner.as_ref());
    let of = |id: &NodeId| ShardSet::all().iter().filter(|shard| owner(*shard) == Some(id)).count();
    let is_owned = |shard: &_| owner(*shard).is_some_and(|owner| place.view.living(owner).is_some());
    let owned = ShardSet::all().iter().filter(is_owned).count();
    Ok(admin::GetClusterResponse {
        node: service.node().into(),
        nodes: place.view.members.iter().map(|member| node(member, of(&member.id))).collect(),
        shards_owned: answers::size(owned),
        shards_free: answers::size(usize::from(SHARDS) - owned),
        shards_total: SHARDS.into(),
        drift: drift(&place),
        seen_ms_ago: answers::int(service.clock().uptime().saturating_sub(place.seen_at)),
        fault: place.fault.as_ref().map(ToString::to_string).unwrap_or_default(),
        shards_claimed: answers::int(place.claimed),
        shards_handed_over: answers::int(place.handed_over),
        shards_lost: answers::int(place.lost),
        leases_lost: answers::int(place.lives_lost),
    })
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

fn node(member: &Member, shards: usize) -> admin::ClusterNode {
    let state = match (member.expires_at, member.is_draining) {
        (None, _) => admin::NodeState::Dead,
        (Some(_), true) => admin::NodeState::Draining,
        (Some(_), false) => admin::NodeState::Alive,
    };
    let about = &member.about;
    admin::ClusterNode {
        name: member.id.name.to_string(),
        incarnation: member.id.incarnation.to_string(),
        state: state.into(),
        shards: answers::size(shards),
        weight: about.weight.get().into(),
        version: about.version.clone(),
        config: about.config.clone(),
        grpc: about.grpc.clone(),
        peer: about.peer.clone(),
    }
}

/// Something happened to the org's balance at the provider: who owns the org forgets what was known of it.
pub async fn balance_changed(service: &Service, org: &OrgId) {
    let call = service.call(RefreshBalance::RPC.method, Arc::new(Principal::anybody()), None);
    let request = admin::RefreshBalanceRequest { org: org.to_string() };
    let forwarded = Forwarded::of(RefreshBalance::RPC, &request);
    let here = |_| async {
        service.balance_changed(org);
        Ok(())
    };
    if let Err(error) = route::to_owner(service, &call, org, &forwarded, here, |_| Ok(())).await {
        tracing::warn!(%org, %error, "the owner of the org was not told that its balance has changed");
    }
}

/// In what the nodes that live differ, though they should not.
fn drift(place: &Place) -> Vec<String> {
    let living: Vec<_> = place.view.members.iter().filter(|member| member.expires_at.is_some()).collect();
    let differ = |what: &str, of: fn(&Member) -> &str| {
        let texts: BTreeSet<_> = living.iter().map(|member| of(member)).collect();
        let names: Vec<_> = living.iter().map(|member| format!("{} ({})", member.id.name, of(member))).collect();
        (texts.len() > 1).then(|| format!("{} differ in their {what}", names.join(", ")))
    };
    let configured = differ("configuration", |member| &member.about.config);
    configured.into_iter().chain(differ("version", |member| &member.about.version)).collect()
}

pub(super) async fn drain_node(
    service: &Service,
    call: &Call,
    request: admin::DrainNodeRequest,
) -> Answer<admin::DrainNodeResponse> {
    let node = if request.node.is_empty() { service.node().to_owned() } else { request.node };
    let unknown = || ServiceError::UnknownNode(node.clone());
    let keeper = service.keeper().ok_or_else(unknown)?;
    if !keeper.drain(&node, !request.undo).await.map_err(ServiceError::Store)? {
        return Err(unknown());
    }
    let (caller, undo) = (call.caller.name(), request.undo);
    tracing::info!(target: "tollgate::audit", caller, command = "DrainNode", node, undo, "operator");
    Ok(admin::DrainNodeResponse { node })
}
