//! Autumn: balances and usage over HTTP.
//!
//! ```text
//! mod.rs       the three calls, and what becomes of their answers
//! client.rs    one call: budget, bounds, breaker, and which failure is which
//! clock.rs     what time it is at the provider
//! answers.rs   what a body means
//! amount.rs    fixed-point amounts
//! settings.rs  what an operator says, checked
//! strangers.rs orgs that cannot be customers
//! ```
//!
//! An answer is authoritative or it is none: what Autumn lets through without looking (202), what it
//! refuses and what cannot be read is the cause of an indeterminate gate, each its own.

mod amount;
mod answers;
mod client;
mod clock;
mod settings;
mod strangers;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use reqwest::Url;
use serde::Serialize;

use self::client::{Answer, Failure, Link};
pub use self::settings::{AutumnSettings, Overage, SecretKey, SettingsError};
use self::strangers::Strangers;
use crate::{
    domain::{balance::BalanceVerdict, gate::Cause, ids::OrgId, outbox::Delivery, window::Millis},
    ports::{BillingProvider, Clock, Freshness, Usage},
};

/// Usage carries its time only from this age on, by the provider's own clock: it refuses what lies in
/// its future. What is younger is booked at the time of its arrival.
const TIMESTAMP_AGE_MS: Millis = 60_000;
/// The same by the node's own clock, where no answer says what time it is: a clock that is believed is no further from
/// the provider's than this.
const TIMESTAMP_AGE_NO_DATE_MS: Millis = 15 * 60_000;

/// The provider. Calls share connections. Questions and reports have a breaker each: usage that cannot
/// be reported must not keep the gate from asking.
#[derive(Debug)]
pub struct Autumn {
    settings: AutumnSettings,
    link: Link,
    reports: Link,
    clock: Arc<dyn Clock>,
    check: Url,
    track: Url,
    customer: Url,
    strangers: Strangers,
}

#[derive(Serialize)]
struct CheckRequest<'a> {
    customer_id: &'a str,
    feature_id: &'a str,
}

#[derive(Serialize)]
struct CustomerRequest<'a> {
    customer_id: &'a str,
}

#[derive(Serialize)]
struct TrackRequest<'a> {
    customer_id: &'a str,
    feature_id: &'a str,
    value: Value,
    overage_behavior: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<Millis>,
}

/// What is given back is below zero.
#[derive(Serialize)]
#[serde(untagged)]
enum Value {
    Used(u64),
    GivenBack(i64),
}

impl Value {
    fn of(usage: &Usage) -> Self {
        if !usage.is_refund {
            return Self::Used(usage.units);
        }
        Self::GivenBack(i64::try_from(usage.units).map_or(i64::MIN, |units| -units))
    }
}

/// These bodies are strings and whole numbers, which always have a JSON form.
fn json(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).unwrap_or_default()
}

impl Autumn {
    /// `clock` says which trials are over and how old usage is. Nothing is sent yet.
    pub fn new(settings: AutumnSettings, clock: Arc<dyn Clock>) -> Result<Self, SettingsError> {
        let link = Link::new(&settings)?;
        let [check, track, customer] = ["balances.check", "balances.track", "customers.get"];
        let (check, track) = (settings.address(check)?, settings.address(track)?);
        let reports = link.beside(&settings);
        let (customer, strangers) = (settings.address(customer)?, Strangers::default());
        Ok(Self { check, track, customer, settings, link, reports, clock, strangers })
    }

    /// Every call from now on has this key.
    ///
    /// # Errors
    /// Where it cannot be sent: then the one before stays.
    pub fn authorise(&self, key: &SecretKey) -> Result<(), SettingsError> {
        self.link.authorise(key)
    }

    /// When usage was booked, where that can be said without being taken for the future.
    fn timestamp(&self, at: Millis) -> Option<Millis> {
        let (now, age) = match self.link.clock.now() {
            Some(theirs) => (theirs, TIMESTAMP_AGE_MS),
            None => (self.clock.now(), TIMESTAMP_AGE_NO_DATE_MS),
        };
        let settled = self.clock.may_purge() && now.saturating_sub(at) >= age;
        settled.then_some(at)
    }

    async fn track(&self, usage: &Usage, timestamp: Option<Millis>) -> Delivery {
        let body = json(&TrackRequest {
            customer_id: usage.org.as_str(),
            feature_id: &usage.feature,
            value: Value::of(usage),
            overage_behavior: self.settings.overage_behavior.name(),
            timestamp,
        });
        let key = [("Idempotency-Key", usage.key.to_string())];
        match self.reports.post(&usage.org, self.track.clone(), body, &key).await {
            Ok(answer) => delivery(&answer),
            Err(failure) => retry(failure),
        }
    }
}

impl BillingProvider for Autumn {
    fn check<'a>(&'a self, org: &'a OrgId, freshness: Freshness) -> BoxFuture<'a, BalanceVerdict> {
        self.strangers.meet(org);
        let body = json(&CheckRequest { customer_id: org.as_str(), feature_id: &self.settings.feature });
        Box::pin(async move {
            // Autumn keeps customers for days in a cache of its own.
            let fresh = (freshness == Freshness::Fresh).then(|| ("x-skip-cache", "true".to_owned()));
            let answer = self.link.post(org, self.check.clone(), body, fresh.as_slice()).await;
            let body = answer.as_ref().map_err(|failure| *failure).and_then(Answer::ok);
            body.map_or_else(|failure| BalanceVerdict::Unknown(failure.cause), answers::verdict)
        })
    }

    fn pays<'a>(&'a self, org: &'a OrgId) -> BoxFuture<'a, Result<bool, Cause>> {
        self.strangers.meet(org);
        let body = json(&CustomerRequest { customer_id: org.as_str() });
        Box::pin(async move {
            let answer = self.link.post(org, self.customer.clone(), body, &[]).await;
            match answer.as_ref().map_err(|failure| *failure).and_then(Answer::ok) {
                Ok(body) => answers::pays(body, &self.settings.free_plans, self.clock.now()),
                // Who is not a customer does not pay.
                Err(Failure { cause: Cause::UnknownCustomer, .. }) => Ok(false),
                Err(failure) => Err(failure.cause),
            }
        })
    }

    fn report(&self, usage: Usage) -> BoxFuture<'_, Delivery> {
        self.strangers.meet(&usage.org);
        Box::pin(async move {
            let timestamp = self.timestamp(usage.at);
            let delivery = self.track(&usage, timestamp).await;
            if timestamp.is_none() || !matches!(delivery, Delivery::Rejected(_)) {
                return delivery;
            }
            // Its time may be all that is refused: a server behind the one that said the date has a clock of
            // its own. Usage that is booked late is better than usage that is set aside.
            let again = self.track(&usage, None).await;
            if again == Delivery::Delivered {
                tracing::warn!(org = %usage.org, at = usage.at, "autumn refused the time of usage and took it without");
            }
            again
        })
    }
}

/// What became of usage. Not delivered is always safe to say: the key keeps a repeat from counting.
fn delivery(answer: &Answer) -> Delivery {
    match (answer.status.as_u16(), answer.ok()) {
        // Kept by Autumn, to be booked later.
        (202, _) => Delivery::Delivered,
        // Somebody else's page with a good status in front of it is no receipt.
        (_, Ok(body)) if serde_json::from_slice::<Receipt>(body).is_ok() => Delivery::Delivered,
        (_, Ok(_)) => retry(Cause::ProviderBadAnswer.into()),
        (409, _) if answer.code() == "duplicate_idempotency_key" => Delivery::Duplicate,
        // The version is ours to correct; any row would be refused.
        (400, _) if answer.code() == "invalid_api_version" => retry(Cause::ProviderRefused.into()),
        (400 | 413 | 422, _) => Delivery::Rejected(Cause::ProviderRefused),
        (_, Err(failure)) => retry(failure),
    }
}

/// Any JSON object.
type Receipt = serde_json::Map<String, serde_json::Value>;

fn retry(Failure { cause, after }: Failure) -> Delivery {
    if cause == Cause::CircuitOpen {
        return Delivery::NotTried { cause, left: after.unwrap_or_default() };
    }
    Delivery::Retry { cause, after: after.filter(|after| !after.is_zero()) }
}
