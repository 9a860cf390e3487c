//! What the store gets: everything changed since the last commit, the timer, and what a sweep removes.

use super::{Context, OrgState, baseline_row, execution_row};
use crate::{
    bounds::EXECUTION_RETENTION_MS,
    domain::{
        ids::OrgId,
        policy::OrgPolicy,
        rows::{Head, OrgWrite, Row, RowKey},
        window::{HOUR_RETENTION_MS, Millis},
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
        if may_purge {
            if self.rate.is_some_and(|rate| rate.purge_at(policy.rate.idle_windows) <= self.now) {
                self.rate = None;
                self.changed = true;
            }
            self.book.purge(self.now);
            self.purge_executions();
            let now = self.now;
            self.disputed.purge(|_, row| row.at.saturating_add(HOUR_RETENTION_MS) <= now);
            self.sessions.purge(now);
            self.gone.extend(self.journal.purge(self.now, JOURNAL_PURGE_MAX));
        }
        self.wake_at = None;
        self.changed = true;
    }

    pub(super) fn purge_executions(&mut self) {
        let now = self.now;
        let mut uncompleted = 0;
        self.executions.purge(|_, execution| {
            let gone = execution.last_seen.saturating_add(EXECUTION_RETENTION_MS) <= now;
            uncompleted += u64::from(gone && execution.open.is_some());
            gone
        });
        self.uncompleted += uncompleted;
        self.executions_from = self.executions.iter().map(|(_, execution)| execution.last_seen).min();
    }

    /// The next instant at which [`Self::sweep`] has something to do.
    pub(super) fn next_wake(&self, policy: &OrgPolicy) -> Option<Millis> {
        let rate = self.rate.map(|rate| rate.purge_at(policy.rate.idle_windows));
        let execution = self.executions_from.map(|from| from.saturating_add(EXECUTION_RETENTION_MS));
        let disputed = self.disputed.iter().map(|(_, row)| row.at.saturating_add(HOUR_RETENTION_MS)).min();
        let outbox = self.outbox.next_wake();
        let (accounts, journal) = (self.book.next_purge(), self.journal.next_purge());
        let (sessions, pools) = (self.sessions.next_wake(), self.pools.next_wake());
        let candidates = [rate, execution, disputed, outbox, accounts, journal, sessions, pools];
        candidates.into_iter().flatten().min()
    }

    /// Nothing is left that a later call could need.
    pub(super) fn is_spent(&self) -> bool {
        self.rate.is_none()
            && self.frozen.is_none()
            && self.book.is_empty()
            && self.baselines.is_empty()
            && self.executions.is_empty()
            && self.disputed.is_empty()
            && self.outbox.is_empty()
            && self.budgets.is_empty()
            && self.sessions.is_empty()
            && self.pools.is_empty()
            && self.trial_ended_at.is_none()
            && self.journal.is_quiet()
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
        let (mut puts, mut dels) = (Vec::new(), std::mem::take(&mut self.gone));
        self.book.take_changes(&mut puts, &mut dels);
        let wipe = std::mem::take(&mut self.wipe);
        if self.is_spent() {
            let (now, seq, stored) = (self.now, self.journal.seq(), self.stored);
            *self = Self { now, ..Self::default() };
            return (wipe || stored).then(|| OrgWrite {
                org: org.clone(),
                seq,
                wipe: true,
                puts: vec![],
                dels: vec![],
            });
        }
        self.take_tables(&mut puts, &mut dels);
        if may_purge {
            dels.extend(self.journal.purge(self.now, JOURNAL_PURGE_PER_COMMIT));
        }
        puts.extend(self.journal.commit(self.now));
        self.arm_timer(policy, &mut puts, &mut dels);
        puts.push(Row::Head(self.head()));
        self.stored = true;
        Some(OrgWrite { org: org.clone(), seq: self.journal.seq(), wipe, puts, dels })
    }

    pub(super) fn take_tables(&mut self, puts: &mut Vec<Row>, dels: &mut Vec<RowKey>) {
        for ((scope, source, meter), baseline) in self.baselines.take_dirty() {
            match baseline {
                Some(value) => puts.push(Row::Baseline(baseline_row(scope, source, meter, value))),
                None => dels.push(RowKey::Baseline { scope, source, meter }),
            }
        }
        for (id, execution) in self.executions.take_dirty() {
            match execution {
                Some(value) => puts.push(Row::Execution(execution_row(id, &value))),
                None => dels.push(RowKey::Execution { id }),
            }
        }
        self.outbox.take_changes(puts, dels);
        self.budgets.take_changes(puts, dels);
        self.sessions.take_changes(puts, dels);
        self.pools.take_changes(puts, dels);
        let told = self.trial_ended_at.filter(|_| std::mem::take(&mut self.trial_changed));
        puts.extend(told.map(|at| Row::TrialEnded { at }));
        for (seq, row) in self.disputed.take_dirty() {
            match row {
                Some(row) => puts.push(Row::Disputed(row)),
                None => dels.push(RowKey::Disputed { seq }),
            }
        }
    }

    /// Arms the timer where none is armed or something runs out sooner; an early wake is harmless,
    /// and so a timer is not rewritten with every call.
    pub(super) fn arm_timer(&mut self, policy: &OrgPolicy, puts: &mut Vec<Row>, dels: &mut Vec<RowKey>) {
        if let Some(next) = self.next_wake(policy)
            && self.wake_at.is_none_or(|armed| next < armed)
        {
            self.wake_at = Some(next);
        }
        if self.wake_at == self.stored_wake {
            return;
        }
        dels.extend(self.stored_wake.map(|wake_at| RowKey::Timer { wake_at }));
        puts.extend(self.wake_at.map(|wake_at| Row::Timer { wake_at }));
        self.stored_wake = self.wake_at;
    }

    pub(super) fn head(&self) -> Head {
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
        }
    }
}
