//! R-OPS-4: every mistake at once, each at its place, with what is allowed.

use super::*;
use crate::domain::window::period_names;

#[test]
fn every_mistake_names_its_line_key_value_and_what_is_allowed() {
    for (text, expected) in [
        (
            "[listen]\ngrpc = \"localhost\"",
            "t.toml:2:8: listen.grpc \"localhost\" is not allowed: an IP address and a port",
        ),
        ("listen.http = 7071", "t.toml:1:15: listen.http \"7071\" is not allowed: an IP address"),
        (
            "[listen]\nhttp = \"0.0.0.0:7070\"",
            "t.toml:2:8: listen.http \"0.0.0.0:7070\" is not allowed: another port than",
        ),
        (
            "[listen]\npeers = \"127.0.0.1:1\"",
            "t.toml:2:1: listen.peers is not a known key: use one of grpc, http, peer",
        ),
        ("[cors]\norigins = \"*\"", "cors.origins \"*\" is not allowed: a list of origins"),
        (
            "[cors]\norigins = [\"https://a.b/c\"]",
            "is not allowed: a list of origins such as \"https://app.example.com\"",
        ),
        ("[cors]\norigins = [\"*\", \"https://a.b\"]", "is not allowed: a list of origins"),
        ("[cors]\norigins = [\"ftp://a.b\"]", "is not allowed: a list of origins"),
        ("[data]\ndir = \"\"", "t.toml:2:7: data.dir \"\" is not allowed: the path of a directory"),
        (
            "[durability]\nwrite_behind_ms = -1",
            "t.toml:2:19: durability.write_behind_ms \"-1\" is not allowed: a whole number from 0 to 10000",
        ),
        ("[durability]\nwrite_behind_max = 0", "\"0\" is not allowed: a whole number from 1"),
        (
            "[rate]\namount = 0",
            "t.toml:2:10: rate.amount \"0\" is not allowed: a whole number from 1 to 10000000000000000, or \"off\"",
        ),
        ("[rate]\namount = -5", "rate.amount \"-5\" is not allowed"),
        ("[rate]\namount = 1.5", "rate.amount \"1.5\" is not allowed"),
        ("[rate]\namount = \"1000\"", "rate.amount \"1000\" is not allowed"),
        ("[rate]\namount = 99999999999999999999999999999999999999999999999", "is not allowed: a whole number from 1"),
        (
            "[rate]\nwindow = \"1h\"",
            "t.toml:2:10: rate.window \"1h\" is not allowed: a section [rate.window] or a table { … }",
        ),
        (
            "[rate]\nwindow = { rolling = \"1h\" }",
            "t.toml:2:12: rate.window.rolling is not a known key: use one of aligned",
        ),
        (
            "[rate]\nwindow = { aligned = \"9999d\" }",
            "rate.window.aligned \"9999d\" is not allowed: whole seconds from 1s to ",
        ),
        ("[rate]\nidle_windows = 0", "rate.idle_windows \"0\" is not allowed"),
        (
            "[rate]\non_indeterminate = \"maybe\"",
            "rate.on_indeterminate \"maybe\" is not allowed: \"allow\" or \"deny\"",
        ),
        (
            "[rate]\namont = 5",
            "t.toml:2:1: rate.amont is not a known key: use one of amount, window, idle_windows, on_indeterminate (did you mean amount?)",
        ),
        (
            "[fleet]\nnode = 5",
            "t.toml:1:2: fleet is not a known key: use one of listen, cluster, cors, tls, auth, data, durability, bounds, billing, pools, envoy, forward_auth, webhook, rate, emergency, defaults, sessions, budgets, plans, orgs, reload, node, log, tracing",
        ),
        (
            "[emergency]\namount = \"off\"",
            "t.toml:2:10: emergency.amount \"off\" is not allowed: a whole number from 1 to 10000000000000000; the emergency cap cannot be \"off\", because nothing else limits an org in an outage",
        ),
        ("[emergency]\namount = 0", "emergency.amount \"0\" is not allowed: a whole number from 1"),
        ("[emergency]\namount = 1.5", "emergency.amount \"1.5\" is not allowed: a whole number from 1"),
        ("[emergency]\nwindow = \"1h\"", "emergency.window is not a known key: use one of amount"),
        ("[orgs.a.emergency]\namount = 5", "t.toml:2:1: orgs.a.emergency.amount is not a known key"),
        ("rate = 5", "t.toml:1:8: rate \"5\" is not allowed: a section [rate] or a table { … }"),
        ("[[plans]]\nx = 1", "plans \"[...]\" is not allowed: a section [plans]"),
        (
            "[defaults]\nplan = \"gold\"",
            "t.toml:2:8: defaults.plan \"gold\" is not allowed: one of the plans advanced, free, max, standard, trial, unlimited",
        ),
        (
            "[plans.free]\n[defaults]\nplan = \"pro\"",
            "t.toml:3:8: defaults.plan \"pro\" is not allowed: one of the plans advanced, free",
        ),
        ("[orgs.a]\nplan = 7", "t.toml:2:8: orgs.a.plan \"7\" is not allowed: the name of a plan"),
        (
            "[plans.free]\n[orgs.a]\nplan = \"fre\"",
            "orgs.a.plan \"fre\" is not allowed: one of the plans advanced, free",
        ),
        ("[plans]\nfree = 5", "t.toml:2:8: plans.free \"5\" is not allowed: a section [plans.free]"),
        ("[plans.\"a b\"]", "t.toml:1:8: plans \"a b\" is not allowed: the name of a plan is 1 to 64 characters"),
        ("[orgs.\"a//b\"]", "t.toml:1:7: orgs \"a//b\" is not allowed: 1 to 128 printable"),
        (
            "[plans.free]\nsessions_max = 1",
            "t.toml:2:1: plans.free.sessions_max is not a known key: use one of then, rate, exempt, scopes, require_scopes, included, overage, overrun, max_sessions, trial, executions, spend, compute, bytes",
        ),
        (
            "[plans.free]\nmax_sessions = -1",
            "t.toml:2:16: plans.free.max_sessions \"-1\" is not allowed: a whole number from 0 to 1000000, or \"unlimited\"",
        ),
        ("[plans.a]\nthen = \"b\"", "t.toml:2:8: plans.a.then \"b\" is not allowed: one of the plans a, advanced"),
        (
            "[orgs.a]\nplan = \"free\"\ntrial_ends = \"2026-12-15\"",
            "orgs.a.trial_ends \"2026-12-15T00:00:00Z\" is not allowed: only with a plan that has the key `then`, such as plan = \"trial\"; \"free\" has none",
        ),
        (
            "[orgs.a]\nplan = \"trial\"\ntrial_ends = \"soon\"",
            "t.toml:3:14: orgs.a.trial_ends \"soon\" is not allowed: a day such as \"2026-12-15\"",
        ),
        (
            "[sessions]\nheartbeat = \"2h\"",
            "t.toml:2:13: sessions.heartbeat \"2h\" is not allowed: a duration from 1s to 1h",
        ),
        ("[sessions]\nmissed = 0", "t.toml:2:10: sessions.missed \"0\" is not allowed: a whole number from 1 to 23"),
        (
            "[sessions]\nheartbeat = \"10m\"",
            "t.toml:2:13: sessions.clamp \"5m\" is not allowed: at least sessions.heartbeat, which is 10m",
        ),
        ("[pools]\ndaily_limit = -1", "t.toml:2:15: pools.daily_limit \"-1\" is not allowed: a whole number from 0"),
        ("[pools]\nsafety_buffer = \"x\"", "pools.safety_buffer \"x\" is not allowed: a whole number from 0"),
        ("[pools]\nwindow = \"24h\"", "pools.window \"24h\" is not allowed: a section [pools.window]"),
        (
            "[pools]\nwindow = { calendar = \"decade\" }",
            "pools.window.calendar \"decade\" is not allowed: \"day\" or \"week\" or \"month\" or \"year\"",
        ),
        (
            "[pools]\nwindow = { rolling = \"90m\" }",
            "pools.window.rolling \"90m\" is not allowed: whole minutes up to 1h",
        ),
        (
            "[pools]\nwindow = { aligned = \"1h\", anchored = \"24h\" }",
            "t.toml:2:1: pools.window \"anchored/1d\" is not allowed: exactly one window, such as",
        ),
        (
            "[pools]\nwindow = { calendar = \"day\", zone = \"Mars\" }",
            "pools.window.zone \"Mars\" is not allowed: a zone of the IANA database",
        ),
        (
            "[pools]\nwindow = { anchored = \"24h\", zone = \"Europe/Berlin\" }",
            "pools.window.zone \"anchored/1d\" is not allowed: only with a window of the calendar",
        ),
        (
            "[plans.a]\nbytes = { hourly = { amount = 5, zone = \"Europe/Berlin\" } }",
            "plans.a.bytes.hourly.zone \"rolling/1h\" is not allowed: only with a window of the calendar",
        ),
        (
            "[plans.a]\nbytes = { calendar_day = { amount = 5, zone = \"utc\" } }",
            "plans.a.bytes.calendar_day.zone \"utc\" is not allowed: a zone of the IANA database",
        ),
        ("[pools]\ncooldown = \"0s\"", "pools.cooldown \"0s\" is not allowed: a duration from 1s to 30d"),
        ("[pools]\nquota_texts = [\"\"]", "pools.quota_texts \"[...]\" is not allowed: a list of at most 64 texts"),
        ("[pools]\nquota_texts = \"quota\"", "pools.quota_texts \"quota\" is not allowed: a list of at most 64 texts"),
        ("[pools]\nprofile = \"gpt\"", "pools.profile \"gpt\" is not allowed: \"relay\" or \"llm\""),
        ("[pools]\nper_minute = \"x\"", "pools.per_minute \"x\" is not allowed: a whole number from 0"),
        ("[pools.named.\"a b\"]\n", "pools.named \"a b\" is not allowed"),
        ("[pools.named.a]\nstats = \"1m\"", "t.toml:2:1: pools.named.a.stats is not a known key"),
        (
            "[pools.named.a]\ncooldown = \"0s\"",
            "pools.named.a.cooldown \"0s\" is not allowed: a duration from 1s to 30d",
        ),
        ("[pools]\nstats = \"2h\"", "pools.stats \"2h\" is not allowed: a duration from 1s to 1h"),
        (
            "[budgets]\non_indeterminate = \"maybe\"",
            "budgets.on_indeterminate \"maybe\" is not allowed: \"allow\" or \"deny\"",
        ),
        ("[plans.free]\nspend = 5", "t.toml:2:9: plans.free.spend \"5\" is not allowed: a table of windows"),
        (
            "[plans.free]\n\"Spend!\" = { hourly = 1 }",
            "t.toml:2:1: plans.free \"Spend!\" is not allowed: 1 to 64 characters of [a-z0-9_]",
        ),
        (
            "[plans.free]\nrate = { amount = \"off\" }",
            "t.toml:2:19: plans.free.rate.amount \"off\" is not allowed: a whole number from 1",
        ),
        ("[orgs.a]\nrate = { amount = 0 }", "orgs.a.rate.amount \"0\" is not allowed"),
        (
            "[orgs.a]\nrate = { idle_windows = 3 }",
            "orgs.a.rate.idle_windows is not a known key: use one of amount, window",
        ),
        ("[orgs.a.scopes.\"\"]\n", "orgs.a.scopes \"\" is not allowed: a scope such as"),
        ("[orgs.a.scopes.\"*/x\"]\n", "orgs.a.scopes \"*/x\" is not allowed"),
        ("[orgs.a.scopes.w]\nrate = { amount = 5 }", "orgs.a.scopes.w.rate is not a known key: use one of executions"),
        (
            "[bounds]\nbatch_items = 0",
            "t.toml:2:15: bounds.batch_items \"0\" is not allowed: a whole number from 1 to 10000",
        ),
        ("[bounds]\nbatch_item = 1", "(did you mean batch_items?)"),
        (
            "[node]\nname = \"a b\"",
            "t.toml:2:8: node.name \"a b\" is not allowed: 1 to 64 characters of [A-Za-z0-9._-]",
        ),
        (
            "[log]\nlevel = \"loud\"",
            "log.level \"loud\" is not allowed: \"error\" or \"warn\" or \"info\" or \"debug\" or \"trace\"",
        ),
        ("[log]\nformat = true", "log.format \"true\" is not allowed: \"text\" or \"json\""),
        ("\u{1f600} = 1", "t.toml:1:1: not TOML: "),
        ("[log]\n\nlevel = \"info\"\nlevel = \"warn\"", "t.toml:4:1: not TOML: duplicate key"),
        ("[log\n", "t.toml:1:5: not TOML: unclosed table"),
    ] {
        let shown = errors(text);
        assert!(shown.contains(expected), "{text}\n  says: {shown}\n  want: {expected}");
        assert_eq!(shown.lines().count(), 1, "one mistake, one line: {shown}");
    }
}

#[test]
fn a_limit_that_cannot_be_read_is_refused_never_no_limit() {
    for (value, expected) in [
        (
            "spend = { hourly = -5 }",
            "t.toml:2:20: plans.free.spend.hourly \"-5\" is not allowed: an amount of spend with its unit, \"$25\", \"25usd\" or \"25000000u\" (micro-USD)",
        ),
        ("spend = { hourly = 1.5 }", "plans.free.spend.hourly \"1.5\" is not allowed"),
        ("spend = { hourly = \"$1.0000001\" }", "with at most 6 decimals"),
        ("spend = { daily = 25 }", "plans.free.spend.daily \"25\" is not allowed: an amount of spend with its unit"),
        (
            "spend = { daily = 0 }",
            "(micro-USD), with at most 6 decimals and at most $10000000000, \"block\" or \"unlimited\"",
        ),
        ("spend = { daily = \"5\" }", "plans.free.spend.daily \"5\" is not allowed"),
        ("spend = { daily = { amount = 5 } }", "plans.free.spend.daily.amount \"5\" is not allowed"),
        ("spend = { daily = { amount = \"$5\", buffer = 1 } }", "spend.daily.buffer \"1\" is not allowed"),
        ("executions = { daily = \"block\" }", "plans.free.executions.daily \"block\" is not allowed"),
        ("spend = { hourly = \"4h\" }", "plans.free.spend.hourly \"4h\" is not allowed"),
        ("executions = { daily = \"$5\" }", "plans.free.executions.daily \"$5\" is not allowed"),
        ("executions = { daily = \"10\" }", "plans.free.executions.daily \"10\" is not allowed"),
        ("executions = { daily = 10000000000000001 }", "is not allowed: a whole number from 0"),
        ("compute = { daily = \"4 hours\" }", "a duration such as \"30m\" or \"4h\""),
        (
            "spend = { hourley = \"5u\" }",
            "t.toml:2:11: plans.free.spend.hourley is not a known key: use one of {PERIODS}, calendar_day, calendar_week, calendar_month, calendar_year, aligned_1h, anchored_24h, rolling_7d (did you mean hourly?)",
        ),
        (
            "spend = { rolling_90s = \"5u\" }",
            "t.toml:2:11: plans.free.spend \"rolling_90s\" is not allowed: its length must be whole minutes up to 1h",
        ),
        ("spend = { rolling_90m = \"5u\" }", "its length must be whole minutes up to 1h and whole hours"),
        ("spend = { aligned_ = \"5u\" }", "its length must be whole seconds from 1s to "),
        ("spend = { aligned_9999d = \"5u\" }", "its length must be whole seconds from 1s to "),
        ("spend = { anchored_0s = \"5u\" }", "its length must be whole seconds from 1s to "),
        (
            "spend = { hourly = \"5u\", rolling_60m = \"6u\" }",
            "each window once; another key of this table also means rolling/1h",
        ),
        (
            "spend = { hourly = { buffer = \"5u\" } }",
            "t.toml:2:11: plans.free.spend.hourly.amount is missing: an amount of spend",
        ),
        (
            "spend = { hourly = { amount = \"5u\", buffer = \"unlimited\" } }",
            "spend.hourly.buffer \"unlimited\" is not allowed",
        ),
        ("spend = { hourly = { amount = \"5u\", buffer = -1 } }", "spend.hourly.buffer \"-1\" is not allowed"),
        (
            "spend = { hourly = { amount = \"5u\", shadow = 1 } }",
            "spend.hourly.shadow \"1\" is not allowed: true or false",
        ),
        (
            "spend = { hourly = { amount = \"5u\", name = \"x\" } }",
            "spend.hourly.name is not a known key: use one of amount, buffer, shadow",
        ),
        ("spend = { hourly = [5] }", "plans.free.spend.hourly \"[...]\" is not allowed"),
        ("spend = { hourly = false }", "plans.free.spend.hourly \"false\" is not allowed"),
    ] {
        let shown = errors(&format!("[plans.free]\n{value}\n"));
        let expected = &expected.replace("{PERIODS}", &period_names());
        assert!(shown.contains(expected), "R-BUD-2: {value}\n  says: {shown}\n  want: {expected}");
        assert_eq!(shown.lines().count(), 1, "{shown}");
    }
}

#[test]
fn ten_mistakes_are_ten_in_the_order_of_the_file() {
    let text = "[listen]\ngrpc = 5\n[rate]\namount = 0\nwindows = 1\namount = 7\n[plans.free]\nspend = { hourly = -5, \
                dayly = \"3u\" }\nrate = { amount = 1.5 }\n[orgs.\"a b\"]\n[orgs.b]\nplan = \"free\"\nexempt = 1\n[logs]\n\
                level = 1\n[bounds]\nidle_ms = 1\n";
    let found = check(text, "t.toml").unwrap_err();
    let lines: Vec<_> = found
        .mistakes()
        .iter()
        .map(|mistake| match mistake.place {
            Place::Position { line, .. } => line,
            _ => 0,
        })
        .collect();
    assert_eq!(lines, [2, 4, 5, 6, 8, 8, 9, 10, 13, 14, 17], "{found}");
    assert_eq!(found.len(), 11);
    assert_eq!(found.to_string().lines().count(), found.len());
}

#[test]
fn a_broken_line_is_one_mistake_and_hides_no_other() {
    let shown =
        errors("[plans.free]\nspend = { hourly = off }\ncompute = { daily = \"x\" }\n[orgs.a]\nplan = \"free\"\n");
    assert_eq!(shown.lines().count(), 2, "{shown}");
    assert!(shown.contains("t.toml:2:20: not TOML: "), "{shown}");
    assert!(shown.contains("t.toml:3:21: plans.free.compute.daily \"x\""), "{shown}");
    let unread = errors("[orgs.a]\nplan = \"free\"\namount 5\n[plans.free]\n");
    assert_eq!(unread.lines().count(), 1, "the plan may stand behind the broken line: {unread}");
}

#[test]
fn more_limits_than_a_scope_may_have_are_refused_where_they_meet() {
    let windows = |from: usize, count: usize| -> String {
        (from..from + count).map(|n| format!("aligned_{}s = \"1u\"", n + 1)).collect::<Vec<_>>().join(", ")
    };
    let plan = |count| format!("[plans.free]\nspend = {{ {} }}\n", windows(0, count));
    good(&plan(LIMITS_PER_SCOPE));
    let shown = errors(&plan(LIMITS_PER_SCOPE + 1));
    assert!(shown.starts_with("t.toml:1:8: plans.free \"33 limits\" is not allowed: at most 32 limits"), "{shown}");
    let org = format!("{}[orgs.a]\nplan = \"free\"\nspend = {{ {} }}\n", plan(30), windows(30, 3));
    assert!(errors(&org).starts_with("t.toml:3:7: orgs.a \"33 limits\""), "{}", errors(&org));
    good(&format!("{}[orgs.a]\nplan = \"free\"\nspend = {{ {} }}\n", plan(30), windows(28, 4)));
}

#[test]
fn a_backstop_that_is_switched_off_is_one_warning() {
    let config =
        good("[rate]\nwindow = { aligned = \"1m\" }\non_indeterminate = \"deny\"\namount = \"off\"\n[orgs.a]\n");
    assert_eq!(
        policy(&config, "a").rate,
        RateLimit { amount: None, len: MINUTE_MS, on_indeterminate: OnIndeterminate::Deny, ..RateLimit::default() }
    );
    assert_eq!(config.warnings().len(), 1, "R-PIPE-2: {:?}", config.warnings());
    assert!(config.warnings()[0].starts_with("t.toml:4:10: rate.amount is \"off\""), "{:?}", config.warnings());
}

#[test]
fn what_is_allowed_but_looks_wrong_is_a_warning() {
    let config = good(
        "[plans.free]\nexections = { daily = 5 }\ntokens = { daily = { amount = 5, buffer = 5 } }\n[orgs.a]\nplan = \"free\"\n",
    );
    let shown = config.warnings().join("\n");
    assert_eq!(config.warnings().len(), 2, "{shown}");
    assert!(
        shown.contains("t.toml:2:1: plans.free.exections limits the custom meter exections, not executions"),
        "{shown}"
    );
    assert!(shown.contains("plans.free.tokens.daily has a buffer of 5 tokens and an amount of 5 tokens"), "{shown}");
}

#[test]
fn a_limit_of_an_account_on_what_is_not_counted_there_is_a_warning() {
    let config = good(
        "[plans.relay.scopes]\n\"account/k\" = { spend = { daily = \"5u\", hourly = \"0u\" }, bytes = { daily = 5 } }\n\
         \"pool/*\" = { calls = { daily = 5 }, tokens = { daily = 5 } }\n[orgs.a]\nplan = \"relay\"\n",
    );
    let shown = config.warnings().join("\n");
    assert_eq!(config.warnings().len(), 2, "{shown}");
    assert!(shown.contains("t.toml:2:1: plans.relay.scopes.\"account/k\".spend limits nothing"), "{shown}");
    assert!(shown.contains("scopes.\"pool/*\".tokens limits nothing: only calls and bytes"), "{shown}");
}

#[test]
fn a_section_that_is_meant_for_every_org_is_refused_with_the_key_to_use() {
    for name in ["\"*\"", "default", "defaults"] {
        let shown = errors(&format!("[orgs.{name}]\nrate = {{ amount = 5 }}\n"));
        assert!(shown.starts_with(&format!("t.toml:1:7: orgs.{name} is not allowed")), "{shown}");
        assert!(shown.contains("defaults.plan = \"NAME\""), "{shown}");
        assert_eq!(shown.lines().count(), 1, "{shown}");
    }
    good("[orgs.defaulted]\n[orgs.\"default/1\"]\n");
}

#[test]
fn a_plan_that_nothing_names_is_a_warning() {
    let named = "[defaults]\nplan = \"a\"\n[plans.a]\nthen = \"b\"\n[plans.b]\n[plans.c]\n[orgs.o]\nplan = \"c\"\n";
    assert_eq!(good(named).warnings(), [""; 0]);
    let config = good(&format!("{named}[plans.d]\n[plans.free]\n"));
    let shown = config.warnings().join("\n");
    assert_eq!(config.warnings().len(), 2, "{shown}");
    assert!(shown.contains("t.toml:9:8: plans.d is the plan of no org"), "{shown}");
    assert!(shown.contains("plans.free is the plan of no org"), "also one that would be there by itself: {shown}");
}

#[test]
fn variables_that_set_nothing_are_warned_of() {
    let config = with_variables(&[
        ("TOLLGATE_RATE_AMOUNT", "5"),
        ("TOLLGATE_BOUNDS__BATCH_ITEMS", "5"),
        ("TOLLGATE_ADDR", "x"),
        ("TOLLGATE_SERVICE_HOST", "10.0.0.1"),
        ("TOLLGATE_PORT_7070_TCP", "tcp://10.0.0.1:7070"),
        ("TOLLGATED", "1"),
    ])
    .unwrap();
    let shown = config.warnings().join("\n");
    assert_eq!(config.warnings().len(), 2, "{shown}");
    assert!(shown.contains("TOLLGATE_RATE_AMOUNT: sets nothing"), "{shown}");
    assert!(shown.contains("(did you mean TOLLGATE__RATE__AMOUNT?)"), "{shown}");
    assert!(shown.contains("(did you mean TOLLGATE__BOUNDS__BATCH_ITEMS?)"), "{shown}");
}

#[test]
fn mistakes_in_variables_name_the_variable() {
    let deep = format!("TOLLGATE__{}", vec!["A"; 5000].join("__"));
    for (pairs, expected) in [
        (vec![("TOLLGATE__RATE__AMOUNT", "0")], "TOLLGATE__RATE__AMOUNT: rate.amount \"0\" is not allowed"),
        (vec![("TOLLGATE__RATE__AMOUNT", "")], "TOLLGATE__RATE__AMOUNT: rate.amount \"\" is not allowed"),
        (
            vec![("TOLLGATE__RATE__AMONT", "5")],
            "TOLLGATE__RATE__AMONT: rate.amont is not a known key: use one of amount",
        ),
        (vec![("TOLLGATE__RAT__AMOUNT", "5")], "TOLLGATE__RAT__AMOUNT: rat is not a known key: use one of listen"),
        (vec![("TOLLGATE__RATE", "5")], "TOLLGATE__RATE: rate \"5\" is not allowed: a section"),
        (vec![("TOLLGATE__", "5")], "TOLLGATE__: \"\" is not a known key"),
        (
            vec![("TOLLGATE__RATE__AMOUNT__X", "5"), ("TOLLGATE__RATE__AMOUNT", "6")],
            "TOLLGATE__RATE__AMOUNT__X: rate.amount \"6\" is not allowed: a section",
        ),
        (
            vec![("TOLLGATE__RATE__AMOUNT", "5"), ("TOLLGATE__RATE__amount", "6")],
            "rate.amount \"6\" is not allowed: set by one variable; TOLLGATE__RATE__AMOUNT also sets it",
        ),
        (
            vec![("TOLLGATE__DATA__DIR", "/a\u{fffd}")],
            "TOLLGATE__DATA__DIR: data.dir \"/a\\u{fffd}\" is not allowed: text in UTF-8",
        ),
        (vec![(deep.as_str(), "1")], "is not allowed: at most 8 names"),
    ] {
        let shown = with_variables(&pairs).unwrap_err().to_string();
        assert!(shown.contains(expected), "{pairs:?}\n  says: {shown}\n  want: {expected}");
        assert_eq!(shown.lines().count(), 1, "{shown}");
    }
}

#[test]
fn mistakes_of_file_variables_and_flags_come_together() {
    let file = file_of("[rate]\namount = 0\n");
    let flags = Overrides { data_dir: Some(PathBuf::new()), ..Overrides::default() };
    let shown = load(Some(file.path()), variables(&[("TOLLGATE__LOG__LEVEL", "x")]), flags).unwrap_err().to_string();
    let lines: Vec<_> = shown.lines().collect();
    assert_eq!(lines.len(), 3, "{shown}");
    assert!(lines[0].contains(":2:10: rate.amount"), "{shown}");
    assert!(lines[1].starts_with("TOLLGATE__LOG__LEVEL: log.level"), "{shown}");
    assert!(lines[2].starts_with("--data-dir: data.dir"), "{shown}");
}

#[test]
fn a_file_that_cannot_be_read_is_a_mistake_not_the_defaults() {
    let nowhere = tempfile::tempdir().unwrap().path().join("none.toml");
    let plan = variables(&[("TOLLGATE__DEFAULTS__PLAN", "free")]);
    let shown = load(Some(&nowhere), plan, Overrides::default()).unwrap_err().to_string();
    assert_eq!(shown.lines().count(), 1, "the plan may stand in that file: {shown}");
    assert!(shown.contains("none.toml: cannot be read: "), "{shown}");
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"a = \"\xff\"").unwrap();
    let shown = load(Some(file.path()), variables(&[]), Overrides::default()).unwrap_err().to_string();
    assert!(shown.contains("is not UTF-8 at byte 5"), "{shown}");
}
