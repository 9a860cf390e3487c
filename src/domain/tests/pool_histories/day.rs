//! A day of 20 000 picks, with restarts in between.

use super::*;

const PICKS: usize = 20_000;

/// Numbers that look random, and are the same every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// What is said of an account of any size: limit, buffer, window.
type SaidOfAny = (Option<u64>, Option<u64>, Option<Window>);

/// Answers what was picked when, of which account.
fn day(said: &[SaidOfAny], seed: u64) -> (Side, Vec<(Millis, u8)>) {
    let mut side = Side::new(1);
    let new = |(id, (daily_limit, safety_buffer, window)): (u8, &SaidOfAny)| {
        let id = account(id);
        NewAccount { id, daily_limit: *daily_limit, safety_buffer: *safety_buffer, window: *window, per_minute: None }
    };
    let accounts: Vec<_> = (0..).zip(said).map(new).collect();
    side.configure(0, accounts);
    let (mut dice, mut picks) = (Dice(seed), Vec::new());
    for _ in 0..PICKS {
        // On average as many as fill a day.
        side.org.after(dice.below(2 * DAY_MS / PICKS as u64));
        side.model.now = side.org.now;
        if dice.below(500) == 0 {
            side.org.restart();
            side.check_view();
        }
        let answer = side.model.ask(0, None, None);
        let reply = side.org.ask(Pick { pool: pool_id(0), idempotency: None });
        side.model.pick(0, answer, None);
        side.compare(0, answer, &reply);
        side.hear();
        if let Answer::Picked { account, .. } = answer {
            picks.push((side.model.now, account));
        }
    }
    side.check_view();
    (side, picks)
}

impl Side {
    fn check_view(&mut self) {
        self.late = true;
        self.check();
    }
}

/// The most that any anchored window of the account had in it.
fn most_per_window(picks: &[(Millis, u8)], account: u8, len: Millis) -> u64 {
    let (mut start, mut used, mut most) = (None, 0, 0);
    for (at, _) in picks.iter().filter(|(_, of)| *of == account) {
        if start.is_none_or(|start| start + len <= *at) {
            (start, used) = (Some(*at), 0);
        }
        used += 1;
        most = most.max(used);
    }
    most
}

#[test]
fn a_day_of_twenty_thousand_picks_is_counted_as_the_naive_model_counts_it() {
    let (side, picks) = day(&[(None, None, None), (Some(5_000), None, None), (Some(300), Some(10), None)], 1);
    assert_eq!(picks.len(), PICKS, "R-POOL-2: there is room for all of them");
    assert_eq!(side.model.calls.len(), PICKS);
    for (account, usable) in [(0, 19_500), (1, 4_500), (2, 290)] {
        let most = most_per_window(&picks, account, DAY_MS);
        assert!(most <= usable, "R-POOL-2: {most} of {usable}");
        // Accounts of any size are used up together: about four fifths of each.
        assert!(most * 10 > usable * 7, "{most} of {usable}");
    }
}

#[test]
fn where_there_are_too_few_every_window_is_used_up_and_never_passed() {
    let hour = Some(Window::Anchored { len: HOUR_MS });
    let said = [(Some(300), Some(50), hour), (Some(200), Some(0), hour), (Some(150), Some(1), Some(HOURLY))];
    let (side, picks) = day(&said, 2);
    assert!(picks.len() < PICKS && side.model.calls.len() == PICKS, "refused ones are counted as well");
    assert_eq!(most_per_window(&picks, 0, HOUR_MS), 250, "R-POOL-2");
    assert_eq!(most_per_window(&picks, 1, HOUR_MS), 200);
    let hourly = |from: Millis| picks.iter().filter(|(at, of)| *of == 2 && (from..from + HOUR_MS).contains(at)).count();
    let most = picks.iter().step_by(50).map(|(at, _)| hourly(*at)).max();
    assert!(most.is_some_and(|most| most <= 149), "{most:?}");
}
