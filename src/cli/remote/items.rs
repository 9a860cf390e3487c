//! Answers about many orgs at once: each item stands alone, and may have failed by itself.

use std::fmt::Display;

use tonic::Code;

use crate::{
    cli::{
        Exit,
        connect::{self, Failure},
        output::Output,
    },
    wire::v1::ItemError,
};

/// What was asked for many has one result for each.
pub(super) fn one_for_each(asked: usize, answered: usize) -> Result<(), Failure> {
    if asked == answered { Ok(()) } else { Err(Failure::Incomplete("it has not one result for each org")) }
}

/// Why an item has no answer.
pub(super) fn reason(error: Option<&ItemError>) -> String {
    let Some(ItemError { grpc_code, reason, message }) = error else {
        return "the node sent neither an answer nor an error".to_owned();
    };
    let code = connect::code_name(Code::from_i32(*grpc_code));
    let reason = if reason.is_empty() { String::new() } else { format!(", {reason}") };
    format!("{message} ({code}{reason})")
}

/// Names what failed on stderr; one failure makes the whole an error.
pub(super) fn report<N: Display>(failed: impl IntoIterator<Item = (N, String)>, output: &mut Output<'_>) -> Exit {
    let mut exit = Exit::Done;
    for (name, why) in failed {
        output.error(&format!("{name}: {why}"));
        exit = Exit::Error;
    }
    exit
}
