//! Mistakes of `[billing]`, of what plans include and of files of secrets (R-OPS-4).

use super::*;

#[test]
fn every_mistake_of_billing_names_its_place_and_what_is_allowed() {
    for (text, expected) in [
        ("[billing]\nprovider = \"stripe\"", "t.toml:2:12: billing.provider \"stripe\" is not allowed: \"none\" or"),
        ("[billing]\nfeature = \"\"", "t.toml:2:11: billing.feature \"\" is not allowed: 1 to 64 characters"),
        ("[billing]\nenvironment = \"a b\"", "t.toml:2:15: billing.environment \"a b\" is not allowed"),
        ("[billing]\nallow_ttl = \"0s\"", "billing.allow_ttl \"0s\" is not allowed: a duration from 1s to 1h"),
        ("[billing]\nallow_ttl = 60", "billing.allow_ttl \"60\" is not allowed: a duration"),
        ("[billing]\ndeny_ttl = \"2h\"", "billing.deny_ttl \"2h\" is not allowed: a duration from 1s to 1h"),
        (
            "[billing]\ndeny_revalidate = \"99ms\"",
            "billing.deny_revalidate \"99ms\" is not allowed: a duration from 100ms",
        ),
        ("[billing]\nexempt_ttl = \"1d\"", "billing.exempt_ttl \"1d\" is not allowed"),
        ("[billing]\ntimeout = \"31s\"", "billing.timeout \"31s\" is not allowed: a duration from 10ms to 30s"),
        (
            "[billing]\nexport = \"yes\"",
            "billing.export \"yes\" is not allowed: \"completed\" or \"admitted\" or \"off\"",
        ),
        ("[billing]\noverage_behavior = \"reject\"", "\"reject\" is not allowed: \"overflow\" or \"cap\""),
        ("[billing]\nupgrade_url = \"example.com\"", "t.toml:2:15: billing.upgrade_url \"example.com\" is not allowed"),
        ("[billing]\nupgrade_url = \"javascript:alert(1)\"", "is not allowed: a URL such as"),
        ("[billing]\nupgrade_url = \"https://a.b/c d\"", "is not allowed: a URL such as"),
        ("[billing]\non_no_entitlement = \"open\"", "on_no_entitlement \"open\" is not allowed: \"allow\" or \"deny\""),
        ("[billing]\non_unknown_customer = true", "billing.on_unknown_customer \"true\" is not allowed"),
        ("[billing]\non_indeterminate = \"\"", "billing.on_indeterminate \"\" is not allowed"),
        ("[billing]\nrate_exempt = \"all\"", "billing.rate_exempt \"all\" is not allowed: \"off\" or \"paying\""),
        (
            "[billing]\nrate_exempt = \"paying\"",
            "billing.rate_exempt \"paying\" is not allowed: only with billing.provider = \"autumn\"; it is \"none\"",
        ),
        ("[billing]\nfree_plans = \"free\"", "billing.free_plans \"free\" is not allowed: a list of at most 100 names"),
        ("[billing]\nfree_plans = [\"free\", 5]", "t.toml:2:14: billing.free_plans \"[...]\" is not allowed: a list"),
        (
            "[billing]\nfeatures = { bytes = 5 }",
            "t.toml:2:22: billing.features.bytes \"5\" is not allowed: the provider's",
        ),
        (
            "[billing.features]\nexecutions = \"x\"",
            "t.toml:2:1: billing.features.executions \"x\" is not allowed: set by billing.feature",
        ),
        ("[billing.features]\n\"No!\" = \"x\"", "t.toml:2:1: billing.features \"No!\" is not allowed"),
        ("[billing]\nprovder = \"none\"", "billing.provder is not a known key: use one of provider, "),
        (
            "[billing.autumn]\nbase_url = \"http://a.b\"",
            "billing.autumn.base_url \"http://a.b\" is not allowed: an https",
        ),
        ("[billing.autumn]\nbase_url = \"https://u:p@a.b\"", "is not allowed: an https URL without user"),
        ("[billing.autumn]\nbase_url = \"https://a.b/?x=1\"", "is not allowed: an https URL without user, query"),
        ("[billing.autumn]\nbase_url = \"file:///etc\"", "is not allowed: an https URL"),
        ("[billing.autumn]\napi_version = \"2.0.9\"", "api_version \"2.0.9\" is not allowed: a version of Autumn's"),
        ("[billing.autumn]\napi_version = \"2.3\"", "billing.autumn.api_version \"2.3\" is not allowed"),
        ("[billing.autumn]\napi_version = \"+2.3.0\"", "billing.autumn.api_version \"+2.3.0\" is not allowed"),
        ("[billing.autumn]\nbreaker_failures = 0", "\"0\" is not allowed: a whole number from 1 to 1000"),
        ("[billing.autumn]\nbreaker_pause = \"11m\"", "\"11m\" is not allowed: a duration from 100ms to 10m"),
        ("[billing.autumn]\nsecret_key_file = 5", "secret_key_file \"5\" is not allowed: the path of a file"),
        (
            "[billing.autumn]\nsecret_key = \"am_sk_1\"",
            "billing.autumn.secret_key is not a known key: use one of base_url",
        ),
        (
            "[billing]\nprovider = \"autumn\"",
            "t.toml:2:12: billing.autumn.secret_key_file is missing: the path of a file that holds a secret key of Autumn",
        ),
        ("[plans.p]\nexempt = 1", "t.toml:2:10: plans.p.exempt \"1\" is not allowed: true or false"),
        (
            "[plans.p]\nincluded = 5",
            "t.toml:2:12: plans.p.included \"5\" is not allowed: only with billing.provider = \"static\"; it is \"none\"",
        ),
        (
            "[billing]\ndeny_stale = \"10m\"",
            "billing.deny_stale \"10m\" is not allowed: only with billing.provider = \"autumn\"; it is \"none\"",
        ),
        ("[orgs.a]\noverage = true", "orgs.a.overage \"true\" is not allowed: only with billing.provider = \"static\""),
        ("[orgs.a.scopes.w]\nincluded = { daily = 5 }", "orgs.a.scopes.w.included is not a known key"),
    ] {
        let shown = errors(text);
        assert!(shown.contains(expected), "{text}\n  says: {shown}\n  want: {expected}");
        assert_eq!(shown.lines().count(), 1, "one mistake, one line: {shown}");
    }
}

#[test]
fn mistakes_of_what_plans_include_are_named() {
    for (text, expected) in [
        ("[plans.p]\nincluded = -1", "t.toml:4:12: plans.p.included \"-1\" is not allowed: a whole number from 0 to"),
        ("[plans.p]\nincluded = 1.5", "plans.p.included \"1.5\" is not allowed"),
        ("[plans.p]\nincluded = -1\noverage = true", "plans.p.included \"-1\" is not allowed"),
        ("[plans.p]\nincluded = { executions = 5 }", "or \"unlimited\""),
        ("[plans.p]\nincluded = 1\noverage = \"yes\"", "plans.p.overage \"yes\" is not allowed: true or false"),
        (
            "[plans.p]\noverage = true",
            "t.toml:4:11: plans.p.overage \"true\" is not allowed: only together with `included`",
        ),
        (
            "[orgs.a]\nbilling_anchor = 0",
            "t.toml:4:18: orgs.a.billing_anchor \"0\" is not allowed: a whole number from 1",
        ),
        ("[orgs.a]\nbilling_anchor = 32", "orgs.a.billing_anchor \"32\" is not allowed: a whole number from 1 to 31"),
        ("[plans.p]\nbilling_anchor = 3", "plans.p.billing_anchor is not a known key"),
    ] {
        let shown = errors(&format!("[billing]\nprovider = \"static\"\n{text}\n"));
        assert!(shown.contains(expected), "{text}\n  says: {shown}\n  want: {expected}");
        assert_eq!(shown.lines().count(), 1, "{shown}");
    }
}

#[test]
fn a_question_may_not_take_longer_than_a_decision() {
    let secrets = Secrets::new();
    for (billing, bounds, place) in [
        ("timeout = \"2500ms\"", "", "t.toml:3:11: "),
        ("", "[bounds]\ndecision_budget_ms = 2000", "t.toml:7:22: "),
        ("timeout = \"1s\"", "[bounds]\ndecision_budget_ms = 1000", "t.toml:3:11: "),
    ] {
        let shown = errors(&secrets.autumn(billing, bounds));
        assert!(shown.starts_with(&format!("{place}billing.timeout")), "{shown}");
        assert!(shown.contains("shorter than bounds.decision_budget_ms, which is "), "{shown}");
        assert_eq!(shown.lines().count(), 1, "{shown}");
    }
}

#[test]
fn a_secret_file_that_will_not_do_is_refused_without_its_content() {
    let secrets = Secrets::new();
    secrets.write("empty", " \n");
    secrets.write("public", "am_pk_live_hidden");
    secrets.write("bare", "am_sk_");
    secrets.write("two", "am_sk_hidden\nam_sk_hidden");
    secrets.write("three", "am_sk_hidden\nam_sk_hidden\nam_sk_hidden");
    secrets.write("spaced", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n\nwhsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    secrets.write("mixed", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\nam_sk_hidden");
    secrets.write("large", &format!("am_sk_{}", "h".repeat(4096)));
    secrets.write("short", "whsec_aGlkZGVu");
    secrets.write("odd", "whsec_hidden!");
    fs::write(secrets.path("binary"), [0xff, 0xfe]).unwrap();
    for (key, name, expected) in [
        ("secret_key_file", "nowhere", "a readable file; reading it failed: No such file"),
        ("secret_key_file", "", "the path of a regular file"),
        ("secret_key_file", "empty", "holds one line of printable text"),
        ("secret_key_file", "two", "which starts with am_sk_; this file does not"),
        ("secret_key_file", "three", "holds one line of printable text"),
        ("webhook_secret_file", "spaced", "holds one line of printable text"),
        (
            "webhook_secret_file",
            "mixed",
            "and on a second line the one that it replaces, while it does; this file does not",
        ),
        ("secret_key_file", "binary", "holds one line of printable text"),
        ("secret_key_file", "public", "which starts with am_sk_; this file does not"),
        ("secret_key_file", "bare", "which starts with am_sk_; this file does not"),
        ("secret_key_file", "large", "a file of at most 4096 bytes"),
        (
            "webhook_secret_file",
            "key",
            "the secret of a webhook, which is whsec_ followed by base64, and on a second line",
        ),
        ("webhook_secret_file", "short", "the secret of a webhook"),
        ("webhook_secret_file", "odd", "the secret of a webhook"),
    ] {
        let mut text = "[billing]\nprovider = \"autumn\"\n[billing.autumn]\n".to_owned();
        if key == "webhook_secret_file" {
            text += &format!("secret_key_file = \"{}\"\n", secrets.path("key"));
        }
        let path = secrets.path(name);
        let shown = errors(&format!("{text}{key} = \"{path}\"\n"));
        assert!(shown.contains(&format!("billing.autumn.{key} \"{path}\" is not allowed: ")), "{shown}");
        assert!(shown.contains(expected), "{name}\n  says: {shown}\n  want: {expected}");
        assert!(!shown.contains("hidden") && !shown.contains("0123"), "R-OPS-4: never the content: {shown}");
        assert_eq!(shown.lines().count(), 1, "{shown}");
    }
}

#[test]
fn a_secret_in_the_place_of_its_path_is_not_repeated() {
    let shown = errors(&format!("[billing]\nprovider = \"autumn\"\n[billing.autumn]\nsecret_key_file = \"{KEY}\"\n"));
    assert!(shown.contains("secret_key_file \"***\" is not allowed") && !shown.contains("0123"), "{shown}");
}

#[test]
fn a_secret_that_everybody_can_read_is_a_warning() {
    let secrets = Secrets::new();
    secrets.allow("key", 0o644);
    let config = good(&secrets.autumn("", ""));
    let expected =
        format!("t.toml:5:19: billing.autumn.secret_key_file {:?} can be read by every user", secrets.path("key"));
    assert_eq!(config.warnings().len(), 1);
    assert!(config.warnings()[0].starts_with(&expected), "{:?}", config.warnings());
}

#[test]
fn a_private_key_that_everybody_can_read_is_a_warning() {
    let secrets = Secrets::new();
    let key = secrets.path("key");
    let cluster = "[cluster]\npostgres_urls = [\"postgres://db/gate\"]\nadvertise = \"10.0.0.1:7072\"\n";
    for (before, section, more, line) in [("", "tls", "", 3), (cluster, "cluster.tls", "ca = \"ca.pem\"\n", 6)] {
        let text = format!("{before}[{section}]\ncert = \"cert.pem\"\nkey = {key:?}\n{more}");
        secrets.allow("key", 0o600);
        assert_eq!(good(&text).warnings().len(), 0, "{section}");
        secrets.allow("key", 0o644);
        let (config, expected) =
            (good(&text), format!("t.toml:{line}:7: {section}.key {key:?} can be read by every user"));
        assert!(config.warnings().iter().any(|warning| warning.starts_with(&expected)), "{:?}", config.warnings());
    }
}

#[test]
fn secrets_are_not_shown_and_not_opened_in_vain() {
    let secrets = Secrets::new();
    let config = good(&secrets.autumn("", &format!("webhook_secret_file = \"{}\"", secrets.path("webhook"))));
    let shown = format!("{config:?}");
    assert!(shown.contains("secret_key: ***") && shown.contains("webhook_key: Some(***)"), "{shown}");
    assert!(!shown.contains("0123"), "{shown}");
    good("[billing.autumn]\nsecret_key_file = \"/nowhere/at/all\"\n");
}

#[test]
fn a_key_that_may_stand_in_a_broken_part_of_the_file_is_not_missed() {
    let shown = errors("[billing]\nprovider = \"autumn\"\n[billing.autumn]\nsecret_key_file\n");
    assert_eq!(shown.lines().count(), 1, "{shown}");
    assert!(shown.starts_with("t.toml:4:"), "{shown}");
}

#[test]
fn an_export_that_goes_nowhere_is_a_warning() {
    let config = good("[billing]\nexport = \"admitted\"\n");
    assert_eq!(
        config.warnings(),
        ["t.toml:2:10: billing.export has no effect: provider \"none\" does not accept usage"]
    );
}
