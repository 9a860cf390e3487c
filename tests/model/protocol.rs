//! The steps of lease, claim, commit and reply, and what must hold after each.
//!
//! Nothing forces a step. So every message may be delayed or lost, and every node may stop for ever or for a
//! while, between any two of its steps. A node decides at the instant at which it reads its clock, in one step; what
//! it sends then, a commit or a reply, may leave much later. A statement whose connection is lost may still be
//! carried out, at any time later, and each statement may be carried out twice. What the database does in one
//! statement is one step, except that a renewal is written some time after its condition was evaluated.
//!
//! To have fewer states, some steps are possible more often than in truth, which can only break more: a renewal
//! and a claim that nobody waits for may be carried out at any time, as if one were always under way, and the answer
//! to a renewal or a commit comes at once or never. An answer that comes later finds a shorter validity and the
//! same ledger. For the same reason no clock is fast: its node stops answering earlier than one that is right.

use super::{
    search::{Packed, System},
    state::{Countdown, Hold, Lease, Node, Row, Standing, State},
};

/// A part of the protocol that is left out or done otherwise. With each of them something must break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The protocol as decided.
    None,
    /// A commit compares neither epoch nor sequence.
    NoFence,
    /// A commit compares the epoch alone.
    NoSequence,
    /// The client is answered when the node has decided.
    ReplyBeforeCommit,
    /// A renewal does not ask whether the lease has expired.
    LeaseIsRevived,
    /// A claim reads that a lease has expired, and does not mark it.
    NoMark,
    /// A node marks a lease because the database's clock says that it has expired, without having seen it for as long.
    MarkUnseen,
    /// A node counts the validity of its lease from the receipt of the answer.
    CountedFromReceipt,
    /// A node trusts the lease for as long as the database does, by a clock that may be slow.
    NoMargin,
    /// A node that releases the shard goes on answering.
    ServedAfterRelease,
    /// A node reads the rows before its claim.
    ReadBeforeClaim,
    /// After a lost connection a node assumes that the commit was carried out.
    DoubtMeansCommitted,
    /// After a lost connection a node assumes that the commit was not carried out, and goes on from the shard's row.
    DoubtMeansLost,
    /// After a lost connection a node reads epoch and sequence without raising the epoch.
    DoubtIsOnlyRead,
}

/// What must hold in every state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Property {
    /// At most one node answers from memory.
    OneAnswers,
    /// The memory of a node that answers has what the ledger has.
    MemoryIsExact,
    /// A client that has an answer finds its request in the ledger.
    ReplyFollowsCommit,
    /// The same in the end: what is acknowledged is in the ledger or may still come into it.
    NothingIsLost,
    /// No request is in the ledger twice.
    NothingIsDoubled,
    /// Sequence numbers have no gap.
    NoGap,
    /// No entry follows one of a later epoch.
    EpochsInOrder,
    /// A lease that was marked as expired stays so.
    NoneRevived,
}

const PROPERTIES: [Property; 8] = [
    Property::OneAnswers,
    Property::MemoryIsExact,
    Property::ReplyFollowsCommit,
    Property::NothingIsLost,
    Property::NothingIsDoubled,
    Property::NoGap,
    Property::EpochsInOrder,
    Property::NoneRevived,
];

/// The protocol in one size.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Protocol {
    pub(crate) nodes: u8,
    pub(crate) requests: u8,
    /// Length of a lease in ticks of the database.
    pub(crate) ttl: u8,
    /// The database's clock may jump ahead.
    pub(crate) jumps: bool,
    pub(crate) fault: Fault,
    /// The one property that is judged; `None` is all of them.
    pub(crate) sought: Option<Property>,
}

/// One step. The number is that of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Time passes. The clocks of these nodes, a bit each, stand still meanwhile.
    Tick {
        slow: u8,
    },
    /// The database's clock jumps: by it, every lease has expired.
    Jump,
    SendRenewal(u8),
    /// The condition of a renewal holds; it will be written.
    RenewalPasses(u8),
    /// The same of one that nobody waits for.
    LateRenewalPasses(u8),
    WriteRenewal(u8),
    ReceiveRenewal(u8),
    MarkExpired(u8),
    Claim(u8),
    /// The claim is carried out, and its node does not learn of it.
    LateClaim(u8),
    ReadRows(u8),
    Decide {
        node: u8,
        request: u8,
    },
    /// The request is answered from memory, because it was carried out before.
    Replay {
        node: u8,
        request: u8,
    },
    /// The commit is carried out and the node gets the answer.
    Commit(u8),
    /// The commit is carried out and the connection is lost.
    CommitAndLose(u8),
    /// The connection is lost before the commit is carried out.
    Lose(u8),
    /// The commit is refused by the fence.
    Refuse(u8),
    /// The commit is refused by the sequence alone: another copy of it was carried out, as the shard's row says.
    Recognise(u8),
    /// A second copy of the statement is under way.
    Duplicate(u8),
    LateCommit {
        request: u8,
    },
    Release(u8),
    LateRelease,
}

type Take<'a> = &'a mut dyn FnMut(Action, State);

impl System for Protocol {
    type State = State;
    type Action = Action;
    type Property = Property;

    fn first(&self) -> State {
        State::default()
    }

    fn steps(&self, state: &State, take: Take<'_>) {
        self.time(state, take);
        for n in 0..self.nodes {
            self.renewals(state, n, take);
            self.claims(state, n, take);
            self.commits(state, n, take);
        }
        self.late(state, take);
    }

    fn broken(&self, state: &State) -> Option<Property> {
        let judged = |property: &&Property| self.sought.is_none_or(|sought| sought == **property);
        PROPERTIES.iter().filter(judged).find(|property| !holds(**property, state)).copied()
    }

    fn pack(&self, state: &State) -> Packed {
        state.pack(self.nodes)
    }
}

impl Protocol {
    fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    /// For how many ticks of its own clock a node trusts a lease. A clock loses at most one tick in that time.
    fn validity(&self) -> Countdown {
        Countdown::of(if self.has(Fault::NoMargin) { self.ttl } else { self.ttl - 1 })
    }

    /// One tick of the database, in which the clock of any node may stand still.
    fn time(&self, state: &State, take: Take<'_>) {
        for slow in 0..1_u8 << self.nodes {
            if let Some(next) = self.after_tick(state, slow) {
                take(Action::Tick { slow }, next);
            }
        }
        if self.jumps {
            let mut next = *state;
            for lease in &mut next.leases {
                (lease.left, lease.passed) = (0, lease.passed.min(1));
            }
            take(Action::Jump, next);
        }
    }

    /// `None` where a clock that is said to be slow may not be, or has nothing to count.
    fn after_tick(&self, state: &State, slow: u8) -> Option<State> {
        let mut next = *state;
        for lease in &mut next.leases {
            lease.left = lease.left.saturating_sub(1);
            lease.passed = match lease.passed {
                passed if passed > 2 => passed - 1,
                // Written after its time it only makes a difference where a clock that jumped says that.
                passed => {
                    if self.jumps {
                        passed.min(1)
                    } else {
                        0
                    }
                }
            };
            if self.jumps && lease.row == Row::Live {
                lease.seen = self.ttl.min(lease.seen + 1);
            }
        }
        for (n, (node, lease)) in next.nodes.iter_mut().zip(&next.leases).enumerate() {
            let stands = slow & 1 << n != 0;
            if stands && node.valid.left == 0 && node.pending.left == 0 {
                return None;
            }
            node.valid = node.valid.after_tick(stands)?;
            node.pending = node.pending.after_tick(stands)?;
            node.awaits &= lease.passed > 0;
            if node.pending.left == 0 && !node.renewed {
                node.end_renewal();
            }
        }
        Some(next)
    }

    fn renewals(&self, state: &State, n: u8, take: Take<'_>) {
        let (lease, node) = (lease(state, n), node(state, n));
        let first = lease.row == Row::Absent;
        let revives = self.has(Fault::LeaseIsRevived);
        if node.pending != self.validity() || node.awaits {
            let send = |node: &mut Node| {
                node.end_renewal();
                node.pending = self.validity();
            };
            take(Action::SendRenewal(n), with_node(state, n, send));
        }
        let passes = first || revives || lease.row == Row::Live && lease.left > 0;
        if passes && lease.passed == 0 {
            let passed = with_lease(state, n, |lease| lease.passed = self.ttl + 1);
            if !first {
                take(Action::LateRenewalPasses(n), passed);
            }
            if node.pending.left > 0 && !node.renewed {
                take(Action::RenewalPasses(n), with_node(&passed, n, |node| node.awaits = true));
            }
        }
        if lease.passed > 0 {
            take(Action::WriteRenewal(n), self.write_renewal(state, n));
        }
        if node.renewed {
            let receive = |node: &mut Node| {
                node.valid = self.validity();
                node.end_renewal();
            };
            take(Action::ReceiveRenewal(n), with_node(state, n, receive));
        }
        // Any node that finds a lease expired marks it: for who waits to renew it the row is then another one.
        let seen = !self.jumps || lease.seen == self.ttl || self.has(Fault::MarkUnseen);
        if lease.row == Row::Live && lease.left == 0 && seen && !self.has(Fault::NoMark) {
            take(Action::MarkExpired(n), with_lease(state, n, |lease| (lease.row, lease.seen) = (Row::Dead, 0)));
        }
    }

    /// The row is locked. Where it has changed since, the condition is evaluated again.
    fn write_renewal(&self, state: &State, n: u8) -> State {
        let mut next = *state;
        let at = usize::from(n);
        let (lease, node) = (&mut next.leases[at], &mut next.nodes[at]);
        let writes = lease.row != Row::Dead || self.has(Fault::LeaseIsRevived);
        if writes {
            next.revived |= lease.row == Row::Dead;
            (lease.row, lease.left, lease.seen) = (Row::Live, lease.passed - 1, 0);
        }
        lease.passed = 0;
        match node.awaits {
            true if writes && self.has(Fault::CountedFromReceipt) => (node.awaits, node.renewed) = (false, true),
            true if writes => {
                node.valid = if node.pending.left >= node.valid.left { node.pending } else { node.valid };
                node.end_renewal();
            }
            true => node.end_renewal(),
            false => {}
        }
        next
    }

    fn claims(&self, state: &State, n: u8, take: Take<'_>) {
        let node = node(state, n);
        let early = self.has(Fault::ReadBeforeClaim);
        let rows = |node: &mut Node| (node.hold, node.applied) = (Hold::Held, state.ledger.requests);
        if self.may_claim(state, n) {
            let claimed = self.claim(state, n);
            take(Action::LateClaim(n), claimed);
            let goes_on = |node: &mut Node| {
                node.hold = if early { Hold::Held } else { Hold::Claimed };
                node.standing = Standing::Next;
            };
            let ready = if early { Hold::Claimed } else { Hold::Nothing };
            if node.hold == ready && node.commits.is_none() {
                take(Action::Claim(n), with_node(&claimed, n, goes_on));
            }
        }
        if node.hold == Hold::Claimed && !early {
            take(Action::ReadRows(n), with_node(state, n, rows));
        }
        if node.hold == Hold::Nothing && node.commits.is_none() && early {
            let read = |node: &mut Node| (node.hold, node.applied) = (Hold::Claimed, state.ledger.requests);
            take(Action::ReadRows(n), with_node(state, n, read));
        }
        if node.hold == Hold::Held && node.commits.is_none() {
            let mut next = *state;
            next.late_release |= node.standing != Standing::Old;
            if !self.has(Fault::ServedAfterRelease) {
                next.nodes[usize::from(n)].drop_shard();
            }
            take(Action::Release(n), next);
        }
    }

    /// Whether the shard is free for this node: nobody's, its own, or that of a node whose lease is over.
    fn may_claim(&self, state: &State, n: u8) -> bool {
        let Some(owner) = state.owner else { return true };
        let lease = lease(state, owner);
        let expired = lease.row == Row::Live && lease.left == 0;
        owner == n || lease.row == Row::Dead || expired && self.has(Fault::NoMark)
    }

    fn claim(&self, state: &State, n: u8) -> State {
        let mut next = *state;
        next.owner = Some(n);
        next.next_epoch();
        next
    }

    fn commits(&self, state: &State, n: u8, take: Take<'_>) {
        let node = node(state, n);
        let Some(request) = node.commits else {
            if node.answers() {
                (0..self.requests).for_each(|request| self.decide(state, n, request, take));
            }
            return;
        };
        let passes = match node.standing {
            Standing::Next => true,
            Standing::Behind => self.has(Fault::NoFence) || self.has(Fault::NoSequence),
            Standing::Old => self.has(Fault::NoFence),
        };
        if passes {
            let written = self.commit(state, node.standing, request);
            take(Action::Commit(n), answered(&written, n, request));
            take(Action::CommitAndLose(n), self.lose(&written, n, request));
        } else {
            let refuse = |node: &mut Node| node.end_commit(false);
            take(Action::Refuse(n), with_node(state, n, refuse));
            if node.standing == Standing::Behind {
                take(Action::Recognise(n), answered(state, n, request));
            }
        }
        let mut behind = *state;
        if node.standing == Standing::Next {
            behind.late_commits |= 1 << request;
            take(Action::Duplicate(n), behind);
        }
        take(Action::Lose(n), self.lose(&behind, n, request));
    }

    fn decide(&self, state: &State, n: u8, request: u8, take: Take<'_>) {
        let mut next = *state;
        if node(state, n).applied & 1 << request != 0 {
            next.acknowledged |= 1 << request;
            take(Action::Replay { node: n, request }, next);
            return;
        }
        if self.has(Fault::ReplyBeforeCommit) {
            next.acknowledged |= 1 << request;
        }
        next.nodes[usize::from(n)].commits = Some(request);
        take(Action::Decide { node: n, request }, next);
    }

    /// The statement that compares epoch and sequence and writes the entry.
    fn commit(&self, state: &State, standing: Standing, request: u8) -> State {
        let mut next = *state;
        if self.has(Fault::NoSequence) {
            next.ledger.add(Standing::Next, request);
        } else {
            next.ledger.add(standing, request);
            next.next_seq();
        }
        next
    }

    /// The node's connection is lost before it has the answer to its commit.
    fn lose(&self, state: &State, n: u8, request: u8) -> State {
        let carried_out = answered(state, n, request);
        match self.fault {
            Fault::DoubtMeansCommitted => carried_out,
            Fault::DoubtIsOnlyRead if node(state, n).standing != Standing::Old => {
                let moved = node(state, n).standing == Standing::Behind;
                if moved { carried_out } else { with_node(state, n, |node| node.end_commit(true)) }
            }
            Fault::DoubtMeansLost if node(state, n).standing != Standing::Old => with_node(state, n, |node| {
                node.standing = Standing::Next;
                node.end_commit(true);
            }),
            // What is in doubt is settled by a claim of the shard that is its own already: it raises the epoch.
            _ => with_node(state, n, |node| node.end_commit(false)),
        }
    }

    /// What is carried out on connections that nobody waits for any more.
    fn late(&self, state: &State, take: Take<'_>) {
        for request in (0..self.requests).filter(|request| state.late_commits & 1 << request != 0) {
            take(Action::LateCommit { request }, self.commit(state, Standing::Next, request));
        }
        if state.late_release {
            let mut next = *state;
            next.owner = None;
            next.next_epoch();
            take(Action::LateRelease, next);
        }
    }
}

fn holds(property: Property, state: &State) -> bool {
    let answering = || state.nodes.iter().filter(|node| node.answers());
    let ledger = &state.ledger;
    match property {
        Property::OneAnswers => answering().count() <= 1,
        Property::MemoryIsExact => answering().all(|node| node.commits.is_some() || node.applied == ledger.requests),
        Property::ReplyFollowsCommit => state.acknowledged & !ledger.requests == 0,
        Property::NothingIsLost => state.acknowledged & !ledger.requests & !under_way(state) == 0,
        Property::NothingIsDoubled => !ledger.twice,
        Property::NoGap => !ledger.gap,
        Property::EpochsInOrder => !ledger.out_of_order,
        Property::NoneRevived => !state.revived,
    }
}

/// Requests whose commit may still be carried out, a bit each.
fn under_way(state: &State) -> u8 {
    let passing = state.nodes.iter().filter(|node| node.standing == Standing::Next);
    passing.filter_map(|node| node.commits).fold(state.late_commits, |all, request| all | 1 << request)
}

fn node(state: &State, n: u8) -> &Node {
    &state.nodes[usize::from(n)]
}

fn lease(state: &State, n: u8) -> &Lease {
    &state.leases[usize::from(n)]
}

fn with_node(state: &State, n: u8, change: impl FnOnce(&mut Node)) -> State {
    let mut next = *state;
    change(&mut next.nodes[usize::from(n)]);
    next
}

fn with_lease(state: &State, n: u8, change: impl FnOnce(&mut Lease)) -> State {
    let mut next = *state;
    change(&mut next.leases[usize::from(n)]);
    next
}

/// The node goes on as if its commit was carried out, and the client has its answer.
fn answered(state: &State, n: u8, request: u8) -> State {
    let mut next = *state;
    let node = &mut next.nodes[usize::from(n)];
    if node.hold == Hold::Held {
        node.applied |= 1 << request;
        // The one entry that the shard has since then is its own.
        node.standing = if node.standing == Standing::Behind { Standing::Next } else { node.standing };
    }
    node.end_commit(true);
    next.acknowledged |= 1 << request;
    next
}
