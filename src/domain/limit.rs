//! A limit: a meter, a window, an amount, and what is held back of it.

use std::sync::Arc;

use super::{ids::Meter, window::Window};

/// Meter + window + amount + safety buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    pub name: Arc<str>,
    pub meter: Meter,
    pub window: Window,
    /// `None` = unlimited, `Some(0)` = block all.
    pub amount: Option<u64>,
    /// Held back from the amount; at or above it, nothing is usable.
    pub buffer: u64,
    /// Evaluated and reported, never denying.
    pub shadow: bool,
}

impl Limit {
    /// A limit under its standard name.
    pub fn new(meter: Meter, window: Window, amount: Option<u64>) -> Self {
        Self { name: Self::standard_name(&meter, window).into(), meter, window, amount, buffer: 0, shadow: false }
    }

    /// `budget/hourly` for a named period of `spend`, `budget/bytes/hourly` for one of another
    /// meter, `budget/bytes/rolling/12h` for an unnamed one; `quota/executions` for the calendar
    /// month, `quota/executions/aligned/1h` otherwise.
    fn standard_name(meter: &Meter, window: Window) -> String {
        match (window.period(), window) {
            (Some(period), _) if meter.as_str() == "spend" => format!("budget/{period}"),
            (Some(period), _) => format!("budget/{meter}/{period}"),
            (None, Window::Rolling { .. }) => format!("budget/{meter}/{window}"),
            (None, Window::Calendar(super::window::Calendar::Month)) => format!("quota/{meter}"),
            (None, _) => format!("quota/{meter}/{window}"),
        }
    }

    /// Where a limit stands in the pipeline: budgets before quotas, then by meter, the shortest window first.
    pub fn rank(&self) -> (bool, &Meter, Window) {
        (!self.is_budget(), &self.meter, self.window)
    }

    /// Whether `asked` more fits. What is pre-counted has to leave the buffer; where nothing is asked,
    /// something has to be left.
    pub fn admits(&self, used: u64, reserved: u64, asked: u64) -> bool {
        let Some(amount) = self.amount else { return true };
        let taken = used.saturating_add(reserved);
        match asked {
            0 => taken < amount,
            asked => taken.saturating_add(asked) <= amount.saturating_sub(self.buffer),
        }
    }

    /// Rolling limits are budgets, all others quotas; they deny with different codes.
    pub fn is_budget(&self) -> bool {
        matches!(self.window, Window::Rolling { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        bounds::{DAY_MS, HOUR_MS},
        domain::window::Calendar,
    };

    #[test]
    fn names_are_the_public_ones() {
        let bytes = Meter::parse("meter", "bytes").unwrap();
        for (meter, window, name) in [
            (Meter::spend(), Window::Rolling { len: HOUR_MS }, "budget/hourly"),
            (bytes, Window::Rolling { len: DAY_MS }, "budget/bytes/daily"),
            (Meter::spend(), Window::Rolling { len: 2 * DAY_MS }, "budget/spend/rolling/2d"),
            (Meter::executions(), Window::Calendar(Calendar::Month), "quota/executions"),
            (Meter::executions(), Window::Anchored { len: DAY_MS }, "quota/executions/anchored/1d"),
        ] {
            assert_eq!(&*Limit::new(meter, window, None).name, name);
        }
    }
}
