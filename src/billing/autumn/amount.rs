//! Amounts as Autumn writes them: JSON numbers with fractions, or strings that hold one.
//!
//! They are read from their text into fixed-point, never through a float: 0.1 + 0.2 of something
//! that is sold is 0.3. What is finer than a billionth is dropped, so an amount is never rounded up.

/// Digits kept behind the point.
const SCALE: i64 = 9;
/// More digits than this no amount has that can be used: it is beyond 64 bits in whole units.
const DIGITS: i64 = 19 + SCALE + 1;

/// An amount that is not negative, in billionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Amount(u128);

impl Amount {
    pub(super) const ONE: Self = Self(1_000_000_000);

    /// Reads the text of a JSON number, or of a string with a number in it. Below zero is zero;
    /// `None` where it is no number, or one that is too large to be an amount.
    pub(super) fn parse(json: &str) -> Option<Self> {
        let text = json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(json);
        let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, parse_exponent(exponent)?),
            None => (text, 0),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((_, "")) => return None,
            Some(parts) => parts,
            None => (mantissa, ""),
        };
        if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
            return None;
        }
        if negative {
            return Some(Self(0));
        }
        let shift = exponent.saturating_sub(i64::try_from(fraction.len()).ok()?).saturating_add(SCALE);
        shifted(&[whole, fraction].concat(), shift).map(Self)
    }

    /// How many times `price` fits into it, in whole units.
    pub(super) fn units(self, price: Self) -> Option<u64> {
        u64::try_from(self.0.checked_div(price.0)?).ok()
    }

    pub(super) fn is_zero(self) -> bool {
        self.0 == 0
    }
}

fn parse_exponent(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let is_number = !digits.is_empty() && digits.len() <= 6 && digits.bytes().all(|b| b.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

/// `digits` × 10^`shift`, rounded down.
fn shifted(digits: &str, shift: i64) -> Option<u128> {
    let digits = digits.trim_start_matches('0');
    let length = i64::try_from(digits.len()).ok()?.saturating_add(shift);
    if digits.is_empty() || length <= 0 {
        return Some(0);
    }
    if length > DIGITS {
        return None;
    }
    let kept = digits.get(..usize::try_from(length).ok()?.min(digits.len()))?;
    let zeros = u32::try_from(shift.max(0)).ok()?;
    kept.parse::<u128>().ok()?.checked_mul(10_u128.checked_pow(zeros)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole(json: &str) -> Option<u64> {
        Amount::parse(json)?.units(Amount::ONE)
    }

    #[test]
    fn amounts_are_rounded_down_to_whole_units() {
        for (json, expected) in [
            ("0", 0),
            ("9999", 9999),
            ("9999.0", 9999),
            ("0.9999999999999999999999999999999999999999", 0),
            ("99.99", 99),
            ("1e3", 1000),
            ("1E+3", 1000),
            ("1.5e3", 1500),
            ("12345e-2", 123),
            ("1e-400", 0),
            ("0e999999", 0),
            ("-0.5", 0),
            ("-28", 0),
            ("-1e300", 0),
            ("\"743\"", 743),
            ("\"743.9\"", 743),
            ("000012", 12),
            ("9007199254740993", 9_007_199_254_740_993),
            ("18446744073709551615", u64::MAX),
            ("18446744073709551615.9", u64::MAX),
        ] {
            assert_eq!(whole(json), Some(expected), "{json}");
        }
    }

    #[test]
    fn what_is_no_amount_is_not_guessed_at() {
        for json in [
            "18446744073709551616",
            "1e20",
            "1e999999999999",
            "1e",
            "1e+",
            "1.",
            ".5",
            "",
            "-",
            "\"",
            "\"\"",
            "+1",
            "1_000",
            "0x10",
            "true",
            "null",
            "{}",
            "[1]",
            "\"1 000\"",
            "\"NaN\"",
            "Infinity",
            "1e1.5",
            "--1",
            "1e99",
        ] {
            assert_eq!(whole(json), None, "{json}");
        }
    }

    #[test]
    fn a_price_in_credits_says_how_many_units_fit() {
        let amount = |json| Amount::parse(json).unwrap();
        assert_eq!(amount("100").units(amount("5")), Some(20));
        assert_eq!(amount("0.3").units(amount("0.1")), Some(3), "as floats it would be 2");
        assert_eq!(amount("4.99").units(amount("5")), Some(0));
        assert_eq!(amount("4.99").units(amount("0")), None);
        assert!(amount("2.5") >= amount("2.50") && amount("2.499999999") < amount("2.5"));
    }

    proptest! {
        #[test]
        fn any_whole_number_survives_and_any_fraction_goes(units: u64, fraction in "[0-9]{0,40}", zeros in 0_u32..20) {
            let plain = format!("{units}.{fraction}0");
            prop_assert_eq!(whole(&plain), Some(units));
            let shifted = format!("{units}{:0>1$}e-{zeros}", "", usize::try_from(zeros).unwrap());
            prop_assert_eq!(whole(&shifted), Some(units));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,40}") {
            let _ = Amount::parse(&text);
        }
    }
}
