//! What an operator decided about upstream accounts: how much each may be used, and how its answers are read.

use crate::{
    bounds::{DAY_MS, MINUTE_MS},
    domain::{
        upstream::Upstream,
        window::{Millis, Window},
    },
};

/// What holds for upstream accounts that say nothing else, and how their answers are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolPolicy {
    /// Calls per window.
    pub daily_limit: u64,
    /// Calls of it that are kept back.
    pub safety_buffer: u64,
    /// The period of the limit.
    pub window: Window,
    /// How long a route is avoided after a fault, and after a refusal.
    pub cooldown: Millis,
    /// How long a route is avoided after a refusal.
    pub quarantine: Millis,
    /// An answer that has one of them in it speaks of a quota; in lower case.
    pub quota_texts: Vec<String>,
}

/// What upstreams say when a quota is used up, in lower case.
pub const QUOTA_TEXTS: [&str; 10] = [
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

impl Default for PoolPolicy {
    fn default() -> Self {
        Self {
            daily_limit: 20_000,
            safety_buffer: 500,
            window: Window::Anchored { len: DAY_MS },
            cooldown: MINUTE_MS,
            quarantine: DAY_MS,
            quota_texts: QUOTA_TEXTS.map(str::to_owned).to_vec(),
        }
    }
}

impl PoolPolicy {
    /// R-POOL-4: what an answer of an upstream says. `status` is that of HTTP; 0 = there was none.
    pub fn classify(&self, status: u16, text: &str) -> Upstream {
        let speaks_of_quota = || {
            let text = text.to_lowercase();
            self.quota_texts.iter().any(|quota| text.contains(quota))
        };
        match status {
            0 => Upstream::Unavailable,
            _ if speaks_of_quota() => Upstream::QuotaExhausted,
            401 | 403 | 429 => Upstream::Refused,
            500.. => Upstream::Unavailable,
            400.. => Upstream::Failed,
            _ => Upstream::Ok,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_quota_text_marks_a_quota_in_any_case_and_anywhere() {
        let policy = PoolPolicy::default();
        for text in QUOTA_TEXTS {
            for said in [text.to_owned(), text.to_uppercase(), format!("<b>Error: {text}!</b> Try tomorrow")] {
                for status in [200, 400, 401, 403, 429, 500, 503] {
                    assert_eq!(policy.classify(status, &said), Upstream::QuotaExhausted, "R-POOL-4: {status} {said}");
                }
                assert_eq!(policy.classify(0, &said), Upstream::Unavailable, "transport never marks quota: {said}");
            }
        }
    }

    #[test]
    fn without_a_quota_text_the_status_decides() {
        let policy = PoolPolicy::default();
        for (status, outcome) in [
            (200, Upstream::Ok),
            (302, Upstream::Ok),
            (400, Upstream::Failed),
            (404, Upstream::Failed),
            (401, Upstream::Refused),
            (403, Upstream::Refused),
            (429, Upstream::Refused),
            (499, Upstream::Failed),
            (500, Upstream::Unavailable),
            (503, Upstream::Unavailable),
            (599, Upstream::Unavailable),
            (0, Upstream::Unavailable),
        ] {
            for text in ["", "forbidden", "io error: connection reset", "tls handshake", "timed out"] {
                assert_eq!(policy.classify(status, text), outcome, "{status} {text}");
            }
        }
    }

    #[test]
    fn an_operators_texts_stand_in_the_place_of_ours() {
        let policy = PoolPolicy { quota_texts: vec!["erschöpft".into()], ..PoolPolicy::default() };
        assert_eq!(policy.classify(429, "Kontingent ERSCHÖPFT"), Upstream::QuotaExhausted);
        assert_eq!(policy.classify(429, "quota"), Upstream::Refused);
    }
}
