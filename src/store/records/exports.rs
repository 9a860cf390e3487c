//! Usage on its way to the billing provider, and the executions whose completion will send more.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{
    AmountV1, amounts,
    journal::{CauseV1, mirror},
};
use crate::domain::{
    decision::Cause,
    exports::{DeadCause, ExportKey, ExportRow},
    ids::{ExecutionId, Meter, Scope},
    input::InputError,
    rows::{ExecutionRow, OpenExecution},
    window::Millis,
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExecutionV1<'a> {
    continuations: u64,
    last_seen: Millis,
    admitted: bool,
    #[serde(borrow)]
    open: Option<OpenV1<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OpenV1<'a> {
    #[serde(borrow)]
    scope: Cow<'a, str>,
    #[serde(borrow)]
    cost: Vec<AmountV1<'a>>,
    admitted_at: Millis,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExportV1<'a> {
    #[serde(borrow)]
    scope: Cow<'a, str>,
    #[serde(borrow)]
    meter: Cow<'a, str>,
    units: u64,
    at: Millis,
    tried_since: Millis,
    attempts: u32,
    due_at: Millis,
    last_error: Option<CauseV1>,
    dead: Option<DeadCauseV1>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum DeadCauseV1 {
    Rejected,
    Expired,
    Full,
}

mirror!(DeadCause <=> DeadCauseV1 { Rejected, Expired, Full });

impl<'a> From<&'a ExecutionRow> for ExecutionV1<'a> {
    fn from(row: &'a ExecutionRow) -> Self {
        let open = |open: &'a OpenExecution| OpenV1 {
            scope: open.scope.as_str().into(),
            cost: open.cost.iter().map(AmountV1::from).collect(),
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

impl ExecutionV1<'_> {
    pub(super) fn into_row(self, id: ExecutionId) -> Result<ExecutionRow, InputError> {
        let open = |open: OpenV1<'_>| {
            let OpenV1 { scope, cost, admitted_at } = open;
            Ok(OpenExecution { scope: Scope::parse("scope", &scope)?, cost: amounts(&cost)?, admitted_at })
        };
        let Self { continuations, last_seen, admitted, .. } = self;
        Ok(ExecutionRow { id, continuations, last_seen, admitted, open: self.open.map(open).transpose()? })
    }
}

impl<'a> From<&'a ExportRow> for ExportV1<'a> {
    fn from(row: &'a ExportRow) -> Self {
        Self {
            scope: row.scope.as_str().into(),
            meter: row.meter.as_str().into(),
            units: row.units,
            at: row.at,
            tried_since: row.tried_since,
            attempts: row.attempts,
            due_at: row.due_at,
            last_error: row.last_error.map(CauseV1::from),
            dead: row.dead.map(DeadCauseV1::from),
        }
    }
}

impl ExportV1<'_> {
    pub(super) fn into_row(self, key: ExportKey) -> Result<ExportRow, InputError> {
        Ok(ExportRow {
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
