//! What operators ask: status without consuming, everything kept of an org, and the few writes.
//! What a write changes is in the log of its org, and in that of the node.

use std::{
    future::Future,
    sync::{Arc, PoisonError, atomic::Ordering},
};

use crate::{
    actors::{Disk, Terms},
    bounds::Bound,
    cluster::{keeper::Place, membership::Membership},
    domain::{
        balance::{Balance, BalanceVerdict, DenyReason},
        command::{GetStatus, Inspect, Known, Purge},
        commands::Ask,
        gate::Code,
        ids::{OrgId, Reason, RequestId},
        policy::{BalanceSource, Exemption, JudgedBalance},
        reply::{Purged, Snapshot, Status},
        rows::RowKind,
        scopes::Scopes,
        window::{Millis, iso},
    },
    error::ServiceError,
    ports::{Clock, StoreState},
};

use super::{Call, PurgedView, ReceiverView, Reloaded, Service};

/// This node as it stands.
#[derive(Debug, Clone)]
pub struct NodeView {
    /// Name of this node.
    pub node: String,
    /// `serving`, `draining`, or what is wrong.
    pub health: String,
    /// `sled`, `memory`, or `broken` where none could be opened.
    pub store: &'static str,
    /// When the node started, in milliseconds of service time.
    pub started_at: Millis,
    /// Milliseconds of service time.
    pub now: Millis,
    /// How the wall clock stands to service time.
    pub clock: String,
    /// Orgs in memory.
    pub resident: usize,
    /// The disk of the data directory; `None` where it cannot be seen.
    pub disk: Option<Disk>,
    /// Calls in flight, of both lanes.
    pub in_flight: u32,
    /// Commit groups made durable since the start.
    pub groups: u64,
    /// Milliseconds, and unflushed admissions per org.
    pub write_behind: (u64, u64),
    /// Every bound by its key, with the value in force.
    pub bounds: Vec<(&'static str, u32)>,
    /// Counts the reloads of the configuration since the start.
    pub generation: u64,
    /// What became of the last reload.
    pub reloaded: Arc<Reloaded>,
    /// Names of the plans that are configured.
    pub plans: Vec<String>,
    /// How the receiver of events does; `None` where there is none.
    pub receiver: Option<ReceiverView>,
    /// Purges of which the files may have bytes; `None` where they have none.
    pub purged: Option<PurgedView>,
}

impl Service {
    /// Every limit of the org and of `scopes`, as an Acquire now would see them; nothing is charged.
    pub async fn status(&self, org: &OrgId, scopes: Scopes, call: &Call) -> Result<Status, ServiceError> {
        self.is_admitted(org, call).await?;
        let query = |known| {
            let query = GetStatus { scopes: scopes.clone(), known };
            async move { Ok(*self.ask(org, query, call).await?) }
        };
        self.with_provider(org, query, |status| (status.decision.code(), status.asks_provider), call).await
    }

    /// Runs a query with what only the billing provider knows of the org: the balance at once where the configuration
    /// says so, or with the answer where the org was given such a plan; the exemption where the answer says that it
    /// matters.
    pub(super) async fn with_provider<T, F: Future<Output = Result<T, ServiceError>>>(
        &self,
        org: &OrgId,
        query: impl Fn(Known) -> F,
        seen: impl Fn(&T) -> (Code, bool),
        call: &Call,
    ) -> Result<T, ServiceError> {
        let policy = self.policy(org);
        let until = call.deadline.leaving(self.orgs.rules().bounds.rate_budget_ms);
        let ask = || self.balances.ask(org, policy.balance.deny_stale, until);
        let mut balance = match policy.balance.source {
            BalanceSource::Provider => {
                self.is_no_name(org, call).await?;
                Some(ask().await)
            }
            BalanceSource::None | BalanceSource::NotIncluded | BalanceSource::Included { .. } => None,
        };
        let mut answer = query(Known { balance, exempt: false }).await?;
        if balance.is_none() && seen(&answer).1 {
            balance = Some(ask().await);
            answer = query(Known { balance, exempt: false }).await?;
        }
        let over = seen(&answer).0 == Code::RateLimited;
        if over && policy.rate.exempt == Exemption::IfPaying && self.balances.pays(org, until).await {
            return query(Known { balance, exempt: true }).await;
        }
        Ok(answer)
    }

    /// Everything that is kept of the org; [`ServiceError::UnknownOrg`] where nothing is.
    pub async fn inspect(&self, org: &OrgId, call: &Call) -> Result<Snapshot, ServiceError> {
        let snapshot = self.ask(org, Inspect, call).await?;
        snapshot.map(|snapshot| *snapshot).ok_or_else(|| ServiceError::UnknownOrg(org.clone()))
    }

    /// What the provider says now, past every cache, and what the policy makes of it. Where plans say what is
    /// included, the org's own ledger is asked, which nobody has to refresh.
    pub async fn refresh_balance(
        &self,
        org: &OrgId,
        reason: &Reason,
        call: &Call,
    ) -> Result<JudgedBalance, ServiceError> {
        self.is_no_name(org, call).await?;
        let policy = self.policy(org);
        let verdict = match &policy.balance.source {
            BalanceSource::None | BalanceSource::Provider => self.balances.refresh(org, call.deadline.at).await,
            BalanceSource::NotIncluded => BalanceVerdict::not_included(),
            BalanceSource::Included { limit, overage } => {
                included(limit.amount, *overage, &self.status(org, Scopes::org(), call).await?)
            }
        };
        let judged = policy.balance.judge(verdict);
        let (caller, command, reason) = (call.caller.name(), "RefreshBalance", reason.given());
        let (allowed, decided_by) = (judged.allowed, judged.decided_by);
        let trace_id = call.shown_trace();
        tracing::info!(
            target: "tollgate::audit", %org, caller, command, allowed, decided_by, reason, trace_id, "operator"
        );
        Ok(judged)
    }

    /// Service time.
    pub fn now(&self) -> Millis {
        self.clock.now()
    }

    /// The clocks of the node.
    pub fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// Something happened to the org's balance at the provider: what was known of it no longer counts.
    pub fn balance_changed(&self, org: &OrgId) {
        self.balances.invalidate(org);
    }

    /// Hands the command of an operator to the org, with the reason that was given for it. The org keeps who has changed
    /// what, and the log of the node says it.
    pub async fn operate<C: Ask>(
        &self,
        org: &OrgId,
        command: C,
        reason: &Reason,
        call: &Call,
    ) -> Result<C::Answer, ServiceError> {
        let _recorded = call.part("org", org);
        let terms = call.until(call.deadline.at);
        self.orgs.ask(org, command, Terms { reason: Some(reason), ..terms }).await
    }

    /// Deletes what is stored of the org. The answer is the receipt; the org has nothing left that could keep one, so the
    /// log of the node has it as well.
    pub async fn purge(
        &self,
        org: &OrgId,
        request_id: &RequestId,
        reason: &Reason,
        call: &Call,
    ) -> Result<Purged, ServiceError> {
        let purged = self.operate(org, Purge, reason, call).await?;
        if purged.existed && !call.dry_run {
            let rows: Vec<String> =
                purged.rows.iter().map(|(kind, count)| format!("{} {count}", self.kind_name(*kind))).collect();
            let (rows, kept, at) = (rows.join(", "), purged.billed_later, iso(purged.at));
            let (caller, reason) = (call.caller.name(), reason.given());
            let trace_id = call.shown_trace();
            tracing::info!(
                target: "tollgate::audit", %org, caller, %request_id, rows, kept, at, reason, trace_id, "deletion receipt"
            );
        }
        Ok(purged)
    }

    /// As an export names a kind of rows.
    pub fn kind_name(&self, kind: RowKind) -> &'static str {
        self.dump.kind(kind)
    }

    /// The node as it stands now.
    pub fn view(&self) -> NodeView {
        let rules = self.orgs.rules();
        NodeView {
            node: self.node.clone(),
            health: self.health(),
            store: self.engine.kind(),
            started_at: self.started_at,
            now: self.clock.now(),
            clock: self.clock.state().to_string(),
            resident: self.orgs.resident(),
            disk: self.orgs.headroom().disk(),
            in_flight: self.orgs.in_flight(),
            groups: self.engine.groups(),
            write_behind: self.orgs.write_behind(),
            bounds: Bound::ALL.iter().map(|bound| (bound.name(), rules.bounds.get(*bound))).collect(),
            generation: rules.generation,
            reloaded: self.last_reload(),
            plans: rules.policies.plan_names(),
            receiver: (!rules.webhook_kinds.is_empty()).then(|| self.orgs.receiver()),
            purged: self.purged(),
        }
    }

    /// `serving`, `draining`, or what is wrong.
    pub fn health(&self) -> String {
        match &*self.store.state().borrow() {
            trouble @ (StoreState::Retrying { .. } | StoreState::Lost(_)) => trouble.to_string(),
            StoreState::Up if self.is_leaving() => "draining".into(),
            StoreState::Up => self.stalled_ms().map_or_else(|| self.serving(), stalled),
        }
    }

    /// Who is known is served, whatever is wrong with how others would be known; and what runs has nobody else to
    /// settle with when the disk has no room for more.
    fn serving(&self) -> String {
        let identity = self.identity_troubles.lock().unwrap_or_else(PoisonError::into_inner);
        let troubles = identity.values().cloned().chain(self.low_disk().map(|low| low.to_string()));
        let troubles = troubles.chain(self.membership().and_then(Membership::trouble));
        let troubles = troubles.collect::<Vec<_>>().join("; ");
        if troubles.is_empty() { "serving".into() } else { format!("serving, but {troubles}") }
    }

    /// False while the node drains or leaves, while the store does not answer, and since it is lost. A node among others
    /// has them behind it: without the store it forwards, and where none has it each fails open by itself. If all of them
    /// said that they do not serve, callers would have nobody to ask.
    pub fn is_serving(&self) -> bool {
        let is_able = || self.store.state().borrow().is_up() && self.stalled_ms().is_none();
        !self.is_leaving() && (self.others.is_some() || is_able())
    }

    fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Acquire) || self.is_draining()
    }

    fn place(&self) -> crate::telemetry::ClusterReadings {
        let places = self.others.as_ref().map(|others| others.membership.places()).unwrap_or_default();
        let of_all = |count: fn(&Place) -> u64| places.iter().map(|place| count(place)).sum();
        crate::telemetry::ClusterReadings {
            owned: self.table.owned().len(),
            free: self.table.free(),
            cells: places.len(),
            cells_away: places.iter().filter(|place| place.fault.is_some()).count(),
            moved: [
                of_all(|place| place.claimed),
                of_all(|place| place.handed_over),
                of_all(|place| place.lost),
                of_all(|place| place.lives_lost),
            ],
        }
    }

    /// The numbers that metrics read when they are asked for.
    pub fn readings(&self) -> crate::telemetry::Readings {
        let reloaded = self.last_reload();
        crate::telemetry::Readings {
            started_at: self.started_at,
            resident: self.orgs.resident(),
            disk: self.orgs.headroom().disk(),
            disk_is_low: self.orgs.headroom().is_low(),
            purged_is_late: self.is_purged_late(),
            in_flight: self.orgs.in_flight(),
            turns: self.orgs.turns().readings(),
            cluster: self.place(),
            crashes: self.orgs.crashes(),
            clock: self.clock.state(),
            serving: self.is_serving(),
            oldest_group_ms: self.oldest_group_ms(),
            billing: self.balances.readings(),
            spaced_reports: self.orgs.spaced_reports(),
            pools: self.orgs.pool_totals(),
            open_reservations: self.orgs.open_holds(),
            watches: self.open_watches(),
            webhook_failures: self.orgs.receiver().failures,
            reload: crate::telemetry::ReloadReadings {
                needs_restart: reloaded.needs_restart.len(),
                is_refused: !reloaded.mistakes.is_empty(),
            },
        }
    }
}

/// What health says of a store that does not answer.
fn stalled(waited: Millis) -> String {
    format!("store commit: the disk has not answered for {waited} ms; {} says how long it may", Bound::store_stall_ms)
}

/// What the ledger says of an amount that a plan includes; `None` = unlimited.
fn included(amount: Option<u64>, overage: bool, status: &Status) -> BalanceVerdict {
    let view = status.decision.limits.iter().find(|view| view.name() == BalanceSource::LIMIT);
    let taken = view.map_or(0, |view| view.used.saturating_add(view.reserved));
    let balance = Balance {
        granted: amount,
        remaining: amount.map(|amount| amount.saturating_sub(taken)),
        unlimited: amount.is_none(),
        overage,
        resets_at: view.and_then(|view| view.resets_at),
        authoritative: true,
        stale: None,
    };
    match balance.bound() {
        Some(0) => BalanceVerdict::Denied(DenyReason::Exhausted, balance),
        _ => BalanceVerdict::Allowed(balance),
    }
}
