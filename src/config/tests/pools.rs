//! Upstream accounts.

use std::collections::BTreeMap;

use super::*;
use crate::domain::{
    ids::PoolId,
    policy::{PoolPolicy, PoolRules, PoolSettings, Profile},
    upstream::Upstream,
    window::{Calendar, Window},
};

#[test]
fn every_key_of_a_pool_means_what_it_says() {
    let config = good(
        "[pools]\ndaily_limit = 10\nsafety_buffer = 2\nwindow = { calendar = \"week\" }\ncooldown = \"5s\"\n\
         quarantine = \"1h\"\nquota_texts = [\"Kontingent\"]\nstats = \"1m\"\nprofile = \"llm\"\nper_minute = 60\n",
    );
    let rules = PoolRules {
        profile: Profile::Llm,
        daily_limit: 10,
        safety_buffer: 2,
        window: Window::Calendar(Calendar::Week),
        per_minute: Some(60),
        cooldown: 5_000,
        quarantine: HOUR_MS,
    };
    let expected = PoolPolicy { rules, quota_texts: Some(vec!["kontingent".into()]), named: BTreeMap::new() };
    let pools = policy(&config, "anyone").pools.clone();
    assert_eq!((*pools == expected, config.pool_stats.as_secs()), (true, 60), "{pools:?}");
    let of = (&PoolId::parse("pool", "p").unwrap(), &PoolSettings::default());
    assert_eq!(pools.classify(of, (429, "KONTINGENT"), false), Upstream::QuotaExhausted);
    let plain = good("[plans.a]\n[orgs.b]\nplan = \"a\"\n");
    assert_eq!(policy(&plain, "b").pools.rules, PoolRules::default(), "R-POOL-1");
}

#[test]
fn pools_of_one_name_may_say_otherwise() {
    let config = good(
        "[pools]\nper_minute = 10\n[pools.named.keys]\nprofile = \"llm\"\nwindow = { aligned = \"1h\" }\n\
         [pools.named.\"a/b\"]\nquota_texts = [\"Spent\"]\n",
    );
    let pools = policy(&config, "anyone").pools.clone();
    let rules = |name| pools.rules(&PoolId::parse("pool", name).unwrap(), &PoolSettings::default());
    let window = Window::Aligned { len: HOUR_MS };
    let keys = PoolRules { profile: Profile::Llm, window, ..pools.rules };
    assert_eq!((rules("keys"), rules("a/b"), rules("other")), (keys, pools.rules, pools.rules));
    let texts = pools.named[&PoolId::parse("pool", "a/b").unwrap()].quota_texts.clone();
    assert_eq!(texts, Some(vec!["spent".to_owned()]));
}

#[test]
fn each_kind_of_window_can_be_the_default() {
    for (text, window) in [
        ("aligned = \"1h\"", Window::Aligned { len: HOUR_MS }),
        ("anchored = \"90s\"", Window::Anchored { len: 90_000 }),
        ("rolling = \"24h\"", Window::Rolling { len: 24 * HOUR_MS }),
        ("calendar = \"month\"", Window::Calendar(Calendar::Month)),
        ("calendar = \"year\"", Window::Calendar(Calendar::Year)),
        ("calendar = \"day\", zone = \"Asia/Kolkata\"", Window::parse("calendar/day@Asia/Kolkata").unwrap()),
        ("calendar = \"day\", zone = \"UTC\"", Window::Calendar(Calendar::Day)),
    ] {
        let config = good(&format!("[pools]\nwindow = {{ {text} }}\n"));
        assert_eq!(policy(&config, "a").pools.rules.window, window);
    }
}

#[test]
fn a_buffer_that_leaves_nothing_is_accepted_with_a_warning() {
    let config = good("[pools]\ndaily_limit = 1\n");
    assert_eq!(policy(&config, "a").pools.rules.daily_limit, 1);
    assert_eq!(config.warnings().len(), 1, "R-POOL-2: {:?}", config.warnings());
    assert!(config.warnings()[0].contains("pools.safety_buffer is 500 and daily_limit is 1"));
}
