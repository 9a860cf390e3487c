//! Sessions, those included that ended a short while ago.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::stored::{hex128, mirror};
use crate::domain::{
    ids::{DecisionId, Identity, Incarnation, SessionId},
    input::InputError,
    rows::{FormerSessions, SessionRow, SessionState},
    scopes::Scopes,
    window::Millis,
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SessionV2<'a> {
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

/// Knows of those that had the id before.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SessionV3<'a> {
    #[serde(borrow)]
    session: SessionV2<'a>,
    former: Vec<FormerV3>,
    #[serde(borrow)]
    former_lives: Vec<Cow<'a, str>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FormerV3 {
    #[serde(with = "hex128")]
    decision: u128,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SessionStateV2 {
    Running,
    Ended,
    Expired,
}

mirror!(SessionState <=> SessionStateV2 { Running, Ended, Expired });

pub(super) fn version(row: &SessionRow) -> u8 {
    if row.former == FormerSessions::default() { 2 } else { 3 }
}

pub(super) fn write<S: Serializer>(row: &SessionRow, out: S) -> Result<S::Ok, S::Error> {
    let session = SessionV2::from(row);
    if version(row) == 2 {
        return session.serialize(out);
    }
    let former = row.former.decisions.iter().map(|decision| FormerV3 { decision: decision.0 }).collect();
    let former_lives = row.former.lives.iter().map(|life| life.as_str().into()).collect();
    SessionV3 { session, former, former_lives }.serialize(out)
}

pub(super) fn read<'de, D: Deserializer<'de>>(version: u8, id: SessionId, from: D) -> Result<SessionRow, D::Error> {
    if version == 2 {
        return SessionV2::deserialize(from)?.into_row(id).map_err(D::Error::custom);
    }
    SessionV3::deserialize(from)?.into_row(id).map_err(D::Error::custom)
}

impl SessionV3<'_> {
    fn into_row(self, id: SessionId) -> Result<SessionRow, InputError> {
        let lives = self.former_lives.iter().map(|life| Incarnation::parse("incarnation", life));
        let former = FormerSessions {
            decisions: self.former.into_iter().map(|former| DecisionId(former.decision)).collect(),
            lives: lives.collect::<Result<_, InputError>>()?,
        };
        Ok(SessionRow { former, ..self.session.into_row(id)? })
    }
}

impl<'a> From<&'a SessionRow> for SessionV2<'a> {
    fn from(row: &'a SessionRow) -> Self {
        Self {
            scope: row.scopes.text(),
            identity: row.identity.as_str().into(),
            decision: row.decision.0,
            state: row.state.into(),
            started_at: row.started_at,
            heard_at: row.last_heartbeat_at,
            ends_at: row.ends_at,
            lives: row.incarnations.iter().map(|(name, total)| (name.as_str().into(), *total)).collect(),
            booked: row.booked,
            ahead: row.booked_ahead,
            disputed: row.disputed,
            stopping_since: row.stopping_since,
        }
    }
}

impl SessionV2<'_> {
    fn into_row(self, id: SessionId) -> Result<SessionRow, InputError> {
        let life = |(text, total): (Cow<'_, str>, u64)| Ok((Incarnation::parse("incarnation", &text)?, total));
        Ok(SessionRow {
            id,
            scopes: Scopes::parse("scope", &self.scope)?,
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
            former: FormerSessions::default(),
        })
    }
}

#[cfg(test)]
pub(super) fn samples() -> Vec<(&'static str, SessionRow)> {
    use crate::store::samples::{T0, scope, scopes};

    let running = SessionRow {
        id: SessionId::parse("session_id", "session/1").unwrap(),
        scopes: scope().into(),
        identity: Identity::parse("identity", "vm \"1\"").unwrap(),
        decision: DecisionId(9),
        state: SessionState::Running,
        started_at: T0,
        last_heartbeat_at: T0 + 30_000,
        ends_at: T0 + 150_000,
        incarnations: vec![(Incarnation::parse("incarnation", "boot 1").unwrap(), 30_000)],
        booked: 30_000,
        booked_ahead: 0,
        disputed: 0,
        stopping_since: None,
        former: FormerSessions::default(),
    };
    let again = SessionRow {
        id: SessionId::parse("session_id", "s4").unwrap(),
        former: FormerSessions {
            decisions: vec![DecisionId(5), DecisionId(7)],
            lives: vec![Incarnation::parse("incarnation", "boot 0").unwrap()],
        },
        ..running.clone()
    };
    let expired = SessionRow {
        id: SessionId::parse("session_id", "s2").unwrap(),
        state: SessionState::Expired,
        incarnations: vec![],
        booked_ahead: 5,
        disputed: 4,
        stopping_since: Some(T0 + 40_000),
        ..running.clone()
    };
    let id = SessionId::parse("session_id", "s3").unwrap();
    let of_several = SessionRow { id, scopes: scopes(), ..running.clone() };
    vec![("session", running), ("session_expired", expired), ("session_scopes", of_several), ("session_again", again)]
}
