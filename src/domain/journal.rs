//! What an org has promised: its gapless commit sequence and the request ids it remembers.
//!
//! Every commit that has something to remember writes one journal row under the next sequence number.
//! Admitted outcomes with a request id are remembered, so that a retry gets the same answer and is charged once,
//! also after a restart. Denials are not remembered: they are evaluated afresh. An entry lives and
//! dies with the charge it stands for, because both are in the same commit.
//!
//! Ids of plain Acquires and of Resumes are in memory for ten minutes. Those of durable calls are here while their
//! commit is on its way to the disk, and for a moment; then they are only there, for a day ([`super::kept_ids`]), and what the store
//! has of the ids of a message is put here before the message is carried out.

use std::collections::{HashMap, VecDeque};

use super::{
    ids::{DecisionId, RequestId},
    kept_ids::{Filling, KeptIds, KeptName, PagesBehind},
    outcome::{Entry, Outcome},
    refusal::OrgError,
    request::{Idempotency, Rpc},
    rows::{Head, JournalRow, KeptHead, Row, RowKey, SettledRow},
    window::Millis,
};
use crate::bounds::{HOUR_MS, LONG_MEMORY_MS, MEMORY_FLOOR_MS};

/// How long the id of a durable call stays in memory at least, and how many of those that are on disk do: most
/// retries come soon, and most ids that say their time are younger.
const LATELY_MS: Millis = 10_000;
const LATELY_MAX: usize = 4_096;

type Remembered = (Rpc, RequestId);

/// A stored row and when its last entry runs out.
#[derive(Debug, Clone, Copy)]
struct Kept {
    seq: u64,
    expiry: Millis,
}

impl Kept {
    fn of(row: &JournalRow) -> Self {
        // A row whose entries are all elsewhere still shows for a while that there is no gap.
        let least = row.at.saturating_add(MEMORY_FLOOR_MS);
        let short = row.entries.iter().filter(|entry| !entry.long);
        Self { seq: row.seq, expiry: short.map(Entry::expires_at).fold(least, Millis::max) }
    }

    fn of_long(row: &JournalRow) -> Self {
        Self { seq: row.seq, expiry: row.entries.iter().map(Entry::expires_at).fold(row.at, Millis::max) }
    }
}

/// Outcomes by request id, and how reservations ended.
#[derive(Debug, Default)]
struct Entries {
    by_id: HashMap<Remembered, Entry>,
    settled: HashMap<DecisionId, SettledRow>,
}

impl Entries {
    fn add(&mut self, entry: Entry) {
        if let Some((reservation, how)) = entry.outcome.settlement() {
            let charge = entry.charge.clone();
            self.settle(SettledRow { id: reservation, at: entry.at, how, charge });
        }
        if let Some(asked) = &entry.idempotency {
            self.by_id.insert((entry.rpc, asked.id.clone()), entry);
        }
    }

    /// What a reservation ended with last stands.
    fn settle(&mut self, row: SettledRow) {
        if self.settled.get(&row.id).is_none_or(|known| known.at <= row.at) {
            self.settled.insert(row.id, row);
        }
    }

    /// Forgets an entry of this time or an older one: a younger one under its names stays.
    fn remove(&mut self, gone: &Gone) {
        if let Some(what) = &gone.id
            && self.by_id.get(what).is_some_and(|entry| entry.at <= gone.at)
        {
            self.by_id.remove(what);
        }
        if let Some(reservation) = gone.reservation
            && self.settled.get(&reservation).is_some_and(|row| row.at <= gone.at)
        {
            self.settled.remove(&reservation);
        }
    }

    fn is_empty(&self) -> bool {
        self.by_id.is_empty() && self.settled.is_empty()
    }
}

/// What of an entry is to be forgotten, and when.
#[derive(Debug)]
struct Gone {
    id: Option<Remembered>,
    reservation: Option<DecisionId>,
    at: Millis,
    expiry: Millis,
}

impl Gone {
    fn of(entry: &Entry) -> Self {
        Self {
            id: entry.idempotency.as_ref().map(|asked| (entry.rpc, asked.id.clone())),
            reservation: entry.outcome.settlement().map(|(reservation, _)| reservation),
            at: entry.at,
            expiry: entry.expires_at(),
        }
    }
}

/// What an org remembers of its calls, and how many commits remembered something.
#[derive(Debug, Default)]
pub struct Journal {
    seq: u64,
    from: u64,
    short: Entries,
    /// In the order of their time.
    short_gone: VecDeque<Gone>,
    /// Of durable calls: on their way to the disk, or written by an older tollgate.
    long: Entries,
    /// Those of an older tollgate, in the order of their time.
    long_gone: VecDeque<Gone>,
    /// Those that are on their way or came lately, each with the number of the write that has it.
    lately: VecDeque<(u64, Gone)>,
    /// Ids of durable calls that were carried out from then on are here.
    here_from: Millis,
    /// What the store has of the ids of this message.
    found: Entries,
    kept: KeptIds,
    /// Stored rows, in order.
    rows: VecDeque<Kept>,
    long_rows: VecDeque<Kept>,
    pending: Vec<Entry>,
    evicted: u64,
}

impl Journal {
    /// From the head and the stored rows, in any order.
    pub fn load(head: &Head, mut rows: Vec<JournalRow>, mut long_rows: Vec<JournalRow>) -> Self {
        rows.sort_by_key(|row| row.seq);
        long_rows.sort_by_key(|row| row.seq);
        let mut journal = Self {
            seq: head.seq,
            from: head.journal_from,
            evicted: head.evicted,
            kept: KeptIds::load(head.kept),
            here_from: head.last_at.saturating_add(1),
            ..Self::default()
        };
        journal.rows = rows.iter().map(Kept::of).collect();
        journal.long_rows = long_rows.iter().map(Kept::of_long).collect();
        for (seq, entry) in rows.into_iter().flat_map(|row| row.entries.into_iter().map(move |entry| (row.seq, entry)))
        {
            if entry.long {
                journal.kept.reload(seq, &entry);
            } else {
                journal.short_gone.push_back(Gone::of(&entry));
                journal.short.add(entry);
            }
        }
        for entry in long_rows.into_iter().flat_map(|row| row.entries) {
            journal.long_gone.push_back(Gone::of(&entry));
            journal.long.add(entry);
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

    /// Request ids of plain calls that were given up before their time, since the org was first seen.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// What the head says of the ids that have rows of their own.
    pub fn kept(&self) -> &KeptHead {
        self.kept.head()
    }

    /// From then on every id of a durable call is known.
    pub fn known_from(&self, now: Millis) -> Millis {
        self.kept.known_from(now)
    }

    /// Request ids that are remembered, expired ones included until they are removed.
    pub fn remembered(&self) -> u64 {
        let here = self.short.by_id.len() + self.long_gone.len() + self.pending.iter().filter(|new| new.long).count();
        self.kept().count.saturating_add(u64::try_from(here).unwrap_or(u64::MAX))
    }

    /// Nothing is remembered and nothing waits. Rows that remember nothing may still be stored.
    pub fn is_quiet(&self) -> bool {
        self.short.is_empty() && self.long.is_empty() && self.pending.is_empty() && self.kept.is_empty()
    }

    /// The bound on ids of durable calls, in bytes.
    pub fn bound(&mut self, bytes: u64) {
        self.kept.bound(bytes);
    }

    /// Whether the rows of ids of durable calls are being read, so that none is removed.
    pub fn hold(&mut self, held: bool) {
        self.kept.hold(held);
    }

    /// Writes up to this one are on disk, and so are their ids: they go when a moment has passed.
    pub fn stored_to(&mut self, write: u64, now: Millis) {
        while self.lately.front().is_some_and(|(of, gone)| {
            *of <= write && (gone.at.saturating_add(LATELY_MS) <= now || self.lately.len() > LATELY_MAX)
        }) {
            let Some((_, gone)) = self.lately.pop_front() else { return };
            self.here_from = self.here_from.max(gone.at.saturating_add(1));
            self.long.remove(&gone);
        }
    }

    /// Of the names that a message has, those that only the store knows. An id that says that it was made just now
    /// is not there.
    pub fn wanted_names(&self, names: Vec<KeptName>, now: Millis) -> Vec<KeptName> {
        if self.kept.is_empty() {
            return Vec::new();
        }
        let is_here = |name: &KeptName| match name {
            KeptName::Request(rpc, id) => {
                self.kept.is_since(id, self.here_from, now) || self.long.by_id.contains_key(&(*rpc, id.clone()))
            }
            KeptName::Reservation(id) => self.long.settled.contains_key(id),
        };
        names.into_iter().filter(|name| !is_here(name)).collect()
    }

    /// Pages of names that are to be removed, at most `max` at a time.
    pub fn wanted_pages(&self, now: Millis, max: usize) -> Option<PagesBehind> {
        self.kept.wanted_pages(now, max)
    }

    /// What the store has of what was wanted, in the place of what it had for the message before.
    pub fn take_found(&mut self, rows: Vec<Row>) {
        self.found = Entries::default();
        for row in rows {
            if let Row::RequestId(row) = row {
                self.found.add(row.into());
            } else if let Row::Settled(row) = row {
                self.found.settle(row);
            } else if let Row::IdPage(page) = row {
                self.kept.take_page(page);
            }
        }
    }

    /// The outcome of an earlier call with the same id; `None` where there was none. A call of another
    /// meaning under the same id is refused. A plain call is compared with plain ones only: for it nothing was
    /// read.
    pub fn recall(
        &self,
        rpc: Rpc,
        idempotency: Option<&Idempotency>,
        durable: bool,
        now: Millis,
    ) -> Result<Option<&Outcome>, OrgError> {
        let Some(asked) = idempotency else { return Ok(None) };
        match self.entry(rpc, asked, durable, now) {
            None => Ok(None),
            Some(entry) if entry.idempotency.as_ref().is_some_and(|known| known.is_repeated_by(asked)) => {
                Ok(Some(&entry.outcome))
            }
            Some(_) => Err(OrgError::RequestIdReused),
        }
    }

    fn entry(&self, rpc: Rpc, asked: &Idempotency, durable: bool, now: Millis) -> Option<&Entry> {
        let name = (rpc, asked.id.clone());
        let of_durable = [&self.long, &self.found].into_iter().filter(|_| durable);
        let known = of_durable.chain([&self.short]).filter_map(|entries| entries.by_id.get(&name));
        known.into_iter().find(|entry| now < entry.expires_at())
    }

    /// When the durable call with this id was carried out.
    pub fn answered_at(&self, rpc: Rpc, idempotency: Option<&Idempotency>, now: Millis) -> Option<Millis> {
        self.entry(rpc, idempotency?, true, now).map(|entry| entry.at)
    }

    /// How a reservation ended; `None` = it is open, unknown, or ended more than a day ago.
    pub fn settled(&self, reservation: DecisionId, now: Millis) -> Option<&SettledRow> {
        let known = [&self.long, &self.found].into_iter().filter_map(|entries| entries.settled.get(&reservation));
        known.max_by_key(|row| row.at).filter(|row| now < row.at.saturating_add(LONG_MEMORY_MS))
    }

    /// Makes room for one more request id of a plain call, giving up those that are past a retry's reach.
    pub fn make_room(&mut self, max: u32, now: Millis) -> Result<(), OrgError> {
        self.forget_expired(now);
        while self.short.by_id.len() >= max as usize {
            let old = |gone: &mut Gone| gone.at.saturating_add(MEMORY_FLOOR_MS) <= now;
            let Some(gone) = self.short_gone.pop_front_if(old) else {
                return Err(OrgError::RequestMemoryFull { most: max });
            };
            self.evicted += 1;
            self.short.remove(&gone);
        }
        Ok(())
    }

    /// Refuses a new id of a durable call where there is no room for it, or where it may have been forgotten.
    pub fn check_durable(&self, id: &RequestId, now: Millis) -> Result<(), OrgError> {
        self.kept.check(id, now)
    }

    /// Adds an outcome to the commit in preparation, which goes to the store with this write.
    pub fn note(&mut self, entry: Entry, write: u64) {
        if entry.idempotency.is_none() && entry.outcome.settlement().is_none() {
            return;
        }
        let gone = Gone::of(&entry);
        if entry.long {
            self.lately.push_back((write, gone));
            self.long.add(entry.clone());
        } else {
            self.short_gone.push_back(gone);
            self.short.add(entry.clone());
        }
        self.pending.push(entry);
    }

    fn forget_expired(&mut self, now: Millis) {
        let expired = |gone: &mut Gone| gone.expiry <= now;
        while let Some(gone) = self.short_gone.pop_front_if(expired) {
            self.short.remove(&gone);
        }
        while let Some(gone) = self.long_gone.pop_front_if(expired) {
            self.long.remove(&gone);
        }
    }

    /// Closes the commit in preparation: its rows, under the next number, if it remembers anything.
    pub fn commit(&mut self, now: Millis) -> Vec<Row> {
        if self.pending.is_empty() {
            return Vec::new();
        }
        self.seq += 1;
        let row = JournalRow { seq: self.seq, at: now, entries: std::mem::take(&mut self.pending) };
        self.rows.push_back(Kept::of(&row));
        let mut rows = Vec::with_capacity(row.entries.len() + 1);
        row.entries.iter().for_each(|entry| self.kept.add(entry, &mut rows));
        rows.push(Row::Journal(row));
        self.kept.write_pages(self.seq, false, &mut rows);
        rows
    }

    /// Removes what has run out, if that `may_purge`, oldest first and at most `max` journal rows at a time; and the
    /// ids of durable calls for which there is no room. Names that a removed row had are in pages then.
    pub fn purge(&mut self, now: Millis, may_purge: bool, max: usize, puts: &mut Vec<Row>, dels: &mut Vec<RowKey>) {
        self.kept.purge(now, may_purge, dels);
        if !may_purge {
            return;
        }
        self.forget_expired(now);
        for _ in 0..max {
            let Some(Kept { seq, .. }) = self.rows.pop_front_if(|row| row.expiry <= now) else { break };
            if self.kept.is_unpaged(seq) {
                self.kept.write_pages(self.seq, true, puts);
            }
            self.from = seq + 1;
            dels.push(RowKey::Journal { seq });
        }
        for _ in 0..max {
            let Some(Kept { seq, .. }) = self.long_rows.pop_front_if(|row| row.expiry <= now) else { break };
            dels.push(RowKey::LongJournal { seq });
        }
    }

    /// When a purge is worth waking an idle org for: at the full hour, because every commit removes a few rows.
    pub fn next_purge(&self) -> Option<Millis> {
        let rows = self.rows.front().into_iter().chain(self.long_rows.front()).map(|row| row.expiry);
        let soonest = rows.chain(self.kept.next_purge()).min();
        soonest.map(|expiry| expiry.div_ceil(HOUR_MS) * HOUR_MS)
    }

    /// Request ids of durable calls that were given up before a day was over, since this was last asked.
    pub fn take_forgotten(&mut self) -> u64 {
        self.kept.take_forgotten()
    }

    /// Says once an hour that ids will be forgotten before a day is over.
    pub fn take_warning(&mut self, now: Millis) -> Option<Filling> {
        self.kept.take_warning(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        bounds::{MINUTE_MS, SHORT_MEMORY_MS},
        domain::outcome::Recorded,
    };

    const T0: Millis = 1_000 * HOUR_MS;

    fn asked(id: &str, fingerprint: u64) -> Idempotency {
        Idempotency { id: RequestId::parse("request_id", id).unwrap(), fingerprint }
    }

    fn recorded(id: &str, at: Millis, long: bool) -> Entry {
        let idempotency = Some(asked(id, 1));
        Entry { at, rpc: Rpc::Record, idempotency, long, outcome: Recorded.into(), charge: None }
    }

    fn recall<'j>(journal: &'j Journal, id: &str, now: Millis) -> Result<Option<&'j Outcome>, OrgError> {
        journal.recall(Rpc::Record, Some(&asked(id, 1)), true, now)
    }

    const KNOWN: Result<Option<&Outcome>, OrgError> = Ok(Some(&Outcome::Recorded(Recorded)));

    #[test]
    fn an_id_is_here_until_it_is_on_disk_and_is_then_read_from_there() {
        let mut journal = Journal::default();
        journal.note(recorded("long", T0, true), 1);
        let rows = journal.commit(T0);
        assert_eq!(rows.len(), 2, "the id, and the journal row");
        journal.stored_to(0, T0 + LATELY_MS);
        assert_eq!(recall(&journal, "long", T0), KNOWN, "it is on its way");
        let name = KeptName::Request(Rpc::Record, asked("long", 1).id);
        journal.stored_to(1, T0 + LATELY_MS - 1);
        assert_eq!(journal.wanted_names(vec![name.clone()], T0), [], "it came lately");
        journal.stored_to(1, T0 + LATELY_MS);
        assert_eq!(journal.wanted_names(vec![name.clone()], T0), [name]);
        journal.take_found(rows);
        assert_eq!(recall(&journal, "long", T0 + LONG_MEMORY_MS - 1), KNOWN);
        assert_eq!(recall(&journal, "long", T0 + LONG_MEMORY_MS), Ok(None));
    }

    #[test]
    fn what_an_older_tollgate_wrote_is_known_until_its_time() {
        let row = |entry: Entry| JournalRow { seq: 1, at: T0, entries: vec![entry] };
        let short = vec![row(recorded("short", T0, false))];
        let long = vec![row(recorded("long", T0, true))];
        let mut journal = Journal::load(&Head { seq: 1, journal_from: 1, ..Head::default() }, short, long);
        assert_eq!(recall(&journal, "short", T0 + SHORT_MEMORY_MS - 1), KNOWN);
        assert_eq!(recall(&journal, "short", T0 + SHORT_MEMORY_MS), Ok(None));
        assert_eq!(recall(&journal, "long", T0 + LONG_MEMORY_MS - 1), KNOWN);
        assert_eq!(recall(&journal, "other", T0), Ok(None));
        let (mut puts, mut dels) = (Vec::new(), Vec::new());
        journal.purge(T0 + LONG_MEMORY_MS, true, 10, &mut puts, &mut dels);
        assert_eq!((puts, dels), (vec![], vec![RowKey::Journal { seq: 1 }, RowKey::LongJournal { seq: 1 }]));
        assert!(journal.is_quiet());
    }

    #[test]
    fn another_body_is_refused_and_another_rpc_is_another_id() {
        let mut journal = Journal::default();
        journal.note(recorded("a", T0, true), 1);
        let other = asked("a", 2);
        assert_eq!(journal.recall(Rpc::Record, Some(&other), true, T0), Err(OrgError::RequestIdReused));
        assert_eq!(journal.recall(Rpc::Commit, Some(&other), true, T0), Ok(None));
    }

    #[test]
    fn what_a_node_of_the_first_version_wrote_is_replayed_and_not_charged_again() {
        let mut journal = Journal::default();
        let of_the_first = Some(asked("a", 0xdead_beef_0bad_cafe));
        journal.note(Entry { idempotency: of_the_first, ..recorded("a", T0, true) }, 1);
        let retried = Idempotency::new(asked("a", 0).id, 7);
        assert_eq!(journal.recall(Rpc::Record, Some(&retried), true, T0 + LONG_MEMORY_MS - 1), KNOWN);
    }

    #[test]
    fn a_full_memory_gives_up_only_what_is_older_than_a_minute_and_counts_it() {
        let mut journal = Journal::default();
        journal.note(recorded("a", T0, false), 1);
        journal.note(recorded("b", T0 + 1, false), 1);
        assert_eq!(journal.make_room(2, T0 + MINUTE_MS - 1), Err(OrgError::RequestMemoryFull { most: 2 }));
        assert_eq!(journal.make_room(2, T0 + MINUTE_MS), Ok(()));
        assert_eq!((journal.remembered(), journal.evicted()), (1, 1));
    }

    #[test]
    fn purged_rows_leave_no_gap_behind_the_head_and_their_names_are_in_a_page() {
        let mut journal = Journal::default();
        journal.note(recorded("a", T0, false), 1);
        journal.commit(T0);
        assert!(journal.commit(T0).is_empty(), "what remembers nothing has no number");
        journal.note(recorded("b", T0 + MINUTE_MS, true), 2);
        assert_eq!(journal.commit(T0 + MINUTE_MS).len(), 2);
        assert_eq!((journal.from(), journal.seq()), (1, 2));
        let (mut puts, mut dels) = (Vec::new(), Vec::new());
        journal.purge(T0 + SHORT_MEMORY_MS - 1, true, 10, &mut puts, &mut dels);
        assert!(dels.is_empty(), "rows go oldest first");
        journal.purge(T0 + SHORT_MEMORY_MS, true, 10, &mut puts, &mut dels);
        assert_eq!(dels, [RowKey::Journal { seq: 1 }, RowKey::Journal { seq: 2 }]);
        assert!(matches!(&puts[..], [Row::IdPage(page)] if page.ids.len() == 1));
        assert_eq!((journal.from(), journal.seq(), journal.kept().paged_seq), (3, 2, 2));
    }
}
