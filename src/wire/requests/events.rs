//! Which events of an org are asked for.

use super::{Parsed, optional, org, page_size};
use crate::{
    domain::{command::ListEvents, events::EventKind, ids::OrgId, input::InputError, window::Millis},
    wire::admin::v1 as admin,
};

/// Every kind is known, and no number is negative. Without an org it is about the node.
pub fn list_events(request: &admin::ListEventsRequest) -> Parsed<(Option<OrgId>, ListEvents)> {
    let kinds: Parsed<Vec<EventKind>> =
        request.kinds.iter().enumerate().map(|(index, name)| kind(&format!("kinds[{index}]"), name)).collect();
    let org = optional(&request.org, org)?;
    let list = ListEvents {
        kinds: kinds?,
        after: number("after_number", request.after_number)?,
        since: time("since_ms", request.since_ms)?,
        until: time("until_ms", request.until_ms)?,
        max: page_size(request.page_size)?,
    };
    Ok((org, list))
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
