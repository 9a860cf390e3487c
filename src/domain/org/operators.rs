//! What operators ask of an org: forget, inspect.

use smallvec::smallvec;

use super::{
    Context, News, OrgState,
    tables::{baseline_row, execution_row},
};
use crate::domain::{
    command::{Acquire, Known},
    events::Change,
    ids::{Amounts, Meter, Scope},
    policy::BalanceSource,
    reply::{Audit, Purged, Snapshot, Status},
    rows::{Row, RowKind},
    scopes::Scopes,
};

impl OrgState {
    /// What is stored, for the receipt of a purge that follows at once. Of rows that are not loaded with the org the loaded
    /// ones say how many there are; the ends of reservations are counted with the request ids that ended them.
    pub fn take_stored(&mut self, stored: &[Row]) {
        self.counted.clear();
        for row in stored {
            self.found(row.kind(), 1);
            if let Row::Head(head) = row {
                self.found(RowKind::RequestId, head.kept.count);
                self.found(RowKind::IdPage, head.kept.pages_to.saturating_sub(head.kept.pages_from));
            } else if let Row::UsageKept(kept) = row {
                self.found(RowKind::UsageDay, kept.days);
                self.found(RowKind::UsageMonth, kept.months);
            }
        }
    }

    fn found(&mut self, kind: RowKind, rows: u64) {
        if rows > 0 {
            let count = self.counted.entry(kind).or_default();
            *count = count.saturating_add(rows);
        }
    }

    /// The log of events goes with the rest: that it was purged is announced, and answered.
    pub(in crate::domain) fn purge_all(&mut self, ctx: &Context<'_>) -> Purged {
        let existed = self.is_known();
        let purged = existed.then(|| Change::new("records", "kept", ""));
        self.operated("PurgeOrg", purged.into_iter().collect(), ctx);
        let mut rows = std::mem::take(&mut self.counted);
        let billed_later = rows.remove(&RowKind::Outbox).unwrap_or(0);
        let Self { now, clocks, writes, .. } = *self;
        let outbox = std::mem::take(&mut self.outbox).kept_over_a_wipe();
        let freed = self.names.row().map(|row| row.claimed(ctx.org).cloned().collect()).unwrap_or_default();
        let names = self.names.kept_over_a_wipe(ctx.org, now);
        let (node, events) = (self.node.clone(), self.events.begun_again());
        let news = News { pools_touched: !self.pools.is_empty(), ..std::mem::take(&mut self.news) };
        let (wipe, purged, changed) = (existed, existed, existed);
        *self =
            Self { now, clocks, writes, outbox, names, news, node, events, wipe, purged, changed, ..Self::default() };
        Purged { existed, rows, billed_later, names: freed, at: now }
    }

    pub(in crate::domain) fn status(&mut self, scopes: &Scopes, known: Known, ctx: &Context<'_>) -> Box<Status> {
        let mut decision = self.peek(Acquire::of(scopes.clone(), smallvec![(Meter::executions(), 1)]), known, ctx);
        self.forecast(&mut decision.limits, ctx);
        let (plan, frozen) = (ctx.policy.plan.clone(), self.frozen.is_some());
        let (is_known, lately) = (self.is_known(), self.denials.lately(self.now));
        let name = self.name(ctx.org);
        let asks_provider = ctx.policy.balance.source == BalanceSource::Provider;
        Box::new(Status { decision, frozen, plan, is_known, lately, asks_provider, name })
    }

    pub(in crate::domain) fn inspect(&mut self, ctx: &Context<'_>) -> Option<Box<Snapshot>> {
        self.is_known().then(|| Box::new(self.snapshot(ctx)))
    }

    pub(in crate::domain) fn audit(&self) -> Option<Audit> {
        self.is_known().then(|| self.book.audit(self.now))
    }

    /// What of the rows does not fit together; for every load.
    pub fn audit_rows(&self) -> Audit {
        self.book.audit_rows()
    }

    pub(super) fn is_known(&self) -> bool {
        self.stored || self.changed
    }

    pub(super) fn snapshot(&mut self, ctx: &Context<'_>) -> Snapshot {
        let mut limits = self.peek(Acquire::of(Scopes::org(), Amounts::new()), Known::default(), ctx).limits;
        let used = self.book.ledger_views();
        let mut scopes: Vec<Scope> =
            used.iter().map(|view| view.scope.clone()).chain(ctx.policy.scopes.keys().cloned()).collect();
        scopes.sort_unstable();
        scopes.dedup();
        for scope in scopes.into_iter().filter(|scope| !scope.is_org()) {
            let of_scope = self.peek(Acquire::of(scope.into(), Amounts::new()), Known::default(), ctx).limits;
            limits.extend(of_scope.into_iter().filter(|view| !view.scope.is_org()));
        }
        self.forecast(&mut limits, ctx);
        let overrides = self.override_views(ctx);
        let pools = self.pool_views(ctx).into_iter().map(|pool| (pool.id, pool.summary)).collect();
        Snapshot {
            plan: ctx.policy.plan.clone(),
            frozen: self.frozen.clone(),
            rate: self.rate,
            limits: limits.into_vec(),
            at: self.clocks.wall,
            ledgers: used,
            counters: self.book.counter_views(),
            reservations: self.book.reservation_views(&self.clocks),
            expired_reservations: self.book.expired_reservations(),
            baselines: self.baselines.iter().map(|(key, value)| baseline_row(key.clone(), value.clone())).collect(),
            executions: self.executions.iter().map(|(id, value)| execution_row(id.clone(), value.clone())).collect(),
            disputed: self.disputed.iter().map(|(_, row)| row.clone()).collect(),
            wake_at: self.wake_at,
            rate_purge_at: self.rate.map(|rate| rate.purge_at(ctx.policy.rate.idle_windows)),
            next_expiry_at: self.book.next_expiry().map(|at| self.clocks.shown(at)),
            seq: self.journal.seq(),
            journal_from: self.journal.from(),
            remembered: self.journal.remembered(),
            evicted: self.journal.evicted(),
            kept: *self.journal.kept(),
            ids_known_from: self.journal.known_from(self.now),
            admitted_total: self.admitted_total,
            exports: self.outbox.rows().cloned().collect(),
            budgets: self.budgets.rows().cloned().collect(),
            sessions: self.sessions.rows().cloned().map(|row| self.session_view(row)).collect(),
            pools,
            overrides,
            frozen_until: self.frozen_until(),
            trial_ended_at: self.alerts.trial_ended_at(),
            usage: self.usage.kept(),
            uncompleted: self.uncompleted,
            names: self.names.row().cloned(),
        }
    }
}
