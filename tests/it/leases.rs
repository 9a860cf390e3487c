//! `kill -9` over and over, away for longer than any lease lasts: sessions and holds live on, and end when the
//! node was up for their length.

use std::time::{Duration, Instant};

use tempfile::TempDir;
use tollgate::wire::{
    admin::v1::GetOrgRequest,
    v1::{
        AcquireRequest, Amount, GetSessionRequest, SessionState, StartSessionRequest,
        session_service_client::SessionServiceClient,
    },
};

use crate::harness::{
    beside_another,
    chance::Chance,
    fsck_is_clean,
    node::{Node, Setup},
    poll,
};

/// Of a session without heartbeats, and of a hold.
const LEASE: Duration = Duration::from_secs(6);
const ORG: &str = "acme";
/// As old as the stored clock of a quiet node may be, and a busy machine.
const ENDS_WITHIN: Duration = Duration::from_secs(30);

async fn begin(node: &Node) -> String {
    let start = StartSessionRequest {
        org: ORG.into(),
        session_id: "s".into(),
        identity: "vm".into(),
        request_id: "start".into(),
        ..Default::default()
    };
    let mut sessions = SessionServiceClient::new(node.channel().await);
    assert!(sessions.start_session(start).await.unwrap().into_inner().allowed);
    let hold = AcquireRequest {
        org: ORG.into(),
        request_id: "hold".into(),
        reserve: vec![Amount { meter: "bytes".into(), amount: 1 }],
        reservation_ttl_ms: LEASE.as_millis() as i64,
        ..Default::default()
    };
    node.gate().await.acquire(hold).await.unwrap().into_inner().reservation_id
}

/// Whether the session runs, and whether the hold is there.
async fn alive(node: &Node, hold: &str) -> (bool, bool) {
    let mut sessions = SessionServiceClient::new(node.channel().await);
    let get = GetSessionRequest { org: ORG.into(), session_id: "s".into() };
    let session = sessions.get_session(get).await.unwrap().into_inner().session.unwrap();
    let org = node.admin().await.get_org(GetOrgRequest { org: ORG.into() }).await.unwrap();
    let held = org.into_inner().reservations.iter().any(|held| held.reservation_id == hold);
    (session.state() == SessionState::Running, held)
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_and_holds_outlive_kills_and_the_time_in_between() {
    let _beside = beside_another().await;
    let mut chance = Chance::new("leases");
    let dir = TempDir::new().unwrap();
    let setup =
        Setup::at(dir.path()).set("SESSIONS__HEARTBEAT", "1s").set("SESSIONS__MISSED", 1).set("SESSIONS__GRACE", "5s");
    let mut spawned = Instant::now();
    let mut node = setup.start().await;
    let hold = begin(&node).await;
    let (mut up, mut kills, began) = (Duration::ZERO, 0, Instant::now());
    while began.elapsed() < 2 * LEASE {
        tokio::time::sleep(chance.millis(0, 150)).await;
        node.kill();
        up += spawned.elapsed();
        kills += 1;
        fsck_is_clean(dir.path());
        tokio::time::sleep(chance.millis(500, 2_500)).await;
        spawned = Instant::now();
        node = setup.start().await;
        let found = alive(&node, &hold).await;
        // On a busy machine the node may have been up for all of it.
        if up + spawned.elapsed() < LEASE {
            assert_eq!(found, (true, true), "R-LEASE-1: up for {up:?} of {LEASE:?}, after {kills} kills");
        }
    }
    println!("leases: {kills} kills in {:?}, up for at most {:?}", began.elapsed(), up + spawned.elapsed());
    assert!(kills > 3, "hardly ever killed");
    let ended = || async { (alive(&node, &hold).await == (false, false)).then_some(()) };
    poll("both end when the node was up for long enough", ENDS_WITHIN, ended).await;
    node.terminate().await;
    fsck_is_clean(dir.path());
}
