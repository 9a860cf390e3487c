//! What a call passes that another node has sent here, because this one owns its org.

use std::{sync::Arc, time::Duration};

use super::{Answer, serve::failed, table::Unary};
use crate::{
    auth::Principal,
    service::{Call, Service},
};

/// Serves one call as [`serve`](super::serve()) does, here and nowhere else: who owns the org has been asked.
///
/// # Errors
/// Why the call was not carried out.
pub async fn serve_forwarded<R: Unary>(
    service: &Service,
    caller: Arc<Principal>,
    callers: Duration,
    mut request: R::Request,
) -> Answer<R::Response> {
    let call = Call { is_forwarded: true, ..service.call(R::RPC.method, caller, Some(callers)) };
    R::permit(&call.caller, &mut request).inspect_err(|error| failed(service, call.rpc, error))?;
    let answered = R::handle(service, &call, request).await;
    service.metrics().answered(call.rpc, call.deadline.elapsed());
    answered.inspect_err(|error| failed(service, call.rpc, error))
}
