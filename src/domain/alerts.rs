//! What was announced of an org, so that it is announced once: one row for each limit that is nearly used up, each spell of
//! denials, each session that was warned, each pool and upstream account that is exhausted, and the end of a trial. No decision
//! reads it.
//!
//! ```text
//! limit    how much of it was announced in the running window; the row goes when there is plenty again
//! spell    denials by one limit, or calls let through at one gate, until ten minutes pass without one
//! session  what it was answered last: go on, a warning, stop
//! pool     every account of it is exhausted
//! account  it is exhausted
//! trial    it has used up what it includes; stays for the life of the org
//! drift    how many numbers did not fit together at the last load
//! flood    events of this minute that there was no room for
//! ```

mod level;
mod subject;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    ids::Scope,
    lease::Now,
    rows::{Keeper, Row, RowKey, RowsByKind},
    table::Table,
    window::Millis,
};
use crate::bounds::{ALERTS_PER_ORG, DENIAL_SPELL_MS, SPELL_WRITTEN_MS};

pub use level::Level;
pub(super) use level::{Step, freed, has_ended, steps};
pub use subject::Subject;

/// What was announced of one subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertRow {
    /// Whose limit it is of; empty is the org, also where it is of no limit.
    pub scope: Scope,
    /// Of what.
    pub subject: Subject,
    /// Of a limit and of a session: what was announced.
    pub level: Level,
    /// When it began.
    pub since: Millis,
    /// When the last of it happened.
    pub last: Millis,
    /// How often; of a drift, how many numbers.
    pub count: u64,
    /// The end of the window in which it was announced; `None` = of a rolling one, or none.
    pub until: Option<Millis>,
    /// When it is examined next, if nothing happens before; `None` = with what happens.
    pub due: Option<Millis>,
}

impl AlertRow {
    /// One that begins at `now`.
    pub(super) fn new(scope: &Scope, subject: Subject, now: Millis) -> Self {
        Self {
            scope: scope.clone(),
            subject,
            level: Level::Below,
            since: now,
            last: now,
            count: 0,
            until: None,
            due: None,
        }
    }
}

type AlertKey = (Scope, Subject);

impl AlertRow {
    fn key(&self) -> AlertKey {
        (self.scope.clone(), self.subject.clone())
    }
}

/// What is at hand of a limit without its row.
#[derive(Debug, Clone, Copy)]
struct Known {
    level: Level,
    until: Option<Millis>,
}

/// Rows by their subjects.
#[derive(Debug, Default)]
pub(super) struct Alerts {
    rows: Table<AlertKey, AlertRow>,
    /// Of limits, by scope and name.
    limits: BTreeMap<Scope, BTreeMap<Arc<str>, Known>>,
    due: BTreeSet<(Millis, AlertKey)>,
    /// Spells as they are now: a row is written now and then, not with each call.
    spells: Vec<AlertRow>,
    /// How many of the rows the bound of alerts holds for.
    counted: usize,
    /// There is a row of the trial's end as an older tollgate wrote it.
    former_trial: bool,
}

impl Alerts {
    /// `former` is what an older tollgate kept with pools and accounts.
    pub(super) fn load(rows: &mut RowsByKind, former: Vec<Subject>, now: Millis) -> Self {
        let mut alerts = Self::default();
        let stored = std::mem::take(&mut rows.alerts);
        stored.iter().for_each(|row| alerts.index(row));
        alerts.rows = Table::load(stored.into_iter().map(|row| (row.key(), row)));
        for subject in former {
            alerts.set(subject, true, now);
        }
        if let Some(row) = rows.trial_ended.pop() {
            alerts.former_trial = true;
            alerts.set(Subject::Trial, true, row.at);
        }
        alerts
    }

    /// Whether this is announced of the org.
    pub(super) fn has(&self, subject: &Subject) -> bool {
        self.get(Scope::of_org(), subject).is_some()
    }

    /// Notes that this is announced of the org, or over. Answers whether it is a change.
    pub(super) fn set(&mut self, subject: Subject, is_so: bool, now: Millis) -> bool {
        let changed = self.has(&subject) != is_so;
        if changed && is_so {
            self.put(AlertRow { count: 1, ..AlertRow::new(Scope::of_org(), subject, now) });
        } else if changed {
            self.remove(Scope::of_org(), &subject);
        }
        changed
    }

    /// When the end of the trial was announced.
    pub(super) fn trial_ended_at(&self) -> Option<Millis> {
        self.get(Scope::of_org(), &Subject::Trial).map(|row| row.since)
    }

    pub(super) fn get(&self, scope: &Scope, subject: &Subject) -> Option<&AlertRow> {
        self.rows.get(&(scope.clone(), subject.clone()))
    }

    /// Whether something may follow of a limit of which so much is taken: nearly always nothing does.
    pub(super) fn concerns(&self, scope: &Scope, limit: &str, (taken, usable): (u64, u64), now: Millis) -> bool {
        match self.limits.get(scope).and_then(|of_scope| of_scope.get(limit)) {
            None => usable > 0 && Level::of(taken, usable) > Level::Below,
            Some(known) => {
                known.until.is_some_and(|until| until <= now) || Level::kept(known.level, taken, usable) != known.level
            }
        }
    }

    /// Limits that were announced as used up.
    pub(super) fn used_up(&self) -> Vec<AlertRow> {
        let of_scopes = self.limits.iter().flat_map(|(scope, limits)| limits.iter().map(move |limit| (scope, limit)));
        let used_up = of_scopes.filter(|(_, (_, known))| known.level >= Level::Exhausted);
        used_up.filter_map(|(scope, (name, _))| self.get(scope, &Subject::Limit(name.clone())).cloned()).collect()
    }

    /// Counts one more of a spell. Answers the row that is to be written: of a new spell, and of one that was not
    /// written for a while.
    pub(super) fn one_more(&mut self, scope: &Scope, subject: &Subject, now: Millis) -> Option<AlertRow> {
        let known = self.spells.iter_mut().find(|row| row.subject == *subject && row.scope == *scope);
        let Some(row) = known else {
            let row = AlertRow { count: 1, ..AlertRow::new(scope, subject.clone(), now) };
            return Some(AlertRow { due: Some(now.saturating_add(DENIAL_SPELL_MS)), ..row });
        };
        (row.count, row.last) = (row.count.saturating_add(1), now);
        let written = self.rows.get(&row.key()).map_or(0, |stored| stored.last);
        (now >= written.saturating_add(SPELL_WRITTEN_MS)).then(|| row.clone())
    }

    /// Spells that have gone on since they were written.
    pub(super) fn ahead(&self) -> Vec<AlertRow> {
        let is_ahead = |spell: &&AlertRow| self.rows.get(&spell.key()).is_some_and(|row| row.count != spell.count);
        self.spells.iter().filter(is_ahead).cloned().collect()
    }

    /// The spell as it is now.
    pub(super) fn spell(&self, scope: &Scope, subject: &Subject) -> Option<AlertRow> {
        self.spells.iter().find(|row| row.subject == *subject && row.scope == *scope).cloned()
    }

    /// Whether one more row may be kept.
    pub(super) fn has_room(&self) -> bool {
        self.counted < ALERTS_PER_ORG
    }

    pub(super) fn put(&mut self, row: AlertRow) {
        let key = row.key();
        self.forget(&key);
        self.index(&row);
        self.rows.put(key, row);
    }

    pub(super) fn remove(&mut self, scope: &Scope, subject: &Subject) {
        let key = (scope.clone(), subject.clone());
        self.forget(&key);
        self.rows.remove(&key);
    }

    fn index(&mut self, row: &AlertRow) {
        self.counted += usize::from(!row.subject.is_bounded());
        if let Some(due) = row.due {
            self.due.insert((due, row.key()));
        }
        if row.subject.is_spell() {
            self.spells.push(row.clone());
        }
        if let Subject::Limit(limit) = &row.subject {
            let known = Known { level: row.level, until: row.until };
            self.limits.entry(row.scope.clone()).or_default().insert(limit.clone(), known);
        }
    }

    fn forget(&mut self, key: &AlertKey) {
        let Some(row) = self.rows.get(key) else { return };
        if let Some(due) = row.due {
            self.due.remove(&(due, key.clone()));
        }
        let (scope, subject) = key;
        self.counted -= usize::from(!subject.is_bounded());
        if subject.is_spell() {
            self.spells.retain(|row| row.subject != *subject || row.scope != *scope);
        }
        if let Subject::Limit(limit) = subject
            && let Some(of_scope) = self.limits.get_mut(scope)
        {
            of_scope.remove(limit);
            if of_scope.is_empty() {
                self.limits.remove(scope);
            }
        }
    }

    /// The next row that is to be examined at `now`.
    pub(super) fn next_due(&self, now: Millis) -> Option<AlertRow> {
        let (_, key) = self.due.first().filter(|(due, _)| *due <= now)?;
        self.rows.get(key).cloned()
    }
}

impl Keeper for Alerts {
    fn take_changes(&mut self, puts: &mut Vec<Row>, dels: &mut Vec<RowKey>) {
        self.rows.take_rows(puts, dels, |_, row| Row::Alert(row), |(scope, subject)| RowKey::Alert { scope, subject });
        dels.extend(std::mem::take(&mut self.former_trial).then_some(RowKey::TrialEnded));
    }

    /// What was announced of an org that has nothing else left is over, but for the end of its trial: that is announced once in
    /// the life of the org.
    fn is_spent(&self) -> bool {
        !self.has(&Subject::Trial)
    }

    fn next_wake(&self, _now: &Now) -> Option<Millis> {
        self.due.first().map(|(due, _)| *due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::PoolId;

    #[test]
    fn what_has_a_bound_of_its_own_takes_no_room() {
        let mut alerts = Alerts::default();
        for n in 0..ALERTS_PER_ORG {
            assert!(alerts.has_room());
            let pool = PoolId::parse("pool", &format!("p{n}")).unwrap();
            assert!(alerts.set(Subject::Pool(pool), true, 1));
            alerts.put(AlertRow::new(Scope::of_org(), Subject::Limit(format!("l{n}").into()), 1));
        }
        assert!(!alerts.has_room());
        assert!(alerts.set(Subject::Trial, true, 1) && !alerts.set(Subject::Trial, true, 2));
        assert_eq!((alerts.trial_ended_at(), alerts.is_spent()), (Some(1), false));
        alerts.remove(Scope::of_org(), &Subject::Limit("l0".into()));
        assert!(alerts.has_room());
    }
}
