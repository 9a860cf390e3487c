//! What journal entries remember of each call: its rpc and its outcome.

use serde::{Deserialize, Serialize};

use super::{
    given_back::{GivenBackV2, OfDecisionV2},
    stored::{hex128, mirror},
};
use crate::domain::{
    decision::{Hold, SessionGrant},
    gate::{Cause, FailOpen, Gate},
    ids::{AccountId, Amounts, DecisionId, Meter, OrgId},
    input::InputError,
    outcome::{
        AccountCleared, Admitted, Beaten, BudgetSet, Committed, Extended, Frozen, GivenBack, Granted, Outcome,
        OutcomeReported, OverrideSet, Picked, PoolConfigured, Recorded, Refunded, Renamed, Reported, Resumed,
        SessionEnded, Settled, Settlement, Started,
    },
    request::Rpc,
    scopes::Scopes,
    upstream::Upstream,
    window::Millis,
};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RpcV2 {
    Acquire,
    Commit,
    Release,
    Extend,
    Resume,
    Record,
    ReportCumulative,
    Freeze,
    Unfreeze,
    // Variants are added at the end: what was written before still reads.
    UpdateBudget,
    ReplaceBudget,
    StartSession,
    Heartbeat,
    EndSession,
    ConfigurePool,
    Pick,
    ReportOutcome,
    ClearAccount,
    SetOverride,
    ClearOverride,
    SetPlan,
    SetExemption,
    Refund,
    Grant,
    RevokeGrant,
    ResetWindow,
    RenameOrg,
}

mirror!(Rpc <=> RpcV2 {
    Acquire, Commit, Release, Extend, Resume, Record, ReportCumulative, Freeze, Unfreeze, UpdateBudget, ReplaceBudget,
    StartSession, Heartbeat, EndSession, ConfigurePool, Pick, ReportOutcome, ClearAccount, SetOverride, ClearOverride,
    SetPlan, SetExemption, Refund, Grant, RevokeGrant, ResetWindow, RenameOrg,
});

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum OutcomeV2 {
    Admitted {
        #[serde(with = "hex128")]
        decision: u128,
        hold: Option<HoldV2>,
        fail_open: Vec<FailOpenV2>,
    },
    Settled {
        #[serde(with = "hex128")]
        reservation: u128,
        how: SettlementV2,
    },
    Extended {
        expires_at: Millis,
    },
    Resumed {
        continuations: u64,
    },
    Recorded,
    Reported {
        increment: u64,
        reset: bool,
        disputed: u64,
    },
    Frozen {
        was_frozen: bool,
    },
    BudgetSet,
    Started {
        #[serde(with = "hex128")]
        decision: u128,
        slice: u64,
        heartbeat: Millis,
        expires_at: Millis,
        fail_open: Vec<FailOpenV2>,
    },
    Beat {
        booked: u64,
        disputed: u64,
    },
    SessionEnded {
        #[serde(with = "hex128")]
        decision: u128,
    },
    PoolConfigured,
    Picked {
        account: String,
        /// None without the gates of the org.
        admitted: Option<PickAdmittedV2>,
    },
    OutcomeReported {
        outcome: UpstreamV2,
        known: bool,
    },
    AccountCleared {
        was_held: bool,
    },
    Committed {
        #[serde(with = "hex128")]
        reservation: u128,
        late: bool,
        /// Where it was reserved.
        scope: String,
        booked: Vec<SettledV2>,
        reserved: Vec<SettledV2>,
    },
    OverrideSet,
    Refunded {
        /// None of what named no decision.
        decision: Option<OfDecisionV2>,
        scope: String,
        amounts: Vec<GivenBackV2>,
    },
    Granted {
        number: u64,
    },
    Renamed {
        before: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SettledV2 {
    meter: String,
    amount: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PickAdmittedV2 {
    #[serde(with = "hex128")]
    decision: u128,
    hold: Option<HoldV2>,
    fail_open: Vec<FailOpenV2>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum UpstreamV2 {
    Ok,
    QuotaExhausted,
    Refused,
    Unavailable,
    Failed,
    RateLimited,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HoldV2 {
    #[serde(with = "hex128")]
    id: u128,
    expires_at: Millis,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FailOpenV2 {
    gate: GateV2,
    cause: CauseV2,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum SettlementV2 {
    Committed,
    Released,
    Expired,
    Refunded,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum GateV2 {
    Freeze,
    Rate,
    Budgets,
    Balance,
    Reserve,
    Concurrency,
    SessionQuota,
    Accounts,
    Scopes,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum CauseV2 {
    StoreFault,
    Timeout,
    ProviderError,
    ProviderUnreachable,
    ProviderFailedOpen,
    ProviderRateLimited,
    ProviderUnauthorized,
    ProviderRefused,
    ProviderBadAnswer,
    CircuitOpen,
    Overloaded,
    UnknownCustomer,
    UnknownFeature,
    NoEntitlement,
    MalformedLimit,
}

mirror!(Upstream <=> UpstreamV2 { Ok, QuotaExhausted, Refused, Unavailable, Failed, RateLimited });
mirror!(Settlement <=> SettlementV2 { Committed, Released, Expired, Refunded });
mirror!(Gate <=> GateV2 { Freeze, Rate, Budgets, Balance, Reserve, Concurrency, SessionQuota, Accounts, Scopes });
mirror!(Cause <=> CauseV2 {
    StoreFault, Timeout, ProviderError, ProviderUnreachable, ProviderFailedOpen, ProviderRateLimited,
    ProviderUnauthorized, ProviderRefused, ProviderBadAnswer, CircuitOpen, Overloaded, UnknownCustomer,
    UnknownFeature, NoEntitlement, MalformedLimit,
});

impl From<&Outcome> for OutcomeV2 {
    fn from(outcome: &Outcome) -> Self {
        let open = |open: &FailOpen| FailOpenV2 { gate: open.gate.into(), cause: open.cause.into() };
        match outcome {
            Outcome::Admitted(Admitted { decision, hold, fail_open }) => Self::Admitted {
                decision: decision.0,
                hold: hold.map(HoldV2::from),
                fail_open: fail_open.iter().map(open).collect(),
            },
            Outcome::Settled(Settled { reservation, how }) => {
                Self::Settled { reservation: reservation.0, how: (*how).into() }
            }
            Outcome::Committed(Committed { reservation, late, scopes, booked, reserved }) => Self::Committed {
                reservation: reservation.0,
                late: *late,
                scope: scopes.text().into_owned(),
                booked: SettledV2::of(booked),
                reserved: SettledV2::of(reserved),
            },
            Outcome::Extended(Extended { expires_at }) => Self::Extended { expires_at: *expires_at },
            Outcome::Resumed(Resumed { continuations }) => Self::Resumed { continuations: *continuations },
            Outcome::Recorded(Recorded) => Self::Recorded,
            Outcome::Reported(Reported { increment, reset, disputed }) => {
                Self::Reported { increment: *increment, reset: *reset, disputed: *disputed }
            }
            Outcome::Frozen(Frozen { was_frozen }) => Self::Frozen { was_frozen: *was_frozen },
            Outcome::BudgetSet(BudgetSet) => Self::BudgetSet,
            Outcome::Started(Started { decision, grant, fail_open }) => Self::Started {
                decision: decision.0,
                slice: grant.slice,
                heartbeat: grant.heartbeat,
                expires_at: grant.expires_at,
                fail_open: fail_open.iter().map(open).collect(),
            },
            Outcome::Beaten(Beaten { booked, disputed }) => Self::Beat { booked: *booked, disputed: *disputed },
            Outcome::SessionEnded(SessionEnded { decision }) => Self::SessionEnded { decision: decision.0 },
            Outcome::PoolConfigured(PoolConfigured) => Self::PoolConfigured,
            Outcome::Picked(Picked { account, decision, hold, fail_open }) => Self::Picked {
                account: account.as_str().to_owned(),
                admitted: decision.map(|decision| PickAdmittedV2 {
                    decision: decision.0,
                    hold: hold.map(HoldV2::from),
                    fail_open: fail_open.iter().map(open).collect(),
                }),
            },
            Outcome::OutcomeReported(OutcomeReported { outcome, known }) => {
                Self::OutcomeReported { outcome: (*outcome).into(), known: *known }
            }
            Outcome::AccountCleared(AccountCleared { was_held }) => Self::AccountCleared { was_held: *was_held },
            Outcome::OverrideSet(OverrideSet) => Self::OverrideSet,
            Outcome::Refunded(Refunded { decision, scopes, amounts }) => Self::Refunded {
                decision: decision.map(|id| OfDecisionV2 { id: id.0 }),
                scope: scopes.text().into_owned(),
                amounts: amounts.iter().map(GivenBackV2::from).collect(),
            },
            Outcome::Granted(Granted { number }) => Self::Granted { number: *number },
            Outcome::Renamed(Renamed { before }) => Self::Renamed { before: before.to_string() },
        }
    }
}

impl SettledV2 {
    fn of(amounts: &Amounts) -> Vec<Self> {
        amounts.iter().map(|(meter, amount)| Self { meter: meter.as_str().to_owned(), amount: *amount }).collect()
    }

    fn amounts(stored: &[Self]) -> Result<Amounts, InputError> {
        stored.iter().map(|each| Ok((Meter::parse("meter", &each.meter)?, each.amount))).collect()
    }
}

impl From<Hold> for HoldV2 {
    fn from(hold: Hold) -> Self {
        Self { id: hold.id.0, expires_at: hold.expires_at }
    }
}

impl From<HoldV2> for Hold {
    fn from(stored: HoldV2) -> Self {
        Self { id: DecisionId(stored.id), expires_at: stored.expires_at }
    }
}

impl OutcomeV2 {
    pub(super) fn into_outcome(self) -> Result<Outcome, InputError> {
        let open = |open: FailOpenV2| FailOpen { gate: open.gate.into(), cause: open.cause.into() };
        Ok(match self {
            Self::Admitted { decision, hold, fail_open } => Outcome::Admitted(Admitted {
                decision: DecisionId(decision),
                hold: hold.map(Hold::from),
                fail_open: fail_open.into_iter().map(open).collect(),
            }),
            Self::Settled { reservation, how } => {
                Outcome::Settled(Settled { reservation: DecisionId(reservation), how: how.into() })
            }
            Self::Committed { reservation, late, scope, booked, reserved } => Outcome::Committed(Committed {
                reservation: DecisionId(reservation),
                late,
                scopes: Scopes::parse("scope", &scope)?,
                booked: SettledV2::amounts(&booked)?,
                reserved: SettledV2::amounts(&reserved)?,
            }),
            Self::Extended { expires_at } => Outcome::Extended(Extended { expires_at }),
            Self::Resumed { continuations } => Outcome::Resumed(Resumed { continuations }),
            Self::Recorded => Outcome::Recorded(Recorded),
            Self::Reported { increment, reset, disputed } => Outcome::Reported(Reported { increment, reset, disputed }),
            Self::Frozen { was_frozen } => Outcome::Frozen(Frozen { was_frozen }),
            Self::BudgetSet => Outcome::BudgetSet(BudgetSet),
            Self::Started { decision, slice, heartbeat, expires_at, fail_open } => Outcome::Started(Started {
                decision: DecisionId(decision),
                grant: SessionGrant { slice, heartbeat, expires_at },
                fail_open: fail_open.into_iter().map(open).collect(),
            }),
            Self::Beat { booked, disputed } => Outcome::Beaten(Beaten { booked, disputed }),
            Self::SessionEnded { decision } => Outcome::SessionEnded(SessionEnded { decision: DecisionId(decision) }),
            Self::PoolConfigured => Outcome::PoolConfigured(PoolConfigured),
            Self::Picked { account, admitted } => {
                let account = AccountId::parse("account", &account)?;
                let none = (None, None, Vec::new());
                let (decision, hold, fail_open) =
                    admitted.map_or(none, |PickAdmittedV2 { decision, hold, fail_open }| {
                        (Some(DecisionId(decision)), hold.map(Hold::from), fail_open.into_iter().map(open).collect())
                    });
                Outcome::Picked(Picked { account, decision, hold, fail_open })
            }
            Self::OutcomeReported { outcome, known } => {
                Outcome::OutcomeReported(OutcomeReported { outcome: outcome.into(), known })
            }
            Self::AccountCleared { was_held } => Outcome::AccountCleared(AccountCleared { was_held }),
            Self::OverrideSet => Outcome::OverrideSet(OverrideSet),
            Self::Refunded { decision, scope, amounts } => Outcome::Refunded(Refunded {
                decision: decision.map(|of| DecisionId(of.id)),
                scopes: Scopes::parse("scope", &scope)?,
                amounts: amounts.into_iter().map(GivenBack::try_from).collect::<Result<_, _>>()?,
            }),
            Self::Granted { number } => Outcome::Granted(Granted { number }),
            Self::Renamed { before } => Outcome::Renamed(Renamed { before: OrgId::parse("before", &before)? }),
        })
    }
}

/// What of an outcome has no fixed length, in bytes at most.
pub(super) fn bytes_beyond_fixed(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Admitted(Admitted { fail_open, .. }) | Outcome::Started(Started { fail_open, .. }) => {
            fail_open.len() * 6
        }
        Outcome::Committed(Committed { scopes, booked, reserved, .. }) => {
            let amounts = booked.iter().chain(reserved).map(|(meter, _)| meter.as_str().len() + 12);
            scopes.text().len() + 12 + amounts.sum::<usize>()
        }
        Outcome::Refunded(Refunded { scopes, amounts, .. }) => {
            scopes.text().len() + 24 + amounts.iter().map(|of| of.meter.as_str().len() + 24).sum::<usize>()
        }
        Outcome::Picked(Picked { account, fail_open, .. }) => account.as_str().len() + fail_open.len() * 6,
        Outcome::Renamed(Renamed { before }) => before.as_str().len(),
        _ => 0,
    }
}
