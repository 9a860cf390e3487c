//! One org: all of its state, and the one synchronous step that checks and charges.
//!
//! ```text
//! (OrgState, Command, Context) → Reply, and changes waiting in the state
//! OrgState::take_write         → everything changed since the last call, as one commit
//! ```
//!
//! The caller serialises commands (one actor owns the org), so nothing here can race. A command
//! that is refused changes nothing. `admission` judges and charges, `settlement` books what happened,
//! `placement` finds room for ledgers, `sessions` pay as they go, `pools` pick upstream accounts, `budgets`
//! are limits set meanwhile, `control` is what operators set over everything, `grants` what they add, `resets` what
//! they let begin anew, `spending` is what usage spends of grants, `denials` are kept and explained, `forecast` says what runs out,
//! `overview` is a line of a list,
//! `names` are what it is called, `exports` report to billing, `operators` inspect and forget, `events` keeps what happened,
//! `watch` notices it, `webhook` says how far a webhook has it,
//! `commits` hands it all to the store.

mod admission;
mod budgets;
mod commits;
mod control;
mod denials;
mod events;
mod forecast;
mod grants;
mod names;
mod once;
mod operators;
mod outbox;
mod overview;
mod placement;
mod pools;
mod refund;
mod resets;
mod sessions;
mod settlement;
mod spending;
mod tables;
pub mod takeover;
mod usage;
mod watch;
mod webhook;
mod what_if;

use std::{collections::BTreeMap, mem::take, sync::Arc};

use super::{
    alerts::Alerts,
    book::Book,
    budgets::Budgets,
    commands::{Command, Reply},
    denials::Denials,
    ids::{DecisionId, ExecutionId, OrgId, Reason},
    journal::Journal,
    kept_ids::{Filling, Wanted},
    lease::Now,
    limit::Label,
    overrides::Overrides,
    planes::PlaneDays,
    policy::{OrgPolicy, Plans},
    pools::Pools,
    rate::RateRecord,
    reach::ScopeRules,
    refund::Charge,
    refusal::OrgError,
    rows::{DisputedRow, Keeper, OrgRows, OverrideRow, Row, RowKey, RowKind, RowsByKind},
    scopes::Scopes,
    sessions::Sessions,
    table::Table,
    trace::TraceId,
    usage::KeptUsage,
    window::Millis,
};
use crate::bounds::Bounds;

use events::EventLog;
use names::Names;
use outbox::Outbox;
use spending::SpendingBy;
use tables::{Baseline, BaselineKey, Execution};

pub use events::Operation;
pub use pools::PoolNews;

/// Pages of names that are read before a message, to remove what is in them, and calls that add another one.
const PAGES_READ: usize = 2;
const CALLS_PER_PAGE: usize = 16;
/// The same before a sweep.
const SWEEP_PAGES_READ: usize = 32;

/// What one command is judged by.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The org that is asked.
    pub org: &'a OrgId,
    /// When the command is carried out.
    pub now: Now,
    /// As configured.
    pub policy: &'a Arc<OrgPolicy>,
    /// The plans of the same configuration.
    pub plans: &'a dyn Plans,
    /// Service time from which on it has been; `None` = it is not the policy that the org has in service.
    pub policy_since: Option<Millis>,
    /// The maxima in force.
    pub bounds: &'a Bounds,
    /// Names the decision, should one be made.
    pub decision: DecisionId,
    /// The store has failed: what is decided from memory is flagged.
    pub store_fault: bool,
    /// What the caller may reach of what others have begun; `None` = all.
    pub within: Option<&'a ScopeRules>,
    /// Who asks: the name of the principal, or the address where callers need none.
    pub caller: &'a str,
    /// Why an operator asks; may be empty. A label: the same call with another one is the same call.
    pub reason: &'a Reason,
    /// The trace that the call is a part of.
    pub trace: Option<TraceId>,
}

impl Context<'_> {
    /// Whether what was begun in these scopes is there for the caller.
    fn may_see(&self, scopes: &Scopes) -> bool {
        self.within.is_none_or(|rules| rules.cover(scopes))
    }
}

/// What happened that no reply tells.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct News {
    /// Calls of which something is counted in a ledger that scopes share.
    pub folded: u64,
    /// The first such call of the org, as far as anything of it is kept.
    pub folds: bool,
    /// Outbox rows that were set aside.
    pub set_aside: u64,
    /// Sessions that their planes ended.
    pub ended_sessions: u64,
    /// Sessions whose heartbeats stopped.
    pub expired_sessions: u64,
    /// Reservations that nobody settled in time.
    pub expired_reservations: u64,
    /// Expired reservations that can no longer be committed, because there was no room for them.
    pub forgotten_reservations: u64,
    /// Request ids of durable calls that were forgotten before a day was over, because there was no room for them.
    pub forgotten_request_ids: u64,
    /// They will be.
    pub request_ids_filling: Option<Filling>,
    /// What an operator had set and what has ended by itself.
    pub overrides_ended: Vec<OverrideRow>,
    /// The plan that was set for the org is not configured any more: it has what is configured for it.
    pub plan_missing: bool,
    /// The trial has used up what it includes.
    pub trial_ended: bool,
    /// What operators have done.
    pub operations: Vec<Operation>,
    /// In the order in which it happened.
    pub pools: Vec<PoolNews>,
    /// What pools add up to has changed.
    pub pools_touched: bool,
}

/// All of one org in memory. Commands go in, replies and rows to write come out; it does no I/O.
#[derive(Debug, Default)]
pub struct OrgState {
    /// The latest service time this org has seen; its time never goes backwards.
    now: Millis,
    /// The clocks as it has last seen them.
    clocks: Now,
    /// By which windows are counted, as configured; `None` = by what was in force when they were last written.
    counted_by: Option<Arc<OrgPolicy>>,
    rate: Option<RateRecord>,
    rate_label: Option<Arc<Label>>,
    frozen: Option<Reason>,
    wake_at: Option<Millis>,
    /// The timer as stored.
    stored_wake: Option<Millis>,
    admitted_total: u64,
    book: Book,
    journal: Journal,
    baselines: Table<BaselineKey, Baseline>,
    executions: Table<ExecutionId, Execution>,
    /// None of them was last seen before.
    executions_from: Option<Millis>,
    disputed: Table<u64, DisputedRow>,
    outbox: Outbox,
    uncompleted: u64,
    budgets: Budgets,
    overrides: Overrides,
    /// `None` = no grant lasts until it is spent.
    spending: Option<SpendingBy>,
    sessions: Sessions,
    pools: Pools,
    denials: Denials,
    /// The node that decides.
    node: Arc<str>,
    events: EventLog,
    alerts: Alerts,
    /// At the load, and not looked into yet.
    drift_found: Option<u64>,
    /// Since it was last checked which limits are not used up any more.
    limits_changed: bool,
    /// Where sessions have used compute since their limits were looked into.
    used_compute: Vec<Scopes>,
    usage: KeptUsage,
    planes: PlaneDays,
    names: Names,
    /// What the decision has charged that the running command settles, for what is remembered of it.
    charge_of_settled: Option<Box<Charge>>,
    /// Not announced yet.
    news: News,
    /// Rows to write and to delete that no table tracks.
    made: Vec<Row>,
    gone: Vec<RowKey>,
    /// Writes that were taken since it was loaded.
    writes: u64,
    /// Something waits for the next commit.
    changed: bool,
    /// Rows are stored.
    stored: bool,
    wipe: bool,
    /// The next commit removes something of which nothing is to stay in the files.
    purged: bool,
    /// Rows beside those in memory are being read.
    held: bool,
    /// Rows by kind, as they were stored just now.
    counted: BTreeMap<RowKind, u64>,
}

impl OrgState {
    /// The org as stored. An empty set of rows is an org that was never seen.
    pub fn load(rows: OrgRows, now: Now) -> Self {
        let mut rows = RowsByKind::from(rows);
        let head = rows.heads.pop();
        let stored = head.is_some();
        let head = head.unwrap_or_default();
        // Its own time does not go back either. A clock that is put right brings back its rows.
        let clocks = Now { service: now.service.max(head.last_at), ..now };
        let mut book = Book::load(&mut rows);
        let sessions = Sessions::load(&mut rows);
        for (reservation, paid) in sessions.prepaid() {
            book.prepay(reservation, paid);
        }
        let executions = tables::load_executions(&mut rows);
        let mut pools = Pools::load(&mut rows, &clocks);
        let alerts = Alerts::load(&mut rows, pools.take_announced(), clocks.service);
        let journal = Journal::load(&head, take(&mut rows.journal), take(&mut rows.long_journal));
        Self {
            // The first command moves it on, from where it was.
            now: if stored { head.last_at } else { clocks.service },
            clocks,
            rate: head.rate,
            frozen: head.frozen,
            wake_at: head.wake_at,
            stored_wake: head.wake_at,
            admitted_total: head.admitted_total,
            book,
            baselines: tables::load_baselines(&mut rows),
            executions_from: tables::first_seen(&executions),
            executions,
            disputed: tables::load_disputed(&mut rows),
            outbox: Outbox::load(&mut rows),
            uncompleted: head.uncompleted,
            budgets: Budgets::load(&mut rows),
            overrides: Overrides::load(&mut rows),
            sessions,
            pools,
            denials: Denials::load(&mut rows),
            events: EventLog::load(&mut rows),
            alerts,
            usage: KeptUsage::load(&mut rows),
            planes: PlaneDays::load(&mut rows),
            names: Names::load(&mut rows),
            journal,
            stored,
            ..Self::default()
        }
    }

    /// The same, of a node that is called so where its decisions are explained.
    #[must_use]
    pub fn on(self, node: Arc<str>) -> Self {
        Self { node, ..self }
    }

    /// Everything that owns rows, apart from the journal, whose rows are made by a commit.
    fn keepers(&mut self) -> [&mut dyn Keeper; 15] {
        [
            &mut self.book,
            &mut self.baselines,
            &mut self.executions,
            &mut self.disputed,
            &mut self.outbox,
            &mut self.budgets,
            &mut self.overrides,
            &mut self.sessions,
            &mut self.pools,
            &mut self.denials,
            &mut self.events,
            &mut self.alerts,
            &mut self.usage,
            &mut self.planes,
            &mut self.names,
        ]
    }

    /// Judges one command and carries it out.
    pub fn apply(&mut self, command: &Command, ctx: &Context<'_>) -> Result<Reply, OrgError> {
        let policy = self.advance(ctx);
        let reply = command.carry_out(self, &Context { policy: &policy, ..*ctx }, ctx);
        self.spend(self.now, ctx);
        if self.limits_changed {
            let policy = self.policy_at(self.now, ctx);
            self.announce_freed(&Context { policy: &policy, ..*ctx });
        }
        reply
    }

    /// What the store has to be asked for before these commands are carried out: nothing for plain calls.
    pub fn wanted(&self, commands: &[Command], now: Millis) -> Wanted {
        if commands.iter().any(|command| matches!(command, Command::Purge(_))) {
            return Wanted { all: true, ..Wanted::default() };
        }
        let mut names = Vec::new();
        commands.iter().for_each(|command| command.kept_names(&mut names));
        if names.is_empty() {
            return Wanted::default();
        }
        let pages = PAGES_READ + commands.len() / CALLS_PER_PAGE;
        let (names, pages) = (self.journal.wanted_names(names, now), self.journal.wanted_pages(now, pages));
        Wanted { names, pages, ..Wanted::default() }
    }

    /// The same before a sweep at `now`.
    pub fn wanted_by_sweep(&self, now: Millis) -> Wanted {
        let now = self.now.max(now);
        let pages = self.journal.wanted_pages(now, SWEEP_PAGES_READ);
        Wanted { pages, usage: self.usage.wanted(now), ..Wanted::default() }
    }

    /// What the store has of what was wanted. It counts until this is called again.
    pub fn take_found(&mut self, rows: Vec<Row>) {
        let is_usage = |row: &mut Row| matches!(row, Row::UsageDay(_) | Row::UsageMonth(_));
        let mut rows = rows;
        self.usage.take_found(rows.extract_if(.., is_usage).collect());
        self.journal.take_found(rows);
    }

    /// Writes that were taken so far.
    pub fn writes(&self) -> u64 {
        self.writes
    }

    /// Writes up to this one are on disk.
    pub fn stored_to(&mut self, write: u64) {
        self.journal.stored_to(write, self.now);
        self.usage.stored_to(write);
    }

    /// Moves the org's time on and ends what ended by then. Answers the policy in force.
    fn advance(&mut self, ctx: &Context<'_>) -> Arc<OrgPolicy> {
        self.journal.bound(ctx.bounds.request_id_bytes_per_org.into());
        self.events.bound(ctx.bounds);
        let last = self.now;
        self.clocks = self.clocks.max(ctx.now);
        self.now = self.clocks.service;
        self.expire_sessions(last, ctx);
        self.expire_reservations(last, ctx);
        let policy = self.policy_at(self.now, ctx);
        self.mark_spending(self.now);
        self.settle_windows(&policy, ctx);
        let in_force = Context { policy: &policy, ..*ctx };
        self.roll_pools(&in_force);
        self.settle_alerts(&in_force);
        policy
    }

    /// Once for every change of the policy: a window that ended before the change went over the limits before it, and
    /// what it has over goes on by those that are in force since.
    fn settle_windows(&mut self, policy: &OrgPolicy, ctx: &Context<'_>) {
        let configured = ctx.policy.at(self.now);
        if self.counted_by.as_ref().is_some_and(|known| Arc::ptr_eq(known, configured)) {
            return;
        }
        if let Some(since) = ctx.policy_since {
            let configured_since = ctx.policy.in_force_since(since, self.now);
            let since = configured_since.max(self.overrides.limits_changed_at());
            self.changed |= self.book.settle_windows(policy, since, self.now);
            self.counted_by = Some(configured.clone());
        }
    }

    /// What happened since this was last asked.
    pub fn take_news(&mut self) -> News {
        let forgotten_request_ids = self.journal.take_forgotten();
        let request_ids_filling = self.journal.take_warning(self.now);
        News { forgotten_request_ids, request_ids_filling, ..std::mem::take(&mut self.news) }
    }
}
