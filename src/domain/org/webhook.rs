//! How far the log of events was delivered to a webhook: a number that is written with the events that it passes.
//!
//! ```text
//! nobody receives     the number stays where it is, and there is none before somebody did
//! an event is added   wanted: it waits; not wanted, and none waits: the number passes it
//! delivered           the number moves on to the next one that waits
//! ```
//!
//! Delivery begins with the commit and goes on by itself. The org's timer is for what a crash interrupted.

use super::{Context, OrgState, events::EventLog};
use crate::{
    bounds::{WEBHOOK_GRACE_MS, WEBHOOK_LEASE_MS},
    domain::{
        command::{NoteDelivered, TakeUndelivered},
        events::{EventKinds, EventRow, Undelivered},
        ids::DecisionId,
        reply::UndeliveredPage,
        rows::{EventsDeliveredRow, Row, RowsByKind},
        table::Table,
        window::Millis,
    },
};

/// What a webhook has of a log, and what waits for it.
#[derive(Debug, Default)]
pub(super) struct Position {
    /// Which events are delivered.
    wanted: EventKinds,
    /// Every event up to here is delivered, or was not wanted; `None` = nobody ever received any.
    upto: Option<u64>,
    /// It is not stored yet.
    changed: bool,
    /// Of the first that waits: since when.
    waits_since: Option<Millis>,
    /// In the hands of whoever delivers, and until when nobody else is asked.
    taken: Option<(DecisionId, Millis)>,
    /// The last sweep that has said that something waits, and how many did so before it.
    swept: Option<(Millis, u32)>,
}

impl Position {
    pub(super) fn load(rows: &mut RowsByKind) -> Self {
        Self { upto: rows.events_delivered.pop().map(|row| row.number), ..Self::default() }
    }

    /// Of an org whose log is gone, and whose next one is delivered as well.
    pub(super) fn of_another_log(&self) -> Self {
        Self { wanted: self.wanted, ..Self::default() }
    }

    pub(super) fn take_changes(&mut self, puts: &mut Vec<Row>) {
        let upto = self.upto.filter(|_| std::mem::take(&mut self.changed));
        puts.extend(upto.map(|number| Row::EventsDelivered(EventsDeliveredRow { number })));
    }

    /// Answers whether something else is delivered from now on.
    fn want(&mut self, wanted: EventKinds) -> bool {
        std::mem::replace(&mut self.wanted, wanted) != wanted
    }

    fn pass(&mut self, number: u64) {
        if self.upto != Some(number) {
            self.upto = Some(number);
            self.changed = true;
        }
    }

    /// Looks for the first that waits.
    pub(super) fn look(&mut self, rows: &Table<u64, EventRow>, now: Millis) {
        let first = self.undelivered(rows, 1).pop();
        self.waits_since = first.map(|first| if let Undelivered::Event(row) = first { row.at } else { now });
        if let (None, Some(upto), Some(newest)) = (self.waits_since, self.upto, rows.last_key())
            && !self.wanted.is_empty()
            && upto < *newest
        {
            self.pass(*newest);
        }
    }

    /// The row is the newest of the log.
    pub(super) fn added(&mut self, row: &EventRow) {
        if self.wanted.is_empty() {
            return;
        }
        if self.upto.is_none() {
            self.pass(row.number - 1);
        }
        if self.waits_since.is_none() {
            match self.wanted.has(row.what.kind()) {
                true => self.waits_since = Some(row.at),
                false => self.pass(row.number),
            }
        }
    }

    /// Rows that are gone now: whether the webhook did not have them.
    pub(super) fn misses(&self, number: u64) -> bool {
        !self.wanted.is_empty() && self.upto.is_some_and(|upto| upto < number)
    }

    fn undelivered(&self, rows: &Table<u64, EventRow>, max: usize) -> Vec<Undelivered> {
        let (Some(upto), false) = (self.upto, self.wanted.is_empty()) else { return Vec::new() };
        let mut undelivered = Vec::new();
        let mut expected = upto.saturating_add(1);
        for row in rows.rows_from(expected) {
            if row.number > expected {
                undelivered.push(Undelivered::Missing { from: expected, to: row.number - 1, at: row.at });
            }
            if self.wanted.has(row.what.kind()) {
                undelivered.push(Undelivered::Event(row.clone()));
            }
            expected = row.number.saturating_add(1);
            if undelivered.len() >= max {
                break;
            }
        }
        undelivered.truncate(max);
        undelivered
    }

    /// Whether something waits that nobody has in hand.
    fn waits(&self, now: Millis) -> bool {
        self.waits_since.is_some() && self.taken.is_none_or(|(_, until)| until <= now)
    }

    /// Soon, also where somebody has it in hand: whoever that is may be killed. Later and later while that does not help.
    pub(super) fn next_wake(&self) -> Option<Millis> {
        let again = self.swept.map_or(0, |(at, times)| {
            let pause = WEBHOOK_GRACE_MS.saturating_mul(1 << times.min(16));
            at.saturating_add(pause.min(WEBHOOK_LEASE_MS))
        });
        self.waits_since.map(|since| since.saturating_add(WEBHOOK_GRACE_MS).max(again))
    }

    /// The timer has come.
    pub(super) fn swept(&mut self, now: Millis) {
        if self.waits_since.is_some() {
            self.swept = Some((now, self.swept.map_or(0, |(_, times)| times + 1)));
        }
    }
}

impl EventLog {
    fn take_undelivered(&mut self, max: usize, token: DecisionId, now: Millis) -> Vec<Undelivered> {
        let undelivered = self.position.undelivered(&self.rows, max);
        if !undelivered.is_empty() {
            self.position.taken = Some((token, now.saturating_add(WEBHOOK_LEASE_MS)));
        }
        undelivered
    }

    /// Answers whether more waits. What was not handed out last is not noted.
    fn note_delivered(&mut self, done: &NoteDelivered, now: Millis) -> bool {
        let position = &mut self.position;
        let is_last = position.taken.is_some_and(|(token, _)| token == done.taken);
        let Some(upto) = position.upto.filter(|_| is_last) else { return false };
        position.pass(upto.max(done.number));
        position.look(&self.rows, now);
        (position.taken, position.swept) = (None, None);
        position.waits_since.is_some()
    }
}

impl OrgState {
    /// Events of these kinds are delivered to a webhook from now on.
    pub fn deliver(&mut self, wanted: EventKinds) {
        if self.events.position.want(wanted) {
            self.events.position.look(&self.events.rows, self.now);
            self.changed |= self.events.position.changed;
        }
    }

    /// Whether events wait for the webhook that nobody delivers.
    pub fn has_undelivered(&self) -> bool {
        self.events.position.waits(self.now)
    }

    pub(in crate::domain) fn take_undelivered(&mut self, ask: TakeUndelivered, ctx: &Context<'_>) -> UndeliveredPage {
        let undelivered = self.events.take_undelivered(ask.max, ctx.decision, self.now);
        UndeliveredPage { taken: ctx.decision, undelivered }
    }

    /// Answers whether more waits.
    pub(in crate::domain) fn note_delivered(&mut self, done: &NoteDelivered) -> bool {
        let more = self.events.note_delivered(done, self.now);
        self.changed |= self.events.position.changed;
        more
    }
}
