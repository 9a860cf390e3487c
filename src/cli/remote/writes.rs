//! What every verb that changes something shares: a request id, and what to say where it is open
//! whether the change happened.

use std::fmt::Display;

use crate::{
    cli::{args::OrgWriteArgs, connect::Failure, output::Output},
    domain::ids::OrgId,
};

/// The org and the request id to use, a random one unless it was given.
pub(super) fn named(write: &OrgWriteArgs) -> Result<(&OrgId, String), Failure> {
    let id = match &write.request_id {
        Some(given) => given.to_string(),
        None => random_id().map_err(|error| Failure::Machine(format!("no random request id: {error}")))?,
    };
    Ok((&write.org, id))
}

fn random_id() -> Result<String, getrandom::Error> {
    Ok(format!("cli-{:016x}{:016x}", getrandom::u64()?, getrandom::u64()?))
}

/// Where it is open whether the change happened, says how to ask again without changing twice.
pub(super) fn repeatable<T>(
    answer: Result<T, Failure>,
    request_id: &str,
    output: &mut Output<'_>,
) -> Result<T, Failure> {
    if answer.as_ref().is_err_and(Failure::leaves_doubt) {
        output
            .note(&format!("it may have happened all the same: --request-id '{request_id}' repeats this call safely"));
    }
    answer
}

/// `ended  acme  vm-1  (replayed)`.
pub(super) fn line(what: &str, org: impl Display, name: impl Display, replayed: bool) -> String {
    let replayed = if replayed { "  (replayed)" } else { "" };
    format!("{what}  {org}  {name}{replayed}")
}
