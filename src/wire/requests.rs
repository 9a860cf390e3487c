//! Proto → domain. What gets past here is valid; what does not names the field, its value and what
//! is allowed. Each request that has an id also says here which of its fields are its meaning.

mod admin;
mod budgets;
mod control;
mod events;
mod explain;
mod gate;
mod grants;
mod meaning;
mod names;
mod orgs;
mod pools;
mod sessions;
mod snapshot;
#[cfg(test)]
mod tests;
mod usage;
mod what_if;

use prost_reflect::{DynamicMessage, Value};

use super::{json, v1};
use crate::{
    bounds::{AMOUNT_MAX, METERS_PER_CALL, RESERVATION_TTL_MAX_MS, RESERVATION_TTL_MIN_MS, SCOPES_PER_CALL},
    domain::{
        ids::{Amounts, Meter, OrgId, Plane, Reason, RequestId, Scope},
        input::InputError,
        request::Idempotency,
        scopes::Scopes,
        window::Millis,
    },
};

use meaning::Meaning;

pub use self::{
    admin::*, budgets::*, control::*, events::*, explain::*, gate::*, grants::*, names::*, orgs::*, pools::*,
    sessions::*, snapshot::*, usage::*, what_if::*,
};

type Parsed<T> = Result<T, InputError>;

/// Whether an encoded message of this name has a request id, or each message in it has one.
pub fn has_request_ids(name: &str, encoded: &[u8]) -> bool {
    let message = json::descriptors().ok().and_then(|pool| pool.get_message_by_name(name));
    let message = message.and_then(|message| DynamicMessage::decode(message, encoded).ok());
    message.is_some_and(|message| is_known_again(&message))
}

fn is_known_again(message: &DynamicMessage) -> bool {
    if let Some(id) = message.get_field_by_name("request_id") {
        return id.as_str().is_some_and(|id| !id.is_empty());
    }
    let Some(items) = message.get_field_by_name("items") else { return false };
    let is_one = |item: &Value| item.as_message().is_some_and(is_known_again);
    items.as_list().is_some_and(|items| items.iter().all(is_one))
}

/// Reads the field `org`.
pub fn org(text: &str) -> Parsed<OrgId> {
    OrgId::parse("org", text)
}

/// Reads the field `scope` of a call that charges it or asks for it; empty is the org itself.
pub fn scope(text: &str) -> Parsed<Scope> {
    if text.is_empty() { Ok(Scope::org()) } else { Scope::parse_counted("scope", text) }
}

/// Reads the field `scope` of an operator, who may also name an upstream account or a pool.
pub fn any_scope(text: &str) -> Parsed<Scope> {
    Scope::parse_chosen("scope", text)
}

/// Reads the fields `scope` and `scopes`, which are one set; what is named in the second is never the org.
pub fn scopes(first: &str, others: &[String]) -> Parsed<Scopes> {
    let too_many = |count: usize| {
        InputError::new("scopes", format_args!("{count} scopes"), format!("at most {SCOPES_PER_CALL} scopes"))
    };
    if others.len() > SCOPES_PER_CALL {
        return Err(too_many(others.len()));
    }
    let mut scopes = Scopes::from(scope(first)?);
    for (index, name) in others.iter().enumerate() {
        let field = || format!("scopes[{index}]");
        if name.is_empty() {
            return Err(InputError::new(field(), name, "the name of a scope"));
        }
        scopes.insert(scope(name).map_err(|error| InputError { field: field(), ..error })?);
    }
    if scopes.len() > SCOPES_PER_CALL { Err(too_many(scopes.len())) } else { Ok(scopes) }
}

/// Empty is a plane that does not say.
fn plane(text: &str) -> Parsed<Plane> {
    if text.is_empty() { Ok(Plane::unnamed()) } else { Plane::parse("plane", text) }
}

/// Why an operator asks; may be empty, at most 256 bytes.
pub fn reason(text: &str) -> Parsed<Reason> {
    Reason::parse("reason", text)
}

/// The token of a page that was about another org.
pub fn of_another_org(page_token: &str) -> InputError {
    InputError::new("page_token", page_token, "one of an answer about this org")
}

fn page_size(given: i32) -> Parsed<usize> {
    rows_of_page(given, 100, 1000)
}

fn rows_of_page(given: i32, default: usize, max: usize) -> Parsed<usize> {
    match usize::try_from(given) {
        Ok(0) => Ok(default),
        Ok(size) if size <= max => Ok(size),
        _ => Err(InputError::new("page_size", given, format!("1 to {max}, or 0 for {default}"))),
    }
}

fn optional<T>(text: &str, parse: impl FnOnce(&str) -> Parsed<T>) -> Parsed<Option<T>> {
    if text.is_empty() { Ok(None) } else { parse(text).map(Some) }
}

/// A batch within its bound.
pub fn batch<T>(items: &[T], max: u32) -> Parsed<()> {
    if items.is_empty() || items.len() > max as usize {
        return Err(InputError::new("items", items.len(), format!("1 to {max} items")));
    }
    Ok(())
}

fn amounts(field: &str, given: &[v1::Amount]) -> Parsed<Amounts> {
    if given.len() > METERS_PER_CALL {
        return Err(InputError::new(field, format!("{} amounts", given.len()), "at most 16 amounts"));
    }
    let mut amounts = Amounts::with_capacity(given.len());
    for (index, item) in given.iter().enumerate() {
        let at = || format!("{field}[{index}]");
        let meter = Meter::parse("meter", &item.meter).map_err(|error| error.within(at()))?;
        if amounts.iter().any(|(other, _)| *other == meter) {
            return Err(InputError::new("meter", &item.meter, "each meter at most once").within(at()));
        }
        amounts.push((meter, amount("amount", item.amount, "").map_err(|error| error.within(at()))?));
    }
    Ok(amounts)
}

/// An amount in the meter's unit; `unit` is said where only one is meant.
fn amount(field: &str, given: i64, unit: &str) -> Parsed<u64> {
    let amount = u64::try_from(given).ok().filter(|amount| *amount <= AMOUNT_MAX);
    amount.ok_or_else(|| InputError::new(field, given, format!("0 to {AMOUNT_MAX} {unit}").trim_end()))
}

fn ttl(field: &str, given: i64) -> Parsed<Millis> {
    let allowed = RESERVATION_TTL_MIN_MS..=RESERVATION_TTL_MAX_MS;
    let ttl = u64::try_from(given).ok().filter(|ttl| allowed.contains(ttl));
    ttl.ok_or_else(|| InputError::new(field, given, "1000 to 86400000 milliseconds"))
}

fn required_id(id: &str, meaning: &Meaning) -> Parsed<Idempotency> {
    Ok(Idempotency::of_version(meaning.version(), RequestId::parse("request_id", id)?, meaning.hash()))
}

fn optional_id(id: &str, meaning: impl FnOnce() -> Meaning) -> Parsed<Option<Idempotency>> {
    if id.is_empty() { Ok(None) } else { required_id(id, &meaning()).map(Some) }
}
