//! What the model remembers of the database, the nodes and the clients.
//!
//! No instant is kept, only how long something still is: what is left of a lease, by the database's clock, and
//! what is left of a validity, by the clock of its node. Nothing in the protocol compares two clocks.

use super::search::Packed;

/// Room for nodes. A node is one incarnation: one that comes back is another node.
pub(crate) const NODES: usize = 3;
/// Room for requests, and for ticks of a lease.
pub(crate) const REQUESTS: u8 = 3;
pub(crate) const TICKS: u8 = 3;

/// The row of a node's lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Row {
    #[default]
    Absent,
    Live,
    /// Marked as expired, by a node that found it expired.
    Dead,
}

/// The database's side of one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Lease {
    pub(crate) row: Row,
    /// Ticks until it has expired.
    pub(crate) left: u8,
    /// A renewal has passed its condition and is not written yet: 1, and what will be left of the lease; 0 is none.
    pub(crate) passed: u8,
    /// For how many ticks a node can have seen this row, up to the length of a lease. Kept only where the database's
    /// clock may jump.
    pub(crate) seen: u8,
}

/// A time that runs by the clock of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Countdown {
    pub(crate) left: u8,
    /// The clock has been slow once since it began.
    pub(crate) slow: bool,
}

impl Countdown {
    pub(crate) fn of(left: u8) -> Self {
        Self { left, slow: false }
    }

    /// A tick of the database later; `None` where the clock of the node was slow before.
    pub(crate) fn after_tick(self, stands: bool) -> Option<Self> {
        match (self.left, stands) {
            (0, _) => Some(self),
            (_, true) if self.slow => None,
            (left, true) => Some(Self { left, slow: true }),
            (left, false) => Some(Self { left: left - 1, slow: self.slow && left > 1 }),
        }
    }
}

/// How a node stands to the shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Hold {
    #[default]
    Nothing,
    /// Claimed, and no row is read yet.
    Claimed,
    /// The rows are in memory: the node believes that it owns the shard, as long as its lease is valid.
    Held,
}

/// What a commit of a node would compare with the shard's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Standing {
    /// Its epoch is an earlier one.
    #[default]
    Old,
    /// Its epoch is the shard's, and its sequence is not.
    Behind,
    /// Both are the shard's.
    Next,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Node {
    /// How long it may answer.
    pub(crate) valid: Countdown,
    /// A renewal is under way: how long it may answer if that succeeds, counted since before it was sent.
    pub(crate) pending: Countdown,
    /// It is the renewal under way that has passed its condition.
    pub(crate) awaits: bool,
    /// The renewal is written and its answer is under way. Only where that makes a difference.
    pub(crate) renewed: bool,
    pub(crate) hold: Hold,
    pub(crate) standing: Standing,
    /// Requests that its memory has, a bit each.
    pub(crate) applied: u8,
    /// A request that is decided and whose commit is sent. Any time may pass before that is carried out.
    pub(crate) commits: Option<u8>,
}

impl Node {
    /// It may answer from memory now.
    pub(crate) fn answers(&self) -> bool {
        self.hold == Hold::Held && self.valid.left > 0
    }

    /// Forgets the shard. What a commit under way compares stays until it ends.
    pub(crate) fn drop_shard(&mut self) {
        (self.hold, self.applied) = (Hold::Nothing, 0);
        if self.commits.is_none() {
            self.standing = Standing::Old;
        }
    }

    /// Its commit has ended, with the shard kept or not.
    pub(crate) fn end_commit(&mut self, keeps: bool) {
        self.commits = None;
        if !keeps || self.hold == Hold::Nothing {
            self.drop_shard();
        }
    }

    pub(crate) fn end_renewal(&mut self) {
        (self.pending, self.awaits, self.renewed) = (Countdown::default(), false, false);
    }
}

/// The ledger of the shard, as far as the properties speak of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Ledger {
    /// Requests that it has, a bit each.
    pub(crate) requests: u8,
    /// Its last entry is of the shard's epoch, not of an earlier one.
    pub(crate) is_of_epoch: bool,
    pub(crate) twice: bool,
    pub(crate) gap: bool,
    pub(crate) out_of_order: bool,
}

impl Ledger {
    /// Adds an entry that was written by a node with this standing.
    pub(crate) fn add(&mut self, standing: Standing, request: u8) {
        self.twice |= self.requests & 1 << request != 0;
        self.gap |= standing == Standing::Behind;
        self.out_of_order |= self.is_of_epoch && standing == Standing::Old;
        self.requests |= 1 << request;
        self.is_of_epoch = standing != Standing::Old;
    }
}

/// Epochs and sequences have no numbers here, only what compares them ([`Standing`]), so there may be any number of
/// takeovers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct State {
    pub(crate) leases: [Lease; NODES],
    /// The row of the one shard.
    pub(crate) owner: Option<u8>,
    pub(crate) ledger: Ledger,
    /// Commits at the shard's epoch and sequence that nobody waits for and that may still be carried out, a bit for
    /// each request. All others would be refused.
    pub(crate) late_commits: u8,
    /// A release at the shard's epoch that may still be carried out.
    pub(crate) late_release: bool,
    pub(crate) nodes: [Node; NODES],
    /// Requests that a client has an answer to, a bit each.
    pub(crate) acknowledged: u8,
    /// A lease that was marked as expired is live again.
    pub(crate) revived: bool,
}

impl State {
    /// The shard has the next epoch. Whatever was under way at the one before is refused from now on.
    pub(crate) fn next_epoch(&mut self) {
        (self.late_commits, self.late_release, self.ledger.is_of_epoch) = (0, false, false);
        for node in &mut self.nodes {
            node.standing = Standing::Old;
        }
    }

    /// The shard has the next sequence number.
    pub(crate) fn next_seq(&mut self) {
        self.late_commits = 0;
        for node in self.nodes.iter_mut().filter(|node| node.standing == Standing::Next) {
            node.standing = Standing::Behind;
        }
    }

    /// Which node is which makes no difference: states that differ in that alone are packed alike.
    pub(crate) fn pack(&self, nodes: u8) -> Packed {
        let mut words = [0; NODES];
        for (n, word) in words.iter_mut().enumerate().take(nodes.into()) {
            let owns = self.owner.is_some_and(|owner| usize::from(owner) == n);
            *word = pack_node(&self.leases[n], &self.nodes[n]) << 1 | u32::from(owns);
        }
        words.sort_unstable();
        let ledger = &self.ledger;
        let mut shard = ledger.requests as u32;
        shard = shard << 3 | self.acknowledged as u32;
        shard = shard << 3 | self.late_commits as u32;
        shard = shard << 1 | self.late_release as u32;
        shard = shard << 1 | self.revived as u32;
        shard = shard << 1 | ledger.is_of_epoch as u32;
        shard = shard << 3 | (ledger.twice as u32) << 2 | (ledger.gap as u32) << 1 | ledger.out_of_order as u32;
        u128::from(shard) << 96 | u128::from(words[0]) << 64 | u128::from(words[1]) << 32 | u128::from(words[2])
    }
}

/// A field has as many bits as its largest value needs, in the sizes that `State` has room for.
fn pack_node(lease: &Lease, node: &Node) -> u32 {
    let mut word = lease.row as u32;
    word = word << 2 | lease.left as u32;
    word = word << 3 | lease.passed as u32;
    word = word << 2 | lease.seen as u32;
    word = word << 3 | (node.valid.left as u32) << 1 | node.valid.slow as u32;
    word = word << 3 | (node.pending.left as u32) << 1 | node.pending.slow as u32;
    word = word << 2 | (node.awaits as u32) << 1 | node.renewed as u32;
    word = word << 4 | (node.hold as u32) << 2 | node.standing as u32;
    word = word << 3 | node.applied as u32;
    word << 2 | node.commits.map_or(0, |request| request as u32 + 1)
}
