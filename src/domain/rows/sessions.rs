//! A session as it is kept, those that had its id before included.

use sha2::{Digest, Sha256};

use super::super::{
    ids::{DecisionId, Identity, Incarnation, SessionId},
    lease::{LeaseTime, Now},
    scopes::Scopes,
    window::Millis,
};
use crate::bounds::{SESSION_FORMER_LIVES, SESSION_LIVES, SESSION_MEMORY_MS};

/// Whether a session runs, or how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionState {
    /// It holds a slot.
    Running,
    /// By its plane.
    Ended,
    /// Its heartbeats stopped.
    Expired,
}

/// One session. Times of its machine are in milliseconds of `compute`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    /// The plane's name for it.
    pub id: SessionId,
    /// Where its compute is recorded, besides the org.
    pub scopes: Scopes,
    /// Who may send its heartbeats.
    pub identity: Identity,
    /// Names the decision that let it begin, and what is left of its first slice: a reservation.
    pub decision: DecisionId,
    /// Whether it runs, or how it ended.
    pub state: SessionState,
    /// When it was admitted.
    pub started_at: Millis,
    /// When its last heartbeat arrived.
    pub last_heartbeat_at: Millis,
    /// The same in lease time, and the absences of the node up to then.
    pub heard: Heard,
    /// When it expires without a heartbeat, or has.
    pub expires_at: LeaseTime,
    /// When it ended or expired; `None` while it runs.
    pub ended_at: Option<Millis>,
    /// Lives of its machine with the highest total of each, the youngest last; at most
    /// [`crate::bounds::SESSION_LIVES`].
    pub incarnations: Vec<(Incarnation, u64)>,
    /// Booked so far.
    pub booked: u64,
    /// Booked ahead of reports: the next report is credited against it.
    pub booked_ahead: u64,
    /// Reported and not believed.
    pub disputed: u64,
    /// Since when heartbeats are answered with stop; `None` while it may go on.
    pub stopping_since: Option<LeaseTime>,
    /// Sessions that had the id before and have ended.
    pub former: FormerSessions,
}

/// What is known of the sessions that had an id before the one that has it now: enough to tell what comes late
/// from them from what the present one reports.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FormerSessions {
    /// The decisions that let them begin, the youngest last; at most [`crate::bounds::SESSION_LIVES`].
    pub decisions: Vec<DecisionId>,
    /// Lives of their machines, the first to end first, for as long as an ended session is remembered; and those lives
    /// of the present one of which no total is known any more. At most [`crate::bounds::SESSION_FORMER_LIVES`].
    pub lives: Vec<PastLife>,
}

/// One life of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PastLife {
    /// A hash of its name.
    pub mark: u64,
    /// When its session ended; `None` = it is the session that has the id now.
    pub ended_at: Option<Millis>,
}

impl PastLife {
    /// Of a session that ended then; `None` = not yet.
    pub fn of(life: &Incarnation, ended_at: Option<Millis>) -> Self {
        Self { mark: Self::mark(life), ended_at }
    }

    fn mark(life: &Incarnation) -> u64 {
        let digest: [u8; 32] = Sha256::digest(life.as_str().as_bytes()).into();
        digest.iter().take(8).fold(0, |mark, byte| mark << 8 | u64::from(*byte))
    }

    fn is_remembered(self, now: Millis) -> bool {
        self.ended_at.is_none_or(|at| now < at.saturating_add(SESSION_MEMORY_MS))
    }
}

impl FormerSessions {
    /// Whether it is a life of one of them.
    pub fn had(&self, life: &Incarnation) -> bool {
        if self.lives.is_empty() {
            return false;
        }
        let mark = PastLife::mark(life);
        self.lives.iter().any(|past| past.mark == mark && past.ended_at.is_some())
    }
}

/// The instant of a heartbeat by the clocks that no correction moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Heard {
    /// Lease time.
    pub lease: LeaseTime,
    /// All absences of the node up to then, in milliseconds.
    pub absent: Millis,
}

impl Heard {
    /// A heartbeat that arrives now.
    pub fn at(now: &Now) -> Self {
        Self { lease: now.lease, absent: now.absent }
    }

    /// For how long the node was away since then.
    pub fn away(&self, now: &Now) -> Millis {
        now.absent.saturating_sub(self.absent)
    }

    /// How much time has really passed since then.
    pub fn passed(&self, now: &Now) -> Millis {
        now.lease.since(self.lease).saturating_add(self.away(now))
    }
}

impl SessionRow {
    /// Takes a total of one life, in milliseconds, and answers by how much it grew.
    pub fn grow(&mut self, incarnation: &Incarnation, total: u64) -> u64 {
        let known = self.incarnations.iter_mut().find(|(life, _)| life == incarnation);
        let Some((_, highest)) = known else {
            if self.incarnations.len() >= SESSION_LIVES {
                let (oldest, _) = self.incarnations.remove(0);
                self.note_past(&oldest);
            }
            self.incarnations.push((incarnation.clone(), total));
            return total;
        };
        let grown = total.saturating_sub(*highest);
        *highest += grown;
        grown
    }

    /// Remembers a life of this session whose total is given up. Those of sessions before it have precedence.
    fn note_past(&mut self, life: &Incarnation) {
        let (past, lives) = (PastLife::of(life, None), &mut self.former.lives);
        if lives.len() < SESSION_FORMER_LIVES && !lives.contains(&past) {
            lives.push(past);
        }
    }

    /// Whether all lives of this session and of those before it can be remembered by one that takes its id.
    pub fn has_room_for_next(&self, now: Millis) -> bool {
        let past = self.former.lives.iter().filter(|past| past.is_remembered(now)).count();
        past.saturating_add(self.incarnations.len()) <= SESSION_FORMER_LIVES
    }

    /// What a session that takes its id is to know of it and of those before it.
    pub fn into_former(self, now: Millis) -> FormerSessions {
        let ended_at = Some(self.ended_at.unwrap_or(now));
        let FormerSessions { mut decisions, mut lives } = self.former;
        decisions.push(self.decision);
        decisions.drain(..decisions.len().saturating_sub(SESSION_LIVES));
        lives.retain(|past| past.is_remembered(now));
        for past in &mut lives {
            past.ended_at = past.ended_at.or(ended_at);
        }
        lives.extend(self.incarnations.iter().map(|(life, _)| PastLife::of(life, ended_at)));
        FormerSessions { decisions, lives }
    }

    /// From its last heartbeat to its expiry.
    pub fn silence(&self) -> Millis {
        self.expires_at.since(self.heard.lease)
    }
}
