//! What an org has promised: its gapless commit sequence and the request ids it remembers.
//!
//! Every commit that has something to remember writes one journal row under the next sequence number.
//! Admitted outcomes with a request id are remembered from there, so that a retry gets the same answer
//! and is charged once, also after a restart. Denials are not remembered: they are evaluated afresh. An entry lives and
//! dies with the charge it stands for, because both are in the same commit.

use std::collections::{HashMap, VecDeque};

use super::{
    ids::{DecisionId, RequestId},
    outcome::{Entry, Outcome, Settlement},
    refusal::OrgError,
    request::{Idempotency, Rpc},
    rows::{JournalRow, Row, RowKey},
    window::Millis,
};
use crate::bounds::{HOUR_MS, LONG_MEMORY_MS, MEMORY_FLOOR_MS, SHORT_MEMORY_MS};

/// Settled reservations remembered by name; past it the oldest is just "unknown".
const SETTLED_MAX: usize = 100_000;

type Remembered = (Rpc, RequestId);

/// A stored row and when its last entry runs out.
#[derive(Debug, Clone, Copy)]
struct Kept {
    seq: u64,
    expiry: Millis,
}

impl Kept {
    fn of(row: &JournalRow) -> Self {
        // A row whose entries are all in the long one still shows for a while that there is no gap.
        let least = row.at.saturating_add(MEMORY_FLOOR_MS);
        Self { seq: row.seq, expiry: row.entries.iter().map(Entry::expires_at).fold(least, Millis::max) }
    }
}

/// What an org remembers of its calls, and how many commits remembered something.
#[derive(Debug, Default)]
pub struct Journal {
    seq: u64,
    from: u64,
    by_id: HashMap<(Rpc, RequestId), Entry>,
    settled: HashMap<DecisionId, Settlement>,
    /// (expiry, reservation), in order.
    settlements: VecDeque<(Millis, DecisionId)>,
    /// (expiry, what), one queue per retention, each in order of expiry.
    short: VecDeque<(Millis, Remembered)>,
    long: VecDeque<(Millis, Remembered)>,
    /// Stored rows, in order.
    rows: VecDeque<Kept>,
    long_rows: VecDeque<Kept>,
    pending: Vec<Entry>,
    evicted: u64,
}

impl Journal {
    /// From what the head says (`seq`, `from`, `evicted`) and the stored rows, in any order.
    pub fn load(seq: u64, from: u64, evicted: u64, mut rows: Vec<JournalRow>, mut long_rows: Vec<JournalRow>) -> Self {
        rows.sort_by_key(|row| row.seq);
        long_rows.sort_by_key(|row| row.seq);
        let mut journal = Self { seq, from, evicted, ..Self::default() };
        journal.rows = rows.iter().map(Kept::of).collect();
        journal.long_rows = long_rows.iter().map(Kept::of).collect();
        for entry in rows.into_iter().chain(long_rows).flat_map(|row| row.entries) {
            journal.index(entry);
        }
        journal
    }

    /// Commits so far that remembered something.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The oldest number whose row is kept; one past the newest where none is.
    pub fn from(&self) -> u64 {
        self.from.max(1)
    }

    /// Request ids that were given up before their time, since the org was first seen.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Request ids that are remembered, expired ones included until they are removed.
    pub fn remembered(&self) -> usize {
        self.by_id.len()
    }

    /// Nothing is remembered and nothing waits. Rows that remember nothing may still be stored.
    pub fn is_quiet(&self) -> bool {
        self.by_id.is_empty() && self.settled.is_empty() && self.pending.is_empty()
    }

    /// The outcome of an earlier call with the same id; `None` where there was none. A call of another
    /// meaning under the same id is refused.
    pub fn recall(
        &self,
        rpc: Rpc,
        idempotency: Option<&Idempotency>,
        now: Millis,
    ) -> Result<Option<&Outcome>, OrgError> {
        let Some(asked) = idempotency else { return Ok(None) };
        let known = self.by_id.get(&(rpc, asked.id.clone())).filter(|entry| now < entry.expires_at());
        match known {
            None => Ok(None),
            Some(entry) if entry.idempotency.as_ref().is_some_and(|known| known.is_repeated_by(asked)) => {
                Ok(Some(&entry.outcome))
            }
            Some(_) => Err(OrgError::RequestIdReused),
        }
    }

    /// When the call with this id was carried out.
    pub fn answered_at(&self, rpc: Rpc, idempotency: Option<&Idempotency>) -> Option<Millis> {
        Some(self.by_id.get(&(rpc, idempotency?.id.clone()))?.at)
    }

    /// How a reservation ended; `None` = it is open, unknown, or ended more than a day ago.
    pub fn settlement(&self, reservation: DecisionId) -> Option<Settlement> {
        self.settled.get(&reservation).copied()
    }

    /// Makes room for one more request id, giving up those that are past a retry's reach.
    pub fn make_room(&mut self, max: u32, now: Millis) -> Result<(), OrgError> {
        self.forget_expired(now);
        while self.by_id.len() >= max as usize {
            let age_limit = now.saturating_sub(MEMORY_FLOOR_MS);
            let old = |queue: &VecDeque<(Millis, Remembered)>, keep: Millis| {
                queue.front().is_some_and(|(expiry, _)| expiry.saturating_sub(keep) <= age_limit)
            };
            let dropped = if old(&self.short, SHORT_MEMORY_MS) {
                self.short.pop_front()
            } else if old(&self.long, LONG_MEMORY_MS) {
                self.long.pop_front()
            } else {
                return Err(OrgError::RequestMemoryFull { most: max });
            };
            if let Some((expiry, what)) = dropped {
                self.evicted += 1;
                self.forget(what, expiry);
            }
        }
        Ok(())
    }

    /// Adds an outcome to the commit in preparation.
    pub fn note(&mut self, entry: Entry) {
        if entry.idempotency.is_none() && entry.outcome.settlement().is_none() {
            return;
        }
        self.index(entry.clone());
        self.pending.push(entry);
    }

    fn index(&mut self, entry: Entry) {
        let expiry = entry.expires_at();
        if let Some((reservation, how)) = entry.outcome.settlement() {
            self.settled.insert(reservation, how);
            self.settlements.push_back((expiry, reservation));
        }
        if let Some(idempotency) = &entry.idempotency {
            let id = idempotency.id.clone();
            let queue = if entry.long { &mut self.long } else { &mut self.short };
            queue.push_back((expiry, (entry.rpc, id.clone())));
            self.by_id.insert((entry.rpc, id), entry);
        }
    }

    fn forget_expired(&mut self, now: Millis) {
        let expired = |(expiry, _): &mut (Millis, Remembered)| *expiry <= now;
        while let Some((expiry, what)) = self.short.pop_front_if(expired) {
            self.forget(what, expiry);
        }
        while let Some((expiry, what)) = self.long.pop_front_if(expired) {
            self.forget(what, expiry);
        }
        let full = |settlements: &VecDeque<_>| settlements.len() > SETTLED_MAX;
        while let Some((expiry, reservation)) = self.settlements.front().copied() {
            if expiry > now && !full(&self.settlements) {
                break;
            }
            self.settlements.pop_front();
            self.settled.remove(&reservation);
        }
    }

    /// An id that was used again after its expiry has a younger entry, which stays.
    fn forget(&mut self, what: Remembered, expiry: Millis) {
        if self.by_id.get(&what).is_some_and(|entry| entry.expires_at() <= expiry) {
            self.by_id.remove(&what);
        }
    }

    /// Closes the commit in preparation: its rows, under the next number, if it remembers anything.
    pub fn commit(&mut self, now: Millis) -> Vec<Row> {
        if self.pending.is_empty() {
            return Vec::new();
        }
        self.seq += 1;
        let (long, short): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.pending).into_iter().partition(|entry| entry.long);
        let row = JournalRow { seq: self.seq, at: now, entries: short };
        self.rows.push_back(Kept::of(&row));
        let mut rows = vec![Row::Journal(row)];
        if !long.is_empty() {
            let row = JournalRow { seq: self.seq, at: now, entries: long };
            self.long_rows.push_back(Kept::of(&row));
            rows.push(Row::LongJournal(row));
        }
        rows
    }

    /// Removes rows whose every entry has expired, oldest first, at most `max` at a time.
    pub fn purge(&mut self, now: Millis, max: usize) -> Vec<RowKey> {
        self.forget_expired(now);
        let mut gone = Vec::new();
        while gone.len() < max {
            let Some(Kept { seq, .. }) = self.rows.pop_front_if(|row| row.expiry <= now) else { break };
            self.from = seq + 1;
            gone.push(RowKey::Journal { seq });
        }
        while gone.len() < max {
            let Some(Kept { seq, .. }) = self.long_rows.pop_front_if(|row| row.expiry <= now) else { break };
            gone.push(RowKey::LongJournal { seq });
        }
        gone
    }

    /// When a purge is worth waking an idle org for. Expiry itself is checked at every recall, and
    /// every commit removes a few rows; so it is put off to the full hour.
    pub fn next_purge(&self) -> Option<Millis> {
        let soonest = self.rows.front().into_iter().chain(self.long_rows.front()).map(|row| row.expiry).min();
        soonest.map(|expiry| expiry.div_ceil(HOUR_MS) * HOUR_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{bounds::MINUTE_MS, domain::outcome::Recorded};

    const T0: Millis = 1_000 * HOUR_MS;

    fn asked(id: &str, fingerprint: u64) -> Idempotency {
        Idempotency { id: RequestId::parse("request_id", id).unwrap(), fingerprint }
    }

    fn recorded(id: &str, at: Millis, long: bool) -> Entry {
        Entry { at, rpc: Rpc::Record, idempotency: Some(asked(id, 1)), long, outcome: Recorded.into() }
    }

    fn reload(journal: &mut Journal, now: Millis) -> Journal {
        let rows = journal.commit(now);
        let split = |long: bool| {
            let of = |row: &Row| match row {
                Row::Journal(row) if !long => Some(row.clone()),
                Row::LongJournal(row) if long => Some(row.clone()),
                _ => None,
            };
            rows.iter().filter_map(of).collect::<Vec<_>>()
        };
        Journal::load(journal.seq(), journal.from(), journal.evicted(), split(false), split(true))
    }

    #[test]
    fn an_id_is_remembered_also_after_a_reload_and_until_its_time() {
        let mut journal = Journal::default();
        journal.note(recorded("short", T0, false));
        journal.note(recorded("long", T0, true));
        let journal = reload(&mut journal, T0);
        let recall = |id, now| journal.recall(Rpc::Record, Some(&asked(id, 1)), now);
        assert_eq!(recall("short", T0 + SHORT_MEMORY_MS - 1), Ok(Some(&Outcome::Recorded(Recorded))));
        assert_eq!(recall("short", T0 + SHORT_MEMORY_MS), Ok(None));
        assert_eq!(recall("long", T0 + LONG_MEMORY_MS - 1), Ok(Some(&Outcome::Recorded(Recorded))));
        assert_eq!(recall("other", T0), Ok(None));
    }

    #[test]
    fn another_body_is_refused_and_another_rpc_is_another_id() {
        let mut journal = Journal::default();
        journal.note(recorded("a", T0, true));
        assert_eq!(journal.recall(Rpc::Record, Some(&asked("a", 2)), T0), Err(OrgError::RequestIdReused));
        assert_eq!(journal.recall(Rpc::Commit, Some(&asked("a", 2)), T0), Ok(None));
    }

    #[test]
    fn what_a_node_of_the_first_version_wrote_is_replayed_and_not_charged_again() {
        let mut journal = Journal::default();
        let of_the_first = Some(asked("a", 0xdead_beef_0bad_cafe));
        journal.note(Entry { idempotency: of_the_first, ..recorded("a", T0, true) });
        let retried = Idempotency::new(asked("a", 0).id, 7);
        let recalled = journal.recall(Rpc::Record, Some(&retried), T0 + LONG_MEMORY_MS - 1);
        assert_eq!(recalled, Ok(Some(&Outcome::Recorded(Recorded))));
    }

    #[test]
    fn a_full_memory_gives_up_only_what_is_older_than_a_minute_and_counts_it() {
        let mut journal = Journal::default();
        journal.note(recorded("a", T0, true));
        journal.note(recorded("b", T0 + 1, true));
        assert_eq!(journal.make_room(2, T0 + MINUTE_MS - 1), Err(OrgError::RequestMemoryFull { most: 2 }));
        assert_eq!(journal.make_room(2, T0 + MINUTE_MS), Ok(()));
        assert_eq!((journal.remembered(), journal.evicted()), (1, 1));
    }

    #[test]
    fn purged_rows_leave_no_gap_behind_the_head() {
        let mut journal = Journal::default();
        journal.note(recorded("a", T0, false));
        journal.commit(T0);
        assert!(journal.commit(T0).is_empty(), "what remembers nothing has no number");
        journal.note(recorded("b", T0 + MINUTE_MS, true));
        assert_eq!(journal.commit(T0 + MINUTE_MS).len(), 2);
        assert_eq!((journal.from(), journal.seq()), (1, 2));
        assert!(journal.purge(T0 + SHORT_MEMORY_MS - 1, 10).is_empty(), "rows go oldest first");
        assert_eq!(journal.purge(T0 + SHORT_MEMORY_MS, 10).len(), 2);
        assert_eq!((journal.from(), journal.seq()), (3, 2));
        assert_eq!(journal.purge(T0 + MINUTE_MS + LONG_MEMORY_MS, 10), [RowKey::LongJournal { seq: 2 }]);
    }
}
