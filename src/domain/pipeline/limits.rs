//! Limits over the org's own book: budgets, quotas, and how much of one a single reservation may hold.

use smallvec::smallvec;

use super::{Facts, OrgFacts, Run, denied, sessions};
use crate::domain::{
    book::{Book, Standing},
    command::Acquire,
    decision::{LimitView, LimitViews},
    gate::{Cause, Code, Denial, Verdict},
    ids::{Meter, Scope},
    limit::{Limit, Limits},
    policy::OrgPolicy,
    window::{Millis, iso},
    words,
};

/// One limit with what is asked of it.
#[derive(Debug)]
pub(super) struct Check<'p> {
    pub(super) scope: &'p Scope,
    pub(super) limit: &'p Limit,
    pub(super) used: u64,
    pub(super) reserved: u64,
    /// End of the running window; a rolling one has none.
    pub(super) ends_at: Option<Millis>,
    pub(super) cost: u64,
    pub(super) hold: u64,
    pub(super) limiting: bool,
}

impl<'p> Check<'p> {
    /// Pairs a limit of `scope` with the amount that this call would charge: 0 where it does not count there.
    pub(super) fn new(ask: &Acquire, scope: &'p Scope, limit: &'p Limit, standing: Standing) -> Self {
        let Standing { used, reserved, ends_at } = standing;
        let counts = ask.scope.counts_in(scope);
        let (cost, hold) =
            if counts { (of(&ask.cost, limit.meter()), of(&ask.reserve, limit.meter())) } else { (0, 0) };
        Self { cost, hold, scope, limit, used, reserved, ends_at, limiting: false }
    }

    fn asked(&self) -> u64 {
        self.cost.saturating_add(self.hold)
    }

    pub(super) fn admits(&self) -> bool {
        self.limit.admits(self.used, self.reserved, self.asked())
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
        LimitView { resets_at, limiting: self.limiting, ..LimitView::of(self.limit, self.scope, used, reserved) }
    }

    /// When what was asked fits if nothing else happens, or the end of the window.
    fn resets_at(&self, book: &mut Book, now: Millis) -> Option<Millis> {
        if !self.admits() {
            return book.fits_at(self.scope, self.limit, self.asked(), now);
        }
        if self.limit.is_budget() { self.limit.amount.map(|_| now) } else { self.ends_at }
    }

    /// Most that one reservation may hold.
    fn share(&self, percent: u64) -> Option<u64> {
        let usable = self.limit.amount?.saturating_sub(self.limit.buffer);
        u64::try_from(u128::from(usable) * u128::from(percent) / 100).ok()
    }
}

fn of(amounts: &[(Meter, u64)], meter: &Meter) -> u64 {
    amounts.iter().find(|(named, _)| named == meter).map_or(0, |(_, amount)| *amount)
}

/// Every limit of the org and of the scope, with what this call asks of it. None where the book cannot be read.
pub(super) fn checks<'a>(facts: &mut Facts<'a>) -> Vec<Check<'a>> {
    let (ask, policy, now) = (facts.ask, facts.policy, facts.now);
    let Ok(OrgFacts { book, .. }) = &mut facts.org else { return Vec::new() };
    if ask.scope.is_org() {
        return checks_of(book, ask, &ask.scope, &policy.limits, now).collect();
    }
    let of_scope = policy.limits_of(&ask.scope);
    let mut checks = Vec::with_capacity(policy.limits.len() + of_scope.len());
    checks.extend(checks_of(book, ask, Scope::of_org(), &policy.limits, now));
    checks.extend(checks_of(book, ask, &ask.scope, of_scope, now));
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

/// What is known to be exhausted denies; a limit that cannot be understood leaves the gate without an
/// answer. Where the book cannot be read, a budget may be stored.
pub(super) fn budgets(run: &mut Run<'_>) -> Verdict {
    let (ask, now) = (run.facts.ask, run.facts.now);
    let org = match &mut run.facts.org {
        Ok(org) => org,
        Err(cause) => return Verdict::Unevaluated(*cause),
    };
    let exceeded = tightest(org.book, &mut run.checks, now, |check| !sessions::is_quota(ask, check));
    if let Some((check, fits_at)) = exceeded {
        return denied(denial(check, fits_at, now));
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
    let meter = check.limit.meter();
    denied(Denial {
        code: check.code(),
        retry_after: 0,
        message: format!(
            "One reservation may hold at most {}, which is {percent} % of {}; {} asked. Reserve less at a time.",
            words::amount(meter, check.share(percent).unwrap_or(0)),
            check.limit.name(),
            words::amount(meter, check.hold),
        ),
    })
}

/// Limits on the scope of a pool itself, of which a pick asks one call.
pub(in crate::domain) fn pool_limits(book: &mut Book, pool: &Scope, policy: &OrgPolicy, now: Millis) -> Option<Denial> {
    let limits = policy.limits_of(pool);
    if limits.is_empty() {
        return None;
    }
    let ask = Acquire::of(pool.clone(), smallvec![(Meter::calls(), 1)]);
    let mut checks: Vec<_> = checks_of(book, &ask, pool, limits, now).collect();
    let (check, fits_at) = tightest(book, &mut checks, now, |_| true)?;
    Some(denial(check, fits_at, now))
}

fn denial(check: &Check<'_>, fits_at: Option<Millis>, now: Millis) -> Denial {
    Denial { code: check.code(), retry_after: retry_after(fits_at, now), message: exceeded(check, fits_at, now) }
}

/// Of the limits that `concerns` picks, the tightest that does not admit, and when all of them do.
pub(super) fn tightest<'c, 'p>(
    book: &mut Book,
    checks: &'c mut [Check<'p>],
    now: Millis,
    concerns: impl Fn(&Check<'p>) -> bool,
) -> Option<(&'c Check<'p>, Option<Millis>)> {
    let mut latest: Option<Millis> = Some(0);
    let mut tightest: Option<(i128, usize)> = None;
    for (index, check) in checks.iter_mut().enumerate() {
        if !concerns(check) || check.limit.shadow || check.admits() {
            continue;
        }
        check.limiting = true;
        let fits = book.fits_at(check.scope, check.limit, check.asked(), now);
        latest = latest.zip(fits).map(|(a, b)| a.max(b));
        let amount = i128::from(check.limit.amount.unwrap_or(u64::MAX));
        let left = amount - i128::from(check.used) - i128::from(check.reserved);
        if tightest.is_none_or(|(least, _)| left < least) {
            tightest = Some((left, index));
        }
    }
    Some((checks.get(tightest?.1)?, latest))
}

pub(super) fn retry_after(fits_at: Option<Millis>, now: Millis) -> Millis {
    fits_at.map_or(0, |at| at.saturating_sub(now))
}

/// `Budget budget/daily of scope workspace/a is exceeded: $2.00 used, $30.00 asked, $25.00 limit per rolling
/// day. It fits again at … (in 2 d 22 h).`
pub(super) fn exceeded(check: &Check<'_>, fits_at: Option<Millis>, now: Millis) -> String {
    let limit = check.limit;
    let text = |amount| words::amount(limit.meter(), amount);
    let kind = if limit.is_budget() { "Budget" } else { "Quota" };
    let of = if check.scope.is_org() { "this org".into() } else { format!("scope {}", check.scope.shown()) };
    let held = if check.reserved > 0 { format!(" and {} reserved", text(check.reserved)) } else { String::new() };
    let buffer = if limit.buffer > 0 { format!(" less a buffer of {}", text(limit.buffer)) } else { String::new() };
    let when = fits_at.map_or("It will not fit while this limit stands".to_owned(), |at| {
        format!("It fits again at {} (in {})", iso(at), words::duration(at.saturating_sub(now)))
    });
    format!(
        "{kind} {} of {of} is exceeded: {} used{held}, {} asked, {} limit{buffer} per {}. {when}.",
        limit.name(),
        text(check.used),
        text(check.asked()),
        text(limit.amount.unwrap_or(0)),
        words::window(limit.window()),
    )
}

/// Adds every limit as it will stand to the answer.
pub(super) fn view(run: &mut Run<'_>, charged: bool, views: &mut LimitViews) {
    let now = run.facts.now;
    let Ok(OrgFacts { book, .. }) = &mut run.facts.org else { return };
    for check in &run.checks {
        let resets_at = check.resets_at(book, now);
        views.push(check.view(charged, resets_at));
    }
}
