//! The commands of the model.

use std::cmp::Reverse;

use super::*;
use crate::domain::{
    command::{Commit, Extend, Freeze, Record, RefundOf, Release, Resume, Unfreeze},
    limit::Limit,
};

/// The range of usage leaves it open.
struct Vague;

enum Judged {
    Code(Code),
    NeedBalance,
    Open,
}

impl Model {
    /// Moves time on, never back, and ends what ends by then.
    pub(in crate::domain::tests) fn tick(&mut self, clock: Millis) {
        self.now = self.now.max(clock);
        let now = self.now;
        self.expire_holds();
        self.end_overrides(now);
        self.spending(now, |_| ());
        self.remembered.retain(|entry| entry.until > now);
    }

    /// Each at its time, by the limits of that time.
    fn expire_holds(&mut self) {
        let now = self.now;
        let due = |model: &Self| {
            let open = model.holds.iter().filter(|held| held.ended.is_none());
            open.map(|held| held.expires_at).filter(|at| *at <= now).min()
        };
        while let Some(at) = due(self) {
            self.end_overrides(at);
            self.spending(at, |model| {
                for held in model.holds.iter_mut().filter(|held| held.ended.is_none() && held.expires_at == at) {
                    held.ended = Some((now, Settlement::Expired));
                }
            });
        }
    }

    /// What the backstop has more, by grants that last until they are spent.
    pub(in crate::domain::tests) fn rate_more(&self, rules: &Rules) -> u64 {
        self.lent_over(rules, rules.limits.len()).map_or(0, |(lent, over)| lent.more(over))
    }

    pub(in crate::domain::tests) fn apply(
        &mut self,
        command: &Command,
        id: DecisionId,
        rules: &Rules,
        clock: Millis,
    ) -> Answer {
        self.tick(clock);
        match command {
            // A reset takes usage out of a window, and gives nothing back.
            Command::ResetWindow(_) | Command::Purge(_) => self.carry_out(command, id, rules),
            _ => self.spending(self.now, |model| model.carry_out(command, id, rules)),
        }
    }

    fn carry_out(&mut self, command: &Command, id: DecisionId, rules: &Rules) -> Answer {
        match command {
            Command::Acquire(ask) => self.acquire(ask, id, rules),
            Command::Commit(Commit { reservation, actual, idempotency }) => {
                self.settle(Rpc::Commit, *reservation, actual, idempotency, rules)
            }
            Command::Release(Release { reservation, idempotency }) => {
                self.settle(Rpc::Release, *reservation, &[], idempotency, rules)
            }
            Command::Extend(Extend { reservation, ttl, idempotency }) => self.once(Rpc::Extend, idempotency, |model| {
                let now = model.now;
                match model.holds.iter_mut().find(|held| held.id == *reservation && held.ended.is_none()) {
                    Some(held) => {
                        held.expires_at = held.expires_at.max(now + ttl);
                        Answer::Extended(held.id, held.expires_at)
                    }
                    None => model.why_not(*reservation),
                }
            }),
            Command::Record(Record { scopes, usage, occurred_at, idempotency, .. }) => {
                self.once(Rpc::Record, idempotency, |model| {
                    let (now, at) = (model.now, occurred_at.unwrap_or(model.now));
                    if at > now + MINUTE || at + kept() < now {
                        return Answer::NotThen;
                    }
                    model.book_at(at.min(now), rules, scopes, usage);
                    Answer::Recorded
                })
            }
            Command::ReportCumulative(report) => {
                self.once(Rpc::ReportCumulative, &report.idempotency, |model| model.report(report, rules))
            }
            Command::Freeze(Freeze { idempotency, end, .. }) => self.freeze((true, *end), Rpc::Freeze, idempotency),
            Command::Unfreeze(Unfreeze { idempotency }) => self.freeze((false, None), Rpc::Unfreeze, idempotency),
            Command::Refund(refund) => self.once(Rpc::Refund, &refund.idempotency, |model| model.refund(&refund.of)),
            Command::SetOverride(set) => self.once(set.rpc, &set.idempotency, |model| model.set_override(set)),
            Command::Grant(grant) => self.once(Rpc::Grant, &grant.idempotency, |model| model.grant(grant)),
            Command::ResetWindow(reset) => {
                self.once(Rpc::ResetWindow, &reset.idempotency, |model| model.reset_window(reset))
            }
            Command::RevokeGrant(revoke) => {
                self.once(Rpc::RevokeGrant, &revoke.idempotency, |model| model.revoke_grant(revoke))
            }
            Command::Resume(Resume { execution, idempotency }) => self.resume(execution, idempotency.as_ref()),
            Command::Purge(_) => {
                self.begin_again();
                Answer::Purged { existed: true }
            }
            Command::GetStatus(_)
            | Command::ListEvents(_)
            | Command::Inspect(_)
            | Command::GetBudget(_)
            | Command::GetSessionStatus(_)
            | Command::GetSession(_)
            | Command::ListSessions(_)
            | Command::ListReservations(_)
            | Command::GetPool(_)
            | Command::RollPools(_)
            | Command::ListDenials(_)
            | Command::Explain(_)
            | Command::AskWhy(_)
            | Command::RunAudit(_)
            | Command::TryLimits(_)
            | Command::GetOverview(_)
            | Command::GetUsage(_)
            | Command::ListOverrides(_) => unreachable!("asked by the checks themselves"),
            Command::SetBudget(set) => {
                let rpc = if set.replace { Rpc::ReplaceBudget } else { Rpc::UpdateBudget };
                self.once(rpc, &set.idempotency, |model| model.set_budget(set))
            }
            Command::Heartbeat(_)
            | Command::EndSession(_)
            | Command::ConfigurePool(_)
            | Command::Pick(_)
            | Command::ReportOutcome(_)
            | Command::ClearAccount(_) => unreachable!("these have a model of their own"),
            Command::Rename(_)
            | Command::ClaimName(_)
            | Command::FreeName(_)
            | Command::ForgetNames(_)
            | Command::GetNames(_) => unreachable!("names change no amount"),
            Command::NoteDenials(_) => unreachable!("no history has orgs that cannot be read"),
            Command::TakeOutbox(_)
            | Command::SettleOutbox(_)
            | Command::TakeUndelivered(_)
            | Command::NoteDelivered(_)
            | Command::ListOutbox(_)
            | Command::ReplayOutbox(_) => {
                unreachable!("no history exports")
            }
        }
    }

    /// Carries `act` out unless its request id was answered before.
    fn once(&mut self, rpc: Rpc, asked: &Idempotency, act: impl FnOnce(&mut Self) -> Answer) -> Answer {
        if let Some(answer) = self.recall(rpc, asked) {
            return answer;
        }
        let answer = act(self);
        if !matches!(
            answer,
            Answer::NoReservation
                | Answer::AlreadySettled(_)
                | Answer::Expired
                | Answer::OtherVersion(_)
                | Answer::OtherOverride(_)
                | Answer::NoSuchLimit
                | Answer::NoGrant(_)
                | Answer::NoSuchGrant
                | Answer::NoReset(_)
                | Answer::NotThen
                | Answer::NothingUsed
                | Answer::RefundedBefore
                | Answer::ChargeUnknown
                | Answer::StillOpen
        ) {
            self.remember(rpc, asked, DAY, answer.clone());
        }
        answer
    }

    fn recall(&self, rpc: Rpc, asked: &Idempotency) -> Option<Answer> {
        self.recall_kept(rpc, asked, rpc != Rpc::Resume)
    }

    /// A durable call is compared with durable ones before any other, and a plain one with plain ones only.
    fn recall_kept(&self, rpc: Rpc, asked: &Idempotency, durable: bool) -> Option<Answer> {
        let same = |entry: &&Remembered| entry.rpc == rpc && entry.idempotency.id == asked.id;
        let of_durable = self.remembered.iter().filter(|entry| durable && entry.durable);
        let entry = of_durable.chain(self.remembered.iter().filter(|entry| !entry.durable)).find(same)?;
        let replay = || Answer::Replayed(Box::new(self.as_it_stands(entry.answer.clone())));
        Some(if entry.idempotency == *asked { replay() } else { Answer::IdReused })
    }

    /// The end of a hold in a replay is its end now, while it is open.
    fn as_it_stands(&self, answer: Answer) -> Answer {
        let open = |id| self.holds.iter().find(|held| held.id == id && held.ended.is_none());
        match answer {
            Answer::Admitted { decision, hold: Some(Hold { id, expires_at }) } => {
                let expires_at = open(id).map_or(expires_at, |held| held.expires_at);
                Answer::Admitted { decision, hold: Some(Hold { id, expires_at }) }
            }
            Answer::Extended(id, end) => Answer::Extended(id, open(id).map_or(end, |held| held.expires_at)),
            answer => answer,
        }
    }

    fn remember(&mut self, rpc: Rpc, asked: &Idempotency, keep: Millis, answer: Answer) {
        let at = self.now.max(std::mem::take(&mut self.ends_at));
        let (until, durable) = (at + keep, keep == DAY);
        self.remembered.push(Remembered { rpc, idempotency: asked.clone(), until, durable, answer });
    }

    fn acquire(&mut self, ask: &Acquire, id: DecisionId, rules: &Rules) -> Answer {
        let counts = ask.mode != Mode::CheckOnly;
        let known = |asked| self.recall_kept(Rpc::Acquire, asked, !ask.reserve.is_empty());
        if counts && let Some(answer) = ask.idempotency.as_ref().and_then(known) {
            return answer;
        }
        let enforced = ask.mode != Mode::Shadow;
        match self.judge(ask, rules) {
            Judged::Open => Answer::Open,
            Judged::NeedBalance => Answer::NeedBalance,
            Judged::Code(Code::Allowed) if counts => {
                Answer::Admitted { decision: id, hold: self.admit(ask, id, rules) }
            }
            Judged::Code(code) => {
                if counts {
                    self.deny(rules, code, enforced);
                }
                Answer::Decided { code, enforced }
            }
        }
    }

    fn judge(&self, ask: &Acquire, rules: &Rules) -> Judged {
        let mut denial = self.frozen.then_some(Code::Frozen);
        if denial.is_none() {
            denial = self.rate_denial(rules);
        }
        if denial.is_none() || ask.explain {
            let enforced = |asked: &Asked| !rules.limits[asked.rule].shadow;
            let asked: Vec<_> = Self::asked(rules, ask).into_iter().filter(enforced).collect();
            let verdicts: Vec<_> = asked.iter().map(|asked| self.fits(rules, *asked, self.now)).collect();
            if denial.is_none() && verdicts.contains(&None) {
                return Judged::Open;
            }
            let failing: Vec<_> = asked
                .iter()
                .zip(&verdicts)
                .filter(|(_, fits)| **fits == Some(false))
                .map(|(asked, _)| *asked)
                .collect();
            let vague = |asked: &Asked| {
                let (least, most) = self.used(rules, asked.rule, self.now);
                least != most
            };
            if denial.is_none() && failing.iter().any(vague) {
                return Judged::Open;
            }
            if denial.is_none() {
                match self.last_to_fit(rules, &failing) {
                    Ok(code) => denial = code,
                    Err(Vague) => return Judged::Open,
                }
            }
        }
        if rules.balance_required && (denial.is_none() || ask.explain) {
            denial = denial.or(match ask.balance {
                None => return Judged::NeedBalance,
                Some(BalanceVerdict::Allowed(_)) => None,
                Some(BalanceVerdict::Denied(..)) => Some(Code::BalanceExhausted),
                Some(BalanceVerdict::Unknown(_)) => {
                    (rules.on_balance == OnIndeterminate::Deny).then_some(Code::Indeterminate)
                }
            });
        }
        Judged::Code(denial.unwrap_or(Code::Allowed))
    }

    fn rate_denial(&self, rules: &Rules) -> Option<Code> {
        let amount = rules.rate_amount? + self.rate_more(rules);
        if self.backstop(rules).count >= amount {
            return Some(Code::RateLimited);
        }
        (rules.store_fault && rules.on_rate == OnIndeterminate::Deny).then_some(Code::Indeterminate)
    }

    /// R-BUD-7: the code of the limit that fits last; of equals the one with least left, then the first.
    fn last_to_fit(&self, rules: &Rules, failing: &[Asked]) -> Result<Option<Code>, Vague> {
        let code = |asked: &Asked| match rules.limits[asked.rule].window {
            Window::Rolling { .. } => Code::BudgetExceeded,
            _ => Code::QuotaExceeded,
        };
        let Some(first) = failing.first() else { return Ok(None) };
        if failing.iter().all(|asked| code(asked) == code(first)) {
            return Ok(Some(code(first)));
        }
        let spare = |asked: &Asked| {
            let rule = &rules.limits[asked.rule];
            let taken =
                i128::from(self.used(rules, asked.rule, self.now).0) + i128::from(self.reserved(rule, self.now));
            let more = self.lent_over(rules, asked.rule).map_or(0, |(lent, over)| lent.more(over));
            let amount = rule.amount.unwrap_or(u64::MAX).saturating_add(more);
            i128::from(amount.saturating_sub(rule.buffer)) - taken
        };
        let mut last: Option<(Millis, Reverse<i128>, Code)> = None;
        for asked in failing {
            let next = (self.fits_from(rules, *asked)?, Reverse(spare(asked)), code(asked));
            if last.is_none_or(|last| (last.0, last.1) < (next.0, next.1)) {
                last = Some(next);
            }
        }
        Ok(last.map(|(.., code)| code))
    }

    /// When it fits if nothing else happens.
    fn fits_from(&self, rules: &Rules, asked: Asked) -> Result<Millis, Vague> {
        if self.never_fits(rules, asked) {
            return Ok(Millis::MAX);
        }
        let first = |is_there: fn(Option<bool>) -> bool| {
            let (mut before, mut at) = (self.now, self.now + 80 * DAY);
            while before + 1 < at {
                let middle = before + (at - before) / 2;
                *(if is_there(self.fits(rules, asked, middle)) { &mut at } else { &mut before }) = middle;
            }
            at
        };
        let (least, most) = (first(|fits| fits != Some(false)), first(|fits| fits == Some(true)));
        // What is carried may take longer than that.
        if rules.limits[asked.rule].carries && most >= self.now + 80 * DAY {
            return Err(Vague);
        }
        if least == most { Ok(most) } else { Err(Vague) }
    }

    /// Adopts an admission, the model's own or one that the range of usage left open.
    pub(in crate::domain::tests) fn admit(&mut self, ask: &Acquire, id: DecisionId, rules: &Rules) -> Option<Hold> {
        let mut backstop = self.backstop(rules);
        backstop.count += 1;
        self.backstop = Some(backstop);
        self.admitted_total += 1;
        self.admitted.push(self.now);
        self.book(rules, &ask.scopes, &ask.cost);
        let mut hold = None;
        if !ask.reserve.is_empty() {
            let expires_at = self.now + ask.reservation_ttl;
            let (scopes, amounts) = (ask.scopes.to_vec(), ask.reserve.clone());
            let amounts = amounts.into_vec();
            let charged = ask.cost.iter().map(|(meter, amount)| (self.now, meter.clone(), *amount)).collect();
            self.holds.push(Held { id, scopes, amounts, expires_at, ended: None, charged });
            hold = Some(Hold { id, expires_at });
        }
        if ask.with_pause {
            let execution = ExecutionId::parse("execution_id", &id.to_string()).unwrap();
            self.executions.push((execution, 0, self.now));
        }
        if let Some(asked) = &ask.idempotency {
            let keep = if hold.is_some() { DAY } else { 10 * MINUTE };
            self.remember(Rpc::Acquire, asked, keep, Answer::Admitted { decision: id, hold });
        }
        hold
    }

    /// Adopts a denial.
    pub(in crate::domain::tests) fn deny(&mut self, rules: &Rules, code: Code, enforced: bool) {
        self.denied.push((self.now, code, enforced));
        if !self.frozen {
            let mut backstop = self.backstop(rules);
            backstop.blocked += 1;
            self.backstop = Some(backstop);
        }
    }

    fn book(&mut self, rules: &Rules, scopes: &[Scope], amounts: &[(Meter, u64)]) {
        self.book_at(self.now, rules, scopes, amounts);
    }

    fn book_at(&mut self, at: Millis, rules: &Rules, scopes: &[Scope], amounts: &[(Meter, u64)]) {
        for (meter, amount) in amounts.iter().filter(|(_, amount)| *amount > 0) {
            for (index, rule) in rules.limits.iter().enumerate() {
                let Window::Anchored { len } = rule.window else { continue };
                let counts = rule.meter == *meter && counts_in(scopes, &rule.scope);
                let running = self.anchors[index].is_some_and(|(start, _)| at < start + len);
                if counts && !running && (rule.present || at == self.now) {
                    self.anchors[index] = rule.present.then_some((at, self.events.len()));
                }
            }
            let recorded_at = self.now;
            self.events.push(Event { at, recorded_at, scopes: scopes.to_vec(), meter: meter.clone(), amount: *amount });
        }
    }

    fn settle(
        &mut self,
        rpc: Rpc,
        reservation: DecisionId,
        actual: &[(Meter, u64)],
        asked: &Idempotency,
        rules: &Rules,
    ) -> Answer {
        self.once(rpc, asked, |model| {
            let now = model.now;
            let late = |(at, how)| rpc == Rpc::Commit && how == Settlement::Expired && now < at + DAY;
            let open = |held: &&mut Held| held.id == reservation && held.ended.is_none_or(late);
            let Some(held) = model.holds.iter_mut().find(open) else { return model.why_not(reservation) };
            let how = if rpc == Rpc::Commit { Settlement::Committed } else { Settlement::Released };
            held.ended = Some((now, how));
            held.charged.extend(actual.iter().map(|(meter, amount)| (now, meter.clone(), *amount)));
            let scopes = held.scopes.clone();
            model.book(rules, &scopes, actual);
            Answer::Settled
        })
    }

    // ---- what is given back ----------------------------------------------------------------

    fn refund(&mut self, of: &RefundOf) -> Answer {
        match of {
            RefundOf::Usage { scopes, amounts, at } => {
                let (now, at) = (self.now, at.unwrap_or(self.now));
                if at > now + MINUTE || at + kept() < now {
                    return Answer::NotThen;
                }
                let parts: Vec<_> =
                    amounts.iter().map(|(meter, amount)| (at.min(now), meter.clone(), *amount)).collect();
                self.give_back(scopes, &parts)
            }
            RefundOf::Decision { id, .. } => self.refund_decision(*id),
        }
    }

    fn refund_decision(&mut self, id: DecisionId) -> Answer {
        let now = self.now;
        let Some(place) = self.holds.iter().position(|held| held.id == id) else { return Answer::ChargeUnknown };
        let Held { scopes, ended, charged, .. } = self.holds[place].clone();
        match ended {
            None => return Answer::StillOpen,
            Some((at, _)) if now >= at + DAY => return Answer::ChargeUnknown,
            Some((_, Settlement::Refunded)) => return Answer::RefundedBefore,
            Some(_) if charged.iter().all(|(_, _, amount)| *amount == 0) => return Answer::ChargeUnknown,
            Some(_) => {}
        }
        let answer = self.give_back(&scopes, &charged);
        if answer != Answer::NothingUsed {
            let settled = ended.filter(|(_, how)| *how != Settlement::Expired);
            let at = settled.map_or(now, |(at, _)| now.max(at + 1));
            self.holds[place].ended = Some((at, Settlement::Refunded));
            self.ends_at = at;
        }
        answer
    }

    fn give_back(&mut self, scopes: &[Scope], parts: &[(Millis, Meter, u64)]) -> Answer {
        let parts: Vec<_> = parts.iter().filter(|(_, _, amount)| *amount > 0).collect();
        if parts.iter().all(|(at, meter, _)| self.left_of_hour(scopes, meter, *at) == 0) {
            return Answer::NothingUsed;
        }
        let mut answer: Vec<(Meter, u64, u64)> = Vec::new();
        for (at, meter, amount) in parts {
            let given = self.left_of_hour(scopes, meter, *at).min(*amount);
            for scope in Self::ledgers(scopes) {
                let (meter, hour) = (meter.clone(), at / HOUR * HOUR);
                self.refunds.push(Refunded { scope, meter, hour, amount: given });
            }
            match answer.iter_mut().find(|(known, ..)| known == meter) {
                Some((_, asked, sum)) => (*asked, *sum) = (*asked + amount, *sum + given),
                None => answer.push((meter.clone(), *amount, given)),
            }
        }
        Answer::Refunded(answer)
    }

    fn ledgers(scopes: &[Scope]) -> Vec<Scope> {
        let org = Some(Scope::org()).filter(|org| counts_in(scopes, org));
        scopes.iter().cloned().chain(org).collect()
    }

    /// What can be given back in the hour of `at`: as much as each ledger has, and so that the org keeps as much as any
    /// other scope.
    fn left_of_hour(&self, scopes: &[Scope], meter: &Meter, at: Millis) -> u64 {
        if at + kept() < self.now {
            return 0;
        }
        let hour = at / HOUR * HOUR;
        let used = |scope: &Scope| {
            let counts = |event: &&Event| event.meter == *meter && counts_in(&event.scopes, scope);
            let events = self.events.iter().filter(counts).filter(|event| event.at / HOUR * HOUR == hour);
            let same = |of: &&Refunded| of.scope == *scope && of.meter == *meter && of.hour == hour;
            sum(events.map(|event| event.amount)) - sum(self.refunds.iter().filter(same).map(|of| of.amount))
        };
        let ledgers = Self::ledgers(scopes);
        let least = ledgers.iter().map(used).min().unwrap_or(0);
        if !ledgers.iter().any(Scope::is_org) {
            return least;
        }
        let named = self.events.iter().flat_map(|event| event.scopes.iter());
        let others = named.filter(|scope| counts_for_org(scope) && !ledgers.contains(scope));
        least.min(used(&Scope::org()) - others.map(used).max().unwrap_or(0))
    }

    fn why_not(&self, reservation: DecisionId) -> Answer {
        let ended = self.holds.iter().find(|held| held.id == reservation).and_then(|held| held.ended);
        match ended {
            Some((at, Settlement::Expired)) if self.now < at + DAY => Answer::Expired,
            Some((at, how)) if self.now < at + DAY => Answer::AlreadySettled(how),
            _ => Answer::NoReservation,
        }
    }

    fn report(&mut self, report: &ReportCumulative, rules: &Rules) -> Answer {
        let disputed = report.total.saturating_sub(TOTAL_MAX);
        if report.total == 0 {
            return Answer::Reported { increment: 0, reset: false, disputed };
        }
        let total = report.total.min(TOTAL_MAX);
        let same = |kept: &Baseline| {
            *kept.scopes == *report.scopes && kept.source == report.source && kept.meter == report.meter
        };
        let last = self.baselines.iter().find(|kept| same(kept)).cloned();
        let goes_on = last.as_ref().filter(|last| last.incarnation == report.incarnation && total >= last.total);
        let reset = last.is_some() && goes_on.is_none();
        let (before, known) = goes_on.map_or((0, 0), |last| (last.total, last.excess));
        self.baselines.retain(|kept| !same(kept));
        self.baselines.push(Baseline {
            scopes: report.scopes.to_vec(),
            source: report.source.clone(),
            meter: report.meter.clone(),
            incarnation: report.incarnation.clone(),
            total,
            excess: known.max(disputed),
        });
        if disputed > known {
            self.disputed.push((self.now, disputed - known));
        }
        self.book(rules, &report.scopes, &[(report.meter.clone(), total - before)]);
        Answer::Reported { increment: total - before, reset, disputed }
    }

    fn set_budget(&mut self, set: &SetBudget) -> Answer {
        let version = self.budget_version(&set.scope);
        if set.expected_version.is_some_and(|expected| expected != version) {
            return Answer::OtherVersion(version);
        }
        let none = BudgetRow { scope: set.scope.clone(), version, limits: Default::default() };
        let old = self.budgets.iter().find(|row| row.scope == set.scope).cloned().unwrap_or(none);
        let mut new = if set.replace { BudgetRow { limits: Default::default(), ..old.clone() } } else { old.clone() };
        for (period, amount) in &set.periods {
            new.limits.remove(*period);
            if let Some(amount) = amount {
                new.limits.insert((*period).into(), *amount);
            }
        }
        if new != old {
            self.budgets.retain(|row| row.scope != set.scope);
            self.budgets.push(BudgetRow { version: version + 1, ..new });
        }
        Answer::BudgetSet
    }

    fn set_override(&mut self, set: &SetOverride) -> Answer {
        let configured = self.configured.clone().unwrap();
        let rule = rule_named(&configured, set);
        let (version, now) = (self.override_version(rule), self.now);
        if set.expected_version.is_some_and(|expected| expected != version) {
            return Answer::OtherOverride(version);
        }
        let Some(setting) = &set.setting else {
            for old in self.overrides.iter_mut().filter(|old| old.rule == rule && old.holds) {
                (old.holds, old.version) = (false, old.version + 1);
            }
            self.carry_since(now);
            return Answer::OverrideSet;
        };
        let without = Self { overrides: Vec::new(), grants: Vec::new(), ..self.clone() }.in_force(&configured);
        if let Some(limit) = without.limits.get(rule).filter(|limit| !limit.present)
            && (!matches!(setting, Setting::Amount(_)) || !counts_for_org(&limit.scope))
        {
            return Answer::NoSuchLimit;
        }
        let until = match set.end {
            None => None,
            Some(End::After(length)) => Some(now + length),
            Some(End::At(at)) => Some(at),
        };
        self.overrides.retain(|old| old.rule != rule);
        let (setting, version) = (setting.clone(), version + 1);
        self.overrides.push(Overridden { rule, setting, set_at: now, until, version, holds: true });
        self.carry_since(now);
        Answer::OverrideSet
    }

    fn freeze(&mut self, (frozen, end): (bool, Option<End>), rpc: Rpc, asked: &Idempotency) -> Answer {
        self.once(rpc, asked, |model| {
            model.freeze_ends = match end {
                Some(End::After(length)) => Some(model.now + length),
                Some(End::At(_)) | None => None,
            };
            Answer::Frozen { was_frozen: std::mem::replace(&mut model.frozen, frozen) }
        })
    }

    fn resume(&mut self, execution: &ExecutionId, asked: Option<&Idempotency>) -> Answer {
        match asked.and_then(|asked| self.recall(Rpc::Resume, asked)) {
            Some(Answer::IdReused) => return Answer::Resumed(0),
            Some(answer) => return answer,
            None => {}
        }
        let now = self.now;
        let index = self.executions.iter().position(|(id, ..)| id == execution).unwrap_or_else(|| {
            self.executions.push((execution.clone(), 0, now));
            self.executions.len() - 1
        });
        let (_, count, last_seen) = &mut self.executions[index];
        *count += 1;
        *last_seen = now;
        let answer = Answer::Resumed(*count);
        if let Some(asked) = asked {
            self.remember(Rpc::Resume, asked, 10 * MINUTE, answer.clone());
        }
        answer
    }

    pub(in crate::domain::tests) fn sweep(&mut self, clock: Millis, may_purge: bool) {
        self.tick(clock);
        let now = self.now;
        if may_purge {
            self.executions.retain(|(_, _, last_seen)| last_seen + DAY > now);
            self.disputed.retain(|(at, _)| at + kept() > now);
        }
    }
}

/// The number of the limit that is meant; the backstop stands behind all of them.
fn rule_named(rules: &Rules, set: &SetOverride) -> usize {
    let named = |rule: &Rule| {
        rule.scope == set.scope && Limit::new(rule.meter.clone(), rule.window, None).name() == set.subject.as_str()
    };
    rules.limits.iter().position(named).unwrap_or(rules.limits.len())
}
