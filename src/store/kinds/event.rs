//! What happened to an org. Variants are added behind the others.

use std::{borrow::Cow, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::{
    outcomes::{CauseV2, GateV2},
    stored::mirror,
};
use crate::domain::{
    alerts::Level,
    events::{Change, DenialsEvent, EventRow, Happening, LimitEvent, OverrideEnded, SessionChange},
    ids::{Meter, PoolId, Reason, Scope, SessionId},
    input::InputError,
    window::Millis,
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EventV2<'a> {
    at: Millis,
    #[serde(borrow)]
    what: HappeningV2<'a>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum HappeningV2<'a> {
    Operated {
        #[serde(borrow)]
        caller: Cow<'a, str>,
        #[serde(borrow)]
        command: Cow<'a, str>,
        #[serde(borrow)]
        changes: Vec<ChangeV2<'a>>,
        #[serde(borrow)]
        reason: Cow<'a, str>,
    },
    Limit {
        level: LevelV2,
        #[serde(borrow)]
        scope: Cow<'a, str>,
        #[serde(borrow)]
        limit: Cow<'a, str>,
        #[serde(borrow)]
        meter: Cow<'a, str>,
        used: u64,
        amount: u64,
        ends_at: Option<Millis>,
    },
    Denials {
        gate: GateV2,
        #[serde(borrow)]
        scope: Cow<'a, str>,
        #[serde(borrow)]
        limit: Cow<'a, str>,
        is_over: bool,
        count: u64,
        since: Millis,
        last: Millis,
    },
    FailedOpen {
        gate: GateV2,
        cause: CauseV2,
    },
    Session {
        #[serde(borrow)]
        id: Cow<'a, str>,
        change: SessionChangeV2,
        used: u64,
    },
    Upstream {
        #[serde(borrow)]
        pool: Cow<'a, str>,
        #[serde(borrow)]
        account: Option<Cow<'a, str>>,
        is_usable: bool,
        until: Option<Millis>,
    },
    TrialEnded,
    Drifted {
        numbers: u64,
    },
    LeftOut {
        count: u64,
        since: Millis,
    },
    OverrideEnded {
        #[serde(borrow)]
        scope: Cow<'a, str>,
        #[serde(borrow)]
        subject: Cow<'a, str>,
        #[serde(borrow)]
        setting: Cow<'a, str>,
        set_at: Millis,
        until: Millis,
        #[serde(borrow)]
        reason: Cow<'a, str>,
    },
    OverAdmitted {
        calls: u64,
        since: Millis,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum LevelV2 {
    Below,
    Near80,
    Near95,
    Exhausted,
    Over,
}

mirror!(Level <=> LevelV2 { Below, Near80, Near95, Exhausted, Over });

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SessionChangeV2 {
    Started,
    Warned80,
    Warned95,
    Stopped,
    Ended,
    Expired,
}

mirror!(SessionChange <=> SessionChangeV2 { Started, Warned80, Warned95, Stopped, Ended, Expired });

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeV2<'a> {
    #[serde(borrow)]
    field: Cow<'a, str>,
    #[serde(borrow)]
    old: Cow<'a, str>,
    #[serde(borrow)]
    new: Cow<'a, str>,
}

pub(super) fn write<S: Serializer>(row: &EventRow, out: S) -> Result<S::Ok, S::Error> {
    EventV2 { at: row.at, what: (&row.what).into() }.serialize(out)
}

pub(super) fn read<'de, D: Deserializer<'de>>(number: u64, from: D) -> Result<EventRow, D::Error> {
    let EventV2 { at, what } = EventV2::deserialize(from)?;
    Ok(EventRow { number, at, what: what.into_happening().map_err(D::Error::custom)? })
}

impl<'a> From<&'a Happening> for HappeningV2<'a> {
    fn from(what: &'a Happening) -> Self {
        match what {
            Happening::Operated { caller, command, changes, reason } => Self::Operated {
                caller: Cow::from(&**caller),
                command: Cow::from(&**command),
                changes: changes.iter().map(ChangeV2::from).collect(),
                reason: reason.as_str().into(),
            },
            Happening::Limit(event) => {
                let LimitEvent { level, scope, limit, meter, used, amount, ends_at } = &**event;
                Self::Limit {
                    level: (*level).into(),
                    scope: scope.as_str().into(),
                    limit: Cow::from(&**limit),
                    meter: meter.as_str().into(),
                    used: *used,
                    amount: *amount,
                    ends_at: *ends_at,
                }
            }
            Happening::Denials(event) => {
                let DenialsEvent { gate, scope, limit, is_over, count, since, last } = &**event;
                Self::Denials {
                    gate: (*gate).into(),
                    scope: scope.as_str().into(),
                    limit: Cow::from(&**limit),
                    is_over: *is_over,
                    count: *count,
                    since: *since,
                    last: *last,
                }
            }
            Happening::FailedOpen { gate, cause } => Self::FailedOpen { gate: (*gate).into(), cause: (*cause).into() },
            Happening::Session { id, change, used } => {
                Self::Session { id: id.as_str().into(), change: (*change).into(), used: *used }
            }
            Happening::Upstream { pool, account, is_usable, until } => Self::Upstream {
                pool: pool.as_str().into(),
                account: account.as_deref().map(Cow::from),
                is_usable: *is_usable,
                until: *until,
            },
            Happening::TrialEnded => Self::TrialEnded,
            Happening::Drifted { numbers } => Self::Drifted { numbers: *numbers },
            Happening::LeftOut { count, since } => Self::LeftOut { count: *count, since: *since },
            Happening::OverrideEnded(ended) => {
                let OverrideEnded { scope, subject, setting, set_at, until, reason } = &**ended;
                Self::OverrideEnded {
                    scope: scope.as_str().into(),
                    subject: Cow::from(&**subject),
                    setting: Cow::from(&**setting),
                    set_at: *set_at,
                    until: *until,
                    reason: reason.as_str().into(),
                }
            }
            Happening::OverAdmitted { calls, since } => Self::OverAdmitted { calls: *calls, since: *since },
        }
    }
}

/// Empty is the org.
fn scope(text: &str) -> Result<Scope, InputError> {
    if text.is_empty() { Ok(Scope::org()) } else { Scope::parse("scope", text) }
}

impl HappeningV2<'_> {
    fn into_happening(self) -> Result<Happening, InputError> {
        Ok(match self {
            Self::Operated { caller, command, changes, reason } => Happening::Operated {
                caller: caller.into(),
                command: command.into(),
                changes: changes.into_iter().map(Change::from).collect(),
                reason: Reason::parse("reason", &reason)?,
            },
            Self::Limit { level, scope: of, limit, meter, used, amount, ends_at } => {
                let (scope, meter) = (scope(&of)?, Meter::parse("meter", &meter)?);
                let (level, limit) = (level.into(), limit.into());
                Happening::Limit(Box::new(LimitEvent { level, scope, limit, meter, used, amount, ends_at }))
            }
            Self::Denials { gate, scope: of, limit, is_over, count, since, last } => {
                let (gate, scope, limit) = (gate.into(), scope(&of)?, limit.into());
                Happening::Denials(Box::new(DenialsEvent { gate, scope, limit, is_over, count, since, last }))
            }
            Self::FailedOpen { gate, cause } => Happening::FailedOpen { gate: gate.into(), cause: cause.into() },
            Self::Session { id, change, used } => {
                Happening::Session { id: SessionId::parse("id", &id)?, change: change.into(), used }
            }
            Self::Upstream { pool, account, is_usable, until } => Happening::Upstream {
                pool: PoolId::parse("pool", &pool)?,
                account: account.map(Arc::from),
                is_usable,
                until,
            },
            Self::TrialEnded => Happening::TrialEnded,
            Self::Drifted { numbers } => Happening::Drifted { numbers },
            Self::LeftOut { count, since } => Happening::LeftOut { count, since },
            Self::OverrideEnded { scope: of, subject, setting, set_at, until, reason } => {
                let (scope, reason) = (scope(&of)?, Reason::parse("reason", &reason)?);
                let (subject, setting) = (subject.into(), setting.into());
                Happening::OverrideEnded(Box::new(OverrideEnded { scope, subject, setting, set_at, until, reason }))
            }
            Self::OverAdmitted { calls, since } => Happening::OverAdmitted { calls, since },
        })
    }
}

impl<'a> From<&'a Change> for ChangeV2<'a> {
    fn from(Change { field, old, new }: &'a Change) -> Self {
        let [field, old, new] = [field, old, new].map(|text| Cow::from(&**text));
        Self { field, old, new }
    }
}

impl From<ChangeV2<'_>> for Change {
    fn from(ChangeV2 { field, old, new }: ChangeV2<'_>) -> Self {
        Self { field: field.into(), old: old.into(), new: new.into() }
    }
}

#[cfg(test)]
pub(super) fn samples() -> Vec<(&'static str, EventRow)> {
    use crate::{
        domain::gate::{Cause, Gate},
        store::samples::{T0, pool_id, scope},
    };

    let changes = vec![Change::new("daily spend", "$5.00", "$10.00"), Change::new("weekly \"spend\"", "", "é")];
    let reason = Reason::parse("reason", "they have paid").unwrap();
    let operated = Happening::Operated { caller: "cert:ops".into(), command: "UpdateBudget".into(), changes, reason };
    let limit = LimitEvent {
        level: Level::Exhausted,
        scope: scope(),
        limit: "budget/daily".into(),
        meter: Meter::spend(),
        used: 7,
        amount: 7,
        ends_at: Some(T0 + 60_000),
    };
    let (gate, limit_of_org) = (Gate::Rate, "rate".into());
    let denials = DenialsEvent {
        gate,
        scope: Scope::org(),
        limit: limit_of_org,
        is_over: true,
        count: 1000,
        since: T0,
        last: T0 + 9,
    };
    let session = SessionId::parse("id", "vm-1").unwrap();
    let account = Some("sk-a…9f3c".into());
    let ended = OverrideEnded {
        scope: scope(),
        subject: "budget/daily".into(),
        setting: "$50.00".into(),
        set_at: T0,
        until: T0 + 60_000,
        reason: Reason::parse("reason", "a launch").unwrap(),
    };
    let events = [
        ("event_operated", operated),
        ("event_limit", Happening::Limit(Box::new(limit))),
        ("event_denials", Happening::Denials(Box::new(denials))),
        ("event_failed_open", Happening::FailedOpen { gate: Gate::Balance, cause: Cause::Timeout }),
        ("event_session", Happening::Session { id: session, change: SessionChange::Warned95, used: 60_000 }),
        ("event_upstream", Happening::Upstream { pool: pool_id(), account, is_usable: false, until: Some(T0) }),
        ("event_trial_ended", Happening::TrialEnded),
        ("event_drifted", Happening::Drifted { numbers: 3 }),
        ("event_left_out", Happening::LeftOut { count: 5, since: T0 }),
        ("event_override_ended", Happening::OverrideEnded(Box::new(ended))),
        ("event_over_admitted", Happening::OverAdmitted { calls: 12, since: T0 }),
    ];
    let rows = (7..).zip(events).map(|(number, (name, what))| (name, EventRow { number, at: T0, what }));
    rows.collect()
}
