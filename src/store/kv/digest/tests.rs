//! The sums themselves. What they are for is tested where they are checked: in `sled/stale.rs`.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    domain::rows::{OrgWrite, Row, RowKey},
    store::{
        conformance::head,
        kinds::Kind,
        kv::{changes::Changes, codec, prepare::prepare},
        samples::{self, T0, org},
    },
};

type Bytes = BTreeMap<Vec<u8>, Vec<u8>>;

const ORGS: [&str; 3] = ["a", "a:b", "b"];

/// One group, applied; the node's sum after it.
fn apply(base: &mut Bytes, total: u64, group: &[OrgWrite]) -> u64 {
    let mut changes = Changes::default();
    for write in group {
        changes.merge(base, prepare(write.clone()).unwrap()).unwrap();
    }
    let total = changes.seal(base, total).unwrap();
    for (key, value) in changes {
        match value {
            Some(value) => base.insert(key, value),
            None => base.remove(&key),
        };
    }
    total
}

/// From nothing but the rows.
fn recount(base: &Bytes) -> BTreeMap<Vec<u8>, Digest> {
    let mut digests: BTreeMap<Vec<u8>, Digest> = BTreeMap::new();
    for (key, value) in base {
        match counted(key) {
            Counted::Head => _ = digests.entry(key.clone()).or_default(),
            Counted::InOrg(head) => digests.entry(head).or_default().add(key, value),
            Counted::Timer | Counted::Nowhere => {}
        }
    }
    digests
}

fn stored(base: &Bytes) -> BTreeMap<Vec<u8>, Digest> {
    let heads = base.iter().filter(|(key, _)| key[0] == HEAD.byte());
    heads.map(|(key, value)| (key.clone(), codec::digest(key, value).unwrap())).collect()
}

fn assert_no_drift(base: &Bytes, sum: u64) {
    assert_eq!(stored(base), recount(base));
    assert_eq!(total(base).unwrap(), sum);
}

fn write(name: &str, puts: Vec<Row>, dels: Vec<RowKey>) -> OrgWrite {
    OrgWrite { puts, dels, ..OrgWrite::empty(&org(name)) }
}

fn wipe(name: &str, puts: Vec<Row>) -> OrgWrite {
    OrgWrite { wipe: true, ..write(name, puts, vec![]) }
}

/// A journal row that needs parts.
fn long_journal(seq: u64, times: usize) -> Row {
    let entries = (0..times).flat_map(|_| samples::entries()).collect();
    Row::Journal(crate::domain::rows::JournalRow { seq, at: T0, entries })
}

#[test]
fn a_key_put_and_deleted_in_one_group_counts_once() {
    let mut base = Bytes::new();
    let row = samples::rows().into_iter().find(|row| matches!(row, Row::Pool(_))).unwrap();
    let (put, delete) = (write("a", vec![row.clone()], vec![]), write("a", vec![], vec![row.key()]));
    let started = write("a", vec![head(1, None)], vec![]);
    let sum = apply(&mut base, 0, &[started, put.clone(), delete.clone()]);
    assert_no_drift(&base, sum);
    assert_eq!(stored(&base).values().next().unwrap(), &Digest::default());
    let sum = apply(&mut base, sum, &[put.clone(), put.clone()]);
    assert_no_drift(&base, sum);
    let sum = apply(&mut base, sum, &[delete, put]);
    assert_no_drift(&base, sum);
    assert_eq!(stored(&base).values().next().unwrap().rows, 1);
}

#[test]
fn parts_of_a_journal_row_are_counted_and_go_with_it() {
    let mut base = Bytes::new();
    let sum = apply(&mut base, 0, &[write("a", vec![head(1, None), long_journal(1, 40)], vec![])]);
    assert_no_drift(&base, sum);
    assert!(stored(&base).values().next().unwrap().rows > 2);
    let sum = apply(&mut base, sum, &[write("a", vec![long_journal(1, 1)], vec![])]);
    assert_no_drift(&base, sum);
    assert_eq!(stored(&base).values().next().unwrap().rows, 1);
}

#[test]
fn a_wipe_leaves_no_digest_and_a_new_start_counts_from_nothing() {
    let mut base = Bytes::new();
    let sum = apply(&mut base, 0, &[write("a", samples::rows(), vec![]), write("b", samples::rows(), vec![])]);
    let sum = apply(&mut base, sum, &[wipe("a", vec![])]);
    assert_eq!(stored(&base).len(), 1);
    assert_no_drift(&base, sum);
    let sum = apply(&mut base, sum, &[wipe("b", vec![head(1, None)]), write("a", vec![head(1, Some(5))], vec![])]);
    assert_no_drift(&base, sum);
    assert_eq!(stored(&base).values().map(|digest| digest.rows).collect::<Vec<_>>(), [0, 0]);
}

/// A wipe is the way out for an org whose rows do not add up.
#[test]
fn a_wipe_mends_a_digest_that_does_not_fit() {
    let mut base = Bytes::new();
    let mut sum = apply(&mut base, 0, &[write("a", samples::rows(), vec![])]);
    let lost = base.keys().find(|key| key[0] == Kind::Row(crate::domain::rows::RowKind::Slice).byte()).unwrap().clone();
    base.remove(&lost);
    sum = apply(&mut base, sum, &[wipe("a", vec![head(1, None)])]);
    assert_no_drift(&base, sum);
}

fn any_write() -> impl Strategy<Value = OrgWrite> {
    let rows = samples::rows;
    let picks = || vec(any::<prop::sample::Index>(), 0..5);
    let journal = prop::option::weighted(0.2, (1..4u64, 1..30usize));
    (prop::sample::select(ORGS.to_vec()), prop::bool::weighted(0.1), picks(), picks(), journal, 0..9u64).prop_map(
        move |(name, wipe, puts, dels, journal, seq)| {
            let mut puts: Vec<Row> = puts.iter().map(|index| index.get(&rows()).clone()).collect();
            puts.extend(journal.map(|(seq, times)| long_journal(seq, times)));
            puts.push(head(seq, (seq % 2 == 0).then_some(seq)));
            let mut dels: Vec<RowKey> = dels.iter().map(|index| index.get(&rows()).key()).collect();
            dels.push(RowKey::Journal { seq });
            dels.push(RowKey::Timer { wake_at: seq });
            OrgWrite { wipe, ..write(name, puts, dels) }
        },
    )
}

proptest! {
    #[test]
    fn digests_kept_by_commits_are_those_of_the_rows(groups in vec(vec(any_write(), 1..6), 1..12)) {
        let (mut base, mut sum) = (Bytes::new(), 0);
        for group in groups {
            sum = apply(&mut base, sum, &group);
            assert_no_drift(&base, sum);
        }
    }
}
