//! Upstream accounts.

use super::*;
use crate::domain::{
    policy::PoolPolicy,
    upstream::Upstream,
    window::{Calendar, Window},
};

#[test]
fn every_key_of_a_pool_means_what_it_says() {
    let config = good(
        "[pools]\ndaily_limit = 10\nsafety_buffer = 2\nwindow = { calendar = \"week\" }\ncooldown = \"5s\"\n\
         quarantine = \"1h\"\nquota_texts = [\"Kontingent\"]\nstats = \"1m\"\n",
    );
    let expected = PoolPolicy {
        daily_limit: 10,
        safety_buffer: 2,
        window: Window::Calendar(Calendar::Week),
        cooldown: 5_000,
        quarantine: HOUR_MS,
        quota_texts: vec!["kontingent".into()],
    };
    let pools = policy(&config, "anyone").pools.clone();
    assert_eq!((*pools == expected, config.pool_stats.as_secs()), (true, 60), "{pools:?}");
    assert_eq!(pools.classify(429, "KONTINGENT"), Upstream::QuotaExhausted);
    assert_eq!(policy(&good("[plans.a]\n[orgs.b]\nplan = \"a\"\n"), "b").pools.daily_limit, 20_000, "R-POOL-1");
}

#[test]
fn each_kind_of_window_can_be_the_default() {
    for (text, window) in [
        ("aligned = \"1h\"", Window::Aligned { len: HOUR_MS }),
        ("anchored = \"90s\"", Window::Anchored { len: 90_000 }),
        ("rolling = \"24h\"", Window::Rolling { len: 24 * HOUR_MS }),
        ("calendar = \"month\"", Window::Calendar(Calendar::Month)),
    ] {
        let config = good(&format!("[pools]\nwindow = {{ {text} }}\n"));
        assert_eq!(policy(&config, "a").pools.window, window);
    }
}

#[test]
fn a_buffer_that_leaves_nothing_is_accepted_with_a_warning() {
    let config = good("[pools]\ndaily_limit = 1\n");
    assert_eq!(policy(&config, "a").pools.daily_limit, 1);
    assert_eq!(config.warnings().len(), 1, "R-POOL-2: {:?}", config.warnings());
    assert!(config.warnings()[0].contains("pools.safety_buffer is 500 and daily_limit is 1"));
}
