//! What `top` knows: the rows of the last answer, what they were in the one before, and since when
//! there is none.

use std::{cmp::Reverse, collections::BTreeMap};

use crate::{
    cli::args::TopOrder,
    domain::window::Millis,
    wire::admin::v1::{ListOrgsRequest, ListOrgsResponse, OrgSort, OrgSummary},
};

/// Rows that are asked for and held: the first of all orgs in the order that is chosen.
pub(in crate::cli) const ROWS: u32 = 500;

/// Counts of an org at some time.
#[derive(Debug, Clone, Copy)]
struct Counts {
    at: Millis,
    allowed: i64,
    denied: i64,
    failed_open: i64,
}

impl Counts {
    fn of(row: &OrgSummary, at: Millis) -> Self {
        Self { at, allowed: row.allowed_today, denied: row.denied_today, failed_open: row.failed_open_today }
    }
}

/// Per second, between two answers; `None` where there were not two of this org on this day.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(in crate::cli) struct Rates {
    pub(in crate::cli) allowed: f64,
    pub(in crate::cli) denied: f64,
    pub(in crate::cli) failed_open: f64,
}

/// One org.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Line {
    pub(in crate::cli) row: OrgSummary,
    pub(in crate::cli) rates: Option<Rates>,
}

/// Why there is no newer answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct Away {
    pub(in crate::cli) since: Millis,
    pub(in crate::cli) why: String,
}

#[derive(Debug)]
pub(in crate::cli) struct Board {
    pub(in crate::cli) order: TopOrder,
    pub(in crate::cli) lines: Vec<Line>,
    /// Orgs that were read for the last answer, and those that could not be.
    pub(in crate::cli) read: (i64, usize),
    /// When the last answer came; `None` = there was none yet.
    pub(in crate::cli) answered_at: Option<Millis>,
    pub(in crate::cli) away: Option<Away>,
    before: BTreeMap<String, Counts>,
}

impl Board {
    pub(in crate::cli) fn new(order: TopOrder) -> Self {
        Self { order, lines: Vec::new(), read: (0, 0), answered_at: None, away: None, before: BTreeMap::new() }
    }

    /// What the node is asked.
    pub(in crate::cli) fn request(&self) -> ListOrgsRequest {
        let sort = match self.order {
            TopOrder::Calls => OrgSort::MostCalls,
            TopOrder::Denied => OrgSort::MostDenied,
            TopOrder::Used => OrgSort::MostUsed,
            TopOrder::FailOpen => OrgSort::MostFailedOpen,
        };
        ListOrgsRequest { sort: sort.into(), ..ListOrgsRequest::default() }
    }

    /// The answer takes the place of the one before, of which the counts are kept.
    pub(in crate::cli) fn take(&mut self, answer: ListOrgsResponse, at: Millis) {
        self.read = (answer.orgs_read, answer.failures.len());
        let now: BTreeMap<_, _> = answer.orgs.iter().map(|row| (row.org.clone(), Counts::of(row, at))).collect();
        let line = |row: OrgSummary| {
            let rates = self.before.get(&row.org).and_then(|before| rates(*before, Counts::of(&row, at)));
            Line { row, rates }
        };
        self.lines = answer.orgs.into_iter().map(line).collect();
        self.before = now;
        (self.answered_at, self.away) = (Some(at), None);
        self.sort();
    }

    /// There was no answer: what was known stays.
    pub(in crate::cli) fn miss(&mut self, why: String, at: Millis) {
        let since = self.away.take().map_or(at, |away| away.since);
        self.away = Some(Away { since, why });
    }

    pub(in crate::cli) fn sort_by(&mut self, order: TopOrder) {
        self.order = order;
        self.sort();
    }

    /// By what happens now, then by what happened today, then by name.
    fn sort(&mut self) {
        let order = self.order;
        self.lines.sort_by(|a, b| {
            let rate = |line: &Line| rate_of(line.rates.unwrap_or_default(), order);
            let by_rate = rate(b).total_cmp(&rate(a));
            let today = |line: &Line| Reverse(today_of(&line.row, order));
            by_rate.then_with(|| today(a).cmp(&today(b))).then_with(|| a.row.org.cmp(&b.row.org))
        });
    }
}

fn rates(before: Counts, now: Counts) -> Option<Rates> {
    let millis = now.at.checked_sub(before.at).filter(|millis| *millis > 0)?;
    let per_second = |before: i64, now: i64| {
        let more = i32::try_from(now.checked_sub(before)?).ok().filter(|more| *more >= 0)?;
        let millis = u32::try_from(millis).ok()?;
        Some(f64::from(more) * 1000.0 / f64::from(millis))
    };
    Some(Rates {
        allowed: per_second(before.allowed, now.allowed)?,
        denied: per_second(before.denied, now.denied)?,
        failed_open: per_second(before.failed_open, now.failed_open)?,
    })
}

/// Of limits nothing happens between two answers: how full they are is what happens now.
fn rate_of(rates: Rates, order: TopOrder) -> f64 {
    match order {
        TopOrder::Calls => rates.allowed + rates.denied,
        TopOrder::Denied => rates.denied,
        TopOrder::Used => 0.0,
        TopOrder::FailOpen => rates.failed_open,
    }
}

fn today_of(row: &OrgSummary, order: TopOrder) -> i64 {
    match order {
        TopOrder::Calls => row.allowed_today.saturating_add(row.denied_today),
        TopOrder::Denied => row.denied_today,
        TopOrder::Used => row.used_percent,
        TopOrder::FailOpen => row.failed_open_today,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(org: &str, allowed_today: i64, denied_today: i64, used_percent: i64) -> OrgSummary {
        OrgSummary { org: org.into(), allowed_today, denied_today, used_percent, ..OrgSummary::default() }
    }

    fn answer<const N: usize>(orgs: [OrgSummary; N]) -> ListOrgsResponse {
        ListOrgsResponse { orgs: orgs.to_vec(), orgs_read: 7, ..ListOrgsResponse::default() }
    }

    fn names(board: &Board) -> Vec<&str> {
        board.lines.iter().map(|line| line.row.org.as_str()).collect()
    }

    #[test]
    fn rates_are_the_difference_of_two_answers() {
        let mut board = Board::new(TopOrder::Calls);
        board.take(answer([row("a", 100, 0, 10), row("b", 10, 10, 90)]), 1_000);
        assert_eq!((names(&board), board.lines[0].rates), (vec!["a", "b"], None), "by today while there is one answer");
        board.take(answer([row("a", 101, 0, 10), row("b", 20, 20, 90), row("c", 1, 0, 0)]), 3_000);
        assert_eq!(names(&board), ["b", "a", "c"], "by what happens now");
        assert_eq!(board.lines[0].rates, Some(Rates { allowed: 5.0, denied: 5.0, failed_open: 0.0 }));
        assert_eq!(board.lines[2].rates, None, "it was not in the answer before");
        board.take(answer([row("b", 1, 0, 90)]), 5_000);
        assert_eq!(board.lines[0].rates, None, "another day has begun");
    }

    #[test]
    fn another_order_is_there_at_once() {
        let mut board = Board::new(TopOrder::Calls);
        board.take(answer([row("a", 100, 0, 10), row("b", 10, 3, 90)]), 1_000);
        board.sort_by(TopOrder::Used);
        assert_eq!(names(&board), ["b", "a"]);
        assert_eq!(board.request().sort, i32::from(OrgSort::MostUsed));
    }

    #[test]
    fn without_an_answer_it_says_since_when_and_keeps_what_it_knew() {
        let mut board = Board::new(TopOrder::Denied);
        board.take(answer([row("a", 1, 1, 1)]), 1_000);
        board.miss("refused".into(), 2_000);
        board.miss("timed out".into(), 9_000);
        assert_eq!(board.away, Some(Away { since: 2_000, why: "timed out".into() }));
        assert_eq!((names(&board), board.answered_at), (vec!["a"], Some(1_000)));
        board.take(answer([]), 10_000);
        assert_eq!(board.away, None);
    }
}
