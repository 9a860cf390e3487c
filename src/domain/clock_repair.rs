//! A clock that was ahead has been put right: what an org has kept from the time that did not come yet happened
//! now at the latest. Nothing that was counted is lost, and nothing stays used up for longer than a window: what a
//! window had counted before its counter went on to a later one is derived again (`counters`).
//!
//! Leases are not concerned: they run on [lease time](super::lease), which no wall clock moves. What was kept
//! before the clock went wrong, and what it went past with a wrong time, cannot be told from what is right. What was
//! removed by the wrong clock, past its retention, is gone.

mod counters;
mod usage;

use std::collections::{BTreeMap, BTreeSet};

use counters::Ledgers;

use super::{
    denials::DayRow,
    ids::OrgId,
    ledger::HourSlice,
    rows::{
        Head, JournalRow, OrgRows, OrgWrite, OverrideRow, OverrideSubject, Row, RowKey, SliceRow, UpstreamAccountRow,
    },
    window::{Millis, WINDOW_MAX_MS},
};
use crate::bounds::{DAY_MS, EXPORT_BACKOFF_MAX_MS, HOUR_MS, MINUTE_MS, MINUTE_RETENTION_MS};

/// Of an hour.
const LAST_MINUTE: u8 = 59;

/// What brings back what lies behind `now`, out of the rows that are loaded with an org and those of its past usage; `None`
/// where the org has seen nothing later. Request ids of durable calls stay as they are: they are known for as much longer.
pub fn bring_back(org: &OrgId, rows: OrgRows, now: Millis) -> Option<OrgWrite> {
    if !is_ahead(&rows, now) {
        return None;
    }
    let OrgRows { rows: mut puts } = rows;
    puts.retain(|row| !usage::stays(row, now));
    let before: BTreeSet<RowKey> = puts.iter().map(Row::key).collect();
    usage::bring_back(&mut puts);
    let ledgers = Ledgers::of(&puts);
    for row in &mut puts {
        bring_row_back(row, now);
    }
    join_slices(&mut puts);
    join_days(&mut puts);
    usage::join_planes(&mut puts);
    let brought_back = Ledgers::of(&puts);
    counters::derive(&mut puts, &ledgers, &brought_back, now);
    let after: BTreeSet<RowKey> = puts.iter().map(Row::key).collect();
    let dels = before.difference(&after).cloned().collect();
    Some(OrgWrite { puts, dels, ..OrgWrite::empty(org) })
}

/// Whether the org has seen a time behind `now`.
pub fn is_ahead(rows: &OrgRows, now: Millis) -> bool {
    rows.rows.iter().any(|row| matches!(row, Row::Head(head) if head.last_at > now))
}

fn bring_row_back(row: &mut Row, now: Millis) {
    match row {
        Row::Head(head) => bring_head_back(head, now),
        // Early, so that what is due is found anew.
        Row::Timer(timer) => timer.wake_at = timer.wake_at.min(now),
        Row::Slice(row) => row.slice.bring_back(now),
        Row::Journal(row) => bring_journal_back(row, now, false),
        Row::LongJournal(row) => bring_journal_back(row, now, true),
        Row::Execution(row) => {
            row.last_seen = row.last_seen.min(now);
            row.open.iter_mut().for_each(|open| open.admitted_at = open.admitted_at.min(now));
        }
        Row::Disputed(row) => row.at = row.at.min(now),
        Row::Outbox(row) => {
            row.at = row.at.min(now);
            row.tried_since = row.tried_since.min(now);
            row.due_at = row.due_at.min(now.saturating_add(EXPORT_BACKOFF_MAX_MS));
        }
        Row::Session(row) => {
            row.started_at = row.started_at.min(now);
            row.last_heartbeat_at = row.last_heartbeat_at.min(now);
            row.ended_at = row.ended_at.map(|at| at.min(now));
            let former = row.former.lives.iter_mut();
            former.for_each(|life| life.ended_at = life.ended_at.map(|at| at.min(now)));
        }
        Row::TrialEnded(row) => row.at = row.at.min(now),
        Row::Event(row) => row.at = row.at.min(now),
        // Examined again at once: its window is another one now.
        Row::Alert(row) => {
            (row.since, row.last) = (row.since.min(now), row.last.min(now));
            row.until = row.until.map(|at| at.min(now));
            row.due = row.due.map(|at| at.min(now));
        }
        Row::UpstreamAccount(row) => bring_account_back(row, now),
        Row::Reservation(row) => {
            row.reserved_at = row.reserved_at.map(|at| at.min(now));
            row.expired_at = row.expired_at.map(|at| at.min(now));
        }
        Row::Denial(row) => {
            row.first_at = row.first_at.min(now);
            row.last_at = row.last_at.min(now);
        }
        Row::Day(row) => row.start = row.start.min(now / DAY_MS * DAY_MS),
        Row::Counter(_)
        | Row::Baseline(_)
        | Row::Budget(_)
        | Row::Pool(_)
        | Row::PlaneOf(_)
        | Row::EventsDelivered(_) => {}
        Row::Override(row) => bring_override_back(row, now),
        Row::LeadsTo(row) => row.since = row.since.min(now),
        Row::Names(row) => {
            row.former.iter_mut().for_each(|former| former.until = former.until.min(now));
            row.purged_at = row.purged_at.map(|at| at.min(now));
        }
        Row::RequestId(_) | Row::Settled(_) | Row::IdPage(_) => {}
        Row::PlaneDay(row) => row.start = row.start.min(now / DAY_MS * DAY_MS),
        // Those that would come again are slices by now.
        Row::UsageDay(_) | Row::UsageMonth(_) | Row::UsageKept(_) => {}
    }
}

fn bring_head_back(head: &mut Head, now: Millis) {
    // An id may be of a time that did not come yet.
    head.kept.ahead_to = head.kept.ahead_to.max(head.last_at);
    head.last_at = head.last_at.min(now);
    head.wake_at = head.wake_at.map(|at| at.min(now));
    head.kept.forgotten_to = head.kept.forgotten_to.min(now);
}

/// An entry that has a row of its own is named by its time.
fn bring_journal_back(row: &mut JournalRow, now: Millis, long: bool) {
    row.at = row.at.min(now);
    let entries = row.entries.iter_mut().filter(|entry| entry.long == long);
    entries.for_each(|entry| entry.at = entry.at.min(now));
}

/// Evidence from the future begins now and lasts as long as it did.
fn bring_account_back(row: &mut UpstreamAccountRow, now: Millis) {
    row.last_used_at = row.last_used_at.map(|at| at.min(now));
    row.reported.until = row.reported.until.min(now.saturating_add(WINDOW_MAX_MS));
    if let Some(evidence) = row.evidence.as_mut().filter(|evidence| evidence.at > now) {
        evidence.until = evidence.until.saturating_sub(evidence.at - now);
        evidence.at = now;
    }
    for avoided in [&mut row.quarantine, &mut row.cooldown].into_iter().flatten() {
        avoided.since = avoided.since.min(now);
    }
    row.limited.iter_mut().for_each(|limited| limited.since = limited.since.min(now));
}

/// One from the future begins now and lasts as long as it should have. One that the wrong clock has ended goes on to its
/// end; a freeze is over, because the org does not know its reason any more.
fn bring_override_back(row: &mut OverrideRow, now: Millis) {
    let ahead = row.set_at.saturating_sub(now);
    let by_itself = row.ended_by_itself();
    row.set_at = row.set_at.min(now);
    row.until = row.until.map(|at| at.saturating_sub(ahead));
    row.ended_at = row.ended_at.map(|at| at.min(now));
    if by_itself && row.subject != OverrideSubject::Freeze && row.until.is_some_and(|at| now < at) {
        (row.ended_at, row.version) = (None, row.version + 1);
    }
}

/// Slices that were brought back into one hour are one slice.
fn join_slices(rows: &mut Vec<Row>) {
    let mut joined: BTreeMap<RowKey, SliceRow> = BTreeMap::new();
    let all = std::mem::take(rows);
    for row in all {
        let key = row.key();
        let Row::Slice(row) = row else {
            rows.push(row);
            continue;
        };
        match joined.get_mut(&key) {
            Some(known) => known.slice.join(&row.slice),
            None => drop(joined.insert(key, row)),
        }
    }
    rows.extend(joined.into_values().map(Row::Slice));
}

/// Days that were brought back into one are one day.
fn join_days(rows: &mut Vec<Row>) {
    let mut joined: BTreeMap<Millis, DayRow> = BTreeMap::new();
    rows.retain(|row| {
        let Row::Day(row) = row else { return true };
        match joined.get_mut(&row.start) {
            Some(known) => known.join(row),
            None => drop(joined.insert(row.start, row.clone())),
        }
        false
    });
    rows.extend(joined.into_values().map(Row::Day));
}

impl DayRow {
    /// Adds what another row of the same day counted.
    fn join(&mut self, other: &Self) {
        self.allowed_before = self.allowed_before.min(other.allowed_before);
        let counts = self.denied.iter_mut().chain(&mut self.failed_open);
        let others = other.denied.iter().chain(&other.failed_open);
        counts.zip(others).for_each(|(count, more)| *count = count.saturating_add(*more));
    }
}

impl HourSlice {
    /// Counts what it has from behind `now` in the minute of `now`.
    fn bring_back(&mut self, now: Millis) {
        let (start, minute) = (now / HOUR_MS * HOUR_MS, minute_of(now));
        if self.start < start {
            // A clock that was hours ahead has rolled it up too early.
            if self.minutes.is_empty() && self.start + HOUR_MS + MINUTE_RETENTION_MS > now {
                self.add_minute(LAST_MINUTE, self.total);
            }
            return;
        }
        if self.start > start {
            self.start = start;
            self.minutes.clear();
        }
        self.minutes.retain(|(of, _)| *of <= minute);
        let kept = self.minutes.iter().fold(0, |sum: u64, (_, amount)| sum.saturating_add(*amount));
        self.add_minute(minute, self.total.saturating_sub(kept));
    }

    /// Adds what another slice of the same hour has.
    fn join(&mut self, other: &Self) {
        self.total = self.total.saturating_add(other.total);
        for (minute, amount) in &other.minutes {
            self.add_minute(*minute, *amount);
        }
    }
}

fn minute_of(now: Millis) -> u8 {
    u8::try_from(now % HOUR_MS / MINUTE_MS).unwrap_or(LAST_MINUTE)
}
