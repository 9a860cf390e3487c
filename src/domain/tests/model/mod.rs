//! A second implementation of the org, as naive as possible: lists of everything that happened,
//! summed afresh for every question. It shares no arithmetic with the domain, only public types; its
//! windows are written from the requirements (R-BUD-4, R-RATE-1, R-PIPE-3).
//!
//! Where the requirements leave room (a limit added in mid-window may see up to one slice too much)
//! usage is a range, and only a verdict that holds over the whole range is expected.

mod commands;
mod grants;
mod resets;

use crate::domain::{
    balance::BalanceVerdict,
    command::{Acquire, End, Mode, ReportCumulative, SetBudget, SetOverride},
    commands::Command,
    decision::Hold,
    gate::Code,
    ids::{DecisionId, ExecutionId, Incarnation, Meter, Scope, Source},
    outcome::Settlement,
    policy::OnIndeterminate,
    refusal::{NoGrant, NoReset},
    request::{Idempotency, Rpc},
    rows::{BudgetRow, Setting},
    window::{Calendar, Millis, PERIODS, Window},
};

pub(super) use grants::Given;

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const TOTAL_MAX: u64 = 10_000_000_000_000_000;

/// R-BUD-8: how long usage and disputes are kept, the longest window, a month or the last period, and four days more.
fn kept() -> u64 {
    PERIODS.iter().map(|(_, len)| *len).fold(31 * DAY, u64::max) + 4 * DAY
}

/// One limit of the policy, present or not.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub(super) scope: Scope,
    pub(super) meter: Meter,
    pub(super) window: Window,
    pub(super) amount: Option<u64>,
    pub(super) buffer: u64,
    pub(super) shadow: bool,
    pub(super) carries: bool,
    pub(super) present: bool,
    /// When it was last added.
    pub(super) since: Millis,
}

#[derive(Debug, Clone)]
pub(super) struct Rules {
    pub(super) limits: Vec<Rule>,
    pub(super) rate_amount: Option<u64>,
    pub(super) rate_len: Millis,
    pub(super) on_rate: OnIndeterminate,
    pub(super) balance_required: bool,
    pub(super) on_balance: OnIndeterminate,
    pub(super) store_fault: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) at: Millis,
    recorded_at: Millis,
    scopes: Vec<Scope>,
    meter: Meter,
    amount: u64,
}

#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) id: DecisionId,
    scopes: Vec<Scope>,
    amounts: Vec<(Meter, u64)>,
    pub(super) expires_at: Millis,
    ended: Option<(Millis, Settlement)>,
    /// What its decision has charged, and when: with the admission, and with the Commit.
    charged: Vec<(Millis, Meter, u64)>,
}

/// What was given back of one ledger, of what was used in one hour.
#[derive(Debug, Clone)]
struct Refunded {
    scope: Scope,
    meter: Meter,
    hour: Millis,
    amount: u64,
}

#[derive(Debug, Clone)]
struct Baseline {
    scopes: Vec<Scope>,
    source: Source,
    meter: Meter,
    incarnation: Incarnation,
    total: u64,
    /// Reported above what is believed, at most, in this life of the source.
    excess: u64,
}

#[derive(Debug, Clone)]
struct Remembered {
    rpc: Rpc,
    idempotency: Idempotency,
    until: Millis,
    durable: bool,
    answer: Answer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Backstop {
    pub(super) start: Millis,
    pub(super) len: Millis,
    pub(super) count: u64,
    pub(super) blocked: u64,
}

/// What a command must be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Decided {
        code: Code,
        enforced: bool,
    },
    /// The range of usage leaves it open.
    Open,
    Admitted {
        decision: DecisionId,
        hold: Option<Hold>,
    },
    NeedBalance,
    Settled,
    Extended(DecisionId, Millis),
    Resumed(u64),
    Recorded,
    NotThen,
    Reported {
        increment: u64,
        reset: bool,
        disputed: u64,
    },
    Frozen {
        was_frozen: bool,
    },
    BudgetSet,
    OtherVersion(u64),
    OverrideSet,
    Granted(u64),
    GrantRevoked,
    NoGrant(NoGrant),
    NoSuchGrant,
    WindowReset,
    NoReset(NoReset),
    OtherOverride(u64),
    NoSuchLimit,
    Purged {
        existed: bool,
    },
    /// Of each meter what was asked, and what was given back.
    Refunded(Vec<(Meter, u64, u64)>),
    NothingUsed,
    RefundedBefore,
    ChargeUnknown,
    StillOpen,
    IdReused,
    NoReservation,
    AlreadySettled(Settlement),
    Expired,
    Replayed(Box<Answer>),
}

/// What an operator has set over a limit, by its number, or over the backstop behind them.
#[derive(Debug, Clone)]
pub(super) struct Overridden {
    pub(super) rule: usize,
    pub(super) setting: Setting,
    set_at: Millis,
    pub(super) until: Option<Millis>,
    pub(super) version: u64,
    pub(super) holds: bool,
}

/// What is asked of one limit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) rule: usize,
    pub(super) amount: u64,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    pub(super) now: Millis,
    pub(super) events: Vec<Event>,
    pub(super) holds: Vec<Held>,
    refunds: Vec<Refunded>,
    /// Above what usage of each rule goes on into the next window, and since when.
    overs: Vec<Vec<(Millis, Option<u64>)>>,
    /// When the running anchored window of each rule began, and with which event.
    anchors: Vec<Option<(Millis, usize)>>,
    frozen: bool,
    freeze_ends: Option<Millis>,
    /// By which the overrides are judged that have ended.
    pub(super) configured: Option<Rules>,
    overrides: Vec<Overridden>,
    grants: Vec<Given>,
    resets: Vec<resets::Reset>,
    backstop: Option<Backstop>,
    remembered: Vec<Remembered>,
    /// What the running command ends has ended before in this very millisecond, so it ends, and is remembered, at the next.
    ends_at: Millis,
    baselines: Vec<Baseline>,
    disputed: Vec<(Millis, u64)>,
    executions: Vec<(ExecutionId, u64, Millis)>,
    /// Limits on spend that were set at run time, with their version, by scope.
    budgets: Vec<BudgetRow>,
    pub(super) admitted_total: u64,
    /// When each call was admitted.
    pub(super) admitted: Vec<Millis>,
    /// When each call was denied, with which code, and whether that was enforced.
    pub(super) denied: Vec<(Millis, Code, bool)>,
}

fn counts_for_org(scope: &Scope) -> bool {
    !scope.as_str().starts_with("account/") && !scope.as_str().starts_with("pool/")
}

/// Whether what happens in `scopes` counts in `counted`: once, however many of them there are.
fn counts_in(scopes: &[Scope], counted: &Scope) -> bool {
    let in_org = scopes.is_empty() || scopes.iter().any(counts_for_org);
    if counted.as_str().is_empty() { in_org } else { scopes.iter().any(|scope| scope == counted) }
}

fn sum(amounts: impl Iterator<Item = u64>) -> u64 {
    amounts.fold(0, u64::saturating_add)
}

fn of(amounts: &[(Meter, u64)], meter: &Meter) -> u64 {
    sum(amounts.iter().filter(|(named, _)| named == meter).map(|(_, amount)| *amount))
}

/// First day of the month that holds `day` (both since the epoch), by counting months from
/// 2026-01-01 on.
fn month_start(day: u64) -> u64 {
    let (mut start, mut year, mut month) = (20_454, 2026, 0);
    loop {
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let february = if leap { 29 } else { 28 };
        let length = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month];
        if day < start + length {
            return start;
        }
        start += length;
        month += 1;
        if month == 12 {
            (year, month) = (year + 1, 0);
        }
    }
}

/// First day of the period; 1970-01-01 was a Thursday.
fn calendar_start(unit: Calendar, at: Millis) -> Millis {
    let day = at / DAY;
    DAY * match unit {
        Calendar::Day => day,
        Calendar::Week => day - (day + 3) % 7,
        Calendar::Month => month_start(day),
        Calendar::MonthFrom(_) | Calendar::Year => unreachable!("no history has one"),
    }
}

/// Of a window with a counter that does not begin with its use. The only zone of the histories is Kolkata.
fn counted_start(window: Window, at: Millis) -> Millis {
    match window {
        Window::Aligned { len } => at / len * len,
        _ => (at + 330 * MINUTE) / DAY * DAY - 330 * MINUTE,
    }
}

fn counted_len(window: Window) -> Millis {
    if let Window::Aligned { len } = window { len } else { DAY }
}

fn window_start(window: Window, at: Millis) -> Millis {
    if let Window::Calendar(unit) = window { calendar_start(unit, at) } else { counted_start(window, at) }
}

fn window_end(window: Window, at: Millis) -> Millis {
    match window {
        Window::Calendar(unit) => calendar_end(unit, at),
        _ => counted_start(window, at) + counted_len(window),
    }
}

/// Whether what it begins with may be known by the hour only.
fn is_seeded(window: Window) -> bool {
    matches!(window, Window::Aligned { .. } | Window::Zoned { .. })
}

/// Length of a window, where all are of the same; 0 for months.
fn whole_len(window: Window) -> Millis {
    match window {
        Window::Calendar(Calendar::Day) => DAY,
        Window::Calendar(Calendar::Week) => 7 * DAY,
        Window::Calendar(_) => 0,
        _ => counted_len(window),
    }
}

/// How many windows from `start` on end by `until`.
fn whole_windows(window: Window, start: Millis, until: Millis) -> u64 {
    (until - start).checked_div(whole_len(window)).unwrap_or(0)
}

fn calendar_end(unit: Calendar, at: Millis) -> Millis {
    let start = calendar_start(unit, at);
    match unit {
        Calendar::Day => start + DAY,
        Calendar::Week => start + 7 * DAY,
        Calendar::Month | Calendar::MonthFrom(_) | Calendar::Year => calendar_start(unit, start + 31 * DAY),
    }
}

pub(super) fn slice_of(len: Millis) -> Millis {
    if len <= HOUR { MINUTE } else { HOUR }
}

impl Rule {
    fn over(&self) -> Option<u64> {
        self.amount.filter(|_| self.carries && self.present)
    }
}

impl Model {
    pub(super) fn new(now: Millis, configured: &Rules) -> Self {
        let overs = configured.limits.iter().map(|rule| vec![(0, rule.over())]).collect();
        let anchors = vec![None; configured.limits.len()];
        Self { now, anchors, overs, configured: Some(configured.clone()), ..Self::default() }
    }

    /// Nothing is left but what is configured: what was set at run time goes too.
    fn begin_again(&mut self) {
        *self = Self::new(self.now, self.configured.as_ref().expect("set from the beginning"));
    }

    /// From now on usage is carried by these, and by what is set over them.
    pub(super) fn carry_by(&mut self, rules: &Rules) {
        self.configured = Some(rules.clone());
        self.carry_since(self.now);
    }

    /// From then on usage is carried by what is in force.
    fn carry_since(&mut self, since: Millis) {
        let Some(configured) = &self.configured else { return };
        let rules = self.in_force(configured);
        for (rule, overs) in rules.limits.iter().zip(&mut self.overs) {
            overs.push((since, rule.over()));
        }
    }

    // ---- what is in force ------------------------------------------------------------------

    /// The configured rules with what was set since.
    pub(super) fn in_force(&self, configured: &Rules) -> Rules {
        let mut rules = configured.clone();
        for rule in rules.limits.iter_mut().filter(|rule| rule.meter.as_str() == "spend") {
            let Some(row) = self.budgets.iter().find(|row| row.scope == rule.scope) else { continue };
            let set = rule.window.period().and_then(|period| row.limits.get(period));
            if let Some(amount) = set {
                let kept = Rule { buffer: 0, shadow: false, present: true, ..rule.clone() };
                *rule = Rule { amount: Some(*amount), ..kept };
            }
        }
        for set in self.overrides.iter().filter(|set| set.holds) {
            let Some(rule) = rules.limits.get_mut(set.rule) else {
                rules.rate_amount = match set.setting {
                    Setting::Amount(amount) => Some(amount),
                    _ => None,
                };
                continue;
            };
            match set.setting {
                Setting::Amount(amount) => {
                    let since = if rule.present { rule.since } else { set.set_at };
                    let made =
                        if rule.present { rule.clone() } else { Rule { buffer: 0, carries: false, ..rule.clone() } };
                    *rule = Rule { amount: Some(amount), shadow: false, present: true, since, ..made };
                }
                Setting::Unlimited => rule.amount = None,
                _ => rule.shadow = true,
            }
        }
        self.add_grants(&mut rules);
        rules
    }

    /// In the order in which they were set first.
    pub(super) fn overridden(&self) -> &[Overridden] {
        &self.overrides
    }

    pub(super) fn override_version(&self, rule: usize) -> u64 {
        self.overrides.iter().find(|set| set.rule == rule).map_or(0, |set| set.version)
    }

    /// Ends what ends by itself by now, the first one first.
    fn end_overrides(&mut self, now: Millis) {
        if self.freeze_ends.is_some_and(|at| at <= now) {
            (self.frozen, self.freeze_ends) = (false, None);
        }
        let due = |model: &Self| {
            let ends = model.overrides.iter().filter(|set| set.holds).filter_map(|set| set.until);
            let of_grants = model.grants.iter().filter(|given| given.holds).filter_map(|given| given.until);
            ends.chain(of_grants).filter(|at| *at <= now).min()
        };
        while let Some(at) = due(self) {
            for set in self.overrides.iter_mut().filter(|set| set.holds && set.until == Some(at)) {
                (set.holds, set.version) = (false, set.version + 1);
            }
            self.end_grants(at);
            self.carry_since(at);
        }
    }

    pub(super) fn budget_version(&self, scope: &Scope) -> u64 {
        self.budgets.iter().find(|row| row.scope == *scope).map_or(0, |row| row.version)
    }

    pub(super) fn budget_rows(&self) -> Vec<BudgetRow> {
        let mut rows = self.budgets.clone();
        rows.sort_by(|a, b| a.scope.cmp(&b.scope));
        rows
    }

    // ---- what counts -----------------------------------------------------------------------

    fn spent_since(&self, rule: &Rule, from: Millis) -> u64 {
        Self::spent(rule, &self.events, from)
    }

    fn spent(rule: &Rule, events: &[Event], from: Millis) -> u64 {
        let counts = |event: &&Event| event.meter == rule.meter && counts_in(&event.scopes, &rule.scope);
        sum(events.iter().filter(|event| event.at >= from).filter(counts).map(|event| event.amount))
    }

    /// Really used in the trailing length of a rolling window, to the millisecond.
    pub(super) fn exact(&self, rule: &Rule) -> u64 {
        match rule.window {
            Window::Rolling { len } => {
                let from = (self.now + 1).saturating_sub(len);
                self.spent_since(rule, from).saturating_sub(self.given_back(rule, from).1)
            }
            _ => 0,
        }
    }

    /// What was given back of what counts in a window that began at `from`: at least, of hours that lie in it, and at
    /// most, of those that touch it.
    fn given_back(&self, rule: &Rule, from: Millis) -> (u64, u64) {
        let of_rule = || self.refunds.iter().filter(|of| of.scope == rule.scope && of.meter == rule.meter);
        let least = sum(of_rule().filter(|of| of.hour >= from).map(|of| of.amount));
        (least, sum(of_rule().filter(|of| of.hour + HOUR > from).map(|of| of.amount)))
    }

    fn less_given_back(&self, rule: &Rule, (least, most): (u64, u64), from: Millis) -> (u64, u64) {
        let given = self.given_back(rule, from);
        (least.saturating_sub(given.1), most.saturating_sub(given.0))
    }

    /// Used in the rule's window at `at` with what was carried into it, at least and at most.
    pub(super) fn used(&self, rules: &Rules, index: usize, at: Millis) -> (u64, u64) {
        let own = self.since_reset(&rules.limits[index], index, at, self.used_in_window(rules, index, at));
        let carried = self.carried(rules, index, at);
        (own.0.saturating_add(carried.0), own.1.saturating_add(carried.1))
    }

    /// What the windows before had over the limits that were in force when they ended, at least and at most: one
    /// after the other from the first usage on.
    pub(super) fn carried(&self, rules: &Rules, index: usize, at: Millis) -> (u64, u64) {
        let (rule, overs) = (&rules.limits[index], &self.overs[index]);
        let counts = |event: &&Event| event.meter == rule.meter && counts_in(&event.scopes, &rule.scope);
        let events: Vec<_> = self.events.iter().filter(counts).collect();
        let first = events.iter().map(|event| event.at).min();
        let (Some(first), true) = (first, rule.carries) else { return (0, 0) };
        let (mut start, mut carried, mut late) = (window_start(rule.window, first), (0_u64, 0_u64), 0);
        loop {
            let end = window_end(rule.window, start);
            if end > at {
                // What was recorded of a window that had ended has its room judged by the limit of that time.
                let most = carried.1.max(carried.0.saturating_add(late));
                // What is given back of a window that has ended is less carried, as far as none had room for it.
                let of_rule = |of: &&Refunded| of.scope == rule.scope && of.meter == rule.meter && of.hour < start;
                let given = sum(self.refunds.iter().filter(of_rule).map(|of| of.amount));
                return (carried.0.saturating_sub(given), most);
            }
            let within = |from| events.iter().filter(move |event| from <= event.at && event.at < end);
            let in_time = |event: &&&Event| event.recorded_at < end;
            let spent = |from: Millis| sum(within(from).filter(in_time).map(|event| event.amount));
            late += sum(within(start).filter(|event| event.recorded_at >= end).map(|event| event.amount));
            let hour = start / HOUR * HOUR;
            let is_vague = rule.since >= hour && rule.since < end && is_seeded(rule.window);
            let (least, most) = (spent(start), if is_vague { spent(hour) } else { spent(start) });
            let (_, over) = overs.iter().rev().find(|(since, _)| *since < end).unwrap();
            let Some(over) = over else {
                carried = (0, 0);
                start = end;
                continue;
            };
            // As many windows at once as pass without an event or a change.
            let turns = events.iter().map(|event| event.at).chain(overs.iter().map(|(since, _)| *since)).chain([at]);
            let quiet_until = turns.filter(|turn| *turn >= end).min().unwrap_or(end);
            let windows = whole_windows(rule.window, end, quiet_until);
            let left = |before: u64, spent: u64| {
                let left = u128::from(before) + u128::from(spent);
                u64::try_from(left.saturating_sub(u128::from(*over) * u128::from(1 + windows))).unwrap()
            };
            carried = (left(carried.0, least), left(carried.1, most));
            start = end + windows * whole_len(rule.window);
        }
    }

    fn used_in_window(&self, rules: &Rules, index: usize, at: Millis) -> (u64, u64) {
        let rule = &rules.limits[index];
        match rule.window {
            Window::Rolling { len } => {
                let slice = slice_of(len);
                let from = (at - len) / slice * slice;
                let used = self.spent_since(rule, from);
                self.less_given_back(rule, (used, used), from)
            }
            Window::Calendar(unit) => {
                let from = calendar_start(unit, at);
                let used = self.spent_since(rule, from);
                self.less_given_back(rule, (used, used), from)
            }
            Window::Aligned { .. } | Window::Zoned { .. } => {
                let start = counted_start(rule.window, at);
                let least = self.spent_since(rule, start);
                let hour = start / HOUR * HOUR;
                let most = if rule.since < hour { least } else { self.spent_since(rule, hour) };
                self.less_given_back(rule, (least, most), start)
            }
            Window::Anchored { len } => {
                let running = self.anchors[index].filter(|(start, _)| at < start + len);
                let Some((start, first)) = running else { return (0, 0) };
                let least = Self::spent(rule, &self.events[first..], start);
                // One that began with late usage has what the slices know to have come after it.
                let is_late = self.events.get(first).is_some_and(|event| event.at < event.recorded_at);
                let most = if is_late { Self::spent(rule, &self.events, start) } else { least };
                // What was used in the instant in which it began may have come before it.
                let (given, possible) = (self.given_back(rule, start + 1).0, self.given_back(rule, start).1);
                (least.saturating_sub(possible), most.saturating_sub(given))
            }
            Window::Once | Window::Provider | Window::Concurrent => (0, 0),
        }
    }

    /// Held against the rule at `at`, if nothing but time happens.
    pub(super) fn reserved(&self, rule: &Rule, at: Millis) -> u64 {
        let holds = |held: &&Held| held.ended.is_none() && held.expires_at > at && counts_in(&held.scopes, &rule.scope);
        sum(self.holds.iter().filter(holds).map(|held| of(&held.amounts, &rule.meter)))
    }

    /// Whether `asked` fits at `at`; `None` where the range of usage leaves it open.
    pub(super) fn fits(&self, rules: &Rules, asked: Asked, at: Millis) -> Option<bool> {
        let rule = &rules.limits[asked.rule];
        let Some(amount) = rule.amount else { return Some(true) };
        let (least, most) = self.used(rules, asked.rule, at);
        let reserved = u128::from(self.reserved(rule, at));
        let mut amount = amount;
        if self.lent(rules, asked.rule).is_some() {
            let lent = self.lent_at(rules, asked.rule, at).filter(|_| least == most)?;
            let taken = least.saturating_add(self.reserved(rule, at));
            amount += lent.more(taken.saturating_sub(amount.saturating_sub(rule.buffer)));
        }
        let admits = |used: u64| {
            let taken = u128::from(used) + reserved;
            match asked.amount {
                0 => taken < u128::from(amount),
                more => taken + u128::from(more) <= u128::from(amount.saturating_sub(rule.buffer)),
            }
        };
        (admits(least) == admits(most)).then(|| admits(most))
    }

    /// Whether `asked` cannot fit, however long one waits: not before the holds have ended that there are.
    pub(super) fn never_fits(&self, rules: &Rules, asked: Asked) -> bool {
        let rule = &rules.limits[asked.rule];
        let last = self.holds.iter().filter(|held| held.ended.is_none()).map(|held| held.expires_at).max();
        let lent = self.lent_at(rules, asked.rule, last.unwrap_or(self.now));
        let left = lent.map_or(0, |lent| lent.granted - lent.spent);
        rule.amount.is_some_and(|amount| match asked.amount {
            0 => amount == 0 && left == 0,
            more => more > (amount + left).saturating_sub(rule.buffer),
        })
    }

    /// Every limit that one Acquire is held against, with what is asked of it.
    pub(super) fn asked(rules: &Rules, ask: &Acquire) -> Vec<Asked> {
        let applies = |rule: &Rule| rule.present && (rule.scope.is_org() || ask.scopes.contains(&rule.scope));
        let amount = |rule: &Rule| {
            if counts_in(&ask.scopes, &rule.scope) {
                of(&ask.cost, &rule.meter) + of(&ask.reserve, &rule.meter)
            } else {
                0
            }
        };
        let indexed = rules.limits.iter().enumerate().filter(|(_, rule)| applies(rule));
        indexed.map(|(index, rule)| Asked { rule: index, amount: amount(rule) }).collect()
    }

    pub(super) fn backstop(&self, rules: &Rules) -> Backstop {
        let start = self.now / rules.rate_len * rules.rate_len;
        let fresh = Backstop { start, len: rules.rate_len, count: 0, blocked: 0 };
        match self.backstop {
            Some(old) if self.now < old.start + old.len => Backstop { count: old.count, blocked: old.blocked, ..fresh },
            _ => fresh,
        }
    }

    /// Whether a later call could need anything of it.
    pub(super) fn is_live(&self, rules: &Rules) -> bool {
        let now = self.now;
        self.frozen
            || (0..rules.limits.len()).any(|index| self.carried(rules, index, now).0 > 0)
            || self.backstop.is_some_and(|old| now < old.start + 3 * old.len)
            // R-CTRL-2: as hours, then as days, then as months.
            || self.refunds.is_empty()
                && self.events.iter().any(|event| event.amount > 0 && event.at + 7 * 366 * DAY > now)
            || self.events.iter().any(|event| event.at + kept() > now)
            || self.holds.iter().any(|held| held.ended.is_none_or(|(at, _)| at + DAY > now))
            || !self.remembered.is_empty()
            || !self.baselines.is_empty()
            || !self.disputed.is_empty()
            // A cleared budget is a version that may be forgotten.
            || self.budgets.iter().any(|row| !row.limits.is_empty())
            || self.overrides.iter().any(|set| set.holds)
            || self.grants.iter().any(|given| given.holds)
            || self.executions.iter().any(|(_, _, last_seen)| last_seen + DAY > now)
    }

    /// What the commit of a spent org leaves.
    pub(super) fn forget_all(&mut self) {
        self.begin_again();
    }

    /// Instants at which something changes by itself.
    pub(super) fn turning_points(&self, rules: &Rules) -> Vec<Millis> {
        let mut points: Vec<Millis> = self.holds.iter().map(|held| held.expires_at).collect();
        points.extend(self.remembered.iter().map(|entry| entry.until));
        points.push(self.backstop(rules).start + rules.rate_len);
        points.extend(self.overrides.iter().filter(|set| set.holds).filter_map(|set| set.until));
        points.extend(self.grants.iter().filter(|given| given.holds).filter_map(|given| given.until));
        points.extend(self.freeze_ends);
        for (rule, anchor) in rules.limits.iter().zip(&self.anchors).filter(|(rule, _)| rule.present) {
            match rule.window {
                Window::Aligned { .. } | Window::Zoned { .. } => {
                    let end = counted_start(rule.window, self.now) + counted_len(rule.window);
                    points.extend([end, end + HOUR]);
                }
                Window::Anchored { len } => points.extend(anchor.map(|(start, _)| start + len)),
                Window::Calendar(unit) => points.push(calendar_end(unit, self.now)),
                Window::Rolling { len } => {
                    let slice = slice_of(len);
                    let leaves = |event: &Event| [event.at + len, event.at / slice * slice + slice + len];
                    points.extend(self.events.iter().rev().take(4).flat_map(leaves));
                }
                Window::Once | Window::Provider | Window::Concurrent => {}
            }
        }
        points.retain(|at| *at + 1 >= self.now);
        points
    }

    pub(super) fn disputed_total(&self) -> u64 {
        sum(self.disputed.iter().map(|(_, amount)| *amount))
    }
}
