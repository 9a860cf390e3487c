//! Random faults under random calls: what the node denied never runs, what runs is counted, and nothing is charged twice.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use tollgate::client::{Ask, Client, Guarded};

use crate::{
    BUDGET, EXECUTIONS, SLACK, impatient, node, patient,
    proxy::{Mode, Proxy},
    url, used,
};

/// As every org of the configuration has.
const LIMIT: usize = 10;

#[derive(Debug, Clone)]
struct Step {
    mode: Mode,
    lasts: Duration,
    calls: usize,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let mode = prop_oneof![
        4 => Just(Mode::Forward),
        1 => Just(Mode::Hold),
        2 => Just(Mode::Lose),
        1 => (20_u64..400).prop_map(|time| Mode::Delay(Duration::from_millis(time))),
        1 => Just(Mode::Refuse),
        1 => Just(Mode::Garbage),
    ];
    let step = (mode, 0_u64..250, 0_usize..6);
    let step = step.prop_map(|(mode, lasts, calls)| Step { mode, lasts: Duration::from_millis(lasts), calls });
    prop::collection::vec(step, 2..6)
}

/// R-PIPE-5, R-PIPE-6
#[test]
fn no_denied_execution_ever_runs_and_no_id_is_charged_twice() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let running = runtime.block_on(node());
    let proxy = runtime.block_on(Proxy::to(running.node.grpc));
    let numbers = AtomicU32::new(0);
    let cases = crate::harness::size("TOLLGATE_CLIENT_HISTORIES", 8) as u32;
    let config = Config { cases, max_shrink_iters: 8, failure_persistence: None, ..Config::default() };
    let seen = Mutex::new((0, 0, 0));
    let history = |steps: Vec<Step>| {
        let org = format!("org-{}", numbers.fetch_add(1, SeqCst));
        let (ran, denied, open) = runtime.block_on(play(&proxy, &url(&running), &org, &steps));
        let mut seen = seen.lock().unwrap();
        *seen = (seen.0 + ran, seen.1 + denied, seen.2 + open);
        Ok(())
    };
    TestRunner::new(config).run(&steps(), history).unwrap();
    println!("ran, denied, ran without a decision: {:?}", seen.lock().unwrap());
}

async fn play(proxy: &Proxy, direct: &str, org: &str, steps: &[Step]) -> (usize, usize, usize) {
    let client = Client::connect(impatient(proxy.url())).unwrap();
    let bodies = Arc::new(AtomicU32::new(0));
    let mut calls = Vec::new();
    for step in steps {
        proxy.set(step.mode);
        for _ in 0..step.calls {
            let (client, org, bodies) = (client.clone(), org.to_owned(), bodies.clone());
            calls.push(tokio::spawn(async move {
                let began = Instant::now();
                let run = async |_| {
                    assert!(began.elapsed() < BUDGET + SLACK, "{:?}", began.elapsed());
                    bodies.fetch_add(1, SeqCst);
                    Ok::<_, Infallible>(())
                };
                client.guard(&org, Ask::new(), run).await.unwrap()
            }));
        }
        tokio::time::sleep(step.lasts).await;
    }
    let answers = join_all(calls).await;
    proxy.set(Mode::Forward);
    proxy.cut();
    let (mut ran, mut denied, mut open) = (0, 0, 0);
    for guarded in answers {
        match guarded.unwrap() {
            Guarded::Ran { .. } => ran += 1,
            Guarded::Denied(_) => denied += 1,
            Guarded::RanUndecided { .. } => open += 1,
        }
    }
    let stats = client.stats();
    let seen = (stats.admitted, stats.denied, stats.failed_open);
    assert_eq!(seen, (ran as u64, denied as u64, open as u64), "{steps:?}");
    assert_eq!(bodies.load(SeqCst) as usize, ran + open, "what is denied does not run: {steps:?}");
    assert!(ran <= LIMIT, "{ran} of {LIMIT}: {steps:?}");
    let direct = Client::connect(patient(direct)).unwrap();
    let charged = used(&direct, org, EXECUTIONS).await.0 as usize;
    // An execution that ran without a decision may have been charged, if only its answer was lost.
    assert!(ran <= charged && charged <= ran + open, "{charged} charged, {ran} and {open} ran: {steps:?}");
    (ran, denied, open)
}
