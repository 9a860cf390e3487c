//! Grants, in the model: what is added to limits for a while, or until it is spent.

use super::*;
use crate::bounds::AMOUNT_MAX;
use crate::domain::{
    command::{Grant, Lasts, RevokeGrant},
    limit::Limit,
};

/// What an operator has granted on top of a limit, by its number, or of the backstop behind them.
#[derive(Debug, Clone)]
pub(in crate::domain::tests) struct Given {
    pub(in crate::domain::tests) rule: usize,
    pub(in crate::domain::tests) number: u64,
    pub(in crate::domain::tests) amount: u64,
    pub(in crate::domain::tests) until: Option<Millis>,
    pub(in crate::domain::tests) holds: bool,
    /// What usage has spent of it; `None` = it lasts for a time.
    pub(in crate::domain::tests) spent: Option<u64>,
    /// The range of usage has left that open.
    vague: bool,
}

/// What is taken of a limit with grants that last until they are spent, at least and at most, and what of that is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Taken {
    least: u64,
    most: u64,
    held: u64,
}

/// The same grants together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::domain::tests) struct Lent {
    pub(in crate::domain::tests) granted: u64,
    pub(in crate::domain::tests) spent: u64,
}

impl Lent {
    /// What a limit has more, with so much over it.
    pub(in crate::domain::tests) fn more(self, over: u64) -> u64 {
        if self.spent >= self.granted { 0 } else { over + self.granted - self.spent }
    }
}

impl Model {
    /// Also those that have ended.
    pub(in crate::domain::tests) fn given(&self) -> &[Given] {
        &self.grants
    }

    /// What is granted of a rule now.
    pub(in crate::domain::tests) fn granted(&self, rule: usize) -> u64 {
        let timed = self.grants.iter().filter(|given| given.holds && given.rule == rule && given.spent.is_none());
        sum(timed.map(|given| given.amount))
    }

    fn until_spent(&self, rule: usize) -> impl Iterator<Item = &Given> {
        self.grants.iter().filter(move |given| given.holds && given.rule == rule && given.spent.is_some())
    }

    /// What of a limit may be used without grants that last until they are spent, where there are any.
    fn usable(&self, rules: &Rules, rule: usize) -> Option<u64> {
        self.until_spent(rule).next()?;
        match rules.limits.get(rule) {
            Some(limit) if !limit.present || limit.shadow || limit.carries => None,
            Some(limit) => Some(limit.amount?.saturating_sub(limit.buffer)),
            None => rules.rate_amount,
        }
    }

    /// These grants of a limit; the second answer: what is spent of them is not known.
    pub(in crate::domain::tests) fn lent(&self, rules: &Rules, rule: usize) -> Option<(Lent, bool)> {
        self.usable(rules, rule)?;
        let granted = sum(self.until_spent(rule).map(|given| given.amount));
        let spent = sum(self.until_spent(rule).filter_map(|given| given.spent));
        Some((Lent { granted, spent }, self.until_spent(rule).any(|given| given.vague)))
    }

    /// The same with what is taken now. `None` where the range of usage leaves it open.
    pub(in crate::domain::tests) fn lent_over(&self, rules: &Rules, rule: usize) -> Option<(Lent, u64)> {
        let (lent, vague) = self.lent(rules, rule)?;
        let Taken { least, most, .. } = self.taken(rules, rule, self.now);
        (least == most && !vague).then(|| (lent, most.saturating_sub(self.usable(rules, rule).unwrap())))
    }

    fn taken(&self, rules: &Rules, rule: usize, at: Millis) -> Taken {
        let Some(limit) = rules.limits.get(rule) else {
            let count = self.backstop(rules).count;
            return Taken { least: count, most: count, held: 0 };
        };
        // Also what ends in this instant.
        let open = self.holds.iter().filter(|held| held.ended.is_none() && counts_in(&held.scopes, &limit.scope));
        let held = sum(open.map(|held| of(&held.amounts, &limit.meter)));
        let (least, most) = self.used(rules, rule, at);
        Taken { least: least + held, most: most + held, held }
    }

    /// Each limit with such grants, what may be used of it without them, and what is taken.
    fn all_taken(&self, rules: &Rules, at: Millis) -> Vec<(usize, u64, Taken)> {
        let all = 0..=rules.limits.len();
        all.filter_map(|rule| Some((rule, self.usable(rules, rule)?, self.taken(rules, rule, at)))).collect()
    }

    /// Carries something out that changes usage, and spends it of the grants.
    pub(in crate::domain::tests) fn spending<T>(&mut self, at: Millis, change: impl FnOnce(&mut Self) -> T) -> T {
        let rules = self.in_force(self.configured.as_ref().unwrap());
        let before = self.all_taken(&rules, at);
        let done = change(self);
        for (rule, usable, was) in before {
            let is = self.taken(&rules, rule, at);
            self.spend(rule, usable, was, is);
        }
        done
    }

    fn spend(&mut self, rule: usize, usable: u64, was: Taken, is: Taken) {
        let is_open = (was.least != was.most || is.least != is.most) && was.most.max(is.most) > usable;
        if is_open && was != is {
            self.grants.iter_mut().filter(|given| given.rule == rule).for_each(|given| given.vague = true);
        }
        let [before, after] = [was, is].map(|taken| taken.most.saturating_sub(usable));
        let all = sum(self.until_spent(rule).filter_map(|given| given.spent));
        let granted = sum(self.until_spent(rule).map(|given| given.amount));
        let spent = (all + after).saturating_sub(before).min(granted);
        let firm = spent.saturating_sub(is.held.min(after));
        let (mut left, mut until_here) = (spent, 0);
        for given in self.grants.iter_mut().filter(|given| given.holds && given.rule == rule && given.spent.is_some()) {
            given.spent = Some(left.min(given.amount));
            left -= left.min(given.amount);
            until_here += given.amount;
            given.holds = until_here > firm;
        }
    }

    /// Follows the org where the range of usage leaves open what is spent.
    pub(in crate::domain::tests) fn adopt_grant(&mut self, number: u64, spent: u64, holds: bool) {
        for given in self.grants.iter_mut().filter(|given| given.number == number && given.vague) {
            (given.spent, given.holds, given.vague) = (Some(spent), holds, false);
        }
    }

    /// What is spent of these grants once the holds have ended that end by then. `None` where usage leaves it open.
    pub(super) fn lent_at(&self, rules: &Rules, rule: usize, at: Millis) -> Option<Lent> {
        let (mut lent, vague) = self.lent(rules, rule)?;
        if vague {
            return None;
        }
        let usable = self.usable(rules, rule).unwrap();
        let open = self.holds.iter().filter(|held| held.ended.is_none());
        let mut ends: Vec<_> = open.map(|held| held.expires_at).filter(|end| self.now < *end && *end <= at).collect();
        ends.sort_unstable();
        ends.dedup();
        for end in ends {
            let limit = &rules.limits[rule];
            let (least, most) = self.used(rules, rule, end);
            let over = |held: u64| (most + held).saturating_sub(usable);
            let given_back = over(self.reserved(limit, end - 1)) - over(self.reserved(limit, end));
            if given_back > 0 && least != most {
                return None;
            }
            lent.spent = lent.spent.saturating_sub(given_back);
        }
        Some(lent)
    }

    /// The rules with what is granted on top of them.
    pub(super) fn add_grants(&self, rules: &mut Rules) {
        let add = |amount: &mut Option<u64>, rule: usize| {
            *amount = amount.map(|amount| (amount + self.granted(rule)).min(amount.max(AMOUNT_MAX)));
        };
        let behind = rules.limits.len();
        for (index, rule) in rules.limits.iter_mut().enumerate().filter(|(_, rule)| rule.present && !rule.shadow) {
            add(&mut rule.amount, index);
        }
        add(&mut rules.rate_amount, behind);
    }

    pub(super) fn end_grants(&mut self, at: Millis) {
        self.grants.iter_mut().filter(|given| given.until == Some(at)).for_each(|given| given.holds = false);
    }

    pub(super) fn grant(&mut self, grant: &Grant) -> Answer {
        let rules = self.in_force(self.configured.as_ref().unwrap());
        let is_named = |rule: &Rule| {
            rule.scope == grant.scope
                && Limit::new(rule.meter.clone(), rule.window, None).name() == grant.limit.as_str()
        };
        let rule = rules.limits.iter().position(is_named).unwrap_or(rules.limits.len());
        let (present, amount, shadow) = match rules.limits.get(rule) {
            Some(rule) => (rule.present, rule.amount, rule.shadow),
            None => {
                let is_watched = |set: &Overridden| set.rule == rule && set.holds && set.setting == Setting::Shadow;
                let shadow = self.overrides.iter().any(is_watched);
                let configured = self.configured.as_ref().unwrap().rate_amount;
                (true, if shadow { configured } else { rules.rate_amount }, shadow)
            }
        };
        match (present, amount, shadow) {
            (false, ..) => return Answer::NoGrant(NoGrant::NoLimit),
            (true, None, _) => return Answer::NoGrant(NoGrant::Unlimited),
            (true, Some(_), true) => return Answer::NoGrant(NoGrant::Shadow),
            (true, Some(_), false) => {}
        }
        let is_until_spent = matches!(grant.lasts, Lasts::UntilSpent(_));
        if is_until_spent && rules.limits.get(rule).is_some_and(|rule| rule.carries) {
            return Answer::NoGrant(NoGrant::Carries);
        }
        let now = self.now;
        let until = match grant.lasts {
            Lasts::To(End::After(length)) | Lasts::UntilSpent(Some(End::After(length))) => Some(now + length),
            Lasts::To(End::At(at)) | Lasts::UntilSpent(Some(End::At(at))) => Some(at),
            Lasts::UntilSpent(None) => None,
            Lasts::Window => Some(self.window_ends(&rules, rule)),
        };
        let number = self.grants.iter().map(|given| given.number).max().unwrap_or(0) + 1;
        let spent = is_until_spent.then_some(0);
        self.grants.push(Given { rule, number, amount: grant.amount, until, holds: true, spent, vague: false });
        self.carry_since(now);
        Answer::Granted(number)
    }

    /// When the window ends that runs now; a rolling one is waited for.
    fn window_ends(&self, rules: &Rules, rule: usize) -> Millis {
        let Some(rule) = rules.limits.get(rule) else { return self.backstop(rules).start + rules.rate_len };
        match rule.window {
            Window::Rolling { len } => self.now + len,
            Window::Calendar(unit) => calendar_end(unit, self.now),
            Window::Aligned { .. } | Window::Zoned { .. } => {
                counted_start(rule.window, self.now) + counted_len(rule.window)
            }
            window => panic!("no grant is given for {window}"),
        }
    }

    pub(super) fn revoke_grant(&mut self, revoke: &RevokeGrant) -> Answer {
        let Some(given) = self.grants.iter_mut().find(|given| given.number == revoke.number) else {
            return Answer::NoSuchGrant;
        };
        if std::mem::take(&mut given.holds) {
            self.carry_since(self.now);
        }
        Answer::GrantRevoked
    }
}
