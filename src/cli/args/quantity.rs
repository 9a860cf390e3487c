//! Amounts as this command prints them, read again: `1h 2m 3s`, `5MB`, `1,048,576 B`, `$10,000.00`, `20,000`.
//!
//! What is not exact in the unit of the API is refused.

use std::borrow::Cow;

use crate::domain::{
    ids::Meter,
    money::micro_usd,
    window::{Length, Millis, digits},
};

/// From the largest; sizes that are multiples of 1000, and of 1024.
const SIZES: [(&str, u64); 10] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("KB", 1_000),
    ("B", 1),
];

/// An amount in the unit of `meter`; what has no unit is in the meter's own, except of spend.
pub(super) fn amount(meter: &Meter, text: &str) -> Option<u64> {
    match meter.as_str() {
        Meter::SPEND => money(text),
        "compute" => count(text).or_else(|| span(text)),
        "bytes" => size(text),
        _ => count(text),
    }
}

/// What a user reads of what `amount` takes.
pub(super) fn rule(meter: &Meter) -> &'static str {
    match meter.as_str() {
        "compute" => "a time such as 4h or '1h 2m 3s', or whole milliseconds",
        "bytes" => "a size such as 5MB, 1.5GiB or 50000",
        _ => "a whole amount in the meter's unit",
    }
}

/// `$12.50`, `$10,000.00`, `12.50usd`, `12500000u`: micro-USD.
pub(super) fn money(text: &str) -> Option<u64> {
    let (sign, rest) = text.split_at(usize::from(text.starts_with('$')));
    let (whole, fraction) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != ',').unwrap_or(rest.len()));
    micro_usd(&format!("{sign}{}{fraction}", ungrouped(whole)?))
}

/// `20000`, `20,000`.
pub(super) fn count(text: &str) -> Option<u64> {
    digits(&ungrouped(text)?)
}

/// `4h`, `1h 2m 3s`, `1h2m`, `250ms`: milliseconds. The larger unit comes first, each once.
pub(super) fn span(text: &str) -> Option<Millis> {
    let mut total: Millis = 0;
    let mut rest = text;
    let mut before = Millis::MAX;
    while !rest.is_empty() {
        let number = rest.bytes().take_while(u8::is_ascii_digit).count();
        let unit = rest[number..].bytes().take_while(u8::is_ascii_lowercase).count();
        let (part, after) = rest.split_at(number + unit);
        let one = Length::parse_millis(&format!("1{}", &part[number..]))?.0;
        if one >= before {
            return None;
        }
        before = one;
        total = total.checked_add(Length::parse_millis(part)?.0)?;
        rest = after.strip_prefix(' ').unwrap_or(after);
        if rest.is_empty() && !after.is_empty() {
            return None;
        }
    }
    (!text.is_empty()).then_some(total)
}

/// `5MB`, `1.5GiB`, `1,048,576 B`, `50000`: bytes.
pub(super) fn size(text: &str) -> Option<u64> {
    let unit = SIZES.iter().find(|(name, _)| text.ends_with(name));
    let Some((name, unit)) = unit else { return count(text) };
    let number = text.strip_suffix(name)?;
    let number = number.strip_suffix(' ').unwrap_or(number);
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let whole = count(whole)?.checked_mul(*unit)?;
    if part.is_empty() {
        return (!number.ends_with('.')).then_some(whole);
    }
    let scale = 10_u64.checked_pow(u32::try_from(part.len()).ok()?)?;
    let part = digits(part)?.checked_mul(*unit)?;
    part.is_multiple_of(scale).then(|| whole.checked_add(part / scale)).flatten()
}

/// Without the commas of groups of three; `None` where they stand anywhere else.
fn ungrouped(text: &str) -> Option<Cow<'_, str>> {
    let Some((first, groups)) = text.split_once(',') else { return Some(Cow::Borrowed(text)) };
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let good = (1..=3).contains(&first.len()) && groups.split(',').all(|group| group.len() == 3);
    (good && digits(first) && groups.split(',').all(digits)).then(|| Cow::Owned(text.replace(',', "")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cli::remote::printed;

    fn read(meter: &str, text: &str) -> Option<u64> {
        amount(&Meter::parse("meter", meter).unwrap(), text)
    }

    #[test]
    fn an_amount_has_the_units_of_its_meter() {
        for (meter, text, value) in [
            ("compute", "4h", 14_400_000),
            ("compute", "1h 2m 3s", 3_723_000),
            ("compute", "1h2m", 3_720_000),
            ("compute", "1d 250ms", 86_400_250),
            ("compute", "90000", 90_000),
            ("bytes", "5MB", 5_000_000),
            ("bytes", "1.5 GiB", 1_610_612_736),
            ("bytes", "1,048,576 B", 1_048_576),
            ("bytes", "0.001kB", 1),
            ("executions", "20,000", 20_000),
            ("spend", "$10,000.50", 10_000_500_000),
            ("spend", "1,000usd", 1_000_000_000),
        ] {
            assert_eq!(read(meter, text), Some(value), "{meter} {text}");
        }
    }

    #[test]
    fn what_is_not_exact_or_in_no_order_is_refused() {
        for (meter, text) in [
            ("compute", "2m 1h"),
            ("compute", "1h 1h"),
            ("compute", "1h "),
            ("compute", ""),
            ("compute", "h"),
            ("compute", "1.5h"),
            ("bytes", "1.0001kB"),
            ("bytes", "5mb"),
            ("bytes", "MB"),
            ("bytes", "5.MB"),
            ("bytes", "99999999999TB"),
            ("executions", "20,00"),
            ("executions", "2,0000"),
            ("executions", ",000"),
            ("executions", "5MB"),
            ("spend", "$1,00"),
            ("spend", "5"),
        ] {
            assert_eq!(read(meter, text), None, "{meter} {text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_again(value in 0..=10_000_000_000_000_000_i64, small in 0..10_000_000_i64) {
            for value in [value, small] {
                for meter in ["spend", "compute", "bytes", "executions", "tokens"] {
                    let text = printed(meter, value);
                    prop_assert_eq!(read(meter, &text), u64::try_from(value).ok(), "{} {}", meter, text);
                }
            }
        }
    }
}
