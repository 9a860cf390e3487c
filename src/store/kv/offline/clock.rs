//! The repair of a clock that was ahead: the node's mark, and every org that has seen a later time.
//!
//! Orgs first, the mark last: a repair that was interrupted is done again.

use super::{
    super::{
        changes::Changes,
        keys::Key,
        prepare::prepare,
        read::{self, ReadError},
        record::Meta,
        sled::{Engine, Opened, put_meta},
    },
    OfflineError, Report, heads_behind,
};
use crate::{
    clock,
    domain::{
        clock_repair::{bring_back, is_ahead},
        ids::OrgId,
        lease::LeaseTime,
        rows::{OrgRows, RowKind},
        service_time::ClockMark,
        window::Millis,
    },
};

/// Rows written at a time, and orgs whole: as many as one commit group may have.
const ROWS_AT_ONCE: usize = 4096;
/// What may have been put away too early, and is not loaded with its org.
const USAGE: &[RowKind] = &[RowKind::UsageDay, RowKind::UsageMonth];

/// Sets the mark to the wall clock and brings every readable org back to it. An org that is not readable is a
/// finding of the report already. Lease time goes on from where it stood.
pub(super) fn set_clock(opened: &mut Opened, report: &mut Report) -> Result<(), OfflineError> {
    let wall = clock::wall();
    let before = Meta { group: report.group, mark: report.mark.clone(), digests: opened.digests() };
    let mut repair = Repair { engine: &opened.engine, meta: before, changes: Changes::default() };
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = heads_behind(&opened.engine, after.as_deref())?;
        let Some(last) = page.last() else { break };
        after = Some(last.clone());
        for org in page.iter().filter_map(|key| Key::decode(key).ok()?.org().cloned()) {
            report.orgs_brought_back += u64::from(repair.bring_back(&org, wall)?);
        }
    }
    let before =
        repair.meta.mark.take().unwrap_or_else(|| ClockMark { lease: LeaseTime(wall), ..ClockMark::default() });
    let mark = ClockMark { service: wall, boot_id: clock::boot_id(), uptime: clock::uptime(), ..before };
    repair.meta.mark = Some(mark.clone());
    repair.write()?;
    opened.meta = Some(repair.meta);
    report.clock_set_from = Some(before.service);
    report.mark = Some(mark);
    Ok(())
}

struct Repair<'a> {
    engine: &'a Engine,
    /// The node's own row, as the next batch writes it.
    meta: Meta,
    changes: Changes,
}

impl Repair<'_> {
    /// Whether anything of the org lay ahead.
    fn bring_back(&mut self, org: &OrgId, wall: Millis) -> Result<bool, OfflineError> {
        let read = |rows: Result<OrgRows, ReadError>| match rows {
            Ok(rows) => Ok(Some(rows)),
            Err(ReadError::Row(_)) => Ok(None),
            Err(ReadError::Engine(fault)) => Err(OfflineError::from(fault)),
        };
        let Some(mut rows) = read(read::load(self.engine, org))? else { return Ok(false) };
        if is_ahead(&rows, wall) {
            let Some(usage) = read(read::some(self.engine, org, USAGE))? else { return Ok(false) };
            rows.rows.extend(usage.rows);
        }
        let Some(write) = bring_back(org, rows, wall) else { return Ok(false) };
        let prepared = prepare(write).map_err(|error| OfflineError(error.to_string()))?;
        self.changes.merge(self.engine, prepared)?;
        if self.changes.len() >= ROWS_AT_ONCE {
            self.write()?;
        }
        Ok(true)
    }

    fn write(&mut self) -> Result<(), OfflineError> {
        let mut changes = std::mem::take(&mut self.changes);
        self.meta.digests = changes.seal(self.engine, self.meta.digests)?;
        put_meta(&mut changes, self.meta.clone()).map_err(|error| OfflineError(error.to_string()))?;
        Ok(self.engine.apply(changes)?)
    }
}
