//! Usage of the past, out of slices and from the disk as one list, page by page.

use std::collections::BTreeMap;

use tokio::sync::oneshot;

use super::*;
use crate::{
    bounds::{DAY_MS, HOUR_MS},
    domain::{
        ids::Scope,
        ledger::HourSlice,
        rows::{Head, OrgWrite, Row, SliceRow, UsageDayRow, UsageKeptRow, UsageMonthRow},
        window::{Millis, month, month_end},
    },
    ports::OrgStore,
    service::{UsageAt, UsageLine, UsagePeriod, UsageQuery},
    testing::T0,
};

/// 2026-06-20 00:00 UTC.
const TODAY: Millis = T0 / DAY_MS * DAY_MS;

fn scope(text: &str) -> Scope {
    Scope::parse("scope", text).unwrap()
}

fn slice(name: &str, start: Millis, total: u64) -> Row {
    let slice = HourSlice { start, total, ..HourSlice::default() };
    Row::Slice(SliceRow { scope: scope(name), meter: Meter::spend(), slice })
}

fn of_day(name: &str, start: Millis, amount: u64) -> Row {
    Row::UsageDay(UsageDayRow::new(scope(name), Meter::spend(), start, amount))
}

fn of_month(name: &str, start: Millis, amount: u64) -> Row {
    let (scope, meter, plane) = (scope(name), Meter::spend(), Plane::unnamed());
    Row::UsageMonth(UsageMonthRow { start, scope, meter, plane, amount })
}

/// April as a month, May and the first of June as days, the rest of June as slices; accounts in between.
async fn stored(node: &Node) {
    let (may, june) = (month(TODAY - 31 * DAY_MS), month(TODAY));
    let april = month(may - DAY_MS);
    let mut rows = vec![of_month("", april, 7), of_month("b", april, 1), of_month("account/k1", april, 2)];
    for day in 0..31 {
        rows.extend([of_day("", may + day * DAY_MS, 10), of_day("account/k1", may + day * DAY_MS, 1)]);
    }
    rows.extend([
        of_day("", june, 100),
        of_day("aa", june, 40),
        slice("", june + DAY_MS, 5),
        slice("aa", june + DAY_MS, 5),
    ]);
    rows.extend([slice("", june + DAY_MS + HOUR_MS, 6), slice("workspace/w", june + 2 * DAY_MS, 3)]);
    let (days, months) = (64, 3);
    rows.push(Row::UsageKept(UsageKeptRow { days, days_from: may, months, months_from: april }));
    rows.push(Row::Head(Head { last_at: T0, journal_from: 1, ..Head::default() }));
    let (done, committed) = oneshot::channel();
    let write = OrgWrite { puts: rows, ..OrgWrite::empty(&org("acme")) };
    let epoch = node.store.epoch(&org("acme")).unwrap();
    node.store.commit(write, epoch, Box::new(move |result| done.send(result).unwrap()));
    committed.await.unwrap().unwrap();
}

fn everything(by: UsagePeriod) -> UsageQuery {
    let (from, to) = (month(TODAY - 100 * DAY_MS), month_end(TODAY));
    UsageQuery { from, to, by, scope: None, meter: None, by_plane: false, at: UsageAt::default(), max: 1_000 }
}

async fn lines(node: &Node, query: &UsageQuery) -> Vec<UsageLine> {
    let page = node.service.usage(&org("acme"), query, &call()).await.unwrap();
    assert_eq!(page.next, None);
    page.lines
}

fn total(lines: &[UsageLine], name: &str) -> u64 {
    lines.iter().filter(|line| line.scope == scope(name)).map(|line| line.amount).sum()
}

#[tokio::test(start_paused = true)]
async fn months_days_and_slices_are_one_list() {
    let node = node(rate_of(10)).await;
    stored(&node).await;
    let by_day = lines(&node, &everything(UsagePeriod::Day)).await;
    let by_month = lines(&node, &everything(UsagePeriod::Month)).await;
    for (name, amount) in [("", 7 + 310 + 111), ("b", 1), ("aa", 45), ("account/k1", 33), ("workspace/w", 3)] {
        assert_eq!((total(&by_day, name), total(&by_month, name)), (amount, amount), "R-CTRL-2: {name}");
    }
    assert_eq!(by_day.len(), 3 + 62 + 2 + 3);
    let months: Vec<_> = by_month.iter().filter(|line| line.scope.is_org()).map(|line| line.amount).collect();
    assert_eq!(months, [7, 310, 111]);
    let april = &by_day[0];
    assert_eq!((april.start, april.end), (month(april.start), month_end(april.start)), "no days are kept of it");
    let june = by_month.iter().find(|line| line.start == month(TODAY)).unwrap();
    assert_eq!((june.end, june.amount), (month_end(TODAY), 111));
}

#[tokio::test(start_paused = true)]
async fn pages_of_any_size_have_every_line_once_and_no_token_names_an_account() {
    let node = node(rate_of(10)).await;
    stored(&node).await;
    for by in [UsagePeriod::Day, UsagePeriod::Month] {
        let all = lines(&node, &everything(by)).await;
        for max in [1, 2, 7, 33] {
            let mut query = UsageQuery { max, ..everything(by) };
            let mut paged = Vec::new();
            loop {
                let page = node.service.usage(&org("acme"), &query, &call()).await.unwrap();
                assert!(page.lines.len() <= max);
                paged.extend(page.lines);
                let Some(next) = page.next else { break };
                assert!(next.after.as_ref().is_none_or(|place| place.scope.account().is_none()), "{next:?}");
                query.at = next;
            }
            assert_eq!(paged, all, "{by:?} by {max}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_for_is_all_that_is_answered() {
    let node = node(rate_of(10)).await;
    stored(&node).await;
    for name in ["", "aa", "account/k1", "workspace/w", "none"] {
        for by in [UsagePeriod::Day, UsagePeriod::Month] {
            let all = lines(&node, &everything(by)).await;
            let wanted: Vec<_> = all.into_iter().filter(|line| line.scope == scope(name)).collect();
            let query = UsageQuery { scope: Some(scope(name)), meter: Some(Meter::spend()), ..everything(by) };
            assert_eq!(lines(&node, &query).await, wanted, "{name} {by:?}");
            let none = UsageQuery { meter: Some(Meter::bytes()), ..query };
            assert_eq!(lines(&node, &none).await, []);
        }
    }
    let june = month(TODAY);
    let query = UsageQuery { from: june, to: june + 2 * DAY_MS, ..everything(UsagePeriod::Day) };
    let amounts: Vec<_> = lines(&node, &query).await.into_iter().map(|line| line.amount).collect();
    assert_eq!(amounts, [100, 11, 40, 5]);
    let unknown = node.service.usage(&org("nobody"), &query, &call()).await;
    assert_eq!(unknown, Err(ServiceError::UnknownOrg(org("nobody"))));
}

#[tokio::test(start_paused = true)]
async fn what_a_sweep_puts_away_is_answered_the_same_while_it_does() {
    let node = node(rate_of(10)).await;
    stored(&node).await;
    let before = lines(&node, &everything(UsagePeriod::Day)).await;
    // Nobody wakes the org by itself: its head names no timer.
    node.service.ask(&org("acme"), record("r", 9), &call()).await.unwrap();
    let mut expected: BTreeMap<_, u64> = BTreeMap::new();
    for line in before {
        *expected.entry((line.scope, line.start)).or_default() += line.amount;
    }
    *expected.entry((Scope::org(), TODAY)).or_default() += 9;
    node.clock.advance(37 * DAY_MS);
    for _ in 0..200 {
        tokio::time::advance(std::time::Duration::from_millis(500)).await;
        let after = lines(&node, &everything(UsagePeriod::Day)).await;
        let after: BTreeMap<_, u64> = after.into_iter().map(|line| ((line.scope, line.start), line.amount)).collect();
        assert_eq!(after, expected);
    }
    let slices = node.store.some(&org("acme"), &[crate::domain::rows::RowKind::Slice]).await.unwrap().rows;
    assert_eq!(slices, [], "it was swept meanwhile");
}
