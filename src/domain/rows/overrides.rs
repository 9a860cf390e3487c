//! What an operator has set over everything else, for a while or until it is cleared.

use std::{fmt, sync::Arc};

use crate::domain::{
    ids::{Meter, Reason, Scope},
    input::InputError,
    limit::Limit,
    policy::BalanceSource,
    window::{Millis, Window},
};

const PLAN: &str = "plan";
const EXEMPTION: &str = "exemption";
const FREEZE: &str = "freeze";
const GRANT: &str = "grant";
const RESET: &str = "reset";
/// The name of the rate backstop among the limits.
pub(in crate::domain) const RATE: &str = "rate";
/// The name of the number of sessions at once among them.
pub(in crate::domain) const SESSIONS: &str = "sessions";
/// The limit of an upstream account, and its limit per minute: the pool says their windows.
const ACCOUNT: [&str; 2] = ["account", "account/minute"];

const LIMIT_RULE: &str = "the name of a limit, as answers show it: rate, sessions, balance, budget/daily, budget/METER/PERIOD, \
                          budget/METER/rolling/12h, quota/METER, quota/METER/WINDOW, account or account/minute";

/// What an override is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OverrideSubject {
    /// The limit of this name, of the org or of a scope: also `rate` and `sessions`, of the org.
    Limit(Arc<str>),
    /// Which plan the org has.
    Plan,
    /// Whether the rate backstop spares the org.
    Exemption,
    /// When the freeze of the org ends by itself.
    Freeze,
    /// A grant on top of a limit.
    Grant(GrantName),
    /// From when on the running window of a limit counts: `reset/` and the name of the limit.
    Reset(Arc<str>),
}

/// A grant, and the limit that it adds to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GrantName {
    number: u64,
    /// `grant/7/budget/daily`.
    text: Arc<str>,
}

impl GrantName {
    /// The grant of this number on top of the limit of this name.
    pub fn new(number: u64, limit: &str) -> Self {
        Self { number, text: format!("{GRANT}/{number}/{limit}").into() }
    }

    fn parse(text: &str) -> Option<Self> {
        let (number, limit) = text.strip_prefix(GRANT)?.strip_prefix('/')?.split_once('/')?;
        let number = number.parse().ok()?;
        OverrideSubject::limit("limit", limit).ok()?;
        Some(Self::new(number, limit)).filter(|name| &*name.text == text)
    }

    /// Names it within its org, from 1 on.
    pub fn number(&self) -> u64 {
        self.number
    }

    fn limit(&self) -> &str {
        self.text.splitn(3, '/').nth(2).unwrap_or_default()
    }
}

impl OverrideSubject {
    /// A limit, by the name that answers show.
    pub fn limit(field: &str, name: &str) -> Result<Self, InputError> {
        let is_known = [RATE, SESSIONS, BalanceSource::LIMIT].contains(&name) || ACCOUNT.contains(&name);
        if is_known || Limit::named_so(name).is_some() {
            Ok(Self::Limit(name.into()))
        } else {
            Err(InputError::new(field, name, LIMIT_RULE))
        }
    }

    /// Whether limits have other amounts with it than without, which windows that carry are settled by. A freeze and an
    /// exemption change none, and no window that carries is reset.
    pub(in crate::domain) fn changes_limits(&self) -> bool {
        match self {
            Self::Limit(_) | Self::Plan | Self::Grant(_) => true,
            Self::Reset(_) | Self::Exemption | Self::Freeze => false,
        }
    }

    /// The limit that it says something of, as answers name it; `None` where it is about none.
    pub fn limit_name(&self) -> Option<&str> {
        match self {
            Self::Limit(name) => Some(name),
            Self::Grant(grant) => Some(grant.limit()),
            Self::Reset(text) => Some(text.split_once('/').map_or("", |(_, limit)| limit)),
            Self::Plan | Self::Exemption | Self::Freeze => None,
        }
    }

    /// The reset of the window of a limit.
    pub fn reset(limit: &Self) -> Self {
        Self::Reset(format!("{RESET}/{limit}").into())
    }

    /// Whether it is a reset: what is set or granted is none.
    pub fn is_reset(&self) -> bool {
        matches!(self, Self::Reset(_))
    }

    /// Its number, where it is a grant.
    pub fn grant(&self) -> Option<u64> {
        if let Self::Grant(grant) = self { Some(grant.number) } else { None }
    }

    /// The rate backstop.
    pub fn rate() -> Self {
        Self::Limit(RATE.into())
    }

    /// What [`Self::as_str`] wrote.
    pub fn parse(field: &str, text: &str) -> Result<Self, InputError> {
        match text {
            PLAN => Ok(Self::Plan),
            EXEMPTION => Ok(Self::Exemption),
            FREEZE => Ok(Self::Freeze),
            name => {
                let reset =
                    name.strip_prefix(RESET).and_then(|limit| Self::limit(field, limit.strip_prefix('/')?).ok());
                let grant = || GrantName::parse(name).map(Self::Grant);
                let found = reset.map(|limit| Self::reset(&limit)).or_else(grant);
                found.map_or_else(|| Self::limit(field, name), Ok)
            }
        }
    }

    /// As the store and answers name it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Limit(name) => name,
            Self::Plan => PLAN,
            Self::Exemption => EXEMPTION,
            Self::Freeze => FREEZE,
            Self::Grant(grant) => &grant.text,
            Self::Reset(text) => text,
        }
    }

    /// Whether there is one for the org and none for its scopes.
    pub fn is_of_org(&self) -> bool {
        self.limit_name().is_none_or(|name| [RATE, SESSIONS, BalanceSource::LIMIT].contains(&name))
    }

    /// Whether it is the rate backstop.
    pub fn is_rate(&self) -> bool {
        self.as_str() == RATE
    }

    /// Whether it is the number of sessions at once.
    pub fn is_sessions(&self) -> bool {
        self.as_str() == SESSIONS
    }

    /// Whether it is the balance of the org.
    pub fn is_balance(&self) -> bool {
        self.as_str() == BalanceSource::LIMIT
    }

    /// What the limit counts; `None` where it is no limit.
    pub fn meter(&self) -> Option<Meter> {
        Some(match self.limit_name()? {
            RATE => Meter::calls(),
            SESSIONS => Meter::concurrent_sessions(),
            name => Limit::named_so(name).map_or_else(Meter::executions, |(meter, _)| meter),
        })
    }
}

impl fmt::Display for OverrideSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an override says of its subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Setting {
    /// The limit has this amount, in the unit of its meter, and is enforced; 0 blocks everything.
    Amount(u64),
    /// The limit never denies, and has no amount.
    Unlimited,
    /// The limit is evaluated and reported with its own amount, and never denies.
    Shadow,
    /// The plan of this name; empty = none.
    Plan(String),
    /// Whether the backstop spares the org.
    Exempt(bool),
    /// The freeze ends by itself.
    Ends,
    /// So much more than the limit has without it, in the unit of the meter.
    Extra(u64),
    /// So much more than the limit has without it, until it is spent by what is used over the limit.
    UntilSpent {
        /// In the unit of the meter, at least 1.
        granted: u64,
        /// What is spent of that.
        spent: u64,
    },
    /// Of the window that ran when it was set only what came later counts.
    CountsFrom {
        /// What is left out of the slice of that time, or of the window where it is no sum of slices.
        skipped: u64,
        /// That window: a limit that has another one by now, under the same name, counts all of it.
        window: Window,
    },
}

/// One thing that an operator has set for an org, or did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverrideRow {
    /// Whose limit it is; empty is the org.
    pub scope: Scope,
    /// What it is about.
    pub subject: OverrideSubject,
    /// Grows by one with every change, its end included.
    pub version: u64,
    /// What holds while it lasts.
    pub setting: Setting,
    /// Service time of the last change by an operator.
    pub set_at: Millis,
    /// When it ends by itself, by service time; `None` = an operator ends it.
    pub until: Option<Millis>,
    /// When it ended, by itself or by an operator; `None` = it is in force.
    pub ended_at: Option<Millis>,
    /// Why, as the operator said it; may be empty.
    pub reason: Reason,
}

impl OverrideRow {
    /// Whether it holds now.
    pub fn is_in_force(&self) -> bool {
        self.ended_at.is_none()
    }

    /// Whether it ended at the time that was set for it.
    pub fn ended_by_itself(&self) -> bool {
        self.ended_at.is_some() && self.ended_at == self.until && !self.is_spent()
    }

    /// Whether it is a grant of which nothing is left to spend.
    pub fn is_spent(&self) -> bool {
        matches!(self.setting, Setting::UntilSpent { granted, spent } if spent >= granted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_read_back_as_it_was_written() {
        for text in ["plan", "exemption", "freeze", "rate", "sessions", "balance", "account", "account/minute"] {
            assert_eq!(OverrideSubject::parse("limit", text).unwrap().as_str(), text);
        }
        for text in ["budget/daily", "budget/bytes/rolling/12h", "quota/compute", "quota/executions/anchored/1d"] {
            assert_eq!(OverrideSubject::parse("limit", text).unwrap().as_str(), text);
        }
        for text in ["grant/1/rate", "grant/12/budget/bytes/rolling/12h", "grant/3/account/minute"] {
            let subject = OverrideSubject::parse("limit", text).unwrap();
            let limit = subject.limit_name().unwrap();
            assert_eq!(
                (subject.as_str(), format!("grant/{}/{limit}", subject.grant().unwrap())),
                (text, text.to_owned())
            );
            assert!(OverrideSubject::limit("limit", text).is_err(), "a grant is no limit");
        }
        for limit in ["budget/daily", "balance", "quota/executions/anchored/1d"] {
            let reset = OverrideSubject::reset(&OverrideSubject::limit("limit", limit).unwrap());
            assert_eq!((reset.as_str(), reset.limit_name()), (&*format!("reset/{limit}"), Some(limit)));
            assert_eq!(OverrideSubject::parse("limit", reset.as_str()), Ok(reset));
        }
        for text in ["reset", "reset/", "reset/plan", "reset/reset/rate", "reset/grant/1/rate"] {
            assert!(OverrideSubject::parse("limit", text).is_err(), "{text}");
        }
        for text in
            ["grant", "grant/", "grant/1", "grant/01/rate", "grant/x/rate", "grant/1/plan", "grant/1/grant/1/rate"]
        {
            assert!(OverrideSubject::parse("limit", text).is_err(), "{text}");
        }
        for text in ["", "Rate", "budget", "budget/", "budget/fortnightly", "quota/bytes/rolling/1d", "account/x"] {
            let error = OverrideSubject::limit("limit", text).unwrap_err();
            assert_eq!((&*error.field, error.allowed.contains("budget/daily")), ("limit", true), "{text}");
        }
        assert!(OverrideSubject::limit("limit", "plan").is_err(), "what is no limit has calls of its own");
    }

    #[test]
    fn a_limit_is_counted_in_the_unit_of_its_meter() {
        let meter = |text: &str| OverrideSubject::parse("limit", text).unwrap().meter();
        assert_eq!(meter("budget/daily"), Some(Meter::spend()));
        assert_eq!(meter("quota/compute"), Some(Meter::compute()));
        assert_eq!((meter("account"), meter("balance")), (Some(Meter::executions()), Some(Meter::executions())));
        assert_eq!((meter("rate"), meter("plan")), (Some(Meter::calls()), None));
    }
}
