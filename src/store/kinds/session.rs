//! Sessions, those included that ended a short while ago.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::{
    FIRST_VERSION,
    stored::{hex128, mirror},
};
use crate::domain::{
    ids::{DecisionId, Identity, Incarnation, SessionId},
    input::InputError,
    lease::LeaseTime,
    rows::{FormerSessions, Heard, PastLife, SessionRow, SessionState},
    scopes::Scopes,
    window::Millis,
};

/// Knows the lives of those that had the id before by a hash and the time at which they ended: `former_lives` is
/// empty.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SessionV5<'a> {
    #[serde(borrow)]
    session: SessionV4<'a>,
    past_lives: Vec<PastLifeV5>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PastLifeV5 {
    mark: u64,
    ended_at: Option<Millis>,
}

/// `former_lives` are the names of the last few.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SessionV4<'a> {
    #[serde(borrow)]
    scope: Cow<'a, str>,
    #[serde(borrow)]
    identity: Cow<'a, str>,
    #[serde(with = "hex128")]
    decision: u128,
    state: SessionStateV2,
    started_at: Millis,
    heard_at: Millis,
    heard_lease: Millis,
    heard_absent: Millis,
    expires_lease: Millis,
    ended_at: Option<Millis>,
    #[serde(borrow)]
    lives: Vec<(Cow<'a, str>, u64)>,
    booked: u64,
    ahead: u64,
    disputed: u64,
    stopping_lease: Option<Millis>,
    former: Vec<FormerV3>,
    #[serde(borrow)]
    former_lives: Vec<Cow<'a, str>>,
}

/// Before leases had a clock of their own: it began as service time.
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

/// Those before the fourth have one clock: they can say what both clocks agree on.
pub(super) fn version(row: &SessionRow) -> u8 {
    let heard = Heard { lease: LeaseTime(row.last_heartbeat_at), absent: 0 };
    let ends = row.ended_at.unwrap_or(row.expires_at.0);
    if !row.former.lives.is_empty() {
        5
    } else if row.heard != heard || ends != row.expires_at.0 {
        4
    } else if row.former != FormerSessions::default() {
        3
    } else {
        FIRST_VERSION
    }
}

pub(super) fn write<S: Serializer>(row: &SessionRow, out: S) -> Result<S::Ok, S::Error> {
    let newest = SessionV4::from(row);
    match version(row) {
        FIRST_VERSION => SessionV3::from(newest).session.serialize(out),
        3 => SessionV3::from(newest).serialize(out),
        4 => newest.serialize(out),
        _ => {
            let past = row.former.lives.iter();
            let past_lives = past.map(|past| PastLifeV5 { mark: past.mark, ended_at: past.ended_at }).collect();
            SessionV5 { session: newest, past_lives }.serialize(out)
        }
    }
}

impl<'a> From<SessionV4<'a>> for SessionV3<'a> {
    fn from(new: SessionV4<'a>) -> Self {
        let session = SessionV2 {
            scope: new.scope,
            identity: new.identity,
            decision: new.decision,
            state: new.state,
            started_at: new.started_at,
            heard_at: new.heard_at,
            ends_at: new.expires_lease,
            lives: new.lives,
            booked: new.booked,
            ahead: new.ahead,
            disputed: new.disputed,
            stopping_since: new.stopping_lease,
        };
        Self { session, former: new.former, former_lives: new.former_lives }
    }
}

pub(super) fn read<'de, D: Deserializer<'de>>(version: u8, id: SessionId, from: D) -> Result<SessionRow, D::Error> {
    let stored = match version {
        FIRST_VERSION => SessionV4::from(SessionV2::deserialize(from)?),
        3 => {
            let SessionV3 { session, former, former_lives } = SessionV3::deserialize(from)?;
            SessionV4 { former, former_lives, ..SessionV4::from(session) }
        }
        4 => SessionV4::deserialize(from)?,
        _ => {
            let SessionV5 { session, past_lives } = SessionV5::deserialize(from)?;
            let mut row = session.into_row(id).map_err(D::Error::custom)?;
            let past = past_lives.into_iter().map(|past| PastLife { mark: past.mark, ended_at: past.ended_at });
            row.former.lives.extend(past);
            return Ok(row);
        }
    };
    stored.into_row(id).map_err(D::Error::custom)
}

impl<'a> From<SessionV2<'a>> for SessionV4<'a> {
    fn from(old: SessionV2<'a>) -> Self {
        let runs = matches!(old.state, SessionStateV2::Running);
        Self {
            scope: old.scope,
            identity: old.identity,
            decision: old.decision,
            state: old.state,
            started_at: old.started_at,
            heard_at: old.heard_at,
            heard_lease: old.heard_at,
            heard_absent: 0,
            expires_lease: old.ends_at,
            ended_at: (!runs).then_some(old.ends_at),
            lives: old.lives,
            booked: old.booked,
            ahead: old.ahead,
            disputed: old.disputed,
            stopping_lease: old.stopping_since,
            former: Vec::new(),
            former_lives: Vec::new(),
        }
    }
}

impl<'a> From<&'a SessionRow> for SessionV4<'a> {
    fn from(row: &'a SessionRow) -> Self {
        Self {
            scope: row.scopes.text(),
            identity: row.identity.as_str().into(),
            decision: row.decision.0,
            state: row.state.into(),
            started_at: row.started_at,
            heard_at: row.last_heartbeat_at,
            heard_lease: row.heard.lease.0,
            heard_absent: row.heard.absent,
            expires_lease: row.expires_at.0,
            ended_at: row.ended_at,
            lives: row.incarnations.iter().map(|(name, total)| (name.as_str().into(), *total)).collect(),
            booked: row.booked,
            ahead: row.booked_ahead,
            disputed: row.disputed,
            stopping_lease: row.stopping_since.map(|at| at.0),
            former: row.former.decisions.iter().map(|decision| FormerV3 { decision: decision.0 }).collect(),
            former_lives: Vec::new(),
        }
    }
}

impl SessionV4<'_> {
    fn into_row(self, id: SessionId) -> Result<SessionRow, InputError> {
        let life = |(text, total): (Cow<'_, str>, u64)| Ok((Incarnation::parse("incarnation", &text)?, total));
        // It began when they had ended.
        let ended_at = Some(self.started_at);
        let past = |text: &Cow<'_, str>| Ok(PastLife::of(&Incarnation::parse("incarnation", text)?, ended_at));
        let past_lives = self.former_lives.iter().map(past).collect::<Result<_, InputError>>()?;
        Ok(SessionRow {
            id,
            scopes: Scopes::parse("scope", &self.scope)?,
            identity: Identity::parse("identity", &self.identity)?,
            decision: DecisionId(self.decision),
            state: self.state.into(),
            started_at: self.started_at,
            last_heartbeat_at: self.heard_at,
            heard: Heard { lease: LeaseTime(self.heard_lease), absent: self.heard_absent },
            expires_at: LeaseTime(self.expires_lease),
            ended_at: self.ended_at,
            incarnations: self.lives.into_iter().map(life).collect::<Result<_, InputError>>()?,
            booked: self.booked,
            booked_ahead: self.ahead,
            disputed: self.disputed,
            stopping_since: self.stopping_lease.map(LeaseTime),
            former: FormerSessions {
                decisions: self.former.into_iter().map(|former| DecisionId(former.decision)).collect(),
                lives: past_lives,
            },
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
        heard: Heard { lease: LeaseTime(T0 + 20_000), absent: 10_000 },
        expires_at: LeaseTime(T0 + 140_000),
        ended_at: None,
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
            lives: vec![
                PastLife::of(&Incarnation::parse("incarnation", "boot 0").unwrap(), Some(T0)),
                PastLife::of(&Incarnation::parse("incarnation", "boot 00").unwrap(), None),
            ],
        },
        ..running.clone()
    };
    let expired = SessionRow {
        id: SessionId::parse("session_id", "s2").unwrap(),
        state: SessionState::Expired,
        ended_at: Some(T0 + 150_000),
        incarnations: vec![],
        booked_ahead: 5,
        disputed: 4,
        stopping_since: Some(LeaseTime(T0 + 30_000)),
        ..running.clone()
    };
    let id = SessionId::parse("session_id", "s3").unwrap();
    let of_several = SessionRow { id, scopes: scopes(), ..running.clone() };
    vec![("session", running), ("session_expired", expired), ("session_scopes", of_several), ("session_again", again)]
}
