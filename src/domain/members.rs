//! The nodes that share a cell, as the rows of the cell say it: who lives, and who owns which shard.

use std::{fmt, num::NonZeroU16, sync::Arc};

use super::shard::{Epoch, Shard};

/// One life of a node: another one after each start and after each lost lease, drawn at random and never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Incarnation(pub u64);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A node in one of its lives.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId {
    /// The same in each of its lives.
    pub name: Arc<str>,
    /// Which life.
    pub incarnation: Incarnation,
}

/// What a node says of itself when it registers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// `host:port` at which other nodes reach it.
    pub peer: String,
    /// `host:port` at which callers reach it.
    pub grpc: String,
    /// Its part of the shards is this among the sum of all.
    pub weight: NonZeroU16,
    /// The version of its program.
    pub version: String,
    /// A digest of what is configured: nodes that differ in it decide differently.
    pub config: String,
}

/// A node, and how it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Which node, in which of its lives.
    pub id: NodeId,
    /// What it says of itself.
    pub about: About,
}

/// A node as its row says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Which node, in which of its lives.
    pub id: NodeId,
    /// What it says of itself.
    pub about: About,
    /// It gives up what it owns and takes nothing.
    pub is_draining: bool,
    /// When its lease expires, by the clock of the database, to be compared for equality only. `None` = it is dead, for
    /// ever.
    pub expires_at: Option<i64>,
}

/// A shard as its row says it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Holding {
    /// Who owns it, dead or alive; `None` = it was released.
    pub owner: Option<NodeId>,
    /// One more with every claim and release.
    pub epoch: u64,
}

/// A cell as its rows say it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CellView {
    /// When it was read, by the clock of the database, as the leases have it.
    pub at: i64,
    /// Dead ones are forgotten after a day.
    pub members: Vec<Member>,
    /// By the number of the shard.
    pub shards: Vec<Holding>,
}

impl Member {
    /// Without what changes all the time.
    pub fn as_node(&self) -> Node {
        Node { id: self.id.clone(), about: self.about.clone() }
    }
}

impl CellView {
    /// The row of a node that has not died.
    pub fn living(&self, id: &NodeId) -> Option<&Member> {
        self.members.iter().find(|member| member.id == *id && member.expires_at.is_some())
    }

    /// The row of a shard.
    pub fn holding(&self, shard: Shard) -> Option<&Holding> {
        self.shards.get(usize::from(shard.number()))
    }
}

impl Holding {
    /// As commits carry it.
    pub fn as_epoch(&self) -> Epoch {
        Epoch(self.epoch)
    }
}
