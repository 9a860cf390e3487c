//! `tollgate usage` on the command line.

use chrono::{Datelike, Months, NaiveDate, NaiveTime};
use clap::{Args, ValueEnum};

use super::values::{any_meter, any_scope, org};
use crate::domain::{
    ids::{Meter, OrgId, Scope},
    input::InputError,
};

#[derive(Debug, Args)]
pub(crate) struct UsageArgs {
    /// The tenant
    #[arg(value_parser = org, required_unless_present = "all", conflicts_with = "all")]
    pub org: Option<OrgId>,
    /// Every org that has records
    #[arg(long)]
    pub all: bool,
    /// What a row is about
    #[arg(long, value_name = "PERIOD", default_value = "day")]
    pub by: ByArg,
    /// The first day, 2026-10-01, or month, 2026-10 [default: the current month]
    #[arg(long, value_name = "DATE", value_parser = Day::parse)]
    pub from: Option<Day>,
    /// The last day or month, which is counted as well [default: the current one]
    #[arg(long, value_name = "DATE", value_parser = Day::parse)]
    pub to: Option<Day>,
    /// Only this scope; '' is the org itself, with everything that its scopes have [default: all, and the org]
    #[arg(long, value_parser = any_scope)]
    pub scope: Option<Scope>,
    /// A row for each plane, of the org itself; without a plane: what went through none
    #[arg(long, conflicts_with = "scope")]
    pub by_plane: bool,
    /// Only this meter: spend, compute, executions, bytes, …
    #[arg(long, value_parser = any_meter)]
    pub meter: Option<Meter>,
}

/// What a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ByArg {
    /// A day of UTC
    Day,
    /// A month of UTC
    Month,
}

/// A day, or a month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Day {
    first: NaiveDate,
    is_month: bool,
}

impl Day {
    fn parse(text: &str) -> Result<Self, InputError> {
        let refused = || InputError::new("date", text, "a day such as 2026-10-01, or a month such as 2026-10");
        let is_month = text.len() == "2026-10".len();
        let day = if is_month { format!("{text}-01") } else { text.to_owned() };
        let is_written = day.len() == "2026-10-01".len();
        let first = NaiveDate::parse_from_str(&day, "%Y-%m-%d").ok().filter(|day| is_written && day.year() >= 1970);
        Ok(Self { first: first.ok_or_else(refused)?, is_month })
    }

    /// Its beginning, in milliseconds since the Unix epoch.
    pub(crate) fn start_ms(self) -> i64 {
        self.first.and_time(NaiveTime::MIN).and_utc().timestamp_millis()
    }

    /// Its end.
    pub(crate) fn end_ms(self) -> i64 {
        let next = if self.is_month { self.first.checked_add_months(Months::new(1)) } else { self.first.succ_opt() };
        Self { first: next.unwrap_or(self.first), ..self }.start_ms()
    }

    /// Whether it can be where a month begins, or ends.
    pub(crate) fn is_month(self) -> bool {
        self.is_month
    }
}
