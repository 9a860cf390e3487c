//! Usage on its way to the billing provider, and the executions whose completion will send more.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{AmountV2, amounts, journal::mirror, outcomes::CauseV2};
use crate::domain::{
    gate::Cause,
    ids::{ExecutionId, Meter, Scope},
    input::InputError,
    outbox::{DeadCause, OutboxKey, OutboxRow},
    rows::{ExecutionRow, OpenExecution},
    window::Millis,
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExecutionV2<'a> {
    continuations: u64,
    last_seen: Millis,
    admitted: bool,
    #[serde(borrow)]
    open: Option<OpenV2<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OpenV2<'a> {
    #[serde(borrow)]
    scope: Cow<'a, str>,
    #[serde(borrow)]
    cost: Vec<AmountV2<'a>>,
    admitted_at: Millis,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExportV2<'a> {
    #[serde(borrow)]
    scope: Cow<'a, str>,
    #[serde(borrow)]
    meter: Cow<'a, str>,
    units: u64,
    at: Millis,
    tried_since: Millis,
    attempts: u32,
    due_at: Millis,
    last_error: Option<CauseV2>,
    dead: Option<DeadCauseV2>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum DeadCauseV2 {
    Rejected,
    Expired,
    Full,
}

mirror!(DeadCause <=> DeadCauseV2 { Rejected, Expired, Full });

impl<'a> From<&'a ExecutionRow> for ExecutionV2<'a> {
    fn from(row: &'a ExecutionRow) -> Self {
        let open = |open: &'a OpenExecution| OpenV2 {
            scope: open.scope.as_str().into(),
            cost: open.cost.iter().map(AmountV2::from).collect(),
            admitted_at: open.admitted_at,
        };
        Self {
            continuations: row.continuations,
            last_seen: row.last_seen,
            admitted: row.admitted,
            open: row.open.as_ref().map(open),
        }
    }
}

impl ExecutionV2<'_> {
    pub(super) fn into_row(self, id: ExecutionId) -> Result<ExecutionRow, InputError> {
        let open = |open: OpenV2<'_>| {
            let OpenV2 { scope, cost, admitted_at } = open;
            Ok(OpenExecution { scope: Scope::parse("scope", &scope)?, cost: amounts(&cost)?, admitted_at })
        };
        let Self { continuations, last_seen, admitted, .. } = self;
        Ok(ExecutionRow { id, continuations, last_seen, admitted, open: self.open.map(open).transpose()? })
    }
}

impl<'a> From<&'a OutboxRow> for ExportV2<'a> {
    fn from(row: &'a OutboxRow) -> Self {
        Self {
            scope: row.scope.as_str().into(),
            meter: row.meter.as_str().into(),
            units: row.units,
            at: row.at,
            tried_since: row.tried_since,
            attempts: row.attempts,
            due_at: row.due_at,
            last_error: row.last_error.map(CauseV2::from),
            dead: row.dead.map(DeadCauseV2::from),
        }
    }
}

impl ExportV2<'_> {
    pub(super) fn into_row(self, key: OutboxKey) -> Result<OutboxRow, InputError> {
        Ok(OutboxRow {
            key,
            scope: Scope::parse("scope", &self.scope)?,
            meter: Meter::parse("meter", &self.meter)?,
            units: self.units,
            at: self.at,
            tried_since: self.tried_since,
            attempts: self.attempts,
            due_at: self.due_at,
            last_error: self.last_error.map(Cause::from),
            dead: self.dead.map(DeadCause::from),
        })
    }
}
