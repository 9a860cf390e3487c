//! What operators grant on top of limits, for a while or until it is spent: an amount that is there beside the one that is
//! in force.

use super::{
    Context, OrgState,
    control::{field, set_to},
};
use crate::domain::{
    command::{Grant, Lasts, RevokeGrant},
    events::Change,
    ids::Scope,
    outcome::{Granted, OverrideSet, Shown},
    policy::{OrgPolicy, RateLimit, SessionPolicy},
    rate::RateRecord,
    refusal::{NoGrant, OrgError},
    reply::OverrideChange,
    request::Rpc,
    rows::{GrantName, OverrideRow, OverrideSubject, Setting},
    window::Millis,
};

type Changed<T> = Shown<T, Box<OverrideChange>>;

impl OrgState {
    /// R-CTRL-5. The policy of `ctx` is the configured one.
    pub(in crate::domain) fn grant(&mut self, grant: &Grant, ctx: &Context<'_>) -> Result<Changed<Granted>, OrgError> {
        let before = self.standing_of(&grant.scope, &grant.limit, ctx);
        let done = self.once(Rpc::Grant, Some(&grant.idempotency), ctx, |org| {
            let until = org.end_of_grant(grant, ctx)?;
            let number = org.overrides.last_grant() + 1;
            let amount = grant.amount;
            let setting = match grant.lasts {
                Lasts::UntilSpent(_) => Setting::UntilSpent { granted: amount, spent: 0 },
                Lasts::To(_) | Lasts::Window => Setting::Extra(amount),
            };
            let row = OverrideRow {
                scope: grant.scope.clone(),
                subject: OverrideSubject::Grant(GrantName::new(number, grant.limit.as_str())),
                version: 1,
                setting,
                set_at: org.now,
                until,
                ended_at: None,
                reason: grant.reason.clone(),
            };
            let change = Change::new(&field(&row.scope, &row.subject), "none", &set_to(&row));
            org.put_override(row, ctx)?;
            org.operated("Grant", vec![change], &Context { reason: &grant.reason, ..*ctx });
            Ok(Granted { number })
        })?;
        let after = self.standing_of(&grant.scope, &grant.limit, ctx);
        let row = self.overrides.grant(done.outcome.number).cloned();
        let now = row.map(|row| self.override_view(row, &after));
        let before = (!done.replayed).then_some(before);
        Ok(done.show(Box::new(OverrideChange { now, before, after })))
    }

    /// R-CTRL-5. The policy of `ctx` is the configured one. A grant that has ended stays as it is.
    pub(in crate::domain) fn revoke_grant(
        &mut self,
        revoke: &RevokeGrant,
        ctx: &Context<'_>,
    ) -> Result<Changed<OverrideSet>, OrgError> {
        let named = self.overrides.grant(revoke.number).cloned();
        let before = named.as_ref().map(|row| self.standing_of(&row.scope, &row.subject, ctx));
        let done = self.once(Rpc::RevokeGrant, Some(&revoke.idempotency), ctx, |org| {
            let row = named.as_ref().ok_or(OrgError::GrantUnknown)?;
            let mut changes = Vec::new();
            if org.overrides.end(&row.scope, &row.subject, org.now) {
                changes.push(Change::new(&field(&row.scope, &row.subject), &set_to(row), "none"));
                org.overrides_changed(org.now, ctx);
            }
            org.operated("RevokeGrant", changes, &Context { reason: &revoke.reason, ..*ctx });
            Ok(OverrideSet)
        })?;
        let row = self.overrides.grant(revoke.number).cloned();
        let after = match &row {
            Some(row) => self.standing_of(&row.scope, &row.subject, ctx),
            None => self.standing_of(Scope::of_org(), &OverrideSubject::Plan, ctx),
        };
        let now = row.map(|row| self.override_view(row, &after));
        let before = before.filter(|_| !done.replayed);
        Ok(done.show(Box::new(OverrideChange { now, before, after })))
    }

    /// When the grant ends by itself, if there is something to add to; `None` = once it is spent.
    fn end_of_grant(&mut self, grant: &Grant, ctx: &Context<'_>) -> Result<Option<Millis>, OrgError> {
        let policy = self.policy_at(self.now, ctx);
        let Granting { amount, shadow, window, not_until_spent } = self.granting(grant, &policy)?;
        if amount.is_none() {
            return Err(OrgError::NoGrant(NoGrant::Unlimited));
        }
        if shadow {
            return Err(OrgError::NoGrant(NoGrant::Shadow));
        }
        match (grant.lasts, not_until_spent) {
            (Lasts::To(end), _) => self.believed_end(end).map(Some),
            (Lasts::Window, _) => window.map(Some).ok_or(OrgError::NoGrant(NoGrant::NoWindow)),
            (Lasts::UntilSpent(_), Some(why)) => Err(OrgError::NoGrant(why)),
            (Lasts::UntilSpent(end), None) => end.map(|end| self.believed_end(end)).transpose(),
        }
    }

    /// The limit as it is in force.
    fn granting(&mut self, grant: &Grant, policy: &OrgPolicy) -> Result<Granting, OrgError> {
        if grant.limit.is_rate() {
            let RateLimit { amount, shadow, .. } = policy.rate;
            let window = Some(RateRecord::at(self.rate, &policy.rate, self.now).window_end());
            return Ok(Granting { amount, shadow, window, not_until_spent: None });
        }
        if grant.limit.is_sessions() {
            let SessionPolicy { max: amount, shadow, .. } = policy.sessions;
            return Ok(Granting { amount, shadow, window: None, not_until_spent: Some(NoGrant::Concurrent) });
        }
        let limit = policy.limit_named(&grant.scope, grant.limit.as_str());
        let limit = limit.ok_or(OrgError::NoGrant(NoGrant::NoLimit))?.clone();
        let rolls = limit.window().trailing().map(|length| self.now.saturating_add(length));
        let window = rolls.or_else(|| self.book.standing(&grant.scope, &limit, self.now).ends_at);
        let is_shared = self.book.is_judged_with_others(policy, &grant.scope, &limit, self.now);
        let not_until_spent = match limit.carries {
            true => Some(NoGrant::Carries),
            false => is_shared.then_some(NoGrant::Shared),
        };
        Ok(Granting { amount: limit.amount, shadow: limit.shadow, window, not_until_spent })
    }
}

/// What a grant would add to.
#[derive(Debug)]
struct Granting {
    amount: Option<u64>,
    shadow: bool,
    /// The end of the window that runs; `None` = none does that ends.
    window: Option<Millis>,
    /// Why nothing is granted that lasts until it is spent; `None` = it is.
    not_until_spent: Option<NoGrant>,
}
