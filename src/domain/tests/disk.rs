//! The disk of the tests: a map of rows that takes commits whole and checks what every commit must
//! hold.

use std::collections::BTreeMap;

use crate::domain::rows::{Head, OrgRows, OrgWrite, Row, RowKey, TimerRow};

#[derive(Debug, Clone, Default)]
pub(super) struct Disk {
    rows: BTreeMap<RowKey, Row>,
    head: Head,
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
        let numbered = write.puts.iter().any(|row| matches!(row, Row::Journal(_)));
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
        self.check_timer();
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

    pub(super) fn rows(&self) -> OrgRows {
        OrgRows { rows: self.rows.values().cloned().collect() }
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
