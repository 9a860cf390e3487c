//! Values on the command line: what is allowed, and the error for anything else.

use std::time::Duration;

use chrono::DateTime;
use clap::builder::RangedI64ValueParser;

use super::{events::Since, quantity, token::Expires};

use crate::{
    bounds::{AMOUNT_MAX, SECOND_MS},
    domain::{
        ids::{
            DecisionId, ExecutionId, Identity, Incarnation, Meter, OrgId, Plane, PoolId, Reason, RequestId, Scope,
            SessionId,
        },
        input::InputError,
        outbox::OutboxKey,
        window::{Millis, digits, named_period, period_names},
    },
};

/// Longest `--timeout`.
const TIMEOUT_MAX: Duration = Duration::from_secs(600);

/// Shortest and longest `--watch`.
const WATCH_MIN: Duration = Duration::from_millis(200);
const WATCH_MAX: Duration = Duration::from_secs(3_600);

/// An amount of spend, as an argument of a shell.
const MONEY_RULE: &str = "an amount of spend with its unit, '$25', 25usd or 25000000u (micro-USD), with at most 6 \
                          decimals, without a leading zero and at most $10000000000; quote a $: a shell makes 5 \
                          of $15";

/// `90d`, `2027-01-31T00:00:00Z`, `never`.
pub(crate) fn expires(text: &str) -> Result<Expires, String> {
    if text == "never" {
        return Ok(Expires::Never);
    }
    let after = quantity::span(text).filter(|after| *after > 0);
    let expires = after.map(Expires::In).or_else(|| instant(text).map(Expires::At));
    expires
        .ok_or_else(|| "a time from now such as 12h or 90d, an instant such as 2027-01-31T00:00:00Z, or never".into())
}

/// `2h`, `2027-01-31T00:00:00Z`.
pub(crate) fn since(text: &str) -> Result<Since, String> {
    let ago = quantity::span(text).map(Since::Ago);
    let since = ago.or_else(|| instant(text).map(Since::At));
    since.ok_or_else(|| "a time ago such as 15m, 2h or 7d, or an instant such as 2027-01-31T00:00:00Z".into())
}

fn instant(text: &str) -> Option<Millis> {
    DateTime::parse_from_rfc3339(text).ok().and_then(|at| Millis::try_from(at.timestamp_millis()).ok())
}

/// `executions=2`, `spend=$0.05`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MeterAmount {
    pub meter: Meter,
    /// 0 to [`AMOUNT_MAX`] in the meter's unit.
    pub amount: i64,
}

impl MeterAmount {
    fn parse(field: &str, text: &str) -> Result<Self, InputError> {
        let refused = || {
            let allowed = format!(
                "METER=AMOUNT, as in executions=2, compute=4h, bytes=5MB or 'spend=$0.05', 0 to {AMOUNT_MAX} in the \
                 meter's unit"
            );
            InputError::new(field, text, allowed)
        };
        let (meter, amount) = text.split_once('=').ok_or_else(refused)?;
        let meter = Meter::parse(&format!("{field}.meter"), meter)?;
        let amount = quantity::amount(&meter, amount).and_then(bounded).ok_or_else(|| match meter.as_str() {
            Meter::SPEND => InputError::new(field, text, MONEY_RULE),
            "compute" | "bytes" => {
                let allowed = format!("METER=AMOUNT, {}, 0 to {AMOUNT_MAX}", quantity::rule(&meter));
                InputError::new(field, text, allowed)
            }
            _ => refused(),
        })?;
        Ok(Self { meter, amount })
    }
}

/// `daily=$12.50`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PeriodLimit {
    /// One of [`crate::domain::window::PERIODS`].
    pub period: &'static str,
    /// 0 to [`AMOUNT_MAX`] micro-USD; `None` clears.
    pub limit: Option<i64>,
}

impl PeriodLimit {
    fn parse(text: &str) -> Result<Self, InputError> {
        let Some((name, amount)) = text.split_once('=') else {
            let allowed = format!("PERIOD=AMOUNT, as in daily=25usd, PERIOD one of {}", period_names());
            return Err(InputError::new("limit", text, allowed));
        };
        let unknown = || InputError::new("period", name, format!("one of {}", period_names()));
        let (period, _) = named_period(name).ok_or_else(unknown)?;
        let limit = match amount {
            "none" => None,
            "block" => Some(0),
            _ => {
                let refused = || InputError::new(period, amount, format!("{MONEY_RULE}; block, or none to clear"));
                Some(quantity::money(amount).and_then(bounded).ok_or_else(refused)?)
            }
        };
        Ok(Self { period, limit })
    }
}

/// A whole amount in the unit of its meter.
pub(super) fn whole(text: &str) -> Option<i64> {
    digits(text).and_then(bounded)
}

/// An amount that the API accepts.
fn bounded(amount: u64) -> Option<i64> {
    Some(amount).filter(|amount| *amount <= AMOUNT_MAX).and_then(|amount| i64::try_from(amount).ok())
}

pub(super) fn cost(text: &str) -> Result<MeterAmount, InputError> {
    MeterAmount::parse("cost", text)
}

pub(super) fn reserve(text: &str) -> Result<MeterAmount, InputError> {
    MeterAmount::parse("reserve", text)
}

pub(super) fn actual(text: &str) -> Result<MeterAmount, InputError> {
    MeterAmount::parse("actual", text)
}

pub(super) fn usage(text: &str) -> Result<MeterAmount, InputError> {
    MeterAmount::parse("usage", text)
}

/// What is given back is more than nothing.
pub(super) fn refunded(text: &str) -> Result<MeterAmount, InputError> {
    let given = MeterAmount::parse("amount", text)?;
    if given.amount > 0 { Ok(given) } else { Err(InputError::new("amount", text, "more than 0")) }
}

pub(super) fn decision(text: &str) -> Result<DecisionId, InputError> {
    DecisionId::parse("decision", text)
}

pub(super) fn execution(text: &str) -> Result<ExecutionId, InputError> {
    ExecutionId::parse("execution", text)
}

pub(super) fn plane(text: &str) -> Result<Plane, InputError> {
    Plane::parse("plane", text)
}

/// How long a reservation lasts, in milliseconds; what the node allows may be less.
pub(super) fn ttl(text: &str) -> Result<i64, InputError> {
    let millis = quantity::span(text).and_then(|millis| i64::try_from(millis).ok());
    let allowed = || InputError::new("ttl", text, "1s to 24h, as in 90s, 10m or '1h 30m'");
    millis.filter(|millis| (1_000..=86_400_000).contains(millis)).ok_or_else(allowed)
}

pub(super) fn org(text: &str) -> Result<OrgId, InputError> {
    OrgId::parse("org", text)
}

pub(super) fn scope(text: &str) -> Result<Scope, InputError> {
    Scope::parse_counted("scope", text)
}

pub(super) fn any_scope(text: &str) -> Result<Scope, InputError> {
    Scope::parse_chosen("scope", text)
}

pub(super) fn any_meter(text: &str) -> Result<Meter, InputError> {
    Meter::parse("meter", text)
}

/// A period and an amount in the unit of a meter that is not known yet.
pub(super) fn trial(text: &str) -> Result<(String, String), InputError> {
    let parts = text.split_once('=').filter(|(period, amount)| !period.is_empty() && !amount.is_empty());
    let parts = parts.map(|(period, amount)| (period.to_owned(), amount.to_owned()));
    parts.ok_or_else(|| InputError::new("limit", text, "PERIOD=AMOUNT, as in 'daily=$25'"))
}

pub(super) fn period_limit(text: &str) -> Result<PeriodLimit, InputError> {
    PeriodLimit::parse(text)
}

pub(super) fn session(text: &str) -> Result<SessionId, InputError> {
    SessionId::parse("session", text)
}

pub(super) fn identity(text: &str) -> Result<Identity, InputError> {
    Identity::parse("identity", text)
}

pub(super) fn incarnation(text: &str) -> Result<Incarnation, InputError> {
    Incarnation::parse("incarnation", text)
}

pub(super) fn pool(text: &str) -> Result<PoolId, InputError> {
    PoolId::parse("pool", text)
}

/// An HTTP status.
pub(super) fn status(text: &str) -> Result<i32, InputError> {
    let known = digits(text).and_then(|status| i32::try_from(status).ok());
    let known = known.filter(|status| *status == 0 || (100..=599).contains(status));
    known.ok_or_else(|| InputError::new("status", text, "100 to 599, or 0 where there was no answer"))
}

/// A number of calls.
pub(super) fn calls(text: &str) -> Result<i64, InputError> {
    let allowed = || InputError::new("calls", text, format!("a whole number of calls, 0 to {AMOUNT_MAX}"));
    quantity::count(text).and_then(bounded).ok_or_else(allowed)
}

/// A number of bytes.
pub(super) fn size(text: &str) -> Result<i64, InputError> {
    let allowed = || InputError::new("bytes", text, format!("a size such as 50000 or 5MB, 0 to {AMOUNT_MAX} bytes"));
    quantity::size(text).and_then(bounded).ok_or_else(allowed)
}

/// Seconds that are an amount in milliseconds: a number of them, or a time.
pub(super) fn total(text: &str) -> Result<i64, InputError> {
    let spelled = || quantity::span(text).filter(|ms| ms.is_multiple_of(SECOND_MS)).map(|ms| ms / SECOND_MS);
    let seconds = quantity::count(text).or_else(spelled).filter(|seconds| *seconds <= AMOUNT_MAX / SECOND_MS);
    let allowed = || {
        InputError::new(
            "total",
            text,
            format!("whole seconds, as in 90 or '1m 30s', at most {}", AMOUNT_MAX / SECOND_MS),
        )
    };
    seconds.and_then(|seconds| i64::try_from(seconds).ok()).ok_or_else(allowed)
}

pub(super) fn version() -> RangedI64ValueParser<i64> {
    RangedI64ValueParser::new().range(0..)
}

pub(super) fn request_id(text: &str) -> Result<RequestId, InputError> {
    RequestId::parse("request_id", text)
}

pub(super) fn export_key(text: &str) -> Result<OutboxKey, InputError> {
    OutboxKey::parse("key", text)
}

pub(super) fn reason(text: &str) -> Result<Reason, InputError> {
    Reason::parse("reason", text)
}

/// The name of a context.
pub(super) fn context_name(text: &str) -> Result<String, InputError> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    let fits = (1..=63).contains(&text.len()) && text.bytes().all(allowed);
    let rule = "1 to 63 lower-case letters, digits, - _ and .";
    if fits { Ok(text.to_owned()) } else { Err(InputError::new("context", text, rule)) }
}

pub(crate) fn timeout(text: &str) -> Result<Duration, InputError> {
    quantity::span(text)
        .map(Duration::from_millis)
        .filter(|time| !time.is_zero() && *time <= TIMEOUT_MAX)
        .ok_or_else(|| InputError::new("timeout", text, "1ms to 10m: a whole number and one of ms, s, m"))
}

/// How often something is asked again.
pub(super) fn every(text: &str) -> Result<Duration, InputError> {
    // A number alone is seconds, as for watch(1).
    let seconds = digits(text).map(Duration::from_secs);
    let time = seconds.or_else(|| quantity::span(text).map(Duration::from_millis));
    time.filter(|time| (WATCH_MIN..=WATCH_MAX).contains(time))
        .ok_or_else(|| InputError::new("watch", text, "200ms to 1h: a whole number and one of ms, s, m, h"))
}

pub(super) fn reservation(text: &str) -> Result<DecisionId, InputError> {
    DecisionId::parse("reservation", text)
}

/// How long ago something was, in milliseconds.
pub(super) fn age(text: &str) -> Result<Millis, InputError> {
    let millis = quantity::span(text);
    let allowed = || InputError::new("age", text, "a time such as 90s, 2h or '1h 30m'");
    millis.filter(|millis| i64::try_from(*millis).is_ok()).ok_or_else(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_names_its_meter() {
        for (text, meter, amount) in [
            ("executions=1", "executions", 1),
            ("spend=0u", "spend", 0),
            ("spend=$0.05", "spend", 50_000),
            ("spend=0.05usd", "spend", 50_000),
            ("b=10000000000000000", "b", 10_000_000_000_000_000),
        ] {
            let parsed = cost(text).unwrap();
            assert_eq!((parsed.meter.as_str(), parsed.amount), (meter, amount));
        }
    }

    #[test]
    fn a_bad_amount_is_refused_and_the_error_says_what_is_allowed() {
        for bad in [
            "",
            "executions",
            "executions=",
            "=1",
            "e=-1",
            "e=+1",
            "e=1.5",
            "e=1 ",
            "e=10000000000000001",
            "e=1=2",
            "e=$1",
            "e=5u",
        ] {
            let error = cost(bad).unwrap_err().to_string();
            assert!(error.contains("METER=AMOUNT") || error.contains("[a-z0-9_]"), "{bad:?}: {error}");
        }
        for bad in ["spend=0", "spend=5", "spend=$", "spend=block"] {
            assert!(cost(bad).unwrap_err().allowed.contains("with its unit, '$25', 25usd or 25000000u"), "{bad}");
        }
        assert!(cost("Spend=1").unwrap_err().to_string().contains("cost.meter"));
        assert!(reserve("x").unwrap_err().to_string().starts_with("reserve \"x\""));
    }

    #[test]
    fn a_timeout_has_a_unit_and_a_bound() {
        for (text, millis) in [("1ms", 1), ("5s", 5_000), ("10m", 600_000)] {
            assert_eq!(timeout(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for bad in ["", "5", "0s", "601s", "11m", "-1s", "1h", "s", "99999999999999999999s"] {
            assert!(timeout(bad).unwrap_err().to_string().contains("1ms to 10m"), "{bad:?}");
        }
    }

    #[test]
    fn a_limit_has_a_unit_or_is_a_word() {
        for (text, limit) in [
            ("none", None),
            ("block", Some(0)),
            ("$0", Some(0)),
            ("7u", Some(7)),
            ("12.50usd", Some(12_500_000)),
            ("$10000000000", Some(10_000_000_000_000_000)),
        ] {
            let expected = PeriodLimit { period: "daily", limit };
            assert_eq!(period_limit(&format!("daily={text}")), Ok(expected), "{text}");
        }
        // What a shell leaves of an unquoted `$15`, `$50` and `$100`.
        for bad in ["5", "0", "00", "", "None", "Block", "25", "1.5"] {
            let error = period_limit(&format!("daily={bad}")).unwrap_err();
            assert_eq!(error.field, "daily", "{bad:?}");
            for part in ["'$25', 25usd or 25000000u", "block", "none to clear", "makes 5 of $15"] {
                assert!(error.allowed.contains(part), "{bad:?}: {error}");
            }
        }
    }

    #[test]
    fn a_period_that_is_not_known_is_refused_with_those_that_are() {
        for bad in ["fortnightly=1", "=1", "Daily=1", "daily", "", "12500000"] {
            let error = period_limit(bad).unwrap_err().to_string();
            assert!(error.contains("one of hourly, daily, weekly, monthly"), "{bad:?}: {error}");
        }
    }
}
