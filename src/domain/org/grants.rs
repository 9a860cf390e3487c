//! What operators grant on top of limits, for a while: an amount that is there beside the one that is in force.

use super::{
    Context, OrgState,
    control::{field, set_to},
};
use crate::domain::{
    command::{Grant, Lasts, RevokeGrant},
    events::Change,
    ids::Scope,
    limit::Limit,
    outcome::{Granted, OverrideSet, Shown},
    policy::{BalanceSource, OrgPolicy},
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
            let row = OverrideRow {
                scope: grant.scope.clone(),
                subject: OverrideSubject::Grant(GrantName::new(number, grant.limit.as_str())),
                version: 1,
                setting: Setting::Extra(grant.amount),
                set_at: org.now,
                until: Some(until),
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

    /// When the grant ends by itself, if there is something to add to.
    fn end_of_grant(&mut self, grant: &Grant, ctx: &Context<'_>) -> Result<Millis, OrgError> {
        let policy = self.policy_at(self.now, ctx);
        let Granting { amount, shadow, window } = self.granting(grant, &policy)?;
        if amount.is_none() {
            return Err(OrgError::NoGrant(NoGrant::Unlimited));
        }
        if shadow {
            return Err(OrgError::NoGrant(NoGrant::Shadow));
        }
        match grant.lasts {
            Lasts::To(end) => self.believed_end(end),
            Lasts::Window => window.ok_or(OrgError::NoGrant(NoGrant::NoWindow)),
        }
    }

    /// The limit as it is in force.
    fn granting(&mut self, grant: &Grant, policy: &OrgPolicy) -> Result<Granting, OrgError> {
        if grant.limit.is_rate() {
            let window = RateRecord::at(self.rate, &policy.rate, self.now).window_end();
            return Ok(Granting { amount: policy.rate.amount, shadow: policy.rate.shadow, window: Some(window) });
        }
        if grant.limit.is_sessions() {
            let sessions = &policy.sessions;
            return Ok(Granting { amount: sessions.max, shadow: sessions.shadow, window: None });
        }
        let limit = self.limit_of_grant(grant, policy).ok_or(OrgError::NoGrant(NoGrant::NoLimit))?;
        let rolls = limit.window().trailing().map(|length| self.now.saturating_add(length));
        let window = rolls.or_else(|| self.book.standing(&grant.scope, &limit, self.now).ends_at);
        Ok(Granting { amount: limit.amount, shadow: limit.shadow, window })
    }

    fn limit_of_grant(&self, grant: &Grant, policy: &OrgPolicy) -> Option<Limit> {
        if grant.limit.is_balance() {
            let BalanceSource::Included { limit, .. } = &policy.balance.source else { return None };
            return Some(limit.clone());
        }
        let limits = policy.limits_of(&grant.scope);
        limits.iter().find(|limit| limit.name() == grant.limit.as_str()).cloned()
    }
}

/// What a grant would add to.
#[derive(Debug)]
struct Granting {
    amount: Option<u64>,
    shadow: bool,
    /// The end of the window that runs; `None` = none does that ends.
    window: Option<Millis>,
}
