//! Request ids of durable calls against what their org's head says of them: every name in a page or in a journal
//! row has its rows, and there are no others. So a row that is lost shows, although an org is loaded without them.

use std::ops::ControlFlow;

use super::{
    super::{
        codec::decode,
        keys::{Key, org_prefix, prefix_end},
        keyspace::Keyspace,
        record::Record,
        sled::Engine,
    },
    Report,
};
use crate::{
    bounds::LONG_MEMORY_MS,
    domain::{
        ids::OrgId,
        kept_ids::bytes,
        outcome::Entry,
        rows::{Head, KeptHead, KeptId, RequestIdRow, Row, RowKind},
    },
    ports::StoreFault,
    store::kinds::{Item, Kind},
};

/// What the rows of an org add up to.
#[derive(Default)]
struct Found {
    ids: u64,
    bytes: u64,
    settled: u64,
    pages: u64,
    /// Names in pages and in journal rows, and how many of them name a reservation.
    names: u64,
    reservations: u64,
    missing: u64,
    wrong: Vec<String>,
}

/// Checks what is not loaded with the org; `rows` is what is.
pub(super) fn check(engine: &Engine, org: &OrgId, rows: &[Row], report: &mut Report) -> Result<(), StoreFault> {
    let Some(head) = rows.iter().find_map(|row| if let Row::Head(head) = row { Some(head) } else { None }) else {
        return Ok(());
    };
    let mut found = Found::default();
    found.read_ids(engine, org, head)?;
    found.read_settled(engine, org)?;
    found.read_pages(engine, org, &head.kept)?;
    found.read_journal(engine, org, rows, &head.kept)?;
    found.compare(&head.kept);
    found.wrong.into_iter().for_each(|what| report.note(Some(org), what));
    Ok(())
}

impl Found {
    /// Ids that were admitted again while they were still remembered: each was charged twice.
    fn read_ids(&mut self, engine: &Engine, org: &OrgId, head: &Head) -> Result<(), StoreFault> {
        let mut last: Option<RequestIdRow> = None;
        each(engine, org, RowKind::RequestId, |row| {
            let Row::RequestId(row) = row else { return Ok(()) };
            self.ids += 1;
            self.bytes = self.bytes.saturating_add(bytes(&Entry::from(row.clone())));
            if let Some(last) = last.as_ref().filter(|last| (last.rpc, &last.id) == (row.rpc, &row.id)) {
                let age = row.at.saturating_sub(last.at);
                if age < LONG_MEMORY_MS && last.at > head.kept.forgotten_to {
                    self.wrong
                        .push(format!("request id {:?} of {:?} was admitted twice, {age} ms apart", row.id, row.rpc));
                }
            }
            last = Some(row);
            Ok(())
        })
    }

    fn read_settled(&mut self, engine: &Engine, org: &OrgId) -> Result<(), StoreFault> {
        each(engine, org, RowKind::Settled, |_| {
            self.settled += 1;
            Ok(())
        })
    }

    fn read_pages(&mut self, engine: &Engine, org: &OrgId, kept: &KeptHead) -> Result<(), StoreFault> {
        let mut next = kept.pages_from;
        each(engine, org, RowKind::IdPage, |row| {
            let Row::IdPage(page) = row else { return Ok(()) };
            if page.number != next {
                self.wrong.push(format!("page {next} of request ids is missing, the next one is {}", page.number));
            }
            next = page.number.saturating_add(1);
            self.pages += 1;
            page.ids.into_iter().try_for_each(|name| self.name(engine, org, name))
        })
    }

    fn read_journal(&mut self, engine: &Engine, org: &OrgId, rows: &[Row], kept: &KeptHead) -> Result<(), StoreFault> {
        for row in rows {
            let Row::Journal(row) = row else { continue };
            if row.seq > kept.paged_seq {
                let names = row.entries.iter().filter_map(KeptId::of);
                names.into_iter().try_for_each(|name| self.name(engine, org, name))?;
            }
        }
        Ok(())
    }

    fn name(&mut self, engine: &Engine, org: &OrgId, name: KeptId) -> Result<(), StoreFault> {
        self.names += 1;
        self.reservations += u64::from(name.reservation.is_some());
        for key in name.keys() {
            let there = engine.get(&Key::row(org, &key).encode())?.is_some();
            self.missing += u64::from(!there);
        }
        Ok(())
    }

    fn compare(&mut self, kept: &KeptHead) {
        let pages = kept.pages_to.saturating_sub(kept.pages_from);
        for (what, stored, written) in [
            ("request ids", self.ids, kept.count),
            ("bytes of request ids", self.bytes, kept.bytes),
            ("names of request ids", self.names, kept.count),
            ("pages of request ids", self.pages, pages),
            ("ends of reservations", self.settled, self.reservations),
        ] {
            if stored != written {
                self.wrong.push(format!("{what}: {stored} are stored, {written} were written"));
            }
        }
        if self.missing > 0 {
            self.wrong.push(format!("{} rows that are named by their pages are missing", self.missing));
        }
    }
}

/// Every row of a kind; one that cannot be read is a finding already.
fn each(
    engine: &Engine,
    org: &OrgId,
    kind: RowKind,
    mut visit: impl FnMut(Row) -> Result<(), StoreFault>,
) -> Result<(), StoreFault> {
    let prefix = org_prefix(Kind::Row(kind), org);
    let mut visited = Ok(());
    engine.scan(&prefix, &prefix_end(&prefix), &mut |key, value| {
        if let Ok((_, Record::Item(Item::Row { row, .. }))) = decode(key, value) {
            visited = visit(row);
        }
        if visited.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    visited
}
