//! `tollgate why`, `tollgate explain` and `tollgate denials`: why calls are denied, and what lets them through.

use crate::{
    cli::{
        Exit,
        args::{AskWhyArgs, DenialsArgs, ExplainArgs, Since},
        connect::Connection,
        failure::Failure,
        output::Output,
    },
    rpc::table,
    wire::admin::v1::{ExplainDecisionRequest, ListDenialsRequest, ListDenialsResponse, WhyRequest},
};

use super::{
    explain_view::{day_table, denial_table, describe, describe_why},
    paging, scope_text,
};

/// Exit 3 where calls are denied.
pub(super) async fn why(connection: &Connection, args: &AskWhyArgs, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let request =
        WhyRequest { org: args.org.to_string(), scope: scope_text(args.scope.as_ref()), at_ms: at_ms(args.at, output) };
    let answer = connection.ask::<table::Why>(request).await?;
    output.answer(&answer, describe_why)?;
    Ok(if answer.blocked { Exit::Denied } else { Exit::Done })
}

pub(super) async fn explain(
    connection: &Connection,
    args: &ExplainArgs,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let request = ExplainDecisionRequest {
        org: args.org.to_string(),
        decision_id: args.decision.map(|id| id.to_string()).unwrap_or_default(),
        at_ms: at_ms(args.at, output),
        scope: scope_text(args.scope.as_ref()),
    };
    let answer = connection.ask::<table::ExplainDecision>(request).await?;
    output.answer(&answer, describe)?;
    Ok(Exit::Done)
}

pub(super) async fn denials(
    connection: &Connection,
    args: &DenialsArgs,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let since_ms = at_ms(args.since, output);
    let mut days = Vec::new();
    let (denials, next_page_token) = paging::collect(&args.page, async |page_size, page_token| {
        let request = ListDenialsRequest {
            org: args.org.to_string(),
            scope: scope_text(args.scope.as_ref()),
            gate: args.gate.clone().unwrap_or_default(),
            since_ms,
            until_ms: 0,
            let_through: args.let_through,
            page_size,
            page_token,
        };
        let page = connection.ask::<table::ListDenials>(request).await?;
        // The same on every page.
        days = page.days;
        Ok((page.denials, page.next_page_token))
    })
    .await?;
    let all = ListDenialsResponse { denials, next_page_token, days };
    let by_day = args.by_day;
    output.answer(&all, |all, now| if by_day { day_table(&all.days) } else { denial_table(&all.denials, now) })?;
    paging::continuation(&all.next_page_token, output);
    Ok(Exit::Done)
}

/// 0 where no time was given.
pub(super) fn at_ms(given: Option<Since>, output: &Output<'_>) -> i64 {
    given.map_or(0, |given| i64::try_from(given.at(output.now())).unwrap_or(i64::MAX))
}
