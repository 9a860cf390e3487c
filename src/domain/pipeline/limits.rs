//! Limits over the org's own book: budgets, quotas, and how much of one a single reservation may hold.

use std::{cmp::Reverse, iter};

use smallvec::{SmallVec, smallvec};

use super::{Facts, OrgFacts, Run, denied, sentence, sessions};
use crate::bounds::SCOPES_PER_CALL;
use crate::domain::{
    book::{Book, Standing},
    command::Acquire,
    decision::{LimitView, LimitViews},
    gate::{Cause, Code, Denial, Fits, Verdict},
    ids::{Meter, Scope},
    lease::Now,
    limit::{Limit, Limits},
    policy::OrgPolicy,
    spending::Spending,
    window::{Millis, Window, iso},
    words,
};

/// One limit with what is asked of it.
#[derive(Debug)]
pub(super) struct Check<'p> {
    pub(super) scope: &'p Scope,
    /// What scopes share that have their limits from the same pattern, where it has a part in what is used.
    others: Option<Scope>,
    pub(super) limit: &'p Limit,
    pub(super) used: u64,
    /// Of that, what the windows before had over the limit.
    pub(super) carried: u64,
    pub(super) reserved: u64,
    /// End of the running window; a rolling one has none.
    pub(super) ends_at: Option<Millis>,
    pub(super) cost: u64,
    pub(super) hold: u64,
    pub(super) limiting: bool,
    /// Grants on top of it that last until they are spent.
    spending: Spending,
}

impl<'p> Check<'p> {
    /// Pairs a limit of `scope` with the amount that this call would charge: 0 where it does not count there.
    pub(super) fn new(ask: &Acquire, scope: &'p Scope, limit: &'p Limit, standing: Standing) -> Self {
        let Standing { used, carried, reserved, ends_at, spending } = standing;
        let counts = ask.scopes.counts_in(scope);
        let (cost, hold) =
            if counts { (of(&ask.cost, limit.meter()), of(&ask.reserve, limit.meter())) } else { (0, 0) };
        Self { cost, hold, scope, others: None, limit, used, carried, reserved, ends_at, limiting: false, spending }
    }

    fn asked(&self) -> u64 {
        self.cost.saturating_add(self.hold)
    }

    pub(super) fn admits(&self) -> bool {
        self.limit.admits(self.spending.more(), self.used, self.reserved, self.asked())
    }

    /// The amount in force; `None` = unlimited.
    pub(super) fn amount(&self) -> Option<u64> {
        self.spending.over_amount(self.limit.amount)
    }

    /// Whether it can deny.
    fn is_enforced(&self) -> bool {
        !self.limit.shadow && self.limit.amount.is_some()
    }

    fn code(&self) -> Code {
        if self.limit.is_budget() { Code::BudgetExceeded } else { Code::QuotaExceeded }
    }

    /// As it will stand: after the charge where it is `charged`.
    pub(super) fn view(&self, charged: bool, resets_at: Option<Millis>) -> LimitView {
        let used = self.used.saturating_add(if charged { self.cost } else { 0 });
        let reserved = self.reserved.saturating_add(if charged { self.hold } else { 0 });
        let spending = self.spending.at(self.limit.usable(), used.saturating_add(reserved));
        LimitView {
            resets_at,
            limiting: self.limiting,
            carried: self.carried,
            ..LimitView::of(self.limit, self.scope, used, reserved).with(spending)
        }
    }

    /// When what was asked fits if nothing else happens, or the end of the window.
    fn resets_at(&self, book: &mut Book, now: &Now) -> Option<Millis> {
        if !self.admits() {
            return self.fits_at(book, now);
        }
        if self.limit.is_budget() { self.limit.amount.map(|_| now.service) } else { self.ends_at }
    }

    fn fits_at(&self, book: &mut Book, now: &Now) -> Option<Millis> {
        book.fits_at(self.scope, self.others.as_ref(), self.limit, self.asked(), now)
    }

    /// Most that one reservation may hold.
    fn share(&self, percent: u64) -> Option<u64> {
        let usable = self.amount()?.saturating_sub(self.limit.buffer);
        u64::try_from(u128::from(usable) * u128::from(percent) / 100).ok()
    }
}

fn of(amounts: &[(Meter, u64)], meter: &Meter) -> u64 {
    amounts.iter().find(|(named, _)| named == meter).map_or(0, |(_, amount)| *amount)
}

/// Every limit of the org and of each scope, with what this call asks of it. None where the book cannot be read.
pub(super) fn checks<'a>(facts: &mut Facts<'a>) -> Vec<Check<'a>> {
    let (ask, policy, now) = (facts.ask, facts.policy, facts.now.service);
    let Ok(OrgFacts { book, .. }) = &mut facts.org else { return Vec::new() };
    let of_scopes: SmallVec<[_; SCOPES_PER_CALL]> =
        ask.scopes.iter().map(|scope| (scope, policy.limits_of(scope))).collect();
    let count = of_scopes.iter().map(|(_, limits)| limits.len()).sum::<usize>();
    let mut checks = Vec::with_capacity(policy.limits.len() + count);
    checks.extend(checks_of(book, ask, Scope::of_org(), &policy.limits, now));
    for (scope, limits) in of_scopes {
        match book.others_of(policy, scope) {
            None => checks.extend(checks_of(book, ask, scope, limits, now)),
            Some(others) => checks.extend(checks_with_others(book, ask, (scope, &others), limits, now)),
        }
    }
    with_spending(book, checks)
}

/// Adds the grants that last until they are spent.
fn with_spending<'a>(book: &Book, mut checks: Vec<Check<'a>>) -> Vec<Check<'a>> {
    for check in checks.iter_mut().filter(|check| check.limit.until_spent) {
        check.spending = book.spending(check.scope, check.limit, check.used.saturating_add(check.reserved));
    }
    checks
}

/// The limits of one scope.
fn checks_of<'a>(
    book: &mut Book,
    ask: &Acquire,
    scope: &'a Scope,
    limits: &'a Limits,
    now: Millis,
) -> impl Iterator<Item = Check<'a>> {
    let mut page = book.bound(scope, limits);
    limits.iter().enumerate().map(move |(number, limit)| {
        let unused = || Standing::unused(limit.window(), now);
        let standing = page.as_mut().map_or_else(unused, |page| page.standing(number, now));
        Check::new(ask, scope, limit, standing)
    })
}

/// The same where scopes share a ledger that have these limits.
fn checks_with_others<'a>(
    book: &mut Book,
    ask: &Acquire,
    (scope, others): (&'a Scope, &Scope),
    limits: &'a Limits,
    now: Millis,
) -> impl Iterator<Item = Check<'a>> {
    limits.iter().map(move |limit| {
        let (standing, shared) = book.judged(scope, others, limit, now);
        Check { others: shared.then(|| others.clone()), ..Check::new(ask, scope, limit, standing) }
    })
}

/// What is known to be exhausted denies; a limit that cannot be understood leaves the gate without an
/// answer. Where the book cannot be read, a budget may be stored.
pub(super) fn budgets(run: &mut Run<'_>) -> Verdict {
    let (ask, now) = (run.facts.ask, &run.facts.now);
    let org = match &mut run.facts.org {
        Ok(org) => org,
        Err(cause) => return Verdict::Unevaluated(*cause),
    };
    let exceeded = exceeded(org.book, &mut run.checks, now, |check| !sessions::is_quota(ask, check));
    if let Some(exceeded) = exceeded {
        return denied(exceeded.denial(now));
    }
    if org.malformed {
        return Verdict::Unevaluated(Cause::MalformedLimit);
    }
    let concerned = run.checks.iter().any(|check| check.is_enforced() && !sessions::is_quota(ask, check));
    if concerned { run.passed() } else { Verdict::Skipped }
}

/// One reservation holds no more of a limit than an operator lets it.
pub(super) fn reserve(run: &mut Run<'_>) -> Verdict {
    let percent = run.facts.share_percent;
    if run.facts.ask.reserve.is_empty() || percent >= 100 {
        return Verdict::Skipped;
    }
    let over =
        |check: &&mut Check<'_>| !check.limit.shadow && check.share(percent).is_some_and(|most| check.hold > most);
    let Some(check) = run.checks.iter_mut().find(over) else { return Verdict::Passed };
    check.limiting = true;
    let (most, asked) = (check.text(check.share(percent).unwrap_or(0)), check.text(check.hold));
    denied(Denial {
        code: check.code(),
        fits: Fits::Never,
        message: format!(
            "One reservation may hold at most {most}, which is {percent} % of {}; {asked} asked. Reserve less at a time.",
            check.named(),
        ),
        names: vec![format!("what one reservation may hold of {} ({asked} asked, {most} allowed)", check.named())],
    })
}

/// Limits on the scope of a pool itself, of which a pick asks one call.
pub(in crate::domain) fn pool_limits(book: &mut Book, pool: &Scope, policy: &OrgPolicy, now: &Now) -> Option<Denial> {
    let limits = policy.limits_of(pool);
    if limits.is_empty() {
        return None;
    }
    let ask = Acquire::of(pool.clone().into(), smallvec![(Meter::calls(), 1)]);
    let checks: Vec<_> = checks_of(book, &ask, pool, limits, now.service).collect();
    let mut checks = with_spending(book, checks);
    exceeded(book, &mut checks, now, |_| true).map(|exceeded| sentence::of_one(exceeded.denial(now)))
}

/// The limits that do not admit a call: at least one.
#[derive(Debug)]
pub(super) struct Exceeded<'c, 'p> {
    /// The one that fits last. Its time is that of the whole call, so the sentence is about it.
    last: Full<'c, 'p>,
    /// The others, in pipeline order.
    others: Vec<Full<'c, 'p>>,
}

/// A limit that does not admit what is asked, and when it does; `None` = never, while it stands.
type Full<'c, 'p> = (&'c Check<'p>, Option<Millis>);

/// Of the limits that `concerns` picks, those that do not admit.
pub(super) fn exceeded<'c, 'p>(
    book: &mut Book,
    checks: &'c mut [Check<'p>],
    now: &Now,
    concerns: impl Fn(&Check<'p>) -> bool,
) -> Option<Exceeded<'c, 'p>> {
    let mut full: Vec<(usize, Option<Millis>)> = Vec::new();
    for (index, check) in checks.iter_mut().enumerate() {
        if concerns(check) && !check.limit.shadow && !check.admits() {
            check.limiting = true;
            full.push((index, check.fits_at(book, now)));
        }
    }
    let checks: &'c [Check<'p>] = checks;
    let of_index = |(index, fits_at)| Some((checks.get(index)?, fits_at));
    let mut others: Vec<Full<'c, 'p>> = full.into_iter().filter_map(of_index).collect();
    // The tightest of those that fit at the same time, the first of equals.
    let lasts = |(place, (check, fits_at)): &(usize, &Full<'_, '_>)| {
        (fits_at.unwrap_or(Millis::MAX), Reverse(check.spare()), Reverse(*place))
    };
    let (place, _) = others.iter().enumerate().max_by_key(lasts)?;
    Some(Exceeded { last: others.remove(place), others })
}

impl Exceeded<'_, '_> {
    /// The window of the limit that fits last.
    pub(super) fn window(&self) -> Window {
        self.last.0.limit.window()
    }

    pub(super) fn denial(&self, now: &Now) -> Denial {
        let (check, fits_at) = self.last;
        let fits = fits_at.map_or(Fits::Never, |at| Fits::After(now.until(at)));
        let all = iter::once(&self.last).chain(&self.others);
        let names = all.map(|(check, fits_at)| check.in_brief(*fits_at, now)).collect();
        Denial { code: check.code(), fits, message: self.message(now), names }
    }

    /// `Budget budget/daily of scope workspace/a has too little left: $30.00 asked, $23.00 left of $25.00
    /// per rolling day. It fits again at … (in 2 d 22 h).`
    fn message(&self, now: &Now) -> String {
        let (check, fits_at) = self.last;
        let kind = if check.limit.is_budget() { "Budget" } else { "Quota" };
        let when = match fits_at {
            None => "It will not fit while this limit stands.".to_owned(),
            Some(at) => {
                format!("It fits again at {} (in {}).", iso(at), words::duration(now.until(at)))
            }
        };
        format!("{kind} {} {}. {when}", check.named(), check.state())
    }
}

/// How a limit stands, for the sentence of a denial.
impl Check<'_> {
    /// What may still be used: amount less buffer, usage and holds.
    fn spare(&self) -> i128 {
        let usable = self.amount().unwrap_or(u64::MAX).saturating_sub(self.limit.buffer);
        i128::from(usable) - i128::from(self.used) - i128::from(self.reserved)
    }

    fn text(&self, amount: u64) -> String {
        words::amount(self.limit.meter(), amount)
    }

    /// `budget/daily of scope workspace/a`.
    fn named(&self) -> String {
        let name = self.limit.name();
        if self.scope.is_org() {
            return format!("{name} of this org");
        }
        match &self.others {
            None => format!("{name} of scope {}", self.scope.shown()),
            Some(others) => {
                format!("{name} of scope {}, counted with others in {},", self.scope.shown(), others.shown())
            }
        }
    }

    /// `7 executions asked, 5 executions left`, or `used up` where nothing is left.
    fn shortage(&self) -> String {
        match u64::try_from(self.spare()) {
            Ok(left @ 1..) => format!("{} asked, {} left", self.text(self.asked()), self.text(left)),
            _ => "used up".to_owned(),
        }
    }

    /// `quota/executions of this org (used up, fits again in 12 min)`
    fn in_brief(&self, fits_at: Option<Millis>, now: &Now) -> String {
        let when = match fits_at {
            None => "does not fit while it stands".to_owned(),
            Some(at) => format!("fits again in {}", words::duration(now.until(at))),
        };
        format!("{} ({}, {when})", self.named(), self.shortage())
    }

    /// What is wrong with it, with its numbers.
    fn state(&self) -> String {
        let (limit, amount) = (self.limit, self.amount().unwrap_or(0));
        let per = words::window(limit.window());
        if amount == 0 {
            return format!("is {} per {per} and blocks everything", self.text(0));
        }
        let buffer = match limit.buffer {
            0 => String::new(),
            buffer => format!(" less a buffer of {}", self.text(buffer)),
        };
        let of = format!("{}{buffer} per {per}", self.text(amount));
        if self.spare() > 0 {
            return format!("has too little left: {} of {of}", self.shortage());
        }
        let held = match self.reserved {
            0 => String::new(),
            held => format!(" and {} reserved", self.text(held)),
        };
        let carried = match self.carried {
            0 => String::new(),
            carried => format!(" ({} of it carried over from before)", self.text(carried)),
        };
        format!("is used up: {} used{carried}{held} of {of}", self.text(self.used))
    }
}

/// Adds every limit as it will stand to the answer.
pub(super) fn view(run: &mut Run<'_>, charged: bool, views: &mut LimitViews) {
    let now = &run.facts.now;
    let Ok(OrgFacts { book, .. }) = &mut run.facts.org else { return };
    for check in &run.checks {
        let resets_at = check.resets_at(book, now);
        views.push(check.view(charged, resets_at));
    }
}
