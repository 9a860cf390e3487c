//! What Autumn's answers mean. Parsed tolerantly: fields that are not known are passed over, and
//! what does not have the form of the pinned version is no answer, never a denial.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::amount::Amount;
use crate::domain::{
    balance::{Balance, BalanceVerdict, DenyReason},
    gate::Cause,
    window::Millis,
};

const BAD: BalanceVerdict = BalanceVerdict::Unknown(Cause::ProviderBadAnswer);

#[derive(Debug, Deserialize)]
struct Check<'a> {
    allowed: bool,
    /// What one unit costs, in the balance's own unit, which is credits in a credit system.
    #[serde(borrow, default)]
    required_balance: Option<&'a RawValue>,
    /// `null` where the feature is not metered; missing only from other versions of the API.
    #[serde(borrow, default, deserialize_with = "present")]
    balance: Option<Option<Metered<'a>>>,
    #[serde(default)]
    flag: Option<Flag>,
}

#[derive(Debug, Deserialize)]
struct Metered<'a> {
    #[serde(borrow, default)]
    granted: Option<&'a RawValue>,
    #[serde(borrow, default)]
    remaining: Option<&'a RawValue>,
    #[serde(default)]
    unlimited: bool,
    #[serde(default)]
    overage_allowed: bool,
    #[serde(borrow, default)]
    next_reset_at: Option<&'a RawValue>,
}

/// The customer has a feature that is on or off.
#[derive(Debug, Deserialize)]
struct Flag {
    #[serde(default)]
    expires_at: Option<Box<RawValue>>,
}

/// Tells `null` from a field that is not there.
fn present<'de, D, T>(from: D) -> Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(from).map(Some)
}

/// What the body of a 200 says of the org.
pub(super) fn verdict(body: &[u8]) -> BalanceVerdict {
    let Ok(check) = serde_json::from_slice::<Check<'_>>(body) else { return BAD };
    match (check.balance, check.flag, check.allowed) {
        (Some(Some(metered)), _, allowed) => metered_verdict(&metered, check.required_balance, allowed).unwrap_or(BAD),
        (Some(None), None, false) => BalanceVerdict::Denied(DenyReason::NoEntitlement, authoritative()),
        (Some(None) | None, Some(flag), true) => {
            let resets_at = flag.expires_at.and_then(|at| moment(&at));
            BalanceVerdict::Allowed(Balance { resets_at, ..authoritative() })
        }
        // Allowed for no reason that is named: how it answers when it has not looked.
        (Some(None), None, true) => BalanceVerdict::Unknown(Cause::ProviderFailedOpen),
        _ => BAD,
    }
}

fn authoritative() -> Balance {
    Balance { authoritative: true, ..Balance::default() }
}

/// `None` where it contradicts itself.
fn metered_verdict(metered: &Metered<'_>, price: Option<&RawValue>, allowed: bool) -> Option<BalanceVerdict> {
    let resets_at = metered.next_reset_at.and_then(moment);
    let balance = Balance { resets_at, overage: metered.overage_allowed, ..authoritative() };
    if metered.unlimited {
        // Its amounts mean nothing, and it is never denied.
        return allowed.then_some(BalanceVerdict::Allowed(Balance { unlimited: true, ..balance }));
    }
    let price = price.map_or(Some(Amount::ONE), |price| Amount::parse(price.get()))?;
    let price = if price.is_zero() { Amount::ONE } else { price };
    let amount = |json: Option<&RawValue>| json.map(|json| Amount::parse(json.get()).ok_or(())).transpose().ok();
    let units = |amount: Option<Amount>| amount.map(|amount| amount.units(price).ok_or(())).transpose().ok();
    let (granted, remaining) = (amount(metered.granted)?, amount(metered.remaining)?);
    let balance = Balance { granted: units(granted)?, remaining: units(remaining)?, ..balance };
    if allowed {
        return Some(BalanceVerdict::Allowed(balance));
    }
    let reason = match (remaining?, metered.overage_allowed) {
        // There is enough, so something else is in the way: a limit on usage per window.
        (remaining, _) if remaining >= price => DenyReason::UsageCap,
        (_, true) => DenyReason::SpendCap,
        (_, false) => DenyReason::Exhausted,
    };
    Some(BalanceVerdict::Denied(reason, balance))
}

/// A time in milliseconds; one that cannot be read says nothing.
fn moment(json: &RawValue) -> Option<Millis> {
    Amount::parse(json.get())?.units(Amount::ONE).filter(|at| *at > 0)
}

#[derive(Debug, Deserialize)]
struct Customer {
    subscriptions: Vec<Subscription>,
}

#[derive(Debug, Deserialize)]
struct Subscription {
    #[serde(default)]
    plan_id: Option<String>,
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    expires_at: Option<Box<RawValue>>,
    #[serde(default)]
    trial_ends_at: Option<Box<RawValue>>,
}

impl Subscription {
    fn runs(&self, now: Millis) -> bool {
        let before = |at: &Option<Box<RawValue>>| at.as_deref().and_then(moment).is_none_or(|at| now < at);
        match self.status.as_deref() {
            Some("active") => before(&self.expires_at),
            Some("trialing") => before(&self.expires_at) && before(&self.trial_ends_at),
            _ => false,
        }
    }
}

/// Whether a customer has a subscription that runs and is none of the free ones.
pub(super) fn pays(body: &[u8], free_plans: &[String], now: Millis) -> Result<bool, Cause> {
    let customer: Customer = serde_json::from_slice(body).map_err(|_| Cause::ProviderBadAnswer)?;
    let costs = |plan: &String| !plan.is_empty() && !free_plans.contains(plan);
    let pays = |subscription: &Subscription| subscription.runs(now) && subscription.plan_id.as_ref().is_some_and(costs);
    Ok(customer.subscriptions.iter().any(pays))
}
