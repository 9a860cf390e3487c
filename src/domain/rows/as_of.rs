//! Which of the rows that are not loaded with an org were there at one commit of it.
//!
//! Such rows are written once, removed once and never changed. So where none is removed meanwhile, they can be read long
//! after the commit, and the commit itself says which were written since: the head has the numbers of the pages of
//! request ids, and an id or the end of a reservation has the time of its call. Ids of the millisecond of the commit are
//! known by their names: they are in the journal rows of the commit or in its last pages.

use std::collections::BTreeSet;

use super::{IdPageRow, KeptHead, KeptId, Row, RowKey};
use crate::domain::window::Millis;

/// One commit of an org, as far as the rows beside it go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AsOf {
    kept: KeptHead,
    /// Service time of the commit.
    at: Millis,
    /// Rows of that millisecond, and later: a refund in that of its Commit is dated behind it.
    named: BTreeSet<RowKey>,
}

impl AsOf {
    /// That of the rows that were loaded; `None` where nothing is stored.
    pub fn of(rows: &[Row]) -> Option<Self> {
        let head = rows.iter().find_map(|row| if let Row::Head(head) = row { Some(head) } else { None })?;
        let mut commit = Self { kept: head.kept, at: head.last_at, named: BTreeSet::new() };
        for row in rows {
            if let Row::Journal(row) = row
                && row.seq > head.kept.paged_seq
            {
                commit.name(row.entries.iter().filter_map(KeptId::of));
            }
        }
        Some(commit)
    }

    /// The last page of request ids; `None` where there is none.
    pub fn last_page(&self) -> Option<u64> {
        (self.kept.pages_from < self.kept.pages_to).then(|| self.kept.pages_to - 1)
    }

    /// A page, the last one first. Answers which one is to be read before anything is asked; `None` = no other.
    pub fn read(&mut self, page: &IdPageRow) -> Option<u64> {
        self.name(page.ids.iter().cloned());
        let is_within = page.ids.first().is_some_and(|id| id.at >= self.at);
        page.number.checked_sub(1).filter(|before| is_within && *before >= self.kept.pages_from)
    }

    fn name(&mut self, ids: impl Iterator<Item = KeptId>) {
        let at = self.at;
        self.named.extend(ids.filter(|id| id.at >= at).flat_map(KeptId::keys));
    }

    /// Whether the row was there. Rows of other kinds come with the commit, or are not written while the org is held.
    pub fn has(&self, row: &Row) -> bool {
        if let Row::IdPage(page) = row {
            return (self.kept.pages_from..self.kept.pages_to).contains(&page.number);
        }
        let written = if let Row::RequestId(row) = row {
            Some(row.at)
        } else if let Row::Settled(row) = row {
            Some(row.at)
        } else {
            None
        };
        written.is_none_or(|at| at < self.at || self.named.contains(&row.key()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        bounds::HOUR_MS,
        domain::{
            ids::RequestId,
            outcome::{Entry, Outcome, Recorded},
            request::{Idempotency, Rpc},
            rows::{Head, JournalRow, RequestIdRow, RowKind},
        },
    };

    const T0: Millis = 495_000 * HOUR_MS;

    fn row(id: &str, at: Millis) -> RequestIdRow {
        let id = RequestId::parse("request_id", id).unwrap();
        let outcome = Outcome::Recorded(Recorded);
        RequestIdRow { rpc: Rpc::Record, id, at, fingerprint: 1, outcome }
    }

    fn name(id: &str, at: Millis) -> KeptId {
        KeptId { rpc: Rpc::Record, id: row(id, at).id, at, reservation: None }
    }

    fn page(number: u64, ids: &[(&str, Millis)]) -> IdPageRow {
        IdPageRow { number, bytes: 0, ids: ids.iter().map(|(id, at)| name(id, *at)).collect() }
    }

    fn journal(seq: u64, id: &str, at: Millis) -> Row {
        let RequestIdRow { rpc, id, fingerprint, outcome, .. } = row(id, at);
        let idempotency = Some(Idempotency { id, fingerprint });
        Row::Journal(JournalRow {
            seq,
            at,
            entries: vec![Entry { at, rpc, idempotency, long: true, outcome, charge: None }],
        })
    }

    #[test]
    fn ids_of_the_same_millisecond_are_told_apart_by_their_names() {
        let kept = KeptHead { pages_from: 3, pages_to: 6, paged_seq: 8, ..KeptHead::default() };
        let head = Head { last_at: T0, kept, ..Head::default() };
        let rows = [Row::Head(head), journal(8, "paged", T0), journal(9, "in-journal", T0)];
        let mut commit = AsOf::of(&rows).unwrap();
        assert_eq!(commit.last_page(), Some(5));
        assert_eq!(commit.read(&page(5, &[("last", T0)])), Some(4), "the page before may have some as well");
        assert_eq!(commit.read(&page(4, &[("earlier", T0 - 1), ("before", T0)])), None);
        for (id, at, there) in [
            ("in-journal", T0, true),
            ("last", T0, true),
            ("before", T0, true),
            ("later", T0, false),
            ("earlier", T0 - 1, true),
            ("whoever", T0 - 2, true),
            ("in-journal", T0 + 1, false),
        ] {
            assert_eq!(commit.has(&Row::RequestId(row(id, at))), there, "{id} {at}");
        }
        for (number, there) in [(2, false), (3, true), (5, true), (6, false)] {
            assert_eq!(commit.has(&Row::IdPage(page(number, &[]))), there, "{number}");
        }
    }

    #[test]
    fn nothing_stored_is_no_commit_and_the_first_page_is_the_last_that_is_asked_for() {
        assert_eq!(AsOf::of(&[]), None);
        let kept = KeptHead { pages_from: 3, pages_to: 4, ..KeptHead::default() };
        let mut commit = AsOf::of(&[Row::Head(Head { last_at: T0, kept, ..Head::default() })]).unwrap();
        assert_eq!((commit.last_page(), commit.read(&page(3, &[("a", T0)]))), (Some(3), None));
        let mut empty = AsOf::of(&[Row::Head(Head::default())]).unwrap();
        assert_eq!((empty.last_page(), empty.read(&page(0, &[]))), (None, None));
    }

    /// Rows of usage are written by sweeps alone, which write none while the org is held. A kind that is added here needs an
    /// answer in `has`.
    #[test]
    fn every_kind_that_is_read_by_name_is_known_here() {
        use RowKind::{IdPage, RequestId, Settled, UsageDay, UsageMonth};
        assert_eq!(RowKind::READ_BY_NAME, [RequestId, Settled, IdPage, UsageDay, UsageMonth]);
    }
}
