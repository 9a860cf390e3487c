//! Rows of past usage against what their org says of them: there are as many, and none is earlier. They are written once
//! and removed once, so that is all that can be wrong.

use std::ops::ControlFlow;

use super::{
    super::{
        keys::{Key, org_prefix, prefix_end},
        keyspace::Keyspace,
        sled::Engine,
    },
    Report,
};
use crate::{
    domain::{
        ids::OrgId,
        rows::{Row, RowKey, RowKind, UsageKeptRow},
        window::{Millis, iso},
    },
    ports::StoreFault,
    store::kinds::{ItemKey, Kind},
};

/// Checks what is not loaded with the org; `rows` is what is.
pub(super) fn check(engine: &Engine, org: &OrgId, rows: &[Row], report: &mut Report) -> Result<(), StoreFault> {
    let kept = rows.iter().find_map(|row| if let Row::UsageKept(row) = row { Some(*row) } else { None });
    let UsageKeptRow { days, days_from, months, months_from } = kept.unwrap_or_default();
    for (what, kind, written, from) in
        [("days", RowKind::UsageDay, days, days_from), ("months", RowKind::UsageMonth, months, months_from)]
    {
        let (stored, first) = found(engine, org, kind)?;
        if stored != written {
            report.note(Some(org), format!("usage of {what}: {stored} rows are stored, {written} were written"));
        }
        if let Some(first) = first.filter(|first| *first < from && written > 0) {
            let (first, from) = (iso(first), iso(from));
            report.note(Some(org), format!("usage of {what} begins with {first}, and not before {from} as is written"));
        }
    }
    Ok(())
}

/// How many rows there are, and the first month.
fn found(engine: &Engine, org: &OrgId, kind: RowKind) -> Result<(u64, Option<Millis>), StoreFault> {
    let prefix = org_prefix(Kind::Row(kind), org);
    let (mut count, mut first) = (0, None);
    engine.scan(&prefix, &prefix_end(&prefix), &mut |key, _| {
        count += 1;
        if let (None, Ok(Key::Of { item: ItemKey::Row(key), .. })) = (first, Key::decode(key)) {
            first = match key {
                RowKey::UsageDay { month, .. } => Some(month),
                RowKey::UsageMonth { start, .. } => Some(start),
                _ => None,
            };
        }
        ControlFlow::Continue(())
    })?;
    Ok((count, first))
}
