//! Which node should own which shard: each node computes it by itself from the same rows, and acts on its own part.
//!
//! ```text
//! rows: nodes with weights, owners ─▶ Placement::plan ─┬─▶ claim: free shards that are this node's
//!                                                      └─▶ give up: some of its own, a few in each round
//! ```
//!
//! A shard stays where it is unless there is a reason to move it. So only what is free, too much at one node or missing at
//! another is decided here, by three rules:
//!
//! * **Where a free shard goes** is a rendezvous of shard and nodes: the node with the highest score that has room. Room is
//!   its weighted share of all shards, rounded up. While some node has less than nine tenths of its share, only those count.
//! * **Who gives up**: a node above its share, rounded up, and where that and what is free is not enough to bring each node to nine
//!   tenths, those above their share, rounded down, one each.
//! * **What is given up** is what the nodes with room have the highest scores for. A node that comes back gets mostly
//!   what it had.
//!
//! Rendezvous: D. Thaler, C. Ravishankar, *Using name-based mappings to increase hit rates* (1998); its weights, score
//! `weight / -ln(hash)`: C. Schindelhauer, G. Schomaker, *Weighted distributed hash tables* (2005); room: V. Mirrokni,
//! M. Thorup, M. Zadimoghaddam, *Consistent hashing with bounded loads* (2018). Scores are whole numbers, so that machines of
//! every kind compute the same.

use std::{cmp::Ordering, num::NonZeroU16};

use sha2::{Digest, Sha256};

use crate::domain::shard::{SHARDS, Shard, ShardSet};

/// A node that lives and is not draining.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name, the same in each of its incarnations.
    pub node: String,
    /// Its part of the shards is this among the sum of all.
    pub weight: NonZeroU16,
}

/// Who owns what, by the number of the shard: `None` where nobody does, or a node whose lease is over, and for shards that
/// are not placed.
pub type Owners<'a> = [Option<&'a str>; SHARDS as usize];

/// What one node should do in one round.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Free shards that are to be its own. They have no owner, so they are not rationed.
    pub claim: Vec<Shard>,
    /// Shards of its own that are to be released, those that matter most first.
    pub give_up: Vec<Shard>,
}

/// Of the shards, the part of one node.
#[derive(Debug, Clone, Copy)]
struct Share {
    /// Below it, others give up for it.
    least: usize,
    /// Its share, rounded down.
    down: usize,
    /// Its share, rounded up.
    up: usize,
}

#[derive(Debug)]
struct Ranked {
    node: String,
    weight: u64,
    share: Share,
    /// `-log2` of the hash of node and shard, by the number of the shard. The lower by weight, the higher the score.
    costs: Vec<u64>,
}

/// The nodes that shards are placed on.
#[derive(Debug)]
pub struct Placement {
    shards: ShardSet,
    nodes: Vec<Ranked>,
}

impl Placement {
    /// Of these shards on these nodes, in any order. A name that occurs twice counts once.
    pub fn new(shards: ShardSet, mut members: Vec<Member>) -> Self {
        members.sort_by(|a, b| (&a.node, a.weight).cmp(&(&b.node, b.weight)));
        members.dedup_by(|a, b| a.node == b.node);
        let weights: usize = members.iter().map(|member| usize::from(member.weight.get())).sum();
        let ranked = |member: Member| Ranked {
            share: share(shards.len(), member.weight.get().into(), weights),
            costs: costs(&member.node),
            weight: member.weight.get().into(),
            node: member.node,
        };
        let nodes = members.into_iter().map(ranked).collect();
        Self { shards, nodes }
    }

    /// What the node `me` should do, given who owns what. It gives up at most `most` shards.
    pub fn plan(&self, me: &str, owners: &Owners<'_>, most: usize) -> Plan {
        let own = || self.shards.iter().filter(|shard| owner(owners, *shard) == Some(me)).collect::<Vec<_>>();
        let Some(at) = self.at(me) else {
            let mut leaving = own();
            leaving.truncate(most);
            return Plan { claim: Vec::new(), give_up: leaving };
        };
        let owned = self.owned(owners);
        let surplus = self.surplus(&owned, owners).get(at).map_or(0, |surplus| most.min(*surplus));
        let give_up = if surplus > 0 { self.chosen(at, own(), &owned, surplus) } else { Vec::new() };
        let claim = self.assigned(owners, owned).into_iter().filter(|(_, node)| *node == at);
        Plan { claim: claim.map(|(shard, _)| shard).collect(), give_up }
    }

    fn at(&self, node: &str) -> Option<usize> {
        self.nodes.binary_search_by(|ranked| ranked.node.as_str().cmp(node)).ok()
    }

    /// How many shards each node owns.
    fn owned(&self, owners: &Owners<'_>) -> Vec<usize> {
        let mut owned = vec![0; self.nodes.len()];
        for at in owners.iter().flatten().filter_map(|node| self.at(node)) {
            owned[at] += 1;
        }
        owned
    }

    /// Which nodes have room: those with less than nine tenths of their share, or else those below their share.
    fn with_room(&self, owned: &[usize]) -> Vec<usize> {
        let below = |bound: fn(&Share) -> usize| {
            let fits = |at: &usize| owned[*at] < bound(&self.nodes[*at].share);
            (0..self.nodes.len()).filter(fits).collect::<Vec<_>>()
        };
        let poor = below(|share| share.least);
        if poor.is_empty() { below(|share| share.up) } else { poor }
    }

    /// Each free shard with the node that it goes to.
    fn assigned(&self, owners: &Owners<'_>, mut owned: Vec<usize>) -> Vec<(Shard, usize)> {
        let mut assigned = Vec::new();
        for shard in self.shards.iter().filter(|shard| owner(owners, *shard).is_none()) {
            let with_room = self.with_room(&owned);
            let Some(at) = with_room.into_iter().min_by(|a, b| self.by_score(shard, *a, *b)) else { break };
            owned[at] += 1;
            assigned.push((shard, at));
        }
        assigned
    }

    /// How many shards each node has to give up.
    fn surplus(&self, owned: &[usize], owners: &Owners<'_>) -> Vec<usize> {
        let shares = || self.nodes.iter().map(|node| node.share).zip(owned);
        let mut surplus: Vec<usize> = shares().map(|(share, owned)| owned.saturating_sub(share.up)).collect();
        let kept: usize = owners.iter().flatten().filter(|node| self.at(node).is_some()).count();
        // What nodes that leave hold is free soon.
        let free = self.shards.len().saturating_sub(kept) + surplus.iter().sum::<usize>();
        let missing: usize = shares().map(|(share, owned)| share.least.saturating_sub(*owned)).sum();
        let donors = shares().enumerate().filter(|(_, (share, owned))| **owned > share.down).map(|(at, _)| at);
        donors.take(missing.saturating_sub(free)).for_each(|at| surplus[at] += 1);
        surplus
    }

    /// Of the shards of node `at`, those for which a node with room scores highest in comparison with it.
    fn chosen(&self, at: usize, own: Vec<Shard>, owned: &[usize], count: usize) -> Vec<Shard> {
        let receivers: Vec<usize> = self.with_room(owned).into_iter().filter(|other| *other != at).collect();
        let best = |shard: Shard| receivers.iter().copied().min_by(|a, b| self.by_score(shard, *a, *b));
        let mut ranked: Vec<(u128, u128, Shard)> = own
            .into_iter()
            .filter_map(|shard| {
                let other = best(shard)?;
                let score = |of: usize, by: usize| self.cost(of, shard) * u128::from(self.nodes[by].weight);
                Some((score(other, at), score(at, other), shard))
            })
            .collect();
        ranked.sort_by(|(a, b, one), (c, d, another)| (a * d).cmp(&(c * b)).then(one.cmp(another)));
        ranked.into_iter().take(count).map(|(_, _, shard)| shard).collect()
    }

    /// The higher score first. Costs have 30 bits and weights 16, so products of four fit into 128.
    fn by_score(&self, shard: Shard, a: usize, b: usize) -> Ordering {
        let by = |at: usize| u128::from(self.nodes[at].weight);
        (self.cost(a, shard) * by(b)).cmp(&(self.cost(b, shard) * by(a))).then(a.cmp(&b))
    }

    fn cost(&self, at: usize, shard: Shard) -> u128 {
        self.nodes[at].costs.get(usize::from(shard.number())).copied().map_or(u128::MAX, u128::from)
    }
}

fn owner<'a>(owners: &Owners<'a>, shard: Shard) -> Option<&'a str> {
    owners.get(usize::from(shard.number())).copied().flatten()
}

fn share(shards: usize, weight: usize, weights: usize) -> Share {
    let shards = shards * weight;
    let down = shards / weights;
    Share { least: down - down / 10, down, up: shards.div_ceil(weights) }
}

/// The first 8 bytes of SHA-256 of the node's name, mixed with the number of each shard by the finaliser of splitmix64
/// (G. Steele, D. Lea, C. Flood, 2014).
fn costs(node: &str) -> Vec<u64> {
    let digest: [u8; 32] = Sha256::digest(node).into();
    let name = digest.iter().take(8).fold(0, |name, byte| name << 8 | u64::from(*byte));
    (0..SHARDS).map(|shard| minus_log2(mix(name ^ mix(shard.into())))).collect()
}

fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}

/// `-log2(hash / 2^64)` in units of 2^-24, at least 1: a bit of the logarithm for each time that the mantissa is squared.
fn minus_log2(hash: u64) -> u64 {
    const BITS: u32 = 24;
    let hash = hash.max(1);
    let mut mantissa = u128::from(hash << hash.leading_zeros());
    let mut log = u64::from(63 - hash.leading_zeros());
    for _ in 0..BITS {
        mantissa = (mantissa * mantissa) >> 63;
        let is_above_two = mantissa >> 64 != 0;
        mantissa >>= u32::from(is_above_two);
        log = log << 1 | u64::from(is_above_two);
    }
    ((64_u64 << BITS) - log).max(1)
}

#[cfg(test)]
mod tests;
