//! When a request id was made, where the id says so: a ULID as a whole, or a UUID of version 7, with its hyphens or
//! without.

use super::{ids::RequestId, window::Millis};

/// 2016-01-01: neither form is older, so a text that seems to say an earlier time only looks like one of them.
const FIRST: Millis = 1_451_606_400_000;
const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

impl RequestId {
    /// Milliseconds since the epoch by the clock of who made it; `None` = it does not say.
    pub fn made_at(&self) -> Option<Millis> {
        let text = self.as_str().as_bytes();
        ulid(text).or_else(|| uuid(text)).filter(|at| *at >= FIRST)
    }
}

/// 26 digits of Crockford's base 32, in capitals or none: 48 bits of time, and 80 of chance.
fn ulid(text: &[u8]) -> Option<Millis> {
    let text: &[u8; 26] = text.try_into().ok()?;
    let mixed = text.iter().any(u8::is_ascii_lowercase) && text.iter().any(u8::is_ascii_uppercase);
    let digit = |byte: &u8| CROCKFORD.iter().position(|digit| *digit == byte.to_ascii_uppercase());
    let digits: Vec<usize> = text.iter().map(digit).collect::<Option<_>>()?;
    let time = digits.iter().take(10).try_fold(0, |time: u64, digit| {
        let digit = u64::try_from(*digit).ok()?;
        Some(time << 5 | digit)
    })?;
    (!mixed && time >> 48 == 0).then_some(time)
}

/// 32 hexadecimal digits, in five groups or in one, of which the first 12 are the time and the next one is the version.
fn uuid(text: &[u8]) -> Option<Millis> {
    const GROUPS_END: [usize; 4] = [8, 13, 18, 23];
    let grouped = text.len() == 36 && GROUPS_END.iter().all(|at| text.get(*at) == Some(&b'-'));
    let ends = |at: &usize| grouped && GROUPS_END.contains(at);
    let digits: Vec<u8> = text.iter().enumerate().filter(|(at, _)| !ends(at)).map(|(_, byte)| *byte).collect();
    let digits: &[u8; 32] = digits.as_slice().try_into().ok()?;
    let (version, variant) = (digits[12], digits[16].to_ascii_lowercase());
    if !digits.iter().all(u8::is_ascii_hexdigit) || version != b'7' || !b"89ab".contains(&variant) {
        return None;
    }
    Millis::from_str_radix(std::str::from_utf8(&digits[..12]).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made_at(text: &str) -> Option<Millis> {
        RequestId::parse("request_id", text).unwrap().made_at()
    }

    #[test]
    fn the_time_of_a_ulid_and_of_a_uuid_of_version_7_is_read() {
        for (text, at) in [
            ("01ARYZ6S410000000000000000", Some(1_469_918_176_385)),
            ("01arz3ndektsv4rrffq69g5fav", Some(1_469_922_850_259)),
            ("017F22E2-79B0-7CC3-98C4-DC0C0C07398F", Some(1_645_557_742_000)),
            ("017f22e2-79b0-7cc3-98c4-dc0c0c07398f", Some(1_645_557_742_000)),
            ("017f22e279b07cc398c4dc0c0c07398f", Some(1_645_557_742_000)),
            ("017F22E279B07CC398C4DC0C0C07398F", Some(1_645_557_742_000)),
        ] {
            assert_eq!(made_at(text), at, "{text}");
        }
    }

    #[test]
    fn what_only_resembles_one_has_no_time() {
        for text in [
            "a",
            "01ARYZ6S41000000000000000",
            "01ARYZ6S4100000000000000000",
            "01ARYZ6S41000000000000000U",
            "01aRYZ6S410000000000000000",
            "81ARYZ6S410000000000000000",
            "00000000000000000000000000",
            "017f22e2-79b0-4cc3-98c4-dc0c0c07398f",
            "017f22e2-79b0-7cc3-18c4-dc0c0c07398f",
            "017f22e279b0-7cc3-98c4-dc0c0c07398f-",
            "017f22e2-79b07cc398c4dc0c0c07398f",
            "017f22e279b04cc398c4dc0c0c07398f",
            "017f22e279b07cc318c4dc0c0c07398f",
            "017f22e279b07cc398c4dc0c0c07398g",
            "017f22e279b07cc398c4dc0c0c07398",
            "00000000-79b0-7cc3-98c4-dc0c0c07398f",
            "order/01ARYZ6S410000000000000000",
        ] {
            assert_eq!(made_at(text), None, "{text}");
        }
    }
}
