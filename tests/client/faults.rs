//! A node that is killed, hangs, is slow, drains or is not there, and answers that are lost.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tollgate::client::{Ask, Client, Error, Execution, GuardError, Guarded, OnUnavailable, Settled};

use crate::{
    BUDGET, EXECUTIONS, Heard, PATIENCE, Running, SLACK, eventually, impatient, node, patient,
    proxy::{Mode, Proxy},
    restarted, run, url, used,
};

/// R-PIPE-6: whichever attempt arrives, an id is charged once.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_asked_for_again_under_the_same_id_and_charged_once() {
    let running = node().await;
    let proxy = Proxy::to(running.node.grpc).await;
    let direct = Client::connect(patient(url(&running))).unwrap();
    let client = Client::connect(impatient(proxy.url()).budget(PATIENCE)).unwrap();
    for ask in [Ask::new(), Ask::new().reserve("spend", 1_000)] {
        let before = used(&direct, "spender", EXECUTIONS).await.0;
        proxy.set(Mode::Lose);
        let asked = {
            let client = client.clone();
            tokio::spawn(async move { run(&client, "spender", ask, &Mutex::new(0)).await })
        };
        let charged = async || used(&direct, "spender", EXECUTIONS).await.0 == before + 1;
        eventually("the node has charged it", charged).await;
        proxy.set(Mode::Forward);
        let guarded = asked.await.unwrap();
        let Guarded::Ran { admission, .. } = guarded else { panic!("{guarded:?}") };
        assert!(admission.is_replay(), "the first answer was lost");
        assert_eq!(used(&direct, "spender", EXECUTIONS).await.0, before + 1);
    }
    let stats = client.stats();
    assert!(stats.retries >= 2 && stats.streams >= 2 && stats.failed_open == 0, "{stats:?}");
}

/// What nobody decides runs within its budget, and is counted; with the other policy it does not run.
async fn fails_as_chosen(proxy: &Proxy, what: &str) {
    let heard = Heard::default();
    let open = Client::connect(impatient(proxy.url()).on_event(heard.hook())).unwrap();
    let (began, ran) = (Instant::now(), Mutex::new(0));
    let guarded = run(&open, "acme", Ask::new(), &ran).await;
    let Guarded::RanUndecided { cause, .. } = guarded else { panic!("{what}: {guarded:?}") };
    assert!(began.elapsed() < BUDGET + SLACK, "{what}: {:?}", began.elapsed());
    assert!(cause.attempts > 0, "{what}: {cause}");
    assert_eq!((*ran.lock().unwrap(), open.stats().failed_open, open.stats().undecided), (1, 1, 1), "{what}");
    assert!(heard.has("an execution of acme") && heard.has("runs without a decision"), "{what}");

    let options = tollgate::client::Options::new(proxy.url(), OnUnavailable::Closed).budget(BUDGET).attempt(BUDGET / 4);
    let closed = Client::connect(options).unwrap();
    let ran = closed.guard("acme", Ask::new(), async |_| Ok::<_, std::convert::Infallible>(())).await;
    assert!(matches!(ran, Err(GuardError::Call(Error::NoDecision(_)))), "{what}: {ran:?}");
    assert_eq!((closed.stats().failed_open, closed.stats().undecided), (0, 1), "{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_network_fails_as_chosen() {
    let running = node().await;
    let proxy = Proxy::to(running.node.grpc).await;
    for mode in [Mode::Hold, Mode::Lose, Mode::Delay(Duration::from_secs(60)), Mode::Refuse, Mode::Garbage] {
        proxy.set(mode);
        fails_as_chosen(&proxy, &format!("{mode:?}")).await;
        proxy.set(Mode::Forward);
        proxy.cut();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_node_fails_as_chosen() {
    let Running { node, dir } = node().await;
    let proxy = Proxy::to(node.grpc).await;
    node.process.freeze().await;
    fails_as_chosen(&proxy, "hangs").await;
    node.process.signal("CONT");
    node.kill();
    fails_as_chosen(&proxy, "killed").await;

    // A node that drains serves what settles, and admits nothing.
    let node = crate::setup(&dir).set("BOUNDS__DRAIN_NOTICE_MS", 10_000).start().await;
    proxy.lead(node.grpc);
    let waiting = Client::connect(patient(proxy.url())).unwrap();
    run(&waiting, "acme", Ask::new(), &Mutex::new(0)).await;
    node.process.signal("TERM");
    crate::harness::poll("the node drains", PATIENCE, || async { (!node.is_serving().await).then_some(()) }).await;
    fails_as_chosen(&proxy, "drains").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_the_next_call_is_answered_and_what_was_not_settled_is() {
    let Running { node, dir } = node().await;
    let proxy = Proxy::to(node.grpc).await;
    let client = Client::connect(impatient(proxy.url()).budget(Duration::from_secs(5))).unwrap();
    run(&client, "spender", Ask::new(), &Mutex::new(0)).await;
    let node = Arc::new(Mutex::new(Some(node)));
    let stopping = node.clone();
    let running = async |execution: Execution| {
        execution.used("spend", 3_000);
        stopping.lock().unwrap().take().unwrap().kill();
        Ok::<_, std::convert::Infallible>(())
    };
    let guarded = client.guard("spender", Ask::new().reserve("spend", 5_000), running).await.unwrap();
    let Guarded::Ran { settled, .. } = guarded else { panic!("{guarded:?}") };
    assert_eq!((settled, client.stats().unsettled), (Settled::Waiting, 1));

    // Runs without a decision, and what it used is kept.
    let undecided = client.guard("spender", Ask::new(), async |execution: Execution| {
        execution.used("spend", 200);
        Ok::<_, std::convert::Infallible>(())
    });
    assert!(matches!(undecided.await.unwrap(), Guarded::RanUndecided { .. }));
    assert_eq!(client.resume("spender", "e-1").await.unwrap().continuations, None, "never denied");
    assert_eq!(client.stats().unsettled, 3);

    let running = restarted(dir).await;
    proxy.lead(running.node.grpc);
    let healthy = async || run(&client, "spender", Ask::new(), &Mutex::new(0)).await.into_value().is_some();
    eventually("the client is connected again", healthy).await;
    let settled = async || client.stats().unsettled == 0;
    eventually("everything is settled", settled).await;
    let direct = Client::connect(patient(url(&running))).unwrap();
    assert_eq!(used(&direct, "spender", "budget/monthly").await, (3_200, 0));
    assert_eq!(client.stats().lost, 0);
    assert!(client.close(PATIENCE).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_comes_when_nobody_waits_gives_its_reservation_back() {
    let running = node().await;
    let proxy = Proxy::to(running.node.grpc).await;
    let direct = Client::connect(patient(url(&running))).unwrap();
    let client = Client::connect(patient(proxy.url())).unwrap();
    run(&client, "spender", Ask::new(), &Mutex::new(0)).await;
    proxy.set(Mode::Delay(Duration::from_millis(700)));
    let asked = client.acquire("spender", Ask::new().reserve("spend", 7_000));
    assert!(tokio::time::timeout(Duration::from_millis(300), asked).await.is_err(), "nobody waits any more");
    proxy.set(Mode::Forward);
    eventually("the late answer is released", async || client.stats().released_late == 1).await;
    let is_free = async || used(&direct, "spender", "budget/monthly").await == (0, 0);
    eventually("nothing is held", is_free).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_does_not_answer_is_left_alone_and_asked_again_by_one_probe() {
    let running = node().await;
    let proxy = Proxy::to(running.node.grpc).await;
    let heard = Heard::default();
    let options = impatient(proxy.url()).breaker(2, Duration::from_millis(300)).on_event(heard.hook());
    let client = Client::connect(options).unwrap();
    proxy.set(Mode::Refuse);
    let attempts = async || match run(&client, "acme", Ask::new(), &Mutex::new(0)).await {
        Guarded::RanUndecided { cause, .. } => cause.attempts,
        other => panic!("{other:?}"),
    };
    assert!(attempts().await > 0 && attempts().await > 0);
    assert!(!client.is_asking() && heard.has("calls are not sent"));
    assert_eq!(attempts().await, 0, "runs at once");
    assert_eq!(client.stats().failed_open, 3);
    proxy.set(Mode::Forward);
    let healthy = async || matches!(run(&client, "acme", Ask::new(), &Mutex::new(0)).await, Guarded::Ran { .. });
    eventually("a probe finds the node", healthy).await;
    assert!(client.is_asking() && heard.has("answers again") && client.stats().breaker_opened == 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completion_that_will_not_arrive_is_announced() {
    let running = node().await;
    let proxy = Proxy::to(running.node.grpc).await;
    let heard = Heard::default();
    let client = Client::connect(impatient(proxy.url()).unsettled_max(0).on_event(heard.hook())).unwrap();
    proxy.set(Mode::Refuse);
    let guarded = client.guard("spender", Ask::new(), async |execution: Execution| {
        execution.used("spend", 1);
        Ok::<_, std::convert::Infallible>(())
    });
    assert!(matches!(guarded.await.unwrap(), Guarded::RanUndecided { .. }));
    assert!(heard.has("a Record of spender is lost: 0 completions wait already"));

    proxy.set(Mode::Forward);
    let client = Client::connect(patient(proxy.url()).on_event(heard.hook())).unwrap();
    let ask = Ask::new().reserve("spend", 10);
    let settled = client.guard("spender", ask, async |execution: Execution| {
        // No meter is called so.
        execution.used("No Meter", 1);
        Ok::<_, std::convert::Infallible>(())
    });
    let Guarded::Ran { settled: Settled::Refused(refused), .. } = settled.await.unwrap() else { panic!("not refused") };
    assert!(refused.message.contains("No Meter") && heard.has("a Commit of spender is lost: refused"), "{refused}");
    assert_eq!((client.stats().lost, client.stats().settled), (1, 0));
}
