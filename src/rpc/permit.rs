//! What a caller may do beyond its role: reach the org that a request names, in the scopes that it names.

use crate::{
    auth::Principal,
    domain::ids::OrgId,
    error::ServiceError,
    service::Call,
    wire::{
        admin::v1::RefundRequest,
        v1::{
            AcquireRequest, GetStatusRequest, PickRequest, RecordRequest, ReportCumulativeRequest,
            SessionStatusRequest, StartSessionRequest,
        },
    },
};

/// A request that names an org, and scopes in it.
pub(super) trait Scoped {
    fn org(&self) -> &str;

    /// Puts an org in, in the place of another name of it.
    fn lead(&mut self, org: &OrgId);

    /// The first scope and the others; `None` where the call is in no scope of the org.
    fn scopes(&mut self) -> Option<(&mut String, &mut Vec<String>)>;
}

macro_rules! scoped {
    ($($request:ty)+) => {
        $(impl Scoped for $request {
            fn org(&self) -> &str {
                &self.org
            }

            fn lead(&mut self, org: &OrgId) {
                self.org = org.to_string();
            }

            fn scopes(&mut self) -> Option<(&mut String, &mut Vec<String>)> {
                Some((&mut self.scope, &mut self.scopes))
            }
        })+
    };
}

scoped! {
    AcquireRequest RecordRequest ReportCumulativeRequest GetStatusRequest StartSessionRequest SessionStatusRequest
}

impl Scoped for RefundRequest {
    fn org(&self) -> &str {
        &self.org
    }

    fn lead(&mut self, org: &OrgId) {
        self.org = org.to_string();
    }

    /// A decision has its own: they are judged where it is known.
    fn scopes(&mut self) -> Option<(&mut String, &mut Vec<String>)> {
        self.decision_id.is_empty().then_some((&mut self.scope, &mut self.scopes))
    }
}

impl Scoped for PickRequest {
    fn org(&self) -> &str {
        &self.org
    }

    /// An Acquire in it that names the org names the same.
    fn lead(&mut self, org: &OrgId) {
        self.org = org.to_string();
        if let Some(acquire) = self.acquire.as_mut().filter(|acquire| !acquire.org.is_empty()) {
            acquire.org.clone_from(&self.org);
        }
    }

    /// Those of the Acquire in it. A pick without one counts for the account and the pool alone.
    fn scopes(&mut self) -> Option<(&mut String, &mut Vec<String>)> {
        self.acquire.as_mut().map(|acquire| (&mut acquire.scope, &mut acquire.scopes))
    }
}

/// The answer is the same whether the org exists or not: nothing has been read.
pub(super) fn org(caller: &Principal, org: &str) -> Result<(), ServiceError> {
    if caller.orgs().covers(org) { Ok(()) } else { Err(ServiceError::OtherOrg) }
}

/// The same where no org means every one that the caller may reach: the handler asks for each.
pub(super) fn any_org(caller: &Principal, given: &str) -> Result<(), ServiceError> {
    if given.is_empty() { Ok(()) } else { org(caller, given) }
}

/// The call is about the node, and so about every org.
pub(super) fn node(caller: &Principal) -> Result<(), ServiceError> {
    if caller.orgs().are_all() { Ok(()) } else { Err(ServiceError::OtherOrg) }
}

/// The same of an item: where its caller has named the org by another name, it may reach what it has named.
pub(super) fn item(call: &Call, item: &mut impl Scoped) -> Result<(), ServiceError> {
    org(&call.caller, call.said.as_ref().map_or(item.org(), OrgId::as_str))?;
    bound(&call.caller, item)
}

/// Also puts the scopes that the caller is bound to into the request.
pub(super) fn scoped(caller: &Principal, request: &mut impl Scoped) -> Result<(), ServiceError> {
    org(caller, request.org())?;
    bound(caller, request)
}

fn bound(caller: &Principal, request: &mut impl Scoped) -> Result<(), ServiceError> {
    let (Some(rules), Some((first, others))) = (caller.scopes(), request.scopes()) else { return Ok(()) };
    rules.bind(first, others).map_err(ServiceError::OtherScope)
}
