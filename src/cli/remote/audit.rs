//! `tollgate audit`: derives every stored number from the ledger again. None may differ.

use crate::{
    cli::{
        Exit,
        args::AuditArgs,
        connect::Connection,
        failure::Failure,
        output::{Output, Tone, View, number, table, text},
    },
    domain::window::Millis,
    rpc::table,
    wire::admin::v1::{AuditRequest, AuditResponse, Drift},
};

use super::{
    batch,
    format::{amount, counted},
};

/// Orgs that one call audits: all numbers of each are read, within one `--timeout`.
const PAGE: i32 = 100;

pub(super) async fn run(connection: &Connection, args: &AuditArgs, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let org = args.org.as_ref().map(ToString::to_string).unwrap_or_default();
    let all = every_page(connection, &org).await?;
    output.answer(&all, describe)?;
    let failed = all.failures.iter().map(|failure| (failure.org.as_str(), failure.error.as_ref()));
    let failures = batch::report_failures(failed, output);
    Ok(if all.drifted == 0 && all.drift.is_empty() { failures } else { Exit::Error })
}

async fn every_page(connection: &Connection, org: &str) -> Result<AuditResponse, Failure> {
    let mut all = AuditResponse::default();
    loop {
        let page_token = std::mem::take(&mut all.next_page_token);
        let request = AuditRequest { org: org.to_owned(), page_size: PAGE, page_token };
        let page = connection.ask::<table::Audit>(request).await?;
        let empty = page.orgs == 0 && page.failures.is_empty();
        merge(&mut all, page);
        if all.next_page_token.is_empty() {
            return Ok(all);
        }
        if empty {
            return Err(Failure::Incomplete("a page without orgs is not the last"));
        }
    }
}

fn merge(all: &mut AuditResponse, page: AuditResponse) {
    all.orgs = all.orgs.saturating_add(page.orgs);
    all.numbers = all.numbers.saturating_add(page.numbers);
    all.drifted = all.drifted.saturating_add(page.drifted);
    all.drift.extend(page.drift);
    all.failures.extend(page.failures);
    all.next_page_token = page.next_page_token;
}

fn describe(all: &AuditResponse, _: Millis) -> View {
    let tone = if all.drifted == 0 && all.drift.is_empty() { Tone::Plain } else { Tone::Bad };
    let summary = View::verdict(tone, &summary(all), "");
    if all.drift.is_empty() {
        return summary;
    }
    let columns = [text("org"), text("scope"), text("meter"), text("what"), number("kept"), number("derived")];
    let rows = all.drift.iter().map(|drift| {
        let (org, scope, meter) = (drift.org.clone(), drift.scope.clone(), drift.meter.clone());
        [org, scope, meter, drift.what.clone(), amount(&drift.meter, drift.kept), derived(drift)]
    });
    table(columns, rows).apart(summary)
}

/// `$0.000050`, `40 to 50`, `at least 40`.
fn derived(drift: &Drift) -> String {
    let shown = |number| amount(&drift.meter, number);
    match (drift.derived_least, drift.derived_most) {
        (least, most) if least == most => shown(least),
        (least, i64::MAX) => format!("at least {}", shown(least)),
        (least, most) => format!("{} to {}", shown(least), shown(most)),
    }
}

/// `3 orgs, 120 numbers, no drift`.
fn summary(all: &AuditResponse) -> String {
    let shown = i64::try_from(all.drift.len()).unwrap_or(i64::MAX);
    let drift = match all.drifted {
        0 if shown == 0 => "no drift".to_owned(),
        differ if differ > shown => format!("{differ} drifted, {shown} of them shown"),
        differ => format!("{differ} drifted"),
    };
    let mut parts = vec![counted(all.orgs, "org"), counted(all.numbers, "number"), drift];
    if !all.failures.is_empty() {
        let failed = i64::try_from(all.failures.len()).unwrap_or(i64::MAX);
        parts.push(format!("{} failed", counted(failed, "org")));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_derived_is_a_number_a_range_or_a_least() {
        let drift = |meter: &str, derived_least, derived_most| Drift {
            meter: meter.into(),
            derived_least,
            derived_most,
            ..Drift::default()
        };
        for (shown, drift) in [
            ("$0.000050", drift("spend", 50, 50)),
            ("1s to 2s", drift("compute", 1_000, 2_000)),
            ("at least 40", drift("executions", 40, i64::MAX)),
            ("9223372036854775807", drift("executions", i64::MAX, i64::MAX)),
        ] {
            assert_eq!(derived(&drift), shown);
        }
    }

    #[test]
    fn a_summary_says_what_it_does_not_show() {
        let drift = vec![Drift::default()];
        assert_eq!(summary(&AuditResponse::default()), "0 orgs, 0 numbers, no drift");
        let one = AuditResponse { orgs: 1, numbers: 1, drifted: 1, drift, ..Default::default() };
        assert_eq!(summary(&one), "1 org, 1 number, 1 drifted");
        assert_eq!(summary(&AuditResponse { drifted: 101, ..one }), "1 org, 1 number, 101 drifted, 1 of them shown");
    }
}
