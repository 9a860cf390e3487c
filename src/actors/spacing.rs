//! Asks the billing provider less often about an org whose calls to it keep failing.
//!
//! ```text
//! one failure, two in a row        the next call is made at once
//! three, four, five, … in a row    no call for 250 ms, 500 ms, 1 s, … 10 s
//! an answer, or news of the org    as if nothing had failed
//! ```
//!
//! No failure is an answer: in between, whoever wants to know gets the cause of the last one. What is no
//! trouble of the org (the provider is left alone, too much is under way) does not count.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    bounds::{SPACED_ORGS, SPACING_FREE, SPACING_MAX_MS, SPACING_MEMORY_MS, SPACING_MS},
    domain::{gate::Cause, ids::OrgId},
};

/// Failures in a row, by org.
#[derive(Debug, Default)]
pub(super) struct Spacing(Mutex<HashMap<OrgId, Row>>);

#[derive(Debug, Clone, Copy)]
struct Row {
    failures: u32,
    /// Of the last one.
    cause: Cause,
    at: Instant,
}

/// No call is made about the org just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    /// Why the last one failed.
    pub(super) cause: Cause,
    /// How long there will be none.
    pub(super) left: Duration,
}

impl Row {
    /// After the last failure.
    fn pause(&self) -> Duration {
        let Some(doublings) = self.failures.checked_sub(SPACING_FREE + 1) else { return Duration::ZERO };
        Duration::from_millis((SPACING_MS << doublings.min(16)).min(SPACING_MAX_MS))
    }

    fn runs(&self) -> bool {
        self.at.elapsed() < Duration::from_millis(SPACING_MEMORY_MS)
    }
}

impl Spacing {
    /// Why and for how long no call is made about the org; `None` = it may be made.
    pub(super) fn held(&self, org: &OrgId) -> Option<Held> {
        let row = self.row(org)?;
        let left = row.pause().saturating_sub(row.at.elapsed());
        (!left.is_zero()).then_some(Held { cause: row.cause, left })
    }

    /// Whether there is a pause after each failure, also where it is over just now.
    pub(super) fn is_spaced(&self, org: &OrgId) -> bool {
        self.row(org).is_some_and(|row| !row.pause().is_zero())
    }

    /// Failures in a row.
    pub(super) fn failures(&self, org: &OrgId) -> u32 {
        self.row(org).map_or(0, |row| row.failures)
    }

    /// A call about the org that began at `began` has ended.
    pub(super) fn ended(&self, org: &OrgId, began: Instant, answered: Result<(), Cause>) {
        match answered {
            Ok(()) => self.forget(org),
            // Nothing was asked.
            Err(Cause::CircuitOpen | Cause::Overloaded) => {}
            Err(cause) => self.failed(org, began, cause),
        }
    }

    fn failed(&self, org: &OrgId, began: Instant, cause: Cause) {
        let mut rows = self.rows();
        let first = Row { failures: 1, cause, at: Instant::now() };
        if let Some(row) = rows.get_mut(org) {
            *row = match *row {
                row if !row.runs() => first,
                // It was under way when the last one failed: they failed together.
                row if began < row.at => Row { cause, ..row },
                row => Row { failures: row.failures.saturating_add(1), ..first },
            };
            return;
        }
        if rows.len() >= SPACED_ORGS {
            rows.retain(|_, row| row.runs());
        }
        // Without a place the org is asked about as if nothing had failed.
        if rows.len() < SPACED_ORGS {
            rows.insert(org.clone(), first);
        }
    }

    /// What failed before says nothing any more.
    pub(super) fn forget(&self, org: &OrgId) {
        self.rows().remove(org);
    }

    /// Orgs with a pause after each failure.
    pub(super) fn orgs(&self) -> u64 {
        let mut rows = self.rows();
        rows.retain(|_, row| row.runs());
        u64::try_from(rows.values().filter(|row| !row.pause().is_zero()).count()).unwrap_or(u64::MAX)
    }

    fn row(&self, org: &OrgId) -> Option<Row> {
        self.rows().get(org).copied().filter(Row::runs)
    }

    /// No step of a change can panic, so what a poisoned lock guards is whole.
    fn rows(&self) -> MutexGuard<'_, HashMap<OrgId, Row>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;
    use crate::testing::org;

    const MS: Duration = Duration::from_millis(1);

    fn fail(spacing: &Spacing, name: &str, cause: Cause) -> Option<Duration> {
        spacing.ended(&org(name), Instant::now(), Err(cause));
        let held = spacing.held(&org(name));
        assert!(held.is_none_or(|held| held.cause == cause));
        held.map(|held| held.left)
    }

    /// R-BAL-10
    #[tokio::test(start_paused = true)]
    async fn from_the_third_failure_in_a_row_on_there_is_a_pause_that_doubles() {
        let spacing = Spacing::default();
        assert_eq!([(); 2].map(|()| fail(&spacing, "a", Cause::Timeout)), [None, None]);
        for pause in [250, 500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000] {
            assert_eq!(fail(&spacing, "a", Cause::ProviderError), Some(pause * MS));
            advance(pause * MS - MS).await;
            assert!(spacing.held(&org("a")).is_some());
            advance(MS).await;
            assert_eq!((spacing.held(&org("a")), spacing.is_spaced(&org("a"))), (None, true));
        }
        assert_eq!((spacing.orgs(), spacing.held(&org("b")), spacing.is_spaced(&org("b"))), (1, None, false));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_news_and_time_end_a_row() {
        let ends: [fn(&Spacing); 2] =
            [|spacing| spacing.ended(&org("a"), Instant::now(), Ok(())), |spacing| spacing.forget(&org("a"))];
        for end in ends {
            let spacing = Spacing::default();
            for _ in 0..5 {
                fail(&spacing, "a", Cause::Timeout);
            }
            end(&spacing);
            assert_eq!((spacing.held(&org("a")), spacing.orgs()), (None, 0));
            assert_eq!(fail(&spacing, "a", Cause::Timeout), None, "the first of another row");
        }
        let spacing = Spacing::default();
        for _ in 0..5 {
            fail(&spacing, "a", Cause::Timeout);
        }
        advance(Duration::from_millis(SPACING_MEMORY_MS)).await;
        assert_eq!((spacing.orgs(), fail(&spacing, "a", Cause::Timeout)), (0, None));
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_were_under_way_together_fail_once() {
        let spacing = Spacing::default();
        for _ in 0..2 {
            let began = Instant::now();
            advance(MS).await;
            for _ in 0..8 {
                spacing.ended(&org("a"), began, Err(Cause::Timeout));
            }
            assert_eq!(spacing.held(&org("a")), None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_no_trouble_of_the_org_does_not_count() {
        let spacing = Spacing::default();
        for cause in [Cause::CircuitOpen, Cause::Overloaded] {
            assert_eq!([(); 5].map(|()| fail(&spacing, "a", cause)), [None; 5], "{cause:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_orgs_are_counted_than_there_is_room_for() {
        let spacing = Spacing::default();
        for number in 0..=SPACED_ORGS {
            fail(&spacing, &format!("org-{number}"), Cause::Timeout);
        }
        assert_eq!(spacing.rows().len(), SPACED_ORGS);
        advance(Duration::from_millis(SPACING_MEMORY_MS)).await;
        fail(&spacing, "late", Cause::Timeout);
        assert_eq!(spacing.rows().len(), 1, "rows that are over made room");
    }
}
