//! The rounds of one life of a node: look, mark who is dead, take what is free, give away what is too much.

use std::{collections::HashMap, time::Duration};

use tokio::time::{sleep, timeout};

use super::{Ended, LEAVE_WITHIN, LOOK_EVERY, Running};
use crate::{
    cluster::{
        lease::{Uptime, WatchedLease},
        placement::{self, Owners, Placement, Plan},
    },
    domain::{
        members::{CellView, Member, NodeId},
        shard::{SHARDS, Shard, ShardSet},
    },
};

/// Between two looks where something was just done.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Shards that are handed over in one round, so that a node that joins does not stop a whole cell.
const AT_ONCE: usize = 32;
/// The same where the node goes away: its callers wait for it.
const AT_ONCE_LEAVING: usize = 128;
/// Looks between two removals of the rows of nodes that died long ago.
const LOOKS_PER_FORGETTING: u32 = 1200;

/// What a life remembers from round to round.
#[derive(Debug, Default)]
struct Seen {
    leases: Watched,
    placed: Option<(Vec<placement::Member>, Placement)>,
}

impl Seen {
    /// It is computed again where others are members.
    fn placement(&mut self, shards: &ShardSet, members: Vec<placement::Member>) -> &Placement {
        let same = self.placed.take().filter(|(before, _)| *before == members);
        let placed = same.unwrap_or_else(|| (members.clone(), Placement::new(shards.clone(), members)));
        &self.placed.insert(placed).1
    }
}

impl Running {
    /// Resolves when everything is given up, where that is wished.
    pub(super) async fn work(&self, id: &NodeId) -> Ended {
        let (mut seen, mut told) = (Seen::default(), self.deps.cell.told());
        let (mut leaving, mut looks) = (self.is_leaving.clone(), 0_u32);
        let mut configured = self.configured.clone();
        loop {
            told.borrow_and_update();
            let is_leaving = *leaving.borrow_and_update();
            // The others are not to count with it any more.
            if is_leaving && !self.place.load().is_draining {
                self.ask(self.deps.cell.drain(id, true)).await;
            }
            if configured.has_changed().unwrap_or(false) {
                let config = configured.borrow_and_update().clone();
                if self.ask(self.deps.cell.configured(id, &config)).await.is_none() {
                    configured.mark_changed();
                }
            }
            let is_busy = match self.ask(self.deps.cell.look()).await {
                Some(view) => {
                    let is_busy = self.act(id, &view, &mut seen, is_leaving).await;
                    if is_leaving && self.deps.table.owned_here().is_empty() {
                        return Ended::Left;
                    }
                    is_busy
                }
                None => false,
            };
            looks += 1;
            if looks % LOOKS_PER_FORGETTING == 0 {
                self.ask(self.deps.cell.forget()).await;
            }
            tokio::select! {
                () = sleep(if is_busy { LOOK_AGAIN } else { LOOK_EVERY }) => {}
                _ = told.changed() => {}
                _ = leaving.changed() => {}
            }
        }
    }

    /// One round. Answers whether something was done, so that more may follow.
    async fn act(&self, id: &NodeId, view: &CellView, seen: &mut Seen, is_leaving: bool) -> bool {
        let now = self.uptime();
        let lost = self.deps.table.seen(view, id);
        let is_draining = is_leaving || view.living(id).is_some_and(|own| own.is_draining);
        self.note(|place| {
            place.view = view.clone();
            place.is_draining = is_draining;
            place.seen_at = now.0;
            place.lost += lost.len() as u64;
        });
        if !lost.is_empty() {
            let _ = timeout(LEAVE_WITHIN, self.deps.residents.leave(&lost)).await;
        }
        let mut is_busy = self.mark(seen.leases.see(view, id, now)).await;
        let plan = self.plan(id, view, seen, is_draining);
        is_busy |= self.claim(id, plan.claim.into_iter().collect()).await;
        // What was not answered is released once more.
        let leaving = self.deps.table.leaving_here();
        is_busy |= self.hand_over(id, leaving.iter().chain(plan.give_up).collect()).await;
        is_busy
    }

    /// What follows from what was seen, for this node. Its rows are many, so they are gone before anything is waited for.
    fn plan(&self, id: &NodeId, view: &CellView, seen: &mut Seen, is_draining: bool) -> Plan {
        let now = self.uptime();
        let members = view.members.iter().filter(|member| member.id != *id && seen.leases.is_good(&member.id, now));
        let mut members: Vec<_> = members.filter(|member| !member.is_draining).map(as_member).collect();
        if !is_draining {
            members.push(placement::Member { node: id.name.to_string(), weight: self.deps.about.weight });
        }
        let owners = self.owners(view, id);
        let at_once = if is_draining { AT_ONCE_LEAVING } else { AT_ONCE };
        seen.placement(self.deps.table.shards(), members).plan(&id.name, &owners, at_once)
    }

    /// By the number of the shard: who owns it and lives. What this node owns by its row but not in its memory is free:
    /// it is claimed once more, which settles what is in doubt.
    fn owners<'a>(&self, view: &'a CellView, id: &'a NodeId) -> Owners<'a> {
        let mut owners: Owners<'a> = [None; SHARDS as usize];
        let here = self.deps.table.owned_here();
        for shard in self.deps.table.shards().iter() {
            let Some(slot) = owners.get_mut(usize::from(shard.number())) else { continue };
            *slot = match view.holding(shard).and_then(|row| row.owner.as_ref()) {
                _ if here.contains(shard) && !self.is_lost(shard) => Some(&*id.name),
                Some(owner) if owner.name != id.name && view.living(owner).is_some() => Some(&*owner.name),
                _ => None,
            };
        }
        owners
    }

    /// Whether the store says that this node does not own what it takes for its own: a commit was refused.
    fn is_lost(&self, shard: Shard) -> bool {
        self.deps.table.held(shard).is_some() && self.deps.cell.tenure(shard).is_none()
    }

    pub(super) async fn mark(&self, dead: Vec<(NodeId, i64)>) -> bool {
        let mut is_one_dead = false;
        for (node, expires_at) in dead {
            if self.ask(self.deps.cell.mark(&node, expires_at)).await == Some(true) {
                tracing::warn!(node = %node.name, incarnation = %node.incarnation, "a node is dead: its lease is over");
                is_one_dead = true;
            }
        }
        is_one_dead
    }

    async fn claim(&self, id: &NodeId, free: ShardSet) -> bool {
        if free.is_empty() {
            return false;
        }
        let Some(claimed) = self.ask(self.deps.cell.claim(id, &free)).await else { return false };
        if claimed.is_empty() {
            return false;
        }
        self.deps.table.claimed(&claimed, |shard| Some(self.deps.cell.tenure(shard)?.epoch));
        self.note(|place| place.claimed += claimed.len() as u64);
        tracing::info!(shards = claimed.len(), "claimed");
        self.deps.residents.came(&claimed);
        true
    }

    /// Stops what begins in these shards, waits until what has begun is stored, and lets them go.
    async fn hand_over(&self, id: &NodeId, shards: ShardSet) -> bool {
        if shards.is_empty() {
            return false;
        }
        self.deps.table.leaving(&shards);
        if timeout(LEAVE_WITHIN, self.deps.residents.leave(&shards)).await.is_err() {
            tracing::warn!(within = ?LEAVE_WITHIN, "orgs were still flushing when their shards were handed over");
        }
        if self.ask(self.deps.cell.release(id, &shards)).await.is_some() {
            self.deps.table.released(&shards);
            self.note(|place| place.handed_over += shards.len() as u64);
            tracing::info!(shards = shards.len(), "handed over");
        }
        true
    }
}

fn as_member(member: &Member) -> placement::Member {
    placement::Member { node: member.id.name.to_string(), weight: member.about.weight }
}

/// The leases of the other nodes, as this one has seen them itself.
#[derive(Debug, Default)]
pub(super) struct Watched(HashMap<NodeId, WatchedLease>);

impl Watched {
    /// Answers which of them may be marked, with what the mark has to find.
    pub(super) fn see(&mut self, view: &CellView, id: &NodeId, now: Uptime) -> Vec<(NodeId, i64)> {
        self.0.retain(|node, _| view.living(node).is_some());
        let mut dead = Vec::new();
        for Member { id: node, expires_at, .. } in view.members.iter().filter(|member| member.id != *id) {
            let Some(expires_at) = *expires_at else { continue };
            let lease = self.0.entry(node.clone()).or_insert_with(|| WatchedLease::seen(expires_at, now));
            lease.seen_again(expires_at, now);
            dead.extend(lease.to_mark(now).map(|expires_at| (node.clone(), expires_at)));
        }
        dead
    }

    /// Whether it was renewed within the length of a lease.
    fn is_good(&self, id: &NodeId, now: Uptime) -> bool {
        self.0.get(id).is_some_and(|lease| lease.to_mark(now).is_none())
    }
}
