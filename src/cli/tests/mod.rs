//! The command from its arguments to its exit code, against a real gRPC server on port 0.

mod audit;
mod billing;
mod budget;
mod complete;
mod context;
mod control;
mod errors;
mod events;
mod explain;
mod grants;
mod names;
mod node;
mod plan;
mod pool;
mod reservation;
mod screen;
mod session;
mod settle;
mod snapshot;
mod usage;

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    thread,
};

use serde_json::{Value, json};
use tokio::net::TcpSocket;

use super::{Exit, output::Surroundings, run_at};
use crate::domain::window::Millis;
use node::{Node, as_json};

/// 2026-11-22 08:30:00 UTC.
const NOW: Millis = 1_795_336_200_000;
const NOW_MS: i64 = 1_795_336_200_000;

struct Ran {
    exit: Exit,
    out: String,
    err: String,
}

impl Ran {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap()
    }

    /// Each line of stderr, which is an error.
    fn errors(&self) -> Vec<Value> {
        self.err.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn lines(&self) -> Vec<&str> {
        self.out.lines().collect()
    }
}

fn tollgate(args: &[&str]) -> Ran {
    in_surroundings(&Surroundings::default(), args)
}

fn in_surroundings(around: &Surroundings, args: &[&str]) -> Ran {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let exit = run_at(["tollgate"].iter().chain(args), &mut out, &mut err, around, || NOW);
    Ran { exit, out: String::from_utf8(out).unwrap(), err: String::from_utf8(err).unwrap() }
}

impl Node {
    fn ask(&self, args: &[&str]) -> Ran {
        let address = self.address.to_string();
        tollgate(&[args, &["--addr", &address]].concat())
    }

    /// On a terminal of 80 columns and 24 lines.
    fn ask_on_screen(&self, args: &[&str]) -> Ran {
        let address = self.address.to_string();
        let around = Surroundings { terminal: true, size: Some((80, 24)), ..Surroundings::default() };
        in_surroundings(&around, &[args, &["--addr", &address]].concat())
    }
}

#[test]
fn an_allowed_acquire_says_what_is_left_and_exits_0() {
    let ran = Node::start().ask(&["acquire", "acme", "--reserve", "spend=50000u"]);
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Done, ""));
    let expected = "\
allowed  acme  $0.70 left of $1.00 (budget/hourly)
decision       0123456789abcdef0123456789abcdef
reservation    r1 expires 2026-11-22T08:35:00Z (in 5m)
not evaluated  balance (failed open: timeout)
node           n1

LIMIT          SCOPE  METER  WINDOW       USED  RESERVED  REMAINING     OF  RESETS IN  RESETS AT             NOTE
rate           -      calls  aligned/1h      1         0        999   1000  42m 10s    2026-11-22T09:12:10Z  -
budget/hourly  -      spend  rolling/1h  $0.25     $0.05      $0.70  $1.00  -          -                     -
";
    assert_eq!(ran.out, expected);
}

#[test]
fn a_denied_acquire_is_data_on_stdout_and_exits_3() {
    let ran = Node::start().ask(&["acquire", "full"]);
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Denied, ""), "R-PIPE-5: a denial is not an error");
    let lines = ran.lines();
    assert_eq!(lines[0], "denied   full  RATE_LIMITED  0 left of 1000 (rate, resets in 42m 10s)");
    assert_eq!(
        lines[1], "The abuse backstop of 1000 calls per hour is reached.\\u{1b}[31m",
        "nothing steers a terminal"
    );
    assert_eq!(lines[2], "try again in  42m 10s");
    assert!(ran.out.contains("limiting, exhausted\n"), "{}", ran.out);
}

#[test]
fn json_is_the_response_message_whatever_was_decided() {
    let node = Node::start();
    let denied = node.ask(&["acquire", "full", "--output", "json"]);
    assert_eq!((denied.exit, denied.err.as_str()), (Exit::Denied, ""));
    let value = denied.json();
    assert_eq!(value["allowed"], json!(false));
    assert_eq!(value["code"], "DECISION_CODE_RATE_LIMITED");
    assert_eq!(value["retryAfterMs"], json!("2530000"));
    assert_eq!(value["limits"][0]["resetsAtMs"], json!((NOW_MS + 2_530_000).to_string()));
    assert_eq!(value["failOpen"], json!([]), "what is empty is present");
    assert_eq!(node.ask(&["--output", "json", "acquire", "acme"]).exit, Exit::Done);
}

#[test]
fn everything_that_was_asked_reaches_the_node() {
    let node = Node::start();
    let args = "acquire acme --scope workspace/w1 --scope agent/7 --cost executions=2 --cost bytes=5 --reserve spend=50000u \
                --request-id r-1 --check-only --explain --pool relay";
    assert_eq!(node.ask(&args.split_whitespace().collect::<Vec<_>>()).exit, Exit::Done);
    let asked = as_json(node.seen().acquire.as_ref().unwrap());
    let expected = json!({
        "org": "acme", "scope": "workspace/w1", "operation": "OPERATION_UNSPECIFIED", "requestId": "r-1",
        "cost": [{"meter": "executions", "amount": "2"}, {"meter": "bytes", "amount": "5"}],
        "reserve": [{"meter": "spend", "amount": "50000"}], "reservationTtlMs": "0",
        "mode": "MODE_CHECK_ONLY", "explain": true, "plane": "cli", "pool": "relay",
        "scopes": ["agent/7"]
    });
    assert_eq!(asked, expected);
}

#[test]
fn bad_arguments_exit_2_and_say_what_is_allowed() {
    for (args, hint) in [
        ("acquire acme --cost executions", "METER=AMOUNT"),
        ("acquire acme --cost Executions=1", "[a-z0-9_]"),
        ("acquire acme --cost executions=-1", "0 to 10000000000000000"),
        ("acquire acme --cost spend=1u --cost spend=2u", "each meter at most once"),
        ("acquire acme --reserve spend=1u --reserve spend=2u", "each meter at most once"),
        ("acquire a//b", "first a letter, a digit or one of +/_@"),
        ("acquire", "<ORG>"),
        ("status", "<ORG>"),
        ("status acme --output yaml", "table, json"),
        ("status acme --addr nowhere", "HOST:PORT"),
        ("status acme --timeout 5", "1ms to 10m"),
        ("org list --limit 0", "1..=1000000"),
        ("billing", "Usage"),
        ("billing refresh", "<ORG>"),
        ("billing refresh a//b", "first a letter, a digit or one of +/_@"),
        ("billing exports acme --limit 0", "1..=1000000"),
        ("billing exports a//b", "first a letter, a digit or one of +/_@"),
        ("billing replay acme --key 12", "32 lower-case hexadecimal digits"),
        ("billing replay acme --key 0123456789ABCDEF0123456789ABCDEF", "32 lower-case hexadecimal digits"),
        ("billing replay a//b", "first a letter, a digit or one of +/_@"),
        ("budget get", "<ORG>"),
        ("budget get a//b", "first a letter, a digit or one of +/_@"),
        ("budget get acme --scope a//b", "first a letter, a digit or one of +/_@"),
        ("budget set acme", "<PERIOD=AMOUNT>..."),
        ("budget set a//b daily=1u", "first a letter, a digit or one of +/_@"),
        ("budget set acme daily", "one of hourly, daily"),
        ("budget set acme fortnightly=1", "one of hourly, daily"),
        ("budget set acme daily=1.5", "at most 6 decimals"),
        ("budget set acme daily=$1.0000001", "at most 6 decimals"),
        ("budget set acme daily=00", "without a leading zero"),
        ("budget set acme daily=0", "block, or none to clear"),
        ("acquire acme --cost spend=5", "25usd or 25000000u"),
        ("pool pick acme relay --reserve spend=5", "25usd or 25000000u"),
        ("budget set acme daily=10000000000000001u", "at most $10000000000"),
        ("budget set acme daily=1u daily=none", "each period at most once"),
        ("budget set acme daily=1u hourly=none --replace", "--replace clears every period that is left out"),
        ("budget set acme daily=1u --expect-version=-1", "-1 is not in 0.."),
        ("session", "Usage"),
        ("session start acme", "<SESSION>"),
        ("session start acme s1", "--identity <IDENTITY>"),
        ("session start acme a//b --identity i", "first a letter, a digit or one of +/_@"),
        ("session start acme s1 --identity é", "printable ASCII"),
        ("session heartbeat acme s1 --identity i --incarnation b", "--total <TIME>"),
        ("session heartbeat acme s1 --identity i --total 1", "--incarnation <INCARNATION>"),
        ("session heartbeat acme s1 --identity i --incarnation b --total 10000000000001", "at most 10000000000000"),
        ("session heartbeat acme s1 --identity i --incarnation b --total 1.5", "whole seconds"),
        ("session end acme s1 --identity i --total 1", "--incarnation <INCARNATION>"),
        ("session end acme s1 --identity i --incarnation b", "--total <TIME>"),
        ("session show acme", "<SESSION>"),
        ("session list acme --limit 0", "1..=1000000"),
        ("session status", "<ORG>"),
        ("acquire acme --pool a//b", "first a letter, a digit or one of +/_@"),
        ("pool", "Usage"),
        ("pool configure acme relay", "--account <SPEC>"),
        ("pool configure acme a//b --remove", "first a letter, a digit or one of +/_@"),
        ("pool configure acme relay --account k1,limit=-1", "0 to 10000000000000000"),
        ("pool configure acme relay --account k1,window=daily", "anchored/24h"),
        ("pool configure acme relay --remove --account k1", "'--remove' cannot be used with '--account <SPEC>'"),
        ("pool configure acme relay --remove --accounts-file -", "'--remove' cannot be used with '--accounts-file"),
        ("pool configure acme relay --remove --expected-version=-1", "-1 is not in 0.."),
        ("pool show acme", "<POOL>"),
        ("pool show acme a//b", "first a letter, a digit or one of +/_@"),
        ("pool pick acme a//b", "first a letter, a digit or one of +/_@"),
        ("pool pick acme relay --cost executions", "METER=AMOUNT"),
        ("pool pick acme relay --cost spend=1u --cost spend=2u", "each meter at most once"),
        ("pool pick acme relay --reserve spend=1u --reserve spend=2u", "each meter at most once"),
        ("pool pick acme relay --scope a//b", "first a letter, a digit or one of +/_@"),
        ("pool report acme a//b", "first a letter, a digit or one of +/_@"),
        ("pool report acme relay k1 --account-file -", "cannot be used with"),
        ("pool report acme relay --status 99", "100 to 599, or 0"),
        ("pool report acme relay --status 600", "100 to 599, or 0"),
        ("pool report acme relay --status=-1", "100 to 599, or 0"),
        ("pool report acme relay --bytes-up=-1", "a size such as 50000 or 5MB"),
        ("pool report acme relay --bytes-down 10000000000000001", "0 to 10000000000000000"),
        ("audit a//b", "first a letter, a digit or one of +/_@"),
        ("serve --grpc nowhere", "socket address"),
        ("completions tcsh", "bash"),
        ("dance", "unrecognized subcommand"),
        ("", "Usage"),
    ] {
        let ran = tollgate(&args.split_whitespace().collect::<Vec<_>>());
        assert_eq!((ran.exit, ran.out.as_str()), (Exit::Usage, ""), "{args}");
        assert!(ran.err.contains(hint), "{args}: {}", ran.err);
    }
}

#[test]
fn help_and_version_are_data() {
    for args in [["--help"].as_slice(), &["--version"], &["acquire", "--help"], &["completions", "bash"]] {
        let ran = tollgate(args);
        assert_eq!((ran.exit, ran.err.as_str()), (Exit::Done, ""), "{args:?}");
        assert!(ran.out.contains("tollgate"), "{args:?}");
    }
}

#[test]
fn an_error_of_the_node_exits_1_with_sentence_status_and_reason() {
    let ran = Node::start().ask(&["acquire", "broken"]);
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Error, ""), "R-PIPE-5: no decision is not a denial");
    assert_eq!(ran.err, "error: the store cannot promise durability (UNAVAILABLE, STORE_FAULT)\n");
}

#[test]
fn a_node_that_is_not_there_is_named_with_a_hint() {
    // Bound and not listening: nobody else gets the port, and a connection to it is refused.
    let silent = TcpSocket::new_v4().unwrap();
    silent.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let free = silent.local_addr().unwrap();
    let ran = tollgate(&["status", "acme", "--addr", &free.to_string()]);
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Error, ""));
    assert!(ran.err.starts_with(&format!("error: no connection to http://{free}: ")), "{}", ran.err);
    assert!(ran.err.contains("hint: no node listens there; `tollgate serve` starts one"), "{}", ran.err);
}

#[test]
fn a_wait_ends_with_its_timeout() {
    let ran = Node::start().ask(&["acquire", "silent", "--timeout", "50ms"]);
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Error, ""), "R-PIPE-8");
    assert!(ran.err.contains("within 50ms\nhint: --timeout waits longer"), "{}", ran.err);
}

#[test]
fn a_server_that_accepts_and_says_nothing_is_a_timeout_too() {
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = mute.local_addr().unwrap().to_string();
    let ran = tollgate(&["node", "--addr", &address, "--timeout", "50ms"]);
    assert_eq!(ran.exit, Exit::Error);
    assert!(ran.err.contains("within 50ms"), "{}", ran.err);
}

#[test]
fn a_port_that_speaks_something_else_is_an_error_that_says_which_port_is_meant() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let web = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").unwrap();
        // Until the client hangs up: closing earlier could lose the answer to a reset.
        stream.read_to_end(&mut Vec::new()).ok();
    });
    let ran = tollgate(&["node", "--addr", &address]);
    web.join().unwrap();
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Error, ""));
    assert!(ran.err.contains("--addr must name the node's gRPC port"), "{}", ran.err);
}

#[test]
fn the_token_file_is_sent_as_a_bearer() {
    let node = Node::start();
    let refused = node.ask(&["acquire", "vault"]);
    assert_eq!(refused.exit, Exit::Error);
    assert!(refused.err.contains("(UNAUTHENTICATED)\nhint: --token-file"), "{}", refused.err);

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    fs::write(&file, "s3cret\n").unwrap();
    assert_eq!(node.ask(&["acquire", "vault", "--token-file", file.to_str().unwrap()]).exit, Exit::Done);

    for bad in ["", " \n", "two words", "tök"] {
        fs::write(&file, bad).unwrap();
        let ran = node.ask(&["acquire", "vault", "--token-file", file.to_str().unwrap()]);
        assert_eq!(ran.exit, Exit::Error, "{bad:?}");
        assert!(ran.err.contains("token") && !ran.err.contains("words"), "the token is not shown: {}", ran.err);
    }
}

#[test]
fn status_shows_every_limit_of_every_org() {
    let ran = Node::start().ask(&["status", "acme", "full", "--scope", "workspace/w1"]);
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Done, ""));
    let expected = "\
ORG   NEXT ACQUIRE         PLAN  TRY AGAIN IN  MESSAGE
acme  allowed              free  -             -
full  denied RATE_LIMITED  -     42m 10s       The backstop is reached.

ORG   LIMIT          SCOPE         TAKEN        USED  RESERVED  REMAINING     OF  RESETS IN  RESETS AT             NOTE
acme  rate           -             #####.....    500         0        500   1000  42m 10s    2026-11-22T09:12:10Z  -
acme  budget/hourly  workspace/w1  ###.......  $0.25     $0.05      $0.70  $1.00  -          -                     -
full  rate           -             ##########   1000         0          0   1000  42m 10s    2026-11-22T09:12:10Z  limiting, exhausted
";
    assert_eq!(ran.out, expected);
}

#[test]
fn status_of_an_org_that_fails_is_an_error_beside_the_others() {
    let node = Node::start();
    let ran = node.ask(&["status", "acme", "broken"]);
    assert_eq!(ran.exit, Exit::Error);
    assert_eq!(ran.err, "error: broken: the record cannot be read (UNAVAILABLE, STORE_FAULT)\n");
    assert!(ran.out.contains("acme  allowed"), "{}", ran.out);
    let value = node.ask(&["status", "acme", "broken", "--output", "json"]).json();
    assert_eq!(value["results"][0]["status"]["org"], "acme");
    assert_eq!(value["results"][1]["error"]["reason"], "STORE_FAULT");
}

#[test]
fn org_list_pages_up_to_its_limit_and_says_how_to_go_on() {
    let node = Node::start();
    let ran = node.ask(&["org", "list", "--limit", "1200", "--names-only"]);
    assert_eq!((ran.exit, ran.lines().len()), (Exit::Done, 1201));
    assert_eq!(ran.lines()[0], "ORG       FROZEN  COMMITS  LAST CHANGE");
    assert_eq!(ran.lines()[2], "org-0001  frozen        7  2026-11-22T08:26:55Z (3m 5s ago)");
    assert_eq!(ran.err, "there are more: --after 1200 continues\n");
    assert_eq!(node.seen().page_sizes, [1000, 200]);

    let rest = node.ask(&["org", "list", "--after", "1200", "--limit", "5000", "--output", "json"]);
    assert_eq!((rest.err.as_str(), rest.json()["orgs"].as_array().unwrap().len()), ("", 1300));
    assert_eq!(rest.json()["nextPageToken"], "");
}

#[test]
fn org_show_has_a_section_for_everything_that_is_stored() {
    let ran = Node::start().ask(&["org", "show", "acme"]);
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Done, ""));
    let expected = "\
org           acme-corp (id acme)
former names  acme, acme-inc
plan          free
frozen        yes: unpaid
admitted      99
journal       42 (stored from 40)
request ids   5 remembered, 525 bytes on disk, 0 forgotten early
trial ended   2026-11-22T08:26:55Z (3m 5s ago)
exports       4 pending, 1 set aside
uncompleted   2 executions

rate record:
window   498704 of 1h, from 2026-11-22T08:00:00Z
count    12
blocked  3

limits:
LIMIT  SCOPE  METER  WINDOW      USED  RESERVED  REMAINING    OF  RESETS IN  RESETS AT             NOTE
rate   -      calls  aligned/1h    12         0        988  1000  42m 10s    2026-11-22T09:12:10Z  -

overrides: none

budgets:
SCOPE         VERSION  PERIOD       LIMIT
-                   3  hourly       $0.00
-                   3  monthly      $5.00
-                   3  yearly   $0.000007
workspace/w1        2  -                -

ledgers:
SCOPE         METER  SLICE     FROM                     AMOUNT
workspace/w1  spend  reserved  -                     $0.000007
workspace/w1  spend  hour      2026-11-22T08:00:00Z  $0.000050
workspace/w1  spend  minute    2026-11-22T08:01:00Z  $0.000050

counters:
SCOPE  METER    WINDOW       FROM                      USED  CARRIED
-      compute  anchored/1d  2026-11-22T08:00:00Z  1h 2m 3s       0s

reservations:
RESERVATION  SCOPE  AMOUNTS      STATE  RESERVED                       EXPIRES
r1           -      spend $0.05  open   2026-11-22T08:29:00Z (1m ago)  2026-11-22T08:35:00Z (in 5m)

sessions:
SESSION  SCOPE         IDENTITY  STATE    BOOKED  RESERVED  DISPUTED  STARTED                           LAST HEARTBEAT                  ENDS
s1       workspace/w1  vm 1      running     30s       30s        0s  2026-11-22T08:26:55Z (3m 5s ago)  2026-11-22T08:29:30Z (30s ago)  2026-11-22T08:31:00Z (in 1m)

pools:
POOL   ACTIVE  USED  CAPACITY  REMAINING  FAILED  QUOTA ERRORS  CALLS TODAY  SOONEST RESET
relay     1/2    12     39000      38988       0             0            0  -

baselines:
SCOPE                  SOURCE   INCARNATION  METER        TOTAL
agent/7, workspace/w1  meter-1  boot-1       bytes  1,048,576 B

executions:
EXECUTION  ADMITTED  OPEN  CONTINUATIONS  LAST SEEN
e1         yes       yes               2  2026-11-22T08:29:00Z (1m ago)

disputed: none

timers:
next wake-up       2026-11-22T08:30:01Z (in 1s)
rate record purge  -
next expiry        -
";
    assert_eq!(ran.out, expected);
}

#[test]
fn org_show_of_a_quiet_org_says_none_and_of_an_unknown_one_fails() {
    let node = Node::start();
    let quiet = node.ask(&["org", "show", "quiet"]).out;
    for section in
        ["rate record", "limits", "budgets", "ledgers", "reservations", "sessions", "pools", "disputed", "timers"]
    {
        assert!(quiet.contains(&format!("\n{section}: none")), "{section}: {quiet}");
    }
    for nothing in ["trial", "exports", "uncompleted"] {
        assert!(!quiet.contains(nothing), "{nothing}: {quiet}");
    }
    let unknown = node.ask(&["org", "show", "nobody"]);
    assert_eq!((unknown.exit, unknown.out.as_str()), (Exit::Error, ""));
    assert_eq!(unknown.err, "error: nothing is kept of nobody (NOT_FOUND)\n");
}

#[test]
fn org_writes_say_what_changed_and_carry_a_request_id() {
    let node = Node::start();
    for (args, said) in [
        (["org", "freeze", "acme", "--reason", "unpaid bill"].as_slice(), "frozen  acme  active → frozen\n"),
        (&["org", "freeze", "full", "--request-id", "f-1"], "frozen  full  (it was frozen already)\n"),
        (&["org", "unfreeze", "full"], "unfrozen  full  frozen → active\n"),
        (&["org", "unfreeze", "acme"], "unfrozen  acme  (it was not frozen)\n"),
        (&["org", "purge", "old", "--yes"], "deleted  old\n"),
        (&["org", "delete", "nobody", "--yes"], "nothing was stored of nobody\n"),
    ] {
        let ran = node.ask(args);
        assert_eq!((ran.exit, ran.out.as_str(), ran.err.as_str()), (Exit::Done, said, ""), "{args:?}");
    }
    let seen = node.seen();
    assert_eq!(seen.writes[0].0, "acme unpaid bill");
    assert_eq!(seen.writes[1], ("full ".to_owned(), "f-1".to_owned()));
    let (first, second) = (&seen.writes[2].1, &seen.writes[3].1);
    assert!(first.starts_with("cli-") && first.len() == 36 && first != second, "{first} {second}");
}

#[test]
fn a_deletion_prints_its_receipt() {
    let node = Node::start();
    let ran = node.ask(&["org", "delete", "acme", "--reason", "they have left", "--yes"]);
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Done, ""));
    let lines = ran.lines();
    let when = "2026-11-22T08:26:55Z (3m 5s ago)";
    let said = format!(
        "deleted  acme and its names acme-corp  812 rows, 3 stay until they are billed  {when}  by ops  \"they have left\"  p-1"
    );
    let gone = "its bytes leave the disk by 2026-11-23T08:26:55Z (in 23h 56m 55s)";
    assert_eq!(lines[lines.len() - 3..], [said.as_str(), "", gone], "{}", ran.out);
    assert!(ran.out.contains("request_id") && ran.out.contains("800"), "{}", ran.out);
    let json = node.ask(&["org", "delete", "acme", "--yes", "-o", "json"]).json();
    assert_eq!(json["receipt"]["rows"]["head"], "1");
}

#[test]
fn what_cannot_be_undone_is_not_done_in_a_pipe_without_a_yes() {
    let node = Node::start();
    for args in [["org", "delete", "acme"].as_slice(), &["pool", "configure", "acme", "relay", "--remove"]] {
        let ran = node.ask(args);
        assert_eq!((ran.exit, ran.out.as_str()), (Exit::Usage, ""), "{args:?}");
        assert!(ran.err.contains("--yes") && ran.err.contains("cannot be undone"), "{}", ran.err);
    }
    assert!(node.seen().writes.is_empty() && node.seen().asked.is_empty(), "the node was not asked");
}

#[test]
fn a_write_in_doubt_says_how_to_repeat_it_safely() {
    let node = Node::start();
    let ran = node.ask(&["org", "purge", "broken", "--yes"]);
    assert_eq!(ran.exit, Exit::Error);
    let id = node.seen().writes[0].1.clone();
    assert!(ran.err.contains(&format!("--request-id {id} repeats this call safely")), "R-PIPE-6: {}", ran.err);
}

#[test]
fn whoami_says_who_the_command_is_and_until_when() {
    let ran = Node::start().ask(&["whoami"]);
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Done, ""));
    let expected = "name  ops\nrole  viewer\norgs  acme, beta-*\nends  2026-11-23T08:30:00Z (in 1d)\n";
    assert_eq!(ran.out, expected);
}

#[test]
fn node_shows_the_bounds_in_force() {
    let ran = Node::start().ask(&["node"]);
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Done, ""));
    assert!(ran.out.contains("started        2026-11-22T07:30:00Z (1h ago)\n"), "{}", ran.out);
    assert!(ran.out.contains("\n\nBOUND          VALUE\nbatch_items     1000\norg_in_flight   1024\n"), "{}", ran.out);
}

#[test]
fn check_config_names_every_mistake_and_exits_1() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tollgate.toml");
    std::fs::write(&file, "[rate]\namount = 0\n\n[nope]\n").unwrap();
    let ran = tollgate(&["check-config", file.to_str().unwrap()]);
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Error, ""));
    assert!(ran.err.contains("tollgate.toml:2") && ran.err.contains("tollgate.toml:4"), "{}", ran.err);
    std::fs::write(&file, "[rate]\namount = 5\n").unwrap();
    assert_eq!(tollgate(&["check-config", file.to_str().unwrap()]).exit, Exit::Done);
}

#[test]
fn a_data_directory_is_checked_exported_and_imported_only_where_there_is_one() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    for verb in ["fsck", "export"] {
        let ran = tollgate(&[verb, "--data-dir", &at("none")]);
        assert_eq!((ran.exit, ran.out.as_str()), (Exit::Error, ""), "{verb}");
        assert!(ran.err.contains("there is no store"), "{}", ran.err);
    }
    std::fs::write(at("bad.jsonl"), "not an export\n").unwrap();
    let ran = tollgate(&["import", "--data-dir", &at("new"), &at("bad.jsonl")]);
    assert_eq!(ran.exit, Exit::Error);
    assert!(ran.err.contains("line 1"), "{}", ran.err);
}

#[test]
fn an_export_of_a_damaged_directory_is_whole_names_the_org_and_fails_unless_accepted() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let dir = runtime.block_on(crate::store::sled::stale::with_a_stale_org());
    let file = |name: &str| dir.path().with_extension(name).to_str().unwrap().to_owned();
    let data = dir.path().to_str().unwrap();
    let ran = tollgate(&["export", "--data-dir", data]);
    assert_eq!((ran.exit, ran.lines().len()), (Exit::Error, 6), "{}", ran.err);
    assert!(ran.err.contains("warning: acme: ") && ran.err.contains("out of date"), "R-OPS-6: {}", ran.err);
    assert!(ran.err.contains("--accept-damage") && !ran.err.contains("other: "), "{}", ran.err);
    let accepted = tollgate(&["export", "--data-dir", data, "--accept-damage", &file("jsonl")]);
    assert_eq!((accepted.exit, accepted.out.as_str()), (Exit::Done, ""));
    assert!(accepted.err.contains("warning: acme: "), "{}", accepted.err);
    assert_eq!(fs::read_to_string(file("jsonl")).unwrap(), ran.out);
    fs::remove_file(file("jsonl")).unwrap();
}

#[test]
fn a_reload_that_is_only_partly_in_force_is_an_error() {
    let node = Node::start();
    let ran = node.ask(&["reload"]);
    assert_eq!(ran.exit, Exit::Error);
    let expected = "\
configuration    in force in part
reloaded         2 times
needs a restart  listen.grpc, node.name
changed          4

KEY                             FROM                                    TO                             EFFECT
billing.autumn.secret_key_file  (secret)                                (secret)                       in force
listen.grpc                     127.0.0.1:7070                          [::]:7070                      needs a restart
node.name                       default                                 n2                             needs a restart
orgs.acme.plan                  a-plan-with-a-long-name-that-says-much  another-plan-with-a-long-name  in force
";
    assert_eq!(ran.out, expected);
    assert_eq!(ran.err, "warning: t.toml:1:8: plans.a is the plan of no org\n");
    assert_eq!(node.ask(&["reload", "-o", "json"]).json()["needsRestart"][0], "listen.grpc");
}
