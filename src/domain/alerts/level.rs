//! How much of a limit is taken, in the steps that are announced.

use crate::domain::window::Millis;

/// How much of a limit is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Less than 80 percent.
    Below,
    /// 80 percent.
    Near80,
    /// 95 percent.
    Near95,
    /// All of it.
    Exhausted,
    /// More than there was: what happened is recorded whatever the limit says.
    Over,
}

/// Percent of the limit that a level begins with, the highest first.
const FROM: [(Level, u64); 2] = [(Level::Near95, 95), (Level::Near80, 80)];
/// Below so many percent, what was announced as nearly used up may be announced again.
const AGAIN_BELOW: u64 = 75;
/// Below so many percent, what was used up is usable again.
const RECOVERED_BELOW: u64 = 80;

/// What is announced of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::domain) enum Step {
    /// So much of it is taken.
    Reached(Level),
    /// It was used up, and is not any more.
    Recovered,
}

fn is_at_least(taken: u64, usable: u64, percent: u64) -> bool {
    u128::from(taken) * 100 >= u128::from(usable) * u128::from(percent)
}

impl Level {
    /// The level at which `taken` of `usable` is.
    pub(in crate::domain) fn of(taken: u64, usable: u64) -> Self {
        if taken >= usable {
            return if taken > usable { Self::Over } else { Self::Exhausted };
        }
        let reached = FROM.into_iter().find(|(_, percent)| is_at_least(taken, usable, *percent));
        reached.map_or(Self::Below, |(level, _)| level)
    }

    /// What stays announced in the same window: a level only falls where there is plenty again, so that usage that goes
    /// up and down around a step is announced once.
    pub(in crate::domain) fn kept(self, taken: u64, usable: u64) -> Self {
        let reached = Self::of(taken, usable);
        if reached > self {
            return reached;
        }
        let ends_below = if self >= Self::Exhausted { RECOVERED_BELOW } else { AGAIN_BELOW };
        if self == Self::Below || is_at_least(taken, usable, ends_below) {
            self
        } else if is_at_least(taken, usable, AGAIN_BELOW) {
            Self::Near80
        } else {
            Self::Below
        }
    }

    /// In percent: 100 of what is used up.
    pub fn percent(self) -> u64 {
        match self {
            Self::Below => 0,
            Self::Near80 => 80,
            Self::Near95 => 95,
            Self::Exhausted | Self::Over => 100,
        }
    }
}

/// What is announced of a limit at `known`, whose window ended or did not, and what stays announced.
pub(in crate::domain) fn steps(known: Level, has_ended: bool, taken: u64, usable: u64) -> (Vec<Step>, Level) {
    let mut steps = Vec::new();
    let before = if has_ended { Level::Below } else { known };
    let after = before.kept(taken, usable);
    if known >= Level::Exhausted && (has_ended || after < Level::Exhausted) {
        steps.push(Step::Recovered);
    }
    if after > before {
        steps.push(Step::Reached(after));
    }
    (steps, after)
}

/// What stays announced of a limit that was used up, once an operator has changed it, or what is used of it, so that something
/// is left; `None` = nothing is. That is announced at once: it does not go up and down by itself.
pub(in crate::domain) fn freed(known: Level, taken: u64, usable: u64) -> Option<Level> {
    let now = Level::of(taken, usable);
    (known >= Level::Exhausted && now < Level::Exhausted).then_some(now)
}

/// A window has ended at `now`.
pub(in crate::domain) fn has_ended(until: Option<Millis>, now: Millis) -> bool {
    until.is_some_and(|until| until <= now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_begins_exactly_with_its_share() {
        for (taken, usable, level) in [
            (0, 100, Level::Below),
            (79, 100, Level::Below),
            (80, 100, Level::Near80),
            (94, 100, Level::Near80),
            (95, 100, Level::Near95),
            (99, 100, Level::Near95),
            (100, 100, Level::Exhausted),
            (101, 100, Level::Over),
            (u64::MAX - 1, u64::MAX, Level::Near95),
            (3, 4, Level::Below),
            (4, 5, Level::Near80),
        ] {
            assert_eq!(Level::of(taken, usable), level, "{taken} of {usable}");
        }
    }

    /// What is announced while usage goes through these percents of one window.
    fn announced(percents: &[u64]) -> Vec<Step> {
        let mut level = Level::Below;
        let mut all = Vec::new();
        for taken in percents {
            let (steps, after) = steps(level, false, *taken, 100);
            all.extend(steps);
            level = after;
        }
        all
    }

    #[test]
    fn each_step_is_announced_once_however_often_usage_goes_over_it() {
        use Level::{Exhausted, Near80, Near95, Over};
        use Step::{Reached, Recovered};
        assert_eq!(announced(&[79, 80, 79, 81, 76, 80]), [Reached(Near80)], "R-PIPE-10");
        assert_eq!(
            announced(&[80, 95, 100, 99, 100, 101]),
            [80, 95, 100, 101].map(|percent| {
                Reached(match percent {
                    80 => Near80,
                    95 => Near95,
                    100 => Exhausted,
                    _ => Over,
                })
            })
        );
        assert_eq!(announced(&[100, 80, 100, 79, 100]), [Reached(Exhausted), Recovered, Reached(Exhausted)]);
        assert_eq!(announced(&[85, 74, 85]), [Reached(Near80), Reached(Near80)], "plenty in between");
        assert_eq!(announced(&[0, 120]), [Reached(Over)], "at once: the highest step alone");
    }

    #[test]
    fn another_window_begins_anew() {
        assert_eq!(steps(Level::Exhausted, true, 0, 100), (vec![Step::Recovered], Level::Below));
        let again = vec![Step::Recovered, Step::Reached(Level::Exhausted)];
        assert_eq!(steps(Level::Exhausted, true, 100, 100), (again, Level::Exhausted));
        assert_eq!(steps(Level::Near80, true, 80, 100), (vec![Step::Reached(Level::Near80)], Level::Near80));
    }
}
