//! Upstream accounts on the command line. An account is a secret: no error repeats one.

use std::convert::Infallible;

use super::values::whole;
use crate::{
    bounds::AMOUNT_MAX,
    domain::{
        ids::AccountId,
        input::InputError,
        window::{WINDOW_RULE, Window},
    },
};

const OPTIONS: [&str; 4] = ["limit", "buffer", "window", "per_minute"];
const SPEC_RULE: &str =
    "ACCOUNT[,limit=N][,buffer=N][,window=anchored/24h][,per_minute=N], the account first, each at most once";

/// An argument that no error may repeat. The parser of the command line repeats what it refuses, so it
/// accepts a wrong value as `Err`, and the verb reports it.
pub(crate) type Given<T> = Result<T, InputError>;

/// `sk-abc,limit=20000,buffer=500,window=anchored/24h`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AccountSpec {
    pub account: AccountId,
    /// 0 to [`AMOUNT_MAX`] calls, like the buffer.
    pub limit: Option<i64>,
    pub buffer: Option<i64>,
    /// The text that was given; [`Window::parse`] accepts it.
    pub window: Option<String>,
    pub per_minute: Option<i64>,
}

impl AccountSpec {
    pub(crate) fn parse(text: &str) -> Given<Self> {
        let mut parts = text.split(',');
        let first = parts.next().unwrap_or_default();
        let account = AccountId::parse("account", first)?;
        if first.split_once('=').is_some_and(|(name, _)| OPTIONS.contains(&name)) {
            // It may be an account; that its name was forgotten is far more likely.
            return Err(InputError::new("account", account.masked(), SPEC_RULE));
        }
        let mut spec = Self { account, limit: None, buffer: None, window: None, per_minute: None };
        for part in parts {
            // A misplaced account may stand here.
            let refused = || InputError::new("account option", masked(part), SPEC_RULE);
            let (name, value) = part.split_once('=').ok_or_else(refused)?;
            let earlier = match name {
                "limit" => spec.limit.replace(calls("limit", value)?).is_some(),
                "buffer" => spec.buffer.replace(calls("buffer", value)?).is_some(),
                "per_minute" => spec.per_minute.replace(calls("per_minute", value)?).is_some(),
                "window" => spec.window.replace(window(value)?).is_some(),
                _ => return Err(refused()),
            };
            if earlier {
                return Err(InputError::new("account option", name, SPEC_RULE));
            }
        }
        Ok(spec)
    }
}

fn calls(field: &str, text: &str) -> Given<i64> {
    whole(text).ok_or_else(|| InputError::new(field, text, format!("a whole number of calls, 0 to {AMOUNT_MAX}")))
}

fn window(text: &str) -> Given<String> {
    let known = Window::parse(text).map(|_| text.to_owned());
    known.ok_or_else(|| InputError::new("window", text, WINDOW_RULE))
}

/// The text as an account is shown, also if it is not a valid one.
fn masked(text: &str) -> String {
    AccountId::parse("account", text).map_or_else(|error| error.value, |account| account.masked())
}

pub(super) fn account_spec(text: &str) -> Result<Given<AccountSpec>, Infallible> {
    Ok(AccountSpec::parse(text))
}

pub(super) fn account(text: &str) -> Result<Given<AccountId>, Infallible> {
    Ok(AccountId::parse("account", text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "sk-secret-0123456789-9f3c";

    #[test]
    fn an_account_is_given_alone_or_with_what_it_may_be_used() {
        let account = AccountId::parse("account", SECRET).unwrap();
        let bare = AccountSpec { account, limit: None, buffer: None, window: None, per_minute: None };
        assert_eq!(AccountSpec::parse(SECRET), Ok(bare.clone()));
        let most = format!("{SECRET},window=rolling/24h,buffer=0,limit=10000000000000000,per_minute=60");
        let window = Some("rolling/24h".to_owned());
        let limit = Some(10_000_000_000_000_000);
        let spec = AccountSpec { limit, buffer: Some(0), window, per_minute: Some(60), ..bare };
        assert_eq!(AccountSpec::parse(&most), Ok(spec));
    }

    #[test]
    fn a_bad_account_is_refused_with_the_rule_and_never_repeated() {
        for (spec, field, rule) in [
            (String::new(), "account", "first a letter, a digit or one of +/_@"),
            (format!(" {SECRET}"), "account", "first a letter, a digit or one of +/_@"),
            (format!("{SECRET} limit=5"), "account", "first a letter, a digit or one of +/_@"),
            ("limit=5".to_owned(), "account", "the account first"),
            (format!("limit=5,{SECRET}"), "account", "the account first"),
            (format!("{SECRET},"), "account option", "ACCOUNT[,limit=N]"),
            (format!("{SECRET},{SECRET}"), "account option", "ACCOUNT[,limit=N]"),
            (format!("{SECRET},{SECRET}=5"), "account option", "ACCOUNT[,limit=N]"),
            (format!("{SECRET},Limit=5"), "account option", "ACCOUNT[,limit=N]"),
            (format!("{SECRET},limit=5,limit=5"), "account option", "at most once"),
            (format!("{SECRET},limit="), "limit", "0 to 10000000000000000"),
            (format!("{SECRET},limit=-1"), "limit", "0 to 10000000000000000"),
            (format!("{SECRET},per_minute=-1"), "per_minute", "0 to 10000000000000000"),
            (format!("{SECRET},limit=20k"), "limit", "0 to 10000000000000000"),
            (format!("{SECRET},buffer=10000000000000001"), "buffer", "0 to 10000000000000000"),
            (format!("{SECRET},window="), "window", "anchored/24h"),
            (format!("{SECRET},window=daily"), "window", "anchored/24h"),
            (format!("{SECRET},window=rolling/9999d"), "window", "anchored/24h"),
        ] {
            let error = AccountSpec::parse(&spec).unwrap_err();
            assert_eq!(error.field, field, "{spec}");
            let text = error.to_string();
            assert!(text.contains(rule) && !text.contains("0123456789-"), "{spec}: {text}");
        }
    }
}
