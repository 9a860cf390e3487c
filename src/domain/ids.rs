//! Names as types: a value exists only if it was valid, so nothing behind the edge checks again.
//!
//! Ids are refused, never normalised, and compared byte by byte. A [`Scope`] may be empty: that is
//! the org itself.

use std::{
    borrow::{Borrow, Cow},
    fmt,
    sync::{Arc, LazyLock},
};

use smallvec::SmallVec;

use super::input::InputError;
use crate::bounds::{ID_BYTES, IDENTITY_BYTES, METER_BYTES, PLANE_BYTES, REASON_BYTES, REQUEST_ID_BYTES};

const ID_RULE: &str = "1 to 128 printable ASCII characters without space, quotes, backquote, backslash, <, > and \
                       comma, first a letter, a digit or one of +/_@, no \"*\" at the end, no \"//\" and no \".\" or \"..\" segment";
/// What a shell, a list, a log or a page may take for something else than a part of an id.
const NOT_IN_IDS: &[u8] = b"\"'`\\<>,";
/// With letters and digits what an id begins with: base64 and handles do. A command takes `-` for an option.
const FIRST_IN_IDS: &[u8] = b"+/_@";
/// At the end of a scope it marks a prefix in the configuration; an id that ended so could not be told from one.
const WILDCARD: char = '*';
const PRINTABLE_RULE: &str = "1 to 128 printable ASCII characters";
const METER_RULE: &str = "1 to 64 characters of [a-z0-9_], a letter first";

fn is_id(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() <= ID_BYTES
        && bytes.first().is_some_and(|first| first.is_ascii_alphanumeric() || FIRST_IN_IDS.contains(first))
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b.is_ascii_graphic() && !NOT_IN_IDS.contains(b))
        && !text.ends_with(WILDCARD)
        && !text.contains("//")
        && text.split('/').all(|segment| segment != "." && segment != "..")
}

fn is_printable(text: &str, max: usize) -> bool {
    text.len() <= max && text.bytes().all(|b| (0x20..0x7f).contains(&b))
}

fn is_request_id(text: &str) -> bool {
    !text.is_empty() && is_printable(text, REQUEST_ID_BYTES)
}

fn is_meter(text: &str) -> bool {
    text.len() <= METER_BYTES
        && text.as_bytes().first().is_some_and(u8::is_ascii_lowercase)
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// The first and the last four characters of a secret, or `***` where that would be all of it.
fn mask(secret: &str) -> String {
    let chars: Vec<char> = secret.chars().collect();
    if chars.len() <= 8 {
        return "***".to_owned();
    }
    let (first, last) = (&chars[..4], &chars[chars.len() - 4..]);
    first.iter().chain(&['…']).chain(last).collect()
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $valid:expr, $rule:expr) => {
        name_type!(@shown $(#[$doc])* $name, $valid, $rule, Cow::Borrowed);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
    // Without `Display`, so that nobody shows one, or sends what is only to be shown, by accident.
    (@shown $(#[$doc:meta])* $name:ident, $valid:expr, $rule:expr, $shown:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `text`; `field` names it in the error.
            pub fn parse(field: &str, text: &str) -> Result<Self, InputError> {
                if $valid(text) { Ok(Self(text.into())) } else { Err(InputError::new(field, $shown(text), $rule)) }
            }

            /// As it was given. Of a secret, this is the secret.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let shown: Cow<'_, str> = $shown(&*self.0);
                fmt::Debug::fmt(&*shown, f)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name_type!(
    /// A tenant: the unit of state, of ordering and of placement.
    OrgId, is_id, ID_RULE
);
name_type!(
    /// A pool of upstream accounts of an org.
    PoolId, is_id, ID_RULE
);
name_type!(@shown
    /// A part of an org with limits and a ledger of its own; empty is the org itself. Where it is an
    /// upstream account its name is a secret: [`Scope::shown`] is for people, [`Scope::as_str`] for the store.
    Scope, is_scope, ID_RULE, shown_scope
);
name_type!(@shown
    /// An account at somebody else's service. A secret: [`AccountId::masked`] is what people see.
    AccountId, is_id, ID_RULE, |text| Cow::<str>::Owned(mask(text))
);
name_type!(
    /// What is counted, with a unit: `executions`, `spend` (micro-USD), `compute` (ms), `bytes`.
    Meter, is_meter, METER_RULE
);
name_type!(
    /// Names one mutating call of a client; a retry carries the same.
    RequestId, is_request_id, PRINTABLE_RULE
);
name_type!(
    /// A client's name for a running execution.
    ExecutionId, is_request_id, PRINTABLE_RULE
);
name_type!(
    /// A counter that reports totals.
    Source, is_id, ID_RULE
);
name_type!(
    /// One life of a [`Source`].
    Incarnation, is_request_id, PRINTABLE_RULE
);
name_type!(
    /// A long-running execution, named by the plane that runs it.
    SessionId, is_id, ID_RULE
);
name_type!(
    /// Who a session runs for or on; the same from its start to its end.
    Identity, |text: &str| !text.is_empty() && is_printable(text, IDENTITY_BYTES), PRINTABLE_RULE
);
name_type!(
    /// Label of the asking plane, for logs and for usage by plane.
    Plane, |text: &str| is_printable(text, PLANE_BYTES), "at most 64 printable ASCII characters"
);
name_type!(
    /// Why an org is frozen, for people.
    Reason, |text: &str| is_printable(text, REASON_BYTES), "at most 256 printable ASCII characters"
);

/// A name that the code itself uses: made once, shared by every call.
macro_rules! well_known {
    ($($(#[$doc:meta])* $name:ident = $text:expr;)+) => {
        $(
            $(#[$doc])*
            pub fn $name() -> Self {
                static SHARED: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from($text));
                Self(SHARED.clone())
            }
        )+
    };
}

mod scope;

use scope::{is_scope, shown_scope};

impl OrgId {
    /// Whether it has letters, digits, `_` and `-` alone, which is all that some other systems allow.
    pub fn is_bare(&self) -> bool {
        self.0.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    }
}

impl Plane {
    well_known! {
        /// A plane that does not say.
        unnamed = "";
        /// What planes are counted as for which a day has no room.
        other = "other";
    }
}

impl Default for Plane {
    fn default() -> Self {
        Self::unnamed()
    }
}

impl Reason {
    /// None was given.
    pub fn none() -> &'static Self {
        static NONE: LazyLock<Reason> = LazyLock::new(|| Reason("".into()));
        &NONE
    }

    /// `None` where it is empty.
    pub fn given(&self) -> Option<&str> {
        Some(self.as_str()).filter(|text| !text.is_empty())
    }
}

impl AccountId {
    /// `sk-a…9f3c`.
    pub fn masked(&self) -> String {
        mask(&self.0)
    }
}

impl From<&SessionId> for Source {
    /// A session reports its own time, and both are names of the same form.
    fn from(session: &SessionId) -> Self {
        Self(session.0.clone())
    }
}

impl Source {
    well_known! {
        /// All sessions of an org.
        sessions = "sessions";
    }
}

impl Meter {
    /// The name of [`Meter::executions`].
    pub const EXECUTIONS: &str = "executions";
    /// The name of [`Meter::spend`].
    pub const SPEND: &str = "spend";
    /// The name of [`Meter::compute`].
    pub const COMPUTE: &str = "compute";
    /// The name of [`Meter::bytes`].
    pub const BYTES: &str = "bytes";

    well_known! {
        /// Executions, one by one.
        executions = Meter::EXECUTIONS;
        /// Money, in micro-USD.
        spend = Meter::SPEND;
        /// What went over the wire, up and down.
        bytes = Meter::BYTES;
        /// Calls of the backstop, and those of a pool, whatever they cost.
        calls = "calls";
        /// Milliseconds of machine time.
        compute = Meter::COMPUTE;
        /// A trial that has used up what it includes; exported, never limited.
        trial_ended = "trial_ended";
        /// Sessions that run at once.
        concurrent_sessions = "sessions";
    }

    /// [`Meter::compute`], borrowed.
    pub fn of_compute() -> &'static Self {
        static COMPUTE: LazyLock<Meter> = LazyLock::new(Meter::compute);
        &COMPUTE
    }
}

/// Names a decision and, where it reserved something, the reservation: 128 bits, unique across
/// nodes and restarts, shown as 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DecisionId(pub u128);

impl DecisionId {
    /// The lowest bit of an id says that the call was admitted, so that usage which names it can be
    /// told from usage that nobody admitted, also when the admission itself was lost.
    #[must_use]
    pub fn admitted(self) -> Self {
        Self(self.0 | 1)
    }

    /// The id of a call that was let pass at first and is denied after all.
    #[must_use]
    pub fn denied(self) -> Self {
        Self(self.0 & !1)
    }

    /// Whether the id says that its call was admitted.
    #[must_use]
    pub fn is_admitted(self) -> bool {
        self.0 & 1 == 1
    }

    /// Whether both name the same call, also where one of them says that it was admitted.
    pub(super) fn is_same(self, other: Self) -> bool {
        self.denied() == other.denied()
    }

    /// Whether it was given out after `first` and before `last`, by the same life of a node.
    pub(super) fn is_between(self, first: Self, last: Self) -> bool {
        let life = |id: Self| id.0 >> 64;
        life(first) == life(last) && life(self) == life(first) && first.0 < self.0 && self.0 < last.0
    }

    /// What [`fmt::Display`] writes, in one piece of memory.
    pub fn text(self) -> String {
        let mut text = String::with_capacity(32);
        // Writing to a string cannot fail.
        let _ = fmt::Write::write_fmt(&mut text, format_args!("{self}"));
        text
    }

    /// Reads what [`fmt::Display`] writes.
    pub fn parse(field: &str, text: &str) -> Result<Self, InputError> {
        let lower_hex = text.len() == 32 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        u128::from_str_radix(text, 16)
            .ok()
            .filter(|_| lower_hex)
            .map(Self)
            .ok_or_else(|| InputError::new(field, text, "32 lower-case hexadecimal digits, as answered by Acquire"))
    }
}

impl fmt::Display for DecisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Amounts by meter, each meter once; nearly always one.
pub type Amounts = SmallVec<[(Meter, u64); 1]>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_refused_never_normalised() {
        for good in [
            "a",
            "acme",
            "A.b_c:d/e-f",
            "workspace/ws_42",
            "auth0|abc",
            "user@example.com",
            "svc@p.iam.gserviceaccount.com",
            "aGVs+bG8/d29ybGQ==",
            "+aGVs",
            "/aGVs/",
            "_a",
            "@acme",
            "urn:x#y?z=1&w=2;v~u^t$s!r(q)p[o]n{m}l%2e",
            "a*b",
            &"x".repeat(128),
        ] {
            assert!(OrgId::parse("org", good).is_ok(), "{good}");
        }
        for bad in [
            "", ".", "..", "a/../b", "../..", "a//b", "//", "a/.", "/.", "/../a", "-a", ".a", "{a", "*", "*a", "a*",
            "agent/*", "a b", "a\0b", "a\nb", "a\u{7f}b", "é", "a\"b", "a'b", "a`b", "a\\b", "a<b", "a>b", "a,b",
        ] {
            assert!(OrgId::parse("org", bad).is_err(), "{bad:?}");
        }
        assert!(OrgId::parse("org", &"x".repeat(129)).is_err());
    }

    #[test]
    fn the_error_names_field_value_and_rule() {
        let error = OrgId::parse("org", "a\nb").unwrap_err();
        assert_eq!(error.field, "org");
        assert_eq!(error.value, "a\\nb");
        assert!(error.to_string().contains("first a letter, a digit or one of +/_@"));
    }

    #[test]
    fn only_accounts_and_pools_stay_out_of_the_org() {
        for (scope, counts) in [("", true), ("workspace/w", true), ("account/k1", false), ("pool/p", false)] {
            assert_eq!(Scope::parse("scope", scope).unwrap().counts_for_org(), counts, "{scope}");
        }
    }

    #[test]
    fn a_caller_chooses_no_scope_that_stays_out_of_the_org() {
        for good in ["", "workspace/w", "accounts/k1", "Account/k1", "account", "x/account/k1", "pool-a"] {
            assert!(Scope::parse_counted("scope", good).is_ok(), "{good}");
        }
        for bad in ["account/", "account/k1", "pool/", "pool/p", "account/sk-abc-0123456789-9f3c"] {
            let error = Scope::parse_counted("scope", bad).unwrap_err();
            assert!(error.allowed.contains("PoolService"), "{error}");
            assert!(!error.to_string().contains("0123"), "{error}");
        }
    }

    #[test]
    fn an_account_is_never_shown_in_full() {
        let secret = "sk-abc-0123456789-9f3c";
        let account = AccountId::parse("account", secret).unwrap();
        let scope = Scope::from(&account);
        assert_eq!((account.masked().as_str(), &*scope.shown()), ("sk-a…9f3c", "account/sk-a…9f3c"), "R-POOL-1");
        assert_eq!(
            (format!("{account:?}"), format!("{scope:?}")),
            (r#""sk-a…9f3c""#.into(), r#""account/sk-a…9f3c""#.into())
        );
        assert_eq!((account.as_str(), scope.as_str()), (secret, "account/sk-abc-0123456789-9f3c"));
        assert_eq!(AccountId::parse("account", "12345678").unwrap().masked(), "***");
        assert_eq!(AccountId::parse("account", "123456789").unwrap().masked(), "1234…6789");
        for error in [AccountId::parse("account", "sk-abc 0123 9f3c"), AccountId::parse("account", &"x".repeat(129))] {
            assert_eq!(error.unwrap_err().value.chars().count(), 9);
        }
        assert!(!Scope::parse("scope", "account/sk-abc 0123 9f3c").unwrap_err().value.contains("0123"));
    }

    #[test]
    fn an_account_of_any_length_has_a_scope() {
        let account = AccountId::parse("account", &"x".repeat(128)).unwrap();
        let scope = Scope::from(&account);
        assert_eq!(Scope::parse("scope", scope.as_str()), Ok(scope.clone()));
        assert_eq!((scope.account(), scope.counts_for_org()), (Some(account.as_str()), false));
        assert!(Scope::parse("scope", &format!("account/{}", "x".repeat(129))).is_err());
        assert!(Scope::parse("scope", &format!("worker/{}", "x".repeat(128))).is_err());
    }

    #[test]
    fn a_decision_id_reads_back() {
        let id = DecisionId(0x0123_4567_89ab_cdef);
        assert_eq!(id.text(), "00000000000000000123456789abcdef");
        assert_eq!(DecisionId::parse("reservation_id", &id.to_string()), Ok(id));
        assert!(DecisionId::parse("reservation_id", "xyz").is_err());
        assert!(DecisionId::parse("reservation_id", &"A".repeat(32)).is_err());
    }
}
