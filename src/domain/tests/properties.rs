//! Random histories, held against [`super::model`]: after every step the org and the model must
//! agree on the verdict, on every limit's usage and on what is on the disk.
//!
//! `TOLLGATE_PROPTEST_CASES` sets how many histories are tried.

use proptest::{prelude::*, test_runner::FileFailurePersistence};

use super::{
    histories::{self, Amount, Op, Step},
    pair::Pair,
    *,
};
use crate::domain::rows::Setting;

const CASES_DEFAULT: u32 = 300;

pub(super) fn cases() -> u32 {
    let wanted = std::env::var("TOLLGATE_PROPTEST_CASES").ok();
    wanted.map_or(CASES_DEFAULT, |text| text.parse().expect("TOLLGATE_PROPTEST_CASES is a number"))
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases(),
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        max_shrink_iters: 50_000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_history_agrees_with_the_naive_model(
        limits in prop::collection::vec(histories::limit_ops(), 1..8),
        history in prop::collection::vec(histories::ops(), 1..48),
        offset in prop_oneof![Just(0), 0..DAY_MS, Just(HOUR_MS - 1)],
    ) {
        let mut pair = Pair::new(T0 + offset);
        for op in limits.iter().chain(&history) {
            pair.step(op);
        }
    }
}

/// A purge takes what was set at run time with it: a budget that is gone cannot be overridden.
#[test]
fn a_purged_budget_is_not_there_to_be_overridden() {
    let history = [
        Op::Limit { index: 0, amount: None, buffer: 0, shadow: false, carries: false },
        Op::SetBudget { index: 2, amount: Some(0), replace: false, expect: None },
        Op::Purge,
        Op::SetOverride { index: 2, setting: Setting::Unlimited, lasts: None, expect: None },
    ];
    let mut pair = Pair::new(T0);
    for op in &history {
        pair.step(op);
    }
}

/// A refund in the millisecond of the Commit before it is remembered from the next one on, its request id as well.
#[test]
fn a_refund_in_the_millisecond_of_a_commit_is_remembered_for_a_day_from_the_next_one_on() {
    let ask = |reserve| {
        let (cost, reserve) = ([Some(Amount::Exactly(1)), None], [None, reserve]);
        let (mode, balance) = (Mode::Normal, Some(allowed()));
        let (ttl, explain, with_pause, keyed) = (1000, false, false, false);
        Op::Acquire(histories::Ask { scopes: 0, cost, reserve, ttl, mode, explain, with_pause, keyed, balance })
    };
    let history = [
        Op::Limit { index: 0, amount: None, buffer: 0, shadow: false, carries: false },
        ask(Some(Amount::Exactly(0))),
        Op::Commit(0, [Some(Amount::Exactly(1)), None]),
        Op::RefundDecision(0),
        Op::Time(Step::By(DAY_MS)),
        Op::Repeat(0, false),
        Op::Repeat(1, false),
        Op::Repeat(2, false),
    ];
    let mut pair = Pair::new(T0);
    for op in &history {
        pair.step(op);
    }
}
