//! What must be equal after every step.

use super::{
    super::{
        model::{Answer, Asked, Model, Rule, slice_of},
        *,
    },
    NAMES, Pair, context, inspect,
};
use crate::domain::{
    balance::Balance,
    denials::{DenialFilter, DenialRow},
    gate::Gate,
    ledger::Ledger,
    limit::LimitSource,
    rows::{OverrideRow, OverrideSubject, Setting},
};

/// 2100-01-01 UTC.
const FAR: Millis = 4_102_444_800_000;

impl Pair {
    /// The limits in an answer are those after it, and what it says about waiting is exact.
    pub(super) fn check_decision(&self, ask: &Acquire, decision: &Decision, before: &Model) {
        self.check_views(&decision.limits);
        self.check_balance(ask, decision);
        if decision.replayed {
            return;
        }
        let mut before = before.clone();
        before.tick(self.clock);
        for asked in Model::asked(&self.rules, ask) {
            let rule = &self.rules.limits[asked.rule];
            let same = |view: &&LimitView| {
                view.scope == rule.scope && view.label.meter == rule.meter && view.label.window == rule.window
            };
            let view = decision.limits.iter().find(same).expect("every limit of the org and of the scope is shown");
            let exact = before.fits(&self.rules, asked, before.now);
            if exact == Some(false) || (matches!(rule.window, Window::Rolling { .. }) && rule.amount.is_some()) {
                self.check_instant(&before, (&[asked], Some(0)), view.resets_at, &format!("resets_at of {view:?}"));
            }
        }
        match decision.code() {
            Code::RateLimited | Code::BudgetExceeded | Code::QuotaExceeded => {
                let enforced = |asked: &Asked| !self.rules.limits[asked.rule].shadow;
                let asked: Vec<_> = Model::asked(&self.rules, ask).into_iter().filter(enforced).collect();
                let others = self.others_fit_at(ask, &before);
                let at = (decision.retry_after() > 0).then_some(before.now + decision.retry_after());
                self.check_instant(&before, (&asked, others), at, "retry_after");
            }
            _ => {}
        }
    }

    /// When the gates without a ledger let the call through: the backstop, and a balance that is known. 0 = now, or
    /// nobody knows; `None` = never, because one period of the balance does not include as much.
    fn others_fit_at(&self, ask: &Acquire, model: &Model) -> Option<Millis> {
        let mut fits_at = 0;
        let backstop = model.backstop(&self.rules);
        let more = model.rate_more(&self.rules);
        if self.rules.rate_amount.is_some_and(|amount| backstop.count >= amount + more) {
            fits_at = backstop.start + self.rules.rate_len;
        }
        let executions = ask.cost.iter().chain(&ask.reserve).filter(|(meter, _)| *meter == Meter::executions());
        let asked = executions.fold(0_u64, |sum, (_, amount)| sum.saturating_add(*amount));
        let denied = match ask.balance.filter(|_| self.rules.balance_required) {
            Some(BalanceVerdict::Denied(_, balance)) => Some(balance),
            Some(BalanceVerdict::Allowed(balance)) => {
                Some(balance).filter(|it| it.bound().is_some_and(|left| left < asked))
            }
            Some(BalanceVerdict::Unknown(_)) | None => None,
        };
        if let Some(balance) = denied {
            if balance.granted.is_some_and(|granted| granted < asked) {
                return None;
            }
            fits_at = fits_at.max(balance.resets_at.unwrap_or(0));
        }
        Some(fits_at)
    }

    /// R-BUD-4, R-PIPE-5: at `at` everything asked fits, a millisecond earlier it does not.
    fn check_instant(
        &self,
        model: &Model,
        (asked, others): (&[Asked], Option<Millis>),
        at: Option<Millis>,
        what: &str,
    ) {
        let never = others.is_none() || asked.iter().any(|asked| model.never_fits(&self.rules, *asked));
        let others = others.unwrap_or(0);
        let Some(at) = at else {
            let is_far = |asked: &Asked| {
                self.rules.limits[asked.rule].carries && model.fits(&self.rules, *asked, FAR) != Some(true)
            };
            let never = never || asked.iter().any(is_far);
            assert!(never, "{what}: it is said never to fit, and does: {asked:?} of {:?}", self.present());
            return;
        };
        assert!(!never, "{what}: it is said to fit at {at}, and never does: {asked:?}");
        let fits = |at: Millis| {
            let each: Vec<_> = asked.iter().map(|asked| model.fits(&self.rules, *asked, at)).collect();
            (at < others || !each.contains(&None)).then(|| at >= others && each.iter().all(|fits| *fits == Some(true)))
        };
        assert_ne!(fits(at), Some(false), "{what}: it does not fit at {at}, now {}: {asked:?}", model.now);
        if at > model.now {
            assert_ne!(fits(at - 1), Some(true), "{what}: it fits before {at}, now {}: {asked:?}", model.now);
        }
    }

    fn check_views(&self, views: &[LimitView]) {
        for view in views.iter().filter(|view| !matches!(view.name(), "rate" | "balance")) {
            let same = |rule: &Rule| {
                view.scope == rule.scope && view.label.meter == rule.meter && view.label.window == rule.window
            };
            let index = self.rules.limits.iter().position(same).unwrap();
            let rule = &self.rules.limits[index];
            let (least, most) = self.model.used(&self.rules, index, self.model.now);
            assert!(
                (least..=most).contains(&view.used),
                "used {least}..={most}, shown {view:?}, now {}",
                self.model.now
            );
            let (least, most) = self.model.carried(&self.rules, index, self.model.now);
            assert!((least..=most).contains(&view.carried), "carried {least}..={most}, shown {view:?}");
            assert_eq!(view.reserved, self.model.reserved(rule, self.model.now), "reserved of {view:?}");
            self.check_spending(view, index, rule.amount);
            let is_whole = view.label.origin.counts_from.is_none();
            assert!(!is_whole || view.used >= self.model.exact(rule), "never below what really happened: {view:?}");
        }
    }

    /// R-CTRL-7: the amount, with what is over it and with what is left of grants that last until they are spent. The
    /// answer to the call that spends the last of one still counts it among what is granted.
    fn check_spending(&self, view: &LimitView, rule: usize, amount: Option<u64>) {
        let Some((_, vague)) = self.model.lent(&self.rules, rule) else {
            return assert_eq!((view.spending.left(), view.amount), (0, amount), "{view:?}");
        };
        let Some((lent, over)) = self.model.lent_over(&self.rules, rule).filter(|_| !vague) else { return };
        assert_eq!((view.spending.left(), view.spending.over), (lent.granted - lent.spent, over), "{view:?}");
        assert_eq!(view.amount, amount.map(|amount| amount + lent.more(over)), "{view:?}");
    }

    /// The balance stands last, as the provider told it, wherever it is known and there is something to tell.
    fn check_balance(&self, ask: &Acquire, decision: &Decision) {
        let reached = decision.replayed || ask.explain || decision.gate() != Some(Gate::Freeze);
        let (told, denies) = match ask.balance.filter(|_| self.rules.balance_required && reached) {
            Some(BalanceVerdict::Allowed(balance)) => (balance, false),
            Some(BalanceVerdict::Denied(_, balance)) => (balance, true),
            Some(BalanceVerdict::Unknown(_)) | None => (Balance::default(), false),
        };
        let shown = decision.limits.iter().position(|view| view.name() == "balance");
        let Some(left) = told.remaining else {
            return assert_eq!(shown, None, "nothing is known to be left: {decision:?}");
        };
        assert_eq!(shown, Some(decision.limits.len() - 1), "in pipeline order: {decision:?}");
        let view = &decision.limits[decision.limits.len() - 1];
        assert!(
            view.scope.is_org() && view.label.meter == Meter::executions() && view.label.window == Window::Provider
        );
        assert_eq!((view.amount, view.amount.map(|amount| amount - view.used)), (told.granted, Some(left)));
        assert_eq!((view.reserved, view.resets_at), (0, told.resets_at));
        assert_eq!(view.limiting, denies && !decision.replayed, "{view:?}");
    }

    pub(super) fn snapshot(&mut self) -> Option<Box<Snapshot>> {
        inspect(&mut self.org, (&self.policy, self.policy_since), &self.bounds, self.clock)
    }

    fn audit(&mut self) -> Audit {
        let ctx = context((&NAMES.org, &self.policy, self.policy_since), &self.bounds, self.clock);
        match self.org.apply(&Command::RunAudit(RunAudit), &ctx) {
            Ok(Reply::RunAudit(audit)) => audit.unwrap_or_default(),
            other => panic!("no audit: {other:?}"),
        }
    }

    pub(super) fn check(&mut self) {
        self.model.tick(self.clock);
        let Some(snapshot) = self.snapshot() else { return };
        self.adopt_grants(&snapshot);
        self.check_views(&snapshot.limits);
        assert!(snapshot.limits.iter().all(|view| view.name() != "balance"), "nobody asked the provider");
        self.check_nesting(&snapshot);
        assert_eq!(snapshot.budgets, self.model.budget_rows());
        self.check_overrides(&snapshot);
        self.check_grants(&snapshot);
        let audit = self.audit();
        assert_eq!((audit.drifted, &audit.drift), (0, &vec![]), "R-BUD-3");
        self.check_drift(&snapshot);
        let backstop = self.model.backstop(&self.rules);
        let rate = snapshot.limits.iter().find(|view| view.name() == "rate").unwrap();
        assert_eq!((rate.used, rate.blocked), (backstop.count, backstop.blocked), "R-RATE-1");
        let amount = if rate.shadow { rate.amount } else { self.rules.rate_amount };
        self.check_spending(rate, self.rules.limits.len(), amount);
        assert_eq!(snapshot.admitted_total, self.model.admitted_total);
        let disputed: u64 = snapshot.disputed.iter().map(|row| row.amount).sum();
        assert_eq!(disputed, self.model.disputed_total(), "R-BUD-5: none is dropped");
        self.check_denials();
    }

    /// R-PIPE-9: the list, the counts of each day, and a list of everything that happened agree.
    fn check_denials(&mut self) {
        let filter = DenialFilter {
            before: None,
            max: usize::MAX,
            scope: Scope::org(),
            gate: None,
            since: 0,
            until: Millis::MAX,
            let_through: false,
        };
        let (rows, days) = (&self.model.denied, &self.model.admitted);
        let page = self.org.list_denials(&filter);
        let now = self.model.now;
        for day in page.days.iter().filter(|day| day.start + 35 * DAY_MS > now) {
            let within = |at: Millis| (day.start..day.start + DAY_MS).contains(&at);
            let allowed = days.iter().filter(|at| within(**at)).count();
            let denied = rows.iter().filter(|(at, _, enforced)| *enforced && within(*at)).count();
            let counted: u64 = day.gates.iter().map(|(_, denied, _)| denied).sum();
            assert_eq!((day.allowed, counted), (allowed as u64, denied as u64), "of the day {}", day.start);
        }
        let days_of_denials = rows.iter().map(|(at, ..)| at / DAY_MS * DAY_MS);
        for start in days_of_denials.filter(|start| start + 35 * DAY_MS > now) {
            assert!(page.days.iter().any(|day| day.start == start), "the day {start} is kept");
        }
        for code in [Code::RateLimited, Code::BudgetExceeded, Code::QuotaExceeded, Code::BalanceExhausted, Code::Frozen]
        {
            for enforced in [true, false] {
                let of_code =
                    |row: &&DenialRow| row.denied_by().is_some_and(|(_, of)| of == code) && row.shadow != enforced;
                let kept: u64 = page.rows.iter().filter(of_code).map(|row| row.count).sum();
                let happened = |since: Millis| {
                    rows.iter().filter(|(at, of, was)| *of == code && *was == enforced && *at >= since).count() as u64
                };
                let (least, most) = (happened(now.saturating_sub(7 * DAY_MS) + 1), happened(0));
                assert!((least..=most).contains(&kept), "{code}: {kept} of {least}..={most}");
            }
        }
    }

    /// R-CTRL-1: what is set, until when, and how often it was changed; the limit says that it comes from there.
    fn check_overrides(&self, snapshot: &Snapshot) {
        let rows = snapshot.overrides.iter().map(|view| &view.row);
        let rows = rows.filter(|row| row.subject != OverrideSubject::Freeze && row.subject.grant().is_none());
        let known = |row: &OverrideRow| (row.is_in_force(), row.version, row.until, row.setting.clone());
        let mut shown: Vec<_> = rows.map(|row| format!("{:?}", known(row))).collect();
        let model = self.model.overridden();
        let set = model.iter().map(|set| (set.holds, set.version, set.until, set.setting.clone()));
        let mut expected: Vec<_> = set.map(|set| format!("{set:?}")).collect();
        shown.sort_unstable();
        expected.sort_unstable();
        assert_eq!(shown, expected);
        for view in &snapshot.limits {
            let is_rule = |rule: &Rule| {
                rule.scope == view.scope && rule.meter == view.label.meter && rule.window == view.label.window
            };
            let rule = self.rules.limits.iter().position(is_rule).unwrap_or(self.rules.limits.len());
            let set = model.iter().find(|set| set.holds && set.rule == rule);
            let origin = view.label.origin;
            assert_eq!(origin.source == LimitSource::Override, set.is_some(), "{view:?}");
            assert_eq!(origin.until, set.and_then(|set| set.until), "{view:?}");
            let is_added_to = view.amount.is_some() && !view.shadow;
            assert_eq!(origin.granted, if is_added_to { self.model.granted(rule) } else { 0 }, "R-CTRL-5: {view:?}");
        }
    }

    /// R-CTRL-5, R-CTRL-7: what is granted, until when, what is spent of it, and whether it has ended.
    fn check_grants(&self, snapshot: &Snapshot) {
        let rows = snapshot.overrides.iter().map(|view| &view.row);
        let mut shown: Vec<_> = rows
            .filter_map(|row| Some((row.subject.grant()?, row.is_in_force(), row.until, given(&row.setting))))
            .collect();
        shown.sort_unstable();
        let given = self.model.given().iter();
        let expected: Vec<_> =
            given.map(|given| (given.number, given.holds, given.until, (given.amount, given.spent))).collect();
        assert_eq!(shown, expected);
    }

    /// What the model leaves open of grants is as the org has it.
    fn adopt_grants(&mut self, snapshot: &Snapshot) {
        for row in snapshot.overrides.iter().map(|view| &view.row) {
            if let (Some(number), Setting::UntilSpent { spent, .. }) = (row.subject.grant(), &row.setting) {
                self.model.adopt_grant(number, *spent, row.is_in_force());
            }
        }
        self.rules = self.model.in_force(&self.configured);
    }

    /// R-BUD-3: hour ≤ day ≤ week ≤ month.
    fn check_nesting(&self, snapshot: &Snapshot) {
        let spend = |len| {
            let is = |view: &&LimitView| {
                view.scope.is_org()
                    && view.label.meter.as_str() == "spend"
                    && view.label.window == Window::Rolling { len }
                    && view.label.origin.counts_from.is_none()
            };
            snapshot.limits.iter().find(is).map(|view| view.used)
        };
        let used: Vec<_> = [HOUR_MS, DAY_MS, 7 * DAY_MS, 30 * DAY_MS].into_iter().filter_map(spend).collect();
        assert!(used.is_sorted(), "R-BUD-3: {used:?}");
    }

    /// R-BUD-3: what is shown is what the ledger says when it is summed afresh.
    fn check_drift(&self, snapshot: &Snapshot) {
        for view in snapshot.limits.iter().filter(|view| view.label.origin.counts_from.is_none()) {
            let Window::Rolling { len } = view.label.window else { continue };
            let of_limit = snapshot.ledgers.iter().find(|l| l.scope == view.scope && l.meter == view.label.meter);
            let ledger = Ledger::load(of_limit.map_or(vec![], |ledger| ledger.hours.clone()));
            let slice = slice_of(len);
            assert_eq!(view.used, ledger.derive(slice, (self.model.now - len) / slice * slice), "drift of {view:?}");
        }
    }
}

/// Whether the reply is what the model expects.
pub(super) fn agree(expected: &Answer, reply: &Result<Reply, OrgError>, again: bool) -> bool {
    match (expected, reply) {
        (Answer::Replayed(answer), reply) => agree(answer, reply, true),
        (Answer::Decided { code, enforced }, Ok(Reply::Acquire(Ok(got)))) => {
            got.code() == *code
                && got.allowed == (*code == Code::Allowed || !enforced)
                && !got.replayed
                && got.hold.is_none()
        }
        (Answer::Admitted { decision, hold }, Ok(Reply::Acquire(Ok(got)))) => {
            got.code() == Code::Allowed
                && got.allowed
                && got.id == Some(*decision)
                && got.hold == *hold
                && got.replayed == again
        }
        (Answer::NeedBalance, Ok(Reply::Acquire(Err(Need::Balance)))) => true,
        (Answer::Settled, Ok(Reply::Commit(done))) => done.replayed == again,
        (Answer::Settled, Ok(Reply::Release(done))) => done.replayed == again,
        (Answer::NotThen, Err(OrgError::OccurredAt { .. })) => true,
        (Answer::Recorded, Ok(Reply::Record(done))) => done.replayed == again,
        (Answer::Extended(_, at), Ok(Reply::Extend(done))) => *at == done.outcome.expires_at && done.replayed == again,
        (Answer::Resumed(count), Ok(Reply::Resume(done))) => {
            *count == done.outcome.continuations && done.replayed == again
        }
        (Answer::Reported { increment, reset, disputed }, Ok(Reply::ReportCumulative(done))) => {
            let outcome = Reported { increment: *increment, reset: *reset, disputed: *disputed };
            *done == Shown { outcome, replayed: again, view: Scopes::org() }
        }
        (Answer::Frozen { was_frozen }, Ok(Reply::Freeze(done))) => {
            done.outcome.was_frozen == *was_frozen && done.replayed == again
        }
        (Answer::OverrideSet, Ok(Reply::SetOverride(done))) => done.replayed == again,
        (Answer::Granted(number), Ok(Reply::Grant(done))) => done.outcome.number == *number && done.replayed == again,
        (Answer::GrantRevoked, Ok(Reply::RevokeGrant(done))) => done.replayed == again,
        (Answer::NoGrant(why), Err(OrgError::NoGrant(got))) => why == got,
        (Answer::WindowReset, Ok(Reply::ResetWindow(done))) => done.replayed == again,
        (Answer::NoReset(why), Err(OrgError::NoReset(got))) => why == got,
        (Answer::NoSuchGrant, Err(OrgError::GrantUnknown)) => true,
        (Answer::OtherOverride(version), Err(OrgError::OverrideVersion { current })) => version == current,
        (Answer::NoSuchLimit, Err(OrgError::LimitUnknown)) => true,
        (Answer::Frozen { was_frozen }, Ok(Reply::Unfreeze(done))) => {
            *done == Done { outcome: Frozen { was_frozen: *was_frozen }, replayed: again }
        }
        (Answer::BudgetSet, Ok(Reply::SetBudget(done))) => done.replayed == again,
        (Answer::OtherVersion(version), Err(OrgError::BudgetVersion { current })) => version == current,
        (Answer::Refunded(amounts), Ok(Reply::Refund(done))) => {
            let given = done.outcome.amounts.iter().map(|of| (of.meter.clone(), of.asked, of.given));
            given.eq(amounts.iter().cloned()) && done.replayed == again
        }
        (Answer::NothingUsed, Err(OrgError::NothingUsed { .. })) => true,
        (Answer::RefundedBefore, Err(OrgError::ChargeRefunded { .. })) => true,
        (Answer::ChargeUnknown, Err(OrgError::ChargeUnknown)) => true,
        (Answer::StillOpen, Err(OrgError::ChargeOpen)) => true,
        (Answer::NotThen, Err(OrgError::RefundAt { .. })) => true,
        (Answer::IdReused, Err(OrgError::RequestIdReused)) => true,
        (Answer::NoReservation, Err(OrgError::ReservationNotFound)) => true,
        (Answer::Expired, Err(OrgError::ReservationExpired)) => true,
        (Answer::AlreadySettled(how), Err(OrgError::ReservationSettled(got))) => how == got,
        _ => false,
    }
}

/// What a grant adds, and what is spent of it where it lasts until that.
fn given(setting: &Setting) -> (u64, Option<u64>) {
    match setting {
        Setting::UntilSpent { granted, spent } => (*granted, Some(*spent)),
        other => (other.extra(), None),
    }
}
