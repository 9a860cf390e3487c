//! Which events of an org are asked for.

use super::{Parsed, optional, org, page_size};
use crate::{
    bounds::EVENT_RETENTION_MS,
    domain::{command::ListEvents, events::EventKind, ids::OrgId, input::InputError, window::Millis},
    wire::admin::v1 as admin,
};

/// Every kind is known, and no number is negative. Without an org it is about the node.
pub fn list_events(request: &admin::ListEventsRequest) -> Parsed<(Option<OrgId>, ListEvents)> {
    let org = optional(&request.org, org)?;
    let list = ListEvents {
        kinds: kinds(&request.kinds)?,
        after: number("after_number", request.after_number)?,
        since: time("since_ms", request.since_ms)?,
        until: time("until_ms", request.until_ms)?,
        max: page_size(request.page_size)?,
        durable: request.durable,
    };
    Ok((org, list))
}

/// Which events a stream has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchAsk {
    /// `None` = every one that the caller may reach.
    pub org: Option<OrgId>,
    /// Empty = of every kind.
    pub kinds: Vec<EventKind>,
    /// Behind this number; only with an org.
    pub after: Option<u64>,
    /// When the event of that number happened, where that is known.
    pub after_at: Option<Millis>,
    /// Not before this time, which is not longer ago than events are kept.
    pub since: Option<Millis>,
}

/// Every kind is known; a number is of an org, and goes without a time.
pub fn watch_events(request: &admin::WatchEventsRequest, now: Millis) -> Parsed<WatchAsk> {
    let org = optional(&request.org, org)?;
    let since = time("since_ms", request.since_ms)?.map(|since| since.max(now.saturating_sub(EVENT_RETENTION_MS)));
    let after = request.after_number.map(|given| number("after_number", given)).transpose()?;
    if let Some(given) = after.filter(|_| org.is_none() || since.is_some()) {
        return Err(InputError::new("after_number", given, "absent without org, and with since_ms"));
    }
    let after_at = time("after_at_ms", request.after_at_ms)?;
    if let Some(given) = after_at.filter(|_| after.unwrap_or(0) == 0) {
        return Err(InputError::new("after_at_ms", given, "0 without after_number"));
    }
    Ok(WatchAsk { org, kinds: kinds(&request.kinds)?, after, after_at, since })
}

fn kinds(names: &[String]) -> Parsed<Vec<EventKind>> {
    names.iter().enumerate().map(|(index, name)| kind(&format!("kinds[{index}]"), name)).collect()
}

/// The same of operators alone.
pub fn list_audit(request: &admin::ListAuditRequest) -> Parsed<(OrgId, ListEvents)> {
    let org = org(&request.org)?;
    let (_, list) = list_events(&admin::ListEventsRequest {
        org: String::new(),
        kinds: Vec::new(),
        after_number: request.after_number,
        page_size: request.page_size,
        since_ms: request.since_ms,
        until_ms: request.until_ms,
        durable: false,
    })?;
    Ok((org, ListEvents { kinds: vec![EventKind::Operator], ..list }))
}

fn kind(field: &str, name: &str) -> Parsed<EventKind> {
    EventKind::named(name).ok_or_else(|| InputError::new(field, name, format!("one of {}", EventKind::names())))
}

fn number(field: &str, given: i64) -> Parsed<u64> {
    u64::try_from(given).map_err(|_| InputError::new(field, given, "0 or more"))
}

/// 0 = none.
fn time(field: &str, given: i64) -> Parsed<Option<Millis>> {
    number(field, given).map(|at| Some(at).filter(|at| *at > 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::requests::reason;

    #[test]
    fn what_is_refused_is_named_with_what_is_allowed() {
        let ask = || admin::ListEventsRequest { org: "acme".into(), ..Default::default() };
        for (request, field, allowed) in [
            (admin::ListEventsRequest { org: "a b".into(), ..ask() }, "org", "1 to 128"),
            (admin::ListEventsRequest { kinds: vec!["operator".into(), "x".into()], ..ask() }, "kinds[1]", "operator"),
            (admin::ListEventsRequest { after_number: -1, ..ask() }, "after_number", "0 or more"),
            (admin::ListEventsRequest { since_ms: -1, ..ask() }, "since_ms", "0 or more"),
            (admin::ListEventsRequest { until_ms: -1, ..ask() }, "until_ms", "0 or more"),
            (admin::ListEventsRequest { page_size: -1, ..ask() }, "page_size", "1000"),
        ] {
            let error = list_events(&request).unwrap_err();
            assert_eq!(error.field, field);
            assert!(error.allowed.contains(allowed), "{error}");
        }
        assert_eq!(reason(&"x".repeat(257)).unwrap_err().field, "reason");
    }
}
