//! Calls under any name of an org, on one node.

use std::time::Duration;

use futures_util::{StreamExt, stream};

use crate::{
    auth::Role,
    domain::policy::BalanceSource,
    error::{ServiceError, Taken},
    rpc::{
        Answer, Asking, serve_stream, serve_watch,
        table::{self, Unary},
        tests::{anybody, asked, caller},
    },
    testing::{Node, allowed, node, org, rate_of},
    wire::{
        admin::v1::{self as admin, watch_events_response::What},
        v1,
    },
};

async fn ask<R: Unary>(node: &Node, request: R::Request) -> Answer<R::Response> {
    asked::<R>(&node.service, anybody(), request).await
}

fn acquire(org: &str, request_id: &str) -> v1::AcquireRequest {
    v1::AcquireRequest { org: org.into(), request_id: request_id.into(), ..Default::default() }
}

fn rename(org: &str, to: &str, request_id: &str) -> admin::RenameOrgRequest {
    admin::RenameOrgRequest { org: org.into(), to: to.into(), request_id: request_id.into(), ..Default::default() }
}

/// `acme`, with one execution, called `corp`.
async fn renamed() -> Node {
    let node = node(rate_of(1000)).await;
    ask::<table::Acquire>(&node, acquire("acme", "1")).await.unwrap();
    let answer = ask::<table::RenameOrg>(&node, rename("acme", "corp", "r")).await.unwrap();
    assert_eq!((answer.org.as_str(), answer.before.as_str(), answer.name.as_str()), ("acme", "acme", "corp"));
    node
}

async fn used(node: &Node, org: &str) -> i64 {
    let request = v1::GetStatusRequest { org: org.into(), ..Default::default() };
    ask::<table::GetStatus>(node, request).await.unwrap().limits[0].used
}

#[tokio::test(start_paused = true)]
async fn calls_under_either_name_are_about_one_org() {
    let node = renamed().await;
    let again = ask::<table::Acquire>(&node, acquire("corp", "1")).await.unwrap();
    assert!(again.replayed, "R-CTRL-8: a request id is of the org");
    let reserve = vec![v1::Amount { meter: "spend".into(), amount: 5 }];
    let held = ask::<table::Acquire>(&node, v1::AcquireRequest { reserve, ..acquire("corp", "2") }).await.unwrap();
    let commit = v1::CommitRequest {
        org: "acme".into(),
        reservation_id: held.decision_id,
        request_id: "c".into(),
        ..Default::default()
    };
    ask::<table::Commit>(&node, commit).await.unwrap();
    assert_eq!((used(&node, "acme").await, used(&node, "corp").await), (2, 2));
    let status = v1::GetStatusRequest { org: "corp".into(), ..Default::default() };
    let status = ask::<table::GetStatus>(&node, status).await.unwrap();
    assert_eq!((status.org.as_str(), status.name.as_str()), ("acme", "corp"), "the id is the key for joins");
}

#[tokio::test(start_paused = true)]
async fn a_batch_and_a_stream_go_where_the_names_of_their_items_lead() {
    let node = renamed().await;
    let items = vec![acquire("corp", "a"), acquire("other", "b"), acquire("acme", "c"), acquire("corp", "1")];
    let batch = ask::<table::AcquireBatch>(&node, v1::AcquireBatchRequest { items }).await.unwrap();
    let replayed = batch.results.into_iter().map(|result| match result.result.unwrap() {
        v1::acquire_batch_result::Result::Decision(decision) => decision.replayed,
        error => panic!("{error:?}"),
    });
    let replayed: Vec<bool> = replayed.collect();
    assert_eq!(replayed, [false, false, false, true]);
    let item = |tag, org: &str| {
        Ok::<_, ServiceError>(v1::AcquireStreamRequest { tag, acquire: Some(acquire(org, &format!("s{tag}"))) })
    };
    let requests = stream::iter([item(1, "corp"), item(2, "acme")]);
    let over = std::future::pending();
    let answers = serve_stream::<table::AcquireStream, _>(node.service.clone(), (anybody(), None), requests, over);
    assert!(
        answers
            .all(|answer| async {
                matches!(answer.unwrap().result, Some(v1::acquire_stream_response::Result::Decision(_)))
            })
            .await
    );
    assert_eq!((used(&node, "corp").await, used(&node, "other").await), (5, 1));
    let items = ["corp", "acme"].map(|org| v1::GetStatusRequest { org: org.into(), ..Default::default() }).to_vec();
    let statuses = ask::<table::BatchGetStatus>(&node, v1::BatchGetStatusRequest { items }).await.unwrap();
    for result in statuses.results {
        let Some(v1::batch_get_status_result::Result::Status(status)) = result.result else { panic!("{result:?}") };
        assert_eq!(status.limits[0].used, 5);
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_of_a_name_is_one_of_the_org() {
    let node = renamed().await;
    let request = admin::WatchEventsRequest { org: "corp".into(), after_number: Some(0), ..Default::default() };
    let over = std::future::pending();
    let (service, asking) = (node.service.clone(), Asking::default());
    let answers = serve_watch::<table::WatchEvents, ServiceError>(service, anybody(), asking, request, over);
    let mut events = Box::pin(answers.filter_map(|answer| async move {
        if let Some(What::Event(event)) = answer.unwrap().what { Some(event) } else { None }
    }));
    let event = events.next().await.unwrap();
    assert_eq!((event.org.as_str(), event.kind.as_str()), ("acme", "operator"));
    assert!(event.message.contains("acme -> corp"), "{}", event.message);
}

#[tokio::test(start_paused = true)]
async fn lists_have_an_org_once_by_its_id_with_its_name() {
    let node = renamed().await;
    let usage = vec![v1::Amount { meter: "spend".into(), amount: 1 }];
    let record = v1::RecordRequest { org: "zeta".into(), request_id: "1".into(), usage, ..Default::default() };
    ask::<table::Record>(&node, record).await.unwrap();
    for numbers in [false, true] {
        let listed = async |pattern: &str| {
            let request = admin::ListOrgsRequest { numbers, r#match: pattern.into(), ..Default::default() };
            let listed = ask::<table::ListOrgs>(&node, request).await.unwrap();
            assert!(listed.failures.is_empty() && listed.next_page_token.is_empty(), "{listed:?}");
            listed.orgs.into_iter().map(|org| (org.org, org.name)).collect::<Vec<_>>()
        };
        let acme = ("acme".to_owned(), "corp".to_owned());
        assert_eq!(listed("").await, [acme.clone(), ("zeta".into(), String::new())], "numbers: {numbers}");
        assert_eq!(listed("corp").await, std::slice::from_ref(&acme), "its name");
        assert_eq!(listed("ac*").await, [acme], "its id");
    }
    let first = admin::ListOrgsRequest { page_size: 1, ..Default::default() };
    let first = ask::<table::ListOrgs>(&node, first).await.unwrap();
    let rest = admin::ListOrgsRequest { page_size: 2, page_token: first.next_page_token, ..Default::default() };
    let rest = ask::<table::ListOrgs>(&node, rest).await.unwrap();
    assert_eq!((first.orgs[0].org.as_str(), rest.orgs[0].org.as_str()), ("acme", "zeta"), "a page has ids, and names");
    let audit = ask::<table::Audit>(&node, admin::AuditRequest::default()).await.unwrap();
    assert_eq!((audit.orgs, audit.failures.len()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_caller_may_say_the_name_that_its_credential_has() {
    let node = renamed().await;
    let status = |org: &str, orgs: &str| {
        let request = v1::GetStatusRequest { org: org.into(), ..Default::default() };
        let caller = caller(Role::Plane, orgs, &[], &[]);
        async { asked::<table::GetStatus>(&node.service, caller, request).await.map(|status| status.org) }
    };
    for (said, orgs) in [("acme", "acme"), ("corp", "corp")] {
        assert_eq!(status(said, orgs).await, Ok("acme".into()), "{said}");
    }
    for (said, orgs) in [("corp", "acme"), ("acme", "corp")] {
        assert_eq!(status(said, orgs).await, Err(ServiceError::OtherOrg), "{said}");
    }
    let admin = caller(Role::Admin, "acme", &[], &[]);
    let refused = asked::<table::RenameOrg>(&node.service, admin.clone(), rename("acme", "inc", "r2")).await;
    assert_eq!(refused, Err(ServiceError::OtherOrg), "nobody takes a name that is not theirs");
    let claim = admin::RenameOrgRequest { claim_for: "zeta".into(), ..rename("acme", "acme", "r3") };
    let Err(ServiceError::Input(error)) = asked::<table::RenameOrg>(&node.service, admin, claim).await else {
        panic!("where a name leads is what its callers reach")
    };
    assert_eq!(error.field, "claim_for");
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_anything_else_is_refused_by_what_it_is() {
    let node = renamed().await;
    ask::<table::Acquire>(&node, acquire("zeta", "1")).await.unwrap();
    let taken = |name: &str, by| Err(ServiceError::NameTaken { name: org(name), by });
    assert_eq!(ask::<table::RenameOrg>(&node, rename("acme", "zeta", "a")).await, taken("zeta", Taken::Org));
    assert_eq!(
        ask::<table::RenameOrg>(&node, rename("zeta", "corp", "b")).await,
        taken("corp", Taken::NameOf(org("acme")))
    );
    assert_eq!(ask::<table::RenameOrg>(&node, rename("zeta", "acme", "c")).await, taken("acme", Taken::Org));
    let nobody = ask::<table::RenameOrg>(&node, rename("nobody", "new", "d")).await;
    assert_eq!(nobody, Err(ServiceError::UnknownOrg(org("nobody"))));
    let again = ask::<table::RenameOrg>(&node, rename("corp", "corp", "e")).await.unwrap();
    assert_eq!((again.before.as_str(), again.name.as_str()), ("corp", "corp"));
    ask::<table::RenameOrg>(&node, rename("corp", "inc", "f")).await.unwrap();
    ask::<table::RenameOrg>(&node, rename("inc", "acme", "g")).await.unwrap();
    for name in ["acme", "corp", "inc"] {
        assert_eq!(used(&node, name).await, 1, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_purge_by_any_name_frees_all_of_them_also_one_of_an_unfinished_renaming() {
    let node = renamed().await;
    // A crash came after the claim.
    let claim = crate::domain::command::ClaimName { of: org("acme") };
    let call = node.service.call("RenameOrg", anybody(), None);
    assert_eq!(node.service.claim_name(&org("left"), claim, &call).await, Ok(true));
    assert_eq!(used(&node, "left").await, 1, "it leads to its org");
    let purge = |org: &str| admin::PurgeOrgRequest { org: org.into(), request_id: "p".into(), ..Default::default() };
    let purged = ask::<table::PurgeOrg>(&node, purge("corp")).await.unwrap();
    let receipt = purged.receipt.unwrap();
    assert_eq!((receipt.org.as_str(), receipt.names), ("acme", vec!["corp".into(), "left".into()]));
    for name in ["acme", "corp", "left"] {
        let request = admin::GetOrgRequest { org: name.into() };
        assert_eq!(ask::<table::GetOrg>(&node, request).await, Err(ServiceError::UnknownOrg(org(name))));
        assert!(!ask::<table::PurgeOrg>(&node, purge(name)).await.unwrap().existed, "{name}");
    }
    ask::<table::Acquire>(&node, acquire("corp", "n")).await.unwrap();
    assert_eq!((used(&node, "corp").await, used(&node, "acme").await), (1, 0), "a name that is free is any org's");
}

#[tokio::test(start_paused = true)]
async fn the_same_purge_completes_what_a_crash_left() {
    for said in ["acme", "corp", "inc"] {
        let node = renamed().await;
        ask::<table::RenameOrg>(&node, rename("acme", "inc", "i")).await.unwrap();
        // A crash came after the wipe, and one name was freed.
        let call = node.service.call("PurgeOrg", anybody(), None);
        node.service.ask(&org("acme"), crate::domain::command::Purge, &call).await.unwrap();
        if said != "inc" {
            let free = crate::domain::command::FreeName { of: org("acme") };
            assert_eq!(node.service.ask(&org("inc"), free, &call).await, Ok(true));
        }
        let shown = ask::<table::GetOrg>(&node, admin::GetOrgRequest { org: said.into() }).await.unwrap();
        assert!(shown.purged_at_ms > 0 && shown.name.is_empty());
        let purge = admin::PurgeOrgRequest { org: said.into(), request_id: "p".into(), ..Default::default() };
        ask::<table::PurgeOrg>(&node, purge).await.unwrap();
        for name in ["acme", "corp", "inc"] {
            let request = admin::GetOrgRequest { org: name.into() };
            assert_eq!(ask::<table::GetOrg>(&node, request).await, Err(ServiceError::UnknownOrg(org(name))), "{said}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_of_a_name_is_one_of_the_org_and_one_of_all_has_the_names() {
    let node = renamed().await;
    let lines = async |request: admin::SnapshotRequest| {
        let snapshot = ask::<table::Snapshot>(&node, request).await.unwrap();
        String::from_utf8(snapshot.lines).unwrap()
    };
    let of_name = lines(admin::SnapshotRequest { org: "corp".into(), ..Default::default() }).await;
    let of_org = lines(admin::SnapshotRequest { org: "acme".into(), ..Default::default() }).await;
    assert!(of_name.contains("\"names\"") && !of_name.contains("leads_to"), "{of_name}");
    assert_eq!(of_name, of_org);
    let all = lines(admin::SnapshotRequest::default()).await;
    assert!(all.contains("\"names\"") && all.contains("leads_to"), "{all}");
}

#[tokio::test(start_paused = true)]
async fn the_provider_is_asked_about_the_id_alone() {
    let mut policy = rate_of(1000);
    policy.balance.source = BalanceSource::Provider;
    let node = node(policy).await;
    *node.billing.verdict.lock().unwrap() = allowed();
    ask::<table::Acquire>(&node, acquire("acme", "1")).await.unwrap();
    ask::<table::RenameOrg>(&node, rename("acme", "corp", "r")).await.unwrap();
    // Whoever asks about the name is kept waiting for longer than a call may take.
    node.billing.of.lock().unwrap().insert(org("corp"), (allowed(), Duration::from_secs(60)));
    let began = tokio::time::Instant::now();
    let request = admin::RefreshBalanceRequest { org: "corp".into(), ..Default::default() };
    ask::<table::RefreshBalance>(&node, request).await.unwrap();
    assert_eq!(used(&node, "corp").await, 1);
    ask::<table::Acquire>(&node, acquire("corp", "2")).await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
}
