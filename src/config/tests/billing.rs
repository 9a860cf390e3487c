//! `[billing]`, and what plans and orgs say of balances and exemptions (R-BAL-5, R-RATE-6).

mod mistakes;

use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt, time::Duration};

use tempfile::TempDir;

use super::*;
use crate::domain::{
    ids::Meter,
    limit::Limit,
    policy::{BalanceSource, Exemption, ExportWhen},
    window::{Calendar, Window},
};

const KEY: &str = "am_sk_live_0123456789";
/// The key of the published test vector of Svix.
const WEBHOOK: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Files that hold secrets, readable by their owner only.
struct Secrets(TempDir);

impl Secrets {
    fn new() -> Self {
        let secrets = Self(tempfile::tempdir().unwrap());
        secrets.write("key", &format!("{KEY}\n"));
        secrets.write("webhook", WEBHOOK);
        secrets
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).unwrap();
        self.allow(name, 0o600);
    }

    fn allow(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    /// `[billing]` with Autumn, further lines of it, and lines behind it.
    fn autumn(&self, billing: &str, behind: &str) -> String {
        format!(
            "[billing]\nprovider = \"autumn\"\n{billing}\n[billing.autumn]\nsecret_key_file = \"{}\"\n{behind}\n",
            self.path("key")
        )
    }
}

fn autumn(config: &Config) -> &AutumnConfig {
    match &config.billing.provider {
        ProviderKind::Autumn(autumn) => autumn,
        other => panic!("no Autumn: {other:?}"),
    }
}

/// Amount, billing period and overage of what an org's plan includes.
fn included(config: &Config, org: &str) -> Option<(Option<u64>, Calendar, bool)> {
    match &policy(config, org).balance.source {
        BalanceSource::Included { limit, overage } => {
            assert_eq!((limit.name(), limit.meter()), ("balance", &Meter::executions()));
            let Window::Calendar(period) = limit.window() else { panic!("no period: {limit:?}") };
            Some((limit.amount, period, *overage))
        }
        BalanceSource::NotIncluded => None,
        other => panic!("not static: {other:?}"),
    }
}

#[test]
fn by_default_nothing_is_metered() {
    let config = good("");
    assert_eq!(config.billing, Billing { provider: ProviderKind::None, rules: BillingRules::default() });
    assert_eq!(policy(&config, "a").balance, OrgPolicy::default().balance);
    let rules = config.billing.rules;
    assert_eq!((&*rules.feature, &*rules.environment), ("executions", "live"));
    let seconds = [rules.allow_ttl, rules.deny_ttl, rules.deny_revalidate, rules.exempt_ttl, rules.timeout];
    assert_eq!(seconds.map(|length| length.as_secs()), [60, 60, 2, 60, 2], "R-BAL-1, R-BAL-2, R-RATE-6");
    assert_eq!(rules.overage_behavior, OverageBehavior::Overflow);
    assert_eq!(rules.free_plans, BTreeSet::from(["free".to_owned()]));
}

#[test]
fn every_key_means_what_it_says() {
    let secrets = Secrets::new();
    let billing = "feature = \"runs\"\nenvironment = \"eu-1\"\nallow_ttl = \"30s\"\ndeny_ttl = \"10s\"\n\
                   deny_revalidate = \"500ms\"\nexempt_ttl = \"5m\"\ntimeout = \"1500ms\"\nexport = \"admitted\"\n\
                   overage_behavior = \"cap\"\nupgrade_url = \"https://example.com/up?from=gate\"\n\
                   on_no_entitlement = \"deny\"\non_unknown_customer = \"deny\"\non_indeterminate = \"deny\"\n\
                   rate_exempt = \"paying\"\nfree_plans = [\"free\", \"trial\"]\nfeatures = { bytes = \"egress\" }";
    let behind = format!(
        "webhook_secret_file = \"{}\"\nbase_url = \"http://127.0.0.1:8080/autumn/\"\napi_version = \"2.2.10\"\n\
         breaker_failures = 3\nbreaker_pause = \"250ms\"",
        secrets.path("webhook")
    );
    let config = good(&secrets.autumn(billing, &behind));
    assert_eq!(config.warnings(), [""; 0]);
    let rules = &config.billing.rules;
    assert_eq!(
        *rules,
        BillingRules {
            feature: "runs".into(),
            environment: "eu-1".into(),
            allow_ttl: Duration::from_secs(30),
            deny_ttl: Duration::from_secs(10),
            deny_revalidate: Duration::from_millis(500),
            exempt_ttl: Duration::from_secs(300),
            timeout: Duration::from_millis(1500),
            overage_behavior: OverageBehavior::Cap,
            free_plans: ["free", "trial"].map(str::to_owned).into(),
        }
    );
    let a = policy(&config, "a");
    assert_eq!(a.rate.exempt, Exemption::IfPaying);
    let balance = &a.balance;
    assert_eq!((&balance.source, balance.export), (&BalanceSource::Provider, ExportWhen::Admitted));
    let denied = [balance.on_no_entitlement, balance.on_unknown_customer, balance.on_indeterminate];
    assert_eq!(denied, [OnIndeterminate::Deny; 3]);
    assert_eq!((&*balance.upgrade_url, &*balance.environment), ("https://example.com/up?from=gate", "eu-1"));
    let features: Vec<_> = balance.features.iter().map(|(meter, name)| (meter.as_str(), &**name)).collect();
    assert_eq!(features, [("bytes", "egress"), ("executions", "runs")]);
    let autumn = autumn(&config);
    assert_eq!((autumn.base_url.as_str(), autumn.api_version.as_str()), ("http://127.0.0.1:8080/autumn", "2.2.10"));
    assert_eq!((autumn.breaker_failures, autumn.breaker_pause), (3, Duration::from_millis(250)));
    assert_eq!(autumn.secret_key.reveal(), KEY, "trimmed");
    let [key] = &autumn.webhook_key.as_ref().unwrap().reveal()[..] else { panic!("one secret") };
    assert_eq!((key.len(), key.first()), (24, Some(&0x31)), "decoded");
}

#[test]
fn autumn_by_itself_asks_for_every_org_and_reports_what_completes() {
    let secrets = Secrets::new();
    let config = good(&secrets.autumn("", "[plans.pro]\n[orgs.b]\nplan = \"pro\""));
    for org in ["anyone", "b"] {
        let policy = policy(&config, org);
        assert_eq!((&policy.balance.source, policy.balance.export), (&BalanceSource::Provider, ExportWhen::Completed));
        assert!(policy.balance.exports(&Meter::executions()) && !policy.balance.exports(&Meter::spend()));
        assert_eq!(policy.rate.exempt, Exemption::Never);
    }
    let autumn = autumn(&config);
    assert_eq!((autumn.base_url.as_str(), autumn.api_version.as_str()), ("https://api.useautumn.com", "2.3.0"));
    assert_eq!((autumn.breaker_failures, autumn.breaker_pause), (5, Duration::from_secs(5)));
    assert_eq!(autumn.webhook_key, None);
    let off = good(&secrets.autumn("export = \"off\"", ""));
    assert_eq!(policy(&off, "a").balance.export, ExportWhen::Never);
}

/// R-BAL-10
#[test]
fn how_long_a_denial_stands_is_a_duration_or_off_and_applies_at_once() {
    let secrets = Secrets::new();
    let read = |extra: &str| good(&secrets.autumn(extra, ""));
    let stands = |config: &Config| policy(config, "a").balance.deny_stale;
    let (default, off, ten) = (read(""), read("deny_stale = \"off\""), read("deny_stale = \"10m\""));
    assert_eq!(
        [stands(&default), stands(&off), stands(&ten)],
        [Duration::ZERO, Duration::ZERO, Duration::from_mins(10)]
    );
    let reloaded = default.reload(ten);
    assert_eq!((stands(&reloaded.running), reloaded.needs_restart), (Duration::from_mins(10), vec![]));
    assert_eq!(stands(&good("[billing]\ndeny_stale = \"off\"\n")), Duration::ZERO);
}

#[test]
fn what_a_plan_includes_is_layered_key_by_key() {
    let config = good(
        "[billing]\nprovider = \"static\"\n[defaults]\nplan = \"free\"\n[plans.free]\nincluded = 100\n[plans.pro]\n\
         included = 10_000\noverage = true\n[plans.all]\nincluded = \"unlimited\"\n[plans.bare]\n\
         [orgs.a]\nincluded = 200\n[orgs.b]\nplan = \"pro\"\nbilling_anchor = 31\n[orgs.c]\nplan = \"pro\"\n\
         overage = false\nincluded = 5\nbilling_anchor = 1\n[orgs.d]\nplan = \"all\"\n[orgs.e]\nplan = \"bare\"\n\
         billing_anchor = 7\n[orgs.f]\nplan = \"bare\"\nincluded = 0\nbilling_anchor = 7\n[orgs.g]\nplan = \"\"\n",
    );
    for (org, expected) in [
        ("anyone", Some((Some(100), Calendar::Month, false))),
        ("a", Some((Some(200), Calendar::Month, false))),
        ("b", Some((Some(10_000), Calendar::MonthFrom(31), true))),
        ("c", Some((Some(5), Calendar::Month, false))),
        ("d", Some((None, Calendar::Month, false))),
        ("e", None),
        ("f", Some((Some(0), Calendar::MonthFrom(7), false))),
        ("g", None),
    ] {
        assert_eq!(included(&config, org), expected, "R-BAL-5: {org}");
    }
    assert_eq!(policy(&config, "a").balance.export, ExportWhen::Never, "nobody takes usage");
    assert!(config.warnings().is_empty());
}

/// Name, window and amount of each limit on executions and compute.
fn quotas(limits: &[Limit]) -> Vec<(String, Window, Option<u64>)> {
    limits.iter().map(|limit| (limit.name().to_owned(), limit.window(), limit.amount)).collect()
}

/// R-SES-7: with any provider.
#[test]
fn a_billing_anchor_moves_the_months_of_executions_and_compute_and_no_others() {
    let config = good(
        "[plans.p]\nexecutions = { calendar_month = 5, calendar_day = 2 }\nspend = { calendar_month = \"7u\" }\n\
         compute = { calendar_month = { amount = 9, buffer = 1, shadow = true }, monthly = 8 }\n\
         scopes.\"ws/*\" = { executions = { calendar_month = 3 } }\n[defaults]\nplan = \"p\"\n\
         [orgs.a]\nbilling_anchor = 15\ncompute = { calendar_month = 6 }\n[orgs.b]\nbilling_anchor = 1\n[orgs.c]\n",
    );
    let [month, from] = [Calendar::Month, Calendar::MonthFrom(15)].map(Window::Calendar);
    let monthly = Window::Rolling { len: 30 * DAY_MS };
    let day = Window::Calendar(Calendar::Day);
    for (org, moved, compute) in [("anyone", month, 9), ("a", from, 6), ("b", month, 9)] {
        let policy = policy(&config, org);
        let expected = [
            ("budget/compute/monthly", monthly, 8),
            ("quota/compute", moved, compute),
            ("quota/executions/calendar/day", day, 2),
            ("quota/executions", moved, 5),
            ("quota/spend", month, 7),
        ];
        let expected = expected.map(|(name, window, amount)| (name.to_owned(), window, Some(amount)));
        assert_eq!(quotas(&policy.limits), expected, "{org}");
        let of_scope = policy.limits_of(&Scope::parse("scope", "ws/1").unwrap());
        assert_eq!(quotas(of_scope), [("quota/executions".to_owned(), moved, Some(3))], "{org}");
        let held_back = policy.limits.iter().find(|limit| limit.name() == "quota/compute").unwrap();
        assert_eq!((held_back.buffer, held_back.shadow), if org == "a" { (0, false) } else { (1, true) });
    }
    let shared = policy(&config, "c");
    assert!(Arc::ptr_eq(&shared, config.policies.policy_of_unlisted()), "one policy for all that say nothing");
}

#[test]
fn an_org_says_whether_it_is_exempt_over_its_plan() {
    let orgs = "[plans.vip]\nexempt = true\n[plans.pro]\n[orgs.a]\nplan = \"vip\"\n[orgs.b]\nplan = \"vip\"\n\
                exempt = false\n[orgs.c]\nplan = \"pro\"\nexempt = true\n[orgs.d]\nplan = \"pro\"\nexempt = false\n";
    let exempt = |config: &Config| ["a", "b", "c", "d", "x"].map(|org| policy(config, org).rate.exempt);
    let [always, never, paying] = [Exemption::Always, Exemption::Never, Exemption::IfPaying];
    assert_eq!(exempt(&good(orgs)), [always, never, always, never, never]);
    let secrets = Secrets::new();
    let asked = secrets.autumn("rate_exempt = \"paying\"", orgs);
    assert_eq!(exempt(&good(&asked)), [always, paying, always, paying, paying], "R-RATE-6");
}

#[test]
fn variables_set_keys_of_billing_and_lists() {
    let secrets = Secrets::new();
    let config = with_variables(&[
        ("TOLLGATE__BILLING__PROVIDER", "autumn"),
        ("TOLLGATE__BILLING__AUTUMN__SECRET_KEY_FILE", &secrets.path("key")),
        ("TOLLGATE__BILLING__FREE_PLANS", "[\"hobby\"]"),
        ("TOLLGATE__BILLING__FEATURES__BYTES", "egress"),
        ("TOLLGATE__BILLING__TIMEOUT", "900ms"),
        ("TOLLGATE__ORGS__A__EXEMPT", "true"),
    ])
    .unwrap();
    assert_eq!(autumn(&config).secret_key.reveal(), KEY);
    assert_eq!(config.billing.rules.free_plans, BTreeSet::from(["hobby".to_owned()]));
    assert_eq!(config.billing.rules.timeout, Duration::from_millis(900));
    let a = policy(&config, "a");
    assert!(a.balance.exports(&Meter::parse("meter", "bytes").unwrap()));
    assert_eq!(a.rate.exempt, Exemption::Always);
    let file = file_of("[billing]\nprovider = \"autumn\"\n");
    let none = variables(&[("TOLLGATE__BILLING__PROVIDER", "static")]);
    let config = load(Some(file.path()), none, Overrides::default()).unwrap();
    assert_eq!(config.billing.provider, ProviderKind::Static, "a variable wins over the file");
}

#[test]
fn timeout_needs_to_fit_into_a_decision_only_where_somebody_is_asked() {
    good("[billing]\ntimeout = \"20s\"\n[bounds]\ndecision_budget_ms = 1000\n");
    let secrets = Secrets::new();
    good(&secrets.autumn("timeout = \"2499ms\"", ""));
}

#[test]
fn policies_of_billing_are_reloaded_and_the_rest_waits_for_a_restart() {
    let secrets = Secrets::new();
    let old = good(&secrets.autumn("", ""));
    let policies = good(&secrets.autumn(
        "upgrade_url = \"https://example.com\"\non_indeterminate = \"deny\"\nexport = \"off\"\nrate_exempt = \"paying\"\n\
         features = { bytes = \"egress\" }",
        "[orgs.a]\nexempt = true",
    ));
    let Reload { running, needs_restart, .. } = old.clone().reload(policies.clone());
    assert_eq!((running, needs_restart), (policies, Vec::new()));
    secrets.write("key", "am_sk_another");
    let fixed = "allow_ttl = \"1s\"\ndeny_ttl = \"1s\"\ndeny_revalidate = \"1s\"\nexempt_ttl = \"1s\"\ntimeout = \"1s\"\n\
                 overage_behavior = \"cap\"\nfree_plans = []";
    let behind = format!(
        "webhook_secret_file = \"{}\"\nbase_url = \"https://a.b\"\napi_version = \"2.1.0\"\nbreaker_failures = 1\n\
         breaker_pause = \"1s\"\n[bounds]\nbilling_orgs = 5\nbilling_in_flight = 6\nbilling_waiting = 7\n\
         exports_per_org = 8\n[orgs.a]\nexempt = true",
        secrets.path("webhook")
    );
    let new = good(&secrets.autumn(fixed, &behind));
    let expected = [
        "billing.allow_ttl",
        "billing.deny_ttl",
        "billing.deny_revalidate",
        "billing.exempt_ttl",
        "billing.timeout",
        "billing.overage_behavior",
        "billing.free_plans",
        "billing.autumn.base_url",
        "billing.autumn.secret_key_file",
        "billing.autumn.api_version",
        "billing.autumn.breaker_failures",
        "billing.autumn.breaker_pause",
        "bounds.billing_orgs",
        "bounds.billing_in_flight",
        "bounds.billing_waiting",
    ];
    let Reload { running, needs_restart, .. } = old.clone().reload(new.clone());
    assert_eq!(needs_restart, expected);
    assert_eq!((&running.billing.rules, &running.policies), (&old.billing.rules, &new.policies));
    assert_eq!((running.bounds.billing_orgs, running.bounds.exports_per_org), (old.bounds.billing_orgs, 8));
    assert_eq!(running.reload(new).needs_restart, expected, "named by every reload until then");
}

#[test]
fn policies_for_another_provider_wait_with_it() {
    let secrets = Secrets::new();
    let old = good("[billing]\nprovider = \"static\"\n[defaults]\nplan = \"p\"\n[plans.p]\nincluded = 5\n");
    let new = good(&secrets.autumn("feature = \"runs\"\nenvironment = \"test\"", ""));
    let keys = ["billing.provider", "billing.feature", "billing.environment", "defaults", "plans"];
    let Reload { running, needs_restart, .. } = old.clone().reload(new);
    assert_eq!(needs_restart, keys);
    assert_eq!((&running.policies, &running.billing), (&old.policies, &old.billing), "what includes 5 still denies");
    let renamed = good(&secrets.autumn("environment = \"test\"", ""));
    let live = good(&secrets.autumn("", ""));
    assert_eq!(
        live.clone().reload(renamed).running.policies,
        live.policies,
        "keys of exported usage do not change at once"
    );
}
