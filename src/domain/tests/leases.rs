//! R-LEASE-1: a lease runs while the node is up. What was left when it was last up is left when it is back, and
//! no correction of the clock takes anything of it.

use proptest::prelude::*;

use super::*;
use crate::{
    bounds::SECOND_MS,
    domain::{
        command::{ConfigurePool, Heartbeat, ListReservations, NewAccount, NewSession, ReportOutcome},
        ids::{AccountId, Identity, PoolId, SessionId},
        lease::Due,
        outcome::{Beaten, Shown},
        reply::{Action, Beat, SessionView},
        rows::SessionState,
        window::Calendar,
    },
};

const TTL: Millis = 200 * SECOND_MS;
const MONTHLY: Window = Window::Calendar(Calendar::Month);

fn session(id: &str) -> SessionId {
    SessionId::parse("session_id", id).unwrap()
}

fn pool() -> PoolId {
    PoolId::parse("pool", "relay").unwrap()
}

fn account() -> AccountId {
    AccountId::parse("account", "aaaa-account-aaaa").unwrap()
}

/// One session at once, plenty of compute, and a pool of one account.
fn bench() -> OrgBench {
    let mut org = OrgBench::with([Limit::new(Meter::compute(), MONTHLY, Some(1_000 * HOUR_MS))]);
    org.policy.sessions.max = Some(1);
    let new = NewAccount { id: account(), daily_limit: None, safety_buffer: None, window: None, per_minute: None };
    let (accounts, idempotency) = (vec![new], key("pool"));
    org.ask(Box::new(ConfigurePool { pool: pool(), accounts, settings: None, expected_version: None, idempotency }))
        .unwrap();
    org
}

impl OrgBench {
    fn begin(&mut self, id: &str) -> Decision {
        let identity = Identity::parse("identity", "vm").unwrap();
        let run = Run::Session(NewSession { id: session(id), identity });
        let idempotency = Some(key(&format!("start {id} {}", self.next_id)));
        self.acquire(Acquire { run, idempotency, cost: Amounts::new(), ..ask() })
    }

    fn hears(&mut self, id: &str, seconds: u64) -> Shown<Beaten, Box<Beat>> {
        let beat = Heartbeat {
            session: session(id),
            identity: Identity::parse("identity", "vm").unwrap(),
            incarnation: Incarnation::parse("incarnation", "boot").unwrap(),
            total: seconds * SECOND_MS,
            idempotency: None,
        };
        self.ask(Box::new(beat)).unwrap()
    }

    fn session(&mut self, id: &str) -> SessionView {
        *self.ask(GetSession { id: session(id) }).unwrap()
    }

    fn hold(&mut self) -> DecisionId {
        self.acquire(Acquire { reservation_ttl: TTL, ..reserving(spend(1)) }).hold.unwrap().id
    }

    /// When it ends by itself, as operators see it; `None` where it has ended.
    fn held(&mut self, id: DecisionId) -> Option<Millis> {
        let snapshot = self.snapshot();
        snapshot.reservations.iter().find(|view| view.row.id == id).map(|view| view.expires_at.at)
    }

    fn route_fails(&mut self) {
        let report = ReportOutcome {
            pool: pool(),
            account: Some(account()),
            status: 503,
            text: String::new(),
            retry_after: None,
            picked_at: None,
            bytes_up: 0,
            bytes_down: 0,
            idempotency: None,
        };
        self.ask(Box::new(report)).unwrap();
    }

    fn avoided_until(&mut self) -> Option<Millis> {
        let view = *self.ask(GetPool { id: pool() }).unwrap();
        view.accounts.first().and_then(|account| account.route).map(|route| route.until.at)
    }
}

#[test]
fn what_was_left_when_the_node_was_last_up_is_left_when_it_is_back() {
    for away in [150 * SECOND_MS, 20 * MINUTE_MS, 3 * DAY_MS] {
        let mut org = bench();
        org.begin("s");
        let held = org.hold();
        org.route_fails();
        org.after(10 * SECOND_MS).flush();
        org.away(away);
        let back = org.now;
        assert_eq!((org.session("s").row.state, org.session("s").ends_at.at), (SessionState::Running, back + 110_000));
        assert_eq!(org.held(held), Some(back + TTL - 10_000));
        assert_eq!(org.avoided_until(), Some(back + 50_000));
        assert_eq!(org.begin("t").code(), Code::SessionLimitReached, "the slot is taken");
        org.at(back + 50_000);
        assert_eq!((org.avoided_until(), org.session("s").row.state), (None, SessionState::Running));
        org.at(back + 110_000);
        assert_eq!(org.session("s").row.state, SessionState::Expired);
        assert_eq!(org.session("s").ends_at.at, back + 110_000);
        org.at(back + TTL - 10_000);
        assert_eq!(org.held(held), None);
    }
}

#[test]
fn the_first_heartbeat_after_an_absence_may_report_all_of_it() {
    let mut org = bench();
    org.begin("s");
    assert_eq!(org.after(30_000).hears("s", 30).outcome, Beaten { booked: 30_000, disputed: 0 });
    org.flush();
    org.away(20 * MINUTE_MS);
    assert_eq!(org.after(10_000).hears("s", 1_240).outcome, Beaten { booked: 1_210_000, disputed: 0 });
    org.flush();
    org.away(20 * MINUTE_MS);
    let beyond = org.after(10_000).hears("s", 1_240 + 1_200 + 301).outcome;
    assert_eq!(beyond, Beaten { booked: 1_500_000, disputed: 1_000 }, "the clamp and the absence, not more");
    let next = org.after(10_000).hears("s", 1_240 + 1_501 + 301).outcome;
    assert_eq!(next.disputed, 1_000, "the clamp alone, from the next one on");
}

#[test]
fn a_correction_of_the_clock_is_no_time_and_no_absence() {
    let mut org = bench();
    org.begin("s");
    let held = org.hold();
    org.after(5_000).corrected(5 * MINUTE_MS);
    assert_eq!(org.session("s").row.state, SessionState::Running);
    assert_eq!(org.held(held), Some(org.now + TTL - 5_000));
    let beat = org.hears("s", 400);
    assert_eq!((beat.outcome.booked, beat.outcome.disputed), (300_000, 100_000), "the clamp has not grown");
}

#[test]
fn the_grace_of_a_stop_waits_for_the_node() {
    let mut org = bench();
    org.begin("s");
    org.record("", smallvec![(Meter::compute(), 999 * HOUR_MS)], "r").unwrap();
    org.change_limits(|limits| limits[0].amount = Some(HOUR_MS));
    assert_eq!(org.after(100_000).hears("s", 200).view.action, Action::Stop(30_000));
    org.after(10_000).flush();
    org.away(HOUR_MS);
    assert_eq!(org.hears("s", 200).view.action, Action::Stop(20_000));
}

#[test]
fn a_replay_says_when_the_lease_ends_now() {
    let mut org = bench();
    let asked = Acquire { idempotency: Some(key("a")), reservation_ttl: TTL, ..reserving(spend(1)) };
    let first = org.acquire(asked.clone()).hold.unwrap();
    org.flush();
    org.away(HOUR_MS);
    let again = org.acquire(asked);
    assert_eq!(again.hold.unwrap().expires_at, first.expires_at + HOUR_MS);
    assert!(again.replayed);
}

#[test]
fn while_service_time_stands_still_leases_end_and_waits_are_counted_to_the_wall() {
    let mut org = OrgBench::with([spend_limit(Window::Aligned { len: HOUR_MS }, 5)]);
    let wall_behind = |org: &OrgBench, ran: Millis| {
        let lease = LeaseTime(org.now + ran);
        let ahead = -i64::try_from(8 * HOUR_MS).unwrap();
        Now { service: org.now, wall: org.now - 8 * HOUR_MS + ran, lease, absent: 0, ahead }
    };
    org.acquire(Acquire { cost: spend(4), ..ask() });
    let held = org.acquire(Acquire { reservation_ttl: TTL, ..reserving(spend(1)) }).hold.unwrap();
    org.clocks = Some(wall_behind(&org, 0));
    let denied = org.acquire(Acquire { cost: spend(1), ..ask() });
    assert_eq!(denied.retry_after(), TTL, "the hold ends by then");
    org.clocks = Some(wall_behind(&org, TTL));
    assert_eq!(org.release(held.id, "r"), Err(OrgError::ReservationExpired));
    assert!(org.acquire(Acquire { cost: spend(1), ..ask() }).allowed);
    let denied = org.acquire(Acquire { cost: spend(1), ..ask() });
    let window_ends = (org.now / HOUR_MS + 1) * HOUR_MS;
    assert_eq!(denied.retry_after(), window_ends - (org.now - 8 * HOUR_MS + TTL));
    assert!(denied.message().contains("in 8 h"), "{}", denied.message());
}

/// A stretch of a node's life.
#[derive(Debug, Clone, Copy)]
enum Stretch {
    Runs(Millis),
    Away(Millis),
    Corrected(Millis),
    /// The org leaves memory and comes back.
    Passivated,
    Swept,
}

fn stretch() -> impl Strategy<Value = Stretch> {
    prop_oneof![
        4 => (0..40 * SECOND_MS).prop_map(Stretch::Runs),
        2 => (0..3 * HOUR_MS).prop_map(Stretch::Away),
        1 => (0..10 * MINUTE_MS).prop_map(Stretch::Corrected),
        1 => Just(Stretch::Passivated),
        1 => Just(Stretch::Swept),
    ]
}

proptest! {
    /// For absences and corrections at any instants no lease ends earlier, nor later, than it would have, counted
    /// in time that the node was up.
    #[test]
    fn a_lease_ends_when_the_node_was_up_for_its_length(stretches in prop::collection::vec(stretch(), 1..30)) {
        let mut org = bench();
        org.begin("s");
        let held = org.hold();
        org.route_fails();
        org.flush();
        let (lease, cooldown) = (org.policy.sessions.lease(), org.policy.pools.rules.cooldown);
        let mut up = 0;
        for stretch in stretches {
            match stretch {
                Stretch::Runs(length) => {
                    org.after(length);
                    up += length;
                }
                Stretch::Away(length) => {
                    org.flush();
                    org.away(length);
                }
                Stretch::Corrected(by) => _ = org.corrected(by),
                Stretch::Passivated => _ = org.restart(),
                Stretch::Swept => _ = org.sweep(),
            }
            prop_assert_eq!(org.session("s").row.state == SessionState::Running, up < lease, "after {}", up);
            let ends = |length: Millis, org: &OrgBench| (up < length).then(|| org.now + length - up);
            let (hold_ends, route_ends) = (ends(TTL, &org), ends(cooldown, &org));
            prop_assert_eq!(org.held(held), hold_ends, "after {}", up);
            prop_assert_eq!(org.avoided_until(), route_ends, "after {}", up);
        }
    }
}

/// R-RES-3: what is left is counted by the clock that the answer was made by, whatever the wall says to service time.
#[test]
fn what_is_left_is_the_same_while_the_wall_clock_is_behind() {
    for behind in [0, 30 * SECOND_MS, 10 * MINUTE_MS, 8 * HOUR_MS] {
        let mut org = bench();
        org.begin("s");
        org.hold();
        org.route_fails();
        org.after(10 * SECOND_MS);
        let wall = org.now - behind;
        let clocks = org.clocks();
        org.clocks = Some(Now { wall, ahead: clocks.ahead.wrapping_sub_unsigned(behind), ..clocks });
        let list = ListReservations { after: None, max: 9, open: true, expired: true, scope: None, older_than: 0 };
        let due = |left: Millis| Due { at: wall + left, left };
        assert_eq!(org.session("s").ends_at, due(110 * SECOND_MS), "{behind}");
        let [.., held] = &org.ask(list.clone()).unwrap()[..] else { panic!("one hold") };
        assert_eq!((held.expires_at, held.commit_by), (due(TTL - 10 * SECOND_MS), None), "{behind}");
        let snapshot = org.snapshot();
        assert_eq!(snapshot.sessions[0].ends_at, due(110 * SECOND_MS), "{behind}");
        assert!(snapshot.reservations.iter().any(|view| view.expires_at == held.expires_at), "{behind}");
        assert_eq!(snapshot.at, wall, "what limits are counted from");
        let view = *org.ask(GetPool { id: pool() }).unwrap();
        assert_eq!(view.accounts[0].route.map(|route| route.until), Some(due(50 * SECOND_MS)), "{behind}");
        assert_eq!(org.hears("s", 10).view.expires_at, due(120 * SECOND_MS), "{behind}");
        assert_eq!(org.peek(ask()).at, wall, "{behind}");
    }
}
