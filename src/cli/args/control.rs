//! What operators set for an org at run time, on the command line.

use chrono::{DateTime, NaiveDate, NaiveTime};
use clap::{Args, Subcommand};

use super::{
    OrgWriteArgs,
    values::{any_scope, org, reason, version},
};
use crate::{
    bounds::{AMOUNT_MAX, OVERRIDE_LONGEST_MS, OVERRIDE_SHORTEST_MS},
    domain::{
        ids::{Meter, OrgId, Reason, Scope},
        input::InputError,
        money::micro_usd,
        rows::OverrideSubject,
        window::{Length, Millis, digits, named_period},
    },
};

const LIMIT_RULE: &str = "a period of spend such as daily, or the name of a limit as `status` shows it: rate, sessions, \
                          balance, budget/bytes/daily, quota/executions, quota/compute, account";

/// Bytes of a unit, by its name.
const BYTE_UNITS: [(&str, u64); 8] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

#[derive(Debug, Subcommand)]
pub(crate) enum OverrideVerb {
    /// Raise, lower, lift or only watch one limit, for a while or until it is cleared
    ///
    /// It stands over everything else that says something of the limit, from the next call on. When it ends, what
    /// is configured or set below it holds again.
    Set(OverrideSetArgs),
    /// End an override now
    Clear(OverrideClearArgs),
    /// List what is overridden for an org
    List {
        /// The tenant
        #[arg(value_parser = org)]
        org: OrgId,
        /// Also what has ended
        #[arg(long)]
        ended: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct OverrideSetArgs {
    #[command(flatten)]
    pub write: OrgWriteArgs,
    /// The limit and what it is: 'daily=$50', rate=5000, sessions=3, quota/compute=40h, budget/bytes/daily=5GB
    ///
    /// Or LIMIT=unlimited, LIMIT=shadow (evaluated and reported, never denying), LIMIT=block. Quote a $: a shell makes
    /// `daily=5` of `daily=$15`.
    #[arg(value_name = "LIMIT=VALUE", value_parser = limit_value)]
    pub limit: LimitValue,
    /// The limit of this part of the org
    #[arg(long, value_parser = any_scope)]
    pub scope: Option<Scope>,
    #[command(flatten)]
    pub end: EndArgs,
    #[command(flatten)]
    pub why: ReasonArgs,
}

#[derive(Debug, Args)]
pub(crate) struct OverrideClearArgs {
    #[command(flatten)]
    pub write: OrgWriteArgs,
    /// The limit: daily, rate, quota/executions
    #[arg(value_parser = limit_name)]
    pub limit: OverrideSubject,
    /// The limit of this part of the org
    #[arg(long, value_parser = any_scope)]
    pub scope: Option<Scope>,
    #[command(flatten)]
    pub why: ReasonArgs,
}

#[derive(Debug, Args)]
pub(crate) struct SetPlanArgs {
    #[command(flatten)]
    pub write: OrgWriteArgs,
    /// The name of a configured plan
    #[arg(value_name = "PLAN", required_unless_present_any = ["none", "clear"], conflicts_with_all = ["none", "clear"])]
    pub plan: Option<String>,
    /// The org has no plan
    #[arg(long, conflicts_with = "clear")]
    pub none: bool,
    /// The org has the plan that is configured for it
    #[arg(long, conflicts_with_all = ["for", "until"])]
    pub clear: bool,
    #[command(flatten)]
    pub end: EndArgs,
    #[command(flatten)]
    pub why: ReasonArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ExemptArgs {
    #[command(flatten)]
    pub write: OrgWriteArgs,
    /// The backstop holds for the org, whatever is configured
    #[arg(long, conflicts_with = "clear")]
    pub never: bool,
    /// As it is configured
    #[arg(long, conflicts_with_all = ["for", "until"])]
    pub clear: bool,
    #[command(flatten)]
    pub end: EndArgs,
    #[command(flatten)]
    pub why: ReasonArgs,
}

/// When it ends by itself.
#[derive(Debug, Clone, Args)]
pub(crate) struct EndArgs {
    /// It ends by itself after this time: 30m, 1h, 7d
    #[arg(long = "for", id = "for", value_name = "TIME", value_parser = end_after, conflicts_with = "until")]
    pub after: Option<i64>,
    /// It ends by itself at this time: 2027-01-31T00:00:00Z, or 2027-01-31 for midnight UTC
    #[arg(long, value_name = "TIME", value_parser = end_at)]
    pub until: Option<i64>,
}

/// Why, and over what.
#[derive(Debug, Clone, Args)]
pub(crate) struct ReasonArgs {
    /// The reason, which is kept with it
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    pub reason: Option<Reason>,
    /// Say what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Change nothing unless it has this version; 0 = it was never set
    #[arg(long, value_name = "N", value_parser = version())]
    pub expect_version: Option<i64>,
}

/// `daily=$50`, `rate=unlimited`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LimitValue {
    pub limit: OverrideSubject,
    pub value: Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value {
    /// 0 to [`AMOUNT_MAX`] in the unit of the meter.
    Amount(i64),
    Unlimited,
    Shadow,
}

fn limit_value(text: &str) -> Result<LimitValue, InputError> {
    let Some((name, value)) = text.split_once('=') else {
        return Err(InputError::new("limit", text, format!("LIMIT=VALUE, LIMIT {LIMIT_RULE}")));
    };
    let limit = limit_name(name)?;
    let value = match value {
        "unlimited" => Value::Unlimited,
        "shadow" => Value::Shadow,
        "block" => Value::Amount(0),
        _ => {
            let meter = limit.meter().unwrap_or_else(Meter::executions);
            let refused = || InputError::new(name, value, format!("{}; or unlimited, shadow or block", rule(&meter)));
            Value::Amount(amount(&meter, value).ok_or_else(refused)?)
        }
    };
    Ok(LimitValue { limit, value })
}

pub(super) fn limit_name(name: &str) -> Result<OverrideSubject, InputError> {
    let period = named_period(name).map(|(period, _)| format!("budget/{period}"));
    let named = OverrideSubject::limit("limit", period.as_deref().unwrap_or(name));
    named.map_err(|_| InputError::new("limit", name, LIMIT_RULE))
}

/// An amount in the units of people: `$30`, `4h`, `5MB`, `1000`.
pub(super) fn amount(meter: &Meter, text: &str) -> Option<i64> {
    let amount = match meter.as_str() {
        Meter::SPEND => micro_usd(text),
        Meter::COMPUTE => digits(text).or_else(|| Length::parse_millis(text).map(|length| length.0)),
        Meter::BYTES => digits(text).or_else(|| bytes(text)),
        _ => digits(text),
    };
    amount.filter(|amount| *amount <= AMOUNT_MAX).and_then(|amount| i64::try_from(amount).ok())
}

fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = BYTE_UNITS.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, unit)))?;
    digits(number)?.checked_mul(*unit)
}

pub(super) fn rule(meter: &Meter) -> String {
    match meter.as_str() {
        Meter::SPEND => "an amount of spend with its unit, '$25', 25usd or 25000000u (micro-USD); quote a $".to_owned(),
        Meter::COMPUTE => "a duration such as 30m or 4h, or a whole number of milliseconds".to_owned(),
        Meter::BYTES => "a whole number of bytes, or with a unit as in 5MB, 2GB or 64KiB".to_owned(),
        _ => format!("a whole number from 0 to {AMOUNT_MAX}"),
    }
}

fn end_after(text: &str) -> Result<i64, InputError> {
    let length = Length::parse(text).map(|length| length.0);
    let length = length.filter(|length| (OVERRIDE_SHORTEST_MS..=OVERRIDE_LONGEST_MS).contains(length));
    let allowed = || InputError::new("for", text, "1s to 3650d: a whole number and one of s, m, h, d");
    length.and_then(|length| i64::try_from(length).ok()).ok_or_else(allowed)
}

fn end_at(text: &str) -> Result<i64, InputError> {
    let day = |text: &str| Some(text.parse::<NaiveDate>().ok()?.and_time(NaiveTime::MIN).and_utc().timestamp_millis());
    let time = |text: &str| Some(DateTime::parse_from_rfc3339(text).ok()?.timestamp_millis());
    let at = day(text).or_else(|| time(text)).filter(|at| Millis::try_from(*at).is_ok_and(|at| at > 0));
    let allowed = "a time such as 2027-01-31T08:00:00Z, or a day such as 2027-01-31, which begins at midnight UTC";
    at.ok_or_else(|| InputError::new("until", text, allowed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_set_in_the_units_of_people() {
        for (text, name, value) in [
            ("daily=$50", "budget/daily", Value::Amount(50_000_000)),
            ("budget/daily=12.5usd", "budget/daily", Value::Amount(12_500_000)),
            ("quota/compute=4h", "quota/compute", Value::Amount(14_400_000)),
            ("quota/compute=250ms", "quota/compute", Value::Amount(250)),
            ("budget/bytes/daily=5MB", "budget/bytes/daily", Value::Amount(5_000_000)),
            ("quota/bytes=64KiB", "quota/bytes", Value::Amount(65_536)),
            ("quota/bytes=7", "quota/bytes", Value::Amount(7)),
            ("rate=5000", "rate", Value::Amount(5_000)),
            ("sessions=3", "sessions", Value::Amount(3)),
            ("account=900", "account", Value::Amount(900)),
            ("hourly=block", "budget/hourly", Value::Amount(0)),
            ("rate=unlimited", "rate", Value::Unlimited),
            ("quota/executions=shadow", "quota/executions", Value::Shadow),
        ] {
            let set = limit_value(text).unwrap();
            assert_eq!((set.limit.as_str(), set.value), (name, value), "{text}");
        }
    }

    #[test]
    fn what_is_no_limit_or_has_no_unit_is_refused_with_what_is_allowed() {
        for (text, field, allowed) in [
            ("daily", "limit", "LIMIT=VALUE"),
            ("fortnightly=$5", "limit", "quota/executions"),
            ("plan=pro", "limit", "quota/executions"),
            ("daily=5", "daily", "'$25', 25usd"),
            ("quota/compute=4 h", "quota/compute", "30m or 4h"),
            ("quota/bytes=5mb", "quota/bytes", "5MB"),
            ("rate=-1", "rate", "a whole number"),
            ("rate=$5", "rate", "unlimited, shadow or block"),
        ] {
            let error = limit_value(text).unwrap_err();
            assert_eq!(error.field, field, "{text}");
            assert!(error.allowed.contains(allowed), "{text}: {error}");
        }
    }

    #[test]
    fn an_end_is_a_length_or_an_instant() {
        assert_eq!((end_after("1h"), end_after("3650d")), (Ok(3_600_000), Ok(315_360_000_000)));
        for bad in ["", "0s", "500ms", "1y", "3651d", "-1h"] {
            assert!(end_after(bad).unwrap_err().allowed.contains("1s to 3650d"), "{bad}");
        }
        assert_eq!(end_at("2026-11-23"), Ok(1_795_392_000_000));
        assert_eq!(end_at("2026-11-23T01:00:00+01:00"), Ok(1_795_392_000_000));
        for bad in ["", "tomorrow", "1h", "2026-11-23 10:00", "1969-12-31"] {
            assert!(end_at(bad).unwrap_err().allowed.contains("2027-01-31"), "{bad}");
        }
    }
}
