//! Upstream accounts: which is picked, what exhausts it, what only makes it avoided, and what is announced.

use super::*;
use crate::{
    bounds::SECOND_MS,
    domain::{
        command::{ConfigurePool, NewAccount, PoolAsk, ReportOutcome},
        gate::Gate,
        ids::{AccountId, PoolId},
        org::PoolNews,
        reply::{AccountView, Exhaustion, PoolView},
        window::Calendar,
    },
};

pub(super) const A: &str = "aaaa-account-aaaa";
pub(super) const B: &str = "bbbb-account-bbbb";
const C: &str = "cccc-account-cccc";

pub(super) fn pool() -> PoolId {
    PoolId::parse("pool", "relay").unwrap()
}

pub(super) fn account(id: &str) -> AccountId {
    AccountId::parse("account", id).unwrap()
}

pub(super) fn new(id: &str, limit: u64) -> NewAccount {
    NewAccount { id: account(id), daily_limit: Some(limit), safety_buffer: Some(0), window: None, per_minute: None }
}

/// An org with a pool that has one call left.
pub(super) fn bench_of_one_call() -> OrgBench {
    OrgBench::with_pool([new("sk-account-one", 1)])
}

/// A report that names no time.
pub(super) fn said(id: &str, text: &str) -> ReportOutcome {
    ReportOutcome {
        pool: pool(),
        account: Some(account(id)),
        status: 429,
        text: text.to_owned(),
        retry_after: None,
        picked_at: None,
        bytes_up: 0,
        bytes_down: 0,
        idempotency: None,
    }
}

impl OrgBench {
    pub(super) fn with_pool(accounts: impl IntoIterator<Item = NewAccount>) -> Self {
        let mut bench = Self::new();
        bench.configure(accounts).unwrap();
        bench
    }

    fn configure(&mut self, accounts: impl IntoIterator<Item = NewAccount>) -> Result<PoolView, OrgError> {
        let accounts = accounts.into_iter().collect();
        let idempotency = key(&format!("configure-{}", self.next_id));
        let set = ConfigurePool { pool: pool(), accounts, settings: None, expected_version: None, idempotency };
        self.ask(Box::new(set)).map(|done| *done.view)
    }

    fn try_pick(&mut self, id: Option<&str>) -> Decision {
        *self.ask(Pick { pool: pool(), idempotency: id.map(key) }).unwrap()
    }

    /// The account; empty where every one is exhausted.
    pub(super) fn pick(&mut self) -> String {
        let decision = self.try_pick(None);
        assert_eq!(decision.allowed, decision.account.is_some());
        assert!(decision.allowed || decision.code() == Code::AccountsExhausted);
        decision.account.map(|account| account.id.as_str().to_owned()).unwrap_or_default()
    }

    fn picks(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.pick()).collect()
    }

    fn tell(&mut self, id: &str, outcome: Upstream) {
        self.tell_bytes(Some(id), outcome, 0);
    }

    fn tell_bytes(&mut self, id: Option<&str>, outcome: Upstream, bytes: u64) -> bool {
        let (status, text) = said_by(outcome);
        let report = ReportOutcome { account: id.map(account), status, bytes_up: bytes, ..said(A, text) };
        self.ask(Box::new(report)).unwrap().outcome.known
    }

    fn pool(&mut self) -> PoolView {
        *self.ask(GetPool { id: pool() }).unwrap()
    }

    fn account(&mut self, id: &str) -> AccountView {
        let masked = account(id).masked();
        self.pool().accounts.into_iter().find(|view| view.account == masked).unwrap()
    }

    /// What was announced since this was last asked, one text for each.
    fn told(&mut self) -> Vec<String> {
        let word = |news: PoolNews| match news {
            PoolNews::AccountExhausted { account, by, .. } => format!("{} {}", account.account, by.name()),
            PoolNews::AccountUsable { account, .. } => format!("{} usable", account.account),
            PoolNews::PoolExhausted { accounts, .. } => format!("all {}", accounts.len()),
            PoolNews::PoolUsable { .. } => "one usable".to_owned(),
        };
        self.state.take_news().pools.into_iter().map(word).collect()
    }
}

#[test]
fn an_account_gives_its_limit_less_its_buffer_and_not_one_more() {
    for (limit, buffer, most) in [(10, 3, 7), (10, 0, 10), (1, 0, 1), (10, 9, 1), (10, 10, 0), (1, 500, 0), (0, 0, 0)] {
        let mut org = OrgBench::with_pool([NewAccount { safety_buffer: Some(buffer), ..new(A, limit) }]);
        let given = org.picks(12).into_iter().filter(|id| id == A).count();
        assert_eq!(given as u64, most, "R-POOL-2: {limit} less {buffer}");
        let view = org.account(A);
        assert_eq!((view.used, view.exhausted), (most, Some(Exhaustion::Limit)));
    }
}

#[test]
fn what_an_account_does_not_say_follows_the_node_also_later() {
    let mut org = OrgBench::with_pool([NewAccount { daily_limit: None, safety_buffer: None, ..new(A, 0) }]);
    let view = org.account(A);
    assert_eq!((view.daily_limit, view.safety_buffer), (20_000, 500), "R-POOL-1");
    assert_eq!(view.window, DAY_FROM_FIRST_USE);
    assert_eq!(org.picks(3), [A, A, A]);
    Arc::make_mut(&mut org.policy.pools).rules.safety_buffer = 19_997;
    assert_eq!(org.pick(), "", "R-POOL-5: a buffer above what is left");
    Arc::make_mut(&mut org.policy.pools).rules.daily_limit = 20_001;
    assert_eq!(org.picks(2), [A, ""], "R-PIPE-11: on the next call");
}

#[test]
fn every_retry_counts_and_a_known_request_id_does_not() {
    let mut org = OrgBench::with_pool([new(A, 10), new(B, 10)]);
    org.picks(10);
    assert_eq!(org.pool().summary.used, 10, "R-POOL-2");
    let first = org.try_pick(Some("a"));
    let again = org.restart().try_pick(Some("a"));
    assert_eq!(first.account.as_ref().map(|it| &it.id), again.account.as_ref().map(|it| &it.id));
    assert!(again.replayed && !first.replayed);
    assert_eq!(org.pool().summary.used, 11, "R-PIPE-6");
    assert_eq!(org.pool().summary.total_calls, 11, "a replay is no call");
    let gated = Acquire { idempotency: Some(key("a#b")), ..gated() };
    assert_eq!(org.try_acquire(gated), Err(OrgError::RequestIdReused), "one name, one body");
}

#[test]
fn accounts_of_any_size_are_used_up_together() {
    let mut org = OrgBench::with_pool([new(A, 100), new(B, 10)]);
    let given = org.picks(55);
    assert_eq!(given.iter().filter(|id| *id == B).count(), 5, "a tenth as large, a tenth as often");
    org.picks(55);
    assert_eq!((org.pool().summary.remaining, org.pick().as_str()), (0, ""));
}

#[test]
fn of_equal_accounts_the_one_used_longest_ago_is_next() {
    let mut org = OrgBench::with_pool([new(A, 10), new(B, 10), new(C, 10)]);
    let mut given = Vec::new();
    for _ in 0..6 {
        given.push(org.after(1).pick());
    }
    assert_eq!(given, [A, B, C, A, B, C]);
}

#[test]
fn only_what_is_configured_counts() {
    let mut org = OrgBench::with_pool([new(A, 1), new(B, 1)]);
    org.picks(2);
    org.tell(A, Upstream::QuotaExhausted);
    assert_eq!(org.pick(), "");
    let view = org.configure([new(B, 1), new(C, 5)]).unwrap();
    assert_eq!((view.summary.accounts, view.summary.active), (2, 1));
    assert_eq!(org.pick(), C, "R-POOL-3: stale usage of a removed account trips nothing");
    org.configure([new(A, 2)]).unwrap();
    assert_eq!((org.account(A).used, org.pick().as_str()), (1, A), "what it used in its window still counts");
}

#[test]
fn what_an_older_tollgate_had_announced_of_a_pool_is_not_announced_again() {
    let mut org = OrgBench::with_pool([new(A, 1), new(B, 1)]);
    org.picks(2);
    assert_eq!(org.told().len(), 3, "both, and the pool");
    org.flush();
    org.disk = std::mem::take(&mut org.disk).with_former_alerts();
    assert!(org.disk.rows().rows.iter().any(|row| matches!(row, Row::Pool(row) if row.announced)));
    org.crash();
    assert_eq!((org.pick(), org.told()), (String::new(), Vec::new()));
    org.restart();
    assert!(!org.disk.rows().rows.iter().any(|row| matches!(row, Row::Pool(row) if row.announced)), "it has moved");
    org.configure([new(A, 5), new(B, 1)]).unwrap();
    assert_eq!(org.told().len(), 2, "an account and the pool are usable, once");
    assert_eq!((org.restart().pick(), org.told()), (A.to_owned(), Vec::new()));
}

#[test]
fn what_is_announced_of_an_account_goes_with_it() {
    let mut org = OrgBench::with_pool([new(A, 1), new(B, 1)]);
    org.picks(2);
    org.told();
    org.configure([new(C, 1)]).unwrap();
    org.configure([]).unwrap();
    org.flush();
    let alerts = |org: &OrgBench| org.disk.rows().rows.into_iter().filter(|row| matches!(row, Row::Alert(_))).count();
    assert_eq!(alerts(&org), 0, "nothing stays of what is gone");
    org.told();
    org.configure([new(A, 1)]).unwrap();
    assert_eq!(org.told().len(), 2, "it is still exhausted, and that is news of it and of its pool");
}

#[test]
fn all_exhausted_is_answered_at_once_with_the_soonest_reset_and_no_account() {
    let mut org = OrgBench::with_pool([new(A, 1), new(B, 1)]);
    org.pick();
    org.after(HOUR_MS).pick();
    let denied = org.after(HOUR_MS).try_pick(None);
    assert_eq!(
        (denied.code(), denied.code().http_status(), denied.gate()),
        (Code::AccountsExhausted, 503, Some(Gate::Accounts))
    );
    assert_eq!(denied.retry_after(), 22 * HOUR_MS, "R-POOL-3: the first one's window");
    let expected =
        "All 2 accounts of pool relay are exhausted. The first is usable again at 2026-06-22T16:00:00Z (in 22 h).";
    assert_eq!(denied.message(), expected);
    assert_eq!(org.at(T0 + DAY_MS - 1).pick(), "");
    assert_eq!(org.at(T0 + DAY_MS).pick(), A);
}

#[test]
fn nothing_usable_says_that_it_will_not_be() {
    let mut org = OrgBench::with_pool([NewAccount { safety_buffer: Some(500), ..new(A, 1) }]);
    let denied = org.try_pick(None);
    assert_eq!((denied.code(), denied.retry_after()), (Code::AccountsExhausted, 0));
    assert!(denied.message().contains("None will be usable by itself"), "{}", denied.message());
}

#[test]
fn a_quota_text_exhausts_until_the_window_ends() {
    let mut org = OrgBench::with_pool([new(A, 100)]);
    org.pick();
    org.after(HOUR_MS).tell(A, Upstream::QuotaExhausted);
    assert_eq!(org.pick(), "", "R-POOL-4");
    let view = org.account(A);
    assert_eq!((view.exhausted, view.available_at.map(|due| due.at)), (Some(Exhaustion::Upstream), Some(T0 + DAY_MS)));
    assert_eq!((view.reported.quota_errors, view.reported.failed, view.used), (1, 0, 1));
    assert_eq!(org.restart().at(T0 + DAY_MS - 1).pick(), "", "it survives a restart");
    assert_eq!(org.at(T0 + DAY_MS).pick(), A);
    assert_eq!(org.account(A).reported.quota_errors, 0, "of the window that has ended");
}

#[test]
fn what_was_exhausted_before_its_first_use_is_usable_after_a_window() {
    for (window, ends) in [
        (DAY_FROM_FIRST_USE, T0 + DAY_MS),
        (CLOCK_HOUR, T0 + HOUR_MS),
        (DAILY, T0 + DAY_MS),
        (Window::Calendar(Calendar::Day), T0 + 8 * HOUR_MS),
    ] {
        let mut org = OrgBench::with_pool([NewAccount { window: Some(window), ..new(A, 5) }]);
        org.tell(A, Upstream::QuotaExhausted);
        assert_eq!(org.try_pick(None).retry_after(), ends - T0, "R-POOL-4: {window}");
        assert_eq!(org.at(ends - 1).pick(), "");
        assert_eq!(org.at(ends).pick(), A, "{window}");
    }
}

#[test]
fn a_raised_limit_frees_an_account_whatever_was_said_of_it() {
    let mut org = OrgBench::with_pool([new(A, 1)]);
    org.pick();
    org.tell(A, Upstream::QuotaExhausted);
    org.configure([new(A, 1)]).unwrap();
    assert_eq!(org.pick(), "");
    org.configure([new(A, 2)]).unwrap();
    assert_eq!(org.picks(2), [A, ""], "R-PIPE-11");
    org.configure([new(A, 1)]).unwrap();
    assert_eq!(org.account(A).exhausted, Some(Exhaustion::Upstream), "and a lowered one believes it again");
}

#[test]
fn a_failure_moves_the_route_and_never_the_quota() {
    for (outcome, length, refused) in [(Upstream::Refused, DAY_MS, true), (Upstream::Unavailable, MINUTE_MS, false)] {
        let mut org = OrgBench::with_pool([new(A, 100), new(B, 100)]);
        org.pick();
        org.tell(A, outcome);
        let view = org.account(A);
        assert_eq!((view.reported.failed, view.reported.quota_errors, view.exhausted), (1, 0, None), "R-POOL-4");
        let route = view.route.unwrap();
        assert_eq!((route.until.at, route.refused), (T0 + length, refused));
        assert_eq!(org.picks(3), [B, B, B], "avoided");
        assert!(org.restart().at(T0 + length - 1).account(A).route.is_some(), "it survives a restart");
        assert_eq!(org.at(T0 + length).account(A).route, None);
        assert_eq!(org.pick(), A);
    }
    let mut org = OrgBench::with_pool([new(A, 100)]);
    org.tell(A, Upstream::Failed);
    org.tell(A, Upstream::Ok);
    let view = org.account(A);
    assert_eq!((view.reported.failed, view.route, view.exhausted), (1, None, None));
}

#[test]
fn what_was_reported_while_no_window_ran_counts_in_the_next_one() {
    let mut org = OrgBench::with_pool([new(A, 100)]);
    org.tell(A, Upstream::Unavailable);
    org.after(HOUR_MS).pick();
    org.tell(A, Upstream::Failed);
    assert_eq!(org.account(A).reported.failed, 2);
    assert_eq!(org.at(T0 + DAY_MS).account(A).reported.failed, 2, "until that one ends");
    assert_eq!(org.at(T0 + HOUR_MS + DAY_MS).account(A).reported.failed, 0);
}

#[test]
fn an_avoided_account_is_used_when_nothing_else_is_left_the_failed_before_the_refused() {
    let mut org = OrgBench::with_pool([new(A, 1), new(B, 2), new(C, 1)]);
    org.tell(A, Upstream::Refused);
    org.tell(B, Upstream::Unavailable);
    let resorts: Vec<_> = (0..4).map(|_| org.try_pick(None).account.unwrap()).collect();
    let given: Vec<_> = resorts.iter().map(|it| (it.id.as_str(), it.last_resort)).collect();
    assert_eq!(given, [(C, false), (B, true), (B, true), (A, true)], "R-POOL-4");
    assert_eq!(org.pick(), "");
}

#[test]
fn a_refusal_lasts_over_a_failure_and_the_longer_over_the_shorter() {
    let mut org = OrgBench::with_pool([new(A, 100)]);
    org.tell(A, Upstream::Unavailable);
    org.tell(A, Upstream::Refused);
    org.after(HOUR_MS).tell(A, Upstream::Unavailable);
    let route = org.account(A).route.unwrap();
    assert_eq!((route.refused, route.until.at), (true, T0 + DAY_MS));
    org.tell(A, Upstream::Refused);
    assert_eq!(org.account(A).route.unwrap().until.at, T0 + HOUR_MS + DAY_MS);
}

#[test]
fn a_failure_shortly_before_a_refusal_ends_is_avoided_for_all_of_its_time() {
    let mut org = OrgBench::with_pool([new(A, 100), new(B, 100)]);
    org.tell(A, Upstream::Refused);
    org.after(DAY_MS - 1).tell(A, Upstream::Unavailable);
    assert!(org.account(A).route.unwrap().refused);
    let route = org.restart().after(1).account(A).route.unwrap();
    assert_eq!((route.refused, route.until.at), (false, T0 + DAY_MS - 1 + MINUTE_MS));
    assert_eq!(org.at(route.until.at).account(A).route, None);
}

#[test]
fn windows_are_per_account_and_roll_by_themselves_while_nobody_asks() {
    let window = Window::Anchored { len: 90 * MINUTE_MS };
    let mut org = OrgBench::with_pool([new(A, 1), NewAccount { window: Some(window), ..new(B, 1) }]);
    org.after(MINUTE_MS).picks(2);
    assert_eq!(org.told(), ["aaaa…aaaa limit", "bbbb…bbbb limit", "all 2"]);
    // Request ids wake the org at the full hour; after that nothing else does so soon.
    org.flush();
    org.at(T0 + HOUR_MS).sweep();
    assert_eq!(org.told(), Vec::<String>::new());
    assert_eq!(org.snapshot().wake_at, Some(T0 + 91 * MINUTE_MS), "R-POOL-5: the stored timer is that of the window");
    org.at(T0 + 91 * MINUTE_MS).sweep();
    assert_eq!(org.told(), ["bbbb…bbbb usable", "one usable"]);
    assert_eq!(org.account(B).used, 0);
    org.restart().at(T0 + MINUTE_MS + DAY_MS).sweep();
    assert_eq!(org.told(), ["aaaa…aaaa usable"], "also after a restart");
}

#[test]
fn each_transition_is_told_once_also_over_a_restart() {
    let mut org = OrgBench::with_pool([new(A, 1), new(B, 1)]);
    org.picks(2);
    assert_eq!(org.told(), ["aaaa…aaaa limit", "bbbb…bbbb limit", "all 2"], "R-POOL-6");
    org.picks(50);
    org.restart().picks(50);
    assert_eq!(org.told(), Vec::<String>::new());
    org.configure([new(A, 1), new(B, 2)]).unwrap();
    assert_eq!(org.told(), ["bbbb…bbbb usable", "one usable"]);
    org.tell(B, Upstream::QuotaExhausted);
    assert_eq!(org.told(), ["bbbb…bbbb upstream", "all 2"]);
}

#[test]
fn a_pool_without_anything_usable_says_so_when_it_is_looked_at_after_a_start() {
    let mut org = OrgBench::with_pool([NewAccount { safety_buffer: None, ..new(A, 1_000) }]);
    org.picks(300);
    Arc::make_mut(&mut org.policy.pools).rules.safety_buffer = 800;
    org.restart().told();
    let pools = org.ask(RollPools).unwrap();
    assert_eq!((pools[0].summary.active, pools[0].accounts[0].exhausted), (0, Some(Exhaustion::Limit)), "R-POOL-5");
    assert_eq!(org.told(), ["aaaa…aaaa limit", "all 1"]);
}

#[test]
fn the_summary_adds_up_what_is_configured_now() {
    let mut org = OrgBench::with_pool([new(A, 100), NewAccount { safety_buffer: Some(10), ..new(B, 50) }]);
    org.picks(14);
    org.tell_bytes(Some(A), Upstream::Failed, 700);
    org.tell_bytes(Some(B), Upstream::Refused, 300);
    org.tell_bytes(None, Upstream::Ok, 5);
    org.tell(B, Upstream::QuotaExhausted);
    let (used_a, used_b) = (org.account(A).used, org.account(B).used);
    let sum = org.pool().summary;
    assert_eq!(
        (sum.capacity, sum.used, sum.remaining),
        (140, 14, 100 - used_a),
        "R-POOL-6: an exhausted one has nothing"
    );
    assert_eq!((sum.failed, sum.quota_errors, sum.accounts, sum.active, sum.avoided), (2, 1, 2, 1, 0));
    assert_eq!((sum.total_calls, sum.bytes), (15, 1_005), "R-POOL-7: of every path");
    assert_eq!(sum.soonest_reset.map(|due| due.at), Some(T0 + DAY_MS));
    assert_eq!(sum.estimate, Some(sum.remaining * 50_000));
    assert_eq!((org.account(A).reported.bytes(), used_a + used_b), (700, 14));
}

#[test]
fn total_calls_count_every_pick_and_begin_again_at_midnight_utc() {
    let mut org = OrgBench::with_pool([new(A, 2)]);
    org.picks(5);
    org.tell_bytes(None, Upstream::Ok, 0);
    assert_eq!(org.restart().pool().summary.total_calls, 6, "R-POOL-5: refused and bypassing ones included");
    assert_eq!(org.at(T0 + 8 * HOUR_MS - 1).pool().summary.total_calls, 6);
    assert_eq!(org.at(T0 + 8 * HOUR_MS).pool().summary.total_calls, 0);
    assert_eq!(org.account(A).used, 2, "the account's window runs on");
}

#[test]
fn a_report_of_an_account_that_has_left_counts_its_bytes_for_the_pool() {
    let mut org = OrgBench::with_pool([new(A, 2)]);
    assert!(!org.tell_bytes(Some(B), Upstream::QuotaExhausted, 9));
    assert_eq!((org.pool().summary.bytes, org.pick().as_str()), (9, A));
}

fn gated() -> Acquire {
    Acquire { pool: Some(PoolAsk { pool: pool(), pick: true }), ..ask() }
}

#[test]
fn gate_and_account_are_charged_together_or_not_at_all() {
    let mut org = OrgBench::with_pool([new(A, 3)]);
    org.policy.rate.amount = Some(2);
    let first = org.acquire(gated());
    assert_eq!(first.account.as_ref().map(|it| (it.id.as_str(), it.remaining)), Some((A, 2)));
    org.acquire(gated());
    let denied = org.acquire(gated());
    assert_eq!(
        (denied.code(), denied.account, org.account(A).used),
        (Code::RateLimited, None, 2),
        "no account is charged"
    );
    assert_eq!(org.pool().summary.total_calls, 3);
    org.after(HOUR_MS).acquire(gated());
    let (limits, denied) = (org.used("rate"), org.acquire(gated()));
    assert_eq!((denied.code(), denied.gate()), (Code::AccountsExhausted, Some(Gate::Accounts)), "R-PIPE-1");
    assert_eq!((org.used("rate"), org.limit("rate").blocked), (limits, 0), "and the org is not charged");
}

#[test]
fn a_gated_pick_is_answered_again_whole() {
    let mut org = OrgBench::with_pool([new(A, 3), new(B, 3)]);
    let keyed = || Acquire { idempotency: Some(key("a")), reserve: spend(5), ..gated() };
    let first = org.acquire(keyed());
    let again = org.restart().acquire(keyed());
    assert_eq!((again.id, again.hold, again.replayed), (first.id, first.hold, true));
    assert_eq!(again.account.map(|it| it.id), first.account.map(|it| it.id));
    assert_eq!((org.pool().summary.used, org.used("rate")), (1, 1));
}

#[test]
fn the_accounts_are_looked_at_after_the_freeze_and_before_the_backstop() {
    let mut org = OrgBench::with_pool([new(A, 0)]);
    org.policy.rate.amount = Some(0);
    let ask = |pick| Acquire { pool: Some(PoolAsk { pool: pool(), pick }), ..ask() };
    for pick in [true, false] {
        assert_eq!(org.acquire(ask(pick)).code(), Code::AccountsExhausted);
    }
    org.freeze("f").unwrap();
    assert_eq!(org.acquire(ask(true)).code(), Code::Frozen);
    assert_eq!(org.try_pick(None).code(), Code::AccountsExhausted, "a pick alone passes the gates of the org");
    let unknown = PoolAsk { pool: PoolId::parse("pool", "other").unwrap(), pick: false };
    assert_eq!(org.try_acquire(Acquire { pool: Some(unknown), ..super::ask() }), Err(OrgError::PoolUnknown));
}

#[test]
fn other_limits_on_an_account_and_on_a_pool_hold_as_well() {
    let bytes = |amount| Limit::new(Meter::bytes(), CLOCK_HOUR, Some(amount));
    let calls = Limit::new(Meter::calls(), CLOCK_HOUR, Some(4));
    let mut org = OrgBench::new().and_scope("pool/relay", [calls]).and_scope(&format!("account/{A}"), [bytes(100)]);
    org.configure([new(A, 100), new(B, 2)]).unwrap();
    org.pick();
    org.tell_bytes(Some(A), Upstream::Ok, 100);
    assert_eq!(
        (org.account(A).exhausted, org.account(A).available_at.map(|due| due.at)),
        (Some(Exhaustion::Limit), Some(T0 + HOUR_MS))
    );
    assert_eq!(org.told(), ["aaaa…aaaa limit"]);
    assert_eq!(org.picks(2), [B, B]);
    assert_eq!(org.at(T0 + HOUR_MS).picks(4), [A, A, A, A]);
    let denied = org.try_pick(None);
    assert_eq!((denied.code(), denied.gate()), (Code::QuotaExceeded, Some(Gate::Accounts)), "{}", denied.message());
}

#[test]
fn an_account_is_a_scope_like_any_other() {
    let mut org = OrgBench::with_pool([new(A, 3)]);
    let scope = format!("account/{A}");
    org.acquire(ask_on(&scope));
    assert_eq!((org.account(A).used, org.limit_of(&scope, "account").amount), (1, Some(3)));
    assert_eq!(org.picks(3), [A, A, ""]);
    assert_eq!(org.acquire(ask_on(&scope)).code(), Code::QuotaExceeded);
}

#[test]
fn what_can_not_be_configured_changes_nothing() {
    let mut org = OrgBench::with_pool([new(A, 3)]);
    let other = PoolId::parse("pool", "other").unwrap();
    let set = |accounts: Vec<NewAccount>, expected_version, id: &str| {
        Command::ConfigurePool(Box::new(ConfigurePool {
            pool: other.clone(),
            accounts,
            settings: None,
            expected_version,
            idempotency: key(id),
        }))
    };
    let elsewhere = org.apply(&set(vec![new(B, 1), new(A, 1)], None, "1"));
    assert_eq!(elsewhere, Err(OrgError::AccountInOtherPool { index: 1 }));
    assert_eq!(org.apply(&set(vec![new(B, 1)], Some(3), "2")), Err(OrgError::PoolVersion { current: 0 }));
    org.bounds.accounts_per_pool = 1;
    let many = org.apply(&set(vec![new(B, 1), new(C, 1)], None, "3"));
    assert_eq!(many, Err(OrgError::TooManyAccounts { most: 1 }));
    org.bounds.pools_per_org = 1;
    assert_eq!(org.apply(&set(vec![new(B, 1)], None, "4")), Err(OrgError::TooManyPools { most: 1 }));
    org.bounds.ledgers_per_org = 1;
    let full = org.configure([new(B, 1)]);
    assert_eq!(full, Err(OrgError::TooManyLedgers { most: 2 }), "accounts that have left keep their ledgers");
    assert_eq!((org.pool().version, org.pick().as_str()), (1, A));
}

#[test]
fn a_pool_without_accounts_is_gone_and_comes_back_empty_handed() {
    let mut org = OrgBench::with_pool([new(A, 3)]);
    org.tell(A, Upstream::QuotaExhausted);
    assert_eq!(org.configure([]).unwrap().version, 0);
    assert_eq!(org.ask(GetPool { id: pool() }), Err(OrgError::PoolUnknown));
    assert_eq!(org.ask(Pick { pool: pool(), idempotency: None }), Err(OrgError::PoolUnknown));
    assert_eq!(org.restart().configure([new(A, 3)]).unwrap().version, 1);
    assert_eq!(org.pick(), A);
}

#[test]
fn what_lies_in_the_future_after_a_clock_repair_lasts_as_long_as_it_did() {
    let mut org = OrgBench::with_pool([new(A, 3), new(B, 3)]);
    org.at(T0 + 365 * DAY_MS).tell(A, Upstream::QuotaExhausted);
    org.tell(B, Upstream::Refused);
    org.repaired(T0);
    assert_eq!(org.account(A).available_at.map(|due| due.at), Some(T0 + DAY_MS));
    assert_eq!(org.account(B).route.unwrap().until.at, T0 + DAY_MS);
}

#[test]
fn a_second_more_than_a_window_is_another_window() {
    let window = Window::Anchored { len: SECOND_MS };
    let mut org = OrgBench::with_pool([NewAccount { window: Some(window), ..new(A, 1) }]);
    for _ in 0..5 {
        assert_eq!(org.after(SECOND_MS).picks(2), [A, ""]);
    }
    assert_eq!(org.account(A).window_ends_at.map(|due| due.at), Some(org.now + SECOND_MS));
    assert_eq!(org.after(SECOND_MS).account(A).window_ends_at, None, "none runs until it is used");
}
