//! Lists that the node returns page by page.

use crate::{
    cli::{args::PageArgs, failure::Failure, output::Output},
    domain::words,
};

/// Rows per page; the node's maximum.
const PAGE: u32 = 1000;

/// Collects as many rows as were asked for, and the token that continues after them, empty at the end
/// of the list. `call` asks for one page, by its size and its token.
pub(super) async fn collect<T>(
    args: &PageArgs,
    mut call: impl AsyncFnMut(i32, String) -> Result<(Vec<T>, String), Failure>,
) -> Result<(Vec<T>, String), Failure> {
    let (mut rows, mut token, mut wanted) = (Vec::new(), args.after.clone().unwrap_or_default(), args.limit);
    loop {
        let page_size = i32::try_from(wanted.min(PAGE)).unwrap_or(i32::MAX);
        let (page, next) = call(page_size, token).await?;
        wanted = wanted.saturating_sub(u32::try_from(page.len()).unwrap_or(u32::MAX));
        let empty = page.is_empty();
        rows.extend(page);
        token = next;
        if empty || wanted == 0 || token.is_empty() {
            return Ok((rows, token));
        }
    }
}

/// Says how to continue a list that ended at its limit; JSON has the token.
pub(super) fn continuation(token: &str, output: &mut Output<'_>) {
    if !token.is_empty() {
        output.remark(&format!("there are more: --after {} continues", words::for_shell(token)));
    }
}
