//! Calls besides the life of an execution: continuations, usage after the fact, status, budgets.

use std::collections::BTreeMap;

use super::{
    Client,
    ask::amount,
    call::{Unary, within},
    error::Error,
    ids,
    settle::Settlement,
};
use crate::wire::v1::{
    Budget, GetBudgetRequest, GetStatusRequest, GetStatusResponse, PeriodPatch, RecordRequest, ResumeRequest,
    UpdateBudgetRequest,
};

/// What the node counted of a continuation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resumed {
    /// How often the execution was resumed, this time included; `None` where it could not be counted yet.
    pub continuations: Option<u64>,
}

/// A change of a budget: what it does not name stays.
#[derive(Debug, Clone, Default)]
pub struct BudgetChange {
    periods: BTreeMap<String, PeriodPatch>,
    expected_version: Option<i64>,
    reason: String,
}

impl BudgetChange {
    /// Changes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `hourly`, `daily`, `weekly` or `monthly` to an amount in micro-USD; 0 blocks all.
    #[must_use]
    pub fn set(mut self, period: impl Into<String>, micro_usd: u64) -> Self {
        let limit = Some(i64::try_from(micro_usd).unwrap_or(i64::MAX));
        self.periods.insert(period.into(), PeriodPatch { limit, clear: false });
        self
    }

    /// Clears the limit of a period: the configured one is in force again.
    #[must_use]
    pub fn clear(mut self, period: impl Into<String>) -> Self {
        self.periods.insert(period.into(), PeriodPatch { limit: None, clear: true });
        self
    }

    /// Refused with ABORTED where the budget has another version ([`Budget::version`]). Default: any.
    #[must_use]
    pub fn version(mut self, expected: i64) -> Self {
        self.expected_version = Some(expected);
        self
    }

    /// Why, for the log of the org.
    #[must_use]
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = reason.into();
        self
    }
}

impl Client {
    /// Counts the continuation of an execution that was admitted before. It is never denied, and no outage stops it: where
    /// the node does not answer, the client goes on sending it.
    ///
    /// `execution_id` is [`Admission::id`](super::Admission::id), or the caller's own name for the execution.
    ///
    /// # Errors
    /// Only where the call is wrong, or its caller may not make it.
    pub async fn resume(&self, org: &str, execution_id: &str) -> Result<Resumed, Error> {
        let request =
            ResumeRequest { org: org.to_owned(), execution_id: execution_id.to_owned(), request_id: ids::request_id() };
        let core = &self.core;
        let resume = Unary(|time| {
            let (mut gate, request) = (core.link.gate(), within(&request, time));
            async move { gate.resume(request).await }
        });
        match core.call(resume).await {
            Ok(answer) => {
                let continuations = u64::try_from(answer.continuations).ok().filter(|_| answer.counted);
                Ok(Resumed { continuations })
            }
            Err(Error::NoDecision(_)) => {
                core.settler.push(Settlement::Resume(request));
                Ok(Resumed { continuations: None })
            }
            Err(refused) => Err(refused),
        }
    }

    /// Records usage after the fact, also past every limit. `decision_id` names the admitted execution that it belongs to,
    /// and completes it; without one it counts as usage that nobody asked for before.
    ///
    /// # Errors
    /// Where nobody answered in time, or the node refused the call.
    pub async fn record(
        &self,
        org: &str,
        scopes: &[&str],
        usage: &[(&str, u64)],
        decision_id: Option<&str>,
    ) -> Result<(), Error> {
        let request = RecordRequest {
            org: org.to_owned(),
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            usage: usage.iter().map(|(meter, used)| amount(*meter, *used)).collect(),
            request_id: ids::request_id(),
            decision_id: decision_id.unwrap_or_default().to_owned(),
            ..RecordRequest::default()
        };
        let core = &self.core;
        let record = Unary(|time| {
            let (mut gate, request) = (core.link.gate(), within(&request, time));
            async move { gate.record(request).await }
        });
        core.call(record).await.map(drop)
    }

    /// Every limit of an org and of the named scopes, without consuming anything.
    ///
    /// # Errors
    /// Where nobody answered in time, or the node refused the call.
    pub async fn status(&self, org: &str, scopes: &[&str]) -> Result<GetStatusResponse, Error> {
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        let request = GetStatusRequest { org: org.to_owned(), scopes, ..GetStatusRequest::default() };
        let core = &self.core;
        let status = Unary(|time| {
            let (mut gate, request) = (core.link.gate(), within(&request, time));
            async move { gate.get_status(request).await }
        });
        core.call(status).await
    }

    /// The budget of an org, or of a scope in it (empty = the org itself).
    ///
    /// # Errors
    /// Where nobody answered in time, or the node refused the call.
    pub async fn budget(&self, org: &str, scope: &str) -> Result<Budget, Error> {
        let request = GetBudgetRequest { org: org.to_owned(), scope: scope.to_owned() };
        let core = &self.core;
        let budget = Unary(|time| {
            let (mut budgets, request) = (core.link.budgets(), within(&request, time));
            async move { budgets.get_budget(request).await }
        });
        Ok(core.call(budget).await?.budget.unwrap_or_default())
    }

    /// Changes the budget of an org, or of a scope in it, and answers what it is then. It takes effect on the next call.
    ///
    /// ```no_run
    /// # use tollgate::client::{BudgetChange, Client, Error};
    /// # async fn example(client: Client) -> Result<(), Error> {
    /// let change = BudgetChange::new().set("daily", 25_000_000).clear("weekly").reason("upgrade");
    /// let budget = client.update_budget("acme", "workspace/ws_42", change).await?;
    /// assert_eq!(budget.periods["daily"].limit, Some(25_000_000));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Where nobody answered in time, or the node refused the call, with ABORTED where the budget has another version.
    pub async fn update_budget(&self, org: &str, scope: &str, change: BudgetChange) -> Result<Budget, Error> {
        let request = UpdateBudgetRequest {
            org: org.to_owned(),
            scope: scope.to_owned(),
            request_id: ids::request_id(),
            periods: change.periods,
            expected_version: change.expected_version,
            reason: change.reason,
            ..UpdateBudgetRequest::default()
        };
        let core = &self.core;
        let update = Unary(|time| {
            let (mut budgets, request) = (core.link.budgets(), within(&request, time));
            async move { budgets.update_budget(request).await }
        });
        Ok(core.call(update).await?.budget.unwrap_or_default())
    }
}
