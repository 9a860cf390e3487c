//! `tollgate usage`: what orgs have used, by day or by month, printed page by page.

use std::fmt::Write;

use crate::{
    cli::{
        Exit,
        args::{ByArg, UsageArgs},
        connect::Connection,
        failure::Failure,
        output::{Format, Output, View, number, table, text},
    },
    domain::{ids::Meter, input::InputError},
    rpc::table,
    wire::admin::v1::{UsageFailure, UsagePeriod, UsageRequest, UsageResponse, UsageRow},
};

use super::{
    batch,
    format::{amount, day},
};

/// Rows of one page; the node's maximum.
const PAGE: i32 = 5_000;

const MS_PER_HOUR: u64 = 3_600_000;
const CSV_HEADER: &str = "org,scope,plane,meter,from,to,amount,unit,value,value_unit";

/// A mistake shows before a connection is opened.
pub(super) fn request(args: &UsageArgs) -> Result<UsageRequest, Failure> {
    let months = args.by == ByArg::Month;
    for (field, given) in [("from", args.from), ("to", args.to)] {
        if months && given.is_some_and(|day| !day.is_month()) {
            let error = InputError::new(field, "a day", "a month such as 2026-10, because --by is month");
            return Err(Failure::Usage(error));
        }
    }
    Ok(UsageRequest {
        org: args.org.as_ref().map(ToString::to_string).unwrap_or_default(),
        by: if months { UsagePeriod::Month } else { UsagePeriod::Day }.into(),
        from_ms: args.from.map_or(0, |day| day.start_ms()),
        to_ms: args.to.map_or(0, |day| day.end_ms()),
        scope: args.scope.as_ref().map(|scope| scope.as_str().to_owned()),
        meter: args.meter.as_ref().map(ToString::to_string).unwrap_or_default(),
        page_size: PAGE,
        page_token: String::new(),
        by_plane: args.by_plane,
    })
}

/// Each page is printed before the next one is asked for, so no list is ever held whole.
pub(super) async fn run(
    connection: &Connection,
    mut request: UsageRequest,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let mut list = List::begin(request.by_plane, output);
    loop {
        let page = connection.ask::<table::Usage>(request.clone()).await?;
        list.add(&page, output)?;
        if page.next_page_token.is_empty() {
            list.end(&page, output)?;
            let failed = list.failures.iter().map(|failure| (failure.org.as_str(), failure.error.as_ref()));
            return Ok(batch::report_failures(failed, output));
        }
        if page.next_page_token == request.page_token {
            return Err(Failure::Incomplete("a page goes on where it began"));
        }
        (request.from_ms, request.to_ms) = (page.from_ms, page.to_ms);
        request.page_token = page.next_page_token;
    }
}

/// A list that is printed as it comes.
struct List {
    by_plane: bool,
    rows: u64,
    failures: Vec<UsageFailure>,
}

impl List {
    fn begin(by_plane: bool, output: &mut Output<'_>) -> Self {
        match output.format() {
            Format::Table => {}
            Format::Csv => output.data(CSV_HEADER),
            Format::Json => output.data("{\n  \"rows\": ["),
        }
        Self { by_plane, rows: 0, failures: Vec::new() }
    }

    fn add(&mut self, page: &UsageResponse, output: &mut Output<'_>) -> Result<(), Failure> {
        match output.format() {
            Format::Table if page.rows.is_empty() => {}
            Format::Table if self.rows == 0 => output.show(&lines(&page.rows, self.by_plane)),
            Format::Table => output.show_more(&lines(&page.rows, self.by_plane)),
            Format::Csv => page.rows.iter().for_each(|row| output.data(&csv(row))),
            Format::Json => {
                for (at, row) in (self.rows..).zip(&page.rows) {
                    let json = output.json(row)?;
                    output.data(&format!("{}{json}", if at == 0 { "    " } else { "    ," }));
                }
            }
        }
        self.rows += u64::try_from(page.rows.len()).unwrap_or(u64::MAX);
        self.failures.extend(page.failures.iter().cloned());
        Ok(())
    }

    /// The rest of the response as JSON; a remark where there are no rows.
    fn end(&self, last: &UsageResponse, output: &mut Output<'_>) -> Result<(), Failure> {
        if output.format() == Format::Json {
            let rest = UsageResponse { rows: Vec::new(), failures: self.failures.clone(), ..last.clone() };
            let rest = output.json(&rest)?;
            let rest = rest.trim_start_matches('{').replacen("\"rows\":[],", "", 1);
            output.data(&format!("  ],\n  {rest}"));
        } else if self.rows == 0 {
            output.remark("nothing was used");
        }
        Ok(())
    }
}

fn lines(rows: &[UsageRow], by_plane: bool) -> View {
    let of = if by_plane { "plane" } else { "scope" };
    let columns = [text("org"), text(of), text("meter"), text("period"), number("used")];
    let cells = rows.iter().map(|row| {
        let used = amount(&row.meter, row.amount);
        let of = if by_plane { &row.plane } else { &row.scope };
        [row.org.clone(), of.clone(), row.meter.clone(), period(row), used]
    });
    table(columns, cells)
}

/// `2026-10-01`, or `2026-10` for a month.
fn period(row: &UsageRow) -> String {
    const DAY_MS: i64 = 86_400_000;
    let start = day(row.start_ms);
    if row.end_ms - row.start_ms > DAY_MS { start.chars().take("2026-10".len()).collect() } else { start }
}

/// `to` is the last day. The amount is as it is counted; the value is in dollars and hours.
fn csv(row: &UsageRow) -> String {
    let (unit, value, value_unit) = valued(&row.meter, row.amount);
    let mut line = String::new();
    for name in [&row.org, &row.scope, &row.plane, &row.meter] {
        let _ = write!(line, "{},", quoted(name));
    }
    let (from, to) = (day(row.start_ms), day(row.end_ms - 1));
    let _ = write!(line, "{from},{to},{},{unit},{value},{value_unit}", row.amount);
    line
}

/// As a field of CSV: names have no line ends.
fn quoted(name: &str) -> String {
    if name.contains([',', '"']) { format!("\"{}\"", name.replace('"', "\"\"")) } else { name.to_owned() }
}

/// The unit in which an amount is counted, and what it is in the unit of people.
fn valued(meter: &str, amount: i64) -> (&'static str, String, &'static str) {
    let size = amount.unsigned_abs();
    if meter == Meter::SPEND {
        ("micro_usd", format!("{}.{:06}", size / 1_000_000, size % 1_000_000), "usd")
    } else if meter == Meter::compute().as_str() {
        // Rounded to the millionth of an hour, which is 3.6 ms.
        let millionths = (u128::from(size) * 1_000_000 + u128::from(MS_PER_HOUR / 2)) / u128::from(MS_PER_HOUR);
        ("ms", format!("{}.{:06}", millionths / 1_000_000, millionths % 1_000_000), "hours")
    } else if meter == Meter::bytes().as_str() {
        ("bytes", size.to_string(), "bytes")
    } else {
        ("count", size.to_string(), "count")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(meter: &str, amount: i64) -> UsageRow {
        let (start_ms, end_ms) = (1_790_812_800_000, 1_790_899_200_000);
        let (org, scope, plane) = ("a\"b".into(), "x,y".into(), String::new());
        UsageRow { org, scope, plane, meter: meter.into(), start_ms, end_ms, amount }
    }

    #[test]
    fn a_line_of_csv_has_the_amount_as_counted_and_in_dollars_or_hours() {
        for (meter, amount, expected) in [
            ("spend", 12_500_000, "12500000,micro_usd,12.500000,usd"),
            ("spend", 1, "1,micro_usd,0.000001,usd"),
            ("compute", 5_400_000, "5400000,ms,1.500000,hours"),
            ("compute", 1, "1,ms,0.000000,hours"),
            ("compute", 2, "2,ms,0.000001,hours"),
            ("bytes", 9, "9,bytes,9,bytes"),
            ("executions", i64::MAX, "9223372036854775807,count,9223372036854775807,count"),
        ] {
            let names = format!("\"a\"\"b\",\"x,y\",,{meter},2026-10-01,2026-10-01,");
            assert_eq!(csv(&row(meter, amount)), format!("{names}{expected}"));
        }
    }

    #[test]
    fn a_period_is_a_day_or_a_month() {
        let of_day = row("spend", 1);
        assert_eq!(period(&of_day), "2026-10-01");
        let month = UsageRow { end_ms: 1_793_491_200_000, ..of_day };
        assert_eq!((period(&month), day(month.end_ms - 1)), ("2026-10".into(), "2026-10-31".into()));
    }
}
