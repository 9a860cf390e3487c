//! Request ids of the verbs that change something: a repetition under the same id is applied once.

use crate::{
    cli::{args::OrgWriteArgs, failure::Failure},
    domain::ids::OrgId,
};

/// The org and the request id of a change, a random one unless the command line has one.
pub(super) fn org_and_request_id(write: &OrgWriteArgs) -> Result<(&OrgId, String), Failure> {
    let id = match &write.request_id {
        Some(given) => given.to_string(),
        None => random().map_err(|error| Failure::Local(format!("no random request id: {error}")))?,
    };
    Ok((&write.org, id))
}

fn random() -> Result<String, getrandom::Error> {
    Ok(format!("cli-{:016x}{:016x}", getrandom::u64()?, getrandom::u64()?))
}

/// Names the request id in an error after which the change may have been made.
pub(super) fn named_in_doubt<T>(answer: Result<T, Failure>, request_id: &str) -> Result<T, Failure> {
    answer.map_err(|failure| {
        if failure.leaves_doubt() {
            Failure::InDoubt { cause: Box::new(failure), request_id: request_id.to_owned() }
        } else {
            failure
        }
    })
}
