//! Journal rows of entries that are remembered for a day: as those of the short ones.

pub(super) use super::journal::{read, write};

#[cfg(test)]
pub(super) fn samples() -> Vec<(&'static str, crate::domain::rows::JournalRow)> {
    use crate::{
        domain::rows::JournalRow,
        store::samples::{
            T0, control_entries, entries, grant_entries, pool_entries, pool_key_entries, refund_entries,
            rename_entries, reset_entries, session_entries, settlement_entries,
        },
    };

    vec![
        ("long_journal", JournalRow { seq: 6, at: T0, entries: entries() }),
        ("long_journal_sessions", JournalRow { seq: 7, at: T0, entries: session_entries() }),
        ("long_journal_pools", JournalRow { seq: 5, at: T0, entries: pool_entries() }),
        ("long_journal_keys", JournalRow { seq: 8, at: T0, entries: pool_key_entries() }),
        ("long_journal_control", JournalRow { seq: 9, at: T0, entries: control_entries() }),
        ("long_journal_refunds", JournalRow { seq: 10, at: T0, entries: refund_entries() }),
        ("long_journal_rename", JournalRow { seq: 10, at: T0, entries: rename_entries() }),
        ("long_journal_grant", JournalRow { seq: 10, at: T0, entries: grant_entries() }),
        ("long_journal_reset", JournalRow { seq: 11, at: T0, entries: reset_entries() }),
        ("long_journal_settlements", JournalRow { seq: 4, at: T0, entries: settlement_entries() }),
    ]
}
