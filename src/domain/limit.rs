//! A limit: a meter, a window, an amount, what is held back of it, and where it comes from.

use std::{ops::Deref, sync::Arc};

use super::{
    ids::Meter,
    window::{Calendar, Millis, Window, period},
};
pub use crate::limit_texts::LimitTexts;

/// Who has set a limit: in the order of precedence, the last one holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LimitSource {
    /// The configuration, for every org.
    #[default]
    Default,
    /// The plan of the org.
    Plan,
    /// The section of the org in the configuration.
    Org,
    /// A budget that was set at run time.
    Budget,
    /// The pool of an upstream account.
    Pool,
    /// An override.
    Override,
    /// The billing provider.
    Provider,
}

/// Where a limit comes from. No decision depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Origin {
    /// Who has set it.
    pub source: LimitSource,
    /// When that ends by itself, by service time; `None` = it does not.
    pub until: Option<Millis>,
    /// The amount from then on, without grants; `None` = it does not end, or that is not known.
    pub then: Option<u64>,
    /// What grants add to that, in the unit of the meter.
    pub granted: u64,
    /// When the next of them ends by itself; `None` = none does.
    pub granted_until: Option<Millis>,
    /// What of `granted` ends then.
    pub granted_ends: u64,
    /// From when on usage counts, where an operator has reset the window that runs; `None` = all of it does.
    pub counts_from: Option<Millis>,
}

impl Origin {
    /// When an amount that comes from there changes by itself, the first change first, and to what.
    pub fn changes(self, amount: u64) -> impl Iterator<Item = (Millis, u64)> {
        let ends = self.until.zip(self.then);
        let after = move |at: Millis| {
            let set = ends.filter(|(end, _)| *end <= at).map(|(_, then)| then.saturating_add(self.granted));
            let ended = if self.granted_until.is_some_and(|end| end <= at) { self.granted_ends } else { 0 };
            (at, set.unwrap_or(amount).saturating_sub(ended))
        };
        let mut at: [Option<Millis>; 2] = [ends.map(|(end, _)| end), self.granted_until];
        at.sort_unstable();
        at.into_iter().flatten().map(after)
    }

    /// Of what does not end by itself.
    pub const fn of(source: LimitSource) -> Self {
        Self { source, until: None, then: None, granted: 0, granted_until: None, granted_ends: 0, counts_from: None }
    }
}

/// What a limit counts, and what it is called. Labels are equal that say the same of a decision, wherever they come
/// from.
#[derive(Debug, Clone, Eq)]
pub struct Label {
    /// What it counts.
    pub meter: Meter,
    /// Its period.
    pub window: Window,
    /// The same as text, for answers.
    pub texts: Arc<LimitTexts>,
    /// Where the limit comes from.
    pub origin: Origin,
}

impl PartialEq for Label {
    fn eq(&self, other: &Self) -> bool {
        let Self { meter, window, texts, origin: _ } = self;
        (meter, window, texts) == (&other.meter, &other.window, &other.texts)
    }
}

impl Label {
    /// A label to be shared; `name` is what the API shows.
    pub fn new(name: impl Into<String>, meter: Meter, window: Window) -> Arc<Self> {
        let texts = LimitTexts::new(name, meter.to_string(), window.to_string());
        Arc::new(Self { meter, window, texts, origin: Origin::default() })
    }

    /// As the API shows it: `rate`, `budget/hourly`, `quota/executions`.
    pub fn name(&self) -> &str {
        &self.texts.name
    }
}

/// Meter + window + amount + safety buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// Name, meter and window.
    pub label: Arc<Label>,
    /// `None` = unlimited, `Some(0)` = block all.
    pub amount: Option<u64>,
    /// Held back from the amount; at or above it, nothing is usable.
    pub buffer: u64,
    /// Evaluated and reported, never denying.
    pub shadow: bool,
    /// What goes over it is the first usage of its next window. Only where windows follow one another.
    pub carries: bool,
    /// What of its running window counts; `None` = all of it.
    pub counts_from: Option<CountsFrom>,
    /// Grants that last until they are spent add to the amount, by what is used over it.
    pub until_spent: bool,
}

/// From when on usage counts against a limit whose window was reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CountsFrom {
    /// Service time of the reset.
    pub at: Millis,
    /// What is not counted: where the window is a sum of slices, of the slice of that time; else of the whole window.
    pub skipped: u64,
}

/// The limits of one scope, in pipeline order. Whoever has prepared something for them recognises them by
/// where they are in memory, so a change makes new ones.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limits(Arc<[Limit]>);

impl Limits {
    /// Whether they are not only equal, but the same.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether each comes from where the other of its place does.
    pub fn is_from_where(&self, others: &[Limit]) -> bool {
        self.iter().map(|limit| limit.label.origin).eq(others.iter().map(|limit| limit.label.origin))
    }

    /// Whether one of them counts `meter`.
    pub fn count(&self, meter: &Meter) -> bool {
        self.iter().any(|limit| limit.meter() == meter)
    }
}

impl Deref for Limits {
    type Target = [Limit];

    fn deref(&self) -> &[Limit] {
        &self.0
    }
}

impl From<Vec<Limit>> for Limits {
    fn from(limits: Vec<Limit>) -> Self {
        Self(limits.into())
    }
}

impl FromIterator<Limit> for Limits {
    fn from_iter<I: IntoIterator<Item = Limit>>(limits: I) -> Self {
        Self(limits.into_iter().collect())
    }
}

impl Limit {
    /// A limit under its standard name.
    pub fn new(meter: Meter, window: Window, amount: Option<u64>) -> Self {
        Self::named(&Self::standard_name(&meter, window), meter, window, amount)
    }

    /// A limit under another name, without a buffer; `None` = unlimited.
    pub fn named(name: &str, meter: Meter, window: Window, amount: Option<u64>) -> Self {
        Self {
            label: Label::new(name, meter, window),
            amount,
            buffer: 0,
            shadow: false,
            carries: false,
            counts_from: None,
            until_spent: false,
        }
    }

    /// The same, from elsewhere.
    #[must_use]
    pub fn with_origin(mut self, origin: Origin) -> Self {
        if self.label.origin != origin {
            Arc::make_mut(&mut self.label).origin = origin;
        }
        self
    }

    /// The meter and the window that a standard name says; `None` where no limit has it by itself.
    pub fn named_so(name: &str) -> Option<(Meter, Window)> {
        let meter = |text: &str| Meter::parse("meter", text).ok();
        let (kind, rest) = name.split_once('/')?;
        let (of, window) = match (kind, rest.split_once('/')) {
            ("budget", None) => (Meter::spend(), period(rest)?),
            ("budget", Some((of, window))) => (meter(of)?, period(window).or_else(|| Window::parse(window))?),
            ("quota", None) => (meter(rest)?, Window::Calendar(Calendar::Month)),
            ("quota", Some((of, window))) => (meter(of)?, Window::parse(window)?),
            _ => return None,
        };
        (Self::standard_name(&of, window) == name).then_some((of, window))
    }

    /// `budget/hourly` for a named period of `spend`, `budget/bytes/hourly` for one of another
    /// meter, `budget/bytes/rolling/12h` for an unnamed one; `quota/executions` for the month, whatever
    /// day it begins on, `quota/executions/aligned/1h` otherwise.
    fn standard_name(meter: &Meter, window: Window) -> String {
        match (window.period(), window) {
            (Some(period), _) if meter.as_str() == Meter::SPEND => format!("budget/{period}"),
            (Some(period), _) => format!("budget/{meter}/{period}"),
            (None, Window::Rolling { .. }) => format!("budget/{meter}/{window}"),
            // One in a zone is another limit beside it.
            (None, Window::Zoned { .. }) => format!("quota/{meter}/{window}"),
            (None, window) if window.is_of_plan() => format!("quota/{meter}"),
            (None, _) => format!("quota/{meter}/{window}"),
        }
    }

    /// Where usage before a reset is left out: the start of the first slice that counts, and what of it does not.
    /// `None` where the reset does not touch a sum of slices from `start` on.
    pub fn slices_from(&self, start: Millis) -> Option<(Millis, u64)> {
        let CountsFrom { at, skipped } = self.counts_from?;
        let first = at / self.window().slice() * self.window().slice();
        (first >= start).then_some((first, skipped))
    }

    /// As the API shows it: `budget/hourly`, `quota/executions`.
    pub fn name(&self) -> &str {
        self.label.name()
    }

    /// What it counts.
    pub fn meter(&self) -> &Meter {
        &self.label.meter
    }

    /// Its period.
    pub fn window(&self) -> Window {
        self.label.window
    }

    /// What of its amount may be used.
    pub fn usable(&self) -> u64 {
        self.amount.unwrap_or(u64::MAX).saturating_sub(self.buffer)
    }

    /// Whether its window keeps a counter of its own instead of being a sum of slices.
    pub fn is_counted(&self) -> bool {
        self.carries || self.window().is_counted()
    }

    /// Above this, usage goes on into the next window; `None` = none does.
    pub fn over(&self) -> Option<u64> {
        self.amount.filter(|_| self.carries)
    }

    /// Where a limit stands in the pipeline: budgets before quotas, then by meter, the shortest window first.
    pub fn rank(&self) -> (bool, &Meter, Window) {
        (!self.is_budget(), self.meter(), self.window())
    }

    /// Whether `asked` more fits, with `more` on top of the amount. What is pre-counted has to leave the buffer; where
    /// nothing is asked, something has to be left.
    pub fn admits(&self, more: u64, used: u64, reserved: u64, asked: u64) -> bool {
        let Some(amount) = self.amount else { return true };
        let amount = amount.saturating_add(more);
        let taken = used.saturating_add(reserved);
        match asked {
            0 => taken < amount,
            asked => taken.saturating_add(asked) <= amount.saturating_sub(self.buffer),
        }
    }

    /// Rolling limits are budgets, all others quotas; they deny with different codes.
    pub fn is_budget(&self) -> bool {
        self.window().trailing().is_some()
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
            (Meter::executions(), Window::Calendar(Calendar::MonthFrom(15)), "quota/executions"),
            (Meter::compute(), Window::Once, "quota/compute"),
            (Meter::executions(), Window::parse("calendar/month@UTC").unwrap(), "quota/executions"),
            (
                Meter::executions(),
                Window::parse("calendar/month@Asia/Kolkata").unwrap(),
                "quota/executions/calendar/month@Asia/Kolkata",
            ),
            (Meter::executions(), Window::Calendar(Calendar::Day), "quota/executions/calendar/day"),
            (Meter::executions(), Window::Anchored { len: DAY_MS }, "quota/executions/anchored/1d"),
        ] {
            assert_eq!(Limit::new(meter.clone(), window, None).name(), name);
            let found = Limit::named_so(name).expect("a standard name");
            assert_eq!(Limit::new(found.0, found.1, None).name(), name);
        }
        for name in
            ["rate", "sessions", "account", "budget/fortnightly", "quota/X", "quota/bytes/rolling/1d", "budget/"]
        {
            assert_eq!(Limit::named_so(name), None, "{name}");
        }
    }

    #[test]
    fn where_a_limit_comes_from_is_no_difference_to_a_decision() {
        let limit = Limit::new(Meter::spend(), Window::Rolling { len: HOUR_MS }, Some(5));
        let set = limit.clone().with_origin(Origin { until: Some(7), ..Origin::of(LimitSource::Override) });
        assert_eq!((limit.label.origin.source, set.label.origin.until), (LimitSource::Default, Some(7)));
        assert_eq!(limit, set);
        assert!(!Limits::from(vec![limit]).is_from_where(&[set]));
    }
}
