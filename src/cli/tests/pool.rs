//! `tollgate pool`, and a node with a canned pool.

use std::{collections::HashMap, fs};

use serde_json::{Value, json};
use tonic::{Code, Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::{
    Exit, NOW_MS, Ran,
    node::{Canned, Node, Reply, broken, rate},
    tollgate,
};
use crate::wire::v1::{pool_service_server::PoolService, *};

/// A request id that the node has seen before.
const SEEN_BEFORE: &str = "again";
const SECRET: &str = "sk-secret-0123456789-9f3c";
const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

#[tonic::async_trait]
impl PoolService for Canned {
    async fn configure_pool(&self, request: Request<ConfigurePoolRequest>) -> Reply<ConfigurePoolResponse> {
        let request = self.keep(request);
        let replayed = request.request_id == SEEN_BEFORE;
        let warning = "account sk-s…9f3c has a safety_buffer of 9 on a daily_limit of 9: nothing is usable";
        let pool = match request.org.as_str() {
            "broken" => return Err(broken("broken")),
            "raced" => return Err(refused(Code::Aborted, "the pool has version 3", "POOL_VERSION")),
            "empty" => None,
            "blank" => Some(Pool { summary: None, ..pool() }),
            _ if request.accounts.is_empty() => Some(Pool { accounts: Vec::new(), version: 0, ..pool() }),
            _ => Some(pool()),
        };
        let warnings = if request.org == "odd" { vec![warning.into(), "another".into()] } else { Vec::new() };
        Ok(Response::new(ConfigurePoolResponse { pool, warnings, replayed }))
    }

    async fn get_pool(&self, request: Request<GetPoolRequest>) -> Reply<GetPoolResponse> {
        let request = self.keep(request);
        let pool = match (request.org.as_str(), request.pool.as_str()) {
            ("empty", _) => None,
            (_, "gone") => return Err(refused(Code::NotFound, "there is no pool gone", "POOL_UNKNOWN")),
            _ => Some(pool()),
        };
        Ok(Response::new(GetPoolResponse { pool }))
    }

    async fn pick(&self, request: Request<PickRequest>) -> Reply<PickResponse> {
        let request = self.keep(request);
        let gated = request.acquire.is_some();
        let replayed = request.request_id == SEEN_BEFORE;
        match (request.org.as_str(), request.pool.as_str()) {
            ("broken", _) => Err(broken("broken")),
            ("empty", _) => Ok(Response::new(PickResponse { account: String::new(), ..picked(gated) })),
            ("ungated", _) => Ok(Response::new(picked(false))),
            ("full", _) => Ok(Response::new(limited(gated))),
            (_, "used-up") => Ok(Response::new(exhausted())),
            (_, "ill") => Ok(Response::new(PickResponse { last_resort: true, ..picked(gated) })),
            _ => Ok(Response::new(PickResponse { replayed, ..picked(gated) })),
        }
    }

    async fn report_outcome(&self, request: Request<ReportOutcomeRequest>) -> Reply<ReportOutcomeResponse> {
        let request = self.keep(request);
        let outcome = match request.status {
            _ if request.org == "broken" => return Err(broken("broken")),
            _ if request.error_text.contains("quota") => UpstreamOutcome::QuotaExhausted.into(),
            // A value that only a newer node has.
            _ if request.org == "newer" => 9,
            0 => UpstreamOutcome::Unavailable.into(),
            200 => UpstreamOutcome::Ok.into(),
            _ => UpstreamOutcome::Failed.into(),
        };
        let (known, replayed) = (request.account == SECRET, request.request_id == SEEN_BEFORE);
        Ok(Response::new(ReportOutcomeResponse { outcome, known, replayed }))
    }

    async fn clear_account(&self, request: Request<ClearAccountRequest>) -> Reply<ClearAccountResponse> {
        let request = self.keep(request);
        let account = match request.org.as_str() {
            "broken" => return Err(broken("broken")),
            "empty" => None,
            _ => pool().accounts.pop(),
        };
        let (cleared, replayed) = (request.account == SECRET, request.request_id == SEEN_BEFORE);
        Ok(Response::new(ClearAccountResponse { account, cleared, replayed }))
    }
}

fn refused(code: Code, message: &str, reason: &str) -> Status {
    Status::with_error_details(code, message, ErrorDetails::with_error_info(reason, "tollgate", HashMap::new()))
}

fn pool() -> Pool {
    let used = PoolAccountStatus {
        account: "sk-s…9f3c".into(),
        daily_limit: 20_000,
        safety_buffer: 500,
        window: "anchored/1d".into(),
        used: 12,
        remaining: 19_488,
        failed: 2,
        bytes_up: 1_000,
        bytes_down: 2_048,
        last_used_at_ms: NOW_MS - 30_000,
        window_ends_at_ms: NOW_MS + HOUR,
        state: AccountState::Active.into(),
        route: RouteHealth::Cooldown.into(),
        route_until_ms: NOW_MS + MINUTE,
        ..Default::default()
    };
    let full = PoolAccountStatus {
        account: "***".into(),
        daily_limit: 9,
        safety_buffer: 0,
        window: "rolling/1h".into(),
        used: 10,
        remaining: -1,
        quota_errors: 1,
        state: AccountState::QuotaExhausted.into(),
        available_at_ms: NOW_MS + HOUR,
        route: RouteHealth::Ok.into(),
        ..Default::default()
    };
    let summary = PoolSummary {
        capacity: 19_509,
        used: 22,
        remaining: 19_488,
        failed: 2,
        quota_errors: 1,
        active: 1,
        accounts: 2,
        avoided: 1,
        soonest_reset_ms: NOW_MS + HOUR,
        total_calls: 23,
        bytes: 3_048,
        estimated_remaining_bytes: Some(974_400_000),
        soonest_reset_in_ms: HOUR,
    };
    let (org, pool) = ("acme".into(), "relay".into());
    let in_force = PoolSettings { profile: PoolProfile::Llm.into(), per_minute: Some(60), ..Default::default() };
    let (accounts, summary) = (vec![full, used], Some(summary));
    Pool { org, pool, accounts, summary, version: 4, settings: None, in_force: Some(in_force) }
}

fn gates(allowed: bool) -> AcquireResponse {
    AcquireResponse {
        allowed,
        code: if allowed { DecisionCode::Allowed } else { DecisionCode::RateLimited }.into(),
        decision_id: if allowed { "0123456789abcdef0123456789abcdef" } else { "" }.into(),
        limits: vec![if allowed { rate(1, false) } else { rate(1000, true) }],
        reservation_id: if allowed { "r1" } else { "" }.into(),
        reservation_expires_at_ms: NOW_MS + 5 * MINUTE,
        fail_open: vec![FailOpen { gate: "balance".into(), cause: "timeout".into() }],
        ..Default::default()
    }
}

fn picked(gated: bool) -> PickResponse {
    PickResponse {
        allowed: true,
        code: DecisionCode::Allowed.into(),
        account: SECRET.into(),
        http_status_hint: 200,
        node: "n1".into(),
        remaining: 19_487,
        decision: gated.then(|| gates(true)),
        ..Default::default()
    }
}

fn exhausted() -> PickResponse {
    PickResponse {
        code: DecisionCode::AccountsExhausted.into(),
        message: "All 2 accounts of pool used-up are exhausted.".into(),
        retry_after_ms: HOUR,
        http_status_hint: 429,
        node: "n1".into(),
        ..Default::default()
    }
}

fn limited(gated: bool) -> PickResponse {
    PickResponse {
        code: DecisionCode::RateLimited.into(),
        message: "The abuse backstop is reached.".into(),
        retry_after_ms: MINUTE,
        http_status_hint: 429,
        node: "n1".into(),
        decision: gated.then(|| gates(false)),
        ..Default::default()
    }
}

fn ask(node: &Node, args: &str) -> Ran {
    node.ask(&args.split_whitespace().collect::<Vec<_>>())
}

fn asked(node: &Node) -> Value {
    node.seen().asked.last().unwrap().clone()
}

/// The accounts that the node got.
fn accounts(node: &Node) -> Value {
    asked(node)["accounts"].clone()
}

const SHOWN: &str = "\
pool                  relay
profile               llm
calls per minute      60
active                1/2
avoided               1
used                  #.........  22 of 19509
remaining             19488
failed                2
quota errors          1
calls today           23
bytes today           3,048 B
estimated bytes left  974,400,000 B
soonest reset         2026-11-22T09:30:00Z (in 1h)
version               4

ACCOUNT    STATE            USED  LIMIT  BUFFER  REMAINING  WINDOW       WINDOW ENDS                   ROUTE                                        FAILED  QUOTA ERRORS    BYTES  LAST USED                       USABLE AGAIN
***        quota exhausted    10      9       0         -1  rolling/1h   -                             ok                                                0             1      0 B  -                               2026-11-22T09:30:00Z (in 1h)
sk-s…9f3c  active             12  20000     500      19488  anchored/1d  2026-11-22T09:30:00Z (in 1h)  cooldown until 2026-11-22T08:31:00Z (in 1m)       2             0  3,048 B  2026-11-22T08:29:30Z (30s ago)  -
";

#[test]
fn a_pool_is_shown_as_facts_and_a_table_or_as_the_message() {
    let node = Node::start();
    let ran = ask(&node, "pool show acme relay");
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Done, ""));
    assert_eq!(ran.out, SHOWN);
    assert_eq!(asked(&node), json!({"org": "acme", "pool": "relay"}));
    let value = ask(&node, "pool show acme relay --output json").json();
    assert_eq!(value["pool"]["accounts"][1]["bytesDown"], "2048");
    assert_eq!(value["pool"]["summary"]["estimatedRemainingBytes"], "974400000");

    let gone = ask(&node, "pool show acme gone");
    assert_eq!((gone.exit, gone.out.as_str()), (Exit::Error, ""));
    assert_eq!(gone.err, "error: there is no pool gone (NOT_FOUND, POOL_UNKNOWN)\n");
}

#[test]
fn a_pool_is_configured_with_the_accounts_of_its_flags() {
    let node = Node::start();
    let ran = ask(
        &node,
        "pool configure acme relay --account sk-secret-0123456789-9f3c,limit=9,buffer=0,window=anchored/24h \
         --account k2 --expected-version 3 --request-id p-1",
    );
    assert_eq!((ran.exit, ran.err.as_str(), ran.out.as_str()), (Exit::Done, "", SHOWN));
    let expected = json!({
        "org": "acme", "pool": "relay", "requestId": "p-1", "expectedVersion": "3", "reason": "", "dryRun": false,
        "accounts": [
            {"account": SECRET, "dailyLimit": "9", "safetyBuffer": "0", "window": "anchored/24h"},
            {"account": "k2", "window": ""},
        ]
    });
    assert_eq!(asked(&node), expected);

    let again = ask(&node, "pool configure acme relay --account k2 --request-id again");
    assert!(again.out.contains("\nversion               4 (replayed)\n"), "R-PIPE-6: {}", again.out);
    let json = ask(&node, "pool configure acme relay --account k2 --output json");
    assert_eq!((json.exit, &json.json()["pool"]["version"]), (Exit::Done, &json!("4")));
    assert_eq!(asked(&node).get("expectedVersion"), None);
    let id = asked(&node)["requestId"].as_str().unwrap().to_owned();
    assert!(id.starts_with("cli-") && id.len() == 36, "{id}");
}

#[test]
fn what_is_accepted_and_hardly_meant_is_a_warning_on_stderr() {
    let node = Node::start();
    let args = "pool configure odd relay --account k1,limit=9,buffer=9";
    let ran = ask(&node, args);
    let warnings = "warning: account sk-s…9f3c has a safety_buffer of 9 on a daily_limit of 9: nothing is usable\n\
                    warning: another\n";
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Done, warnings));
    let json = ask(&node, &format!("{args} --output json"));
    assert_eq!((json.exit, json.err.as_str()), (Exit::Done, ""), "the answer has them as a field");
    assert_eq!(json.json()["warnings"][1], "another");
}

#[test]
fn accounts_of_a_file_and_of_flags_are_one_list() {
    let node = Node::start();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("accounts");
    fs::write(&file, format!("# keys of the relay\n\n{SECRET},buffer=7\r\n  k2,window=calendar/day\n")).unwrap();
    let file = file.to_str().unwrap();
    let ran = node.ask(&["pool", "configure", "acme", "relay", "--accounts-file", file]);
    assert_eq!((ran.exit, ran.err.as_str(), ran.out.as_str()), (Exit::Done, "", SHOWN));
    let (first, second) = (
        json!({"account": SECRET, "safetyBuffer": "7", "window": ""}),
        json!({"account": "k2", "window": "calendar/day"}),
    );
    assert_eq!(accounts(&node), json!([first, second]));

    let both = node.ask(&["pool", "configure", "acme", "relay", "--accounts-file", file, "--account", "k3,limit=1"]);
    assert_eq!((both.exit, both.err.as_str()), (Exit::Done, ""));
    assert_eq!(accounts(&node), json!([{"account": "k3", "dailyLimit": "1", "window": ""}, first, second]));
}

#[test]
fn a_bad_line_of_a_file_is_named_and_the_node_is_not_asked() {
    let node = Node::start();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("accounts");
    let file = path.to_str().unwrap();
    let repeated = format!("k1\n{SECRET}\n# twice\n{SECRET},limit=1\n");
    for (text, told) in [
        (format!("k1\n\n{SECRET} limit=5\n"), ": line 3: account \"sk-s…it=5\" is not allowed: 1 to 128 printable"),
        (format!("{SECRET},{SECRET}"), ": line 1: account option \"sk-s…9f3c\" is not allowed: ACCOUNT[,limit=N]"),
        (format!("{SECRET},window=daily"), ": line 1: window \"daily\" is not allowed: anchored/24h"),
        (format!("#\n{SECRET},limit=x"), ": line 2: limit \"x\" is not allowed: a whole number of calls"),
        (repeated, ": line 4: account \"sk-s…9f3c\" is not allowed: each account once"),
        ("# nothing\n\n".to_owned(), ": it names no account; --remove removes the pool"),
        (String::new(), ": it names no account; --remove removes the pool"),
    ] {
        fs::write(&path, &text).unwrap();
        let ran = node.ask(&["pool", "configure", "acme", "relay", "--accounts-file", file]);
        assert_eq!((ran.exit, ran.out.as_str()), (Exit::Error, ""), "{text}");
        assert!(ran.err.starts_with(&format!("error: {file}{told}")), "{text}: {}", ran.err);
        assert!(!ran.err.contains("0123456789-"), "R-POOL-1: {}", ran.err);
    }
    fs::write(&path, SECRET).unwrap();
    let both = node.ask(&["pool", "configure", "acme", "relay", "--accounts-file", file, "--account", SECRET]);
    assert_eq!(both.exit, Exit::Error);
    assert!(both.err.contains(": line 1: account \"sk-s…9f3c\" is not allowed: each account once"), "{}", both.err);

    let missing = node.ask(&["pool", "configure", "acme", "relay", "--accounts-file", "/nowhere/accounts"]);
    assert_eq!((missing.exit, missing.out.as_str()), (Exit::Error, ""));
    assert!(missing.err.starts_with("error: /nowhere/accounts: No such file"), "{}", missing.err);
    assert_eq!(node.seen().asked, Vec::<Value>::new(), "an empty list would have removed the pool");
}

#[test]
fn a_pool_is_removed_by_an_empty_list() {
    let node = Node::start();
    let ran = ask(&node, "pool configure acme relay --remove --yes --request-id again");
    assert_eq!((ran.exit, ran.err.as_str(), ran.out.as_str()), (Exit::Done, "", "removed  acme  relay  (replayed)\n"));
    assert_eq!(
        asked(&node),
        json!({"org": "acme", "pool": "relay", "requestId": "again", "reason": "", "dryRun": false, "accounts": []})
    );
}

#[test]
fn a_configuration_or_a_report_in_doubt_says_how_to_repeat_it_safely() {
    let node = Node::start();
    for args in ["pool configure broken relay --account k1", "pool report broken relay k1"] {
        let ran = ask(&node, args);
        assert_eq!((ran.exit, ran.out.as_str()), (Exit::Error, ""), "{args}");
        let id = asked(&node)["requestId"].as_str().unwrap().to_owned();
        assert!(ran.err.contains(&format!("--request-id {id} repeats this call safely")), "R-PIPE-6: {}", ran.err);
    }
    let raced = ask(&node, "pool configure raced relay --account k1 --expected-version 2");
    assert_eq!((raced.exit, raced.out.as_str()), (Exit::Error, ""));
    assert_eq!(raced.err, "error: the pool has version 3 (ABORTED, POOL_VERSION)\n", "nothing is in doubt");
}

#[test]
fn an_answer_that_lacks_what_it_must_have_is_an_error() {
    let node = Node::start();
    for (args, lacks) in [
        ("pool show empty relay", "it has no pool"),
        ("pool configure empty relay --account k1", "it has no pool"),
        ("pool configure blank relay --account k1", "it has no summary"),
        ("pool pick empty relay", "it has no account"),
        ("pool pick ungated relay --acquire", "it has no decision of the org's gates"),
    ] {
        let ran = ask(&node, args);
        assert_eq!((ran.exit, ran.out.as_str()), (Exit::Error, ""), "{args}");
        assert_eq!(ran.err, format!("error: the node's answer is incomplete: {lacks}\n"));
    }
}

#[test]
fn a_pick_shows_the_account_and_what_it_has_left_and_exits_0() {
    let node = Node::start();
    let ran = ask(&node, "pool pick acme relay");
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Done, ""));
    let expected = "\
allowed  acme  relay
account    sk-secret-0123456789-9f3c
remaining  19487
node       n1
";
    assert_eq!(ran.out, expected);
    assert_eq!(asked(&node), json!({"org": "acme", "pool": "relay", "requestId": ""}), "the gates are not asked");

    let again = ask(&node, "pool pick acme relay --request-id again");
    assert_eq!(again.lines()[1], "replayed   nothing was charged again", "R-PIPE-6");
    let ill = ask(&node, "pool pick acme ill");
    assert_eq!(
        (ill.exit, ill.lines()[3]),
        (Exit::Done, "last resort  every other account is exhausted or avoided as well")
    );
    let json = ask(&node, "pool pick acme relay --output json");
    assert_eq!(
        (json.exit, &json.json()["account"], &json.json()["remaining"]),
        (Exit::Done, &json!(SECRET), &json!("19487"))
    );
}

#[test]
fn a_pick_that_finds_no_account_is_data_and_exits_3() {
    let node = Node::start();
    let ran = ask(&node, "pool pick acme used-up");
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Denied, ""), "R-PIPE-5: a denial is not an error");
    let expected = "\
denied   acme  used-up  ACCOUNTS_EXHAUSTED
All 2 accounts of pool used-up are exhausted.
try again in  1h
node          n1
";
    assert_eq!(ran.out, expected);
    let json = ask(&node, "pool pick acme used-up --output json");
    assert_eq!((json.exit, json.err.as_str()), (Exit::Denied, ""));
    assert_eq!(json.json()["code"], "DECISION_CODE_ACCOUNTS_EXHAUSTED");

    let broken = ask(&node, "pool pick broken relay");
    assert_eq!((broken.exit, broken.out.as_str()), (Exit::Error, ""), "R-PIPE-5: no decision is not a denial");
    assert_eq!(broken.err, "error: the store cannot promise durability (UNAVAILABLE, STORE_FAULT)\n");
}

#[test]
fn a_pick_that_asks_the_gates_shows_what_they_said() {
    let node = Node::start();
    let ran = ask(&node, "pool pick acme relay --acquire");
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Done, ""));
    let expected = "\
allowed  acme  relay  999 left of 1000 (rate, resets in 42m 10s)
decision       0123456789abcdef0123456789abcdef
account        sk-secret-0123456789-9f3c
remaining      19487
reservation    r1 expires 2026-11-22T08:35:00Z (in 5m)
not evaluated  balance (failed open: timeout)
node           n1

LIMIT  SCOPE  METER  WINDOW      USED  RESERVED  REMAINING    OF  RESETS IN  RESETS AT             NOTE
rate   -      calls  aligned/1h     1         0        999  1000  42m 10s    2026-11-22T09:12:10Z  -
";
    assert_eq!(ran.out, expected);

    let denied = ask(&node, "pool pick full relay --acquire");
    assert_eq!((denied.exit, denied.err.as_str()), (Exit::Denied, ""));
    assert_eq!(denied.lines()[0], "denied   full  relay  RATE_LIMITED  0 left of 1000 (rate, resets in 42m 10s)");
    assert!(denied.out.contains("limiting, exhausted") && !denied.out.contains("account"), "{}", denied.out);
}

#[test]
fn what_only_the_gates_can_use_asks_them() {
    let node = Node::start();
    let plain = json!({
        "org": "", "scope": "", "operation": "OPERATION_UNSPECIFIED", "requestId": "", "cost": [], "reserve": [],
        "reservationTtlMs": "0", "mode": "MODE_UNSPECIFIED", "explain": false, "plane": "cli", "pool": "",
        "scopes": []
    });
    for (flags, field, value) in [
        ("--acquire", "plane", json!("cli")),
        ("--explain", "explain", json!(true)),
        ("--scope workspace/w1", "scope", json!("workspace/w1")),
        (
            "--cost executions=2 --cost bytes=5",
            "cost",
            json!([{"meter": "executions", "amount": "2"}, {"meter": "bytes", "amount": "5"}]),
        ),
        ("--reserve spend=$0.05", "reserve", json!([{"meter": "spend", "amount": "50000"}])),
    ] {
        let ran = ask(&node, &format!("pool pick acme relay --request-id p-1 {flags}"));
        assert_eq!((ran.exit, ran.err.as_str()), (Exit::Done, ""), "{flags}");
        let mut gates = plain.clone();
        gates[field] = value;
        assert_eq!(asked(&node), json!({"org": "acme", "pool": "relay", "requestId": "p-1", "acquire": gates}));
    }
}

#[test]
fn a_report_says_what_the_call_was_taken_for_and_whether_the_account_is_known() {
    let node = Node::start();
    let of = |account: &str, rest: &[&str]| {
        node.ask(&[["pool", "report", "acme", "relay", account].as_slice(), rest].concat())
    };
    let ran = of(SECRET, &["--status", "429", "--error", "-- your quota", "--bytes-up", "7", "--bytes-down", "9"]);
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Done, ""));
    assert_eq!(ran.out, "quota exhausted  acme  relay\naccount  sk-s…9f3c\n", "R-POOL-1");
    let mut expected = json!({
        "org": "acme", "pool": "relay", "account": SECRET, "status": 429, "errorText": "-- your quota",
        "bytesUp": "7", "bytesDown": "9"
    });
    let mut seen = asked(&node);
    let id = seen["requestId"].take();
    assert!(id.as_str().unwrap().starts_with("cli-"), "{id}");
    expected["requestId"] = Value::Null;
    assert_eq!(seen, expected);

    let again = of(SECRET, &["--request-id", SEEN_BEFORE]);
    assert_eq!(again.lines()[0], "ok  acme  relay  (replayed)", "R-PIPE-6");
    assert_eq!((&asked(&node)["status"], &asked(&node)["requestId"]), (&json!(200), &json!(SEEN_BEFORE)));
    let left = of("sk-other-0123456789-1a2b", &["--status", "0"]);
    let expected = "\
unavailable  acme  relay
account  sk-o…1a2b is not in the pool: only its bytes were counted, for the pool
";
    assert_eq!((left.exit, left.out.as_str()), (Exit::Done, expected));
    let json = of("k1", &["--output", "json", "--status", "404"]).json();
    assert_eq!(json, json!({"outcome": "UPSTREAM_OUTCOME_FAILED", "known": false, "replayed": false}));
    assert_eq!(ask(&node, "pool report newer relay k1").lines()[0], "outcome 9  newer  relay");
}

#[test]
fn a_report_without_an_account_is_of_a_call_that_bypassed_the_pool() {
    let node = Node::start();
    let ran = ask(&node, "pool report acme relay --bytes-down 9");
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Done, ""));
    assert_eq!(ran.out, "ok  acme  relay\naccount  none: the call bypassed the pool\n");
    assert_eq!(asked(&node)["account"], "");
}

#[test]
fn the_account_of_a_report_can_come_from_a_file_and_is_never_taken_for_none() {
    let node = Node::start();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("account");
    let of_file = || node.ask(&["pool", "report", "acme", "relay", "--account-file", path.to_str().unwrap()]);
    fs::write(&path, format!("{SECRET}\n")).unwrap();
    let ran = of_file();
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Done, "ok  acme  relay\naccount  sk-s…9f3c\n"));
    assert_eq!(asked(&node)["account"], SECRET);
    for bad in [String::new(), "\n".to_owned(), format!("{SECRET}\n{SECRET}\n"), format!("{SECRET},limit=5")] {
        fs::write(&path, &bad).unwrap();
        let ran = of_file();
        assert_eq!((ran.exit, ran.out.as_str()), (Exit::Error, ""), "{bad:?}");
        let told = format!("error: {}: account \"", path.display());
        assert!(ran.err.starts_with(&told) && !ran.err.contains("0123456789-"), "{bad:?}: {}", ran.err);
    }
    assert_eq!(node.seen().asked.len(), 1);
}

#[test]
fn settings_take_the_place_of_those_of_the_pool_and_none_leaves_them() {
    let node = Node::start();
    let configure = "pool configure acme relay --account k1,per_minute=9";
    let flags = "--profile llm --limit 500 --buffer 0 --window calendar/day --per-minute 60 --cooldown 5s \
                 --quarantine 24h --quota-text quota --quota-text spent";
    for (flags, settings) in [
        ("", None),
        ("--no-settings", Some(json!({"profile": "POOL_PROFILE_UNSPECIFIED", "window": "", "quotaTexts": []}))),
        (
            flags,
            Some(json!({
                "profile": "POOL_PROFILE_LLM", "dailyLimit": "500", "safetyBuffer": "0", "window": "calendar/day",
                "perMinute": "60", "cooldownMs": "5000", "quarantineMs": "86400000", "quotaTexts": ["quota", "spent"]
            })),
        ),
    ] {
        let ran = ask(&node, &format!("{configure} {flags}"));
        assert_eq!((ran.exit, ran.err.as_str()), (Exit::Done, ""), "{flags}");
        assert_eq!(asked(&node).get("settings"), settings.as_ref(), "{flags}");
        assert_eq!(accounts(&node), json!([{"account": "k1", "perMinute": "9", "window": ""}]));
    }
    for bad in ["--profile gpt", "--cooldown 5", "--quarantine 31d", "--window daily", "--no-settings --limit 5"] {
        assert_eq!(tollgate(&format!("{configure} {bad}").split_whitespace().collect::<Vec<_>>()).exit, Exit::Usage);
    }
}

#[test]
fn a_report_carries_the_time_that_the_upstream_named_and_that_of_the_pick() {
    let node = Node::start();
    let report = "pool report acme relay k1 --status 429";
    for (flag, field, value) in [
        ("--retry-after 21s", "retryAfterMs", "21000"),
        ("--retry-after 1400ms", "retryAfterMs", "1400"),
        ("--retry-after 0s", "retryAfterMs", "0"),
        ("--picked-at 1795336200000", "pickedAtMs", "1795336200000"),
    ] {
        assert_eq!(ask(&node, &format!("{report} {flag}")).exit, Exit::Done);
        assert_eq!(asked(&node)[field], value, "{flag}");
    }
    ask(&node, report);
    assert_eq!((asked(&node).get("retryAfterMs"), asked(&node).get("pickedAtMs")), (None, None));
}

#[test]
fn an_account_is_cleared_by_hand_and_shown_as_it_is_then() {
    let node = Node::start();
    let ran = node.ask(&["pool", "clear", "acme", "relay", SECRET, "--request-id", "c-1"]);
    assert_eq!((ran.exit, ran.err.as_str(), ran.lines()[0]), (Exit::Done, "", "cleared  acme  relay"));
    assert!(ran.out.contains("sk-s…9f3c") && !ran.out.contains(SECRET), "{}", ran.out);
    assert_eq!(
        asked(&node),
        json!({"org": "acme", "pool": "relay", "account": SECRET, "requestId": "c-1", "reason": "", "dryRun": false})
    );
    let other = ask(&node, "pool clear acme relay k1 --request-id again");
    assert_eq!(other.lines()[0], "nothing to clear  acme  relay  (replayed)");
    assert_eq!(
        ask(&node, "pool clear empty relay k1").err,
        "error: the node's answer is incomplete: it has no account\n"
    );
    let broken = ask(&node, "pool clear broken relay k1");
    assert!(broken.err.contains("repeats this call safely"), "{}", broken.err);
    assert_eq!(tollgate(&["pool", "clear", "acme", "relay"]).exit, Exit::Usage, "an account is needed");
}

#[test]
fn an_account_that_is_refused_on_the_command_line_is_not_repeated() {
    for args in [
        ["configure", "acme", "relay", "--account", "sk-secret-0123456789 9f3c"],
        ["configure", "acme", "relay", "--account", "k1,sk-secret-0123456789-9f3c"],
        ["configure", "acme", "relay", "--account", "sk-secret-0123456789-9f3c,limit=x"],
        ["report", "acme", "relay", "sk-secret-0123456789 9f3c", "--status=0"],
        ["clear", "acme", "relay", "sk-secret-0123456789 9f3c", "--request-id=c"],
    ] {
        let ran = tollgate(&[["pool"].as_slice(), &args].concat());
        assert_eq!((ran.exit, ran.out.as_str()), (Exit::Usage, ""), "{args:?}");
        assert!(ran.err.contains("is not allowed") && !ran.err.contains("0123456789"), "R-POOL-1: {}", ran.err);
    }
    let twice = ["pool", "configure", "acme", "relay", "--account", SECRET, "--account", "k1", "--account", SECRET];
    let twice = tollgate(&twice);
    let told = "error: account \"sk-s…9f3c\" is not allowed: each account once\n";
    assert_eq!((twice.exit, twice.err.as_str()), (Exit::Usage, told));
}

#[test]
fn the_help_says_how_to_keep_accounts_out_of_the_command_line() {
    for verb in ["configure", "report", "clear"] {
        let ran = tollgate(&["pool", verb, "--help"]);
        let help = ran.out.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(ran.exit, Exit::Done);
        assert!(help.contains("in the list of processes and in the history of the shell"), "{help}");
        assert!(help.contains("from stdin"), "{help}");
    }
}
