//! The question of a gateway as an Acquire, and of the answer what a proxy shows to its client.

use crate::{
    bounds::{DAY_MS, DESCRIPTORS, HOUR_MS, MINUTE_MS, SECOND_MS},
    domain::{
        gateways::Rule,
        input::InputError,
        window::{Length, Millis},
    },
    wire::{
        envoy::service::ratelimit::v3::rate_limit_response::rate_limit::Unit,
        limit::Limit,
        v1::{AcquireRequest, AcquireResponse, Amount, DecisionCode, Mode},
    },
};

/// Of a limit that is near its end so much is used, in hundredths.
const NEAR: i128 = 80;

/// What is asked of the org that the request names. `find` has what stands in a place; `hits` is how often the cost is charged, and
/// 0 asks without charging anything. `None` = the request names no org.
///
/// # Errors
/// Where it is not certain what stands in a place.
pub fn ask<P, E>(
    rule: &Rule<P>,
    hits: u64,
    find: impl Fn(&P) -> Result<Option<String>, E>,
) -> Result<Option<AcquireRequest>, E> {
    let Some(org) = find(&rule.org)? else { return Ok(None) };
    let mut scopes = Vec::with_capacity(rule.scopes.len());
    for (family, place) in &rule.scopes {
        scopes.extend(find(place)?.map(|value| format!("{family}/{value}")));
    }
    let request_id = rule.request_id.as_ref().map_or(Ok(None), &find)?;
    let charged = |amount: u64| i64::try_from(amount.saturating_mul(hits.max(1))).unwrap_or(i64::MAX);
    let mode = match (hits, rule.is_shadow) {
        (0, _) => Mode::CheckOnly,
        (_, true) => Mode::Shadow,
        (_, false) => Mode::Normal,
    };
    Ok(Some(AcquireRequest {
        org,
        scopes,
        request_id: request_id.unwrap_or_default(),
        cost: rule
            .cost
            .iter()
            .map(|(meter, amount)| Amount { meter: meter.to_string(), amount: charged(*amount) })
            .collect(),
        mode: mode.into(),
        ..AcquireRequest::default()
    }))
}

/// How many descriptors there are.
///
/// # Errors
/// Where one question has too many.
pub fn few_descriptors<D>(descriptors: &[D]) -> Result<usize, InputError> {
    let count = descriptors.len();
    if count > DESCRIPTORS {
        return Err(InputError::new("descriptors", format!("{count} descriptors"), format!("at most {DESCRIPTORS}")));
    }
    Ok(count)
}

/// Whether the request may not go on.
pub fn denies<P>(rule: &Rule<P>, decision: &AcquireResponse) -> bool {
    !decision.allowed && !rule.is_shadow
}

/// The limit that is shown for a request in these scopes: the one that denied, or the one that the rule names, or of those that
/// count what is charged the one that is nearest to its end.
pub fn shown<'a, P>(rule: &Rule<P>, scopes: &[String], decision: &'a AcquireResponse) -> Option<&'a Limit> {
    let is_of_request = |limit: &&Limit| limit.scope.is_empty() || scopes.iter().any(|scope| **scope == *limit.scope);
    let bounds = || decision.limits.iter().filter(is_of_request).filter(|limit| !limit.unlimited && !limit.shadow);
    if let Some(limiting) = bounds().find(|limit| limit.limiting) {
        return Some(limiting);
    }
    if let Some(name) = &rule.limit {
        // That of a scope is the narrower one.
        return bounds().filter(|limit| limit.texts.name == *name).max_by_key(|limit| !limit.scope.is_empty());
    }
    let is_charged = |limit: &&Limit| {
        limit.texts.meter == "calls" || rule.cost.iter().any(|(meter, _)| meter.as_str() == limit.texts.meter)
    };
    bounds().filter(is_charged).min_by(|a, b| {
        let share = |limit: &Limit, other: &Limit| i128::from(limit.remaining.max(0)) * i128::from(other.amount.max(1));
        share(a, b).cmp(&share(b, a))
    })
}

/// Whether most of the limit is used.
pub fn is_near(limit: &Limit) -> bool {
    let (amount, left) = (i128::from(limit.amount), i128::from(limit.remaining));
    (amount - left) * 100 >= amount * NEAR
}

/// The length of the window of a limit; `None` where it has none that stays the same.
pub fn window_ms(limit: &Limit) -> Option<Millis> {
    let (kind, rest) = limit.texts.window.split_once('/')?;
    match (kind, rest.split(['/', '@']).next()?) {
        ("aligned" | "anchored" | "rolling", len) => Length::parse(len).map(|len| len.0),
        ("calendar", "week") => Some(7 * DAY_MS),
        ("calendar", "day") => Some(DAY_MS),
        _ => None,
    }
}

/// The unit that Envoy has for the window of a limit.
pub fn unit(limit: &Limit) -> Unit {
    match (limit.texts.window.as_str(), window_ms(limit)) {
        (_, Some(SECOND_MS)) => Unit::Second,
        (_, Some(MINUTE_MS)) => Unit::Minute,
        (_, Some(HOUR_MS)) => Unit::Hour,
        (_, Some(DAY_MS)) => Unit::Day,
        (_, Some(len)) if len == 7 * DAY_MS => Unit::Week,
        (_, Some(len)) if len == 30 * DAY_MS => Unit::Month,
        (_, Some(len)) if len == 365 * DAY_MS => Unit::Year,
        (window, None) if window.starts_with("calendar/month") => Unit::Month,
        (window, None) if window.starts_with("calendar/year") => Unit::Year,
        _ => Unit::Unknown,
    }
}

/// The code of a decision, as people have it: `RATE_LIMITED`.
pub fn code(decision: &AcquireResponse) -> &'static str {
    let name = decision.code().as_str_name();
    name.strip_prefix("DECISION_CODE_").unwrap_or(name)
}

/// What a question came to, the gravest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Said {
    /// It may go on.
    Allowed,
    /// The same, and most of the limit that is shown is used.
    NearLimit,
    /// Nothing was decided.
    Error,
    /// The rule is a shadow, and it would not go on otherwise.
    ShadowDenied,
    /// It may not go on.
    Denied,
}

impl Said {
    /// Of what the client itself has written wrong.
    pub fn denial(is_shadow: bool) -> Self {
        if is_shadow { Self::ShadowDenied } else { Self::Denied }
    }

    /// Of a decision, of which the limit that is shown is near its end or not.
    pub fn of<P>(rule: &Rule<P>, decision: &AcquireResponse, is_near: bool) -> Self {
        match decision.code() {
            _ if denies(rule, decision) => Self::Denied,
            code if rule.is_shadow && code != DecisionCode::Allowed => Self::ShadowDenied,
            _ if is_near => Self::NearLimit,
            _ => Self::Allowed,
        }
    }

    /// As metrics have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::NearLimit => "near_limit",
            Self::Error => "error",
            Self::ShadowDenied => "shadow_denied",
            Self::Denied => "denied",
        }
    }
}

/// Whole seconds, of which the last has begun.
pub fn seconds(millis: i64) -> u64 {
    u64::try_from(millis).unwrap_or_default().div_ceil(1_000)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use super::*;
    use crate::domain::{
        ids::{Amounts, Meter},
        limit::LimitTexts,
    };

    fn rule(limit: Option<&str>) -> Rule<String> {
        Rule {
            org: "org".into(),
            scopes: BTreeMap::from([("workspace".into(), "ws".into())]),
            request_id: Some("id".into()),
            cost: Amounts::from_iter([(Meter::executions(), 2)]),
            limit: limit.map(Into::into),
            is_shadow: false,
        }
    }

    fn limit((name, meter, window): (&str, &str, &str), scope: &str, amount: i64, remaining: i64) -> Limit {
        let texts = Arc::new(LimitTexts { name: name.into(), meter: meter.into(), window: window.into() });
        Limit { texts, scope: scope.into(), amount, remaining, ..Limit::default() }
    }

    fn values<'v>(entries: &'v [(&str, &str)]) -> impl Fn(&String) -> Result<Option<String>, &'static str> + 'v {
        |key| match entries.iter().find(|(name, _)| name == key) {
            Some((_, "?")) => Err("unclear"),
            found => Ok(found.map(|(_, value)| (*value).to_owned())),
        }
    }

    fn asked(rule: &Rule<String>, hits: u64, entries: &[(&str, &str)]) -> AcquireRequest {
        ask(rule, hits, values(entries)).unwrap().unwrap()
    }

    #[test]
    fn a_question_is_an_acquire_of_the_org_in_its_scopes() {
        let whole = asked(&rule(None), 3, &[("ws", "w1"), ("org", "acme"), ("other", "x"), ("id", "r1")]);
        assert_eq!(
            (whole.org.as_str(), whole.request_id.as_str(), whole.scopes),
            ("acme", "r1", vec!["workspace/w1".into()])
        );
        assert_eq!(whole.cost, [Amount { meter: "executions".into(), amount: 6 }]);
        assert_eq!(whole.mode, Mode::Normal as i32);
        let bare = asked(&rule(None), 0, &[("org", "acme")]);
        assert_eq!((bare.mode, bare.cost[0].amount, bare.scopes.len()), (Mode::CheckOnly as i32, 2, 0));
        let shadow = Rule { is_shadow: true, ..rule(None) };
        assert_eq!(asked(&shadow, 1, &[("org", "acme")]).mode, Mode::Shadow as i32);
        assert_eq!(ask(&rule(None), 1, values(&[("ws", "w1")])), Ok(None), "no org");
        for unclear in [[("org", "?"), ("ws", "w1")], [("org", "acme"), ("ws", "?")], [("org", "acme"), ("id", "?")]] {
            assert_eq!(
                ask(&rule(None), 1, values(&unclear)),
                Err("unclear"),
                "a scope that is not counted is no limit"
            );
        }
    }

    #[test]
    fn the_limit_that_is_shown_is_that_which_decides_next() {
        let rate = limit(("rate", "calls", "aligned/1h"), "", 1000, 900);
        let quota = limit(("quota/executions", "executions", "calendar/month"), "", 100, 20);
        let own = limit(("quota/executions", "executions", "rolling/1d"), "workspace/w1", 10, 5);
        let other = limit(("quota/executions", "executions", "rolling/1d"), "workspace/w2", 10, 0);
        let spend = limit(("budget/daily", "spend", "rolling/1d"), "", 10, 1);
        let none = Limit { unlimited: true, ..limit(("quota/executions", "executions", "calendar/day"), "", 0, 0) };
        let limits = vec![none, rate, quota, own, other, spend];
        let named = |decision: &AcquireResponse, wanted, scopes: &[String]| {
            shown(&rule(wanted), scopes, decision).map(|limit| (limit.texts.name.clone(), limit.scope.to_string()))
        };
        let (org, scope) = (|name: &str| Some((name.to_owned(), String::new())), ["workspace/w1".to_owned()]);
        let mut decision = AcquireResponse { allowed: true, limits, ..AcquireResponse::default() };
        assert_eq!(named(&decision, None, &[]), org("quota/executions"), "20 % are left of it, 90 % of rate");
        assert_eq!(named(&decision, Some("rate"), &[]), org("rate"));
        assert_eq!(named(&decision, Some("budget/daily"), &[]), org("budget/daily"), "what is named is shown");
        assert_eq!(named(&decision, Some("quota/bytes"), &[]), None);
        let own = Some(("quota/executions".to_owned(), scope[0].clone()));
        assert_eq!(named(&decision, Some("quota/executions"), &scope), own);
        decision.limits[5].limiting = true;
        assert_eq!(named(&decision, Some("rate"), &[]), org("budget/daily"), "what denied is shown");
    }

    #[test]
    fn windows_have_a_length_and_a_unit() {
        for (window, len, expected) in [
            ("aligned/1s", Some(1_000), Unit::Second),
            ("aligned/1m", Some(60_000), Unit::Minute),
            ("rolling/1h", Some(3_600_000), Unit::Hour),
            ("anchored/24h", Some(DAY_MS), Unit::Day),
            ("rolling/30d", Some(30 * DAY_MS), Unit::Month),
            ("aligned/5m", Some(300_000), Unit::Unknown),
            ("calendar/day@America/Los_Angeles", Some(DAY_MS), Unit::Day),
            ("calendar/week", Some(7 * DAY_MS), Unit::Week),
            ("calendar/month/15", None, Unit::Month),
            ("calendar/year", None, Unit::Year),
            ("concurrent", None, Unit::Unknown),
            ("provider", None, Unit::Unknown),
        ] {
            let limit = limit(("x", "calls", window), "", 1, 1);
            assert_eq!((window_ms(&limit), unit(&limit)), (len, expected), "{window}");
        }
    }

    #[test]
    fn near_is_from_eighty_percent_on() {
        for (amount, remaining, expected) in
            [(100, 21, false), (100, 20, true), (100, -5, true), (0, 0, true), (10, 10, false)]
        {
            assert_eq!(
                is_near(&limit(("rate", "calls", "aligned/1h"), "", amount, remaining)),
                expected,
                "{remaining}"
            );
        }
    }
}
