//! Who calls, for the caller itself.

use super::Answer;
use crate::{
    auth::Principal,
    domain::window::Millis,
    service::{Call, Service},
    wire::{admin::v1 as admin, answers},
};

pub(super) async fn get_caller(
    service: &Service,
    call: &Call,
    _: &mut admin::GetCallerRequest,
) -> Answer<admin::GetCallerResponse> {
    Ok(described(&call.caller, service.clock().now()))
}

fn described(caller: &Principal, now: Millis) -> admin::GetCallerResponse {
    let ends_at = caller.ends_at().unwrap_or(0);
    admin::GetCallerResponse {
        name: caller.name().to_owned(),
        role: caller.role().to_string(),
        orgs: caller.orgs().texts().collect(),
        expires_at_ms: answers::int(ends_at),
        expires_in_ms: answers::int(ends_at.saturating_sub(now)),
        authenticated: caller.granted().is_some(),
    }
}
