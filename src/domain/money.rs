//! Money as people write it, in the configuration and on the command line.
//!
//! An amount has its unit, because one without is guessed wrong: `daily=25` may be dollars or
//! micro-dollars, and a shell makes `daily=5` of an unquoted `daily=$15` and `0` of `$50`.

use super::window::digits;
use crate::bounds::{AMOUNT_MAX, MICROS_PER_DOLLAR};

/// Digits behind the point of an amount in dollars: micro-USD.
const USD_DIGITS: usize = 6;

/// `$12.50`, `12.50usd` or `12500000u` in micro-USD; exact, or `None`.
pub fn micro_usd(text: &str) -> Option<u64> {
    let micros = if let Some(dollars) = text.strip_prefix('$') {
        dollars_in_micros(dollars)
    } else if let Some(dollars) = text.strip_suffix("usd") {
        dollars_in_micros(dollars)
    } else {
        whole(text.strip_suffix('u')?)
    };
    micros.filter(|micros| *micros <= AMOUNT_MAX)
}

fn dollars_in_micros(text: &str) -> Option<u64> {
    let (dollars, micros) = match text.split_once('.') {
        None => (text, 0),
        Some((dollars, part)) if (1..=USD_DIGITS).contains(&part.len()) => {
            (dollars, digits(&format!("{part:0<USD_DIGITS$}"))?)
        }
        Some(_) => return None,
    };
    whole(dollars)?.checked_mul(MICROS_PER_DOLLAR)?.checked_add(micros)
}

/// Without a leading zero: an unquoted `$100usd` reaches this program as `00usd`.
fn whole(text: &str) -> Option<u64> {
    digits(text).filter(|_| text == "0" || !text.starts_with('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_exact_to_a_micro_dollar() {
        for (text, micros) in [
            ("$0", 0),
            ("0usd", 0),
            ("0u", 0),
            ("$100", 100_000_000),
            ("25usd", 25_000_000),
            ("25000000u", 25_000_000),
            ("7u", 7),
            ("$12.50", 12_500_000),
            ("12.5usd", 12_500_000),
            ("$12.05", 12_050_000),
            ("$0.000001", 1),
            ("$10000000000", AMOUNT_MAX),
            ("10000000000000000u", AMOUNT_MAX),
        ] {
            assert_eq!(micro_usd(text), Some(micros), "{text}");
        }
    }

    #[test]
    fn what_has_no_unit_or_is_not_exact_is_refused() {
        for text in [
            "",
            "0",
            "5",
            "00",
            "25",
            "1.5",
            "-1",
            "+1",
            "1 ",
            "1e3",
            "1,000",
            "$",
            "u",
            "usd",
            "$.5",
            "$1.",
            "$-5",
            "$+5",
            "$ 5",
            "$1,000",
            "$1e3",
            "$1.-5",
            "$1.0000001",
            "$00.5",
            "00usd",
            "07u",
            "1.5u",
            "5USD",
            "5 usd",
            "5$",
            "$5usd",
            "5uu",
            "$10000000000.000001",
            "10000000000000001u",
            "$18446744073709.551616",
            "99999999999999999999u",
        ] {
            assert_eq!(micro_usd(text), None, "{text}");
        }
    }
}
