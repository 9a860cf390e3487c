//! What was allowed and denied in one day of UTC.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::outcomes::GateV2;
use crate::domain::{denials::DayRow, gate::Gate, window::Millis};

/// Gates without a count are left out.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DayV2 {
    allowed_before: u64,
    denied: Vec<(GateV2, u64)>,
    failed_open: Vec<(GateV2, u64)>,
}

pub(super) fn write<S: Serializer>(row: &DayRow, out: S) -> Result<S::Ok, S::Error> {
    let (denied, failed_open) = (counted(&row.denied), counted(&row.failed_open));
    DayV2 { allowed_before: row.allowed_before, denied, failed_open }.serialize(out)
}

pub(super) fn read<'de, D: Deserializer<'de>>(start: Millis, from: D) -> Result<DayRow, D::Error> {
    let DayV2 { allowed_before, denied, failed_open } = DayV2::deserialize(from)?;
    Ok(DayRow { start, allowed_before, denied: by_gate(denied), failed_open: by_gate(failed_open) })
}

fn counted(counts: &[u64; Gate::ALL.len()]) -> Vec<(GateV2, u64)> {
    let all = Gate::ALL.into_iter().map(|gate| (gate, counts[gate as usize]));
    all.filter(|(_, count)| *count > 0).map(|(gate, count)| (gate.into(), count)).collect()
}

fn by_gate(stored: Vec<(GateV2, u64)>) -> [u64; Gate::ALL.len()] {
    let mut counts = [0; Gate::ALL.len()];
    for (gate, count) in stored {
        counts[Gate::from(gate) as usize] = count;
    }
    counts
}

#[cfg(test)]
pub(super) fn samples() -> Vec<(&'static str, DayRow)> {
    use crate::{bounds::DAY_MS, store::samples::T0};

    let mut row = DayRow {
        start: T0 / DAY_MS * DAY_MS,
        allowed_before: 1_000,
        denied: [0; Gate::ALL.len()],
        failed_open: [0; Gate::ALL.len()],
    };
    row.denied[Gate::Budgets as usize] = 10;
    row.failed_open[Gate::Balance as usize] = 3;
    vec![("day", row)]
}
