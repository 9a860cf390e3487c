//! Single values: numbers, lengths, money, names, addresses. Exact, or refused; nothing is rounded.

use std::{borrow::Cow, collections::BTreeSet, net::SocketAddr, time::Duration};

use url::{Host, Url};

use super::{
    reader::Parsed,
    tree::{Entry, Value},
};
use crate::domain::{
    policy::OnIndeterminate,
    window::{Length, Millis},
};

pub(super) fn whole(entry: &Entry, min: u64, max: u64) -> Parsed<u64> {
    integer(entry)
        .filter(|number| (min..=max).contains(number))
        .ok_or_else(|| Cow::from(format!("a whole number from {min} to {max}")))
}

pub(super) fn whole_u32(entry: &Entry, min: u32, max: u32) -> Parsed<u32> {
    let number = whole(entry, min.into(), max.into())?;
    u32::try_from(number).map_err(|_| Cow::from(format!("a whole number from {min} to {max}")))
}

/// The number of an integer, where it has one that is not negative.
pub(super) fn integer(entry: &Entry) -> Option<u64> {
    match &entry.value {
        Value::Integer(_, Some(number)) => u64::try_from(*number).ok(),
        _ => None,
    }
}

/// A duration from `min` to `max`, both in milliseconds.
pub(super) fn duration(entry: &Entry, min: Millis, max: Millis) -> Parsed<Duration> {
    let len = entry.text().and_then(length).filter(|len| (min..=max).contains(len));
    len.map(Duration::from_millis).ok_or_else(|| {
        Cow::from(format!("a duration from {} to {}, such as 500ms, 2s or 1m", Length(min), Length(max)))
    })
}

/// `"allow"` or `"deny"`: what happens when a gate has no answer.
pub(super) fn on_indeterminate(entry: &Entry) -> Parsed<OnIndeterminate> {
    choice(entry, &[("allow", OnIndeterminate::Allow), ("deny", OnIndeterminate::Deny)])
}

/// A list of names, each once.
pub(super) fn names(entry: &Entry, max: usize) -> Parsed<BTreeSet<String>> {
    let named = |entry: &Entry| entry.text().filter(|text| is_name(text)).map(str::to_owned);
    let names: Option<BTreeSet<_>> = match &entry.value {
        Value::List(entries) if entries.len() <= max => entries.iter().map(named).collect(),
        _ => None,
    };
    names.ok_or_else(|| Cow::from(format!("a list of at most {max} names such as [\"free\"], each {NAME_RULE}")))
}

pub(super) fn truth(entry: &Entry) -> Parsed<bool> {
    match entry.value {
        Value::Bool(value) => Ok(value),
        _ => Err("true or false".into()),
    }
}

/// One of a few names.
pub(super) fn choice<T: Copy>(entry: &Entry, choices: &[(&str, T)]) -> Parsed<T> {
    let chosen = entry.text().and_then(|text| choices.iter().find(|(name, _)| *name == text));
    chosen.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<_> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        Cow::from(names.join(" or "))
    })
}

pub(super) fn address(entry: &Entry) -> Parsed<SocketAddr> {
    let parsed = entry.text().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| "an IP address and a port, such as \"127.0.0.1:7070\" or \"[::]:7070\"".into())
}

/// Whether what is sent there, and what comes from there, is nobody else's: `https`, or `http` on this machine. The
/// address has no secret in it.
pub(super) fn is_safe(url: &Url) -> bool {
    let is_loopback = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => return false,
    };
    let is_bare = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    is_bare && (url.scheme() == "https" || (url.scheme() == "http" && is_loopback))
}

/// What a node, a plan or anything else that an operator names may be called.
pub(super) const NAME_RULE: &str = "1 to 64 characters of [A-Za-z0-9._-]";

pub(super) fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

pub(super) fn name(entry: &Entry) -> Parsed<String> {
    entry.text().filter(|text| is_name(text)).map(str::to_owned).ok_or_else(|| NAME_RULE.into())
}

/// `250ms`, `30s`, `10m`, `1h`, `7d`.
pub(super) fn length(text: &str) -> Option<Millis> {
    Length::parse_millis(text).map(|length| length.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_one_number_and_one_unit() {
        for (text, len) in [
            ("250ms", Some(250)),
            ("30s", Some(30_000)),
            ("10m", Some(600_000)),
            ("1h", Some(3_600_000)),
            ("7d", Some(604_800_000)),
            ("0s", Some(0)),
            ("h", None),
            ("ms", None),
            ("1.5ms", None),
            ("1", None),
            ("", None),
            ("1.5h", None),
            ("+1h", None),
            ("1h30m", None),
            ("1 h", None),
            ("1w", None),
            ("é", None),
            ("18446744073709551615d", None),
        ] {
            assert_eq!(length(text), len, "{text}");
        }
    }
}
