//! Keys of a provider that limits by the minute: pauses, times that upstreams name, what a success ends, limits
//! per minute, and settings of a pool.

use super::{
    pools::{A, B, account, said},
    *,
};
use crate::{
    bounds::SECOND_MS,
    domain::{
        command::{ClearAccount, ConfigurePool, NewAccount, ReportOutcome},
        decision::PickedAccount,
        ids::PoolId,
        policy::{PoolSettings, Profile},
        reply::{AccountView, Exhaustion, PoolView},
    },
};

fn pool() -> PoolId {
    PoolId::parse("pool", "keys").unwrap()
}

fn llm() -> PoolSettings {
    PoolSettings { profile: Some(Profile::Llm), safety_buffer: Some(0), ..PoolSettings::default() }
}

fn relay() -> PoolSettings {
    PoolSettings { profile: Some(Profile::Relay), ..llm() }
}

/// 429 without a text.
fn limited(id: &str) -> ReportOutcome {
    ReportOutcome { pool: pool(), ..said(id, "") }
}

impl OrgBench {
    fn with_keys(names: &[&str], settings: PoolSettings) -> Self {
        let mut bench = Self::new();
        bench.set_keys(names, Some(settings));
        bench
    }

    fn set_keys(&mut self, names: &[&str], settings: Option<PoolSettings>) -> PoolView {
        let new = |id: &&str| NewAccount {
            id: account(id),
            daily_limit: None,
            safety_buffer: None,
            window: None,
            per_minute: None,
        };
        let (accounts, idempotency) = (names.iter().map(new).collect(), key(&format!("keys-{}", self.next_id)));
        let set = ConfigurePool { pool: pool(), accounts, settings, expected_version: None, idempotency };
        *self.ask(Box::new(set)).unwrap().view
    }

    fn pick_key(&mut self) -> Result<PickedAccount, Millis> {
        let decision = *self.ask(Pick { pool: pool(), idempotency: None }).unwrap();
        let retry_after = decision.retry_after();
        decision.account.ok_or(retry_after)
    }

    fn answered(&mut self, report: ReportOutcome) -> Upstream {
        self.ask(Box::new(report)).unwrap().outcome.outcome
    }

    fn say(&mut self, id: &str, status: u16, text: &str) -> Upstream {
        self.answered(ReportOutcome { status, text: text.to_owned(), ..limited(id) })
    }

    /// The call of the key went well.
    fn succeed(&mut self, id: &str, picked_at: Option<Millis>) {
        assert_eq!(self.answered(ReportOutcome { status: 200, picked_at, ..limited(id) }), Upstream::Ok);
    }

    fn key(&mut self, id: &str) -> AccountView {
        let view = self.ask(GetPool { id: pool() }).unwrap();
        view.accounts.into_iter().find(|view| view.account == account(id).masked()).unwrap()
    }

    /// For how long its route is still avoided.
    fn pause(&mut self, id: &str) -> Millis {
        let until = self.key(id).route.map_or(self.now, |route| route.until.at);
        until - self.now
    }
}

#[test]
fn a_429_without_a_time_pauses_a_key_for_a_second_doubling_to_an_hour() {
    let mut org = OrgBench::with_keys(&[A], llm());
    for round in 0..14 {
        let expected = (SECOND_MS << round).min(HOUR_MS);
        assert_eq!(org.answered(limited(A)), Upstream::RateLimited);
        assert_eq!(org.pause(A), expected, "R-POOL-4: the pause {round} times doubled");
        if round % 3 == 0 {
            assert_eq!(org.restart().pause(A), expected, "a restart keeps the pause");
        }
        assert_eq!(org.pick_key().unwrap_err(), expected, "not picked before, and the answer says when");
        org.after(expected);
        if round % 3 == 1 {
            org.flush();
            org.crash();
        }
        assert_eq!(org.pick_key().unwrap().id, account(A));
    }
    let since = org.now;
    org.after(1).succeed(A, Some(since + 1));
    assert_eq!(org.answered(limited(A)), Upstream::RateLimited);
    assert_eq!(org.pause(A), SECOND_MS, "a good call begins again");
}

#[test]
fn calls_that_were_under_way_at_the_first_429_double_nothing() {
    let mut org = OrgBench::with_keys(&[A, B], llm());
    let picked_at = Some(org.now);
    for _ in 0..10 {
        org.after(10).answered(ReportOutcome { picked_at, ..limited(A) });
    }
    let first = org.now - 90;
    assert_eq!(org.key(A).route.map(|route| route.until.at), Some(first + SECOND_MS), "one refusal, said ten times");
    for _ in 0..10 {
        org.answered(limited(A));
    }
    assert_eq!(
        org.key(A).route.map(|route| route.until.at),
        Some(first + SECOND_MS),
        "also without the time of the pick"
    );
    let picked_at = Some(org.after(1).now);
    org.after(1).answered(ReportOutcome { picked_at, ..limited(A) });
    assert_eq!(org.pause(A), 2 * SECOND_MS, "a later pick that is refused is another refusal");
}

#[test]
fn pauses_begin_again_after_an_hour_and_after_a_success_of_unknown_pick() {
    let mut org = OrgBench::with_keys(&[A], llm());
    for _ in 0..3 {
        org.answered(limited(A));
        let pause = org.pause(A);
        org.after(pause);
    }
    org.after(HOUR_MS - 1).answered(limited(A));
    assert_eq!(org.pause(A), 8 * SECOND_MS);
    org.succeed(A, None);
    assert_eq!(org.pause(A), 8 * SECOND_MS, "it may be of a call from before");
    org.after(8 * SECOND_MS).succeed(A, None);
    org.answered(limited(A));
    assert_eq!(org.pause(A), SECOND_MS);
    org.after(SECOND_MS + HOUR_MS).answered(limited(A));
    assert_eq!(org.pause(A), SECOND_MS);
}

#[test]
fn the_time_that_an_upstream_names_decides_in_every_profile() {
    for (settings, status, text, named, outcome, wait) in [
        (relay(), 429, "", Some(21_000), Upstream::RateLimited, 21_000),
        (relay(), 429, "Rate limit reached. Please try again in 1.4s.", None, Upstream::QuotaExhausted, 1_400),
        (relay(), 403, "", Some(5_000), Upstream::Refused, 5_000),
        (relay(), 503, "overloaded, retry after 90 seconds", None, Upstream::Unavailable, 90_000),
        (llm(), 429, "quota exceeded, retry in 21 s", None, Upstream::RateLimited, 21_000),
        (llm(), 429, "requests per day; resets in 3h2m", None, Upstream::QuotaExhausted, 10_920_000),
        (llm(), 429, "try again in 1s", Some(7_000), Upstream::RateLimited, 7_000),
        (llm(), 401, "", Some(HOUR_MS), Upstream::Refused, HOUR_MS),
    ] {
        let mut org = OrgBench::with_keys(&[A, B], settings);
        let report = ReportOutcome { status, text: text.to_owned(), retry_after: named, ..limited(A) };
        assert_eq!(org.answered(report), outcome, "R-POOL-4: {status} {text}");
        let view = org.restart().key(A);
        let until = view.available_at.map(|due| due.at).or(view.route.map(|route| route.until.at));
        assert_eq!(until, Some(T0 + wait), "{status} {text}");
        assert_eq!(org.at(T0 + wait - 1).pick_key().unwrap().id, account(B));
        let view = org.at(T0 + wait).key(A);
        assert_eq!((view.exhausted, view.route), (None, None), "{status} {text}");
    }
}

#[test]
fn a_later_time_takes_the_place_of_an_earlier_and_of_the_lengths_of_the_pool() {
    let mut org = OrgBench::with_keys(&[A], relay());
    org.say(A, 429, "");
    assert_eq!(org.pause(A), DAY_MS);
    org.answered(ReportOutcome { status: 403, retry_after: Some(5_000), ..limited(A) });
    assert_eq!(org.pause(A), 5_000);
    org.say(A, 403, "");
    assert_eq!(org.pause(A), DAY_MS);
    org.answered(ReportOutcome { status: 403, retry_after: Some(0), ..limited(A) });
    assert_eq!(org.key(A).route, None, "0 is at once");
}

#[test]
fn a_time_in_the_text_of_the_callers_own_transport_is_none() {
    let mut org = OrgBench::with_keys(&[A], relay());
    org.say(A, 0, "retry in 5s");
    assert_eq!(org.pause(A), MINUTE_MS);
}

#[test]
fn a_success_of_a_call_that_was_picked_later_clears_evidence_and_route() {
    for (status, text) in [(429, "quota"), (429, ""), (403, ""), (500, ""), (429, "quota, retry in 5h")] {
        for settings in [relay(), llm()] {
            let mut org = OrgBench::with_keys(&[A], settings);
            let before = org.pick_key().unwrap().picked_at;
            org.after(5).say(A, status, text);
            let said_at = org.now;
            let held = |org: &mut OrgBench| {
                let view = org.key(A);
                view.exhausted.is_some() || view.route.is_some()
            };
            for picked_at in [Some(before), Some(said_at), None, Some(said_at + DAY_MS)] {
                org.after(5).succeed(A, picked_at);
                assert!(held(&mut org), "R-POOL-4: {picked_at:?} says nothing of what came later: {status} {text}");
            }
            org.after(1).restart().succeed(A, Some(said_at + 1));
            assert!(!held(&mut org), "{status} {text}");
            assert!(!held(org.restart()));
            assert_eq!(org.pick_key().unwrap().id, account(A));
        }
    }
}

#[test]
fn a_replay_of_a_pick_names_the_time_of_the_first() {
    let mut org = OrgBench::with_keys(&[A], llm());
    let pick = || Pick { pool: pool(), idempotency: Some(super::key("p")) };
    let at = |org: &mut OrgBench| org.ask(pick()).unwrap().account.unwrap().picked_at;
    assert_eq!(at(&mut org), T0);
    assert_eq!(at(org.after(500).restart()), T0);
}

#[test]
fn a_key_that_was_refused_or_asked_to_wait_is_never_the_last_resort_and_one_that_failed_is() {
    let mut org = OrgBench::with_keys(&[A, B], llm());
    org.say(A, 401, "");
    org.answered(limited(B));
    assert_eq!(org.pick_key().unwrap_err(), SECOND_MS, "the first that may be used, and no dead key until then");
    let (a, b) = (org.key(A), org.key(B));
    assert_eq!((a.exhausted, a.available_at.map(|due| due.at)), (Some(Exhaustion::Refused), Some(T0 + DAY_MS)));
    assert_eq!((b.exhausted, b.available_at.map(|due| due.at)), (Some(Exhaustion::RateLimited), Some(T0 + SECOND_MS)));
    let sum = org.ask(GetPool { id: pool() }).unwrap().summary;
    assert_eq!((sum.active, sum.avoided, sum.soonest_reset.map(|due| due.at)), (0, 0, Some(T0 + SECOND_MS)));
    org.after(SECOND_MS).say(B, 503, "");
    let picked = org.pick_key().unwrap();
    assert_eq!((picked.id, picked.last_resort), (account(B), true));
    let mut org = OrgBench::with_keys(&[A], relay());
    org.say(A, 401, "");
    assert!(org.pick_key().unwrap().last_resort, "relay: an answer of 503 helps nobody");
}

#[test]
fn an_operator_clears_an_account_and_what_was_counted_stays() {
    let mut org = OrgBench::with_keys(&[A], PoolSettings { daily_limit: Some(2), ..llm() });
    let clear =
        |id: &str, at: &str| Box::new(ClearAccount { pool: pool(), account: account(id), idempotency: super::key(at) });
    org.pick_key().unwrap();
    for text in ["per day", "", "retry in 5h"] {
        org.say(A, 429, text);
    }
    org.say(A, 403, "");
    assert!(org.pick_key().is_err());
    let done = org.ask(clear(A, "c")).unwrap();
    assert_eq!((done.outcome.was_held, done.replayed), (true, false));
    assert_eq!((done.view.exhausted, done.view.route, done.view.used), (None, None, 1));
    let again = org.restart().ask(clear(A, "c")).unwrap();
    assert_eq!((again.outcome.was_held, again.replayed), (true, true), "R-PIPE-6");
    assert!(!org.ask(clear(A, "d")).unwrap().outcome.was_held);
    org.pick_key().unwrap();
    assert_eq!(org.ask(clear(A, "e")).unwrap().view.exhausted, Some(Exhaustion::Limit), "its limit stands");
    assert_eq!(org.ask(clear(B, "f")).map(|_| ()), Err(OrgError::AccountUnknown));
    org.answered(limited(A));
    assert_eq!(org.pause(A), SECOND_MS, "pauses begin again");
}

#[test]
fn a_limit_per_minute_holds_beside_the_one_per_day_and_is_not_announced() {
    let settings = PoolSettings { daily_limit: Some(5), per_minute: Some(2), ..llm() };
    let mut org = OrgBench::with_keys(&[A], settings);
    assert_eq!(org.pick_key().unwrap().remaining, 1, "of the tighter");
    org.after(10 * SECOND_MS).pick_key().unwrap();
    assert_eq!(org.pick_key().unwrap_err(), 50 * SECOND_MS, "the next clock minute");
    assert_eq!(org.restart().pick_key().unwrap_err(), 50 * SECOND_MS);
    let view = org.key(A);
    assert_eq!((view.exhausted, view.per_minute), (Some(Exhaustion::Limit), Some(2)));
    assert_eq!(org.state.take_news().pools, vec![], "it comes and goes every minute");
    org.at(T0 + MINUTE_MS).pick_key().unwrap();
    org.pick_key().unwrap();
    org.after(MINUTE_MS).pick_key().unwrap();
    assert_eq!(org.pick_key().unwrap_err(), DAY_MS - 2 * MINUTE_MS, "the day is used up");
    assert_eq!(org.state.take_news().pools.len(), 2, "and that is announced, of the account and of the pool");
    assert_eq!(org.ask(RunAudit).unwrap().unwrap().drift, vec![]);
}

#[test]
fn settings_of_a_pool_hold_at_once_and_stay_where_none_are_given() {
    let mut org = OrgBench::with_keys(&[A], llm());
    let view = org.set_keys(&[A, B], None);
    assert_eq!((view.version, view.settings, view.in_force.profile), (2, llm(), Some(Profile::Llm)));
    let changed = PoolSettings { daily_limit: Some(1), cooldown: Some(5_000), ..relay() };
    let view = org.set_keys(&[A, B], Some(changed.clone()));
    assert_eq!((view.version, view.summary.capacity, &view.settings), (3, 2, &changed));
    assert_eq!(org.set_keys(&[A, B], Some(changed.clone())).version, 3, "nothing has changed");
    org.say(A, 503, "");
    assert_eq!(org.pause(A), 5_000);
    let view = org.restart().ask(GetPool { id: pool() }).unwrap();
    assert_eq!(view.settings, changed);
    assert_eq!(org.set_keys(&[A, B], Some(PoolSettings::default())).summary.capacity, 39_000);
    org.set_keys(&[], None);
    assert_eq!(org.set_keys(&[A], None).settings, PoolSettings::default(), "gone with the pool");
}

#[test]
fn a_pause_from_the_future_after_a_clock_repair_lasts_as_long_as_it_did() {
    let mut org = OrgBench::with_keys(&[A], llm());
    org.at(T0 + 365 * DAY_MS).answered(limited(A));
    org.repaired(T0);
    assert_eq!(org.pause(A), SECOND_MS);
    org.after(SECOND_MS).answered(limited(A));
    assert_eq!(org.pause(A), 2 * SECOND_MS);
}
