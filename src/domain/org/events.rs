//! The org's log of events: rows are added in the commit of the change that they speak of, and end by their time or where
//! there are too many.
//!
//! The newest row stays whatever its age, because its number is the one that the next goes on from. An org of which
//! nothing but that row is left is forgotten, and so is its log: another one begins at 1.

use std::sync::Arc;

use super::{Context, OrgState, webhook::Position};
use crate::{
    bounds::{Bounds, EVENTS_PER_MINUTE, MINUTE_MS},
    domain::{
        command::ListEvents,
        events::{Change, Class, EventPage, EventRow, Happening, bounded},
        ids::Reason,
        lease::Now,
        rows::{Keeper, Row, RowKey, RowsByKind},
        table::Table,
        trace::TraceId,
        window::Millis,
    },
};

/// Rows of the log, by their numbers.
#[derive(Debug, Default)]
pub(super) struct EventLog {
    pub(super) rows: Table<u64, EventRow>,
    counts: Counts,
    /// The first of them ends then; `None` = none does.
    next_end: Option<Millis>,
    /// Only the newest is left, for its number, and its time is over.
    is_over: bool,
    most: Most,
    /// Rows that were added in this minute, but for those of operators; the first began it.
    minute: (Millis, Counts),
    /// How far a webhook has them.
    pub(super) position: Position,
}

/// Rows of each class.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    of_operators: usize,
    of_sessions: usize,
    others: usize,
}

/// How many rows of each class there may be.
#[derive(Debug)]
struct Most(Counts);

impl Most {
    fn of(bounds: &Bounds) -> Self {
        let others = bounds.events_per_org as usize;
        Self(Counts { of_operators: bounds.operator_events_per_org as usize, of_sessions: others, others })
    }
}

impl Default for Most {
    fn default() -> Self {
        Self::of(&Bounds::default())
    }
}

impl Counts {
    fn of(&mut self, class: Class) -> &mut usize {
        match class {
            Class::Operators => &mut self.of_operators,
            Class::Sessions => &mut self.of_sessions,
            Class::Others => &mut self.others,
        }
    }

    fn count(rows: &Table<u64, EventRow>) -> Self {
        let mut counts = Self::default();
        rows.iter().for_each(|(_, row)| *counts.of(class(row)) += 1);
        counts
    }
}

fn class(row: &EventRow) -> Class {
    row.what.kind().class()
}

fn ends_at(row: &EventRow) -> Millis {
    row.at.saturating_add(row.what.kind().retention())
}

impl EventLog {
    pub(super) fn load(rows: &mut RowsByKind) -> Self {
        let position = Position::load(rows);
        let rows = std::mem::take(&mut rows.events);
        let next_end = rows.iter().map(ends_at).min();
        let rows = Table::load(rows.into_iter().map(|row| (row.number, row)));
        Self { counts: Counts::count(&rows), next_end, rows, position, ..Self::default() }
    }

    /// Without a row, to begin another log.
    pub(super) fn begun_again(&self) -> Self {
        Self { position: self.position.of_another_log(), ..Self::default() }
    }

    pub(super) fn bound(&mut self, bounds: &Bounds) {
        self.most = Most::of(bounds);
    }

    /// Whether as few of its class were added in this minute that it need not be left out.
    pub(super) fn has_room_now(&mut self, what: &Happening, now: Millis) -> bool {
        if now >= self.minute.0.saturating_add(MINUTE_MS) {
            self.minute = (now, Counts::default());
        }
        let added = self.minute.1.of(what.kind().class());
        *added += 1;
        *added <= EVENTS_PER_MINUTE
    }

    fn newest(&self) -> u64 {
        self.rows.last_key().copied().unwrap_or(0)
    }

    fn add(&mut self, at: Millis, what: Happening) {
        let row = EventRow { number: self.newest() + 1, at, what };
        let class = class(&row);
        self.make_room(class, at);
        *self.counts.of(class) += 1;
        let ends_at = ends_at(&row);
        self.next_end = Some(self.next_end.map_or(ends_at, |next| next.min(ends_at)));
        self.is_over = false;
        self.position.added(&row);
        self.rows.put(row.number, row);
    }

    /// The oldest rows of as many as there may be give way to another one.
    fn make_room(&mut self, of: Class, now: Millis) {
        let most = *self.most.0.of(of);
        let too_many = (*self.counts.of(of) + 1).saturating_sub(most);
        let alike = self.rows.iter().filter(|(_, row)| class(row) == of);
        let oldest: Vec<u64> = alike.take(too_many).map(|(number, _)| *number).collect();
        oldest.iter().for_each(|number| drop(self.rows.remove(number)));
        *self.counts.of(of) -= oldest.len();
        if oldest.last().is_some_and(|number| self.position.misses(*number)) {
            self.position.look(&self.rows, now);
        }
    }

    pub(super) fn purge(&mut self, now: Millis) {
        if self.next_end.is_none_or(|next| now < next) {
            return;
        }
        let newest = self.newest();
        let mut next_end: Option<Millis> = None;
        let mut missed = false;
        self.rows.purge(|number, row| {
            let ends_at = ends_at(row);
            let is_over = ends_at <= now;
            if !is_over {
                next_end = Some(next_end.map_or(ends_at, |next| next.min(ends_at)));
            }
            let gone = is_over && *number != newest;
            missed |= gone && self.position.misses(*number);
            gone
        });
        if missed {
            self.position.look(&self.rows, now);
        }
        self.next_end = next_end;
        self.counts = Counts::count(&self.rows);
        self.is_over = next_end.is_none();
    }

    fn page(&self, list: &ListEvents) -> EventPage {
        let ListEvents { kinds, after, since, until, max, durable: _ } = list;
        let is_wanted = |row: &&EventRow| {
            let of_kind = kinds.is_empty() || kinds.contains(&row.what.kind());
            of_kind && since.is_none_or(|since| since <= row.at) && until.is_none_or(|until| row.at < until)
        };
        let rows = self.rows.rows_from(after.saturating_add(1)).filter(is_wanted).take(*max).cloned().collect();
        let oldest = self.rows.iter().next().map_or(0, |(number, _)| *number);
        EventPage { rows, oldest, newest: self.newest() }
    }
}

impl Keeper for EventLog {
    fn take_changes(&mut self, puts: &mut Vec<Row>, dels: &mut Vec<RowKey>) {
        self.rows.take_rows(puts, dels, |_, row| Row::Event(row), |number| RowKey::Event { number });
        self.position.take_changes(puts);
    }

    fn is_spent(&self) -> bool {
        self.rows.is_empty() || self.is_over
    }

    fn next_wake(&self, _now: &Now) -> Option<Millis> {
        self.next_end.into_iter().chain(self.position.next_wake()).min()
    }
}

/// What an operator's command has changed, also where that is nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// The name of the principal, or the address.
    pub caller: Arc<str>,
    /// The name of the rpc.
    pub command: &'static str,
    /// Empty = everything was as it is now.
    pub changes: Vec<Change>,
    /// May be empty.
    pub reason: Reason,
    /// That the call is a part of.
    pub trace: Option<TraceId>,
}

impl OrgState {
    /// Adds to the log, with the next commit.
    pub(in crate::domain) fn happened(&mut self, what: Happening) {
        self.events.add(self.now, what);
        self.changed = true;
    }

    /// The command of an operator was carried out: it is announced, and added to the log where it has changed anything.
    pub(in crate::domain) fn operated(&mut self, command: &'static str, changes: Vec<Change>, ctx: &Context<'_>) {
        let (caller, reason) = (Arc::<str>::from(ctx.caller), ctx.reason.clone());
        let changes = bounded(changes);
        if !changes.is_empty() {
            let (caller, reason, changes) = (caller.clone(), reason.clone(), changes.clone());
            self.happened(Happening::Operated { caller, command: command.into(), changes, reason });
        }
        self.news.operations.push(Operation { caller, command, changes, reason, trace: ctx.trace });
    }

    /// `None` where nothing is kept of the org.
    pub(in crate::domain) fn list_events(&self, list: &ListEvents) -> Option<EventPage> {
        self.is_known().then(|| self.events.page(list))
    }
}
