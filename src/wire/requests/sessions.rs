//! Sessions: how they start, send heartbeats and end.

use std::sync::Arc;

use super::{Meaning, Parsed, optional, optional_id, org, page_size, plane, required_id, scopes};
use crate::{
    bounds::{AMOUNT_MAX, SECOND_MS},
    domain::{
        command::{Acquire, EndSession, Heartbeat, NewSession, Run},
        ids::{Amounts, Identity, Incarnation, OrgId, SessionId},
        input::InputError,
    },
    wire::v1,
};

/// Reads the field `session_id`.
pub fn session(text: &str) -> Parsed<SessionId> {
    SessionId::parse("session_id", text)
}

fn identity(text: &str) -> Parsed<Identity> {
    Identity::parse("identity", text)
}

fn incarnation(text: &str) -> Parsed<Incarnation> {
    Incarnation::parse("incarnation", text)
}

/// Seconds as milliseconds.
fn total(seconds: i64) -> Parsed<u64> {
    let most = AMOUNT_MAX / SECOND_MS;
    let seconds = u64::try_from(seconds).ok().filter(|seconds| *seconds <= most).ok_or(seconds);
    seconds
        .map(|seconds| seconds * SECOND_MS)
        .map_err(|given| InputError::new("total_seconds", given, format!("0 to {most} seconds")))
}

/// The Acquire that a start is; slot and slice follow from the policy.
pub fn start_session(request: &v1::StartSessionRequest) -> Parsed<(OrgId, Arc<Acquire>)> {
    let new = NewSession { id: session(&request.session_id)?, identity: identity(&request.identity)? };
    let plane = plane(&request.plane)?;
    let scopes = scopes(&request.scope, &request.scopes)?;
    let meaning = of_session(&new.id, &new.identity).scopes((5, 8), &scopes);
    let acquire = Acquire {
        run: Run::Session(new),
        plane,
        idempotency: Some(required_id(&request.request_id, &meaning)?),
        explain: request.explain,
        ..Acquire::of(scopes, Amounts::new())
    };
    Ok((org(&request.org)?, Arc::new(acquire)))
}

/// Every call that changes a session names it by the same two fields.
fn of_session(session: &SessionId, identity: &Identity) -> Meaning {
    Meaning::default().text(2, session.as_str()).text(3, identity.as_str())
}

/// The total of the incarnation comes in seconds and is kept in milliseconds.
pub fn heartbeat(request: &v1::HeartbeatRequest) -> Parsed<(OrgId, Heartbeat)> {
    let session = session(&request.session_id)?;
    let identity = identity(&request.identity)?;
    let incarnation = incarnation(&request.incarnation)?;
    let total = total(request.total_seconds)?;
    let idempotency = optional_id(&request.request_id, || {
        of_session(&session, &identity).text(4, incarnation.as_str()).number(5, total)
    })?;
    let beat = Heartbeat { session, identity, incarnation, total, idempotency };
    Ok((org(&request.org)?, beat))
}

/// The last total is optional; it comes in seconds, together with its incarnation.
pub fn end_session(request: &v1::EndSessionRequest) -> Parsed<(OrgId, EndSession)> {
    let last = match (request.incarnation.as_str(), request.total_seconds) {
        ("", None) => None,
        (named, Some(seconds)) => Some((incarnation(named)?, total(seconds)?)),
        (named, None) => return Err(InputError::new("incarnation", named, "only together with total_seconds")),
    };
    let session = session(&request.session_id)?;
    let identity = identity(&request.identity)?;
    let mut meaning = of_session(&session, &identity);
    if let Some((incarnation, total)) = &last {
        meaning = meaning.text(5, incarnation.as_str()).number(6, *total);
    }
    let idempotency = required_id(&request.request_id, &meaning)?;
    let end = EndSession { session, identity, last, idempotency };
    Ok((org(&request.org)?, end))
}

/// Org, page size and the session to go on behind.
pub fn sessions_page(request: &v1::ListSessionsRequest) -> Parsed<(OrgId, usize, Option<SessionId>)> {
    let after = optional(&request.page_token, |text| SessionId::parse("page_token", text))?;
    Ok((org(&request.org)?, page_size(request.page_size)?, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started() -> v1::StartSessionRequest {
        let (org, session_id) = ("acme".into(), "s1".into());
        v1::StartSessionRequest {
            org,
            session_id,
            identity: "vm 1".into(),
            request_id: "r".into(),
            ..Default::default()
        }
    }

    fn beat() -> v1::HeartbeatRequest {
        let (org, session_id, identity) = ("acme".into(), "s1".into(), "vm 1".into());
        v1::HeartbeatRequest { org, session_id, identity, incarnation: "b1".into(), ..Default::default() }
    }

    fn ended() -> v1::EndSessionRequest {
        let (org, session_id, identity) = ("acme".into(), "s1".into(), "vm 1".into());
        v1::EndSessionRequest { org, session_id, identity, request_id: "r".into(), ..Default::default() }
    }

    #[test]
    fn a_start_charges_nothing_and_promises_to_be_durable() {
        let (_, ask) = start_session(&started()).unwrap();
        assert!(ask.cost.is_empty() && ask.reserve.is_empty());
        assert_eq!(ask.promise(), crate::domain::promise::Promise::Durable);
    }

    #[test]
    fn every_bad_field_is_named() {
        let start = |change: fn(&mut v1::StartSessionRequest)| {
            let mut request = started();
            change(&mut request);
            start_session(&request).unwrap_err().field
        };
        assert_eq!(start(|r| r.session_id = "a b".into()), "session_id");
        assert_eq!(start(|r| r.identity = String::new()), "identity");
        assert_eq!(start(|r| r.request_id = String::new()), "request_id");
        assert_eq!(start(|r| r.scope = "//".into()), "scope");
        assert_eq!(
            heartbeat(&v1::HeartbeatRequest { incarnation: String::new(), ..beat() }).unwrap_err().field,
            "incarnation"
        );
        assert_eq!(
            heartbeat(&v1::HeartbeatRequest { total_seconds: -1, ..beat() }).unwrap_err().field,
            "total_seconds"
        );
        assert_eq!(
            heartbeat(&v1::HeartbeatRequest { total_seconds: i64::MAX, ..beat() }).unwrap_err().field,
            "total_seconds"
        );
        assert_eq!(
            end_session(&v1::EndSessionRequest { total_seconds: Some(1), ..ended() }).unwrap_err().field,
            "incarnation"
        );
        assert_eq!(
            end_session(&v1::EndSessionRequest { incarnation: "b1".into(), ..ended() }).unwrap_err().field,
            "incarnation"
        );
        assert!(end_session(&ended()).is_ok());
    }
}
