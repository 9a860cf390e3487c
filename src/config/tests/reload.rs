//! What a reload takes over, and what it names as waiting for a restart.

use std::collections::BTreeMap;

use super::*;
use crate::config::{billing::POLICY_KEYS, policies::POLICY_SECTIONS, said::is_in};

/// Keys with their values in TOML.
type Keys = BTreeMap<String, String>;

/// The path of a new file, as TOML has it.
fn written(secrets: &tempfile::TempDir, (name, content): (&str, &str)) -> String {
    let path = secrets.path().join(name);
    std::fs::write(&path, content).unwrap();
    format!("{path:?}")
}

/// A configuration in which every key has an effect.
fn base(secrets: &tempfile::TempDir) -> Keys {
    let [secret_key, webhook_key] =
        [("key", "am_sk_key"), ("signing", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")].map(|of| written(secrets, of));
    let keys = [
        ("auth.jwt.issuer", "\"issuer\""),
        ("auth.jwt.audience", "\"tollgate\""),
        ("auth.jwt.jwks", "\"https://issuer/keys\""),
        ("auth.jwt.claim", "\"tollgate\""),
        ("auth.certificates.ca", "\"/ca\""),
        ("auth.certificates.principals", "{ a = { role = \"plane\", orgs = [\"*\"] } }"),
        ("cluster.postgres_urls", "[\"postgres://g/d\"]"),
        ("cluster.tls.cert", "\"/peer\""),
        ("cluster.tls.key", "\"/peer\""),
        ("cluster.tls.ca", "\"/peer\""),
        ("tls.cert", "\"/cert\""),
        ("tls.key", "\"/key\""),
        ("billing.provider", "\"autumn\""),
        ("billing.autumn.secret_key_file", &secret_key),
        ("webhook.url", "\"https://a.example/hook\""),
        ("webhook.secret_file", &webhook_key),
        ("defaults.plan", "\"free\""),
    ];
    keys.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

fn config(keys: &Keys) -> Config {
    let lines: Vec<_> = keys.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
    good(&lines.concat())
}

/// The names that a section knows, as the refusal of an unknown one lists them.
fn known(section: &str) -> Vec<String> {
    let unknown = if section.is_empty() { "no-such-key".to_owned() } else { format!("{section}.no-such-key") };
    let refused = errors(&format!("{unknown} = 1\n"));
    let (_, names) = refused.split_once("use one of ").unwrap();
    names.split(", ").map(str::to_owned).collect()
}

/// For each key that is no bound, another value than that of [`base`]. Plans, orgs and features are named by
/// operators: one key stands for all of each.
const OTHER: [(&str, &str); 81] = [
    ("tracing.endpoint", "\"http://127.0.0.1:4317\""),
    ("tracing.one_in", "7"),
    ("envoy.edge", "{ org = \"org\" }"),
    ("forward_auth.default", "{ org = { header = \"x-org\" } }"),
    ("webhook.url", "\"https://b.example/hook\""),
    ("webhook.kinds", "[\"exhausted\"]"),
    ("webhook.timeout", "\"1s\""),
    ("tls.cert", "\"/other\""),
    ("tls.key", "\"/other\""),
    ("auth.tokens", "\"/other\""),
    ("auth.token_store", "\"cluster\""),
    ("auth.metrics", "\"viewer\""),
    ("auth.jwt.issuer", "\"other\""),
    ("auth.jwt.audience", "\"other\""),
    ("auth.jwt.jwks", "\"https://other/keys\""),
    ("auth.jwt.ca", "\"/other\""),
    ("auth.jwt.claim", "\"other\""),
    ("auth.jwt.subjects", "{ a = { role = \"plane\", orgs = [\"*\"] } }"),
    ("auth.certificates.ca", "\"/other\""),
    ("auth.certificates.principals", "{ b = { role = \"plane\", orgs = [\"*\"] } }"),
    ("reload.accept_lost_limits", "true"),
    ("orgs.admit", "\"listed\""),
    ("cors.origins", "[\"https://a.example.com\"]"),
    ("listen.grpc", "\"127.0.0.1:1\""),
    ("listen.http", "\"127.0.0.1:2\""),
    ("listen.peer", "\"127.0.0.1:3\""),
    ("cluster.postgres_urls", "[\"postgres://h/d\"]"),
    ("cluster.advertise", "\"other:1\""),
    ("cluster.advertise_grpc", "\"other:1\""),
    ("cluster.weight", "2"),
    ("cluster.tls.cert", "\"/other\""),
    ("cluster.tls.key", "\"/other\""),
    ("cluster.tls.ca", "\"/other\""),
    ("data.dir", "\"/elsewhere\""),
    ("durability.write_behind_ms", "0"),
    ("durability.write_behind_max", "1"),
    ("rate.amount", "5"),
    ("rate.window", "{ aligned = \"1m\" }"),
    ("rate.idle_windows", "7"),
    ("rate.on_indeterminate", "\"deny\""),
    ("emergency.amount", "7"),
    ("defaults.plan", "\"trial\""),
    ("billing.provider", "\"static\""),
    ("billing.feature", "\"runs\""),
    ("billing.environment", "\"test\""),
    ("billing.allow_ttl", "\"1s\""),
    ("billing.deny_ttl", "\"1s\""),
    ("billing.deny_revalidate", "\"1s\""),
    ("billing.exempt_ttl", "\"1s\""),
    ("billing.timeout", "\"1s\""),
    ("billing.export", "\"off\""),
    ("billing.overage_behavior", "\"cap\""),
    ("billing.upgrade_url", "\"https://example.com\""),
    ("billing.on_no_entitlement", "\"deny\""),
    ("billing.on_unknown_customer", "\"deny\""),
    ("billing.on_indeterminate", "\"deny\""),
    ("billing.deny_stale", "\"10m\""),
    ("billing.rate_exempt", "\"paying\""),
    ("billing.free_plans", "[]"),
    ("billing.features", "{ bytes = \"egress\" }"),
    ("billing.autumn.base_url", "\"https://example.com\""),
    ("billing.autumn.api_version", "\"2.1.0\""),
    ("billing.autumn.breaker_failures", "1"),
    ("billing.autumn.breaker_pause", "\"1s\""),
    ("budgets.on_indeterminate", "\"deny\""),
    ("sessions.enforce", "false"),
    ("sessions.first_slice", "\"1s\""),
    ("sessions.heartbeat", "\"1s\""),
    ("sessions.missed", "1"),
    ("sessions.grace", "\"1s\""),
    ("sessions.clamp", "\"1h\""),
    ("pools.daily_limit", "30000"),
    ("pools.safety_buffer", "1"),
    ("pools.window", "{ rolling = \"1h\" }"),
    ("pools.cooldown", "\"1s\""),
    ("pools.quarantine", "\"1s\""),
    ("pools.quota_texts", "[\"no\"]"),
    ("pools.profile", "\"llm\""),
    ("pools.per_minute", "60"),
    ("pools.named", "{ keys = { profile = \"llm\" } }"),
    ("pools.stats", "\"1m\""),
];

/// Every key that the reader knows, each with another value.
fn others(secrets: &tempfile::TempDir) -> Keys {
    let file = |name, content| written(secrets, (name, content));
    let mut others: Keys = OTHER.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    for (key, value) in [
        ("billing.autumn.secret_key_file", file("other", "am_sk_other")),
        ("billing.autumn.webhook_secret_file", file("webhook", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")),
        ("webhook.secret_file", file("another", "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")),
        ("plans.free.max_sessions", "7".to_owned()),
        ("orgs.a.exempt", "true".to_owned()),
        ("node.name", "\"another\"".to_owned()),
        ("log.level", "\"debug\"".to_owned()),
        ("log.format", "\"json\"".to_owned()),
    ] {
        others.insert(key.to_owned(), value);
    }
    for bound in Bound::ALL {
        let other = if bound.default() == bound.most() { bound.default() - 1 } else { bound.default() + 1 };
        others.insert(bound.to_string(), other.to_string());
    }
    others
}

/// The keys of all sections, the sections inside of sections taken apart where the reader opens them.
fn all_keys() -> Vec<String> {
    let mut keys = Vec::new();
    for section in known("") {
        match section.as_str() {
            // Their keys are the names of rules.
            "envoy" => keys.push("envoy.edge".to_owned()),
            "forward_auth" => keys.push("forward_auth.default".to_owned()),
            "plans" => keys.push("plans.free.max_sessions".to_owned()),
            "orgs" => keys.extend(["orgs.a.exempt", "orgs.admit"].map(str::to_owned)),
            _ => keys.extend(known(&section).iter().map(|key| format!("{section}.{key}"))),
        }
    }
    let inside = ["billing.autumn", "auth.jwt", "auth.certificates", "cluster.tls"];
    keys.retain(|key| !inside.contains(&key.as_str()));
    for section in inside {
        keys.extend(known(section).iter().map(|key| format!("{section}.{key}")));
    }
    keys
}

#[test]
fn every_key_applies_at_once_or_is_named_and_keeps_its_value() {
    let secrets = tempfile::tempdir().unwrap();
    let (base, others) = (base(&secrets), others(&secrets));
    let old = config(&base);
    let all = all_keys();
    assert!(all.len() > 80, "the keys were not found: {all:?}");
    for key in all {
        let other = others.get(&key).unwrap_or_else(|| panic!("give {key} another value in this test"));
        let mut keys = base.clone();
        keys.insert(key.clone(), other.clone());
        let new = config(&keys);
        let warnings = new.warnings.clone();
        assert_ne!(Config { warnings: old.warnings.clone(), ..new.clone() }, old, "{key} has no effect: another value");
        let Reload { running, needs_restart, changes } = old.clone().reload(new.clone());
        assert!(!changes.is_empty() && changes.iter().all(|change| is_in(&change.key, &key)), "{key}: {changes:?}");
        let waits = !needs_restart.is_empty();
        assert!(changes.iter().all(|change| change.needs_restart == waits), "{key}: {changes:?}");
        assert_eq!(running.clone().reload(new.clone()).changes, if waits { changes } else { Vec::new() }, "{key}");
        if needs_restart.is_empty() {
            assert_eq!(running, new, "{key} applies at once");
        } else {
            assert_eq!(needs_restart.first(), Some(&key), "named");
            assert_eq!(running, Config { warnings, ..old.clone() }, "{key} keeps its value");
        }
        assert_eq!(running.clone().reload(new).needs_restart, needs_restart, "{key} is named until the restart");
        assert_eq!(old.clone().reload(running).needs_restart, [""; 0], "what runs was taken over: {key}");
    }
}

#[test]
fn whatever_goes_into_policies_is_named_where_policies_wait() {
    let secrets = tempfile::tempdir().unwrap();
    let base = base(&secrets);
    let old = config(&base);
    let named: Vec<_> = POLICY_KEYS.map(|key| format!("billing.{key}")).into_iter().collect();
    for (key, other) in others(&secrets) {
        let mut keys = base.clone();
        keys.insert(key.clone(), other);
        let is_named = named.contains(&key) || POLICY_SECTIONS.contains(&key.split('.').next().unwrap());
        let waits_by_itself = ["billing.provider", "billing.feature", "billing.environment"].contains(&key.as_str());
        let goes_into_policies = config(&keys).policies != old.policies;
        assert!(!goes_into_policies || is_named || waits_by_itself, "{key}: POLICY_KEYS or POLICY_SECTIONS");
    }
}

#[test]
fn a_reload_names_what_needs_a_restart_until_the_restart() {
    let new = good(
        "[listen]\ngrpc = \"127.0.0.1:1\"\nhttp = \"127.0.0.1:2\"\n[data]\ndir = \"x\"\n[durability]\n\
         write_behind_ms = 0\nwrite_behind_max = 1\n[node]\nname = \"a-name\"\n[log]\nlevel = \"debug\"\n\
         format = \"json\"\n[rate]\namount = \"off\"\n[bounds]\nconnections = 5\nmessage_bytes = 5000\n\
         idle_ms = 500\n",
    );
    let expected = [
        "listen.grpc",
        "listen.http",
        "data.dir",
        "durability.write_behind_ms",
        "durability.write_behind_max",
        "node.name",
        "log.level",
        "log.format",
        "bounds.message_bytes",
        "bounds.connections",
    ];
    let Reload { running, needs_restart, .. } = Config::default().reload(new.clone());
    assert_eq!(needs_restart, expected);
    assert_eq!((running.bounds.idle_ms, running.bounds.connections, running.log.level), (500, 10_000, LogLevel::Info));
    assert_eq!((&running.policies, running.warnings()), (&new.policies, new.warnings()));
    assert_eq!(running.reload(new).needs_restart, expected);
}

#[test]
fn the_bounds_of_what_is_opened_at_start_wait_for_a_restart() {
    let at_start: Vec<_> = Bound::ALL.iter().filter(|bound| bound.applies() == Applies::AtStart).collect();
    let names: Vec<_> = at_start.iter().map(|bound| bound.name()).collect();
    assert_eq!(
        names,
        [
            "message_bytes",
            "streams_per_connection",
            "connections",
            "http_connections",
            "connections_per_address",
            "connection_idle_ms",
            "request_ms",
            "answer_ms",
            "unread_bytes",
            "connection_age_ms",
            "billing_orgs",
            "billing_in_flight",
            "billing_waiting"
        ]
    );
}

#[test]
fn a_key_for_another_address_waits_with_the_address() {
    let secrets = tempfile::tempdir().unwrap();
    let mut keys = base(&secrets);
    let old = config(&keys);
    keys.insert("billing.autumn.secret_key_file".into(), written(&secrets, ("two", "am_sk_two")));
    let Reload { running, needs_restart, changes } = old.clone().reload(config(&keys));
    assert_eq!((needs_restart, changes.len()), (Vec::new(), 1));
    assert!(changes[0].is_secret && changes[0].from.is_none() && changes[0].to.is_none(), "{changes:?}");
    assert_ne!(running.billing, old.billing);
    keys.insert("billing.autumn.base_url".into(), "\"https://example.com\"".into());
    let Reload { running, needs_restart, changes } = old.clone().reload(config(&keys));
    assert_eq!(needs_restart, ["billing.autumn.base_url", "billing.autumn.secret_key_file"]);
    assert!(changes.iter().all(|change| change.needs_restart), "{changes:?}");
    assert_eq!(running.billing, old.billing);
}

/// The receiver of events is another one at once, and what it is asked with is shown to nobody.
#[test]
fn the_webhook_follows_a_reload_and_its_secrets_are_not_shown() {
    let secrets = tempfile::tempdir().unwrap();
    let mut keys = base(&secrets);
    let old = config(&keys);
    keys.insert("webhook.url".into(), "\"https://hooks.example/T0/secret\"".into());
    written(&secrets, ("signing", "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"));
    let Reload { running, needs_restart, changes } = old.clone().reload(config(&keys));
    assert_eq!(needs_restart, [""; 0]);
    assert_ne!(running.webhook, old.webhook);
    let named: Vec<_> = changes.iter().map(|change| (change.key.as_str(), change.is_secret)).collect();
    assert_eq!(named, [("webhook.secret_file", true), ("webhook.url", true)]);
    assert!(!format!("{changes:?}").contains("hooks.example"), "{changes:?}");
}

#[test]
fn a_section_that_waits_as_a_whole_has_no_key_in_force() {
    let old = good("[rate]\namount = 5\n");
    let new = "[cluster]\npostgres_urls = [\"postgres://g/d\"]\nweight = 2\n[rate]\namount = 6\n";
    let Reload { changes, .. } = old.reload(good(new));
    let shown: Vec<_> = changes.iter().map(|change| (change.key.as_str(), change.needs_restart)).collect();
    assert_eq!(shown, [("cluster.postgres_urls", true), ("cluster.weight", true), ("rate.amount", false)]);
}
