//! Grants, in the model: what is added to limits for a while.

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
}

impl Model {
    /// Also those that have ended.
    pub(in crate::domain::tests) fn given(&self) -> &[Given] {
        &self.grants
    }

    /// What is granted of a rule now.
    pub(in crate::domain::tests) fn granted(&self, rule: usize) -> u64 {
        sum(self.grants.iter().filter(|given| given.holds && given.rule == rule).map(|given| given.amount))
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
        let now = self.now;
        let until = match grant.lasts {
            Lasts::To(End::After(length)) => Some(now + length),
            Lasts::To(End::At(at)) => Some(at),
            Lasts::Window => Some(self.window_ends(&rules, rule)),
        };
        let number = self.grants.iter().map(|given| given.number).max().unwrap_or(0) + 1;
        self.grants.push(Given { rule, number, amount: grant.amount, until, holds: true });
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
