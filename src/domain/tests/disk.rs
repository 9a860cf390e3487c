//! The disk of the tests: a map of rows that takes commits whole and checks what every commit must
//! hold.

use std::collections::BTreeMap;

use crate::domain::{
    alerts::Subject,
    ids::{Meter, Plane, Scope},
    kept_ids::{KeptName, PagesBehind, Wanted, bytes},
    rows::{Head, KeptId, OrgRows, OrgWrite, Row, RowKey, RowKind, TimerRow, TrialEndedRow, UsageKeptRow},
    usage::ROWS_READ,
    window::{Millis, month},
};

/// Scope, plane, meter, and start of the day or month.
pub(super) type Period = (String, String, String, Millis);

pub(super) fn period(scope: &Scope, plane: &Plane, meter: &Meter, start: Millis) -> Period {
    (scope.as_str().to_owned(), plane.to_string(), meter.to_string(), start)
}

#[derive(Debug, Clone, Default)]
pub(super) struct Disk {
    rows: BTreeMap<RowKey, Row>,
    head: Head,
    commits: u64,
}

impl Disk {
    /// Takes a commit as a store would: wipe, then puts, then deletions.
    pub(super) fn commit(&mut self, write: &OrgWrite) {
        if write.wipe {
            self.rows.clear();
            self.head = Head::default();
        }
        if write.wipe && write.puts.is_empty() {
            assert!(write.dels.is_empty(), "a wipe leaves nothing to delete");
            return;
        }
        let is_new = |row: &Row| matches!(row, Row::Journal(_)) && !self.rows.contains_key(&row.key());
        let numbered = write.puts.iter().any(is_new);
        let seq = self.head.seq + u64::from(numbered);
        for row in &write.puts {
            assert!(!write.dels.contains(&row.key()), "put and deleted in one commit: {row:?}");
            self.rows.insert(row.key(), row.clone());
        }
        for key in &write.dels {
            self.rows.remove(key);
        }
        self.head = match self.rows.get(&RowKey::Head) {
            Some(Row::Head(head)) => head.clone(),
            other => panic!("no head: {other:?}"),
        };
        assert_eq!(self.head.seq, seq, "every journal row adds one to the sequence");
        self.check_journal();
        self.commits += 1;
        if self.commits.is_multiple_of(64) || self.rows.len() < 100 {
            self.check_kept();
        }
        self.check_timer();
        self.check_usage();
    }

    fn check_journal(&self) {
        for seq in self.head.journal_from..=self.head.seq {
            assert!(self.rows.contains_key(&RowKey::Journal { seq }), "journal row {seq} is missing");
        }
    }

    fn check_timer(&self) {
        let timers: Vec<_> = self.rows.values().filter(|row| matches!(row, Row::Timer(_))).collect();
        let armed = self.head.wake_at.map(|wake_at| Row::Timer(TimerRow { wake_at }));
        assert_eq!(timers, armed.iter().collect::<Vec<_>>(), "the head names the one timer");
    }

    /// What is loaded with the org.
    pub(super) fn rows(&self) -> OrgRows {
        OrgRows { rows: self.rows.values().filter(|row| !row.kind().is_read_by_name()).cloned().collect() }
    }

    /// The rows as an older tollgate kept what was announced of pools, upstream accounts and trials: with them.
    pub(super) fn with_former_alerts(mut self) -> Self {
        let announced: Vec<Subject> = self
            .rows
            .values()
            .filter_map(|row| match row {
                Row::Alert(row) if row.subject.is_bounded() => Some(row.subject.clone()),
                _ => None,
            })
            .collect();
        for subject in announced {
            let key = RowKey::Alert { scope: Scope::org(), subject: subject.clone() };
            let Some(Row::Alert(alert)) = self.rows.remove(&key) else { panic!("{key:?}") };
            let key = match subject {
                Subject::Pool(id) => RowKey::Pool { id },
                Subject::Account(id) => RowKey::UpstreamAccount { id },
                _ => RowKey::TrialEnded,
            };
            let row = self.rows.entry(key).or_insert(Row::TrialEnded(TrialEndedRow { at: alert.since }));
            match row {
                Row::Pool(row) => row.announced = true,
                Row::UpstreamAccount(row) => row.announced = true,
                _ => {}
            }
        }
        self
    }

    /// How often reservations have ended.
    pub(super) fn ends(&self) -> usize {
        self.rows.values().filter(|row| matches!(row, Row::Settled(_))).count()
    }

    /// The same, with its past usage.
    pub(super) fn rows_with_usage(&self) -> OrgRows {
        let is_id = |kind| matches!(kind, RowKind::RequestId | RowKind::Settled | RowKind::IdPage);
        OrgRows { rows: self.rows.values().filter(|row| !is_id(row.kind())).cloned().collect() }
    }

    /// What is read by name before commands are carried out.
    pub(super) fn read(&self, wanted: &Wanted) -> Vec<Row> {
        let youngest = |name: &KeptName| {
            let first = name.first_key();
            let same = |key: &RowKey| match (key, name) {
                (RowKey::RequestId { rpc, id, .. }, KeptName::Request(named, of)) => (rpc, id) == (named, of),
                (RowKey::Settled { id, .. }, KeptName::Reservation(of)) => id == of,
                _ => false,
            };
            self.rows.range(first..).take_while(|(key, _)| same(key)).last().map(|(_, row)| row.clone())
        };
        let mut found: Vec<Row> = wanted.names.iter().filter_map(youngest).collect();
        if let Some(PagesBehind { behind, max }) = wanted.pages {
            let first = RowKey::IdPage { number: behind.map_or(0, |number| number + 1) };
            let pages = self.rows.range(first..).filter(|(key, _)| key.kind() == RowKind::IdPage);
            found.extend(pages.take(max).map(|(_, row)| row.clone()));
        }
        if let Some(kind) = wanted.usage {
            let rows = self.rows.iter().filter(|(key, _)| key.kind() == kind);
            found.extend(rows.take(ROWS_READ).map(|(_, row)| row.clone()));
        }
        found
    }

    /// Every name has its rows, and the head knows how many there are.
    fn check_kept(&self) {
        let kept = &self.head.kept;
        let names = |row: &Row| match row {
            Row::IdPage(page) => page.ids.clone(),
            Row::Journal(row) if row.seq > kept.paged_seq => row.entries.iter().filter_map(KeptId::of).collect(),
            _ => Vec::new(),
        };
        let names: Vec<KeptId> = self.rows.values().flat_map(names).collect();
        let ids = self.rows.values().filter_map(|row| match row {
            Row::RequestId(row) => Some(bytes(&row.clone().into())),
            _ => None,
        });
        let ids: Vec<u64> = ids.collect();
        assert_eq!((ids.len(), ids.iter().sum()), (names.len(), kept.bytes), "what is kept is what is named");
        assert_eq!(kept.count, names.len() as u64);
        let keys: Vec<RowKey> = names.into_iter().flat_map(KeptId::keys).collect();
        assert!(keys.iter().all(|key| self.rows.contains_key(key)), "a name without its row");
        let settled = self.count(|row| matches!(row, Row::Settled(_)));
        assert_eq!(keys.len(), ids.len() + settled, "a row without its name");
        for number in kept.pages_from..kept.pages_to {
            assert!(self.rows.contains_key(&RowKey::IdPage { number }), "page {number} is missing");
        }
    }

    /// What was used on each day, of the rows of days.
    pub(super) fn usage_days(&self) -> Vec<(Period, u64)> {
        let of = |row: &Row| match row {
            Row::UsageDay(row) => Some((period(&row.scope, &row.plane, &row.meter, row.start), row.amount)),
            _ => None,
        };
        self.rows.values().filter_map(of).collect()
    }

    /// The same of months.
    pub(super) fn usage_months(&self) -> Vec<(Period, u64)> {
        let of = |row: &Row| match row {
            Row::UsageMonth(row) => Some((period(&row.scope, &row.plane, &row.meter, row.start), row.amount)),
            _ => None,
        };
        self.rows.values().filter_map(of).collect()
    }

    /// What is said of the two.
    pub(super) fn kept_usage(&self) -> UsageKeptRow {
        let kept = self.rows.get(&RowKey::UsageKept);
        kept.map_or_else(UsageKeptRow::default, |row| match row {
            Row::UsageKept(kept) => *kept,
            other => panic!("{other:?}"),
        })
    }

    /// There are as many as is said, and none is earlier.
    fn check_usage(&self) {
        let (kept, days, months) = (self.kept_usage(), self.usage_days(), self.usage_months());
        assert_eq!((kept.days, kept.months), (days.len() as u64, months.len() as u64), "rows of usage");
        assert!(days.iter().all(|((.., start), _)| kept.days_from <= month(*start)), "{kept:?}");
        assert!(months.iter().all(|((.., start), _)| kept.months_from <= *start), "{kept:?}");
    }

    /// When a sweep is due.
    pub(super) fn wake_at(&self) -> Option<Millis> {
        self.head.wake_at
    }

    pub(super) fn head(&self) -> &Head {
        &self.head
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn count(&self, of_kind: impl Fn(&Row) -> bool) -> usize {
        self.rows.values().filter(|row| of_kind(row)).count()
    }
}
