//! From what was used, in the order of time, to lines of whole periods.

use std::collections::BTreeMap;

use super::{Entry, UsageAt, UsageLine, UsagePage, UsagePeriod, UsageQuery};
use crate::{
    bounds::DAY_MS,
    domain::{
        ids::Plane,
        usage::UsagePlace,
        window::{Millis, month_end},
    },
};

/// Entries of one period on their way into its lines.
struct Group {
    /// Everything up to it is in the group.
    place: UsagePlace,
    by_plane: BTreeMap<Plane, u64>,
}

pub(super) struct Lines<'a> {
    query: &'a UsageQuery,
    /// Periods that an earlier page had.
    skip: u64,
    /// Where the last period ended.
    at: UsageAt,
    pub(super) page: UsagePage,
    group: Option<Group>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(query: &'a UsageQuery) -> Self {
        let at = UsageAt { skip: 0, ..query.at.clone() };
        Self { query, skip: query.at.skip, at, page: UsagePage::default(), group: None }
    }

    /// One more entry; true where the page is full, and the entry in none of its lines.
    pub(super) fn take(&mut self, entry: Entry) -> bool {
        let Entry { place, plane, amount } = entry;
        let end = match self.query.by {
            UsagePeriod::Day => place,
            UsagePeriod::Month => UsagePlace { start: Millis::MAX, ..place },
        };
        if self.group.as_ref().is_some_and(|group| group.place != end) {
            self.end();
            if self.page.lines.len() >= self.query.max {
                self.page.next = Some(self.at.clone());
                return true;
            }
        }
        let group = self.group.get_or_insert_with(|| Group { place: end, by_plane: BTreeMap::new() });
        let sum = group.by_plane.entry(plane).or_default();
        *sum = sum.saturating_add(amount);
        false
    }

    /// The period is over: its lines, unless an earlier page had them.
    pub(super) fn end(&mut self) {
        let Some(Group { place, by_plane }) = self.group.take() else { return };
        if place.scope.account().is_some() {
            self.at.skip += 1;
        } else {
            self.at = UsageAt { after: Some(place.clone()), skip: 0 };
        }
        if self.skip > 0 {
            self.skip -= 1;
            return;
        }
        let (start, end) = match place.start {
            0 | Millis::MAX => (place.month, month_end(place.month)),
            day => (day, day + DAY_MS),
        };
        let total = by_plane.get(&Plane::unnamed()).copied().unwrap_or(0);
        let named = by_plane.values().fold(0, |sum: u64, amount| sum.saturating_add(*amount)).saturating_sub(total);
        for (plane, amount) in by_plane {
            // What was used through no plane is what the planes leave of the total.
            let is_rest = self.query.by_plane && plane == Plane::unnamed();
            let amount = if is_rest { total.saturating_sub(named) } else { amount };
            if amount > 0 {
                let (scope, meter) = (place.scope.clone(), place.meter.clone());
                self.page.lines.push(UsageLine { scope, meter, plane, start, end, amount });
            }
        }
    }
}
