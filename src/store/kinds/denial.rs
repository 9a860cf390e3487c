//! Calls that were denied, or let through without an evaluated gate, and are alike.

use std::{borrow::Cow, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::{
    outcomes::{CauseV2, GateV2},
    stored::{AmountV2, amounts, mirror},
};
use crate::domain::{
    denials::{Asked, DenialRow, FullLimit, Operation, Said, Until},
    gate::Code,
    ids::{DecisionId, Meter, Plane, PoolId, Scope},
    input::InputError,
    limit::LimitTexts,
    scopes::Scopes,
    trace::TraceId,
    window::Millis,
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DenialV2<'a> {
    #[serde(borrow)]
    asked: AskedV2<'a>,
    #[serde(borrow)]
    node: Cow<'a, str>,
    shadow: bool,
    mixed: bool,
    gates: Vec<(GateV2, SaidV2)>,
    #[serde(borrow)]
    limits: Vec<FullLimitV2<'a>>,
    #[serde(borrow)]
    message: Cow<'a, str>,
    until: UntilV2,
    count: u64,
    first_at: Millis,
    last_at: Millis,
    first: Option<IdV2>,
    last: Option<IdV2>,
    trace: Option<IdV2>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AskedV2<'a> {
    operation: OperationV2,
    #[serde(borrow)]
    scope: Cow<'a, str>,
    #[serde(borrow)]
    plane: Cow<'a, str>,
    #[serde(borrow)]
    pool: Option<Cow<'a, str>>,
    #[serde(borrow)]
    cost: Vec<AmountV2<'a>>,
    #[serde(borrow)]
    reserve: Vec<AmountV2<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FullLimitV2<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    scope: Cow<'a, str>,
    #[serde(borrow)]
    meter: Cow<'a, str>,
    /// As answers show it.
    #[serde(borrow)]
    window: Cow<'a, str>,
    amount: u64,
    buffer: u64,
    used: u64,
    reserved: u64,
    asked: u64,
    fits_at: Option<Millis>,
}

#[derive(Serialize, Deserialize)]
struct IdV2(#[serde(with = "super::stored::hex128")] u128);

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OperationV2 {
    Execute,
    ExecuteWithPause,
    StartSession,
    Pick,
}

mirror!(Operation <=> OperationV2 { Execute, ExecuteWithPause, StartSession, Pick });

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum CodeV2 {
    Allowed,
    RateLimited,
    BalanceExhausted,
    BudgetExceeded,
    QuotaExceeded,
    SessionLimitReached,
    AccountsExhausted,
    Frozen,
    ScopeRequired,
    Indeterminate,
}

mirror!(Code <=> CodeV2 {
    Allowed, RateLimited, BalanceExhausted, BudgetExceeded, QuotaExceeded, SessionLimitReached, AccountsExhausted,
    Frozen, ScopeRequired, Indeterminate,
});

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SaidV2 {
    Passed,
    Denied(CodeV2),
    Unevaluated(CauseV2),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum UntilV2 {
    Unknown,
    At(Millis),
    Never,
}

pub(super) fn write<S: Serializer>(row: &DenialRow, out: S) -> Result<S::Ok, S::Error> {
    let id = |id: Option<DecisionId>| id.map(|id| IdV2(id.0));
    let stored = DenialV2 {
        asked: AskedV2::from(&row.asked),
        node: Cow::from(&*row.node),
        shadow: row.shadow,
        mixed: row.mixed,
        gates: row.gates.iter().map(|(gate, said)| (GateV2::from(*gate), SaidV2::from(*said))).collect(),
        limits: row.limits.iter().map(FullLimitV2::from).collect(),
        message: Cow::from(&*row.message),
        until: row.until.into(),
        count: row.count,
        first_at: row.first_at,
        last_at: row.last_at,
        first: id(row.first),
        last: id(row.last),
        trace: row.trace.map(|trace| IdV2(trace.0)),
    };
    stored.serialize(out)
}

pub(super) fn read<'de, D: Deserializer<'de>>(number: u64, from: D) -> Result<DenialRow, D::Error> {
    DenialV2::deserialize(from)?.into_row(number).map_err(D::Error::custom)
}

impl DenialV2<'_> {
    fn into_row(self, number: u64) -> Result<DenialRow, InputError> {
        let id = |id: Option<IdV2>| id.map(|id| DecisionId(id.0));
        Ok(DenialRow {
            number,
            asked: self.asked.into_asked()?,
            node: Arc::from(&*self.node),
            shadow: self.shadow,
            mixed: self.mixed,
            gates: self.gates.into_iter().map(|(gate, said)| (gate.into(), said.into())).collect(),
            limits: self.limits.into_iter().map(FullLimitV2::into_limit).collect::<Result<_, _>>()?,
            message: self.message.into_owned(),
            until: self.until.into(),
            count: self.count,
            first_at: self.first_at,
            last_at: self.last_at,
            first: id(self.first),
            last: id(self.last),
            trace: self.trace.map(|trace| TraceId(trace.0)),
        })
    }
}

impl<'a> From<&'a Asked> for AskedV2<'a> {
    fn from(asked: &'a Asked) -> Self {
        Self {
            operation: asked.operation.into(),
            scope: asked.scopes.text(),
            plane: asked.plane.as_str().into(),
            pool: asked.pool.as_ref().map(|pool| pool.as_str().into()),
            cost: asked.cost.iter().map(AmountV2::from).collect(),
            reserve: asked.reserve.iter().map(AmountV2::from).collect(),
        }
    }
}

impl AskedV2<'_> {
    fn into_asked(self) -> Result<Asked, InputError> {
        Ok(Asked {
            operation: self.operation.into(),
            scopes: Scopes::parse("scope", &self.scope)?,
            plane: Plane::parse("plane", &self.plane)?,
            pool: self.pool.map(|pool| PoolId::parse("pool", &pool)).transpose()?,
            cost: amounts(&self.cost)?,
            reserve: amounts(&self.reserve)?,
        })
    }
}

impl<'a> From<&'a FullLimit> for FullLimitV2<'a> {
    fn from(limit: &'a FullLimit) -> Self {
        Self {
            name: Cow::from(&limit.texts.name),
            scope: limit.scope.as_str().into(),
            meter: limit.meter.as_str().into(),
            window: Cow::from(&limit.texts.window),
            amount: limit.amount,
            buffer: limit.buffer,
            used: limit.used,
            reserved: limit.reserved,
            asked: limit.asked,
            fits_at: limit.fits_at,
        }
    }
}

impl FullLimitV2<'_> {
    fn into_limit(self) -> Result<FullLimit, InputError> {
        Ok(FullLimit {
            texts: LimitTexts::new(&*self.name, &*self.meter, &*self.window),
            meter: Meter::parse("meter", &self.meter)?,
            scope: if self.scope.is_empty() { Scope::org() } else { Scope::parse("scope", &self.scope)? },
            amount: self.amount,
            buffer: self.buffer,
            used: self.used,
            reserved: self.reserved,
            asked: self.asked,
            fits_at: self.fits_at,
        })
    }
}

impl From<Said> for SaidV2 {
    fn from(said: Said) -> Self {
        match said {
            Said::Passed => Self::Passed,
            Said::Denied(code) => Self::Denied(code.into()),
            Said::Unevaluated(cause) => Self::Unevaluated(cause.into()),
        }
    }
}

impl From<SaidV2> for Said {
    fn from(stored: SaidV2) -> Self {
        match stored {
            SaidV2::Passed => Self::Passed,
            SaidV2::Denied(code) => Self::Denied(code.into()),
            SaidV2::Unevaluated(cause) => Self::Unevaluated(cause.into()),
        }
    }
}

impl From<Until> for UntilV2 {
    fn from(until: Until) -> Self {
        match until {
            Until::Unknown => Self::Unknown,
            Until::At(at) => Self::At(at),
            Until::Never => Self::Never,
        }
    }
}

impl From<UntilV2> for Until {
    fn from(stored: UntilV2) -> Self {
        match stored {
            UntilV2::Unknown => Self::Unknown,
            UntilV2::At(at) => Self::At(at),
            UntilV2::Never => Self::Never,
        }
    }
}

#[cfg(test)]
pub(super) fn samples() -> Vec<(&'static str, DenialRow)> {
    use smallvec::smallvec;

    use crate::{
        bounds::HOUR_MS,
        domain::gate::{Cause, Gate},
        store::samples::{T0, scope, scopes},
    };

    let limit = FullLimit {
        texts: LimitTexts::new("budget/daily", "spend", "rolling/1d"),
        meter: Meter::spend(),
        scope: scope(),
        amount: 2_000_000,
        buffer: 1,
        used: 1_950_000,
        reserved: 5,
        asked: 400_000,
        fits_at: Some(T0 + HOUR_MS),
    };
    let row = DenialRow {
        number: 3,
        asked: Asked {
            operation: Operation::Execute,
            scopes: scopes(),
            plane: Plane::parse("plane", "executor").unwrap(),
            pool: None,
            cost: smallvec![(Meter::executions(), 1)],
            reserve: smallvec![(Meter::spend(), 400_000)],
        },
        node: "n1".into(),
        shadow: false,
        mixed: false,
        gates: vec![(Gate::Freeze, Said::Passed), (Gate::Budgets, Said::Denied(Code::BudgetExceeded))],
        limits: vec![limit],
        message: "Budget budget/daily has too little left.".to_owned(),
        until: Until::At(T0 + HOUR_MS),
        count: 10,
        first_at: T0,
        last_at: T0 + 5,
        first: Some(DecisionId(7 << 64)),
        last: Some(DecisionId(7 << 64 | 20)),
        trace: Some(TraceId(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736)),
    };
    let let_through = DenialRow {
        number: 4,
        asked: Asked {
            operation: Operation::Pick,
            scopes: Scopes::org(),
            plane: Plane::unnamed(),
            pool: Some(PoolId::parse("pool", "relay").unwrap()),
            ..row.asked.clone()
        },
        mixed: true,
        shadow: true,
        gates: vec![(Gate::Balance, Said::Unevaluated(Cause::Timeout))],
        limits: Vec::new(),
        message: String::new(),
        until: Until::Never,
        first: None,
        trace: None,
        ..row.clone()
    };
    vec![("denial", row), ("denial_let_through", let_through)]
}
