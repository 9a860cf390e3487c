//! Random histories of an org: what is asked, what changes and how time passes, drawn near the edges.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::{
    bounds::AMOUNT_MAX,
    domain::{
        balance::{Balance, DenyReason},
        gate::Cause,
        policy::OnIndeterminate,
        rows::Setting,
        window::Calendar,
        zone::Zone,
    },
};

const SECOND: Millis = 1_000;

/// Every limit that a history may switch on, those of the org first: all kinds of windows on the org,
/// on a workspace, on an agent and on an account, with lengths that do and do not fall on slices. In pipeline
/// order.
pub(super) const LIMITS: [(&str, &str, Window); 21] = [
    ("", "executions", Window::Rolling { len: MINUTE_MS }),
    ("", "spend", Window::Rolling { len: HOUR_MS }),
    ("", "spend", Window::Rolling { len: DAY_MS }),
    ("", "spend", Window::Rolling { len: 7 * DAY_MS }),
    ("", "spend", Window::Rolling { len: 30 * DAY_MS }),
    ("", "executions", Window::Aligned { len: HOUR_MS }),
    ("", "executions", Window::Aligned { len: 90 * MINUTE_MS }),
    ("", "executions", Window::Anchored { len: HOUR_MS }),
    ("", "executions", Window::Calendar(Calendar::Week)),
    ("", "executions", Window::Calendar(Calendar::Month)),
    ("", "executions", Window::Zoned { unit: Calendar::Day, zone: Zone::KOLKATA }),
    ("", "spend", Window::Aligned { len: 25 * HOUR_MS }),
    ("", "spend", Window::Calendar(Calendar::Day)),
    ("account/k1", "spend", Window::Rolling { len: DAY_MS }),
    ("account/k1", "executions", Window::Anchored { len: DAY_MS }),
    ("agent/7", "spend", Window::Rolling { len: HOUR_MS }),
    ("agent/7", "executions", Window::Calendar(Calendar::Day)),
    ("workspace/a", "executions", Window::Rolling { len: 6 * HOUR_MS }),
    ("workspace/a", "spend", Window::Rolling { len: HOUR_MS }),
    ("workspace/a", "executions", Window::Aligned { len: 7 * SECOND }),
    ("workspace/a", "spend", Window::Anchored { len: 6 * HOUR_MS }),
];
/// The number of the backstop, which stands behind them.
pub(super) const BACKSTOP: u8 = 21;
/// Those of them that a budget can set: the periods of spend of the org, and one of agent and workspace.
const SET: [u8; 6] = [1, 2, 3, 4, 15, 18];
const SCOPES: [&str; 5] = ["", "workspace/a", "workspace/b", "account/k1", "agent/7"];

pub(super) struct Names {
    pub(super) scopes: Vec<Scope>,
    pub(super) meters: [Meter; 2],
    pub(super) org: OrgId,
}

pub(super) static NAMES: LazyLock<Names> = LazyLock::new(|| Names {
    scopes: SCOPES.iter().map(|name| scope(name)).collect(),
    meters: [Meter::executions(), Meter::spend()],
    org: OrgId::parse("org", "acme").unwrap(),
});

/// An amount, often at an edge of what is left.
#[derive(Debug, Clone, Copy)]
pub(super) enum Amount {
    Exactly(u64),
    /// What the limit has left, give or take one.
    Left(u8, i8),
    /// The limit itself, give or take one.
    Whole(u8, i8),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    By(Millis),
    Back(Millis),
    /// To an instant at which something changes by itself, give or take a millisecond.
    Turn(u8, i8),
}

/// A set of the named scopes: a bit for each.
pub(super) type Named = u8;

#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) scopes: Named,
    pub(super) cost: [Option<Amount>; 2],
    pub(super) reserve: [Option<Amount>; 2],
    pub(super) ttl: Millis,
    pub(super) mode: Mode,
    pub(super) explain: bool,
    pub(super) with_pause: bool,
    pub(super) keyed: bool,
    pub(super) balance: Option<BalanceVerdict>,
}

#[derive(Debug, Clone)]
pub(super) enum Op {
    Acquire(Ask),
    Commit(u8, [Option<Amount>; 2]),
    Release(u8),
    Extend(u8, Millis),
    /// How long ago it happened, if that is said.
    Record(Named, [Option<Amount>; 2], Option<i64>),
    /// Of what was used so long ago, or now.
    Refund(Named, [Option<Amount>; 2], Option<i64>),
    RefundDecision(u8),
    Report {
        scopes: Named,
        source: u8,
        incarnation: u8,
        total: u64,
    },
    /// A limit on spend at run time: one of [`SET`]; with the version it has, give or take one, if so told.
    SetBudget {
        index: u8,
        amount: Option<u64>,
        replace: bool,
        expect: Option<i8>,
    },
    /// One of [`LIMITS`], or behind them the backstop: what it is for a while, or until it is cleared.
    SetOverride {
        index: u8,
        setting: Setting,
        lasts: Option<Millis>,
        expect: Option<i8>,
    },
    ClearOverride(u8),
    /// On top of one of [`LIMITS`], or of the backstop behind them, for a while, for its window, or until it is spent.
    Grant {
        index: u8,
        amount: u64,
        lasts: Option<Millis>,
        until_spent: bool,
    },
    /// So many before the last one.
    RevokeGrant(u8),
    /// The window of one of [`LIMITS`], or of the backstop behind them.
    ResetWindow(u8),
    Resume(u8, bool),
    /// For a while, or until the other one.
    Freeze(Option<Millis>),
    Unfreeze,
    /// An earlier command again, with another body under the same id if so told.
    Repeat(u8, bool),
    Time(Step),
    Limit {
        index: u8,
        amount: Option<u64>,
        buffer: u64,
        shadow: bool,
        carries: bool,
    },
    Without(u8),
    Rate(Option<u64>, Millis),
    Balance(bool, OnIndeterminate),
    StoreFault(bool, OnIndeterminate),
    Sweep(bool),
    Flush,
    Restart,
    Crash,
    Purge,
}

fn amounts() -> impl Strategy<Value = Option<Amount>> {
    prop_oneof![
        4 => Just(None),
        1 => Just(Some(Amount::Exactly(0))),
        6 => (1..6_u64).prop_map(|amount| Some(Amount::Exactly(amount))),
        1 => Just(Some(Amount::Exactly(AMOUNT_MAX))),
        4 => (any::<u8>(), -1..=1_i8).prop_map(|(limit, off)| Some(Amount::Left(limit, off))),
        1 => (any::<u8>(), -1..=1_i8).prop_map(|(limit, off)| Some(Amount::Whole(limit, off))),
    ]
}

/// Mostly one or none.
fn scopes() -> impl Strategy<Value = Named> {
    prop_oneof![3 => prop::sample::select(vec![0, 1, 2, 4, 8]), 2 => 0..16_u8]
}

fn costs() -> impl Strategy<Value = [Option<Amount>; 2]> {
    prop_oneof![
        3 => Just([Some(Amount::Exactly(1)), None]),
        2 => amounts().prop_map(|spend| [None, spend]),
        2 => [amounts(), amounts()],
    ]
}

fn reserves() -> impl Strategy<Value = [Option<Amount>; 2]> {
    prop_oneof![3 => Just([None, None]), 2 => [amounts(), amounts()]]
}

fn modes() -> impl Strategy<Value = Mode> {
    prop_oneof![8 => Just(Mode::Normal), 1 => Just(Mode::CheckOnly), 1 => Just(Mode::Shadow)]
}

fn exhausted_until(resets_at: Millis) -> BalanceVerdict {
    let (granted, remaining, resets_at) = (Some(AMOUNT_MAX), Some(0), Some(resets_at));
    BalanceVerdict::Denied(DenyReason::Exhausted, Balance { granted, remaining, resets_at, ..Balance::default() })
}

fn balances() -> impl Strategy<Value = Option<BalanceVerdict>> {
    prop_oneof![
        6 => Just(Some(allowed())),
        1 => Just(None),
        1 => Just(Some(exhausted())),
        1 => (1..72_u64).prop_map(|hours| Some(exhausted_until(T0 + hours * HOUR_MS))),
        1 => Just(Some(BalanceVerdict::Unknown(Cause::Timeout))),
    ]
}

fn asks() -> impl Strategy<Value = Ask> {
    let ttl = prop_oneof![Just(SECOND), Just(MINUTE_MS), Just(2 * HOUR_MS), Just(DAY_MS)];
    let flags = (prop::bool::weighted(0.2), prop::bool::weighted(0.1), prop::bool::weighted(0.4));
    (scopes(), costs(), reserves(), ttl, modes(), flags, balances()).prop_map(
        |(scopes, cost, reserve, ttl, mode, (explain, with_pause, keyed), balance)| Ask {
            scopes,
            cost,
            reserve,
            ttl,
            mode,
            explain,
            with_pause,
            keyed,
            balance,
        },
    )
}

fn steps() -> impl Strategy<Value = Step> {
    let lengths = prop::sample::select(vec![
        1,
        SECOND,
        MINUTE_MS,
        10 * MINUTE_MS,
        HOUR_MS,
        90 * MINUTE_MS,
        3 * HOUR_MS,
        DAY_MS,
        7 * DAY_MS,
        30 * DAY_MS,
        36 * DAY_MS,
    ]);
    prop_oneof![
        4 => (lengths, 0..=2_u64).prop_map(|(by, off)| Step::By(by + off - 1)),
        5 => (any::<u8>(), -1..=1_i8).prop_map(|(which, off)| Step::Turn(which, off)),
        2 => (0..MINUTE_MS).prop_map(Step::By),
        1 => prop_oneof![Just(1), Just(MINUTE_MS), Just(DAY_MS)].prop_map(Step::Back),
    ]
}

fn policies() -> impl Strategy<Value = OnIndeterminate> {
    prop_oneof![Just(OnIndeterminate::Allow), Just(OnIndeterminate::Deny)]
}

pub(super) fn limit_ops() -> impl Strategy<Value = Op> {
    let amount = prop_oneof![
        1 => Just(None),
        1 => Just(Some(0)),
        8 => (1..14_u64).prop_map(Some),
        1 => Just(Some(AMOUNT_MAX)),
    ];
    let buffer = prop_oneof![6 => Just(0_u64), 2 => 1..3_u64, 1 => Just(AMOUNT_MAX)];
    let flags = (prop::bool::weighted(0.1), prop::bool::weighted(0.5));
    (0..20_u8, amount, buffer, flags).prop_map(|(index, amount, buffer, (shadow, carries))| Op::Limit {
        index,
        amount,
        buffer,
        shadow,
        carries,
    })
}

fn budgets() -> impl Strategy<Value = Op> {
    let amount = prop_oneof![
        2 => Just(None),
        1 => Just(Some(0)),
        8 => (1..14_u64).prop_map(Some),
        1 => Just(Some(AMOUNT_MAX)),
    ];
    let expect = prop_oneof![4 => Just(None), 2 => Just(Some(0)), 1 => (-1..=1_i8).prop_map(Some)];
    (prop::sample::select(SET.to_vec()), amount, prop::bool::weighted(0.3), expect)
        .prop_map(|(index, amount, replace, expect)| Op::SetBudget { index, amount, replace, expect })
}

fn lengths() -> impl Strategy<Value = Option<Millis>> {
    let lengths = prop::sample::select(vec![SECOND, MINUTE_MS, HOUR_MS, HOUR_MS + 1, DAY_MS, 36 * DAY_MS]);
    prop_oneof![1 => Just(None), 3 => lengths.prop_map(Some)]
}

fn overrides() -> impl Strategy<Value = Op> {
    let setting = prop_oneof![
        1 => Just(Setting::Amount(0)),
        6 => (1..14_u64).prop_map(Setting::Amount),
        1 => Just(Setting::Amount(AMOUNT_MAX)),
        2 => Just(Setting::Unlimited),
        2 => Just(Setting::Shadow),
    ];
    let expect = prop_oneof![5 => Just(None), 1 => (-1..=1_i8).prop_map(Some)];
    (0..=BACKSTOP, setting, lengths(), expect).prop_map(|(index, setting, lasts, expect)| Op::SetOverride {
        index,
        setting,
        lasts,
        expect,
    })
}

fn grants() -> impl Strategy<Value = Op> {
    let amount = prop_oneof![6 => 1..9_u64, 1 => Just(AMOUNT_MAX)];
    (0..=BACKSTOP, amount, lengths(), any::<bool>()).prop_map(|(index, amount, lasts, until_spent)| Op::Grant {
        index,
        amount,
        lasts,
        until_spent,
    })
}

fn lateness() -> impl Strategy<Value = Option<i64>> {
    let ago = |length: Millis| i64::try_from(length).unwrap();
    let minutes = ago(MINUTE_MS);
    prop_oneof![
        4 => Just(None),
        4 => (0..3 * ago(HOUR_MS)).prop_map(Some),
        2 => (0..36 * ago(DAY_MS)).prop_map(Some),
        1 => (-2 * minutes..minutes).prop_map(Some),
    ]
}

/// Where something was used: mostly in this hour, or in the one before.
fn recently() -> impl Strategy<Value = Option<i64>> {
    let hour = i64::try_from(HOUR_MS).unwrap();
    prop_oneof![5 => Just(None), 3 => (0..2 * hour).prop_map(Some), 1 => lateness()]
}

fn totals() -> impl Strategy<Value = u64> {
    prop_oneof![
        1 => Just(0),
        6 => 1..20_u64,
        1 => (0..4_u64).prop_map(|over| AMOUNT_MAX + over),
    ]
}

pub(super) fn ops() -> impl Strategy<Value = Op> {
    let rate = prop_oneof![Just(None), (1..6_u64).prop_map(Some), Just(Some(1000))];
    let rate_len = prop::sample::select(vec![SECOND, MINUTE_MS, HOUR_MS, HOUR_MS]);
    let report = (scopes(), 0..2_u8, 0..2_u8, totals());
    prop_oneof![
        24 => asks().prop_map(Op::Acquire),
        6 => (any::<u8>(), costs()).prop_map(|(which, actual)| Op::Commit(which, actual)),
        3 => any::<u8>().prop_map(Op::Release),
        2 => (any::<u8>(), prop_oneof![Just(SECOND), Just(HOUR_MS)]).prop_map(|(which, ttl)| Op::Extend(which, ttl)),
        6 => (scopes(), costs(), lateness()).prop_map(|(scopes, usage, late)| Op::Record(scopes, usage, late)),
        4 => (scopes(), costs(), recently()).prop_map(|(scopes, usage, ago)| Op::Refund(scopes, usage, ago)),
        3 => any::<u8>().prop_map(Op::RefundDecision),
        4 => report.prop_map(|(scopes, source, incarnation, total)| Op::Report { scopes, source, incarnation, total }),
        5 => budgets(),
        5 => overrides(),
        2 => (0..=BACKSTOP).prop_map(Op::ClearOverride),
        6 => grants(),
        2 => (0..3_u8).prop_map(Op::RevokeGrant),
        4 => (0..=BACKSTOP).prop_map(Op::ResetWindow),
        2 => (0..3_u8, any::<bool>()).prop_map(|(execution, keyed)| Op::Resume(execution, keyed)),
        1 => lengths().prop_map(Op::Freeze),
        1 => Just(Op::Unfreeze),
        5 => (any::<u8>(), prop::bool::weighted(0.2)).prop_map(|(which, clash)| Op::Repeat(which, clash)),
        20 => steps().prop_map(Op::Time),
        6 => limit_ops(),
        3 => (0..20_u8).prop_map(Op::Without),
        1 => (rate, rate_len).prop_map(|(amount, len)| Op::Rate(amount, len)),
        1 => (any::<bool>(), policies()).prop_map(|(required, policy)| Op::Balance(required, policy)),
        1 => (prop::bool::weighted(0.3), policies()).prop_map(|(fault, policy)| Op::StoreFault(fault, policy)),
        5 => prop::bool::weighted(0.8).prop_map(Op::Sweep),
        4 => Just(Op::Flush),
        2 => Just(Op::Restart),
        2 => Just(Op::Crash),
        1 => prop::bool::weighted(0.3).prop_map(|purge| if purge { Op::Purge } else { Op::Flush }),
    ]
}
