//! The trace that a call is a part of, as W3C Trace Context names it: `00-TRACE-PARENT-FLAGS`
//! (<https://www.w3.org/TR/trace-context/>).

use std::fmt;

/// Names a trace of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceId(pub u128);

/// As people and the API have it: 32 hexadecimal digits.
impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// The trace of a call, the span of its caller, and flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traceparent {
    /// The trace; never 0.
    pub trace: TraceId,
    /// The span of the caller; never 0.
    pub parent: u64,
    /// The lowest bit says that the caller records it.
    pub flags: u8,
}

impl Traceparent {
    /// `None` where it is none: a header that cannot be read says nothing of the call.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let is_hex = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let lengths = (version.len(), trace.len(), parent.len(), flags.len());
        // Later versions may have more behind it.
        if lengths != (2, 32, 16, 2) || version == "ff" || (version == "00" && parts.next().is_some()) {
            return None;
        }
        if ![version, trace, parent, flags].into_iter().all(is_hex) {
            return None;
        }
        let trace = u128::from_str_radix(trace, 16).ok().filter(|trace| *trace != 0)?;
        let parent = u64::from_str_radix(parent, 16).ok().filter(|parent| *parent != 0)?;
        Some(Self { trace: TraceId(trace), parent, flags: u8::from_str_radix(flags, 16).ok()? })
    }
}

/// In version 00.
impl fmt::Display for Traceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{:016x}-{:02x}", self.trace, self.parent, self.flags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_back_and_what_is_none_is_none() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let read = Traceparent::parse(text).unwrap();
        assert_eq!((read.to_string(), read.trace.to_string()), (text.to_owned(), text[3..35].to_owned()));
        assert!(Traceparent::parse(&text.replace("00-4", "01-4")).is_some(), "a later version");
        assert!(Traceparent::parse(&(text.replace("00-4", "01-4") + "-more")).is_some());
        let zero = format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32));
        let upper = text.to_uppercase();
        for none in ["", "00", &text[1..], &upper, &format!("{text}-more"), &text.replace("00-4", "ff-4"), &zero] {
            assert_eq!(Traceparent::parse(none), None, "{none}");
        }
    }
}
