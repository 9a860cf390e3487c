//! Usage of the past, as far as it is in memory.

use super::OrgState;
use crate::domain::{
    command::GetUsage,
    ids::{Amounts, Plane},
    reply::SlicedUsage,
    rows::UsageDayRow,
    usage::UsagePlace,
};

impl OrgState {
    pub(in crate::domain) fn sliced_usage(&self, ask: &GetUsage) -> Option<Box<SlicedUsage>> {
        self.is_known().then(|| Box::new(self.usage_by_day(ask)))
    }

    /// Counts what was booked for the plane that asked for it.
    pub(super) fn went_through(&mut self, plane: &Plane, amounts: &Amounts) {
        for (meter, amount) in amounts {
            self.planes.add(self.now, plane, meter, *amount);
        }
    }

    fn usage_by_day(&self, ask: &GetUsage) -> SlicedUsage {
        let kept = self.usage.kept();
        let mut days: Vec<UsageDayRow> = Vec::new();
        let mut is_cut = false;
        let (from, to) = if ask.by_plane { (ask.from, ask.to) } else { (0, 0) };
        let of_planes =
            self.planes.days(from, to).filter(|day| ask.meter.as_ref().is_none_or(|meter| *meter == day.meter));
        for day in self.book.days(ask).chain(of_planes).filter(|day| ask.is_behind(day)) {
            days.push(day);
            // Of an org with very many ledgers no more is held than twice what is answered.
            if days.len() > ask.max.saturating_mul(2) {
                is_cut |= first(&mut days, ask.max);
            }
        }
        is_cut |= first(&mut days, ask.max);
        days.sort_unstable_by_key(place);
        SlicedUsage { days, is_cut, kept }
    }
}

/// Keeps the first `max`, in any order. Whether there were more.
fn first(days: &mut Vec<UsageDayRow>, max: usize) -> bool {
    if days.len() <= max {
        return false;
    }
    if max > 0 {
        days.select_nth_unstable_by_key(max - 1, place);
    }
    days.truncate(max);
    true
}

fn place(day: &UsageDayRow) -> (UsagePlace, Plane) {
    (UsagePlace::of(day), day.plane.clone())
}
