//! Budgets that were set at run time, sessions, and the end of a trial.

use std::{borrow::Cow, sync::Arc};

use serde::{Deserialize, Serialize};

use super::journal::{hex128, mirror};
use crate::domain::{
    ids::{DecisionId, Identity, Incarnation, Scope, SessionId},
    input::InputError,
    rows::{BudgetRow, SessionRow, SessionState},
    window::Millis,
};

/// Names of periods and amounts are kept as they are: what means nothing is for the domain to see.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BudgetV2<'a> {
    version: u64,
    #[serde(borrow)]
    limits: Vec<(Cow<'a, str>, u64)>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SessionV2<'a> {
    #[serde(borrow)]
    scope: Cow<'a, str>,
    #[serde(borrow)]
    identity: Cow<'a, str>,
    #[serde(with = "hex128")]
    decision: u128,
    state: SessionStateV2,
    started_at: Millis,
    heard_at: Millis,
    ends_at: Millis,
    #[serde(borrow)]
    lives: Vec<(Cow<'a, str>, u64)>,
    booked: u64,
    ahead: u64,
    disputed: u64,
    stopping_since: Option<Millis>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SessionStateV2 {
    Running,
    Ended,
    Expired,
}

mirror!(SessionState <=> SessionStateV2 { Running, Ended, Expired });

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TrialEndedV2 {
    pub(super) at: Millis,
}

impl<'a> From<&'a BudgetRow> for BudgetV2<'a> {
    fn from(row: &'a BudgetRow) -> Self {
        let limit = |(name, amount): (&'a Arc<str>, &'a u64)| (Cow::from(&**name), *amount);
        Self { version: row.version, limits: row.limits.iter().map(limit).collect() }
    }
}

impl BudgetV2<'_> {
    pub(super) fn into_row(self, scope: Scope) -> BudgetRow {
        let limits = self.limits.into_iter().map(|(name, amount)| (Arc::from(&*name), amount));
        BudgetRow { scope, version: self.version, limits: limits.collect() }
    }
}

impl<'a> From<&'a SessionRow> for SessionV2<'a> {
    fn from(row: &'a SessionRow) -> Self {
        let life = |(incarnation, total): &'a (Incarnation, u64)| (Cow::from(incarnation.as_str()), *total);
        Self {
            scope: row.scope.as_str().into(),
            identity: row.identity.as_str().into(),
            decision: row.decision.0,
            state: row.state.into(),
            started_at: row.started_at,
            heard_at: row.last_heartbeat_at,
            ends_at: row.ends_at,
            lives: row.incarnations.iter().map(life).collect(),
            booked: row.booked,
            ahead: row.booked_ahead,
            disputed: row.disputed,
            stopping_since: row.stopping_since,
        }
    }
}

impl SessionV2<'_> {
    pub(super) fn into_row(self, id: SessionId) -> Result<SessionRow, InputError> {
        let life = |(text, total): (Cow<'_, str>, u64)| Ok((Incarnation::parse("incarnation", &text)?, total));
        Ok(SessionRow {
            id,
            scope: Scope::parse("scope", &self.scope)?,
            identity: Identity::parse("identity", &self.identity)?,
            decision: DecisionId(self.decision),
            state: self.state.into(),
            started_at: self.started_at,
            last_heartbeat_at: self.heard_at,
            ends_at: self.ends_at,
            incarnations: self.lives.into_iter().map(life).collect::<Result<_, InputError>>()?,
            booked: self.booked,
            booked_ahead: self.ahead,
            disputed: self.disputed,
            stopping_since: self.stopping_since,
        })
    }
}
