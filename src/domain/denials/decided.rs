//! From a decision to its row.

use std::sync::Arc;

use super::{Asked, DenialRow, FullLimit, Operation, Said, Until};
use crate::domain::{
    command::{Acquire, PoolAsk, Run},
    decision::{Decision, LimitView},
    gate::{Fits, Verdict},
    ids::{Amounts, Meter, PoolId},
    lease::Now,
    scopes::Scopes,
    trace::TraceId,
};

/// Limits that a row has of one decision.
const LIMITS_KEPT: usize = 4;

impl Asked {
    /// What an Acquire asks for, or a start of a session.
    pub fn of(ask: &Acquire) -> Self {
        let operation = match ask.run {
            Run::Session(_) | Run::AnySession => Operation::StartSession,
            Run::Execution if ask.with_pause => Operation::ExecuteWithPause,
            Run::Execution => Operation::Execute,
        };
        Self {
            operation,
            scopes: ask.scopes.clone(),
            plane: ask.plane.clone(),
            pool: ask.pool.as_ref().map(|ask| ask.pool.clone()),
            cost: ask.cost.clone(),
            reserve: ask.reserve.clone(),
        }
    }

    /// One account of the pool, past the gates of the org.
    pub fn pick(pool: &PoolId) -> Self {
        let (cost, reserve) = (Amounts::new(), Amounts::new());
        let (scopes, plane) = (Scopes::org(), Default::default());
        Self { operation: Operation::Pick, scopes, plane, pool: Some(pool.clone()), cost, reserve }
    }

    /// The call that asks for this again, and changes nothing.
    pub(in crate::domain) fn again(&self) -> Acquire {
        let run = match self.operation {
            Operation::StartSession => Run::AnySession,
            Operation::Execute | Operation::ExecuteWithPause | Operation::Pick => Run::Execution,
        };
        let pool = self.pool.clone().map(|pool| PoolAsk { pool, pick: self.operation == Operation::Pick });
        let (cost, reserve) = (self.cost.clone(), self.reserve.clone());
        Acquire { run, cost, reserve, pool, ..Acquire::of(self.scopes.clone(), Amounts::new()) }
    }

    /// What it asks of a limit. `slice` is the compute that a session reserves.
    fn of_limit(&self, limit: &LimitView, slice: u64) -> u64 {
        let meter = &limit.label.meter;
        if *meter == Meter::calls() || *meter == Meter::concurrent_sessions() {
            return 1;
        }
        if !self.scopes.counts_in(&limit.scope) {
            return 0;
        }
        let of =
            |amounts: &Amounts| amounts.iter().filter(|(named, _)| named == meter).map(|(_, amount)| *amount).sum();
        let held = if self.operation == Operation::StartSession && *meter == Meter::compute() { slice } else { 0 };
        let (cost, reserve): (u64, u64) = (of(&self.cost), of(&self.reserve));
        cost.saturating_add(reserve).saturating_add(held)
    }
}

impl DenialRow {
    /// A decision that denied, or that let a call through without an evaluated gate; one of its own.
    pub fn of(
        asked: Asked,
        decision: &Decision,
        slice: u64,
        trace: Option<TraceId>,
        now: &Now,
        node: &Arc<str>,
    ) -> Self {
        let denied = decision.reports.denial().map(|(_, denial)| denial);
        let limits = decision.limits.iter().filter(|view| view.limiting).take(LIMITS_KEPT);
        let limits = limits.map(|view| FullLimit::of(view, asked.of_limit(view, slice))).collect();
        let until = match denied.map(|denial| denial.fits) {
            None | Some(Fits::Unknown) => Until::Unknown,
            Some(Fits::Never) => Until::Never,
            Some(Fits::After(wait)) => Until::At(now.wall.saturating_add(wait)),
        };
        Self {
            number: 0,
            asked,
            node: node.clone(),
            shadow: denied.is_some() && decision.allowed,
            mixed: false,
            gates: decision.reports.iter().filter_map(|(gate, verdict)| Some((gate, said(verdict)?))).collect(),
            limits,
            message: decision.message().to_owned(),
            until,
            count: 1,
            first_at: now.service,
            last_at: now.service,
            first: decision.id,
            last: decision.id,
            trace,
        }
    }
}

fn said(verdict: &Verdict) -> Option<Said> {
    match verdict {
        Verdict::Skipped => None,
        Verdict::Passed => Some(Said::Passed),
        Verdict::Denied(denial) => Some(Said::Denied(denial.code)),
        Verdict::Unevaluated(cause) => Some(Said::Unevaluated(*cause)),
    }
}

impl FullLimit {
    fn of(view: &LimitView, asked: u64) -> Self {
        Self {
            texts: view.label.texts.clone(),
            meter: view.label.meter.clone(),
            scope: view.scope.clone(),
            amount: view.amount.unwrap_or(0),
            buffer: view.buffer,
            used: view.used,
            reserved: view.reserved,
            asked,
            fits_at: view.resets_at,
        }
    }
}
