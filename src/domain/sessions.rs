//! The sessions of an org: which run, and when each expires without a heartbeat.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    ids::{DecisionId, SessionId},
    lease::{LeaseTime, Now},
    rows::{Keeper, Row, RowKey, RowsByKind, SessionRow, SessionState},
    table::Table,
    window::Millis,
};
use crate::bounds::SESSION_MEMORY_MS;

#[derive(Debug, Default)]
pub(super) struct Sessions {
    rows: Table<SessionId, SessionRow>,
    /// Which of them each decision let begin.
    decisions: BTreeMap<DecisionId, SessionId>,
    /// Those that run by their expiry, soonest first.
    expiries: BTreeSet<(LeaseTime, SessionId)>,
    /// Those that have ended, the first to end first.
    endings: BTreeSet<(Millis, SessionId)>,
}

impl Sessions {
    pub(super) fn load(rows: &mut RowsByKind) -> Self {
        let rows = std::mem::take(&mut rows.sessions);
        let mut sessions = Self::default();
        for row in &rows {
            sessions.index(row);
        }
        sessions.rows = Table::load(rows.into_iter().map(|row| (row.id.clone(), row)));
        sessions
    }

    fn index(&mut self, row: &SessionRow) {
        for decision in row.former.decisions.iter().chain([&row.decision]) {
            self.decisions.insert(*decision, row.id.clone());
        }
        match row.ended_at {
            None => _ = self.expiries.insert((row.expires_at, row.id.clone())),
            Some(at) => _ = self.endings.insert((at, row.id.clone())),
        }
    }

    fn unindex(&mut self, id: &SessionId) {
        let Some(row) = self.rows.get(id) else { return };
        match row.ended_at {
            None => _ = self.expiries.remove(&(row.expires_at, id.clone())),
            Some(at) => _ = self.endings.remove(&(at, id.clone())),
        }
        for decision in row.former.decisions.iter().chain([&row.decision]) {
            self.decisions.remove(decision);
        }
    }

    pub(super) fn get(&self, id: &SessionId) -> Option<&SessionRow> {
        self.rows.get(id)
    }

    pub(super) fn put(&mut self, row: SessionRow) {
        self.unindex(&row.id);
        self.index(&row);
        self.rows.put(row.id.clone(), row);
    }

    /// Whether the decision let a session begin, and so names its first slice.
    pub(super) fn began_with(&self, decision: DecisionId) -> bool {
        self.decisions.contains_key(&decision)
    }

    /// The session that the decision let begin, unless its id was used again.
    pub(super) fn of_decision(&self, decision: DecisionId) -> Option<&SessionRow> {
        self.rows.get(self.decisions.get(&decision)?).filter(|row| row.decision == decision)
    }

    /// What each running session has paid for at most when it expires unheard.
    pub(super) fn prepaid(&self) -> impl Iterator<Item = (DecisionId, Millis)> {
        self.rows().filter(|row| row.state == SessionState::Running).map(|row| (row.decision, row.silence()))
    }

    pub(super) fn running(&self) -> u64 {
        u64::try_from(self.expiries.len()).unwrap_or(u64::MAX)
    }

    /// The next session that has expired at `now`.
    pub(super) fn expired(&self, now: LeaseTime) -> Option<SessionRow> {
        let (_, id) = self.expiries.first().filter(|(at, _)| *at <= now)?;
        self.rows.get(id).cloned()
    }

    /// Makes room for one more, giving up those that ended first; false where all of them run.
    pub(super) fn make_room(&mut self, max: usize) -> bool {
        if self.expiries.len() >= max {
            return false;
        }
        while self.rows.len() >= max {
            let Some((_, id)) = self.endings.first().cloned() else { return false };
            self.forget(&id);
        }
        true
    }

    fn forget(&mut self, id: &SessionId) {
        self.unindex(id);
        self.rows.remove(id);
    }

    /// Forgets those that ended long ago.
    pub(super) fn purge(&mut self, now: Millis) {
        while let Some((_, id)) = self.endings.first().filter(|(at, _)| at.saturating_add(SESSION_MEMORY_MS) <= now) {
            let id = id.clone();
            self.forget(&id);
        }
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = &SessionRow> {
        self.rows.iter().map(|(_, row)| row)
    }

    /// In the order of their ids, from behind `after`.
    pub(super) fn behind<'s>(&'s self, after: Option<&'s SessionId>) -> Box<dyn Iterator<Item = &'s SessionRow> + 's> {
        match after {
            None => Box::new(self.rows()),
            Some(after) => Box::new(self.rows.iter_from(after).map(|(_, row)| row).filter(move |row| row.id != *after)),
        }
    }
}

impl Keeper for Sessions {
    fn take_changes(&mut self, puts: &mut Vec<Row>, dels: &mut Vec<RowKey>) {
        self.rows.take_rows(puts, dels, |_, row| Row::Session(row), |id| RowKey::Session { id });
    }

    fn is_spent(&self) -> bool {
        self.rows.is_empty()
    }

    /// When one expires, or can be forgotten.
    fn next_wake(&self, now: &Now) -> Option<Millis> {
        let expiry = self.expiries.first().map(|(at, _)| now.wake(*at));
        let ending = self.endings.first().map(|(at, _)| at.saturating_add(SESSION_MEMORY_MS));
        expiry.into_iter().chain(ending).min()
    }
}
