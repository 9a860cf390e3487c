//! Windows that are reset, in the model: what was recorded before counts no more.

use super::*;
use crate::domain::{command::ResetWindow, limit::Limit, refusal::NoReset};

/// The last reset of a rule.
#[derive(Debug, Clone)]
pub(super) struct Reset {
    rule: usize,
    at: Millis,
    /// Events before this one were recorded before it.
    first: usize,
    /// What was used then, at least and at most.
    used: (u64, u64),
    /// Refunds before this one were given before it.
    first_refund: usize,
}

impl Model {
    pub(super) fn reset_window(&mut self, reset: &ResetWindow) -> Answer {
        let rules = self.in_force(self.configured.as_ref().unwrap());
        let is_named = |rule: &Rule| {
            rule.scope == reset.scope
                && Limit::new(rule.meter.clone(), rule.window, None).name() == reset.limit.as_str()
        };
        let Some(index) = rules.limits.iter().position(is_named) else {
            let backstop = self.backstop(&rules);
            self.backstop = Some(Backstop { count: 0, ..backstop });
            return Answer::WindowReset;
        };
        match &rules.limits[index] {
            rule if !rule.present => return Answer::NoReset(NoReset::NoLimit),
            rule if rule.carries => return Answer::NoReset(NoReset::Carries),
            _ => {}
        }
        self.resets.retain(|old| old.rule != index);
        let used = self.used_in_window(&rules, index, self.now);
        self.resets.push(Reset {
            rule: index,
            at: self.now,
            first: self.events.len(),
            used,
            first_refund: self.refunds.len(),
        });
        Answer::WindowReset
    }

    /// What counts of what is used in the window at `at`.
    pub(super) fn since_reset(&self, rule: &Rule, index: usize, at: Millis, used: (u64, u64)) -> (u64, u64) {
        let Some(reset) = self.resets.iter().find(|reset| reset.rule == index && !rule.carries) else { return used };
        // What was given back since may be of before the reset, and makes no room then.
        let refunds = self.refunds[reset.first_refund..].iter();
        let given = sum(refunds.filter(|of| of.scope == rule.scope && of.meter == rule.meter).map(|of| of.amount));
        let slices = |slice: Millis, start: Millis| {
            let first = reset.at / slice * slice;
            let since = Self::spent(rule, &self.events[reset.first..], first);
            if first >= start { (since.saturating_sub(given), since) } else { used }
        };
        let of_window = |is_the_same: bool| {
            let left = |used: u64, before: u64| used.saturating_sub(before);
            if is_the_same { (left(used.0, reset.used.1), left(used.1 + given, reset.used.0)) } else { used }
        };
        match rule.window {
            Window::Rolling { len } => slices(slice_of(len), (at - len) / slice_of(len) * slice_of(len)),
            Window::Calendar(unit) => slices(HOUR, calendar_start(unit, at)),
            Window::Aligned { .. } | Window::Zoned { .. } => of_window(counted_start(rule.window, at) <= reset.at),
            Window::Anchored { .. } => of_window(self.anchors[index].is_some_and(|(start, _)| start <= reset.at)),
            Window::Once | Window::Provider | Window::Concurrent => used,
        }
    }
}
