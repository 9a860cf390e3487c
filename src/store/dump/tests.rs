use std::sync::Arc;

use super::*;
use crate::{
    bounds::HOUR_MS,
    domain::{
        ids::ExecutionId,
        lease::LeaseTime,
        rows::{ExecutionRow, Head, JournalRow, Row},
    },
    store::{
        conformance::{commit, head_with_journal, stored, write as written},
        kinds::{Kind, Memory},
        memory::MemoryStore,
        samples::{T0, entries, org, rows},
    },
};

/// What a build wrote before dumps were sorted by org.
const BY_KIND: &str = include_str!("../../../tests/golden/dump/kind-by-kind.jsonl");
/// The same rows, as they were written when dumps got a closing line.
const CLOSED: &str = include_str!("../../../tests/golden/dump/closed.jsonl");

async fn dumped(store: &MemoryStore) -> String {
    let lease = LeaseTime(T0 - 3);
    let mark = ClockMark { service: T0, lease, absent: 3, boot_id: "boot".into(), uptime: 7 };
    let mut text = Vec::new();
    write(store, &Header { group: 2, mark: Some(mark) }, &mut text).await.unwrap();
    String::from_utf8(text).unwrap()
}

async fn sample() -> String {
    let store = MemoryStore::new();
    commit(&*store, written("acme", rows())).await.unwrap();
    let entries: Vec<_> = (0..40).flat_map(|_| entries()).collect();
    let journal = |seq| JournalRow { seq, at: T0, entries: entries.clone() };
    let large = vec![head_with_journal(1), Row::Journal(journal(1)), Row::LongJournal(journal(1))];
    commit(&*store, written("large", large)).await.unwrap();
    dumped(&store).await
}

async fn restored(text: &str) -> Result<Arc<MemoryStore>, DumpError> {
    restored_from(text, false).await
}

async fn restored_from(text: &str, accept_unclosed: bool) -> Result<Arc<MemoryStore>, DumpError> {
    let store = MemoryStore::new();
    let restored = Reader::open(&mut text.as_bytes(), accept_unclosed)?.restore(&*store).await?;
    restored.verify(&*store).await?;
    Ok(store)
}

/// Lines about rows.
fn rows_in(text: &str) -> Vec<&str> {
    text.lines().filter(|line| line.starts_with("{\"kind\":")).collect()
}

#[tokio::test]
async fn every_kind_of_row_is_in_a_dump_and_readable_by_people() {
    let text = sample().await;
    for kind in Kind::ALL {
        assert!(text.contains(&format!("{{\"kind\":\"{}\",\"org\":\"", kind.name())), "{}", kind.name());
    }
    for part in [
        "{\"format\":\"tollgate-export\",\"version\":2,\"group\":2,\"mark\":{\"service\":1782000000000,\"lease\":1781999999997,\"absent\":3,\"boot_id\":\"boot\",",
        "{\"kind\":\"slice\",\"org\":\"acme\",\"scope\":\"\",\"meter\":\"spend\",\"start\":1782000000000,\"value\":{\"total\":300,",
        "\"window\":{\"calendar\":\"month\"}",
        "\"id\":\"0123456789abcdef0123456789abcdef\"",
        "\"amounts\":[{\"meter\":\"executions\",\"amount\":1},{\"meter\":\"spend\",\"amount\":50000}]",
        "\"outcome\":{\"admitted\":{\"decision\":\"ffffffffffffffffffffffffffffffff\"",
        "\"frozen\":\"abuse, see \\\"ticket\\\"\"",
    ] {
        assert!(text.contains(part), "{part}");
    }
}

#[tokio::test]
async fn a_dump_goes_org_by_org() {
    let text = sample().await;
    let mut orgs: Vec<serde_json::Value> = Vec::new();
    for line in rows_in(&text) {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        if orgs.last() != Some(&line["org"]) {
            orgs.push(line["org"].clone());
        }
    }
    assert_eq!(orgs, ["acme", "large"]);
}

async fn dumped_again(text: &str, accept_unclosed: bool) -> String {
    let store = restored_from(text, accept_unclosed).await.unwrap();
    let header = Reader::open(&mut text.as_bytes(), accept_unclosed).unwrap().header().clone();
    let mut again = Vec::new();
    write(&*store, &header, &mut again).await.unwrap();
    String::from_utf8(again).unwrap()
}

#[tokio::test]
async fn a_dump_that_is_sorted_by_kind_is_restored_whole() {
    let text = dumped_again(BY_KIND, true).await;
    let sorted = |text: &str| {
        let mut lines: Vec<_> = rows_in(text).into_iter().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    assert_ne!(rows_in(&text), rows_in(BY_KIND));
    assert_eq!(sorted(&text), sorted(BY_KIND));
    assert_eq!(text, CLOSED);
}

#[tokio::test]
async fn a_dump_without_a_closing_line_is_refused_unless_that_is_accepted() {
    let error = restored(BY_KIND).await.unwrap_err();
    assert!(error.0.contains("line 1: this export is of an older tollgate") && error.0.contains("--accept-unclosed"));
    let (unclosed, _) = CLOSED.trim_end().rsplit_once('\n').unwrap();
    let unclosed = format!("{unclosed}\n");
    let error = restored(&unclosed).await.unwrap_err();
    assert!(error.0.contains("it has no closing line") && error.0.contains("--accept-unclosed"), "{error}");
    assert_eq!(dumped_again(&unclosed, true).await, CLOSED);
    assert_eq!(dumped_again(CLOSED, false).await, CLOSED);
}

/// Whatever single line is missing, there twice, or another one: with a closing line nothing is believed.
#[tokio::test]
async fn a_dump_that_is_not_what_was_written_is_refused() {
    let lines: Vec<&str> = CLOSED.lines().collect();
    let refused = async |lines: &[&str]| {
        let text = lines.join("\n") + "\n";
        restored_from(&text, true).await.err().unwrap_or_else(|| panic!("taken: {text}"))
    };
    for at in 1..lines.len() - 1 {
        let mut without = lines.clone();
        let line = without.remove(at);
        let error = refused(&without).await;
        assert!(!error.0.is_empty(), "without {line}");
        let mut twice = lines.clone();
        twice.insert(at, lines[at]);
        refused(&twice).await;
    }
    let slice = lines.iter().position(|line| line.starts_with("{\"kind\":\"slice\"")).unwrap();
    let without: Vec<&str> = [&lines[..slice], &lines[slice + 1..]].concat();
    let error = refused(&without).await;
    assert!(error.0.contains("lines of kind \"slice\" were written"), "{error}");
    let changed = lines[slice].replacen("\"total\":", "\"total\":1", 1);
    assert_ne!(changed, lines[slice]);
    let mut other = lines.clone();
    other[slice] = &changed;
    let error = refused(&other).await;
    assert!(error.0.contains("SHA-256"), "{error}");
    let error = refused(&[&lines[..], &lines[slice..=slice]].concat()).await;
    assert!(error.0.contains("more behind the closing line"), "{error}");
}

/// Its rows are handed over in several commits, and the parts of its journal come after them.
#[tokio::test]
async fn a_large_org_is_restored_whole_in_whatever_order_its_lines_come() {
    let store = MemoryStore::new();
    let execution = |number: u64| {
        let id = ExecutionId::parse("execution_id", &format!("run {number}")).unwrap();
        Row::Execution(ExecutionRow { id, continuations: number, last_seen: T0, admitted: true, open: None })
    };
    let journal = |seq, entries| Row::Journal(JournalRow { seq, at: T0, entries });
    let long: Vec<_> = (0..30).flat_map(|_| entries()).collect();
    let head = Head { seq: 5_000, journal_from: 1, last_at: T0 + HOUR_MS, ..Head::default() };
    let journals = (1..=5_000).map(|seq| journal(seq, if seq % 1_000 == 0 { long.clone() } else { vec![] }));
    let rows: Vec<Row> = [Row::Head(head)].into_iter().chain(journals).chain((0..5_000).map(execution)).collect();
    commit(&*store, written("large", rows)).await.unwrap();
    let text = dumped(&store).await;
    let parts = format!("{{\"kind\":\"{}\"", Kind::Part(Memory::Short).name());
    let (late, mut lines): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with(&parts));
    assert!(late.len() > 25);
    lines.pop();
    lines.extend(late);
    for text in [text.clone(), lines.join("\n") + "\n"] {
        let copy = restored_from(&text, true).await.unwrap();
        assert_eq!(stored(&*copy, "large").await, stored(&*store, "large").await);
    }
}

#[tokio::test]
async fn a_line_that_cannot_be_taken_is_named() {
    let good = sample().await;
    let lines: Vec<&str> = good.lines().collect();
    let replaced = |at: usize, line: &str| {
        let mut lines = lines.clone();
        lines[at] = line;
        lines.join("\n") + "\n"
    };
    let without = |wanted: &str| {
        let kept = lines.iter().filter(|line| !line.starts_with(wanted)).copied();
        kept.collect::<Vec<_>>().join("\n") + "\n"
    };
    let space = lines[2].replace("\"org\":\"acme\"", "\"org\":\"ac me\"");
    let header = "{\"format\":\"other\",\"version\":1,\"group\":0,\"mark\":null}";
    for (text, named) in [
        (String::new(), "line 1: the export is empty"),
        (replaced(0, header), "line 1: this is \"other version 1\""),
        (replaced(2, "{\"kind\":"), "line 3: "),
        (replaced(2, "{\"kind\":\"novel\",\"org\":\"acme\",\"value\":{}}"), "line 3: the key has no readable \"kind\""),
        (replaced(2, &space), "line 3: org \"ac me\" is not allowed"),
        (replaced(2, lines[1]), "line 3: \"acme: Head\" is there twice"),
        (replaced(2, &lines[2].replace("\"value\"", "\"eulav\"")), "line 3: the line has no \"value\""),
        (replaced(2, &lines[2].replace("\"value\"", "\"more\":1,\"value\"")), "line 3: \"more\" is not a part of"),
        (replaced(1, &lines[1].replace("\"seq\":7", "\"seq\":7,\"sqe\":7")), "line 2: \"acme: Head\": unknown field"),
        (good.trim_end().to_owned(), "the export is cut short"),
        (without("{\"kind\":\"journal_part\",\"org\":\"large\",\"seq\":1,\"part\":1,"), "is not the next one"),
        (
            without("{\"kind\":\"long_journal_part\",\"org\":\"large\",\"seq\":1,\"part\":12,"),
            "\"long_journal_part\" were",
        ),
        (without("{\"kind\":\"journal\",\"org\":\"large\""), "is not the next one of a row that is there"),
    ] {
        let error = restored(&text).await.unwrap_err();
        assert!(error.0.contains(named), "{error} should say {named}");
    }
    let part = without("{\"kind\":\"long_journal_part\",\"org\":\"large\",\"seq\":1,\"part\":12,");
    let (unclosed, _) = part.trim_end().rsplit_once('\n').unwrap();
    let error = restored_from(&format!("{unclosed}\n"), true).await.unwrap_err();
    assert!(error.0.contains("has 12 parts, and 11"), "{error}");
}

#[tokio::test]
async fn a_store_that_fails_fails_the_dump_and_the_restore() {
    let text = sample().await;
    let store = MemoryStore::new();
    store.fail_next("no space left");
    let error = Reader::open(&mut text.as_bytes(), false).unwrap().restore(&*store).await.unwrap_err();
    assert!(error.0.contains("no space left"), "{error}");
    let store = MemoryStore::new();
    commit(&*store, written("acme", rows())).await.unwrap();
    assert!(store.corrupt(&org("acme")) > 0);
    let error = write(&*store, &Header::default(), &mut Vec::new()).await.unwrap_err();
    assert!(error.0.contains("\"acme: Head\""), "{error}");
}
