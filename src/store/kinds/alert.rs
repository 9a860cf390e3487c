//! What was announced of a limit, a spell, a session, a pool, an upstream account or a trial.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::event::LevelV2;
use crate::domain::{
    alerts::{AlertRow, Subject},
    ids::Scope,
    window::Millis,
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AlertV2 {
    level: LevelV2,
    since: Millis,
    last: Millis,
    count: u64,
    until: Option<Millis>,
    due: Option<Millis>,
}

pub(super) fn write<S: Serializer>(row: &AlertRow, out: S) -> Result<S::Ok, S::Error> {
    let AlertRow { level, since, last, count, until, due, .. } = *row;
    AlertV2 { level: level.into(), since, last, count, until, due }.serialize(out)
}

pub(super) fn read<'de, D: Deserializer<'de>>(scope: Scope, subject: Subject, from: D) -> Result<AlertRow, D::Error> {
    let AlertV2 { level, since, last, count, until, due } = AlertV2::deserialize(from)?;
    Ok(AlertRow { scope, subject, level: level.into(), since, last, count, until, due })
}

#[cfg(test)]
pub(super) fn samples() -> Vec<(&'static str, AlertRow)> {
    use crate::{
        domain::{alerts::Level, gate::Gate},
        store::samples::{T0, scope},
    };

    let limit = AlertRow {
        scope: scope(),
        subject: Subject::Limit("budget/daily".into()),
        level: Level::Near95,
        since: T0,
        last: T0 + 7,
        count: 2,
        until: Some(T0 + 60_000),
        due: Some(T0 + 60_000),
    };
    let denials = Subject::Denials { gate: Gate::Freeze, limit: "".into() };
    let spell = AlertRow { scope: Scope::org(), subject: denials, level: Level::Below, until: None, ..limit.clone() };
    vec![("alert_limit", limit), ("alert_denials", spell)]
}
