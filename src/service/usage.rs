//! Usage of the past: by day and by month, out of memory and from the disk.
//!
//! ```text
//! months ─┐  rows of months          on disk, in the order of their keys
//! days   ─┼▶ one list in that order ─▶ a line per day, or per month
//! slices ─┘  days of which the org still has slices
//! ```
//!
//! A sweep moves days from slices to rows, and rows of days into months. Where one comes in between, what is kept on disk
//! is another than before, and the page is read again.

mod lines;

use std::collections::VecDeque;

use tokio::time::timeout_at;

use crate::{
    domain::{
        command::GetUsage,
        ids::{Meter, OrgId, Plane, Scope},
        reply::SlicedUsage,
        rows::{Row, RowKey, RowKind, UsageDayRow, UsageKeptRow, UsageMonthRow},
        usage::UsagePlace,
        window::{Millis, month, month_end},
    },
    error::ServiceError,
};

use super::{Call, Service};
use lines::Lines;

/// Rows that are read at a time.
const ROWS: usize = 1_024;
/// How often a page is read before it is given up: between two sweeps of one org there is time for many.
const TRIES: usize = 5;
/// No meter sorts before it.
const FIRST_METER: &str = "a";

/// What a line of an answer is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsagePeriod {
    /// A day; of what is older than days are kept, a month.
    Day,
    /// A month.
    Month,
}

/// Which usage of an org.
#[derive(Debug, Clone)]
pub struct UsageQuery {
    /// Start of the first day, or month.
    pub from: Millis,
    /// End of the last day, or month.
    pub to: Millis,
    /// What a line is about.
    pub by: UsagePeriod,
    /// Only of this scope; `None` = of each, and of the org.
    pub scope: Option<Scope>,
    /// Only of this meter; `None` = of each.
    pub meter: Option<Meter>,
    /// A line for each plane, of the org itself: the scope is that of the org.
    pub by_plane: bool,
    /// Where to go on.
    pub at: UsageAt,
    /// The most lines; those of one period and meter come together.
    pub max: usize,
}

/// Where a list goes on. The name of an upstream account is a secret, so a list that ended with one names what was before
/// and how many lines have followed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UsageAt {
    /// Behind this; `None` = from the first.
    pub after: Option<UsagePlace>,
    /// Behind so many lines more.
    pub skip: u64,
}

/// Usage in one period.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageLine {
    /// Whose usage it is; empty is the org itself, with everything that its scopes have.
    pub scope: Scope,
    /// What it counts.
    pub meter: Meter,
    /// Through which plane; unnamed = all of them, or, where lines are of planes, what none of them has.
    pub plane: Plane,
    /// Start of the day or month.
    pub start: Millis,
    /// Its end.
    pub end: Millis,
    /// In the unit of the meter.
    pub amount: u64,
}

/// Some lines, and where to go on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UsagePage {
    /// By month, scope and meter, and of one of these by day; of names the shorter ones first.
    pub lines: Vec<UsageLine>,
    /// `None` = these are the last.
    pub next: Option<UsageAt>,
}

/// Some usage of one day, or of one month.
#[derive(Debug, Clone)]
struct Entry {
    place: UsagePlace,
    plane: Plane,
    amount: u64,
}

impl Entry {
    fn of_day(row: UsageDayRow) -> Self {
        Self { place: UsagePlace::of(&row), plane: row.plane, amount: row.amount }
    }

    /// Before the days of the month, if there are any.
    fn of_month(row: UsageMonthRow) -> Self {
        let UsageMonthRow { start: month, scope, meter, plane, amount } = row;
        Self { place: UsagePlace { month, scope, meter, start: 0 }, plane, amount }
    }
}

impl Service {
    /// Usage of one org, some lines at a time; [`ServiceError::UnknownOrg`] where nothing is kept of it.
    pub async fn usage(&self, org: &OrgId, query: &UsageQuery, call: &Call) -> Result<UsagePage, ServiceError> {
        for _ in 0..TRIES {
            if let Some(page) = Reading::begin(self, org, query, call).await?.page().await? {
                return Ok(page);
            }
        }
        Err(ServiceError::TimedOut)
    }

    /// Slices of an org, from behind a place.
    async fn sliced(
        &self,
        org: &OrgId,
        query: &UsageQuery,
        (after, after_plane, max): (Option<UsagePlace>, Option<Plane>, usize),
        call: &Call,
    ) -> Result<SlicedUsage, ServiceError> {
        let UsageQuery { from, to, by_plane, .. } = *query;
        let (scope, meter) = (query.scope.clone(), query.meter.clone());
        let ask = GetUsage { from, to, scope, meter, after, after_plane, by_plane, max };
        let sliced = self.ask(org, ask, call).await?;
        sliced.map(|sliced| *sliced).ok_or_else(|| ServiceError::UnknownOrg(org.clone()))
    }
}

/// One of the three lists.
#[derive(Debug)]
struct Source {
    buffer: VecDeque<Entry>,
    /// The key behind which more is read.
    key: RowKey,
    is_done: bool,
}

/// A page that is being read.
#[derive(Debug)]
struct Reading<'a> {
    service: &'a Service,
    org: &'a OrgId,
    query: &'a UsageQuery,
    call: &'a Call,
    /// What was on disk when it began.
    kept: UsageKeptRow,
    months: Source,
    days: Source,
    slices: VecDeque<Entry>,
    slices_after: Option<UsagePlace>,
    slices_plane: Option<Plane>,
    more_slices: bool,
}

impl<'a> Reading<'a> {
    async fn begin(
        service: &'a Service,
        org: &'a OrgId,
        query: &'a UsageQuery,
        call: &'a Call,
    ) -> Result<Self, ServiceError> {
        let after = query.at.after.clone();
        let sliced = service.sliced(org, query, (after.clone(), None, ROWS), call).await?;
        let kept = sliced.kept;
        let first = month(query.from);
        let source = |kind, count| Source {
            buffer: VecDeque::new(),
            key: key_before(kind, after.clone().unwrap_or_else(|| query.first_in(first))),
            is_done: count == 0,
        };
        let (months, days) = (source(RowKind::UsageMonth, kept.months), source(RowKind::UsageDay, kept.days));
        let mut reading = Self {
            service,
            org,
            query,
            call,
            kept,
            months,
            days,
            slices: VecDeque::new(),
            slices_after: after,
            slices_plane: None,
            more_slices: true,
        };
        reading.take_slices(sliced);
        Ok(reading)
    }

    fn take_slices(&mut self, sliced: SlicedUsage) {
        self.more_slices = sliced.is_cut;
        if let Some(last) = sliced.days.last() {
            (self.slices_after, self.slices_plane) = (Some(UsagePlace::of(last)), Some(last.plane.clone()));
        }
        self.slices.extend(sliced.days.into_iter().map(Entry::of_day));
    }

    /// `None` where a sweep came in between.
    async fn page(mut self) -> Result<Option<UsagePage>, ServiceError> {
        let mut lines = Lines::new(self.query);
        loop {
            if !self.fill().await? {
                return Ok(None);
            }
            let Some(entry) = self.next() else { break };
            if lines.take(entry) {
                break;
            }
        }
        lines.end();
        Ok(self.is_unmoved().await?.then_some(lines.page))
    }

    /// Reads on where a list is used up. False where what is kept on disk has changed.
    async fn fill(&mut self) -> Result<bool, ServiceError> {
        if self.slices.is_empty() && self.more_slices {
            let (after, plane) = (self.slices_after.clone(), self.slices_plane.clone());
            let sliced = self.service.sliced(self.org, self.query, (after, plane, ROWS), self.call).await?;
            if sliced.kept != self.kept {
                return Ok(false);
            }
            self.take_slices(sliced);
        }
        for kind in [RowKind::UsageMonth, RowKind::UsageDay] {
            while self.source(kind).buffer.is_empty() && !self.source(kind).is_done {
                self.read(kind).await?;
            }
        }
        Ok(true)
    }

    fn source(&mut self, kind: RowKind) -> &mut Source {
        if kind == RowKind::UsageMonth { &mut self.months } else { &mut self.days }
    }

    async fn read(&mut self, kind: RowKind) -> Result<(), ServiceError> {
        let after = self.source(kind).key.clone();
        let read = self.service.store.beside(self.org, kind, Some(after), ROWS);
        let rows = timeout_at(self.call.deadline.at, read).await;
        let rows = rows.map_err(|_| ServiceError::TimedOut)?.map_err(ServiceError::Store)?;
        let query = self.query;
        let source = self.source(kind);
        source.is_done = rows.len() < ROWS;
        let mut last = None;
        for row in rows {
            let key = row.key();
            let entry = match row {
                Row::UsageMonth(row) => Entry::of_month(row),
                Row::UsageDay(row) => Entry::of_day(row),
                _ => continue,
            };
            source.is_done |= entry.place.month >= query.to;
            last = Some((key, entry.place.clone()));
            if query.has(&entry) {
                source.buffer.push_back(entry);
            }
        }
        if let Some((key, place)) = last {
            source.key = query.behind(kind, key, &place);
        }
        Ok(())
    }

    /// The next of all three lists.
    fn next(&mut self) -> Option<Entry> {
        let lists = [&mut self.months.buffer, &mut self.days.buffer, &mut self.slices];
        let first = lists.into_iter().filter(|list| !list.is_empty());
        let first = first.min_by(|a, b| a.front().map(|entry| &entry.place).cmp(&b.front().map(|entry| &entry.place)));
        first.and_then(VecDeque::pop_front)
    }

    /// Whether what was read is of one state.
    async fn is_unmoved(&self) -> Result<bool, ServiceError> {
        if self.kept.is_empty() {
            return Ok(true);
        }
        Ok(self.service.sliced(self.org, self.query, (None, None, 0), self.call).await?.kept == self.kept)
    }
}

impl UsageQuery {
    /// Before everything of a month that is asked for.
    fn first_in(&self, month: Millis) -> UsagePlace {
        let meter = Meter::parse("meter", FIRST_METER).unwrap_or_else(|_| Meter::executions());
        match &self.scope {
            Some(scope) => UsagePlace { month, scope: scope.clone(), meter, start: 0 },
            None => UsagePlace { month: month.saturating_sub(1), scope: Scope::org(), meter, start: 0 },
        }
    }

    /// Behind which key to read on: what lies between is of other scopes.
    fn behind(&self, kind: RowKind, key: RowKey, last: &UsagePlace) -> RowKey {
        let Some(scope) = &self.scope else { return key };
        let order = |scope: &Scope| (scope.as_str().len(), scope.clone());
        match order(&last.scope).cmp(&order(scope)) {
            std::cmp::Ordering::Less => key_before(kind, self.first_in(last.month)),
            std::cmp::Ordering::Equal => key,
            std::cmp::Ordering::Greater => key_before(kind, self.first_in(month_end(last.month))),
        }
    }

    /// Whether a row is asked for.
    fn has(&self, entry: &Entry) -> bool {
        let place = &entry.place;
        let start = if place.start == 0 { place.month } else { place.start };
        (self.from..self.to).contains(&start)
            && self.at.after.as_ref().is_none_or(|after| place > after)
            && self.scope.as_ref().is_none_or(|scope| *scope == place.scope)
            && self.meter.as_ref().is_none_or(|meter| *meter == place.meter)
            && (self.by_plane || entry.plane == Plane::unnamed())
    }
}

fn key_before(kind: RowKind, place: UsagePlace) -> RowKey {
    let UsagePlace { month, scope, meter, start } = place;
    let plane = Plane::unnamed();
    if kind == RowKind::UsageMonth {
        RowKey::UsageMonth { start: month, scope, meter, plane }
    } else {
        RowKey::UsageDay { month, scope, meter, start, plane }
    }
}
