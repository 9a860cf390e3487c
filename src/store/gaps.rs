//! What the rows of an org show to be missing among them, whatever engine they come from.

use crate::domain::rows::{Head, OrgRows, Row};

/// A damaged engine can lose rows and report nothing. The journal has no gap from the head's
/// `journal_from` to its `seq`, so a gap is a loss; and rows without a head have lost it.
pub(super) fn missing(rows: &OrgRows) -> Option<String> {
    let Some(head) = rows.rows.iter().find_map(head_of) else {
        return (!rows.rows.is_empty()).then(|| format!("{} rows are stored but no head", rows.rows.len()));
    };
    let mut stored: Vec<u64> = rows.rows.iter().filter_map(number_of).collect();
    stored.sort_unstable();
    if let Some(newest) = stored.last().filter(|newest| **newest > head.seq) {
        return Some(format!("the head is at commit {} and the newest journal row at {newest}", head.seq));
    }
    let mut expected = head.journal_from;
    for seq in stored.into_iter().filter(|seq| *seq >= head.journal_from) {
        if seq != expected {
            return Some(format!("journal rows {expected} to {} are missing", seq - 1));
        }
        expected = seq + 1;
    }
    (expected <= head.seq).then(|| format!("journal rows {expected} to {} are missing", head.seq))
}

fn head_of(row: &Row) -> Option<&Head> {
    if let Row::Head(head) = row { Some(head) } else { None }
}

fn number_of(row: &Row) -> Option<u64> {
    if let Row::Journal(journal) = row { Some(journal.seq) } else { None }
}
