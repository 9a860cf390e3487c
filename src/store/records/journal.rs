//! Journal rows and their entries.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::domain::{
    command::Idempotency,
    decision::{Cause, FailOpen, Gate, Hold, SessionGrant},
    ids::{AccountId, DecisionId, RequestId},
    input::InputError,
    journal::{Entry, Outcome, Rpc, Settlement},
    rows::JournalRow,
    upstream::Upstream,
    window::Millis,
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::store) struct JournalV2<'a> {
    at: Millis,
    /// How many part rows follow.
    parts: u16,
    #[serde(borrow)]
    entries: Vec<EntryV2<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::store) struct PartV2<'a> {
    #[serde(borrow)]
    entries: Vec<EntryV2<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::store) struct EntryV2<'a> {
    at: Millis,
    rpc: RpcV2,
    #[serde(borrow)]
    idempotency: Option<IdempotencyV2<'a>>,
    long: bool,
    outcome: OutcomeV2,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct IdempotencyV2<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    fingerprint: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RpcV2 {
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
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OutcomeV2 {
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
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PickAdmittedV2 {
    #[serde(with = "hex128")]
    decision: u128,
    hold: Option<HoldV2>,
    fail_open: Vec<FailOpenV2>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum UpstreamV2 {
    Ok,
    QuotaExhausted,
    Refused,
    Unavailable,
    Failed,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HoldV2 {
    #[serde(with = "hex128")]
    id: u128,
    expires_at: Millis,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FailOpenV2 {
    gate: GateV2,
    cause: CauseV2,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SettlementV2 {
    Committed,
    Released,
    Expired,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum GateV2 {
    Freeze,
    Rate,
    Budgets,
    Balance,
    Reserve,
    Concurrency,
    SessionQuota,
    Accounts,
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

/// 128-bit ids: a number on disk, 32 hexadecimal digits where people read.
pub(in crate::store) mod hex128 {
    use std::borrow::Cow;

    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

    use crate::domain::ids::DecisionId;

    pub(in crate::store) fn serialize<S: Serializer>(id: &u128, out: S) -> Result<S::Ok, S::Error> {
        if out.is_human_readable() { DecisionId(*id).to_string().serialize(out) } else { id.serialize(out) }
    }

    pub(in crate::store) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u128, D::Error> {
        if !from.is_human_readable() {
            return u128::deserialize(from);
        }
        let text = Cow::<str>::deserialize(from)?;
        DecisionId::parse("id", &text).map(|id| id.0).map_err(D::Error::custom)
    }
}

/// The same variants on both sides, both ways.
macro_rules! mirror {
    ($domain:ident <=> $stored:ident { $($variant:ident),+ $(,)? }) => {
        impl From<$domain> for $stored {
            fn from(value: $domain) -> Self {
                match value { $($domain::$variant => Self::$variant,)+ }
            }
        }
        impl From<$stored> for $domain {
            fn from(value: $stored) -> Self {
                match value { $($stored::$variant => Self::$variant,)+ }
            }
        }
    };
}

pub(super) use mirror;

mirror!(Rpc <=> RpcV2 {
    Acquire, Commit, Release, Extend, Resume, Record, ReportCumulative, Freeze, Unfreeze, UpdateBudget, ReplaceBudget,
    StartSession, Heartbeat, EndSession, ConfigurePool, Pick, ReportOutcome,
});
mirror!(Upstream <=> UpstreamV2 { Ok, QuotaExhausted, Refused, Unavailable, Failed });
mirror!(Settlement <=> SettlementV2 { Committed, Released, Expired });
mirror!(Gate <=> GateV2 { Freeze, Rate, Budgets, Balance, Reserve, Concurrency, SessionQuota, Accounts });
mirror!(Cause <=> CauseV2 {
    StoreFault, Timeout, ProviderError, ProviderUnreachable, ProviderFailedOpen, ProviderRateLimited,
    ProviderUnauthorized, ProviderRefused, ProviderBadAnswer, CircuitOpen, Overloaded, UnknownCustomer,
    UnknownFeature, NoEntitlement, MalformedLimit,
});

impl<'a> JournalV2<'a> {
    pub(in crate::store) fn new(row: &'a JournalRow, parts: u16) -> Self {
        Self { at: row.at, parts, entries: row.entries.iter().map(EntryV2::from).collect() }
    }

    pub(in crate::store) fn into_row(self, seq: u64) -> Result<(JournalRow, u16), InputError> {
        let entries = self.entries.into_iter().map(EntryV2::into_entry).collect::<Result<_, _>>()?;
        Ok((JournalRow { seq, at: self.at, entries }, self.parts))
    }
}

impl<'a> From<&'a [Entry]> for PartV2<'a> {
    fn from(entries: &'a [Entry]) -> Self {
        Self { entries: entries.iter().map(EntryV2::from).collect() }
    }
}

impl PartV2<'_> {
    pub(in crate::store) fn into_entries(self) -> Result<Vec<Entry>, InputError> {
        self.entries.into_iter().map(EntryV2::into_entry).collect()
    }
}

impl<'a> From<&'a Entry> for EntryV2<'a> {
    fn from(entry: &'a Entry) -> Self {
        let idempotency =
            |asked: &'a Idempotency| IdempotencyV2 { id: asked.id.as_str().into(), fingerprint: asked.fingerprint };
        Self {
            at: entry.at,
            rpc: entry.rpc.into(),
            idempotency: entry.idempotency.as_ref().map(idempotency),
            long: entry.long,
            outcome: OutcomeV2::from(&entry.outcome),
        }
    }
}

impl EntryV2<'_> {
    fn into_entry(self) -> Result<Entry, InputError> {
        let idempotency = |asked: IdempotencyV2<'_>| {
            let id = RequestId::parse("request_id", &asked.id)?;
            Ok::<_, InputError>(Idempotency { id, fingerprint: asked.fingerprint })
        };
        Ok(Entry {
            at: self.at,
            rpc: self.rpc.into(),
            idempotency: self.idempotency.map(idempotency).transpose()?,
            long: self.long,
            outcome: self.outcome.into_outcome()?,
        })
    }
}

impl From<&Outcome> for OutcomeV2 {
    fn from(outcome: &Outcome) -> Self {
        let open = |open: &FailOpen| FailOpenV2 { gate: open.gate.into(), cause: open.cause.into() };
        match outcome {
            Outcome::Admitted { decision, hold, fail_open } => Self::Admitted {
                decision: decision.0,
                hold: hold.map(HoldV2::from),
                fail_open: fail_open.iter().map(open).collect(),
            },
            Outcome::Settled { reservation, how } => Self::Settled { reservation: reservation.0, how: (*how).into() },
            Outcome::Extended { expires_at } => Self::Extended { expires_at: *expires_at },
            Outcome::Resumed { continuations } => Self::Resumed { continuations: *continuations },
            Outcome::Recorded => Self::Recorded,
            Outcome::Reported { increment, reset, disputed } => {
                Self::Reported { increment: *increment, reset: *reset, disputed: *disputed }
            }
            Outcome::Frozen { was_frozen } => Self::Frozen { was_frozen: *was_frozen },
            Outcome::BudgetSet => Self::BudgetSet,
            Outcome::Started { decision, grant, fail_open } => Self::Started {
                decision: decision.0,
                slice: grant.slice,
                heartbeat: grant.heartbeat,
                expires_at: grant.expires_at,
                fail_open: fail_open.iter().map(open).collect(),
            },
            Outcome::Beat { booked, disputed } => Self::Beat { booked: *booked, disputed: *disputed },
            Outcome::SessionEnded { decision } => Self::SessionEnded { decision: decision.0 },
            Outcome::PoolConfigured => Self::PoolConfigured,
            Outcome::Picked { account, decision, hold, fail_open } => Self::Picked {
                account: account.as_str().to_owned(),
                admitted: decision.map(|decision| PickAdmittedV2 {
                    decision: decision.0,
                    hold: hold.map(HoldV2::from),
                    fail_open: fail_open.iter().map(open).collect(),
                }),
            },
            Outcome::OutcomeReported { outcome, known } => {
                Self::OutcomeReported { outcome: (*outcome).into(), known: *known }
            }
        }
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
    fn into_outcome(self) -> Result<Outcome, InputError> {
        let open = |open: FailOpenV2| FailOpen { gate: open.gate.into(), cause: open.cause.into() };
        Ok(match self {
            Self::Admitted { decision, hold, fail_open } => Outcome::Admitted {
                decision: DecisionId(decision),
                hold: hold.map(Hold::from),
                fail_open: fail_open.into_iter().map(open).collect(),
            },
            Self::Settled { reservation, how } => {
                Outcome::Settled { reservation: DecisionId(reservation), how: how.into() }
            }
            Self::Extended { expires_at } => Outcome::Extended { expires_at },
            Self::Resumed { continuations } => Outcome::Resumed { continuations },
            Self::Recorded => Outcome::Recorded,
            Self::Reported { increment, reset, disputed } => Outcome::Reported { increment, reset, disputed },
            Self::Frozen { was_frozen } => Outcome::Frozen { was_frozen },
            Self::BudgetSet => Outcome::BudgetSet,
            Self::Started { decision, slice, heartbeat, expires_at, fail_open } => Outcome::Started {
                decision: DecisionId(decision),
                grant: SessionGrant { slice, heartbeat, expires_at },
                fail_open: fail_open.into_iter().map(open).collect(),
            },
            Self::Beat { booked, disputed } => Outcome::Beat { booked, disputed },
            Self::SessionEnded { decision } => Outcome::SessionEnded { decision: DecisionId(decision) },
            Self::PoolConfigured => Outcome::PoolConfigured,
            Self::Picked { account, admitted } => {
                let account = AccountId::parse("account", &account)?;
                let none = (None, None, Vec::new());
                let (decision, hold, fail_open) =
                    admitted.map_or(none, |PickAdmittedV2 { decision, hold, fail_open }| {
                        (Some(DecisionId(decision)), hold.map(Hold::from), fail_open.into_iter().map(open).collect())
                    });
                Outcome::Picked { account, decision, hold, fail_open }
            }
            Self::OutcomeReported { outcome, known } => Outcome::OutcomeReported { outcome: outcome.into(), known },
        })
    }
}
