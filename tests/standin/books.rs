//! What the stand-in answers: customers, what their plans give them, and what was booked. The rules
//! are those of Autumn's API 2.1 to 2.3; amounts are whole numbers here.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::http::Headers;

/// One feature of one customer's plan.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Feature {
    pub granted: i64,
    pub usage: i64,
    pub unlimited: bool,
    /// On, and not metered.
    pub boolean: bool,
    pub overage_allowed: bool,
    /// How far overage goes; without it there is no end.
    pub max_purchase: Option<i64>,
    /// Usage per window, whatever the balance is.
    pub usage_limit: Option<i64>,
    pub next_reset_at: Option<u64>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Customer {
    pub features: BTreeMap<String, Feature>,
    /// As they are to be shown: `plan_id`, `status`, `expires_at`, `trial_ends_at`.
    pub subscriptions: Vec<Value>,
}

impl Feature {
    fn remaining(&self) -> i64 {
        (self.granted - self.usage).max(0)
    }

    /// Units that can still be booked; `None` = any number.
    fn room(&self) -> Option<i64> {
        match (self.unlimited || self.boolean, self.overage_allowed, self.max_purchase) {
            (true, ..) | (_, true, None) => None,
            (_, true, Some(cap)) => Some((self.granted + cap - self.usage).max(0)),
            _ => Some(self.remaining()),
        }
    }

    fn allows(&self, required: i64) -> bool {
        let window = |limit| self.unlimited || self.boolean || self.usage + required <= limit;
        self.usage_limit.is_none_or(window) && self.room().is_none_or(|room| room >= required)
    }

    fn balance(&self, id: &str) -> Value {
        if self.boolean {
            return Value::Null;
        }
        let (granted, remaining) = if self.unlimited { (0, 0) } else { (self.granted, self.remaining()) };
        json!({
            "feature_id": id, "granted": granted, "remaining": remaining, "usage": self.usage,
            "unlimited": self.unlimited, "overage_allowed": self.overage_allowed, "max_purchase": self.max_purchase,
            "next_reset_at": self.next_reset_at, "breakdown": [],
        })
    }
}

#[derive(Debug)]
pub struct Books {
    pub customers: BTreeMap<String, Customer>,
    /// Features that exist, in a plan or not.
    pub catalogue: BTreeSet<String>,
    keys: BTreeSet<String>,
    /// Answers to checks that are given again until usage is booked or `x-skip-cache` is sent, while
    /// it is switched on.
    pub cache: Option<BTreeMap<(String, String), Value>>,
}

impl Default for Books {
    fn default() -> Self {
        let catalogue = BTreeSet::from(["executions".to_owned()]);
        Self { customers: BTreeMap::new(), catalogue, keys: BTreeSet::new(), cache: None }
    }
}

type Reply = Result<Value, (u16, Value)>;

fn refusal(status: u16, code: &str, message: &str) -> (u16, Value) {
    (status, json!({"message": message, "code": code, "env": "sandbox"}))
}

fn text<'a>(body: &'a Value, field: &str) -> Result<&'a str, (u16, Value)> {
    let found = body.get(field).and_then(Value::as_str).filter(|text| !text.is_empty());
    found.ok_or_else(|| refusal(400, "invalid_inputs", &format!("{field} is required")))
}

impl Books {
    /// The answer to one call of the API.
    pub fn answer(&mut self, path: &str, headers: &Headers, body: &Value, now: SystemTime) -> (u16, Value) {
        match self.reply(path, headers, body, now) {
            Ok(answer) => (200, answer),
            Err(refusal) => refusal,
        }
    }

    fn reply(&mut self, path: &str, headers: &Headers, body: &Value, now: SystemTime) -> Reply {
        let key = headers.get("authorization").and_then(|value| value.strip_prefix("Bearer "));
        match key {
            None => return Err(refusal(401, "no_secret_key", "No secret key")),
            Some(key) if !key.starts_with("am_sk_") => {
                return Err(refusal(401, "invalid_secret_key", "Invalid secret key"));
            }
            Some(_) => {}
        }
        // The real one falls back to a shape that depends on the age of the account.
        if !headers.get("x-api-version").is_some_and(|version| version.starts_with("2.")) {
            return Err(refusal(400, "invalid_api_version", "Invalid API version"));
        }
        match path {
            "/v1/balances.check" | "/v1/check" | "/v1/entitled" => self.check(headers, body),
            "/v1/balances.track" | "/v1/track" | "/v1/events" => self.track_once(headers, body, now),
            "/v1/customers.get" => self.customer(body),
            "/v1/customers.get_or_create" => {
                self.customers.entry(text(body, "customer_id")?.to_owned()).or_default();
                self.customer(body)
            }
            _ => Err(refusal(404, "not_found", "Not found")),
        }
    }

    fn known(&mut self, customer: &str, feature: &str) -> Result<&mut Customer, (u16, Value)> {
        let known = self.catalogue.contains(feature);
        let missing = || refusal(404, "customer_not_found", &format!("Customer {customer} not found"));
        let found = self.customers.get_mut(customer).ok_or_else(missing)?;
        if known {
            return Ok(found);
        }
        Err(refusal(404, "feature_not_found", &format!("Feature {feature} not found")))
    }

    fn check(&mut self, headers: &Headers, body: &Value) -> Reply {
        let (customer, feature) = (text(body, "customer_id")?, text(body, "feature_id")?);
        let required = body.get("required_balance").and_then(Value::as_i64).unwrap_or(1);
        let place = (customer.to_owned(), feature.to_owned());
        let skip = headers.get("x-skip-cache").is_some_and(|value| value == "true");
        if let Some(kept) = self.cache.as_ref().filter(|_| !skip).and_then(|cache| cache.get(&place)) {
            return Ok(kept.clone());
        }
        let found = self.known(customer, feature)?.features.get(feature).cloned();
        let flag = found.as_ref().filter(|found| found.boolean);
        let answer = json!({
            "allowed": found.as_ref().is_some_and(|found| found.allows(required)),
            "customer_id": customer,
            "required_balance": required,
            "balance": found.as_ref().map_or(Value::Null, |found| found.balance(feature)),
            "flag": flag.map(|_| json!({"id": "flag_1", "plan_id": "pro", "expires_at": null, "feature_id": feature})),
        });
        if let Some(cache) = &mut self.cache {
            cache.insert(place, answer.clone());
        }
        Ok(answer)
    }

    /// A key counts once, and is free again where the call was refused.
    fn track_once(&mut self, headers: &Headers, body: &Value, now: SystemTime) -> Reply {
        let Some(key) = headers.get("idempotency-key") else { return self.track(body, now) };
        if self.keys.contains(key) {
            let message = format!("Another request with idempotency key {key} has already been received");
            return Err(refusal(409, "duplicate_idempotency_key", &message));
        }
        let answer = self.track(body, now)?;
        self.keys.insert(key.clone());
        Ok(answer)
    }

    fn track(&mut self, body: &Value, now: SystemTime) -> Reply {
        let (customer, feature) = (text(body, "customer_id")?, text(body, "feature_id")?);
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        if body.get("timestamp").and_then(Value::as_u64).is_some_and(|at| u128::from(at) > now) {
            return Err(refusal(400, "invalid_inputs", "timestamp cannot be in the future"));
        }
        let value = body.get("value").map_or(Some(1), Value::as_i64);
        let value = value.ok_or_else(|| refusal(400, "invalid_inputs", "value is a number"))?;
        let overflow = match body.get("overage_behavior").and_then(Value::as_str) {
            None | Some("cap") => false,
            Some("overflow") => true,
            Some(_) => return Err(refusal(400, "invalid_inputs", "overage_behavior is cap or overflow")),
        };
        let mut balance = Value::Null;
        if let Some(found) = self.known(customer, feature)?.features.get_mut(feature) {
            let room = found.room().filter(|_| !overflow);
            found.usage += room.map_or(value, |room| value.min(room));
            balance = found.balance(feature);
        }
        if let Some(cache) = &mut self.cache {
            cache.remove(&(customer.to_owned(), feature.to_owned()));
        }
        Ok(json!({"customer_id": customer, "value": value, "balance": balance, "deductions": []}))
    }

    fn customer(&self, body: &Value) -> Reply {
        let id = text(body, "customer_id")?;
        let missing = || refusal(404, "customer_not_found", &format!("Customer {id} not found"));
        let found = self.customers.get(id).ok_or_else(missing)?;
        let metered = found.features.iter().filter(|(_, feature)| !feature.boolean);
        let balances: BTreeMap<&String, Value> = metered.map(|(id, feature)| (id, feature.balance(id))).collect();
        Ok(json!({
            "id": id, "name": null, "email": null, "created_at": 1_761_840_000_000_u64, "fingerprint": null,
            "stripe_id": null, "env": "sandbox", "metadata": {}, "send_email_receipts": false,
            "billing_controls": {}, "licenses": [], "subscriptions": found.subscriptions, "purchases": [],
            "balances": balances, "flags": {},
        }))
    }
}
