//! Usage that was put away by day, or by month, before its time: a clock that was ahead has purged its slices. They
//! come back, because the slices of such a day are purged again, and its row would be written over.

use std::collections::BTreeMap;

use crate::{
    bounds::DAY_MS,
    domain::{
        ids::{Meter, Plane, Scope},
        ledger::HourSlice,
        rows::{PlaneDayRow, PlaneUse, Row, SliceRow},
        window::{HOUR_RETENTION_MS, Millis, month_end},
    },
};

/// Whether a row stays as it is stored: usage whose slices would not be kept at `now` either.
pub(super) fn stays(row: &Row, now: Millis) -> bool {
    let ends = if let Row::UsageDay(row) = row {
        row.start.saturating_add(DAY_MS)
    } else if let Row::UsageMonth(row) = row {
        month_end(row.start)
    } else {
        return false;
    };
    ends.saturating_add(HOUR_RETENTION_MS) <= now
}

/// Makes slices of the days and months that are left among the rows: of the first hour of the day, of the last day of
/// the month.
pub(super) fn bring_back(rows: &mut Vec<Row>) {
    let (mut days, mut months) = (0, 0);
    for row in rows.iter_mut() {
        if let Row::UsageDay(day) = row {
            days += 1;
            *row = back(&day.scope, &day.meter, &day.plane, (day.start, day.amount));
        } else if let Row::UsageMonth(month) = row {
            months += 1;
            let last = month_end(month.start).saturating_sub(DAY_MS);
            *row = back(&month.scope, &month.meter, &month.plane, (last, month.amount));
        }
    }
    for row in rows.iter_mut() {
        if let Row::UsageKept(kept) = row {
            kept.days = kept.days.saturating_sub(days);
            kept.months = kept.months.saturating_sub(months);
        }
    }
    rows.retain(|row| if let Row::UsageKept(kept) = row { !kept.is_empty() } else { true });
}

/// A slice, or the share of a plane.
fn back(scope: &Scope, meter: &Meter, plane: &Plane, (start, amount): (Millis, u64)) -> Row {
    let (scope, meter, plane) = (scope.clone(), meter.clone(), plane.clone());
    if plane == Plane::unnamed() {
        let slice = HourSlice { start, total: amount, ..HourSlice::default() };
        Row::Slice(SliceRow { scope, meter, slice })
    } else {
        Row::PlaneDay(PlaneDayRow { start, used: vec![PlaneUse { plane, meter, amount }] })
    }
}

/// Shares of planes that were brought back to one day are one row.
pub(super) fn join_planes(rows: &mut Vec<Row>) {
    let mut joined: BTreeMap<Millis, Vec<PlaneUse>> = BTreeMap::new();
    let is_plane = |row: &mut Row| matches!(row, Row::PlaneDay(_));
    for row in rows.extract_if(.., is_plane) {
        let Row::PlaneDay(PlaneDayRow { start, used }) = row else { continue };
        let day = joined.entry(start).or_default();
        for used in used {
            match day.iter_mut().find(|known| known.plane == used.plane && known.meter == used.meter) {
                Some(known) => known.amount = known.amount.saturating_add(used.amount),
                None => day.push(used),
            }
        }
    }
    rows.extend(joined.into_iter().map(|(start, used)| Row::PlaneDay(PlaneDayRow { start, used })));
}
