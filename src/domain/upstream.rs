//! How a call of an upstream account went, and when its upstream says that it may be tried again.
//!
//! ```text
//! time    = lead, a little punctuation, length       "Please retry in 21.4s", "try again in 1 minute"
//! lead    = retry in | retry after | try again in | try again after | reset(s) in | reset(s) after | …
//! length  = (number unit)+                           "3h2m", "1 min 30 sec", "2 hours and 5 minutes"
//! unit    = ms | s | m | h | d, or the words for them
//! ```
//!
//! In upper or lower case. A number without a unit counts as seconds where the lead is the name of a header or
//! of a field, `retry-after: 20`. Of several times the longest counts.

use super::window::Millis;
use crate::bounds::{DAY_MS, HOUR_MS, MINUTE_MS, ROUTE_AVOIDED_MAX_MS, SECOND_MS};

/// How a call of an upstream account went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Upstream {
    /// It answered.
    Ok,
    /// Its quota is used up.
    QuotaExhausted,
    /// It asks to wait a little.
    RateLimited,
    /// It does not want this account now.
    Refused,
    /// It failed, or could not be reached.
    Unavailable,
    /// The call was wrong.
    Failed,
}

impl Upstream {
    /// Every outcome, in the order of the variants.
    pub const ALL: [Self; 6] =
        [Self::Ok, Self::QuotaExhausted, Self::RateLimited, Self::Refused, Self::Unavailable, Self::Failed];

    /// As metrics have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::QuotaExhausted => "quota_exhausted",
            Self::RateLimited => "rate_limited",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
            Self::Failed => "failed",
        }
    }
}

/// What stands before a length of time. A header or field with its number alone is in seconds.
const LEADS: [(&str, bool); 14] = [
    ("retry in", false),
    ("retry after", false),
    ("try again in", false),
    ("try again after", false),
    ("reset in", false),
    ("reset after", false),
    ("resets in", false),
    ("resets after", false),
    ("available in", false),
    ("wait for", false),
    ("please wait", false),
    ("retrydelay", false),
    ("retry-after", true),
    ("retry_after", true),
];

/// The longer names first: each is tried as it stands.
const UNITS: [(&str, Millis); 22] = [
    ("milliseconds", 1),
    ("millisecond", 1),
    ("msecs", 1),
    ("ms", 1),
    ("seconds", SECOND_MS),
    ("second", SECOND_MS),
    ("secs", SECOND_MS),
    ("sec", SECOND_MS),
    ("s", SECOND_MS),
    ("minutes", MINUTE_MS),
    ("minute", MINUTE_MS),
    ("mins", MINUTE_MS),
    ("min", MINUTE_MS),
    ("m", MINUTE_MS),
    ("hours", HOUR_MS),
    ("hour", HOUR_MS),
    ("hrs", HOUR_MS),
    ("hr", HOUR_MS),
    ("h", HOUR_MS),
    ("days", DAY_MS),
    ("day", DAY_MS),
    ("d", DAY_MS),
];

/// What may stand between a lead and its length: `retryDelay": "21s"`, `retry after: 20s`.
const BETWEEN: &[char] = &[' ', ':', '=', '"', '\'', '(', '~', '\t', '\n'];

/// How long an upstream says to wait, at most as long as a route is ever avoided; `None` where it names no time.
pub fn named_wait(text: &str) -> Option<Millis> {
    let text = text.to_lowercase();
    let after = |(lead, is_field): (&'static str, bool)| {
        let text = &text;
        text.match_indices(lead)
            .filter_map(move |(at, _)| length(text[at + lead.len()..].trim_start_matches(BETWEEN), is_field))
    };
    LEADS.into_iter().flat_map(after).max().map(|wait| wait.min(ROUTE_AVOIDED_MAX_MS))
}

/// The length of time that `text` begins with.
fn length(mut text: &str, is_field: bool) -> Option<Millis> {
    let mut sum: Option<Millis> = None;
    while let Some((number, rest)) = number(text) {
        let behind = rest.trim_start_matches([' ', '-']);
        let Some((unit, rest)) = unit(behind) else {
            let ends = !rest.starts_with(|c: char| c.is_alphanumeric());
            return sum.or_else(|| (is_field && ends).then(|| times(number, SECOND_MS)));
        };
        sum = Some(sum.unwrap_or(0).saturating_add(times(number, unit)));
        let next = rest.trim_start_matches([' ', ',']);
        text = next.strip_prefix("and ").unwrap_or(next);
    }
    sum
}

/// Thousandths, so that `1.4` is exact; what is smaller counts as one more.
fn number(text: &str) -> Option<(u64, &str)> {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let (whole, rest) = text.split_at(digits(text));
    let thousands = whole.parse::<u64>().ok().map(|whole| whole.saturating_mul(1_000));
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(part) if digits(part) > 0 => part.split_at(digits(part)),
        _ => ("", rest),
    };
    let kept: String = fraction.chars().chain("000".chars()).take(3).collect();
    let more = fraction.get(3..).is_some_and(|cut| cut.bytes().any(|digit| digit != b'0'));
    // A number of twenty digits is longer than any wait.
    let thousands = if whole.is_empty() { None } else { Some(thousands.unwrap_or(u64::MAX)) };
    Some((thousands?.saturating_add(kept.parse::<u64>().ok()?).saturating_add(more.into()), rest))
}

/// The unit that `text` begins with, as a whole word; digits may follow, as in `3h2m`.
fn unit(text: &str) -> Option<(Millis, &str)> {
    UNITS.iter().find_map(|(name, length)| {
        let rest = text.strip_prefix(name)?;
        (!rest.starts_with(char::is_alphabetic)).then_some((*length, rest))
    })
}

/// `thousandths` of a unit, rounded up.
fn times(thousandths: u64, unit: Millis) -> Millis {
    thousandths.saturating_mul(unit).div_ceil(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_that_an_upstream_names_is_read_in_every_form() {
        for (text, wait) in [
            ("Rate limit reached. Please try again in 1.4s. Visit our page", Some(1_400)),
            ("Please try again in 6ms.", Some(6)),
            ("try again in 7m12s", Some(432_000)),
            ("Please retry in 21.420587s.", Some(21_421)),
            ("\"retryDelay\": \"21s\"", Some(21_000)),
            ("Please RETRY AFTER 20 Seconds", Some(20_000)),
            ("Your quota will reset after 3h2m", Some(10_920_000)),
            ("resets in 2 hours and 5 minutes", Some(7_500_000)),
            ("try again in 1 minute, 30 seconds", Some(90_000)),
            ("try again in 1 day", Some(DAY_MS)),
            ("Retry-After: 20", Some(20_000)),
            ("{\"retry_after\": 1.5}", Some(1_500)),
            ("retry in 5s, or retry in 2m", Some(120_000)),
            ("try again in 0s", Some(0)),
            ("try again in 400d", Some(ROUTE_AVOIDED_MAX_MS)),
            ("try again in 99999999999999999999999999s", Some(ROUTE_AVOIDED_MAX_MS)),
        ] {
            assert_eq!(named_wait(text), wait, "R-POOL-4: {text}");
        }
    }

    #[test]
    fn what_names_no_time_is_none() {
        for text in [
            "",
            "try again later",
            "retry after 3 attempts",
            "try again in 5",
            "timed out after 30s",
            "limit 3s per call",
            "retry-after: Wed, 21 Oct 2026 07:28:00 GMT",
            "retry_after_ms: 5",
            "try again in .5s",
            "retry in -5s",
            "try again in 5 sausages",
            "retry-after: 5x",
        ] {
            assert_eq!(named_wait(text), None, "{text}");
        }
    }
}
