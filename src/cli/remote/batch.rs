//! Answers about many orgs: each result stands alone and may be an error.

use crate::{
    cli::{Exit, failure::Failure, output::Output},
    wire::v1::ItemError,
};

/// A batch reply must have as many results as the request has items.
pub(super) fn check_count(asked: usize, answered: usize) -> Result<(), Failure> {
    if asked == answered { Ok(()) } else { Err(Failure::Incomplete("it has not one result for each org")) }
}

/// Prints an error for each org that failed; one of them makes the command an error.
pub(super) fn report_failures<'a>(
    failed: impl IntoIterator<Item = (&'a str, Option<&'a ItemError>)>,
    output: &mut Output<'_>,
) -> Exit {
    let mut exit = Exit::Done;
    for (org, error) in failed {
        output.error(&Failure::Item { org: org.to_owned(), error: error.cloned() });
        exit = Exit::Error;
    }
    exit
}
