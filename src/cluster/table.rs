//! Which node answers for which shard, as this node knows it: read by every call, written by a [`super::keeper`] of each
//! cell, for the [`Part`] that the cell has.
//!
//! A node answers for a shard while it owns it *and* its lease in that cell is valid, so both are asked at the instant of a
//! decision. What another node owns is only where to send a call: if that is no longer so, it says so.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::lease::Uptime;
use crate::{
    domain::{
        ids::OrgId,
        members::{CellView, Node, NodeId},
        shard::{Epoch, SHARDS, Shard, ShardSet},
    },
    ports::Clock,
};

/// A lease, its mark and a claim take less.
const TAKEOVER_MS: u64 = 2_500;
/// Of a node that is alone: it owns everything, and nobody takes it away.
const FOR_EVER: u64 = u64::MAX;

/// Where calls for a shard go.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Slot {
    Here(Epoch),
    /// What has reached it is finished; nothing new begins.
    Leaving(Epoch),
    There(Arc<Node>, Epoch),
    /// Since this uptime, in milliseconds.
    Nobody(u64),
}

impl Slot {
    fn held(&self) -> Option<Epoch> {
        match self {
            Self::Here(epoch) | Self::Leaving(epoch) => Some(*epoch),
            Self::There(..) | Self::Nobody(_) => None,
        }
    }
}

/// Which node owns an org, as far as this one knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// This one.
    Here,
    /// Another one, under this epoch.
    There(Arc<Node>, Epoch),
    /// None, or it is not known yet.
    Nobody,
}

/// Whether this node may decide for a shard at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It may.
    Owned,
    /// It owns the shard as far as it knows, but its lease may be over: another node may own it by now.
    Lapsed,
    /// Nobody owns it, as far as this node knows.
    Free,
    /// It does not own it, or no longer under that epoch.
    Elsewhere,
}

/// Which node answers for which shard.
#[derive(Debug)]
pub struct Table {
    /// `None` = this node is alone.
    clock: Option<Arc<dyn Clock>>,
    slots: ArcSwap<Vec<Slot>>,
    /// By the number of the cell: uptime in milliseconds until which this node may answer from memory.
    valid_until: Vec<AtomicU64>,
    changes: watch::Sender<u64>,
    /// The cells change their parts one after the other.
    changing: Mutex<()>,
}

impl Table {
    /// Of a node that is alone, and owns everything.
    pub fn alone() -> Arc<Self> {
        Self::of(None, Slot::Here(Epoch::ONLY), vec![FOR_EVER.into()])
    }

    /// Of a node that shares so many cells with others, and owns nothing yet.
    pub fn shared(clock: Arc<dyn Clock>, cells: usize) -> Arc<Self> {
        let since = clock.uptime();
        Self::of(Some(clock), Slot::Nobody(since), (0..cells.max(1)).map(|_| 0.into()).collect())
    }

    fn of(clock: Option<Arc<dyn Clock>>, slot: Slot, valid_until: Vec<AtomicU64>) -> Arc<Self> {
        let slots = ArcSwap::from_pointee(vec![slot; SHARDS.into()]);
        Arc::new(Self { clock, slots, valid_until, changes: watch::Sender::new(0), changing: Mutex::default() })
    }

    /// What each cell has of it.
    pub fn parts(self: &Arc<Self>) -> Vec<Part> {
        let cells = self.valid_until.len();
        (0..cells).map(|cell| Part { table: self.clone(), cell, shards: ShardSet::of_cell(cell, cells) }).collect()
    }

    /// Whether this node owns everything for ever.
    pub fn is_alone(&self) -> bool {
        self.clock.is_none()
    }

    /// Which node owns the org.
    pub fn owner(&self, org: &OrgId) -> Owner {
        if self.is_alone() {
            return Owner::Here;
        }
        match self.slot(Shard::of(org)) {
            Slot::Here(_) => Owner::Here,
            Slot::There(node, epoch) => Owner::There(node, epoch),
            Slot::Leaving(_) | Slot::Nobody(_) => Owner::Nobody,
        }
    }

    /// For how long it is worth waiting that the org has an owner, in milliseconds: a takeover takes no longer, and where
    /// nobody has owned it for longer something is wrong that waiting does not mend.
    pub fn patience(&self, org: &OrgId) -> u64 {
        let Some(clock) = &self.clock else { return 0 };
        let shard = Shard::of(org);
        let since = match self.slot(shard) {
            Slot::Nobody(since) => since,
            Slot::Here(_) => self.valid_until(shard).min(clock.uptime()),
            Slot::Leaving(_) | Slot::There(..) => clock.uptime(),
        };
        since.saturating_add(TAKEOVER_MS).saturating_sub(clock.uptime())
    }

    /// Uptime in milliseconds until which this node may answer from memory for the shard.
    fn valid_until(&self, shard: Shard) -> u64 {
        let until = self.valid_until.get(shard.cell(self.valid_until.len()));
        until.map_or(0, |until| until.load(Ordering::Acquire))
    }

    /// Whether this node may answer from memory now.
    fn is_valid(&self, shard: Shard, clock: &dyn Clock) -> bool {
        clock.uptime() < self.valid_until(shard)
    }

    /// Whether this node may decide now for what it has loaded under `epoch`.
    pub fn standing(&self, shard: Shard, epoch: Epoch) -> Standing {
        let Some(clock) = &self.clock else { return Standing::Owned };
        match self.slot(shard).held() {
            Some(held) if held == epoch && self.is_valid(shard, &**clock) => Standing::Owned,
            Some(held) if held == epoch => Standing::Lapsed,
            _ => Standing::Elsewhere,
        }
    }

    /// Whether what is stored of the org may be loaded here to decide by it.
    pub fn may_load(&self, org: &OrgId) -> Standing {
        let Some(clock) = &self.clock else { return Standing::Owned };
        let shard = Shard::of(org);
        match self.slot(shard) {
            Slot::Here(_) if self.is_valid(shard, &**clock) => Standing::Owned,
            Slot::Here(_) => Standing::Lapsed,
            Slot::Nobody(_) => Standing::Free,
            Slot::Leaving(_) | Slot::There(..) => Standing::Elsewhere,
        }
    }

    /// Whether the org is this node's, and stays so for now.
    pub fn owns(&self, org: &OrgId) -> bool {
        self.owner(org) == Owner::Here
    }

    /// The shards of this node; those that it is about to release are none of them.
    pub fn owned(&self) -> ShardSet {
        if self.is_alone() { ShardSet::all() } else { self.those(|slot| matches!(slot, Slot::Here(_))) }
    }

    /// The shards that nobody owns as far as this node knows.
    pub fn free(&self) -> usize {
        self.slots.load().iter().filter(|slot| matches!(slot, Slot::Nobody(_))).count()
    }

    /// Until the number that it has changes, nothing of this has.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Under which epoch the shard is this node's, for new calls as well.
    pub fn held(&self, shard: Shard) -> Option<Epoch> {
        match self.slot(shard) {
            Slot::Here(epoch) => Some(epoch),
            Slot::Leaving(_) | Slot::There(..) | Slot::Nobody(_) => None,
        }
    }

    fn slot(&self, shard: Shard) -> Slot {
        self.slots.load().get(usize::from(shard.number())).cloned().unwrap_or(Slot::Nobody(0))
    }

    fn those(&self, fits: impl Fn(&Slot) -> bool) -> ShardSet {
        let slots = self.slots.load();
        let numbered = slots.iter().enumerate().filter(|(_, slot)| fits(slot));
        numbered.filter_map(|(number, _)| Shard::numbered(u16::try_from(number).ok()?)).collect()
    }

    fn change(&self, mut change: impl FnMut(Shard, &mut Slot)) {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut slots = self.slots.load().as_ref().clone();
        for (number, slot) in slots.iter_mut().enumerate() {
            if let Some(shard) = u16::try_from(number).ok().and_then(Shard::numbered) {
                change(shard, slot);
            }
        }
        if slots != **self.slots.load() {
            self.slots.store(Arc::new(slots));
            self.changes.send_modify(|count| *count += 1);
        }
    }

    fn nobody(&self) -> Slot {
        Slot::Nobody(self.clock.as_ref().map_or(0, |clock| clock.uptime()))
    }
}

/// What one cell has of a table. Whoever keeps this node's place in the cell writes it.
#[derive(Debug, Clone)]
pub struct Part {
    table: Arc<Table>,
    cell: usize,
    shards: ShardSet,
}

impl Part {
    /// The shards of the cell.
    pub fn shards(&self) -> &ShardSet {
        &self.shards
    }

    /// What its keeper writes to the log says which cell it is of, where there are several.
    pub(super) fn span(&self) -> tracing::Span {
        let cells = self.table.valid_until.len();
        if cells > 1 { tracing::info_span!("cell", number = self.cell + 1, of = cells) } else { tracing::Span::none() }
    }

    /// As [`Table::held`].
    pub(super) fn held(&self, shard: Shard) -> Option<Epoch> {
        self.table.held(shard)
    }

    /// The same for what has reached it.
    #[cfg(test)]
    pub(super) fn held_still(&self, shard: Shard) -> Option<Epoch> {
        self.table.slot(shard).held()
    }

    /// The shards of this node, with those that it is about to release.
    pub(super) fn owned_here(&self) -> ShardSet {
        self.table.those(|slot| slot.held().is_some()).within(&self.shards)
    }

    /// Those that it is about to release.
    pub(super) fn leaving_here(&self) -> ShardSet {
        self.table.those(|slot| matches!(slot, Slot::Leaving(_))).within(&self.shards)
    }

    /// This node may answer from memory until then.
    pub(super) fn valid_until(&self, until: Option<Uptime>) {
        if let Some(valid_until) = self.table.valid_until.get(self.cell) {
            valid_until.store(until.map_or(0, |until| until.0), Ordering::Release);
        }
    }

    fn change(&self, mut change: impl FnMut(Shard, &mut Slot)) {
        self.table.change(|shard, slot| {
            if self.shards.contains(shard) {
                change(shard, slot);
            }
        });
    }

    /// What the rows of the cell say. Answers which shards are no longer those of the node `me`: it has nothing to
    /// finish of them. What it has claimed or released itself it knows better than rows that were read before.
    pub(super) fn seen(&self, view: &CellView, me: &NodeId) -> ShardSet {
        let living = view.members.iter().filter(|member| member.expires_at.is_some() && member.id != *me);
        let living: BTreeMap<_, _> = living.map(|member| (&member.id, Arc::new(member.as_node()))).collect();
        let mut lost = Vec::new();
        self.change(|shard, slot| {
            let Some(row) = view.holding(shard) else { return };
            if slot.held().is_some_and(|held| held >= row.as_epoch()) {
                return;
            }
            if slot.held().is_some() {
                lost.push(shard);
            }
            *slot = match row.owner.as_ref().and_then(|owner| living.get(owner)) {
                Some(node) => Slot::There(node.clone(), row.as_epoch()),
                None if matches!(slot, Slot::Nobody(_)) => return,
                None => self.table.nobody(),
            };
        });
        lost.into_iter().collect()
    }

    /// These are this node's from now on.
    pub(super) fn claimed(&self, claimed: &ShardSet, epoch: impl Fn(Shard) -> Option<Epoch>) {
        self.change(|shard, slot| {
            if let Some(epoch) = claimed.contains(shard).then(|| epoch(shard)).flatten() {
                *slot = Slot::Here(epoch);
            }
        });
    }

    /// Nothing new begins in these.
    pub(super) fn leaving(&self, shards: &ShardSet) {
        self.change(|shard, slot| {
            if let (true, Some(epoch)) = (shards.contains(shard), slot.held()) {
                *slot = Slot::Leaving(epoch);
            }
        });
    }

    /// These are nobody's until another node is seen to have claimed them.
    pub(super) fn released(&self, shards: &ShardSet) {
        self.change(|shard, slot| {
            if shards.contains(shard) && slot.held().is_some() {
                *slot = self.table.nobody();
            }
        });
    }

    /// This node owns nothing any more. Answers what it had.
    pub(super) fn lost(&self) -> ShardSet {
        self.valid_until(None);
        let had = self.owned_here();
        self.released(&had);
        had
    }
}
