//! What the store gets: everything changed since the last commit, the timer, and what a sweep removes.

use super::{Context, OrgState};
use crate::{
    bounds::EXECUTION_RETENTION_MS,
    domain::{
        ids::OrgId,
        policy::OrgPolicy,
        rows::{Head, OrgWrite, Row, RowKey, RowKind, TimerRow},
        window::Millis,
    },
};

/// Journal rows removed by one sweep, so that no sweep writes a huge commit.
const JOURNAL_PURGE_MAX: usize = 4096;
/// Journal rows removed by any other commit: more than it adds, so that a busy org keeps up.
const JOURNAL_PURGE_PER_COMMIT: usize = 4;

impl OrgState {
    /// Removes what has run out by now and arms the next timer. Without `may_purge` nothing but
    /// reservations and sessions runs out.
    pub fn sweep(&mut self, ctx: &Context<'_>, may_purge: bool) {
        let policy = self.advance(ctx);
        self.settle_pools(&Context { policy: &policy, ..*ctx });
        let may_purge = may_purge && !self.held;
        if may_purge {
            if self.rate.is_some_and(|rate| rate.purge_at(policy.rate.idle_windows) <= self.now) {
                self.rate = None;
                self.changed = true;
            }
            self.purge_usage();
            self.book.forget_expired(self.now, u64::MAX);
            self.purge_executions();
            self.purge_disputed();
            self.sessions.purge(self.now);
            self.denials.purge(self.now);
            self.events.purge(self.now);
            let (book, sessions, now) = (&self.book, &self.sessions, self.now);
            let is_known = |id| book.reservation(id, now).is_some() || sessions.of_decision(id).is_some();
            self.planes.forget_unless(is_known);
        }
        self.events.position.swept(self.now);
        self.journal.purge(self.now, may_purge, JOURNAL_PURGE_MAX, &mut self.made, &mut self.gone);
        self.wake_at = None;
        self.changed = true;
    }

    /// Slices whose time is over become days, and days become months.
    fn purge_usage(&mut self) {
        let write = self.writes + 1;
        let sliced_from = self.book.sliced_from().into_iter().chain(self.planes.from()).min();
        self.usage.roll_up(self.now, sliced_from, write);
        let mut days = self.book.purge(self.now);
        days.extend(self.planes.purge(self.now));
        self.usage.add_days(days, write);
    }

    /// The next instant at which [`Self::sweep`] has something to do.
    fn next_wake(&mut self, policy: &OrgPolicy) -> Option<Millis> {
        let clocks = self.clocks;
        let rate = self.rate.map(|rate| rate.purge_at(policy.rate.idle_windows));
        let execution = self.executions_from.map(|from| from.saturating_add(EXECUTION_RETENTION_MS));
        let own = [rate, execution, self.journal.next_purge()];
        own.into_iter().chain(self.keepers().map(|keeper| keeper.next_wake(&clocks))).flatten().min()
    }

    /// Nothing is left that a later call could need.
    fn is_spent(&mut self) -> bool {
        self.rate.is_none()
            && self.frozen.is_none()
            && self.journal.is_quiet()
            && self.keepers().iter().all(|keeper| keeper.is_spent())
    }

    /// Whether rows that are not loaded with the org are being read: until that is over, none of them is removed.
    pub fn hold(&mut self, held: bool) {
        self.journal.hold(held);
        self.held = held;
    }

    /// Whether a commit is due.
    pub fn has_changes(&self) -> bool {
        self.changed
    }

    /// Everything changed since the last call as one commit; `None` where nothing was. With
    /// `may_purge` it also removes a few journal rows that have run out.
    pub fn take_write(&mut self, org: &OrgId, policy: &OrgPolicy, may_purge: bool) -> Option<OrgWrite> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        self.writes += 1;
        let (mut puts, mut dels) = (std::mem::take(&mut self.made), std::mem::take(&mut self.gone));
        for keeper in self.keepers() {
            keeper.take_changes(&mut puts, &mut dels);
        }
        let wipe = std::mem::take(&mut self.wipe);
        let mut purged = std::mem::take(&mut self.purged);
        if self.is_spent() {
            let Self { now, clocks, stored, writes, held, .. } = *self;
            let (node, events) = (self.node.clone(), self.events.begun_again());
            *self = Self { now, clocks, writes, held, node, events, ..Self::default() };
            // Usage that stays for billing is the last of an org only where the rest was purged.
            purged |= dels.iter().any(|key| key.kind() == RowKind::Outbox);
            let forgotten = OrgWrite { wipe: true, purged, ..OrgWrite::empty(org) };
            return (wipe || stored).then_some(forgotten);
        }
        puts.extend(self.journal.commit(self.now));
        self.journal.purge(self.now, may_purge, JOURNAL_PURGE_PER_COMMIT, &mut puts, &mut dels);
        self.arm_timer(policy, &mut puts, &mut dels);
        puts.push(Row::Head(self.head()));
        self.stored = true;
        Some(OrgWrite { wipe, puts, dels, purged, ..OrgWrite::empty(org) })
    }

    /// Arms the timer where none is armed or something runs out sooner; an early wake is harmless,
    /// and so a timer is not rewritten with every call.
    fn arm_timer(&mut self, policy: &OrgPolicy, puts: &mut Vec<Row>, dels: &mut Vec<RowKey>) {
        if let Some(next) = self.next_wake(policy)
            && self.wake_at.is_none_or(|armed| next < armed)
        {
            self.wake_at = Some(next);
        }
        if self.wake_at == self.stored_wake {
            return;
        }
        dels.extend(self.stored_wake.map(|wake_at| RowKey::Timer { wake_at }));
        puts.extend(self.wake_at.map(|wake_at| Row::Timer(TimerRow { wake_at })));
        self.stored_wake = self.wake_at;
    }

    fn head(&self) -> Head {
        Head {
            seq: self.journal.seq(),
            journal_from: self.journal.from(),
            last_at: self.now,
            rate: self.rate,
            frozen: self.frozen.clone(),
            wake_at: self.wake_at,
            admitted_total: self.admitted_total,
            evicted: self.journal.evicted(),
            uncompleted: self.uncompleted,
            kept: *self.journal.kept(),
        }
    }
}
