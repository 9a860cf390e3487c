//! What was used through which plane, by day of UTC: of days of which there are slices, one row each. Then it goes to
//! the rows of days, as what ledgers have does.
//!
//! Nothing is judged by it. A plane that does not say its name has no share: it is what the others leave of the org's
//! total. Planes are chosen by callers, so a day has few of them, and the rest as `other`.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use super::{
    ids::{DecisionId, Meter, Plane, Scope},
    lease::Now,
    ledger::dies_at,
    rows::{Keeper, PlaneDayRow, PlaneOfRow, PlaneUse, Row, RowKey, RowsByKind, UsageDayRow},
    table::Table,
    window::Millis,
};
use crate::bounds::{DAY_MS, PLANE_METERS_PER_DAY, PLANES_PER_DAY};

/// Days of which there are slices.
#[derive(Debug, Default)]
pub(super) struct PlaneDays {
    days: BTreeMap<Millis, Vec<PlaneUse>>,
    /// Days that are not as they are stored.
    changed: SmallVec<[Millis; 2]>,
    /// Through which plane a reservation or a session was asked for that is not settled.
    holders: Table<DecisionId, Plane>,
}

impl PlaneDays {
    pub(super) fn load(rows: &mut RowsByKind) -> Self {
        let (days, holders) = (std::mem::take(&mut rows.plane_days), std::mem::take(&mut rows.planes_of));
        Self {
            days: days.into_iter().map(|row| (row.start, row.used)).collect(),
            holders: Table::load(holders.into_iter().map(|row| (row.id, row.plane))),
            ..Self::default()
        }
    }

    /// What this decision granted will be used through the plane.
    pub(super) fn hold(&mut self, id: DecisionId, plane: &Plane) {
        if *plane != Plane::unnamed() {
            self.holders.put(id, plane.clone());
        }
    }

    /// The plane that asked for it; unnamed where none did.
    pub(super) fn holder(&self, id: DecisionId) -> Plane {
        self.holders.get(&id).cloned().unwrap_or_else(Plane::unnamed)
    }

    /// What the decision granted is settled.
    pub(super) fn settle(&mut self, id: DecisionId) {
        self.holders.remove(&id);
    }

    /// Forgets what was granted by decisions of which nothing is known any more.
    pub(super) fn forget_unless(&mut self, is_known: impl Fn(DecisionId) -> bool) {
        self.holders.purge(|id, _| !is_known(*id));
    }

    /// Adds what was used of a meter at `at`. Past the bounds of a day it counts for `other`, or for no plane.
    pub(super) fn add(&mut self, at: Millis, plane: &Plane, meter: &Meter, amount: u64) {
        if amount == 0 || *plane == Plane::unnamed() {
            return;
        }
        let day = at / DAY_MS * DAY_MS;
        let used = self.days.entry(day).or_default();
        let mut plane = plane.clone();
        if !used.iter().any(|known| known.plane == plane) && planes(used) >= PLANES_PER_DAY {
            plane = Plane::other();
        }
        let known = used.iter().position(|known| known.meter == *meter && known.plane == plane);
        match known {
            Some(at) => used[at].amount = used[at].amount.saturating_add(amount),
            None if used.len() < PLANE_METERS_PER_DAY => used.push(PlaneUse { plane, meter: meter.clone(), amount }),
            None => return,
        }
        if !self.changed.contains(&day) {
            self.changed.push(day);
        }
    }

    /// Takes back what was used of a meter on the day of `at`: from the plane that is known to have asked for it, then,
    /// the largest share first, until all of them are no more than the org still has used.
    pub(super) fn take_back(&mut self, at: Millis, plane: &Plane, (meter, amount): (&Meter, u64), org_used: u64) {
        let day = at / DAY_MS * DAY_MS;
        let Some(used) = self.days.get_mut(&day) else { return };
        let mut of_meter: Vec<&mut PlaneUse> = used.iter_mut().filter(|known| known.meter == *meter).collect();
        if let Some(known) = of_meter.iter_mut().find(|known| known.plane == *plane) {
            known.amount = known.amount.saturating_sub(amount);
        }
        let shares = of_meter.iter().map(|known| known.amount).fold(0, u64::saturating_add);
        let mut over = shares.saturating_sub(org_used);
        of_meter.sort_by_key(|known| std::cmp::Reverse(known.amount));
        for known in of_meter {
            let less = over.min(known.amount);
            (known.amount, over) = (known.amount - less, over - less);
        }
        used.retain(|known| known.amount > 0);
        if used.is_empty() {
            self.days.remove(&day);
        }
        if !self.changed.contains(&day) {
            self.changed.push(day);
        }
    }

    /// What was used on each day from `from` to before `to`, in no order.
    pub(super) fn days(&self, from: Millis, to: Millis) -> impl Iterator<Item = UsageDayRow> {
        let within = self.days.range(from.min(to)..to);
        within.flat_map(|(start, used)| used.iter().map(|used| row_of(*start, used)))
    }

    /// Removes the days of which the slices go at `now` as well, and answers what was used on them.
    pub(super) fn purge(&mut self, now: Millis) -> Vec<UsageDayRow> {
        let mut gone = Vec::new();
        while let Some(day) = self.days.first_entry().filter(|day| dies_at(*day.key()) <= now) {
            let (start, used) = day.remove_entry();
            gone.extend(used.iter().map(|used| row_of(start, used)));
            self.changed.push(start);
        }
        gone
    }

    /// The first day; `None` = there is none.
    pub(super) fn from(&self) -> Option<Millis> {
        self.days.keys().next().copied()
    }
}

/// Without `other`, for which there is always room.
fn planes(used: &[PlaneUse]) -> usize {
    let other = Plane::other();
    let firsts =
        used.iter().enumerate().filter(|(at, known)| !used[..*at].iter().any(|before| before.plane == known.plane));
    firsts.filter(|(_, known)| known.plane != other).count()
}

fn row_of(start: Millis, used: &PlaneUse) -> UsageDayRow {
    let PlaneUse { plane, meter, amount } = used.clone();
    UsageDayRow { plane, ..UsageDayRow::new(Scope::org(), meter, start, amount) }
}

impl Keeper for PlaneDays {
    fn take_changes(&mut self, puts: &mut Vec<Row>, dels: &mut Vec<RowKey>) {
        for start in std::mem::take(&mut self.changed) {
            match self.days.get(&start) {
                Some(used) => puts.push(Row::PlaneDay(PlaneDayRow { start, used: used.clone() })),
                None => dels.push(RowKey::PlaneDay { start }),
            }
        }
        let row = |id: DecisionId, plane| Row::PlaneOf(PlaneOfRow { id, plane });
        self.holders.take_rows(puts, dels, row, |id| RowKey::PlaneOf { id });
    }

    fn is_spent(&self) -> bool {
        self.days.is_empty() && self.holders.is_empty()
    }

    fn next_wake(&self, _: &Now) -> Option<Millis> {
        self.from().map(dies_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::window::HOUR_RETENTION_MS;

    const T0: Millis = 20_000 * DAY_MS + 5;

    fn plane(name: &str) -> Plane {
        Plane::parse("plane", name).unwrap()
    }

    fn shares(days: &PlaneDays) -> Vec<(String, String, u64)> {
        let rows = days.days(0, Millis::MAX);
        rows.map(|row| (row.plane.to_string(), row.meter.to_string(), row.amount)).collect()
    }

    #[test]
    fn a_day_has_few_planes_and_the_rest_as_other() {
        let mut days = PlaneDays::default();
        for number in 0..PLANES_PER_DAY + 4 {
            days.add(T0, &plane(&format!("p{number}")), &Meter::spend(), 1);
        }
        days.add(T0, &plane("p0"), &Meter::spend(), 1);
        let shares = shares(&days);
        assert_eq!(shares.len(), PLANES_PER_DAY + 1, "R-CTRL-2");
        assert_eq!((shares[0].2, shares[PLANES_PER_DAY].clone()), (2, ("other".into(), "spend".into(), 4)));
        days.add(T0, &Plane::unnamed(), &Meter::spend(), 9);
        assert_eq!(self::shares(&days), shares, "a plane without a name has no share");
    }

    #[test]
    fn the_row_of_a_day_has_a_bound_whatever_the_meters() {
        let mut days = PlaneDays::default();
        for number in 0..2 * PLANE_METERS_PER_DAY {
            days.add(T0, &plane("p"), &Meter::parse("meter", &format!("m{number}")).unwrap(), 1);
        }
        assert_eq!(shares(&days).len(), PLANE_METERS_PER_DAY);
    }

    #[test]
    fn a_day_goes_with_its_slices() {
        let mut days = PlaneDays::default();
        days.add(T0, &plane("p"), &Meter::spend(), 7);
        let (mut puts, mut dels) = (Vec::new(), Vec::new());
        days.take_changes(&mut puts, &mut dels);
        assert_eq!((puts.len(), dels.len(), days.is_spent()), (1, 0, false));
        let end = T0.next_multiple_of(DAY_MS) + HOUR_RETENTION_MS;
        assert_eq!(days.purge(end - 1), []);
        let gone = days.purge(end);
        assert_eq!((gone.len(), gone[0].amount, days.is_spent()), (1, 7, true));
        days.take_changes(&mut puts, &mut dels);
        assert_eq!(dels, [RowKey::PlaneDay { start: T0 / DAY_MS * DAY_MS }]);
    }
}
