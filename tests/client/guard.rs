//! Executions over a node that answers: allowed, denied, completed, failed, abandoned.

use std::{convert::Infallible, io, sync::Mutex, time::Duration};

use tollgate::client::{
    Ask, BudgetChange, Client, Decision, DecisionCode, Error, GuardError, Guarded, OnUnavailable, Options, Settled,
};
use tonic::Code;

use crate::{eventually, harness::binary, node, patient, run, url, used};

const SPEND: &str = "budget/monthly";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_allowed_runs_and_is_completed_and_what_is_denied_does_not_run() {
    let running = node().await;
    let client = Client::connect(patient(url(&running)).plane("eu-1")).unwrap();
    let ran = Mutex::new(0);
    for _ in 0..10 {
        let guarded = run(&client, "acme", Ask::new(), &ran).await;
        let Guarded::Ran { admission, settled, .. } = guarded else { panic!("{guarded:?}") };
        assert_eq!((admission.code(), settled), (DecisionCode::Allowed, Settled::Done));
        assert!(!admission.is_replay() && admission.unevaluated().is_empty());
    }
    let guarded = run(&client, "acme", Ask::new(), &ran).await;
    let denial = guarded.denial().expect("the eleventh");
    assert_eq!((denial.code(), denial.http_status()), (DecisionCode::QuotaExceeded, 402));
    assert!(denial.text().contains("executions") && denial.limiting().count() == 1, "{denial:?}");
    assert!(denial.retry_after().is_some_and(|after| after > Duration::from_secs(3600)));
    let stats = client.stats();
    assert_eq!((*ran.lock().unwrap(), stats.admitted, stats.denied, stats.settled), (10, 10, 1, 10));
    assert_eq!((stats.retries, stats.undecided, stats.streams, stats.lost), (0, 0, 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reservation_is_settled_with_what_was_used_and_given_back_by_whatever_did_not_happen() {
    let running = node().await;
    let client = Client::connect(patient(url(&running))).unwrap();
    let ask = || Ask::new().reserve("spend", 50_000);
    let used = async || used(&client, "spender", SPEND).await;

    let reported = async |execution: tollgate::client::Execution| {
        execution.used("spend", 10_000);
        execution.used("spend", 2_000);
        assert!(execution.extend(Duration::from_secs(900)).await.unwrap() > Duration::from_secs(800));
        Ok::<_, Infallible>(7)
    };
    let guarded = client.guard("spender", ask(), reported).await.unwrap();
    assert_eq!((guarded.into_value(), used().await), (Some(7), (12_000, 0)));

    client.guard("spender", ask(), async |_| Ok::<_, Infallible>(())).await.unwrap();
    assert_eq!(used().await, (62_000, 0), "what nothing was reported of counts as it was reserved");

    let failed = client.guard("spender", ask(), async |_| Err::<(), _>(io::Error::other("no machine"))).await;
    assert!(matches!(failed, Err(GuardError::Run(_))));
    assert_eq!(used().await, (62_000, 0), "released");

    let failing = async |execution: tollgate::client::Execution| {
        execution.used("spend", 1_000);
        Err::<(), _>(io::Error::other("half of it"))
    };
    assert!(client.guard("spender", ask(), failing).await.is_err());
    assert_eq!(used().await, (63_000, 0), "what a failed execution has used counts");

    let Ok(Decision::Admitted(admitted)) = client.acquire("spender", ask()).await else { panic!("not admitted") };
    assert_eq!(used().await, (63_000, 50_000));
    drop(admitted);
    eventually("a dropped reservation is released", async || used().await == (63_000, 0)).await;

    crate::dropped(&client, "spender", ask(), async |execution| execution.used("spend", 500)).await;
    eventually("a cancelled execution is settled", async || used().await == (63_500, 0)).await;

    let Ok(Decision::Admitted(admitted)) = client.acquire("spender", ask()).await else { panic!("not admitted") };
    assert!(admitted.hand_over().unwrap().reservation_id().is_some());
    assert_eq!(used().await, (63_500, 50_000), "somebody else settles it");
    assert!(client.close(crate::PATIENCE).await);
}

/// R-PIPE-6: work that is asked for again under an id of the caller's.
#[tokio::test(flavor = "multi_thread")]
async fn work_that_failed_and_is_tried_again_is_recorded_once() {
    let running = node().await;
    let client = Client::connect(patient(url(&running))).unwrap();
    let used = async || used(&client, "spender", SPEND).await;
    let run = async |ask: Ask, spend: u64, has_failed: bool| {
        let run = async |execution: tollgate::client::Execution| {
            if spend > 0 {
                execution.used("spend", spend);
            }
            if has_failed { Err(io::Error::other("mine")) } else { Ok(()) }
        };
        client.guard("spender", ask, run).await.is_ok()
    };
    let held = || Ask::new().reserve("spend", 100).request_id("message-1");
    assert!(!run(held(), 0, true).await);
    assert_eq!(used().await, (0, 100), "the next one settles it");
    for _ in 0..2 {
        assert!(run(held(), 60, false).await);
        assert_eq!(used().await, (60, 0));
    }
    let free = || Ask::new().request_id("message-2");
    assert!(!run(free(), 20, true).await && !run(free(), 20, true).await);
    for _ in 0..2 {
        assert!(run(free(), 30, false).await);
        assert_eq!(used().await, (130, 0));
    }
    let last = client.guard("spender", held().request_id("message-3"), async |execution| {
        execution.failed();
        Err::<(), _>(io::Error::other("mine"))
    });
    assert!(last.await.is_err());
    assert_eq!((used().await, client.stats().lost), ((130, 0), 0), "nobody tries it again");
}

/// R-PIPE-5: a call that is wrong is no outage, and opens nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_of_the_caller_does_not_open_whatever_the_policy_is() {
    let dir = tempfile::TempDir::new().unwrap();
    let tokens = dir.path().join("tokens.toml");
    let made = std::process::Command::new(binary())
        .args(["token", "create", "--name", "eu", "--role", "plane", "--orgs", "acme", "--expires", "1d", "--file"])
        .arg(&tokens)
        .output()
        .unwrap();
    let token = String::from_utf8(made.stdout).unwrap();
    let node = crate::setup(&dir).set("AUTH__TOKENS", tokens.display()).start().await;
    let open = || {
        let url = format!("http://{}", node.grpc);
        Options::new(url, OnUnavailable::Open).budget(crate::PATIENCE).attempt(Duration::from_secs(5))
    };
    let ran = async |_| Ok::<_, Infallible>(());
    for (options, org, code, reason) in [
        (open(), "acme", Code::Unauthenticated, "CREDENTIAL_MISSING"),
        (open().token("wrong"), "acme", Code::Unauthenticated, ""),
        (open().token("no\nheader"), "acme", Code::Unauthenticated, ""),
        (open().token(&token), "other", Code::PermissionDenied, "ORG_NOT_ALLOWED"),
        (open().token(&token), "acme", Code::InvalidArgument, "INVALID_FIELD"),
    ] {
        let client = Client::connect(options).unwrap();
        // Only the last one names a scope that is none.
        let scope = if code == Code::InvalidArgument { "no scope" } else { "workspace/a" };
        let guarded = client.guard(org, Ask::new().scope(scope), ran).await;
        let Err(GuardError::Call(Error::Refused(refused))) = guarded else { panic!("{org}: {guarded:?}") };
        assert_eq!(refused.code, code, "{refused}");
        assert!(refused.reason.starts_with(reason), "{refused}");
        let stats = client.stats();
        assert_eq!((stats.refused, stats.failed_open, stats.undecided), (1, 0, 0), "{org}");
    }
    let client = Client::connect(open().token(token)).unwrap();
    assert!(client.guard("acme", Ask::new(), ran).await.unwrap().into_value().is_some(), "the right one");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_tasks_share_one_stream_and_each_has_its_own_answer() {
    let running = node().await;
    let client = Client::connect(patient(url(&running))).unwrap();
    let tasks = (0..400).map(|_| {
        let client = client.clone();
        tokio::spawn(async move {
            let ran = Mutex::new(0);
            run(&client, "many", Ask::new(), &ran).await;
            let other = run(&client, "acme", Ask::new().scope("workspace/a"), &Mutex::new(0)).await;
            (ran.into_inner().unwrap(), other.denial().is_none())
        })
    });
    let (mut many, mut acme) = (0, 0);
    for task in tasks.collect::<Vec<_>>() {
        let (ran, other) = task.await.unwrap();
        many += ran;
        acme += u32::from(other);
    }
    let stats = client.stats();
    assert_eq!((many, acme, stats.streams, stats.denied), (100, 10, 1, 690), "{stats:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn continuations_status_and_budgets() {
    let running = node().await;
    let client = Client::connect(patient(url(&running))).unwrap();
    let guarded = run(&client, "acme", Ask::new().pausable(), &Mutex::new(0)).await;
    let Guarded::Ran { admission, .. } = guarded else { panic!("{guarded:?}") };
    for time in 1..=2 {
        assert_eq!(client.resume("acme", admission.id()).await.unwrap().continuations, Some(time));
    }
    let budget =
        client.update_budget("acme", "", BudgetChange::new().set("daily", 1_000).reason("trial")).await.unwrap();
    assert_eq!((budget.version, budget.periods["daily"].limit), (1, Some(1_000)));
    let other = client.update_budget("acme", "", BudgetChange::new().clear("daily").version(7)).await;
    assert!(matches!(other, Err(Error::Refused(refused)) if refused.reason == "BUDGET_VERSION"));
    client.record("acme", &[], &[("spend", 1_000)], None).await.unwrap();
    assert_eq!(client.budget("acme", "").await.unwrap().periods["daily"].spend, 1_000);
    let status = client.status("acme", &[]).await.unwrap();
    assert_eq!((status.allowed, status.code()), (false, DecisionCode::BudgetExceeded));
    let shadow = run(&client, "acme", Ask::new().shadow(), &Mutex::new(0)).await;
    let Guarded::Ran { admission, .. } = shadow else { panic!("{shadow:?}") };
    assert_eq!(admission.code(), DecisionCode::BudgetExceeded, "allowed, and what would have denied");
}
