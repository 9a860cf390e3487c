//! What an operator decided about upstream accounts: how much each may be used, and how its answers are read.
//!
//! ```text
//! [pools]  <  [pools.named.NAME]  <  ConfigurePool      each key by itself
//! ```
//!
//! A profile says what statuses and texts mean. The texts of a layer speak of a quota in the words of its
//! profile, so they hold only where that is the profile in force; elsewhere the profile's own do.

use std::collections::BTreeMap;

use crate::{
    bounds::{DAY_MS, MINUTE_MS},
    domain::{
        ids::PoolId,
        upstream::Upstream,
        window::{Millis, Window},
    },
};

/// What the answers of the upstreams of a pool mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Profile {
    /// Accounts with a quota per day: a text that speaks of a quota ends the window.
    #[default]
    Relay,
    /// Keys of a provider that limits by the minute: 429 asks to wait a little.
    Llm,
}

impl Profile {
    /// Every profile.
    pub const ALL: [Self; 2] = [Self::Relay, Self::Llm];

    /// As the API and the configuration have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Relay => "relay",
            Self::Llm => "llm",
        }
    }

    /// The profile of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.name() == name)
    }

    /// What upstreams say when the quota of a window is used up, in lower case.
    pub fn quota_texts(self) -> &'static [&'static str] {
        match self {
            Self::Relay => &QUOTA_TEXTS,
            Self::Llm => &DAILY_TEXTS,
        }
    }
}

/// What upstreams say when a quota is used up, in lower case.
const QUOTA_TEXTS: [&str; 10] = [
    "quota",
    "daily limit",
    "rate limit",
    "too many times",
    "service invoked",
    "bandwidth",
    "bandbreitenkontingent",
    "datenübertragungsrate",
    "transfer rate",
    "limit exceeded",
];

/// What providers of models say when the quota of a day is used up: `requests per day (RPD)`,
/// `GenerateRequestsPerDayPerProject`, `dailyLimitExceeded`.
const DAILY_TEXTS: [&str; 5] = ["per day", "perday", "per-day", "per_day", "daily"];

/// What holds for the accounts of one pool that say nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolRules {
    /// What answers mean.
    pub profile: Profile,
    /// Calls per window.
    pub daily_limit: u64,
    /// Calls of it that are kept back.
    pub safety_buffer: u64,
    /// The period of the limit.
    pub window: Window,
    /// Calls per clock minute; `None` = unlimited.
    pub per_minute: Option<u64>,
    /// How long a route is avoided after a fault.
    pub cooldown: Millis,
    /// How long a route is avoided after a refusal.
    pub quarantine: Millis,
}

impl Default for PoolRules {
    fn default() -> Self {
        Self {
            profile: Profile::Relay,
            daily_limit: 20_000,
            safety_buffer: 500,
            window: Window::Anchored { len: DAY_MS },
            per_minute: None,
            cooldown: MINUTE_MS,
            quarantine: DAY_MS,
        }
    }
}

/// What is set for one pool; `None` follows the layer below.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PoolSettings {
    /// What answers mean.
    pub profile: Option<Profile>,
    /// Calls per window.
    pub daily_limit: Option<u64>,
    /// Calls of it that are kept back.
    pub safety_buffer: Option<u64>,
    /// The period of the limit.
    pub window: Option<Window>,
    /// Calls per clock minute.
    pub per_minute: Option<u64>,
    /// How long a route is avoided after a fault.
    pub cooldown: Option<Millis>,
    /// How long a route is avoided after a refusal.
    pub quarantine: Option<Millis>,
    /// An answer that has one of them in it speaks of a quota; in lower case.
    pub quota_texts: Option<Vec<String>>,
}

impl PoolSettings {
    fn over(&self, below: PoolRules) -> PoolRules {
        PoolRules {
            profile: self.profile.unwrap_or(below.profile),
            daily_limit: self.daily_limit.unwrap_or(below.daily_limit),
            safety_buffer: self.safety_buffer.unwrap_or(below.safety_buffer),
            window: self.window.unwrap_or(below.window),
            per_minute: self.per_minute.or(below.per_minute),
            cooldown: self.cooldown.unwrap_or(below.cooldown),
            quarantine: self.quarantine.unwrap_or(below.quarantine),
        }
    }
}

/// What is configured for the pools of every org.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PoolPolicy {
    /// Of pools of which nothing else is said.
    pub rules: PoolRules,
    /// In lower case; `None` = those of the profile.
    pub quota_texts: Option<Vec<String>>,
    /// Of the pools of these names, in any org.
    pub named: BTreeMap<PoolId, PoolSettings>,
}

impl PoolPolicy {
    fn of_name(&self, pool: &PoolId) -> PoolRules {
        self.named.get(pool).map_or(self.rules, |named| named.over(self.rules))
    }

    /// What holds for a pool, with what was set for it at run time.
    pub fn rules(&self, pool: &PoolId, set: &PoolSettings) -> PoolRules {
        set.over(self.of_name(pool))
    }

    /// R-POOL-4: what an answer of an upstream says. `status` is that of HTTP; 0 = there was none.
    /// `names_a_time`: the answer says when the account may be tried again.
    pub fn classify(
        &self,
        (pool, set): (&PoolId, &PoolSettings),
        (status, text): (u16, &str),
        names_a_time: bool,
    ) -> Upstream {
        let profile = self.rules(pool, set).profile;
        // What a model said in a good answer is no statement about a quota.
        let is_read = profile == Profile::Relay || status >= 400;
        match status {
            0 => Upstream::Unavailable,
            _ if is_read && self.speaks_of_quota(pool, set, text) => Upstream::QuotaExhausted,
            429 if names_a_time || profile == Profile::Llm => Upstream::RateLimited,
            401 | 403 | 429 => Upstream::Refused,
            500.. => Upstream::Unavailable,
            400.. => Upstream::Failed,
            _ => Upstream::Ok,
        }
    }

    fn speaks_of_quota(&self, pool: &PoolId, set: &PoolSettings, text: &str) -> bool {
        let text = text.to_lowercase();
        self.quota_texts(pool, set).iter().any(|quota| text.contains(quota))
    }

    /// What answers are searched for.
    fn quota_texts<'a>(&'a self, pool: &PoolId, set: &'a PoolSettings) -> Vec<&'a str> {
        let (profile, of_name) = (self.rules(pool, set).profile, self.of_name(pool).profile);
        let named = self.named.get(pool).and_then(|named| named.quota_texts.as_ref());
        let layers =
            [(set.quota_texts.as_ref(), profile), (named, of_name), (self.quota_texts.as_ref(), self.rules.profile)];
        let configured = layers.into_iter().find_map(|(texts, of)| texts.filter(|_| of == profile));
        let of_profile = || profile.quota_texts().to_vec();
        configured.map_or_else(of_profile, |texts| texts.iter().map(String::as_str).collect())
    }

    /// Everything that holds for a pool, with what was set for it at run time.
    pub fn in_force(&self, pool: &PoolId, set: &PoolSettings) -> PoolSettings {
        let rules = self.rules(pool, set);
        PoolSettings {
            profile: Some(rules.profile),
            daily_limit: Some(rules.daily_limit),
            safety_buffer: Some(rules.safety_buffer),
            window: Some(rules.window),
            per_minute: rules.per_minute,
            cooldown: Some(rules.cooldown),
            quarantine: Some(rules.quarantine),
            quota_texts: Some(self.quota_texts(pool, set).into_iter().map(str::to_owned).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classify(policy: &PoolPolicy, status: u16, text: &str) -> Upstream {
        let pool = PoolId::parse("pool", "p").unwrap();
        policy.classify((&pool, &PoolSettings::default()), (status, text), false)
    }

    fn llm() -> PoolPolicy {
        PoolPolicy { rules: PoolRules { profile: Profile::Llm, ..Default::default() }, ..Default::default() }
    }

    #[test]
    fn every_quota_text_marks_a_quota_in_any_case_and_anywhere() {
        let policy = PoolPolicy::default();
        for text in QUOTA_TEXTS {
            for said in [text.to_owned(), text.to_uppercase(), format!("<b>Error: {text}!</b> Try tomorrow")] {
                for status in [200, 400, 401, 403, 429, 500, 503] {
                    let outcome = classify(&policy, status, &said);
                    assert_eq!(outcome, Upstream::QuotaExhausted, "R-POOL-4: {status} {said}");
                }
                assert_eq!(classify(&policy, 0, &said), Upstream::Unavailable, "transport never marks quota: {said}");
            }
        }
    }

    #[test]
    fn without_a_quota_text_the_status_decides() {
        for (status, relay, of_llm) in [
            (200, Upstream::Ok, Upstream::Ok),
            (302, Upstream::Ok, Upstream::Ok),
            (400, Upstream::Failed, Upstream::Failed),
            (404, Upstream::Failed, Upstream::Failed),
            (401, Upstream::Refused, Upstream::Refused),
            (403, Upstream::Refused, Upstream::Refused),
            (429, Upstream::Refused, Upstream::RateLimited),
            (499, Upstream::Failed, Upstream::Failed),
            (500, Upstream::Unavailable, Upstream::Unavailable),
            (503, Upstream::Unavailable, Upstream::Unavailable),
            (599, Upstream::Unavailable, Upstream::Unavailable),
            (0, Upstream::Unavailable, Upstream::Unavailable),
        ] {
            for text in ["", "forbidden", "io error: connection reset", "tls handshake", "timed out"] {
                assert_eq!(classify(&PoolPolicy::default(), status, text), relay, "{status} {text}");
                assert_eq!(classify(&llm(), status, text), of_llm, "{status} {text}");
            }
        }
    }

    #[test]
    fn only_a_text_that_speaks_of_a_day_ends_the_window_of_a_key() {
        for (status, text, outcome) in [
            (429, "Rate limit reached for gpt-4o on requests per min (RPM): Limit 3", Upstream::RateLimited),
            (429, "You exceeded your current quota, please retry in 21.4s.", Upstream::RateLimited),
            (429, "Rate limit reached on tokens per day (TPD): Limit 500000", Upstream::QuotaExhausted),
            (429, "quotaId: GenerateRequestsPerDayPerProjectPerModel-FreeTier", Upstream::QuotaExhausted),
            (403, "dailyLimitExceeded", Upstream::QuotaExhausted),
            (200, "Apples are eaten daily", Upstream::Ok),
            (401, "quota", Upstream::Refused),
        ] {
            assert_eq!(classify(&llm(), status, text), outcome, "R-POOL-4: {status} {text}");
        }
    }

    #[test]
    fn a_refusal_that_names_a_time_is_a_rate_limit_in_every_profile() {
        let (pool, set) = (PoolId::parse("pool", "p").unwrap(), PoolSettings::default());
        for policy in [PoolPolicy::default(), llm()] {
            let of = |status, text| policy.classify((&pool, &set), (status, text), true);
            assert_eq!((of(429, ""), of(403, "")), (Upstream::RateLimited, Upstream::Refused));
        }
    }

    #[test]
    fn an_operators_texts_stand_in_the_place_of_ours_where_their_profile_is_in_force() {
        let policy = PoolPolicy { quota_texts: Some(vec!["erschöpft".into()]), ..PoolPolicy::default() };
        assert_eq!(classify(&policy, 429, "Kontingent ERSCHÖPFT"), Upstream::QuotaExhausted);
        assert_eq!(classify(&policy, 429, "quota"), Upstream::Refused);
        let pool = PoolId::parse("pool", "p").unwrap();
        let keys = PoolSettings { profile: Some(Profile::Llm), ..Default::default() };
        let of_keys = |text| policy.classify((&pool, &keys), (429, text), false);
        assert_eq!(of_keys("erschöpft"), Upstream::RateLimited, "texts of [pools] are those of its profile");
        assert_eq!(of_keys("daily"), Upstream::QuotaExhausted);
        let own = PoolSettings { quota_texts: Some(vec!["spent".into()]), ..keys };
        let of_own = |text| policy.classify((&pool, &own), (429, text), false);
        assert_eq!((of_own("all SPENT"), of_own("daily")), (Upstream::QuotaExhausted, Upstream::RateLimited));
    }

    #[test]
    fn each_key_of_a_pool_is_over_that_of_its_name_which_is_over_that_of_all_pools() {
        let pool = PoolId::parse("pool", "p").unwrap();
        let named = PoolSettings { per_minute: Some(60), cooldown: Some(5), ..Default::default() };
        let policy = PoolPolicy { named: [(pool.clone(), named)].into(), ..PoolPolicy::default() };
        let set = PoolSettings { cooldown: Some(7), daily_limit: Some(9), ..Default::default() };
        let expected = PoolRules { per_minute: Some(60), cooldown: 7, daily_limit: 9, ..PoolRules::default() };
        assert_eq!(policy.rules(&pool, &set), expected);
        let other = PoolId::parse("pool", "q").unwrap();
        assert_eq!(policy.rules(&other, &PoolSettings::default()), PoolRules::default());
    }
}
