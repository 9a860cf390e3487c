//! R-REACH-4: the client for Rust against the real binary, and through a proxy that fails.
//!
//! Nodes are started as the tests in `tests/it` start them. No test measures how fast anything is; where one says that an
//! execution runs within its budget, it allows for a machine that is busy.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::disallowed_methods,
    missing_debug_implementations,
    missing_docs,
    unreachable_pub,
    reason = "a test fails by panicking, and reads the clock"
)]

mod faults;
mod guard;
#[allow(dead_code, reason = "the tests of tests/it need all of it")]
#[path = "../it/harness/mod.rs"]
mod harness;
mod histories;
mod proxy;
mod sessions;
mod stand_in;

use std::{
    fmt::Debug,
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use tempfile::TempDir;
use tokio::sync::Notify;
use tollgate::client::{Ask, Client, Event, Execution, Guarded, OnUnavailable, Options};

use crate::harness::node::{Node, Setup};

/// Long enough for any machine: what has to be answered is.
const PATIENCE: Duration = Duration::from_secs(15);
/// A budget that a test waits for.
const BUDGET: Duration = Duration::from_millis(600);
const ATTEMPT: Duration = Duration::from_millis(150);
/// After the budget the execution itself begins, and a busy machine takes its time.
const SLACK: Duration = Duration::from_secs(5);

/// Ten executions in any org but those with a section.
const CONFIG: &str = r#"
[rate]
amount = 1000000
[defaults]
plan = "ten"
[plans.ten]
executions = { anchored_24h = 10 }
compute = { calendar_year = "1h" }
max_sessions = 1
[plans.many]
executions = { anchored_24h = 100 }
[orgs."many"]
plan = "many"
[orgs."spender"]
spend = { monthly = "$1" }
[orgs."short"]
compute = { calendar_year = "2s" }
[sessions]
first_slice = "1s"
grace = "1s"
"#;

pub const EXECUTIONS: &str = "quota/executions/anchored/1d";

/// A node with its directory.
pub struct Running {
    pub node: Node,
    pub dir: TempDir,
}

fn setup(dir: &TempDir) -> Setup {
    let file = dir.path().join("tollgate.toml");
    std::fs::write(&file, CONFIG).unwrap();
    Setup::at(dir.path().join("data"))
        .set("SESSIONS__HEARTBEAT", "1s")
        .set("SESSIONS__CLAMP", "1m")
        // A node that stands still for longer lets calls through uncounted, as it should.
        .set("BOUNDS__RATE_BUDGET_MS", 2_000)
        .set("BOUNDS__DECISION_BUDGET_MS", 4_250)
        .with("--config")
        .with(file)
}

pub async fn node() -> Running {
    let dir = TempDir::new().unwrap();
    let node = setup(&dir).start().await;
    Running { node, dir }
}

/// The same data, after the node has ended; on another port.
pub async fn restarted(dir: TempDir) -> Running {
    let node = setup(&dir).start().await;
    Running { node, dir }
}

/// A client that waits for a healthy node, however busy the machine is.
pub fn patient(url: impl Into<String>) -> Options {
    Options::new(url, OnUnavailable::Closed).budget(PATIENCE).attempt(Duration::from_secs(5))
}

/// A client that soon lets through what nobody decides.
pub fn impatient(url: impl Into<String>) -> Options {
    Options::new(url, OnUnavailable::Open).budget(BUDGET).attempt(ATTEMPT).breaker(1_000, ATTEMPT)
}

pub fn url(running: &Running) -> String {
    format!("http://{}", running.node.grpc)
}

pub async fn used(client: &Client, org: &str, limit: &str) -> (i64, i64) {
    let status = client.status(org, &[]).await.unwrap();
    let found = status.limits.iter().find(|each| each.texts.name == limit);
    let names = || status.limits.iter().map(|limit| limit.texts.name.clone()).collect::<Vec<_>>();
    let found = found.unwrap_or_else(|| panic!("{limit} of {org}: {:?}", names()));
    (found.used, found.reserved)
}

/// Guards an execution that does nothing but note that it ran.
pub async fn run(client: &Client, org: &str, ask: Ask, ran: &Mutex<u32>) -> Guarded<()> {
    let run = async |_| {
        *ran.lock().unwrap() += 1;
        Ok::<_, std::convert::Infallible>(())
    };
    client.guard(org, ask, run).await.unwrap()
}

/// An execution that has begun, has done so much, and is given up.
pub async fn dropped(client: &Client, org: &str, ask: Ask, work: impl AsyncFnOnce(&Execution)) {
    let begun = Notify::new();
    let forever = client.guard(org, ask, async |execution: Execution| {
        work(&execution).await;
        begun.notify_one();
        std::future::pending::<Result<(), std::convert::Infallible>>().await
    });
    tokio::select! {
        ended = forever => panic!("{ended:?}"),
        () = begun.notified() => {}
    }
}

/// Where events are kept.
#[derive(Default, Clone)]
pub struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    pub fn hook(&self) -> impl Fn(&Event) + Send + Sync + 'static {
        let heard = self.0.clone();
        move |event| heard.lock().unwrap().push(event.to_string())
    }

    pub fn has(&self, text: &str) -> bool {
        self.0.lock().unwrap().iter().any(|event| event.contains(text))
    }
}

pub async fn eventually<F: Future<Output = bool>>(what: impl Debug, is: impl Fn() -> F) {
    let look = || async { is().await.then_some(()) };
    harness::poll(format!("{what:?}"), PATIENCE, look).await;
}
