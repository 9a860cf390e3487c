//! What a valid configuration means.

use super::*;

#[test]
fn defaults_need_no_file() {
    let config = load(None, variables(&[("PATH", "/bin"), ("TOLLGATE_ADDR", "x")]), Overrides::default()).unwrap();
    assert_eq!(config, Config::default());
    assert_eq!(config, good(""));
    assert_eq!(config.listen.grpc.to_string(), "127.0.0.1:7070");
    assert_eq!(config.listen.http.to_string(), "127.0.0.1:7071");
    assert_eq!(config.data_dir, PathBuf::from("./tollgate-data"));
    assert_eq!(config.durability, Durability { write_behind_ms: 10, write_behind_max: 4096 });
    assert_eq!(config.bounds, Bounds::default());
    assert!(values::is_name(&config.node));
    let anyone = policy(&config, "anyone");
    assert_eq!((anyone.rate.amount, anyone.rate.len, anyone.rate.idle_windows), (Some(1000), HOUR_MS, 2), "R-RATE-1");
    assert_eq!(*anyone, OrgPolicy::default());
    assert!(config.warnings().is_empty());
}

#[test]
fn the_example_is_the_defaults_and_its_comments_are_valid() {
    assert_eq!(good(Config::example()), Config::default());
    // `#:schema` is for editors.
    let is_text = |rest: &str| rest.starts_with([' ', ':']);
    let settings = |line: &str| line.strip_prefix('#').filter(|rest| !is_text(rest)).map(str::to_owned);
    let full: Vec<_> =
        Config::example().lines().map(|line| settings(line).unwrap_or_else(|| line.to_owned())).collect();
    let config = good(&full.join("\n"));
    assert_eq!((config.node.as_str(), policy(&config, "anyone").emergency_amount), ("n1", Some(1000)));
    let acme = policy(&config, "acme");
    assert_eq!((acme.plan.as_str(), acme.rate.amount, acme.rate.len), ("pro", Some(20_000), MINUTE_MS));
    assert_eq!(amounts(&acme, ""), [("quota/executions".into(), None)]);
    assert_eq!(amounts(&acme, "workspace/ws_42"), [("budget/monthly".into(), Some(250_000_000))]);
    for bound in Bound::ALL {
        assert!(Config::example().contains(&format!("\n{} = ", bound.name())), "{bound} is in the example");
    }
    let other = Config::example().replace("\n#tokens = ", "\n#token_store = \"cluster\" # ");
    let other: Vec<_> = other.lines().map(|line| settings(line).unwrap_or_else(|| line.to_owned())).collect();
    assert_eq!(good(&other.join("\n")).auth.token_store, Some(TokenStore::Cluster));
}

#[test]
fn the_operations_page_lists_every_bound_as_the_table_has_it() {
    let page = include_str!("../../../docs/operations.md");
    let (_, section) = page.split_once("\n## Bounds\n").unwrap();
    let rows: Vec<_> = section.lines().filter(|line| line.starts_with("| `")).collect();
    let row = |bound: &Bound| {
        let takes_effect = match bound.applies() {
            Applies::Live => "reload",
            Applies::AtStart => "restart",
        };
        let (name, default, least, most) = (bound.name(), bound.default(), bound.least(), bound.most());
        format!("| `{name}` | {default} | {least} to {most} | {takes_effect} | {} |", bound.doc())
    };
    assert_eq!(rows, Bound::ALL.iter().map(row).collect::<Vec<_>>());
}

#[test]
fn limits_become_what_they_say() {
    let config = good(
        "[plans.free]\nexecutions = { calendar_month = 10_000, aligned_60m = 0, daily = 7 }\n\
         compute = { calendar_month = \"4h\", hourly = 500 }\nspend = { hourly = \"5usd\", monthly = \"$12.50\", weekly = \"block\" }\n\
         bytes = { rolling_12h = { amount = 100, buffer = 10, shadow = true }, anchored_24h = \"unlimited\" }\n\
         [defaults]\nplan = \"free\"\n",
    );
    let free = policy(&config, "anyone");
    assert_eq!(free.plan, "free");
    let named: Vec<_> = amounts(&free, "");
    let expected = [
        ("budget/bytes/rolling/12h", Some(100)),
        ("budget/compute/hourly", Some(500)),
        ("budget/executions/daily", Some(7)),
        ("budget/hourly", Some(5_000_000)),
        ("budget/monthly", Some(12_500_000)),
        ("budget/weekly", Some(0)),
        ("quota/bytes/anchored/1d", None),
        ("quota/compute", Some(4 * HOUR_MS)),
        ("quota/executions/aligned/1h", Some(0)),
        ("quota/executions", Some(10_000)),
    ];
    let expected: Vec<_> = expected.iter().map(|(name, amount)| ((*name).to_owned(), *amount)).collect();
    let sorted = |mut list: Vec<(String, Option<u64>)>| {
        list.sort();
        list
    };
    assert_eq!(sorted(named), sorted(expected));
    assert!(free.limits.is_sorted_by_key(|limit| !limit.is_budget()), "budgets before quotas");
    let buffered = free.limits.iter().find(|limit| limit.buffer > 0).unwrap();
    assert_eq!((buffered.buffer, buffered.shadow), (10, true));
    assert!(config.warnings().is_empty());
}

#[test]
fn an_org_replaces_what_its_plan_says_for_the_same_meter_and_window_only() {
    let config = good(
        "[rate]\namount = 9\n[plans.free]\nrate = { amount = 500, window = { aligned = \"10m\" } }\n\
         spend = { hourly = \"1u\", daily = \"2u\" }\nscopes.\"workspace/*\" = { spend = { hourly = \"3u\", daily = \"4u\" } }\n\
         scopes.\"workspace/x\" = { spend = { weekly = \"5u\" } }\n\
         [orgs.a]\nplan = \"free\"\nrate = { amount = 5000 }\nspend = { rolling_24h = \"unlimited\", weekly = \"6u\" }\n\
         scopes.\"workspace/*\" = { spend = { daily = \"7u\" } }\n[orgs.b]\nplan = \"free\"\n",
    );
    let named = |list: &[(&str, Option<u64>)]| -> Vec<_> {
        list.iter().map(|(name, amount)| ((*name).to_owned(), *amount)).collect()
    };
    let a = policy(&config, "a");
    assert_eq!((a.rate.amount, a.rate.len), (Some(5000), 10 * MINUTE_MS), "R-RATE-5");
    let org = [("budget/hourly", Some(1)), ("budget/daily", None), ("budget/weekly", Some(6))];
    assert_eq!(amounts(&a, ""), named(&org));
    let prefixed = [("budget/hourly", Some(3)), ("budget/daily", Some(7))];
    assert_eq!(amounts(&a, "workspace/w"), named(&prefixed));
    assert_eq!(amounts(&a, "workspace/x"), named(&[("budget/weekly", Some(5))]));
    assert!(amounts(&a, "account/k").is_empty());
    let b = policy(&config, "b");
    assert_eq!((b.plan.as_str(), b.rate.amount), ("free", Some(500)), "the plan by itself is unchanged");
    assert_eq!(policy(&config, "c").rate.amount, Some(9), "no plan");
}

#[test]
fn the_default_plan_is_of_every_org_that_names_none() {
    let text = "[defaults]\nplan = \"free\"\n[plans.free]\nrate = { amount = 5 }\n[plans.pro]\n[orgs.a]\n\
                rate = { window = { aligned = \"1m\" } }\n[orgs.b]\nplan = \"\"\n[orgs.c]\nplan = \"pro\"\n";
    let config = good(text);
    let plan = |org| (policy(&config, org).plan.clone(), policy(&config, org).rate.amount);
    assert_eq!(plan("anyone"), ("free".into(), Some(5)));
    assert_eq!(plan("a"), ("free".into(), Some(5)));
    assert_eq!(policy(&config, "a").rate.len, MINUTE_MS);
    assert_eq!(plan("b"), (String::new(), Some(1000)));
    assert_eq!(plan("c"), ("pro".into(), Some(1000)));
    assert_eq!(config.policies.listed().count(), 3);
}

#[test]
fn the_emergency_cap_is_the_configured_amount_per_hour_or_that_of_the_backstop() {
    let cap = |text: &str, org: &str| {
        let cap = policy(&good(text), org).emergency();
        (cap.amount, cap.len)
    };
    let plan =
        "[rate]\namount = 9\nwindow = { aligned = \"1m\" }\n[plans.p]\nrate = { amount = 5 }\n[orgs.a]\nplan = \"p\"\n";
    let off = "[rate]\namount = \"off\"\n";
    let amount = "[emergency]\namount = 70\n";
    assert_eq!(cap("", "x"), (Some(1000), HOUR_MS), "R-PIPE-2");
    assert_eq!((cap(plan, "x"), cap(plan, "a")), ((Some(9), MINUTE_MS), (Some(5), MINUTE_MS)));
    assert_eq!(cap(off, "x"), (Some(1000), HOUR_MS), "R-PIPE-2: also where the backstop is off");
    for text in [plan, off, "[defaults]\nplan = \"trial\"\n"] {
        let text = format!("{amount}{text}");
        assert_eq!((cap(&text, "x"), cap(&text, "a")), ((Some(70), HOUR_MS), (Some(70), HOUR_MS)), "{text}");
    }
    let config = with_variables(&[("TOLLGATE__EMERGENCY__AMOUNT", "5")]).unwrap();
    assert_eq!(policy(&config, "x").emergency_amount, Some(5));
}

#[test]
fn unlisted_orgs_share_one_policy() {
    let config =
        good("[plans.free]\nspend = { hourly = \"1u\" }\n[orgs.a]\nplan = \"free\"\n[orgs.b]\nplan = \"free\"\n");
    assert!(Arc::ptr_eq(&policy(&config, "x"), &policy(&config, "y")));
    assert!(Arc::ptr_eq(&policy(&config, "a"), &policy(&config, "b")), "and so do orgs that add nothing to a plan");
}

#[test]
fn variables_win_over_the_file_and_flags_over_both() {
    let file =
        file_of("[listen]\ngrpc = \"127.0.0.1:1\"\nhttp = \"127.0.0.1:2\"\n[rate]\namount = 3\n[data]\ndir = \"/a\"\n");
    let flags =
        Overrides { data_dir: Some("/c".into()), grpc: Some("127.0.0.1:9".parse().unwrap()), ..Overrides::default() };
    let pairs = [
        ("TOLLGATE__LISTEN__GRPC", "127.0.0.1:5"),
        ("TOLLGATE__LISTEN__HTTP", "127.0.0.1:6"),
        ("TOLLGATE__RATE__AMOUNT", "5_000"),
        ("TOLLGATE__DATA__DIR", "/b"),
        ("TOLLGATE__RATE__WINDOW", "{ aligned = \"1m\" }"),
        ("TOLLGATE__NODE__NAME", "42"),
        ("TOLLGATE__ORGS__A__SPEND__HOURLY", "$5"),
    ];
    let config = load(Some(file.path()), variables(&pairs), flags).unwrap();
    assert_eq!((config.listen.grpc.port(), config.listen.http.port()), (9, 6));
    assert_eq!(config.data_dir, PathBuf::from("/c"));
    assert_eq!(config.node, "42", "text, whatever else it could be");
    let rate = policy(&config, "x").rate.clone();
    assert_eq!((rate.amount, rate.len), (Some(5000), MINUTE_MS));
    assert_eq!(amounts(&policy(&config, "a"), ""), [("budget/hourly".into(), Some(5_000_000))]);
    let config = with_variables(&[("TOLLGATE__RATE__AMOUNT", "off"), ("TOLLGATE__DATA__DIR", "/b")]).unwrap();
    assert_eq!((policy(&config, "x").rate.amount, config.data_dir), (None, PathBuf::from("/b")));
}

#[test]
fn a_variable_means_the_name_in_the_file_that_differs_only_in_capitals() {
    let file = file_of("[orgs.AcMe]\nrate = { amount = 1 }\n");
    let pairs = [("TOLLGATE__ORGS__ACME__RATE__AMOUNT", "7"), ("TOLLGATE__ORGS__OTHER__RATE__AMOUNT", "8")];
    let config = load(Some(file.path()), variables(&pairs), Overrides::default()).unwrap();
    assert_eq!(policy(&config, "AcMe").rate.amount, Some(7));
    assert_eq!(policy(&config, "other").rate.amount, Some(8));
    assert_eq!(config.policies.listed().count(), 2);
}

#[test]
fn the_largest_values_are_accepted() {
    let config = good(&format!(
        "[rate]\namount = {AMOUNT_MAX}\nwindow = {{ aligned = \"31d\" }}\n[defaults]\nplan = \"p\"\n[plans.p]\n\
         spend = {{ monthly = \"$10000000000\" }}\n"
    ));
    let p = policy(&config, "x");
    assert_eq!((p.rate.amount, p.rate.len), (Some(AMOUNT_MAX), 31 * DAY_MS));
    assert_eq!(p.limits.first().unwrap().amount, Some(AMOUNT_MAX));
}

#[test]
fn port_zero_may_be_asked_for_twice() {
    let listen = good("[listen]\ngrpc = \"127.0.0.1:0\"\nhttp = \"127.0.0.1:0\"\n").listen;
    assert_eq!((listen.grpc.port(), listen.http.port()), (0, 0));
}
