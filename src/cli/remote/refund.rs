//! `tollgate refund`: usage that is given back, and what the limits say before and after.

use crate::{
    cli::{
        Exit,
        args::RefundArgs,
        connect::Connection,
        failure::Failure,
        output::{Output, View, facts},
    },
    domain::ids::OrgId,
    rpc::table,
    wire::{
        admin::v1::{RefundRequest, RefundResponse, RefundedAmount},
        v1::Limit,
    },
};

use super::{
    acquire::amounts,
    explain::at_ms,
    format::{amount, outcome_line},
    request_id::{named_in_doubt, org_and_request_id},
    scope_texts,
};

/// A mistake shows before a connection is opened.
pub(super) fn request(args: &RefundArgs, output: &Output<'_>) -> Result<RefundRequest, Failure> {
    let (org, request_id) = org_and_request_id(&args.write)?;
    let (scope, scopes) = scope_texts(&args.scope);
    Ok(RefundRequest {
        org: org.to_string(),
        request_id,
        decision_id: args.decision.map(|decision| decision.to_string()).unwrap_or_default(),
        amounts: amounts("amount", &args.amount)?,
        scope,
        scopes,
        at_ms: at_ms(args.at, output),
        reason: args.reason.as_ref().map(ToString::to_string).unwrap_or_default(),
        dry_run: args.dry_run,
    })
}

pub(super) async fn run(
    connection: &Connection,
    args: &RefundArgs,
    request: RefundRequest,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let id = request.request_id.clone();
    let answer = named_in_doubt(connection.ask::<table::Refund>(request).await, &id)?;
    output.answer(&answer, |answer, _| describe(&args.write.org, answer))?;
    Ok(Exit::Done)
}

fn describe(org: &OrgId, answer: &RefundResponse) -> View {
    let given = answer.amounts.iter().map(given).collect::<Vec<_>>().join(", ");
    let scopes = answer.scopes.iter().map(|scope| ("scope", scope.clone()));
    let limits = answer.after.iter().map(|after| ("used", used(answer, after)));
    View::from(outcome_line("refunded", org, given, answer.replayed)).then(facts(scopes.chain(limits)))
}

/// `spend $3.00 of $5.00`.
fn given(of: &RefundedAmount) -> String {
    let RefundedAmount { meter, asked, given } = of;
    let asked = if asked == given { String::new() } else { format!(" of {}", amount(meter, *asked)) };
    format!("{meter} {}{asked}", amount(meter, *given))
}

/// `spend $12.00 → $7.00 (budget/daily)`; a replay knows only what is used now.
fn used(answer: &RefundResponse, after: &Limit) -> String {
    let (meter, name) = (&after.texts.meter, &after.texts.name);
    let before = answer.before.iter().find(|before| before.scope == after.scope && before.texts.name == *name);
    let before = before.filter(|before| before.used != after.used);
    let before = before.map(|before| format!("{} → ", amount(meter, before.used))).unwrap_or_default();
    let of = if after.scope.is_empty() { String::new() } else { format!(" of {}", after.scope) };
    format!("{meter} {before}{} ({name}{of})", amount(meter, after.used))
}
