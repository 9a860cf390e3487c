//! Executions: their continuations, and what the completion of an open one reports.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::stored::{AmountV2, amounts};
use crate::domain::{
    ids::ExecutionId,
    input::InputError,
    rows::{ExecutionRow, OpenExecution},
    scopes::Scopes,
    window::Millis,
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExecutionV2<'a> {
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

pub(super) fn write<S: Serializer>(row: &ExecutionRow, out: S) -> Result<S::Ok, S::Error> {
    let stored = ExecutionV2 {
        continuations: row.continuations,
        last_seen: row.last_seen,
        admitted: row.admitted,
        open: row.open.as_ref().map(OpenV2::from),
    };
    stored.serialize(out)
}

pub(super) fn read<'de, D: Deserializer<'de>>(id: ExecutionId, from: D) -> Result<ExecutionRow, D::Error> {
    let ExecutionV2 { continuations, last_seen, admitted, open } = ExecutionV2::deserialize(from)?;
    let open = open.map(OpenV2::into_open).transpose().map_err(D::Error::custom)?;
    Ok(ExecutionRow { id, continuations, last_seen, admitted, open })
}

impl<'a> From<&'a OpenExecution> for OpenV2<'a> {
    fn from(open: &'a OpenExecution) -> Self {
        Self {
            scope: open.scopes.text(),
            cost: open.cost.iter().map(AmountV2::from).collect(),
            admitted_at: open.admitted_at,
        }
    }
}

impl OpenV2<'_> {
    fn into_open(self) -> Result<OpenExecution, InputError> {
        let Self { scope, cost, admitted_at } = self;
        Ok(OpenExecution { scopes: Scopes::parse("scope", &scope)?, cost: amounts(&cost)?, admitted_at })
    }
}

#[cfg(test)]
pub(super) fn samples() -> Vec<(&'static str, ExecutionRow)> {
    use smallvec::smallvec;

    use crate::{
        domain::ids::Meter,
        store::samples::{T0, scope, scopes},
    };

    let id = |text| ExecutionId::parse("execution_id", text).unwrap();
    let continued = ExecutionRow { id: id("run \\ 1"), continuations: 4, last_seen: T0, admitted: true, open: None };
    let open = OpenExecution { scopes: scope().into(), cost: smallvec![(Meter::executions(), 3)], admitted_at: T0 - 1 };
    let of_several = OpenExecution { scopes: scopes(), ..open.clone() };
    let open = ExecutionRow { id: id("run 2"), continuations: 0, last_seen: T0, admitted: false, open: Some(open) };
    let of_several = ExecutionRow { id: id("run 3"), open: Some(of_several), ..open.clone() };
    vec![("execution", continued), ("execution_open", open), ("execution_scopes", of_several)]
}
